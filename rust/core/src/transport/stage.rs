//! How far a connection attempt has come: a deadline that passes then says what was being waited for.

use std::{
    fmt::Write,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

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

/// Addresses that are told; a name with more of them is somebody's joke.
const TOLD: usize = 8;

#[derive(Debug, Default)]
struct Inner {
    step: AtomicU8,
    /// The addresses that were tried, and why not: nothing where no answer has come. Locked, because a deadline drops the
    /// attempt that wrote it.
    tried: Mutex<Vec<(SocketAddr, Option<String>)>>,
}

/// The step that an attempt is in, and the addresses that it tried. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stage(Arc<Inner>);

impl Stage {
    pub(crate) fn enter(&self, step: Step) {
        if matches!(step, Step::Tcp | Step::ProxyTcp) {
            self.0.tried.lock().clear();
        }
        self.0.step.store(step as u8, Relaxed);
    }

    pub(super) fn trying(&self, address: SocketAddr) {
        self.0.tried.lock().push((address, None));
    }

    pub(super) fn failed(&self, address: SocketAddr, why: &io::Error) {
        let mut tried = self.0.tried.lock();
        if let Some((_, reason)) = tried.iter_mut().find(|(other, reason)| *other == address && reason.is_none()) {
            *reason = Some(why.to_string());
        }
    }

    /// The addresses that were tried, each with what came of it.
    pub(super) fn tried(&self) -> String {
        let tried = self.0.tried.lock();
        let mut text = String::new();
        for (address, reason) in tried.iter().take(TOLD) {
            let separator = if text.is_empty() { "" } else { "; " };
            let _ = match reason {
                Some(reason) => write!(text, "{separator}{address}: {reason}"),
                None => write!(text, "{separator}{address} does not answer"),
            };
        }
        if tried.len() > TOLD {
            let _ = write!(text, "; and {} more", tried.len() - TOLD);
        }
        text
    }

    /// What an attempt that came no further is waiting for.
    pub fn missing(&self) -> String {
        let tried = self.tried();
        let (nobody, whose) = match self.0.step.load(Relaxed) {
            0 => ("", "the name"),
            1 => ("the proxy cannot be reached: ", "its name"),
            2 => return "the proxy does not answer".to_owned(),
            3 => return "the TLS handshake is not finished".to_owned(),
            _ => return "the server does not answer the HTTP request".to_owned(),
        };
        if tried.is_empty() { format!("{nobody}{whose} is still being looked up") } else { format!("{nobody}{tried}") }
    }
}
