//! The last connections that were lost and made anew, of all shards that share one journal.

use std::{collections::VecDeque, time::Duration};

use parking_lot::Mutex;

use crate::clock;

/// So many are kept.
const KEPT: usize = 256;
/// Bytes of a reason that are kept: a close frame has at most 123, the words of our own transport may be longer.
const REASON: usize = 200;

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconnect {
    /// Tells shards of one id apart: several bots of a process may share a journal.
    key: u64,
    /// When it was lost, by [`clock::now`].
    pub at: Duration,
    /// The shard's id.
    pub shard: u32,
    /// The close code; `None`: there was none.
    pub code: Option<u16>,
    /// The server's words, or ours; the token and the session's id are hidden in it.
    pub reason: String,
    /// Whether the session went on. `None`: no READY or RESUMED has come yet.
    pub resumed: Option<bool>,
}

/// The newest 256 of them.
#[derive(Debug, Default)]
pub struct Journal(Mutex<VecDeque<Reconnect>>);

impl Journal {
    /// A connection of `shard`, whose queue has this key, was lost, and another one follows.
    pub fn lost(&self, key: u64, shard: u32, code: Option<u16>, reason: &str) {
        let mut kept = self.0.lock();
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        let end = (0..=REASON.min(reason.len())).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
        let reason = reason[..end].to_owned();
        kept.push_back(Reconnect { key, at: clock::now(), shard, code, reason, resumed: None });
    }

    /// READY or RESUMED has come for the shard whose queue has this key.
    pub fn ready(&self, key: u64, resumed: bool) {
        for entry in self.0.lock().iter_mut().rev().filter(|entry| entry.key == key) {
            if entry.resumed.is_some() {
                // What came before was answered before.
                break;
            }
            entry.resumed = Some(resumed);
        }
    }

    /// All of them, the newest last.
    pub fn entries(&self) -> Vec<Reconnect> {
        self.0.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_last_and_tells_whether_they_were_resumed() {
        let journal = Journal::default();
        for number in 0..300_u16 {
            journal.lost(u64::from(number % 2), 7, Some(4000 + number), "why");
        }
        journal.ready(1, true);
        let kept = journal.entries();
        assert_eq!((kept.len(), kept[0].code, kept[255].code), (256, Some(4044), Some(4299)));
        assert!(kept.iter().all(|entry| entry.resumed == (entry.key == 1).then_some(true)));
        journal.lost(1, 7, None, "");
        journal.ready(1, false);
        let last: Vec<_> = journal.entries().iter().rev().take(3).map(|entry| entry.resumed).collect();
        assert_eq!(last, [Some(false), Some(true), None], "what was answered stays so");
    }

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        let journal = Journal::default();
        journal.lost(0, 0, None, &"é".repeat(150));
        journal.lost(0, 0, None, &format!("x{}", "é".repeat(150)));
        let lengths: Vec<_> = journal.entries().iter().map(|entry| entry.reason.len()).collect();
        assert_eq!(lengths, [200, 199]);
    }
}
