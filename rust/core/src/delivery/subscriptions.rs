//! Who listens to what. A slot is a filter, or none, and the events for which it is asked; matching happens once, here,
//! before anything is queued.
//!
//! Slots come and go one by one, from the event loop's thread, while the I/O thread reads. An event that nobody listens to
//! and one that everybody gets take no lock.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{
    filter::{Filter, Matcher},
    slot::Slot,
};
use crate::protocol::event::{EventSet, EventType};

/// What an event matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slots {
    /// Nobody listens to this event.
    Unheard,
    /// Somebody does, but every filter said no.
    Filtered,
    /// These slots want it.
    Heard(Heard),
}

/// The slots that want an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// How often slots had come or gone when it was matched.
    pub generation: u64,
    /// The slots below 64, bit by bit.
    pub low: u64,
    /// The others, in rising order; most events have none.
    pub high: Option<Box<[Slot]>>,
}

/// The subscriptions of one shard, or of several that are heard alike.
#[derive(Debug, Default)]
pub struct Subscriptions {
    generation: AtomicU64,
    heard: AtomicSet,
    /// Those of them with slot 0 alone.
    plain: AtomicSet,
    matchers: Mutex<Matchers>,
}

/// By event; `None`: nobody listens.
#[derive(Debug)]
struct Matchers([Option<Box<Matcher>>; EventType::SLOTS]);

impl Default for Matchers {
    fn default() -> Self {
        Self([const { None }; EventType::SLOTS])
    }
}

impl Subscriptions {
    /// Asks a slot for these events too. `filter` is the slot's, the same each time; `None` for slot 0 and for no other.
    /// Names that the table of events does not know are heard where [`EventType::UNKNOWN`] is.
    ///
    /// Returns the generation from which on events may have matched it.
    pub fn add(&self, slot: Slot, filter: Option<&Filter>, events: EventSet) -> u64 {
        debug_assert_eq!(slot == 0, filter.is_none());
        self.change(events, |matcher| match filter {
            None => matcher.insert_plain(),
            Some(filter) => filter.insert_into(matcher, slot),
        })
    }

    /// Asks a slot for these events no more; for each of them it was added once. Returns the generation from which on
    /// nothing matches it.
    pub fn remove(&self, slot: Slot, events: EventSet) -> u64 {
        self.change(events, |matcher| matcher.remove(slot))
    }

    fn change(&self, events: EventSet, change: impl Fn(&mut Matcher)) -> u64 {
        let mut matchers = self.matchers.lock();
        for event in events.iter() {
            let place = &mut matchers.0[event.index()];
            let matcher = place.get_or_insert_default();
            change(matcher);
            self.plain.put(event, matcher.is_plain());
            self.heard.put(event, !matcher.is_empty());
            place.take_if(|matcher| matcher.is_empty());
        }
        // Under the lock, as it is read: an event that matched a slot before its number went to another filter tells so.
        self.generation.fetch_add(1, Ordering::Release) + 1
    }

    /// Whether and where `event` is heard. `data` is its `d`.
    #[inline]
    pub fn matches(&self, event: EventType, data: &[u8]) -> Slots {
        if !self.heard.contains(event) {
            return Slots::Unheard;
        }
        // Before what it is for: an event may have matched later changes than it says, but none that it does not know of.
        let generation = self.generation.load(Ordering::Acquire);
        if self.plain.contains(event) {
            return Slots::Heard(Heard { generation, low: 1, high: None });
        }
        let matchers = self.matchers.lock();
        let Some(matcher) = &matchers.0[event.index()] else { return Slots::Unheard };
        let (mut low, mut high) = (0, Vec::new());
        matcher.matches(data, |slot| {
            if slot < u64::BITS {
                low |= 1 << slot;
            } else {
                high.push(slot);
            }
        });
        let generation = self.generation.load(Ordering::Acquire);
        drop(matchers);
        if low == 0 && high.is_empty() {
            return Slots::Filtered;
        }
        high.sort_unstable();
        high.dedup();
        Slots::Heard(Heard { generation, low, high: (!high.is_empty()).then(|| high.into()) })
    }
}

/// An [`EventSet`] that one thread writes and another reads.
#[derive(Debug, Default)]
struct AtomicSet([AtomicU64; 2]);

const _: () = assert!(EventType::SLOTS <= 128, "an AtomicSet has 128 bits");

impl AtomicSet {
    #[inline]
    fn contains(&self, event: EventType) -> bool {
        let index = event.index();
        self.0[index / 64].load(Ordering::Acquire) >> (index % 64) & 1 != 0
    }

    fn put(&self, event: EventType, whether: bool) {
        let (word, bit) = (&self.0[event.index() / 64], 1 << (event.index() % 64));
        if whether {
            word.fetch_or(bit, Ordering::Release);
        } else {
            word.fetch_and(!bit, Ordering::Release);
        }
    }
}
