//! A fixed stream on its way from the connection's bytes to the event loop, without socket and session: for counting the
//! instructions of an event, which unlike its time are the same on each run (`tests/instructions`).
//!
//! `stream_cost <mode> <count>`: what is counted is the function `counted`.

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use propylon_core::delivery::{
    Dispatch, Filter, Hub, Overflow, Parts, Projection, QueueConfig, ShardQueue, Slots, Subscriptions, Tally, Waker,
};
use propylon_core::inflate::{Compression, Inflater};
use propylon_core::protocol::event::{EventSet, EventType};
use propylon_simulator::{SimulatorConfig, encode_stream};

/// As the driver reads them.
const BATCH: usize = 256;

struct Way {
    inflater: Inflater,
    subscriptions: Subscriptions,
    parts: Parts,
    queue: std::sync::Arc<ShardQueue>,
    hub: Hub,
    batch: Vec<Dispatch>,
    tally: Tally,
}

/// Kept apart, so that it can be told from the making of the stream. How many were handed out.
#[inline(never)]
fn counted(way: &mut Way, stream: &[Bytes]) -> Result<usize, Box<dyn Error>> {
    let mut handed_out = 0;
    for messages in stream.chunks(BATCH) {
        for message in messages {
            way.inflater.push(message, true)?;
            let subscriptions = &way.subscriptions;
            let envelope = way.parts.scan(way.inflater.document(), |event| subscriptions.is_projected(event))?;
            let event = envelope.event.event_type().unwrap_or(EventType::UNKNOWN);
            match way.subscriptions.matches(event, &way.inflater.document()[envelope.data.clone()]) {
                Slots::Heard(heard, wanted) => {
                    let data = way.inflater.freeze().slice(envelope.data);
                    let part = way.parts.cut(&wanted, &data);
                    way.batch.push(Dispatch {
                        event,
                        name: None,
                        shard_id: 0,
                        sequence: envelope.sequence,
                        received_at: Duration::ZERO,
                        data,
                        part,
                        guild_change: None,
                        heard,
                    });
                }
                other => {
                    way.inflater.discard();
                    let counts = if other == Slots::Unheard { &mut way.tally.unheard } else { &mut way.tally.filtered };
                    counts[event.index()] += 1;
                    way.tally.any = true;
                }
            }
        }
        way.queue.push(&mut way.batch, &mut way.tally, Some(1), None);
        for (_, dispatches) in black_box(way.hub.drain(BATCH)).batches {
            handed_out += dispatches.len();
        }
    }
    Ok(handed_out)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().ok_or("missing argument: mode")?;
    let count = arguments.next().ok_or("missing argument: count")?.parse()?;
    let (ours, theirs) = if mode == "zlib" {
        (Compression::ZlibStream, propylon_simulator::Compression::ZlibStream)
    } else {
        (Compression::ZstdStream, propylon_simulator::Compression::ZstdStream)
    };
    let subscriptions = Subscriptions::default();
    let messages = EventSet::from_iter([EventType::MESSAGE_CREATE]);
    match &*mode {
        "nobody" | "zlib" => {}
        "messages" => drop(subscriptions.add(0, None, messages)),
        "narrow" => {
            subscriptions.add(0, None, messages);
            let mut author = Projection::default();
            author.want("id", None);
            let mut wanted = Projection::default();
            wanted.want("content", None);
            wanted.want("channel_id", None);
            wanted.want("author", Some(author));
            subscriptions.project(0, EventType::MESSAGE_CREATE, Some(wanted));
        }
        "filtered" => {
            subscriptions.add(1, Some(&Filter::parse(r#"["==","guild_id",2]"#)?), EventSet::ALL);
        }
        "all" => drop(subscriptions.add(0, None, EventSet::ALL)),
        _ => return Err("modes are nobody, zlib, messages, narrow, filtered, all".into()),
    }
    let queue = QueueConfig { bytes: 1 << 30, events: BATCH, overflow: Overflow::Pause };
    let mut way = Way {
        inflater: Inflater::new(ours, 1 << 26),
        subscriptions,
        parts: Parts::default(),
        queue: std::sync::Arc::new(ShardQueue::new(1, queue)),
        hub: Hub::new(Waker::new()?),
        batch: Vec::with_capacity(BATCH),
        tally: Tally::default(),
    };
    way.hub.bind(&way.queue);
    let stream = encode_stream(&SimulatorConfig { seed: 1, ..SimulatorConfig::default() }, theirs, count);
    println!("{} of {count} handed out", counted(&mut way, &stream)?);
    Ok(())
}
