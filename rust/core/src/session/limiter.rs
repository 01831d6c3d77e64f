//! What may be sent when (protocol.md §4.6, §7): 120 payloads in any 60 s of one connection, with
//! room kept for heartbeats, and 5 presence updates in 20 s. A log of send times slides; a fixed
//! window would let through a double burst at its seam.

use std::{collections::VecDeque, time::Duration};

use super::Time;

/// Payloads that Discord accepts in [`WINDOW`] on one connection, every opcode counted.
const LIMIT: usize = 120;
/// 60 s, and half a second because the count is taken at Discord's end, not at ours.
const WINDOW: Duration = Duration::from_millis(60_500);
/// Scheduled beats have at most this much of it: half, and one because 61 beats of 1 s touch 60 s.
const MAX_BEAT_RESERVE: u128 = 61;
/// Answers to op 1 find room even where commands have filled theirs.
const ANSWER_RESERVE: usize = 5;
const PRESENCE_LIMIT: usize = 5;
const PRESENCE_WINDOW: Duration = Duration::from_millis(20_500);

#[derive(Debug, Clone)]
struct SlidingLog {
    sent: VecDeque<Time>,
    window: Duration,
}

impl SlidingLog {
    fn used(&mut self, now: Time) -> usize {
        while self.sent.front().is_some_and(|&at| now.saturating_sub(at) >= self.window) {
            self.sent.pop_front();
        }
        self.sent.len()
    }

    /// When fewer than `limit` will be in the window.
    fn free_at(&mut self, now: Time, limit: usize) -> Time {
        let used = self.used(now);
        if used < limit {
            return now;
        }
        self.sent.get(used - limit).map_or(now, |&at| at + self.window)
    }
}

/// The 120/60 s limit of one connection.
#[derive(Debug, Clone)]
pub struct SendLimiter {
    log: SlidingLog,
    /// What scheduled beats leave over.
    limit: usize,
    noted: u64,
}

impl Default for SendLimiter {
    fn default() -> Self {
        Self::new(Duration::from_secs(45))
    }
}

impl SendLimiter {
    /// A fresh connection. Room for every scheduled beat of a window is kept aside:
    /// `ceil(60 s / interval) + 1`, also when each leaves late; about half of the limit at most.
    pub fn new(heartbeat_interval: Duration) -> Self {
        let interval = heartbeat_interval.as_millis().max(1);
        let reserve = (60_000_u128.div_ceil(interval) + 1).min(MAX_BEAT_RESERVE) as usize;
        Self { log: SlidingLog { sent: VecDeque::new(), window: WINDOW }, limit: LIMIT - reserve, noted: 0 }
    }

    /// When the next command may leave (`now`: at once).
    pub fn free_at(&mut self, now: Time) -> Time {
        self.log.free_at(now, self.limit - ANSWER_RESERVE)
    }

    /// When the next answer to op 1 may leave (`now`: at once).
    pub fn answer_free_at(&mut self, now: Time) -> Time {
        self.log.free_at(now, self.limit)
    }

    /// Notes one that left. Scheduled beats have their own room and are not noted.
    pub fn sent(&mut self, now: Time) {
        self.noted += 1;
        self.log.sent.push_back(now);
    }

    /// How many were noted since the connection was made: tells whether anything left.
    pub fn noted(&self) -> u64 {
        self.noted
    }

    /// How many commands may leave now.
    pub fn remaining(&mut self, now: Time) -> usize {
        (self.limit - ANSWER_RESERVE).saturating_sub(self.log.used(now))
    }

    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.log.sent.len()
    }

    /// How long until all of the room is free again.
    pub fn resets_in(&mut self, now: Time) -> Duration {
        self.log.used(now);
        self.log.sent.back().map_or(Duration::ZERO, |&at| (at + WINDOW).saturating_sub(now))
    }
}

/// The 5/20 s limit on op 3 of one session.
#[derive(Debug, Clone)]
pub struct PresenceLimiter(SlidingLog);

impl Default for PresenceLimiter {
    fn default() -> Self {
        Self(SlidingLog { sent: VecDeque::new(), window: PRESENCE_WINDOW })
    }
}

impl PresenceLimiter {
    /// When the next presence update may leave (`now`: at once).
    pub fn free_at(&mut self, now: Time) -> Time {
        self.0.free_at(now, PRESENCE_LIMIT)
    }

    /// Notes one that left.
    pub fn sent(&mut self, now: Time) {
        self.0.sent.push_back(now);
    }

    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.0.sent.len()
    }
}
