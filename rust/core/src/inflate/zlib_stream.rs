//! zlib-stream: one zlib context per connection, payloads marked by sync flushes, which messages may split anywhere.

use flate2::{Decompress, FlushDecompress, Status};

use super::compression::Compression;
use super::error::DecompressionError;
use super::output::Output;

/// The empty stored block of a sync flush, with which Discord ends each payload.
const SUFFIX: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

pub(super) struct ZlibStream {
    context: Decompress,
    /// The last bytes received, across messages: a message may be shorter than the suffix and still complete it.
    tail: [u8; 4],
    /// Compressed bytes of the payload that is not complete yet.
    pending: usize,
}

impl ZlibStream {
    pub(super) fn new() -> Self {
        Self { context: Decompress::new(true), tail: [0xAA; 4], pending: 0 }
    }

    /// Whether the message completes a payload.
    ///
    /// A message is inflated when it comes, complete or not: buffering compressed bytes until the suffix stands would
    /// give the same documents, with a second buffer to cap.
    pub(super) fn push(&mut self, message: &[u8], output: &mut Output) -> Result<bool, DecompressionError> {
        // Input that inflates to nothing must not go on for ever either. Deflate enlarges by 5 bytes per 16 KiB at most.
        self.pending = self.pending.saturating_add(message.len());
        let limit = output.limit();
        if self.pending > limit.saturating_add(limit / 1024).saturating_add(1024) {
            return Err(DecompressionError::TooLarge { limit });
        }
        if feed(&mut self.context, message, output, Compression::ZlibStream)?.ended {
            return Err(DecompressionError::StreamEnded);
        }
        if let Some(tail) = message.last_chunk::<4>() {
            self.tail = *tail;
        } else {
            self.tail.rotate_left(message.len());
            self.tail[4 - message.len()..].copy_from_slice(message);
        }
        if self.tail != SUFFIX {
            return Ok(false);
        }
        self.pending = 0;
        Ok(!output.is_empty())
    }

    /// Whether a payload was begun and not completed.
    pub(super) fn is_inside_payload(&self) -> bool {
        self.pending != 0
    }
}

/// What [`feed`] came to.
pub(super) struct Fed {
    /// Bytes of the input that were used: all, unless the zlib document ended before.
    pub(super) consumed: usize,
    /// Whether the zlib document ended.
    pub(super) ended: bool,
}

/// Inflates all of `input` into `output`.
pub(super) fn feed(
    context: &mut Decompress,
    input: &[u8],
    output: &mut Output,
    compression: Compression,
) -> Result<Fed, DecompressionError> {
    let mut consumed = 0;
    loop {
        let room = output.room()?;
        let available = room.len();
        let (total_in, total_out) = (context.total_in(), context.total_out());
        let status = context.decompress(&input[consumed..], room, FlushDecompress::Sync).map_err(|error| {
            DecompressionError::corrupt(compression, error.message().unwrap_or("invalid zlib data"))
        })?;
        let read = (context.total_in() - total_in) as usize;
        let written = (context.total_out() - total_out) as usize;
        consumed += read;
        output.advance(written)?;
        if status == Status::StreamEnd {
            return Ok(Fed { consumed, ended: true });
        }
        // With room left over there is nothing held back.
        if consumed == input.len() && written < available {
            return Ok(Fed { consumed, ended: false });
        }
        if read == 0 && written == 0 {
            return Err(DecompressionError::corrupt(compression, "the decompressor makes no progress"));
        }
    }
}
