//! The clock of a session's traffic: so many events each tick, or as many as the client takes. Goes on while it is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::common::Common;
use super::session::Session;

/// Between two ticks of paced traffic; a rate below one event per tick still comes evenly.
const TICK: Duration = Duration::from_millis(2);
/// Events of one tick at most, should the machine have slept.
const CATCH_UP: f64 = 50_000.0;

/// Runs until the session is dead and without connection.
pub(crate) async fn run(common: Arc<Common>, session: Arc<Session>, start: bool) {
    if common.config.preload && common.config.rate.is_none() && common.config.count.is_some() {
        tokio::task::block_in_place(|| session.preload());
    }
    if start && common.config.rate != Some(0.0) {
        session.set_pace(true, None);
    }
    let (mut began, mut made) = (Instant::now(), 0.0);
    let mut rate_now = None;
    loop {
        let changed = session.changed.notified();
        let connection = session.connection();
        if connection.is_none() && session.is_dead() {
            return;
        }
        match (session.pace(), connection) {
            // paced: connected or not
            (Some(pace), connection) if pace.rate.is_some_and(|rate| rate > 0.0) => {
                if rate_now != pace.rate {
                    (rate_now, began, made) = (pace.rate, Instant::now(), 0.0);
                }
                let due = (began.elapsed().as_secs_f64() * pace.rate.unwrap_or_default() - made).floor();
                if due >= 1.0 {
                    made += due;
                    let count = due.min(CATCH_UP) as u64;
                    if count > 64 {
                        tokio::task::block_in_place(|| session.generate(count));
                    } else {
                        session.generate(count);
                    }
                } else if connection.is_some() {
                    session.pump();
                }
                tokio::time::sleep(TICK).await;
            }
            // flat out, or only replay and dispatches that wait for room
            (pace, Some(connection)) => {
                rate_now = None;
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
                rate_now = None;
                changed.await;
            }
        }
    }
}
