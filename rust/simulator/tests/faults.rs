//! Scripted faults: that each step does to a client what it says.
#![allow(missing_docs)]

mod common;

use std::time::{Duration, Instant};

use common::{Client, PATIENCE, start, tcp};
use futures_util::StreamExt;
use propylon_simulator::{Condition, Keyword, Selector, Simulator, SimulatorConfig, Step};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{self, Message};

fn quiet() -> Simulator {
    start(SimulatorConfig { guild_creates: false, ..Default::default() })
}

/// Steps as Python writes them.
fn steps(steps: Value) -> Vec<Step> {
    serde_json::from_value(steps).expect("steps")
}

async fn scripted(script: Value, compress: &str) -> (Simulator, Client) {
    let simulator = quiet();
    simulator.script(Selector::NEXT, steps(script));
    let client = Client::connect(&simulator, compress).await;
    (simulator, client)
}

#[tokio::test]
async fn selectors_choose_number_then_queue_then_every() {
    let simulator = quiet();
    simulator.script(
        Selector::Keyword(Keyword::Every),
        steps(json!([{"step": "hello", "payload": {"op": 10, "d": "every"}}])),
    );
    simulator.script(2, steps(json!([{"step": "hello", "payload": {"op": 10, "d": "second"}}])));
    simulator.script(Selector::NEXT, steps(json!([{"step": "hello", "payload": {"op": 10, "d": "next"}}])));
    for expected in ["next", "second", "every", "every"] {
        assert_eq!(Client::connect(&simulator, "").await.payload().await["d"], expected);
    }
}

#[tokio::test]
async fn unknown_steps_and_fields_are_errors() {
    for wrong in [json!({"step": "nonsense"}), json!({"step": "close", "kode": 1}), json!({"step": "wait"})] {
        assert!(serde_json::from_value::<Step>(wrong.clone()).is_err(), "{wrong}");
    }
    assert!(serde_json::from_value::<SimulatorConfig>(json!({"gilds": 3})).is_err());
    let config: SimulatorConfig = serde_json::from_value(
        json!({"scripts": [{"connection": "every", "steps": [{"step": "reset"}]}], "rate": null}),
    )
    .expect("a config");
    assert_eq!((config.scripts.len(), config.rate), (1, None));
}

#[tokio::test]
async fn before_and_during_the_handshake() {
    let simulator = quiet();
    simulator.script(
        1,
        steps(json!([{"step": "http_response", "status": 429, "headers": {"retry-after": "3"}, "body": "slow down"}])),
    );
    match Client::try_connect(&simulator, "").await.err().expect("refused") {
        tungstenite::Error::Http(response) => {
            assert_eq!(response.status(), 429);
            assert_eq!(response.headers()["retry-after"], "3");
        }
        error => panic!("{error}"),
    }
    simulator.script(2, steps(json!([{"step": "trickle_handshake", "ms": 1, "bytes": 40}])));
    Client::connect(&simulator, "").await.identify().await;
    simulator.script(3, steps(json!([{"step": "huge_header", "bytes": 1_000_000}])));
    assert!(Client::try_connect(&simulator, "").await.is_err());
    simulator.script(4, steps(json!([{"step": "silent_accept"}])));
    let mut stream = tcp(&simulator).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("writes");
    let mut byte = [0];
    assert!(tokio::time::timeout(Duration::from_millis(50), stream.read(&mut byte)).await.is_err());
    assert!(simulator.wait(&Condition::Accepted { count: 4 }, PATIENCE));
    let record = simulator.record();
    let status: Vec<_> = (0..4).map(|at| record["connections"][at]["status"].as_u64()).collect();
    assert_eq!(status, [Some(429), Some(101), Some(101), None]);
}

#[tokio::test]
async fn hello_and_ready_can_be_changed_or_left_out() {
    let (_simulator, mut client) = scripted(json!([{"step": "reconnect"}]), "zlib-stream").await;
    assert_eq!(client.payload().await["op"], 7);
    assert_eq!(client.payload().await["op"], 10);
    let (_simulator, mut client) =
        scripted(json!([{"step": "no_hello"}, {"step": "wait_for_op", "op": 1}, {"step": "close", "code": 4009}]), "")
            .await;
    client.send(json!({"op": 1, "d": null})).await;
    assert_eq!(client.payload().await["op"], 11);
    assert_eq!(client.end().await, Some(4009));
    let ready = json!([{"step": "ready", "set": {"resume_gateway_url": "wss://evil.example", "new": 1}, "remove": ["session_id"]}]);
    let (_simulator, mut client) = scripted(ready, "").await;
    let ready = client.identify().await;
    assert_eq!(
        (&ready["d"]["resume_gateway_url"], &ready["d"]["session_id"]),
        (&json!("wss://evil.example"), &Value::Null)
    );
    let (_simulator, mut client) =
        scripted(json!([{"step": "never_ready"}, {"step": "wait_for_op", "op": 2}, {"step": "invalid_session", "resumable": "x"}]), "").await;
    client.identify_with(json!({})).await;
    assert_eq!(client.until_op(9).await["d"], "x");
    let (simulator, mut client) =
        scripted(json!([{"step": "manual"}, {"step": "wait_for_op", "op": 2}, {"step": "reset"}]), "").await;
    client.identify_with(json!({})).await;
    assert_eq!(client.end().await, None);
    assert_eq!(simulator.record()["connections"][0]["ops"][0]["op"], 2);
}

#[tokio::test]
async fn resumes_are_refused_ignored_and_cut_short() {
    let simulator = quiet();
    let mut client = Client::connect(&simulator, "").await;
    let id = client.identify().await["d"]["session_id"].as_str().expect("an id").to_owned();
    for n in 0..10 {
        simulator.dispatch("TEST", &json!(n), None);
    }
    drop(client);
    for (script, ends) in [
        (json!([{"step": "refuse_resume"}]), "9false"),
        (json!([{"step": "refuse_resume", "resumable": true}]), "9true"),
        (json!([{"step": "refuse_resume", "code": 4007}]), "4007"),
        (json!([{"step": "not_answer_resume"}, {"step": "wait_for_op", "op": 6}, {"step": "drop"}]), "end"),
        (json!([{"step": "truncate_replay", "count": 3}, {"step": "wait_ready"}, {"step": "drop"}]), "1,2,3,end"),
    ] {
        simulator.script(Selector::NEXT, steps(script.clone()));
        let mut client = Client::connect(&simulator, "zstd-stream").await;
        client.resume(&id, 1).await;
        let mut seen: Vec<String> = Vec::new();
        loop {
            match client.text().await.map(|text| serde_json::from_str::<Value>(&text).expect("JSON")) {
                Ok(payload) if payload["op"] == 9 => break seen.push(format!("9{}", payload["d"])),
                Ok(payload) if payload["op"] == 0 => {
                    seen.push((payload["d"].as_u64().expect("n") + 1).to_string());
                }
                Ok(_) => {}
                Err(Some(code)) => break seen.push(code.to_string()),
                Err(None) => break seen.push("end".to_owned()),
            }
        }
        assert_eq!(seen.join(","), ends, "{script}");
        client.socket.get_mut().shutdown().await.ok();
    }
    let mut client = Client::connect(&simulator, "").await;
    client.resume(&id, 4).await;
    assert_eq!(client.until("TEST").await["s"], 5);
}

#[tokio::test]
async fn acknowledgements_stop_wait_and_repeat() {
    let (simulator, mut client) =
        scripted(json!([{"step": "stop_acking"}, {"step": "wait_for_op", "op": 1}, {"step": "resume_acking"}]), "")
            .await;
    client.until_op(10).await;
    client.send(json!({"op": 1, "d": null})).await;
    assert!(simulator.wait(&Condition::ScriptDone { connection: 1 }, PATIENCE));
    client.send(json!({"op": 1, "d": null})).await;
    client.until_op(11).await;
    assert_eq!(simulator.record()["connections"][0]["acks"], 1);
    simulator.act(1, Step::AckDelay { ms: 30 }).expect("delays");
    let sent = Instant::now();
    client.send(json!({"op": 1, "d": null})).await;
    client.until_op(11).await;
    assert!(sent.elapsed() >= Duration::from_millis(29));
    simulator.act(1, Step::Acknowledge { count: 3 }).expect("acknowledges");
    simulator.act(1, Step::RequestHeartbeats { count: 2 }).expect("requests");
    let ops: Vec<_> = [
        client.payload().await,
        client.payload().await,
        client.payload().await,
        client.payload().await,
        client.payload().await,
    ]
    .map(|payload| payload["op"].as_u64().expect("op"))
    .to_vec();
    assert_eq!(ops, [11, 11, 11, 1, 1]);
}

#[tokio::test]
async fn stalls_and_deaf_servers() {
    let simulator = quiet();
    let mut client = Client::connect(&simulator, "").await;
    client.identify().await;
    simulator.act(1, Step::Stall).expect("stalls");
    simulator.dispatch("TEST", &json!(1), None);
    assert!(tokio::time::timeout(Duration::from_millis(50), client.socket.next()).await.is_err());
    simulator.act(1, Step::Unstall).expect("goes on");
    client.until("TEST").await;
    simulator.act(1, Step::StopReading).expect("stops");
    client.send(json!({"op": 1, "d": null})).await;
    client.send(json!({"op": 1, "d": null})).await;
    assert!(!simulator.wait(&Condition::Op { op: 1, count: 2, connection: None }, Duration::from_millis(50)));
    simulator.act(1, Step::ResumeReading).expect("reads");
    client.until_op(11).await;
    client.until_op(11).await;
}

#[tokio::test]
async fn every_way_to_end() {
    for (step, code) in [
        (json!({"step": "close", "code": 4009, "reason": "timed out"}), Some(4009)),
        (json!({"step": "close"}), None),
        (json!({"step": "drop"}), None),
        (json!({"step": "reset"}), None),
    ] {
        let simulator = quiet();
        let mut client = Client::connect(&simulator, "").await;
        client.identify().await;
        simulator.act(Selector::LAST, steps(json!([step])).remove(0)).expect("ends");
        assert_eq!(client.end().await, code, "{step}");
        drop(client);
        assert!(simulator.wait(&Condition::Closed { connection: 1 }, PATIENCE), "{step}");
        assert!(simulator.wait(&Condition::Open { count: 0 }, PATIENCE));
    }
    // one byte is no close code: the client's library says so
    let (_simulator, mut client) = scripted(json!([{"step": "close_raw", "hex": "03"}]), "").await;
    // ended before the script waited: no HELLO
    assert!(matches!(client.message().await, Some(Err(_))));
    // half closed: nothing comes any more, but the server still hears
    let (simulator, mut client) = scripted(json!([{"step": "serve"}, {"step": "half_close"}]), "").await;
    assert!(simulator.wait(&Condition::ScriptDone { connection: 1 }, PATIENCE));
    client.send(json!({"op": 1, "d": null})).await;
    assert!(simulator.wait(&Condition::Op { op: 1, count: 1, connection: None }, PATIENCE));
    assert_eq!(client.end().await, None);
}

#[tokio::test]
async fn raw_frames_payloads_and_bytes() {
    let script = json!([
        {"step": "hello"},
        {"step": "send_payload", "text": "not json"},
        {"step": "send_text", "text": "{}"},
        {"step": "send_binary", "hex": "00 ff"},
        {"step": "send_json", "payload": {"op": 0, "t": "X", "s": 9, "d": null}},
        {"step": "send_frame", "opcode": 1, "fin": false, "text": "ab"},
        {"step": "send_frame", "opcode": 0, "text": "cd"},
        {"step": "send_bytes", "hex": "c100"},
    ]);
    let (_simulator, mut client) = scripted(script, "").await;
    let mut seen = Vec::new();
    while let Some(Ok(message)) = client.message().await {
        seen.push(message);
    }
    // the last frame has a reserved bit
    assert_eq!(seen.len(), 6);
    assert_eq!(seen[1], Message::text("not json"));
    assert_eq!(seen[3], Message::binary(vec![0, 0xff]));
    assert_eq!(seen[5], Message::text("abcd"));
}

#[tokio::test]
async fn corruption_bombs_and_floods() {
    let (simulator, mut client) = scripted(json!([]), "zlib-stream").await;
    client.identify().await;
    simulator.act(1, Step::Corrupt { at: 3 }).expect("corrupts");
    simulator.dispatch("TEST", &json!("x".repeat(100)), None);
    let Some(Ok(Message::Binary(_))) = client.message().await else { panic!("a message") };
    for (compress, most) in [("zlib-stream", 20_000), ("zstd-stream", 2_000), ("", 17 << 20)] {
        let (simulator, mut client) = scripted(json!([]), compress).await;
        client.identify().await;
        simulator.act(1, Step::Bomb { mebibytes: 16 }).expect("sends");
        let before = client.wire_bytes;
        let text = client.text().await.expect("a payload");
        assert!(text.len() > 16 << 20);
        assert!(client.wire_bytes - before < most, "{compress}: {}", client.wire_bytes);
        // the stream goes on
        simulator.dispatch("TEST", &json!(1), None);
        client.until("TEST").await;
    }
    let (simulator, mut client) = scripted(json!([{"step": "ping_flood", "count": 5000, "bytes": 125}]), "").await;
    for _ in 0..5000 {
        assert!(matches!(client.message().await, Some(Ok(Message::Ping(_)))));
    }
    client.identify().await;
    // the client's library sends its pong with, or after, the next thing it sends
    client.send(json!({"op": 1, "d": null})).await;
    client.until_op(11).await;
    assert!(simulator.record()["connections"][0]["pongs"].as_u64() > Some(0));
    let (_simulator, mut client) =
        scripted(json!([{"step": "continuation_flood", "count": 50_000, "finish": true}]), "").await;
    assert_eq!(client.message().await.expect("a message").expect("whole"), Message::text(""));
}

#[tokio::test]
async fn the_port_closes_and_opens_again() {
    let simulator = quiet();
    let mut client = Client::connect(&simulator, "").await;
    client.identify().await;
    simulator.act(Selector::EVERY, Step::StopListening).expect("closes");
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", simulator.port())).await.is_err());
    client.send(json!({"op": 1, "d": null})).await;
    client.until_op(11).await;
    simulator.act(Selector::EVERY, Step::Listen).expect("opens");
    Client::connect(&simulator, "").await.identify().await;
}
