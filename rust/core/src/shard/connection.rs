//! One open connection: the WebSocket and its inflater, read batch by batch without awaiting.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio_tungstenite::tungstenite::{
    Error, Message, Utf8Bytes,
    error::ProtocolError,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use zeroize::Zeroizing;

use crate::{inflate::Inflater, session::Fault, transport::Socket};

/// What one read of the socket gave.
pub(super) enum Incoming {
    /// A message of Discord's; `true`: a binary frame.
    Message(Bytes, bool),
    /// Control frames; answered underneath.
    Quiet,
    /// The peer closed; the answer is queued.
    Closed(Option<u16>, String),
    /// It is gone without a close frame.
    Lost(String),
    /// The peer broke RFC 6455 or a size limit.
    Broken(Option<Fault>, String),
}

pub(super) struct Connection {
    socket: Socket,
    pub(super) inflater: Inflater,
    unflushed: bool,
}

impl Connection {
    pub(super) fn new(socket: Socket, inflater: Inflater) -> Self {
        Self { socket, inflater, unflushed: false }
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let incoming = match std::task::ready!(Pin::new(&mut self.socket).poll_next(cx)) {
            None => Incoming::Lost("connection lost".to_owned()),
            Some(Ok(Message::Binary(data))) => {
                self.socket.get_mut().message_is_whole();
                Incoming::Message(data, true)
            }
            Some(Ok(Message::Text(text))) => {
                self.socket.get_mut().message_is_whole();
                Incoming::Message(text.into(), false)
            }
            Some(Ok(Message::Close(frame))) => {
                self.unflushed = true;
                match frame {
                    Some(frame) => Incoming::Closed(Some(frame.code.into()), frame.reason.to_string()),
                    None => Incoming::Closed(None, String::new()),
                }
            }
            Some(Ok(Message::Ping(_))) => {
                // Tungstenite has queued the pong (the latest only); it leaves with the next flush.
                self.unflushed = true;
                Incoming::Quiet
            }
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => Incoming::Quiet,
            Some(Err(error)) => match error {
                // `Metered`: frames without end.
                Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                    Incoming::Broken(Some(Fault::TooLarge), error.to_string())
                }
                Error::ConnectionClosed
                | Error::AlreadyClosed
                | Error::Io(_)
                | Error::Tls(_)
                | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Incoming::Lost(error.to_string()),
                Error::Capacity(error) => Incoming::Broken(Some(Fault::TooLarge), error.to_string()),
                other => Incoming::Broken(None, other.to_string()),
            },
        };
        Poll::Ready(incoming)
    }

    /// Queues a text and wipes it: IDENTIFY and RESUME hold the token. A copy of it, masked by a random key beside it
    /// (RFC 6455, section 5.3), stays in tungstenite's buffer of what is to be written until later frames lie over it.
    /// `false`: the peer does not read, the buffer is full.
    pub(super) fn send(&mut self, text: Zeroizing<String>) -> bool {
        self.unflushed = true;
        let Ok(text) = Utf8Bytes::try_from(Bytes::from_owner(text)) else { unreachable!("a String is UTF-8") };
        Pin::new(&mut self.socket).start_send(Message::Text(text)).is_ok()
    }

    pub(super) fn close(&mut self, code: u16, reason: &str) {
        self.unflushed = true;
        let frame = CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::from(reason) };
        // An error means that the connection is gone already: nothing is left to close.
        let _ = Pin::new(&mut self.socket).start_send(Message::Close(Some(frame)));
    }

    /// Moves what was queued towards the peer. Errors show up at the reader.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) {
        if self.unflushed && Pin::new(&mut self.socket).poll_flush(cx).is_ready() {
            self.unflushed = false;
        }
    }

    /// Lets go of it in the background, once the close frame is out and answered, or after `limit`.
    pub(super) fn linger(mut self, limit: std::time::Duration) {
        let farewell = async move {
            std::future::poll_fn(|cx| {
                self.poll_flush(cx);
                loop {
                    match std::task::ready!(self.poll_read(cx)) {
                        Incoming::Lost(_) | Incoming::Broken(..) => return Poll::Ready(()),
                        _ => {}
                    }
                }
            })
            .await;
        };
        tokio::spawn(tokio::time::timeout(limit, farewell));
    }
}
