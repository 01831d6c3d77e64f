//! Looking at a running server: its record as JSON, and whether a condition holds.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use crate::options::Condition;
use crate::server::Server;
use crate::state::ConnectionRecord;

/// Everything, as JSON.
pub(crate) fn record(server: &Server) -> Value {
    let (api, identifies) = server.common.history();
    let mut connections: BTreeMap<u64, ConnectionRecord> = server.not_upgraded();
    for connection in server.connections() {
        connections.insert(connection.number(), connection.snapshot());
    }
    json!({
        "ms": server.common.watch.ms(),
        "connections": connections.into_values().collect::<Vec<_>>(),
        "sessions": server.common.sessions().iter().map(|session| session.record()).collect::<Vec<_>>(),
        "api": api,
        "identifies": identifies,
    })
}

/// Whether a condition holds now.
pub(crate) fn holds(server: &Server, condition: &Condition) -> bool {
    let connections = server.connections();
    let sum = |of: &dyn Fn(&ConnectionRecord) -> u64| -> u64 {
        connections.iter().map(|connection| of(&connection.record.lock())).sum()
    };
    let find = |number: u64| connections.iter().find(|connection| connection.number() == number);
    match condition {
        Condition::Accepted { count } => server.accepted() >= *count as u64,
        Condition::Open { count } => {
            connections.iter().filter(|connection| !connection.ended.load(Relaxed)).count() == *count
        }
        Condition::Connections { count } => connections.len() >= *count,
        Condition::Op { op, count, connection } => {
            let wanted = |record: &ConnectionRecord| match connection {
                Some(number) if record.number != *number => 0,
                _ => record.op_counts.get(op).copied().unwrap_or_default(),
            };
            sum(&wanted) >= *count
        }
        Condition::Ready { count } => sum(&|record| u64::from(record.ready_ms.is_some())) >= *count,
        Condition::Resumed { count } => sum(&|record| u64::from(record.resumed_ms.is_some())) >= *count,
        Condition::Closed { connection } => find(*connection).is_some_and(|connection| connection.ended.load(Relaxed)),
        Condition::Dispatched { count } => {
            server.common.sessions().iter().map(|session| session.total()).sum::<u64>() >= *count
        }
        Condition::TrafficDone => {
            let sessions = server.common.sessions();
            !sessions.is_empty() && sessions.iter().all(|session| session.is_dead() || session.is_done())
        }
        Condition::ScriptDone { connection } => {
            find(*connection).is_some_and(|connection| connection.record.lock().script_done)
        }
        Condition::ApiRequests { count } => server.common.history().0.len() >= *count,
    }
}
