//! design.md §5 'Life': the user's close, `on_close` saying no, `auto_reconnect` off, and the end.

use super::super::{Action, Closed, ConnectFailureKind, Ended, Phase, Verdict};
use super::support::{Fake, INTERVAL, Stage, seconds, session};
use crate::session::Status;

fn statuses(fake: &Fake) -> Vec<Status> {
    let status = |action: Action| match action {
        Action::Status(status) => Some(status),
        _ => None,
    };
    fake.actions().into_iter().filter_map(status).collect()
}

fn not_remade(code: Option<u16>, reason: &str) -> Ended {
    Ended::NotRemade { code, reason: reason.to_owned() }
}

/// Nothing that happens later moves a machine that has ended.
fn assert_over(fake: &mut Fake) {
    assert!(matches!(fake.seen.last(), Some((_, Action::Ended(_)))), "{:?}", fake.actions());
    fake.forget();
    fake.connected();
    fake.hello(INTERVAL);
    fake.ready(1);
    fake.frame(r#"{"op":7}"#);
    fake.frame(r#"{"op":9,"d":true}"#);
    fake.machine.permitted(fake.now);
    fake.closed(Some(4000));
    fake.refused();
    fake.machine.transport_failed(fake.now, "late");
    fake.close(4000);
    fake.stop_reconnecting();
    fake.open();
    fake.pass(3600.0);
    assert!(fake.seen.is_empty(), "{:?}", fake.actions());
    assert_eq!(fake.machine.deadline(fake.now), None);
}

#[test]
fn life_statuses_follow_each_other() {
    use Status::{Connecting, Disconnected, Identifying, Ready, Resuming, WaitingForHello, WaitingForReady};
    let mut fake = Fake::new(|_| {});
    assert_eq!(fake.machine.status(), Status::Unconnected);
    fake.open();
    fake.connected_and_hello();
    fake.ready(1);
    assert_eq!(statuses(&fake), [Connecting, WaitingForHello, Identifying, WaitingForReady, Ready]);
    fake.forget();
    fake.closed(None);
    fake.connected_and_hello();
    fake.resumed(2);
    assert_eq!(statuses(&fake), [Disconnected, Connecting, WaitingForHello, Resuming, Ready]);
    assert_eq!((fake.machine.stats().connections, fake.machine.stats().reconnects), (2, 1));
}

#[test]
fn s10_the_users_close_says_its_code_and_waits_for_the_answer() {
    for stage in Stage::OPEN {
        let mut fake = Fake::at(stage, |_| {});
        fake.close(1000);
        let close = Action::Close { code: 1000, reason: "bye".to_owned(), linger: true };
        assert_eq!(fake.count(|action| *action == close), 1, "{stage:?}");
        assert_eq!(fake.ended(), None);
        fake.close(4000);
        fake.hello(INTERVAL);
        fake.frame(r#"{"op":7}"#);
        fake.frame(r#"{"op":9,"d":true}"#);
        fake.closed(Some(4004));
        assert_eq!(fake.ended(), Some(Ended::ByUser), "{stage:?}: whatever the server answers");
        let closed = Closed { code: Some(4004), reason: "why".to_owned(), error: None, fault: None, reconnect: false };
        assert_eq!(fake.count(|action| *action == Action::Closed(closed.clone())), 1);
        assert_eq!(fake.count(|action| matches!(action, Action::Close { .. })), 1);
        assert_over(&mut fake);
    }
}

#[test]
fn life_an_unanswered_close_ends_after_its_deadline() {
    for stage in Stage::OPEN {
        let mut fake = Fake::at(stage, |_| {});
        fake.close(1000);
        fake.machine.pause_reading();
        let start = fake.now;
        fake.step(std::time::Duration::MAX);
        assert_eq!(fake.now - start, seconds(2.0));
        assert_eq!(fake.count(|action| *action == Action::Drop), 1);
        assert_eq!(fake.ended(), Some(Ended::ByUser));
        assert_over(&mut fake);
    }
}

#[test]
fn life_a_close_without_a_connection_ends_at_once() {
    let mut idle = Fake::new(|_| {});
    idle.close(1000);
    assert_eq!(idle.ended(), Some(Ended::ByUser));
    let mut waiting = Fake::at(Stage::Waiting, |_| {});
    waiting.close(1000);
    assert_eq!(waiting.ended(), Some(Ended::ByUser));
    assert_over(&mut waiting);
    let mut connecting = Fake::at(Stage::Connecting, |_| {});
    connecting.close(1000);
    assert_eq!(connecting.seen[0].1, Action::AbortConnect);
    assert_eq!(connecting.ended(), Some(Ended::ByUser));
    assert_over(&mut connecting);
}

#[test]
fn s10_1000_and_1001_end_the_session_and_4000_keeps_it() {
    for (code, kept) in [(1000, false), (1001, false), (4000, true), (3000, true)] {
        for stage in [Stage::Ready, Stage::Resuming] {
            let mut fake = Fake::at(stage, |_| {});
            fake.close(code);
            fake.closed(None);
            assert_eq!(fake.machine.session().is_some(), kept, "{code} in {stage:?}");
        }
        let mut fake = Fake::new(|config| config.session = Some(session(5)));
        fake.open();
        fake.close(code);
        assert_eq!(fake.machine.session().is_some(), kept, "{code} while connecting");
    }
}

#[test]
fn s10_we_never_close_with_1000_or_1001_ourselves() {
    type Way = fn(&mut Fake);
    let ways: [Way; 6] = [
        |fake| {
            assert_eq!(fake.frame(r#"{"op":7}"#), Verdict::Control);
            fake.connected_and_hello();
        },
        |fake| assert_eq!(fake.frame(r#"{"op":9,"d":true}"#), Verdict::Disconnected),
        |fake| assert_eq!(fake.frame(r#"{"op":9,"d":false}"#), Verdict::Disconnected),
        |fake| fake.machine.transport_failed(fake.now, "inflate"),
        |fake| {
            fake.acks = false;
            fake.pass(100.0);
        },
        |fake| {
            fake.closed(None);
            fake.connected();
            fake.stop_reconnecting();
        },
    ];
    for way in ways {
        let mut fake = Fake::at(Stage::Ready, |_| {});
        way(&mut fake);
        fake.act();
        let codes = fake.actions().into_iter().filter_map(|action| match action {
            Action::Close { code, .. } => Some(code),
            _ => None,
        });
        assert!(codes.into_iter().all(|code| code == 4000));
    }
}

#[test]
fn life_on_close_saying_no_ends_it_wherever_the_remaking_stands() {
    type Way = fn(&mut Fake);
    let remade: [(Way, &[Action]); 6] = [
        (|fake| fake.closed(Some(4002)), &[]),
        (|fake| fake.connected(), &[]),
        (|fake| fake.connected_and_hello(), &[]),
        (
            |fake| {
                fake.connected_and_hello();
                fake.resumed(2);
            },
            &[],
        ),
        (
            |fake| {
                fake.connected();
                fake.machine.session = None;
                fake.permits = false;
                fake.hello(INTERVAL);
            },
            &[Action::ReleasePermit],
        ),
        (
            |fake| {
                fake.connected();
                fake.machine.session = None;
                fake.hello(INTERVAL);
            },
            &[Action::ReleasePermit],
        ),
    ];
    for (way, also) in remade {
        let mut fake = Fake::at(Stage::Ready, |_| {});
        fake.closed(Some(4002));
        way(&mut fake);
        fake.forget();
        fake.stop_reconnecting();
        assert_eq!(fake.ended(), Some(not_remade(Some(4002), "why")), "the end that the handler was told of");
        for action in also {
            assert!(fake.actions().contains(action));
        }
        assert_over(&mut fake);
    }
    let mut fake = Fake::at(Stage::Ready, |_| {});
    fake.closed(Some(4008));
    assert!(matches!(fake.machine.phase, Phase::Waiting { .. }));
    fake.stop_reconnecting();
    assert_eq!(fake.ended(), Some(not_remade(Some(4008), "why")));
    assert_over(&mut fake);
}

#[test]
fn life_on_close_saying_no_keeps_the_session() {
    let mut fake = Fake::at(Stage::Ready, |_| {});
    fake.closed(None);
    fake.connected();
    fake.stop_reconnecting();
    assert!(fake.machine.session().is_some());
}

#[test]
fn life_a_first_connection_stays_and_is_the_last() {
    for stage in Stage::OPEN {
        let mut fake = Fake::at(stage, |_| {});
        fake.stop_reconnecting();
        assert!(fake.seen.is_empty(), "{stage:?}");
        fake.closed(Some(4000));
        assert_eq!(fake.ended(), Some(not_remade(Some(4000), "why")));
        assert_over(&mut fake);
    }
}

#[test]
fn life_without_auto_reconnect_every_end_is_the_end() {
    type Way = (&'static str, Option<u16>, fn(&mut Fake));
    let ways: [Way; 7] = [
        ("drop", None, |fake| fake.closed(None)),
        ("close", Some(4000), |fake| fake.closed(Some(4000))),
        ("session gone", Some(4009), |fake| fake.closed(Some(4009))),
        ("op 7", Some(4000), |fake| assert_eq!(fake.frame(r#"{"op":7}"#), Verdict::Disconnected)),
        ("op 9 true", Some(4000), |fake| assert_eq!(fake.frame(r#"{"op":9,"d":true}"#), Verdict::Disconnected)),
        ("op 9 false", Some(4000), |fake| assert_eq!(fake.frame(r#"{"op":9,"d":false}"#), Verdict::Disconnected)),
        ("garbage", None, |fake| {
            fake.machine.transport_failed(fake.now, "inflate");
            fake.act();
        }),
    ];
    for stage in Stage::OPEN {
        for (what, code, way) in ways {
            let mut fake = Fake::at(stage, |config| config.auto_reconnect = false);
            way(&mut fake);
            assert!(matches!(fake.ended(), Some(Ended::NotRemade { code: ended, .. }) if ended == code), "{what}");
            let closed = |action: &Action| {
                matches!(action, Action::Closed(Closed { reconnect: false, error: Some(Ended::NotRemade { .. }), .. }))
            };
            assert_eq!(fake.count(closed), 1, "{what} in {stage:?}");
            assert_over(&mut fake);
        }
        let mut fake = Fake::at(stage, |config| config.auto_reconnect = false);
        fake.acks = false;
        if matches!(stage, Stage::AwaitPermit) {
            fake.permits = false;
        }
        fake.pass(200.0);
        assert!(
            matches!(fake.ended(), Some(Ended::NotRemade { code: Some(4000), .. })),
            "deadline or zombie: {stage:?}"
        );
        assert_over(&mut fake);
    }
}

#[test]
fn life_without_auto_reconnect_a_failed_connect_is_the_end() {
    use ConnectFailureKind::{Certificate, Config, Handshake, ProxyRefused, Timeout, Unreachable};
    for kind in [Certificate, Config, Handshake, ProxyRefused, Timeout, Unreachable] {
        let mut fake = Fake::at(Stage::Connecting, |config| config.auto_reconnect = false);
        fake.fail(kind, None);
        assert!(matches!(fake.ended(), Some(Ended::Unreachable(failure)) if failure.kind == kind));
        assert_over(&mut fake);
    }
    let mut fake = Fake::at(Stage::Connecting, |config| config.auto_reconnect = false);
    fake.pass(20.0);
    assert!(matches!(fake.ended(), Some(Ended::Unreachable(_))));
}

#[test]
fn i6_after_a_fatal_close_the_session_is_gone_and_nothing_moves() {
    for stage in Stage::OPEN {
        let mut fake = Fake::at(stage, |_| {});
        fake.closed(Some(4004));
        assert!(fake.machine.session().is_none());
        assert_over(&mut fake);
    }
}

#[test]
fn s9_a_zombie_in_the_middle_of_a_payload_ends_the_reading() {
    let mut fake = Fake::at(Stage::Ready, |_| {});
    fake.acks = false;
    for _ in 0..3 {
        fake.now = fake.machine.deadline(fake.now).unwrap();
        fake.machine.timeout(fake.now, true);
        fake.act();
    }
    fake.now = fake.machine.deadline(fake.now).unwrap();
    assert_eq!(fake.frame(r#"{"op":1,"d":null}"#), Verdict::Disconnected);
}

#[test]
fn i10_debug_hides_the_token_and_the_session_id() {
    let mut fake = Fake::new(|config| config.session = Some(session(5)));
    fake.open();
    fake.connected_and_hello();
    fake.frame(r#"{"op":9,"d":false}"#);
    fake.pass(10.0);
    fake.connected_and_hello();
    fake.ready(1);
    assert_eq!(fake.opcodes(), [6, 2]);
    let text = format!("{:?} {:?} {:?}", fake.actions(), super::support::config(), session(5));
    assert!(!text.contains("secret-token") && !text.contains("old"), "{text}");
}

#[test]
fn s5_ready_tells_the_bots_own_user_in_either_form_of_id() {
    for (user, expected) in [
        (r#"{"id":"613425648685547541"}"#, Some(613_425_648_685_547_541)),
        (r#"{"id":7}"#, Some(7)),
        (r#"{"id":"x"}"#, None),
        ("null", None),
        ("[]", None),
    ] {
        let mut fake = Fake::at(Stage::Identifying, |_| {});
        assert_eq!(fake.machine.user_id(), None);
        fake.frame(&format!(r#"{{"op":0,"s":1,"t":"READY","d":{{"session_id":"new","user":{user}}}}}"#));
        assert_eq!(fake.machine.user_id(), expected, "{user}");
        assert_eq!(fake.machine.session().map(|session| session.id.as_str()), Some("new"));
    }
}

#[test]
fn life_a_close_without_an_answer_is_known_by_our_code() {
    for unanswered in [true, false] {
        let mut fake = Fake::at(Stage::Ready, |_| {});
        fake.close(4321);
        if unanswered {
            fake.pass(2.0);
        } else {
            fake.closed(None);
        }
        let ours =
            |action: &Action| matches!(action, Action::Closed(Closed { code: Some(4321), reconnect: false, .. }));
        assert_eq!(fake.count(ours), 1);
    }
}
