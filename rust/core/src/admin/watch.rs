//! What Python tells of one event loop, so that the engine can tell of it while Python is blocked: that the loop takes
//! turns, what it runs now, and how long its listeners take. All of it is single atomics, for it is told on the way of
//! events: nothing here waits.

use std::{
    collections::HashMap,
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::clock;

/// How many listeners have a row of their own; what comes later shares one.
pub(super) const LISTENERS: usize = 1_000;
/// The row of those that are too many.
const OTHERS: &str = "(others)";
/// Characters of a name that are kept.
const NAME: usize = 200;
/// A call that holds the loop for longer is slow.
const SLOW: Duration = Duration::from_millis(100);
/// The loop says each second that it lives. That it does not is told from here on.
const QUIET: Duration = Duration::from_secs(2);
/// A loop that has taken no turn for longer is dead to whoever watches the process.
pub(super) const DEAD: Duration = Duration::from_secs(30);
/// Upper bounds of the histogram's buckets in seconds; the last bucket has none.
pub(super) const BOUNDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The counters of one listener.
#[derive(Debug)]
struct Row {
    name: String,
    errors: AtomicU64,
    nanos: AtomicU64,
    slow: AtomicU64,
    longest_nanos: AtomicU64,
    buckets: [AtomicU64; BOUNDS.len() + 1],
}

/// What a listener has done so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ListenerCounts {
    pub(super) errors: u64,
    pub(super) seconds: f64,
    pub(super) slow: u64,
    pub(super) longest_seconds: f64,
    pub(super) buckets: [u64; BOUNDS.len() + 1],
}

impl ListenerCounts {
    pub(super) fn calls(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds those of a listener with the same name.
    pub(super) fn add(&mut self, other: &Self) {
        self.errors += other.errors;
        self.seconds += other.seconds;
        self.slow += other.slow;
        self.longest_seconds = self.longest_seconds.max(other.longest_seconds);
        for (count, more) in self.buckets.iter_mut().zip(other.buckets) {
            *count += more;
        }
    }
}

/// One event loop, as Python tells of it.
#[derive(Debug)]
pub struct Watch {
    /// Nanoseconds of the clock.
    last_turn: AtomicU64,
    lag_nanos: AtomicU64,
    /// The number of the listener that runs, and 1; 0: none.
    running: AtomicU32,
    /// What runs and is no listener, until the next turn.
    culprit: Mutex<Option<String>>,
    numbers: Mutex<HashMap<String, u32>>,
    rows: Box<[OnceLock<Box<Row>>]>,
}

/// What would have to be escaped somewhere is not worth that in a name.
fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_control() || matches!(c, '"' | '\\') { '?' } else { c };
    name.chars().take(NAME).map(plain).collect()
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            last_turn: AtomicU64::new(clock::now().as_nanos() as u64),
            lag_nanos: AtomicU64::new(0),
            running: AtomicU32::new(0),
            culprit: Mutex::default(),
            numbers: Mutex::default(),
            rows: (0..=LISTENERS).map(|_| OnceLock::new()).collect(),
        }
    }
}

impl Watch {
    /// The loop has taken a turn, `lag` after it was due. Nothing else runs in it meanwhile.
    pub fn beat(&self, lag: Duration) {
        self.beat_at(clock::now(), lag);
    }

    fn beat_at(&self, now: Duration, lag: Duration) {
        self.lag_nanos.store(lag.as_nanos() as u64, Relaxed);
        self.last_turn.store(now.as_nanos() as u64, Relaxed);
        self.running.store(0, Relaxed);
        *self.culprit.lock() = None;
    }

    /// The number of a listener, by its name. Those beyond a thousand share one.
    pub fn listener(&self, name: &str) -> u32 {
        let name = plain(name);
        let mut numbers = self.numbers.lock();
        if let Some(&number) = numbers.get(&name) {
            return number;
        }
        let number = numbers.len().min(LISTENERS);
        let name = if number == LISTENERS {
            OTHERS.to_owned()
        } else {
            numbers.insert(name.clone(), number as u32);
            name
        };
        self.rows[number].get_or_init(|| {
            Box::new(Row {
                name,
                errors: AtomicU64::new(0),
                nanos: AtomicU64::new(0),
                slow: AtomicU64::new(0),
                longest_nanos: AtomicU64::new(0),
                buckets: Default::default(),
            })
        });
        number as u32
    }

    /// This listener runs from now on.
    pub fn running(&self, number: u32) {
        self.running.store(number.saturating_add(1), Relaxed);
    }

    /// No listener runs.
    pub fn done(&self) {
        self.running.store(0, Relaxed);
    }

    /// This holds the loop, and is no listener that anybody counts; forgotten with the loop's next turn.
    pub fn held_by(&self, name: &str) {
        *self.culprit.lock() = Some(plain(name));
    }

    /// So many calls of a listener took so many seconds in all, and raised so many errors. Several calls count as
    /// equally long. A number that no listener has is nobody's.
    pub fn record(&self, number: u32, seconds: f64, calls: u64, errors: u64) {
        let Some(row) = self.rows.get(number as usize).and_then(OnceLock::get) else { return };
        let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
        let each = seconds / calls.max(1) as f64;
        let bucket = BOUNDS.iter().position(|&bound| each <= bound).unwrap_or(BOUNDS.len());
        row.buckets[bucket].fetch_add(calls, Relaxed);
        row.nanos.fetch_add((seconds * 1e9) as u64, Relaxed);
        row.longest_nanos.fetch_max((each * 1e9) as u64, Relaxed);
        if errors > 0 {
            row.errors.fetch_add(errors, Relaxed);
        }
        if each > SLOW.as_secs_f64() {
            row.slow.fetch_add(calls, Relaxed);
        }
    }

    /// When it took its last turn, by the clock.
    pub fn last_turn(&self) -> Duration {
        Duration::from_nanos(self.last_turn.load(Relaxed))
    }

    /// How late its last turn was.
    pub fn lag(&self) -> Duration {
        Duration::from_nanos(self.lag_nanos.load(Relaxed))
    }

    /// How long it has taken no turn, as of `now`; zero where it does, which it says once in a second.
    pub fn blocked(&self, now: Duration) -> Duration {
        let quiet = now.saturating_sub(self.last_turn());
        if quiet < QUIET { Duration::ZERO } else { quiet }
    }

    /// The listener that runs, or what else holds the loop, as far as anybody has told.
    pub fn running_name(&self) -> Option<String> {
        let Some(number) = self.running.load(Relaxed).checked_sub(1) else { return self.culprit.lock().clone() };
        self.rows.get(number as usize)?.get().map(|row| row.name.clone())
    }

    /// Each listener and its counters.
    pub(super) fn listeners(&self) -> impl Iterator<Item = (&str, ListenerCounts)> {
        self.rows.iter().filter_map(OnceLock::get).map(|row| {
            let counts = ListenerCounts {
                errors: row.errors.load(Relaxed),
                seconds: row.nanos.load(Relaxed) as f64 / 1e9,
                slow: row.slow.load(Relaxed),
                longest_seconds: row.longest_nanos.load(Relaxed) as f64 / 1e9,
                buckets: row.buckets.each_ref().map(|count| count.load(Relaxed)),
            };
            (row.name.as_str(), counts)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_blocked_from_two_seconds_without_a_turn() {
        let watch = Watch::default();
        let second = Duration::from_secs;
        watch.beat_at(second(100), Duration::from_millis(3));
        assert_eq!((watch.last_turn(), watch.lag()), (second(100), Duration::from_millis(3)));
        assert_eq!(watch.blocked(second(100)), Duration::ZERO);
        assert_eq!(watch.blocked(second(101)), Duration::ZERO);
        assert_eq!(watch.blocked(second(102)), second(2));
        assert_eq!(watch.blocked(second(131)), second(31));
        watch.beat_at(second(131), second(30));
        assert_eq!(watch.blocked(second(131)), Duration::ZERO);
    }

    #[test]
    fn what_runs_is_told_by_its_name_until_it_is_done_or_the_loop_turns() {
        let watch = Watch::default();
        let (first, second) = (watch.listener("bot.first"), watch.listener("bot.second"));
        assert_eq!(watch.listener("bot.first"), first);
        assert_eq!(watch.running_name(), None);
        watch.held_by("timer");
        assert_eq!(watch.running_name().as_deref(), Some("timer"));
        watch.beat(Duration::ZERO);
        assert_eq!(watch.running_name(), None);
        watch.running(second);
        assert_eq!(watch.running_name().as_deref(), Some("bot.second"));
        watch.running(first);
        assert_eq!(watch.running_name().as_deref(), Some("bot.first"));
        watch.done();
        assert_eq!(watch.running_name(), None);
        watch.running(first);
        watch.beat(Duration::ZERO);
        assert_eq!(watch.running_name(), None);
        watch.running(u32::MAX);
        assert_eq!(watch.running_name(), None);
    }

    #[test]
    fn calls_are_counted_in_buckets_and_slow_ones_apart() {
        let watch = Watch::default();
        let number = watch.listener("on_message");
        watch.record(number, 0.0001, 1, 0);
        watch.record(number, 0.004, 4, 1);
        watch.record(number, 0.3, 2, 0);
        watch.record(number, 60.0, 1, 0);
        watch.record(number, f64::NAN, 1, 0);
        watch.record(999, 1.0, 1, 0);
        let (name, counts) = watch.listeners().next().unwrap();
        assert_eq!((name, counts.calls(), counts.errors, counts.slow), ("on_message", 9, 1, 3));
        assert!((counts.seconds - 60.3041).abs() < 1e-6, "{}", counts.seconds);
        assert!((counts.longest_seconds - 60.0).abs() < 1e-6);
        let filled: Vec<_> = counts.buckets.iter().enumerate().filter(|(_, count)| **count > 0).collect();
        assert_eq!(filled, [(0, &2), (3, &4), (10, &2), (16, &1)]);
    }

    #[test]
    fn names_are_bounded_in_number_and_length_and_need_no_escaping() {
        let watch = Watch::default();
        for number in 0..2 * LISTENERS {
            watch.listener(&format!("listener {number}"));
        }
        let last = watch.listener("one more");
        assert_eq!(last as usize, LISTENERS);
        watch.running(last);
        assert_eq!(watch.running_name().as_deref(), Some(OTHERS));
        assert_eq!(watch.listeners().count(), LISTENERS + 1);
        let watch = Watch::default();
        watch.running(watch.listener("a\"b\\c\nd"));
        assert_eq!(watch.running_name().as_deref(), Some("a?b?c?d"));
        watch.running(watch.listener(&"é".repeat(1000)));
        assert_eq!(watch.running_name().unwrap().chars().count(), NAME);
    }
}
