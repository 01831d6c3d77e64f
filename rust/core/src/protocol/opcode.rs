//! The documented opcodes, and nothing else: an opcode that is not here is ignored and counted by the session machine.

/// What a Gateway payload is for.
///
/// Only documented opcodes are listed, because sending an undocumented one closes the connection with 4001.
/// Source: <https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-opcodes>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// Received: an event, named by `t` and numbered by `s`.
    Dispatch = 0,
    /// Sent on schedule; received when Discord wants one at once.
    Heartbeat = 1,
    /// Sent: starts a session.
    Identify = 2,
    /// Sent: changes the presence.
    PresenceUpdate = 3,
    /// Sent: joins, moves between or leaves voice channels.
    VoiceStateUpdate = 4,
    /// Sent: continues a session on a new connection.
    Resume = 6,
    /// Received: reconnect and resume.
    Reconnect = 7,
    /// Sent: asks for members of one guild.
    RequestGuildMembers = 8,
    /// Received: the session is gone, or (`d: true`) may be resumed.
    InvalidSession = 9,
    /// Received: the first payload of a connection, with the heartbeat interval in milliseconds.
    Hello = 10,
    /// Received: a heartbeat arrived.
    HeartbeatAck = 11,
    /// Sent: asks for the soundboard sounds of guilds.
    RequestSoundboardSounds = 31,
    /// Sent: asks for ephemeral voice channel data (documented 2026-04-20).
    RequestChannelInfo = 43,
}

impl Opcode {
    /// Every documented opcode, in the order of their codes.
    pub const ALL: [Self; 13] = [
        Self::Dispatch,
        Self::Heartbeat,
        Self::Identify,
        Self::PresenceUpdate,
        Self::VoiceStateUpdate,
        Self::Resume,
        Self::Reconnect,
        Self::RequestGuildMembers,
        Self::InvalidSession,
        Self::Hello,
        Self::HeartbeatAck,
        Self::RequestSoundboardSounds,
        Self::RequestChannelInfo,
    ];

    /// The opcode of a received `op`; `None` for an undocumented one, which is to be ignored and counted.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Dispatch,
            1 => Self::Heartbeat,
            2 => Self::Identify,
            3 => Self::PresenceUpdate,
            4 => Self::VoiceStateUpdate,
            6 => Self::Resume,
            7 => Self::Reconnect,
            8 => Self::RequestGuildMembers,
            9 => Self::InvalidSession,
            10 => Self::Hello,
            11 => Self::HeartbeatAck,
            31 => Self::RequestSoundboardSounds,
            43 => Self::RequestChannelInfo,
            _ => return None,
        })
    }

    /// The number that stands in `op`.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::Opcode;

    #[test]
    fn s3_codes_round_trip_and_the_rest_is_unknown() {
        let known: Vec<u8> = (0..=u8::MAX).filter(|&code| Opcode::from_code(code).is_some()).collect();
        assert_eq!(known, [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 31, 43]);
        assert_eq!(Opcode::ALL.map(Opcode::code).as_slice(), known.as_slice());
        for opcode in Opcode::ALL {
            assert_eq!(Opcode::from_code(opcode.code()), Some(opcode));
        }
    }
}
