//! The traffic of the whole bot: one stream for all sessions, each of which gets the events of its guilds. Here is whether
//! and how fast; who makes it is `shared_pace`.

use std::ops::Range;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct State {
    on: bool,
    rate: f64,
    made: u64,
}

/// Whether and how fast events are made, and how many were. Locked while some are, so that none comes after a stop.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(super) changed: Notify,
}

impl Shared {
    /// Starts or stops; `rate` in events per second, `None` to leave it. False when there is no rate to start with.
    pub(crate) fn set_pace(&self, on: bool, rate: Option<f64>) -> bool {
        let mut state = self.state.lock();
        let rate = rate.unwrap_or(state.rate);
        if on && !(rate > 0.0 && rate.is_finite()) {
            return false;
        }
        (state.on, state.rate) = (on, rate);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// How fast, if any are to be made.
    pub(super) fn rate(&self) -> Option<f64> {
        let state = self.state.lock();
        state.on.then_some(state.rate)
    }

    /// Numbers `count` events and lets `send` have them, unless it was stopped.
    pub(super) fn make(&self, count: u64, send: impl FnOnce(Range<u64>)) {
        let mut state = self.state.lock();
        if state.on {
            let numbers = state.made..state.made + count;
            state.made = numbers.end;
            send(numbers);
        }
    }

    /// `guilds`: also how many were made for each.
    pub(crate) fn record(&self, guilds: Option<u64>) -> Value {
        let state = self.state.lock();
        let mut record = json!({"on": state.on, "rate": state.rate, "made": state.made});
        if let Some(guilds) = guilds {
            // they come in turn
            let made = |guild: u64| state.made / guilds + u64::from(guild < state.made % guilds);
            record["guilds"] = (0..guilds).map(made).collect();
        }
        record
    }
}
