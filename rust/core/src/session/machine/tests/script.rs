//! What a random script is made of, and a count of how far the scripts get.

use super::super::ConnectFailureKind;

/// What READY says of its session.
#[derive(Debug, Clone, Copy)]
pub(super) enum ReadySession {
    Good,
    EvilUrl,
    NoUrl,
    NoId,
}

/// One step of a script. Times in milliseconds. What cannot happen in the state at hand is skipped.
#[derive(Debug, Clone)]
pub(super) enum Input {
    /// What a sound server or network does next.
    Natural,
    /// Time in which every deadline is honoured.
    Pass(u64),
    /// The process stands still.
    Stop(u64),
    /// The machine is suspended, and the clock with it.
    Sleep(u64),
    ConnectFailed(ConnectFailureKind, bool),
    Hello(u64),
    /// The connection beside the current one ends, or says something else than HELLO.
    NextLost,
    Ready(Option<u64>, ReadySession),
    Resumed(Option<u64>),
    Dispatch(Option<u64>),
    Ack,
    ToggleAcks,
    /// So many op 1.
    Request(u16),
    Reconnect,
    InvalidSession(bool),
    UnknownOp(u8),
    Closed(Option<u16>),
    TransportFailed,
    Send(u16, u8),
    Presence(u16),
    Cancel(u64),
    Pause,
    ResumeReading,
    /// The day's budget is used up for so long.
    PermitRefused(u64),
    /// A permit that nobody asked for any more.
    LatePermit,
    UserClose(u16),
    StopReconnecting,
}

/// How often the scripts got somewhere.
#[derive(Debug, Default)]
pub(super) struct Reached {
    pub(super) identified: u64,
    pub(super) resumed: u64,
    pub(super) zombies_or_deadlines: u64,
    pub(super) full_windows: u64,
    pub(super) fatal: u64,
    pub(super) paused: u64,
    pub(super) fallbacks: u64,
    pub(super) closed_by_user: u64,
    pub(super) handed_over: u64,
    pub(super) next_lost: u64,
    pub(super) next_taken_early: u64,
}

impl Reached {
    pub(super) fn all(&self) -> [(&'static str, u64); 11] {
        [
            ("identified", self.identified),
            ("resumed", self.resumed),
            ("zombies or deadlines", self.zombies_or_deadlines),
            ("full windows", self.full_windows),
            ("fatal", self.fatal),
            ("paused", self.paused),
            ("fallbacks", self.fallbacks),
            ("closed by the user", self.closed_by_user),
            ("handed over", self.handed_over),
            ("next lost", self.next_lost),
            ("next taken early", self.next_taken_early),
        ]
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.identified += other.identified;
        self.resumed += other.resumed;
        self.zombies_or_deadlines += other.zombies_or_deadlines;
        self.full_windows += other.full_windows;
        self.fatal += other.fatal;
        self.paused += other.paused;
        self.fallbacks += other.fallbacks;
        self.closed_by_user += other.closed_by_user;
        self.handed_over += other.handed_over;
        self.next_lost += other.next_lost;
        self.next_taken_early += other.next_taken_early;
    }
}
