//! A session: its log, the cursor of the connection that reads it, and the pace of its traffic. Of the connection it knows
//! the outgoing half.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::log::{Entry, Log};
use super::outbox::Item;
use super::outgoing::Outgoing;
use super::payload::ACK;
use crate::options::SimulatorConfig;
use crate::traffic::{EVENTS, Generator, Stream};
use crate::wire::Encoder;

/// Events encoded under one lock; beats are answered in between.
const BATCH: u64 = 512;
/// A preloaded stream has an acknowledgement every so many events, since nothing can be put into it afterwards.
const ACK_EVERY: u64 = 10_000;
/// Acknowledgements at its head, for beats that come before it starts.
const ACK_SLOTS: usize = 16;
/// Bytes of one entry of a preloaded stream.
const CHUNK: usize = 1 << 20;

/// Whether and how fast events are made.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    pub(crate) on: bool,
    /// Events per second; `None`: as fast as the client takes them.
    pub(crate) rate: Option<f64>,
}

struct State {
    log: Log,
    /// The next sequence to send on `connection`.
    cursor: u64,
    /// The connection had everything once: from then on it may lag. A long replay is no lag.
    level: bool,
    /// Do not send beyond this (a script cut the replay short).
    stop_before: Option<u64>,
    connection: Option<Arc<Outgoing>>,
    pace: Pace,
    next_index: u64,
    left: Option<u64>,
    preloaded: bool,
    generated: Vec<u64>,
    /// Sent events of the whole bot's traffic.
    shared: u64,
    other: BTreeMap<Arc<str>, u64>,
    detached: Option<Instant>,
    dead: bool,
    resumes: u64,
    connections: Vec<u64>,
}

/// One session.
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) shard: (u64, u64),
    pub(crate) intents: u64,
    created_ms: f64,
    limit: u64,
    ttl: u64,
    max_lag: Option<u64>,
    generator: Arc<Generator>,
    stream: Stream,
    state: Mutex<State>,
    /// The pace has changed, or the session got or lost a connection.
    pub(crate) changed: Notify,
}

/// What came of a RESUME.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    Done,
    /// The sequence is older than the replay buffer.
    TooOld,
    /// The sequence was never sent.
    TooNew,
    /// Expired or invalidated.
    Gone,
}

impl Session {
    pub(crate) fn new(
        id: String,
        shard: (u64, u64),
        intents: u64,
        created_ms: f64,
        config: &SimulatorConfig,
        generator: Arc<Generator>,
        stream: Stream,
    ) -> Self {
        let state = State {
            log: Log::new(),
            cursor: 1,
            level: false,
            stop_before: None,
            connection: None,
            pace: Pace { on: false, rate: config.rate },
            next_index: 0,
            left: config.count,
            preloaded: false,
            generated: vec![0; EVENTS.len()],
            shared: 0,
            other: BTreeMap::new(),
            detached: None,
            dead: false,
            resumes: 0,
            connections: Vec::new(),
        };
        Self {
            id,
            shard,
            intents,
            created_ms,
            limit: config.replay_limit(),
            ttl: config.session_ttl,
            max_lag: config.max_lag,
            generator,
            stream,
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// The first connection; it gets what is there.
    pub(crate) fn attach(&self, connection: &Arc<Outgoing>) {
        let mut state = self.state.lock();
        state.connections.push(connection.number);
        state.connection = Some(Arc::clone(connection));
        self.pump_locked(&mut state);
        self.trim(&mut state);
    }

    /// Goes on with another connection after `sequence`: replays, then RESUMED. `truncate`: replay only so many.
    pub(crate) fn resume(&self, connection: &Arc<Outgoing>, sequence: u64, truncate: Option<u64>) -> Resume {
        let mut state = self.state.lock();
        if state.expired(self.ttl) {
            return Resume::Gone;
        }
        if sequence >= state.log.next {
            return Resume::TooNew;
        }
        if sequence + 1 < state.log.oldest {
            return Resume::TooOld;
        }
        if let Some(old) = state.connection.take() {
            // Discord ends the older connection of a session
            old.outbox.end();
        }
        state.connections.push(connection.number);
        state.connection = Some(Arc::clone(connection));
        state.detached = None;
        state.resumes += 1;
        state.cursor = sequence + 1;
        state.preloaded = false;
        state.level = false;
        state.stop_before = None;
        // an earlier RESUMED belongs to its own connection
        state.log.forget("RESUMED");
        if let Some(count) = truncate {
            state.stop_before = Some(sequence + 1 + count);
        } else {
            let data = json!({"_trace": ["[\"gateway-sim\",{\"micros\":0}]"]}).to_string();
            state.log.store("RESUMED".into(), data.into_bytes().into());
        }
        self.pump_locked(&mut state);
        drop(state);
        self.changed.notify_one();
        Resume::Done
    }

    /// The connection is gone; `kill` ends the session too.
    pub(crate) fn detach(&self, connection: &Outgoing, kill: bool) {
        let mut state = self.state.lock();
        if state.connection.as_ref().is_some_and(|current| current.number == connection.number) {
            state.connection = None;
            state.detached = Some(Instant::now());
            state.dead |= kill;
            state.cursor = state.cursor.min(state.log.next);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Ends the session: a RESUME gets op 9.
    pub(crate) fn kill(&self) {
        self.state.lock().dead = true;
        self.changed.notify_one();
    }

    /// Invalidated, or without a connection for too long.
    pub(crate) fn is_dead(&self) -> bool {
        self.state.lock().expired(self.ttl)
    }

    /// The connection that reads this session.
    pub(crate) fn connection(&self) -> Option<Arc<Outgoing>> {
        self.state.lock().connection.clone()
    }

    /// Appends an event and sends it, connected or not.
    pub(crate) fn dispatch(&self, event: impl Into<Arc<str>>, data: Bytes) {
        let mut state = self.state.lock();
        state.log.store(event.into(), data);
        self.pump_locked(&mut state);
        self.trim(&mut state);
    }

    /// Appends `count` events of the whole bot's traffic, those of its guilds from event `number` on, and sends them.
    pub(crate) fn share(&self, number: u64, count: u64) {
        let Some(place) = self.stream.place(number) else {
            return;
        };
        let mut state = self.state.lock();
        state.log.extend(Entry::Shared(place), count);
        self.pump_locked(&mut state);
        self.trim(&mut state);
    }

    /// Sends what is due and fits; generates flat-out traffic.
    pub(crate) fn pump(&self) {
        let mut state = self.state.lock();
        self.pump_locked(&mut state);
        self.trim(&mut state);
    }

    /// Appends `count` generated events (fewer if that is all) and sends them.
    pub(crate) fn generate(&self, count: u64) {
        let mut state = self.state.lock();
        state.generate(count);
        self.pump_locked(&mut state);
        self.trim(&mut state);
    }

    fn pump_locked(&self, state: &mut State) {
        let Some(connection) = state.connection.clone() else {
            return;
        };
        while connection.outbox.has_room() {
            if state.cursor == state.log.next {
                let flat_out = state.pace.on && state.pace.rate.is_none() && !state.dead;
                if !flat_out || !self.stream.has_events() || state.generate(BATCH) == 0 {
                    break;
                }
            }
            if self.send_batch(state, &connection) == 0 {
                break;
            }
        }
        state.level |= state.cursor == state.log.next;
        if state.level && self.max_lag.is_some_and(|lag| state.log.next - state.cursor > lag) {
            connection.abort();
        }
    }

    /// Encodes up to [`BATCH`] dispatches from the cursor on.
    fn send_batch(&self, state: &mut State, connection: &Arc<Outgoing>) -> u64 {
        let waiting = (state.log.next - state.cursor).min(BATCH) as usize;
        // what is reserved waits in the outbox with what is used: a thousand clients' single events are to stay small
        let (payload, out) = (&mut Vec::with_capacity(4096), &mut Vec::with_capacity(waiting * 128));
        let mut encoder = connection.encoder.lock();
        let Some(encoder) = encoder.as_mut() else {
            return 0;
        };
        let mut sent = 0;
        while sent < BATCH && state.cursor < state.log.next && state.stop_before.is_none_or(|stop| state.cursor < stop)
        {
            if !self.encode_next(state, payload) {
                continue;
            }
            encoder.encode(payload, out);
            sent += 1;
        }
        encoder.release(out);
        connection.outbox.push(Item::Data(std::mem::take(out).into()));
        connection.dispatched(sent);
        sent
    }

    /// Puts the payload at the cursor into `payload` and moves on; false for a number that was taken back.
    fn encode_next(&self, state: &mut State, payload: &mut Vec<u8>) -> bool {
        let sequence = state.cursor;
        state.cursor += 1;
        payload.clear();
        match state.log.get(sequence) {
            None => return false,
            Some(Entry::Generated(index)) => {
                self.generator.write(&self.stream, index, sequence, payload);
                state.generated[self.generator.kind(&self.stream, index)] += 1;
            }
            Some(Entry::Shared(place)) => {
                self.generator.write_shared(&self.stream, place, sequence, payload);
                state.shared += 1;
            }
            Some(Entry::Stored(event, data)) => {
                payload.extend_from_slice(format!(r#"{{"t":"{event}","s":{sequence},"op":0,"d":"#).as_bytes());
                payload.extend_from_slice(&data);
                payload.push(b'}');
                *state.other.entry(event).or_default() += 1;
            }
        }
        true
    }

    /// Forgets what is older than the replay buffer.
    fn trim(&self, state: &mut State) {
        // what was said before there is a connection waits for it
        let unsent = state.connection.is_some() || state.connections.is_empty();
        let sent = if unsent { state.cursor } else { state.log.next };
        state.log.trim(sent.saturating_sub(self.limit));
    }

    /// Encodes the whole traffic ahead; it waits behind the outbox's gate.
    pub(crate) fn preload(&self) {
        let mut state = self.state.lock();
        let (Some(connection), Some(left), false) = (state.connection.clone(), state.left, state.preloaded) else {
            return;
        };
        self.pump_locked(&mut state);
        state.preloaded = true;
        state.generate(left);
        let mut guard = connection.encoder.lock();
        let Some(encoder) = guard.as_mut() else {
            return;
        };
        let ack = |out: &mut Vec<u8>, encoder: &mut Encoder| {
            encoder.encode(ACK, out);
        };
        for _ in 0..ACK_SLOTS {
            let mut slot = Vec::new();
            ack(&mut slot, encoder);
            connection.outbox.push(Item::Slot(slot.into()));
        }
        connection.outbox.push(Item::Gate);
        let (mut payload, mut out) = (Vec::new(), Vec::with_capacity(CHUNK + (64 << 10)));
        let mut sent = 0;
        while state.cursor < state.log.next {
            if self.encode_next(&mut state, &mut payload) {
                encoder.encode(&payload, &mut out);
                sent += 1;
                if sent % ACK_EVERY == 0 {
                    ack(&mut out, encoder);
                }
            }
            if out.len() >= CHUNK {
                connection.outbox.push(Item::Data(Bytes::copy_from_slice(&out)));
                out.clear();
            }
        }
        connection.outbox.push(Item::Data(out.into()));
        connection.dispatched(sent);
    }

    /// Starts or stops the traffic; `rate` in events per second, 0 for flat out, `None` to leave it.
    pub(crate) fn set_pace(&self, on: bool, rate: Option<f64>) {
        let mut state = self.state.lock();
        state.pace.on = on;
        if let Some(rate) = rate {
            state.pace.rate = Some(rate).filter(|rate| *rate > 0.0);
        }
        if state.pace.on
            && let Some(connection) = &state.connection
        {
            connection.outbox.open();
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The current pace, if events are to be made at all.
    pub(crate) fn pace(&self) -> Option<Pace> {
        let state = self.state.lock();
        let active = state.pace.on && !state.dead && state.left != Some(0) && self.stream.has_events();
        active.then(|| state.pace.clone())
    }

    /// Dispatches queued for clients so far.
    pub(crate) fn total(&self) -> u64 {
        let state = self.state.lock();
        state.generated.iter().sum::<u64>() + state.shared + state.other.values().sum::<u64>()
    }

    /// Every generated event is on the wire.
    pub(crate) fn is_done(&self) -> bool {
        let state = self.state.lock();
        state.left == Some(0)
            && state.cursor == state.log.next
            && state.connection.as_ref().is_none_or(|connection| connection.outbox.bytes() == 0)
    }

    /// Whether a connection reads it.
    pub(crate) fn is_connected(&self) -> bool {
        self.state.lock().connection.is_some()
    }

    pub(crate) fn record(&self) -> Value {
        let mut state = self.state.lock();
        state.expired(self.ttl);
        let mut events: BTreeMap<&str, u64> = state.other.iter().map(|(event, count)| (&**event, *count)).collect();
        if state.shared > 0 {
            *events.entry("MESSAGE_CREATE").or_default() += state.shared;
        }
        for ((name, _, _), count) in EVENTS.iter().zip(&state.generated) {
            if *count > 0 {
                *events.entry(name).or_default() += count;
            }
        }
        json!({
            "id": self.id,
            "shard": [self.shard.0, self.shard.1],
            "intents": self.intents,
            "created_ms": self.created_ms,
            "connections": state.connections,
            "connected": state.connection.is_some(),
            "dead": state.dead,
            "resumes": state.resumes,
            // highest given, highest sent on the present connection, oldest that can be replayed
            "sequence": state.log.next - 1,
            "sent_sequence": state.cursor - 1,
            "oldest": state.log.oldest,
            "generated": state.next_index,
            "shared": state.shared,
            "events": events,
            "dispatched": state.generated.iter().sum::<u64>() + state.shared + state.other.values().sum::<u64>(),
        })
    }
}

impl State {
    fn expired(&mut self, ttl: u64) -> bool {
        self.dead |= self.detached.is_some_and(|at| at.elapsed().as_millis() as u64 > ttl);
        self.dead
    }

    /// Appends generated events to the log; how many.
    fn generate(&mut self, count: u64) -> u64 {
        let count = self.left.map_or(count, |left| count.min(left));
        if count == 0 {
            return 0;
        }
        self.left = self.left.map(|left| left - count);
        self.log.extend(Entry::Generated(self.next_index), count);
        self.next_index += count;
        count
    }
}
