//! What is published in which order, what moves the mark, and what a lost lease stops: over a sink that does as it is told.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{EventSink, Message, Published, Publisher};
use crate::{
    clock,
    cluster::wire::{self, Inflater},
    delivery::{Dispatch, Fill, Heard, Overflow, QueueConfig, ShardQueue, Tally},
    protocol::event::EventType,
};

#[derive(Default)]
struct Kept {
    messages: Vec<Message>,
    /// How often something was to be kept.
    asked: usize,
    /// So many times the next ones fail.
    fails: usize,
    /// Nothing is acknowledged.
    is_stuck: bool,
}

#[derive(Clone, Default)]
struct Sink(Arc<(Mutex<Kept>, Notify)>);

impl EventSink for Sink {
    async fn publish(&self, message: &Message) -> Result<u64, String> {
        self.0.0.lock().asked += 1;
        loop {
            {
                let mut kept = self.0.0.lock();
                if !kept.is_stuck {
                    if kept.fails > 0 {
                        kept.fails -= 1;
                        return Err("no answer".to_owned());
                    }
                    if !kept.messages.iter().any(|other| other.id == message.id) {
                        kept.messages.push(message.clone());
                    }
                    return Ok(kept.messages.len() as u64);
                }
            }
            self.0.1.notified().await;
        }
    }
}

impl Sink {
    fn contents(&self) -> Vec<String> {
        let mut inflater = Inflater::new();
        let kept = self.0.0.lock();
        let frames = kept.messages.iter().map(|message| inflater.inflate(&message.frame).unwrap());
        let events: Vec<_> = frames.flat_map(|body| wire::read(&body).unwrap()).collect();
        events.iter().map(|event| String::from_utf8_lossy(&event.data).into_owned()).collect()
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.0.0.lock());
        self.0.1.notify_waiters();
    }
}

const HOUR: Duration = Duration::from_hours(1);

fn queue() -> Arc<ShardQueue> {
    let queue = ShardQueue::new(1, QueueConfig { bytes: 100_000, events: 1_000, overflow: Overflow::Pause });
    queue.begin_session(0, Duration::ZERO, 7);
    Arc::new(queue)
}

fn push(queue: &ShardQueue, sequences: impl IntoIterator<Item = u64>) -> Fill {
    let mut last = 0;
    let events = sequences.into_iter().map(|sequence| {
        last = sequence;
        Dispatch {
            event: EventType::MESSAGE_CREATE,
            name: None,
            shard_id: 0,
            sequence: Some(sequence),
            received_at: clock::now(),
            data: Bytes::from(format!(r#"{{"guild_id":"1","content":"{sequence}"}}"#)),
            part: None,
            guild_change: None,
            heard: Heard::default(),
        }
    });
    let mut events: Vec<_> = events.collect();
    queue.push(&mut events, &mut Tally::default(), Some(last), None)
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("in time");
}

fn numbers(contents: &[String]) -> Vec<u64> {
    contents.iter().map(|text| text.split('"').nth(7).unwrap().parse().unwrap()).collect()
}

/// A publisher at work, without a shard.
fn begun() -> (Sink, Arc<ShardQueue>, Publisher<Sink>) {
    let sink = Sink::default();
    let publisher = Publisher::new(sink.clone(), 64);
    tokio::spawn(publisher.clone().run());
    (sink, queue(), publisher)
}

#[tokio::test]
async fn events_are_kept_in_order_and_only_then_the_mark_moves() {
    let (sink, queue, publisher) = begun();
    publisher.add(&queue, (0, 1), 5, Published::default());
    publisher.renew(1, clock::now() + HOUR);
    sink.change(|kept| kept.is_stuck = true);
    push(&queue, 1..=3);
    until(|| queue.lend(0).is_empty() && queue.room_left().1 == 997).await;
    push(&queue, 4..=9);
    assert_eq!(queue.mark().0, 0);
    sink.change(|kept| {
        kept.is_stuck = false;
        kept.fails = 2;
    });
    until(|| publisher.is_settled(1)).await;
    assert_eq!(numbers(&sink.contents()), (1..=9).collect::<Vec<_>>());
    assert_eq!(queue.mark().0, 9);
}

#[tokio::test]
async fn nothing_is_published_before_the_lease_holds_nor_after_it() {
    let (sink, queue, publisher) = begun();
    publisher.add(&queue, (0, 1), 5, Published::default());
    push(&queue, 1..=3);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(sink.contents().is_empty());
    publisher.renew(1, clock::now() + HOUR);
    until(|| publisher.is_settled(1)).await;
    publisher.fence(1);
    push(&queue, 4..=6);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(numbers(&sink.contents()), [1, 2, 3]);
    assert_eq!(queue.mark().0, 3, "what was not published is whoever's that has the lease now");
}

#[tokio::test]
async fn a_lease_that_has_run_out_is_not_renewed() {
    let (sink, queue, publisher) = begun();
    publisher.add(&queue, (0, 1), 5, Published::default());
    assert!(publisher.renew(1, clock::now() + HOUR), "the first time");
    sink.change(|kept| kept.is_stuck = true);
    push(&queue, 1..=3);
    until(|| sink.0.0.lock().asked == 1).await;
    assert!(publisher.renew(1, clock::now() + Duration::from_millis(1)));
    tokio::time::sleep(Duration::from_millis(5)).await;
    // What was lent is let go of: were it renewed now, the mark would stand here for good.
    assert!(!publisher.renew(1, clock::now() + HOUR));
    assert!(publisher.leases().iter().all(|(_, _, until)| *until < clock::now()));
    push(&queue, 4..=6);
    sink.change(|kept| kept.is_stuck = false);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(numbers(&sink.contents()).iter().all(|number| *number <= 3));
}

#[tokio::test]
async fn of_a_shard_that_was_removed_nothing_more_is_published() {
    let (sink, queue, publisher) = begun();
    publisher.add(&queue, (0, 1), 5, Published::default());
    publisher.renew(1, clock::now() + HOUR);
    sink.change(|kept| kept.is_stuck = true);
    push(&queue, 1..=3);
    until(|| sink.0.0.lock().asked == 1).await;
    // Taken from the queue as well, they wait for the message that is under way.
    push(&queue, 4..=9);
    tokio::time::sleep(Duration::from_millis(30)).await;
    publisher.remove(1);
    sink.change(|kept| kept.is_stuck = false);
    until(|| sink.contents().len() == 3).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(numbers(&sink.contents()), [1, 2, 3], "whoever has the lease now publishes the others");
}

#[tokio::test]
async fn what_the_last_owner_has_published_is_not_published_again() {
    let (sink, queue, publisher) = begun();
    let last = HashMap::from([(wire::of_id(1, 64), 4)]);
    publisher.add(&queue, (0, 1), 5, Published { tag: 7, last });
    publisher.renew(1, clock::now() + HOUR);
    push(&queue, 2..=6);
    until(|| publisher.is_settled(1)).await;
    assert_eq!(numbers(&sink.contents()), [5, 6]);
    assert_eq!(queue.mark().0, 6);
}

#[tokio::test]
async fn a_queue_that_is_full_of_what_is_not_kept_stops_its_reader() {
    let (sink, queue, publisher) = begun();
    publisher.add(&queue, (0, 1), 5, Published::default());
    publisher.renew(1, clock::now() + HOUR);
    sink.change(|kept| kept.is_stuck = true);
    assert_eq!(push(&queue, 1..=1_000), Fill::Full);
    let room = Arc::clone(&queue);
    let reader = tokio::spawn(async move { room.room().await });
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(!reader.is_finished());
    sink.change(|kept| kept.is_stuck = false);
    until(|| reader.is_finished()).await;
    until(|| publisher.is_settled(1)).await;
    assert_eq!(numbers(&sink.contents()), (1..=1_000).collect::<Vec<_>>());
}
