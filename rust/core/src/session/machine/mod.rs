//! The machine itself: its phases, its inputs and the order of its actions. Payloads are read in
//! `payload`, connections are chosen and lost in `connection`, commands wait in `commands`, and whether the session
//! is still ours is `lease`'s.

mod commands;
mod connection;
mod handover;
mod lease;
mod payload;
#[cfg(test)]
mod tests;
mod types;

use std::{collections::VecDeque, time::Duration};

use commands::Commands;
use handover::Handover;
use lease::Lease;
pub use types::{
    Action, Closed, ConnectFailure, ConnectFailureKind, Ended, Fault, MachineConfig, SendError, Stats, Timeouts,
    Verdict,
};

use super::{Backoff, Cause, Due, Heartbeat, PresenceLimiter, SendLimiter, Session, Status, Time};
use crate::protocol::command;

/// Where the machine stands. One connection at most exists from `Connecting` to `Ready`.
#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// Waits for `open`.
    Idle,
    /// Between two connections.
    Waiting { until: Time },
    /// TCP, TLS and upgrade are under way.
    Connecting { deadline: Time },
    /// The WebSocket is open; the server speaks first.
    AwaitHello { deadline: Time },
    /// HELLO is in; nobody has said yet whether the session is still this process's. A RESUME waits until `deadline`.
    AwaitLease { deadline: Option<Time> },
    /// HELLO is in, the identify gate has been asked.
    AwaitPermit,
    /// IDENTIFY is sent. Acknowledged heartbeats move the deadline (an outage: stay connected).
    Identifying { since: Time, deadline: Time },
    /// RESUME is sent. Nothing moves the deadline.
    Resuming { deadline: Time },
    /// READY or RESUMED is in.
    Ready { since: Time },
    /// The user closed, with this code: the closing handshake is under way.
    Closing { deadline: Time, code: u16 },
    /// It is over; `Ended` says how.
    Ended,
}

/// Whether the session's resume URL is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResumeHost {
    Usable,
    /// The token does not go there.
    Refused,
    /// It could not be reached; the base URL serves until the next READY.
    Dead,
}

/// The Gateway session without I/O and without a clock.
///
/// Feed it with [`Machine::open`], [`Machine::connected`], [`Machine::payload`], [`Machine::closed`],
/// [`Machine::timeout`], [`Machine::send`] and the like, and after each call carry out what
/// [`Machine::poll_action`] gives until it gives nothing.
pub struct Machine {
    config: MachineConfig,
    rng: fastrand::Rng,
    phase: Phase,
    actions: VecDeque<Action>,
    backoff: Backoff,
    heartbeat: Option<Heartbeat>,
    commands: Commands,
    session: Option<Session>,
    user_id: Option<u64>,
    /// The connection in hand was opened to resume `session`.
    resuming: bool,
    /// The connection in hand goes to the resume URL.
    at_resume_url: bool,
    resume_host: ResumeHost,
    /// Connections in a row that opened to resume and ended without RESUMED, and since when.
    failed_resumes: u32,
    failed_resumes_since: Time,
    reading_paused: bool,
    /// op 7: the next connection, beside the current one.
    handover: Option<Handover>,
    lease: Lease,
    /// What the transport said of the connection that is about to end.
    fault: Option<Fault>,
    stats: Stats,
    status: Status,
}

impl Machine {
    /// A machine that waits for [`Machine::open`]. `seed` drives all jitter.
    pub fn new(config: MachineConfig, seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            phase: Phase::Idle,
            actions: VecDeque::new(),
            backoff: Backoff::new(config.backoff),
            heartbeat: None,
            commands: Commands::new(config.presence.clone(), config.presence_limiter.clone()),
            session: config.session.clone(),
            user_id: None,
            resuming: false,
            at_resume_url: false,
            resume_host: ResumeHost::Usable,
            failed_resumes: 0,
            failed_resumes_since: Time::ZERO,
            reading_paused: false,
            handover: None,
            lease: Lease::default(),
            fault: None,
            stats: Stats::default(),
            status: Status::Unconnected,
            config,
        }
    }

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The session as it stands: what a RESUME would use.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Counters since the machine was made.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The state of the lifecycle.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Send-to-ACK time of the last acknowledged heartbeat on this connection.
    pub fn latency(&self) -> Option<Duration> {
        self.heartbeat.as_ref().and_then(Heartbeat::latency)
    }

    /// What HELLO said; `None` without a connection.
    pub fn heartbeat_interval(&self) -> Option<Duration> {
        self.heartbeat.as_ref().map(Heartbeat::interval)
    }

    /// When the next connection is due; `None` where none is waited for.
    pub fn next_connection(&self) -> Option<Time> {
        match self.phase {
            Phase::Waiting { until } => Some(until),
            _ => None,
        }
    }

    /// The 120/60 s window of the connection.
    pub fn send_limiter(&self) -> &SendLimiter {
        &self.commands.limiter
    }

    /// The 5/20 s window of the session's presences.
    pub fn presence_limiter(&self) -> &PresenceLimiter {
        &self.commands.presence_limiter
    }

    /// Whether the user's closing handshake is under way.
    pub fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. })
    }

    /// The bot's own user, as the last READY told it.
    pub fn user_id(&self) -> Option<u64> {
        self.user_id
    }

    /// What it keeps that could grow.
    #[cfg(test)]
    fn footprint(&self) -> usize {
        self.actions.len() + self.commands.footprint()
    }

    /// Begins. The first connection is tried at once.
    pub fn open(&mut self, now: Time) {
        if !matches!(self.phase, Phase::Idle) {
            return;
        }
        let (shard, intents) = (self.config.shard, self.config.intents);
        if self.session.as_ref().is_some_and(|session| (session.shard, session.intents) != (shard, intents)) {
            self.warn("the session given was made with another shard or other intents; identifying anew");
            self.session = None;
        }
        // One of many that start together.
        let delay = self.backoff.spread(&mut self.rng);
        if delay.is_zero() { self.connect(now) } else { self.wait(now, delay) }
    }

    /// The user's close. A code of 1000 or 1001 ends the session at Discord too; any other keeps it.
    pub fn close(&mut self, now: Time, code: u16, reason: &str) {
        if matches!(self.phase, Phase::Closing { .. } | Phase::Ended) {
            return;
        }
        if matches!(code, 1000 | 1001) {
            self.session = None;
        }
        self.commands.fail_all(&mut self.stats.commands, &mut self.actions);
        self.config.auto_reconnect = false;
        self.drop_next();
        match self.phase {
            Phase::Idle | Phase::Waiting { .. } => self.end(Ended::ByUser),
            Phase::Connecting { .. } => {
                self.actions.push_back(Action::AbortConnect);
                self.end(Ended::ByUser);
            }
            _ => {
                self.release_permit();
                self.heartbeat = None;
                self.phase = Phase::Closing { deadline: now + self.config.timeouts.close, code };
                self.actions.push_back(Action::Close { code, reason: reason.to_owned(), linger: true });
                self.set_status(Status::Disconnected);
            }
        }
    }

    /// An `on_close` handler said that the connection shall not be remade. It may say so late: then
    /// what has been remade meanwhile is taken down again, and the end is that of the lost connection.
    pub fn stop_reconnecting(&mut self) {
        self.config.auto_reconnect = false;
        self.drop_next();
        let (code, reason) = self.stats.last_close.clone();
        let ended = Ended::NotRemade { code, reason };
        match self.phase {
            Phase::Idle | Phase::Closing { .. } | Phase::Ended => {}
            Phase::Waiting { .. } => self.end(ended),
            Phase::Connecting { .. } => {
                self.actions.push_back(Action::AbortConnect);
                self.end(ended);
            }
            // The first connection was not remade: it stays, and is the last.
            _ if self.stats.connections == 1 => {}
            _ => {
                let why = "not to be remade";
                self.hang_up(why, true);
                self.finish(Some(connection::RESUMABLE_CLOSE), why, Some(ended));
            }
        }
    }

    /// When [`Machine::timeout`] wants to be called; `None`: nothing is awaited.
    pub fn deadline(&mut self, now: Time) -> Option<Time> {
        let phase = match self.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Connecting { deadline } | Phase::Closing { deadline, .. } => Some(deadline),
            // What is not being read cannot be late.
            Phase::AwaitHello { deadline } | Phase::Identifying { deadline, .. } | Phase::Resuming { deadline } => {
                (!self.reading_paused).then_some(deadline)
            }
            Phase::AwaitLease { deadline } => deadline,
            Phase::Idle | Phase::AwaitPermit | Phase::Ready { .. } | Phase::Ended => None,
        };
        let beat = self.heartbeat.as_ref().map(Heartbeat::deadline);
        let sending = matches!(self.phase, Phase::Ready { .. }) && !self.is_handing_over();
        let command = if sending { self.commands.deadline(now) } else { None };
        let handover = self.handover.as_ref().map(Handover::deadline);
        [phase, beat, command, handover].into_iter().flatten().min()
    }

    /// Time has passed. `backlog`: unread data lies in the socket, so an ACK may be on its way.
    pub fn timeout(&mut self, now: Time, backlog: bool) {
        self.beat(now, backlog);
        match self.phase {
            Phase::Waiting { until } if now >= until => self.connect(now),
            Phase::Connecting { deadline } if now >= deadline => {
                self.actions.push_back(Action::AbortConnect);
                self.connect_failed(now, ConnectFailure::timeout(self.config.timeouts.connect));
            }
            Phase::AwaitHello { deadline } if now >= deadline && !self.reading_paused => {
                self.lose(now, Cause::NoAnswer, "no HELLO", true);
            }
            Phase::Identifying { deadline, .. } if now >= deadline && !self.reading_paused => {
                self.lose(now, Cause::NoAnswer, "no READY", true);
            }
            Phase::Resuming { deadline } if now >= deadline && !self.reading_paused => {
                // Never answered: this session will not come back.
                self.session = None;
                self.lose(now, Cause::NoAnswer, "no RESUMED", true);
            }
            Phase::AwaitLease { deadline: Some(deadline) } if now >= deadline => self.resume_on_credit(now),
            Phase::Closing { deadline, .. } if now >= deadline => {
                self.actions.push_back(Action::Drop);
                self.closed(now, None, "");
            }
            Phase::Ready { .. } if self.handover.is_some_and(|handover| now >= handover.deadline()) => {
                self.hand_over_late(now);
            }
            Phase::Ready { .. } => self.flush_commands(now),
            _ => {}
        }
    }

    fn beat(&mut self, now: Time, backlog: bool) {
        let Some(heartbeat) = &mut self.heartbeat else { return };
        let only_answer = heartbeat.only_answer_due(now);
        if only_answer {
            // An answer to op 1 counts against the window; a scheduled beat has its own room there.
            let free = self.commands.limiter.answer_free_at(now);
            if free > now {
                heartbeat.postpone_answer(free);
                return;
            }
        }
        match heartbeat.due(now, backlog) {
            Due::No => {}
            Due::Beat => {
                if only_answer {
                    self.commands.limiter.sent(now);
                }
                self.stats.heartbeats += 1;
                let sequence = self.session.as_ref().map(|session| session.sequence);
                self.actions.push_back(Action::Send(command::heartbeat(sequence)));
            }
            Due::Zombie => self.lose(now, Cause::MissedAck, "heartbeat not acknowledged", false),
        }
    }

    /// Back-pressure stopped the reading of the socket.
    pub fn pause_reading(&mut self) {
        self.reading_paused = true;
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.reading_paused();
        }
    }

    /// Reading goes on. HELLO gets its whole time again, READY and RESUMED a heartbeat interval at least.
    pub fn resume_reading(&mut self, now: Time) {
        if !std::mem::take(&mut self.reading_paused) {
            return;
        }
        let mut grace = self.config.timeouts.hello;
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.reading_resumed(now);
            grace = heartbeat.interval();
        }
        if let Phase::AwaitHello { deadline } | Phase::Identifying { deadline, .. } | Phase::Resuming { deadline } =
            &mut self.phase
        {
            *deadline = (*deadline).max(now + grace);
        }
    }

    fn warn(&mut self, text: &str) {
        self.actions.push_back(Action::Warn(text.to_owned()));
    }

    fn set_status(&mut self, status: Status) {
        if self.status != status {
            self.status = status;
            self.actions.push_back(Action::Status(status));
        }
    }

    fn end(&mut self, how: Ended) {
        self.heartbeat = None;
        self.drop_next();
        self.phase = Phase::Ended;
        self.commands.fail_all(&mut self.stats.commands, &mut self.actions);
        self.set_status(Status::Disconnected);
        self.actions.push_back(Action::Ended(how));
    }
}
