//! A driver without sockets: carries out the machine's actions, keeps them with their times, and
//! moves the clock from deadline to deadline.

use std::time::Duration;

use serde_json::Value;
use zeroize::Zeroizing;

use super::super::{
    Action, ConnectFailure, ConnectFailureKind, Ended, Machine, MachineConfig, Time, Timeouts, Verdict,
};
use crate::{
    inflate::Compression,
    protocol::envelope,
    session::{BackoffConfig, PresenceLimiter, Session},
};

pub(super) const BASE: &str = "wss://gateway.test";
pub(super) const RESUME: &str = "wss://resume.test";
pub(super) const INTERVAL: u64 = 45_000;

pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn refuse(_base: &str, resume: &str, _plaintext: bool) -> Option<&'static str> {
    resume.contains("evil").then_some("a foreign host")
}

pub(super) fn config() -> MachineConfig {
    MachineConfig {
        token: Zeroizing::new("secret-token".to_owned()),
        intents: 513,
        shard: Some((0, 2)),
        compression: Compression::ZstdStream,
        large_threshold: 50,
        presence: None,
        properties: ["linux", "propylon", "propylon"].map(str::to_owned),
        auto_reconnect: true,
        timeouts: Timeouts::default(),
        backoff: BackoffConfig::default(),
        session: None,
        refuse_resume_url: refuse,
        base_url: Some(BASE.to_owned()),
        assumed_url: BASE.to_owned(),
        allow_plaintext: false,
        presence_limiter: PresenceLimiter::default(),
        leased: false,
    }
}

pub(super) fn session(sequence: u64) -> Session {
    Session { id: "old".to_owned(), sequence, resume_url: Some(RESUME.to_owned()), shard: Some((0, 2)), intents: 513 }
}

/// Every state that a machine can be in before its end, the user's closing handshake aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    Waiting,
    AwaitHello,
    AwaitPermit,
    Identifying,
    Resuming,
    Ready,
}

impl Stage {
    pub(super) const ALL: [Self; 7] = [
        Self::Connecting,
        Self::Waiting,
        Self::AwaitHello,
        Self::AwaitPermit,
        Self::Identifying,
        Self::Resuming,
        Self::Ready,
    ];
    /// Those with an open connection.
    pub(super) const OPEN: [Self; 5] =
        [Self::AwaitHello, Self::AwaitPermit, Self::Identifying, Self::Resuming, Self::Ready];
}

pub(super) struct Fake {
    pub(super) machine: Machine,
    pub(super) now: Time,
    /// What the machine wanted since [`Fake::forget`].
    pub(super) seen: Vec<(Time, Action)>,
    /// The identify gate is open.
    pub(super) permits: bool,
    /// Heartbeats are acknowledged at once.
    pub(super) acks: bool,
    answered: usize,
}

impl Fake {
    pub(super) fn new(edit: impl FnOnce(&mut MachineConfig)) -> Self {
        Self::seeded(7, edit)
    }

    pub(super) fn seeded(seed: u64, edit: impl FnOnce(&mut MachineConfig)) -> Self {
        let mut config = config();
        edit(&mut config);
        let machine = Machine::new(config, seed);
        Self { machine, now: seconds(1000.0), seen: Vec::new(), permits: true, acks: true, answered: 0 }
    }

    /// A machine brought to `stage`, what it wanted on the way forgotten.
    pub(super) fn at(stage: Stage, edit: impl FnOnce(&mut MachineConfig)) -> Self {
        let mut fake = Self::new(|config| {
            if stage == Stage::Resuming {
                config.session = Some(session(5));
            }
            edit(config);
        });
        fake.permits = stage != Stage::AwaitPermit;
        fake.open();
        match stage {
            Stage::Connecting => {}
            Stage::Waiting => fake.refused(),
            Stage::AwaitHello => fake.connected(),
            Stage::AwaitPermit | Stage::Identifying | Stage::Resuming => fake.connected_and_hello(),
            Stage::Ready => {
                fake.connected_and_hello();
                fake.ready(1);
            }
        }
        fake.forget();
        fake
    }

    pub(super) fn act(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            self.seen.push((self.now, action));
        }
        while self.answered < self.seen.len() {
            let action = self.seen[self.answered].1.clone();
            self.answered += 1;
            match action {
                Action::AcquirePermit if self.permits => {
                    self.machine.permitted(self.now);
                    self.act();
                }
                Action::Send(text) if self.acks && text.starts_with(r#"{"op":1,"#) => self.ack(),
                _ => {}
            }
        }
    }

    pub(super) fn forget(&mut self) {
        self.seen.clear();
        self.answered = 0;
    }

    pub(super) fn open(&mut self) {
        self.machine.open(self.now);
        self.act();
    }

    pub(super) fn connected(&mut self) {
        self.machine.connected(self.now);
        self.act();
    }

    pub(super) fn connected_and_hello(&mut self) {
        self.connected();
        self.hello(INTERVAL);
    }

    pub(super) fn fail(&mut self, kind: ConnectFailureKind, retry_after: Option<Duration>) {
        let failure = ConnectFailure { kind, message: "no".to_owned(), retry_after };
        self.machine.connect_failed(self.now, failure);
        self.act();
    }

    pub(super) fn refused(&mut self) {
        self.fail(ConnectFailureKind::Unreachable, None);
    }

    pub(super) fn frame(&mut self, json: &str) -> Verdict {
        let envelope = envelope::scan(json.as_bytes()).unwrap();
        let verdict = self.machine.payload(self.now, &envelope, json.as_bytes());
        self.act();
        verdict
    }

    pub(super) fn hello(&mut self, interval: u64) {
        if self.machine.is_handing_over() {
            self.machine.switch(self.now);
            self.act();
        }
        self.frame(&format!(r#"{{"op":10,"d":{{"heartbeat_interval":{interval}}}}}"#));
    }

    pub(super) fn ready(&mut self, sequence: u64) {
        self.frame(&format!(
            r#"{{"op":0,"s":{sequence},"t":"READY","d":{{"session_id":"new","resume_gateway_url":"{RESUME}"}}}}"#
        ));
    }

    pub(super) fn resumed(&mut self, sequence: u64) {
        self.frame(&format!(r#"{{"op":0,"s":{sequence},"t":"RESUMED","d":{{}}}}"#));
    }

    pub(super) fn dispatch(&mut self, sequence: u64) {
        self.frame(&format!(r#"{{"op":0,"s":{sequence},"t":"TYPING_START","d":{{}}}}"#));
    }

    pub(super) fn ack(&mut self) {
        self.frame(r#"{"op":11,"d":{}}"#);
    }

    pub(super) fn closed(&mut self, code: Option<u16>) {
        self.machine.closed(self.now, code, "why");
        self.act();
    }

    pub(super) fn close(&mut self, code: u16) {
        self.machine.close(self.now, code, "bye");
        self.act();
    }

    pub(super) fn stop_reconnecting(&mut self) {
        self.machine.stop_reconnecting();
        self.act();
    }

    pub(super) fn send(&mut self, id: u64, opcode: u8) {
        self.machine.send(self.now, id, opcode, format!(r#"{{"op":{opcode},"d":{id}}}"#));
        self.act();
    }

    pub(super) fn presence(&mut self, id: u64) {
        self.machine.set_presence(self.now, id, id.to_string());
        self.act();
    }

    pub(super) fn timeout(&mut self) {
        self.machine.timeout(self.now, false);
        self.act();
    }

    /// Goes on to the next deadline, at most to `end`. Returns whether there was one.
    pub(super) fn step(&mut self, end: Time) -> bool {
        match self.machine.deadline(self.now) {
            Some(deadline) if deadline <= end => {
                self.now = self.now.max(deadline);
                self.timeout();
                let next = self.machine.deadline(self.now);
                assert!(next != Some(deadline), "a timeout that changed nothing: {:?}", self.seen.last());
                true
            }
            _ => {
                self.now = end;
                false
            }
        }
    }

    /// Lets time pass; every deadline on the way is honoured.
    pub(super) fn pass(&mut self, time: f64) {
        let end = self.now + seconds(time);
        while self.step(end) {}
    }

    /// To the next connection attempt; the way there is forgotten. Returns the wait and the URL.
    pub(super) fn next_connect(&mut self) -> (Duration, Option<String>) {
        let start = self.now;
        let end = start + seconds(3600.0);
        loop {
            if let Some(at) = self.seen.iter().position(|(_, action)| matches!(action, Action::Connect { .. })) {
                let (_, Action::Connect { resume_url }) = self.seen[at].clone() else { unreachable!() };
                self.forget();
                return (self.now - start, resume_url);
            }
            assert!(self.step(end), "no further connection: {:?}", self.seen);
        }
    }

    /// Plays a server for `time` seconds that does `react` to every connection. Returns when they were tried.
    pub(super) fn hostile(&mut self, time: f64, react: impl Fn(&mut Self)) -> Vec<Time> {
        let end = self.now + seconds(time);
        let mut tried = Vec::new();
        self.open();
        loop {
            if let Some(at) = self.seen.iter().position(|(_, action)| matches!(action, Action::Connect { .. })) {
                self.seen.drain(..=at);
                self.answered = self.answered.saturating_sub(at + 1);
                tried.push(self.now);
                assert!(tried.len() < 10_000, "a spin");
                react(self);
            } else if !self.step(end) {
                return tried;
            }
        }
    }

    pub(super) fn actions(&self) -> Vec<Action> {
        self.seen.iter().map(|(_, action)| action.clone()).collect()
    }

    pub(super) fn count(&self, wanted: impl Fn(&Action) -> bool) -> usize {
        self.seen.iter().filter(|(_, action)| wanted(action)).count()
    }

    /// What was sent, with its time.
    pub(super) fn sent(&self) -> Vec<(Time, Value)> {
        let text = |(at, action): &(Time, Action)| match action {
            Action::Send(text) => Some((*at, serde_json::from_str(text).unwrap())),
            _ => None,
        };
        self.seen.iter().filter_map(text).collect()
    }

    /// The opcodes of what was sent, heartbeats left out.
    pub(super) fn opcodes(&self) -> Vec<u64> {
        self.sent().iter().map(|(_, payload)| payload["op"].as_u64().unwrap()).filter(|&op| op != 1).collect()
    }

    /// When heartbeats left.
    pub(super) fn beats(&self) -> Vec<Time> {
        self.sent().iter().filter(|(_, payload)| payload["op"] == 1).map(|(at, _)| *at).collect()
    }

    /// How each finished command ended: written or not.
    pub(super) fn done(&self) -> Vec<(u64, bool)> {
        let done = |(_, action): &(Time, Action)| match action {
            Action::CommandDone(id, outcome) => Some((*id, outcome.is_ok())),
            _ => None,
        };
        self.seen.iter().filter_map(done).collect()
    }

    pub(super) fn ended(&self) -> Option<Ended> {
        let mut ended = self.seen.iter().filter_map(|(_, action)| match action {
            Action::Ended(how) => Some(how.clone()),
            _ => None,
        });
        let how = ended.next();
        assert!(ended.next().is_none(), "ended twice");
        how
    }
}
