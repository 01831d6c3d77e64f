//! protocol.md §4: the beats of one connection, the zombie rule and what pauses do to both.

use std::time::Duration;

use super::super::{Action, Phase, Verdict};
use super::support::{Fake, INTERVAL, RESUME, Stage, seconds};
use crate::session::SendLimiter;

fn ready() -> Fake {
    Fake::at(Stage::Ready, |_| {})
}

/// The number of sends in the fullest 60 s.
fn fullest_minute(fake: &Fake) -> usize {
    let times: Vec<_> = fake.sent().iter().map(|(at, _)| *at).collect();
    let in_minute = |start: &Duration| times.iter().filter(|&at| at >= start && *at - *start < seconds(60.0)).count();
    times.iter().map(in_minute).max().unwrap_or(0)
}

#[test]
fn s4_1_the_first_beat_comes_after_a_random_part_of_the_interval() {
    let mut parts = Vec::new();
    for seed in 0..200 {
        let mut fake = Fake::seeded(seed, |_| {});
        fake.open();
        fake.connected_and_hello();
        let hello = fake.now;
        fake.pass(45.0);
        parts.push((fake.beats()[0] - hello).as_secs_f64() / 45.0);
    }
    assert!(parts.iter().all(|part| (0.0..1.0).contains(part)));
    assert!(parts.iter().filter(|&&part| part < 0.5).count() > 60, "not spread");
    assert!(parts.iter().filter(|&&part| part > 0.5).count() > 60, "not spread");
}

#[test]
fn s4_1_the_cadence_is_fixed_however_late_a_beat_or_its_ack() {
    let mut fake = ready();
    fake.acks = false;
    let first = fake.machine.deadline(fake.now).unwrap();
    for turn in 1_u32..10 {
        // The driver comes late, the ACK later still.
        fake.now = first + seconds(45.0) * (turn - 1) + seconds(7.0);
        fake.timeout();
        fake.now += seconds(20.0);
        fake.ack();
        assert_eq!(fake.machine.deadline(fake.now), Some(first + seconds(45.0) * turn));
    }
    assert_eq!(fake.beats().len(), 9);
}

#[test]
fn s4_1_a_beat_carries_the_last_sequence_or_null() {
    let mut fake = Fake::at(Stage::AwaitPermit, |_| {});
    fake.pass(45.0);
    assert!(fake.sent()[0].1["d"].is_null());
    fake.machine.permitted(fake.now);
    fake.ready(1);
    fake.dispatch(9);
    fake.forget();
    fake.pass(45.0);
    assert_eq!(fake.sent()[0].1["d"], 9);
}

#[test]
fn s4_2_op_1_is_answered_at_once_and_the_cadence_stays() {
    let mut fake = ready();
    fake.step(Duration::MAX);
    let next = fake.machine.deadline(fake.now);
    // Also right after a scheduled beat.
    fake.now += seconds(0.01);
    fake.frame(r#"{"op":1,"d":null}"#);
    assert_eq!(fake.beats(), [fake.now - seconds(0.01), fake.now]);
    assert_eq!(fake.machine.deadline(fake.now), next);
}

#[test]
fn s4_2_one_ack_satisfies_a_beat_and_an_answer() {
    let mut fake = ready();
    fake.acks = false;
    fake.step(Duration::MAX);
    fake.frame(r#"{"op":1,"d":null}"#);
    fake.ack();
    fake.step(Duration::MAX);
    assert_eq!(fake.beats().len(), 3);
    assert!(matches!(fake.machine.phase, Phase::Ready { .. }));
}

#[test]
fn s4_3_f14_a_beat_without_ack_at_the_next_due_beat_is_a_zombie() {
    let mut fake = ready();
    fake.acks = false;
    fake.step(Duration::MAX);
    let beat = fake.now;
    let (wait, url) = fake.next_connect();
    assert_eq!((fake.now - beat, wait), (seconds(45.0), seconds(45.0)));
    assert_eq!(url.as_deref(), Some(RESUME));
    fake.connected_and_hello();
    assert_eq!(fake.opcodes(), [6]);
}

#[test]
fn s4_3_a_zombie_is_dropped_without_a_closing_handshake() {
    let mut fake = ready();
    fake.acks = false;
    fake.pass(100.0);
    assert_eq!(fake.count(|action| *action == Action::Drop), 1);
    assert_eq!(fake.count(|action| matches!(action, Action::Close { .. })), 0);
}

#[test]
fn s4_4_inbound_traffic_is_not_an_ack() {
    let mut fake = ready();
    fake.acks = false;
    for sequence in 2..102 {
        fake.dispatch(sequence);
        fake.frame(r#"{"op":200,"d":null}"#);
        fake.pass(1.0);
    }
    assert_eq!(fake.count(|action| *action == Action::Drop), 1);
}

#[test]
fn s4_4_an_ack_behind_unread_data_has_two_beats_more() {
    let mut fake = ready();
    fake.acks = false;
    for turn in 0..4 {
        assert_eq!(fake.count(|action| *action == Action::Drop), 0, "turn {turn}");
        fake.now = fake.machine.deadline(fake.now).unwrap();
        fake.machine.timeout(fake.now, true);
        fake.act();
    }
    assert_eq!(fake.count(|action| *action == Action::Drop), 1);
    assert_eq!(fake.beats().len(), 3);
}

#[test]
fn s4_5_f12_acknowledged_beats_extend_the_ready_deadline_and_nothing_else_does() {
    let mut fake = Fake::at(Stage::Identifying, |_| {});
    fake.pass(3600.0);
    assert!(matches!(fake.machine.phase, Phase::Identifying { .. }));
    assert_eq!(fake.count(|action| matches!(action, Action::Connect { .. })), 0);
    assert!(fake.count(|action| matches!(action, Action::Warn(text) if text.contains("no READY"))) > 10);

    // ACKs that nobody asked for and events do not.
    let late = |seed: &u64| identifying(*seed, 600_000).machine.heartbeat.unwrap().next_beat() > seconds(1060.0);
    let mut fake = identifying((0..1000).find(late).unwrap(), 600_000);
    for _ in 0..59 {
        fake.pass(1.0);
        fake.ack();
        fake.dispatch(1);
    }
    assert!(matches!(fake.machine.phase, Phase::Identifying { .. }));
    fake.pass(1.0);
    assert!(matches!(fake.machine.phase, Phase::Waiting { .. }));
}

fn identifying(seed: u64, interval: u64) -> Fake {
    let mut fake = Fake::seeded(seed, |config| config.timeouts.ready = seconds(60.0));
    fake.open();
    fake.connected();
    fake.hello(interval);
    fake
}

#[test]
fn s4_5_the_ready_deadline_outlives_an_interval_longer_than_itself() {
    let early = |seed: &u64| {
        let mut fake = Fake::seeded(*seed, |config| config.timeouts.ready = seconds(30.0));
        fake.open();
        fake.connected_and_hello();
        fake.machine.deadline(fake.now).unwrap() - fake.now < seconds(29.0)
    };
    let mut fake = Fake::seeded((0..1000).find(early).unwrap(), |config| config.timeouts.ready = seconds(30.0));
    fake.open();
    fake.connected_and_hello();
    fake.pass(600.0);
    assert!(matches!(fake.machine.phase, Phase::Identifying { .. }));
}

#[test]
fn s4_6_f05_a_malformed_hello_reconnects_with_backoff() {
    let malformed = ["0", "-1", "19", "600001", "1e18", "4.5", "45000.5", "\"45000\"", "null", "[]", "1e999"];
    for interval in malformed {
        let mut fake = Fake::at(Stage::AwaitHello, |_| {});
        let verdict = fake.frame(&format!(r#"{{"op":10,"d":{{"heartbeat_interval":{interval}}}}}"#));
        assert_eq!(verdict, Verdict::Disconnected, "{interval}");
        assert_eq!(fake.count(|action| matches!(action, Action::Close { code: 4000, .. })), 1);
        assert!(fake.next_connect().0 >= seconds(0.1), "{interval}");
    }
    for hello in [r#"{"op":10,"d":{}}"#, r#"{"op":10}"#, r#"{"op":10,"d":45000}"#] {
        assert_eq!(Fake::at(Stage::AwaitHello, |_| {}).frame(hello), Verdict::Disconnected, "{hello}");
    }
    for interval in [20, 600_000] {
        let mut fake = Fake::at(Stage::AwaitHello, |_| {});
        fake.hello(interval);
        assert_eq!(fake.opcodes(), [2], "{interval}");
    }
}

#[test]
fn s4_6_an_interval_that_is_a_whole_float_is_taken() {
    for interval in ["41250.0", "4.125e4", "41250"] {
        let mut fake = Fake::at(Stage::AwaitHello, |_| {});
        fake.frame(&format!(r#"{{"op":10.0,"s":null,"d":{{"heartbeat_interval":{interval}}}}}"#));
        assert_eq!(fake.machine.heartbeat_interval(), Some(seconds(41.25)), "{interval}");
        assert_eq!(fake.opcodes(), [2], "{interval}");
    }
}

#[test]
fn s4_6_f17_i3_beats_keep_their_cadence_behind_a_thousand_commands() {
    for interval in [1000, 1016, 5000, INTERVAL] {
        let mut fake = Fake::at(Stage::AwaitHello, |_| {});
        fake.hello(interval);
        fake.ready(1);
        fake.forget();
        let start = fake.now;
        for id in 0..1000 {
            fake.send(id, 8);
        }
        fake.pass(600.0);
        let beats = fake.beats();
        assert!(beats[0] - start < Duration::from_millis(interval));
        assert!(beats.windows(2).all(|pair| pair[1] - pair[0] == Duration::from_millis(interval)));
        assert!(fullest_minute(&fake) <= 120, "I1 at {interval} ms: {}", fullest_minute(&fake));
        assert!(fullest_minute(&fake) >= 110, "room is wasted at {interval} ms: {}", fullest_minute(&fake));
    }
}

#[test]
fn i1_beats_that_all_leave_late_stay_within_120_in_60_seconds() {
    let mut fake = Fake::at(Stage::AwaitHello, |_| {});
    fake.hello(1000);
    fake.ready(1);
    for id in 0..1000 {
        fake.send(id, 8);
    }
    let first = fake.beats().first().copied().unwrap_or_else(|| fake.machine.deadline(fake.now).unwrap());
    for turn in 0..240_u32 {
        // The first of each series leaves late, the others on time: 61 of them lie in 60 s.
        let late = turn % 61 == 0;
        fake.now = first + seconds(1.0) * turn + if late { seconds(0.999) } else { Duration::ZERO };
        fake.timeout();
        fake.frame(r#"{"op":1,"d":null}"#);
        if !late {
            fake.now += seconds(0.9);
            fake.timeout();
        }
    }
    assert!(fullest_minute(&fake) <= 120, "{}", fullest_minute(&fake));
}

#[test]
fn i1_the_room_left_and_every_beat_of_a_minute_make_120() {
    for interval in [1000, 1016, 1017, 5000, 41_250, 45_000, 600_000] {
        let mut limiter = SendLimiter::new(Duration::from_millis(interval));
        let mut others = 0;
        while limiter.answer_free_at(seconds(1.0)) == seconds(1.0) {
            limiter.sent(seconds(1.0));
            others += 1;
        }
        assert_eq!(others + 60_000_u64.div_ceil(interval) + 1, 120, "{interval} ms");
    }
}

#[test]
fn s4_6_an_answer_to_op_1_finds_room_where_commands_filled_theirs() {
    let mut fake = ready();
    for id in 0..200 {
        fake.send(id, 8);
    }
    fake.forget();
    fake.frame(r#"{"op":1,"d":null}"#);
    assert_eq!(fake.beats(), [fake.now]);
}

#[test]
fn f16_a_thousand_requests_are_answered_within_the_limit() {
    let mut fake = ready();
    let cadence = fake.machine.deadline(fake.now).unwrap();
    for _ in 0..1000 {
        fake.frame(r#"{"op":1,"d":null}"#);
    }
    assert_eq!(fake.beats().len(), 1, "a burst is answered once");
    for _ in 0..6000 {
        fake.frame(r#"{"op":1,"d":null}"#);
        fake.pass(0.05);
    }
    assert!(fullest_minute(&fake) <= 120 && fake.beats().len() > 300);
    for turn in 0..6 {
        assert!(fake.beats().contains(&(cadence + seconds(45.0) * turn)), "scheduled beat {turn}");
    }
}

#[test]
fn s4_7_f19_after_a_stop_it_beats_at_once_and_judges_an_interval_later() {
    let mut fake = ready();
    fake.acks = false;
    fake.step(Duration::MAX);
    fake.forget();
    fake.now += seconds(90.0);
    fake.timeout();
    assert_eq!(fake.beats(), [fake.now]);
    assert!(matches!(fake.machine.phase, Phase::Ready { .. }));
    let woke = fake.now;
    fake.pass(44.9);
    assert_eq!(fake.count(|action| *action == Action::Drop), 0);
    assert_eq!(fake.next_connect().0, seconds(0.1));
    assert_eq!(fake.now, woke + seconds(45.0));
}

#[test]
fn f15_latency_is_send_to_ack_and_extra_acks_change_nothing() {
    let mut fake = ready();
    fake.acks = false;
    fake.ack();
    assert_eq!(fake.machine.latency(), None);
    fake.step(Duration::MAX);
    fake.now += seconds(1.5);
    for _ in 0..10 {
        fake.ack();
        fake.now += seconds(0.1);
    }
    assert_eq!(fake.machine.latency(), Some(seconds(1.5)));
    // An answer that leaves while the beat is outstanding does not shorten the measure.
    fake.step(Duration::MAX);
    fake.now += seconds(1.0);
    fake.frame(r#"{"op":1,"d":null}"#);
    fake.now += seconds(1.0);
    fake.ack();
    assert_eq!(fake.machine.latency(), Some(seconds(2.0)));
    fake.pass(30.0);
    assert!(matches!(fake.machine.phase, Phase::Ready { .. }));
}

#[test]
fn f15_the_latency_of_one_connection_is_not_that_of_the_next() {
    let mut fake = ready();
    fake.pass(100.0);
    assert!(fake.machine.latency().is_some());
    fake.closed(None);
    assert_eq!(fake.machine.latency(), None);
}

#[test]
fn s4_4_while_reading_is_paused_beats_leave_and_nobody_is_judged() {
    let mut fake = ready();
    fake.acks = false;
    fake.machine.pause_reading();
    fake.pass(450.0);
    assert_eq!(fake.beats().len(), 10);
    fake.machine.resume_reading(fake.now);
    fake.forget();
    fake.pass(44.9);
    assert_eq!(fake.count(|action| *action == Action::Drop), 0);
    fake.pass(45.1);
    assert_eq!(fake.count(|action| *action == Action::Drop), 1);
}

#[test]
fn s4_4_what_is_not_read_cannot_be_late() {
    for stage in [Stage::AwaitHello, Stage::Identifying, Stage::Resuming] {
        let mut fake = Fake::at(stage, |_| {});
        fake.acks = false;
        fake.machine.pause_reading();
        fake.pass(600.0); // Would spin or give up at a deadline.
        fake.machine.resume_reading(fake.now);
        assert_eq!(fake.count(|action| matches!(action, Action::Connect { .. })), 0, "{stage:?}");
        assert!(fake.machine.deadline(fake.now).unwrap() > fake.now, "{stage:?}: no time to read");
        fake.pass(19.0);
        assert_eq!(fake.count(|action| matches!(action, Action::Connect { .. })), 0, "{stage:?}");
        fake.next_connect();
    }
}

#[test]
fn s4_4_a_pause_does_not_leak_into_the_next_connection() {
    let mut fake = ready();
    fake.machine.pause_reading();
    fake.closed(None);
    fake.connected();
    assert!(fake.machine.deadline(fake.now).is_some(), "HELLO is awaited");
    fake.hello(INTERVAL);
    fake.resumed(2);
    fake.acks = false;
    fake.forget();
    fake.pass(91.0);
    assert_eq!(fake.count(|action| *action == Action::Drop), 1, "zombies are judged again");
}

#[test]
fn s4_4_a_pause_that_began_before_hello_holds_for_the_heartbeat() {
    let mut fake = Fake::at(Stage::AwaitHello, |_| {});
    fake.acks = false;
    fake.machine.pause_reading();
    fake.hello(INTERVAL);
    fake.pass(200.0);
    assert_eq!(fake.count(|action| *action == Action::Drop), 0);
}
