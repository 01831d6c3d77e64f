//! What waits to be written to one connection: ready frames in order, then how it ends. Bounded for whoever asks first.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// One entry.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// Bytes to write.
    Data(Bytes),
    /// A beat's acknowledgement encoded ahead into a preloaded stream: may be sent before the gate opens.
    Slot(Bytes),
    /// Nothing more until the gate opens (preloaded traffic that waits for its start).
    Gate,
    /// Send FIN and read on.
    HalfClose,
    /// The close frame was written: wait for the client's for a while, then end.
    Closing,
    /// Send FIN and end.
    Drop,
    /// Send RST and end.
    Reset,
}

#[derive(Debug, Default)]
struct Inner {
    items: VecDeque<Item>,
    bytes: usize,
    open: bool,
    closed: bool,
}

/// The queue of one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Encoded bytes that may wait before producers of traffic pause.
    capacity: usize,
    inner: Mutex<Inner>,
    /// The writer waits here.
    pub(crate) filled: Notify,
    /// Producers wait here.
    pub(crate) drained: Notify,
}

impl Outbox {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, inner: Mutex::default(), filled: Notify::new(), drained: Notify::new() }
    }

    /// Queues; never waits.
    pub(crate) fn push(&self, item: Item) {
        let mut inner = self.inner.lock();
        if inner.closed {
            return;
        }
        if let Item::Data(bytes) | Item::Slot(bytes) = &item {
            if bytes.is_empty() {
                return;
            }
            inner.bytes += bytes.len();
        }
        inner.items.push_back(item);
        drop(inner);
        self.filled.notify_one();
    }

    /// Throws away what waits and queues only this.
    pub(crate) fn replace(&self, item: Item) {
        {
            let mut inner = self.inner.lock();
            inner.items.clear();
            inner.bytes = 0;
        }
        self.push(item);
    }

    /// Throws away what waits and ends, unless it is being closed: then the client's answer is still to come.
    pub(crate) fn end(&self) {
        if !self.inner.lock().items.iter().any(|item| matches!(item, Item::Closing)) {
            self.replace(Item::Drop);
        }
    }

    /// The next thing to do.
    pub(crate) fn pop(&self) -> Option<Item> {
        let mut inner = self.inner.lock();
        if matches!(inner.items.front(), Some(Item::Gate)) {
            if !inner.open {
                return None;
            }
            inner.items.pop_front();
        }
        // slots are given out one per beat while the gate is shut
        if !inner.open && matches!(inner.items.front(), Some(Item::Slot(_))) {
            return None;
        }
        let item = inner.items.pop_front()?;
        let mut wake = false;
        if let Item::Data(bytes) | Item::Slot(bytes) = &item {
            wake = inner.bytes >= self.capacity && inner.bytes - bytes.len() < self.capacity;
            inner.bytes -= bytes.len();
        }
        drop(inner);
        if wake {
            self.drained.notify_waiters();
        }
        Some(item)
    }

    /// Turns the next acknowledgement slot into data; false when there is none to give.
    pub(crate) fn release_slot(&self) -> bool {
        let mut inner = self.inner.lock();
        if inner.open {
            return false;
        }
        for item in &mut inner.items {
            match item {
                Item::Slot(bytes) => {
                    *item = Item::Data(std::mem::take(bytes));
                    drop(inner);
                    self.filled.notify_one();
                    return true;
                }
                Item::Gate => return false,
                _ => {}
            }
        }
        false
    }

    /// Opens the gate for good.
    pub(crate) fn open(&self) {
        self.inner.lock().open = true;
        self.filled.notify_one();
    }

    /// Whether producers may encode more.
    pub(crate) fn has_room(&self) -> bool {
        let inner = self.inner.lock();
        !inner.closed && inner.bytes < self.capacity
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// The connection is gone: forget everything, take nothing more.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.items.clear();
        inner.bytes = 0;
        drop(inner);
        self.drained.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::{Item, Outbox};

    #[test]
    fn what_is_being_closed_is_not_dropped_before_the_answer() {
        let outbox = Outbox::new(1);
        outbox.push(Item::HalfClose);
        outbox.end();
        assert!(matches!((outbox.pop(), outbox.pop()), (Some(Item::Drop), None)));
        outbox.push(Item::Closing);
        outbox.end();
        assert!(matches!((outbox.pop(), outbox.pop()), (Some(Item::Closing), None)));
    }
}
