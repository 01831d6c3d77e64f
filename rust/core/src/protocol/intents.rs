//! The intents: each flag, its bit, whether it is privileged, and the sets one usually asks for.
//!
//! Which events an intent brings stands with the events (`event.rs`), so that there is one table of each.

use std::fmt;
use std::ops::BitOr;

/// A set of Gateway intents, as sent in IDENTIFY.
///
/// Any bits may be set: one that Discord does not know closes the connection with 4013, a privileged one that the
/// application may not use with 4014. Source: <https://discord.com/developers/docs/events/gateway#gateway-intents>.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Intents(pub u64);

/// One row of [`Intents::TABLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntentInfo {
    /// The name in Discord's documentation.
    pub name: &'static str,
    /// The bit's number: the flag's value is `1 << bit`.
    pub bit: u8,
    /// Whether it must be enabled in the Developer Portal first.
    pub privileged: bool,
}

macro_rules! intents {
    ($($(#[$doc:meta])* $name:ident = $bit:literal $($privileged:ident)?;)*) => {
        impl Intents {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            /// Every documented intent, in the order of the bits.
            pub const TABLE: &'static [IntentInfo] = &[$(IntentInfo {
                name: stringify!($name),
                bit: $bit,
                privileged: intents!(@privileged $($privileged)?),
            }),*];
        }
    };
    (@privileged) => { false };
    (@privileged privileged) => { true };
}

intents! {
    /// Guilds, roles, channels, threads, stages, and the state of voice channels.
    GUILDS = 0;
    /// Members joining, leaving and changing. Privileged.
    GUILD_MEMBERS = 1 privileged;
    /// Bans and the audit log.
    GUILD_MODERATION = 2;
    /// Emojis, stickers and soundboard sounds.
    GUILD_EXPRESSIONS = 3;
    /// Integrations.
    GUILD_INTEGRATIONS = 4;
    /// Webhooks.
    GUILD_WEBHOOKS = 5;
    /// Invites.
    GUILD_INVITES = 6;
    /// Who is in which voice channel, and voice effects.
    GUILD_VOICE_STATES = 7;
    /// Presences: the flood. Privileged.
    GUILD_PRESENCES = 8 privileged;
    /// Messages in guilds.
    GUILD_MESSAGES = 9;
    /// Reactions in guilds.
    GUILD_MESSAGE_REACTIONS = 10;
    /// Typing in guilds.
    GUILD_MESSAGE_TYPING = 11;
    /// Direct messages, and ephemeral ones.
    DIRECT_MESSAGES = 12;
    /// Reactions in direct messages.
    DIRECT_MESSAGE_REACTIONS = 13;
    /// Typing in direct messages.
    DIRECT_MESSAGE_TYPING = 14;
    /// No events of its own: fills the content fields of messages. Privileged.
    MESSAGE_CONTENT = 15 privileged;
    /// Scheduled events.
    GUILD_SCHEDULED_EVENTS = 16;
    /// Auto moderation rules.
    AUTO_MODERATION_CONFIGURATION = 20;
    /// Auto moderation actions.
    AUTO_MODERATION_EXECUTION = 21;
    /// Poll votes in guilds.
    GUILD_MESSAGE_POLLS = 24;
    /// Poll votes in direct messages.
    DIRECT_MESSAGE_POLLS = 25;
}

impl Intents {
    /// No intents: only what Discord always sends.
    pub const NONE: Self = Self(0);
    /// Every documented intent.
    pub const ALL: Self = Self(sum(Kind::Any));
    /// Those that must be enabled in the Developer Portal: `GUILD_MEMBERS`, `GUILD_PRESENCES`, `MESSAGE_CONTENT`.
    pub const PRIVILEGED: Self = Self(sum(Kind::Privileged));
    /// All but the privileged ones.
    pub const NON_PRIVILEGED: Self = Self(Self::ALL.0 & !Self::PRIVILEGED.0);
    /// Those about direct messages.
    pub const ALL_DIRECT_MESSAGE: Self = Self(
        Self::DIRECT_MESSAGES.0
            | Self::DIRECT_MESSAGE_REACTIONS.0
            | Self::DIRECT_MESSAGE_TYPING.0
            | Self::DIRECT_MESSAGE_POLLS.0,
    );
    /// Those about guilds, the privileged ones included; not `MESSAGE_CONTENT`, which concerns both worlds.
    pub const ALL_GUILD: Self = Self(Self::ALL.0 & !Self::ALL_DIRECT_MESSAGE.0 & !Self::MESSAGE_CONTENT.0);

    /// The number that stands in IDENTIFY.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits that no documented intent has; Discord answers them with 4013.
    pub const fn unknown_bits(self) -> u64 {
        self.0 & !Self::ALL.0
    }

    /// The names of the documented intents in this set, in the order of the bits.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::TABLE.iter().filter(move |row| self.0 & (1 << row.bit) != 0).map(|row| row.name)
    }
}

impl BitOr for Intents {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl fmt::Debug for Intents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Intents(")?;
        let mut separator = "";
        for name in self.names() {
            write!(formatter, "{separator}{name}")?;
            separator = " | ";
        }
        match self.unknown_bits() {
            0 if self.0 == 0 => formatter.write_str("NONE)"),
            0 => formatter.write_str(")"),
            unknown => write!(formatter, "{separator}{unknown:#x})"),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Any,
    Privileged,
}

const fn sum(kind: Kind) -> u64 {
    let mut bits = 0;
    let mut row = 0;
    while row < Intents::TABLE.len() {
        if Intents::TABLE[row].privileged || matches!(kind, Kind::Any) {
            bits |= 1 << Intents::TABLE[row].bit;
        }
        row += 1;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::Intents;

    #[test]
    fn s13_the_sets_have_the_documented_values() {
        assert_eq!(Intents::TABLE.len(), 21);
        assert_eq!(Intents::ALL.bits(), 53_608_447);
        assert_eq!(Intents::PRIVILEGED.bits(), 33_026);
        assert_eq!(Intents::NON_PRIVILEGED.bits(), 53_575_421);
        assert_eq!(Intents::NON_PRIVILEGED | Intents::PRIVILEGED, Intents::ALL);
        assert_eq!(Intents::ALL_GUILD | Intents::ALL_DIRECT_MESSAGE | Intents::MESSAGE_CONTENT, Intents::ALL);
        assert_eq!(Intents::ALL_DIRECT_MESSAGE.bits(), 1 << 12 | 1 << 13 | 1 << 14 | 1 << 25);
    }

    #[test]
    fn s13_every_intent_has_its_bit_and_three_are_privileged() {
        let table: Vec<_> = Intents::TABLE.iter().map(|row| (row.bit, row.name)).collect();
        let documented = [
            (0, "GUILDS"),
            (1, "GUILD_MEMBERS"),
            (2, "GUILD_MODERATION"),
            (3, "GUILD_EXPRESSIONS"),
            (4, "GUILD_INTEGRATIONS"),
            (5, "GUILD_WEBHOOKS"),
            (6, "GUILD_INVITES"),
            (7, "GUILD_VOICE_STATES"),
            (8, "GUILD_PRESENCES"),
            (9, "GUILD_MESSAGES"),
            (10, "GUILD_MESSAGE_REACTIONS"),
            (11, "GUILD_MESSAGE_TYPING"),
            (12, "DIRECT_MESSAGES"),
            (13, "DIRECT_MESSAGE_REACTIONS"),
            (14, "DIRECT_MESSAGE_TYPING"),
            (15, "MESSAGE_CONTENT"),
            (16, "GUILD_SCHEDULED_EVENTS"),
            (20, "AUTO_MODERATION_CONFIGURATION"),
            (21, "AUTO_MODERATION_EXECUTION"),
            (24, "GUILD_MESSAGE_POLLS"),
            (25, "DIRECT_MESSAGE_POLLS"),
        ];
        assert_eq!(table, documented);
        let privileged: Vec<_> = Intents::PRIVILEGED.names().collect();
        assert_eq!(privileged, ["GUILD_MEMBERS", "GUILD_PRESENCES", "MESSAGE_CONTENT"]);
    }

    #[test]
    fn contains_and_unknown_bits() {
        let some = Intents::GUILDS | Intents::GUILD_MESSAGES;
        assert!(some.contains(Intents::GUILDS) && !some.contains(Intents::ALL) && some.contains(Intents::NONE));
        assert_eq!(Intents(1 | 1 << 17 | 1 << 63).unknown_bits(), 1 << 17 | 1 << 63);
    }

    #[test]
    fn debug_names_the_flags_and_what_is_unknown() {
        assert_eq!(format!("{:?}", Intents(1 | 512 | 1 << 17)), "Intents(GUILDS | GUILD_MESSAGES | 0x20000)");
        assert_eq!(format!("{:?}", Intents::NONE), "Intents(NONE)");
        assert_eq!(format!("{:?}", Intents(1 << 17)), "Intents(0x20000)");
    }
}
