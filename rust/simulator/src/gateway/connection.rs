//! One gateway connection as rules and steps see it: what is switched, what is recorded, which session it reads. Its
//! loops are in `loops`, its outgoing half in `state::outgoing`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::state::payload::ends_session;
use crate::state::{CloseRecord, Common, ConnectionRecord, Item, Outgoing, Session};
use crate::wire::frame;

/// What a script may switch; the default is to serve normally.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // independent switches
pub(crate) struct Switches {
    pub(crate) answer: bool,
    pub(crate) ack: bool,
    pub(crate) ack_delay: u64,
    pub(crate) ready: bool,
    pub(crate) ready_set: Map<String, Value>,
    pub(crate) ready_remove: Vec<String>,
    pub(crate) resume: OnResume,
    pub(crate) limit_members: bool,
    pub(crate) writing: bool,
    pub(crate) reading: bool,
}

/// What a RESUME gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OnResume {
    Normal,
    InvalidSession(bool),
    Close(u16),
    Silence,
    Truncated(u64),
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            answer: true,
            ack: true,
            ack_delay: 0,
            ready: true,
            ready_set: Map::new(),
            ready_remove: Vec::new(),
            resume: OnResume::Normal,
            limit_members: false,
            writing: true,
            reading: true,
        }
    }
}

/// One gateway connection.
pub(crate) struct Connection {
    pub(crate) common: Arc<Common>,
    pub(crate) out: Arc<Outgoing>,
    pub(crate) switches: watch::Sender<Switches>,
    pub(crate) session: Mutex<Option<Arc<Session>>>,
    pub(crate) record: Mutex<ConnectionRecord>,
    pub(crate) slice: Arc<AtomicUsize>,
    pub(crate) hello_said: AtomicBool,
    /// IDENTIFY or RESUME was answered.
    pub(crate) served: AtomicBool,
    pub(crate) ended: AtomicBool,
    pub(crate) closing: AtomicBool,
    pub(crate) sends: Mutex<VecDeque<Instant>>,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
}

impl Connection {
    pub(crate) fn new(common: Arc<Common>, out: Outgoing, record: ConnectionRecord, slice: Arc<AtomicUsize>) -> Self {
        Self {
            common,
            out: Arc::new(out),
            switches: watch::Sender::new(Switches::default()),
            session: Mutex::new(None),
            record: Mutex::new(record),
            slice,
            hello_said: AtomicBool::new(false),
            served: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            sends: Mutex::new(VecDeque::new()),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    /// Gateway connections count from 1.
    pub(crate) fn number(&self) -> u64 {
        self.out.number
    }

    /// Its loops have come to their end, which the record has.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        let (by, code) = {
            let record = self.record.lock();
            record.closed.as_ref().map_or(("server", None), |closed| (closed.by, closed.sent.or(closed.code)))
        };
        self.common.tally.counts().closed(by, code);
    }

    /// Queues a close frame and what follows it. Sessions that Discord would end with this code end.
    pub(crate) fn close(&self, code: Option<u16>, reason: &str) {
        if code.is_some_and(ends_session)
            && let Some(session) = self.session.lock().as_ref()
        {
            session.kill();
        }
        self.close_with(&frame::close_payload(code, reason), code);
    }

    /// Queues a close frame with any payload.
    pub(crate) fn close_with(&self, payload: &[u8], code: Option<u16>) {
        self.closing.store(true, Ordering::Relaxed);
        self.record.lock().closed =
            Some(CloseRecord { ms: self.common.watch.ms(), sent: code, by: "server", ..CloseRecord::default() });
        self.out.send_frame(frame::CLOSE, payload);
        self.out.outbox.push(Item::Closing);
    }

    pub(crate) fn switch(&self, change: impl FnOnce(&mut Switches)) {
        self.switches.send_modify(change);
    }

    /// The record as it is now, with or without the payloads that were received.
    pub(crate) fn snapshot(&self, payloads: bool) -> ConnectionRecord {
        let mut record = {
            let mut record = self.record.lock();
            let ops = if payloads { Vec::new() } else { std::mem::take(&mut record.ops) };
            let copy = record.clone();
            if !payloads {
                record.ops = ops;
            }
            copy
        };
        record.dispatched = self.out.dispatch_count();
        record.bytes_in = self.bytes_in.load(Ordering::Relaxed);
        record.bytes_out = self.bytes_out.load(Ordering::Relaxed);
        record
    }
}
