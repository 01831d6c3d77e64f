//! Delivery to one event loop: all shard queues behind one wake-up. Owns the rule that a wake-up is
//! neither lost nor doubled, and that a flooding shard starves none.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use parking_lot::Mutex;

use super::{Dispatch, Notice, ShardQueue, Waker};

/// What one drain hands over.
#[derive(Debug, Default)]
pub struct Drained {
    /// News, by queue key.
    pub notices: Vec<(u64, Notice)>,
    /// Events, by queue key, oldest first within a shard.
    pub batches: Vec<(u64, Vec<Dispatch>)>,
}

#[derive(Default)]
struct Queues {
    list: Vec<Weak<ShardQueue>>,
    /// Where the next drain begins.
    next: usize,
}

/// The queues of one event loop and its wake-up descriptor.
pub struct Hub {
    queues: Mutex<Queues>,
    signalled: AtomicBool,
    waker: Waker,
}

/// A shard gives at most this many events before the next one has its turn.
const TURN: usize = 64;

impl Hub {
    /// A hub with no queue.
    pub fn new(waker: Waker) -> Self {
        Self { queues: Mutex::default(), signalled: AtomicBool::new(false), waker }
    }

    /// What the loop waits on.
    pub fn descriptor(&self) -> i64 {
        self.waker.descriptor()
    }

    pub(super) fn add(&self, queue: &Arc<ShardQueue>) {
        let mut queues = self.queues.lock();
        queues.list.retain(|other| other.strong_count() > 0);
        queues.list.push(Arc::downgrade(queue));
    }

    pub(super) fn remove(&self, queue: &Arc<ShardQueue>) {
        self.queues.lock().list.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(queue)));
    }

    /// Wakes the loop unless it is awake already. Returns whether the descriptor was written.
    pub fn signal(&self) -> bool {
        let first = !self.signalled.swap(true, SeqCst);
        if first {
            self.waker.wake();
        }
        first
    }

    /// Takes up to `limit` events, shard by shard in turns. The descriptor stays readable until
    /// everything is taken.
    pub fn drain(&self, limit: usize) -> Drained {
        let mut drained = Drained::default();
        let queues: Vec<Arc<ShardQueue>> = {
            let mut queues = self.queues.lock();
            queues.list.retain(|queue| queue.strong_count() > 0);
            let alive: Vec<_> = queues.list.iter().filter_map(Weak::upgrade).collect();
            let start = queues.next % alive.len().max(1);
            queues.next = start + 1;
            alive.iter().cycle().skip(start).take(alive.len()).cloned().collect()
        };
        let turn = if queues.len() == 1 { limit } else { TURN };
        let mut left = limit;
        for queue in &queues {
            let taken = queue.take(turn.min(left), &mut drained.notices);
            left -= taken.len();
            if !taken.is_empty() {
                drained.batches.push((queue.key(), taken));
            }
        }
        if !queues.iter().any(|queue| queue.has_work()) {
            self.waker.clear();
            self.signalled.store(false, SeqCst);
            // A producer that pushed, or a queue that came, since the look above saw `signalled` set and
            // did not write.
            if queues.iter().any(|queue| queue.has_work()) || self.queues.lock().list.len() != queues.len() {
                self.signal();
            }
        }
        drained
    }
}
