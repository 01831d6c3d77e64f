//! A model driver for `properties`: obeys the machine's actions, keeps its own books about sessions,
//! permits, commands and sends, and checks the invariants against them.
//!
//! Over 500 lines because its books are one state: each invariant is held against several of them.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use serde_json::Value;

use super::{
    super::{Action, ConnectFailure, ConnectFailureKind, Ended, Machine, Time, Verdict},
    script::{Input, Reached, ReadySession},
    support::{RESUME, config, session},
};
use crate::protocol::{
    close_code::{CloseAction, action},
    envelope,
};

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // Facts about one connection, each independent of the others.
struct Connection {
    at_resume_url: bool,
    interval: Option<Duration>,
    /// HELLO, then the last op 1.
    beat: Time,
    sends: VecDeque<Time>,
    identified: bool,
    resumed: bool,
    established: bool,
    paused: bool,
    /// The user's close frame is out.
    closing: bool,
}

#[derive(Debug, PartialEq)]
enum Link {
    None,
    Dialling { at_resume_url: bool },
    Open,
}

#[derive(Debug, Clone, Copy)]
struct Next {
    at_resume_url: bool,
    open: bool,
}

#[allow(clippy::struct_excessive_bools)] // As above.
pub(super) struct Model {
    machine: Machine,
    now: Time,
    interval: u64,
    acks: bool,
    /// A beat is out that the server answers next.
    ack_due: bool,
    link: Link,
    /// op 7: the connection beside the current one.
    next: Option<Next>,
    /// How often it took the place of the current one.
    taken: u64,
    /// HELLO came on it, the machine is taking it.
    switching: bool,
    connection: Connection,
    /// Whether the session is still ours is answered: at once, or when nothing else is to be done.
    answers_at_once: bool,
    check: Option<u64>,
    /// Asked for and not given yet.
    asking: bool,
    /// Given and not released yet.
    permit: bool,
    /// The newest session that the server has not taken back, with the highest `s` on it.
    session: Option<(String, u64)>,
    sessions: u64,
    commands: HashMap<u64, u32>,
    next_command: u64,
    presences: VecDeque<Time>,
    connects: VecDeque<Time>,
    fatal: bool,
    user_closed: bool,
    /// A command is being given: its refusal may follow the end.
    commanding: bool,
    ended: Option<Ended>,
    pub(super) reached: Reached,
}

impl Model {
    pub(super) fn new(seed: u64, interval: u64, acks: bool, with_session: bool, auto_reconnect: bool) -> Self {
        let mut config = config();
        config.session = with_session.then(|| session(5));
        config.auto_reconnect = auto_reconnect;
        config.leased = seed.is_multiple_of(5);
        let mut model = Self {
            machine: Machine::new(config, seed),
            now: Duration::from_secs(100),
            interval,
            acks,
            ack_due: false,
            link: Link::None,
            next: None,
            taken: 0,
            switching: false,
            connection: Connection::default(),
            answers_at_once: seed.is_multiple_of(2),
            check: None,
            asking: false,
            permit: false,
            session: with_session.then(|| ("old".to_owned(), 5)),
            sessions: 0,
            commands: HashMap::new(),
            next_command: 0,
            presences: VecDeque::new(),
            connects: VecDeque::new(),
            fatal: false,
            user_closed: false,
            commanding: false,
            ended: None,
            reached: Reached::default(),
        };
        model.machine.open(model.now);
        model.act();
        model
    }

    pub(super) fn apply(&mut self, input: &Input) {
        match *input {
            Input::Natural => self.natural(),
            Input::Pass(millis) => self.pass(Duration::from_millis(millis)),
            Input::Stop(millis) => {
                self.now += Duration::from_millis(millis);
                self.machine.timeout(self.now, false);
                self.act();
            }
            Input::Sleep(millis) => {
                let (open, before) = (self.link == Link::Open && !self.connection.closing, self.taken);
                if millis >= 10_000 {
                    // That much time has passed, though not on this clock.
                    self.connects.clear();
                }
                self.machine.slept(self.now, Duration::from_millis(millis));
                self.act();
                assert_eq!(open && millis >= 10_000, open && self.gone(before), "a connection from before the sleep");
            }
            Input::ConnectFailed(kind, retry) => self.connect_failed(kind, retry),
            Input::Hello(interval) => self.hello(interval),
            Input::NextLost => self.next_lost(),
            Input::Ready(sequence, session) => self.ready(sequence, session),
            Input::Resumed(sequence) => {
                self.accept(sequence);
                self.established_if(self.connection.resumed);
                self.frame(&format!(r#"{{"op":0,"s":{},"t":"RESUMED","d":{{}}}}"#, number(sequence)));
            }
            Input::Dispatch(sequence) => {
                self.accept(sequence);
                self.frame(&format!(r#"{{"op":0,"s":{},"t":"TYPING_START","d":{{}}}}"#, number(sequence)));
            }
            Input::Ack => self.frame(r#"{"op":11}"#),
            Input::ToggleAcks => self.acks = !self.acks,
            Input::Request(times) => (0..times).for_each(|_| self.frame(r#"{"op":1,"d":null}"#)),
            Input::Reconnect => self.frame(r#"{"op":7,"d":null}"#),
            Input::InvalidSession(resumable) => {
                if !resumable && self.readable() && !self.connection.closing {
                    self.session = None;
                }
                self.frame(&format!(r#"{{"op":9,"d":{resumable}}}"#));
            }
            Input::UnknownOp(op) if ![0, 1, 7, 9, 10, 11].contains(&op) => {
                self.frame(&format!(r#"{{"op":{op},"d":{{}}}}"#));
            }
            Input::Closed(code) => self.closed(code),
            Input::TransportFailed if self.link == Link::Open => {
                let before = self.taken;
                self.machine.transport_failed(self.now, "broken");
                self.act();
                assert!(self.gone(before), "an unusable connection is kept");
            }
            Input::Send(count, opcode) => (0..count).for_each(|_| self.command(opcode, false)),
            Input::Presence(count) => (0..count).for_each(|_| self.command(3, true)),
            Input::Cancel(back) => {
                let id = self.next_command.saturating_sub(back + 1);
                if self.machine.cancel(id) {
                    assert_eq!(self.commands.insert(id, 1), Some(0), "cancelled what was done");
                }
            }
            Input::Pause if self.readable() => {
                self.connection.paused = true;
                self.reached.paused += 1;
                self.machine.pause_reading();
            }
            Input::UnknownOp(_) | Input::TransportFailed | Input::Pause => {}
            Input::ResumeReading => {
                if std::mem::take(&mut self.connection.paused) {
                    self.machine.resume_reading(self.now);
                }
            }
            Input::LatePermit => {
                if !self.asking && !self.permit && self.ended.is_none() {
                    self.permit = true;
                    self.machine.permitted(self.now);
                    self.act();
                    assert!(!self.permit, "a permit of no use is kept");
                }
            }
            Input::PermitRefused(millis) => {
                if self.asking {
                    self.machine.permit_refused(self.now, Duration::from_millis(millis), 0.0);
                    self.act();
                    assert!(!self.asking && self.link != Link::Open, "what was refused goes on");
                }
            }
            Input::UserClose(code) => self.user_close(code),
            Input::StopReconnecting => {
                self.machine.stop_reconnecting();
                self.act();
            }
        }
        self.settle();
    }

    /// Every script ends with the user's close, and every machine with it.
    pub(super) fn finish(&mut self) {
        self.user_close(1000);
        self.pass(Duration::from_secs(3));
        assert!(self.ended.is_some(), "the close did not end it");
        assert!(!self.asking && !self.permit, "a permit is kept");
        assert_eq!(self.machine.deadline(self.now), None);
        for (id, done) in &self.commands {
            assert_eq!(*done, 1, "command {id}");
        }
    }

    fn natural(&mut self) {
        if self.connection.paused {
            self.connection.paused = false;
            self.machine.resume_reading(self.now);
        }
        match self.link {
            Link::None => self.pass(Duration::from_secs(3)),
            Link::Dialling { at_resume_url } => {
                self.link = Link::Open;
                self.connection = Connection { at_resume_url, ..Connection::default() };
                self.machine.connected(self.now);
                self.act();
            }
            Link::Open if self.connection.closing => self.closed(Some(1000)),
            Link::Open if self.next.is_some_and(|next| next.open) => {
                self.switching = true;
                self.machine.switch(self.now);
                self.act();
                self.switching = false;
                assert!(self.link == Link::Open && self.next.is_none(), "HELLO and no switch");
                self.reached.handed_over += 1;
                self.hello(self.interval);
            }
            Link::Open if self.next.is_some() => {
                self.next.as_mut().unwrap().open = true;
                self.machine.connected(self.now);
                assert!(!self.act(), "nothing is to be done before HELLO");
            }
            Link::Open if self.connection.interval.is_none() => self.hello(self.interval),
            Link::Open if self.check.is_some() => self.answer_check(),
            Link::Open if self.asking => {
                self.asking = false;
                self.permit = true;
                self.machine.permitted(self.now);
                self.act();
            }
            Link::Open if self.connection.established => {
                let next = self.session.as_ref().map_or(1, |(_, sequence)| sequence.saturating_add(1));
                self.apply(&Input::Dispatch(Some(next)));
            }
            Link::Open if self.connection.identified => self.ready(Some(1), ReadySession::Good),
            Link::Open => self.apply(&Input::Resumed(None)),
        }
    }

    /// Whether the driver would hand a frame to the machine.
    fn readable(&self) -> bool {
        self.link == Link::Open && !self.connection.paused
    }

    fn frame(&mut self, json: &str) {
        if !self.readable() {
            return;
        }
        let envelope = envelope::scan(json.as_bytes()).unwrap();
        let before = self.taken;
        let verdict = self.machine.payload(self.now, &envelope, json.as_bytes());
        self.act();
        // Whatever else lies in the same message is read exactly where the connection stands.
        assert_eq!(verdict == Verdict::Disconnected, self.gone(before), "{json}: {verdict:?}");
    }

    /// Whether the connection that was current is so no more; `before`: [`Model::taken`] at that time.
    fn gone(&self, before: u64) -> bool {
        self.link != Link::Open || self.taken != before
    }

    fn hello(&mut self, interval: u64) {
        if self.readable()
            && self.connection.interval.is_none()
            && !self.connection.closing
            && (20..=600_000).contains(&interval)
        {
            self.connection.interval = Some(Duration::from_millis(interval));
            self.connection.beat = self.now;
        }
        self.frame(&format!(r#"{{"op":10,"d":{{"heartbeat_interval":{interval}}}}}"#));
    }

    fn ready(&mut self, sequence: Option<u64>, session: ReadySession) {
        let asked = self.connection.identified || self.connection.resumed;
        self.sessions += 1;
        let id = format!("s{}", self.sessions);
        if self.readable() && asked && !self.connection.closing {
            self.session = (!matches!(session, ReadySession::NoId)).then(|| (id.clone(), sequence.unwrap_or(0)));
        }
        self.established_if(asked);
        let data = match session {
            ReadySession::Good => format!(r#"{{"session_id":"{id}","resume_gateway_url":"{RESUME}"}}"#),
            ReadySession::EvilUrl => format!(r#"{{"session_id":"{id}","resume_gateway_url":"wss://evil.test"}}"#),
            ReadySession::NoUrl => format!(r#"{{"session_id":"{id}"}}"#),
            ReadySession::NoId => "{}".to_owned(),
        };
        self.frame(&format!(r#"{{"op":0,"s":{},"t":"READY","d":{data}}}"#, number(sequence)));
    }

    fn established_if(&mut self, asked: bool) {
        if asked && self.readable() && !self.connection.closing {
            self.connection.established = true;
        }
    }

    fn accept(&mut self, sequence: Option<u64>) {
        if self.readable()
            && let (Some((_, last)), Some(sequence)) = (&mut self.session, sequence)
        {
            *last = (*last).max(sequence);
        }
    }

    fn next_lost(&mut self) {
        if let Some(next) = self.next
            && self.link == Link::Open
        {
            if !next.open {
                self.machine.connected(self.now);
            }
            self.next = None;
            self.machine.next_lost(self.now);
            self.act();
            assert!(matches!(self.link, Link::Dialling { .. }), "not tried again though the next is gone");
            self.reached.next_lost += 1;
        }
    }

    fn connect_failed(&mut self, kind: ConnectFailureKind, retry: bool) {
        let at_resume_url = match (&self.link, self.next) {
            (Link::Open, Some(Next { open: false, .. })) => {
                self.next = None;
                false
            }
            (Link::Dialling { at_resume_url }, _) => {
                let at_resume_url = *at_resume_url;
                self.link = Link::None;
                at_resume_url
            }
            _ => return,
        };
        self.reached.fallbacks += u64::from(at_resume_url);
        let retry_after = retry.then(|| Duration::from_secs(7));
        let failure = ConnectFailure { kind, message: "no".to_owned(), retry_after };
        self.machine.connect_failed(self.now, failure);
        self.act();
    }

    fn closed(&mut self, code: Option<u16>) {
        if !self.readable() {
            return;
        }
        if !self.connection.closing {
            match action(code) {
                CloseAction::Resume { .. } => {}
                CloseAction::Identify => self.session = None,
                CloseAction::Fatal(_) => {
                    self.session = None;
                    self.fatal = true;
                    self.reached.fatal += 1;
                }
            }
        }
        let before = self.taken;
        self.machine.closed(self.now, code, "why");
        self.act();
        assert!(self.gone(before), "a closed connection is kept");
        assert!(!self.fatal || self.ended.is_some(), "fatal and not ended");
    }

    fn command(&mut self, opcode: u8, presence: bool) {
        let id = self.next_command;
        self.next_command += 1;
        self.commands.insert(id, 0);
        self.commanding = true;
        if presence {
            self.machine.set_presence(self.now, id, id.to_string());
        } else {
            self.machine.send(self.now, id, opcode, format!(r#"{{"op":{opcode},"d":{id}}}"#));
        }
        self.act();
        self.commanding = false;
    }

    fn user_close(&mut self, code: u16) {
        let open = self.link == Link::Open;
        self.user_closed = true;
        self.machine.close(self.now, code, "bye");
        self.act();
        if open && self.ended.is_none() {
            assert!(self.connection.closing);
            // The answer has to be read, whatever the queue says.
            self.connection.paused = false;
            self.reached.closed_by_user += 1;
        }
    }

    fn pass(&mut self, time: Duration) {
        // A beat every 20 ms for an hour proves no more than forty of them.
        let beats = self.link == Link::Open && !self.connection.closing;
        let most = self.connection.interval.filter(|_| beats).map_or(time, |interval| interval * 40);
        let end = self.now + time.min(most);
        loop {
            self.settle();
            match self.machine.deadline(self.now) {
                Some(deadline) if deadline <= end => self.now = deadline,
                _ => break,
            }
        }
        self.now = end;
        self.settle();
    }

    /// Honours what is due; each time-out has to change something, or the driver would spin.
    fn settle(&mut self) {
        for turn in 0.. {
            let Some(deadline) = self.machine.deadline(self.now).filter(|&deadline| deadline <= self.now) else {
                break;
            };
            assert!(turn < 8, "busy loop at {deadline:?}");
            let lost = self.link == Link::Open;
            self.machine.timeout(self.now, false);
            let acted = self.act();
            assert!(acted || self.machine.deadline(self.now) != Some(deadline), "a timeout that changed nothing");
            self.reached.zombies_or_deadlines += u64::from(lost && self.link != Link::Open);
        }
        if let Some(interval) = self.connection.interval
            && self.link == Link::Open
            && !self.connection.closing
        {
            assert!(self.now - self.connection.beat <= interval, "I3: no beat");
        }
        assert!(self.machine.footprint() <= 4096 + 8 + 120 + 5, "I9: {}", self.machine.footprint());
        if let (Some((id, sequence)), Some(session)) = (&self.session, self.machine.session()) {
            assert_eq!((&session.id, session.sequence), (id, *sequence), "I4, I7: the session");
        }
    }

    fn act(&mut self) -> bool {
        let taken = self.taken;
        let acted = self.obey();
        if std::mem::take(&mut self.ack_due) && self.taken == taken {
            self.frame(r#"{"op":11}"#);
        }
        acted
    }

    fn obey(&mut self) -> bool {
        let mut acted = false;
        while let Some(action) = self.machine.poll_action() {
            acted = true;
            // What the driver logs of it; what is sent holds the token, and shows its length only.
            let shown = format!("{action:?}");
            assert!(!shown.contains("secret-token"), "I10: {shown}");
            let refusal = self.commanding && matches!(action, Action::CommandDone(_, Err(_)));
            assert!(self.ended.is_none() || refusal, "after the end: {action:?}");
            match action {
                Action::Connect { resume_url } => {
                    assert!(!self.fatal && !self.user_closed, "I6: connects after the end");
                    assert!(resume_url.is_none() || self.session.is_some(), "no session to resume there");
                    assert!(resume_url.as_deref().is_none_or(|url| url == RESUME), "a refused URL");
                    let at_resume_url = resume_url.is_some();
                    if self.link == Link::Open {
                        assert!(self.next.is_none() && self.connection.established, "two connections");
                        assert!(self.session.is_some(), "nothing to hand over");
                        self.next = Some(Next { at_resume_url, open: false });
                    } else {
                        assert_eq!(self.link, Link::None, "two connections");
                        self.link = Link::Dialling { at_resume_url };
                    }
                    note(&mut self.connects, self.now, Duration::from_secs(1), 24, "connections in a second");
                }
                Action::AbortConnect => {
                    if let Some(next) = self.next.take() {
                        assert!(!next.open);
                    } else {
                        assert!(matches!(self.link, Link::Dialling { .. }));
                        self.link = Link::None;
                    }
                }
                Action::DropNext => assert!(self.next.take().is_some_and(|next| next.open)),
                Action::TakeNext => {
                    assert_eq!(self.link, Link::None, "two connections");
                    let Next { at_resume_url, open } = self.next.take().expect("a next connection");
                    self.taken += 1;
                    self.reached.next_taken_early += u64::from(!self.switching);
                    self.link = if open { Link::Open } else { Link::Dialling { at_resume_url } };
                    self.connection = Connection { at_resume_url, ..Connection::default() };
                }
                Action::CheckLease(check) => {
                    self.check = Some(check);
                    if self.answers_at_once {
                        self.answer_check();
                    }
                }
                Action::AcquirePermit => {
                    assert!(self.connection.interval.is_some() && !self.asking && !self.permit);
                    self.asking = true;
                }
                Action::ReleasePermit => {
                    assert!(self.asking || self.permit, "released twice");
                    (self.asking, self.permit) = (false, false);
                }
                Action::Send(text) => self.sent(&text),
                Action::Close { code, linger, .. } => {
                    assert_eq!(self.link, Link::Open);
                    assert!(linger || code == 4000, "only the user says 1000");
                    self.connection.closing = linger;
                    if !linger {
                        self.link = Link::None;
                    }
                }
                Action::Drop => {
                    assert_eq!(self.link, Link::Open);
                    self.link = Link::None;
                }
                Action::Closed(_) => {
                    self.link = Link::None;
                    self.connection.paused = false;
                    assert!(!self.asking && !self.permit, "a permit outlives its connection");
                }
                Action::CommandDone(id, _) => *self.commands.get_mut(&id).expect("a command of ours") += 1,
                Action::Ended(how) => {
                    assert_eq!(self.link, Link::None, "a connection outlives the end");
                    assert!(self.next.is_none(), "the next connection outlives the end");
                    self.ended = Some(how);
                }
                Action::Status(_) | Action::Ready { .. } | Action::ConnectFailed(..) | Action::Warn(_) => {}
            }
        }
        acted
    }

    fn answer_check(&mut self) {
        let check = self.check.take().expect("a check");
        self.machine.lease_held(self.now, check);
        self.act();
    }

    fn sent(&mut self, text: &str) {
        assert!(self.link == Link::Open && !self.connection.closing, "sends without a connection");
        let connection = &mut self.connection;
        let interval = connection.interval.expect("HELLO comes first");
        if interval >= Duration::from_secs(1) {
            let used = note(&mut connection.sends, self.now, Duration::from_mins(1), 120, "I1: sends in 60 s");
            self.reached.full_windows += u64::from(used > 50);
        }
        // Commands are plain; only what carries facts is parsed.
        if text.starts_with(r#"{"op":1,"#) {
            connection.beat = self.now;
            self.ack_due |= self.acks;
        } else if text.starts_with(r#"{"op":2,"#) {
            assert!(!connection.at_resume_url, "I5: IDENTIFY on the resume URL");
            assert!(self.check.is_none(), "IDENTIFY before the word on the lease");
            assert!(self.permit && !connection.identified && !connection.resumed, "IDENTIFY out of turn");
            connection.identified = true;
            self.reached.identified += 1;
        } else if text.starts_with(r#"{"op":6,"#) {
            assert!(!connection.identified && !connection.resumed, "RESUME out of turn");
            connection.resumed = true;
            self.reached.resumed += 1;
            let resume: Value = serde_json::from_str(text).unwrap();
            let (id, sequence) = self.session.as_ref().expect("I4: RESUME of a session that was taken back");
            assert_eq!(
                (&resume["d"]["session_id"], &resume["d"]["seq"]),
                (&id.as_str().into(), &(*sequence).into()),
                "I4"
            );
        } else {
            assert!(connection.established, "a command before READY or RESUMED");
            if text.starts_with(r#"{"op":3,"#) {
                note(&mut self.presences, self.now, Duration::from_secs(20), 5, "presences in 20 s");
            }
        }
    }
}

fn number(sequence: Option<u64>) -> String {
    sequence.map_or("null".to_owned(), |sequence| sequence.to_string())
}

/// Adds to a log of times and checks that no window holds more than `most`.
fn note(log: &mut VecDeque<Time>, now: Time, window: Duration, most: usize, what: &str) -> usize {
    while log.front().is_some_and(|&at| now - at >= window) {
        log.pop_front();
    }
    log.push_back(now);
    assert!(log.len() <= most, "{what}: {}", log.len());
    log.len()
}
