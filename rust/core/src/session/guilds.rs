//! Which guilds of a session are there (protocol.md §14): tells a guild that became available from one that was
//! joined, an outage from a removal, and when all guilds of READY have been heard of.

use crate::protocol::{
    event::EventType,
    fields::{elements, fields, snowflake},
};

/// What a `GUILD_CREATE` or `GUILD_DELETE` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum GuildChange {
    /// A guild of READY, or one after an outage, is there.
    Available = 1,
    /// The bot was added to it.
    Joined = 2,
    /// It cannot be reached; the bot is still in it.
    Unavailable = 3,
    /// The bot is no longer in it.
    Removed = 4,
}

impl GuildChange {
    /// Every change.
    pub const ALL: [Self; 4] = [Self::Available, Self::Joined, Self::Unavailable, Self::Removed];

    /// Its name on the public face.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Joined => "joined",
            Self::Unavailable => "unavailable",
            Self::Removed => "removed",
        }
    }
}

/// The guilds of one session.
#[derive(Debug, Default)]
pub struct Guilds {
    /// By id, ascending; a guild is 16 bytes.
    known: Vec<(u64, State)>,
    /// READY was seen: what is not in `known` is new.
    complete: bool,
    /// Of READY's guilds, those that nothing has been heard of.
    awaited: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// From READY, and nothing since.
    Awaited,
    Available,
    Unavailable,
}

impl Guilds {
    /// How many there are, the unavailable ones among them.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// How many of READY's guilds have not been heard of.
    pub fn awaited(&self) -> usize {
        self.awaited
    }

    /// Takes an event of the session: READY, `GUILD_CREATE` and `GUILD_DELETE` mean something here. What cannot be
    /// read changes nothing.
    pub fn note(&mut self, event: EventType, data: &[u8]) -> Option<GuildChange> {
        match event {
            EventType::READY => {
                let guilds = fields(data, ["guilds"])[0].unwrap_or_default();
                let ids = elements(guilds).filter_map(|guild| snowflake(fields(guild, ["id"])[0]?));
                self.known = ids.map(|id| (id, State::Awaited)).collect();
                self.known.sort_unstable_by_key(|(id, _)| *id);
                self.known.dedup_by_key(|(id, _)| *id);
                self.awaited = self.known.len();
                self.complete = true;
                None
            }
            EventType::GUILD_CREATE | EventType::GUILD_DELETE => {
                let [id, unavailable] = fields(data, ["id", "unavailable"]);
                let unavailable = match unavailable {
                    Some(b"true") => Some(true),
                    Some(b"false") => Some(false),
                    _ => None,
                };
                self.change(snowflake(id?)?, event == EventType::GUILD_CREATE, unavailable)
            }
            _ => None,
        }
    }

    fn change(&mut self, id: u64, create: bool, unavailable: Option<bool>) -> Option<GuildChange> {
        let at = self.known.binary_search_by_key(&id, |(id, _)| *id);
        if let Ok(at) = at
            && self.known[at].1 == State::Awaited
        {
            self.awaited -= 1;
        }
        if !create && unavailable != Some(true) {
            if let Ok(at) = at {
                self.known.remove(at);
            }
            return Some(GuildChange::Removed);
        }
        // `{"id", "unavailable": true}` as a GUILD_CREATE is legal: joined or loading, the guild itself follows.
        let (state, change) = match (create, unavailable) {
            (false, _) => (State::Unavailable, Some(GuildChange::Unavailable)),
            (true, Some(true)) => (State::Unavailable, None),
            // Without READY (a session resumed from another process) only the field tells: a join has none.
            (true, said) => {
                let joined = at.is_err() && (self.complete || said.is_none());
                (State::Available, Some(if joined { GuildChange::Joined } else { GuildChange::Available }))
            }
        };
        match at {
            Ok(at) => self.known[at].1 = state,
            Err(at) => self.known.insert(at, (id, state)),
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use super::{EventType, GuildChange, Guilds};

    fn create(guilds: &mut Guilds, data: &str) -> Option<GuildChange> {
        guilds.note(EventType::GUILD_CREATE, data.as_bytes())
    }

    fn delete(guilds: &mut Guilds, data: &str) -> Option<GuildChange> {
        guilds.note(EventType::GUILD_DELETE, data.as_bytes())
    }

    fn after_ready(data: &str) -> Guilds {
        let mut guilds = Guilds::default();
        assert_eq!(guilds.note(EventType::READY, data.as_bytes()), None);
        guilds
    }

    #[test]
    fn s14_a_guild_of_ready_becomes_available_and_any_other_was_joined() {
        let mut guilds = after_ready(r#"{"guilds":[{"id":"1","unavailable":true},{"id":2},{"id":"1"}]}"#);
        assert_eq!(guilds.awaited(), 2);
        assert_eq!(create(&mut guilds, r#"{"name":"a","id":"1","unavailable":false}"#), Some(GuildChange::Available));
        // The field alone decides nothing.
        assert_eq!(create(&mut guilds, r#"{"id":"2"}"#), Some(GuildChange::Available));
        assert_eq!(guilds.awaited(), 0);
        assert_eq!(create(&mut guilds, r#"{"id":"3","unavailable":false}"#), Some(GuildChange::Joined));
        assert_eq!(create(&mut guilds, r#"{"id":"3"}"#), Some(GuildChange::Available), "known by now");
    }

    #[test]
    fn s14_an_outage_keeps_the_guild_and_a_removal_forgets_it() {
        let mut guilds = after_ready(r#"{"guilds":[{"id":"1"},{"id":"2"}]}"#);
        assert_eq!(delete(&mut guilds, r#"{"id":"1","unavailable":true}"#), Some(GuildChange::Unavailable));
        assert_eq!(guilds.awaited(), 1, "heard of, though it is down at the start");
        assert_eq!(create(&mut guilds, r#"{"id":"1"}"#), Some(GuildChange::Available));
        assert_eq!(delete(&mut guilds, r#"{"id":"1"}"#), Some(GuildChange::Removed));
        assert_eq!(create(&mut guilds, r#"{"id":"1"}"#), Some(GuildChange::Joined));
        assert_eq!(delete(&mut guilds, r#"{"id":"2"}"#), Some(GuildChange::Removed), "soft-deleted while starting");
        assert_eq!(guilds.awaited(), 0);
    }

    #[test]
    fn s14_a_stub_says_nothing_yet() {
        let mut guilds = after_ready(r#"{"guilds":[{"id":"1"}]}"#);
        assert_eq!(create(&mut guilds, r#"{"id":"1","unavailable":true}"#), None);
        assert_eq!(create(&mut guilds, r#"{"id":"1"}"#), Some(GuildChange::Available));
    }

    #[test]
    fn s14_without_ready_the_field_tells() {
        let mut guilds = Guilds::default();
        assert_eq!(create(&mut guilds, r#"{"id":"1","unavailable":false}"#), Some(GuildChange::Available));
        assert_eq!(create(&mut guilds, r#"{"id":"2"}"#), Some(GuildChange::Joined));
        assert_eq!(guilds.awaited(), 0);
    }

    #[test]
    fn f33_one_odd_guild_costs_no_other() {
        let data =
            r#"{"x":"\ud800","guilds":[{"id":"1","name":"\ud800"},{"id":1e999},7,{"id":"2"}],"user":{"a":"\ud800"}}"#;
        assert_eq!(after_ready(data).awaited(), 2);
    }

    #[test]
    fn f35_what_cannot_be_read_changes_nothing() {
        let mut guilds = after_ready(r#"{"guilds":[{"id":"1"},{"id":null},{"id":"x"},{}]}"#);
        assert_eq!(guilds.awaited(), 1);
        for data in ["", "null", "[]", r#"{"id":{}}"#, r#"{"id":"-1"}"#] {
            assert_eq!(create(&mut guilds, data), None, "{data}");
        }
        assert_eq!(guilds.awaited(), 1);
        assert_eq!(after_ready(r#"{"guilds":5}"#).awaited(), 0);
    }
}
