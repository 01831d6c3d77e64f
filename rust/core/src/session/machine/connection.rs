//! Where the next connection goes, what becomes of the session when one is lost (protocol.md §8–§11).

use std::time::Duration;

use super::{
    Action, Cause, Closed, ConnectFailure, Ended, Machine, Phase, ResumeHost, Status, Time,
    types::{ConnectFailureKind, Fault},
};
use crate::protocol::close_code::{self, CloseAction};

/// A session that cannot be resumed any more answers each RESUME with a drop (docs issue #1619).
const MAX_FAILED_RESUMES: u32 = 3;
const MAX_RESUME_TIME: Duration = Duration::from_mins(1);
/// Suspended for less, a connection is kept: TCP sends again what got no answer, within seconds (RFC 6298), and a beat
/// that is this late costs nothing. Longer, and a resume is cheaper than two heartbeats of silence on a dead socket.
const NAP: Duration = Duration::from_secs(10);
/// What is to be resumed is never closed with 1000 or 1001.
pub(super) const RESUMABLE_CLOSE: u16 = 4000;

impl Machine {
    pub(super) fn connect(&mut self, now: Time) {
        let resume_url = self.usable_resume_url();
        self.at_resume_url = resume_url.is_some();
        self.phase = Phase::Connecting { deadline: now + self.config.timeouts.connect };
        self.set_status(Status::Connecting);
        self.actions.push_back(Action::Connect { resume_url });
        self.check_lease();
    }

    pub(super) fn usable_resume_url(&mut self) -> Option<String> {
        let resume_url = self.session.as_ref().and_then(|session| session.resume_url.clone());
        resume_url.filter(|url| self.may_use(url))
    }

    fn may_use(&mut self, url: &str) -> bool {
        if self.resume_host != ResumeHost::Usable {
            return false;
        }
        let base = self.config.base_url.as_deref().unwrap_or(&self.config.assumed_url);
        let Some(why) = (self.config.refuse_resume_url)(base, url, self.config.allow_plaintext) else { return true };
        self.resume_host = ResumeHost::Refused;
        self.warn(&format!("resume URL refused ({why}); the base URL serves"));
        false
    }

    /// `/gateway/bot` told the base URL.
    pub fn set_base_url(&mut self, url: String) {
        self.config.base_url = Some(url);
    }

    /// The WebSocket is open.
    pub fn connected(&mut self, now: Time) {
        if self.next_connected() {
            return;
        }
        if !matches!(self.phase, Phase::Connecting { .. }) {
            return;
        }
        self.stats.connections += 1;
        self.stats.reconnects = self.stats.connections - 1;
        if self.stats.reconnects > 0 {
            self.stats.reconnects_by[self.stats.lost_by as usize] += 1;
        }
        self.resuming = self.session.is_some();
        self.reading_paused = false;
        self.phase = Phase::AwaitHello { deadline: now + self.config.timeouts.hello };
        self.set_status(Status::WaitingForHello);
    }

    /// The connection did not come about.
    pub fn connect_failed(&mut self, now: Time, failure: ConnectFailure) {
        if self.is_handing_over() {
            return self.next_failed(now, failure);
        }
        if !matches!(self.phase, Phase::Connecting { .. }) {
            return;
        }
        if failure.kind == ConnectFailureKind::Unauthorized {
            return self.end(Ended::Unauthorized { reason: failure.message });
        }
        let delay = if self.at_resume_url {
            // The host behind the resume URL is gone: the base URL gets its chance at once, for one
            // RESUME. Nothing that was connected is remade by that, so no setting forbids it.
            self.resume_host = ResumeHost::Dead;
            if self.failed_resumes == 0 {
                self.failed_resumes_since = now;
            }
            self.failed_resumes = MAX_FAILED_RESUMES - 1;
            Duration::ZERO
        } else {
            // A certificate, or a password for the proxy, does not heal by itself while nothing has worked
            // yet; later it may be a rotation in progress, and the session is worth the wait.
            let refused = matches!(failure.kind, ConnectFailureKind::Certificate | ConnectFailureKind::ProxyRefused);
            let hopeless = self.stats.connections == 0 && refused;
            if failure.kind == ConnectFailureKind::Config || hopeless || !self.config.auto_reconnect {
                return self.end(Ended::Unreachable(failure));
            }
            self.backoff.after_failure(&mut self.rng)
        };
        let delay = delay.max(self.asked_for(&failure));
        self.actions.push_back(Action::ConnectFailed(failure, delay));
        self.wait(now, delay);
    }

    /// How long the server wants to be left alone, as far as the user's cap allows.
    pub(super) fn asked_for(&mut self, failure: &ConnectFailure) -> Duration {
        let told = failure.retry_after.or_else(|| {
            let limited = failure.kind == ConnectFailureKind::RateLimited;
            limited.then(|| self.backoff.after_rate_limit(&mut self.rng))
        });
        told.unwrap_or_default().min(self.backoff.config().cap)
    }

    /// The peer closed: with a code, or without one (EOF, reset, TLS error).
    pub fn closed(&mut self, now: Time, code: Option<u16>, reason: &str) {
        match self.phase {
            Phase::Idle | Phase::Waiting { .. } | Phase::Connecting { .. } | Phase::Ended => return,
            Phase::Closing { code: ours, .. } => {
                // Many servers hang up without an answer: then it is known by our code.
                let reason = if code.is_some() { reason } else { "" };
                self.actions.push_back(Action::Closed(Closed {
                    code: code.or(Some(ours)),
                    reason: reason.to_owned(),
                    error: None,
                    fault: None,
                    reconnect: false,
                }));
                return self.end(Ended::ByUser);
            }
            _ => {}
        }
        if let Some(code @ (4001 | 4002 | 4005 | 4008)) = code {
            self.warn(&format!("Discord closed with {code} ({}): what we sent was at fault", close_code::name(code)));
        }
        match close_code::action(code) {
            CloseAction::Fatal(close) => {
                self.session = None;
                self.finish(code, reason, Some(Ended::fatal(close, reason.to_owned())));
            }
            CloseAction::Identify => {
                self.session = None;
                self.ended_by_peer(now, code, reason, Duration::ZERO);
            }
            CloseAction::Resume { after } => {
                self.ended_by_peer(now, code, reason, after.unwrap_or_default());
            }
        }
    }

    fn ended_by_peer(&mut self, now: Time, code: Option<u16>, reason: &str, at_least: Duration) {
        let delay = self.delay_after_loss(now);
        // op 7 announced it; that it closed before the next connection was there is only the server's haste.
        self.stats.lost_by = if self.is_handing_over() { Cause::Reconnect } else { Cause::of_close(code) };
        self.finish(code, reason, None);
        self.wait(now, delay.max(at_least));
    }

    /// We give the connection up. `polite`: with a close frame; a zombie gets none.
    pub(super) fn lose(&mut self, now: Time, cause: Cause, why: &'static str, polite: bool) {
        let delay = self.delay_after_loss(now);
        self.stats.lost_by = cause;
        self.hang_up(why, polite);
        self.finish(Some(RESUMABLE_CLOSE), why, None);
        self.wait(now, delay);
    }

    /// The machine was suspended for `slept` while the clock stood still. To the server, and to all between here and
    /// there, we have been silent for so long: the connection is taken for lost, and what was to be waited for has
    /// passed meanwhile. It says nothing of the server, so that it costs neither delay nor attempts.
    pub fn slept(&mut self, now: Time, slept: Duration) {
        if slept < NAP {
            return;
        }
        match &mut self.phase {
            Phase::Idle | Phase::Closing { .. } | Phase::Ended => {}
            Phase::Waiting { until } => *until = until.saturating_sub(slept).max(now),
            Phase::Connecting { .. } => {
                self.actions.push_back(Action::AbortConnect);
                self.connect(now);
            }
            phase => {
                if let Phase::Ready { since } = *phase {
                    self.backoff.ready_ended(since, now);
                }
                // It was opened before the sleep, too.
                self.drop_next();
                let why = format!("this machine was suspended for {} s", slept.as_secs());
                self.hang_up(&why, false);
                self.stats.lost_by = Cause::Suspended;
                self.finish(Some(RESUMABLE_CLOSE), &why, None);
                let delay = self.backoff.spread(&mut self.rng);
                self.wait(now, delay);
            }
        }
    }

    pub(super) fn hang_up(&mut self, why: &str, polite: bool) {
        self.actions.push_back(if polite {
            Action::Close { code: RESUMABLE_CLOSE, reason: why.to_owned(), linger: false }
        } else {
            Action::Drop
        });
    }

    /// The transport broke a rule (RFC 6455, inflate, size): the connection is unusable.
    pub fn transport_failed(&mut self, now: Time, why: &str) {
        self.transport_faulted(now, None, why);
    }

    /// The same, telling the user what was wrong with the bytes.
    pub fn transport_faulted(&mut self, now: Time, fault: Option<Fault>, why: &str) {
        if matches!(self.phase, Phase::Closing { .. }) {
            self.actions.push_back(Action::Drop);
            return self.closed(now, None, why);
        }
        if self.connection_is_open() {
            let delay = self.delay_after_loss(now);
            self.hang_up("unusable connection", true);
            self.fault = fault;
            self.stats.lost_by = Cause::BadData;
            self.finish(None, why, None);
            self.wait(now, delay);
        }
    }

    pub(super) fn connection_is_open(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::Waiting { .. } | Phase::Connecting { .. } | Phase::Ended)
    }

    pub(super) fn delay_after_loss(&mut self, now: Time) -> Duration {
        if self.is_handing_over() {
            // op 7 announced it, and the next connection is on its way: no failure, and no use of the free drop.
            return Duration::ZERO;
        }
        if let Phase::Ready { since } = self.phase {
            self.backoff.ready_ended(since, now);
            return self.backoff.after_drop(&mut self.rng);
        }
        self.note_failed_resume(now);
        self.backoff.after_failure(&mut self.rng)
    }

    /// A connection that opened to resume ended without RESUMED.
    pub(super) fn note_failed_resume(&mut self, now: Time) {
        // Without a word on the lease it has asked for nothing yet.
        if !self.resuming || self.session.is_none() || matches!(self.phase, Phase::AwaitLease { .. }) {
            return;
        }
        if self.failed_resumes == 0 {
            self.failed_resumes_since = now;
        }
        self.failed_resumes += 1;
        let tried = now.saturating_sub(self.failed_resumes_since);
        if self.failed_resumes >= MAX_FAILED_RESUMES || tried >= MAX_RESUME_TIME {
            self.warn("the session cannot be resumed; identifying anew");
            self.session = None;
        }
    }

    /// One connection is over, whoever ended it.
    pub(super) fn finish(&mut self, code: Option<u16>, reason: &str, error: Option<Ended>) {
        self.release_permit();
        self.heartbeat = None;
        self.stats.last_close = (code, reason.to_owned());
        if self.session.is_none() {
            self.failed_resumes = 0;
            self.resume_host = ResumeHost::Usable;
        }
        let error = error
            .or_else(|| (!self.config.auto_reconnect).then(|| Ended::NotRemade { code, reason: reason.to_owned() }));
        self.actions.push_back(Action::Closed(Closed {
            code,
            reason: reason.to_owned(),
            error: error.clone(),
            fault: self.fault.take(),
            reconnect: error.is_none(),
        }));
        if let Some(error) = error {
            self.end(error);
        }
    }

    /// Waits for the next connection, unless it is all over.
    pub(super) fn wait(&mut self, now: Time, delay: Duration) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        if self.session.is_some() && delay.is_zero() && self.is_handing_over() {
            // The current connection ended while the next one was on its way: it is there sooner than any other.
            return self.take_next(now);
        }
        self.drop_next();
        self.set_status(Status::Disconnected);
        if delay.is_zero() {
            self.connect(now);
        } else {
            self.phase = Phase::Waiting { until: now + delay };
        }
    }

    /// On every way out of asking for the permit and of using it.
    pub(super) fn release_permit(&mut self) {
        if matches!(self.phase, Phase::AwaitPermit | Phase::Identifying { .. }) {
            self.actions.push_back(Action::ReleasePermit);
        }
    }
}
