//! The last 15 minutes in steps of 5 s: rates, and how it stood.

use std::collections::VecDeque;

use serde::Serialize;

/// Seconds between two points.
pub(super) const INTERVAL: u64 = 5;
const POINTS: usize = 180;

/// The sums at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moment {
    /// Unix seconds.
    pub(super) time: f64,
    pub(super) received: u64,
    pub(super) delivered: u64,
    pub(super) dropped: u64,
    /// The highest of the shards'.
    pub(super) latency_seconds: Option<f64>,
    pub(super) queued: u64,
}

/// As it is shown: a list for each line of a chart, older points first, all of one length.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Lines {
    interval: f64,
    time: VecDeque<f64>,
    received: VecDeque<f64>,
    delivered: VecDeque<f64>,
    dropped: VecDeque<f64>,
    latency_seconds: VecDeque<Option<f64>>,
    queued: VecDeque<u64>,
}

/// Takes moments and keeps the rates between them.
#[derive(Debug, Default)]
pub(super) struct History {
    last: Option<Moment>,
    lines: Lines,
}

fn keep<T>(line: &mut VecDeque<T>, point: T) {
    if line.len() >= POINTS {
        line.pop_front();
    }
    line.push_back(point);
}

impl History {
    /// Adds a point, `seconds` after the one before.
    pub(super) fn add(&mut self, moment: Moment, seconds: f64) {
        let Some(last) = self.last.replace(moment) else { return };
        // A shard that went took what it had counted along.
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds.max(1e-3);
        let lines = &mut self.lines;
        keep(&mut lines.time, moment.time);
        keep(&mut lines.received, rate(moment.received, last.received));
        keep(&mut lines.delivered, rate(moment.delivered, last.delivered));
        keep(&mut lines.dropped, rate(moment.dropped, last.dropped));
        keep(&mut lines.latency_seconds, moment.latency_seconds);
        keep(&mut lines.queued, moment.queued);
    }

    pub(super) fn lines(&self) -> Lines {
        Lines { interval: INTERVAL as f64, ..self.lines.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_between_two_points_and_the_oldest_go() {
        let mut history = History::default();
        for at in 0..200_u64 {
            let moment = Moment {
                time: at as f64 * 5.0,
                received: at * 50,
                delivered: at * 25,
                dropped: at * 5,
                latency_seconds: (at % 2 == 0).then_some(0.04),
                queued: at,
            };
            history.add(moment, 5.0);
        }
        let lines = history.lines();
        assert_eq!((lines.time.len(), lines.time[0], lines.time[179]), (180, 100.0, 995.0));
        assert_eq!((lines.received[7], lines.delivered[7], lines.dropped[7]), (10.0, 5.0, 1.0));
        assert_eq!((lines.latency_seconds[0], lines.latency_seconds[1]), (Some(0.04), None));
        assert_eq!(lines.queued[179], 199);
        // Fewer than before: a shard has gone.
        history.add(Moment::default(), 5.0);
        assert!(history.lines().received[179].abs() < f64::EPSILON);
    }
}
