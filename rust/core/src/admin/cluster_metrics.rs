//! What `GET /metrics` has besides of a process that is part of a cluster.
//!
//! Series are bounded: a lease by shard, as other metrics of shards; a lag by partition, of which there are 64; all else are
//! sums.

use std::fmt;

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Unit};

use super::{
    cluster::{Published, Standings, Taken},
    families::{Families, NONE},
    view::{Role, View},
};

/// What one scrape tells of a cluster.
#[derive(Debug)]
pub(super) struct ClusterScrape(pub(super) Standings);

impl Collector for ClusterScrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut to = Families(encoder);
        let connected = self.0.is_connected().into_iter().map(|connected| (NONE, u64::from(connected)));
        to.gauge("nats_connected", None, "1 while there is a connection to NATS, else 0", connected)?;
        self.cluster(&mut to)?;
        if let Some(lag) = self.0.publish_lag() {
            self.publisher(&mut to, lag.as_secs_f64())?;
        }
        if let Some(wanted) = self.0.wanted(Role::Worker) {
            self.intake(&mut to, wanted)?;
        }
        Ok(())
    }
}

/// The name of a cluster and a state, and how many things are in it.
type Row<'a> = ([(&'static str, &'a str); 2], u64);

/// Of some things those that are in one of two states.
fn by_state<'a, T>(view: &'a View, things: &[T], states: [&'static str; 2], is_second: fn(&T) -> bool) -> [Row<'a>; 2] {
    let second = things.iter().filter(|thing| is_second(thing)).count() as u64;
    let counts = [things.len() as u64 - second, second];
    [0, 1].map(|at| ([("app", view.app.as_str()), ("state", states[at])], counts[at]))
}

impl ClusterScrape {
    /// Of the whole of it, as this process sees it.
    fn cluster(&self, to: &mut Families) -> fmt::Result {
        let mut views: Vec<&View> = Vec::new();
        for view in &self.0.views {
            if views.iter().all(|known| known.app != view.app) {
                views.push(view);
            }
        }
        let each = || views.iter().copied();
        let living = ["serving", "draining"];
        to.gauge(
            "cluster_hosts",
            None,
            "Gateway hosts of the cluster by state",
            each().flat_map(|view| by_state(view, &view.hosts, living, |host| host.draining)),
        )?;
        to.gauge(
            "cluster_workers",
            None,
            "Workers of the cluster by state",
            each().flat_map(|view| by_state(view, &view.workers, living, |worker| worker.draining)),
        )?;
        let held = ["held", "free"];
        to.gauge(
            "cluster_shards",
            None,
            "Shards of the cluster by whether a host has them",
            each().flat_map(|view| by_state(view, &view.shards, held, |shard| shard.host.is_none())),
        )?;
        to.gauge(
            "cluster_partitions",
            None,
            "Partitions of the cluster by whether a worker has them",
            each().flat_map(|view| by_state(view, &view.partitions, held, |partition| partition.worker.is_none())),
        )
    }

    fn publisher(&self, to: &mut Families, lag: f64) -> fmt::Result {
        let leases = self.0.leases();
        let each = || leases.values().map(|lease| ([("shard", lease.shard)], lease));
        to.gauge(
            "lease_epoch",
            None,
            "Of the lease of a shard that this host has: each owner has a larger one",
            each().map(|(shard, lease)| (shard, lease.epoch)),
        )?;
        to.gauge(
            "lease_left",
            Some(&Unit::Seconds),
            "Until the lease is given up unless it is renewed; 0: it is",
            each().map(|(shard, lease)| (shard, lease.left.as_secs_f64())),
        )?;
        let Published { events, messages, bytes, retries, known, fenced } = self.0.counted.published;
        to.counter("published_events", None, "Events that NATS keeps for workers", [(NONE, events)])?;
        to.counter("published_messages", None, "Messages that these events were in", [(NONE, messages)])?;
        to.counter("published", Some(&Unit::Bytes), "Bytes of these messages, compressed", [(NONE, bytes)])?;
        to.counter("publish_retries", None, "Times that a message was sent again", [(NONE, retries)])?;
        to.counter(
            "publish_known_events",
            None,
            "Events that came again and were published by the shard's owner before",
            [(NONE, known)],
        )?;
        to.counter(
            "publish_fenced_events",
            None,
            "Events that were not published because the lease had run out",
            [(NONE, fenced)],
        )?;
        to.gauge("publish_lag", Some(&Unit::Seconds), "Age of the oldest event that waits for NATS", [(NONE, lag)])
    }

    fn intake(&self, to: &mut Families, wanted: usize) -> fmt::Result {
        let partitions = self.0.partitions();
        to.gauge("partitions", None, "Partitions that this worker reads", [(NONE, partitions.len())])?;
        to.gauge("partitions_wanted", None, "Partitions that should be this worker's", [(NONE, wanted)])?;
        let Taken { events, messages, redelivered, dead, expired, stale, overlapped, known } = self.0.counted.taken;
        let heard = &self.0.counted.heard;
        for (name, help, count) in [
            ("intake_events", "Events that came out of the stream", events),
            ("intake_messages", "Messages that these events were in", messages),
            ("intake_redelivered_messages", "Messages that had been delivered before", redelivered),
            ("intake_dead_letters", "Messages that became dead letters", dead),
            ("intake_expired_messages", "Messages that were too old before a worker took them", expired),
            ("intake_stale_events", "Events of a lease that had been followed by another, dropped", stale),
            ("intake_overlapped_events", "Events that came of two numbers of shards, dropped", overlapped),
            ("intake_known_events", "Events that two owners of a shard had published, dropped", known),
            ("intake_mended_events", "Events of which something did not fit and was left out", heard.mended),
            (
                "intake_undecodable_events",
                "Events that did not fit their class and could not be mended",
                heard.undecodable,
            ),
        ] {
            to.counter(name, None, help, [(NONE, count)])?;
        }
        let unfinished: u64 = partitions.values().map(|partition| partition.unfinished).sum();
        to.gauge("intake_unfinished_messages", None, "Messages that are not acknowledged", [(NONE, unfinished)])?;
        to.gauge("intake_queued_events", None, "Events that wait for the event loop", [(NONE, self.0.queued().0)])?;
        to.gauge(
            "intake_lag_messages",
            None,
            "Messages in the stream that were not taken yet",
            partitions.values().map(|partition| ([("partition", partition.id)], partition.lag)),
        )
    }
}
