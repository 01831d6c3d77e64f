//! Heartbeats of one connection (protocol.md §4): first-beat jitter, fixed cadence, the zombie
//! rule and its exceptions, latency. Owns when a beat leaves, not how.

use std::time::Duration;

use super::Time;

/// What a due heartbeat asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Not yet.
    No,
    /// Send op 1.
    Beat,
    /// The previous scheduled beat was not acknowledged: the connection is dead.
    Zombie,
}

/// Spacing of answers to op 1: a burst of requests is answered once, not a thousand times.
const ANSWER_SPACING: Duration = Duration::from_millis(250);
/// A beat may be judged late this often in a row because unread data still lies in the socket.
const BACKLOG_GRACE: u32 = 2;

/// The heartbeat of one connection.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    interval: Duration,
    next: Time,
    awaiting_ack: bool,
    sent_at: Option<Time>,
    /// No zombie verdict before this time.
    judge_from: Time,
    backlog_grace: u32,
    answer_at: Option<Time>,
    last_answer: Option<Time>,
    latency: Option<Duration>,
}

impl Heartbeat {
    /// Starts at HELLO. The first beat comes after `interval * U[0, 1)`.
    pub fn new(interval: Duration, now: Time, rng: &mut fastrand::Rng) -> Self {
        Self {
            interval,
            next: now + interval.mul_f64(rng.f64()),
            awaiting_ack: false,
            sent_at: None,
            judge_from: Time::ZERO,
            backlog_grace: 0,
            answer_at: None,
            last_answer: None,
            latency: None,
        }
    }

    /// The interval from HELLO.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Time between the last acknowledged beat and its ACK.
    pub fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// When [`Heartbeat::due`] wants to be asked again.
    pub fn deadline(&self) -> Time {
        self.answer_at.map_or(self.next, |answer| answer.min(self.next))
    }

    /// When the next scheduled beat leaves.
    pub fn next_beat(&self) -> Time {
        self.next
    }

    /// Asks whether a beat must leave now. `backlog`: unread data lies in the socket, the ACK may be in it.
    pub fn due(&mut self, now: Time, backlog: bool) -> Due {
        if now >= self.next {
            let late = now.saturating_sub(self.next);
            if late >= self.interval {
                // The process was stopped (SIGSTOP, starved machine): beat at once, judge only afterwards.
                self.judge_from = self.judge_from.max(now + self.interval);
                self.next = now;
            } else if self.awaiting_ack && now >= self.judge_from {
                if !backlog || self.backlog_grace >= BACKLOG_GRACE {
                    return Due::Zombie;
                }
                self.backlog_grace += 1;
            }
            // Fixed cadence: the next beat is due an interval after this one was due, not after it was sent.
            self.next += self.interval;
            self.awaiting_ack = true;
            self.sent_at = Some(now);
            // It answers a request that still waits, too.
            self.answer_at = None;
            return Due::Beat;
        }
        if self.answer_at.is_some_and(|at| now >= at) {
            self.answer_at = None;
            self.last_answer = Some(now);
            // The next ACK belongs to the scheduled beat where one is outstanding.
            self.sent_at.get_or_insert(now);
            return Due::Beat;
        }
        Due::No
    }

    /// op 1 from the server: answered at once, more of them once per 250 ms. The cadence stays.
    pub fn requested(&mut self, now: Time) {
        let at = self.last_answer.map_or(now, |last| now.max(last + ANSWER_SPACING));
        self.answer_at.get_or_insert(at);
    }

    /// Postpones a requested answer because the send window is full; scheduled beats never wait.
    pub fn postpone_answer(&mut self, until: Time) {
        if self.answer_at.is_some() {
            self.answer_at = Some(until);
        }
    }

    /// Whether the beat that is due now only answers op 1.
    pub fn only_answer_due(&self, now: Time) -> bool {
        now < self.next && self.answer_at.is_some_and(|at| now >= at)
    }

    /// op 11. Returns whether a beat was outstanding.
    pub fn acknowledged(&mut self, now: Time) -> bool {
        self.backlog_grace = 0;
        self.awaiting_ack = false;
        let Some(sent) = self.sent_at.take() else { return false };
        self.latency = Some(now.saturating_sub(sent));
        true
    }

    /// Back-pressure stopped the reading of the socket: an ACK could not be seen.
    pub fn reading_paused(&mut self) {
        self.judge_from = Time::MAX;
    }

    /// Reading goes on; the zombie rule waits one interval.
    pub fn reading_resumed(&mut self, now: Time) {
        self.judge_from = now + self.interval;
    }
}
