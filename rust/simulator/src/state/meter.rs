//! How many events are due by now, at so many a second.

use std::time::Instant;

/// Events of one look at most, should the machine have slept.
const CATCH_UP: f64 = 50_000.0;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// At which rate, since when, how many.
    running: Option<(f64, Instant, f64)>,
}

impl Meter {
    /// How many to make now. Another rate begins anew.
    pub(crate) fn due(&mut self, rate: f64) -> u64 {
        let (_, began, made) = match &mut self.running {
            Some(running) if running.0.to_bits() == rate.to_bits() => running,
            running => running.insert((rate, Instant::now(), 0.0)),
        };
        let due = (began.elapsed().as_secs_f64() * rate - *made).floor().max(0.0);
        *made += due;
        due.min(CATCH_UP) as u64
    }

    /// The time until the next one is not made up for.
    pub(crate) fn stop(&mut self) {
        self.running = None;
    }
}
