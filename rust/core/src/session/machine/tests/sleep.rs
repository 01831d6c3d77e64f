//! A machine that was suspended, F19: its clock stood still, and its connections are not what they were.

use std::time::Duration;

use super::super::{Action, Ended};
use super::support::{Fake, RESUME, Stage, seconds};
use crate::session::Status;

fn slept(fake: &mut Fake, time: f64) {
    fake.machine.slept(fake.now, seconds(time));
    fake.act();
}

#[test]
fn f19_after_a_suspend_the_connection_is_dropped_and_resumed_at_once() {
    let mut fake = Fake::at(Stage::Ready, |_| {});
    slept(&mut fake, 3600.0);
    let closed = fake.actions().into_iter().find_map(|action| match action {
        Action::Closed(closed) => Some(closed),
        _ => None,
    });
    let closed = closed.unwrap();
    assert_eq!(closed.reason, "this machine was suspended for 3600 s");
    assert!(closed.reconnect && closed.error.is_none());
    // Nobody is there to hear a close frame.
    assert_eq!(fake.count(|action| matches!(action, Action::Close { .. })), 0);
    assert_eq!(fake.count(|action| *action == Action::Drop), 1);
    assert_eq!(fake.next_connect(), (Duration::ZERO, Some(RESUME.to_owned())));
    fake.connected_and_hello();
    assert_eq!(fake.opcodes(), [6]);
    assert_eq!(fake.beats(), [], "no beat was sent into the old connection");
}

#[test]
fn f19_a_suspend_is_no_failure_however_often_it_comes() {
    let mut fake = Fake::at(Stage::Ready, |_| {});
    for _ in 0..20 {
        fake.forget();
        slept(&mut fake, 60.0);
        assert_eq!(fake.next_connect().0, Duration::ZERO);
        // Not even where it comes in the middle of a resume, which would else cost the session.
        fake.connected_and_hello();
        fake.forget();
        slept(&mut fake, 60.0);
        assert_eq!(fake.next_connect(), (Duration::ZERO, Some(RESUME.to_owned())));
        fake.connected_and_hello();
        fake.resumed(2);
    }
    assert_eq!(fake.machine.backoff.failures(), 0);
}

#[test]
fn f19_a_nap_of_under_ten_seconds_costs_nothing() {
    for stage in Stage::ALL {
        let mut fake = Fake::at(stage, |_| {});
        let deadline = fake.machine.deadline(fake.now);
        slept(&mut fake, 9.9);
        assert_eq!(fake.actions(), [], "{stage:?}");
        assert_eq!(fake.machine.deadline(fake.now), deadline);
    }
}

#[test]
fn f19_in_every_state_a_suspend_leads_to_a_connection_at_once() {
    for stage in Stage::ALL {
        let mut fake = Fake::at(stage, |_| {});
        slept(&mut fake, 3600.0);
        if stage == Stage::Waiting {
            // What was to be waited for has passed meanwhile.
            fake.timeout();
        }
        assert_eq!(fake.next_connect().0, Duration::ZERO, "{stage:?}");
        assert_eq!(fake.machine.status(), Status::Connecting);
    }
    // A wait of which the sleep was a part goes on for the rest.
    let mut fake = Fake::at(Stage::Connecting, |_| {});
    fake.fail(super::super::ConnectFailureKind::Handshake, Some(seconds(50.0)));
    fake.forget();
    slept(&mut fake, 20.0);
    assert_eq!(fake.next_connect().0, seconds(30.0));
}

#[test]
fn f19_a_dial_and_a_permit_from_before_the_sleep_are_given_up() {
    let mut fake = Fake::at(Stage::Connecting, |_| {});
    slept(&mut fake, 60.0);
    assert!(matches!(fake.actions()[..], [Action::AbortConnect, Action::Connect { .. }]), "{:?}", fake.actions());
    for stage in [Stage::AwaitPermit, Stage::Identifying] {
        let mut fake = Fake::at(stage, |_| {});
        slept(&mut fake, 60.0);
        assert_eq!(fake.count(|action| *action == Action::ReleasePermit), 1, "{stage:?}");
    }
    // op 7 has opened another beside it: both are from before.
    let mut fake = Fake::at(Stage::Ready, |_| {});
    fake.frame(r#"{"op":7}"#);
    fake.connected();
    fake.forget();
    slept(&mut fake, 60.0);
    assert_eq!(fake.count(|action| matches!(action, Action::DropNext | Action::Drop)), 2);
    assert_eq!(fake.next_connect().0, Duration::ZERO);
    fake.connected_and_hello();
    assert_eq!(fake.opcodes(), [6]);
}

#[test]
fn f19_what_the_user_ended_or_would_not_have_remade_stays_so() {
    let mut fake = Fake::at(Stage::Ready, |_| {});
    fake.close(1000);
    fake.forget();
    slept(&mut fake, 3600.0);
    assert_eq!(fake.actions(), []);
    let mut fake = Fake::at(Stage::Ready, |config| config.auto_reconnect = false);
    slept(&mut fake, 3600.0);
    assert!(matches!(fake.ended(), Some(Ended::NotRemade { .. })));
}
