//! The room that the queues of a fleet share: one shard may fill it, and leaves each of the others a part of its own.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What the queues of several shards may hold together, in bytes.
#[derive(Debug)]
pub struct CommonRoom {
    limit: usize,
    /// What a queue may hold whatever the others do.
    share: usize,
    used: AtomicUsize,
}

impl CommonRoom {
    /// `limit` bytes for `shards` queues. Half of it is divided among them, so that the room may be exceeded by half.
    pub fn new(limit: usize, shards: usize) -> Self {
        Self { limit, share: limit / 2 / shards.max(1), used: AtomicUsize::new(0) }
    }

    /// Bytes that wait in all queues.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    /// What a queue that holds `own` bytes may still take.
    pub(super) fn left(&self, own: usize) -> usize {
        self.limit.saturating_sub(self.used()).max(self.share.saturating_sub(own))
    }
}
