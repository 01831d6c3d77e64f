//! protocol.md §7: what the user sends, through both limits and across reconnects.

use super::super::{Action, SendError};
use super::support::{Fake, Stage, seconds};

fn ready() -> Fake {
    Fake::at(Stage::Ready, |_| {})
}

/// What was sent besides heartbeats, IDENTIFY and RESUME: the numbers in `d`.
fn written(fake: &Fake) -> Vec<u64> {
    let of_user = |op: &serde_json::Value| ![1, 2, 6].contains(&op.as_u64().unwrap());
    fake.sent().iter().filter(|(_, payload)| of_user(&payload["op"])).map(|(_, p)| p["d"].as_u64().unwrap()).collect()
}

#[test]
fn s7_a_command_is_written_at_once_when_ready() {
    let mut fake = ready();
    fake.send(1, 8);
    assert_eq!((written(&fake), fake.done()), (vec![1], vec![(1, true)]));
    assert_eq!(fake.machine.stats().commands_sent, 1);
}

#[test]
fn s7_commands_wait_for_ready_or_resumed_and_keep_their_order() {
    for stage in Stage::ALL.into_iter().filter(|&stage| stage != Stage::Ready) {
        let mut fake = Fake::at(stage, |_| {});
        fake.permits = true;
        for id in 0..20 {
            fake.send(id, 8);
        }
        assert!(fake.done().is_empty() && written(&fake).is_empty(), "{stage:?}");
        match stage {
            Stage::Waiting => {
                fake.pass(5.0);
                fake.connected_and_hello();
            }
            Stage::Connecting => fake.connected_and_hello(),
            Stage::AwaitHello => fake.hello(45_000),
            Stage::AwaitPermit => fake.machine.permitted(fake.now),
            _ => {}
        }
        assert!(written(&fake).is_empty(), "{stage:?}");
        if stage == Stage::Resuming {
            fake.dispatch(6);
            assert!(written(&fake).is_empty(), "the replay is not over");
            fake.resumed(7);
        } else {
            fake.ready(1);
        }
        assert_eq!(written(&fake), (0..20).collect::<Vec<_>>(), "{stage:?}");
        assert_eq!(fake.done(), (0..20).map(|id| (id, true)).collect::<Vec<_>>());
    }
}

#[test]
fn s7_f17_what_the_window_does_not_take_waits_through_reconnects() {
    let mut fake = ready();
    for id in 0..400 {
        fake.send(id, 8);
    }
    let first = written(&fake).len();
    assert!((100..=117).contains(&first));
    fake.pass(10.0);
    assert_eq!(written(&fake).len(), first);
    fake.closed(None);
    fake.connected_and_hello();
    assert_eq!(written(&fake).len(), first, "not before RESUMED");
    fake.resumed(2);
    // A new connection has a new window, with RESUME in it where the first had IDENTIFY.
    assert_eq!(written(&fake).len(), 2 * first);
    fake.pass(300.0);
    assert_eq!(written(&fake), (0..400).collect::<Vec<_>>());
    assert_eq!(fake.done().len(), 400);
}

#[test]
fn s7_identify_counts_in_the_window_of_its_connection() {
    let mut fake = ready();
    let window = |fake: &Fake, now| {
        let mut limiter = fake.machine.send_limiter().clone();
        (limiter.remaining(now), limiter.resets_in(now))
    };
    let (room, _) = window(&fake, fake.now);
    let unsent = Fake::at(Stage::AwaitHello, |_| {});
    assert_eq!(window(&unsent, unsent.now).0, room + 1);
    fake.send(1, 8);
    let (left, resets_in) = window(&fake, fake.now);
    assert_eq!(left, room - 1);
    assert!(resets_in >= seconds(60.0) && resets_in < seconds(61.0));
    // A copy goes on by itself: nothing has to happen for the room to be free again.
    assert_eq!(window(&fake, fake.now + seconds(61.0)), (room + 1, std::time::Duration::ZERO));
}

#[test]
fn s7_the_window_slides_and_has_no_seam() {
    let mut fake = ready();
    for id in 0..60 {
        fake.send(id, 8);
    }
    fake.pass(50.0);
    for id in 60..300 {
        fake.send(id, 8);
    }
    fake.forget();
    fake.pass(11.0);
    let freed = written(&fake).len();
    assert!(freed <= 61, "a fixed window would let all of it through: {freed}");
    assert!(freed >= 59);
}

#[test]
fn s7_presence_updates_are_coalesced_to_the_newest_at_5_in_20_seconds() {
    let mut fake = ready();
    for id in 0..100 {
        fake.presence(id);
    }
    assert_eq!(written(&fake), [0, 1, 2, 3, 4]);
    fake.pass(20.0);
    assert_eq!(written(&fake).len(), 5);
    fake.pass(1.0);
    assert_eq!(written(&fake), [0, 1, 2, 3, 4, 99]);
    let done = fake.done();
    assert_eq!(done.len(), 100);
    assert!(done.iter().all(|(_, written)| *written));
}

#[test]
fn s7_the_presence_limit_and_the_waiting_presence_outlive_a_connection() {
    let mut fake = ready();
    for id in 0..7 {
        fake.presence(id);
    }
    fake.closed(None);
    fake.connected_and_hello();
    fake.resumed(2);
    assert_eq!(written(&fake).len(), 5, "the limit is the session's");
    fake.pass(21.0);
    assert_eq!(written(&fake), [0, 1, 2, 3, 4, 6]);
}

#[test]
fn s7_raw_presence_passes_the_limit_but_is_never_coalesced() {
    let mut fake = ready();
    for id in 0..12 {
        fake.send(id, 3);
    }
    fake.send(12, 8);
    assert_eq!(written(&fake), [0, 1, 2, 3, 4]);
    fake.pass(20.6);
    assert_eq!(written(&fake).len(), 10);
    fake.pass(20.6);
    assert_eq!(written(&fake), (0..=12).collect::<Vec<_>>());
}

#[test]
fn s7_a_presence_that_waits_holds_no_other_command_up() {
    let mut fake = ready();
    for id in 0..6 {
        fake.presence(id);
    }
    fake.send(6, 8);
    assert_eq!(written(&fake), [0, 1, 2, 3, 4, 6]);
}

#[test]
fn s7_a_full_queue_refuses_at_once() {
    let mut fake = Fake::at(Stage::Identifying, |_| {});
    for id in 0..4097 {
        fake.send(id, 8);
    }
    assert_eq!(fake.actions(), [Action::CommandDone(4096, Err(SendError::QueueFull))]);
    for id in 5000..9097 {
        fake.presence(id);
    }
    assert_eq!(fake.actions()[1..], [Action::CommandDone(9096, Err(SendError::QueueFull))]);
}

#[test]
fn s7_a_cancelled_command_is_never_written_nor_reported() {
    let mut fake = Fake::at(Stage::Identifying, |_| {});
    fake.send(1, 8);
    fake.send(2, 8);
    fake.presence(3);
    assert!(fake.machine.cancel(1) && fake.machine.cancel(3));
    assert!(!fake.machine.cancel(1) && !fake.machine.cancel(9));
    fake.ready(1);
    assert_eq!((written(&fake), fake.done()), (vec![2], vec![(2, true)]));
    assert!(!fake.machine.cancel(2), "written already");
}

#[test]
fn s7_a_cancelled_presence_still_serves_the_others() {
    let mut fake = Fake::at(Stage::Identifying, |_| {});
    fake.presence(1);
    fake.presence(2);
    assert!(fake.machine.cancel(1));
    fake.ready(1);
    assert_eq!((written(&fake), fake.done()), (vec![2], vec![(2, true)]));
}

#[test]
fn s7_waiting_commands_fail_on_close_and_at_every_end() {
    type Way = fn(&mut Fake);
    let ways: [Way; 3] = [
        |fake| fake.close(1000),
        |fake| fake.closed(Some(4004)),
        |fake| {
            fake.closed(None);
            fake.stop_reconnecting();
        },
    ];
    for way in ways {
        let mut fake = Fake::at(Stage::Identifying, |_| {});
        fake.send(1, 8);
        fake.presence(2);
        way(&mut fake);
        let mut done = fake.done();
        done.sort_unstable();
        assert_eq!(done, [(1, false), (2, false)]);
    }
}

#[test]
fn s7_before_open_and_after_the_end_a_command_fails_at_once() {
    let mut fake = Fake::new(|_| {});
    fake.send(1, 8);
    fake.presence(2);
    assert_eq!(fake.done(), [(1, false), (2, false)]);
    let mut fake = ready();
    fake.close(1000);
    fake.send(1, 8);
    fake.closed(Some(1000));
    fake.send(2, 8);
    assert_eq!(fake.done(), [(1, false), (2, false)]);
}

#[test]
fn s7_f28_what_found_no_room_is_the_first_to_leave_on_the_next_connection() {
    let mut fake = Fake::at(Stage::Ready, |_| {});
    fake.send(1, 8);
    fake.send(2, 4);
    fake.forget();
    fake.machine.transport_failed(fake.now, "the server stopped reading");
    fake.machine.send_again(vec![(1, r#"{"op":8,"d":1}"#.to_owned()), (2, r#"{"op":4,"d":2}"#.to_owned())]);
    fake.act();
    fake.send(3, 31);
    assert!(fake.done().is_empty());
    fake.connected_and_hello();
    fake.resumed(2);
    assert_eq!(fake.opcodes(), [6, 8, 4, 31]);
    assert_eq!(fake.done(), [(1, true), (2, true), (3, true)]);
    assert_eq!(fake.machine.stats().commands_sent, 3);
    fake.close(1000);
    fake.machine.send_again(vec![(4, r#"{"op":8,"d":4}"#.to_owned())]);
    fake.act();
    assert_eq!(fake.done().last(), Some(&(4, false)));
}
