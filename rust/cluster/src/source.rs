//! The messages of one partition out of `JetStream`, for the worker that has it.
//!
//! Each owner has a consumer of its own, which begins where the one before had acknowledged, and takes the place of that
//! one: what an earlier owner still acknowledges is nobody's, and what it had and did not finish comes again, in order.

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_nats::{
    HeaderMap,
    jetstream::{
        self, AckKind,
        consumer::{AckPolicy, DeliverPolicy, pull, pull::MessagesErrorKind},
        message::Acker,
    },
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, future::OptionFuture};
use parking_lot::Mutex;
use propylon_core::{
    cluster::intake::{Epochs, IntakeCounts, Partition},
    delivery::Fill,
    shard::SharedState,
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot},
    time::{self, Instant},
};

use crate::{
    broker::{Broker, BrokerError, names},
    sink::{NUMBER, PART, subject_of},
};

/// Until a message that is not acknowledged comes again.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Between two words that what is unfinished is worked on.
const PROGRESS: Duration = Duration::from_secs(10);
/// Messages that may be unfinished.
const UNFINISHED: i64 = 1_024;
/// After so many deliveries a message is a dead letter.
pub const DELIVERIES: u64 = 5;
/// A part whose others have not come after so long belongs to a publisher that is gone.
const ORPHAN: Duration = Duration::from_mins(1);
/// Until the server is asked again for messages.
const AGAIN: Duration = Duration::from_millis(200);
/// At most this long is waited for room before the next look.
const BREATHER: Duration = Duration::from_millis(5);

/// What an owner leaves for the next one, in the key `seen.<partition>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Seen {
    /// Of the owner.
    consumer: String,
    /// The stream's sequence number up to which all was acknowledged when it began.
    floor: u64,
    /// How many owners have begun at that floor and not come further.
    tries: u64,
    /// Total, shard and epoch.
    epochs: Vec<(u32, u32, u64)>,
}

/// What has become of a partition's messages.
#[derive(Debug, Default)]
pub struct SourceCounts {
    /// Events that were given to listeners, or heard by none.
    pub events: AtomicU64,
    /// Messages.
    pub messages: AtomicU64,
    /// Messages that had been delivered before.
    pub redelivered: AtomicU64,
    /// Messages that became dead letters.
    pub dead: AtomicU64,
    /// Messages that were too old before anybody took them.
    pub expired: AtomicU64,
    /// Events of an earlier epoch behind a later one.
    pub stale: AtomicU64,
    /// Events that another fleet had brought.
    pub overlapped: AtomicU64,
    /// Messages that are not acknowledged.
    pub unfinished: AtomicU64,
    /// Messages in the stream that were not taken yet.
    pub lag: AtomicU64,
    /// The number of the last event that was given to listeners.
    pub last: AtomicU64,
}

/// What is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A message became a dead letter, for this reason.
    Dead(String),
    /// So many messages were too old before anybody took them.
    Expired(u64),
    /// It cannot go on.
    Failed(String),
}

/// News that nobody has read are not kept beyond this.
const NEWS: usize = 1_000;

enum Command {
    Finished(u64),
    Overlap(bool),
    Stop(oneshot::Sender<()>),
}

/// One partition that this worker has.
pub struct Source {
    commands: mpsc::UnboundedSender<Command>,
    counts: Arc<SourceCounts>,
    news: Arc<Mutex<Vec<News>>>,
}

impl Source {
    /// Takes the partition over, and gives its events to `state`. `epoch` is the lease's, and above those of all owners
    /// before.
    ///
    /// # Errors
    /// The stream or the keys cannot be read or written.
    pub async fn start(
        broker: &Broker,
        app: &str,
        partition: u32,
        state: &Arc<SharedState>,
        epoch: u64,
    ) -> Result<Self, BrokerError> {
        let failed = |what: String| BrokerError::Refused(format!("partition {partition} of {app}: {what}"));
        let (bucket, key) = (names::bucket(app), format!("seen.{partition}"));
        let stream = broker.jetstream().get_stream_no_info(names::events(app)).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        let before = broker.get(&bucket, &key).await?;
        let mut seen: Seen = match &before {
            Some(entry) => serde_json::from_slice(&entry.value).map_err(|error| failed(error.to_string()))?,
            None => Seen::default(),
        };
        let old = std::mem::replace(&mut seen.consumer, format!("partition-{partition}-{epoch}"));
        let mut floor = seen.floor;
        let mut waits = true;
        if !old.is_empty()
            && let Ok(info) = stream.consumer_info(&old).await
        {
            floor = floor.max(info.ack_floor.stream_sequence);
            waits = info.num_ack_pending > 0;
        }
        seen.tries = if waits && floor == seen.floor && before.is_some() { seen.tries + 1 } else { 0 };
        seen.floor = floor;
        broker.put(&bucket, &key, encoded(&seen), None).await?;
        let config = pull::Config {
            durable_name: Some(seen.consumer.clone()),
            filter_subject: subject_of(app, partition),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: floor + 1 },
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: UNFINISHED,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|error| failed(error.to_string()))?;
        if !old.is_empty() && old != seen.consumer {
            // Whoever still has it gets nothing more, and what it acknowledges counts for nothing.
            let _ = stream.delete_consumer(&old).await;
        }
        let (commands, told) = mpsc::unbounded_channel();
        let (counts, news) = (Arc::<SourceCounts>::default(), Arc::<Mutex<Vec<News>>>::default());
        let epochs: Epochs = seen.epochs.iter().map(|&(total, shard, epoch)| ((total, shard), epoch)).collect();
        let owner = Owner {
            broker: broker.clone(),
            app: app.to_owned(),
            key,
            tries: seen.tries,
            seen,
            state: Arc::clone(state),
            partition: Partition::new(Arc::clone(state), epochs),
            consumer,
            counts: Arc::clone(&counts),
            news: Arc::clone(&news),
            finished: 0,
            parts: HashMap::new(),
            numbers: HashMap::new(),
        };
        tokio::spawn(owner.run(told));
        Ok(Self { commands, counts, news })
    }

    /// Every event up to this number has been handled: messages that are done with are acknowledged.
    pub fn finished(&self, number: u64) {
        let _ = self.commands.send(Command::Finished(number));
    }

    /// Two fleets of the bot bring events at the same time, or no longer.
    pub fn set_overlap(&self, overlaps: bool) {
        let _ = self.commands.send(Command::Overlap(overlaps));
    }

    /// What has happened since the last call.
    pub fn news(&self) -> Vec<News> {
        std::mem::take(&mut self.news.lock())
    }

    /// Takes no more. What was told to be finished before is acknowledged when it returns; what is told later is too,
    /// while there is the source.
    pub async fn stop(&self) {
        let (tell, told) = oneshot::channel();
        if self.commands.send(Command::Stop(tell)).is_ok() {
            let _ = told.await;
        }
    }

    /// What has become of its messages.
    pub fn counts(&self) -> &SourceCounts {
        &self.counts
    }
}

fn encoded(seen: &Seen) -> Bytes {
    serde_json::to_vec(seen).unwrap_or_default().into()
}

/// Parts of one message.
struct Parts {
    since: Instant,
    parts: Vec<Option<Bytes>>,
    ackers: Vec<Acker>,
}

/// A message that is whole.
struct Whole {
    frame: Bytes,
    ackers: Vec<Acker>,
    subject: String,
    headers: HeaderMap,
    deliveries: u64,
}

struct Owner {
    broker: Broker,
    app: String,
    key: String,
    seen: Seen,
    /// Of the first message: owners who had it before.
    tries: u64,
    state: Arc<SharedState>,
    partition: Partition<Vec<Acker>>,
    consumer: jetstream::consumer::Consumer<pull::Config>,
    counts: Arc<SourceCounts>,
    news: Arc<Mutex<Vec<News>>>,
    /// Every event up to this number is dealt with.
    finished: u64,
    parts: HashMap<String, Parts>,
    /// The last number of each publisher.
    numbers: HashMap<String, u64>,
}

impl Owner {
    async fn run(mut self, mut told: mpsc::UnboundedReceiver<Command>) {
        let mut progress = time::interval_at(Instant::now() + PROGRESS, PROGRESS);
        let mut messages = None;
        let mut is_over = false;
        // Where the queue is full, until there is room.
        let mut room: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
        loop {
            if messages.is_none() && !is_over {
                let stream = self.consumer.stream().max_messages_per_batch(256).expires(Duration::from_secs(10));
                // Where the server is away, it is asked again.
                messages = stream.heartbeat(Duration::from_secs(3)).messages().await.ok();
            }
            let (is_reading, is_away) = (room.is_none(), messages.is_none() && !is_over);
            let next: OptionFuture<_> = messages.as_mut().filter(|_| is_reading).map(StreamExt::next).into();
            tokio::select! {
                biased;
                command = told.recv() => match command {
                    Some(Command::Finished(number)) => self.finish(number).await,
                    Some(Command::Overlap(overlaps)) => self.partition.set_overlap(overlaps),
                    Some(Command::Stop(tell)) => {
                        (messages, room, is_over) = (None, None, true);
                        let _ = time::timeout(self.broker.timeout(), self.broker.client().flush()).await;
                        let _ = tell.send(());
                    }
                    None => return,
                },
                _ = progress.tick() => self.tell_progress().await,
                Some(()) = OptionFuture::from(room.as_mut()) => room = None,
                Some(message) = next => match message {
                    Some(Ok(message)) => {
                        if self.take(message).await != Fill::Low {
                            let queue = Arc::clone(self.state.queue());
                            room = Some(Box::pin(async move {
                                // Looked at again now and then: a queue that has emptied meanwhile tells nobody.
                                while queue.fill() != Fill::Low {
                                    let _ = time::timeout(BREATHER, queue.room()).await;
                                }
                            }));
                        }
                    }
                    Some(Err(error)) => {
                        messages = None;
                        if error.kind() == MessagesErrorKind::ConsumerDeleted {
                            is_over = true;
                            self.tell(News::Failed("another worker has taken the partition over".to_owned()));
                        }
                    }
                    None => messages = None,
                },
                () = time::sleep(AGAIN), if is_away => {}
            }
        }
    }

    fn tell(&self, news: News) {
        let mut told = self.news.lock();
        if told.len() < NEWS {
            told.push(news);
        }
    }

    async fn take(&mut self, message: jetstream::Message) -> Fill {
        let Ok(info) = message.info() else { return Fill::Low };
        let deliveries = u64::try_from(info.delivered).unwrap_or(1).max(1);
        self.counts.lag.store(info.pending, Relaxed);
        let deliveries = deliveries + std::mem::take(&mut self.tries);
        self.counts.redelivered.fetch_add(u64::from(deliveries > 1), Relaxed);
        let Some(whole) = self.joined(message, deliveries) else { return Fill::Low };
        self.counts.messages.fetch_add(1, Relaxed);
        if whole.deliveries > DELIVERIES {
            let reason =
                format!("not finished in {DELIVERIES} deliveries: a listener takes too long, or ends the process");
            self.bury(whole, &reason).await;
            return Fill::Low;
        }
        match self.partition.read(&whole.frame) {
            Ok(events) => {
                if let Some(epochs) = self.partition.note(&events) {
                    self.seen.epochs = epochs.iter().map(|(&(total, shard), &epoch)| (total, shard, epoch)).collect();
                    let (bucket, value) = (names::bucket(&self.app), encoded(&self.seen));
                    // Kept before anything of it is handled; where that fails, so does this connection, and it comes again.
                    let _ = self.broker.put(&bucket, &self.key, value, None).await;
                }
                let fill = self.partition.feed(events, whole.ackers);
                self.counts.last.store(self.partition.number(), Relaxed);
                // All of it may be stale: then it is done with.
                self.finish(self.finished).await;
                fill
            }
            Err(error) => {
                self.bury(whole, &error.to_string()).await;
                Fill::Low
            }
        }
    }

    /// The message, where it is whole with this part.
    fn joined(&mut self, message: jetstream::Message, deliveries: u64) -> Option<Whole> {
        let (message, acker) = message.split();
        let headers = message.headers.unwrap_or_default();
        let number = headers.get(NUMBER).map(|number| number.as_str().to_owned()).unwrap_or_default();
        self.note_number(&number);
        let subject = message.subject.to_string();
        let part = headers.get(PART).and_then(|part| {
            let (part, parts) = part.as_str().split_once('-')?;
            Some((part.parse::<usize>().ok()?, parts.parse::<usize>().ok()?))
        });
        let Some((part, parts)) = part.filter(|&(part, parts)| part < parts && parts <= 4_096) else {
            return Some(Whole { frame: message.payload, ackers: vec![acker], subject, headers, deliveries });
        };
        let waiting = self.parts.entry(number.clone()).or_insert_with(|| Parts {
            since: Instant::now(),
            parts: vec![None; parts],
            ackers: Vec::new(),
        });
        if let Some(place) = waiting.parts.get_mut(part) {
            *place = Some(message.payload);
        }
        waiting.ackers.push(acker);
        if waiting.parts.iter().any(Option::is_none) {
            return None;
        }
        let whole = self.parts.remove(&number)?;
        let mut frame = BytesMut::new();
        for part in whole.parts.into_iter().flatten() {
            frame.extend_from_slice(&part);
        }
        Some(Whole { frame: frame.freeze(), ackers: whole.ackers, subject, headers, deliveries })
    }

    /// Sees whether messages of this publisher are missing: then they were too old.
    fn note_number(&mut self, number: &str) {
        let Some((publisher, number)) = number.rsplit_once('-') else { return };
        let Ok(number) = number.parse::<u64>() else { return };
        let last = self.numbers.entry(publisher.to_owned()).or_insert(number);
        let expired = number.saturating_sub(*last + 1);
        *last = number.max(*last);
        if expired > 0 {
            self.counts.expired.fetch_add(expired, Relaxed);
            self.tell(News::Expired(expired));
        }
    }

    async fn finish(&mut self, number: u64) {
        self.finished = number.max(self.finished);
        for acker in self.partition.finish(number).into_iter().flatten() {
            // One that does not arrive is a message that comes again.
            let _ = acker.ack().await;
        }
        self.tell_counts();
    }

    async fn tell_progress(&mut self) {
        let orphans: HashSet<String> = {
            let old = self.parts.iter().filter(|(_, parts)| parts.since.elapsed() > ORPHAN);
            old.map(|(number, _)| number.clone()).collect()
        };
        for number in orphans {
            if let Some(parts) = self.parts.remove(&number) {
                for acker in parts.ackers {
                    let _ = acker.ack().await;
                }
            }
        }
        let parts = self.parts.values().flat_map(|parts| &parts.ackers);
        for acker in self.partition.unfinished().flatten().chain(parts) {
            let _ = acker.ack_with(AckKind::Progress).await;
        }
    }

    /// What cannot be handled is kept for people, with the reason, and is out of the way.
    async fn bury(&mut self, whole: Whole, reason: &str) {
        let mut headers = whole.headers;
        headers.insert("Propylon-Subject", whole.subject.as_str());
        headers.insert("Propylon-Reason", reason);
        headers.insert("Propylon-Deliveries", whole.deliveries.to_string().as_str());
        let subject = format!("{}dead", names::prefix(&self.app));
        let most = self.broker.max_payload().saturating_sub(16 * 1024).max(1);
        let parts = whole.frame.len().div_ceil(most).max(1);
        for part in 0..parts {
            let mut headers = headers.clone();
            if parts > 1 {
                headers.insert(PART, format!("{part}-{parts}"));
            }
            let data = whole.frame.slice(part * most..whole.frame.len().min((part + 1) * most));
            let sent = self.broker.jetstream().publish_with_headers(subject.clone(), headers, data).await;
            let is_kept = match sent {
                Ok(kept) => kept.await.is_ok(),
                Err(_) => false,
            };
            if !is_kept {
                // It is not acknowledged, so it comes again.
                return;
            }
        }
        self.counts.dead.fetch_add(1, Relaxed);
        self.tell(News::Dead(reason.to_owned()));
        for acker in whole.ackers {
            let _ = acker.ack().await;
        }
    }

    fn tell_counts(&self) {
        let IntakeCounts { events, stale, overlapped, .. } = self.partition.counts();
        self.counts.events.store(events, Relaxed);
        self.counts.stale.store(stale, Relaxed);
        self.counts.overlapped.store(overlapped, Relaxed);
        self.counts.unfinished.store(self.partition.unfinished().count() as u64, Relaxed);
    }
}
