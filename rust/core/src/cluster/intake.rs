//! From messages to the listeners of a worker: what is stale, what was there already, and when a message is done with.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;

use super::wire::{self, Event, Inflater, Malformed};
use crate::{
    clock,
    delivery::{Dispatch, Fill, Heard, content_hash},
    protocol::event::EventType,
    shard::SharedState,
};

/// What a partition has seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct IntakeCounts {
    /// Events that were given to listeners, or that nobody here hears.
    pub events: u64,
    /// Events of an epoch that had been followed by a later one.
    pub stale: u64,
    /// Events that an earlier owner of the shard had published as well.
    pub known: u64,
    /// Events that another fleet of the same bot had brought.
    pub overlapped: u64,
    /// Messages that could not be read.
    pub malformed: u64,
}

/// The epochs that a partition has seen, by total and shard: each one with the place in the stream where it began. What
/// comes before that place and was not finished comes once more to the next owner, and is not stale.
pub type Epochs = HashMap<(u32, u32), Vec<(u64, u64)>>;

/// Two fleets of the bot bring events at the same time. What the old one brings is given out as it comes. What the new one
/// brings waits, because the old one may be late and still bring what was before it; it is given out, without what the old
/// one has brought, when that has ended.
#[derive(Debug)]
struct Overlap<A> {
    /// The number of shards of the old fleet.
    old: u32,
    /// Brought by the old one more often than by the new one; below zero the other way round.
    ahead: HashMap<u128, i64>,
    held: VecDeque<(Vec<(u128, Event)>, A)>,
}

/// One partition in the worker that has it. `A` is what acknowledges a message.
pub struct Partition<A> {
    state: Arc<SharedState>,
    inflater: Inflater,
    /// Of the last event: its number since the partition was taken.
    number: u64,
    epochs: Epochs,
    /// By total and shard, the session's tag and the last sequence number that came.
    sessions: HashMap<(u32, u32), (u64, u64)>,
    /// By the number of their last event, messages whose events are not all finished.
    unfinished: VecDeque<(u64, A)>,
    overlap: Option<Overlap<A>>,
    counts: IntakeCounts,
}

impl<A> Partition<A> {
    /// One that gives its events to `state`, a shard that no connection feeds, and has seen `epochs`.
    pub fn new(state: Arc<SharedState>, epochs: Epochs) -> Self {
        Self {
            state,
            inflater: Inflater::new(),
            number: 0,
            epochs,
            sessions: HashMap::new(),
            unfinished: VecDeque::new(),
            overlap: None,
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

    /// Notes the epochs of events at a place in the stream; whether one is new, to be kept before the events are given out:
    /// then no later owner takes an older one's events behind it for news.
    pub fn note(&mut self, events: &[Event], at: u64) -> bool {
        let mut is_new = false;
        for event in events {
            let seen = self.epochs.entry((event.total, event.shard)).or_default();
            if seen.last().is_none_or(|&(epoch, _)| epoch < event.epoch) {
                seen.push((event.epoch, at));
                is_new = true;
            }
        }
        is_new
    }

    /// The epochs seen, without those that tell nothing of what comes behind `floor`.
    pub fn epochs(&mut self, floor: u64) -> &Epochs {
        for seen in self.epochs.values_mut() {
            let begun = seen.partition_point(|&(_, at)| at <= floor);
            seen.drain(..begun.saturating_sub(1));
        }
        &self.epochs
    }

    /// A total is over: nothing of it comes any more.
    pub fn forget(&mut self, total: u32) {
        self.epochs.retain(|&(of, _), _| of != total);
        self.sessions.retain(|&(of, _), _| of != total);
    }

    fn is_stale(&self, event: &Event, at: u64) -> bool {
        let seen = self.epochs.get(&(event.total, event.shard));
        seen.is_some_and(|seen| seen.iter().any(|&(epoch, begun)| epoch > event.epoch && begun < at))
    }

    /// Gives events to the listeners; `token` comes back from [`Partition::finish`] when all are done with. `at`: their place
    /// in the stream.
    ///
    /// `again`: somebody wants them handled although they are old.
    pub fn feed(&mut self, events: Vec<Event>, at: u64, again: bool, token: A) -> Fill {
        let mut fresh = Vec::with_capacity(events.len());
        let mut held = Vec::new();
        for event in events {
            if again {
                fresh.push(event);
                continue;
            }
            if self.is_stale(&event, at) {
                self.counts.stale += 1;
                continue;
            }
            if is_known(&mut self.sessions, &event) {
                self.counts.known += 1;
                continue;
            }
            match &mut self.overlap {
                Some(overlap) if counts(&event) => {
                    let hash = content_hash(&event.name, &event.data);
                    let ahead = overlap.ahead.entry(hash).or_default();
                    if event.total == overlap.old {
                        *ahead += 1;
                        fresh.push(event);
                        continue;
                    }
                    *ahead -= 1;
                    if *ahead >= 0 {
                        self.counts.overlapped += 1;
                    } else {
                        held.push((hash, event));
                    }
                }
                _ => fresh.push(event),
            }
        }
        let fill = self.give_out(fresh);
        match &mut self.overlap {
            Some(overlap) if !held.is_empty() => overlap.held.push_back((held, token)),
            _ => self.unfinished.push_back((self.number, token)),
        }
        fill
    }

    /// Events that an earlier owner has handled: they are only counted, for what the other fleet brings of them, and for
    /// the numbers of their sessions.
    pub fn recount(&mut self, events: Vec<Event>, at: u64) {
        for event in events {
            if self.is_stale(&event, at) || is_known(&mut self.sessions, &event) {
                continue;
            }
            let Some(overlap) = &mut self.overlap else { continue };
            if counts(&event) {
                let ahead = overlap.ahead.entry(content_hash(&event.name, &event.data)).or_default();
                *ahead += if event.total == overlap.old { 1 } else { -1 };
            }
        }
    }

    fn give_out(&mut self, events: Vec<Event>) -> Fill {
        if events.is_empty() {
            return Fill::Low;
        }
        let now = clock::now();
        let mut dispatches = Vec::with_capacity(events.len());
        for event in events {
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
        self.state.feed(dispatches, Some(self.number))
    }

    /// From now on another fleet brings events as well as this one, which had so many shards.
    pub fn begin_overlap(&mut self, old: u32) {
        if self.overlap.as_ref().is_none_or(|overlap| overlap.old != old) {
            self.end_overlap();
            self.overlap = Some(Overlap { old, ahead: HashMap::new(), held: VecDeque::new() });
        }
    }

    /// All that the old fleet brought has come: what the new one has brought alone is given out.
    pub fn end_overlap(&mut self) -> Fill {
        let Some(mut overlap) = self.overlap.take() else { return Fill::Low };
        let mut fill = Fill::Low;
        // What the old one has brought are the first ones of the same bytes.
        let mut matched: HashMap<u128, i64> = HashMap::new();
        for (hash, _) in overlap.held.iter().flat_map(|(events, _)| events) {
            *matched.entry(*hash).or_default() += 1;
        }
        for (hash, count) in &mut matched {
            *count += overlap.ahead.remove(hash).unwrap_or_default().min(0);
        }
        for (events, token) in overlap.held {
            let mut left = Vec::with_capacity(events.len());
            for (hash, event) in events {
                let matched = matched.entry(hash).or_default();
                if *matched > 0 {
                    *matched -= 1;
                    self.counts.overlapped += 1;
                } else {
                    left.push(event);
                }
            }
            let one = self.give_out(left);
            fill = if one == Fill::Low { fill } else { one };
            self.unfinished.push_back((self.number, token));
        }
        fill
    }

    /// Whether two fleets bring events.
    pub fn overlaps(&self) -> bool {
        self.overlap.is_some()
    }

    /// Every event up to `number` is finished: the tokens of the messages that are done with.
    pub fn finish(&mut self, number: u64) -> Vec<A> {
        let done = self.unfinished.partition_point(|(last, _)| *last <= number);
        self.unfinished.drain(..done).map(|(_, token)| token).collect()
    }

    /// The messages that are not done with.
    pub fn unfinished(&self) -> impl Iterator<Item = &A> {
        let held = self.overlap.iter().flat_map(|overlap| overlap.held.iter().map(|(_, token)| token));
        self.unfinished.iter().map(|(_, token)| token).chain(held)
    }

    /// How many these are, without walking them.
    pub fn open(&self) -> usize {
        self.unfinished.len() + self.overlap.as_ref().map_or(0, |overlap| overlap.held.len())
    }

    /// The same messages, to be changed.
    pub fn unfinished_mut(&mut self) -> impl Iterator<Item = &mut A> {
        let held = self.overlap.iter_mut().flat_map(|overlap| overlap.held.iter_mut().map(|(_, token)| token));
        self.unfinished.iter_mut().map(|(_, token)| token).chain(held)
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

/// Whether an event with this number of its session has come before.
fn is_known(sessions: &mut HashMap<(u32, u32), (u64, u64)>, event: &Event) -> bool {
    let Some(sequence) = event.sequence else { return false };
    let (tag, last) = sessions.entry((event.total, event.shard)).or_insert((event.tag, 0));
    let is_known = *tag == event.tag && sequence <= *last;
    if !is_known {
        (*tag, *last) = (event.tag, sequence);
    }
    is_known
}

/// Whether both fleets bring it; these two are of a session.
fn counts(event: &Event) -> bool {
    !matches!(&*event.name, "READY" | "RESUMED")
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
            tag: 7,
            sequence: None,
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
            let is_new = partition.note(&events, number.into());
            assert_eq!(is_new, number == 0 || number == 2);
            partition.feed(events, number.into(), false, number);
        }
        assert_eq!(contents(&state), ["1", "2", "3", "4"]);
        assert_eq!(partition.counts().stale, 1);
        // To whoever follows, what was not finished comes again: "2", "3" and the late one.
        let (mut next, state) = self::partition();
        next.epochs = partition.epochs(1).clone();
        for (at, (epoch, content)) in (1..).zip([(5, "2"), (9, "3"), (5, "late"), (9, "4")]) {
            let events = vec![event((0, 1), epoch, content)];
            assert!(!next.note(&events, at));
            next.feed(events, at, false, 0);
        }
        assert_eq!(contents(&state), ["2", "3", "4"]);
        assert_eq!(partition.epochs(2)[&(1, 0)], [(9, 2)]);
    }

    #[test]
    fn a_message_is_done_with_when_its_last_event_is() {
        let (mut partition, _state) = partition();
        partition.feed(vec![event((0, 1), 5, "1"), event((0, 1), 5, "2")], 1, false, 1);
        partition.feed(vec![], 2, false, 2);
        partition.feed(vec![event((0, 1), 5, "3")], 3, false, 3);
        assert_eq!(partition.finish(1), Vec::<u32>::new());
        assert_eq!(partition.finish(2), [1, 2]);
        assert_eq!(partition.finish(3), [3]);
        assert_eq!(partition.unfinished().count(), 0);
    }

    #[test]
    fn what_an_earlier_owner_published_late_or_before_is_known_unless_it_is_wanted_again() {
        let (mut partition, state) = partition();
        let numbered = |epoch, tag, sequence: u64| {
            let content = sequence.to_string();
            vec![Event { tag, sequence: Some(sequence), ..event((0, 1), epoch, &content) }]
        };
        for (at, (epoch, tag, sequence)) in
            (1..).zip([(5, 1, 1), (5, 1, 2), (9, 1, 2), (9, 1, 3), (9, 2, 1), (9, 2, 2)])
        {
            let events = numbered(epoch, tag, sequence);
            partition.note(&events, at);
            partition.feed(events, at, false, 0);
        }
        partition.feed(numbered(5, 1, 2), 9, true, 0);
        assert_eq!(contents(&state), ["1", "2", "3", "1", "2", "2"]);
        assert_eq!(partition.counts().known, 1);
    }

    #[test]
    fn of_two_fleets_the_old_one_is_heard_and_then_what_the_new_one_alone_has_brought() {
        let (mut partition, state) = partition();
        partition.begin_overlap(8);
        let feed = |partition: &mut Partition<u32>, total, content: &str, token: u32| {
            partition.feed(vec![event((0, total), 5, content)], token.into(), false, token);
        };
        // The old fleet is late: the new one begins with what comes behind "a".
        for (token, (total, content)) in
            (0..).zip([(8, "a"), (16, "b"), (16, "c"), (16, "c"), (8, "b"), (8, "c"), (16, "d"), (8, "x"), (16, "x")])
        {
            feed(&mut partition, total, content, token);
        }
        assert_eq!(contents(&state), ["a", "b", "c", "x"]);
        assert_eq!(partition.finish(u64::MAX), [0, 4, 5, 7, 8]);
        assert_eq!(partition.unfinished().count(), 4);
        partition.end_overlap();
        assert_eq!(contents(&state), ["c", "d"]);
        assert_eq!(partition.counts().overlapped, 3);
        assert_eq!(partition.finish(partition.number()), [1, 2, 3, 6]);
        feed(&mut partition, 16, "x", 9);
        assert_eq!(contents(&state), ["x"]);
    }

    #[test]
    fn what_an_earlier_owner_has_handled_is_counted_and_not_given_out() {
        let (mut partition, state) = partition();
        partition.begin_overlap(8);
        // Of the older owner: "late" came behind its successor, and was dropped.
        partition.epochs.insert((8, 0), vec![(5, 1), (9, 3)]);
        for (at, (epoch, content)) in (1..).zip([(5, "a"), (5, "b"), (9, "c"), (5, "late")]) {
            partition.recount(vec![event((0, 8), epoch, content)], at);
        }
        partition.recount(vec![event((0, 16), 7, "a")], 5);
        for (token, content) in (0..).zip(["b", "c", "late", "d"]) {
            partition.feed(vec![event((0, 16), 7, content)], 6, false, token);
        }
        assert_eq!(contents(&state), Vec::<String>::new());
        assert_eq!(partition.finish(0), [0, 1]);
        partition.end_overlap();
        assert_eq!(contents(&state), ["late", "d"]);
        assert_eq!(partition.counts().overlapped, 2);
    }
}
