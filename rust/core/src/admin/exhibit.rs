//! What there is to be shown: shards, event loops, what was lost, and parts of a cluster. Holds none of them alive.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    cluster::{Contribution, Contributor, Members, Standings},
    history::{History, Moment},
    totals::Totals,
    view::View,
    watch::Watch,
};
use crate::{
    clock,
    fleet::Left,
    session::Status,
    shard::{Journal, SharedState},
};

/// What is told of the process.
#[derive(Debug, Clone)]
pub struct Process {
    /// When the engine was loaded, in Unix seconds.
    pub started_at: f64,
    /// Version of this package.
    pub propylon: String,
    /// Version of Python.
    pub python: String,
}

/// One shard and which it is.
#[derive(Debug)]
struct Shown {
    id: u32,
    count: u32,
    state: Weak<SharedState>,
}

/// One shard as it stands.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) id: u32,
    pub(super) count: u32,
    pub(super) status: Status,
    pub(super) latency_seconds: Option<f64>,
    pub(super) guilds: usize,
    pub(super) queued: u64,
    pub(super) queue_bytes: usize,
    pub(super) totals: Totals,
    pub(super) last_frame_at: Option<f64>,
    pub(super) last_event_at: Option<f64>,
    pub(super) last_ack_at: Option<f64>,
    pub(super) send_window_left: usize,
    pub(super) identify_blocked_until: Option<f64>,
    pub(super) sequence: Option<u64>,
}

/// What shards had counted that are shown no more: counters do not go back.
#[derive(Debug, Default)]
struct Retired {
    /// Those that may be shown again, which then count on from there, and their ids.
    hidden: Vec<(u32, Weak<SharedState>, Totals)>,
    /// The sums of those that are gone, by their ids.
    gone: BTreeMap<u32, Totals>,
}

/// What is shown, and what was: under one lock, so that no shard is in both or in neither.
#[derive(Debug, Default)]
struct Gathered {
    shards: Vec<Shown>,
    retired: Retired,
}

impl Retired {
    fn settle(&mut self) {
        let gone = &mut self.gone;
        self.hidden.retain(|(id, state, totals)| {
            let there = state.strong_count() > 0;
            if !there {
                gone.entry(*id).or_default().add(totals);
            }
            there
        });
    }

    fn sums(&self) -> BTreeMap<u32, Totals> {
        let mut sums = self.gone.clone();
        for (id, _, totals) in &self.hidden {
            sums.entry(*id).or_default().add(totals);
        }
        sums
    }
}

/// What an [`super::AdminServer`] shows.
#[derive(Debug)]
pub struct Exhibit {
    pub(super) process: Process,
    gathered: Mutex<Gathered>,
    watches: Mutex<Vec<Weak<Watch>>>,
    pub(super) journal: Arc<Journal>,
    history: Mutex<(History, Duration)>,
    members: Members,
    /// When somebody looked last, in nanoseconds of the clock; 0: nobody has.
    looked: AtomicU64,
}

fn standing(id: u32, count: u32, state: &SharedState) -> Standing {
    let (ledger, queue_bytes, waiting) = state.queue().snapshot();
    let ages = state.ages();
    Standing {
        id,
        count,
        status: state.status(),
        latency_seconds: state.latency().map(|latency| latency.as_secs_f64()),
        guilds: state.guild_count(),
        queued: waiting.iter().sum(),
        queue_bytes,
        totals: Totals::of(state, ledger),
        last_frame_at: ages.frame().map(clock::unix_of),
        last_event_at: ages.event().map(clock::unix_of),
        last_ack_at: ages.ack().map(clock::unix_of),
        send_window_left: state.send_window().0,
        identify_blocked_until: state.identify_blocked_until(),
        sequence: state.sequence(),
    }
}

impl Exhibit {
    /// Nothing to be shown yet.
    pub fn new(process: Process) -> Self {
        Self {
            process,
            gathered: Mutex::default(),
            watches: Mutex::default(),
            journal: Arc::default(),
            history: Mutex::default(),
            members: Members::default(),
            looked: AtomicU64::new(0),
        }
    }

    /// Shows a shard, `(id, count)`; once, however often it is called.
    pub fn show(&self, shard: (u32, u32), state: &Arc<SharedState>) {
        state.keep_journal(Some(Arc::clone(&self.journal)));
        let Gathered { shards, retired } = &mut *self.gathered.lock();
        shards.retain(|shown| shown.state.strong_count() > 0);
        if !shards.iter().any(|shown| shown.state.as_ptr() == Arc::as_ptr(state)) {
            let (id, count) = shard;
            shards.push(Shown { id, count, state: Arc::downgrade(state) });
            // Stable: of two with one id the later one is the newer.
            shards.sort_by_key(|shown| shown.id);
            retired.hidden.retain(|(_, hidden, _)| hidden.as_ptr() != Arc::as_ptr(state));
        }
    }

    /// Shows it no more. What it has counted stays in the sums.
    pub fn hide(&self, state: &Arc<SharedState>) {
        let Gathered { shards, retired } = &mut *self.gathered.lock();
        let Some(at) = shards.iter().position(|shown| shown.state.as_ptr() == Arc::as_ptr(state)) else { return };
        let id = shards.remove(at).id;
        state.keep_journal(None);
        let totals = Totals::of(state, state.queue().snapshot().0);
        retired.settle();
        retired.hidden.push((id, Arc::downgrade(state), totals));
    }

    /// Shows an event loop.
    pub fn watch(&self, watch: &Arc<Watch>) {
        let mut watches = self.watches.lock();
        watches.retain(|known| known.strong_count() > 0);
        if !watches.iter().any(|known| known.as_ptr() == Arc::as_ptr(watch)) {
            watches.push(Arc::downgrade(watch));
        }
    }

    /// Shows a part of a cluster for as long as it lives; by the number [`Exhibit::withdraw`] knows it.
    pub fn contribute(&self, of: Weak<dyn Contributor>) -> u64 {
        self.members.contribute(of)
    }

    /// The part goes, and this was its last word: what it has counted stays in the sums.
    pub fn withdraw(&self, ticket: u64, last: &Contribution) {
        self.members.withdraw(ticket, last);
    }

    /// How a member of a cluster sees it.
    pub fn tell_cluster(&self, view: View) {
        self.members.tell(view);
    }

    /// The member with this id has left.
    pub fn forget_member(&self, id: &str) {
        self.members.forget(id);
    }

    /// What there is of a cluster.
    pub(super) fn cluster(&self) -> Standings {
        self.members.standings()
    }

    /// How long ago somebody looked at a snapshot; none where nobody has.
    pub fn looked(&self) -> Option<Duration> {
        let at = self.looked.load(Relaxed);
        (at > 0).then(|| clock::now().saturating_sub(Duration::from_nanos(at)))
    }

    /// Somebody looks.
    pub(super) fn look(&self) {
        self.looked.store(clock::now().as_nanos() as u64, Relaxed);
    }

    /// The loops that are there.
    pub(super) fn loops(&self) -> Vec<Arc<Watch>> {
        self.watches.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn states(&self) -> Vec<(u32, u32, Arc<SharedState>)> {
        Self::there(&self.gathered.lock().shards)
    }

    fn there(shards: &[Shown]) -> Vec<(u32, u32, Arc<SharedState>)> {
        shards.iter().filter_map(|shown| Some((shown.id, shown.count, shown.state.upgrade()?))).collect()
    }

    /// How many shards there are, and how many of them are READY. Those of a new fleet that has not taken over yet are
    /// none: the bot is as ready as the fleet that it is heard by.
    pub(super) fn readiness(&self) -> (usize, usize) {
        let mut states = self.states();
        states.retain(|(.., state)| !state.is_behind_the_scenes());
        (states.len(), states.iter().filter(|(.., state)| state.status() == Status::Ready).count())
    }

    /// Each shard as it stands, by its id; and what those had counted that are gone, by theirs.
    pub(super) fn standings(&self) -> (Vec<Standing>, BTreeMap<u32, Totals>) {
        let (states, gone) = {
            let gathered = self.gathered.lock();
            (Self::there(&gathered.shards), gathered.retired.sums())
        };
        (states.iter().map(|(id, count, state)| standing(*id, *count, state)).collect(), gone)
    }

    /// What is left of the day's IDENTIFYs, as the first shard knows that knows it.
    pub(super) fn budget(&self) -> Option<Left> {
        self.states().iter().find_map(|(.., state)| state.gate()?.left())
    }

    /// Takes a point of the history.
    pub(super) fn sample(&self) {
        let mut moment = Moment { time: clock::unix_now(), ..Moment::default() };
        let (shards, gone) = self.standings();
        let cluster = self.cluster();
        let heard = std::iter::once(&cluster.counted.heard);
        for totals in shards.iter().map(|shard| &shard.totals).chain(gone.values()).chain(heard) {
            moment.received += totals.received;
            moment.delivered += totals.delivered;
            moment.dropped += totals.dropped();
        }
        moment.queued = shards.iter().map(|shard| shard.queued).sum::<u64>() + cluster.queued().0;
        moment.latency_seconds = shards.iter().filter_map(|shard| shard.latency_seconds).reduce(f64::max);
        let (history, at) = &mut *self.history.lock();
        let now = clock::now();
        history.add(moment, now.saturating_sub(std::mem::replace(at, now)).as_secs_f64());
    }

    /// `GET /history`.
    pub(super) fn history_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.history.lock().0.lines()).unwrap_or_default()
    }
}
