//! protocol.md §11: the delays between connections. No server makes the machine spin.

use std::time::Duration;

use super::super::{Action, ConnectFailureKind, Time};
use super::support::{Fake, Stage, seconds};
use crate::session::{Backoff, BackoffConfig};

const HOUR: f64 = 3600.0;

/// An hour of it: a few connections at once are allowed, then one in 60 s or so.
fn assert_no_spin(what: &str, tried: &[Time]) {
    let within = |span: f64| tried.iter().filter(|&&at| at - tried[0] < seconds(span)).count();
    assert!(within(1.0) <= 9, "{what}: {} in the first second", within(1.0));
    assert!(within(60.0) <= 30, "{what}: {} in the first minute", within(60.0));
    assert!(tried.len() <= 260, "{what}: {} in an hour", tried.len());
    assert!(tried.len() >= 60, "{what}: gave up, {}", tried.len());
    let late = tried.iter().filter(|&&at| at - tried[0] > seconds(HOUR / 2.0)).count();
    assert!(late <= 130, "{what}: {late} in the second half hour");
}

#[test]
fn s11_no_hostile_server_makes_it_spin() {
    type Server = (&'static str, fn(&mut Fake));
    let servers: [Server; 12] = [
        ("accepts and closes 4000", |fake| {
            fake.connected();
            fake.closed(Some(4000));
        }),
        ("HELLO, then drops", |fake| {
            fake.connected_and_hello();
            fake.closed(None);
        }),
        ("READY, then closes at once", |fake| {
            fake.connected_and_hello();
            fake.ready(1);
            fake.closed(Some(4000));
        }),
        ("READY, then invalidates with 4009", |fake| {
            fake.connected_and_hello();
            fake.ready(1);
            fake.closed(Some(4009));
        }),
        ("RESUMED or READY, then closes at once", |fake| {
            fake.connected_and_hello();
            fake.resumed(1);
            fake.ready(1);
            fake.closed(None);
        }),
        ("op 7 before HELLO", |fake| {
            fake.connected();
            fake.frame(r#"{"op":7}"#);
        }),
        ("READY, then op 7", |fake| {
            fake.connected_and_hello();
            fake.ready(1);
            fake.frame(r#"{"op":7}"#);
        }),
        ("op 9 false", |fake| {
            fake.connected_and_hello();
            fake.frame(r#"{"op":9,"d":false}"#);
        }),
        ("READY, then op 9 true", |fake| {
            fake.connected_and_hello();
            fake.ready(1);
            fake.frame(r#"{"op":9,"d":true}"#);
        }),
        ("malformed HELLO", |fake| {
            fake.connected();
            fake.hello(0);
        }),
        ("HTTP 503", |fake| fake.fail(ConnectFailureKind::Handshake, None)),
        ("READY, then garbage", |fake| {
            fake.connected_and_hello();
            fake.ready(1);
            fake.machine.transport_failed(fake.now, "inflate");
            fake.act();
        }),
    ];
    for (what, server) in servers {
        let mut fake = Fake::new(|_| {});
        assert_no_spin(what, &fake.hostile(HOUR, server));
    }
}

#[test]
fn s11_an_unreachable_resume_host_does_not_make_it_spin() {
    let mut fake = Fake::at(Stage::Ready, |_| {});
    fake.closed(None);
    let tried = fake.hostile(HOUR, |fake| {
        if fake.machine.at_resume_url {
            return fake.refused();
        }
        fake.connected_and_hello();
        fake.ready(1);
        fake.closed(None);
    });
    // Each drop costs two attempts: the resume host, then the base URL.
    assert!(tried.len() <= 520, "{}", tried.len());
    let first = tried.iter().filter(|&&at| at - tried[0] < seconds(1.0)).count();
    assert!(first <= 12, "{first} in the first second");
}

#[test]
fn s11_i2_no_server_makes_it_burn_identifies() {
    let mut fake = Fake::new(|_| {});
    fake.hostile(HOUR, |fake| {
        fake.connected_and_hello();
        fake.frame(r#"{"op":9,"d":false}"#);
    });
    assert!(fake.machine.stats().identifies <= 130, "{}", fake.machine.stats().identifies);
}

#[test]
fn s11_failures_double_from_1_to_60_seconds_with_full_jitter() {
    let mut longest = [Duration::ZERO; 9];
    let mut shortest = [Duration::MAX; 9];
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut backoff = Backoff::new(BackoffConfig::default());
        for turn in 0..9 {
            let delay = backoff.after_failure(&mut rng);
            longest[turn] = longest[turn].max(delay);
            shortest[turn] = shortest[turn].min(delay);
        }
    }
    for (turn, bound) in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0].into_iter().enumerate() {
        assert!(longest[turn] <= seconds(bound) && longest[turn] > seconds(bound * 0.95), "{turn}: {longest:?}");
        assert!(shortest[turn] >= seconds(bound * 0.1) && shortest[turn] < seconds(bound * 0.15), "{turn}");
    }
}

#[test]
fn s11_endless_failures_do_not_overflow() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut backoff = Backoff::new(BackoffConfig { cap: seconds(1e9), ..BackoffConfig::default() });
    for _ in 0..10_000 {
        assert!(backoff.after_failure(&mut rng) <= seconds(1e9));
        assert!(backoff.after_invalid_session(&mut rng) <= seconds(1e9));
    }
}

#[test]
fn shards_that_start_or_are_cut_off_together_come_back_spread_over_a_moment() {
    let (mut starts, mut returns) = (Vec::new(), Vec::new());
    for shard in 0..50 {
        let mut fake = Fake::seeded(shard, |config| config.backoff.spread = seconds(5.0));
        fake.open();
        starts.push(fake.next_connect().0);
        let mut backoff = Backoff::new(BackoffConfig { spread: seconds(5.0), ..BackoffConfig::default() });
        returns.push(backoff.after_drop(&mut fastrand::Rng::with_seed(shard)));
        assert_eq!(backoff.failures(), 0, "it is no failure");
    }
    for times in [starts, returns] {
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        assert!(*most <= seconds(5.1) && *most - *least > seconds(2.0), "{times:?}");
    }
}

#[test]
fn s11_the_first_drop_after_ready_is_free_and_the_next_is_not() {
    let mut fake = Fake::at(Stage::Ready, |_| {});
    fake.closed(None);
    assert_eq!(fake.next_connect().0, seconds(0.0));
    fake.connected_and_hello();
    fake.resumed(2);
    fake.pass(29.0);
    fake.closed(None);
    fake.forget();
    assert!(fake.next_connect().0 >= seconds(0.1));
}

#[test]
fn s11_a_ready_that_held_30_seconds_resets_the_backoff() {
    let mut fake = Fake::at(Stage::Connecting, |_| {});
    for _ in 0..8 {
        fake.refused();
        fake.forget();
        while fake.count(|action| matches!(action, Action::Connect { .. })) == 0 {
            fake.step(Duration::MAX);
        }
    }
    fake.connected_and_hello();
    fake.ready(1);
    assert_eq!(fake.machine.backoff.failures(), 8, "READY alone resets nothing");
    fake.pass(30.0);
    for _ in 0..2 {
        fake.closed(None);
        fake.forget();
        assert_eq!(fake.machine.backoff.failures(), 0);
        fake.connected_and_hello();
        fake.resumed(2);
        fake.pass(30.0);
    }
}

#[test]
fn s11_op_7_is_no_failure_unless_the_server_does_nothing_else() {
    let mut fake = Fake::at(Stage::Ready, |_| {});
    for turn in 0..10 {
        fake.forget();
        fake.frame(r#"{"op":7}"#);
        let (wait, _) = fake.next_connect();
        assert_eq!(wait.is_zero(), turn < 5, "{turn}");
        fake.connected_and_hello();
        fake.resumed(2);
    }
}

#[test]
fn s11_op_7_leaves_the_free_drop() {
    let mut fake = Fake::at(Stage::Ready, |_| {});
    fake.frame(r#"{"op":7}"#);
    fake.connected_and_hello();
    fake.resumed(2);
    fake.forget();
    fake.closed(None);
    assert_eq!(fake.next_connect().0, seconds(0.0));
}

#[test]
fn s11_f03_retry_after_is_honoured_up_to_the_cap() {
    for (said, least) in [(40.0, 40.0), (86_400.0, 60.0)] {
        let mut fake = Fake::at(Stage::Connecting, |_| {});
        fake.fail(ConnectFailureKind::Handshake, Some(seconds(said)));
        let Action::ConnectFailed(_, delay) = fake.seen[0].1.clone() else { panic!("no ConnectFailed") };
        assert_eq!(delay, seconds(least));
        assert_eq!(fake.next_connect().0, delay, "the delay told is the delay kept");
    }
}

#[test]
fn s11_f03_a_rate_limit_that_does_not_say_how_long_is_waited_for_30_to_45_seconds() {
    let mut waits = Vec::new();
    for seed in 0..200 {
        let mut fake = Fake::seeded(seed, |_| {});
        fake.open();
        for _ in 0..3 {
            fake.forget();
            fake.fail(ConnectFailureKind::RateLimited, None);
            waits.push(fake.next_connect().0);
        }
    }
    assert!(waits.iter().all(|&wait| wait >= seconds(30.0) && wait <= seconds(45.0)), "{waits:?}");
    assert!(waits.iter().any(|&wait| wait < seconds(32.0)) && waits.iter().any(|&wait| wait > seconds(43.0)));
    // Also where it meets the connection that is opened beside another: it would meet the next one, too.
    let mut fake = Fake::at(Stage::Ready, |_| {});
    fake.frame(r#"{"op":7}"#);
    fake.forget();
    fake.fail(ConnectFailureKind::RateLimited, None);
    assert!(fake.next_connect().0 >= seconds(30.0));
    // What is said counts instead, and the user's cap holds for both.
    let mut fake = Fake::at(Stage::Connecting, |_| {});
    fake.fail(ConnectFailureKind::RateLimited, Some(seconds(3.0)));
    assert_eq!(fake.next_connect().0, seconds(3.0));
    let mut fake = Fake::at(Stage::Connecting, |config| config.backoff.cap = seconds(0.5));
    fake.fail(ConnectFailureKind::RateLimited, None);
    assert_eq!(fake.next_connect().0, seconds(0.5));
}

#[test]
fn s11_http_errors_on_the_upgrade_are_never_fatal() {
    let mut fake = Fake::at(Stage::Connecting, |_| {});
    for _ in 0..50 {
        fake.fail(ConnectFailureKind::Handshake, None);
        fake.next_connect();
    }
}

#[test]
fn f10_op_9_for_ever_backs_off() {
    let mut fake = Fake::at(Stage::Identifying, |_| {});
    let mut waits = Vec::new();
    for _ in 0..20 {
        fake.frame(r#"{"op":9,"d":false}"#);
        waits.push(fake.next_connect().0);
        fake.connected_and_hello();
    }
    assert!(waits.iter().all(|&wait| wait >= seconds(1.0) && wait <= seconds(60.0)), "{waits:?}");
    assert!(waits.iter().sum::<Duration>() > seconds(200.0), "{waits:?}");
}

#[test]
fn s11_a_certificate_or_a_proxys_password_is_hopeless_only_before_anything_worked() {
    for kind in [ConnectFailureKind::Certificate, ConnectFailureKind::ProxyRefused] {
        let mut fake = Fake::at(Stage::Connecting, |_| {});
        fake.fail(kind, None);
        assert!(fake.ended().is_some());
        let mut fake = Fake::at(Stage::Ready, |_| {});
        fake.closed(Some(4009));
        fake.fail(kind, None);
        assert!(fake.ended().is_none());
    }
}
