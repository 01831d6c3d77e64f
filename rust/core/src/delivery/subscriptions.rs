//! Who listens to what, as an immutable table that is swapped when a listener comes or goes. A slot
//! is an event and, later, a filter; matching happens once, here, before anything is queued.

use crate::protocol::event::{EventSet, EventType};

/// What an event matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slots {
    /// Nobody listens to this event.
    Unheard,
    /// These slots of the event's list want it.
    Heard(u64),
}

/// One generation of subscriptions.
#[derive(Debug, Clone)]
pub struct Subscriptions {
    generation: u32,
    heard: EventSet,
}

impl Subscriptions {
    /// A table in which the events of `heard` have one slot each. Names that the table of events does
    /// not know are heard where [`EventType::UNKNOWN`] is.
    pub fn new(generation: u32, heard: EventSet) -> Self {
        Self { generation, heard }
    }

    /// The number that its dispatches carry.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether and where `event` is heard. `data` is its `d`.
    #[inline]
    pub fn matches(&self, event: EventType, _data: &[u8]) -> Slots {
        if self.heard.contains(event) { Slots::Heard(1) } else { Slots::Unheard }
    }
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self::new(0, EventSet::EMPTY)
    }
}
