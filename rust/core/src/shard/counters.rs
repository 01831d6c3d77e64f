//! Makes the machine's counters readable from any thread. A machine counts from zero with each run of the
//! shard; what earlier runs counted is added here.

use std::sync::atomic::Ordering::Relaxed;

use super::{SharedState, WireCounts};
use crate::session::{Cause, CommandCounts, Machine, Status};

/// The sums of earlier runs.
pub(super) struct Earlier {
    heartbeats: u64,
    reconnects: u64,
    resumes: u64,
    identifies: u64,
    commands_sent: u64,
    duplicates: u64,
    ignored: u64,
    reconnects_by: [u64; Cause::COUNT],
    commands: CommandCounts,
    /// What of the commands was published last.
    published: CommandCounts,
    /// The connection and its count of payloads as of the limiter that was published last.
    limited: (u64, u64),
}

impl Earlier {
    pub(super) fn of(counts: &WireCounts) -> Self {
        Self {
            heartbeats: counts.heartbeats.load(Relaxed),
            reconnects: counts.reconnects.load(Relaxed),
            resumes: counts.resumes.load(Relaxed),
            identifies: counts.identifies.load(Relaxed),
            commands_sent: counts.commands_sent.load(Relaxed),
            duplicates: counts.duplicates.load(Relaxed),
            ignored: counts.ignored.load(Relaxed),
            reconnects_by: counts.reconnects_by.each_ref().map(|count| count.load(Relaxed)),
            commands: *counts.commands.lock(),
            published: CommandCounts::default(),
            limited: (0, 0),
        }
    }

    pub(super) fn publish(&mut self, machine: &Machine, state: &SharedState) {
        let (run, counts) = (machine.stats(), &state.counts);
        counts.heartbeats.store(self.heartbeats + run.heartbeats, Relaxed);
        counts.resumes.store(self.resumes + run.resumes, Relaxed);
        counts.identifies.store(self.identifies + run.identifies, Relaxed);
        counts.commands_sent.store(self.commands_sent + run.commands_sent, Relaxed);
        counts.duplicates.store(self.duplicates + run.duplicates, Relaxed);
        counts.ignored.store(self.ignored + run.ignored, Relaxed);
        // Few of them ever move: what is published often is compared first.
        if counts.reconnects.load(Relaxed) != self.reconnects + run.reconnects {
            for (at, count) in counts.reconnects_by.iter().enumerate() {
                count.store(self.reconnects_by[at] + run.reconnects_by[at], Relaxed);
            }
        }
        counts.reconnects.store(self.reconnects + run.reconnects, Relaxed);
        if run.commands != self.published {
            self.published = run.commands;
            *counts.commands.lock() = self.commands.and(&run.commands);
        }
        if let Some(at) = run.acknowledged_at {
            state.ages.ack.store(at.as_nanos() as u64, Relaxed);
        }
        if machine.status() == Status::Ready {
            let latency = machine.latency().map_or(u64::MAX, |latency| latency.as_nanos() as u64);
            state.latency.store(latency, Relaxed);
        } else {
            state.latency.store(u64::MAX, Relaxed);
        }
        let limiter = machine.send_limiter();
        let sent = (run.connections, limiter.noted());
        if sent != self.limited {
            self.limited = sent;
            state.limiter.lock().clone_from(limiter);
        }
    }
}
