//! What each close code received from Discord means for the session: the whole table, and nothing that acts on it.
//!
//! How long to wait between attempts is the backoff's business; which code *we* send is the session machine's.

use std::time::Duration;

/// The least wait before resuming after 4008, so that the limiter's window has moved on.
const RATE_LIMITED_WAIT: Duration = Duration::from_secs(5);

/// What to do after a connection ended.
///
/// The default is to resume: a wrong RESUME costs one op 9, a wrong IDENTIFY one of the day's budget and lost events.
/// Source: <https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseAction {
    /// Reconnect and RESUME where a session stands, else IDENTIFY.
    Resume {
        /// The least wait before connecting, where the code asks for one.
        after: Option<Duration>,
    },
    /// The session is gone: reconnect to the base URL and IDENTIFY.
    Identify,
    /// Reconnecting cannot help: stop, and surface the error once.
    Fatal(FatalClose),
}

/// A close code that a reconnect cannot cure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FatalClose {
    /// 4004: the token is wrong.
    AuthenticationFailed,
    /// 4010: the shard pair is wrong.
    InvalidShard,
    /// 4011: one shard would carry too many guilds.
    ShardingRequired,
    /// 4012: Discord does not speak this version of the Gateway.
    InvalidApiVersion,
    /// 4013: the intents have a bit that Discord does not know.
    InvalidIntents,
    /// 4014: a privileged intent is not enabled for the application.
    DisallowedIntents,
}

impl FatalClose {
    /// Every fatal close, in the order of the codes.
    pub const ALL: [Self; 6] = [
        Self::AuthenticationFailed,
        Self::InvalidShard,
        Self::ShardingRequired,
        Self::InvalidApiVersion,
        Self::InvalidIntents,
        Self::DisallowedIntents,
    ];

    /// The close code.
    pub const fn code(self) -> u16 {
        match self {
            Self::AuthenticationFailed => 4004,
            Self::InvalidShard => 4010,
            Self::ShardingRequired => 4011,
            Self::InvalidApiVersion => 4012,
            Self::InvalidIntents => 4013,
            Self::DisallowedIntents => 4014,
        }
    }

    /// What the user does next, as a sentence for the error message.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::AuthenticationFailed => {
                "Discord refused the token: copy it again from the Bot page of the Developer Portal; \
                 a token that was reset or has leaked no longer works."
            }
            Self::InvalidShard => {
                "Discord refused the shard: the id must be below the count, and a very large bot's count \
                 must be a multiple of the number that Discord assigned."
            }
            Self::ShardingRequired => {
                "This session would carry more than 2,500 guilds: raise the count in shard=(id, count), and run a Gateway for each id."
            }
            Self::InvalidApiVersion => {
                "Discord no longer serves this version of the Gateway: upgrade Propylon, or correct the version in the gateway URL."
            }
            Self::InvalidIntents => {
                "The intents contain a bit that Discord does not know: build them from the named flags."
            }
            Self::DisallowedIntents => {
                "A privileged intent is not enabled: switch it on under Bot, Privileged Gateway Intents in the Developer Portal, \
                 or leave it out."
            }
        }
    }
}

/// What to do when the connection ended with `code`; `None` stands for a connection that ended without a close frame.
///
/// Codes that one of our own mistakes provokes (4001, 4002, 4003, 4005) are not fatal: the caller logs them.
pub const fn action(code: Option<u16>) -> CloseAction {
    let Some(code) = code else {
        return CloseAction::Resume { after: None };
    };
    match code {
        // 4001 is never resumable, though the table says "reconnect" (staff, discord-api-docs PR 7172).
        // 4003 also comes when the session was invalidated. 4006 is no longer documented, 4009 asks for a new
        // session, 4015 and 4016 are for user accounts.
        4001 | 4003 | 4005 | 4006 | 4007 | 4009 | 4015 | 4016 => CloseAction::Identify,
        4004 => CloseAction::Fatal(FatalClose::AuthenticationFailed),
        4008 => CloseAction::Resume { after: Some(RATE_LIMITED_WAIT) },
        4010 => CloseAction::Fatal(FatalClose::InvalidShard),
        4011 => CloseAction::Fatal(FatalClose::ShardingRequired),
        4012 => CloseAction::Fatal(FatalClose::InvalidApiVersion),
        4013 => CloseAction::Fatal(FatalClose::InvalidIntents),
        4014 => CloseAction::Fatal(FatalClose::DisallowedIntents),
        // 1000 and 1001 from the server are seen in the wild and do not end the session (discord-api-docs 2922).
        _ => CloseAction::Resume { after: None },
    }
}

/// The code's meaning in a few words, for logs and `Closed`.
///
/// Source: Discord's table for 4000 and above, RFC 6455 section 7.4.1 and the IANA registry below.
pub const fn name(code: u16) -> &'static str {
    match code {
        1000 => "normal closure",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1005 => "no close code",
        1006 => "abnormal closure",
        1007 => "invalid payload data",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "mandatory extension",
        1011 => "internal error",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        1015 => "TLS handshake",
        4000 => "unknown error",
        4001 => "unknown opcode",
        4002 => "decode error",
        4003 => "not authenticated",
        4004 => "authentication failed",
        4005 => "already authenticated",
        4006 => "session invalid",
        4007 => "invalid sequence",
        4008 => "rate limited",
        4009 => "session timed out",
        4010 => "invalid shard",
        4011 => "sharding required",
        4012 => "invalid API version",
        4013 => "invalid intents",
        4014 => "disallowed intents",
        _ => "unknown close code",
    }
}

#[cfg(test)]
mod tests {
    use super::{CloseAction, FatalClose, action, name};
    use std::time::Duration;

    const RESUME: CloseAction = CloseAction::Resume { after: None };

    #[test]
    fn s10_every_row_of_the_table() {
        let resume: &[u16] = &[
            0, 999, 1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 1014, 1015, 3000, 3999,
            4000, 4002, 4017, 4020, 4999, 5000, 65535,
        ];
        for &code in resume {
            assert_eq!(action(Some(code)), RESUME, "{code}");
        }
        assert_eq!(action(None), RESUME);
        assert_eq!(action(Some(4008)), CloseAction::Resume { after: Some(Duration::from_secs(5)) });
        for code in [4001, 4003, 4005, 4006, 4007, 4009, 4015, 4016] {
            assert_eq!(action(Some(code)), CloseAction::Identify, "{code}");
        }
        for fatal in FatalClose::ALL {
            assert_eq!(action(Some(fatal.code())), CloseAction::Fatal(fatal));
        }
    }

    #[test]
    fn s10_exactly_the_six_configuration_errors_are_fatal() {
        let fatal: Vec<u16> =
            (0..=u16::MAX).filter(|&code| matches!(action(Some(code)), CloseAction::Fatal(_))).collect();
        assert_eq!(fatal, [4004, 4010, 4011, 4012, 4013, 4014]);
    }

    #[test]
    fn s10_every_documented_code_has_a_name_and_every_fatal_one_advice() {
        for code in (4000..=4014).chain([1000, 1001, 1006, 1011]) {
            assert_ne!(name(code), "unknown close code", "{code}");
        }
        assert_eq!(name(4999), "unknown close code");
        for fatal in FatalClose::ALL {
            assert!(fatal.advice().ends_with('.') && fatal.advice().len() > 40);
        }
    }
}
