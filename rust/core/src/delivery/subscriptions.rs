//! Who listens to what, as an immutable table that is swapped when a listener comes or goes. A slot
//! is an event and a filter, or none; matching happens once, here, before anything is queued.

use std::sync::Arc;

use super::filter::{Filter, Matcher};
use crate::protocol::event::{EventSet, EventType};

/// What an event matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slots {
    /// Nobody listens to this event.
    Unheard,
    /// Somebody does, but every filter said no.
    Filtered,
    /// These slots of the event's list want it.
    Heard(u64),
}

/// One generation of subscriptions.
#[derive(Debug)]
pub struct Subscriptions {
    generation: u32,
    heard: EventSet,
    /// What decides, by event; `None`: the event has one slot, without a filter.
    matchers: [Option<Arc<Matcher>>; EventType::SLOTS],
}

impl Subscriptions {
    /// Slots that an event can have: a bit for each.
    pub const MAX_SLOTS: usize = 64;

    /// A table in which nothing is heard.
    pub fn new(generation: u32) -> Self {
        Self { generation, heard: EventSet::EMPTY, matchers: [const { None }; EventType::SLOTS] }
    }

    /// Gives each of these events these slots, at most [`Subscriptions::MAX_SLOTS`]; `None` wants the event whatever it
    /// holds. Names that the table of events does not know are heard where [`EventType::UNKNOWN`] is.
    #[must_use]
    pub fn with(mut self, events: EventSet, slots: &[Option<&Filter>]) -> Self {
        debug_assert!(slots.len() <= Self::MAX_SLOTS);
        let matcher = match slots {
            [] => return self,
            [None] => None,
            slots => Some(Arc::new(Matcher::new(slots))),
        };
        for event in events.iter() {
            self.heard.insert(event);
            self.matchers[event.index()].clone_from(&matcher);
        }
        self
    }

    /// The number that its dispatches carry.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether and where `event` is heard. `data` is its `d`.
    #[inline]
    pub fn matches(&self, event: EventType, data: &[u8]) -> Slots {
        if !self.heard.contains(event) {
            return Slots::Unheard;
        }
        match &self.matchers[event.index()] {
            None => Slots::Heard(1),
            Some(matcher) => match matcher.matches(data) {
                0 => Slots::Filtered,
                slots => Slots::Heard(slots),
            },
        }
    }
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self::new(0)
    }
}
