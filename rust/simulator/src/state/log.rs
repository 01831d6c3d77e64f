//! The numbered dispatches of a session, kept as runs for replay. Generated events are a pure function of their number, so a
//! million of them are one run; only stored ones take memory.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

/// What a sequence number stands for.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// The generated event of this index.
    Generated(u64),
    /// The event at this place of the session's share of the whole bot's traffic.
    Shared(u64),
    /// `t` and `d`.
    Stored(Arc<str>, Bytes),
}

/// Consecutive sequence numbers; of generated and shared events, with consecutive indexes.
#[derive(Debug, Clone)]
struct Run {
    first: u64,
    len: u64,
    entry: Entry,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Log {
    runs: VecDeque<Run>,
    /// Oldest sequence that can be replayed.
    pub(crate) oldest: u64,
    /// The next sequence to give.
    pub(crate) next: u64,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { runs: VecDeque::new(), oldest: 1, next: 1 }
    }

    /// Numbers an event.
    pub(crate) fn store(&mut self, event: Arc<str>, data: Bytes) {
        let entry = Entry::Stored(event, data);
        self.runs.push_back(Run { first: self.next, len: 1, entry });
        self.next += 1;
    }

    /// Numbers `count` events that can be made again, from this one on.
    pub(crate) fn extend(&mut self, entry: Entry, count: u64) {
        let first = self.next;
        self.next += count;
        if let Some(run) = self.runs.back_mut() {
            let goes_on = match (&run.entry, &entry) {
                (Entry::Generated(start), Entry::Generated(index)) | (Entry::Shared(start), Entry::Shared(index)) => {
                    start + run.len == *index
                }
                _ => false,
            };
            if goes_on {
                run.len += count;
                return;
            }
        }
        self.runs.push_back(Run { first, len: count, entry });
    }

    /// What `sequence` stands for; `None` for a number that was taken back, or is too old.
    pub(crate) fn get(&self, sequence: u64) -> Option<Entry> {
        let at = self.runs.partition_point(|run| run.first + run.len <= sequence);
        let run = self.runs.get(at).filter(|run| run.first <= sequence)?;
        Some(match &run.entry {
            Entry::Generated(start) => Entry::Generated(start + (sequence - run.first)),
            Entry::Shared(start) => Entry::Shared(start + (sequence - run.first)),
            stored @ Entry::Stored(..) => stored.clone(),
        })
    }

    /// Takes back every stored event of this name; its numbers stay used.
    pub(crate) fn forget(&mut self, name: &str) {
        self.runs.retain(|run| !matches!(&run.entry, Entry::Stored(event, _) if **event == *name));
    }

    /// Drops what is older than `keep`.
    pub(crate) fn trim(&mut self, keep: u64) {
        self.oldest = self.oldest.max(keep);
        while self.runs.front().is_some_and(|run| run.first + run.len <= self.oldest) {
            self.runs.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_events_are_one_run_and_stored_ones_cut_it() {
        let mut log = Log::new();
        log.extend(Entry::Generated(0), 1_000_000);
        log.extend(Entry::Generated(1_000_000), 5);
        assert_eq!(log.runs.len(), 1);
        log.store("TEST".into(), Bytes::from_static(b"1"));
        log.extend(Entry::Generated(1_000_005), 1);
        assert_eq!((log.runs.len(), log.next), (3, 1_000_008));
        assert!(matches!(log.get(1_000_005), Some(Entry::Generated(1_000_004))));
        assert!(matches!(log.get(1_000_006), Some(Entry::Stored(..))));
        assert!(matches!(log.get(1_000_007), Some(Entry::Generated(1_000_005))));
        log.forget("TEST");
        assert!(log.get(1_000_006).is_none());
        log.trim(1_000_007);
        assert_eq!((log.runs.len(), log.oldest), (1, 1_000_007));
    }

    #[test]
    fn shared_events_are_runs_of_their_own() {
        let mut log = Log::new();
        log.extend(Entry::Generated(0), 2);
        log.extend(Entry::Shared(2), 1);
        log.extend(Entry::Shared(3), 4);
        assert_eq!(log.runs.len(), 2);
        assert!(matches!(log.get(2), Some(Entry::Generated(1))));
        assert!(matches!(log.get(7), Some(Entry::Shared(6))));
        log.extend(Entry::Shared(9), 1);
        assert_eq!(log.runs.len(), 3, "a gap is no run");
    }
}
