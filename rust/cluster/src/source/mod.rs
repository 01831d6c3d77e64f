//! The messages of one partition out of `JetStream`, for the worker that has it.
//!
//! Each owner has a consumer of its own, which begins where the one before had acknowledged, and takes the place of that
//! one: what an earlier owner still acknowledges is nobody's, and what it had and did not finish comes again, in order.
//! While two fleets overlap it begins where that began: what was handled is counted again, and not given out.

mod counts;
mod dead;
mod joining;
mod overlapping;
mod record;

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use async_nats::jetstream::{self, AckKind, context::ConsumerInfoErrorKind};
use futures_util::{StreamExt, future::OptionFuture};
use parking_lot::Mutex;
use propylon_core::{
    cluster::intake::{Epochs, IntakeCounts, Partition},
    delivery::Fill,
    shard::SharedState,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{self, Instant},
};

use self::{
    counts::NEWS,
    joining::{Joining, Token, Whole},
    record::{Consumer, Overlap, Record, Seen, decoded},
};
use crate::{
    broker::{Broker, BrokerError, names},
    headers::DELIVERED,
};

pub use counts::{News, SourceCounts};

/// Between two words that what is unfinished is worked on.
const PROGRESS: Duration = Duration::from_secs(10);
/// After so many deliveries a message is a dead letter.
pub const DELIVERIES: u64 = 5;
/// Until the server is asked again for messages.
const AGAIN: Duration = Duration::from_millis(200);
/// At most this long is waited for room before the next look.
const BREATHER: Duration = Duration::from_millis(5);

enum Command {
    Finished(u64),
    Overlap(Option<u32>),
    Stop(oneshot::Sender<()>),
}

/// One partition that this worker has.
pub struct Source {
    commands: mpsc::UnboundedSender<Command>,
    counts: Arc<SourceCounts>,
    news: Arc<Mutex<Vec<News>>>,
    /// For its end.
    patience: Duration,
    keeps: Duration,
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
        let mut seen = before.as_ref().map_or_else(Seen::default, |entry| decoded(&entry.value));
        seen.catch_up(&stream).await.map_err(&failed)?;
        let info = stream.get_info().await.map_err(|error| failed(error.to_string()))?;
        let (last, keeps) = (info.state.last_sequence, info.config.max_age);
        seen.fit(last);
        let floor = seen.floor;
        let from = seen.overlap.map_or(floor, |overlap| floor.min(overlap.since));
        let mut record = Record {
            broker: broker.clone(),
            app: app.to_owned(),
            partition,
            epoch,
            begun: 0,
            key,
            seen,
            revision: before.map_or(0, |entry| entry.revision),
            stream,
        };
        let Some(consumer) = record.begin(from).await? else {
            return Err(failed("another worker takes it over".to_owned()));
        };
        let (commands, told) = mpsc::unbounded_channel();
        let (counts, news) = (Arc::<SourceCounts>::default(), Arc::<Mutex<Vec<News>>>::default());
        let overlap = record.seen.overlap;
        let mut epochs = Epochs::new();
        for &(total, shard, epoch, at) in &record.seen.epochs {
            epochs.entry((total, shard)).or_default().push((epoch, at));
        }
        let owner = Owner {
            tries: record.seen.tries,
            record,
            state: Arc::clone(state),
            partition: Partition::new(Arc::clone(state), epochs),
            consumer,
            counts: Arc::clone(&counts),
            news: Arc::clone(&news),
            finished: 0,
            taken: from,
            handled: floor,
            delivered: 0,
            entering: overlap,
            until: overlap.and_then(|overlap| overlap.end),
            unwritten: false,
            unburied: Vec::new(),
            forgotten_at: None,
            joining: Joining::default(),
        };
        tokio::spawn(owner.run(told));
        // It waits for the server itself, as long as that may take.
        Ok(Self { commands, counts, news, keeps, patience: broker.timeout() + Duration::from_secs(1) })
    }

    /// Every event up to this number has been handled: messages that are done with are acknowledged.
    pub fn finished(&self, number: u64) {
        let _ = self.commands.send(Command::Finished(number));
    }

    /// Two fleets of the bot bring events at the same time, the old one of so many shards; `None`: no longer.
    pub fn set_overlap(&self, old: Option<u32>) {
        let _ = self.commands.send(Command::Overlap(old));
    }

    /// What has happened since the last call.
    pub fn news(&self) -> Vec<News> {
        std::mem::take(&mut self.news.lock())
    }

    /// Takes no more. What was told to be finished before has been acknowledged when it returns, and the server deals with
    /// that as soon as it can; what is told later is too, while there is the source.
    ///
    /// # Errors
    /// No answer in time: away from the server it may wait to say what is finished. It stops when it can.
    pub async fn stop(&self) -> Result<(), BrokerError> {
        let (tell, told) = oneshot::channel();
        if self.commands.send(Command::Stop(tell)).is_ok() {
            let stopped = time::timeout(self.patience, told).await;
            let _ = stopped.map_err(|_| BrokerError::TimedOut("NATS does not take acknowledgements".to_owned()))?;
        }
        Ok(())
    }

    /// For how long the stream keeps what is not acknowledged; zero: without end.
    pub fn keeps(&self) -> Duration {
        self.keeps
    }

    /// What has become of its messages.
    pub fn counts(&self) -> &SourceCounts {
        &self.counts
    }
}

struct Owner {
    record: Record,
    /// Of the first message: owners who had it before.
    tries: u64,
    state: Arc<SharedState>,
    partition: Partition<Token>,
    consumer: Consumer,
    counts: Arc<SourceCounts>,
    news: Arc<Mutex<Vec<News>>>,
    /// Every event up to this number is dealt with.
    finished: u64,
    /// All messages up to this place in the stream have been taken.
    taken: u64,
    /// All messages up to this place an earlier owner has handled.
    handled: u64,
    /// How many messages the consumer has delivered.
    delivered: u64,
    /// Two fleets that an earlier owner told apart, until what has been read is as far as that.
    entering: Option<Overlap>,
    /// Where the old one of two fleets has ended in the stream.
    until: Option<u64>,
    /// The number of the last event of the time when there were two fleets.
    forgotten_at: Option<u64>,
    joining: Joining,
    /// Whether what is to be left for the next owner has changed since it was written.
    unwritten: bool,
    /// Dead letters that could not be kept yet, with the reason.
    unburied: Vec<(Whole, String)>,
}

/// What became of a message.
enum Taken {
    /// It is with the listeners, or out of the way.
    Done(Fill),
    /// Something before it was delivered and has not arrived.
    Gap,
    /// Another worker has the partition.
    Lost,
}

impl Owner {
    async fn run(mut self, mut told: mpsc::UnboundedReceiver<Command>) {
        let mut progress = time::interval_at(Instant::now() + PROGRESS, PROGRESS);
        let mut messages = None;
        let mut is_over = false;
        // A delivery was lost on its way: everything that is not acknowledged has to come again, in order.
        let mut is_torn = false;
        // Where the queue is full, until there is room.
        let mut room: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
        loop {
            if is_torn && !is_over {
                match self.begin_again().await {
                    Ok(true) => is_torn = false,
                    Ok(false) => is_over = self.lost(),
                    // The server is away; it is asked again.
                    Err(_) => {}
                }
            }
            if messages.is_none() && !is_over && !is_torn {
                let stream = self.consumer.stream().max_messages_per_batch(256).expires(Duration::from_secs(10));
                messages = stream.heartbeat(Duration::from_secs(3)).messages().await.ok();
            }
            let (is_reading, is_away) = (room.is_none(), messages.is_none() && !is_over);
            let next: OptionFuture<_> = messages.as_mut().filter(|_| is_reading).map(StreamExt::next).into();
            tokio::select! {
                biased;
                command = told.recv() => match command {
                    Some(Command::Finished(number)) => {
                        self.finish(number).await;
                        is_over = is_over || self.forget_overlap().await;
                    }
                    Some(Command::Overlap(Some(old))) => {
                        is_over = is_over || self.begin_overlap(old).await;
                    }
                    Some(Command::Overlap(None)) => is_over = is_over || self.look_for_end().await,
                    Some(Command::Stop(tell)) => {
                        (messages, room) = (None, None);
                        is_over = true;
                        let broker = &self.record.broker;
                        if broker.is_connected() {
                            let _ = time::timeout(broker.timeout(), broker.client().flush()).await;
                        }
                        let _ = tell.send(());
                    }
                    None => return,
                },
                _ = progress.tick() => {
                    self.tell_progress().await;
                    is_over = is_over || self.catch_up().await;
                    // The one below asks only where nothing comes meanwhile.
                    is_over = is_over || (self.until.is_some() && self.look_for_end().await);
                }
                Some(()) = OptionFuture::from(room.as_mut()) => room = None,
                Some(message) = next => if let Some(Ok(message)) = message {
                    match self.take(message).await {
                        Taken::Done(Fill::Low) => {}
                        Taken::Done(_) => {
                            let queue = Arc::clone(self.state.queue());
                            room = Some(Box::pin(async move {
                                // Looked at again now and then: a queue that has emptied meanwhile tells nobody.
                                while queue.fill() != Fill::Low {
                                    let _ = time::timeout(BREATHER, queue.room()).await;
                                }
                            }));
                        }
                        Taken::Gap => (messages, is_torn) = (None, true),
                        Taken::Lost => (messages, is_over) = (None, true),
                    }
                } else {
                    messages = None;
                    // It may have been taken away between two requests, of which only the next one would tell.
                    if let Err(error) = self.consumer.get_info().await
                        && error.kind() == ConsumerInfoErrorKind::NotFound
                    {
                        is_over = self.lost();
                    }
                },
                () = time::sleep(AGAIN), if is_away => {}
                () = time::sleep(AGAIN), if self.until.is_some() && !is_over => {
                    is_over = is_over || self.look_for_end().await;
                }
            }
        }
    }

    fn lost(&self) -> bool {
        self.tell(News::Failed("another worker has taken the partition over".to_owned()));
        true
    }

    /// A new consumer, of all that is not acknowledged; whether the partition is still ours.
    async fn begin_again(&mut self) -> Result<bool, BrokerError> {
        let floor = self.raise_floor(self.taken);
        let Some(consumer) = self.record.begin(floor).await? else { return Ok(false) };
        self.consumer = consumer;
        self.delivered = 0;
        Ok(true)
    }

    /// The place up to which all is finished, of what has been taken up to `taken`; it is noted for the next owner.
    fn raise_floor(&mut self, taken: u64) -> u64 {
        let open = self.partition.unfinished().flatten().chain(self.joining.waiting());
        let open = open.chain(self.unburied.iter().flat_map(|(whole, _)| &whole.ackers));
        let floor = open.map(|(sequence, _)| *sequence).min().map_or(taken, |first| taken.min(first - 1));
        if floor > self.record.seen.floor {
            // Who had it before has not failed at what comes first now.
            (self.record.seen.floor, self.record.seen.tries) = (floor, 0);
        }
        floor
    }

    /// What could not be kept is tried again. Whether the partition is lost.
    async fn catch_up(&mut self) -> bool {
        for (whole, reason) in std::mem::take(&mut self.unburied) {
            self.bury(whole, reason).await;
        }
        self.unwritten && self.write().await
    }

    /// For the next owner. Whether the partition is lost.
    async fn write(&mut self) -> bool {
        let written = self.record.write().await;
        // Where nobody answers, it is tried again, or the lease runs out before long.
        self.unwritten = written.is_err();
        written.is_ok_and(|is_ours| !is_ours) && self.lost()
    }

    fn tell(&self, news: News) {
        let mut told = self.news.lock();
        if told.len() < NEWS {
            told.push(news);
        }
    }

    fn keep_epochs(&mut self, taken: u64) {
        self.raise_floor(taken);
        // Nobody reads what comes before the floor, nor what there was before two fleets overlapped.
        let floor = self.record.seen.floor;
        let floor = self.record.seen.overlap.map_or(floor, |overlap| floor.min(overlap.since));
        let epochs = self.partition.epochs(floor).iter();
        let epochs = epochs.flat_map(|(place, seen)| seen.iter().map(move |begun| (*place, *begun)));
        self.record.seen.epochs = epochs.map(|((total, shard), (epoch, at))| (total, shard, epoch, at)).collect();
    }

    async fn take(&mut self, message: jetstream::Message) -> Taken {
        let Ok(info) = message.info() else { return Taken::Done(Fill::Low) };
        let (sequence, pending, published) = (info.stream_sequence, info.pending, info.published.unix_timestamp());
        let deliveries = u64::try_from(info.delivered).unwrap_or(1).max(1);
        if info.consumer_sequence != self.delivered + 1 {
            return Taken::Gap;
        }
        self.delivered += 1;
        self.counts.lag.store(pending, Relaxed);
        if sequence <= self.taken {
            self.counts.redelivered.fetch_add(1, Relaxed);
            self.take_again(sequence, message).await;
            return Taken::Done(Fill::Low);
        }
        self.taken = sequence;
        if let Some(Overlap { old, .. }) = self.entering.take_if(|overlap| sequence > overlap.since) {
            self.partition.begin_overlap(old);
        }
        let is_handled = sequence <= self.handled;
        let tries = if is_handled { 0 } else { std::mem::take(&mut self.tries) };
        let deliveries = deliveries + tries;
        self.counts.redelivered.fetch_add(u64::from(deliveries > 1), Relaxed);
        let expired = self.joining.missing(&message, sequence, self.record.seen.floor);
        if expired > 0 {
            self.counts.expired.fetch_add(expired, Relaxed);
            self.tell(News::Expired(expired));
        }
        let taken = match self.joining.join(message, deliveries, sequence, published) {
            Some(whole) if is_handled => self.recount(whole).await,
            Some(whole) => self.take_whole(whole).await,
            None => Taken::Done(Fill::Low),
        };
        if self.until.is_some_and(|until| sequence >= until) && self.end_overlap().await {
            return Taken::Lost;
        }
        self.tell_counts();
        taken
    }

    /// One that is with the listeners already, or done with: another acknowledgement is asked for.
    async fn take_again(&mut self, sequence: u64, message: jetstream::Message) {
        let (_, acker) = message.split();
        let open = self.partition.unfinished_mut().flatten().chain(self.joining.waiting_mut());
        let mut open = open.chain(self.unburied.iter_mut().flat_map(|(whole, _)| &mut whole.ackers));
        match open.find(|(other, _)| *other == sequence) {
            Some((_, old)) => *old = acker,
            None => {
                let _ = acker.ack().await;
            }
        }
    }

    /// What an earlier owner has handled comes once more, for the account of two fleets.
    async fn recount(&mut self, whole: Whole) -> Taken {
        if let Ok(events) = self.partition.read(&whole.frame) {
            self.partition.recount(events, self.taken);
        }
        for (_, acker) in whole.ackers {
            let _ = acker.ack().await;
        }
        Taken::Done(Fill::Low)
    }

    async fn take_whole(&mut self, whole: Whole) -> Taken {
        self.counts.messages.fetch_add(1, Relaxed);
        if whole.deliveries > DELIVERIES {
            let reason =
                format!("not finished in {DELIVERIES} deliveries: a listener takes too long, or ends the process");
            self.bury(whole, reason).await;
            return Taken::Done(Fill::Low);
        }
        let events = match self.partition.read(&whole.frame) {
            Ok(events) => events,
            Err(error) => {
                self.bury(whole, error.to_string()).await;
                return Taken::Done(Fill::Low);
            }
        };
        if self.partition.note(&events, self.taken) {
            let first = whole.ackers.iter().map(|(sequence, _)| *sequence).min();
            self.keep_epochs(first.unwrap_or(self.taken) - 1);
            // Kept before anything of it is handled.
            if self.write().await {
                return Taken::Lost;
            }
        }
        // A dead letter that somebody has sent again.
        let again = whole.headers.get(DELIVERED).is_some();
        let before = self.partition.number();
        let fill = self.partition.feed(events, self.taken, again, whole.ackers);
        if self.partition.number() == before {
            // All of it may be stale, and so be done with.
            self.finish(self.finished).await;
        }
        Taken::Done(fill)
    }

    async fn finish(&mut self, number: u64) {
        self.finished = number.max(self.finished);
        for (_, acker) in self.partition.finish(number).into_iter().flatten() {
            // One that does not arrive is a message that comes again.
            let _ = acker.ack().await;
        }
        self.tell_counts();
    }

    async fn tell_progress(&mut self) {
        if !self.record.broker.is_connected() {
            // It would reach the server when it is there again, and hold up what is more than the client keeps for it.
            return;
        }
        for (_, acker) in self.joining.orphans() {
            let _ = acker.ack().await;
        }
        let open = self.partition.unfinished().flatten().chain(self.joining.waiting());
        for (_, acker) in open.chain(self.unburied.iter().flat_map(|(whole, _)| &whole.ackers)) {
            let _ = acker.ack_with(AckKind::Progress).await;
        }
    }

    fn tell_counts(&self) {
        let IntakeCounts { events, stale, overlapped, known, .. } = self.partition.counts();
        self.counts.known.store(known, Relaxed);
        self.counts.last.store(self.partition.number(), Relaxed);
        self.counts.events.store(events, Relaxed);
        self.counts.stale.store(stale, Relaxed);
        self.counts.overlapped.store(overlapped, Relaxed);
        self.counts.unfinished.store(self.partition.open() as u64, Relaxed);
    }
}
