//! What a test may wait for, as data. Python and tests write it as JSON: `{"until": "ready", "count": 2}`.

use serde::{Deserialize, Serialize};

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
