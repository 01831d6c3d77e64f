//! When the next connection may be tried (protocol.md §11). Owns the delay, not the decision
//! whether to resume or to identify.

use std::time::Duration;

use super::Time;

/// `Backoff(base, cap, reset_after)` of the public face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BackoffConfig {
    /// Upper bound of the first delay.
    pub base: Duration,
    /// Upper bound of every delay.
    pub cap: Duration,
    /// A READY or RESUMED that held this long ends the series of failures.
    pub reset_after: Duration,
    /// Upper bound of the delay where there would be none: one of many shards that lose their connections together. A
    /// thousand at once would all be dialled, looked up and resumed in the same moment.
    pub spread: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            cap: Duration::from_mins(1),
            reset_after: Duration::from_secs(30),
            spread: Duration::ZERO,
        }
    }
}

/// Exponential backoff with full jitter. Reset only by a READY/RESUMED that held: a server that
/// accepts and then closes must not be redialled in a spin.
#[derive(Debug, Clone)]
pub struct Backoff {
    config: BackoffConfig,
    failures: u32,
    /// The first drop of a connection that was ready is free; the next one soon after is not.
    free_drop_used: bool,
    reconnect_requests: u32,
}

/// op 7 never counts as a failure, but a server that repeats it without end must not make us spin.
const FREE_RECONNECT_REQUESTS: u32 = 5;

const RATE_LIMIT_WAIT: Duration = Duration::from_secs(30);

impl Backoff {
    /// A fresh series.
    pub fn new(config: BackoffConfig) -> Self {
        Self { config, failures: 0, free_drop_used: false, reconnect_requests: 0 }
    }

    /// Consecutive failures so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The configured values.
    pub fn config(&self) -> &BackoffConfig {
        &self.config
    }

    /// A connection ended that had been READY/RESUMED from `since` until `now`.
    pub fn ready_ended(&mut self, since: Time, now: Time) {
        if now.saturating_sub(since) >= self.config.reset_after {
            self.failures = 0;
            self.free_drop_used = false;
            self.reconnect_requests = 0;
        }
    }

    /// Delay after the drop of a connection that was ready: none the first time, or below the spread.
    pub fn after_drop(&mut self, rng: &mut fastrand::Rng) -> Duration {
        if self.free_drop_used {
            return self.after_failure(rng);
        }
        self.free_drop_used = true;
        self.spread(rng)
    }

    /// Delay where nothing speaks for one but that other shards are in the same place.
    pub fn spread(&self, rng: &mut fastrand::Rng) -> Duration {
        self.config.spread.mul_f64(rng.f64())
    }

    /// Delay after op 7: none, unless the server does nothing else.
    pub fn after_reconnect_request(&mut self, rng: &mut fastrand::Rng) -> Duration {
        self.reconnect_requests += 1;
        if self.reconnect_requests > FREE_RECONNECT_REQUESTS { self.after_failure(rng) } else { Duration::ZERO }
    }

    /// Delay after an attempt that came to nothing: full jitter below `base * 2^(failures - 1)`, capped.
    pub fn after_failure(&mut self, rng: &mut fastrand::Rng) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let bound = self.config.base.saturating_mul(1 << (self.failures - 1).min(20)).min(self.config.cap);
        // A tenth of the bound at least: a run of lucky draws must not become a spin.
        bound.mul_f64(0.1 + 0.9 * rng.f64())
    }

    /// The wait after HTTP 429 that does not say how long: 30 to 45 s. Discord's limits are counted by the second or by
    /// the minute, and whoever asks before they are over is counted again; spread, because the limit may be one of all
    /// shards behind an address.
    pub fn after_rate_limit(&self, rng: &mut fastrand::Rng) -> Duration {
        RATE_LIMIT_WAIT.mul_f64(1.0 + 0.5 * rng.f64())
    }

    /// The wait after op 9: random 1–5 s with the default `base` (Discord staff, docs #244), and
    /// longer when it repeats.
    pub fn after_invalid_session(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let wait = self.config.base.mul_f64(1.0 + 4.0 * rng.f64()).min(self.config.cap);
        wait.max(self.after_failure(rng))
    }
}
