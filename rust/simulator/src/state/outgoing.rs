//! The outgoing half of a connection, without its socket: the one encoder, what waits to be written, and who is told that
//! something was. A session writes here; the connection's loop empties it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::outbox::{Item, Outbox};
use super::tally::Tally;
use super::watch::Watch;
use crate::wire::{Encoder, frame};

/// See the module.
pub(crate) struct Outgoing {
    /// The connection's.
    pub(crate) number: u64,
    pub(crate) outbox: Outbox,
    /// `None` once the connection has ended: a compressor is a megabyte.
    pub(crate) encoder: Mutex<Option<Encoder>>,
    /// Wakes the connection's script.
    pub(crate) progress: Notify,
    /// Wakes the connection's loops, to end them.
    pub(crate) urgent: Notify,
    watch: Arc<Watch>,
    tally: Arc<Tally>,
    dispatched: AtomicU64,
}

impl Outgoing {
    /// `capacity`: encoded bytes that may wait before traffic pauses.
    pub(crate) fn new(number: u64, encoder: Encoder, capacity: usize, watch: Arc<Watch>, tally: Arc<Tally>) -> Self {
        Self {
            number,
            outbox: Outbox::new(capacity),
            encoder: Mutex::new(Some(encoder)),
            progress: Notify::new(),
            urgent: Notify::new(),
            watch,
            tally,
            dispatched: AtomicU64::new(0),
        }
    }

    /// Encodes one payload and queues it. The encoder stays locked meanwhile: a compressed stream has one order.
    pub(crate) fn send(&self, payload: &[u8]) {
        self.encode(|encoder, out| {
            encoder.encode(payload, out);
            encoder.release(out);
        });
    }

    /// Lets `write` use the encoder and queues what it wrote.
    pub(crate) fn encode(&self, write: impl FnOnce(&mut Encoder, &mut Vec<u8>)) {
        let mut encoder = self.encoder.lock();
        if let Some(encoder) = encoder.as_mut() {
            let mut out = Vec::new();
            write(encoder, &mut out);
            self.outbox.push(Item::Data(out.into()));
        }
    }

    /// Queues a frame as it is.
    pub(crate) fn send_frame(&self, opcode: u8, payload: &[u8]) {
        let mut out = Vec::with_capacity(payload.len() + 10);
        frame::put(&mut out, opcode, payload);
        self.outbox.push(Item::Data(out.into()));
    }

    /// Ends the connection without regard to what is queued.
    pub(crate) fn abort(&self) {
        self.urgent.notify_one();
    }

    /// The same, later, should the connection still live then.
    pub(crate) fn abort_after(self: &Arc<Self>, delay: Duration) {
        let outgoing = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            outgoing.abort();
        });
    }

    /// Counts dispatches and wakes whoever waits for them.
    pub(crate) fn dispatched(&self, count: u64) {
        if count > 0 {
            self.dispatched.fetch_add(count, Ordering::Relaxed);
            self.tally.dispatched(count);
            self.progressed();
        }
    }

    pub(crate) fn dispatch_count(&self) -> u64 {
        self.dispatched.load(Ordering::Relaxed)
    }

    /// Something happened that a script or a test may wait for.
    pub(crate) fn progressed(&self) {
        self.progress.notify_waiters();
        self.watch.changed();
    }
}
