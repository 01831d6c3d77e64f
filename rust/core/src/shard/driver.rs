//! The only place where machine and transport meet: carries out the machine's actions, feeds it what
//! comes from the socket, the clock and the user, and hands events to the queue. Runs on a Rust
//! thread that never touches Python.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep},
};
use zeroize::Zeroizing;

use super::{
    ConfigError, Request, ShardConfig, SharedState,
    connection::{Connection, Incoming},
    counters::Earlier,
    dialling::{Dialled, Plan},
    guild_watch::GuildWatch,
    story,
};
use crate::{
    clock,
    delivery::{Dispatch, Fill, Notice, Slots, Subscriptions, Tally},
    fleet::{self, Blocked, IdentifyGate, Permit},
    inflate::{Compression, DecompressionError, Inflater},
    protocol::{
        close_code::FatalClose,
        envelope::{self, EventName},
        event::{EventSet, EventType},
        opcode::Opcode,
    },
    session::{Action, Closed, Ended, Fault, Machine, Session, Verdict},
    transport::{TransportConfig, api_url},
};

/// Messages read in one go: then one timestamp, one lock, one wake-up. Measured 539k against 325k
/// events per CPU-second when every message is flushed by itself.
const BATCH: usize = 256;

/// How long the reader waits for a consumer that is behind, at most: at 256 events in 2 ms it still reads more than
/// any bot gets, and neither beats nor ACKs are late by more.
const BREATHER: Duration = Duration::from_millis(2);

/// The end of a gateway is not told later than this because a question is unanswered.
const INQUIRY: Duration = Duration::from_secs(3);

/// Where the timer stands while nothing is awaited.
const FAR: Duration = Duration::from_hours(1);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[allow(clippy::struct_excessive_bools)] // Facts that do not depend on each other.
pub(super) struct Driver {
    machine: Machine,
    state: Arc<SharedState>,
    inbox: mpsc::UnboundedReceiver<Request>,
    transport: TransportConfig,
    compression: Compression,
    max_payload_bytes: usize,
    allow_plaintext: bool,
    close_timeout: Duration,
    token: Zeroizing<String>,
    api_url: String,
    /// What the user gave, else what `/gateway/bot` said last.
    base_url: Option<String>,
    /// The user gave it: no REST call is made.
    given_url: bool,
    shard_id: u32,
    gate: Arc<IdentifyGate>,
    connection: Option<Connection>,
    /// Opened beside `connection` to take its place at HELLO.
    next: Option<Connection>,
    dialling: Option<Boxed<Dialled>>,
    asking: Option<Boxed<Result<Permit, Blocked>>>,
    /// Held until IDENTIFY is answered, or for [`fleet::HOLD`].
    permit: Option<(Permit, Pin<Box<Sleep>>)>,
    sleep: Pin<Box<Sleep>>,
    /// What the timer is set to.
    deadline: Option<Duration>,
    batch: Vec<Dispatch>,
    batch_bytes: usize,
    tally: Box<Tally>,
    /// The events that a request awaits, and those of this batch.
    awaited: EventSet,
    replies: Vec<Dispatch>,
    subscriptions: Arc<Subscriptions>,
    /// Waits for room in the queue; while it is there, the socket is not read.
    paused: Option<(Boxed<()>, Duration)>,
    /// Lets the consumer catch up before more is read; a moment, whatever the consumer does.
    breather: Option<Boxed<()>>,
    /// Unread data lies in the socket: an ACK may be in it.
    backlog: bool,
    pauses: story::Pauses,
    earlier: Earlier,
    guilds: GuildWatch,
    /// The application's flags are asked for, and `unanswered` waits for them.
    inquiry: Option<Boxed<Option<u64>>>,
    unanswered: Option<Closed>,
    ended: bool,
}

impl Driver {
    pub(super) fn new(
        config: &ShardConfig,
        state: Arc<SharedState>,
        inbox: mpsc::UnboundedReceiver<Request>,
    ) -> Result<Self, ConfigError> {
        let mut machine_config = config.machine();
        machine_config.session = state.session();
        let server = config.gateway_url.as_deref().unwrap_or(&config.api_url);
        Ok(Self {
            machine: Machine::new(machine_config, fastrand::u64(..)),
            inbox,
            transport: config.transport()?,
            compression: config.compression,
            max_payload_bytes: config.max_payload_bytes,
            allow_plaintext: config.allow_plaintext,
            close_timeout: config.timeouts.close,
            token: config.token.clone(),
            api_url: config.api_url.clone(),
            base_url: config.gateway_url.clone(),
            given_url: config.gateway_url.is_some(),
            shard_id: config.shard.map_or(0, |(id, _)| id),
            gate: IdentifyGate::shared(&config.token, server),
            connection: None,
            next: None,
            dialling: None,
            asking: None,
            permit: None,
            // Armed when the machine first names a deadline.
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            deadline: None,
            batch: Vec::with_capacity(BATCH),
            batch_bytes: 0,
            tally: Box::default(),
            awaited: EventSet::EMPTY,
            replies: Vec::new(),
            subscriptions: state.subscriptions.load_full(),
            paused: None,
            breather: None,
            backlog: false,
            pauses: story::Pauses::default(),
            earlier: Earlier::of(state.counts()),
            guilds: GuildWatch::new(&state, config.intents),
            inquiry: None,
            unanswered: None,
            ended: false,
            state,
        })
    }

    pub(super) async fn run(mut self) {
        self.machine.open(clock::now());
        self.act(clock::now());
        while !self.ended {
            self.arm();
            let full_batch = std::future::poll_fn(|cx| self.poll(cx)).await;
            if full_batch {
                // Other shards live on this thread too.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Sets the timer to the machine's next deadline, where that moved.
    fn arm(&mut self) {
        let now = clock::now();
        let deadline = self.machine.deadline(now).into_iter().chain(self.guilds.deadline()).min();
        if deadline != self.deadline {
            self.deadline = deadline;
            let wait = deadline.map_or(FAR, |at| at.saturating_sub(now));
            self.sleep.as_mut().reset(Instant::now() + wait);
        }
    }

    /// Ready when anything moved; `true` when more may lie in the socket.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut moved = self.poll_requests(cx);
        moved |= self.poll_dialling(cx);
        moved |= self.poll_permit(cx);
        moved |= self.poll_inquiry(cx);
        moved |= self.poll_room(cx);
        let read = self.poll_socket(cx);
        moved |= self.poll_next(cx);
        moved |= read > 0;
        if let Some(connection) = &mut self.connection {
            connection.poll_flush(cx);
        }
        // The timer only wakes; the clock decides. A timer that was just set cannot fire before the
        // runtime gets its turn, which a flood delays.
        let woken = self.sleep.as_mut().poll(cx).is_ready();
        let now = clock::now();
        if self.deadline.is_some_and(|at| now >= at) {
            self.guilds.timeout(now);
            self.machine.timeout(now, self.backlog);
            self.act(now);
            moved = true;
        }
        if woken {
            // Spent, or early by the timer's millisecond: `arm` sets it anew.
            self.deadline = None;
            self.sleep.as_mut().reset(Instant::now() + FAR);
            moved = true;
        }
        if moved {
            self.earlier.publish(&self.machine, &self.state);
            return Poll::Ready(read >= BATCH);
        }
        Poll::Pending
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Poll::Ready(Some(request)) = self.inbox.poll_recv(cx) {
            let now = clock::now();
            match request {
                Request::Close { code, reason } => self.machine.close(now, code, &reason),
                Request::Send { id, opcode, payload } => self.machine.send(now, id, opcode, payload),
                Request::SetPresence { id, presence } => self.machine.set_presence(now, id, presence),
                Request::Cancel(id) => {
                    self.machine.cancel(id);
                }
                Request::StopReconnecting => self.machine.stop_reconnecting(),
            }
            self.act(now);
            moved = true;
        }
        moved
    }

    fn poll_dialling(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(dialling) = &mut self.dialling else { return false };
        let Poll::Ready(outcome) = dialling.as_mut().poll(cx) else { return false };
        self.dialling = None;
        let now = clock::now();
        match outcome {
            Ok((socket, bot)) => {
                if let Some(bot) = bot {
                    if let Some(limit) = &bot.session_start_limit {
                        self.gate.learn(limit);
                    }
                    self.machine.set_base_url(bot.url.clone());
                    self.base_url = Some(bot.url);
                }
                let inflater = Inflater::new(self.compression, self.max_payload_bytes);
                let connection = Connection::new(socket, inflater);
                if self.machine.is_handing_over() {
                    self.next = Some(connection);
                } else {
                    self.connection = Some(connection);
                }
                self.machine.connected(now);
            }
            Err(failure) => self.machine.connect_failed(now, failure),
        }
        self.act(now);
        true
    }

    fn poll_permit(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some((_, expiry)) = &mut self.permit
            && expiry.as_mut().poll(cx).is_ready()
        {
            self.permit = None;
        }
        let Some(asking) = &mut self.asking else { return false };
        let Poll::Ready(answer) = asking.as_mut().poll(cx) else { return false };
        self.asking = None;
        let now = clock::now();
        *self.state.identify_blocked_until.lock() = answer.as_ref().err().map(|blocked| blocked.resets_at);
        match answer {
            Ok(mut permit) => {
                permit.spend();
                self.permit = Some((permit, Box::pin(tokio::time::sleep(fleet::HOLD))));
                self.machine.permitted(now);
            }
            Err(blocked) => self.machine.permit_refused(now, blocked.wait, blocked.resets_at),
        }
        self.act(now);
        true
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(breather) = &mut self.breather
            && breather.as_mut().poll(cx).is_ready()
        {
            self.breather = None;
        }
        let Some((room, since)) = &mut self.paused else { return false };
        if room.as_mut().poll(cx).is_pending() {
            return false;
        }
        let now = clock::now();
        let since = *since;
        self.paused = None;
        self.count_pause(since, now);
        self.machine.resume_reading(now);
        true
    }

    /// Reads until the socket is empty or a batch is full. Returns the number of messages.
    fn poll_socket(&mut self, cx: &mut Context<'_>) -> usize {
        if self.paused.is_some() || self.breather.is_some() || self.connection.is_none() {
            return 0;
        }
        let now = clock::now();
        // Listeners that came or went hold from this batch on.
        let current = self.state.subscriptions.load();
        if current.generation() != self.subscriptions.generation() {
            self.subscriptions = Arc::clone(&current);
        }
        self.awaited = **self.state.awaited.load();
        let room = self.state.queue.room_left();
        let mut count = 0;
        self.backlog = true;
        while count < BATCH {
            let Some(connection) = &mut self.connection else { break };
            match connection.poll_read(cx) {
                Poll::Pending => {
                    self.backlog = false;
                    break;
                }
                Poll::Ready(Incoming::Message(message, binary)) => {
                    count += 1;
                    if !self.message(now, &message, binary) {
                        break;
                    }
                    if self.batch_bytes >= room.0 || self.batch.len() >= room.1 {
                        break;
                    }
                }
                Poll::Ready(Incoming::Quiet) => count += 1,
                Poll::Ready(Incoming::Closed(code, reason)) => {
                    count += 1;
                    let session = self.machine.session().map(|session| session.id.as_str());
                    let reason = story::without(reason, [Some(self.token.as_str()), session]);
                    self.machine.closed(now, code, &reason);
                    self.act(now);
                    break;
                }
                Poll::Ready(Incoming::Broken(fault, why)) => {
                    count += 1;
                    self.machine.transport_faulted(now, fault, &why);
                    self.act(now);
                    break;
                }
            }
        }
        self.flush_batch(now);
        count
    }

    /// The connection beside the current one: nothing but its HELLO is awaited.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(next) = &mut self.next else { return false };
        let hello = match next.poll_read(cx) {
            Poll::Pending => {
                next.poll_flush(cx);
                return false;
            }
            Poll::Ready(Incoming::Quiet) => return true,
            Poll::Ready(Incoming::Message(message, binary)) => {
                self.state.counts.wire_bytes.fetch_add(message.len() as u64, Relaxed);
                match next.inflater.push(&message, binary) {
                    Ok(false) => return true,
                    Ok(true) => envelope::scan(next.inflater.document())
                        .is_ok_and(|envelope| envelope.op == Some(Opcode::Hello.code())),
                    Err(_) => false,
                }
            }
            Poll::Ready(Incoming::Closed(..) | Incoming::Broken(..)) => false,
        };
        let now = clock::now();
        if hello {
            self.machine.switch(now);
            self.act(now);
            self.documents(now);
        } else {
            self.next = None;
            self.machine.next_lost(now);
            self.act(now);
        }
        true
    }

    /// One WebSocket message. `false`: the connection is over.
    fn message(&mut self, now: Duration, message: &Bytes, binary: bool) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        self.state.counts.wire_bytes.store(self.state.counts.wire_bytes.load(Relaxed) + message.len() as u64, Relaxed);
        match connection.inflater.push(message, binary) {
            Ok(true) => {}
            Ok(false) => return true,
            Err(error) => {
                self.state.counts.malformed.fetch_add(1, Relaxed);
                let fault = match error {
                    DecompressionError::TooLarge { .. } => Fault::TooLarge,
                    _ => Fault::Decompression,
                };
                self.machine.transport_faulted(now, Some(fault), &error.to_string());
                self.act(now);
                return false;
            }
        }
        self.documents(now)
    }

    /// The document that was inflated, or the documents: several may stand in one message. `false`: the connection is over.
    fn documents(&mut self, now: Duration) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let length = connection.inflater.document().len();
        let counts = &self.state.counts;
        counts.inflated_bytes.store(counts.inflated_bytes.load(Relaxed) + length as u64, Relaxed);
        let mut start = 0;
        // Handed out once, when the first event of it is heard.
        let mut frozen: Option<Bytes> = None;
        while start < length {
            let Some(connection) = &mut self.connection else { return false };
            let document = frozen.as_deref().unwrap_or_else(|| connection.inflater.document());
            let rest = &document[start..];
            if start > 0 && envelope::is_blank(rest) {
                break;
            }
            let envelope = match envelope::scan(rest) {
                Ok(envelope) => envelope,
                Err(error) => {
                    self.state.counts.malformed.fetch_add(1, Relaxed);
                    self.machine.transport_failed(now, &format!("payload is not JSON: {error}"));
                    self.act(now);
                    return false;
                }
            };
            match self.machine.payload(now, &envelope, rest) {
                Verdict::Dispatch => {
                    let event = match &envelope.event {
                        EventName::Known(event) => *event,
                        _ => EventType::UNKNOWN,
                    };
                    let guild_change = self.guilds.note(now, event, &rest[envelope.data.clone()]);
                    match self.subscriptions.matches(event, &rest[envelope.data.clone()]) {
                        Slots::Unheard => {
                            self.tally.unheard[event.index()] += 1;
                            self.tally.any = true;
                        }
                        Slots::Filtered => {
                            self.tally.filtered[event.index()] += 1;
                            self.tally.any = true;
                        }
                        Slots::Heard(slots) => {
                            let name = Dispatch::unknown_name(&envelope.event, rest);
                            let bytes = frozen.get_or_insert_with(|| connection.inflater.freeze());
                            let data = bytes.slice(start + envelope.data.start..start + envelope.data.end);
                            let dispatch = Dispatch {
                                event,
                                name,
                                shard_id: self.shard_id,
                                sequence: envelope.sequence,
                                received_at: now,
                                data,
                                guild_change,
                                generation: self.subscriptions.generation(),
                                slots,
                            };
                            self.batch_bytes += dispatch.cost();
                            self.batch.push(dispatch);
                        }
                    }
                    if self.awaited.contains(event) {
                        let bytes = frozen.get_or_insert_with(|| connection.inflater.freeze());
                        self.replies.push(Dispatch {
                            event,
                            name: None,
                            shard_id: self.shard_id,
                            sequence: envelope.sequence,
                            received_at: now,
                            data: bytes.slice(start + envelope.data.start..start + envelope.data.end),
                            guild_change: None,
                            generation: 0,
                            slots: 0,
                        });
                    }
                    if matches!(event, EventType::READY | EventType::RESUMED) {
                        // The status first: listeners of READY read it.
                        self.act(now);
                        self.flush_batch(now);
                    }
                }
                Verdict::Control => self.act(now),
                Verdict::Disconnected => {
                    self.act(now);
                    return false;
                }
            }
            start += envelope.end;
        }
        if frozen.is_none()
            && let Some(connection) = &mut self.connection
        {
            connection.inflater.discard();
        }
        true
    }

    /// Gives the batch to the queue: one lock, one wake-up; and stops reading where the queue is full.
    fn flush_batch(&mut self, now: Duration) {
        let accepted = self.machine.session().map(|session| session.sequence);
        if let Some(sequence) = accepted {
            self.state.sequence.store(sequence, Relaxed);
        }
        if !self.replies.is_empty() {
            self.state.queue.reply(&mut self.replies);
        }
        self.batch_bytes = 0;
        let fill = self.state.queue.push(&mut self.batch, &mut self.tally, accepted);
        if fill == Fill::Low || self.paused.is_some() || self.connection.is_none() {
            return;
        }
        let queue = Arc::clone(&self.state.queue);
        let room = async move { queue.room().await };
        if fill == Fill::High {
            self.breather = Some(Box::pin(async move {
                let _ = tokio::time::timeout(BREATHER, room).await;
            }));
            return;
        }
        self.state.counts.pauses.fetch_add(1, Relaxed);
        self.state.counts.paused_since.store(now.as_nanos() as u64, Relaxed);
        self.pauses.began(&self.state.queue, now);
        self.paused = Some((Box::pin(room), now));
        self.machine.pause_reading();
    }

    /// Carries out what the machine wants.
    fn act(&mut self, now: Duration) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Connect { resume_url } => self.dial(resume_url),
                Action::AbortConnect => self.dialling = None,
                Action::TakeNext => {
                    if let Some(next) = self.next.take() {
                        self.connection = Some(next);
                    }
                }
                Action::DropNext => {
                    if let Some(mut next) = self.next.take() {
                        next.close(4000, "not needed");
                        next.linger(self.close_timeout);
                    }
                }
                Action::AcquirePermit => {
                    let gate = Arc::clone(&self.gate);
                    self.asking = Some(Box::pin(gate.acquire(self.shard_id)));
                }
                Action::ReleasePermit => {
                    self.permit = None;
                    self.asking = None;
                }
                Action::Send(text) => self.send(now, text),
                Action::Close { code, reason, linger } => self.hang_up(now, code, &reason, linger),
                Action::Drop => self.drop_connection(),
                Action::Status(status) => {
                    self.state.status.store(status as u8, Relaxed);
                    story::turned(&self.state.queue, status, &self.machine, now);
                }
                Action::Ready { resumed } => {
                    if !resumed {
                        // Its READY is yet to be queued, and is not accepted before.
                        let session = self.machine.session().cloned().map(|session| Session { sequence: 0, ..session });
                        self.state.begin_session(session, now);
                        self.state.user_id.store(self.machine.user_id().unwrap_or(0), Relaxed);
                    }
                    self.state.queue.notify(Notice::Ready { resumed });
                }
                Action::Closed(closed) => {
                    self.flush_batch(now);
                    self.state.keep_session(self.machine.session().cloned());
                    self.drop_connection();
                    if self.inquire(closed.error.as_ref()) {
                        self.unanswered = Some(closed);
                    } else {
                        self.state.queue.notify(Notice::Closed(closed));
                    }
                }
                Action::CommandDone(id, outcome) => self.state.queue.notify(Notice::CommandDone(id, outcome)),
                Action::ConnectFailed(failure, delay) => {
                    let failure = story::explained(failure, &self.transport.stage, &self.token);
                    self.state.queue.notify(Notice::ConnectFailed(failure, delay));
                }
                Action::Warn(text) => self.state.queue.notify(Notice::Warn(text)),
                Action::Ended(Ended::Unreachable(failure)) => {
                    self.end(Ended::Unreachable(story::explained(failure, &self.transport.stage, &self.token)));
                }
                // With an answer awaited, it ends when that is in.
                Action::Ended(how) => {
                    if self.inquiry.is_none() {
                        self.end(how);
                    }
                }
            }
        }
    }

    /// 4014 does not say which intent it refuses, but the application's flags do. Whether they are being asked for.
    fn inquire(&mut self, error: Option<&Ended>) -> bool {
        let refused = matches!(error, Some(Ended::Fatal { close: FatalClose::DisallowedIntents, .. }));
        if !refused || self.given_url {
            return false;
        }
        let Ok(api) = api_url(&self.api_url, self.allow_plaintext) else { return false };
        let (token, transport) = (self.token.clone(), self.transport.clone());
        self.inquiry = Some(Box::pin(async move {
            let flags = fleet::application_flags(&api, &token, &transport);
            tokio::time::timeout(INQUIRY, flags).await.ok()?.ok()
        }));
        true
    }

    fn poll_inquiry(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(inquiry) = &mut self.inquiry else { return false };
        let Poll::Ready(flags) = inquiry.as_mut().poll(cx) else { return false };
        self.inquiry = None;
        let Some(mut closed) = self.unanswered.take() else { return false };
        if let Some(Ended::Fatal { application_flags, .. }) = &mut closed.error {
            *application_flags = flags;
        }
        let how = closed.error.clone();
        self.state.queue.notify(Notice::Closed(closed));
        if let Some(how) = how {
            self.end(how);
        }
        true
    }

    fn send(&mut self, now: Duration, text: String) {
        // It may hold the token: wiped, too, where it comes too late.
        let text = Zeroizing::new(text);
        let Some(connection) = &mut self.connection else { return };
        if !connection.send(text) {
            // 64 KiB unread by the peer: it is gone.
            self.machine.transport_failed(now, "the server stopped reading");
        }
    }

    fn hang_up(&mut self, now: Duration, code: u16, reason: &str, linger: bool) {
        let Some(connection) = &mut self.connection else { return };
        connection.close(code, reason);
        if linger {
            // The answer has to be read, whatever the queue says.
            if let Some((_, since)) = self.paused.take() {
                self.count_pause(since, now);
            }
        } else if let Some(connection) = self.connection.take() {
            connection.linger(self.close_timeout);
        }
    }

    fn drop_connection(&mut self) {
        self.guilds.disconnected();
        self.connection = None;
        self.asking = None;
        self.breather = None;
        self.backlog = false;
        if let Some((_, since)) = self.paused.take() {
            self.count_pause(since, clock::now());
        }
    }

    fn count_pause(&mut self, since: Duration, now: Duration) {
        let paused = now.saturating_sub(since).as_nanos() as u64;
        self.pauses.ended(&self.state.queue, now.saturating_sub(since));
        self.state.counts.paused_since.store(0, Relaxed);
        self.state.counts.paused_nanos.fetch_add(paused, Relaxed);
    }

    fn end(&mut self, how: Ended) {
        self.flush_batch(clock::now());
        self.drop_connection();
        self.next = None;
        self.dialling = None;
        self.permit = None;
        self.ended = true;
        self.state.keep_session(self.machine.session().cloned());
        self.state.latency.store(u64::MAX, Relaxed);
        self.earlier.publish(&self.machine, &self.state);
        self.state.running.store(false, Relaxed);
        self.state.queue.notify(Notice::Ended(how));
    }

    fn dial(&mut self, resume_url: Option<String>) {
        let resuming = self.machine.session().is_some();
        let ask = !self.given_url && !resuming && self.gate.is_stale();
        let url = resume_url.or_else(|| self.base_url.clone());
        story::connecting(&self.state.queue, url.as_deref(), &self.api_url, resuming, &self.transport);
        let plan = Plan {
            url,
            ask,
            api_url: self.api_url.clone(),
            token: self.token.clone(),
            transport: self.transport.clone(),
            allow_plaintext: self.allow_plaintext,
        };
        self.dialling = Some(Box::pin(plan.carry_out()));
    }
}
