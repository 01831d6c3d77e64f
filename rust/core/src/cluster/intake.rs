//! From messages to the listeners of a worker: what is stale, what was there already, and when a message is done with.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::wire::{self, Event, Inflater, Malformed};
use crate::{
    clock,
    delivery::{Dispatch, Fill, Heard},
    protocol::event::EventType,
    shard::SharedState,
};

/// While two fleets overlap, so long it is remembered what came.
const REMEMBERED: Duration = Duration::from_mins(1);

/// What a partition has seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct IntakeCounts {
    /// Events that were given to listeners, or that nobody here hears.
    pub events: u64,
    /// Events of an epoch that had been followed by a later one.
    pub stale: u64,
    /// Events that another fleet of the same bot had brought.
    pub overlapped: u64,
    /// Messages that could not be read.
    pub malformed: u64,
}

/// The epochs that a partition has seen, by total and shard.
pub type Epochs = HashMap<(u32, u32), u64>;

/// One partition in the worker that has it. `A` is what acknowledges a message.
pub struct Partition<A> {
    state: Arc<SharedState>,
    inflater: Inflater,
    /// Of the last event: its number since the partition was taken.
    number: u64,
    epochs: Epochs,
    /// By the number of their last event, messages whose events are not all finished.
    unfinished: VecDeque<(u64, A)>,
    /// What came of which total, while fleets overlap.
    overlap: Option<HashMap<u128, Seen>>,
    swept: Duration,
    counts: IntakeCounts,
}

#[derive(Debug, Default)]
struct Seen {
    at: Duration,
    handled: u32,
    by_total: Vec<(u32, u32)>,
}

impl<A> Partition<A> {
    /// One that gives its events to `state`, a shard that no connection feeds, and has seen `epochs`.
    pub fn new(state: Arc<SharedState>, epochs: Epochs) -> Self {
        Self {
            state,
            inflater: Inflater::new(),
            number: 0,
            epochs,
            unfinished: VecDeque::new(),
            overlap: None,
            swept: Duration::ZERO,
            counts: IntakeCounts::default(),
        }
    }

    /// The events of a message.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn read(&mut self, frame: &[u8]) -> Result<Vec<Event>, Malformed> {
        let events = self.inflater.inflate(frame).and_then(|body| wire::read(&body));
        self.counts.malformed += u64::from(events.is_err());
        events
    }

    /// Notes the epochs of events; the epochs seen where one is new, to be kept before the events are given out: then no
    /// later owner takes an older one's events for news.
    pub fn note(&mut self, events: &[Event]) -> Option<&Epochs> {
        let mut is_new = false;
        for event in events {
            let seen = self.epochs.entry((event.total, event.shard)).or_default();
            if event.epoch > *seen {
                *seen = event.epoch;
                is_new = true;
            }
        }
        is_new.then_some(&self.epochs)
    }

    /// Gives events to the listeners; `token` comes back from [`Partition::finish`] when all are done with.
    pub fn feed(&mut self, events: Vec<Event>, token: A) -> Fill {
        let now = clock::now();
        let mut dispatches = Vec::with_capacity(events.len());
        for event in events {
            if self.epochs.get(&(event.total, event.shard)).is_some_and(|&seen| seen > event.epoch) {
                self.counts.stale += 1;
                continue;
            }
            if !self.is_first(&event, now) {
                self.counts.overlapped += 1;
                continue;
            }
            self.number += 1;
            self.counts.events += 1;
            let known = EventType::from_name(event.name.as_bytes());
            dispatches.push(Dispatch {
                event: known.unwrap_or(EventType::UNKNOWN),
                name: known.is_none().then_some(event.name),
                shard_id: event.shard,
                sequence: Some(self.number),
                received_at: now,
                data: Bytes::clone(&event.data),
                part: None,
                guild_change: event.guild_change,
                heard: Heard::default(),
            });
        }
        self.unfinished.push_back((self.number, token));
        if dispatches.is_empty() { Fill::Low } else { self.state.feed(dispatches, Some(self.number)) }
    }

    /// Whether no other fleet has brought it.
    fn is_first(&mut self, event: &Event, now: Duration) -> bool {
        let Some(overlap) = &mut self.overlap else { return true };
        if matches!(&*event.name, "READY" | "RESUMED") {
            return true;
        }
        if now > self.swept + REMEMBERED {
            self.swept = now;
            overlap.retain(|_, seen| seen.at + REMEMBERED > now);
        }
        let seen = overlap.entry(wire::content_hash(&event.name, &event.data)).or_default();
        seen.at = now;
        let count = match seen.by_total.iter_mut().find(|(total, _)| *total == event.total) {
            Some((_, count)) => count,
            None => {
                seen.by_total.push((event.total, 0));
                &mut seen.by_total.last_mut().expect("just pushed").1
            }
        };
        *count += 1;
        let is_first = *count > seen.handled;
        seen.handled = seen.handled.max(*count);
        is_first
    }

    /// Whether two fleets of the bot bring events at the same time.
    pub fn set_overlap(&mut self, overlaps: bool) {
        if overlaps != self.overlap.is_some() {
            self.overlap = overlaps.then(HashMap::new);
        }
    }

    /// Every event up to `number` is finished: the tokens of the messages that are done with.
    pub fn finish(&mut self, number: u64) -> Vec<A> {
        let done = self.unfinished.partition_point(|(last, _)| *last <= number);
        self.unfinished.drain(..done).map(|(_, token)| token).collect()
    }

    /// The messages that are not done with, oldest first.
    pub fn unfinished(&self) -> impl Iterator<Item = &A> {
        self.unfinished.iter().map(|(_, token)| token)
    }

    /// The number of the last event.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What it has seen.
    pub fn counts(&self) -> IntakeCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        delivery::{Overflow, QueueConfig, ShardQueue},
        protocol::event::EventSet,
        session::Session,
    };

    fn partition() -> (Partition<u32>, Arc<SharedState>) {
        let config = QueueConfig { bytes: 1 << 20, events: 1_000, overflow: Overflow::Pause };
        let subscriptions = Arc::<crate::delivery::Subscriptions>::default();
        subscriptions.add(0, None, EventSet::ALL);
        let id = "partition".to_owned();
        let session = Session { id, sequence: 0, resume_url: None, shard: None, intents: 0 };
        let queue = Arc::new(ShardQueue::new(1, config));
        let state = SharedState::new(queue, subscriptions, Arc::default(), Some(session));
        (Partition::new(Arc::clone(&state), Epochs::new()), state)
    }

    fn event(shard: (u32, u32), epoch: u64, content: &str) -> Event {
        Event {
            name: "MESSAGE_CREATE".into(),
            shard: shard.0,
            total: shard.1,
            epoch,
            sequence: Some(9),
            received_at: 0,
            guild_change: None,
            data: Bytes::from(content.to_owned()),
        }
    }

    fn contents(state: &SharedState) -> Vec<String> {
        let lot = state.queue().lend(99);
        state.queue().done(lot.iter().map(|loan| loan.number));
        lot.iter().map(|loan| String::from_utf8_lossy(&loan.dispatch.data).into_owned()).collect()
    }

    #[test]
    fn an_older_epoch_is_dropped_only_behind_a_newer_one() {
        let (mut partition, state) = partition();
        for (number, (epoch, content)) in (0..).zip([(5, "1"), (5, "2"), (9, "3"), (5, "late"), (9, "4")]) {
            let events = vec![event((0, 1), epoch, content)];
            let is_new = partition.note(&events).is_some();
            assert_eq!(is_new, number == 0 || number == 2);
            partition.feed(events, number);
        }
        assert_eq!(contents(&state), ["1", "2", "3", "4"]);
        assert_eq!(partition.counts().stale, 1);
    }

    #[test]
    fn a_message_is_done_with_when_its_last_event_is() {
        let (mut partition, _state) = partition();
        partition.feed(vec![event((0, 1), 5, "1"), event((0, 1), 5, "2")], 1);
        partition.feed(vec![], 2);
        partition.feed(vec![event((0, 1), 5, "3")], 3);
        assert_eq!(partition.finish(1), Vec::<u32>::new());
        assert_eq!(partition.finish(2), [1, 2]);
        assert_eq!(partition.finish(3), [3]);
        assert_eq!(partition.unfinished().count(), 0);
    }

    #[test]
    fn of_two_fleets_each_event_is_taken_as_often_as_it_was_sent() {
        let (mut partition, state) = partition();
        partition.set_overlap(true);
        for (total, content) in [(8, "a"), (16, "a"), (16, "b"), (16, "a"), (8, "b"), (8, "a"), (8, "c")] {
            partition.feed(vec![event((0, total), 5, content)], 0);
        }
        assert_eq!(contents(&state), ["a", "b", "a", "c"]);
        assert_eq!(partition.counts().overlapped, 3);
        partition.set_overlap(false);
        partition.feed(vec![event((0, 16), 5, "c")], 0);
        assert_eq!(contents(&state), ["c"]);
    }
}
