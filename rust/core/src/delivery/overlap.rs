//! Two fleets of one bot at once, while it is resharded: what both bring is delivered once. Owns the account of what
//! came where; when the hand-over turns is the caller's to say.
//!
//! Discord sends an event to each session that has its guild, byte for byte the same. So events are told by a hash of
//! type and `d`, and counted, because the same bytes may rightly come twice.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use ring::digest::{Context, SHA256};

use crate::protocol::event::EventType;

/// Which fleet a shard belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that ends.
    Old,
    /// The one that takes its place.
    New,
}

/// How long an event is remembered that only one side has brought, before the old fleet has closed: as long as a
/// connection may be gone before it is noticed, by a heartbeat that is not acknowledged, and resumed.
const HORIZON: Duration = Duration::from_mins(2);
/// The same bytes that come again and again are counted, and a count cannot tell what is on its way on one side from
/// what it never brings. After so long without any of them nothing is on its way.
const LULL: Duration = Duration::from_millis(250);
/// Between two looks for what is older.
const SWEEP: Duration = Duration::from_secs(5);

/// What is known of one event.
#[derive(Debug, Default, Clone, Copy)]
struct Account {
    /// Delivered by the old fleet and not brought by the new one yet; below zero the other way round.
    ahead: i32,
    /// Delivered by the old fleet before all of the new one was there, which may never bring it.
    before: u32,
    /// Of these, what the new one has seemed to bring: if the old one brings it again, that was another event.
    borrowed: u32,
    /// Brought by the new fleet before the switch, and left to the old one to deliver.
    left: u32,
    /// When either side brought it last.
    at: Duration,
}

#[derive(Debug, Default)]
struct Accounts {
    by_hash: HashMap<u128, Account>,
    /// Whether all of the new fleet is there.
    is_ready: bool,
    /// Whether it has replayed what it had to.
    is_settled: bool,
    swept: Duration,
    horizon: Option<Duration>,
}

/// The account of two fleets that overlap.
#[derive(Debug, Default)]
pub struct Overlap {
    accounts: Mutex<Accounts>,
    switched: AtomicBool,
    dropped: AtomicU64,
}

impl Overlap {
    /// Only what the old fleet brings is delivered, and both are counted.
    pub fn new() -> Self {
        Self::default()
    }

    /// All shards of the new fleet are ready. What the old one delivered before that the new one has either brought, or
    /// was not there for; it brings it still only where it has to replay.
    pub fn ready(&self) {
        self.accounts.lock().is_ready = true;
    }

    /// From now on both deliver, each what the other has not.
    pub fn switch(&self) {
        self.switched.store(true, Relaxed);
    }

    /// Whether the new fleet is heard.
    pub fn has_switched(&self) -> bool {
        self.switched.load(Relaxed)
    }

    /// Each connection has shown that it lives: what the new fleet had to replay it has replayed.
    pub fn settle(&self) {
        self.accounts.lock().is_settled = true;
    }

    /// The old fleet has closed. What it brought longer than `window` ago the new one has brought by now, or never
    /// will; an event of the same bytes is another one.
    pub fn finish(&self, now: Duration, window: Duration) {
        let mut accounts = self.accounts.lock();
        accounts.horizon = Some(window);
        accounts.by_hash.retain(|_, account| account.at + window > now && account.ahead != 0);
    }

    /// Events that were dropped after the switch because the other fleet had delivered them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Events that only one side has brought so far.
    pub fn open_accounts(&self) -> usize {
        self.accounts.lock().by_hash.len()
    }

    /// Whether an event that came on `side` is to be delivered.
    pub fn delivers(&self, side: Side, event: EventType, name: Option<&str>, data: &[u8], now: Duration) -> bool {
        let switched = self.has_switched();
        if matches!(event, EventType::READY | EventType::RESUMED) {
            // Of one session, so the other side never brings it. The new fleet's first ones are behind the scenes.
            return side == Side::Old || switched;
        }
        let hash = content_hash(name.unwrap_or_else(|| event.name()), data);
        let mut accounts = self.accounts.lock();
        accounts.sweep(now);
        let (is_ready, is_settled) = (accounts.is_ready, accounts.is_settled);
        let account = accounts.by_hash.entry(hash).or_default();
        if is_settled && now >= account.at + LULL {
            (account.before, account.borrowed) = (0, 0);
        }
        account.at = now;
        let delivers = match side {
            Side::Old if account.left > 0 => {
                account.left -= 1;
                true
            }
            Side::Old if account.borrowed > 0 => {
                account.borrowed -= 1;
                account.before += 1;
                true
            }
            Side::Old if !is_ready => {
                account.before += 1;
                true
            }
            Side::Old => {
                account.ahead += 1;
                // Else the new fleet has delivered it.
                account.ahead > 0
            }
            Side::New if account.ahead > 0 => {
                account.ahead -= 1;
                false
            }
            Side::New if account.before > 0 => {
                account.before -= 1;
                account.borrowed += 1;
                false
            }
            Side::New if switched => {
                account.ahead -= 1;
                true
            }
            Side::New => {
                account.left += 1;
                false
            }
        };
        if account.ahead == 0 && account.left == 0 && account.before == 0 && account.borrowed == 0 {
            accounts.by_hash.remove(&hash);
        }
        if switched && !delivers {
            self.dropped.fetch_add(1, Relaxed);
        }
        delivers
    }
}

impl Accounts {
    fn sweep(&mut self, now: Duration) {
        if now < self.swept + SWEEP.min(self.horizon.unwrap_or(SWEEP)) {
            return;
        }
        self.swept = now;
        let horizon = self.horizon.unwrap_or(HORIZON);
        self.by_hash.retain(|_, account| account.at + horizon > now);
    }
}

/// 128 bits of name and data. SHA-256 rather than something quicker: users write what is hashed, and two events that
/// somebody made collide would be one. 0.6 µs for a kilobyte, and only while a fleet is resharded.
pub fn content_hash(name: &str, data: &[u8]) -> u128 {
    let mut context = Context::new(&SHA256);
    context.update(&(name.len() as u64).to_le_bytes());
    context.update(name.as_bytes());
    context.update(data);
    let digest = context.finish();
    u128::from_le_bytes(digest.as_ref()[..16].try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: Duration = Duration::from_secs(1_000);

    fn typing(overlap: &Overlap, side: Side, data: &str) -> bool {
        overlap.delivers(side, EventType::TYPING_START, None, data.as_bytes(), AT)
    }

    #[test]
    fn before_the_switch_the_old_fleet_delivers_all_and_the_new_one_nothing() {
        let overlap = Overlap::new();
        overlap.ready();
        assert!(typing(&overlap, Side::Old, "1"));
        assert!(!typing(&overlap, Side::New, "1"));
        assert!(!typing(&overlap, Side::New, "2"));
        assert!(typing(&overlap, Side::Old, "2"));
        assert_eq!(overlap.open_accounts(), 0);
    }

    #[test]
    fn what_the_new_fleet_had_before_the_switch_is_the_old_ones_to_deliver_after_it() {
        let overlap = Overlap::new();
        assert!(!typing(&overlap, Side::New, "1"));
        overlap.switch();
        assert!(typing(&overlap, Side::Old, "1"));
        assert_eq!(overlap.open_accounts(), 0);
    }

    #[test]
    fn after_the_switch_whoever_is_first_delivers_and_the_same_bytes_may_come_twice() {
        let overlap = Overlap::new();
        overlap.ready();
        overlap.switch();
        assert!(typing(&overlap, Side::New, "1"));
        assert!(typing(&overlap, Side::New, "1"));
        assert!(!typing(&overlap, Side::Old, "1"));
        assert!(!typing(&overlap, Side::Old, "1"));
        assert!(typing(&overlap, Side::Old, "1"));
        assert!(!typing(&overlap, Side::New, "1"));
        assert_eq!((overlap.open_accounts(), overlap.dropped()), (0, 3));
    }

    #[test]
    fn types_and_unknown_names_are_told_apart() {
        let overlap = Overlap::new();
        overlap.ready();
        overlap.switch();
        let unknown = |side, name| overlap.delivers(side, EventType::UNKNOWN, Some(name), b"{}", AT);
        assert!(unknown(Side::Old, "A_B"));
        assert!(unknown(Side::New, "A_C"));
        assert!(!unknown(Side::New, "A_B"));
        assert!(typing(&overlap, Side::New, "{}"));
    }

    #[test]
    fn when_the_old_fleet_has_closed_only_what_it_brought_just_now_is_remembered() {
        let overlap = Overlap::new();
        overlap.ready();
        overlap.switch();
        let window = Duration::from_secs(2);
        let at = |side, data: &str, now| overlap.delivers(side, EventType::TYPING_START, None, data.as_bytes(), now);
        assert!(at(Side::Old, "early", AT));
        assert!(at(Side::Old, "late", AT + window));
        overlap.finish(AT + window, window);
        assert!(at(Side::New, "early", AT + window), "another event with the same bytes was lost");
        assert!(!at(Side::New, "late", AT + window));
        assert!(at(Side::New, "late", AT + window * 3));
    }

    #[test]
    fn what_the_old_fleet_delivered_before_the_new_one_was_there_costs_no_later_event() {
        let overlap = Overlap::new();
        for _ in 0..3 {
            assert!(typing(&overlap, Side::Old, "again"));
        }
        overlap.ready();
        for _ in 0..5 {
            assert!(typing(&overlap, Side::Old, "again"));
            assert!(!typing(&overlap, Side::New, "again"));
        }
        overlap.switch();
        for _ in 0..5 {
            assert!(typing(&overlap, Side::Old, "again"));
            assert!(!typing(&overlap, Side::New, "again"));
            // The new one may be the first, too.
            assert!(!typing(&overlap, Side::New, "again"));
            assert!(typing(&overlap, Side::Old, "again"));
        }
        overlap.settle();
        let again = |side| overlap.delivers(side, EventType::TYPING_START, None, b"again", AT + LULL);
        assert!(again(Side::New));
        assert!(!again(Side::Old));
        overlap.finish(AT, Duration::from_secs(2));
        assert!(again(Side::New));
    }

    #[test]
    fn what_is_on_its_way_when_the_new_fleet_is_there_and_when_it_has_settled_is_counted_once() {
        for new_is_first in [false, true] {
            let overlap = Overlap::new();
            assert!(typing(&overlap, Side::Old, "again"));
            let both = |between: &dyn Fn(), now| {
                let of = |side| overlap.delivers(side, EventType::TYPING_START, None, b"again", now);
                let first = of(if new_is_first { Side::New } else { Side::Old });
                between();
                let second = of(if new_is_first { Side::Old } else { Side::New });
                assert_eq!(u8::from(first) + u8::from(second), 1);
            };
            both(&|| (), AT);
            both(&|| overlap.ready(), AT);
            both(&|| overlap.switch(), AT);
            both(&|| overlap.settle(), AT);
            both(&|| (), AT);
            both(&|| (), AT + LULL);
            overlap.finish(AT + LULL, Duration::from_secs(2));
            assert!(overlap.delivers(Side::New, EventType::TYPING_START, None, b"again", AT + LULL));
        }
    }

    #[test]
    fn what_a_new_shard_replays_from_before_it_was_known_to_be_cut_off_does_not_come_twice() {
        let overlap = Overlap::new();
        assert!(typing(&overlap, Side::Old, "1"));
        overlap.ready();
        overlap.switch();
        assert!(!typing(&overlap, Side::New, "1"));
        assert!(typing(&overlap, Side::New, "1"));
    }

    #[test]
    fn what_only_one_side_brings_is_not_remembered_for_ever() {
        let overlap = Overlap::new();
        for number in 0..1_000 {
            typing(&overlap, Side::Old, &number.to_string());
        }
        assert_eq!(overlap.open_accounts(), 1_000);
        overlap.delivers(Side::Old, EventType::TYPING_START, None, b"later", AT + HORIZON * 2);
        assert_eq!(overlap.open_accounts(), 1);
    }

    proptest! {
        /// Both sides bring the same events, each in its order, the one side up to any number behind the other; the
        /// switch is anywhere in between. Each event is delivered as often as it was sent.
        #[test]
        fn each_event_is_delivered_as_often_as_it_was_sent(
            events in prop::collection::vec(0_u8..6, 1..60),
            turns in prop::collection::vec(any::<bool>(), 130),
            switch_at in 0_usize..130,
        ) {
            let overlap = Overlap::new();
            overlap.ready();
            let mut delivered: HashMap<u8, usize> = HashMap::new();
            let (mut old, mut new) = (events.iter(), events.iter());
            for (turn, &is_old) in turns.iter().enumerate() {
                if turn == switch_at {
                    overlap.switch();
                }
                let (side, event) = if is_old { (Side::Old, old.next()) } else { (Side::New, new.next()) };
                if let Some(event) = event && typing(&overlap, side, &event.to_string()) {
                    *delivered.entry(*event).or_default() += 1;
                }
            }
            // Whatever the turns left over; the switch comes at last.
            for event in old {
                if typing(&overlap, Side::Old, &event.to_string()) {
                    *delivered.entry(*event).or_default() += 1;
                }
            }
            overlap.switch();
            for event in new {
                if typing(&overlap, Side::New, &event.to_string()) {
                    *delivered.entry(*event).or_default() += 1;
                }
            }
            let mut sent: HashMap<u8, usize> = HashMap::new();
            for event in events {
                *sent.entry(event).or_default() += 1;
            }
            prop_assert_eq!(delivered, sent);
            prop_assert_eq!(overlap.open_accounts(), 0);
        }
    }
}
