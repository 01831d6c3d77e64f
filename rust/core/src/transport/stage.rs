//! How far a connection attempt has come: a deadline that passes then says what was being waited for.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering::Relaxed},
};

/// The steps of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    Tcp = 0,
    ProxyTcp = 1,
    Proxy = 2,
    Tls = 3,
    Http = 4,
}

/// The step that an attempt is in. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stage(Arc<AtomicU8>);

impl Stage {
    pub(crate) fn enter(&self, step: Step) {
        self.0.store(step as u8, Relaxed);
    }

    /// What an attempt that came no further is waiting for.
    pub fn missing(&self) -> &'static str {
        match self.0.load(Relaxed) {
            0 => "the name was not found, or the host does not answer",
            1 => "the proxy cannot be reached",
            2 => "the proxy does not answer",
            3 => "the TLS handshake is not finished",
            _ => "the server does not answer the HTTP request",
        }
    }
}
