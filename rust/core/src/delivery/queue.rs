//! The bounded queue of one shard: what is heard waits here for its event loop. Owns the limits, the
//! overflow policies, the ledger in which every dispatch stands exactly once, and the mark up to which nothing waits.
//!
//! Over 500 lines because limits, ledger and mark are one state under one lock.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{CommonRoom, Dispatch, wake::Signal};
use crate::{
    protocol::{event::EventType, gateway_bot::GatewayBot},
    session::{Closed, ConnectFailure, Ended, SendError},
};

/// What happens when a queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The socket is not read until there is room again. Nothing is lost that Discord can replay.
    #[default]
    Pause,
    /// The oldest events make room and are counted.
    DropOldest,
}

/// The limits of one queue.
#[derive(Debug, Clone, Copy)]
pub struct QueueConfig {
    /// Bytes of events, each with a fixed overhead ([`Dispatch::cost`]).
    pub bytes: usize,
    /// Number of events.
    pub events: usize,
    /// What happens beyond.
    pub overflow: Overflow,
}

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For who debugs a bot.
    Debug,
    /// Worth knowing.
    Info,
}

/// News about the shard itself; never behind events.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// READY or RESUMED.
    Ready {
        /// RESUMED rather than READY.
        resumed: bool,
    },
    /// Every guild of READY has been heard of.
    GuildsReady,
    /// A connection ended.
    Closed(Closed),
    /// A connection did not come about; the next attempt is in so many seconds.
    ConnectFailed(ConnectFailure, Duration),
    /// It is over.
    Ended(Ended),
    /// An event that somebody awaits, besides what listeners get: an answer must not wait behind events whose
    /// listeners wait for it.
    Reply(Dispatch),
    /// A command was written, or never will be.
    CommandDone(u64, Result<(), SendError>),
    /// Whether the session is still this process's; answered by [`crate::shard::Request::LeaseHeld`] with this number, or
    /// [`crate::shard::Request::TakenOver`].
    CheckLease(u64),
    /// The gate outside of the engine is asked for the turn to IDENTIFY, with `max_concurrency`; answered by
    /// [`crate::shard::Request::PermitAnswered`] with this number.
    PermitWanted(u64, u32),
    /// The question with this number needs no answer any more, or the permit is given back.
    PermitOver(u64),
    /// What [`crate::shard::inquire`] was told.
    GatewayBot(Result<GatewayBot, ConnectFailure>),
    /// Worth a line in the log.
    Warn(String),
    /// A line for the log that is no warning.
    Log(Level, String),
}

impl Notice {
    /// Whether nothing but the log hears of it: such lines may be lost.
    fn is_line(&self) -> bool {
        matches!(self, Self::ConnectFailed(..) | Self::Warn(_) | Self::Log(..))
    }
}

/// Lines for the log that may wait. Others are counted, so that a loop that is blocked for days costs no memory.
const LINES: usize = 1_000;

/// Counts by event type.
pub type Counts = [u64; EventType::SLOTS];

/// What one batch of the reader adds to the ledger.
#[derive(Debug)]
pub struct Tally {
    /// Events that nobody listens to.
    pub unheard: Counts,
    /// Events that every filter refused.
    pub filtered: Counts,
    /// Events of two fleets that the other one delivers.
    pub overlapped: Counts,
    /// Whether any is counted above.
    pub any: bool,
}

impl Default for Tally {
    fn default() -> Self {
        let zero = [0; EventType::SLOTS];
        Self { unheard: zero, filtered: zero, overlapped: zero, any: false }
    }
}

/// Where every dispatch went. `received` is the sum of the others and what is queued.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Accepted from the socket.
    pub received: Counts,
    /// Handed to the event loop.
    pub delivered: Counts,
    /// Nobody listened.
    pub unheard: Counts,
    /// A filter said no.
    pub filtered: Counts,
    /// Dropped because the queue was full.
    pub overflowed: Counts,
    /// Left to another fleet of the same bot, or brought by it already ([`super::Overlap`]).
    pub overlapped: Counts,
}

impl Default for Ledger {
    fn default() -> Self {
        let zero = [0; EventType::SLOTS];
        Self { received: zero, delivered: zero, unheard: zero, filtered: zero, overflowed: zero, overlapped: zero }
    }
}

#[derive(Default)]
struct State {
    items: VecDeque<Dispatch>,
    bytes: usize,
    notices: VecDeque<Notice>,
    /// Lines for the log among the notices, and those that found no room.
    lines: usize,
    lines_lost: u64,
    /// Of the replies among the notices.
    reply_bytes: usize,
    /// Some did not fit since the last drain.
    replies_dropped: bool,
    ledger: Ledger,
    /// Its hub's, while it is bound to one.
    signal: Option<Arc<Signal>>,
    /// The consumer has too many unfinished listener calls: nothing is handed out.
    held: bool,
    /// The producer waits for room: until this many bytes and events are left.
    starved: Option<(usize, usize)>,
    /// The last sequence number of the session that has come this far: counted, queued or dropped.
    accepted: u64,
    /// When the session began; what waits from before is another session's.
    session_since: Duration,
    /// What tells the session, and the one before it, from others.
    tags: [u64; 2],
    /// Takes the events in the engine, in place of an event loop.
    outlet: Option<Arc<Notify>>,
    /// What the outlet has taken and is not done with.
    lent: Lent,
}

/// The queue of one shard.
pub struct ShardQueue {
    key: u64,
    config: QueueConfig,
    /// Shared with the other shards of a fleet.
    common: Option<Arc<CommonRoom>>,
    state: Mutex<State>,
    room: Notify,
    wakeups: AtomicU64,
}

/// What a push leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// The consumer keeps up.
    Low,
    /// More waits than stays in the processor's cache: the reader may wait a moment for the consumer.
    High,
    /// The limit is reached: the reader must wait (policy [`Overflow::Pause`]).
    Full,
}

/// From here on a queue is [`Fill::High`]. A reader that runs ahead of its consumer by much makes every event go to
/// memory and come back: a typed message then costs its listener's thread 4.9 to 6.2 µs instead of 4.1.
const HIGH_BYTES: usize = 1024 * 1024;
const HIGH_EVENTS: usize = 1024;

/// A burst's memory is given back once the queue is this small again.
const SMALL: usize = 256;

impl State {
    fn has_work(&self) -> bool {
        !self.notices.is_empty() || (!self.held && self.outlet.is_none() && !self.items.is_empty())
    }
}

impl ShardQueue {
    /// An empty queue. `key` is how the consumer tells queues apart.
    pub fn new(key: u64, config: QueueConfig) -> Self {
        Self { key, config, common: None, state: Mutex::default(), room: Notify::new(), wakeups: AtomicU64::new(0) }
    }

    /// The same, one of several that have `common` room.
    #[must_use]
    pub fn within(mut self, common: Arc<CommonRoom>) -> Self {
        self.common = Some(common);
        self
    }

    /// How the consumer tells queues apart.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Whom it wakes from now on; only [`Hub::bind`](super::Hub::bind) knows whether somebody then drains it.
    pub(super) fn bind(&self, signal: Option<Arc<Signal>>) {
        self.state.lock().signal = signal;
    }

    /// Leaves its event loop: what comes in waits until a hub binds it again.
    pub fn unbind(&self) {
        self.bind(None);
    }

    pub(super) fn is_bound_to(&self, signal: &Arc<Signal>) -> bool {
        self.state.lock().signal.as_ref().is_some_and(|bound| Arc::ptr_eq(bound, signal))
    }

    /// The signal that the caller writes after unlocking `state`, if the event loop sleeps.
    fn claim(&self, state: &State) -> Option<Arc<Signal>> {
        let signal = state.signal.as_ref().filter(|signal| signal.claim())?;
        self.wakeups.fetch_add(1, Relaxed);
        Some(Arc::clone(signal))
    }

    /// Wakes the event loop if something waits here.
    pub(super) fn rouse(&self) {
        let signal = {
            let state = self.state.lock();
            if state.has_work() { self.claim(&state) } else { None }
        };
        if let Some(signal) = signal {
            signal.wake();
        }
    }

    /// Adds one batch of the reader: one lock, one wake-up. After [`Fill::High`] and [`Fill::Full`] the reader may,
    /// or must, wait for [`ShardQueue::room`].
    ///
    /// `accepted`: the session's last sequence number, this batch included.
    pub fn push(
        &self,
        batch: &mut Vec<Dispatch>,
        tally: &mut Tally,
        accepted: Option<u64>,
        notice: Option<Notice>,
    ) -> Fill {
        if batch.is_empty() && !tally.any && notice.is_none() {
            return Fill::Low;
        }
        let told = notice.is_some();
        let mut state = self.state.lock();
        // Under the lock that also lets the events in: whoever reads the mark sees both or neither.
        state.accepted = accepted.unwrap_or(state.accepted);
        if tally.any {
            for index in 0..EventType::SLOTS {
                let dropped = tally.unheard[index] + tally.filtered[index] + tally.overlapped[index];
                state.ledger.received[index] += dropped;
                state.ledger.unheard[index] += std::mem::take(&mut tally.unheard[index]);
                state.ledger.filtered[index] += std::mem::take(&mut tally.filtered[index]);
                state.ledger.overlapped[index] += std::mem::take(&mut tally.overlapped[index]);
            }
            tally.any = false;
        }
        state.notices.extend(notice);
        if batch.is_empty() {
            let signal = if told { self.claim(&state) } else { None };
            drop(state);
            if let Some(signal) = signal {
                signal.wake();
            }
            return Fill::Low;
        }
        let before = state.bytes;
        let common = self.common.as_deref();
        // What this queue may hold at most, as the others stand now.
        let limit = self.limit(before + state.lent.bytes());
        for dispatch in batch.drain(..) {
            state.ledger.received[dispatch.event.index()] += 1;
            state.bytes += dispatch.cost();
            state.items.push_back(dispatch);
            if self.config.overflow == Overflow::DropOldest {
                while state.bytes > limit || state.items.len() > self.config.events {
                    let Some(oldest) = state.items.pop_front() else { break };
                    state.bytes -= oldest.cost();
                    state.ledger.overflowed[oldest.event.index()] += 1;
                }
            }
        }
        if let Some(common) = common {
            match state.bytes.checked_sub(before) {
                Some(more) => common.add(more),
                None => common.give_back(before - state.bytes),
            }
        }
        let fill = self.fill_of(&state);
        state.starved = match fill {
            Fill::Low => None,
            Fill::High => Some((HIGH_BYTES / 2, HIGH_EVENTS / 2)),
            // Of what it has reached: with a common room that may be less than its own limit, and the others, which
            // fill the room, do not wake it.
            Fill::Full => Some((self.config.bytes.min(state.bytes + state.lent.bytes()) / 2, self.config.events / 2)),
        };
        let aside = state.held || state.outlet.is_some();
        let signal = if aside && !told { None } else { self.claim(&state) };
        let outlet = state.outlet.clone();
        // The descriptor is written after unlocking: the woken thread would only run into the lock.
        drop(state);
        if let Some(outlet) = outlet {
            outlet.notify_one();
        }
        if let Some(signal) = signal {
            signal.wake();
        }
        fill
    }

    /// How full it is now.
    pub fn fill(&self) -> Fill {
        self.fill_of(&self.state.lock())
    }

    fn fill_of(&self, state: &State) -> Fill {
        let reaches = |bytes, events| state.bytes >= bytes || state.items.len() >= events;
        let (held, number) = (state.bytes + state.lent.bytes(), state.items.len() + state.lent.len());
        let full = held >= self.config.bytes
            || number >= self.config.events
            || self.common.as_ref().is_some_and(|common| number > 0 && common.left(held) == 0);
        if self.config.overflow == Overflow::Pause && full {
            Fill::Full
        } else if reaches(HIGH_BYTES, HIGH_EVENTS) && !state.held {
            Fill::High
        } else {
            Fill::Low
        }
    }

    /// Room for so many bytes and events more, before the queue is full.
    pub fn room_left(&self) -> (usize, usize) {
        if self.config.overflow == Overflow::DropOldest {
            return (usize::MAX, usize::MAX);
        }
        let state = self.state.lock();
        let (held, number) = (state.bytes + state.lent.bytes(), state.items.len() + state.lent.len());
        let bytes = self.limit(held).saturating_sub(held);
        // An empty queue takes one event whatever it weighs: nothing would ever wake its reader.
        let bytes = if number == 0 { bytes.max(1) } else { bytes };
        (bytes, self.config.events.saturating_sub(number))
    }

    /// Bytes that the queue may hold, where `own` wait in it.
    fn limit(&self, own: usize) -> usize {
        let common = self.common.as_ref().map_or(usize::MAX, |common| own.saturating_add(common.left(own)));
        self.config.bytes.min(common)
    }

    /// Waits until half of what made the queue high or full is gone.
    pub async fn room(&self) {
        self.room.notified().await;
    }

    /// Adds news. Of lines for the log, a thousand wait; of what comes beyond, only the number is kept.
    pub fn notify(&self, notice: Notice) {
        let signal = {
            let mut state = self.state.lock();
            if notice.is_line() {
                if state.lines >= LINES {
                    state.lines_lost += 1;
                    return;
                }
                state.lines += 1;
            }
            state.notices.push_back(notice);
            self.claim(&state)
        };
        if let Some(signal) = signal {
            signal.wake();
        }
    }

    /// Adds answers that somebody awaits to the news. As much as the queue's bytes may wait; what is beyond is dropped,
    /// and whoever awaits it gives up in time.
    pub fn reply(&self, replies: &mut Vec<Dispatch>) {
        let signal = {
            let mut state = self.state.lock();
            for reply in replies.drain(..) {
                if state.reply_bytes + reply.cost() <= self.config.bytes {
                    state.reply_bytes += reply.cost();
                    state.notices.push_back(Notice::Reply(reply));
                } else if !state.replies_dropped {
                    state.replies_dropped = true;
                    let text = "answers to requests are dropped: over queue_bytes of them wait for the event loop";
                    state.notices.push_back(Notice::Warn(text.to_owned()));
                }
            }
            self.claim(&state)
        };
        if let Some(signal) = signal {
            signal.wake();
        }
    }

    /// From `since` on, events belong to another session, whose last sequence number is `accepted`; `tag` tells it from
    /// others.
    pub fn begin_session(&self, accepted: u64, since: Duration, tag: u64) {
        let mut state = self.state.lock();
        state.accepted = accepted;
        state.session_since = since;
        state.tags = [tag, state.tags[0]];
    }

    /// The largest sequence number of the session up to which no event waits here, and when the session began. What
    /// was handed out is the consumer's to judge.
    pub fn mark(&self) -> (u64, Duration) {
        let state = self.state.lock();
        let since = state.session_since;
        let waiting = state.lent.first(since).or_else(|| {
            let first = state.items.partition_point(|dispatch| dispatch.received_at < since);
            state.items.range(first..).find_map(|dispatch| dispatch.sequence)
        });
        let before = waiting.map_or(u64::MAX, |sequence| sequence.saturating_sub(1));
        (state.accepted.min(before), since)
    }

    /// Stops or resumes the hand-over of events; news still pass.
    pub fn hold(&self, held: bool) {
        let signal = {
            let mut state = self.state.lock();
            state.held = held;
            if held || state.items.is_empty() { None } else { self.claim(&state) }
        };
        if let Some(signal) = signal {
            signal.wake();
        }
    }

    /// Whether a drain would find anything.
    pub fn has_work(&self) -> bool {
        self.state.lock().has_work()
    }

    pub(super) fn take(&self, limit: usize, notices: &mut Vec<(u64, Notice)>) -> Vec<Dispatch> {
        let mut state = self.state.lock();
        notices.extend(state.notices.drain(..).map(|notice| (self.key, notice)));
        state.lines = 0;
        let lost = std::mem::take(&mut state.lines_lost);
        if lost > 0 {
            let text = format!("{lost} further lines for the log were lost while the event loop was blocked");
            notices.push((self.key, Notice::Warn(text)));
        }
        state.reply_bytes = 0;
        state.replies_dropped = false;
        if state.held || state.outlet.is_some() || state.items.is_empty() {
            return Vec::new();
        }
        let count = limit.min(state.items.len());
        let before = state.bytes;
        let State { items, bytes, ledger, .. } = &mut *state;
        let taken: Vec<Dispatch> = items
            .drain(..count)
            .inspect(|dispatch| {
                *bytes -= dispatch.cost();
                ledger.delivered[dispatch.event.index()] += 1;
            })
            .collect();
        if items.len() <= SMALL && items.capacity() > SMALL * 16 {
            items.shrink_to(SMALL);
        }
        if let Some(common) = &self.common {
            common.give_back(before - state.bytes);
        }
        self.tell_room(&mut state);
        taken
    }

    /// Lets the reader go on, once enough is gone of what stopped it.
    fn tell_room(&self, state: &mut State) {
        let (held, number) = (state.bytes + state.lent.bytes(), state.items.len() + state.lent.len());
        if state.starved.is_some_and(|(bytes, events)| held <= bytes && number <= events) {
            state.starved = None;
            self.room.notify_one();
        }
    }

    /// Whether no events wait for the event loop, be they held or not.
    pub fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.outlet.is_some() || state.items.is_empty()
    }

    /// The ledger, the bytes and the number by type of the events that wait: taken together, so that they add up.
    pub fn snapshot(&self) -> (Ledger, usize, Counts) {
        let state = self.state.lock();
        let mut waiting = [0; EventType::SLOTS];
        // Counted, not reckoned from the ledger, which it is to be held against; a full queue takes a millisecond.
        for dispatch in &state.items {
            waiting[dispatch.event.index()] += 1;
        }
        (state.ledger.clone(), state.bytes, waiting)
    }

    /// How often this shard woke the loop.
    pub fn wakeups(&self) -> u64 {
        self.wakeups.load(Relaxed)
    }
}

impl Drop for ShardQueue {
    /// What waited in it is nobody's any more.
    fn drop(&mut self) {
        if let Some(common) = &self.common {
            let state = self.state.get_mut();
            common.give_back(state.bytes + state.lent.bytes());
        }
    }
}

#[path = "queue_lending.rs"]
mod lending;

use lending::Lent;
pub use lending::{Loan, Lot};

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
