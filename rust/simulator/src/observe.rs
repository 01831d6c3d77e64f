//! Looking at a running server: its record as JSON, and whether a condition holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use crate::gateway::{BEAT_TOLERANCE, Connection};
use crate::options::{Condition, Keyword, Selector};
use crate::server::Server;
use crate::state::ConnectionRecord;

/// Everything, as JSON; without the payloads it is small.
pub(crate) fn record(server: &Server, payloads: bool) -> Value {
    let (api, identifies) = server.common.history();
    let mut connections: BTreeMap<u64, ConnectionRecord> = server.not_upgraded();
    for connection in server.connections() {
        connections.insert(connection.number(), connection.snapshot(payloads));
    }
    json!({
        "ms": server.common.watch.ms(),
        "connections": connections.into_values().collect::<Vec<_>>(),
        "sessions": server.common.sessions().iter().map(|session| session.record()).collect::<Vec<_>>(),
        "api": api,
        "identifies": identifies,
        "shared": server.common.shared.record(Some(server.common.world.guilds as u64)),
    })
}

/// How a fleet is, in counts: what does not grow with what was received.
pub(crate) fn fleet(server: &Server) -> Value {
    let common = &server.common;
    let mut sessions: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for session in common.routes.lock().all() {
        let (alive, connected) = sessions.entry(session.shard.1).or_default();
        *alive += 1;
        *connected += u64::from(session.is_connected());
    }
    let sessions: BTreeMap<u64, Value> = sessions
        .into_iter()
        .map(|(count, (alive, connected))| (count, json!({"alive": alive, "connected": connected})))
        .collect();
    let (now, allowed) = (common.watch.ms(), common.config.heartbeat_interval as f64 * (1.0 + BEAT_TOLERANCE));
    let open = server.select(Selector::Keyword(Keyword::Every).into());
    let overdue = open.iter().filter(|connection| connection.record.lock().beat_after(now) > allowed).count();
    let identifies = common.identifies();
    let counts = common.tally.counts();
    let op = |op: i64| counts.ops.get(&op).copied().unwrap_or_default();
    json!({
        "ms": now,
        "connections": {
            "accepted": counts.accepted, "upgraded": counts.upgraded, "open": counts.open, "most_open": counts.most_open,
        },
        "sessions": sessions,
        "identifies": identifies,
        "ready": counts.ready,
        "resumes": op(6),
        "resumed": counts.resumed,
        "early_identifies": counts.early,
        "identifies_over_budget": counts.over_budget,
        "beats": op(1),
        "late_beats": counts.late,
        "overdue_beats": overdue,
        "closes": counts.closes,
        "dispatched": common.tally.dispatch_count(),
        "api_requests": counts.api,
        "shared": common.shared.record(None),
    })
}

/// Whether a condition holds now. It is asked after each change, so none looks at every connection.
pub(crate) fn holds(server: &Server, condition: &Condition) -> bool {
    let tally = &server.common.tally;
    match condition {
        Condition::Accepted { count } => tally.counts().accepted >= *count as u64,
        Condition::Open { count } => tally.counts().open == *count as u64,
        Condition::Connections { count } => tally.counts().upgraded >= *count as u64,
        Condition::Op { op, count, connection: None } => {
            tally.counts().ops.get(op).copied().unwrap_or_default() >= *count
        }
        Condition::Op { op, count, connection: Some(number) } => {
            let received = |connection: Arc<Connection>| connection.record.lock().op_counts.get(op).copied();
            server.connection(*number).and_then(received).unwrap_or_default() >= *count
        }
        Condition::Ready { count } => tally.counts().ready >= *count,
        Condition::Resumed { count } => tally.counts().resumed >= *count,
        Condition::Closed { connection } => {
            server.connection(*connection).is_some_and(|connection| connection.ended.load(Relaxed))
        }
        Condition::Dispatched { count } => tally.dispatch_count() >= *count,
        Condition::TrafficDone => server.common.is_traffic_done(),
        Condition::ScriptDone { connection } => {
            server.connection(*connection).is_some_and(|connection| connection.record.lock().script_done)
        }
        Condition::ApiRequests { count } => tally.counts().api >= *count as u64,
    }
}
