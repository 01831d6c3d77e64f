//! Why connections were lost, and what became of commands: closed tables, and each is counted once.

use std::time::Duration;

use super::support::{Fake, Stage};
use crate::session::{Cause, CommandCounts, CommandKind, CommandResult};

fn causes(fake: &Fake) -> Vec<Cause> {
    let counts = fake.machine.stats().reconnects_by;
    assert_eq!(counts.iter().sum::<u64>(), fake.machine.stats().reconnects);
    Cause::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).map(|(cause, _)| cause).collect()
}

fn after(lose: impl Fn(&mut Fake)) -> Vec<Cause> {
    let mut fake = Fake::at(Stage::Ready, |_| {});
    lose(&mut fake);
    // The next connection comes after a delay of up to a minute.
    for _ in 0..120 {
        if fake.machine.stats().reconnects > 0 {
            break;
        }
        fake.connected();
        fake.pass(1.0);
    }
    causes(&fake)
}

#[test]
fn a_lost_connection_is_counted_by_its_cause_when_the_next_one_is_there() {
    assert!(causes(&Fake::at(Stage::Ready, |_| {})).is_empty());
    for (code, cause) in [
        (None, Cause::Network),
        (Some(1001), Cause::CloseOfProtocol),
        (Some(1006), Cause::CloseOfProtocol),
        (Some(4000), Cause::CloseOfDiscord),
        (Some(4009), Cause::CloseOfDiscord),
        (Some(3999), Cause::CloseOfDiscord),
    ] {
        assert_eq!(after(|fake| fake.closed(code)), [cause], "{code:?}");
    }
    let op = |json: &'static str| {
        after(move |fake| {
            fake.frame(json);
        })
    };
    assert_eq!(op(r#"{"op":7,"d":null}"#), [Cause::Reconnect]);
    assert_eq!(op(r#"{"op":9,"d":false}"#), [Cause::InvalidSession]);
    assert_eq!(op(r#"{"op":9,"d":true}"#), [Cause::InvalidSession]);
    let missed = after(|fake| {
        fake.acks = false;
        fake.pass(100.0);
    });
    assert_eq!(missed, [Cause::MissedAck]);
    let unusable = after(|fake| {
        fake.machine.transport_failed(fake.now, "no JSON");
        fake.act();
    });
    assert_eq!(unusable, [Cause::BadData]);
    let suspended = after(|fake| {
        fake.machine.slept(fake.now, Duration::from_mins(1));
        fake.act();
    });
    assert_eq!(suspended, [Cause::Suspended]);
}

#[test]
fn a_server_that_says_nothing_is_no_answer() {
    let mut fake = Fake::at(Stage::AwaitHello, |_| {});
    fake.pass(21.0);
    for _ in 0..120 {
        fake.connected();
        fake.pass(0.5);
    }
    assert_eq!(causes(&fake), [Cause::NoAnswer]);
}

#[test]
fn names_and_numbers_of_causes_are_their_own() {
    for (number, cause) in Cause::ALL.into_iter().enumerate() {
        assert_eq!(cause as usize, number);
    }
    let names: std::collections::BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
    assert_eq!(names.len(), Cause::COUNT);
    for (number, kind) in CommandKind::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, number);
    }
    for (number, result) in CommandResult::ALL.into_iter().enumerate() {
        assert_eq!(result as usize, number);
    }
}

fn commands(counts: &CommandCounts) -> Vec<(CommandKind, CommandResult, u64)> {
    let rows = CommandKind::ALL.into_iter().zip(counts.0);
    rows.flat_map(|(kind, row)| CommandResult::ALL.into_iter().zip(row).map(move |(result, n)| (kind, result, n)))
        .filter(|&(.., count)| count > 0)
        .collect()
}

#[test]
fn commands_are_counted_by_kind_and_by_what_became_of_them() {
    use CommandKind::{ChannelInfo, Members, Other, Presence, SoundboardSounds, VoiceState};
    use CommandResult::{Cancelled, NotConnected, Sent, Superseded};
    let mut fake = Fake::at(Stage::Ready, |_| {});
    for (id, opcode) in [(1, 4), (2, 8), (3, 31), (4, 43), (5, 99)] {
        fake.send(id, opcode);
    }
    fake.presence(6);
    let sent = [Presence, VoiceState, Members, SoundboardSounds, ChannelInfo, Other].map(|kind| (kind, Sent, 1));
    assert_eq!(commands(&fake.machine.stats().commands), sent);
    assert_eq!(fake.machine.stats().commands_sent, 6);

    // Not ready: all of them wait.
    let mut fake = Fake::at(Stage::AwaitHello, |_| {});
    fake.send(1, 8);
    fake.send(2, 8);
    fake.presence(3);
    fake.presence(4);
    assert!(fake.machine.cancel(1) && !fake.machine.cancel(99));
    assert_eq!(commands(&fake.machine.stats().commands), [(Presence, Superseded, 1), (Members, Cancelled, 1)]);
    fake.close(1000);
    fake.send(5, 4);
    assert_eq!(
        commands(&fake.machine.stats().commands),
        [
            (Presence, NotConnected, 1),
            (Presence, Superseded, 1),
            (VoiceState, NotConnected, 1),
            (Members, NotConnected, 1),
            (Members, Cancelled, 1),
        ]
    );
}
