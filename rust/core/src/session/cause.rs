//! Why connections are lost that are made anew: a closed table, for counters by reason.

/// Why a connection came to its end, where another one followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Cause {
    /// The server asked for it.
    Reconnect = 0,
    /// The server does not know the session (any more).
    InvalidSession = 1,
    /// A heartbeat was not acknowledged.
    MissedAck = 2,
    /// HELLO, READY or RESUMED did not come in time.
    NoAnswer = 3,
    /// The server closed with a code of RFC 6455.
    CloseOfProtocol = 4,
    /// The server closed with a code of Discord's, or another private one.
    CloseOfDiscord = 5,
    /// EOF, reset, an error of TLS: no close frame came.
    #[default]
    Network = 6,
    /// The bytes cannot be used: inflate, JSON, size, frames.
    BadData = 7,
    /// This machine was suspended.
    Suspended = 8,
    /// The day's budget of IDENTIFYs is down to its floor.
    Budget = 9,
}

impl Cause {
    /// How many there are.
    pub const COUNT: usize = 10;
    /// Each, in the order of the numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Reconnect,
        Self::InvalidSession,
        Self::MissedAck,
        Self::NoAnswer,
        Self::CloseOfProtocol,
        Self::CloseOfDiscord,
        Self::Network,
        Self::BadData,
        Self::Suspended,
        Self::Budget,
    ];

    /// That of a close by the server.
    pub fn of_close(code: Option<u16>) -> Self {
        match code {
            None => Self::Network,
            Some(..3000) => Self::CloseOfProtocol,
            Some(_) => Self::CloseOfDiscord,
        }
    }

    /// As it is called in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reconnect => "op 7",
            Self::InvalidSession => "op 9",
            Self::MissedAck => "missed ack",
            Self::NoAnswer => "no answer",
            Self::CloseOfProtocol => "close 1xxx",
            Self::CloseOfDiscord => "close 4xxx",
            Self::Network => "network",
            Self::BadData => "bad data",
            Self::Suspended => "suspended",
            Self::Budget => "budget",
        }
    }
}
