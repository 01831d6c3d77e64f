//! protocol.md §8 and §9: op 7, op 9, and everything between a lost connection and RESUMED.

use super::super::{Action, Closed, ConnectFailureKind, Phase, Verdict};
use super::support::{Fake, INTERVAL, RESUME, Stage, seconds, session};
use crate::session::Status;

const RECONNECT: &str = r#"{"op":7,"d":null}"#;
const INVALID: &str = r#"{"op":9,"d":false}"#;
const RESUMABLE: &str = r#"{"op":9,"d":true}"#;

fn ready() -> Fake {
    Fake::at(Stage::Ready, |_| {})
}

/// Ready by IDENTIFY, then dropped and RESUME sent to the resume URL.
fn resuming() -> Fake {
    let mut fake = ready();
    fake.closed(None);
    assert_eq!(fake.next_connect().1.as_deref(), Some(RESUME));
    fake.connected_and_hello();
    fake
}

#[test]
fn s9_a_drop_resumes_at_once_at_the_resume_url_with_the_last_sequence_and_no_permit() {
    let mut fake = ready();
    fake.dispatch(2);
    fake.dispatch(41);
    fake.closed(None);
    let (wait, url) = fake.next_connect();
    assert_eq!((wait, url.as_deref()), (seconds(0.0), Some(RESUME)));
    fake.connected_and_hello();
    let resume = &fake.sent()[0].1;
    assert_eq!(resume["op"], 6);
    assert_eq!(resume["d"], serde_json::json!({"token": "secret-token", "session_id": "new", "seq": 41}));
    assert_eq!(fake.count(|action| *action == Action::AcquirePermit), 0);
    fake.resumed(42);
    assert_eq!(fake.count(|action| *action == Action::Ready { resumed: true }), 1);
    assert_eq!((fake.machine.stats().resumes, fake.machine.stats().identifies), (1, 1));
}

#[test]
fn s9_an_unanswered_resume_identifies_and_nothing_extends_its_deadline() {
    let mut fake = resuming();
    let sent = fake.now;
    fake.forget();
    for sequence in 2..61 {
        fake.pass(1.0);
        fake.dispatch(sequence);
        fake.frame(r#"{"op":1,"d":null}"#);
    }
    assert!(matches!(fake.machine.phase, Phase::Resuming { .. }));
    let (_, url) = fake.next_connect();
    assert!(url.is_none() && fake.now >= sent + seconds(60.0) && fake.now < sent + seconds(62.0));
    fake.connected_and_hello();
    assert_eq!(fake.opcodes(), [2]);
}

#[test]
fn s9_a_dead_resume_url_falls_back_to_the_base_url_for_one_resume_then_identifies() {
    let mut fake = ready();
    fake.closed(None);
    assert_eq!(fake.next_connect().1.as_deref(), Some(RESUME));
    fake.refused();
    assert_eq!(fake.next_connect(), (seconds(0.0), None));
    fake.connected_and_hello();
    assert_eq!(fake.opcodes(), [6]);
    fake.closed(None);
    assert!(fake.next_connect().1.is_none());
    fake.connected_and_hello();
    assert_eq!(fake.opcodes(), [2]);
}

#[test]
fn s9_a_dead_resume_url_stays_dead_until_the_next_ready() {
    let mut fake = ready();
    fake.closed(None);
    fake.refused();
    fake.connected_and_hello();
    fake.resumed(2);
    fake.closed(None);
    fake.forget();
    fake.pass(2.0);
    assert_eq!(fake.count(|action| *action == Action::Connect { resume_url: None }), 1);
    fake.connected_and_hello();
    fake.ready(1);
    fake.closed(None);
    fake.forget();
    let (_, url) = fake.next_connect();
    assert_eq!(url.as_deref(), Some(RESUME));
}

#[test]
fn s9_every_failure_of_the_resume_host_leads_to_the_base_url_at_once() {
    use ConnectFailureKind::{Certificate, Config, Handshake, ProxyRefused, Timeout, Unreachable};
    for kind in [Certificate, Config, Handshake, ProxyRefused, Timeout, Unreachable] {
        for auto_reconnect in [true, false] {
            let mut fake = Fake::new(|config| {
                config.session = Some(session(5));
                config.auto_reconnect = auto_reconnect;
            });
            fake.open();
            assert_eq!(fake.next_connect().1.as_deref(), Some(RESUME));
            fake.fail(kind, None);
            assert_eq!(fake.next_connect(), (seconds(0.0), None), "{kind:?}");
        }
    }
}

#[test]
fn s9_f24_three_connections_without_resumed_drop_the_session() {
    type Way = fn(&mut Fake);
    let before_hello: Way = |fake| {
        fake.connected();
        fake.closed(None);
    };
    let after_resume: Way = |fake| {
        fake.connected_and_hello();
        fake.closed(Some(1006));
    };
    let op_7: Way = |fake| {
        fake.connected_and_hello();
        fake.frame(RECONNECT);
    };
    let op_9: Way = |fake| {
        fake.connected_and_hello();
        fake.frame(RESUMABLE);
    };
    for way in [before_hello, after_resume, op_7, op_9] {
        let mut fake = ready();
        fake.closed(None);
        let start = fake.now;
        for _ in 0..3 {
            assert_eq!(fake.next_connect().1.as_deref(), Some(RESUME));
            way(&mut fake);
        }
        assert_eq!(fake.next_connect().1, None);
        assert!(fake.now - start < seconds(60.0));
        fake.connected_and_hello();
        assert_eq!(fake.opcodes(), [2]);
    }
}

#[test]
fn s9_f24_a_session_that_fails_to_resume_for_60_seconds_is_dropped() {
    let mut fake = resuming();
    fake.closed(None);
    fake.next_connect();
    fake.connected_and_hello();
    fake.forget();
    fake.now += seconds(60.0);
    fake.closed(None);
    fake.next_connect();
    fake.connected_and_hello();
    assert_eq!(fake.opcodes(), [2]);
}

#[test]
fn s9_resumed_starts_the_count_of_failed_resumes_anew() {
    let mut fake = ready();
    fake.closed(None);
    for turn in 0..12 {
        assert_eq!(fake.next_connect().1.as_deref(), Some(RESUME), "{turn}");
        fake.connected_and_hello();
        if turn % 3 == 2 {
            fake.resumed(2);
        }
        fake.closed(None);
    }
}

#[test]
fn s9_f23_a_reset_during_the_replay_resumes_from_the_advanced_sequence() {
    let mut fake = resuming();
    fake.dispatch(2);
    fake.dispatch(3);
    fake.closed(None);
    assert_eq!(fake.next_connect().1.as_deref(), Some(RESUME));
    fake.connected_and_hello();
    assert_eq!(fake.sent()[0].1["d"]["seq"], 3);
    fake.dispatch(3);
    assert_eq!(fake.machine.stats().duplicates, 1);
}

#[test]
fn s8_f07_op_7_takes_the_next_connection_to_hello_and_then_closes_the_old_one_with_4000_and_resumes() {
    let mut fake = ready();
    assert_eq!(fake.frame(RECONNECT), Verdict::Control);
    assert_eq!(fake.next_connect(), (seconds(0.0), Some(RESUME.to_owned())));
    fake.connected();
    // The old connection still serves, and says the same again.
    fake.dispatch(3);
    assert_eq!(fake.frame(RECONNECT), Verdict::Control);
    assert!(fake.seen.is_empty());
    assert_eq!(fake.machine.status(), Status::Ready);
    fake.hello(INTERVAL);
    let actions = fake.actions();
    assert!(matches!(actions[0], Action::Close { code: 4000, linger: false, .. }), "{actions:?}");
    assert!(matches!(actions[1], Action::Closed(Closed { code: Some(4000), reconnect: true, .. })), "{actions:?}");
    assert_eq!(actions[2], Action::TakeNext);
    assert_eq!(fake.opcodes(), [6]);
    assert_eq!(fake.sent()[0].1["d"]["seq"], 3);
    fake.resumed(4);
    assert_eq!((fake.machine.stats().resumes, fake.machine.stats().reconnects), (1, 1));
}

#[test]
fn s8_op_7_waits_no_longer_than_750_ms_for_the_next_connection() {
    for open in [false, true] {
        let mut fake = ready();
        fake.frame(RECONNECT);
        fake.next_connect();
        if open {
            fake.connected();
        }
        fake.pass(0.749);
        assert_eq!(fake.count(|action| matches!(action, Action::Close { .. })), 0, "{open}");
        fake.pass(0.001);
        assert_eq!(fake.count(|action| matches!(action, Action::Close { code: 4000, .. })), 1, "{open}");
        assert_eq!(fake.count(|action| matches!(action, Action::Connect { .. })), 0, "the same attempt goes on");
        if !open {
            fake.connected();
        }
        fake.hello(INTERVAL);
        assert_eq!(fake.opcodes(), [6], "{open}");
    }
}

#[test]
fn s8_when_the_old_connection_ends_first_the_next_one_takes_its_place() {
    for open in [false, true] {
        for code in [None, Some(4000)] {
            let mut fake = ready();
            fake.frame(RECONNECT);
            fake.next_connect();
            if open {
                fake.connected();
            }
            fake.closed(code);
            assert_eq!(fake.count(|action| *action == Action::TakeNext), 1);
            if !open {
                fake.connected();
            }
            fake.hello(INTERVAL);
            assert_eq!(fake.opcodes(), [6], "{open} {code:?}");
        }
    }
}

#[test]
fn s8_when_the_session_ends_the_next_connection_at_the_resume_url_is_dropped() {
    type Way = fn(&mut Fake);
    let ways: [Way; 4] = [
        |fake| fake.closed(Some(4009)),
        |fake| fake.closed(Some(4004)),
        |fake| fake.close(1000),
        |fake| assert_eq!(fake.frame(r#"{"op":9,"d":false}"#), Verdict::Disconnected),
    ];
    for way in ways {
        for open in [false, true] {
            let mut fake = ready();
            fake.frame(RECONNECT);
            fake.next_connect();
            if open {
                fake.connected();
            }
            way(&mut fake);
            let dropped = if open { Action::DropNext } else { Action::AbortConnect };
            assert_eq!(fake.count(|action| *action == dropped), 1, "{:?}", fake.actions());
            assert!(!fake.machine.is_handing_over());
        }
    }
}

#[test]
fn s8_a_next_connection_that_comes_to_nothing_is_tried_again_alone_and_at_once() {
    type Way = fn(&mut Fake);
    let ways: [Way; 2] = [
        |fake| fake.fail(ConnectFailureKind::Handshake, Some(seconds(60.0))),
        |fake| {
            fake.connected();
            fake.machine.next_lost(fake.now);
            fake.act();
        },
    ];
    for way in ways {
        let mut fake = ready();
        fake.frame(RECONNECT);
        fake.next_connect();
        way(&mut fake);
        assert_eq!(fake.count(|action| matches!(action, Action::Close { code: 4000, .. })), 1);
        assert_eq!(fake.next_connect(), (seconds(0.0), Some(RESUME.to_owned())));
        // That attempt counts as any other.
        fake.refused();
        assert_eq!(fake.next_connect(), (seconds(0.0), None), "the resume URL is dead");
    }
}

#[test]
fn s8_op_7_and_then_the_servers_close_leave_the_free_drop() {
    for code in [None, Some(4000)] {
        let mut fake = ready();
        fake.frame(RECONNECT);
        fake.next_connect();
        fake.closed(code);
        fake.connected_and_hello();
        fake.resumed(2);
        fake.forget();
        fake.closed(None);
        assert_eq!(fake.next_connect().0, seconds(0.0), "{code:?}");
    }
}

#[test]
fn s8_what_asks_for_a_wait_gets_it_during_a_handover_too() {
    for (way, least) in [("4008", 5.0), ("op 9", 1.0)] {
        let mut fake = ready();
        fake.frame(RECONNECT);
        fake.next_connect();
        fake.connected();
        if way == "4008" {
            fake.closed(Some(4008));
        } else {
            fake.frame(RESUMABLE);
        }
        assert_eq!(fake.count(|action| *action == Action::DropNext), 1, "{way}");
        assert!(fake.next_connect().0 >= seconds(least), "{way}");
    }
}

#[test]
fn s7_commands_given_during_a_handover_leave_on_the_next_connection() {
    let mut fake = ready();
    fake.frame(RECONNECT);
    fake.next_connect();
    fake.send(1, 8);
    fake.presence(2);
    assert!(fake.sent().is_empty() && fake.done().is_empty());
    fake.connected_and_hello();
    assert_eq!(fake.opcodes(), [6]);
    fake.resumed(2);
    assert_eq!(fake.done().len(), 2);
}

#[test]
fn s8_f06_op_7_without_a_session_reconnects_at_once_and_identifies_with_a_new_permit() {
    for stage in [Stage::AwaitHello, Stage::AwaitPermit, Stage::Identifying] {
        let mut fake = Fake::at(stage, |_| {});
        assert_eq!(fake.frame(RECONNECT), Verdict::Disconnected);
        assert_eq!(fake.count(|action| *action == Action::AcquirePermit), 0);
        assert_eq!(fake.next_connect(), (seconds(0.0), None), "{stage:?}");
        fake.permits = true;
        fake.connected_and_hello();
        assert_eq!(fake.count(|action| *action == Action::AcquirePermit), 1);
        assert_eq!(fake.opcodes(), [2]);
    }
}

#[test]
fn s8_op_7_while_resuming_resumes_again() {
    let mut fake = resuming();
    fake.frame(RECONNECT);
    assert_eq!(fake.next_connect(), (seconds(0.0), Some(RESUME.to_owned())));
}

#[test]
fn s8_f08_op_9_false_drops_the_session_waits_and_identifies_at_the_base_url() {
    for stage in Stage::OPEN {
        let mut fake = Fake::at(stage, |_| {});
        assert_eq!(fake.frame(INVALID), Verdict::Disconnected);
        assert!(fake.machine.session().is_none());
        assert_eq!(fake.count(|action| matches!(action, Action::Close { code: 4000, linger: false, .. })), 1);
        // The server closes too: that is part of it.
        fake.closed(Some(4000));
        assert_eq!(fake.count(|action| matches!(action, Action::Closed(_))), 1);
        let (wait, url) = fake.next_connect();
        assert!(wait >= seconds(1.0) && wait <= seconds(5.0), "{stage:?}: {wait:?}");
        assert_eq!(url, None);
        fake.permits = true;
        fake.connected_and_hello();
        assert_eq!(fake.count(|action| *action == Action::AcquirePermit), 1);
        assert_eq!(fake.opcodes(), [2]);
    }
}

#[test]
fn s8_the_wait_after_op_9_is_spread_over_1_to_5_seconds() {
    let wait = |seed| {
        let mut fake = Fake::seeded(seed, |_| {});
        fake.open();
        fake.connected_and_hello();
        fake.forget();
        fake.frame(INVALID);
        fake.next_connect().0
    };
    let waits: Vec<_> = (0..100).map(wait).collect();
    assert!(waits.iter().any(|&wait| wait < seconds(2.0)) && waits.iter().any(|&wait| wait > seconds(4.0)));
}

#[test]
fn s8_f09_op_9_true_resumes() {
    for stage in [Stage::Ready, Stage::Resuming] {
        let mut fake = Fake::at(stage, |_| {});
        fake.frame(RESUMABLE);
        let (wait, url) = fake.next_connect();
        assert!(wait >= seconds(1.0) && wait <= seconds(5.0));
        assert_eq!(url.as_deref(), Some(RESUME));
        fake.connected_and_hello();
        assert_eq!(fake.opcodes(), [6]);
    }
}

#[test]
fn s8_f09_anything_but_true_is_false() {
    for odd in
        [r#"{"op":9,"d":null}"#, r#"{"op":9,"d":"x"}"#, r#"{"op":9,"d":"true"}"#, r#"{"op":9,"d":1}"#, r#"{"op":9}"#]
    {
        let mut fake = ready();
        fake.frame(odd);
        assert!(fake.machine.session().is_none(), "{odd}");
    }
    let mut fake = ready();
    fake.frame(r#"{ "d" : true , "op" : 9 }"#);
    assert!(fake.machine.session().is_some());
}

#[test]
fn s9_f11_a_refused_resume_url_keeps_the_session_and_is_no_failed_attempt() {
    let mut fake = Fake::at(Stage::Identifying, |_| {});
    fake.frame(r#"{"op":0,"s":1,"t":"READY","d":{"session_id":"a","resume_gateway_url":"wss://evil.example"}}"#);
    for turn in 0..2 {
        fake.closed(None);
        assert_eq!(fake.count(|action| matches!(action, Action::Warn(_))), usize::from(turn == 0), "told once");
        assert_eq!(fake.next_connect().1, None);
        fake.connected_and_hello();
        assert_eq!(fake.opcodes(), [6]);
    }
    fake.resumed(2);
    assert_eq!(fake.machine.session().unwrap().id, "a");
}

#[test]
fn s9_a_session_given_at_the_start_is_resumed_without_an_identify() {
    for base_url in [None, Some(super::support::BASE.to_owned())] {
        let mut fake = Fake::new(|config| {
            config.session = Some(session(77));
            config.base_url = base_url;
        });
        fake.open();
        assert_eq!(fake.next_connect().1.as_deref(), Some(RESUME));
        fake.connected();
        fake.hello(INTERVAL);
        assert_eq!(fake.sent()[0].1["d"]["seq"], 77);
        assert_eq!(fake.sent()[0].1["d"]["session_id"], "old");
    }
}

#[test]
fn s9_a_session_of_another_shard_or_other_intents_is_discarded() {
    for (shard, intents) in [(Some((1, 2)), 513), (Some((0, 4)), 513), (None, 513), (Some((0, 2)), 1)] {
        let mut fake = Fake::new(|config| {
            let other = session(77);
            config.session = Some(crate::session::Session { shard, intents, ..other });
        });
        fake.open();
        assert_eq!(fake.count(|action| matches!(action, Action::Warn(_))), 1);
        fake.connected_and_hello();
        assert_eq!(fake.opcodes(), [2]);
    }
}

#[test]
fn s9_a_session_without_a_resume_url_resumes_at_the_base_url() {
    let mut fake = Fake::new(|config| {
        config.session = Some(crate::session::Session { resume_url: None, ..session(3) });
    });
    fake.open();
    assert_eq!(fake.next_connect().1, None);
    fake.connected_and_hello();
    assert_eq!(fake.opcodes(), [6]);
}
