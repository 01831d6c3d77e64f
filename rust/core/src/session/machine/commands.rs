//! Commands on their way out (protocol.md §7): in order, through the 120/60 s window, never before
//! READY/RESUMED; presence updates coalesced to the newest. Heartbeats do not pass here.

use std::collections::VecDeque;

use super::{Action, Machine, Phase, SendError, Time};
use crate::{
    protocol::{Opcode, command, envelope},
    session::{CommandCounts, CommandKind, CommandResult, PresenceLimiter, SendLimiter},
};

/// Commands that may wait. A caller awaits each, so more than this is a runaway loop.
const QUEUE_LIMIT: usize = 4096;

struct Waiting {
    id: u64,
    opcode: u8,
    payload: String,
}

#[derive(Default)]
pub(super) struct Commands {
    queue: VecDeque<Waiting>,
    /// The newest presence that waits and all the callers whom it will serve.
    presence: Option<(Vec<u64>, String)>,
    /// The presence before that: sent, or given at the start.
    shown: Option<String>,
    pub(super) limiter: SendLimiter,
    pub(super) presence_limiter: PresenceLimiter,
}

impl Commands {
    pub(super) fn new(presence: Option<String>, presence_limiter: PresenceLimiter) -> Self {
        Self { shown: presence, presence_limiter, ..Self::default() }
    }

    /// What it keeps: commands, callers of a presence, times of payloads sent.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        let callers = self.presence.as_ref().map_or(0, |(ids, _)| ids.len());
        self.queue.len() + callers + self.limiter.footprint() + self.presence_limiter.footprint()
    }

    /// For IDENTIFY.
    pub(super) fn newest_presence(&self) -> Option<&str> {
        self.presence.as_ref().map(|(_, presence)| presence).or(self.shown.as_ref()).map(String::as_str)
    }

    /// IDENTIFY could not carry the presence: it is sent once READY is in.
    pub(super) fn presence_again(&mut self) {
        if self.presence.is_none() {
            self.presence = self.shown.clone().map(|presence| (Vec::new(), presence));
        }
    }

    /// None of them will be sent any more.
    pub(super) fn fail_all(&mut self, counts: &mut CommandCounts, actions: &mut VecDeque<Action>) {
        let presence = self.presence.take().map(|(ids, _)| ids).unwrap_or_default();
        if !presence.is_empty() {
            // The others were superseded.
            counts.count(CommandKind::Presence, CommandResult::NotConnected);
        }
        let queued = self.queue.drain(..).map(|waiting| {
            counts.count(CommandKind::of(waiting.opcode), CommandResult::NotConnected);
            waiting.id
        });
        let ids = presence.into_iter().chain(queued);
        actions.extend(ids.map(|id| Action::CommandDone(id, Err(SendError::NotConnected))));
    }

    /// When the first of them may leave.
    pub(super) fn deadline(&mut self, now: Time) -> Option<Time> {
        let window = self.limiter.free_at(now);
        let presence = self.presence.is_some().then(|| window.max(self.presence_limiter.free_at(now)));
        let front = self.queue.front().map(|front| front.opcode == Opcode::PresenceUpdate.code());
        let front =
            front.map(|is_presence| if is_presence { window.max(self.presence_limiter.free_at(now)) } else { window });
        presence.into_iter().chain(front).min()
    }

    fn next(&mut self, now: Time) -> Option<(CommandKind, Vec<u64>, String)> {
        if self.limiter.free_at(now) > now {
            return None;
        }
        let presence_free = self.presence_limiter.free_at(now) <= now;
        let next = if presence_free && self.presence.is_some() {
            self.presence_limiter.sent(now);
            self.presence.take().map(|(ids, presence)| {
                let payload = command::raw(Opcode::PresenceUpdate.code(), &presence);
                self.shown = Some(presence);
                (CommandKind::Presence, ids, payload)
            })
        } else {
            let is_presence = self.queue.front()?.opcode == Opcode::PresenceUpdate.code();
            if is_presence && !presence_free {
                return None;
            }
            if is_presence {
                self.presence_limiter.sent(now);
            }
            self.queue.pop_front().map(|waiting| (CommandKind::of(waiting.opcode), vec![waiting.id], waiting.payload))
        };
        self.limiter.sent(now);
        next
    }
}

impl Machine {
    /// Queues a payload; [`Action::CommandDone`] with `id` follows when it is written.
    ///
    /// The caller has checked its size. A raw op 3 passes the presence limit but is never coalesced.
    pub fn send(&mut self, now: Time, id: u64, opcode: u8, payload: String) {
        if let Some(error) = self.refusal(self.commands.queue.len()) {
            self.stats.commands.count(CommandKind::of(opcode), error.into());
            self.actions.push_back(Action::CommandDone(id, Err(error)));
            return;
        }
        self.commands.queue.push_back(Waiting { id, opcode, payload });
        self.flush_commands(now);
    }

    /// Payloads that were given out and did not leave: they are the first to leave on the next connection.
    pub fn send_again(&mut self, payloads: Vec<(u64, String)>) {
        let error = self.refusal(0);
        for (id, payload) in payloads.into_iter().rev() {
            let opcode = envelope::scan(payload.as_bytes()).ok().and_then(|envelope| envelope.op).unwrap_or_default();
            self.stats.commands_sent = self.stats.commands_sent.saturating_sub(1);
            self.stats.commands.take_back(CommandKind::of(opcode));
            if let Some(error) = error {
                self.stats.commands.count(CommandKind::of(opcode), error.into());
                self.actions.push_back(Action::CommandDone(id, Err(error)));
                continue;
            }
            self.commands.queue.push_front(Waiting { id, opcode, payload });
        }
    }

    fn refusal(&self, waiting: usize) -> Option<SendError> {
        match self.phase {
            Phase::Idle | Phase::Closing { .. } | Phase::Ended => Some(SendError::NotConnected),
            _ if waiting >= QUEUE_LIMIT => Some(SendError::QueueFull),
            _ => None,
        }
    }

    /// The presence from now on (JSON of op 3's `d`): also in the next IDENTIFY. Newer calls overtake
    /// older ones that still wait.
    pub fn set_presence(&mut self, now: Time, id: u64, presence: String) {
        let waiting = self.commands.presence.as_ref().map_or(0, |(ids, _)| ids.len());
        if let Some(error) = self.refusal(waiting) {
            self.stats.commands.count(CommandKind::Presence, error.into());
            self.actions.push_back(Action::CommandDone(id, Err(error)));
            return;
        }
        let mut ids = self.commands.presence.take().map(|(ids, _)| ids).unwrap_or_default();
        if !ids.is_empty() {
            // Its caller is served by the newer one, but nothing of it is sent.
            self.stats.commands.count(CommandKind::Presence, CommandResult::Superseded);
        }
        ids.push(id);
        self.commands.presence = Some((ids, presence));
        self.flush_commands(now);
    }

    /// Takes a command back that still waits. Returns whether it did.
    pub fn cancel(&mut self, id: u64) -> bool {
        let before = self.commands.queue.len();
        let counts = &mut self.stats.commands;
        self.commands.queue.retain(|waiting| {
            let stays = waiting.id != id;
            if !stays {
                counts.count(CommandKind::of(waiting.opcode), CommandResult::Cancelled);
            }
            stays
        });
        let mut found = before != self.commands.queue.len();
        if let Some((ids, _)) = &mut self.commands.presence {
            let waiting = ids.len();
            ids.retain(|&other| other != id);
            let was_in = waiting != ids.len();
            if was_in && ids.is_empty() {
                self.stats.commands.count(CommandKind::Presence, CommandResult::Cancelled);
                self.commands.presence = None;
            }
            found |= was_in;
        }
        found
    }

    pub(super) fn flush_commands(&mut self, now: Time) {
        // The connection that is being given up may not be read any more.
        if !matches!(self.phase, Phase::Ready { .. }) || self.is_handing_over() {
            return;
        }
        while let Some((kind, ids, payload)) = self.commands.next(now) {
            self.stats.commands_sent += 1;
            self.stats.commands.count(kind, CommandResult::Sent);
            self.actions.push_back(Action::Send(payload));
            self.actions.extend(ids.into_iter().map(|id| Action::CommandDone(id, Ok(()))));
        }
    }

    /// A new connection has a new send window; the presence limit belongs to the session.
    pub(super) fn new_send_window(&mut self, interval: std::time::Duration) {
        self.commands.limiter = SendLimiter::new(interval);
    }

    pub(super) fn note_sent(&mut self, now: Time) {
        self.commands.limiter.sent(now);
    }
}
