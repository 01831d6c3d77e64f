//! The only place where machine and transport meet: feeds the machine what comes from the socket, the clock and the
//! user, carries out what it wants (`acting`), and hands events to the queue (`reading`). Runs on a Rust thread that
//! never touches Python.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, Sleep},
};
use zeroize::Zeroizing;

use super::{
    ConfigError, Request, ShardConfig, SharedState, acting::OutsideTurn, connection::Connection, counters::Earlier,
    dialling::Dialled, guild_watch::GuildWatch, story,
};
use crate::{
    clock,
    delivery::{Dispatch, Notice, Overlap, Parts, Side, Tally},
    fleet::{self, Blocked, IdentifyGate, Permit},
    inflate::{Compression, Inflater},
    moderation::WakeInterval,
    protocol::event::EventSet,
    recording::Recorder,
    session::{Closed, Machine},
    transport::TransportConfig,
};

/// Messages read in one go: then one timestamp, one lock, one wake-up. Measured 539k against 325k
/// events per CPU-second when every message is flushed by itself.
pub(super) const BATCH: usize = 256;

/// Where the timer stands while nothing is awaited.
const FAR: Duration = Duration::from_hours(1);
/// How late it is noticed, at most, that the machine has slept: what tells it wakes nobody, so that the timer has to.
/// A look costs 20 µs, of which the two clocks are a hundredth and the waking of the thread the most: of a core, 0.05 %
/// for 50 shards.
const LOOK: Duration = if clock::SLEEP_IS_TOLD { Duration::from_secs(2) } else { FAR };

/// The right to one IDENTIFY: of this process's gate and of one outside.
pub(super) type Turn = (Permit, Option<OutsideTurn>);

pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[allow(clippy::struct_excessive_bools)] // Facts that do not depend on each other.
pub(super) struct Driver {
    pub(super) machine: Machine,
    pub(super) state: Arc<SharedState>,
    pub(super) inbox: mpsc::UnboundedReceiver<Request>,
    pub(super) transport: TransportConfig,
    pub(super) compression: Compression,
    pub(super) max_payload_bytes: usize,
    pub(super) allow_plaintext: bool,
    pub(super) close_timeout: Duration,
    pub(super) token: Zeroizing<String>,
    pub(super) api_url: String,
    /// What the user gave, else what `/gateway/bot` said last.
    pub(super) base_url: Option<String>,
    /// The user gave it: no REST call is made.
    pub(super) given_url: bool,
    pub(super) shard_id: u32,
    pub(super) shard_count: u32,
    pub(super) gate: Arc<IdentifyGate>,
    pub(super) connection: Option<Connection>,
    /// Opened beside `connection` to take its place at HELLO.
    pub(super) next: Option<Connection>,
    pub(super) dialling: Option<Boxed<Dialled>>,
    pub(super) asking: Option<Boxed<Result<Turn, Blocked>>>,
    /// Held until IDENTIFY is answered, or for [`fleet::HOLD`].
    pub(super) permit: Option<(Turn, Pin<Box<Sleep>>)>,
    /// A gate outside of the engine has to agree.
    pub(super) outside_gate: bool,
    /// The number of the last question to it, and where its answer goes.
    pub(super) asked: u64,
    pub(super) outside_answer: Option<(u64, oneshot::Sender<Result<(), Blocked>>)>,
    pub(super) sleep: Pin<Box<Sleep>>,
    /// What the timer is set to, or is on its way to.
    pub(super) deadline: Option<Duration>,
    /// How long the machine has slept so far, and how long it had when that was looked at last.
    pub(super) asleep: fn() -> Duration,
    pub(super) slept: Duration,
    pub(super) batch: Vec<Dispatch>,
    pub(super) batch_bytes: usize,
    /// Cuts out what the listeners of an event want of it.
    pub(super) parts: Parts,
    /// What is to be told when the machine's actions are carried out.
    pub(super) news: Vec<Notice>,
    /// Events are dropped unaccepted until the user's close is answered.
    pub(super) discarding: bool,
    pub(super) tally: Box<Tally>,
    /// The events that a request awaits, and those of this batch.
    pub(super) awaited: EventSet,
    pub(super) replies: Vec<Dispatch>,
    /// What another fleet of the same bot brings too, as of this batch.
    pub(super) overlap: Option<Arc<(Arc<Overlap>, Side)>>,
    /// Who writes events down, as of this batch; usually nobody.
    pub(super) recorders: Option<Arc<Vec<Arc<Recorder>>>>,
    /// Waits for room in the queue; while it is there, the socket is not read.
    pub(super) paused: Option<(Boxed<()>, Duration)>,
    /// Lets the consumer catch up before more is read; a moment, whatever the consumer does.
    pub(super) breather: Option<Boxed<()>>,
    /// Unread data lies in the socket: an ACK may be in it.
    pub(super) backlog: bool,
    pub(super) pauses: story::Pauses,
    pub(super) earlier: Earlier,
    pub(super) guilds: GuildWatch,
    /// The application's flags are asked for, and `unanswered` waits for them.
    pub(super) inquiry: Option<Boxed<Option<u64>>>,
    pub(super) unanswered: Option<Closed>,
    pub(super) ended: bool,
    _wake_interval: WakeInterval,
}

impl Driver {
    pub(super) fn new(
        config: &ShardConfig,
        state: Arc<SharedState>,
        inbox: mpsc::UnboundedReceiver<Request>,
    ) -> Result<Self, ConfigError> {
        let mut machine_config = config.machine();
        machine_config.session = state.session();
        if machine_config.session.is_some() {
            machine_config.presence_limiter = state.presence_limiter.lock().clone();
        }
        let server = config.gateway_url.as_deref().unwrap_or(&config.api_url);
        let gate = IdentifyGate::shared(&config.token, server);
        state.gate.store(Some(Arc::clone(&gate)));
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
            base_url: config.gateway_url.clone().or_else(|| config.known_url.clone()),
            given_url: config.gateway_url.is_some(),
            shard_id: config.shard.map_or(0, |(id, _)| id),
            shard_count: config.shard.map_or(1, |(_, count)| count),
            gate,
            connection: None,
            next: None,
            dialling: None,
            asking: None,
            permit: None,
            outside_gate: config.outside_gate,
            asked: 0,
            outside_answer: None,
            // Armed when the machine first names a deadline.
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            deadline: None,
            asleep: config.system.asleep,
            slept: (config.system.asleep)(),
            batch: Vec::with_capacity(BATCH),
            batch_bytes: 0,
            parts: Parts::default(),
            news: Vec::new(),
            discarding: false,
            tally: Box::default(),
            awaited: EventSet::EMPTY,
            overlap: None,
            recorders: None,
            replies: Vec::new(),
            paused: None,
            breather: None,
            backlog: false,
            pauses: story::Pauses::default(),
            earlier: Earlier::of(state.counts()),
            guilds: GuildWatch::new(&state, config.intents),
            inquiry: None,
            unanswered: None,
            ended: false,
            _wake_interval: config.system.moderation.wish(config.wake_interval),
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
            let wait = deadline.map_or(FAR, |at| at.saturating_sub(now)).min(LOOK);
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
        if woken {
            // Before a beat is sent into a connection that is gone.
            self.look_for_sleep(now);
        }
        if self.deadline.is_some_and(|at| now >= at) {
            self.guilds.timeout(now);
            self.machine.timeout(now, self.backlog);
            self.act(now);
            moved = true;
        }
        if woken {
            // Spent, or early by the timer's millisecond, or on its way: `arm` sets it anew.
            self.deadline = None;
            self.sleep.as_mut().reset(Instant::now() + LOOK);
            moved = true;
        }
        if moved {
            self.earlier.publish(&self.machine, &self.state);
            return Poll::Ready(read >= BATCH);
        }
        Poll::Pending
    }

    /// Tells the machine of a sleep since the last look.
    fn look_for_sleep(&mut self, now: Duration) {
        let so_far = (self.asleep)();
        let slept = so_far.saturating_sub(std::mem::replace(&mut self.slept, so_far));
        if !slept.is_zero() {
            self.machine.slept(now, slept);
            self.act(now);
        }
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
                Request::LeaseHeld(check) => self.machine.lease_held(now, check),
                Request::TakenOver => self.machine.taken_over(),
                Request::PermitAnswered(number, answer) => {
                    // A late answer to an earlier question is nobody's.
                    if let Some((_, waiting)) = self.outside_answer.take_if(|(asked, _)| *asked == number) {
                        let _ = waiting.send(answer);
                    }
                }
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
            Ok((socket, told)) => {
                if let Some(url) = told {
                    self.machine.set_base_url(url.clone());
                    self.base_url = Some(url);
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
            Ok(mut turn) => {
                turn.0.spend();
                self.permit = Some((turn, Box::pin(tokio::time::sleep(fleet::HOLD))));
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
}
