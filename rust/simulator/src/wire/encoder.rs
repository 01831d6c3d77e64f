//! From payloads to WebSocket frames, through the one compressor of a connection; also where data on the wire is spoiled.

use flate2::{Compress, FlushCompress, Status};
use serde::{Deserialize, Serialize};
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

use super::frame;

/// How the payloads of a connection are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Text frames.
    #[default]
    None,
    /// `compress=zlib-stream`: one zlib stream, a sync flush per payload.
    ZlibStream,
    /// `compress=zstd-stream`: one zstd frame, a flushed block per payload.
    ZstdStream,
    /// IDENTIFY with `compress: true`: larger payloads are zlib documents of their own.
    Payload,
}

/// Below this, Discord has nothing to gain and sends text.
const PAYLOAD_COMPRESSION_FROM: usize = 512;

/// Deviations from the normal stream that a script asked for.
#[derive(Debug, Default)]
pub(crate) struct Spoil {
    /// XOR this byte (counted within the frame's payload) of the next frame.
    pub(crate) corrupt: Option<usize>,
    /// End the zstd frame (or zlib stream) with each payload and begin a new one with the next.
    pub(crate) own_frames: bool,
    /// Put up to this many dispatches that are ready together into one message.
    pub(crate) merge: usize,
    /// Cut each payload over messages of at most this many bytes.
    pub(crate) split: Option<usize>,
}

enum Codec {
    None,
    Zlib(Box<Compress>),
    Zstd(CCtx<'static>),
    Payload(Box<Compress>),
}

/// The outgoing stream of one connection.
pub(crate) struct Encoder {
    codec: Codec,
    zlib_level: u32,
    scratch: Vec<u8>,
    merged: usize,
    /// What a script changes.
    pub(crate) spoil: Spoil,
}

impl Encoder {
    /// A fresh stream; levels are those of the libraries.
    pub(crate) fn new(compression: Compression, zlib_level: u32, zstd_level: i32) -> Self {
        let zlib = || Box::new(Compress::new(flate2::Compression::new(zlib_level), true));
        let codec = match compression {
            Compression::None => Codec::None,
            Compression::ZlibStream => Codec::Zlib(zlib()),
            Compression::Payload => Codec::Payload(zlib()),
            Compression::ZstdStream => {
                let mut context = CCtx::create();
                // 18: what Discord's header says (256 KiB); content size unknown, no checksum: header 28b52ffd 00 40
                for parameter in [CParameter::CompressionLevel(zstd_level), CParameter::WindowLog(18)] {
                    context.set_parameter(parameter).expect("zstd parameter in range");
                }
                Codec::Zstd(context)
            }
        };
        Self { codec, zlib_level, scratch: Vec::new(), merged: 0, spoil: Spoil::default() }
    }

    /// Makes do with small tables, before the first payload. The stream looks the same from outside (its window stays) but
    /// is a little longer. A thousand quiet connections take 270 MiB instead of 957 (`--example fleet`), and where they
    /// take turns, an event costs a fifth less: large tables have left the CPU's caches by then.
    pub(crate) fn lighten(&mut self) {
        if let Codec::Zstd(zstd) = &mut self.codec {
            let fast = CParameter::Strategy(zstd_safe::zstd_sys::ZSTD_strategy::ZSTD_fast);
            for parameter in [fast, CParameter::HashLog(12), CParameter::ChainLog(6)] {
                zstd.set_parameter(parameter).expect("zstd parameter in range");
            }
        }
    }

    /// Payload compression begins in the middle of a plain connection, with IDENTIFY.
    pub(crate) fn begin_payload_compression(&mut self) {
        if matches!(self.codec, Codec::None) {
            self.codec = Codec::Payload(Box::new(Compress::new(flate2::Compression::new(self.zlib_level), true)));
        }
    }

    /// Appends the frames of one payload to `out`.
    pub(crate) fn encode(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        if self.spoil.merge == 0 {
            self.scratch.clear();
        }
        let opcode = self.compress(payload);
        if self.spoil.merge > 0 {
            self.merged += 1;
            if self.merged < self.spoil.merge {
                return;
            }
        }
        self.merged = 0;
        if let Some(at) = self.spoil.corrupt.take() {
            let at = at.min(self.scratch.len().saturating_sub(1));
            if let Some(byte) = self.scratch.get_mut(at) {
                *byte ^= 0x55;
            }
        }
        match self.spoil.split {
            None => frame::put(out, opcode, &self.scratch),
            Some(size) => {
                for piece in self.scratch.chunks(size.max(1)) {
                    frame::put(out, opcode, piece);
                }
            }
        }
        self.scratch.clear();
    }

    /// Sends what a `merge` still holds back.
    pub(crate) fn release(&mut self, out: &mut Vec<u8>) {
        if !self.scratch.is_empty() {
            let opcode = if matches!(self.codec, Codec::None) { frame::TEXT } else { frame::BINARY };
            frame::put(out, opcode, &self.scratch);
            self.scratch.clear();
        }
        self.merged = 0;
    }

    /// One message whose payload is `head`, `mebibytes` MiB of `a`, then `tail`: small on the wire, large inside.
    pub(crate) fn encode_bomb(&mut self, head: &[u8], mebibytes: usize, tail: &[u8], out: &mut Vec<u8>) {
        let block = vec![b'a'; 1 << 20];
        let document = matches!(self.codec, Codec::Payload(_));
        self.scratch.clear();
        let opcode = match &mut self.codec {
            Codec::None => {
                let len = head.len() + (mebibytes << 20) + tail.len();
                frame::put_header(out, 0x80 | frame::TEXT, len as u64);
                out.extend_from_slice(head);
                for _ in 0..mebibytes {
                    out.extend_from_slice(&block);
                }
                out.extend_from_slice(tail);
                return;
            }
            Codec::Zlib(zlib) | Codec::Payload(zlib) => {
                deflate(zlib, head, FlushCompress::None, &mut self.scratch);
                for _ in 0..mebibytes {
                    deflate(zlib, &block, FlushCompress::None, &mut self.scratch);
                }
                if document {
                    deflate(zlib, tail, FlushCompress::Finish, &mut self.scratch);
                    zlib.reset();
                } else {
                    deflate(zlib, tail, FlushCompress::Sync, &mut self.scratch);
                }
                frame::BINARY
            }
            Codec::Zstd(zstd) => {
                zstd_write(zstd, head, ZSTD_EndDirective::ZSTD_e_continue, &mut self.scratch);
                for _ in 0..mebibytes {
                    zstd_write(zstd, &block, ZSTD_EndDirective::ZSTD_e_continue, &mut self.scratch);
                }
                zstd_write(zstd, tail, ZSTD_EndDirective::ZSTD_e_flush, &mut self.scratch);
                frame::BINARY
            }
        };
        frame::put(out, opcode, &self.scratch);
        self.scratch.clear();
    }

    /// Compresses into `scratch` and says which opcode carries the result.
    fn compress(&mut self, payload: &[u8]) -> u8 {
        match &mut self.codec {
            Codec::None => {
                self.scratch.extend_from_slice(payload);
                frame::TEXT
            }
            Codec::Zlib(zlib) => {
                if self.spoil.own_frames {
                    deflate(zlib, payload, FlushCompress::Finish, &mut self.scratch);
                    zlib.reset();
                } else {
                    deflate(zlib, payload, FlushCompress::Sync, &mut self.scratch);
                }
                frame::BINARY
            }
            Codec::Zstd(zstd) => {
                let directive =
                    if self.spoil.own_frames { ZSTD_EndDirective::ZSTD_e_end } else { ZSTD_EndDirective::ZSTD_e_flush };
                zstd_write(zstd, payload, directive, &mut self.scratch);
                frame::BINARY
            }
            Codec::Payload(_) if payload.len() < PAYLOAD_COMPRESSION_FROM => {
                self.scratch.extend_from_slice(payload);
                frame::TEXT
            }
            Codec::Payload(zlib) => {
                deflate(zlib, payload, FlushCompress::Finish, &mut self.scratch);
                zlib.reset();
                frame::BINARY
            }
        }
    }
}

fn deflate(zlib: &mut Compress, input: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
    let before = zlib.total_in();
    loop {
        out.reserve(input.len() / 2 + 256);
        let rest = &input[(zlib.total_in() - before) as usize..];
        let status = zlib.compress_vec(rest, out, flush).expect("deflate into a growing buffer");
        let consumed = (zlib.total_in() - before) as usize == input.len();
        let done = match flush {
            FlushCompress::Finish => status == Status::StreamEnd,
            // room left over means that the flush is complete
            _ => consumed && out.len() < out.capacity(),
        };
        if done {
            return;
        }
    }
}

fn zstd_write(zstd: &mut CCtx<'static>, input: &[u8], directive: ZSTD_EndDirective, out: &mut Vec<u8>) {
    let mut input = InBuffer::around(input);
    loop {
        out.reserve(input.src.len() / 2 + 256);
        let at = out.len();
        let mut buffer = OutBuffer::around_pos(out, at);
        let left = zstd.compress_stream2(&mut buffer, &mut input, directive).expect("zstd into a growing buffer");
        let consumed = input.pos() == input.src.len();
        if consumed && (left == 0 || matches!(directive, ZSTD_EndDirective::ZSTD_e_continue)) {
            return;
        }
    }
}
