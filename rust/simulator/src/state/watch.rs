//! Waiting until the server saw something, from threads and from tasks; and the clock of what it saw.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// Wakes whoever waits for a [`Condition`](crate::Condition).
#[derive(Debug)]
pub(crate) struct Watch {
    started: Instant,
    version: Mutex<u64>,
    blocking: Condvar,
    tasks: Notify,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), version: Mutex::new(0), blocking: Condvar::new(), tasks: Notify::new() }
    }

    /// Milliseconds since the simulator started, monotonic.
    pub(crate) fn ms(&self) -> f64 {
        (self.started.elapsed().as_secs_f64() * 1e6).round() / 1e3
    }

    /// Something that a condition may look at has changed.
    pub(crate) fn changed(&self) {
        *self.version.lock() += 1;
        self.blocking.notify_all();
        self.tasks.notify_waiters();
    }

    /// Blocks until `holds`; false when time runs out.
    pub(crate) fn wait(&self, timeout: Duration, holds: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            // the version is read before the condition: a change in between is not slept through
            let seen = *self.version.lock();
            if holds() {
                return true;
            }
            let mut version = self.version.lock();
            if *version == seen && self.blocking.wait_until(&mut version, deadline).timed_out() {
                drop(version);
                return holds();
            }
        }
    }

    /// The same for tasks of any runtime with timers.
    pub(crate) async fn wait_async(&self, timeout: Duration, holds: impl Fn() -> bool) -> bool {
        let wait = async {
            loop {
                let changed = self.tasks.notified();
                if holds() {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(timeout, wait).await.is_ok()
    }
}
