//! The counters of a shard, read together, and the sums of several.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use serde::Serialize;

use crate::{
    delivery::{Counts, Ledger},
    protocol::event::EventType,
    session::{Cause, CommandCounts},
    shard::SharedState,
};

/// What becomes of events, as it is called everywhere.
pub(super) const OUTCOMES: [&str; 6] = ["received", "delivered", "unheard", "filtered", "overflowed", "overlapped"];

/// The events of a ledger by outcome, in the order of [`OUTCOMES`], and by type.
pub(super) fn by_outcome(ledger: &Ledger) -> [&Counts; OUTCOMES.len()] {
    [&ledger.received, &ledger.delivered, &ledger.unheard, &ledger.filtered, &ledger.overflowed, &ledger.overlapped]
}

fn outcomes_of(ledger: &mut Ledger) -> [&mut Counts; OUTCOMES.len()] {
    [
        &mut ledger.received,
        &mut ledger.delivered,
        &mut ledger.unheard,
        &mut ledger.filtered,
        &mut ledger.overflowed,
        &mut ledger.overlapped,
    ]
}

/// Counters since the shard was made; JSON has those that [`crate::shard::WireCounts`] explains under the same names.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Totals {
    pub(super) received: u64,
    pub(super) delivered: u64,
    pub(super) unheard: u64,
    pub(super) filtered: u64,
    pub(super) overflowed: u64,
    pub(super) overlapped: u64,
    pub(super) duplicates: u64,
    pub(super) ignored: u64,
    pub(super) malformed: u64,
    pub(super) mended: u64,
    pub(super) undecodable: u64,
    pub(super) listener_errors: u64,
    pub(super) wire_bytes: u64,
    pub(super) inflated_bytes: u64,
    pub(super) pauses: u64,
    pub(super) paused_seconds: f64,
    pub(super) wakeups: u64,
    pub(super) heartbeats: u64,
    pub(super) reconnects: u64,
    reconnects_by_reason: BTreeMap<&'static str, u64>,
    pub(super) resumes: u64,
    pub(super) identifies: u64,
    pub(super) commands_sent: u64,
    #[serde(skip)]
    pub(super) reconnects_by: [u64; Cause::COUNT],
    #[serde(skip)]
    pub(super) commands: CommandCounts,
    #[serde(skip)]
    pub(super) ledger: Box<Ledger>,
}

impl Totals {
    /// Those of a shard, whose ledger was read already.
    pub(super) fn of(state: &SharedState, ledger: Ledger) -> Self {
        let (counts, told) = (state.counts(), state.told());
        let sums = by_outcome(&ledger).map(|counts| counts.iter().sum());
        let [received, delivered, unheard, filtered, overflowed, overlapped] = sums;
        let mut totals = Self {
            received,
            delivered,
            unheard,
            filtered,
            overflowed,
            overlapped,
            duplicates: counts.duplicates.load(Relaxed),
            ignored: counts.ignored.load(Relaxed),
            malformed: counts.malformed.load(Relaxed),
            mended: told.mended.load(Relaxed),
            undecodable: told.undecodable.load(Relaxed),
            listener_errors: told.listener_errors.load(Relaxed),
            wire_bytes: counts.wire_bytes.load(Relaxed),
            inflated_bytes: counts.inflated_bytes.load(Relaxed),
            pauses: counts.pauses.load(Relaxed),
            paused_seconds: counts.paused().as_secs_f64(),
            wakeups: state.queue().wakeups(),
            heartbeats: counts.heartbeats.load(Relaxed),
            reconnects: counts.reconnects.load(Relaxed),
            reconnects_by_reason: BTreeMap::new(),
            resumes: counts.resumes.load(Relaxed),
            identifies: counts.identifies.load(Relaxed),
            commands_sent: counts.commands_sent.load(Relaxed),
            reconnects_by: counts.reconnects_by.each_ref().map(|count| count.load(Relaxed)),
            commands: *counts.commands.lock(),
            ledger: Box::new(ledger),
        };
        totals.name_reasons();
        totals
    }

    fn name_reasons(&mut self) {
        let reasons = Cause::ALL.iter().zip(self.reconnects_by).filter(|(_, count)| *count > 0);
        self.reconnects_by_reason = reasons.map(|(cause, count)| (cause.name(), count)).collect();
    }

    /// Adds those of another shard.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.received, other.received),
            (&mut self.delivered, other.delivered),
            (&mut self.unheard, other.unheard),
            (&mut self.filtered, other.filtered),
            (&mut self.overflowed, other.overflowed),
            (&mut self.overlapped, other.overlapped),
            (&mut self.duplicates, other.duplicates),
            (&mut self.ignored, other.ignored),
            (&mut self.malformed, other.malformed),
            (&mut self.mended, other.mended),
            (&mut self.undecodable, other.undecodable),
            (&mut self.listener_errors, other.listener_errors),
            (&mut self.wire_bytes, other.wire_bytes),
            (&mut self.inflated_bytes, other.inflated_bytes),
            (&mut self.pauses, other.pauses),
            (&mut self.wakeups, other.wakeups),
            (&mut self.heartbeats, other.heartbeats),
            (&mut self.reconnects, other.reconnects),
            (&mut self.resumes, other.resumes),
            (&mut self.identifies, other.identifies),
            (&mut self.commands_sent, other.commands_sent),
        ] {
            *sum += more;
        }
        self.paused_seconds += other.paused_seconds;
        self.commands = self.commands.and(&other.commands);
        for (sum, more) in self.reconnects_by.iter_mut().zip(other.reconnects_by) {
            *sum += more;
        }
        self.name_reasons();
        for (sums, counts) in outcomes_of(&mut self.ledger).into_iter().zip(by_outcome(&other.ledger)) {
            for (sum, more) in sums.iter_mut().zip(counts) {
                *sum += more;
            }
        }
    }

    /// Events that no listener got.
    pub(super) fn dropped(&self) -> u64 {
        self.unheard + self.filtered + self.overflowed
    }

    /// Each event of which there were any, and how many of each outcome.
    pub(super) fn by_event(&self) -> impl Iterator<Item = (&'static str, [u64; OUTCOMES.len()])> {
        let counts = by_outcome(&self.ledger);
        (0..EventType::SLOTS).filter_map(EventType::from_index).filter_map(move |event| {
            let row = counts.map(|counts| counts[event.index()]);
            row.iter().any(|&count| count > 0).then(|| (event.name(), row))
        })
    }
}
