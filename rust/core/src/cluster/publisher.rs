//! From the queues of shards to messages: which events go together, what is on its way, and when a shard's mark may move.
//!
//! Of each partition one message is on its way at a time, and what comes meanwhile is the next one. So a message that has
//! to be sent again comes before those after it, the order inside a partition holds whatever the engine does, and messages
//! grow by themselves where acknowledgements take longer.
//!
//! A shard's events are published while its lease holds: [`Publisher::renew`] says until when, and the clock is looked at
//! here, so that a process that stood still publishes nothing when it goes on.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::wire::{self, Compressor, Event};
use crate::{
    clock,
    delivery::{Loan, ShardQueue},
};

/// Events that come together are one message. So long is waited for more of them after the last message...
const TICK: Duration = Duration::from_millis(2);
/// ...and so long where there are many, of which more in a message cost less.
const LONG_TICK: Duration = Duration::from_millis(10);
/// Events in a millisecond from which on there are many.
const MANY: f64 = 8.0;
/// A body has so many bytes at most before it is compressed, or one event.
const BODY: usize = 512 * 1024;
/// Events that are taken of a shard at once.
const LOT: usize = 1024;
/// Until a message is sent again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Some events of one partition.
#[derive(Debug, Clone)]
pub struct Message {
    /// Of its events.
    pub partition: u32,
    /// Of the messages of this publisher in this partition, from 1: who reads them sees that one is missing.
    pub number: u64,
    /// Where its previous message in the partition is kept, as [`EventSink::publish`] said; 0: there is none.
    pub previous: u64,
    /// The same when it is sent again, be it by another process, and another for any other message.
    pub id: String,
    /// Another for each message of this publisher, whether it was kept or not: what is sent in parts is told by it.
    pub ticket: u64,
    /// What it has of each session: its tag, the first and the last sequence number.
    pub ranges: Vec<(u64, u64, u64)>,
    /// One zstd frame ([`wire`]).
    pub frame: Bytes,
    /// How many events.
    pub events: usize,
}

/// What carries messages to other processes, in order within a partition.
pub trait EventSink: Send + Sync + 'static {
    /// Returns when the message is kept: whatever becomes of this process, somebody will get it. Where it is kept is larger
    /// for a later one.
    ///
    /// # Errors
    ///
    /// It may not be kept; it is sent again.
    fn publish(&self, message: &Message) -> impl Future<Output = Result<u64, String>> + Send;
}

/// What a publisher has done.
#[derive(Debug, Default)]
pub struct PublishCounts {
    /// Events in messages that are kept.
    pub events: AtomicU64,
    /// Messages that are kept.
    pub messages: AtomicU64,
    /// Their bytes, compressed.
    pub bytes: AtomicU64,
    /// Times that a message was sent again.
    pub retries: AtomicU64,
    /// Events that the session's last owner had published already.
    pub known: AtomicU64,
    /// Events that were not published because the lease had run out: whoever has it now publishes them.
    pub fenced: AtomicU64,
    /// When the oldest event that is not kept yet was received, in nanoseconds of [`clock::now`]; 0: none.
    pub oldest: AtomicU64,
}

struct Lender {
    queue: Arc<ShardQueue>,
    shard: u32,
    total: u32,
    epoch: u64,
    /// Of the lease, in nanoseconds of the clock; 0 before it is known, and [`LAPSED`] for good once it has passed.
    until: AtomicU64,
    /// Of the session that was taken over: its tag, and what is published by partition.
    known: (u64, HashMap<u32, u64>),
}

/// What was taken from the queue is let go of when the lease runs out, so that no renewal may bring it back.
const LAPSED: u64 = 1;

impl Lender {
    fn holds(&self) -> bool {
        let now = clock::now().as_nanos() as u64;
        let has_run_out = |until| until != 0 && until <= now;
        match self.until.fetch_update(Relaxed, Relaxed, |until| has_run_out(until).then_some(LAPSED)) {
            // It has run out.
            Ok(_) => false,
            Err(until) => now < until,
        }
    }

    /// Whether it holds until then from now on: not once it has run out.
    fn renew(&self, until: u64) -> bool {
        let now = clock::now().as_nanos() as u64;
        let renewed = |old| (old == 0 || now < old).then_some(until.max(LAPSED));
        self.until.fetch_update(Relaxed, Relaxed, renewed).is_ok()
    }
}

/// What is told of a shard that is to be published.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The tag of the session that is taken over.
    pub tag: u64,
    /// The last sequence number of it that was published, by partition.
    pub last: HashMap<u32, u64>,
}

struct Shared<S> {
    sink: S,
    partitions: u32,
    wake: Arc<Notify>,
    lenders: Mutex<HashMap<u64, Arc<Lender>>>,
    counts: PublishCounts,
    tickets: AtomicU64,
    trouble: Mutex<Option<String>>,
    is_closed: AtomicBool,
}

/// Publishes the events of shards. Clones are the same publisher.
pub struct Publisher<S>(Arc<Shared<S>>);

impl<S> Clone for Publisher<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Sent {
    partition: u32,
    /// Whose events were in it, and their numbers.
    of: Vec<(Arc<Lender>, Vec<u64>)>,
    /// Where it is kept, if it is.
    kept: Option<u64>,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<(Arc<Lender>, Loan)>,
    /// Messages that are kept.
    kept: u64,
    /// Where the last of them is.
    last: u64,
    is_under_way: bool,
    /// When the first event was received that is under way, as the clock's nanoseconds.
    oldest: u64,
}

impl<S: EventSink> Publisher<S> {
    /// One that does nothing before [`Publisher::run`] does it.
    pub fn new(sink: S, partitions: u32) -> Self {
        Self(Arc::new(Shared {
            sink,
            partitions: partitions.max(1),
            wake: Arc::default(),
            lenders: Mutex::default(),
            counts: PublishCounts::default(),
            tickets: AtomicU64::new(0),
            trouble: Mutex::default(),
            is_closed: AtomicBool::new(false),
        }))
    }

    /// Takes the events of a shard from now on; nothing is published before [`Publisher::renew`].
    pub fn add(&self, queue: &Arc<ShardQueue>, shard: (u32, u32), epoch: u64, published: Published) {
        let (shard, total) = shard;
        let known = (published.tag, published.last);
        let until = AtomicU64::new(0);
        let lender = Lender { queue: Arc::clone(queue), shard, total, epoch, until, known };
        self.0.lenders.lock().insert(queue.key(), Arc::new(lender));
        queue.divert(Some(Arc::clone(&self.0.wake)));
    }

    /// The lease of the shard with this queue holds until then, by the [`clock`]. `false`: it had run out before, and
    /// nothing more of this shard is published.
    pub fn renew(&self, key: u64, until: Duration) -> bool {
        let renewed = self.0.lenders.lock().get(&key).is_none_or(|lender| lender.renew(until.as_nanos() as u64));
        self.0.wake.notify_one();
        renewed
    }

    /// The lease is lost: nothing more of this shard is published.
    pub fn fence(&self, key: u64) {
        if let Some(lender) = self.0.lenders.lock().get(&key) {
            lender.until.store(LAPSED, Relaxed);
        }
        self.0.wake.notify_one();
    }

    /// Takes no more of its events, and begins to publish none that it has taken: the lease is let go of next. What is under
    /// way in a message together with events of other shards goes its way, and may be stale when it is kept.
    pub fn remove(&self, key: u64) {
        self.fence(key);
        self.0.lenders.lock().remove(&key);
    }

    /// Whether all that the shard has received is published and kept; so is the shard that is not here.
    pub fn is_settled(&self, key: u64) -> bool {
        self.0.lenders.lock().get(&key).is_none_or(|lender| lender.queue.is_settled())
    }

    /// The shards whose events it publishes: id, epoch, and until when the lease holds, by the [`clock`].
    pub fn leases(&self) -> Vec<(u32, u64, Duration)> {
        let lenders = self.0.lenders.lock();
        let each = lenders.values();
        each.map(|lender| (lender.shard, lender.epoch, Duration::from_nanos(lender.until.load(Relaxed)))).collect()
    }

    /// What it has done.
    pub fn counts(&self) -> &PublishCounts {
        &self.0.counts
    }

    /// Why a message could not be sent, the last time since this was asked.
    pub fn take_trouble(&self) -> Option<String> {
        self.0.trouble.lock().take()
    }

    /// Ends [`Publisher::run`].
    pub fn close(&self) {
        self.0.is_closed.store(true, Relaxed);
        self.0.wake.notify_one();
    }

    /// Publishes until it is closed.
    pub async fn run(self) {
        let (tell, mut told) = mpsc::unbounded_channel::<Sent>();
        let mut lanes: Vec<Lane> = (0..self.0.partitions).map(|_| Lane::default()).collect();
        let mut compressor = Compressor::new();
        let mut tick = TICK;
        let mut last: Option<Instant> = None;
        loop {
            tokio::select! {
                sent = told.recv() => if let Some(sent) = sent {
                    Self::finish(&mut lanes, sent);
                },
                () = self.0.wake.notified() => {}
            }
            if self.0.is_closed.load(Relaxed) {
                return;
            }
            if let Some(last) = last {
                tokio::time::sleep_until(last + tick).await;
            }
            while let Ok(sent) = told.try_recv() {
                Self::finish(&mut lanes, sent);
            }
            let taken = self.collect(&mut lanes);
            let now = Instant::now();
            let passed = last.map_or(TICK, |last| now - last).max(TICK);
            tick = if taken as f64 > MANY * passed.as_secs_f64() * 1e3 { LONG_TICK } else { TICK };
            last = Some(now);
            let mut oldest = u64::MAX;
            for (partition, lane) in (0..).zip(&mut lanes) {
                if !lane.is_under_way && !lane.waiting.is_empty() {
                    self.send(partition, lane, &mut compressor, &tell);
                }
                if lane.is_under_way {
                    oldest = oldest.min(lane.oldest);
                }
            }
            self.0.counts.oldest.store(if oldest == u64::MAX { 0 } else { oldest }, Relaxed);
        }
    }

    /// Takes what shards have received, and says how much it was.
    fn collect(&self, lanes: &mut [Lane]) -> usize {
        let lenders: Vec<Arc<Lender>> = self.0.lenders.lock().values().cloned().collect();
        let mut taken = 0;
        for lender in lenders {
            if !lender.holds() {
                continue;
            }
            let mut known = Vec::new();
            loop {
                let lot = lender.queue.lend(LOT);
                let is_last = lot.len() < LOT;
                taken += lot.len();
                for loan in lot {
                    let dispatch = &loan.dispatch;
                    let partition = wire::partition_of(dispatch.event, &dispatch.data, self.0.partitions);
                    let (tag, published) = &lender.known;
                    let last = published.get(&partition).filter(|_| loan.tag == *tag);
                    if last.is_some_and(|last| dispatch.sequence.is_some_and(|sequence| sequence <= *last)) {
                        known.push(loan.number);
                    } else {
                        lanes[partition as usize].waiting.push_back((Arc::clone(&lender), loan));
                    }
                }
                if is_last {
                    break;
                }
            }
            self.0.counts.known.fetch_add(known.len() as u64, Relaxed);
            lender.queue.done(known);
        }
        taken
    }

    fn send(&self, partition: u32, lane: &mut Lane, compressor: &mut Compressor, tell: &mpsc::UnboundedSender<Sent>) {
        let mut body = Vec::new();
        let mut of: Vec<(Arc<Lender>, Vec<u64>)> = Vec::new();
        let mut ranges: Vec<(u64, u64, u64)> = Vec::new();
        let mut events = 0;
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = clock::now();
        while body.len() < BODY
            && let Some((lender, loan)) = lane.waiting.pop_front()
        {
            if !lender.holds() {
                self.0.counts.fenced.fetch_add(1, Relaxed);
                continue;
            }
            let dispatch = loan.dispatch;
            if events == 0 {
                lane.oldest = dispatch.received_at.as_nanos() as u64;
            }
            let sequence = dispatch.sequence.unwrap_or_default();
            match ranges.iter_mut().find(|(tag, _, _)| *tag == loan.tag) {
                Some((_, _, last)) => *last = sequence.max(*last),
                None => ranges.push((loan.tag, sequence, sequence)),
            }
            match of.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &lender)) {
                Some((_, numbers)) => numbers.push(loan.number),
                None => of.push((Arc::clone(&lender), vec![loan.number])),
            }
            events += 1;
            let received_at = unix.saturating_sub(now.saturating_sub(dispatch.received_at)).as_micros() as u64;
            wire::write(
                &mut body,
                &Event {
                    name: dispatch.name().into(),
                    shard: lender.shard,
                    total: lender.total,
                    epoch: lender.epoch,
                    tag: loan.tag,
                    sequence: dispatch.sequence,
                    received_at,
                    guild_change: dispatch.guild_change,
                    data: dispatch.part.unwrap_or(dispatch.data),
                },
            );
        }
        if of.is_empty() {
            return;
        }
        // libzstd without memory: what was taken is not done with, so that it comes again in another process.
        let Ok(frame) = compressor.compress(&body) else { return };
        lane.is_under_way = true;
        let (number, previous, id) = (lane.kept + 1, lane.last, wire::message_id(&ranges));
        let ticket = self.0.tickets.fetch_add(1, Relaxed);
        let message = Message { partition, number, previous, id, ticket, ranges, frame, events };
        let (this, tell) = (self.clone(), tell.clone());
        tokio::spawn(async move {
            let kept = this.deliver(&message, &of).await;
            let _ = tell.send(Sent { partition, of, kept });
        });
    }

    /// Sends a message until it is kept, which is where, or all leases have run out.
    async fn deliver(&self, message: &Message, of: &[(Arc<Lender>, Vec<u64>)]) -> Option<u64> {
        let counts = &self.0.counts;
        let mut wait = RETRY.0;
        loop {
            if self.0.is_closed.load(Relaxed) || !of.iter().any(|(lender, _)| lender.holds()) {
                counts.fenced.fetch_add(message.events as u64, Relaxed);
                return None;
            }
            match self.0.sink.publish(message).await {
                Ok(kept) => {
                    counts.events.fetch_add(message.events as u64, Relaxed);
                    counts.messages.fetch_add(1, Relaxed);
                    counts.bytes.fetch_add(message.frame.len() as u64, Relaxed);
                    return Some(kept);
                }
                Err(error) => *self.0.trouble.lock() = Some(error),
            }
            counts.retries.fetch_add(1, Relaxed);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }

    fn finish(lanes: &mut [Lane], sent: Sent) {
        let lane = &mut lanes[sent.partition as usize];
        lane.is_under_way = false;
        if let Some(kept) = sent.kept {
            lane.kept += 1;
            lane.last = kept;
            for (lender, numbers) in sent.of {
                lender.queue.done(numbers);
            }
        }
    }
}

#[cfg(test)]
#[path = "publisher_tests.rs"]
mod tests;
