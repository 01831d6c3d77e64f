//! What the server says (protocol.md §2, §4, §5, §8, §9), opcode by opcode.

use std::time::Duration;

use super::{Action, Cause, Ended, Machine, Phase, ResumeHost, Status, Time, Verdict};
use crate::{
    inflate::Compression,
    protocol::{
        Opcode,
        command::{self, IdentifyOptions, Properties},
        envelope::{Envelope, EventName, whole_number},
        event::EventType,
        fields,
        intents::Intents,
    },
    session::{Heartbeat, Session},
};

/// HELLO beyond this is malformed; below it tests live.
const INTERVALS: std::ops::RangeInclusive<u64> = 20..=600_000;

impl Machine {
    /// One payload of the server: `document` is the whole JSON text, `envelope` what the scanner found in it.
    #[inline]
    pub fn payload(&mut self, now: Time, envelope: &Envelope, document: &[u8]) -> Verdict {
        if envelope.op == Some(Opcode::Dispatch.code()) {
            let lifecycle = matches!(envelope.event, EventName::Known(EventType::READY | EventType::RESUMED));
            if !lifecycle {
                self.accept(envelope.sequence);
                return Verdict::Dispatch;
            }
        }
        self.control(now, envelope, &document[envelope.data.clone()])
    }

    /// Stores `s`; it is stored before any user code can run.
    #[inline]
    fn accept(&mut self, sequence: Option<u64>) {
        let (Some(sequence), Some(session)) = (sequence, &mut self.session) else { return };
        if sequence > session.sequence {
            self.stats.sequence_gaps += u64::from(sequence - session.sequence > 1);
            session.sequence = sequence;
        } else {
            self.stats.duplicates += 1;
        }
    }

    fn control(&mut self, now: Time, envelope: &Envelope, data: &[u8]) -> Verdict {
        if !self.connection_is_open() {
            return Verdict::Disconnected;
        }
        match envelope.op.and_then(Opcode::from_code) {
            Some(Opcode::Dispatch) => {
                if envelope.event == EventName::Known(EventType::READY) {
                    self.ready(now, envelope.sequence, data);
                } else {
                    self.resumed(now, envelope.sequence);
                }
                return Verdict::Dispatch;
            }
            Some(Opcode::Hello) => return self.hello(now, data),
            Some(Opcode::Heartbeat) => {
                if let Some(heartbeat) = &mut self.heartbeat {
                    heartbeat.requested(now);
                    self.beat(now, true);
                    if self.heartbeat.is_none() {
                        return Verdict::Disconnected;
                    }
                } else {
                    self.stats.ignored += 1;
                }
            }
            Some(Opcode::HeartbeatAck) => self.acknowledged(now),
            Some(Opcode::Reconnect) => return self.reconnect_requested(now),
            Some(Opcode::InvalidSession) => {
                // Anything but `true` is false.
                let resumable = data == b"true";
                return self.invalid_session(now, resumable);
            }
            _ => self.stats.ignored += 1,
        }
        Verdict::Control
    }

    fn hello(&mut self, now: Time, data: &[u8]) -> Verdict {
        if !matches!(self.phase, Phase::AwaitHello { .. }) {
            self.stats.ignored += 1;
            return Verdict::Control;
        }
        let [interval] = fields::fields(data, ["heartbeat_interval"]);
        let Some(interval) = interval.and_then(whole_number).filter(|interval| INTERVALS.contains(interval)) else {
            self.lose(now, Cause::BadData, "malformed HELLO", true);
            return Verdict::Disconnected;
        };
        let interval = Duration::from_millis(interval);
        let mut heartbeat = Heartbeat::new(interval, now, &mut self.rng);
        if self.reading_paused {
            heartbeat.reading_paused();
        }
        self.heartbeat = Some(heartbeat);
        self.new_send_window(interval);
        if !self.await_lease(now) {
            self.log_in(now);
        }
        Verdict::Control
    }

    /// RESUME leaves, or the identify gate is asked.
    pub(super) fn log_in(&mut self, now: Time) {
        if let Some(session) = &self.session {
            let payload = command::resume(&self.config.token, &session.id, session.sequence);
            self.note_sent(now);
            self.phase = Phase::Resuming { deadline: now + self.config.timeouts.ready };
            self.set_status(Status::Resuming);
            self.actions.push_back(Action::Send(payload));
        } else {
            self.phase = Phase::AwaitPermit;
            self.set_status(Status::Identifying);
            self.actions.push_back(Action::AcquirePermit);
        }
    }

    /// The identify gate said yes: IDENTIFY leaves now.
    pub fn permitted(&mut self, now: Time) {
        if !matches!(self.phase, Phase::AwaitPermit) {
            // The connection ended while the gate was asked. After the end the driver keeps nothing.
            if !matches!(self.phase, Phase::Ended) {
                self.actions.push_back(Action::ReleasePermit);
            }
            return;
        }
        let mut payload = self.identify(self.commands.newest_presence());
        if payload.len() > command::MAX_PAYLOAD_BYTES {
            // A presence that fits into op 3 may be too long for here: it follows after READY.
            payload = self.identify(None);
            self.commands.presence_again();
        }
        self.note_sent(now);
        self.stats.identifies += 1;
        self.phase = Phase::Identifying { since: now, deadline: now + self.config.timeouts.ready };
        self.actions.push_back(Action::Send(payload));
        self.set_status(Status::WaitingForReady);
    }

    /// The identify gate said no: the day's budget is down to its floor for `wait` from now, until the Unix time
    /// `resets_at`. A gateway that has never been ready ends with that; a running one waits.
    pub fn permit_refused(&mut self, now: Time, wait: Duration, resets_at: f64) {
        if !matches!(self.phase, Phase::AwaitPermit) {
            return;
        }
        let why = "no IDENTIFY left in today's budget";
        let error = self.stats.ready_at.is_none().then_some(Ended::BudgetExhausted { resets_at });
        self.hang_up(why, true);
        self.stats.lost_by = Cause::Budget;
        self.finish(Some(super::connection::RESUMABLE_CLOSE), why, error);
        if !matches!(self.phase, Phase::Ended) {
            let minutes = wait.as_secs().div_ceil(60);
            self.warn(&format!("{why}: a new session can be started in {minutes} min"));
        }
        self.wait(now, wait.max(Duration::from_secs(1)));
    }

    fn identify(&self, presence: Option<&str>) -> String {
        let [os, browser, device] = &self.config.properties;
        command::identify(&IdentifyOptions {
            token: &self.config.token,
            intents: Intents(self.config.intents),
            shard: self.config.shard,
            large_threshold: self.config.large_threshold,
            compress: self.config.compression == Compression::Payload,
            presence,
            properties: Properties { os, browser, device },
        })
    }

    fn acknowledged(&mut self, now: Time) {
        let Some(heartbeat) = &mut self.heartbeat else { return };
        if !heartbeat.acknowledged(now) {
            return;
        }
        self.stats.acknowledged_at = Some(now);
        // An outage: Discord acknowledges beats and issues the session later. From here on the zombie
        // rule watches; the deadline only catches what stops between two beats.
        if let Phase::Identifying { since, deadline } = &mut self.phase {
            let ready = self.config.timeouts.ready;
            *deadline = (*deadline).max(heartbeat.next_beat() + ready);
            let waited = now.saturating_sub(*since);
            if waited >= ready {
                let seconds = waited.as_secs();
                self.warn(&format!("no READY for {seconds} s, but heartbeats are acknowledged: staying connected"));
            }
        }
    }

    fn ready(&mut self, now: Time, sequence: Option<u64>, data: &[u8]) {
        match self.phase {
            Phase::Identifying { .. } | Phase::Resuming { .. } => {}
            // Not asked for; the newest session is the one that the server knows.
            Phase::Ready { .. } => self.stats.ignored += 1,
            _ => {
                self.stats.ignored += 1;
                return;
            }
        }
        // Each on its own: one odd value must not cost the session.
        let [id, resume_url, user] = fields::fields(data, ["session_id", "resume_gateway_url", "user"]);
        let text = |raw: Option<&[u8]>| raw.and_then(fields::text).filter(|text| !text.is_empty());
        let (id, resume_url) = (text(id), text(resume_url));
        let user = user.and_then(|user| fields::fields(user, ["id"])[0]).and_then(fields::snowflake);
        self.user_id = user.or(self.user_id);
        if id.is_none() {
            self.warn("READY without a session id: it cannot be resumed");
        }
        self.session = id.map(|id| Session {
            id,
            sequence: sequence.unwrap_or(0),
            resume_url,
            shard: self.config.shard,
            intents: self.config.intents,
        });
        self.resume_host = ResumeHost::Usable;
        // It was on its way for the session before.
        self.drop_next();
        self.established(now, false);
    }

    fn resumed(&mut self, now: Time, sequence: Option<u64>) {
        self.accept(sequence);
        if matches!(self.phase, Phase::Resuming { .. }) {
            self.stats.resumes += 1;
            self.established(now, true);
        } else {
            self.stats.ignored += 1;
        }
    }

    fn established(&mut self, now: Time, resumed: bool) {
        self.release_permit();
        self.failed_resumes = 0;
        self.resuming = false;
        self.stats.ready_at = Some(now);
        if !matches!(self.phase, Phase::Ready { .. }) {
            self.phase = Phase::Ready { since: now };
        }
        self.set_status(Status::Ready);
        self.actions.push_back(Action::Ready { resumed });
        self.flush_commands(now);
    }

    fn reconnect_requested(&mut self, now: Time) -> Verdict {
        if matches!(self.phase, Phase::Closing { .. }) || self.is_handing_over() {
            return Verdict::Control;
        }
        if let Phase::Ready { since } = self.phase {
            self.backoff.ready_ended(since, now);
        }
        // Not a failure of the network, but if this was a RESUME it came to nothing.
        self.note_failed_resume(now);
        let delay = self.backoff.after_reconnect_request(&mut self.rng);
        if delay.is_zero() && self.hand_over(now) {
            return Verdict::Control;
        }
        self.hang_up("reconnect requested", true);
        self.stats.lost_by = Cause::Reconnect;
        self.finish(Some(super::connection::RESUMABLE_CLOSE), "reconnect requested", None);
        self.wait(now, delay);
        Verdict::Disconnected
    }

    fn invalid_session(&mut self, now: Time, resumable: bool) -> Verdict {
        if matches!(self.phase, Phase::Closing { .. }) {
            return Verdict::Control;
        }
        if let Phase::Ready { since } = self.phase {
            self.backoff.ready_ended(since, now);
        }
        if !resumable {
            self.session = None;
        }
        self.note_failed_resume(now);
        let delay = self.backoff.after_invalid_session(&mut self.rng);
        self.hang_up("session invalid", true);
        self.stats.lost_by = Cause::InvalidSession;
        self.finish(Some(super::connection::RESUMABLE_CLOSE), "session invalid", None);
        self.wait(now, delay);
        Verdict::Disconnected
    }
}
