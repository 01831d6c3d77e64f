//! Events that something in the engine takes, in place of an event loop, and is done with in any order: a publisher,
//! whose acknowledgements come as they come. Until then they count in the queue's limit and hold its mark.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::ShardQueue;
use crate::delivery::Dispatch;

/// One event that was taken.
#[derive(Debug)]
pub struct Loan {
    /// What [`ShardQueue::done`] is told.
    pub number: u64,
    /// What tells its session from others.
    pub tag: u64,
    /// The event.
    pub dispatch: Dispatch,
}

/// Events that were taken together, oldest first.
pub type Lot = Vec<Loan>;

#[derive(Debug)]
struct Entry {
    received_at: Duration,
    sequence: Option<u64>,
    cost: usize,
    is_done: bool,
}

/// What was taken and is not done with, in order.
#[derive(Debug, Default)]
pub(super) struct Lent {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    bytes: usize,
}

impl Lent {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The sequence number of the first one, of those from `since` on, that is not done.
    pub(super) fn first(&self, since: Duration) -> Option<u64> {
        let mut open = self.entries.iter().filter(|entry| !entry.is_done && entry.received_at >= since);
        open.find_map(|entry| entry.sequence)
    }

    fn push(&mut self, dispatch: &Dispatch) -> u64 {
        let cost = dispatch.cost();
        self.bytes += cost;
        let (received_at, sequence) = (dispatch.received_at, dispatch.sequence);
        self.entries.push_back(Entry { received_at, sequence, cost, is_done: false });
        self.first + self.entries.len() as u64 - 1
    }

    /// The bytes that are free again. A number that is not there any more is none of its business.
    fn done(&mut self, number: u64) -> usize {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let Some(entry) = at.and_then(|at| self.entries.get_mut(at)).filter(|entry| !entry.is_done) else { return 0 };
        entry.is_done = true;
        let cost = entry.cost;
        self.bytes -= cost;
        while self.entries.front().is_some_and(|entry| entry.is_done) {
            self.entries.pop_front();
            self.first += 1;
        }
        cost
    }
}

impl ShardQueue {
    /// From now on `outlet` is told of events, which [`ShardQueue::lend`] then gives, and no event loop gets any; news go
    /// to the event loop as ever. `None`: as before.
    ///
    /// For a queue that pauses when it is full ([`super::Overflow::Pause`]).
    pub fn divert(&self, outlet: Option<Arc<Notify>>) {
        let signal = {
            let mut state = self.state.lock();
            state.outlet.clone_from(&outlet);
            if outlet.is_none() && !state.items.is_empty() { self.claim(&state) } else { None }
        };
        if let Some(signal) = signal {
            signal.wake();
        }
        if let Some(outlet) = outlet {
            outlet.notify_one();
        }
    }

    /// Takes up to `limit` events, which are the taker's until it is [`done`](ShardQueue::done) with them.
    pub fn lend(&self, limit: usize) -> Lot {
        let mut state = self.state.lock();
        let state = &mut *state;
        let count = limit.min(state.items.len());
        let mut lot = Vec::with_capacity(count);
        for dispatch in state.items.drain(..count) {
            state.bytes -= dispatch.cost();
            state.ledger.delivered[dispatch.event.index()] += 1;
            let tag = state.tags[usize::from(dispatch.received_at < state.session_since)];
            lot.push(Loan { number: state.lent.push(&dispatch), tag, dispatch });
        }
        lot
    }

    /// These have arrived where they were to go.
    pub fn done(&self, numbers: impl IntoIterator<Item = u64>) {
        let mut state = self.state.lock();
        let free: usize = numbers.into_iter().map(|number| state.lent.done(number)).sum();
        if let Some(common) = &self.common {
            common.give_back(free);
        }
        self.tell_room(&mut state);
    }

    /// Whether nothing waits, and nothing is lent.
    pub fn is_settled(&self) -> bool {
        let state = self.state.lock();
        state.items.is_empty() && state.lent.len() == 0
    }
}
