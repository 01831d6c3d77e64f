//! The one clock of the engine: monotonic time since the process first asked.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Time since the epoch. Monotonic; a change of the wall clock does not move it.
pub fn now() -> Duration {
    EPOCH.elapsed()
}
