//! The connection of one client, and when anything moved on it last.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::clock;

/// When bytes came or went last, in nanoseconds of the clock.
#[derive(Debug, Clone)]
pub(super) struct Moved(Arc<AtomicU64>);

impl Moved {
    pub(super) fn now() -> Self {
        let moved = Self(Arc::default());
        moved.note();
        moved
    }

    fn note(&self) {
        self.0.store(clock::now().as_nanos() as u64, Relaxed);
    }

    /// Returns when nothing has moved for so long.
    pub(super) async fn stands_still(&self, for_so_long: Duration) {
        loop {
            let quiet = clock::now().saturating_sub(Duration::from_nanos(self.0.load(Relaxed)));
            let Some(left) = for_so_long.checked_sub(quiet).filter(|left| !left.is_zero()) else { return };
            tokio::time::sleep(left).await;
        }
    }
}

/// A socket that notes when something moves.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) socket: TcpStream,
    pub(super) moved: Moved,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_read(cx, into);
        if polled.is_ready() {
            self.moved.note();
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, from);
        if polled.is_ready() {
            self.moved.note();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
