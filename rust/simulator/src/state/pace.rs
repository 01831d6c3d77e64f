//! The clock of a session's traffic: so many events each tick, or as many as the client takes. Goes on while it is away.

use std::sync::Arc;
use std::time::Duration;

use super::common::Common;
use super::meter::Meter;
use super::session::Session;

/// The runtime's timer has no finer grain.
const GRAIN: Duration = Duration::from_millis(2);

/// Runs until the session is dead and without connection.
pub(crate) async fn run(common: Arc<Common>, session: Arc<Session>, start: bool) {
    if common.config.preload && common.config.rate.is_none() && common.config.count.is_some() {
        tokio::task::block_in_place(|| session.preload());
    }
    if start && common.config.rate != Some(0.0) {
        session.set_pace(true, None);
    }
    let tick = Duration::try_from_secs_f64(common.config.tick / 1000.0).unwrap_or(GRAIN);
    let mut meter = Meter::default();
    loop {
        let changed = session.changed.notified();
        let connection = session.connection();
        if connection.is_none() && session.is_dead() {
            return;
        }
        match (session.pace(), connection) {
            // paced: connected or not
            (Some(pace), connection) if pace.rate.is_some_and(|rate| rate > 0.0) => {
                let rate = pace.rate.unwrap_or_default();
                let count = meter.due(rate);
                if count > 64 {
                    tokio::task::block_in_place(|| session.generate(count));
                } else if count > 0 {
                    session.generate(count);
                } else if connection.is_some() {
                    session.pump();
                }
                // a thousand slow sessions are not looked at 500 times a second; a rate below one event per tick still
                // comes evenly
                let pause = tick.max(Duration::from_secs_f64((0.1 / rate).min(0.02)));
                if pause < GRAIN {
                    tokio::task::block_in_place(|| std::thread::sleep(pause));
                    tokio::task::yield_now().await;
                } else {
                    tokio::time::sleep(pause).await;
                }
            }
            // flat out, or only replay and dispatches that wait for room
            (pace, Some(connection)) => {
                meter.stop();
                let drained = connection.outbox.drained.notified();
                if pace.is_some() {
                    tokio::task::block_in_place(|| session.pump());
                } else {
                    session.pump();
                }
                tokio::select! {
                    () = changed => {}
                    () = drained => {}
                }
            }
            (_, None) => {
                meter.stop();
                changed.await;
            }
        }
    }
}
