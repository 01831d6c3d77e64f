//! The parts of the engine on the way of an event, each alone: `cargo bench -p propylon-core`. Of a fixed stream of the
//! simulator; what the whole costs is measured by `make bench`.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use propylon_core::delivery::{
    Dispatch, Heard, Hub, Overflow, Parts, Projection, Projections, QueueConfig, ShardQueue, Tally, Waker,
};
use propylon_core::inflate::{Compression, Inflater};
use propylon_core::protocol::{envelope, event::EventType};
use propylon_core::session::SendLimiter;
use propylon_simulator::{SimulatorConfig, encode_stream};

const EVENTS: u64 = 2_000;

fn stream(events: &[&str], compression: propylon_simulator::Compression) -> Vec<Bytes> {
    let events = events.iter().map(|name| (*name).to_owned()).collect();
    encode_stream(&SimulatorConfig { seed: 1, events, ..SimulatorConfig::default() }, compression, EVENTS)
}

/// The `d` of each.
fn contents(stream: &[Bytes]) -> Vec<Bytes> {
    stream.iter().map(|document| document.slice(envelope::scan(document).expect("an envelope").data)).collect()
}

fn envelopes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("envelope");
    for (name, events) in [("mix", &[][..]), ("messages", &["MESSAGE_CREATE"])] {
        let stream = stream(events, propylon_simulator::Compression::None);
        group.throughput(Throughput::Elements(EVENTS));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for document in &stream {
                    let _ = black_box(envelope::scan(document));
                }
            });
        });
    }
    group.finish();
}

fn inflate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inflate");
    for (name, ours, theirs) in [
        ("zstd-stream", Compression::ZstdStream, propylon_simulator::Compression::ZstdStream),
        ("zlib-stream", Compression::ZlibStream, propylon_simulator::Compression::ZlibStream),
    ] {
        let stream = stream(&[], theirs);
        group.throughput(Throughput::Elements(EVENTS));
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || Inflater::new(ours, 1 << 26),
                |inflater| {
                    for message in &stream {
                        inflater.push(message, true).expect("the simulator's");
                        black_box(inflater.document());
                        inflater.discard();
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn projection(criterion: &mut Criterion) {
    let messages = contents(&stream(&["MESSAGE_CREATE"], propylon_simulator::Compression::None));
    let mut author = Projection::default();
    author.want("id", None);
    let mut wanted = Projection::default();
    wanted.want("content", None);
    wanted.want("channel_id", None);
    wanted.want("author", Some(author));
    let wanted = Projections::One(wanted.into());
    let mut group = criterion.benchmark_group("projection");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("three fields of a message", |bencher| {
        let mut parts = Parts::default();
        bencher.iter(|| {
            for data in &messages {
                black_box(parts.cut(&wanted, data));
            }
        });
    });
    group.finish();
}

fn limiter(criterion: &mut Criterion) {
    criterion.bench_function("limiter/one payload in a full window", |bencher| {
        let mut limiter = SendLimiter::default();
        let mut now = Duration::ZERO;
        bencher.iter(|| {
            now = black_box(limiter.free_at(now)).max(now);
            limiter.sent(now);
        });
    });
}

fn queue(criterion: &mut Criterion) {
    const BATCH: usize = 64;
    let data = Bytes::from_static(br#"{"id":"1"}"#);
    let dispatch = Dispatch {
        event: EventType::MESSAGE_CREATE,
        name: None,
        shard_id: 0,
        sequence: Some(1),
        received_at: Duration::ZERO,
        data,
        part: None,
        guild_change: None,
        heard: Heard::default(),
    };
    let queue = QueueConfig { bytes: 1 << 26, events: 1 << 18, overflow: Overflow::Pause };
    let queue = std::sync::Arc::new(ShardQueue::new(1, queue));
    let hub = Hub::new(Waker::new().expect("a descriptor"));
    hub.bind(&queue);
    let mut group = criterion.benchmark_group("queue");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("a batch in and out", |bencher| {
        let mut tally = Tally::default();
        bencher.iter_batched_ref(
            || vec![dispatch.clone(); BATCH],
            |batch| {
                queue.push(batch, &mut tally, Some(1), None);
                black_box(hub.drain(BATCH))
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, envelopes, inflate, projection, limiter, queue);
criterion_main!(benches);
