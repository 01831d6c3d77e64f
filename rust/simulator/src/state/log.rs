//! The numbered dispatches of a session, kept as runs for replay. Generated events are a pure function of their number, so a
//! million of them are one run; only stored ones take memory.

use std::collections::VecDeque;

use bytes::Bytes;

/// What a sequence number stands for.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// The generated event of this index.
    Generated(u64),
    /// `t` and `d`.
    Stored(String, Bytes),
}

/// Consecutive sequence numbers; of generated events, with consecutive indexes.
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
    pub(crate) fn store(&mut self, event: &str, data: Bytes) {
        let entry = Entry::Stored(event.to_owned(), data);
        self.runs.push_back(Run { first: self.next, len: 1, entry });
        self.next += 1;
    }

    /// Numbers `count` generated events, from `index` on.
    pub(crate) fn generate(&mut self, index: u64, count: u64) {
        let first = self.next;
        self.next += count;
        if let Some(Run { len, entry: Entry::Generated(start), .. }) = self.runs.back_mut()
            && *start + *len == index
        {
            *len += count;
        } else {
            self.runs.push_back(Run { first, len: count, entry: Entry::Generated(index) });
        }
    }

    /// What `sequence` stands for; `None` for a number that was taken back, or is too old.
    pub(crate) fn get(&self, sequence: u64) -> Option<Entry> {
        let at = self.runs.partition_point(|run| run.first + run.len <= sequence);
        let run = self.runs.get(at).filter(|run| run.first <= sequence)?;
        Some(match &run.entry {
            Entry::Generated(start) => Entry::Generated(start + (sequence - run.first)),
            stored @ Entry::Stored(..) => stored.clone(),
        })
    }

    /// Takes back every stored event of this name; its numbers stay used.
    pub(crate) fn forget(&mut self, name: &str) {
        self.runs.retain(|run| !matches!(&run.entry, Entry::Stored(event, _) if event == name));
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
        log.generate(0, 1_000_000);
        log.generate(1_000_000, 5);
        assert_eq!(log.runs.len(), 1);
        log.store("TEST", Bytes::from_static(b"1"));
        log.generate(1_000_005, 1);
        assert_eq!((log.runs.len(), log.next), (3, 1_000_008));
        assert!(matches!(log.get(1_000_005), Some(Entry::Generated(1_000_004))));
        assert!(matches!(log.get(1_000_006), Some(Entry::Stored(..))));
        assert!(matches!(log.get(1_000_007), Some(Entry::Generated(1_000_005))));
        log.forget("TEST");
        assert!(log.get(1_000_006).is_none());
        log.trim(1_000_007);
        assert_eq!((log.runs.len(), log.oldest), (1, 1_000_007));
    }
}
