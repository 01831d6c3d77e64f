//! What goes into the machine and what comes out of it, as plain data.

use std::{fmt, time::Duration};

use zeroize::Zeroizing;

use crate::{
    inflate::Compression,
    protocol::close_code::FatalClose,
    session::{BackoffConfig, Cause, CommandCounts, CommandResult, PresenceLimiter, Session, Status, Time},
};

/// Deadlines of the steps of a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeouts {
    /// Proxy, TCP, TLS and the HTTP upgrade together, and `/gateway/bot` where it is asked.
    pub connect: Duration,
    /// From the upgrade to HELLO.
    pub hello: Duration,
    /// From IDENTIFY to READY (acknowledged heartbeats extend it) and from RESUME to RESUMED (nothing does).
    pub ready: Duration,
    /// The closing handshake.
    pub close: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(20), hello: seconds(20), ready: seconds(60), close: seconds(2) }
    }
}

/// What the machine must know.
#[derive(Clone)]
pub struct MachineConfig {
    /// Without a `Bot ` prefix.
    pub token: Zeroizing<String>,
    /// The intents' bits.
    pub intents: u64,
    /// `(shard_id, shard_count)`.
    pub shard: Option<(u32, u32)>,
    /// Decides `compress` in IDENTIFY; the URL is the transport's.
    pub compression: Compression,
    /// 50 to 250.
    pub large_threshold: u8,
    /// The presence of IDENTIFY, as JSON.
    pub presence: Option<String>,
    /// `os`, `browser`, `device`.
    pub properties: [String; 3],
    /// Whether a lost connection is made anew.
    pub auto_reconnect: bool,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Delays between connections.
    pub backoff: BackoffConfig,
    /// A session to resume instead of identifying.
    pub session: Option<Session>,
    /// Why a resume URL may not be used (its scheme or host), or `None` where it may.
    pub refuse_resume_url: fn(base: &str, resume: &str, allow_plaintext: bool) -> Option<&'static str>,
    /// The gateway URL; `None` until `/gateway/bot` was asked.
    pub base_url: Option<String>,
    /// What resume URLs are held against until then.
    pub assumed_url: String,
    /// `ws://` to other hosts than loopback.
    pub allow_plaintext: bool,
    /// What the presence limit of the session given has seen.
    pub presence_limiter: PresenceLimiter,
    /// Another process may take the session over: RESUME and IDENTIFY wait until the lease has been looked at.
    pub leased: bool,
}

impl fmt::Debug for MachineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineConfig")
            .field("shard", &self.shard)
            .field("intents", &self.intents)
            .finish_non_exhaustive()
    }
}

/// Why a connection did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectFailure {
    /// What kind of failure it was.
    pub kind: ConnectFailureKind,
    /// For people; holds no secret.
    pub message: String,
    /// How long the server wants us to stay away, where it said so.
    pub retry_after: Option<Duration>,
}

/// The kinds of [`ConnectFailure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFailureKind {
    /// Name lookup, TCP, or the proxy.
    Unreachable,
    /// The deadline.
    Timeout,
    /// The proxy wants other credentials.
    ProxyRefused,
    /// HTTP 429: too much came from here.
    RateLimited,
    /// The certificate was refused.
    Certificate,
    /// TLS could not be agreed on, or the answer was other than 101 and WebSocket.
    Handshake,
    /// `/gateway/bot` refused the token (HTTP 401).
    Unauthorized,
    /// The URL or another setting cannot work.
    Config,
}

impl ConnectFailure {
    /// The deadline passed.
    pub fn timeout(after: Duration) -> Self {
        Self {
            kind: ConnectFailureKind::Timeout,
            message: format!("no connection within {} s", after.as_secs_f64()),
            retry_after: None,
        }
    }
}

/// The end of one connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// The close code received, or ours where we closed; `None` for a drop without one.
    pub code: Option<u16>,
    /// The reason that came with it, or ours.
    pub reason: String,
    /// The end of the gateway rather than of the connection alone.
    pub error: Option<Ended>,
    /// What was wrong with the bytes, where that ended the connection.
    pub fault: Option<Fault>,
    /// Whether another connection follows.
    pub reconnect: bool,
}

/// Bytes that made a connection unusable; survived by the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// They cannot be inflated.
    Decompression,
    /// They are, or would become, more than the payload cap.
    TooLarge,
}

/// How it all ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// `close` was called.
    ByUser,
    /// A close code that no reconnect mends.
    Fatal {
        /// Which.
        close: FatalClose,
        /// The server's words.
        reason: String,
        /// The application's flags, where the driver could ask for them: which privileged intents it may use.
        application_flags: Option<u64>,
    },
    /// The REST API refused the token (HTTP 401): as hopeless as close code 4004, but nothing was closed.
    Unauthorized {
        /// What was asked, and the status.
        reason: String,
    },
    /// The day's IDENTIFYs are down to the floor that is never spent.
    BudgetExhausted {
        /// Unix time in seconds at which they are full again.
        resets_at: f64,
    },
    /// `auto_reconnect` is off, or an `on_close` handler said no.
    NotRemade {
        /// The last close code.
        code: Option<u16>,
        /// Its reason.
        reason: String,
    },
    /// No connection could be made and none will be tried.
    Unreachable(ConnectFailure),
    /// Another process has claimed the session.
    TakenOver,
}

impl Ended {
    /// The end that a failure is which nobody tries to mend.
    pub fn of_failure(failure: ConnectFailure) -> Self {
        match failure.kind {
            ConnectFailureKind::Unauthorized => Self::Unauthorized { reason: failure.message },
            _ => Self::Unreachable(failure),
        }
    }

    pub(super) fn fatal(close: FatalClose, reason: String) -> Self {
        Self::Fatal { close, reason, application_flags: None }
    }
}

/// Why a command was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The gateway is not open, or was closed while the command waited.
    NotConnected,
    /// Too many commands wait already.
    QueueFull,
}

impl From<SendError> for CommandResult {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotConnected => Self::NotConnected,
            SendError::QueueFull => Self::QueueFull,
        }
    }
}

/// What the driver must do.
#[derive(Clone, PartialEq)]
pub enum Action {
    /// Open a connection, beside the current one where there is one: to the resume URL given, else to the base URL. Answer with
    /// [`super::Machine::connected`] or [`super::Machine::connect_failed`].
    Connect {
        /// The bare resume URL; `None`: the base URL.
        resume_url: Option<String>,
    },
    /// Give up the connection attempt.
    AbortConnect,
    /// The connection that was opened beside the current one, or is being opened, takes its place.
    TakeNext,
    /// Close the connection that was opened beside the current one.
    DropNext,
    /// See whether the session is still this process's; answer with [`super::Machine::lease_held`] and this number, or with
    /// [`super::Machine::taken_over`].
    CheckLease(u64),
    /// Ask the identify gate; answer with [`super::Machine::permitted`] or [`super::Machine::permit_refused`].
    AcquirePermit,
    /// IDENTIFY was answered (READY, op 9, close): the gate's key is free.
    ReleasePermit,
    /// Send this text.
    Send(String),
    /// Send a close frame; `linger`: the user's close, wait for the answer until the machine says [`Action::Drop`].
    Close {
        /// Close code.
        code: u16,
        /// Close reason.
        reason: String,
        /// Keep the connection until the peer answered.
        linger: bool,
    },
    /// Let go of the connection without another word.
    Drop,
    /// The lifecycle moved.
    Status(Status),
    /// READY or RESUMED came.
    Ready {
        /// RESUMED rather than READY.
        resumed: bool,
    },
    /// A connection ended.
    Closed(Closed),
    /// A command was written, or never will be.
    CommandDone(u64, Result<(), SendError>),
    /// A connection attempt failed; another follows after the delay.
    ConnectFailed(ConnectFailure, Duration),
    /// Something worth a line in the log.
    Warn(String),
    /// It is over; nothing follows but the refusal of later commands.
    Ended(Ended),
}

impl fmt::Debug for Action {
    /// Without the text of `Send`: IDENTIFY and RESUME hold the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { resume_url } => write!(f, "Connect({resume_url:?})"),
            Self::AbortConnect => f.write_str("AbortConnect"),
            Self::TakeNext => f.write_str("TakeNext"),
            Self::DropNext => f.write_str("DropNext"),
            Self::CheckLease(check) => write!(f, "CheckLease({check})"),
            Self::AcquirePermit => f.write_str("AcquirePermit"),
            Self::ReleasePermit => f.write_str("ReleasePermit"),
            Self::Send(text) => write!(f, "Send({} bytes)", text.len()),
            Self::Close { code, reason, linger } => write!(f, "Close({code}, {reason:?}, linger: {linger})"),
            Self::Drop => f.write_str("Drop"),
            Self::Status(status) => write!(f, "{status:?}"),
            Self::Ready { resumed } => write!(f, "Ready(resumed: {resumed})"),
            Self::Closed(closed) => write!(f, "{closed:?}"),
            Self::CommandDone(id, outcome) => write!(f, "CommandDone({id}, {outcome:?})"),
            Self::ConnectFailed(failure, delay) => write!(f, "ConnectFailed({failure:?}, {delay:?})"),
            Self::Warn(text) => write!(f, "Warn({text:?})"),
            Self::Ended(how) => write!(f, "Ended({how:?})"),
        }
    }
}

/// What a payload turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// An event: count and deliver it.
    Dispatch,
    /// The machine has dealt with it.
    Control,
    /// The connection is over; what else came on it is not read.
    Disconnected,
}

/// Counters of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// op 1 sent.
    pub heartbeats: u64,
    /// Connections made after the first.
    pub reconnects: u64,
    /// The same, by why the connection before was lost: indexed by [`Cause`].
    pub reconnects_by: [u64; Cause::COUNT],
    /// RESUMED received.
    pub resumes: u64,
    /// IDENTIFYs sent.
    pub identifies: u64,
    /// Commands of the user written.
    pub commands_sent: u64,
    /// All commands, by kind and what became of them. A presence that several calls asked for is sent once, for the
    /// last of them.
    pub commands: CommandCounts,
    /// Dispatches whose sequence number was not above the last.
    pub duplicates: u64,
    /// Jumps of more than one in the sequence.
    pub sequence_gaps: u64,
    /// Payloads with an opcode that is unknown or not for clients, or that make no sense now.
    pub ignored: u64,
    /// Connections opened.
    pub connections: u64,
    /// Code and reason of the last end of a connection.
    pub last_close: (Option<u16>, String),
    /// Why the last connection that was made anew had been lost.
    pub lost_by: Cause,
    /// When the last heartbeat was acknowledged.
    pub acknowledged_at: Option<Time>,
    /// When the last READY/RESUMED came.
    pub ready_at: Option<Time>,
}
