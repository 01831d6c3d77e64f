//! Counts of what the server saw: a condition or a summary of a thousand connections looks at none of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;

/// How often something was out of time, and how far at worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct OutOfTime {
    pub(crate) count: u64,
    pub(crate) worst_ms: f64,
}

impl OutOfTime {
    pub(crate) fn note(&mut self, ms: f64) {
        self.count += 1;
        self.worst_ms = self.worst_ms.max(ms);
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// TCP connections for the gateway.
    pub(crate) accepted: u64,
    pub(crate) upgraded: u64,
    pub(crate) open: u64,
    /// `open` at its highest.
    pub(crate) most_open: u64,
    pub(crate) ready: u64,
    pub(crate) resumed: u64,
    pub(crate) api: u64,
    /// Payloads received, by op.
    pub(crate) ops: BTreeMap<i64, u64>,
    /// IDENTIFYs before their bucket was free.
    pub(crate) early: OutOfTime,
    /// IDENTIFYs when none was left of the budget.
    pub(crate) over_budget: u64,
    /// Heartbeats.
    pub(crate) late: OutOfTime,
    /// Ends of connections: by whom, with which code.
    pub(crate) closes: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

impl Counts {
    pub(crate) fn opened(&mut self) {
        self.upgraded += 1;
        self.open += 1;
        self.most_open = self.most_open.max(self.open);
    }

    pub(crate) fn closed(&mut self, by: &'static str, code: Option<u16>) {
        self.open -= 1;
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        *self.closes.entry(by).or_default().entry(code).or_default() += 1;
    }
}

/// The counts of one server.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
    /// Apart, because it is counted by the ten thousand a second.
    dispatched: AtomicU64,
}

impl Tally {
    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }

    pub(crate) fn dispatched(&self, count: u64) {
        self.dispatched.fetch_add(count, Ordering::Relaxed);
    }

    /// Dispatches queued for clients, over all sessions.
    pub(crate) fn dispatch_count(&self) -> u64 {
        self.dispatched.load(Ordering::Relaxed)
    }
}
