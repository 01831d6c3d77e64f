//! F19: the machine was suspended, as the clocks tell it, while a shard was connected.
#![cfg(target_os = "linux")] // Elsewhere no clock tells it.

mod common;

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use common::{PATIENCE, Running, shard, simulator};
use propylon_core::{clock, delivery::Notice, shard::System};
use propylon_simulator::Condition;

static ASLEEP: AtomicU64 = AtomicU64::new(1000);

fn asleep() -> Duration {
    Duration::from_secs(ASLEEP.load(Relaxed))
}

#[tokio::test(flavor = "multi_thread")]
async fn f19_a_suspend_is_noticed_within_seconds_and_the_session_resumed() {
    let simulator = simulator();
    let config = shard(Some(simulator.url()), System { asleep, ..System::default() });
    let mut running = Running::start(&config);
    running.news(|notice| matches!(notice, Notice::Ready { resumed: false }).then_some(())).await;
    let woken = Instant::now();
    ASLEEP.fetch_add(3600, Relaxed);
    let reason = running
        .news(|notice| match notice {
            Notice::Closed(closed) => Some(closed.reason.clone()),
            _ => None,
        })
        .await;
    assert_eq!(reason, "this machine was suspended for 3600 s");
    running.news(|notice| matches!(notice, Notice::Ready { resumed: true }).then_some(())).await;
    // It looks each two seconds. Heartbeats are 41 s apart: none of them has told it.
    assert!(woken.elapsed() < Duration::from_secs(15), "{:?}", woken.elapsed());
    assert!(simulator.wait_async(&Condition::Resumed { count: 1 }, PATIENCE).await);
    // What it had slept before it began is no sleep, and the same sleep is told once.
    assert_eq!(simulator.record()["connections"].as_array().unwrap().len(), 2);
}

#[test]
fn f19_the_clock_of_this_machine_stands_still_for_sleep_alone() {
    let before = clock::asleep();
    let end = Instant::now() + Duration::from_millis(50);
    while Instant::now() < end {
        let now = clock::asleep();
        assert!(now < before + Duration::from_secs(5), "awake, and the clocks say {:?}", now.saturating_sub(before));
    }
}
