//! A cluster as one of its processes sees it. Python reads the keys, and tells it in this shape.

use serde::{Deserialize, Serialize};

/// What a process is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// It has shards.
    Host,
    /// It has partitions.
    Worker,
}

/// A gateway host, as its key says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct HostRow {
    id: String,
    capacity: u64,
    started_at: f64,
    pub(super) draining: bool,
    version: String,
    admin: Option<String>,
    coordinator: bool,
    shards: u64,
}

/// A shard, as its lease says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LeaseRow {
    id: u32,
    total: u32,
    /// None: nobody has it.
    pub(super) host: Option<String>,
    epoch: u64,
    since: Option<f64>,
    status: String,
}

/// A worker, as its key says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct WorkerRow {
    id: String,
    started_at: f64,
    version: String,
    pub(super) draining: bool,
    admin: Option<String>,
    partitions: u64,
}

/// A partition, as its lease says, and how far its worker is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PartitionRow {
    pub(super) id: u32,
    /// None: nobody has it.
    pub(super) worker: Option<String>,
    /// Messages that were not taken yet; none: not known.
    pub(super) lag: Option<u64>,
}

/// A cluster, as one of its processes sees it; Python gives it as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct View {
    pub(super) role: Role,
    /// The process's own.
    pub id: String,
    pub(super) app: String,
    /// The shards or partitions that are this process's to have.
    pub(super) wanted: usize,
    pub(super) total: Option<u32>,
    /// While it is resharded.
    pub(super) next: Option<u32>,
    pub(super) hosts: Vec<HostRow>,
    pub(super) shards: Vec<LeaseRow>,
    pub(super) workers: Vec<WorkerRow>,
    pub(super) partitions: Vec<PartitionRow>,
}
