//! The server's side of each compression, with the compressors and parameters that Discord uses.

use flate2::{Compress, FlushCompress};
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

/// Discord's side of zlib-stream.
pub(super) struct Zlib(Compress);

impl Zlib {
    pub(super) fn new() -> Self {
        Self(Compress::new(flate2::Compression::new(6), true))
    }

    pub(super) fn compress(&mut self, document: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut message = Vec::new();
        let mut room = vec![0; 64 * 1024];
        let (start, begun) = (self.0.total_in(), self.0.total_out());
        loop {
            let consumed = (self.0.total_in() - start) as usize;
            let before = self.0.total_out();
            self.0.compress(&document[consumed..], &mut room, flush).unwrap();
            let written = (self.0.total_out() - before) as usize;
            message.extend_from_slice(&room[..written]);
            if written < room.len() {
                assert_eq!((self.0.total_out() - begun) as usize, message.len());
                return message;
            }
        }
    }

    pub(super) fn message(&mut self, document: &[u8]) -> Vec<u8> {
        let message = self.compress(document, FlushCompress::Sync);
        assert!(message.ends_with(&[0, 0, 0xFF, 0xFF]));
        message
    }
}

/// Discord's side of zstd-stream: one frame, a flush after each message.
pub(super) struct Zstd(CCtx<'static>);

impl Zstd {
    pub(super) fn new(window_log: u32) -> Self {
        let mut context = CCtx::create();
        context.set_parameter(CParameter::WindowLog(window_log)).unwrap();
        context.set_parameter(CParameter::ContentSizeFlag(false)).unwrap();
        Self(context)
    }

    pub(super) fn compress(&mut self, document: &[u8], end: ZSTD_EndDirective) -> Vec<u8> {
        let mut message = Vec::new();
        let mut room = vec![0; 64 * 1024];
        let mut input = InBuffer::around(document);
        loop {
            let mut output = OutBuffer::around(&mut room[..]);
            let left = self.0.compress_stream2(&mut output, &mut input, end).unwrap();
            message.extend_from_slice(output.as_slice());
            if left == 0 && input.pos == document.len() {
                return message;
            }
        }
    }

    pub(super) fn message(&mut self, document: &[u8]) -> Vec<u8> {
        self.compress(document, ZSTD_EndDirective::ZSTD_e_flush)
    }

    pub(super) fn frame(&mut self, document: &[u8]) -> Vec<u8> {
        self.compress(document, ZSTD_EndDirective::ZSTD_e_end)
    }
}

pub(super) fn payload(document: &[u8]) -> Vec<u8> {
    Zlib::new().compress(document, FlushCompress::Finish)
}
