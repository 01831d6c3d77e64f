//! The eight states of a gateway's lifecycle.

/// Where a gateway stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Never opened.
    Unconnected = 0,
    /// TCP, TLS and upgrade are under way.
    Connecting = 1,
    /// The WebSocket is open, HELLO has not come.
    WaitingForHello = 2,
    /// HELLO is in; IDENTIFY waits for its turn.
    Identifying = 3,
    /// RESUME is sent; the replay is coming in.
    Resuming = 4,
    /// IDENTIFY is sent.
    WaitingForReady = 5,
    /// READY or RESUMED is in.
    Ready = 6,
    /// Between two connections, or closed.
    Disconnected = 7,
}

impl Status {
    /// The name on the public face.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unconnected => "UNCONNECTED",
            Self::Connecting => "CONNECTING",
            Self::WaitingForHello => "WAITING_FOR_HELLO",
            Self::Identifying => "IDENTIFYING",
            Self::Resuming => "RESUMING",
            Self::WaitingForReady => "WAITING_FOR_READY",
            Self::Ready => "READY",
            Self::Disconnected => "DISCONNECTED",
        }
    }
}
