//! Whole fleets: who has a guild, the buckets and the budget, numbered traffic, and what the server tells of a thousand.
#![allow(missing_docs)]

mod common;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use common::{Client, PATIENCE, start};
use propylon_simulator::{Condition, Selector, Shards, Simulator, SimulatorConfig, Step};
use serde_json::{Value, json};

fn quiet() -> SimulatorConfig {
    SimulatorConfig { guild_creates: false, ..Default::default() }
}

fn of(shard: u64, shard_count: u64) -> Shards {
    Shards { shard: Some(shard), shard_count: Some(shard_count) }
}

async fn shard(simulator: &Simulator, id: u64, count: u64) -> (Client, Value) {
    let mut client = Client::connect(simulator, "zstd-stream").await;
    client.identify_with(json!({"shard": [id, count]})).await;
    let ready = client.until("READY").await;
    (client, ready)
}

/// The raw `d` of the next event of this name.
async fn raw(client: &mut Client, event: &str) -> String {
    loop {
        let text = client.text().await.expect("an event");
        if text.starts_with(&format!(r#"{{"t":"{event}""#)) {
            let at = text.find(r#""d":"#).expect("d");
            return text[at + 4..text.len() - 1].to_owned();
        }
    }
}

#[tokio::test]
async fn an_event_goes_to_every_session_that_has_its_guild() {
    let simulator = start(SimulatorConfig { guilds: 12, ..quiet() });
    let mut clients = HashMap::new();
    let mut owner = HashMap::new();
    for (id, count) in [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)] {
        let (client, ready) = shard(&simulator, id, count).await;
        for guild in ready["d"]["guilds"].as_array().expect("guilds") {
            let guild: u64 = guild["id"].as_str().expect("an id").parse().expect("a number");
            assert_eq!((guild >> 22) % count, id);
            owner.insert((guild, count), id);
        }
        clients.insert((id, count), client);
    }
    assert_eq!(owner.len(), 24);
    let guild = owner.keys().next().expect("a guild").0;
    let text = r#"{ "odd":  "spacing", "guild_id": "x" }"#;
    assert_eq!(simulator.route("TEST", [(guild, text.into())]), 2);
    // everybody's, so that nobody has missed one
    assert_eq!(simulator.route("END", [(0, "1".into())]), 5);
    for (&(id, count), client) in &mut clients {
        if owner[&(guild, count)] == id {
            assert_eq!(raw(client, "TEST").await, text);
        }
        assert_eq!(client.payload().await["t"], "END", "{id}/{count}");
    }
    // while nobody is connected: replayed
    let lost = (owner[&(guild, 2)], 2);
    let client = clients.remove(&lost).expect("a client");
    drop(client);
    let id = simulator.record()["sessions"][lost.0 as usize]["id"].as_str().expect("an id").to_owned();
    assert_eq!(simulator.route("LATE", [(guild, "2".into()), (guild, "3".into())]), 4);
    let mut client = Client::connect(&simulator, "").await;
    client.resume(&id, 3).await;
    assert_eq!((raw(&mut client, "LATE").await, raw(&mut client, "LATE").await), ("2".to_owned(), "3".to_owned()));
    // a dead session has no guilds
    simulator.act(of(lost.0, 2), Step::ExpireSessions).expect("there is one");
    assert_eq!(simulator.route("TEST", [(guild, "4".into())]), 1);
    assert!(simulator.act(of(lost.0, 2), Step::ExpireSessions).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbered_traffic_has_no_gap_over_a_cut_and_is_the_same_for_all() {
    let simulator = start(SimulatorConfig { guilds: 10, shared_rate: 2_000.0, ..quiet() });
    let (mut whole, _) = shard(&simulator, 0, 1).await;
    let (mut part, ready) = shard(&simulator, 1, 4).await;
    let id = ready["d"]["session_id"].as_str().expect("an id").to_owned();
    let mut parts = HashMap::new();
    let mut last = 1;
    for cut in [true, false] {
        for _ in 0..100 {
            let payload = part.until("MESSAGE_CREATE").await;
            last = payload["s"].as_u64().expect("s");
            parts.insert(payload["d"]["nonce"].as_str().expect("a nonce").to_owned(), payload["d"].clone());
        }
        if cut {
            simulator.act(of(1, 4), Step::Reset).expect("resets");
            part = Client::connect(&simulator, "zlib-stream").await;
            part.resume(&id, last).await;
        }
    }
    simulator.flood_shared(false, None).expect("stops");
    let record = simulator.record();
    let made: Vec<u64> = serde_json::from_value(record["shared"]["guilds"].clone()).expect("counts");
    assert_eq!(record["shared"]["made"], made.iter().sum::<u64>());
    simulator.dispatch("END", &json!(null), None);
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let mut twins = 0;
    loop {
        let payload = whole.payload().await;
        if payload["t"] == "END" {
            break;
        }
        let Some((guild, number)) = payload["d"]["nonce"].as_str().and_then(|nonce| nonce.split_once(':')) else {
            continue;
        };
        let (guild, number): (u64, u64) = (guild.parse().expect("a guild"), number.parse().expect("a number"));
        let expected = seen.insert(guild, number).map_or(number, |last| last + 1);
        assert_eq!(number, expected, "guild {guild}");
        if let Some(twin) = parts.get(payload["d"]["nonce"].as_str().expect("a nonce")) {
            assert_eq!(twin, &payload["d"]);
            twins += 1;
        }
    }
    assert_eq!(twins, parts.len());
    for (guild, made) in made.iter().enumerate() {
        assert_eq!(seen[&(guild as u64)], *made);
    }
}

#[tokio::test]
async fn a_shard_of_too_many_guilds_is_refused() {
    let simulator = start(SimulatorConfig { guilds: 20, guilds_per_shard: 5, ..quiet() });
    for (id, count, code) in [(0, 3, Some(4011)), (3, 4, None)] {
        let mut client = Client::connect(&simulator, "").await;
        client.identify_with(json!({"shard": [id, count]})).await;
        match code {
            None => assert_eq!(client.until("READY").await["d"]["guilds"].as_array().expect("guilds").len(), 5),
            code => assert_eq!(client.end().await, code),
        }
    }
    let simulator = start(SimulatorConfig { guilds: 2_501, guilds_per_shard: 0, ..quiet() });
    shard(&simulator, 0, 1).await;
}

#[tokio::test]
async fn buckets_are_shared_by_all_numbers_of_shards_and_the_budget_is_full_again() {
    let simulator = Simulator::start(SimulatorConfig {
        max_concurrency: 2,
        session_start_total: 3,
        session_start_remaining: 1,
        session_start_reset_after: 3_000,
        ..quiet()
    })
    .expect("starts");
    let started = Instant::now();
    let (_first, _) = shard(&simulator, 2, 4).await;
    let (_other, _) = shard(&simulator, 1, 1_000).await;
    let mut early = Client::connect(&simulator, "").await;
    early.identify_with(json!({"shard": [998, 1_000]})).await;
    assert_eq!(early.until_op(9).await["d"], false);
    let fleet = simulator.fleet();
    assert_eq!((&fleet["early_identifies"]["count"], &fleet["identifies_over_budget"]), (&json!(1), &json!(2)));
    let worst = fleet["early_identifies"]["worst_ms"].as_f64().expect("ms");
    assert!((0.0..5_000.0).contains(&worst), "{worst}");
    assert_eq!(fleet["sessions"], json!({"4": {"alive": 1, "connected": 1}, "1000": {"alive": 1, "connected": 1}}));
    tokio::time::sleep_until((started + Duration::from_secs(3)).into()).await;
    // what was spent before is forgotten
    let mut early = Client::connect(&simulator, "").await;
    early.identify_with(json!({"shard": [998, 1_000]})).await;
    early.until_op(9).await;
    assert_eq!(simulator.fleet()["identifies_over_budget"], 2);
}

#[tokio::test]
async fn steps_reach_a_shard_a_number_of_shards_or_everyone() {
    let simulator = start(SimulatorConfig { guilds: 8, ..quiet() });
    let mut clients = Vec::new();
    for (id, count) in [(0, 2), (1, 2), (0, 4), (1, 4)] {
        clients.push(shard(&simulator, id, count).await.0);
    }
    let open = |count| simulator.wait(&Condition::Open { count }, PATIENCE);
    assert!(simulator.act(of(7, 8), Step::Drop).is_err());
    assert!(simulator.act(of(0, 2), Step::StopListening).is_err(), "a step of the server");
    simulator.act(of(1, 4), Step::Drop).expect("drops");
    assert!(open(3));
    simulator.act(Shards { shard: Some(0), shard_count: None }, Step::Reset).expect("resets");
    assert!(open(1));
    simulator.act(Selector::EVERY, Step::Close { code: Some(4_000), reason: String::new() }).expect("closes");
    assert_eq!(clients[1].end().await, Some(4_000));
    // reads on, so that its answer leaves
    let _ = clients[1].message().await;
    assert!(open(0));
    let fleet = simulator.fleet();
    assert_eq!(fleet["connections"], json!({"accepted": 4, "upgraded": 4, "open": 0, "most_open": 4}));
    assert_eq!(fleet["closes"], json!({"server": {"4000": 1, "none": 3}}));
    assert_eq!(fleet["sessions"]["4"], json!({"alive": 2, "connected": 0}));
    let light = simulator.record_without_payloads();
    assert_eq!((&light["connections"][3]["ops"], &light["connections"][3]["shard"]), (&json!([]), &json!([1, 4])));
    assert_eq!(simulator.record()["connections"][3]["ops"][0]["op"], 2);
}

#[tokio::test]
async fn late_heartbeats_are_counted() {
    let simulator = start(SimulatorConfig { heartbeat_interval: 2_000, ..quiet() });
    let (mut client, _) = shard(&simulator, 0, 1).await;
    let beat = json!({"op": 1, "d": 1});
    client.send(beat.clone()).await;
    client.until_op(11).await;
    assert_eq!(simulator.fleet()["late_beats"]["count"], 0);
    tokio::time::sleep(Duration::from_millis(2_600)).await;
    assert_eq!(simulator.fleet()["overdue_beats"], 1);
    client.send(beat).await;
    client.until_op(11).await;
    let fleet = simulator.fleet();
    assert_eq!(
        (&fleet["late_beats"]["count"], &fleet["beats"], &fleet["overdue_beats"]),
        (&json!(1), &json!(2), &json!(0))
    );
    assert!(fleet["late_beats"]["worst_ms"].as_f64().expect("ms") >= 590.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_shards_of_two_totals_are_served_at_once() {
    let simulator = start(SimulatorConfig { guilds: 300, max_concurrency: 200, ..quiet() });
    let began = Instant::now();
    let mut clients = Vec::new();
    for count in [100, 150] {
        for id in 0..count.min(100) {
            let mut client = Client::connect(&simulator, "zstd-stream").await;
            client.identify_with(json!({"shard": [id, count]})).await;
            clients.push(client);
        }
    }
    assert!(simulator.wait_async(&Condition::Ready { count: 200 }, PATIENCE).await, "{:?}", began.elapsed());
    for client in &mut clients {
        // also on the lighter compressors of those that came late
        client.until("READY").await;
    }
    let fleet = simulator.fleet();
    assert_eq!(fleet["sessions"]["150"], json!({"alive": 100, "connected": 100}));
    assert_eq!(fleet["connections"]["most_open"], 200);
}
