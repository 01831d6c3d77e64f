//! What the outside and the driver of a shard share: requests go in, status and counters can be read from any thread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;

use super::Journal;
use crate::{
    clock,
    delivery::{Dispatch, Fill, Overlap, Parts, ShardQueue, Side, Slots, Subscriptions, Tally},
    fleet::{Blocked, IdentifyGate},
    protocol::event::EventSet,
    recording::Recorders,
    session::{Cause, CommandCounts, PresenceLimiter, SendLimiter, Session, Status},
};

/// What the outside asks of a running shard.
#[derive(Debug)]
pub enum Request {
    /// Close with this code and reason.
    Close {
        /// 1000 or 1001 end the session, others keep it.
        code: u16,
        /// At most 123 bytes of UTF-8.
        reason: String,
    },
    /// Send a payload; a notice with `id` follows.
    Send {
        /// Chosen by the caller.
        id: u64,
        /// Its opcode.
        opcode: u8,
        /// The whole payload as JSON, its size checked.
        payload: String,
    },
    /// Set the presence; a notice with `id` follows.
    SetPresence {
        /// Chosen by the caller.
        id: u64,
        /// JSON of op 3's `d`.
        presence: String,
    },
    /// Take back a command that waits.
    Cancel(u64),
    /// No further connection.
    StopReconnecting,
    /// The answer to [`crate::delivery::Notice::CheckLease`] with this number: the session is still this process's.
    LeaseHeld(u64),
    /// Another process has claimed the session: close so that it lives on, and end.
    TakenOver,
    /// The answer to [`crate::delivery::Notice::PermitWanted`] with this number.
    PermitAnswered(u64, Result<(), Blocked>),
}

/// Plain counters, written by the driver alone.
#[derive(Debug, Default)]
#[allow(missing_docs)] // Named as in `metrics()`, where they are explained.
pub struct WireCounts {
    pub wire_bytes: AtomicU64,
    pub inflated_bytes: AtomicU64,
    pub pauses: AtomicU64,
    pub paused_nanos: AtomicU64,
    /// When the pause that lasts began, nanoseconds since the epoch of the clock; 0: none lasts.
    pub paused_since: AtomicU64,
    pub heartbeats: AtomicU64,
    pub reconnects: AtomicU64,
    pub resumes: AtomicU64,
    pub identifies: AtomicU64,
    pub commands_sent: AtomicU64,
    pub duplicates: AtomicU64,
    pub ignored: AtomicU64,
    pub malformed: AtomicU64,
    /// `reconnects` by why the connection before was lost, in the order of [`Cause`].
    pub reconnects_by: [AtomicU64; Cause::COUNT],
    pub commands: Mutex<CommandCounts>,
}

/// What Python counts of a shard and tells the engine once in a while, for who asks while Python is blocked.
#[derive(Debug, Default)]
#[allow(missing_docs)] // Named as in `metrics()`, where they are explained.
pub struct Told {
    pub mended: AtomicU64,
    pub undecodable: AtomicU64,
    pub listener_errors: AtomicU64,
}

/// When something was heard last, nanoseconds since the epoch of the clock; 0: never. Written once for what is read
/// together, not for each event.
#[derive(Debug, Default)]
pub struct Ages {
    pub(super) frame: AtomicU64,
    pub(super) event: AtomicU64,
    pub(super) ack: AtomicU64,
}

impl Ages {
    fn of(at: &AtomicU64) -> Option<Duration> {
        Some(at.load(Relaxed)).filter(|&nanos| nanos > 0).map(Duration::from_nanos)
    }

    /// When a WebSocket message, a ping or a close came last.
    pub fn frame(&self) -> Option<Duration> {
        Self::of(&self.frame)
    }

    /// When a dispatch was accepted last.
    pub fn event(&self) -> Option<Duration> {
        Self::of(&self.event)
    }

    /// When a heartbeat was acknowledged last.
    pub fn ack(&self) -> Option<Duration> {
        Self::of(&self.ack)
    }
}

impl WireCounts {
    /// Time spent with the socket unread, a pause that lasts included.
    pub fn paused(&self) -> Duration {
        let over = Duration::from_nanos(self.paused_nanos.load(Relaxed));
        match self.paused_since.load(Relaxed) {
            0 => over,
            since => over + clock::now().saturating_sub(Duration::from_nanos(since)),
        }
    }
}

/// The state of a shard that outlives its connections and its runs.
pub struct SharedState {
    pub(super) status: AtomicU8,
    /// Nanoseconds; `u64::MAX`: not measured yet.
    pub(super) latency: AtomicU64,
    pub(super) session: Mutex<Option<Session>>,
    pub(super) sequence: AtomicU64,
    /// The machine's counters start anew with each run; these are the sums of earlier runs.
    pub(super) counts: WireCounts,
    pub(super) ages: Ages,
    told: Told,
    /// Where lost connections are noted, if anywhere.
    pub(super) journal: arc_swap::ArcSwapOption<Journal>,
    /// The identify gate of its last run.
    pub(super) gate: arc_swap::ArcSwapOption<IdentifyGate>,
    pub(super) subscriptions: Arc<Subscriptions>,
    pub(super) queue: Arc<ShardQueue>,
    pub(super) running: AtomicBool,
    pub(super) guilds_ready: AtomicBool,
    /// Unix time in seconds until which the identify gate refuses.
    pub(super) identify_blocked_until: Mutex<Option<f64>>,
    /// The machine's, as of the end of the last run: its window belongs to the session.
    pub(super) presence_limiter: Mutex<PresenceLimiter>,
    /// A copy of the machine's, as of the last payload sent.
    pub(super) limiter: Mutex<SendLimiter>,
    /// The events that somebody awaits, besides the listeners.
    pub(super) awaited: arc_swap::ArcSwap<EventSet>,
    /// The bot's own user, as READY told it; 0: not told yet.
    pub(super) user_id: AtomicU64,
    /// Guilds of the session.
    pub(super) guild_count: AtomicUsize,
    /// Another fleet of the same bot is there too.
    pub(super) overlap: arc_swap::ArcSwapOption<(Arc<Overlap>, Side)>,
    /// Who writes events down, whether or not somebody listens.
    pub(super) recorders: Arc<Recorders>,
}

impl SharedState {
    /// A shard that was never opened. `subscriptions` say what of it is heard, `recorders` write of it; other shards may have
    /// the same.
    pub fn new(
        queue: Arc<ShardQueue>,
        subscriptions: Arc<Subscriptions>,
        recorders: Arc<Recorders>,
        session: Option<Session>,
    ) -> Arc<Self> {
        let sequence = session.as_ref().map_or(0, |session| session.sequence);
        let tag = session.as_ref().map_or(0, |session| tag_of(&session.id));
        queue.begin_session(sequence, Duration::ZERO, tag);
        Arc::new(Self {
            status: AtomicU8::new(Status::Unconnected as u8),
            latency: AtomicU64::new(u64::MAX),
            session: Mutex::new(session),
            sequence: AtomicU64::new(sequence),
            counts: WireCounts::default(),
            ages: Ages::default(),
            told: Told::default(),
            journal: arc_swap::ArcSwapOption::empty(),
            gate: arc_swap::ArcSwapOption::empty(),
            subscriptions,
            queue,
            running: AtomicBool::new(false),
            guilds_ready: AtomicBool::new(false),
            identify_blocked_until: Mutex::default(),
            presence_limiter: Mutex::default(),
            limiter: Mutex::default(),
            awaited: arc_swap::ArcSwap::default(),
            user_id: AtomicU64::new(0),
            guild_count: AtomicUsize::new(0),
            overlap: arc_swap::ArcSwapOption::empty(),
            recorders,
        })
    }

    /// The lifecycle's state.
    pub fn status(&self) -> Status {
        use Status::{
            Connecting, Disconnected, Identifying, Ready, Resuming, Unconnected, WaitingForHello, WaitingForReady,
        };
        let all =
            [Unconnected, Connecting, WaitingForHello, Identifying, Resuming, WaitingForReady, Ready, Disconnected];
        all[usize::from(self.status.load(Relaxed)).min(7)]
    }

    /// Send-to-ACK time of the last acknowledged heartbeat.
    pub fn latency(&self) -> Option<Duration> {
        match self.latency.load(Relaxed) {
            u64::MAX => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// The session, its sequence the last accepted.
    pub fn session(&self) -> Option<Session> {
        let current = self.session.lock();
        let mut session = current.clone()?;
        session.sequence = self.sequence.load(Relaxed);
        Some(session)
    }

    /// The session, its sequence the largest up to which no event waits in the queue, and when the session began. With
    /// what the consumer has not finished it makes the mark from which another process may go on.
    pub fn mark(&self) -> Option<(Session, Duration)> {
        let current = self.session.lock();
        let mut session = current.clone()?;
        let (sequence, since) = self.queue.mark();
        session.sequence = sequence;
        Some((session, since))
    }

    /// Replaces the session that the next run resumes.
    pub fn set_session(&self, session: Option<Session>) {
        self.begin_session(session, clock::now());
    }

    /// Another session than before: what was received before `since` is not of it.
    pub(super) fn begin_session(&self, session: Option<Session>, since: Duration) {
        let mut current = self.session.lock();
        let sequence = session.as_ref().map_or(0, |session| session.sequence);
        self.sequence.store(sequence, Relaxed);
        // Under this lock, so that no mark of one session is taken for one of the other.
        let tag = session.as_ref().map_or(0, |session| tag_of(&session.id));
        self.queue.begin_session(sequence, since, tag);
        *current = session;
    }

    /// The session as it stands at the end of a connection: the same, or none.
    pub(super) fn keep_session(&self, session: Option<Session>) {
        let mut current = self.session.lock();
        self.sequence.store(session.as_ref().map_or(0, |session| session.sequence), Relaxed);
        *current = session;
    }

    /// Unix time in seconds until which no IDENTIFY leaves, because the day's budget is down to its floor.
    pub fn identify_blocked_until(&self) -> Option<f64> {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.identify_blocked_until.lock().filter(|&until| until > unix)
    }

    /// What the 120/60 s window of the connection still takes, and how long until all of it is free again.
    pub fn send_window(&self) -> (usize, Duration) {
        let (now, mut limiter) = (clock::now(), self.limiter.lock());
        (limiter.remaining(now), limiter.resets_in(now))
    }

    /// From the next batch on, these events are also told as news ([`crate::delivery::Notice::Reply`]).
    pub fn await_replies(&self, events: EventSet) {
        self.awaited.store(Arc::new(events));
    }

    /// The bot's own user, once a READY has told it.
    pub fn user_id(&self) -> Option<u64> {
        Some(self.user_id.load(Relaxed)).filter(|&id| id > 0)
    }

    /// Guilds of the session, those that are unavailable among them.
    pub fn guild_count(&self) -> usize {
        self.guild_count.load(Relaxed)
    }

    /// From the next batch on, its events are held against those of another fleet of the same bot.
    pub fn set_overlap(&self, overlap: Option<(Arc<Overlap>, Side)>) {
        self.overlap.store(overlap.map(Arc::new));
    }

    /// Whether it is one of a new fleet that has not taken over yet: nobody hears it.
    pub fn is_behind_the_scenes(&self) -> bool {
        self.overlap.load().as_deref().is_some_and(|(overlap, side)| *side == Side::New && !overlap.has_switched())
    }

    /// Takes events that no connection brought, as if one had: matched, counted and queued, whatever the queue's limit. The
    /// session knows nothing of them.
    ///
    /// `accepted`: the number of the last of them, where a mark is kept of what is fed.
    pub fn feed(&self, dispatches: Vec<Dispatch>, accepted: Option<u64>) -> Fill {
        let (mut batch, mut tally, mut parts) =
            (Vec::with_capacity(dispatches.len()), Tally::default(), Parts::default());
        for dispatch in dispatches {
            match self.subscriptions.matches(dispatch.event, &dispatch.data) {
                Slots::Unheard => tally.unheard[dispatch.event.index()] += 1,
                Slots::Filtered => tally.filtered[dispatch.event.index()] += 1,
                Slots::Heard(heard, wanted) => {
                    let part = parts.cut(&wanted, &dispatch.data);
                    batch.push(Dispatch { part, heard, ..dispatch });
                    continue;
                }
            }
            tally.any = true;
        }
        self.queue.push(&mut batch, &mut tally, accepted, None)
    }

    /// The counters.
    pub fn counts(&self) -> &WireCounts {
        &self.counts
    }

    /// When something was heard last.
    pub fn ages(&self) -> &Ages {
        &self.ages
    }

    /// What Python told of it.
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// From now on its lost connections are noted there.
    pub fn keep_journal(&self, journal: Option<Arc<Journal>>) {
        self.journal.store(journal);
    }

    /// The identify gate of its last run; `None` before the first.
    pub fn gate(&self) -> Option<Arc<IdentifyGate>> {
        self.gate.load_full()
    }

    /// The last accepted sequence number of the session; `None` where there is no session.
    pub fn sequence(&self) -> Option<u64> {
        self.session.lock().is_some().then(|| self.sequence.load(Relaxed))
    }

    /// The queue.
    pub fn queue(&self) -> &Arc<ShardQueue> {
        &self.queue
    }

    /// Whether every guild of the session's READY has been heard of.
    pub fn guilds_ready(&self) -> bool {
        self.guilds_ready.load(Relaxed)
    }

    /// Whether a driver runs.
    pub fn is_running(&self) -> bool {
        self.running.load(Relaxed)
    }
}

/// What tells a session from others, where its id is not to be told.
pub fn tag_of(session_id: &str) -> u64 {
    let digest = ring::digest::digest(&ring::digest::SHA256, session_id.as_bytes());
    u64::from_le_bytes(digest.as_ref()[..8].try_into().unwrap_or_default())
}
