//! `GET /metrics`: what is counted already, written as `OpenMetrics` when it is asked for. `docs/observability.md` lists
//! the names; a test holds the two together.
//!
//! Series are bounded: at most a thousand shards and a thousand listeners, and fixed tables for all else.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text::encode_registry},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::{
    cluster_metrics::ClusterScrape,
    exhibit::{Exhibit, Process, Standing},
    families::{Families, NONE},
    snapshot,
    totals::{OUTCOMES, Totals},
    watch::{BOUNDS, ListenerCounts},
};
use crate::{
    clock,
    fleet::Left,
    session::{Cause, CommandKind, CommandResult, Status},
};

/// The content type of what [`open_metrics`] gives.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The content type of what [`plain_text`] gives.
pub(super) const PLAIN_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

const STATUSES: [Status; 8] = [
    Status::Unconnected,
    Status::Connecting,
    Status::WaitingForHello,
    Status::Identifying,
    Status::Resuming,
    Status::WaitingForReady,
    Status::Ready,
    Status::Disconnected,
];

/// All that one scrape tells.
#[derive(Debug)]
struct Scrape {
    process: Process,
    resident_bytes: Option<u64>,
    shards: Vec<Standing>,
    /// By shard; one that is gone still counts for its id.
    totals: BTreeMap<u32, Totals>,
    sum: Totals,
    loops: Vec<(f64, f64)>,
    listeners: BTreeMap<String, ListenerCounts>,
    budget: Option<Left>,
}

impl Scrape {
    fn of(exhibit: &Exhibit, heard: &Totals) -> Self {
        let now = clock::now();
        let (shards, mut totals) = exhibit.standings();
        let mut sum = snapshot::sum(&shards, &totals);
        sum.add(heard);
        for shard in &shards {
            totals.entry(shard.id).or_default().add(&shard.totals);
        }
        Self {
            process: exhibit.process.clone(),
            resident_bytes: snapshot::resident_bytes(),
            sum,
            loops: exhibit
                .loops()
                .iter()
                .map(|watch| (watch.lag().as_secs_f64(), watch.blocked(now).as_secs_f64()))
                .collect(),
            listeners: snapshot::listeners(exhibit),
            budget: exhibit.budget(),
            shards,
            totals,
        }
    }

    /// The shards' ids and what of each: where two have one id, as in two gateways of a process or while a fleet is
    /// resharded, `merge` makes one of them.
    fn each<V: Copy>(
        &self,
        of: impl Fn(&Standing) -> Option<V>,
        merge: impl Fn(V, V) -> V,
    ) -> impl Iterator<Item = ([(&'static str, u32); 1], V)> {
        let mut found: BTreeMap<u32, V> = BTreeMap::new();
        for shard in &self.shards {
            if let Some(value) = of(shard) {
                found.entry(shard.id).and_modify(|known| *known = merge(*known, value)).or_insert(value);
            }
        }
        found.into_iter().map(|(id, value)| ([("shard", id)], value))
    }

    fn counted<V>(&self, of: impl Fn(&Totals) -> V) -> impl Iterator<Item = ([(&'static str, u32); 1], V)> {
        self.totals.iter().map(move |(id, totals)| ([("shard", *id)], of(totals)))
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut to = Families(encoder);
        self.events(&mut to)?;
        self.connections(&mut to)?;
        self.gauges(&mut to)?;
        self.loops_and_listeners(&mut to)?;
        self.process(&mut to)
    }
}

impl Scrape {
    fn events(&self, to: &mut Families) -> fmt::Result {
        let by_event = self.sum.by_event().flat_map(|(event, counts)| {
            OUTCOMES
                .into_iter()
                .zip(counts)
                .map(move |(outcome, count)| ([("event", event), ("outcome", outcome)], count))
        });
        to.counter("events", None, "Dispatches by event and by what became of them", by_event)?;
        to.counter(
            "mended_events",
            None,
            "Events of which something did not fit and was left out",
            self.counted(|totals| totals.mended),
        )?;
        to.counter(
            "undecodable_events",
            None,
            "Events that did not fit their class and could not be mended",
            self.counted(|totals| totals.undecodable),
        )?;
        to.counter(
            "duplicate_events",
            None,
            "Dispatches whose sequence number was not above the last one",
            self.counted(|totals| totals.duplicates),
        )?;
        to.counter(
            "ignored_payloads",
            None,
            "Payloads with an opcode that is unknown or made no sense",
            self.counted(|totals| totals.ignored),
        )?;
        to.counter(
            "malformed_messages",
            None,
            "Messages that could not be inflated or were no JSON",
            self.counted(|totals| totals.malformed),
        )?;
        to.counter(
            "wire",
            Some(&Unit::Bytes),
            "WebSocket messages received, compressed as they came",
            self.counted(|totals| totals.wire_bytes),
        )?;
        to.counter(
            "inflated",
            Some(&Unit::Bytes),
            "JSON that these messages held",
            self.counted(|totals| totals.inflated_bytes),
        )?;
        to.counter(
            "pauses",
            None,
            "How often a full queue stopped the reading of the socket",
            self.counted(|totals| totals.pauses),
        )?;
        to.counter(
            "paused",
            Some(&Unit::Seconds),
            "Time with the socket unread because the queue was full",
            self.counted(|totals| totals.paused_seconds),
        )?;
        to.counter("wakeups", None, "How often the event loop was woken", self.counted(|totals| totals.wakeups))
    }

    fn connections(&self, to: &mut Families) -> fmt::Result {
        to.counter("heartbeats", None, "Heartbeats sent", self.counted(|totals| totals.heartbeats))?;
        let reasons = Cause::ALL.iter().zip(self.sum.reconnects_by);
        to.counter(
            "reconnects",
            None,
            "Connections made anew, by why the one before was lost",
            reasons.map(|(cause, count)| ([("reason", cause.name())], count)),
        )?;
        to.counter(
            "shard_reconnects",
            None,
            "Connections made anew, by shard",
            self.counted(|totals| totals.reconnects),
        )?;
        to.counter("resumes", None, "RESUMED received", self.counted(|totals| totals.resumes))?;
        to.counter("identifies", None, "IDENTIFYs sent", self.counted(|totals| totals.identifies))?;
        let commands = CommandKind::ALL.iter().zip(self.sum.commands.0).flat_map(|(kind, counts)| {
            CommandResult::ALL
                .iter()
                .zip(counts)
                .map(|(result, count)| ([("kind", kind.name()), ("result", result.name())], count))
        });
        to.counter("commands", None, "Commands by kind and by what became of them", commands)
    }

    fn gauges(&self, to: &mut Families) -> fmt::Result {
        let by_status = STATUSES.into_iter().map(|status| {
            let number = self.shards.iter().filter(|shard| shard.status == status).count();
            ([("status", status.name())], number)
        });
        to.gauge("shards", None, "Shards by status", by_status)?;
        // Two with one id: the later is the newer.
        let of_shard = self.each(|shard| Some(shard.status), |_, newer| newer);
        let of_shard = of_shard.map(|([(_, id)], status)| (("shard", id.to_string(), status.name()), 1_u64));
        to.gauge(
            "shard_status",
            None,
            "1 for the status that a shard has",
            of_shard.map(|((key, id, status), one)| ([(key, id), ("status", status.to_owned())], one)),
        )?;
        to.gauge("guilds", None, "Guilds of the session", self.each(|shard| Some(shard.guilds), |a, b| a + b))?;
        to.gauge(
            "heartbeat_latency",
            Some(&Unit::Seconds),
            "From the last acknowledged heartbeat to its ACK",
            self.each(|shard| shard.latency_seconds, f64::max),
        )?;
        to.gauge(
            "queued_events",
            None,
            "Events that wait for the event loop",
            self.each(|shard| Some(shard.queued), |a, b| a + b),
        )?;
        to.gauge(
            "queue",
            Some(&Unit::Bytes),
            "Events that wait, with a fixed overhead each",
            self.each(|shard| Some(shard.queue_bytes), |a, b| a + b),
        )?;
        to.gauge(
            "send_window_left",
            None,
            "Commands that Discord's limit of 120 in 60 s still takes",
            self.each(|shard| Some(shard.send_window_left), usize::min),
        )?;
        to.gauge(
            "last_frame_timestamp",
            Some(&Unit::Seconds),
            "Unix time at which anything came on the connection last",
            self.each(|shard| shard.last_frame_at, f64::max),
        )?;
        to.gauge(
            "last_event_timestamp",
            Some(&Unit::Seconds),
            "Unix time at which an event came last",
            self.each(|shard| shard.last_event_at, f64::max),
        )?;
        to.gauge(
            "last_ack_timestamp",
            Some(&Unit::Seconds),
            "Unix time at which a heartbeat was acknowledged last",
            self.each(|shard| shard.last_ack_at, f64::max),
        )?;
        let budget = self.budget.iter();
        to.gauge(
            "identify_budget_limit",
            None,
            "IDENTIFYs that Discord allows in a day",
            budget.clone().map(|left| (NONE, left.total)),
        )?;
        to.gauge(
            "identify_budget_remaining",
            None,
            "IDENTIFYs that are left of the day's",
            budget.clone().map(|left| (NONE, left.remaining)),
        )?;
        to.gauge(
            "identify_budget_reset_timestamp",
            Some(&Unit::Seconds),
            "Unix time at which all of them are there again",
            budget.map(|left| (NONE, left.resets_at)),
        )
    }

    fn loops_and_listeners(&self, to: &mut Families) -> fmt::Result {
        let loops = || self.loops.iter().enumerate();
        to.gauge(
            "loop_lag",
            Some(&Unit::Seconds),
            "How late the event loop took its last turn",
            loops().map(|(number, (lag, _))| ([("loop", number)], *lag)),
        )?;
        to.gauge(
            "loop_blocked",
            Some(&Unit::Seconds),
            "How long the event loop has taken no turn",
            loops().map(|(number, (_, blocked))| ([("loop", number)], *blocked)),
        )?;
        let listeners = || self.listeners.iter();
        to.counter(
            "listener_errors",
            None,
            "Exceptions that a listener raised",
            listeners().map(|(name, counts)| ([("listener", name.as_str())], counts.errors)),
        )?;
        to.counter(
            "listener_slow_calls",
            None,
            "Calls that held the event loop for over 100 ms",
            listeners().map(|(name, counts)| ([("listener", name.as_str())], counts.slow)),
        )?;
        let help = "How long calls of a listener held the event loop";
        let mut family =
            to.0.encode_descriptor("listener_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (name, counts) in listeners() {
            let labels = [("listener", name.as_str())];
            let bounds = BOUNDS.into_iter().chain([f64::MAX]);
            let buckets: Vec<_> = bounds.zip(counts.buckets).collect();
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                counts.seconds,
                counts.calls(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }

    fn process(&self, to: &mut Families) -> fmt::Result {
        let memory = self.resident_bytes.iter().map(|&bytes| (NONE, bytes));
        to.gauge("resident_memory", Some(&Unit::Bytes), "Memory that the process has in use", memory)?;
        to.gauge(
            "start_time",
            Some(&Unit::Seconds),
            "Unix time at which the engine was loaded",
            [(NONE, self.process.started_at)],
        )?;
        let versions = [("version", self.process.propylon.as_str()), ("python", self.process.python.as_str())];
        to.gauge("build_info", None, "1, with the versions as labels", [(versions, 1_u64)])
    }
}

/// As `OpenMetrics` 1.0.
pub(super) fn open_metrics(exhibit: &Exhibit) -> String {
    let mut registry = Registry::with_prefix("propylon");
    let cluster = exhibit.cluster();
    registry.register_collector(Box::new(Scrape::of(exhibit, &cluster.counted.heard)));
    if cluster.is_there() {
        registry.register_collector(Box::new(ClusterScrape(cluster)));
    }
    let mut text = String::with_capacity(16 * 1024);
    // Writing to a String fails where a value does, and none of these can.
    let _ = encode_registry(&mut text, &registry);
    text.push_str("# EOF\n");
    text
}

/// As the text format that Prometheus had before: what `promtool` and who asks without a preference reads. There a
/// counter's family has the name of its samples, and there are neither units nor an end.
pub(super) fn plain_text(exhibit: &Exhibit) -> String {
    let open = open_metrics(exhibit);
    let mut text = String::with_capacity(open.len());
    let mut help = "";
    for line in open.lines() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
        } else if line.starts_with("# HELP ") {
            // It is told which name it has by the line that follows.
            help = line;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|family| family.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let words = help.splitn(4, ' ').nth(3).unwrap_or_default();
            let _ = writeln!(text, "# HELP {name}{suffix} {words}\n# TYPE {name}{suffix} {kind}");
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}
