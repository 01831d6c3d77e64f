//! The invariants I1, I3 to I7, I9 and I10 of faults.md §3.2 over random scripts of what a server, a network, a user and
//! the clock can do. `model` plays the scripts and checks after every step. I8, that nothing is lost before a resumable
//! drop, is I4 here: RESUME asks for what follows the last accepted event and for nothing else. I2 is the identify gate's.

use proptest::prelude::*;

use super::{
    super::ConnectFailureKind,
    model::Model,
    script::{Input, Reached, ReadySession},
};

fn interval() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => Just(45_000),
        3 => Just(5_000),
        3 => Just(1_000),
        1 => Just(1_016),
        2 => Just(20),
        1 => Just(600_000),
        1 => prop_oneof![Just(0), Just(19), Just(600_001), Just(u64::MAX)],
    ]
}

fn sequence() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![2 => Just(None), 10 => (0_u64..200).prop_map(Some), 1 => Just(Some(u64::MAX))]
}

fn close_code() -> impl Strategy<Value = Option<u16>> {
    prop_oneof![
        4 => Just(None),
        4 => prop_oneof![Just(1000), Just(1001), Just(1006), Just(4000)].prop_map(Some),
        6 => (4000_u16..4017).prop_map(Some),
        1 => any::<u16>().prop_map(Some),
    ]
}

fn failure() -> impl Strategy<Value = ConnectFailureKind> {
    use ConnectFailureKind::{Certificate, Config, Handshake, ProxyRefused, RateLimited, Unauthorized, Unreachable};
    prop_oneof![
        30 => Just(Unreachable),
        10 => Just(Handshake),
        5 => Just(RateLimited),
        3 => Just(Certificate),
        3 => Just(ProxyRefused),
        1 => Just(Config),
        1 => Just(Unauthorized),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let ready = (
        sequence(),
        prop_oneof![6 => Just(ReadySession::Good), 1 => Just(ReadySession::EvilUrl), 1 => Just(ReadySession::NoUrl), 1 => Just(ReadySession::NoId)],
    );
    prop_oneof![
        40 => Just(Input::Natural),
        16 => (1_u64..70_000).prop_map(Input::Pass),
        3 => (0_u64..5).prop_map(Input::Pass),
        3 => (1_u64..200_000).prop_map(Input::Stop),
        2 => (0_u64..200_000).prop_map(Input::Sleep),
        6 => (failure(), any::<bool>()).prop_map(|(kind, retry)| Input::ConnectFailed(kind, retry)),
        2 => interval().prop_map(Input::Hello),
        18 => Just(Input::NextLost),
        2 => ready.prop_map(|(sequence, session)| Input::Ready(sequence, session)),
        2 => sequence().prop_map(Input::Resumed),
        8 => sequence().prop_map(Input::Dispatch),
        3 => Just(Input::Ack),
        2 => Just(Input::ToggleAcks),
        4 => (1_u16..300).prop_map(Input::Request),
        6 => Just(Input::Reconnect),
        4 => any::<bool>().prop_map(Input::InvalidSession),
        2 => (0_u8..60).prop_map(Input::UnknownOp),
        8 => close_code().prop_map(Input::Closed),
        2 => Just(Input::TransportFailed),
        8 => (1_u16..80, prop_oneof![4 => Just(8_u8), 1 => Just(3_u8)]).prop_map(|(count, op)| Input::Send(count, op)),
        4 => (1_u16..8).prop_map(Input::Presence),
        3 => (0_u64..64).prop_map(Input::Cancel),
        3 => Just(Input::Pause),
        4 => Just(Input::ResumeReading),
        2 => Just(Input::LatePermit),
        2 => (0_u64..100_000).prop_map(Input::PermitRefused),
        1 => prop_oneof![Just(1000), Just(1001), Just(4000)].prop_map(Input::UserClose),
        1 => Just(Input::StopReconnecting),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn i1_i3_i4_i5_i6_i7_i8_i9_i10_hold_over_random_scripts(
        seed in any::<u64>(),
        interval in interval(),
        acks in any::<bool>(),
        with_session in any::<bool>(),
        auto_reconnect in prop::bool::weighted(0.9),
        script in prop::collection::vec(input(), 1..90),
    ) {
        let mut model = Model::new(seed, interval, acks, with_session, auto_reconnect);
        for input in script {
            model.apply(&input);
        }
        model.finish();
    }
}

#[test]
fn the_scripts_reach_every_state() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};

    let mut runner = TestRunner::deterministic();
    let mut reached = Reached::default();
    for seed in 0..2500 {
        let script = prop::collection::vec(input(), 90).new_tree(&mut runner).unwrap().current();
        let mut model = Model::new(seed, 45_000, seed % 3 != 0, seed % 2 == 0, true);
        for input in script {
            model.apply(&input);
        }
        model.finish();
        reached.add(&model.reached);
    }
    for (what, times) in reached.all() {
        assert!(times >= 60, "{what} only {times} times: {reached:?}");
    }
}
