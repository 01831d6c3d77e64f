//! The floor of a benchmark: what inflating a stream costs in memory, without socket, WebSocket or Python. No client that
//! reads the same compressed bytes can be cheaper.
//!
//! `floor <compression> <count> <seed> [event,…]` prints one line of JSON: nanoseconds of CPU for each event, once for
//! inflating alone and once for inflating and looking at every byte of the document.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress};
use propylon_simulator::{Compression, SimulatorConfig, encode_stream};
use zstd_safe::{DCtx, InBuffer, OutBuffer};

/// As large as the engine's chunk, and larger than any event of the mix.
const ROOM: usize = 32 * 1024;

enum Inflater {
    None,
    Zlib(Box<Decompress>),
    Zstd(DCtx<'static>),
}

impl Inflater {
    fn new(compression: Compression) -> Self {
        match compression {
            Compression::ZlibStream => Self::Zlib(Box::new(Decompress::new(true))),
            Compression::ZstdStream => Self::Zstd(DCtx::create()),
            Compression::None | Compression::Payload => Self::None,
        }
    }

    /// One message into `room`; the length of its document.
    fn inflate(&mut self, message: &[u8], room: &mut [u8]) -> Result<usize, Box<dyn Error>> {
        match self {
            Self::None => {
                room[..message.len()].copy_from_slice(message);
                Ok(message.len())
            }
            Self::Zlib(context) => {
                let before = context.total_out();
                context.decompress(message, room, FlushDecompress::Sync)?;
                Ok((context.total_out() - before) as usize)
            }
            Self::Zstd(context) => {
                let mut input = InBuffer::around(message);
                let mut output = OutBuffer::around(room);
                while input.pos < message.len() {
                    context.decompress_stream(&mut output, &mut input).map_err(zstd_safe::get_error_name)?;
                }
                Ok(output.pos())
            }
        }
    }
}

/// CPU time of this process's only thread in nanoseconds; elsewhere than on Linux the wall clock.
fn cpu(began: Instant) -> u64 {
    std::fs::read_to_string("/proc/self/schedstat")
        .ok()
        .and_then(|times| times.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| began.elapsed().as_nanos() as u64)
}

/// Nanoseconds for each message, and all bytes that came out.
#[allow(clippy::naive_bytecount)] // A look at each byte is what is measured.
fn measure(compression: Compression, stream: &[Bytes], scan: bool) -> Result<(f64, usize), Box<dyn Error>> {
    let mut inflater = Inflater::new(compression);
    let mut room = vec![0; ROOM];
    let (mut bytes, mut quotes) = (0, 0);
    let began = Instant::now();
    let start = cpu(began);
    for message in stream {
        let length = inflater.inflate(message, &mut room)?;
        let document = black_box(&room[..length]);
        if scan {
            quotes += document.iter().filter(|byte| **byte == b'"').count();
        }
        bytes += length;
    }
    let spent = cpu(began) - start;
    black_box(quotes);
    Ok((spent as f64 / stream.len() as f64, bytes))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("missing argument: {what}"));
    let compression = match next("compression")?.as_str() {
        "none" => Compression::None,
        "zlib-stream" => Compression::ZlibStream,
        "zstd-stream" => Compression::ZstdStream,
        other => return Err(format!("unknown compression {other}").into()),
    };
    let count = next("count")?.parse()?;
    let config = SimulatorConfig {
        seed: next("seed")?.parse()?,
        events: next("events").map(|names| names.split(',').map(str::to_owned).collect()).unwrap_or_default(),
        ..SimulatorConfig::default()
    };
    let stream = encode_stream(&config, compression, count);
    let wire: usize = stream.iter().map(Bytes::len).sum();
    let (inflate, bytes) = measure(compression, &stream, false)?;
    let (scan, _) = measure(compression, &stream, true)?;
    let mean = |total: usize| total as f64 / stream.len() as f64;
    println!(
        r#"{{"inflate_ns":{inflate:.1},"scan_ns":{scan:.1},"wire_bytes":{:.1},"document_bytes":{:.1}}}"#,
        mean(wire),
        mean(bytes)
    );
    Ok(())
}
