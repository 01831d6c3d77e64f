//! `GET /snapshot`, `/livez` and `/readyz`: how it all stands, as JSON. What is in here is what outsiders see: no token,
//! no session id, no resume URL, no payload.

use std::{collections::BTreeMap, process, time::Duration};

use serde::Serialize;

use super::{
    cluster::{Published, Standings, Taken},
    exhibit::{Exhibit, Standing},
    totals::{OUTCOMES, Totals},
    view::{Role, View},
    watch::{DEAD, LISTENERS, ListenerCounts},
};
use crate::clock;

/// Whether each event loop takes turns.
#[derive(Debug, Serialize)]
pub(super) struct Live {
    pub(super) ok: bool,
    blocked_seconds: f64,
    since: Option<f64>,
    listener: Option<String>,
}

/// Whether all shards are READY, and whether a worker reads all partitions that are its own.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    pub(super) ok: bool,
    shards: usize,
    ready: usize,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    partitions: Option<PartitionsReady>,
}

#[derive(Debug, Serialize)]
struct PartitionsReady {
    partitions: usize,
    taken: usize,
}

#[derive(Serialize)]
struct ProcessRow<'a> {
    pid: u32,
    started_at: f64,
    propylon: &'a str,
    python: &'a str,
    rss_bytes: Option<u64>,
}

#[derive(Serialize)]
struct LoopRow {
    last_turn_at: f64,
    blocked_seconds: f64,
    lag_seconds: f64,
    running: Option<String>,
}

#[derive(Serialize)]
struct ShardRow<'a> {
    id: u32,
    count: u32,
    status: &'static str,
    latency_seconds: Option<f64>,
    guilds: usize,
    queued: u64,
    queue_bytes: usize,
    #[serde(flatten)]
    totals: &'a Totals,
    last_frame_at: Option<f64>,
    last_event_at: Option<f64>,
    last_ack_at: Option<f64>,
    send_window_left: usize,
    identify_blocked_until: Option<f64>,
    sequence: Option<u64>,
}

#[derive(Serialize)]
struct ListenerRow {
    name: String,
    calls: u64,
    errors: u64,
    seconds: f64,
    slow: u64,
    longest_seconds: f64,
}

#[derive(Serialize)]
struct ReconnectRow {
    at: f64,
    shard: u32,
    code: Option<u16>,
    reason: String,
    resumed: Option<bool>,
}

#[derive(Serialize)]
struct BudgetRow {
    total: u32,
    remaining: u32,
    resets_at: f64,
}

/// The lease of a shard of this process.
#[derive(Serialize)]
struct HeldLeaseRow {
    shard: u32,
    epoch: u64,
    left_seconds: f64,
}

#[derive(Serialize)]
struct PublisherRow {
    #[serde(flatten)]
    counters: Published,
    lag_seconds: f64,
    leases: Vec<HeldLeaseRow>,
}

#[derive(Serialize)]
struct IntakeRow {
    #[serde(flatten)]
    counters: Taken,
    partitions: usize,
    unfinished: u64,
    lag: u64,
    /// Of all partitions that this process has and had: what a shard has in a process of its own.
    heard: Totals,
    queued: u64,
    queue_bytes: usize,
}

/// The cluster as this process sees it, and what it does there itself.
#[derive(Serialize)]
struct ClusterRow {
    #[serde(flatten)]
    view: View,
    connected: Option<bool>,
    publisher: Option<PublisherRow>,
    intake: Option<IntakeRow>,
}

#[derive(Serialize)]
struct Snapshot<'a> {
    version: u32,
    time: f64,
    process: ProcessRow<'a>,
    live: Live,
    ready: Readiness,
    loops: Vec<LoopRow>,
    shards: Vec<ShardRow<'a>>,
    events: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    listeners: Vec<ListenerRow>,
    reconnects: Vec<ReconnectRow>,
    budget: Option<BudgetRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterRow>,
}

/// Bytes of memory that the process has in use; `None` where the system does not tell.
pub(super) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The counters of each listener by its name, over all loops; so many at most.
pub(super) fn listeners(exhibit: &Exhibit) -> BTreeMap<String, ListenerCounts> {
    let mut all: BTreeMap<String, ListenerCounts> = BTreeMap::new();
    for watch in exhibit.loops() {
        for (name, counts) in watch.listeners() {
            if let Some(known) = all.get_mut(name) {
                known.add(&counts);
            } else if all.len() < LISTENERS {
                all.insert(name.to_owned(), counts);
            }
        }
    }
    all
}

/// All shards together, those that are gone among them.
pub(super) fn sum(shards: &[Standing], gone: &BTreeMap<u32, Totals>) -> Totals {
    let mut sum = Totals::default();
    for totals in gone.values() {
        sum.add(totals);
    }
    for shard in shards {
        sum.add(&shard.totals);
    }
    sum
}

fn live_at(exhibit: &Exhibit, now: Duration) -> Live {
    let worst = exhibit.loops().into_iter().max_by_key(|watch| watch.blocked(now));
    let blocked = worst.as_ref().map_or(Duration::ZERO, |watch| watch.blocked(now));
    let worst = worst.filter(|_| !blocked.is_zero());
    Live {
        ok: blocked <= DEAD,
        blocked_seconds: blocked.as_secs_f64(),
        since: worst.as_ref().map(|watch| clock::unix_of(watch.last_turn())),
        listener: worst.and_then(|watch| watch.running_name()),
    }
}

/// `GET /livez`.
pub(super) fn live(exhibit: &Exhibit) -> Live {
    live_at(exhibit, clock::now())
}

/// `GET /readyz`.
pub(super) fn readiness(exhibit: &Exhibit) -> Readiness {
    readiness_of(exhibit, &exhibit.cluster())
}

fn readiness_of(exhibit: &Exhibit, cluster: &Standings) -> Readiness {
    let (shards, ready) = exhibit.readiness();
    let (leased, partitions) = (cluster.wanted(Role::Host), cluster.wanted(Role::Worker));
    // A lease comes before its shard. A host without any is as ready as it can be, and so is a worker.
    let shards = shards.max(leased.unwrap_or_default());
    let is_member = leased.is_some() || partitions.is_some();
    let taken = cluster.partitions().len();
    let all_taken = partitions.is_none_or(|partitions| taken >= partitions);
    Readiness {
        ok: (shards > 0 || is_member) && ready == shards && all_taken,
        shards,
        ready,
        partitions: partitions.map(|partitions| PartitionsReady { partitions, taken }),
    }
}

fn cluster_row(cluster: &Standings) -> Option<ClusterRow> {
    let publisher = cluster.publish_lag().map(|lag| PublisherRow {
        counters: cluster.counted.published,
        lag_seconds: lag.as_secs_f64(),
        leases: cluster
            .leases()
            .into_values()
            .map(|lease| HeldLeaseRow {
                shard: lease.shard,
                epoch: lease.epoch,
                left_seconds: lease.left.as_secs_f64(),
            })
            .collect(),
    });
    let intake = cluster.wanted(Role::Worker).map(|_| {
        let partitions = cluster.partitions();
        let (queued, queue_bytes) = cluster.queued();
        IntakeRow {
            counters: cluster.counted.taken,
            partitions: partitions.len(),
            unfinished: partitions.values().map(|partition| partition.unfinished).sum(),
            lag: partitions.values().map(|partition| partition.lag).sum(),
            heard: cluster.counted.heard.clone(),
            queued,
            queue_bytes,
        }
    });
    Some(ClusterRow { view: cluster.view()?, connected: cluster.is_connected(), publisher, intake })
}

/// `GET /snapshot`.
pub(super) fn snapshot_json(exhibit: &Exhibit) -> Vec<u8> {
    exhibit.look();
    let now = clock::now();
    let (shards, gone) = exhibit.standings();
    let cluster = exhibit.cluster();
    let mut events = sum(&shards, &gone);
    events.add(&cluster.counted.heard);
    let events = events.by_event().map(|(event, counts)| (event, OUTCOMES.into_iter().zip(counts).collect()));
    let listeners = listeners(exhibit).into_iter().map(|(name, counts)| ListenerRow {
        name,
        calls: counts.calls(),
        errors: counts.errors,
        seconds: counts.seconds,
        slow: counts.slow,
        longest_seconds: counts.longest_seconds,
    });
    let loops = exhibit.loops();
    let snapshot = Snapshot {
        version: 1,
        time: clock::unix_now(),
        process: ProcessRow {
            pid: process::id(),
            started_at: exhibit.process.started_at,
            propylon: &exhibit.process.propylon,
            python: &exhibit.process.python,
            rss_bytes: resident_bytes(),
        },
        live: live_at(exhibit, now),
        ready: readiness_of(exhibit, &cluster),
        loops: loops
            .iter()
            .map(|watch| LoopRow {
                last_turn_at: clock::unix_of(watch.last_turn()),
                blocked_seconds: watch.blocked(now).as_secs_f64(),
                lag_seconds: watch.lag().as_secs_f64(),
                running: watch.running_name(),
            })
            .collect(),
        shards: shards
            .iter()
            .map(|shard| ShardRow {
                id: shard.id,
                count: shard.count,
                status: shard.status.name(),
                latency_seconds: shard.latency_seconds,
                guilds: shard.guilds,
                queued: shard.queued,
                queue_bytes: shard.queue_bytes,
                totals: &shard.totals,
                last_frame_at: shard.last_frame_at,
                last_event_at: shard.last_event_at,
                last_ack_at: shard.last_ack_at,
                send_window_left: shard.send_window_left,
                identify_blocked_until: shard.identify_blocked_until,
                sequence: shard.sequence,
            })
            .collect(),
        events: events.collect(),
        listeners: listeners.collect(),
        reconnects: exhibit
            .journal
            .entries()
            .into_iter()
            .map(|entry| ReconnectRow {
                at: clock::unix_of(entry.at),
                shard: entry.shard,
                code: entry.code,
                reason: entry.reason,
                resumed: entry.resumed,
            })
            .collect(),
        budget: exhibit.budget().map(|left| BudgetRow {
            total: left.total,
            remaining: left.remaining,
            resets_at: left.resets_at,
        }),
        cluster: cluster_row(&cluster),
    };
    serde_json::to_vec(&snapshot).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::admin::{Process, Watch};

    fn exhibit() -> Exhibit {
        Exhibit::new(Process { started_at: 1.0, propylon: "0".to_owned(), python: "3".to_owned() })
    }

    #[test]
    fn a_loop_is_dead_after_thirty_seconds_and_the_listener_is_named() {
        let exhibit = exhibit();
        let (well, blocked) = (Arc::new(Watch::default()), Arc::new(Watch::default()));
        exhibit.watch(&well);
        exhibit.watch(&blocked);
        exhibit.watch(&blocked);
        blocked.running(blocked.listener("bot.slow"));
        let from = blocked.last_turn();
        let at = |seconds| live_at(&exhibit, from + Duration::from_secs_f64(seconds));
        let first = at(1.0);
        assert!(first.ok && first.since.is_none() && first.listener.is_none() && first.blocked_seconds == 0.0);
        drop(well);
        let late = at(29.9);
        assert!(late.ok && late.since.is_some() && late.blocked_seconds > 29.0);
        let dead = at(30.1);
        assert!(!dead.ok && dead.since.is_some());
        assert_eq!(dead.listener.as_deref(), Some("bot.slow"));
        blocked.beat(Duration::ZERO);
        assert!(live(&exhibit).ok);
        drop(blocked);
        assert_eq!(exhibit.loops().len(), 0, "they are held by nobody here");
    }

    #[test]
    fn nothing_is_ready_where_there_is_no_shard() {
        let readiness = readiness(&exhibit());
        assert!(!readiness.ok && readiness.shards == 0);
    }

    #[test]
    fn listeners_of_one_name_in_several_loops_are_one() {
        let exhibit = exhibit();
        let watches = [Arc::new(Watch::default()), Arc::new(Watch::default())];
        for watch in &watches {
            exhibit.watch(watch);
            watch.record(watch.listener("both"), 0.5, 1, 1);
        }
        watches[1].record(watches[1].listener("one"), 0.001, 2, 0);
        let found = listeners(&exhibit);
        let calls: Vec<_> = found.iter().map(|(name, counts)| (name.as_str(), counts.calls(), counts.errors)).collect();
        assert_eq!(calls, [("both", 2, 2), ("one", 2, 0)]);
    }
}
