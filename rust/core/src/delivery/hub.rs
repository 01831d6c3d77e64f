//! Delivery to one event loop: all shard queues behind one wake-up. Owns the rule that a wake-up is
//! neither lost nor doubled, and that a flooding shard starves none.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{Dispatch, Notice, ShardQueue, Waker, wake::Signal};

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
    /// Queues hold it too: all that they need of their hub.
    signal: Arc<Signal>,
}

/// A shard gives at most this many events before the next one has its turn.
const TURN: usize = 64;

impl Hub {
    /// A hub with no queue.
    pub fn new(waker: Waker) -> Self {
        Self { queues: Mutex::default(), signal: Arc::new(Signal::new(waker)) }
    }

    /// What the loop waits on.
    pub fn descriptor(&self) -> i64 {
        self.signal.descriptor()
    }

    /// Binds a queue to this loop; its former hub, if it had another, forgets it. What waits in it goes along.
    pub fn bind(&self, queue: &Arc<ShardQueue>) {
        queue.bind(Some(Arc::clone(&self.signal)));
        {
            let mut queues = self.queues.lock();
            if !queues.list.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(queue))) {
                queues.list.push(Arc::downgrade(queue));
            }
        }
        queue.rouse();
    }

    /// Takes up to `limit` events, shard by shard in turns. The descriptor stays readable until
    /// everything is taken.
    pub fn drain(&self, limit: usize) -> Drained {
        let mut drained = Drained::default();
        let queues: Vec<Arc<ShardQueue>> = {
            let mut queues = self.queues.lock();
            let mut alive = Vec::with_capacity(queues.list.len());
            queues.list.retain(|queue| match queue.upgrade() {
                Some(queue) if queue.is_bound_to(&self.signal) => {
                    alive.push(queue);
                    true
                }
                _ => false,
            });
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
        if queues.iter().any(|queue| queue.has_work()) {
            self.signal.keep();
        } else {
            self.signal.clear();
            // A producer that pushed, or a queue that came, since the look above saw `signalled` set and
            // did not write.
            let is_late = queues.iter().any(|queue| queue.has_work()) || self.queues.lock().list.len() != queues.len();
            if is_late && self.signal.claim() {
                self.signal.wake();
            }
        }
        drained
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Hub;
    use crate::delivery::{Notice, Overflow, QueueConfig, ShardQueue, Waker};

    fn hub() -> Hub {
        Hub::new(Waker::new().expect("a descriptor"))
    }

    fn queue(key: u64) -> Arc<ShardQueue> {
        Arc::new(ShardQueue::new(key, QueueConfig { bytes: 4_000, events: 4, overflow: Overflow::Pause }))
    }

    fn news(hub: &Hub) -> Vec<u64> {
        hub.drain(256).notices.into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn a_queue_goes_to_another_loop_with_what_waits_in_it() {
        let (first, second, queue) = (hub(), hub(), queue(7));
        first.bind(&queue);
        queue.notify(Notice::GuildsReady);
        second.bind(&queue);
        assert_eq!(queue.wakeups(), 2, "the second loop was not woken for what waited");
        queue.notify(Notice::GuildsReady);
        assert!(news(&first).is_empty());
        assert_eq!(news(&second), [7, 7]);
    }

    #[test]
    fn a_queue_that_left_waits_and_comes_back_once() {
        let (hub, queue) = (hub(), queue(7));
        hub.bind(&queue);
        queue.unbind();
        queue.notify(Notice::GuildsReady);
        assert_eq!(queue.wakeups(), 0);
        hub.bind(&queue); // no drain in between: the hub still has it in its list
        assert_eq!(queue.wakeups(), 1);
        assert_eq!(news(&hub), [7]);
        queue.unbind();
        queue.notify(Notice::GuildsReady);
        assert!(news(&hub).is_empty());
        hub.bind(&queue);
        assert_eq!(news(&hub), [7]);
        assert!(news(&hub).is_empty());
    }

    #[test]
    fn the_descriptor_is_written_once_until_all_is_taken() {
        let (hub, one, other) = (hub(), queue(1), queue(2));
        hub.bind(&one);
        hub.bind(&other);
        one.notify(Notice::GuildsReady);
        other.notify(Notice::GuildsReady);
        assert_eq!((one.wakeups(), other.wakeups()), (1, 0));
        let mut told = news(&hub);
        told.sort_unstable();
        assert_eq!(told, [1, 2]);
        other.notify(Notice::GuildsReady);
        assert_eq!((one.wakeups(), other.wakeups()), (1, 1));
    }

    #[test]
    fn a_wake_up_is_counted_before_its_event_can_be_taken() {
        let (hub, queue) = (hub(), queue(7));
        hub.bind(&queue);
        for _ in 0..2_000 {
            let before = std::thread::scope(|scope| {
                let producer = scope.spawn(|| queue.notify(Notice::GuildsReady));
                // A loop that is awake finds the work without having been woken for it.
                while news(&hub).is_empty() {
                    std::hint::spin_loop();
                }
                let before = queue.wakeups();
                producer.join().expect("the producer ends");
                before
            });
            assert_eq!(queue.wakeups(), before, "a wake-up was counted after its work was done");
        }
    }
}
