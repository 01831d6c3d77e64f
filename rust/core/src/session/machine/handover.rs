//! Faster than a reconnect (protocol.md §8): on op 7 the next connection is opened and taken up to HELLO while the
//! current one still serves, so that events stop for one round trip, from RESUME to its first answer.

use std::time::Duration;

use super::{
    Action, Cause, ConnectFailure, ConnectFailureKind, Machine, Phase, Status, Time, connection::RESUMABLE_CLOSE,
};

/// How long the current connection is kept for it. A server that serves one connection after the other answers the
/// next only then, and Discord closes the current one a few seconds after op 7 anyway.
const PATIENCE: Duration = Duration::from_millis(750);
const WHY: &str = "reconnect requested";

/// The next connection while the current one serves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handover {
    at_resume_url: bool,
    began: Time,
    /// The WebSocket is open.
    open: bool,
}

impl Handover {
    pub(super) fn deadline(&self) -> Time {
        self.began + PATIENCE
    }
}

impl Machine {
    /// Whether the connection that is being dialled, or that waits for its HELLO, is the next one beside the current.
    pub fn is_handing_over(&self) -> bool {
        self.handover.is_some()
    }

    /// Dials the next connection beside the current one, where there is a session to take along. Whether it does.
    pub(super) fn hand_over(&mut self, now: Time) -> bool {
        let possible = matches!(self.phase, Phase::Ready { .. })
            && self.session.is_some()
            && self.config.auto_reconnect
            && !self.reading_paused;
        if possible {
            let resume_url = self.usable_resume_url();
            self.handover = Some(Handover { at_resume_url: resume_url.is_some(), began: now, open: false });
            self.actions.push_back(Action::Connect { resume_url });
            self.check_lease();
        }
        possible
    }

    /// The next connection's WebSocket is open. Whether there is one.
    pub(super) fn next_connected(&mut self) -> bool {
        self.handover.as_mut().map(|handover| handover.open = true).is_some()
    }

    /// HELLO came on the next connection: it takes the place of the current one. HELLO itself follows as a payload.
    pub fn switch(&mut self, now: Time) {
        if self.handover.is_some() {
            self.leave_current();
            self.take_next(now);
        }
    }

    /// The next connection ended, or said something else than HELLO. That a server takes no second connection, or is
    /// being drained, says little of one that comes alone: it is tried at once, and that attempt counts.
    pub fn next_lost(&mut self, now: Time) {
        self.go_on_alone(now, Duration::ZERO);
    }

    /// The dial of the next connection came to nothing; as above, but for a rate limit: that is about all of them.
    pub(super) fn next_failed(&mut self, now: Time, failure: ConnectFailure) {
        let limited = failure.kind == ConnectFailureKind::RateLimited;
        let delay = if limited { self.asked_for(&failure) } else { Duration::ZERO };
        self.actions.push_back(Action::ConnectFailed(failure, delay));
        self.go_on_alone(now, delay);
    }

    fn go_on_alone(&mut self, now: Time, delay: Duration) {
        if self.handover.take().is_some() {
            self.leave_current();
            self.wait(now, delay);
        }
    }

    /// The current connection has waited long enough for the next one.
    pub(super) fn hand_over_late(&mut self, now: Time) {
        self.leave_current();
        self.take_next(now);
    }

    fn leave_current(&mut self) {
        self.hang_up(WHY, true);
        self.stats.lost_by = Cause::Reconnect;
        self.finish(Some(RESUMABLE_CLOSE), WHY, None);
    }

    /// The current connection is gone: the next one, open or on its way, is the only one.
    pub(super) fn take_next(&mut self, now: Time) {
        let Some(handover) = self.handover.take() else { return };
        self.actions.push_back(Action::TakeNext);
        self.at_resume_url = handover.at_resume_url;
        self.phase = Phase::Connecting { deadline: handover.began + self.config.timeouts.connect };
        if handover.open {
            self.connected(now);
        } else {
            self.set_status(Status::Connecting);
        }
    }

    /// The next connection is of no use any more.
    pub(super) fn drop_next(&mut self) {
        if let Some(handover) = self.handover.take() {
            self.actions.push_back(if handover.open { Action::DropNext } else { Action::AbortConnect });
        }
    }
}
