//! What a partition tells of its messages.

use std::sync::atomic::AtomicU64;

/// What has become of a partition's messages.
#[derive(Debug, Default)]
pub struct SourceCounts {
    /// Events that were given to listeners, or heard by none.
    pub events: AtomicU64,
    /// Messages.
    pub messages: AtomicU64,
    /// Messages that had been delivered before.
    pub redelivered: AtomicU64,
    /// Messages that became dead letters.
    pub dead: AtomicU64,
    /// Messages that were too old before anybody took them.
    pub expired: AtomicU64,
    /// Events of an earlier epoch behind a later one.
    pub stale: AtomicU64,
    /// Events that another fleet had brought.
    pub overlapped: AtomicU64,
    /// Events that an earlier owner of their shard had published as well.
    pub known: AtomicU64,
    /// Messages that are not acknowledged.
    pub unfinished: AtomicU64,
    /// Messages in the stream that were not taken yet.
    pub lag: AtomicU64,
    /// The number of the last event that was given to listeners.
    pub last: AtomicU64,
}

/// What is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A message became a dead letter, for this reason.
    Dead(String),
    /// So many messages were too old before anybody took them.
    Expired(u64),
    /// It cannot go on.
    Failed(String),
}

/// News that nobody has read are not kept beyond this.
pub(super) const NEWS: usize = 1_000;
