//! What a payload from a client gets: the rules of Discord's gateway for op 1, 2 and 6. Other commands are in `commands`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::commands;
use super::connection::{Connection, OnResume};
use crate::options::Start;
use crate::state::payload::{ACK, KNOWN_INTENTS};
use crate::state::{OpRecord, Resume, Session, pace};
use crate::traffic::{BOT_ID, World};

/// The window of the command limit.
const WINDOW: Duration = Duration::from_mins(1);

/// Part of the interval by which a heartbeat may be late before it counts as late.
pub(crate) const BEAT_TOLERANCE: f64 = 0.25;

/// Op 10, unless a script said it, or that there is none.
pub(crate) fn hello(connection: &Connection) {
    if !connection.hello_said.swap(true, Relaxed) {
        let payload = json!({"t": null, "s": null, "op": 10, "d": {
            "heartbeat_interval": connection.common.config.heartbeat_interval,
            "_trace": ["[\"gateway-sim\",{\"micros\":0.0}]"],
        }});
        // recorded before it is sent: a test that saw HELLO finds it in the record
        connection.record.lock().hello_ms = Some(connection.common.watch.ms());
        connection.out.send(payload.to_string().as_bytes());
        connection.out.progressed();
    }
}

/// Op 9.
pub(crate) fn invalid_session(connection: &Connection, resumable: &Value) {
    if resumable != &Value::Bool(true)
        && let Some(session) = connection.session.lock().take()
    {
        session.detach(&connection.out, true);
    }
    connection.out.send(json!({"t": null, "s": null, "op": 9, "d": resumable}).to_string().as_bytes());
}

/// One whole message from the client.
pub(crate) fn on_message(connection: &Arc<Connection>, bytes: &[u8]) {
    let common = &connection.common;
    let payload: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
    let op = payload["op"].as_i64();
    let ms = common.watch.ms();
    let late = {
        let mut record = connection.record.lock();
        let late = if op == Some(1) { record.beat_after(ms) - common.config.heartbeat_interval as f64 } else { 0.0 };
        record.op(OpRecord {
            op: op.unwrap_or(-1),
            ms,
            bytes: bytes.len(),
            payload: if payload.is_null() {
                String::from_utf8_lossy(bytes).into_owned().into()
            } else {
                payload.clone()
            },
        });
        late
    };
    {
        let mut counts = common.tally.counts();
        *counts.ops.entry(op.unwrap_or(-1)).or_default() += 1;
        if late > common.config.heartbeat_interval as f64 * BEAT_TOLERANCE {
            counts.late.note(late);
        }
    }
    if !connection.switches.borrow().answer {
        return;
    }
    if bytes.len() > common.config.payload_limit {
        return connection.close(Some(4002), "Error while decoding payload.");
    }
    if over_limit(connection) {
        return connection.close(Some(4008), "Rate limited.");
    }
    let Some(op) = op else {
        return connection.close(Some(4002), "Error while decoding payload.");
    };
    match op {
        1 => heartbeat(connection),
        2 => identify(connection, &payload["d"]),
        6 => resume(connection, &payload["d"]),
        3 | 4 | 8 | 31 | 43 => {
            let session = connection.session.lock().clone();
            match session {
                None => connection.close(Some(4003), "Not authenticated."),
                Some(session) => commands::run(connection, &session, op, &payload["d"]),
            }
        }
        _ => connection.close(Some(4001), "Unknown opcode."),
    }
}

fn over_limit(connection: &Connection) -> bool {
    let limit = connection.common.config.command_limit;
    let now = Instant::now();
    let mut sends = connection.sends.lock();
    sends.push_back(now);
    while sends.front().is_some_and(|at| now.duration_since(*at) > WINDOW) {
        sends.pop_front();
    }
    limit > 0 && sends.len() > limit
}

fn heartbeat(connection: &Arc<Connection>) {
    let (ack, delay) = {
        let switches = connection.switches.borrow();
        (switches.ack, switches.ack_delay)
    };
    if !ack {
        return;
    }
    connection.record.lock().acks += 1;
    if delay == 0 {
        acknowledge(connection);
    } else {
        let connection = Arc::clone(connection);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            acknowledge(&connection);
        });
    }
}

fn acknowledge(connection: &Connection) {
    if !connection.out.outbox.release_slot() {
        connection.out.send(ACK);
    }
}

/// `[id, count]`, `[0, 1]` when absent.
fn shard(data: &Value) -> Option<(u64, u64)> {
    match &data["shard"] {
        Value::Null => Some((0, 1)),
        Value::Array(pair) => match pair.as_slice() {
            [id, count] => Some((id.as_u64()?, count.as_u64()?)).filter(|(id, count)| id < count),
            _ => None,
        },
        _ => None,
    }
}

fn token_is_right(connection: &Connection, data: &Value) -> bool {
    let given = data["token"].as_str().unwrap_or_default();
    match connection.common.config.token.as_deref() {
        Some(token) => given == token,
        // the `Bot ` prefix belongs to REST; the gateway takes the bare token
        None => !given.is_empty() && !given.starts_with("Bot "),
    }
}

fn identify(connection: &Arc<Connection>, data: &Value) {
    let common = &connection.common;
    if connection.session.lock().is_some() {
        return connection.close(Some(4005), "Already authenticated.");
    }
    if !data.is_object() || !data["properties"].is_object() {
        return connection.close(Some(4002), "Error while decoding payload.");
    }
    if !token_is_right(connection, data) {
        return connection.close(Some(4004), "Authentication failed.");
    }
    let Some(shard) = shard(data) else {
        return connection.close(Some(4010), "Invalid shard.");
    };
    connection.record.lock().shard = Some(shard);
    let most = common.config.guilds_per_shard;
    if most > 0 && common.world.share(shard).guilds > most {
        return connection.close(Some(4011), "Sharding required.");
    }
    match data["intents"].as_u64() {
        Some(intents) if intents & !KNOWN_INTENTS == 0 => {
            if intents & common.config.disallowed_intents != 0 {
                return connection.close(Some(4014), "Disallowed intent(s).");
            }
        }
        _ => return connection.close(Some(4013), "Invalid intent(s)."),
    }
    let (in_time, number) = common.take_identify(shard.0);
    if !in_time {
        return invalid_session(connection, &Value::Bool(false));
    }
    if !connection.switches.borrow().ready {
        return;
    }
    if data["compress"].as_bool() == Some(true) {
        connection.out.encode(|encoder, _| encoder.begin_payload_compression());
    }
    ready(connection, data["intents"].as_u64().unwrap_or_default(), shard, number);
}

fn ready(connection: &Arc<Connection>, intents: u64, shard: (u64, u64), number: u32) {
    let common = &connection.common;
    let config = &common.config;
    // numbered and seeded: the same run gives the same bytes
    let id = format!("{:032x}", (u128::from(config.seed) << 64) + (u128::from(shard.0) << 32) + u128::from(number));
    let allowed = if config.respect_intents { intents } else { u64::MAX };
    let stream = common.generator.stream(&common.world, shard, allowed);
    let generator = Arc::clone(&common.generator);
    let session = Arc::new(Session::new(id.clone(), shard, intents, common.watch.ms(), config, generator, stream));
    *connection.session.lock() = Some(Arc::clone(&session));

    let guilds = common.world.guilds_of(shard);
    let stubs: Vec<Value> = guilds.iter().map(|guild| json!({"unavailable": true, "id": guild.to_string()})).collect();
    let mut data = json!({
        "v": 10, "user_settings": {}, "user": World::bot_user(), "shard": [shard.0, shard.1], "session_type": "normal",
        "session_id": id, "resume_gateway_url": common.resume_url(), "relationships": [], "private_channels": [],
        "presences": [], "guilds": stubs, "guild_join_requests": [], "geo_ordered_rtc_regions": ["rotterdam"],
        "application": {"id": BOT_ID.to_string(), "flags": 565_248},
        "_trace": ["[\"gateway-sim\",{\"micros\":0}]"],
    });
    {
        let switches = connection.switches.borrow();
        for (key, value) in &switches.ready_set {
            data[key] = value.clone();
        }
        for key in &switches.ready_remove {
            if let Some(fields) = data.as_object_mut() {
                fields.remove(key);
            }
        }
    }
    session.dispatch("READY", data.to_string().into_bytes().into());
    if config.guild_creates && intents & 1 != 0 {
        for guild in guilds {
            let data = common.world.guild_create(guild, config.guild_create_members);
            session.dispatch("GUILD_CREATE", data.into_bytes().into());
        }
    }
    // only now: READY is its first event, and a guild's first is its GUILD_CREATE
    common.add_session(Arc::clone(&session));
    {
        // held over the sending: a test that saw READY finds it recorded and counted, and one that finds it can rely on
        // its being on its way
        let (mut record, mut counts) = (connection.record.lock(), common.tally.counts());
        session.attach(&connection.out);
        record.session = Some(id);
        record.ready_ms = Some(common.watch.ms());
        counts.ready += 1;
    }
    connection.served.store(true, Relaxed);
    tokio::spawn(pace::run(Arc::clone(common), session, config.start == Start::Ready));
    connection.out.progressed();
}

fn resume(connection: &Arc<Connection>, data: &Value) {
    let common = &connection.common;
    if connection.session.lock().is_some() {
        return connection.close(Some(4005), "Already authenticated.");
    }
    if !token_is_right(connection, data) {
        return connection.close(Some(4004), "Authentication failed.");
    }
    let on_resume = connection.switches.borrow().resume.clone();
    let truncate = match on_resume {
        OnResume::Normal => None,
        OnResume::Truncated(count) => Some(count),
        OnResume::Silence => return,
        OnResume::Close(code) => return connection.close(Some(code), "Resume refused."),
        OnResume::InvalidSession(resumable) => {
            return invalid_session(connection, &Value::Bool(resumable));
        }
    };
    let session = data["session_id"].as_str().and_then(|id| common.session(id));
    let (Some(session), Some(sequence)) = (session, data["seq"].as_u64()) else {
        return invalid_session(connection, &Value::Bool(false));
    };
    *connection.session.lock() = Some(Arc::clone(&session));
    let outcome = {
        // held over the sending, as in `ready`
        let (mut record, mut counts) = (connection.record.lock(), common.tally.counts());
        let outcome = session.resume(&connection.out, sequence, truncate);
        if outcome == Resume::Done {
            record.session = Some(session.id.clone());
            record.shard = Some(session.shard);
            if truncate.is_none() {
                record.resumed_ms = Some(common.watch.ms());
                counts.resumed += 1;
            }
        }
        outcome
    };
    match outcome {
        Resume::Done => {
            connection.served.store(true, Relaxed);
            connection.out.progressed();
        }
        refused => {
            connection.session.lock().take();
            if refused == Resume::TooNew {
                connection.close(Some(4007), "Invalid seq.");
            } else {
                invalid_session(connection, &Value::Bool(false));
            }
        }
    }
}
