//! Carrying out steps: a connection's script, and steps that are asked for at run time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::Value;

use super::connection::{Connection, OnResume, Switches};
use super::rules;
use crate::options::{Shards, Step, blob};
use crate::state::payload::{ACK, HEARTBEAT, RECONNECT};
use crate::state::{Common, Item};
use crate::wire::{Spoil, frame};

/// Frames of a flood that are queued at once.
const FLOOD_BATCH: usize = 4_096;

/// Ops that a script has already waited for.
type Waited = HashMap<i64, u64>;

/// Begins a script: what comes before its first wait is done before the client's first byte is read. Returns the rest.
pub(crate) async fn begin(connection: &Arc<Connection>, mut steps: Vec<Step>) -> Vec<Step> {
    let at = steps.iter().position(Step::takes_time).unwrap_or(steps.len());
    let rest = steps.split_off(at);
    run(connection, &steps).await;
    // the server speaks first, even to a client that does not wait for it
    if rest.first().is_none_or(Step::waits) {
        rules::hello(connection);
    }
    rest
}

/// Runs the rest of a script, or until its connection ends; then the connection serves as switched.
pub(crate) async fn finish(connection: Arc<Connection>, steps: Vec<Step>) {
    run(&connection, &steps).await;
    rules::hello(&connection);
    connection.record.lock().script_done = true;
    connection.out.progressed();
}

async fn run(connection: &Arc<Connection>, steps: &[Step]) {
    let mut waited = Waited::new();
    for step in steps {
        if step.waits() {
            rules::hello(connection);
        }
        if let Err(error) = execute(connection, step, &mut waited).await {
            connection.record.lock().errors.push(error);
        }
    }
}

/// One step at run time.
pub(crate) async fn act(connection: &Arc<Connection>, step: &Step) -> Result<(), String> {
    // ops before this step count as waited for
    let mut waited = connection.record.lock().op_counts.iter().map(|(op, count)| (*op, *count)).collect();
    execute(connection, step, &mut waited).await
}

/// One step that concerns the server.
pub(crate) async fn act_on_server(common: &Common, step: &Step) -> Result<(), String> {
    match step {
        Step::StopListening => common.listeners.close().await,
        Step::Listen => common.listeners.open_again().await.map_err(|error| format!("cannot listen again: {error}"))?,
        Step::ExpireSessions => {
            expire(common, Shards::default());
        }
        Step::ApiResponse { status, headers, body, times } => {
            common.script_api_response((*status, headers.clone(), body.clone()), *times);
        }
        _ => return Err("a step of a connection".to_owned()),
    }
    Ok(())
}

/// Ends live sessions, connected or not; how many.
pub(crate) fn expire(common: &Common, shards: Shards) -> usize {
    let mut sessions: Vec<_> = common.routes.lock().all().cloned().collect();
    sessions.retain(|session| shards.has(session.shard));
    for session in &sessions {
        session.kill();
    }
    sessions.len()
}

/// Waits until `holds`, or until the connection has ended.
async fn wait_until(connection: &Connection, mut holds: impl FnMut() -> bool) {
    loop {
        let progress = connection.out.progress.notified();
        if holds() || connection.ended.load(Relaxed) {
            return;
        }
        progress.await;
    }
}

async fn execute(connection: &Arc<Connection>, step: &Step, waited: &mut Waited) -> Result<(), String> {
    if step.is_server_wide() {
        return act_on_server(&connection.common, step).await;
    }
    match step {
        Step::WaitForOp { op } => {
            let seen = waited.entry(*op).or_default();
            wait_until(connection, || connection.record.lock().op_counts.get(op).is_some_and(|count| count > seen))
                .await;
            *seen += 1;
        }
        Step::WaitReady => wait_until(connection, || connection.served.load(Relaxed)).await,
        Step::WaitEvents { count } => {
            wait_until(connection, || connection.out.dispatch_count() >= *count).await;
        }
        Step::Wait { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
        Step::Hello { payload: None } => rules::hello(connection),
        Step::Hello { payload: Some(payload) } => {
            connection.hello_said.store(true, Relaxed);
            connection.out.send(payload.to_string().as_bytes());
        }
        Step::NoHello => connection.hello_said.store(true, Relaxed),
        Step::PingFlood { count, bytes } => {
            let payload = vec![b'p'; (*bytes).min(125)];
            flood(connection, *count, |_, out| {
                frame::put(out, frame::PING, &payload);
            })
            .await;
        }
        Step::ContinuationFlood { count, finish } => {
            let (last, finish) = (count.saturating_sub(1), *finish);
            let mut start = Vec::new();
            frame::put_header(&mut start, frame::TEXT, 0);
            connection.out.outbox.push(Item::Data(start.into()));
            flood(connection, *count, |at, out| {
                let fin = if finish && at == last { 0x80 } else { 0 };
                frame::put_header(out, fin | frame::CONTINUATION, 0);
            })
            .await;
        }
        Step::Bomb { mebibytes } => {
            let session = connection.session.lock().clone();
            let sequence = session.map_or(1, |session| session.total() + 1);
            let head = format!(r#"{{"t":"MESSAGE_CREATE","s":{sequence},"op":0,"d":{{"content":""#);
            tokio::task::block_in_place(|| {
                connection.out.encode(|encoder, out| {
                    encoder.encode_bomb(head.as_bytes(), *mebibytes, b"\"}}", out);
                });
            });
        }
        Step::Reset => {
            connection.out.outbox.push(Item::Reset);
            // should the client not read what is queued before
            connection.out.abort_after(Duration::from_millis(100));
        }
        _ => {
            return send(connection, step).and_then(|done| if done { Ok(()) } else { switch(connection, step) });
        }
    }
    Ok(())
}

/// Queues many small frames, no faster than the client takes them.
async fn flood(connection: &Connection, count: usize, write: impl Fn(usize, &mut Vec<u8>)) {
    let mut at = 0;
    while at < count && !connection.ended.load(Relaxed) {
        let drained = connection.out.outbox.drained.notified();
        if !connection.out.outbox.has_room() {
            drained.await;
            continue;
        }
        let mut out = Vec::new();
        for _ in 0..FLOOD_BATCH.min(count - at) {
            write(at, &mut out);
            at += 1;
        }
        connection.out.outbox.push(Item::Data(out.into()));
        tokio::task::yield_now().await;
    }
}

/// Steps that send or end; false when it is none of them.
fn send(connection: &Arc<Connection>, step: &Step) -> Result<bool, String> {
    match step {
        Step::SendJson { payload } => connection.out.send(payload.to_string().as_bytes()),
        Step::SendPayload { text, hex } => connection.out.send(&blob(text, hex)?),
        Step::SendText { text } => connection.out.send_frame(frame::TEXT, text.as_bytes()),
        Step::SendBinary { hex } => connection.out.send_frame(frame::BINARY, &blob("", hex)?),
        Step::SendFrame { opcode, fin, rsv, masked, length, text, hex } => {
            let payload = blob(text, hex)?;
            let mut out = Vec::new();
            let first = u8::from(*fin) << 7 | (rsv & 7) << 4 | (opcode & 15);
            frame::put_header(&mut out, first, length.unwrap_or(payload.len() as u64));
            if *masked {
                out[1] |= 0x80;
                out.extend_from_slice(&[0; 4]);
            }
            out.extend_from_slice(&payload);
            connection.out.outbox.push(Item::Data(out.into()));
        }
        Step::SendBytes { text, hex } => {
            connection.out.outbox.push(Item::Data(blob(text, hex)?.into()));
        }
        Step::Dispatch { event, data } => match connection.session.lock().clone() {
            Some(session) => session.dispatch(event.as_str(), data.to_string().into_bytes().into()),
            None => return Err(format!("dispatch of {event}: no session yet")),
        },
        Step::Reconnect => connection.out.send(RECONNECT),
        Step::InvalidSession { resumable } => rules::invalid_session(connection, resumable),
        Step::RequestHeartbeats { count } => repeat(connection, *count, HEARTBEAT),
        Step::Acknowledge { count } => repeat(connection, *count, ACK),
        Step::Close { code, reason } => connection.close(*code, reason),
        Step::CloseRaw { hex } => connection.close_with(&blob("", hex)?, None),
        Step::Drop => connection.out.outbox.push(Item::Drop),
        Step::HalfClose => connection.out.outbox.push(Item::HalfClose),
        _ => return Ok(false),
    }
    Ok(true)
}

fn repeat(connection: &Connection, count: usize, payload: &[u8]) {
    connection.out.encode(|encoder, out| (0..count).for_each(|_| encoder.encode(payload, out)));
}

/// Steps that change how the connection serves.
fn switch(connection: &Arc<Connection>, step: &Step) -> Result<(), String> {
    match step {
        Step::Stall => connection.switch(|switches| switches.writing = false),
        Step::Unstall => connection.switch(|switches| switches.writing = true),
        Step::StopReading => connection.switch(|switches| switches.reading = false),
        Step::ResumeReading => connection.switch(|switches| switches.reading = true),
        Step::StopAcking => connection.switch(|switches| switches.ack = false),
        Step::ResumeAcking => connection.switch(|switches| switches.ack = true),
        Step::AckDelay { ms } => connection.switch(|switches| switches.ack_delay = *ms),
        Step::Ready { set, remove } => connection.switch(|switches| {
            switches.ready_set.clone_from(set);
            switches.ready_remove.clone_from(remove);
        }),
        Step::NeverReady => connection.switch(|switches| switches.ready = false),
        Step::RefuseResume { code, resumable } => connection.switch(|switches| {
            switches.resume = code.map_or(OnResume::InvalidSession(*resumable), OnResume::Close);
        }),
        Step::NotAnswerResume => connection.switch(|switches| switches.resume = OnResume::Silence),
        Step::TruncateReplay { count } => {
            connection.switch(|switches| switches.resume = OnResume::Truncated(*count));
        }
        Step::RateLimitMembers { on } => connection.switch(|switches| switches.limit_members = *on),
        Step::Manual => {
            connection.hello_said.store(true, Relaxed);
            connection.switch(|switches| switches.answer = false);
        }
        Step::Slice { bytes } => connection.slice.store(*bytes, Relaxed),
        Step::Corrupt { at } => connection.out.encode(|encoder, _| encoder.spoil.corrupt = Some(*at)),
        Step::OwnFrames { on } => connection.out.encode(|encoder, _| encoder.spoil.own_frames = *on),
        Step::Merge { payloads } => connection.out.encode(|encoder, out| {
            encoder.release(out);
            encoder.spoil.merge = if *payloads > 1 { *payloads } else { 0 };
        }),
        Step::Split { bytes } => connection.out.encode(|encoder, _| {
            encoder.spoil.split = Some(*bytes).filter(|bytes| *bytes > 0);
        }),
        Step::Flood { on, rate } => match connection.session.lock().clone() {
            Some(session) => session.set_pace(*on, *rate),
            None => return Err("flood: no session yet".to_owned()),
        },
        Step::Serve => {
            connection.switch(|switches| *switches = Switches::default());
            connection.slice.store(0, Relaxed);
            connection.out.encode(|encoder, out| {
                encoder.release(out);
                encoder.spoil = Spoil::default();
            });
        }
        other => {
            let name = serde_json::to_value(other).map_or(Value::Null, |step| step["step"].clone());
            return Err(format!("{name} is possible only at the start of a script"));
        }
    }
    Ok(())
}
