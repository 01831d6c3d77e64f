//! The byte stream under a WebSocket: what all ways out have in common, and how much of it one message may take.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

/// A byte stream, whatever lies under it. One virtual call per read, which takes 16 KiB.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Frames of a message that never ends, or that holds nothing, are shown to nobody: tungstenite collects them where it
/// reads, and its size limit counts what they hold. Here the bytes on the wire are counted, headers included.
pub struct Metered {
    inner: Box<dyn Io>,
    /// Bytes read since the last whole message.
    unfinished: usize,
    limit: usize,
    /// Who gets the stream where this is dropped, which an upgrade that fails does.
    lender: Option<oneshot::Sender<Box<dyn Io>>>,
}

impl Metered {
    /// A stream that is given back when this is dropped before it is [kept](Self::keep): tungstenite hands out only so
    /// much of a refusal's body as came with its head.
    pub(super) fn lent(inner: Box<dyn Io>, limit: usize) -> (Self, oneshot::Receiver<Box<dyn Io>>) {
        let (lender, back) = oneshot::channel();
        (Self { inner, unfinished: 0, limit, lender: Some(lender) }, back)
    }

    /// The upgrade has succeeded.
    pub(super) fn keep(&mut self) {
        self.lender = None;
    }

    /// A whole message of data was read: pings don't count, they may stand between two fragments.
    pub(crate) fn message_is_whole(&mut self) {
        self.unfinished = 0;
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if let Some(lender) = self.lender.take() {
            // Where nobody wants it any more it ends here, too.
            let _ = lender.send(std::mem::replace(&mut self.inner, Box::new(tokio::io::empty())));
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.unfinished += buf.filled().len() - before;
        if self.unfinished > self.limit {
            let text = format!("{} bytes without a whole message in them", self.unfinished);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn f26_bytes_without_a_whole_message_are_limited() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut metered, _) = Metered::lent(Box::new(near), 20);
        let mut buffer = [0; 8];
        for _ in 0..5 {
            far.write_all(&buffer).await.unwrap();
            metered.read_exact(&mut buffer).await.unwrap();
            metered.message_is_whole();
        }
        for _ in 0..2 {
            far.write_all(&buffer).await.unwrap();
            metered.read_exact(&mut buffer).await.unwrap();
        }
        far.write_all(&buffer).await.unwrap();
        let error = metered.read_exact(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
