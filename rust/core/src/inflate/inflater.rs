//! The one face of all compressions: messages in, documents out, and nothing after an error.

use std::fmt;

use bytes::Bytes;

use super::compression::Compression;
use super::error::DecompressionError;
use super::output::Output;
use super::payload::Payload;
use super::zlib_stream::ZlibStream;
use super::zstd_stream::ZstdStream;

/// Turns the messages of one connection into JSON documents.
///
/// The largest allocations come with the first message that needs them. After each complete
/// [`push`](Self::push) call exactly one of [`freeze`](Self::freeze) and [`discard`](Self::discard).
pub struct Inflater {
    compression: Compression,
    decoder: Option<Decoder>,
    output: Output,
    /// Whether the output is a whole document that was neither handed out nor forgotten.
    complete: bool,
    failed: Option<DecompressionError>,
}

enum Decoder {
    Payload(Payload),
    ZlibStream(ZlibStream),
    ZstdStream(ZstdStream),
}

impl Inflater {
    /// For a new connection. One document may have `max_bytes` bytes, inflated.
    pub fn new(compression: Compression, max_bytes: usize) -> Self {
        Self { compression, decoder: None, output: Output::new(max_bytes), complete: false, failed: None }
    }

    /// What this inflater was made for.
    pub const fn compression(&self) -> Compression {
        self.compression
    }

    /// Takes the next WebSocket message; `binary` tells binary from text. True: a complete output stands in
    /// [`document`](Self::document). It is one payload, or several one after the other where a message held several.
    ///
    /// Text messages, and binary ones without compression, are taken as plain JSON.
    ///
    /// # Errors
    /// [`DecompressionError`]. The context is lost then: every further push returns the same error.
    pub fn push(&mut self, message: &[u8], binary: bool) -> Result<bool, DecompressionError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.complete {
            self.discard();
        }
        match self.inflate(message, binary) {
            Ok(complete) => {
                self.complete = complete;
                Ok(complete)
            }
            Err(error) => {
                self.decoder = None;
                self.output.discard();
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    fn inflate(&mut self, message: &[u8], binary: bool) -> Result<bool, DecompressionError> {
        if !binary || self.compression == Compression::None {
            let inside = matches!(&self.decoder, Some(Decoder::ZlibStream(stream)) if stream.is_inside_payload());
            if inside {
                return Err(DecompressionError::corrupt(
                    self.compression,
                    "a text message inside an unfinished payload",
                ));
            }
            return self.output.copy(message).map(|()| true);
        }
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(Decoder::new(self.compression)?),
        };
        match decoder {
            Decoder::Payload(payload) => payload.push(message, &mut self.output).map(|()| true),
            Decoder::ZlibStream(stream) => stream.push(message, &mut self.output),
            Decoder::ZstdStream(stream) => stream.push(message, &mut self.output),
        }
    }

    /// The complete output; empty when there is none.
    pub fn document(&self) -> &[u8] {
        if self.complete { self.output.filled() } else { &[] }
    }

    /// Hands the complete output out, in memory of its own; empty when there is none.
    ///
    /// What is held keeps up to 32 KiB of neighbouring documents in memory: copy out what is kept long.
    pub fn freeze(&mut self) -> Bytes {
        if std::mem::take(&mut self.complete) { self.output.freeze() } else { Bytes::new() }
    }

    /// Forgets the complete output and uses its room again.
    pub fn discard(&mut self) {
        if std::mem::take(&mut self.complete) {
            self.output.discard();
        }
    }
}

impl Decoder {
    fn new(compression: Compression) -> Result<Self, DecompressionError> {
        Ok(match compression {
            Compression::None | Compression::Payload => Self::Payload(Payload::new()),
            Compression::ZlibStream => Self::ZlibStream(ZlibStream::new()),
            Compression::ZstdStream => Self::ZstdStream(ZstdStream::new()?),
        })
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Inflater")
            .field("compression", &self.compression)
            .field("complete", &self.complete)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
