//! Moderated wake-ups, as network cards have them: a thread that has read events looks for more at most once in a tick.
//!
//! Events that come one by one cost a wake-up each, here and in Python, and a wake-up costs several times what the event
//! does. So a thread that has read some, and has nothing left to do, sleeps for the rest of its tick before it waits for
//! the sockets again; unless it had waited for longer than that when they came, for then it is not to be expected that
//! more do. After silence the first event is handled at once; after that none is later than a tick, and so is nothing
//! else that runs on the thread. Handshakes and heartbeats are no events: by themselves they delay nothing.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::clock;

/// Of one thread.
#[derive(Debug, Default)]
pub struct Moderation {
    /// What each shard wishes, and how many wish it.
    wishes: Mutex<BTreeMap<Duration, usize>>,
    /// The least of them in nanoseconds: one thread reads for all, and none may be later than it wishes.
    least: AtomicU64,
}

/// The wish of a shard, while it is there.
#[derive(Debug)]
pub struct WakeInterval {
    moderation: Arc<Moderation>,
    interval: Duration,
}

thread_local! {
    /// When this thread had something to do last, and when it had begun to wait for that.
    static WOKEN: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static WAITED_FROM: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// It has read events since, all that there were.
    static HAS_READ: Cell<bool> = const { Cell::new(false) };
}

impl Moderation {
    /// A shard may be told of its events so much later; zero: at once.
    pub fn wish(self: &Arc<Self>, interval: Duration) -> WakeInterval {
        let mut wishes = self.wishes.lock();
        *wishes.entry(interval).or_default() += 1;
        self.note(&wishes);
        WakeInterval { moderation: Arc::clone(self), interval }
    }

    fn note(&self, wishes: &BTreeMap<Duration, usize>) {
        let least = wishes.keys().next().map_or(0, |least| least.as_nanos() as u64);
        self.least.store(least, Relaxed);
    }

    /// How many shards there are on the thread.
    pub fn shards(&self) -> usize {
        self.wishes.lock().values().sum()
    }

    /// The time between two looks at the sockets.
    pub fn interval(&self) -> Duration {
        Duration::from_nanos(self.least.load(Relaxed))
    }

    /// The thread has nothing to do and is about to wait: `on_thread_park` of its runtime.
    pub fn rest(&self) {
        let interval = self.interval();
        let mut now = clock::now();
        if HAS_READ.take() && WOKEN.get().saturating_sub(WAITED_FROM.get()) < interval {
            let left = (WOKEN.get() + interval).saturating_sub(now);
            if !left.is_zero() {
                std::thread::sleep(left);
                now = clock::now();
            }
        }
        WAITED_FROM.set(now);
    }

    /// It has something to do: `on_thread_unpark` of its runtime.
    pub fn woken() {
        WOKEN.set(clock::now());
    }
}

/// This thread has read events, and nothing was left to read.
pub fn has_read() {
    HAS_READ.set(true);
}

impl Drop for WakeInterval {
    fn drop(&mut self) {
        let mut wishes = self.moderation.wishes.lock();
        if let Some(number) = wishes.get_mut(&self.interval) {
            *number -= 1;
            if *number == 0 {
                wishes.remove(&self.interval);
            }
        }
        self.moderation.note(&wishes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than a busy machine stands still.
    const TICK: Duration = Duration::from_secs(3);

    #[test]
    fn the_least_wish_counts_as_long_as_it_is_there() {
        let moderation = Arc::new(Moderation::default());
        assert_eq!(moderation.interval(), Duration::ZERO);
        let slow = moderation.wish(TICK);
        let quick = [moderation.wish(TICK / 2), moderation.wish(TICK / 2)];
        assert_eq!(moderation.shards(), 3);
        assert_eq!(moderation.interval(), TICK / 2);
        let [first, second] = quick;
        drop(first);
        assert_eq!(moderation.interval(), TICK / 2);
        drop(second);
        assert_eq!(moderation.interval(), TICK);
        let at_once = moderation.wish(Duration::ZERO);
        assert_eq!(moderation.interval(), Duration::ZERO);
        drop((at_once, slow));
        assert_eq!(moderation.interval(), Duration::ZERO);
        assert_eq!(moderation.shards(), 0);
    }

    #[test]
    fn a_thread_sleeps_for_the_rest_of_its_tick_after_events_and_for_nothing_else() {
        // When it goes on, from when it was woken.
        let rested = |interval: Duration| {
            let moderation = Arc::new(Moderation::default());
            let _wish = moderation.wish(interval);
            moderation.rest();
            clock::now().saturating_sub(WOKEN.get())
        };
        let long = Duration::from_secs(10);
        let events = || {
            Moderation::woken();
            has_read();
        };
        Moderation::woken();
        assert!(rested(long) < long, "nothing was read");
        events();
        assert!(rested(TICK) >= TICK);
        events();
        assert!(rested(Duration::ZERO) < long);
        Moderation::woken();
        assert!(rested(long) < long, "once for each time that something was read");
        std::thread::sleep(TICK);
        events();
        assert!(rested(TICK) < TICK, "the first event after a silence");
        events();
        assert!(rested(TICK) >= TICK, "and the next");
    }
}
