//! One WebSocket: its switches, its record, and the two loops that move its bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, watch};

use crate::encoder::Encoder;
use crate::frame;
use crate::gateway;
use crate::outbox::{Item, Outbox};
use crate::record::{CloseRecord, ConnectionRecord};
use crate::server::Server;
use crate::session::Session;
use crate::wire::Stream;

/// How long an end is negotiated before it is just an end.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes of one write; a `stall` takes effect between two.
const PIECE: usize = 256 << 10;

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
    pub(crate) number: u64,
    pub(crate) server: Arc<Server>,
    pub(crate) outbox: Outbox,
    /// `None` once the connection has ended: a compressor is a megabyte.
    pub(crate) encoder: Mutex<Option<Encoder>>,
    pub(crate) switches: watch::Sender<Switches>,
    pub(crate) session: Mutex<Option<Arc<Session>>>,
    pub(crate) record: Mutex<ConnectionRecord>,
    /// Wakes the connection's script.
    pub(crate) progress: Notify,
    pub(crate) slice: Arc<AtomicUsize>,
    pub(crate) hello_said: AtomicBool,
    /// IDENTIFY or RESUME was answered.
    pub(crate) served: AtomicBool,
    pub(crate) ended: AtomicBool,
    pub(crate) closing: AtomicBool,
    pub(crate) sends: Mutex<VecDeque<Instant>>,
    dispatched: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    urgent: Notify,
}

/// How the loops of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// The client sent FIN or is unreachable.
    Gone,
    /// RST.
    Reset,
    /// FIN now.
    Drop,
    /// A close frame was sent: the client may answer it.
    Closing,
}

impl Connection {
    pub(crate) fn new(
        server: &Arc<Server>,
        record: ConnectionRecord,
        encoder: Encoder,
        slice: Arc<AtomicUsize>,
        capacity: usize,
    ) -> Self {
        Self {
            number: record.number,
            server: Arc::clone(server),
            outbox: Outbox::new(capacity),
            encoder: Mutex::new(Some(encoder)),
            switches: watch::Sender::new(Switches::default()),
            session: Mutex::new(None),
            record: Mutex::new(record),
            progress: Notify::new(),
            slice,
            hello_said: AtomicBool::new(false),
            served: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            sends: Mutex::new(VecDeque::new()),
            dispatched: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            urgent: Notify::new(),
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

    /// Queues a close frame and what follows it. Sessions that Discord would end with this code end.
    pub(crate) fn close(&self, code: Option<u16>, reason: &str) {
        if code.is_some_and(|code| matches!(code, 4001 | 4003 | 4004 | 4007 | 4009..=4014))
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
            Some(CloseRecord { ms: self.server.watch.ms(), sent: code, by: "server", ..CloseRecord::default() });
        let mut out = Vec::new();
        frame::put(&mut out, frame::CLOSE, payload);
        self.outbox.push(Item::Data(out.into()));
        self.outbox.push(Item::Closing);
    }

    /// Ends the connection without regard to what is queued.
    pub(crate) fn abort(&self) {
        self.urgent.notify_one();
    }

    /// The same, later, should it still live then.
    pub(crate) fn abort_after(self: &Arc<Self>, delay: Duration) {
        let connection = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            connection.abort();
        });
    }

    /// Counts dispatches and wakes whoever waits for them.
    pub(crate) fn dispatched(&self, count: u64) {
        if count > 0 {
            self.dispatched.fetch_add(count, Ordering::Relaxed);
            self.progressed();
        }
    }

    pub(crate) fn dispatch_count(&self) -> u64 {
        self.dispatched.load(Ordering::Relaxed)
    }

    /// Something happened that a script or a test may wait for.
    pub(crate) fn progressed(&self) {
        self.progress.notify_waiters();
        self.server.watch.changed();
    }

    pub(crate) fn switch(&self, change: impl FnOnce(&mut Switches)) {
        self.switches.send_modify(change);
    }

    pub(crate) fn snapshot(&self) -> ConnectionRecord {
        let mut record = self.record.lock().clone();
        record.dispatched = self.dispatch_count();
        record.bytes_in = self.bytes_in.load(Ordering::Relaxed);
        record.bytes_out = self.bytes_out.load(Ordering::Relaxed);
        record
    }

    /// Runs the connection to its end. `buffered`: bytes that came with the HTTP head.
    pub(crate) async fn run(self: Arc<Self>, mut stream: Stream, buffered: Vec<u8>) {
        let (read, write) = tokio::io::split(&mut stream);
        let mut exit = tokio::select! {
            exit = self.read_loop(read, buffered) => exit,
            exit = self.write_loop(write) => exit,
            () = self.urgent.notified() => Exit::Reset,
        };
        if exit == Exit::Closing {
            let (read, _write) = tokio::io::split(&mut stream);
            let _ = tokio::time::timeout(FAREWELL, self.read_loop(read, Vec::new())).await;
            exit = Exit::Drop;
        }
        self.finish(exit);
        if let Some(session) = self.session.lock().take() {
            session.detach(&self, false);
        }
        self.encoder.lock().take();
        self.ended.store(true, Ordering::Relaxed);
        self.outbox.close();
        self.progressed();
        match exit {
            Exit::Reset => stream.abort_on_drop(),
            Exit::Gone => {
                let _ = tokio::time::timeout(FAREWELL, stream.shutdown()).await;
            }
            Exit::Drop | Exit::Closing => {
                let _ = tokio::time::timeout(FAREWELL, async {
                    let _ = stream.shutdown().await;
                    // unread bytes would turn the FIN into an RST
                    let mut rest = [0; 4096];
                    while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
                })
                .await;
            }
        }
    }

    /// Completes the record.
    fn finish(&self, exit: Exit) {
        let mut record = self.record.lock();
        record.closed.get_or_insert_with(|| CloseRecord {
            ms: self.server.watch.ms(),
            by: if exit == Exit::Gone { "client_eof" } else { "server" },
            ..CloseRecord::default()
        });
    }

    async fn write_loop(&self, mut write: WriteHalf<&mut Stream>) -> Exit {
        let mut switches = self.switches.subscribe();
        loop {
            let _ = switches.wait_for(|switches| switches.writing).await;
            let filled = self.outbox.filled.notified();
            match self.outbox.pop() {
                None => {
                    tokio::select! {
                        () = filled => {}
                        _ = switches.changed() => {}
                    }
                }
                Some(Item::Data(bytes) | Item::Slot(bytes)) => {
                    if !self.write_bytes(&mut write, &bytes, &mut switches).await {
                        // the reader knows better why, and what came before
                        std::future::pending::<()>().await;
                    }
                    if self.outbox.bytes() == 0 {
                        self.server.watch.changed();
                    }
                }
                Some(Item::Gate) => {}
                Some(Item::HalfClose) => {
                    let _ = write.shutdown().await;
                    std::future::pending::<()>().await;
                }
                Some(Item::Closing) => return Exit::Closing,
                Some(Item::Drop) => return Exit::Drop,
                Some(Item::Reset) => return Exit::Reset,
            }
        }
    }

    async fn write_bytes(
        &self,
        write: &mut WriteHalf<&mut Stream>,
        bytes: &Bytes,
        switches: &mut watch::Receiver<Switches>,
    ) -> bool {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let _ = switches.wait_for(|switches| switches.writing).await;
            match write.write(&rest[..rest.len().min(PIECE)]).await {
                Ok(count) if count > 0 => {
                    self.bytes_out.fetch_add(count as u64, Ordering::Relaxed);
                    rest = &rest[count..];
                }
                _ => return false,
            }
        }
        write.flush().await.is_ok()
    }

    async fn read_loop(self: &Arc<Self>, mut read: ReadHalf<&mut Stream>, mut buffer: Vec<u8>) -> Exit {
        let mut switches = self.switches.subscribe();
        let mut message: Option<Vec<u8>> = None;
        loop {
            // before what was read is looked at: a read may have been under way when the switch was turned
            let _ = switches.wait_for(|switches| switches.reading).await;
            loop {
                match frame::take(&mut buffer, 1 << 20) {
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        if let Some(exit) = self.on_frame(frame, &mut message) {
                            return exit;
                        }
                    }
                    Err(frame::Violation(code, what)) => {
                        self.record.lock().errors.push(what.to_owned());
                        self.close(Some(code), what);
                        // the buffer is past reading; the writer ends the connection
                        std::future::pending::<()>().await;
                    }
                }
            }
            buffer.reserve(16 << 10);
            tokio::select! {
                count = read.read_buf(&mut buffer) => match count {
                    Ok(count) if count > 0 => {
                        self.bytes_in.fetch_add(count as u64, Ordering::Relaxed);
                    }
                    Ok(_) => return Exit::Gone,
                    Err(_) => {
                        let ms = self.server.watch.ms();
                        self.record.lock().closed.get_or_insert_with(|| CloseRecord { ms, by: "client_reset", ..CloseRecord::default() });
                        return Exit::Gone;
                    }
                },
                _ = switches.changed() => {}
            }
        }
    }

    fn on_frame(self: &Arc<Self>, frame: frame::Frame, message: &mut Option<Vec<u8>>) -> Option<Exit> {
        match frame.opcode {
            frame::PING => {
                self.record.lock().pings += 1;
                self.send_frame(frame::PONG, &frame.payload);
            }
            frame::PONG => self.record.lock().pongs += 1,
            frame::CLOSE => return self.on_close(&frame.payload),
            frame::CONTINUATION => match message.as_mut() {
                Some(message) => message.extend_from_slice(&frame.payload),
                None => self.close(Some(1002), "continuation without a start"),
            },
            _ => *message = Some(frame.payload),
        }
        if frame.fin
            && frame.opcode < frame::CLOSE
            && let Some(message) = message.take()
            && !self.closing.load(Ordering::Relaxed)
        {
            gateway::on_message(self, &message);
            self.progressed();
        }
        None
    }

    /// Records the client's close and answers it.
    fn on_close(self: &Arc<Self>, payload: &[u8]) -> Option<Exit> {
        let code = payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
        let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
        let mut record = self.record.lock();
        if let Some(close) = record.closed.as_mut() {
            (close.code, close.reason) = (code, reason);
            return Some(Exit::Drop);
        }
        record.closed = Some(CloseRecord { ms: self.server.watch.ms(), code, reason, sent: code, by: "client_close" });
        drop(record);
        // before the echo leaves: who has seen it may RESUME at once. 1000 and 1001 end a session.
        if let Some(session) = self.session.lock().take() {
            session.detach(self, matches!(code, Some(1000 | 1001)));
        }
        let mut out = Vec::new();
        frame::put(&mut out, frame::CLOSE, &frame::close_payload(code, ""));
        self.closing.store(true, Ordering::Relaxed);
        self.outbox.replace(Item::Data(out.into()));
        self.outbox.push(Item::Drop);
        // a client that reads no more must not hold the echo up
        self.abort_after(FAREWELL);
        None
    }
}
