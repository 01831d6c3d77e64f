//! Whether the session is still this process's. Where several processes share a session store, one of them may have taken
//! the session over: Discord then ends our connection, and a RESUME would take the session back from the newcomer, which
//! would take it back in its turn. So with each dial somebody is asked who can look at the store, and RESUME and IDENTIFY
//! wait for the answer.

use std::time::Duration;

use super::{Action, Ended, Machine, Phase, Time, connection::RESUMABLE_CLOSE};

/// How long a RESUME waits for the answer. Discord keeps a session for minutes; who is asked answers within
/// milliseconds, or is blocked.
const PATIENCE: Duration = Duration::from_secs(5);
const WHY: &str = "another process has taken the session over";

#[derive(Debug, Default)]
pub(super) struct Lease {
    /// The last check asked for; answers to earlier ones may still be on their way.
    check: u64,
    /// The last check with an answer.
    answered: u64,
    /// A RESUME has left without an answer, and none has come since.
    on_credit: bool,
}

impl Machine {
    /// A connection is being dialled: by its HELLO the answer is there, as a rule.
    pub(super) fn check_lease(&mut self) {
        if self.config.leased {
            self.lease.check += 1;
            self.actions.push_back(Action::CheckLease(self.lease.check));
        }
    }

    /// HELLO is in. Whether the answer has to be waited for.
    pub(super) fn await_lease(&mut self, now: Time) -> bool {
        let waits = self.config.leased && self.lease.answered < self.lease.check;
        if waits {
            // An IDENTIFY is in no hurry, and in the wrong process it makes a second session. A RESUME is, but not twice:
            // a process that hangs and one that has taken its place would take the session from each other for ever.
            let resumes = self.session.is_some() && !self.lease.on_credit;
            self.phase = Phase::AwaitLease { deadline: resumes.then(|| now + PATIENCE) };
        }
        waits
    }

    /// The session is still this process's, as far as anybody knows.
    pub fn lease_held(&mut self, now: Time, check: u64) {
        self.lease.on_credit = false;
        self.lease.answered = self.lease.answered.max(check.min(self.lease.check));
        if matches!(self.phase, Phase::AwaitLease { .. }) && self.lease.answered == self.lease.check {
            self.log_in(now);
        }
    }

    /// Nobody answers: the event loop is blocked, and that must not cost the session.
    pub(super) fn resume_on_credit(&mut self, now: Time) {
        self.lease.on_credit = true;
        self.warn(
            "the event loop is blocked, so nobody can tell whether another process has taken the session over; resuming \
             all the same, this once",
        );
        self.log_in(now);
    }

    /// Another process has claimed the session. The connection is closed so that the session lives on.
    pub fn taken_over(&mut self) {
        if matches!(self.phase, Phase::Idle | Phase::Closing { .. } | Phase::Ended) {
            return;
        }
        self.drop_next();
        match self.phase {
            Phase::Waiting { .. } => {}
            Phase::Connecting { .. } => self.actions.push_back(Action::AbortConnect),
            _ => {
                self.hang_up(WHY, true);
                self.session = None;
                return self.finish(Some(RESUMABLE_CLOSE), WHY, Some(Ended::TakenOver));
            }
        }
        self.session = None;
        self.end(Ended::TakenOver);
    }
}
