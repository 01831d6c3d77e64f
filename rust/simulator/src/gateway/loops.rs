//! The two loops that move the bytes of one connection, and how they end. What a message means is `rules`' business.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::connection::{Connection, Switches};
use super::rules;
use crate::state::{CloseRecord, Item};
use crate::wire::{Stream, frame};

/// How long an end is negotiated before it is just an end.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a client has to answer a close frame. Its machine may be busy, and its answer is part of the record.
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes of one write; a `stall` takes effect between two.
const PIECE: usize = 256 << 10;

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

/// What was read and not understood yet.
struct Incoming {
    buffer: Vec<u8>,
    /// The message whose frames are still coming.
    message: Option<Vec<u8>>,
}

/// Runs the connection to its end. `buffered`: bytes that came with the HTTP head.
pub(crate) async fn run(connection: &Arc<Connection>, mut stream: Stream, buffered: Vec<u8>) {
    let mut incoming = Incoming { buffer: buffered, message: None };
    let (read, write) = tokio::io::split(&mut stream);
    let mut exit = tokio::select! {
        exit = read_loop(connection, read, &mut incoming) => exit,
        exit = write_loop(connection, write) => exit,
        () = connection.out.urgent.notified() => Exit::Reset,
    };
    if exit == Exit::Closing {
        let (read, _write) = tokio::io::split(&mut stream);
        // The answer may be half read already.
        let _ = tokio::time::timeout(ANSWER, read_loop(connection, read, &mut incoming)).await;
        exit = Exit::Drop;
    }
    finish(connection, exit);
    if let Some(session) = connection.session.lock().take() {
        session.detach(&connection.out, false);
    }
    connection.out.encoder.lock().take();
    connection.end();
    connection.out.outbox.close();
    connection.out.progressed();
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
fn finish(connection: &Connection, exit: Exit) {
    let mut record = connection.record.lock();
    record.closed.get_or_insert_with(|| CloseRecord {
        ms: connection.common.watch.ms(),
        by: if exit == Exit::Gone { "client_eof" } else { "server" },
        ..CloseRecord::default()
    });
}

async fn write_loop(connection: &Connection, mut write: WriteHalf<&mut Stream>) -> Exit {
    let mut switches = connection.switches.subscribe();
    loop {
        let _ = switches.wait_for(|switches| switches.writing).await;
        let filled = connection.out.outbox.filled.notified();
        match connection.out.outbox.pop() {
            None => {
                tokio::select! {
                    () = filled => {}
                    _ = switches.changed() => {}
                }
            }
            Some(Item::Data(bytes) | Item::Slot(bytes)) => {
                if !write_bytes(connection, &mut write, &bytes, &mut switches).await {
                    // the reader knows better why, and what came before
                    std::future::pending::<()>().await;
                }
                if connection.out.outbox.bytes() == 0 {
                    connection.common.watch.changed();
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
    connection: &Connection,
    write: &mut WriteHalf<&mut Stream>,
    bytes: &Bytes,
    switches: &mut watch::Receiver<Switches>,
) -> bool {
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let _ = switches.wait_for(|switches| switches.writing).await;
        match write.write(&rest[..rest.len().min(PIECE)]).await {
            Ok(count) if count > 0 => {
                connection.bytes_out.fetch_add(count as u64, Ordering::Relaxed);
                rest = &rest[count..];
            }
            _ => return false,
        }
    }
    write.flush().await.is_ok()
}

async fn read_loop(connection: &Arc<Connection>, mut read: ReadHalf<&mut Stream>, incoming: &mut Incoming) -> Exit {
    let mut switches = connection.switches.subscribe();
    let Incoming { buffer, message } = incoming;
    loop {
        // before what was read is looked at: a read may have been under way when the switch was turned
        let _ = switches.wait_for(|switches| switches.reading).await;
        loop {
            match frame::take(buffer, 1 << 20) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    if let Some(exit) = on_frame(connection, frame, message) {
                        return exit;
                    }
                }
                Err(frame::Violation(code, what)) => {
                    connection.record.lock().errors.push(what.to_owned());
                    connection.close(Some(code), what);
                    // the buffer is past reading; the writer ends the connection
                    std::future::pending::<()>().await;
                }
            }
        }
        buffer.reserve(16 << 10);
        tokio::select! {
            count = read.read_buf(buffer) => match count {
                Ok(count) if count > 0 => {
                    connection.bytes_in.fetch_add(count as u64, Ordering::Relaxed);
                }
                Ok(_) => return Exit::Gone,
                Err(_) => {
                    let ms = connection.common.watch.ms();
                    connection.record.lock().closed.get_or_insert_with(|| CloseRecord { ms, by: "client_reset", ..CloseRecord::default() });
                    return Exit::Gone;
                }
            },
            _ = switches.changed() => {}
        }
    }
}

fn on_frame(connection: &Arc<Connection>, frame: frame::Frame, message: &mut Option<Vec<u8>>) -> Option<Exit> {
    match frame.opcode {
        frame::PING => {
            connection.record.lock().pings += 1;
            connection.out.send_frame(frame::PONG, &frame.payload);
        }
        frame::PONG => connection.record.lock().pongs += 1,
        frame::CLOSE => return on_close(connection, &frame.payload),
        frame::CONTINUATION => match message.as_mut() {
            Some(message) => message.extend_from_slice(&frame.payload),
            None => connection.close(Some(1002), "continuation without a start"),
        },
        _ => *message = Some(frame.payload),
    }
    if frame.fin
        && frame.opcode < frame::CLOSE
        && let Some(message) = message.take()
        && !connection.closing.load(Ordering::Relaxed)
    {
        rules::on_message(connection, &message);
        connection.out.progressed();
    }
    None
}

/// Records the client's close and answers it.
fn on_close(connection: &Arc<Connection>, payload: &[u8]) -> Option<Exit> {
    let code = payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
    let mut record = connection.record.lock();
    if let Some(close) = record.closed.as_mut() {
        (close.code, close.reason) = (code, reason);
        return Some(Exit::Drop);
    }
    record.closed =
        Some(CloseRecord { ms: connection.common.watch.ms(), code, reason, sent: code, by: "client_close" });
    drop(record);
    // before the echo leaves: who has seen it may RESUME at once. 1000 and 1001 end a session.
    if let Some(session) = connection.session.lock().take() {
        session.detach(&connection.out, matches!(code, Some(1000 | 1001)));
    }
    let mut out = Vec::new();
    frame::put(&mut out, frame::CLOSE, &frame::close_payload(code, ""));
    connection.closing.store(true, Ordering::Relaxed);
    connection.out.outbox.replace(Item::Data(out.into()));
    connection.out.outbox.push(Item::Drop);
    // a client that reads no more must not hold the echo up
    connection.out.abort_after(FAREWELL);
    None
}
