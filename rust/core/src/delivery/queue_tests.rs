//! The mark up to which nothing waits, and the bounds of awaited replies and of lines for the log.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Fill, LINES, Level, Notice, Overflow, QueueConfig, ShardQueue, Tally};
use crate::{
    delivery::{CommonRoom, Dispatch, Heard},
    protocol::event::EventType,
};

fn queue(overflow: Overflow) -> Arc<ShardQueue> {
    Arc::new(ShardQueue::new(1, QueueConfig { bytes: 4_000, events: 4, overflow }))
}

fn event(sequence: Option<u64>, seconds: u64) -> Dispatch {
    Dispatch {
        event: EventType::MESSAGE_CREATE,
        name: None,
        shard_id: 0,
        sequence,
        received_at: Duration::from_secs(seconds),
        data: Bytes::from_static(b"{}"),
        guild_change: None,
        part: None,
        heard: Heard { low: 1, ..Heard::default() },
    }
}

fn push(queue: &ShardQueue, events: &[Dispatch], accepted: u64) -> Fill {
    queue.push(&mut events.to_vec(), &mut Tally::default(), Some(accepted), None)
}

/// Events that nobody hears.
fn unheard(queue: &ShardQueue, accepted: u64) {
    let mut tally = Tally { any: true, ..Tally::default() };
    tally.unheard[0] = 1;
    queue.push(&mut Vec::new(), &mut tally, Some(accepted), None);
}

fn take(queue: &ShardQueue, limit: usize) -> (Vec<Dispatch>, Vec<(u64, Notice)>) {
    let mut notices = Vec::new();
    (queue.take(limit, &mut notices), notices)
}

#[test]
fn the_mark_stands_before_the_oldest_that_waits_and_else_at_the_last_accepted() {
    let queue = queue(Overflow::Pause);
    push(&queue, &[event(Some(3), 1), event(Some(5), 1)], 7);
    assert_eq!(queue.mark().0, 2);
    take(&queue, 1);
    assert_eq!(queue.mark().0, 4, "4 is nobody's");
    take(&queue, 1);
    assert_eq!(queue.mark().0, 7, "6 and 7 were not heard");
    unheard(&queue, 9);
    assert_eq!(queue.mark().0, 9);
}

#[test]
fn an_event_without_a_number_holds_no_mark_up() {
    let queue = queue(Overflow::Pause);
    push(&queue, &[event(None, 1), event(Some(6), 1)], 6);
    assert_eq!(queue.mark().0, 5);
    take(&queue, 2);
    push(&queue, &[event(None, 1)], 6);
    assert_eq!(queue.mark().0, 6);
}

#[test]
fn what_waits_of_an_earlier_session_holds_no_mark_up() {
    let queue = queue(Overflow::Pause);
    push(&queue, &[event(Some(2), 1), event(Some(3), 1)], 3);
    queue.begin_session(0, Duration::from_secs(5), 7);
    assert_eq!(queue.mark(), (0, Duration::from_secs(5)), "READY is yet to be queued");
    push(&queue, &[event(Some(1), 5)], 9);
    assert_eq!(queue.mark().0, 0);
    take(&queue, 2);
    assert_eq!(queue.mark().0, 0);
    take(&queue, 1);
    assert_eq!(queue.mark().0, 9);
}

#[test]
fn what_was_dropped_counts_as_finished() {
    let queue = queue(Overflow::DropOldest);
    let events: Vec<_> = (1..=9).map(|number| event(Some(number), 1)).collect();
    push(&queue, &events, 9);
    assert_eq!(queue.mark().0, 5, "6 to 9 wait");
}

#[test]
fn replies_overtake_events_and_pass_while_the_shard_is_held() {
    let queue = queue(Overflow::Pause);
    push(&queue, &[event(Some(1), 1)], 1);
    queue.hold(true);
    queue.reply(&mut vec![event(Some(2), 1)]);
    let (events, notices) = take(&queue, 9);
    assert!(events.is_empty());
    assert_eq!(notices, [(1, Notice::Reply(event(Some(2), 1)))]);
}

#[test]
fn f37_replies_that_nobody_takes_are_bounded_by_the_queues_bytes() {
    let queue = queue(Overflow::Pause);
    let cost = event(None, 1).cost();
    queue.notify(Notice::Ready { resumed: false });
    for _ in 0..10_000 {
        queue.reply(&mut vec![event(Some(1), 1)]);
    }
    queue.notify(Notice::Ready { resumed: true });
    let (_, notices) = take(&queue, 9);
    assert_eq!(notices.len(), 3 + 4_000 / cost, "other news always finds room");
    assert_eq!(notices.iter().filter(|(_, notice)| matches!(notice, Notice::Warn(_))).count(), 1);
    queue.reply(&mut vec![event(Some(1), 1)]);
    assert_eq!(take(&queue, 9).1.len(), 1, "what was taken has made room");
}

#[test]
fn lines_for_the_log_wait_in_bounded_number_and_news_in_any() {
    let config = QueueConfig { bytes: 1, events: 1, overflow: Overflow::Pause };
    let queue = ShardQueue::new(7, config);
    let line = || Notice::Log(Level::Debug, String::new());
    for number in 0..LINES as u64 + 5 {
        queue.notify(line());
        queue.notify(Notice::CommandDone(number, Ok(())));
    }
    let mut notices = Vec::new();
    queue.take(1, &mut notices);
    let count = |wanted: fn(&Notice) -> bool| notices.iter().filter(|(_, notice)| wanted(notice)).count();
    assert_eq!(count(|notice| matches!(notice, Notice::Log(..))), LINES);
    assert_eq!(count(|notice| matches!(notice, Notice::CommandDone(..))), LINES + 5);
    let Some((7, Notice::Warn(text))) = notices.last() else { panic!("what was lost is not told") };
    assert!(text.starts_with("5 further lines"), "{text}");
    // There is room again.
    queue.notify(line());
    notices.clear();
    queue.take(1, &mut notices);
    assert_eq!(notices, [(7, line())]);
}

fn of_fleet(room: &Arc<CommonRoom>, overflow: Overflow) -> ShardQueue {
    ShardQueue::new(1, QueueConfig { bytes: usize::MAX, events: 1_000, overflow }).within(Arc::clone(room))
}

#[test]
fn a_flooded_shard_leaves_each_of_the_others_its_share_of_the_common_room() {
    let one = event(None, 1);
    let room = Arc::new(CommonRoom::new(one.cost() * 16, 4));
    let (flooded, other) = (of_fleet(&room, Overflow::Pause), of_fleet(&room, Overflow::Pause));
    assert_eq!(flooded.room_left().0, one.cost() * 16);
    assert_eq!(push(&flooded, &vec![one.clone(); 16], 16), Fill::Full);
    // Half of the room, divided by four shards.
    assert_eq!((flooded.room_left().0, other.room_left().0), (0, one.cost() * 2));
    assert_eq!(push(&other, std::slice::from_ref(&one), 1), Fill::Low);
    assert_eq!(push(&other, std::slice::from_ref(&one), 2), Fill::Full);
    assert_eq!(room.used(), one.cost() * 18);
    // Who has filled it is woken by what is taken from its own queue.
    assert_eq!(flooded.take(8, &mut Vec::new()).len(), 8);
    assert_eq!(room.used(), one.cost() * 10);
    assert_eq!(flooded.room_left().0, one.cost() * 6);
    drop((flooded, other));
    assert_eq!(room.used(), 0, "what nobody has any more takes room");
}

#[test]
fn in_a_full_room_the_oldest_of_the_same_shard_make_room() {
    let one = event(None, 1);
    let room = Arc::new(CommonRoom::new(one.cost() * 8, 2));
    let (flooded, other) = (of_fleet(&room, Overflow::DropOldest), of_fleet(&room, Overflow::DropOldest));
    push(&other, std::slice::from_ref(&one), 1);
    push(&flooded, &vec![one.clone(); 20], 20);
    let (ledger, bytes, _) = flooded.snapshot();
    assert_eq!((bytes, ledger.overflowed.iter().sum::<u64>()), (one.cost() * 7, 13));
    assert_eq!(room.used(), one.cost() * 8);
    push(&other, &vec![one.clone(); 3], 4);
    assert_eq!(other.snapshot().1, one.cost() * 2, "the share of its own is all that is left");
}

#[test]
fn an_empty_queue_takes_an_event_however_full_the_room_is() {
    let one = event(None, 1);
    let room = Arc::new(CommonRoom::new(1, 1));
    let queue = of_fleet(&room, Overflow::Pause);
    assert_eq!(queue.room_left().0, 1);
    assert_eq!(push(&queue, std::slice::from_ref(&one), 1), Fill::Full);
    assert_eq!(queue.room_left().0, 0);
}

#[test]
fn what_an_outlet_has_taken_holds_the_mark_and_the_room_until_it_is_done_with() {
    let queue = queue(Overflow::Pause);
    queue.divert(Some(Arc::default()));
    push(&queue, &[event(Some(3), 1), event(Some(4), 1), event(Some(5), 1)], 7);
    assert!(take(&queue, 9).0.is_empty(), "the event loop got what is the outlet's");
    let lot = queue.lend(2);
    assert_eq!(lot.iter().map(|loan| loan.dispatch.sequence).collect::<Vec<_>>(), [Some(3), Some(4)]);
    assert_eq!(queue.mark().0, 2);
    assert_eq!(queue.room_left().1, 1);
    assert_eq!(push(&queue, &[event(Some(8), 1)], 8), Fill::Full);
    queue.done([lot[1].number]);
    assert_eq!(queue.mark().0, 2, "3 is not there yet");
    queue.done([lot[0].number, lot[1].number]);
    assert_eq!(queue.mark().0, 4);
    let rest = queue.lend(9);
    assert!(!queue.is_settled());
    queue.done(rest.iter().map(|loan| loan.number));
    assert_eq!(queue.mark().0, 8);
    assert!(queue.is_settled());
}

#[test]
fn what_is_lent_says_of_which_session_it_is() {
    let queue = queue(Overflow::Pause);
    queue.divert(Some(Arc::default()));
    queue.begin_session(0, Duration::from_secs(1), 11);
    push(&queue, &[event(Some(1), 1)], 1);
    queue.begin_session(0, Duration::from_secs(2), 22);
    push(&queue, &[event(Some(1), 2)], 1);
    let lot = queue.lend(9);
    assert_eq!(lot.iter().map(|loan| loan.tag).collect::<Vec<_>>(), [11, 22]);
    assert_eq!(queue.mark().0, 0, "what the earlier session lent is none of this one's");
    queue.done([lot[1].number]);
    assert_eq!(queue.mark().0, 1);
}
