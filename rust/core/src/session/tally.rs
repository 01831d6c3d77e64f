//! What became of commands, by their kind: a closed table, whatever opcodes users send.

use crate::protocol::Opcode;

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CommandKind {
    /// op 3.
    Presence = 0,
    /// op 4.
    VoiceState = 1,
    /// op 8.
    Members = 2,
    /// op 31.
    SoundboardSounds = 3,
    /// op 43.
    ChannelInfo = 4,
    /// Any other opcode that a user sent.
    Other = 5,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CommandResult {
    /// Written.
    Sent = 0,
    /// The gateway was not open, or was closed while it waited.
    NotConnected = 1,
    /// Too many waited already.
    QueueFull = 2,
    /// Taken back while it waited.
    Cancelled = 3,
    /// A newer presence took its place while it waited.
    Superseded = 4,
}

impl CommandKind {
    /// Each, in the order of the numbers.
    pub const ALL: [Self; 6] =
        [Self::Presence, Self::VoiceState, Self::Members, Self::SoundboardSounds, Self::ChannelInfo, Self::Other];

    /// That of an opcode.
    pub fn of(opcode: u8) -> Self {
        match Opcode::from_code(opcode) {
            Some(Opcode::PresenceUpdate) => Self::Presence,
            Some(Opcode::VoiceStateUpdate) => Self::VoiceState,
            Some(Opcode::RequestGuildMembers) => Self::Members,
            Some(Opcode::RequestSoundboardSounds) => Self::SoundboardSounds,
            Some(Opcode::RequestChannelInfo) => Self::ChannelInfo,
            _ => Self::Other,
        }
    }

    /// As it is called in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence_update",
            Self::VoiceState => "voice_state_update",
            Self::Members => "request_guild_members",
            Self::SoundboardSounds => "request_soundboard_sounds",
            Self::ChannelInfo => "request_channel_info",
            Self::Other => "other",
        }
    }
}

impl CommandResult {
    /// Each, in the order of the numbers.
    pub const ALL: [Self; 5] = [Self::Sent, Self::NotConnected, Self::QueueFull, Self::Cancelled, Self::Superseded];

    /// As it is called in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::NotConnected => "not_connected",
            Self::QueueFull => "queue_full",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }
}

/// Commands by kind and result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommandCounts(pub [[u64; CommandResult::ALL.len()]; CommandKind::ALL.len()]);

impl CommandCounts {
    /// Counts one.
    pub fn count(&mut self, kind: CommandKind, result: CommandResult) {
        self.0[kind as usize][result as usize] += 1;
    }

    /// The sums of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut sum = *self;
        for (row, more) in sum.0.iter_mut().zip(&other.0) {
            for (count, more) in row.iter_mut().zip(more) {
                *count += more;
            }
        }
        sum
    }

    /// One that was counted as sent did not leave.
    pub fn take_back(&mut self, kind: CommandKind) {
        let sent = &mut self.0[kind as usize][CommandResult::Sent as usize];
        *sent = sent.saturating_sub(1);
    }
}
