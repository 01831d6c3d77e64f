//! One event on its way to the listeners.

use bytes::Bytes;

use super::Heard;
use crate::{
    protocol::{envelope::EventName, event::EventType},
    session::GuildChange,
};

/// An event that somebody listens to. Owns its bytes: the `d` of the payload, exactly as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatch {
    /// Its place in the name table, [`EventType::UNKNOWN`] for names that are not in it.
    pub event: EventType,
    /// The name, where the table does not have it.
    pub name: Option<Box<str>>,
    /// The shard it came on.
    pub shard_id: u32,
    /// `s`, where the server sent one.
    pub sequence: Option<u64>,
    /// When its bytes were read: time since [`crate::clock::now`]'s epoch.
    pub received_at: std::time::Duration,
    /// The JSON text of `d`; not validated.
    pub data: Bytes,
    /// What its listeners want of `data`, where that is a part only.
    pub part: Option<Bytes>,
    /// What it means for its guild.
    pub guild_change: Option<GuildChange>,
    /// The slots that it matched.
    pub heard: Heard,
}

impl Dispatch {
    /// A copy for somebody who awaits it, apart from its listeners.
    pub(crate) fn answer(
        event: EventType,
        shard_id: u32,
        sequence: Option<u64>,
        received_at: std::time::Duration,
        data: Bytes,
    ) -> Self {
        let heard = Heard::default();
        Self { event, name: None, shard_id, sequence, received_at, data, part: None, guild_change: None, heard }
    }

    /// What `name` holds for an event found in `document`: nothing for a name that the table has.
    pub fn unknown_name(event: &EventName, document: &[u8]) -> Option<Box<str>> {
        match event {
            EventName::Known(_) => None,
            other => Some(other.text(document).unwrap_or_default().into_boxed_str()),
        }
    }

    /// The event's name as Discord sent it.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.event.name())
    }

    /// What it counts for in a queue's byte limit: its bytes and its own size.
    pub fn cost(&self) -> usize {
        self.data.len()
            + self.part.as_ref().map_or(0, Bytes::len)
            + size_of::<Self>()
            + self.heard.high.as_deref().map_or(0, size_of_val)
    }
}
