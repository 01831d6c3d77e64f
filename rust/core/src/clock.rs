//! The clocks of the engine: monotonic time since the process first asked, and the time that the machine slept.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
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

/// Nanoseconds from the Unix epoch to [`EPOCH`], as of the last look.
static OFFSET: AtomicU64 = AtomicU64::new(0);
/// The wall clock has been set, and not merely been read a little later, where the offset moves by more.
const MOVED: u64 = 1_000_000;

/// What the wall clock, as it is set now, showed at a time of [`now`], in Unix seconds; the same for the same time, as
/// long as nobody sets it.
pub fn unix_of(at: Duration) -> f64 {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (fresh, known) = (unix.saturating_sub(now()).as_nanos() as u64, OFFSET.load(Relaxed));
    let offset = if fresh.abs_diff(known) < MOVED { known } else { fresh };
    OFFSET.store(offset, Relaxed);
    (Duration::from_nanos(offset) + at).as_secs_f64()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_the_same_wherever_it_is_asked_for() {
        let at = now();
        let first = unix_of(at);
        assert!((first - unix_now()).abs() < 0.5);
        let shown: std::collections::BTreeSet<_> = (0..1_000).map(|_| unix_of(at).to_bits()).collect();
        // The wall clock may be set once meanwhile; read afresh each time, there would be hundreds.
        assert!(shown.len() <= 2, "{}", shown.len());
    }
}
