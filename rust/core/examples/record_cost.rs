//! What a recording costs the thread that reads the socket: nanoseconds of CPU for each event that is offered, by
//! itself. `record_cost [events] [bytes]`; Linux, whose scheduler tells the time of one thread.

use std::{hint::black_box, sync::Arc, time::Duration};

use propylon_core::{
    clock,
    delivery::Subscriptions,
    protocol::event::{EventSet, EventType},
    recording::{Event, Recorder, RecorderConfig, Recorders},
};

fn cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse().ok());
    let (count, bytes) = (arguments.next().unwrap_or(300_000), arguments.next().unwrap_or(870));
    let path = std::env::temp_dir().join(format!("record_cost-{}.jsonl.zst", std::process::id()));
    // Texts that differ, so that the copy is no copy of what is in the cache.
    let documents: Vec<String> =
        (0..4_096).map(|number| format!(r#"{{"id":"{number}","x":"{}"}}"#, "é".repeat(bytes / 2))).collect();
    let recorders = Recorders::default();
    let everything = Arc::new(Subscriptions::default());
    everything.add(0, None, EventSet::ALL);
    let config = RecorderConfig { path: path.clone(), secrets: false, max_bytes: None, queue_bytes: 64 << 20 };
    for recording in [false, true] {
        let recorder = recording.then(|| {
            let recorder = Recorder::start(&config, Arc::clone(&everything), |text| eprintln!("{text}"));
            let recorder = Arc::new(recorder.expect("a file in the temporary folder"));
            recorders.add(&recorder);
            recorder
        });
        let mut spent = 0;
        for batch in 0..count / 10 {
            let before = cpu();
            // As the driver does: one look for each batch of the socket, here of ten.
            let current = recorders.current();
            for place in 0..10 {
                let event = Event {
                    event: EventType::MESSAGE_CREATE,
                    shard: (0, 1),
                    sequence: Some(7),
                    received_at: clock::now(),
                    guild_change: None,
                    data: black_box(documents[(batch * 10 + place) % documents.len()].as_bytes()),
                };
                for recorder in current.iter().flat_map(|all| all.iter()) {
                    recorder.offer(&event, || None);
                }
                black_box(&event);
            }
            spent += cpu() - before;
            if batch % 50 == 49 {
                // The writer is not to be left behind: 5,000 events a second are what is measured elsewhere.
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let each = spent as f64 / count as f64;
        println!(
            "recording {recording}: {each:.0} ns of CPU for an event of {bytes} bytes, the reading of the clock included"
        );
        if let Some(recorder) = recorder {
            recorder.stop(Duration::from_secs(30));
            println!("{:?}", recorder.counts());
        }
    }
    let _ = std::fs::remove_file(path);
}
