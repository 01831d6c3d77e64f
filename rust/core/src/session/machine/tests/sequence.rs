//! protocol.md §2 and 'Servers that are almost Discord': sequence numbers, and READY and RESUMED that
//! come when they should not or without what they should have.

use super::super::{Action, Phase, Verdict};
use super::support::{Fake, RESUME, Stage};

fn ready() -> Fake {
    Fake::at(Stage::Ready, |_| {})
}

fn sequence(fake: &Fake) -> u64 {
    fake.machine.session().unwrap().sequence
}

#[test]
fn s2_f36_the_highest_sequence_is_kept_and_the_odd_are_counted() {
    let mut fake = ready();
    fake.dispatch(2);
    assert_eq!((fake.machine.stats().sequence_gaps, fake.machine.stats().duplicates), (0, 0));
    fake.dispatch(9);
    assert_eq!((sequence(&fake), fake.machine.stats().sequence_gaps), (9, 1));
    fake.dispatch(4);
    fake.dispatch(9);
    assert_eq!((sequence(&fake), fake.machine.stats().duplicates), (9, 2));
    assert_eq!(fake.frame(r#"{"op":0,"s":null,"t":"TYPING_START","d":{}}"#), Verdict::Dispatch);
    assert_eq!(fake.frame(r#"{"op":0,"t":"TYPING_START"}"#), Verdict::Dispatch);
    assert_eq!((sequence(&fake), fake.machine.stats().duplicates), (9, 2));
    fake.dispatch(u64::MAX);
    fake.dispatch(10);
    assert_eq!(sequence(&fake), u64::MAX);
    assert!(matches!(fake.machine.phase, Phase::Ready { .. }));
}

#[test]
fn s2_the_sequence_of_unknown_events_counts_too() {
    let mut fake = ready();
    assert_eq!(fake.frame(r#"{"op":0,"s":2,"t":"NEVER_HEARD_OF","d":[1,"x"]}"#), Verdict::Dispatch);
    assert_eq!(fake.frame(r#"{"op":0,"s":3,"t":null,"d":null}"#), Verdict::Dispatch);
    assert_eq!(sequence(&fake), 3);
}

#[test]
fn s2_only_op_0_moves_the_sequence() {
    let mut fake = ready();
    for frame in [r#"{"op":11,"s":50}"#, r#"{"op":1,"s":50}"#, r#"{"op":99,"s":50,"t":"X"}"#, r#"{"s":50,"t":"X"}"#] {
        fake.frame(frame);
        assert_eq!(sequence(&fake), 1, "{frame}");
    }
}

#[test]
fn s2_op_11_and_op_10_may_lack_s_t_and_d() {
    let mut fake = ready();
    fake.acks = false;
    for ack in [r#"{"op":11}"#, r#"{"op":11,"d":{}}"#, r#"{"op":11,"d":null,"s":null,"t":null}"#] {
        fake.step(std::time::Duration::MAX);
        assert_eq!(fake.frame(ack), Verdict::Control);
    }
    assert!(matches!(fake.machine.phase, Phase::Ready { .. }));
}

#[test]
fn s9_a_resumed_without_sequence_keeps_the_last() {
    let mut fake = Fake::at(Stage::Resuming, |_| {});
    fake.frame(r#"{"op":0,"s":null,"t":"RESUMED","d":null}"#);
    assert!(matches!(fake.machine.phase, Phase::Ready { .. }));
    assert_eq!(sequence(&fake), 5);
}

#[test]
fn s9_resumed_takes_its_own_sequence() {
    let mut fake = Fake::at(Stage::Resuming, |_| {});
    fake.resumed(6);
    assert_eq!(sequence(&fake), 6);
}

#[test]
fn s5_ready_with_sequence_zero_or_null_begins_at_zero() {
    for s in ["0", "null", "-1", "\"1\""] {
        let mut fake = Fake::at(Stage::Identifying, |_| {});
        fake.frame(&format!(r#"{{"op":0,"s":{s},"t":"READY","d":{{"session_id":"a"}}}}"#));
        assert!(matches!(fake.machine.phase, Phase::Ready { .. }));
        assert_eq!(sequence(&fake), 0, "{s}");
        fake.dispatch(1);
        assert_eq!((sequence(&fake), fake.machine.stats().sequence_gaps), (1, 0));
    }
}

#[test]
fn f11_ready_without_a_session_id_works_and_cannot_be_resumed() {
    for data in ["{}", "null", "[]", r#"{"session_id":null}"#, r#"{"session_id":7}"#, r#"{"session_id":""}"#] {
        let mut fake = Fake::at(Stage::Identifying, |_| {});
        fake.frame(&format!(r#"{{"op":0,"s":1,"t":"READY","d":{data}}}"#));
        assert_eq!(fake.count(|action| *action == Action::Ready { resumed: false }), 1, "{data}");
        fake.dispatch(2);
        fake.closed(None);
        fake.forget();
        fake.connected_and_hello();
        assert_eq!(fake.opcodes(), [2], "{data}");
    }
}

#[test]
fn f11_ready_with_an_odd_resume_url_is_resumed_at_the_base_url() {
    for url in ["null", "7", "\"\"", "[]"] {
        let mut fake = Fake::at(Stage::Identifying, |_| {});
        let data = format!(r#"{{"session_id":"a","resume_gateway_url":{url}}}"#);
        fake.frame(&format!(r#"{{"op":0,"s":1,"t":"READY","d":{data}}}"#));
        fake.closed(None);
        assert_eq!(fake.next_connect().1, None);
        fake.connected_and_hello();
        assert_eq!(fake.opcodes(), [6], "{url}");
    }
}

#[test]
fn f13_a_second_ready_is_adopted_and_counted() {
    let mut fake = ready();
    fake.dispatch(50);
    fake.frame(r#"{"op":0,"s":1,"t":"READY","d":{"session_id":"newer"}}"#);
    assert_eq!(fake.machine.session().unwrap().id, "newer");
    assert_eq!((sequence(&fake), fake.machine.stats().ignored), (1, 1));
    fake.closed(None);
    fake.next_connect();
    fake.connected_and_hello();
    assert_eq!(fake.sent()[0].1["d"]["session_id"], "newer");
}

#[test]
fn f13_ready_in_answer_to_resume_is_a_new_session() {
    let mut fake = Fake::at(Stage::Resuming, |_| {});
    fake.ready(1);
    assert_eq!(fake.machine.session().unwrap().id, "new");
    assert_eq!(fake.count(|action| *action == Action::Ready { resumed: false }), 1);
}

#[test]
fn f13_resumed_without_resume_is_ignored_and_counted() {
    for stage in [Stage::AwaitHello, Stage::AwaitPermit, Stage::Identifying, Stage::Ready] {
        let mut fake = Fake::at(stage, |_| {});
        let phase = fake.machine.phase.clone();
        fake.resumed(2);
        assert_eq!(fake.machine.phase, phase);
        assert!(fake.seen.is_empty());
        assert_eq!((fake.machine.stats().ignored, fake.machine.stats().resumes), (1, 0));
    }
}

#[test]
fn f13_ready_before_identify_is_ignored_and_the_deadlines_stand() {
    for stage in [Stage::AwaitHello, Stage::AwaitPermit] {
        let mut fake = Fake::at(stage, |_| {});
        let (phase, deadline) = (fake.machine.phase.clone(), fake.machine.deadline(fake.now));
        fake.ready(1);
        assert_eq!(fake.machine.phase, phase);
        assert_eq!(fake.machine.deadline(fake.now), deadline);
        assert!(fake.seen.is_empty() && fake.machine.session().is_none());
    }
}

#[test]
fn s8_ready_during_the_users_close_does_not_bring_the_session_back() {
    let mut fake = Fake::at(Stage::Identifying, |_| {});
    fake.close(1000);
    fake.ready(1);
    assert!(fake.machine.session().is_none());
    assert_eq!(fake.count(|action| matches!(action, Action::Ready { .. })), 0);
}

#[test]
fn s2_events_that_arrive_during_a_resumable_close_count() {
    let mut fake = ready();
    fake.close(4000);
    fake.dispatch(2);
    fake.closed(Some(4000));
    assert_eq!(sequence(&fake), 2);
    assert_eq!(fake.machine.session().unwrap().resume_url.as_deref(), Some(RESUME));
}
