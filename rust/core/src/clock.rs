//! The clocks of the engine: monotonic time since the process first asked, and the time that the machine slept.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime},
};

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Time since the epoch. Monotonic; a change of the wall clock does not move it.
pub fn now() -> Duration {
    EPOCH.elapsed()
}

/// What the wall clock shows now, in Unix seconds.
pub fn unix_now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What the wall clock, as it is set now, showed at a time of [`now`], in Unix seconds.
pub fn unix_of(at: Duration) -> f64 {
    unix_now() - now().saturating_sub(at).as_secs_f64()
}

/// Whether [`asleep`] tells anything here.
pub const SLEEP_IS_TOLD: bool = cfg!(target_os = "linux");

/// How long the machine has been suspended since it started, in all: while it is, [`now`] stands still.
///
/// Linux alone tells it in a form that nothing else can move. Elsewhere this is zero: the wall clock jumps when somebody
/// sets it, and a good connection must not pay for that. There a dead socket is found by the heartbeats, as ever;
/// Windows' clock goes on during sleep, so that there a beat is due on waking.
#[cfg(target_os = "linux")]
pub fn asleep() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
    // In this order: what passes between the two readings must not look like sleep.
    let with_sleep = read(ClockId::Boottime);
    with_sleep.saturating_sub(read(ClockId::Monotonic))
}

/// As above, where nothing tells it.
#[cfg(not(target_os = "linux"))]
pub fn asleep() -> Duration {
    Duration::ZERO
}
