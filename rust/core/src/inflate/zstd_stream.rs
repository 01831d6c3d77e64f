//! zstd-stream: one zstd context per connection, one payload per message, in a frame that need never end.

use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::compression::Compression;
use super::error::DecompressionError;
use super::output::Output;

/// The largest window accepted, 8 MiB. Discord announces 18 (256 KiB); a hostile frame may announce 2 GiB.
const WINDOW_LOG_MAX: u32 = 23;
/// What libzstd still wants between two blocks: the next block's header (RFC 8878 section 3.1.1.2).
const BLOCK_HEADER: usize = 3;

pub(super) struct ZstdStream(DCtx<'static>);

impl ZstdStream {
    pub(super) fn new() -> Result<Self, DecompressionError> {
        let mut context = DCtx::try_create().ok_or(DecompressionError::OutOfMemory)?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(corrupt)?;
        Ok(Self(context))
    }

    /// Whether the message gave a payload; a frame's header alone gives none.
    ///
    /// Frames that end are accepted: some servers make each message a frame of its own.
    pub(super) fn push(&mut self, message: &[u8], output: &mut Output) -> Result<bool, DecompressionError> {
        if message.is_empty() {
            return Ok(false);
        }
        let mut input = InBuffer::around(message);
        loop {
            let room = output.room()?;
            let available = room.len();
            let mut buffer = OutBuffer::around(room);
            let wanted = self.0.decompress_stream(&mut buffer, &mut input).map_err(corrupt)?;
            let written = buffer.pos();
            output.advance(written)?;
            // 0: a frame ended and all of it was written. Else, with room left over, there is nothing held back.
            if input.pos < message.len() || (wanted != 0 && written == available) {
                continue;
            }
            // A flushed payload ends between blocks. Inside one the message was cut, and its document would be too.
            if wanted != 0 && wanted != BLOCK_HEADER {
                return Err(DecompressionError::Truncated { compression: Compression::ZstdStream });
            }
            return Ok(!output.is_empty());
        }
    }
}

fn corrupt(code: zstd_safe::ErrorCode) -> DecompressionError {
    DecompressionError::corrupt(Compression::ZstdStream, zstd_safe::get_error_name(code))
}
