//! Payload compression: every binary message is a zlib document (RFC 1950) of its own.

use flate2::Decompress;

use super::compression::Compression;
use super::error::DecompressionError;
use super::output::Output;
use super::zlib_stream::feed;

/// One decompressor, used anew for each message.
pub(super) struct Payload(Decompress);

impl Payload {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(super) fn push(&mut self, message: &[u8], output: &mut Output) -> Result<(), DecompressionError> {
        self.0.reset(true);
        let fed = feed(&mut self.0, message, output, Compression::Payload)?;
        match message.len() - fed.consumed {
            _ if !fed.ended => Err(DecompressionError::Truncated { compression: Compression::Payload }),
            0 => Ok(()),
            bytes => Err(DecompressionError::TrailingGarbage { bytes }),
        }
    }
}
