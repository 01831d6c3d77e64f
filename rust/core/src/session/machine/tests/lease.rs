//! A session that several processes may take: RESUME and IDENTIFY wait for the word that it is still ours.

use std::time::Duration;

use super::super::{Action, Ended};
use super::support::{Fake, RESUME, Stage, session};

fn leased(stage: Stage) -> Fake {
    let mut fake = Fake::new(|config| {
        config.leased = true;
        config.session = Some(session(5));
    });
    fake.open();
    held(&mut fake, 1);
    if stage == Stage::Ready {
        fake.connected_and_hello();
        fake.resumed(6);
    }
    fake.forget();
    fake
}

fn held(fake: &mut Fake, check: u64) {
    fake.machine.lease_held(fake.now, check);
    fake.act();
}

fn taken_over(fake: &mut Fake) {
    fake.machine.taken_over();
    fake.act();
}

fn checks(fake: &Fake) -> Vec<u64> {
    let check = |action| if let Action::CheckLease(check) = action { Some(check) } else { None };
    fake.actions().into_iter().filter_map(check).collect()
}

#[test]
fn s9_with_an_answer_in_time_a_resume_waits_for_nothing() {
    let mut fake = leased(Stage::Ready);
    fake.closed(None);
    assert_eq!(checks(&fake), [2]);
    held(&mut fake, 2);
    assert_eq!(fake.next_connect(), (Duration::ZERO, Some(RESUME.to_owned())));
    fake.connected_and_hello();
    assert_eq!(fake.opcodes(), [6]);
}

#[test]
fn s9_no_resume_leaves_before_the_answer_to_its_own_check() {
    let mut fake = leased(Stage::Ready);
    fake.closed(None);
    fake.connected();
    fake.refused();
    fake.connected_and_hello();
    // An answer to an earlier connection's check says nothing of now.
    held(&mut fake, 1);
    assert_eq!(fake.opcodes(), [0_u64; 0]);
    held(&mut fake, 2);
    assert_eq!(fake.opcodes(), [6]);
}

#[test]
fn s9_a_session_that_was_taken_over_is_neither_resumed_nor_ended() {
    for hello in [false, true] {
        let mut fake = leased(Stage::Ready);
        fake.closed(None);
        if hello {
            fake.connected_and_hello();
        }
        taken_over(&mut fake);
        assert_eq!(fake.ended(), Some(Ended::TakenOver));
        assert_eq!(fake.opcodes(), [0_u64; 0]);
        let closes = fake.count(|action| matches!(action, Action::Close { code: 4000, .. }));
        let aborts = fake.count(|action| *action == Action::AbortConnect);
        assert_eq!((closes, aborts), if hello { (1, 0) } else { (0, 1) });
        assert!(fake.machine.session().is_none());
        assert_eq!(fake.machine.deadline(fake.now), None);
    }
}

#[test]
fn s10_a_connection_that_still_serves_is_closed_with_4000_and_it_is_over() {
    let mut fake = leased(Stage::Ready);
    // Beside it the next connection is on its way, after op 7.
    fake.frame(r#"{"op":7,"d":null}"#);
    assert_eq!(checks(&fake), [2]);
    taken_over(&mut fake);
    taken_over(&mut fake);
    assert_eq!(fake.count(|action| matches!(action, Action::Close { code: 4000, .. })), 1);
    assert_eq!(fake.count(|action| *action == Action::AbortConnect), 1);
    let closed = fake.actions().into_iter().find_map(|action| match action {
        Action::Closed(closed) => Some(closed),
        _ => None,
    });
    let closed = closed.unwrap();
    assert!(!closed.reconnect);
    assert_eq!((closed.error, fake.ended()), (Some(Ended::TakenOver), Some(Ended::TakenOver)));
}

#[test]
fn s9_a_blocked_event_loop_costs_five_seconds_and_not_the_session() {
    let mut fake = leased(Stage::Ready);
    fake.closed(None);
    fake.connected_and_hello();
    fake.pass(4.9);
    assert_eq!(fake.opcodes(), [0_u64; 0]);
    fake.pass(0.1);
    assert_eq!(fake.opcodes(), [6]);
    assert_eq!(fake.count(|action| matches!(action, Action::Warn(text) if text.contains("blocked"))), 1);
}

#[test]
fn s9_a_blocked_event_loop_does_not_fight_for_the_session() {
    let mut fake = leased(Stage::Ready);
    fake.closed(None);
    fake.connected_and_hello();
    fake.pass(5.0);
    fake.resumed(7);
    // Taken again: there is no second RESUME before a word, however long it takes, and the connection is kept meanwhile.
    fake.forget();
    fake.closed(None);
    fake.next_connect();
    fake.connected_and_hello();
    fake.pass(600.0);
    assert_eq!((fake.opcodes(), fake.ended()), (vec![], None));
    assert!(fake.beats().len() > 10);
    // The word restores both the session and the credit.
    held(&mut fake, 3);
    assert_eq!(fake.opcodes(), [6]);
    fake.resumed(8);
    fake.forget();
    fake.closed(None);
    fake.next_connect();
    fake.connected_and_hello();
    fake.pass(5.0);
    assert_eq!(fake.opcodes(), [6]);
}

#[test]
fn s5_an_identify_waits_for_the_word_as_long_as_it_takes() {
    let mut fake = Fake::new(|config| config.leased = true);
    fake.open();
    fake.connected_and_hello();
    fake.pass(600.0);
    assert_eq!(fake.opcodes(), [0_u64; 0]);
    held(&mut fake, 1);
    assert_eq!(fake.opcodes(), [2]);
}

#[test]
fn s9_waiting_for_the_word_is_no_failed_resume() {
    let mut fake = leased(Stage::Connecting);
    fake.connected_and_hello();
    fake.resumed(6);
    for _ in 0..10 {
        fake.forget();
        fake.closed(None);
        fake.next_connect();
        fake.connected_and_hello();
    }
    assert!(fake.machine.session().is_some());
}

#[test]
fn s9_without_a_store_that_others_use_nobody_is_asked() {
    let mut fake = Fake::at(Stage::Ready, |_| {});
    fake.closed(None);
    fake.connected_and_hello();
    assert_eq!((checks(&fake), fake.opcodes()), (vec![], vec![6]));
    let mut fake = leased(Stage::Ready);
    fake.close(4000);
    taken_over(&mut fake);
    fake.closed(Some(4000));
    assert_eq!(fake.ended(), Some(Ended::ByUser));
}
