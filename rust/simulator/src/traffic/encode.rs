//! The generated traffic without a server: the floor of a benchmark, which only inflates the same bytes.

use bytes::Bytes;

use super::generator::Generator;
use super::world::World;
use crate::options::SimulatorConfig;
use crate::wire::{Compression, Encoder, frame};

/// The message payloads that a client of shard `[0, 1]` would get for `count` events, one [`Bytes`] per message: compressed
/// in one stream, or plain JSON with [`Compression::None`]. Sequences start at 1; READY and the like are left out.
pub fn encode_stream(config: &SimulatorConfig, compression: Compression, count: u64) -> Vec<Bytes> {
    let world =
        World { guilds: config.guilds, channels: config.channels.max(1), members: config.members, seed: config.seed };
    let generator = Generator::new(config.seed, &config.events, world.channels, config.stamp);
    let stream = generator.stream(&world, (0, 1), u64::MAX);
    let mut encoder = Encoder::new(compression, config.zlib_level, config.zstd_level);
    let (mut payload, mut framed) = (Vec::new(), Vec::new());
    (0..if stream.has_events() { count } else { 0 })
        .map(|index| {
            payload.clear();
            framed.clear();
            generator.write(&stream, index, index + 1, &mut payload);
            encoder.encode(&payload, &mut framed);
            Bytes::copy_from_slice(&framed[frame::header_len(&framed)..])
        })
        .collect()
}
