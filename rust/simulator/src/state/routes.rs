//! Which live sessions have a guild: by the number of shards that each counts with, then by shard.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::session::Session;

/// See the module. A bot that changes its number of shards has sessions of two at once.
#[derive(Default)]
pub(crate) struct Routes(BTreeMap<u64, HashMap<u64, Vec<Arc<Session>>>>);

impl Routes {
    pub(crate) fn add(&mut self, session: Arc<Session>) {
        let (shard, count) = session.shard;
        self.0.entry(count).or_default().entry(shard).or_default().push(session);
    }

    /// The live sessions that have this guild, connected or not. Forgets dead ones on the way.
    pub(crate) fn of_guild(&mut self, guild: u64) -> impl Iterator<Item = &Arc<Session>> {
        self.0.iter_mut().flat_map(move |(count, shards)| {
            shards.get_mut(&((guild >> 22) % count)).into_iter().flat_map(|sessions| {
                sessions.retain(|session| !session.is_dead());
                sessions.iter()
            })
        })
    }

    /// Every live session.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &Arc<Session>> {
        self.0.values_mut().flat_map(HashMap::values_mut).flat_map(|sessions| {
            sessions.retain(|session| !session.is_dead());
            sessions.iter()
        })
    }
}
