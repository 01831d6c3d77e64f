//! protocol.md §1 to §3 and §5: from the open socket over HELLO and the identify gate to READY.

use super::super::{Action, ConnectFailureKind, Ended, Phase, Verdict};
use super::support::{BASE, Fake, INTERVAL, Stage, seconds};
use crate::{inflate::Compression, protocol::command::MAX_PAYLOAD_BYTES, session::Status};

fn released(fake: &Fake) -> usize {
    fake.count(|action| *action == Action::ReleasePermit)
}

#[test]
fn s1_the_first_connection_goes_to_the_base_url_at_once() {
    let mut fake = Fake::new(|_| {});
    fake.open();
    assert_eq!(fake.actions(), [Action::Status(Status::Connecting), Action::Connect { resume_url: None }]);
    fake.open();
    assert_eq!(fake.seen.len(), 2, "open is idempotent");
}

#[test]
fn s1_f04_without_hello_the_connection_is_given_up_after_20_seconds() {
    let mut fake = Fake::at(Stage::AwaitHello, |_| {});
    fake.pass(19.9);
    assert!(fake.seen.is_empty());
    fake.pass(0.1);
    assert!(fake.count(|action| matches!(action, Action::Close { code: 4000, linger: false, .. })) == 1);
    assert!(fake.next_connect().0 > seconds(0.0));
}

#[test]
fn s1_f01_a_connection_attempt_is_given_up_after_20_seconds() {
    let mut fake = Fake::at(Stage::Connecting, |_| {});
    fake.pass(20.0);
    assert_eq!(fake.seen[0].1, Action::AbortConnect);
    assert!(matches!(&fake.seen[1].1, Action::ConnectFailed(failure, delay)
        if failure.kind == ConnectFailureKind::Timeout && *delay > seconds(0.0)));
}

#[test]
fn s5_identify_leaves_after_hello_and_with_a_permit() {
    let mut fake = Fake::at(Stage::AwaitHello, |config| config.presence = Some(r#"{"status":"idle"}"#.to_owned()));
    fake.permits = false;
    fake.hello(INTERVAL);
    assert_eq!(fake.count(|action| *action == Action::AcquirePermit), 1);
    assert!(fake.opcodes().is_empty());
    fake.machine.permitted(fake.now);
    fake.act();
    let identify = &fake.sent()[0].1;
    assert_eq!(identify["op"], 2);
    let data = &identify["d"];
    assert_eq!(data["token"], "secret-token");
    assert_eq!(data["intents"], 513);
    assert_eq!(data["shard"], serde_json::json!([0, 2]));
    assert_eq!(data["presence"]["status"], "idle");
    assert_eq!(data["properties"]["browser"], "propylon");
    assert_eq!(fake.machine.stats().identifies, 1);
}

#[test]
fn s12_payload_compression_is_asked_for_in_identify_and_transport_compression_is_not() {
    for (compression, asked) in [(Compression::Payload, true), (Compression::ZstdStream, false)] {
        let mut fake = Fake::at(Stage::AwaitHello, |config| config.compression = compression);
        fake.hello(INTERVAL);
        assert_eq!(fake.sent()[0].1["d"]["compress"], asked);
    }
}

#[test]
fn s5_the_permit_is_released_on_every_way_out() {
    type Way = (&'static str, fn(&mut Fake));
    let ways: [Way; 9] = [
        ("op 9", |fake| assert_eq!(fake.frame(r#"{"op":9,"d":false}"#), Verdict::Disconnected)),
        ("op 7", |fake| assert_eq!(fake.frame(r#"{"op":7,"d":null}"#), Verdict::Disconnected)),
        ("close", |fake| fake.closed(Some(4000))),
        ("fatal", |fake| fake.closed(Some(4014))),
        ("drop", |fake| fake.closed(None)),
        ("broken", |fake| {
            fake.machine.transport_failed(fake.now, "inflate");
            fake.act();
        }),
        ("user", |fake| fake.close(1000)),
        ("zombie", |fake| {
            fake.acks = false;
            fake.pass(200.0);
        }),
        ("no remake", |fake| {
            fake.closed(None);
            fake.stop_reconnecting();
        }),
    ];
    for stage in [Stage::AwaitPermit, Stage::Identifying] {
        for (name, way) in ways {
            let mut fake = Fake::at(stage, |_| {});
            way(&mut fake);
            assert_eq!(released(&fake), 1, "{name} in {stage:?}");
        }
    }
    let mut fake = Fake::at(Stage::Identifying, |_| {});
    fake.ready(1);
    assert_eq!(released(&fake), 1, "READY");
    fake.ready(1);
    assert_eq!(released(&fake), 1, "once");
}

#[test]
fn s5_a_permit_that_comes_too_late_is_given_back_unused() {
    let mut fake = Fake::at(Stage::AwaitPermit, |_| {});
    fake.closed(None);
    fake.forget();
    fake.machine.permitted(fake.now);
    fake.act();
    assert_eq!(fake.actions(), [Action::ReleasePermit]);
}

#[test]
fn s5_the_ready_deadline_runs_from_identify_and_never_at_the_gate() {
    let mut fake = Fake::at(Stage::AwaitPermit, |_| {});
    fake.pass(1800.0);
    assert!(matches!(fake.machine.phase, Phase::AwaitPermit));
    fake.acks = false;
    fake.machine.permitted(fake.now);
    let Phase::Identifying { deadline, .. } = fake.machine.phase else { panic!("not identifying") };
    assert_eq!(deadline, fake.now + seconds(60.0));
}

#[test]
fn s4_5_without_ready_the_connection_is_given_up() {
    let mut fake = Fake::at(Stage::Identifying, |config| config.timeouts.ready = seconds(0.001));
    fake.pass(0.001);
    assert_eq!(fake.count(|action| matches!(action, Action::Close { code: 4000, .. })), 1);
    let (wait, url) = fake.next_connect();
    assert!(wait > seconds(0.0) && url.is_none());
}

#[test]
fn s5_a_new_identify_carries_the_newest_presence() {
    let mut fake = Fake::at(Stage::Ready, |config| config.presence = Some("0".to_owned()));
    fake.presence(1);
    fake.closed(Some(4009));
    fake.connected_and_hello();
    assert_eq!(fake.sent().last().unwrap().1["d"]["presence"], 1, "sent before");
    fake.presence(2);
    fake.forget();
    fake.closed(Some(4009));
    fake.next_connect();
    fake.connected_and_hello();
    assert_eq!(fake.sent().last().unwrap().1["d"]["presence"], 2, "still waiting");
    fake.presence(3);
    assert!(fake.machine.cancel(2) && fake.machine.cancel(3));
    fake.forget();
    fake.closed(Some(4009));
    fake.next_connect();
    fake.connected_and_hello();
    assert_eq!(fake.sent().last().unwrap().1["d"]["presence"], 1, "cancelled");
}

#[test]
fn s5_an_identify_that_its_presence_makes_too_long_leaves_without_and_the_presence_follows() {
    let presence = format!("\"{}\"", "x".repeat(MAX_PAYLOAD_BYTES - 30));
    let mut fake = Fake::at(Stage::Ready, |_| {});
    fake.machine.set_presence(fake.now, 1, presence.clone());
    fake.closed(Some(4009));
    fake.act();
    fake.forget();
    fake.connected_and_hello();
    assert!(fake.sent()[0].1["d"].get("presence").is_none());
    fake.ready(1);
    assert_eq!(fake.opcodes(), [2, 3]);
    assert_eq!(fake.sent()[1].1["d"].to_string(), presence);
    assert!(fake.done().is_empty(), "nobody waits for this one");
}

#[test]
fn s3_f35_unknown_opcodes_are_ignored_and_counted() {
    for stage in Stage::OPEN {
        let mut fake = Fake::at(stage, |_| {});
        let odd =
            [r#"{"op":5}"#, r#"{"op":40,"d":{}}"#, r#"{"op":"0","t":"READY"}"#, r#"{"op":1.5}"#, r#"{"op":2}"#, "{}"];
        for frame in odd {
            assert_eq!(fake.frame(frame), Verdict::Control, "{frame}");
        }
        assert!(fake.seen.is_empty(), "{stage:?}");
        assert_eq!(fake.machine.stats().ignored, 6);
    }
}

#[test]
fn s1_a_second_hello_is_ignored() {
    for stage in [Stage::AwaitPermit, Stage::Identifying, Stage::Resuming, Stage::Ready] {
        let mut fake = Fake::at(stage, |_| {});
        fake.hello(20);
        assert!(fake.seen.is_empty(), "{stage:?}");
        assert_eq!(fake.machine.heartbeat.as_ref().unwrap().interval(), std::time::Duration::from_millis(INTERVAL));
    }
}

#[test]
fn s1_the_base_url_of_gateway_bot_decides_which_resume_url_is_trusted() {
    let mut fake = Fake::new(|config| {
        config.base_url = None;
        config.refuse_resume_url = |base, _, _| (base != BASE).then_some("a foreign host");
    });
    fake.open();
    fake.machine.set_base_url(BASE.to_owned());
    fake.connected_and_hello();
    fake.ready(1);
    fake.forget();
    fake.closed(None);
    assert_eq!(fake.next_connect().1.as_deref(), Some(super::support::RESUME));
}

#[test]
fn s5_f10_without_budget_a_new_gateway_ends_and_a_running_one_waits_for_it() {
    let mut fake = Fake::at(Stage::AwaitPermit, |_| {});
    fake.machine.permit_refused(fake.now, seconds(3600.0), 7.5);
    fake.act();
    assert_eq!(released(&fake), 1);
    assert_eq!(fake.ended(), Some(Ended::BudgetExhausted { resets_at: 7.5 }));

    let mut fake = Fake::at(Stage::Ready, |_| {});
    fake.permits = false;
    fake.frame(r#"{"op":9,"d":false}"#);
    fake.next_connect();
    fake.connected_and_hello();
    fake.forget();
    fake.machine.permit_refused(fake.now, seconds(3600.0), 7.5);
    fake.act();
    assert_eq!((released(&fake), fake.ended()), (1, None));
    assert_eq!(fake.count(|action| matches!(action, Action::Close { code: 4000, .. })), 1);
    fake.permits = true;
    assert_eq!(fake.next_connect(), (seconds(3600.0), None));
    fake.connected_and_hello();
    assert_eq!(fake.opcodes(), [2]);
}

#[test]
fn s5_f33_f34_an_odd_value_in_ready_costs_no_session() {
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let odd = [
        r#""user":{"id":"7","username":"\ud800"}"#,
        r#""user":{"id":"7","x":1e999}"#,
        r#""session_id":"old","user":{"id":"7"}"#,
        r#""user":{"id":"6"},"user":{"id":"7"}"#,
        &format!(r#""user":{{"x":{deep},"id":"7"}}"#),
        r#""user":{"id":7},"guilds":"none""#,
    ];
    for fields in odd {
        let mut fake = Fake::at(Stage::Identifying, |_| {});
        fake.frame(&format!(
            r#"{{"op":0,"s":1,"t":"READY","d":{{{fields},"session_id":"new","resume_gateway_url":"{BASE}"}}}}"#
        ));
        let session = fake.machine.session().unwrap_or_else(|| panic!("no session: {fields}"));
        assert_eq!((session.id.as_str(), fake.machine.user_id()), ("new", Some(7)), "{fields}");
    }
}
