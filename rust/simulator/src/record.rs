//! What the server saw: per connection, per session and of the API; and waiting until it saw something.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;

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

/// What [`Simulator::wait`](crate::Simulator::wait) waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "until", rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    /// This many TCP connections for the gateway, upgraded or not.
    Accepted {
        /// How many.
        count: usize,
    },
    /// This many `WebSockets` open at the same time.
    Open {
        /// How many, exactly.
        count: usize,
    },
    /// This many WebSocket upgrades.
    Connections {
        /// How many.
        count: usize,
    },
    /// An op was received this often, on one connection or over all.
    Op {
        /// Opcode.
        op: i64,
        /// How often.
        #[serde(default = "once")]
        count: u64,
        /// On this connection only.
        #[serde(default)]
        connection: Option<u64>,
    },
    /// READY was sent this often.
    Ready {
        /// How often.
        #[serde(default = "once")]
        count: u64,
    },
    /// RESUMED was sent this often.
    Resumed {
        /// How often.
        #[serde(default = "once")]
        count: u64,
    },
    /// A connection ended.
    Closed {
        /// Its number.
        connection: u64,
    },
    /// This many dispatches were queued for clients, over all sessions, READY and the like included.
    Dispatched {
        /// How many.
        count: u64,
    },
    /// Every session has sent its `count` of generated events, to the last byte.
    TrafficDone,
    /// The script of a connection has ended.
    ScriptDone {
        /// Its number.
        connection: u64,
    },
    /// This many API requests.
    ApiRequests {
        /// How many.
        count: usize,
    },
}

fn once() -> u64 {
    1
}

/// Wakes whoever waits for a [`Condition`].
#[derive(Debug)]
pub(crate) struct Watch {
    started: Instant,
    version: Mutex<u64>,
    blocking: Condvar,
    tasks: Notify,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), version: Mutex::new(0), blocking: Condvar::new(), tasks: Notify::new() }
    }

    /// Milliseconds since the simulator started, monotonic.
    pub(crate) fn ms(&self) -> f64 {
        (self.started.elapsed().as_secs_f64() * 1e6).round() / 1e3
    }

    /// Something that a condition may look at has changed.
    pub(crate) fn changed(&self) {
        *self.version.lock() += 1;
        self.blocking.notify_all();
        self.tasks.notify_waiters();
    }

    /// Blocks until `holds`; false when time runs out.
    pub(crate) fn wait(&self, timeout: Duration, holds: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            // the version is read before the condition: a change in between is not slept through
            let seen = *self.version.lock();
            if holds() {
                return true;
            }
            let mut version = self.version.lock();
            if *version == seen && self.blocking.wait_until(&mut version, deadline).timed_out() {
                drop(version);
                return holds();
            }
        }
    }

    /// The same for tasks of any runtime with timers.
    pub(crate) async fn wait_async(&self, timeout: Duration, holds: impl Fn() -> bool) -> bool {
        let wait = async {
            loop {
                let changed = self.tasks.notified();
                if holds() {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(timeout, wait).await.is_ok()
    }
}
