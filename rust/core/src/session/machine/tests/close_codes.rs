//! protocol.md §10: what each close code received from Discord leads to, in every state.

use super::super::{Action, Ended};
use super::support::{Fake, RESUME, Stage, seconds};
use crate::protocol::FatalClose;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Resume,
    ResumeLater,
    Identify,
    Fatal(FatalClose),
}

const TABLE: &[(Option<u16>, Then)] = &[
    (None, Then::Resume),
    (Some(1000), Then::Resume),
    (Some(1001), Then::Resume),
    (Some(1002), Then::Resume),
    (Some(1003), Then::Resume),
    (Some(1005), Then::Resume),
    (Some(1006), Then::Resume),
    (Some(1007), Then::Resume),
    (Some(1008), Then::Resume),
    (Some(1009), Then::Resume),
    (Some(1011), Then::Resume),
    (Some(1012), Then::Resume),
    (Some(1013), Then::Resume),
    (Some(1014), Then::Resume),
    (Some(1015), Then::Resume),
    (Some(999), Then::Resume),
    (Some(3000), Then::Resume),
    (Some(4000), Then::Resume),
    (Some(4001), Then::Identify),
    (Some(4002), Then::Resume),
    (Some(4003), Then::Identify),
    (Some(4004), Then::Fatal(FatalClose::AuthenticationFailed)),
    (Some(4005), Then::Identify),
    (Some(4006), Then::Identify),
    (Some(4007), Then::Identify),
    (Some(4008), Then::ResumeLater),
    (Some(4009), Then::Identify),
    (Some(4010), Then::Fatal(FatalClose::InvalidShard)),
    (Some(4011), Then::Fatal(FatalClose::ShardingRequired)),
    (Some(4012), Then::Fatal(FatalClose::InvalidApiVersion)),
    (Some(4013), Then::Fatal(FatalClose::InvalidIntents)),
    (Some(4014), Then::Fatal(FatalClose::DisallowedIntents)),
    (Some(4015), Then::Identify),
    (Some(4016), Then::Identify),
    (Some(4999), Then::Resume),
    (Some(u16::MAX), Then::Resume),
];

#[test]
fn s10_f20_the_whole_table_in_every_state() {
    for &(code, then) in TABLE {
        for stage in Stage::OPEN {
            let mut fake = Fake::at(stage, |_| {});
            fake.closed(code);
            let context = format!("{code:?} in {stage:?}");
            let closed: Vec<_> = fake.seen.iter().filter(|(_, action)| matches!(action, Action::Closed(_))).collect();
            let [(_, Action::Closed(closed))] = closed[..] else { panic!("one Closed for {context}") };
            assert_eq!((closed.code, closed.reason.as_str()), (code, "why"), "{context}");
            if let Then::Fatal(close) = then {
                let ended = Ended::fatal(close, "why".to_owned());
                assert_eq!((closed.reconnect, &closed.error), (false, &Some(ended.clone())), "{context}");
                assert_eq!(fake.ended(), Some(ended), "{context}");
                fake.pass(3600.0);
                assert_eq!(fake.count(|action| matches!(action, Action::Connect { .. })), 0, "I6: {context}");
                continue;
            }
            assert_eq!((closed.reconnect, &closed.error), (true, &None), "{context}");
            let (wait, url) = fake.next_connect();
            let had_session = matches!(stage, Stage::Resuming | Stage::Ready);
            let resumes = had_session && then != Then::Identify;
            assert_eq!(url.as_deref(), resumes.then_some(RESUME), "{context}");
            match (then, stage) {
                (Then::ResumeLater, _) => assert!(wait >= seconds(5.0), "{context}"),
                (_, Stage::Ready) => assert_eq!(wait, seconds(0.0), "{context}"),
                _ => assert!(wait >= seconds(0.1) && wait <= seconds(1.0), "{context}: {wait:?}"),
            }
            fake.permits = true;
            fake.connected_and_hello();
            assert_eq!(fake.opcodes(), [if resumes { 6 } else { 2 }], "{context}");
        }
    }
}

#[test]
fn s10_1000_and_1001_from_the_server_resume_once_then_identify_on_op_9() {
    for code in [1000, 1001] {
        let mut fake = Fake::at(Stage::Ready, |_| {});
        fake.closed(Some(code));
        fake.next_connect();
        fake.connected_and_hello();
        assert_eq!(fake.opcodes(), [6]);
        fake.frame(r#"{"op":9,"d":false}"#);
        fake.next_connect();
        fake.connected_and_hello();
        assert_eq!(fake.opcodes(), [2]);
    }
}

#[test]
fn s10_codes_that_blame_us_are_logged() {
    for (code, blames) in [(4001, 1), (4002, 1), (4005, 1), (4008, 1), (4000, 0), (4009, 0)] {
        let mut fake = Fake::at(Stage::Ready, |_| {});
        fake.closed(Some(code));
        assert_eq!(fake.count(|action| matches!(action, Action::Warn(_))), blames, "{code}");
    }
}

#[test]
fn s10_4002_again_and_again_backs_off() {
    let mut fake = Fake::at(Stage::Ready, |_| {});
    fake.closed(Some(4002));
    assert_eq!(fake.next_connect().0, seconds(0.0));
    fake.connected_and_hello();
    fake.resumed(2);
    fake.closed(Some(4002));
    assert!(fake.next_connect().0 >= seconds(0.1));
}

#[test]
fn s10_http_401_of_gateway_bot_is_a_refused_token() {
    let mut fake = Fake::at(Stage::Connecting, |_| {});
    fake.fail(super::super::ConnectFailureKind::Unauthorized, None);
    assert_eq!(fake.ended(), Some(Ended::Unauthorized { reason: "no".to_owned() }));
}
