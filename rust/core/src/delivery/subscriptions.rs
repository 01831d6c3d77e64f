//! Who listens to what. A slot is a filter, or none, and the events for which it is asked; matching happens once, here,
//! before anything is queued.
//!
//! Slots come and go one by one, from the event loop's thread, while the I/O thread reads. An event that nobody listens to
//! and one that everybody gets all of take no lock.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    filter::{Filter, Matcher},
    projection::{Projection, Projections},
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
    /// These slots want it, and so much of it.
    Heard(Heard, Projections),
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
    /// Those of which some slot wants a part only.
    projected: AtomicSet,
    matchers: Mutex<Matchers>,
    projections: Mutex<HashMap<EventType, HashMap<Slot, Arc<Projection>>>>,
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

    /// Of an event that this slot matches, its listeners want this part only; `None`: all of it, as from the beginning.
    ///
    /// To be told before the next generation begins, where somebody comes who wants more.
    pub fn project(&self, slot: Slot, event: EventType, projection: Option<Projection>) {
        let mut projections = self.projections.lock();
        let of_event = projections.entry(event).or_default();
        match projection {
            Some(projection) => of_event.insert(slot, Arc::new(projection)),
            None => of_event.remove(&slot),
        };
        self.projected.put(event, !of_event.is_empty());
    }

    /// Whether of some event of this kind a part may be wanted.
    #[inline]
    pub fn is_projected(&self, event: EventType) -> bool {
        self.projected.contains(event)
    }

    /// What those slots want of an event.
    fn wanted(&self, event: EventType, slots: impl Iterator<Item = Slot>) -> Projections {
        if !self.projected.contains(event) {
            return Projections::Whole;
        }
        let projections = self.projections.lock();
        let Some(of_event) = projections.get(&event) else { return Projections::Whole };
        let mut all = None;
        for slot in slots {
            all = Some(Projections::with(all, of_event.get(&slot)));
            if matches!(all, Some(Projections::Whole)) {
                break;
            }
        }
        all.unwrap_or_default()
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
            return Slots::Heard(Heard { generation, low: 1, high: None }, self.wanted(event, std::iter::once(0)));
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
        let lows = (0..u64::BITS).filter(|slot| low >> slot & 1 != 0);
        let wanted = self.wanted(event, lows.chain(high.iter().copied()));
        Slots::Heard(Heard { generation, low, high: (!high.is_empty()).then(|| high.into()) }, wanted)
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::delivery::Parts;

    fn wanting(name: &str) -> Projection {
        let mut projection = Projection::default();
        projection.want(name, None);
        projection
    }

    #[test]
    fn an_event_is_cut_where_every_slot_that_it_matches_wants_a_part() {
        let table = Subscriptions::default();
        let events = EventSet::from_iter([EventType::MESSAGE_CREATE, EventType::TYPING_START]);
        table.add(0, None, events);
        let filter = |name: &str| Filter::parse(&format!(r#"["exists","{name}"]"#)).unwrap();
        let part = |event, data: &str| {
            let Slots::Heard(_, wanted) = table.matches(event, data.as_bytes()) else { panic!("it is heard") };
            Parts::default().cut(&wanted, data.as_bytes())
        };
        let message = EventType::MESSAGE_CREATE;
        let data = r#"{"a":1,"b":2,"c":3}"#;
        assert_eq!(part(message, data), None);
        table.project(0, message, Some(wanting("a")));
        assert_eq!(part(message, data), Some(Bytes::from_static(br#"{"a":1}"#)));
        assert_eq!(part(EventType::TYPING_START, data), None, "another event");
        table.add(5, Some(&filter("b")), events);
        table.add(70, Some(&filter("c")), events);
        assert_eq!(part(message, data), None, "slots that want all of it");
        assert_eq!(
            part(message, r#"{"a":1,"d":2}"#),
            Some(Bytes::from_static(br#"{"a":1}"#)),
            "which it does not match"
        );
        table.project(5, message, Some(wanting("b")));
        table.project(70, message, Some(wanting("c")));
        assert_eq!(part(message, data).as_deref(), Some(data.as_bytes()));
        assert_eq!(part(message, r#"{"b":1,"d":2}"#), Some(Bytes::from_static(br#"{"b":1}"#)));
        assert_eq!(part(message, "[]"), None, "what is no object");
        table.project(0, message, None);
        assert_eq!(part(message, data), None);
    }

    #[test]
    fn parts_of_one_chunk_are_apart() {
        let wanted = Projections::One(Arc::new(wanting("a")));
        let mut parts = Parts::default();
        let cuts: Vec<_> = (0..2_000)
            .map(|number| (number, parts.cut(&wanted, format!(r#"{{"b":[],"a":"{number:>30}"}}"#).as_bytes()).unwrap()))
            .collect();
        for (number, cut) in cuts {
            assert_eq!(cut, format!(r#"{{"a":"{number:>30}"}}"#));
        }
        let long = format!(r#"{{"a":"{}","b":1}}"#, "x".repeat(1_000_000));
        assert_eq!(parts.cut(&wanted, long.as_bytes()).unwrap().len(), long.len() - 6);
    }
}
