//! Floods and pacing: the same bytes on every way, and none lost.
#![allow(missing_docs)]

mod common;

use common::{Client, PATIENCE, start};
use propylon_simulator::{Compression, Condition, Selector, SimulatorConfig, Start, Step, encode_stream};
use serde_json::json;

/// The generated events as text, and the wire bytes.
async fn collect(
    config: SimulatorConfig,
    compress: &str,
    payload_compression: bool,
    step: Option<Step>,
) -> Vec<String> {
    let count = config.count.expect("a count") as usize;
    let simulator = start(config);
    if let Some(step) = step {
        simulator.script(1, vec![step]);
    }
    let mut client = Client::connect(&simulator, compress).await;
    client.identify_with(json!({"compress": payload_compression})).await;
    let mut events = Vec::new();
    while events.len() < count {
        let text = client.text().await.expect("an event");
        if !text.contains(r#""t":"READY""#) && !text.contains(r#""t":"GUILD_CREATE""#) && !text.contains(r#""t":null"#)
        {
            events.push(text);
        }
    }
    assert!(simulator.wait(&Condition::TrafficDone, PATIENCE));
    events
}

fn flood(count: u64) -> SimulatorConfig {
    SimulatorConfig { rate: None, count: Some(count), seed: 42, guilds: 3, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_compression_socket_and_slicing_gives_the_same_bytes() {
    let plain = collect(flood(3000), "", false, None).await;
    assert!(plain[0].contains(r#""s":5,"op":0"#), "{}", plain[0]);
    for compress in ["zlib-stream", "zstd-stream"] {
        assert_eq!(collect(flood(3000), compress, false, None).await, plain, "{compress}");
        assert_eq!(
            collect(SimulatorConfig { tls: true, ..flood(3000) }, compress, false, None).await,
            plain,
            "TLS {compress}"
        );
        assert_eq!(
            collect(SimulatorConfig { preload: true, ..flood(3000) }, compress, false, None).await,
            plain,
            "{compress} ahead"
        );
    }
    assert_eq!(collect(flood(3000), "", true, None).await, plain, "payload compression");
    assert_eq!(
        collect(SimulatorConfig { rate: Some(20_000.0), ..flood(3000) }, "zstd-stream", false, None).await,
        plain,
        "paced"
    );
    let plain = &plain[..300];
    for compress in ["", "zlib-stream", "zstd-stream"] {
        for step in [
            Step::Slice { bytes: 1 },
            Step::Slice { bytes: 2 },
            Step::Merge { payloads: 2 },
            Step::OwnFrames { on: true },
        ] {
            // a JSON text is no stream, and zlib's ending cannot be told from a pause
            if matches!(step, Step::Merge { .. }) && compress.is_empty()
                || matches!(step, Step::OwnFrames { .. }) && compress != "zstd-stream"
            {
                continue;
            }
            assert_eq!(collect(flood(300), compress, false, Some(step.clone())).await, plain, "{compress} {step:?}");
        }
    }
    assert_eq!(collect(flood(300), "zlib-stream", false, Some(Step::Split { bytes: 3 })).await, plain);
}

#[tokio::test]
async fn filters_rates_and_manual_starts_hold() {
    let simulator = start(SimulatorConfig {
        rate: Some(1000.0),
        count: Some(200),
        events: vec!["MESSAGE_CREATE".to_owned()],
        start: Start::Manual,
        ..Default::default()
    });
    let mut client = Client::connect(&simulator, "zstd-stream").await;
    client.identify().await;
    assert_eq!(simulator.record()["sessions"][0]["generated"], 0);
    let began = std::time::Instant::now();
    simulator.flood(true, None);
    for at in 0..200_u64 {
        let event = client.until("MESSAGE_CREATE").await;
        assert_eq!(event["s"], 12 + at);
    }
    let took = began.elapsed().as_secs_f64();
    assert!(took >= 0.15, "{took}");
    assert!(simulator.wait(&Condition::TrafficDone, PATIENCE));
    assert_eq!(simulator.record()["sessions"][0]["events"]["MESSAGE_CREATE"], 200);
}

#[tokio::test]
async fn a_preloaded_stream_waits_for_its_start_and_still_answers_beats() {
    let simulator = start(SimulatorConfig { preload: true, start: Start::Manual, ..flood(1000) });
    let mut client = Client::connect(&simulator, "zstd-stream").await;
    client.identify().await;
    assert!(simulator.wait(&Condition::Dispatched { count: 1000 }, PATIENCE));
    for _ in 0..3 {
        client.send(json!({"op": 1, "d": 1})).await;
        client.until_op(11).await;
    }
    simulator.flood(true, None);
    let mut last = 0;
    while last < 1004 {
        let payload = client.payload().await;
        if let Some(sequence) = payload["s"].as_u64() {
            assert!(last == 0 || sequence == last + 1, "{last} {sequence}");
            last = sequence;
        }
    }
}

#[tokio::test]
async fn a_slow_client_does_not_grow_the_server_and_is_dropped_when_asked() {
    let simulator = start(SimulatorConfig {
        rate: Some(50_000.0),
        max_lag: Some(5_000),
        send_buffer: Some(16 << 10),
        replay_buffer: Some(1_000_000),
        ..Default::default()
    });
    let mut client = Client::connect(&simulator, "").await;
    let session = client.identify().await["d"]["session_id"].clone();
    // reads nothing more: socket buffers fill, then the outbox, then it is too far behind
    assert!(simulator.wait(&Condition::Closed { connection: 1 }, PATIENCE));
    drop(client);
    simulator.flood(false, None);
    let mut client = Client::connect(&simulator, "zlib-stream").await;
    client.resume(session.as_str().expect("an id"), 1).await;
    let mut expected = 2;
    loop {
        let payload = client.payload().await;
        if payload["op"] != 0 {
            continue;
        }
        assert_eq!(payload["s"], expected);
        expected += 1;
        if payload["t"] == "RESUMED" {
            break;
        }
    }
    assert!(expected > 5_000, "{expected}");
}

#[tokio::test]
async fn the_flood_can_be_scripted() {
    let simulator = start(SimulatorConfig { start: Start::Manual, rate: None, ..Default::default() });
    simulator.script(
        1,
        vec![
            Step::WaitReady,
            Step::Flood { on: true, rate: Some(5000.0) },
            Step::WaitEvents { count: 100 },
            Step::Reset,
        ],
    );
    let mut client = Client::connect(&simulator, "zstd-stream").await;
    client.identify().await;
    assert_eq!(client.end().await, None);
    assert!(simulator.wait(&Condition::ScriptDone { connection: 1 }, PATIENCE));
    assert!(simulator.act(Selector::EVERY, Step::Reconnect).is_err());
}

#[test]
fn an_encoded_stream_is_what_a_client_would_get() {
    let config = SimulatorConfig { seed: 3, ..Default::default() };
    let plain = encode_stream(&config, Compression::None, 500);
    assert!(plain[499].starts_with(br#"{"t":""#));
    let total: usize = plain.iter().map(bytes::Bytes::len).sum();
    for compression in [Compression::ZlibStream, Compression::ZstdStream, Compression::Payload] {
        let packed = encode_stream(&config, compression, 500);
        assert_eq!(packed.len(), 500);
        let size: usize = packed.iter().map(bytes::Bytes::len).sum();
        println!("{compression:?}: {total} -> {size}");
        assert!(size < total);
    }
    let zstd = encode_stream(&config, Compression::ZstdStream, 1);
    // Discord's own header: magic, no content size, window log 18
    assert_eq!(zstd[0][..6], [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x40]);
}
