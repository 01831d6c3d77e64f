//! The clock of the whole bot's traffic, and who gets it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::common::Common;
use super::meter::Meter;
use super::session::Session;
use crate::traffic::World;

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(2);
/// Events made without a pause: beats are answered in between.
const BATCH: u64 = 64;

/// Makes what is due, for as long as the server lives.
pub(crate) async fn run(common: Arc<Common>) {
    let (mut meter, mut prepared) = (Meter::default(), false);
    loop {
        let changed = common.shared.changed.notified();
        let Some(rate) = common.shared.rate().filter(|_| common.world.guilds > 0) else {
            meter.stop();
            changed.await;
            continue;
        };
        // before the meter runs: what it takes is not to be made up for
        if !prepared {
            let preparing = Arc::clone(&common);
            let _ = tokio::task::spawn_blocking(move || preparing.generator.prepare_messages()).await;
            prepared = true;
        }
        let mut due = meter.due(rate);
        while due > 0 {
            let count = due.min(BATCH);
            due -= count;
            common.shared.make(count, |numbers| send(&common, numbers));
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Gives each session the events of its guilds, which come in turn.
fn send(common: &Common, numbers: Range<u64>) {
    // a session's events are neighbours in its share: the first and how many is enough
    let mut shares: HashMap<*const Session, (Arc<Session>, u64, u64)> = HashMap::new();
    {
        let mut routes = common.routes.lock();
        for number in numbers {
            let guild = World::guild_id((number % common.world.guilds as u64) as usize);
            for session in routes.of_guild(guild) {
                let share = shares.entry(Arc::as_ptr(session));
                share.or_insert_with(|| (Arc::clone(session), number, 0)).2 += 1;
            }
        }
    }
    for (session, first, count) in shares.values() {
        session.share(*first, *count);
    }
}
