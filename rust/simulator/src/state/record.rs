//! What the server saw of each connection and of the API, as it is written to the record.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// Payloads kept per connection; a longer history is only counted.
const KEPT_OPS: usize = 10_000;

/// One payload from a client.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OpRecord {
    pub(crate) op: i64,
    pub(crate) ms: f64,
    pub(crate) bytes: usize,
    /// The raw payload, token included: this is a test server.
    pub(crate) payload: Value,
}

/// How a connection ended.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct CloseRecord {
    pub(crate) ms: f64,
    /// The close code that the client sent; null when it sent none.
    pub(crate) code: Option<u16>,
    pub(crate) reason: String,
    /// The close code that the server sent.
    pub(crate) sent: Option<u16>,
    /// `client_close`, `client_eof`, `client_reset`, `server`, `protocol`.
    pub(crate) by: &'static str,
}

/// One gateway connection.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ConnectionRecord {
    pub(crate) number: u64,
    /// `main`, or `resume` for the second port.
    pub(crate) port: &'static str,
    pub(crate) tls: bool,
    pub(crate) accepted_ms: f64,
    pub(crate) upgraded_ms: Option<f64>,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) status: Option<u16>,
    pub(crate) hello_ms: Option<f64>,
    pub(crate) ready_ms: Option<f64>,
    pub(crate) resumed_ms: Option<f64>,
    /// `[id, count]` of IDENTIFY, or of the session that was resumed.
    pub(crate) shard: Option<(u64, u64)>,
    pub(crate) session: Option<String>,
    pub(crate) ops: Vec<OpRecord>,
    pub(crate) op_counts: BTreeMap<i64, u64>,
    pub(crate) beats: Vec<f64>,
    pub(crate) acks: u64,
    pub(crate) pings: u64,
    pub(crate) pongs: u64,
    /// Dispatches queued on this connection.
    pub(crate) dispatched: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) closed: Option<CloseRecord>,
    pub(crate) script_done: bool,
    pub(crate) errors: Vec<String>,
}

impl ConnectionRecord {
    /// Milliseconds since the last heartbeat; since HELLO when there was none yet.
    pub(crate) fn beat_after(&self, ms: f64) -> f64 {
        ms - self.beats.last().copied().or(self.hello_ms).unwrap_or(ms)
    }

    pub(crate) fn op(&mut self, record: OpRecord) {
        *self.op_counts.entry(record.op).or_default() += 1;
        if record.op == 1 {
            self.beats.push(record.ms);
        }
        if self.ops.len() < KEPT_OPS {
            self.ops.push(record);
        }
    }
}

/// A request to the REST face.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ApiRecord {
    pub(crate) ms: f64,
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
}
