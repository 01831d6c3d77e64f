//! The steps of a scripted connection, as data. Python and tests write them as JSON: `{"step": "close", "code": 4000}`.
//!
//! The server serves normally while a script runs; steps switch parts of that off. A script starts after the upgrade and
//! before HELLO, which is sent when the script first waits, serves or ends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::certificate::Certificate;

/// Which connections a script or a step is for. Numbers count gateway connections from 1; requests to the API don't count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Selector {
    /// The n-th gateway connection, from 1.
    Number(u64),
    /// A word.
    Keyword(Keyword),
}

/// A [`Selector`] in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keyword {
    /// The next connection without a script of its own; several such scripts queue up.
    Next,
    /// Scripts: every connection that no other script takes. Steps: every live connection.
    Every,
    /// The newest connection.
    Last,
}

impl Selector {
    /// See [`Keyword::Next`].
    pub const NEXT: Self = Self::Keyword(Keyword::Next);
    /// See [`Keyword::Every`].
    pub const EVERY: Self = Self::Keyword(Keyword::Every);
    /// See [`Keyword::Last`].
    pub const LAST: Self = Self::Keyword(Keyword::Last);
}

impl From<u64> for Selector {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// Connections and sessions by the shard that they identified as; `{}` is every one that has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shards {
    /// The id; `None`: any.
    pub shard: Option<u64>,
    /// Of how many; `None`: of any number.
    pub shard_count: Option<u64>,
}

impl Shards {
    /// Whether `[id, count]` is among them.
    pub(crate) fn has(self, (id, count): (u64, u64)) -> bool {
        self.shard.is_none_or(|shard| shard == id) && self.shard_count.is_none_or(|shards| shards == count)
    }
}

/// Whom a step at run time is for. A script has a [`Selector`]: a connection to come has no shard yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Target {
    /// By number or in a word.
    Connections(Selector),
    /// Live ones, by shard.
    Shards(Shards),
}

impl From<Selector> for Target {
    fn from(selector: Selector) -> Self {
        Self::Connections(selector)
    }
}

impl From<u64> for Target {
    fn from(number: u64) -> Self {
        Self::Connections(number.into())
    }
}

impl From<Shards> for Target {
    fn from(shards: Shards) -> Self {
        Self::Shards(shards)
    }
}

/// Steps for a connection to come.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// For whom.
    pub connection: Selector,
    /// In order.
    pub steps: Vec<Step>,
}

/// One thing that a scripted connection does, or stops doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    // -- before HTTP: only at the start of a script --
    /// Accept TCP, then say nothing for ever.
    SilentAccept,
    /// Show this certificate instead of the configured one.
    Certificate {
        /// Which.
        kind: Certificate,
    },
    /// Answer in plain HTTP although the port is TLS.
    Plaintext,
    /// Answer the client's hello with a fatal TLS alert, e.g. 70 `protocol_version`.
    TlsAlert {
        /// Alert description.
        code: u8,
    },
    // -- instead of, or during, the 101 --
    /// Answer the upgrade with this, then close.
    HttpResponse {
        /// Status code.
        status: u16,
        /// Extra headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// Body.
        #[serde(default)]
        body: String,
    },
    /// Send the 101 in pieces of `bytes`, `ms` apart.
    TrickleHandshake {
        /// Milliseconds between two pieces.
        ms: u64,
        /// Bytes of each piece.
        #[serde(default = "one")]
        bytes: usize,
    },
    /// Put a header of this size into the 101.
    HugeHeader {
        /// Bytes.
        bytes: usize,
    },

    // -- waiting --
    /// Until an op has been received, and answered if it is answered at all; each received one satisfies one step.
    WaitForOp {
        /// Opcode.
        op: i64,
    },
    /// Until READY (with its guilds) or RESUMED has been queued.
    WaitReady,
    /// Until this many dispatches were queued on this connection, READY included.
    WaitEvents {
        /// Dispatches.
        count: u64,
    },
    /// For some time.
    Wait {
        /// Milliseconds.
        ms: u64,
    },

    // -- sending --
    /// HELLO now: the normal one, or this payload.
    Hello {
        /// The whole payload, envelope included.
        #[serde(default)]
        payload: Option<Value>,
    },
    /// Never say HELLO.
    NoHello,
    /// Any payload, through the connection's compression.
    SendJson {
        /// The whole payload, envelope included.
        payload: Value,
    },
    /// Any bytes as a payload, through the connection's compression.
    SendPayload {
        /// As text, or
        #[serde(default)]
        text: String,
        /// in hexadecimal digits.
        #[serde(default)]
        hex: String,
    },
    /// A text message, uncompressed.
    SendText {
        /// The text.
        text: String,
    },
    /// A binary message, as it is.
    SendBinary {
        /// Hexadecimal digits.
        hex: String,
    },
    /// One frame, legal or not.
    SendFrame {
        /// Opcode, 0–15.
        opcode: u8,
        /// The FIN bit.
        #[serde(default = "yes")]
        fin: bool,
        /// The three RSV bits, 0–7.
        #[serde(default)]
        rsv: u8,
        /// Set the mask bit (with a zero key), which a server must not.
        #[serde(default)]
        masked: bool,
        /// Announce this length instead of the payload's.
        #[serde(default)]
        length: Option<u64>,
        /// Payload as text, or
        #[serde(default)]
        text: String,
        /// in hexadecimal digits.
        #[serde(default)]
        hex: String,
    },
    /// Bytes onto the connection, below WebSocket (inside TLS).
    SendBytes {
        /// As text, or
        #[serde(default)]
        text: String,
        /// in hexadecimal digits.
        #[serde(default)]
        hex: String,
    },
    /// An event of the connection's session, with its own sequence and kept for replay.
    Dispatch {
        /// Name.
        event: String,
        /// `d`.
        data: Value,
    },
    /// Op 7.
    Reconnect,
    /// Op 9.
    InvalidSession {
        /// `d`: a bool, or what a strange server sends.
        #[serde(default)]
        resumable: Value,
    },
    /// Op 1, this many times in one write.
    RequestHeartbeats {
        /// How many.
        count: usize,
    },
    /// Op 11 without a beat, this many times.
    Acknowledge {
        /// How many.
        count: usize,
    },
    /// A payload that inflates to this many MiB, through the connection's compression.
    Bomb {
        /// MiB.
        mebibytes: usize,
    },
    /// Ping frames.
    PingFlood {
        /// How many.
        count: usize,
        /// Payload bytes of each, at most 125.
        #[serde(default)]
        bytes: usize,
    },
    /// A message of empty continuation frames.
    ContinuationFlood {
        /// How many.
        count: usize,
        /// End the message at last.
        #[serde(default)]
        finish: bool,
    },

    // -- ending --
    /// A close frame (`code: null` for an empty one), the client's answer awaited for a second, then FIN.
    Close {
        /// Close code.
        #[serde(default)]
        code: Option<u16>,
        /// Reason.
        #[serde(default)]
        reason: String,
    },
    /// A close frame with this payload, then FIN.
    CloseRaw {
        /// Hexadecimal digits.
        #[serde(default)]
        hex: String,
    },
    /// RST (`SO_LINGER` 0).
    Reset,
    /// FIN without a close frame.
    Drop,
    /// FIN, but go on reading.
    HalfClose,

    // -- switches --
    /// Stop writing.
    Stall,
    /// Write again.
    Unstall,
    /// Stop reading.
    StopReading,
    /// Read again.
    ResumeReading,
    /// Leave beats without ACK.
    StopAcking,
    /// ACK again.
    ResumeAcking,
    /// ACK late.
    AckDelay {
        /// Milliseconds; 0 for at once.
        ms: u64,
    },
    /// At most this many bytes per TCP write, with `TCP_NODELAY`; 0 ends it.
    Slice {
        /// Bytes.
        bytes: usize,
    },
    /// Spoil one byte of the next message.
    Corrupt {
        /// Which byte of its (compressed) payload, from 0; the last one if it is shorter.
        #[serde(default)]
        at: usize,
    },
    /// Change READY's `d`.
    Ready {
        /// Fields to set.
        #[serde(default)]
        set: Map<String, Value>,
        /// Fields to leave out.
        #[serde(default)]
        remove: Vec<String>,
    },
    /// Take IDENTIFY, say nothing.
    NeverReady,
    /// Answer RESUME with op 9, or close it with a code.
    RefuseResume {
        /// Close code instead of op 9.
        #[serde(default)]
        code: Option<u16>,
        /// `d` of op 9.
        #[serde(default)]
        resumable: bool,
    },
    /// Take RESUME, say nothing.
    NotAnswerResume,
    /// Replay only this many dispatches, without RESUMED.
    TruncateReplay {
        /// Dispatches.
        count: u64,
    },
    /// End the zstd frame (or zlib stream) with every message and begin anew.
    OwnFrames {
        /// Off again with false.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Up to this many dispatches, of those that are ready together, in each message; 0 or 1 ends it.
    Merge {
        /// Payloads.
        payloads: usize,
    },
    /// Each payload over messages of at most this many bytes; 0 ends it.
    Split {
        /// Bytes.
        bytes: usize,
    },
    /// Answer every all-members request with `RATE_LIMITED`.
    RateLimitMembers {
        /// Off again with false.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Start or stop the session's traffic, optionally at another rate.
    Flood {
        /// Start or stop.
        on: bool,
        /// Events per second; null leaves the rate as it is, 0 is flat out.
        #[serde(default)]
        rate: Option<f64>,
    },
    /// Answer nothing at all; only record.
    Manual,
    /// Serve normally: every switch back.
    Serve,

    // -- the whole server --
    /// Close the listening ports; connections live on.
    StopListening,
    /// Open them again.
    Listen,
    /// Forget sessions, as if expired: every one, or those of a shard or a number of shards.
    ExpireSessions,
    /// Answer the next API requests with this.
    ApiResponse {
        /// Status code.
        status: u16,
        /// Extra headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// Body.
        #[serde(default)]
        body: String,
        /// How many requests.
        #[serde(default = "one")]
        times: usize,
    },
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

impl Step {
    /// Has to be known before the first byte is read.
    pub(crate) fn is_before_http(&self) -> bool {
        matches!(self, Self::SilentAccept | Self::Certificate { .. } | Self::Plaintext | Self::TlsAlert { .. })
    }

    /// Concerns the upgrade's answer.
    pub(crate) fn is_handshake(&self) -> bool {
        matches!(self, Self::HttpResponse { .. } | Self::TrickleHandshake { .. } | Self::HugeHeader { .. })
    }

    /// Concerns the server, not one connection.
    pub(crate) fn is_server_wide(&self) -> bool {
        matches!(self, Self::StopListening | Self::Listen | Self::ExpireSessions | Self::ApiResponse { .. })
    }

    /// Needs a running connection.
    pub(crate) fn takes_time(&self) -> bool {
        self.waits() || matches!(self, Self::PingFlood { .. } | Self::ContinuationFlood { .. })
    }

    /// Waits: HELLO is due before it.
    pub(crate) fn waits(&self) -> bool {
        matches!(
            self,
            Self::WaitForOp { .. } | Self::WaitReady | Self::WaitEvents { .. } | Self::Wait { .. } | Self::Serve
        )
    }
}

/// Bytes of a step that takes `text` or `hex`.
pub(crate) fn blob(text: &str, hex: &str) -> Result<Vec<u8>, String> {
    if hex.is_empty() {
        return Ok(text.as_bytes().to_vec());
    }
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| {
            std::str::from_utf8(pair)
                .ok()
                .filter(|pair| pair.len() == 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or_else(|| format!("not hexadecimal: {hex:.40}"))
        })
        .collect()
}
