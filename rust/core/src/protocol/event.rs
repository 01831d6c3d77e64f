//! The dispatch events: one table of names with the intents that bring each, a fast look-up by name, and a bitset.
//!
//! What an event's payload looks like is described once, by the Python Structs.

use super::intents::Intents;

/// The name of a dispatch event, as a small number.
///
/// Source: <https://discord.com/developers/docs/events/gateway-events#receive-events>.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(u8);

macro_rules! events {
    ($($name:ident: $($intent:ident)*;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u8)]
        enum Index { $($name,)* Count }

        #[allow(missing_docs)] // a name and its intents are all there is to say
        impl EventType {
            $(pub const $name: Self = Self(Index::$name as u8);)*
        }

        /// Names by index; the last one is the bucket for names that are not in the table.
        const NAMES: [&str; EventType::SLOTS] = [$(stringify!($name),)* "UNKNOWN"];
        const INTENTS: [u64; EventType::SLOTS] = [$(0 $(| Intents::$intent.0)*,)* 0];
    };
}

events! {
    READY:;
    RESUMED:;
    RATE_LIMITED:;
    APPLICATION_COMMAND_PERMISSIONS_UPDATE:;
    AUTO_MODERATION_RULE_CREATE: AUTO_MODERATION_CONFIGURATION;
    AUTO_MODERATION_RULE_UPDATE: AUTO_MODERATION_CONFIGURATION;
    AUTO_MODERATION_RULE_DELETE: AUTO_MODERATION_CONFIGURATION;
    AUTO_MODERATION_ACTION_EXECUTION: AUTO_MODERATION_EXECUTION;
    CHANNEL_CREATE: GUILDS;
    CHANNEL_UPDATE: GUILDS;
    CHANNEL_DELETE: GUILDS;
    CHANNEL_INFO:;
    CHANNEL_PINS_UPDATE: GUILDS DIRECT_MESSAGES;
    THREAD_CREATE: GUILDS;
    THREAD_UPDATE: GUILDS;
    THREAD_DELETE: GUILDS;
    THREAD_LIST_SYNC: GUILDS;
    THREAD_MEMBER_UPDATE: GUILDS;
    THREAD_MEMBERS_UPDATE: GUILDS GUILD_MEMBERS;
    ENTITLEMENT_CREATE:;
    ENTITLEMENT_UPDATE:;
    ENTITLEMENT_DELETE:;
    GUILD_CREATE: GUILDS;
    GUILD_UPDATE: GUILDS;
    GUILD_DELETE: GUILDS;
    GUILD_AUDIT_LOG_ENTRY_CREATE: GUILD_MODERATION;
    GUILD_BAN_ADD: GUILD_MODERATION;
    GUILD_BAN_REMOVE: GUILD_MODERATION;
    GUILD_EMOJIS_UPDATE: GUILD_EXPRESSIONS;
    GUILD_STICKERS_UPDATE: GUILD_EXPRESSIONS;
    GUILD_INTEGRATIONS_UPDATE: GUILD_INTEGRATIONS;
    GUILD_MEMBER_ADD: GUILD_MEMBERS;
    GUILD_MEMBER_REMOVE: GUILD_MEMBERS;
    GUILD_MEMBER_UPDATE: GUILD_MEMBERS;
    GUILD_MEMBERS_CHUNK:;
    GUILD_ROLE_CREATE: GUILDS;
    GUILD_ROLE_UPDATE: GUILDS;
    GUILD_ROLE_DELETE: GUILDS;
    GUILD_SCHEDULED_EVENT_CREATE: GUILD_SCHEDULED_EVENTS;
    GUILD_SCHEDULED_EVENT_UPDATE: GUILD_SCHEDULED_EVENTS;
    GUILD_SCHEDULED_EVENT_DELETE: GUILD_SCHEDULED_EVENTS;
    GUILD_SCHEDULED_EVENT_USER_ADD: GUILD_SCHEDULED_EVENTS;
    GUILD_SCHEDULED_EVENT_USER_REMOVE: GUILD_SCHEDULED_EVENTS;
    GUILD_SOUNDBOARD_SOUND_CREATE: GUILD_EXPRESSIONS;
    GUILD_SOUNDBOARD_SOUND_UPDATE: GUILD_EXPRESSIONS;
    GUILD_SOUNDBOARD_SOUND_DELETE: GUILD_EXPRESSIONS;
    GUILD_SOUNDBOARD_SOUNDS_UPDATE: GUILD_EXPRESSIONS;
    SOUNDBOARD_SOUNDS:;
    INTEGRATION_CREATE: GUILD_INTEGRATIONS;
    INTEGRATION_UPDATE: GUILD_INTEGRATIONS;
    INTEGRATION_DELETE: GUILD_INTEGRATIONS;
    INTERACTION_CREATE:;
    INVITE_CREATE: GUILD_INVITES;
    INVITE_DELETE: GUILD_INVITES;
    MESSAGE_CREATE: GUILD_MESSAGES DIRECT_MESSAGES;
    MESSAGE_UPDATE: GUILD_MESSAGES DIRECT_MESSAGES;
    MESSAGE_DELETE: GUILD_MESSAGES DIRECT_MESSAGES;
    MESSAGE_DELETE_BULK: GUILD_MESSAGES;
    MESSAGE_REACTION_ADD: GUILD_MESSAGE_REACTIONS DIRECT_MESSAGE_REACTIONS;
    MESSAGE_REACTION_REMOVE: GUILD_MESSAGE_REACTIONS DIRECT_MESSAGE_REACTIONS;
    MESSAGE_REACTION_REMOVE_ALL: GUILD_MESSAGE_REACTIONS DIRECT_MESSAGE_REACTIONS;
    MESSAGE_REACTION_REMOVE_EMOJI: GUILD_MESSAGE_REACTIONS DIRECT_MESSAGE_REACTIONS;
    PRESENCE_UPDATE: GUILD_PRESENCES;
    STAGE_INSTANCE_CREATE: GUILDS;
    STAGE_INSTANCE_UPDATE: GUILDS;
    STAGE_INSTANCE_DELETE: GUILDS;
    SUBSCRIPTION_CREATE:;
    SUBSCRIPTION_UPDATE:;
    SUBSCRIPTION_DELETE:;
    TYPING_START: GUILD_MESSAGE_TYPING DIRECT_MESSAGE_TYPING;
    USER_UPDATE:;
    VOICE_CHANNEL_EFFECT_SEND: GUILD_VOICE_STATES;
    VOICE_CHANNEL_START_TIME_UPDATE: GUILDS;
    VOICE_CHANNEL_STATUS_UPDATE: GUILDS;
    VOICE_STATE_UPDATE: GUILD_VOICE_STATES;
    VOICE_SERVER_UPDATE:;
    WEBHOOKS_UPDATE: GUILD_WEBHOOKS;
    MESSAGE_POLL_VOTE_ADD: GUILD_MESSAGE_POLLS DIRECT_MESSAGE_POLLS;
    MESSAGE_POLL_VOTE_REMOVE: GUILD_MESSAGE_POLLS DIRECT_MESSAGE_POLLS;
}

impl EventType {
    /// How many events have a name in the table.
    pub const COUNT: usize = Index::Count as usize;
    /// The bucket of every event whose name is not in the table; never the result of [`from_name`](Self::from_name).
    pub const UNKNOWN: Self = Self(Index::Count as u8);
    /// The size of a table by event: the named ones and [`UNKNOWN`](Self::UNKNOWN).
    pub const SLOTS: usize = Self::COUNT + 1;

    /// The event of that exact name, or `None`. One multiplication, one table look-up, one comparison.
    #[inline]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let index = TABLE[slot(name, SEED)];
        (NAMES[usize::from(index)].as_bytes() == name && index != Self::UNKNOWN.0).then_some(Self(index))
    }

    /// The name in Discord's documentation, `"UNKNOWN"` for [`UNKNOWN`](Self::UNKNOWN).
    pub const fn name(self) -> &'static str {
        NAMES[self.0 as usize]
    }

    /// The intents of which any one brings this event; 0 when it is always sent.
    ///
    /// `GUILD_MEMBER_UPDATE` for the bot itself comes without its intent.
    pub const fn intents(self) -> u64 {
        INTENTS[self.0 as usize]
    }

    /// Its place in a table of [`SLOTS`](Self::SLOTS) entries.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The event at that place of the table, [`UNKNOWN`](Self::UNKNOWN) included.
    pub const fn from_index(index: usize) -> Option<Self> {
        if index < Self::SLOTS { Some(Self(index as u8)) } else { None }
    }

    /// Every named event, without [`UNKNOWN`](Self::UNKNOWN).
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        (0..Self::UNKNOWN.0).map(Self)
    }
}

impl std::fmt::Debug for EventType {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A set of events, [`EventType::UNKNOWN`] among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct EventSet(u128);

const _: () = assert!(EventType::SLOTS <= 128, "an EventSet has 128 bits");

impl EventSet {
    /// No event.
    pub const EMPTY: Self = Self(0);
    /// Every named event and [`EventType::UNKNOWN`].
    pub const ALL: Self = Self(u128::MAX >> (128 - EventType::SLOTS));

    /// An empty set.
    pub const fn new() -> Self {
        Self::EMPTY
    }

    /// Puts `event` in.
    pub const fn insert(&mut self, event: EventType) {
        self.0 |= 1 << event.0;
    }

    /// Takes `event` out.
    pub const fn remove(&mut self, event: EventType) {
        self.0 &= !(1 << event.0);
    }

    /// Whether `event` is in.
    #[inline]
    pub const fn contains(self, event: EventType) -> bool {
        self.0 >> event.0 & 1 != 0
    }

    /// What is in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether nothing is in.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many events are in.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The events in the set, in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = EventType> {
        (0..EventType::SLOTS as u8).map(EventType).filter(move |&event| self.contains(event))
    }
}

impl FromIterator<EventType> for EventSet {
    fn from_iter<I: IntoIterator<Item = EventType>>(events: I) -> Self {
        let mut set = Self::EMPTY;
        events.into_iter().for_each(|event| set.insert(event));
        set
    }
}

/// Slots of the perfect hash: few enough for the cache, many enough that a seed without collisions is soon found.
const HASH_BITS: u32 = 10;
/// The factor under which no two names collide, found at compile time: a new name may move it on by itself.
const SEED: u64 = find_seed(0x9E37_79B9_7F4A_7C15);
const TABLE: [u8; 1 << HASH_BITS] = build_table(SEED);

/// Eight bytes from `at`, little-endian.
#[inline]
const fn word(name: &[u8], at: usize) -> u64 {
    match name.split_at(at).1.first_chunk::<8>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => 0,
    }
}

/// The hash of a name: its first, middle and last eight bytes tell all names apart.
#[inline]
const fn slot(name: &[u8], seed: u64) -> usize {
    let length = name.len();
    let sample = if length >= 8 {
        word(name, 0).wrapping_add(word(name, length - 8).rotate_left(23))
            ^ word(name, (length - 8) / 2).rotate_left(41)
    } else if length > 0 {
        // READY and RESUMED
        name[0] as u64 | (name[length - 1] as u64) << 8
    } else {
        0
    };
    ((sample ^ length as u64).wrapping_mul(seed) >> (u64::BITS - HASH_BITS)) as usize
}

const fn build_table(seed: u64) -> [u8; 1 << HASH_BITS] {
    let mut table = [EventType::UNKNOWN.0; 1 << HASH_BITS];
    let mut index = 0;
    while index < EventType::COUNT {
        table[slot(NAMES[index].as_bytes(), seed)] = index as u8;
        index += 1;
    }
    table
}

const fn find_seed(mut seed: u64) -> u64 {
    loop {
        let table = build_table(seed);
        let mut index = 0;
        while index < EventType::COUNT && table[slot(NAMES[index].as_bytes(), seed)] == index as u8 {
            index += 1;
        }
        if index == EventType::COUNT {
            return seed;
        }
        seed = seed.wrapping_add(2); // stays odd: an even factor would lose bits
    }
}

#[cfg(test)]
mod tests {
    use super::{EventSet, EventType, Intents};

    #[test]
    fn every_name_is_found_and_only_the_exact_name() {
        assert_eq!((EventType::COUNT, EventType::all().len()), (79, 79));
        for event in EventType::all() {
            let name = event.name().as_bytes();
            assert_eq!(EventType::from_name(name), Some(event));
            assert_eq!(EventType::from_index(event.index()), Some(event));
            assert_eq!(EventType::from_name(&name[1..]), None);
            assert_eq!(EventType::from_name(&name[..name.len() - 1]), None);
            for position in 0..name.len() {
                let mut other = name.to_vec();
                other[position] ^= 0x20;
                assert_eq!(EventType::from_name(&other), None);
            }
        }
        for other in ["", "U", "UNKNOWN", "COUNT", "message_create", "MESSAGE_CREATE ", "GUILD_JOIN_REQUEST_UPDATE"] {
            assert_eq!(EventType::from_name(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn s13_intents_are_alternatives_and_zero_means_always() {
        assert_eq!(EventType::MESSAGE_CREATE.intents(), Intents::GUILD_MESSAGES.0 | Intents::DIRECT_MESSAGES.0);
        assert_eq!(EventType::PRESENCE_UPDATE.intents(), Intents::GUILD_PRESENCES.0);
        assert_eq!(EventType::THREAD_MEMBERS_UPDATE.intents(), Intents::GUILDS.0 | Intents::GUILD_MEMBERS.0);
        for always in [EventType::READY, EventType::RESUMED, EventType::INTERACTION_CREATE, EventType::UNKNOWN] {
            assert_eq!(always.intents(), 0);
        }
        let reached = EventType::all().fold(0, |bits, event| bits | event.intents());
        assert_eq!(reached, Intents::ALL.0 & !Intents::MESSAGE_CONTENT.0);
    }

    #[test]
    fn s13_what_is_always_sent_needs_no_intent() {
        let always: Vec<_> = EventType::all().filter(|event| event.intents() == 0).map(EventType::name).collect();
        let documented = [
            "READY",
            "RESUMED",
            "APPLICATION_COMMAND_PERMISSIONS_UPDATE",
            "CHANNEL_INFO",
            "ENTITLEMENT_CREATE",
            "ENTITLEMENT_UPDATE",
            "ENTITLEMENT_DELETE",
            "GUILD_MEMBERS_CHUNK",
            "INTERACTION_CREATE",
            "RATE_LIMITED",
            "SOUNDBOARD_SOUNDS",
            "SUBSCRIPTION_CREATE",
            "SUBSCRIPTION_UPDATE",
            "SUBSCRIPTION_DELETE",
            "USER_UPDATE",
            "VOICE_SERVER_UPDATE",
        ];
        let sorted = |mut names: Vec<&'static str>| {
            names.sort_unstable();
            names
        };
        assert_eq!(sorted(always), sorted(documented.to_vec()));
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut set = EventSet::new();
        assert!(set.is_empty());
        for event in EventType::all().chain([EventType::UNKNOWN]) {
            set.insert(event);
            assert!(set.contains(event));
        }
        assert_eq!((set, set.len()), (EventSet::ALL, EventType::SLOTS));
        set.remove(EventType::UNKNOWN);
        assert!(!set.contains(EventType::UNKNOWN) && set.contains(EventType::READY));
        let two: EventSet = [EventType::READY, EventType::UNKNOWN].into_iter().collect();
        assert_eq!(two.iter().collect::<Vec<_>>(), [EventType::READY, EventType::UNKNOWN]);
        assert_eq!(two.union(set), EventSet::ALL);
    }
}
