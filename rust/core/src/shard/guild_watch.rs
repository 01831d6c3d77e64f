//! Watches the guilds of the session for the driver and tells when all of READY's have been heard of. What an event
//! means for a guild is `session::guilds`'.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::SharedState;
use crate::{
    delivery::Notice,
    protocol::event::EventType,
    session::{GuildChange, Guilds},
};

/// Discord does not promise that each guild of READY is heard of: after so long without one, those are all.
const PATIENCE: Duration = Duration::from_secs(4);
/// Without the intent GUILDS no guild is sent.
const GUILDS_INTENT: u64 = 1;

pub(super) struct GuildWatch {
    guilds: Guilds,
    state: Arc<SharedState>,
    sent: bool,
    deadline: Option<Duration>,
    complete: bool,
}

impl GuildWatch {
    pub(super) fn new(state: &Arc<SharedState>, intents: u64) -> Self {
        state.guilds_ready.store(false, Relaxed);
        let sent = intents & GUILDS_INTENT != 0;
        Self { guilds: Guilds::default(), state: Arc::clone(state), sent, deadline: None, complete: false }
    }

    /// When [`GuildWatch::timeout`] wants to be called.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    pub(super) fn timeout(&mut self, now: Duration) {
        if self.deadline.is_some_and(|at| now >= at) {
            self.tell();
        }
    }

    /// Whether that was the last guild of READY, and [`GuildWatch::tell`] wants to be called. Not before the events up
    /// to it are in the queue: whoever is woken takes them to be there.
    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// What an event means for its guild; most events mean nothing.
    #[inline]
    pub(super) fn note(&mut self, now: Duration, event: EventType, data: &[u8]) -> Option<GuildChange> {
        match event {
            EventType::READY | EventType::RESUMED | EventType::GUILD_CREATE | EventType::GUILD_DELETE => {
                self.note_guild(now, event, data)
            }
            _ => None,
        }
    }

    fn note_guild(&mut self, now: Duration, event: EventType, data: &[u8]) -> Option<GuildChange> {
        let change = self.guilds.note(event, data);
        self.state.guild_count.store(self.guilds.count(), Relaxed);
        if event == EventType::READY {
            self.state.guilds_ready.store(false, Relaxed);
        }
        if !self.state.guilds_ready.load(Relaxed) {
            if self.sent && self.guilds.awaited() > 0 {
                self.deadline = Some(now + PATIENCE);
            } else if self.deadline.is_some() || matches!(event, EventType::READY | EventType::RESUMED) {
                // A session of another process has no READY here; its RESUMED comes after what was missed.
                self.deadline = None;
                self.complete = true;
            }
        }
        change
    }

    pub(super) fn tell(&mut self) {
        self.deadline = None;
        self.complete = false;
        self.state.guilds_ready.store(true, Relaxed);
        self.state.queue.notify(Notice::GuildsReady);
    }

    /// What is missing comes with the next connection.
    pub(super) fn disconnected(&mut self) {
        self.deadline = None;
    }
}
