//! REST, the upgrade and the life of a connection up to READY.
#![allow(missing_docs)]

mod common;

use common::{Client, PATIENCE, start, tcp};
use propylon_simulator::{Certificate, Condition, Selector, SimulatorConfig, Step};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn get(simulator: &propylon_simulator::Simulator, path: &str, headers: &str) -> (u16, String) {
    let mut stream = tcp(simulator).await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("reads");
    let status = text[9..12].parse().expect("a status");
    (status, text.split_once("\r\n\r\n").expect("a body").1.to_owned())
}

#[tokio::test]
async fn the_api_tells_the_url_and_checks_the_token() {
    let simulator = start(SimulatorConfig {
        token: Some("secret".to_owned()),
        shards: 3,
        max_concurrency: 16,
        ..Default::default()
    });
    let (status, body) = get(&simulator, "/api/v10/gateway", "").await;
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &body["url"]), (200, &json!(simulator.url())));
    assert_eq!(get(&simulator, "/api/v10/gateway/bot", "authorization: Bot wrong\r\n").await.0, 401);
    let (status, body) = get(&simulator, "/api/v10/gateway/bot", "Authorization: Bot secret\r\n").await;
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (status, &body["shards"], &body["session_start_limit"]["max_concurrency"]),
        (200, &json!(3), &json!(16))
    );
    assert_eq!(body["session_start_limit"]["remaining"], 1000);
    simulator
        .act(Selector::LAST, Step::ApiResponse { status: 503, headers: [].into(), body: "later".to_owned(), times: 1 })
        .expect("scripted");
    assert_eq!(get(&simulator, "/api/v10/gateway/bot", "").await, (503, "later".to_owned()));
    assert_eq!(get(&simulator, "/nowhere", "").await.0, 404);
    assert!(simulator.wait(&Condition::ApiRequests { count: 5 }, PATIENCE));
}

#[tokio::test]
async fn a_wrong_query_is_refused() {
    let simulator = start(SimulatorConfig::default());
    let upgrade = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (path, expected) in [
        ("/?v=9&encoding=json", 400),
        ("/?encoding=json", 400),
        ("/?v=10&encoding=etf", 400),
        ("/?v=10&encoding=json&compress=gzip", 400),
        ("/other?v=10&encoding=json", 404),
    ] {
        assert_eq!(get(&simulator, path, upgrade).await.0, expected, "{path}");
    }
}

#[tokio::test]
async fn hello_ready_guilds_and_beats() {
    let simulator = start(SimulatorConfig { heartbeat_interval: 1234, guilds: 5, ..Default::default() });
    let mut client = Client::connect(&simulator, "").await;
    assert_eq!(client.payload().await["d"]["heartbeat_interval"], 1234);
    client.identify_with(json!({"shard": [1, 2]})).await;
    let ready = client.payload().await;
    assert_eq!((&ready["t"], &ready["s"], &ready["op"]), (&json!("READY"), &json!(1), &json!(0)));
    let data = &ready["d"];
    assert_eq!(data["v"], 10);
    assert_eq!(data["shard"], json!([1, 2]));
    assert_eq!(data["resume_gateway_url"], json!(simulator.url()));
    let guilds = data["guilds"].as_array().expect("guilds");
    assert_eq!(guilds.len(), 2);
    for (at, stub) in guilds.iter().enumerate() {
        let id: u64 = stub["id"].as_str().expect("an id").parse().expect("a number");
        assert_eq!((id >> 22) % 2, 1);
        let guild = client.payload().await;
        assert_eq!((&guild["t"], &guild["s"]), (&json!("GUILD_CREATE"), &json!(at + 2)));
        assert_eq!((&guild["d"]["id"], &guild["d"]["unavailable"]), (&stub["id"], &json!(false)));
        assert_eq!(guild["d"]["members"].as_array().expect("members").len(), 20);
    }
    client.send(json!({"op": 1, "d": 3})).await;
    assert_eq!(client.payload().await["op"], 11);
    assert!(simulator.wait(&Condition::Op { op: 1, count: 1, connection: Some(1) }, PATIENCE));
    let record = simulator.record();
    assert_eq!(record["connections"][0]["query"]["v"], "10");
    assert_eq!(record["connections"][0]["beats"].as_array().expect("beats").len(), 1);
    assert_eq!(record["sessions"][0]["sequence"], 3);
}

#[tokio::test]
async fn what_identify_gets_wrong_is_closed_with_discords_codes() {
    let config = SimulatorConfig { token: Some("token".to_owned()), disallowed_intents: 1 << 15, ..Default::default() };
    let simulator = start(config);
    for (changes, code) in [
        (json!({"token": "wrong"}), 4004),
        (json!({"token": "Bot token"}), 4004),
        (json!({"intents": 1_u64 << 40}), 4013),
        (json!({"intents": null}), 4013),
        (json!({"intents": 1 << 15}), 4014),
        (json!({"intents": 1, "shard": [2, 2]}), 4010),
        (json!({"intents": 1, "properties": null}), 4002),
        (json!({"intents": 1, "presence": "x".repeat(5000)}), 4002),
    ] {
        let mut client = Client::connect(&simulator, "zstd-stream").await;
        client.identify_with(changes.clone()).await;
        assert_eq!(client.end().await, Some(code), "{changes:.100}");
    }
    for (payload, code) in [
        (json!({"op": 3, "d": {}}), 4003),
        (json!({"op": 99, "d": {}}), 4001),
        (json!({"d": {}}), 4002),
        (json!({"op": 6, "d": {"token": "no", "session_id": "x", "seq": 1}}), 4004),
    ] {
        let mut client = Client::connect(&simulator, "").await;
        client.send(payload.clone()).await;
        assert_eq!(client.end().await, Some(code), "{payload}");
    }
    let mut client = Client::connect(&simulator, "").await;
    client.identify_with(json!({"intents": 1})).await;
    client.until("READY").await;
    client.identify_with(json!({"intents": 1})).await;
    assert_eq!(client.end().await, Some(4005));
}

#[tokio::test]
async fn the_121st_payload_of_a_minute_is_one_too_many() {
    let simulator = start(SimulatorConfig::default());
    let mut client = Client::connect(&simulator, "").await;
    for _ in 0..120 {
        client.send(json!({"op": 1, "d": null})).await;
    }
    for _ in 0..120 {
        client.until_op(11).await;
    }
    client.send(json!({"op": 1, "d": null})).await;
    assert_eq!(client.end().await, Some(4008));
}

#[tokio::test]
async fn identifies_of_one_bucket_keep_their_distance() {
    let simulator = propylon_simulator::Simulator::start(SimulatorConfig { max_concurrency: 2, ..Default::default() })
        .expect("starts");
    for (shard, event) in [(0, "READY"), (1, "READY"), (2, "")] {
        let mut client = Client::connect(&simulator, "").await;
        client.payload().await;
        client.identify_with(json!({"shard": [shard, 4]})).await;
        let answer = client.payload().await;
        if event.is_empty() {
            assert_eq!((&answer["op"], &answer["d"]), (&json!(9), &json!(false)));
        } else {
            assert_eq!(answer["t"], event);
        }
    }
}

#[tokio::test]
async fn tls_is_trusted_with_the_ca_and_every_bad_certificate_is_not() {
    let simulator = start(SimulatorConfig { tls: true, ..Default::default() });
    assert!(simulator.url().starts_with("wss://localhost:"));
    let mut client = Client::connect(&simulator, "zlib-stream").await;
    client.identify().await;
    for (kind, reason) in [
        (Certificate::WrongHost, "NotValidForName"),
        (Certificate::Expired, "Expired"),
        (Certificate::NotYetValid, "NotValidYet"),
        (Certificate::SelfSigned, "UnknownIssuer"),
        (Certificate::UnknownCa, "UnknownIssuer"),
    ] {
        simulator.script(Selector::NEXT, vec![Step::Certificate { kind }]);
        let error = common::tls(&simulator).await.err().expect("refused");
        assert!(format!("{error:?}").contains(reason), "{kind:?}: {error:?}");
    }
    simulator.script(Selector::NEXT, vec![Step::Plaintext]);
    assert!(common::tls(&simulator).await.is_err());
    simulator.script(Selector::NEXT, vec![Step::TlsAlert { code: 70 }]);
    let error = common::tls(&simulator).await.err().expect("refused");
    assert!(format!("{error:?}").contains("ProtocolVersion"), "{error:?}");
    Client::connect(&simulator, "").await.identify().await;
}
