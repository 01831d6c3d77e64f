//! The room that documents are inflated into: one kept buffer, capped while it grows.
//!
//! The buffer stays in the processor's cache. What is handed out is copied from it, once, into a chunk that documents
//! share; what nobody wants is overwritten where it lies. Inflating into the chunks themselves saved that copy but
//! cost more: each chunk had to be zeroed first, and the inflater then wrote into cold memory (per event handed out,
//! 290 ns of zeroing and 287 ns of copying where chunks do not come back, against 25 and 170 for an event that is
//! dropped). A document that is held pins its chunk, therefore chunks are small.

use bytes::{Bytes, BytesMut};

use super::error::DecompressionError;

/// The usual buffer and the usual chunk: room for some forty events of 870 bytes.
const CHUNK: usize = 32 * 1024;

pub(super) struct Output {
    /// All of it is initialised, so that safe code may write anywhere into it; it is zeroed once, when it is new.
    buffer: BytesMut,
    /// The bytes of the buffer that the current document has.
    filled: usize,
    /// What is handed out is copied to its end; the memory comes back when nothing of it is held any more.
    chunk: BytesMut,
    limit: usize,
}

impl Output {
    /// Allocates nothing yet.
    pub(super) fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), filled: 0, chunk: BytesMut::new(), limit }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn filled(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Where the document goes on: never empty.
    ///
    /// One byte more than the limit is handed out at most. That byte tells a document of exactly the limit, after
    /// which there is room left, from one that goes on.
    pub(super) fn room(&mut self) -> Result<&mut [u8], DecompressionError> {
        if self.filled > self.limit {
            return Err(DecompressionError::TooLarge { limit: self.limit });
        }
        if self.filled == self.buffer.len() {
            self.grow();
        }
        let end = self.buffer.len().min(self.limit.saturating_add(1));
        Ok(&mut self.buffer[self.filled..end])
    }

    /// Counts `written` bytes at the beginning of the room as part of the document.
    pub(super) fn advance(&mut self, written: usize) -> Result<(), DecompressionError> {
        self.filled += written;
        debug_assert!(self.filled <= self.buffer.len());
        if self.filled > self.limit {
            return Err(DecompressionError::TooLarge { limit: self.limit });
        }
        Ok(())
    }

    /// Takes a whole document that needs no inflating.
    pub(super) fn copy(&mut self, document: &[u8]) -> Result<(), DecompressionError> {
        if document.len() > self.limit {
            return Err(DecompressionError::TooLarge { limit: self.limit });
        }
        if document.len() > self.buffer.len() {
            self.buffer = if document.len() > CHUNK { BytesMut::from(document) } else { BytesMut::zeroed(CHUNK) };
        }
        self.buffer[..document.len()].copy_from_slice(document);
        self.filled = document.len();
        Ok(())
    }

    /// Hands the document out.
    pub(super) fn freeze(&mut self) -> Bytes {
        let filled = std::mem::take(&mut self.filled);
        if self.buffer.len() <= CHUNK {
            if self.chunk.capacity() < filled {
                self.chunk.reserve(CHUNK);
            }
            self.chunk.extend_from_slice(&self.buffer[..filled]);
            return self.chunk.split().freeze();
        }
        // A large buffer goes out whole and the next is small again; what is held is as long as its document.
        let mut document = Vec::from(std::mem::take(&mut self.buffer));
        document.truncate(filled);
        document.shrink_to_fit();
        Bytes::from(document)
    }

    /// Forgets the document and keeps its room, unless that is large.
    pub(super) fn discard(&mut self) {
        self.filled = 0;
        if self.buffer.len() > CHUNK {
            self.buffer = BytesMut::new();
        }
    }

    /// Moves the document into a buffer of twice its size.
    fn grow(&mut self) {
        let most = self.limit.saturating_add(1);
        let mut size = (2 * self.filled).max(CHUNK);
        // While moving, both buffers exist: the last step is taken early, so that together they are at most 1.2 times the
        // limit and not 1.5 times. It costs no memory: large zeroed pages come into being when they are written.
        if size > most / 5 {
            size = most;
        }
        let mut buffer = BytesMut::zeroed(size);
        buffer[..self.filled].copy_from_slice(self.filled());
        self.buffer = buffer;
    }
}
