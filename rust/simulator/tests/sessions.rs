//! RESUME, replay, and what a session survives; commands and their answers.
#![allow(missing_docs)]

mod common;

use common::{Client, PATIENCE, start, tcp};
use propylon_simulator::{Condition, Selector, Simulator, SimulatorConfig, Step};
use serde_json::{Value, json};

fn quiet() -> SimulatorConfig {
    SimulatorConfig { guild_creates: false, ..Default::default() }
}

async fn ready(simulator: &Simulator) -> (Client, String) {
    let mut client = Client::connect(simulator, "zstd-stream").await;
    let ready = client.identify().await;
    let id = ready["d"]["session_id"].as_str().expect("an id").to_owned();
    (client, id)
}

#[tokio::test]
async fn what_was_dispatched_meanwhile_is_replayed_in_order() {
    let simulator = start(quiet());
    let (mut client, id) = ready(&simulator).await;
    simulator.dispatch("TEST", &json!({"n": 2}), None);
    assert_eq!(client.until("TEST").await["s"], 2);
    client.close(4000).await;
    assert!(simulator.wait(&Condition::Closed { connection: 1 }, PATIENCE));
    for n in 3..6 {
        assert_eq!(simulator.dispatch("TEST", &json!({"n": n}), Some(&id)), 1);
    }
    let mut client = Client::connect(&simulator, "").await;
    client.resume(&id, 1).await;
    client.until_op(10).await;
    for n in 2..6 {
        let event = client.payload().await;
        assert_eq!((&event["s"], &event["d"]["n"]), (&json!(n), &json!(n)));
    }
    let resumed = client.payload().await;
    assert_eq!((&resumed["t"], &resumed["s"]), (&json!("RESUMED"), &json!(6)));
    // a second RESUME leaves out the first one's RESUMED
    drop(client);
    let mut client = Client::connect(&simulator, "").await;
    client.resume(&id, 5).await;
    assert_eq!(client.until("RESUMED").await["s"], 7);
    let record = simulator.record();
    assert_eq!(record["connections"][0]["closed"]["code"], 4000);
    assert_eq!(record["sessions"][0]["resumes"], 2);
    assert!(simulator.wait(&Condition::Resumed { count: 2 }, PATIENCE));
}

#[tokio::test]
async fn sequences_out_of_the_window_and_ended_sessions_are_refused() {
    let simulator = start(SimulatorConfig { replay_buffer: Some(10), ..quiet() });
    let (client, id) = ready(&simulator).await;
    drop(client);
    assert!(simulator.wait(&Condition::Closed { connection: 1 }, PATIENCE));
    for n in 0..50 {
        simulator.dispatch("TEST", &json!(n), None);
    }
    let mut client = Client::connect(&simulator, "").await;
    client.resume(&id, 51_000).await;
    assert_eq!(client.end().await, Some(4007));
    // 4007 came for another connection's mistake: the session lives
    for (sequence, op) in [(2, 9), (45, 0)] {
        let mut client = Client::connect(&simulator, "").await;
        client.payload().await;
        client.resume(&id, sequence).await;
        assert_eq!(client.payload().await["op"], op, "{sequence}");
        client.close(4000).await;
        client.end().await;
    }
    for code in [1000, 1001] {
        let (mut client, id) = ready(&simulator).await;
        client.close(code).await;
        client.end().await;
        let mut client = Client::connect(&simulator, "").await;
        client.resume(&id, 1).await;
        assert_eq!(client.until_op(9).await["d"], false, "{code}");
    }
    let mut client = Client::connect(&simulator, "").await;
    client.resume("no such session", 1).await;
    assert_eq!(client.until_op(9).await["d"], false);
}

#[tokio::test]
async fn a_small_replay_buffer_loses_nothing_of_the_start() {
    let simulator = start(SimulatorConfig { replay_buffer: Some(2), guilds: 10, ..Default::default() });
    let mut client = Client::connect(&simulator, "zstd-stream").await;
    assert_eq!(client.identify().await["s"], 1);
    for sequence in 2..=11 {
        assert_eq!(client.until("GUILD_CREATE").await["s"], sequence);
    }
}

#[tokio::test]
async fn an_expired_session_is_gone() {
    let simulator = start(quiet());
    let (client, id) = ready(&simulator).await;
    drop(client);
    simulator.act(Selector::LAST, Step::ExpireSessions).expect("expires");
    let mut client = Client::connect(&simulator, "").await;
    client.resume(&id, 1).await;
    assert_eq!(client.until_op(9).await["d"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_that_is_cut_goes_on_without_loss() {
    let simulator = start(SimulatorConfig { rate: None, count: Some(50_000), ..quiet() });
    let (mut client, id) = ready(&simulator).await;
    let (mut last, mut cuts) = (1, 0);
    while last < 50_001 {
        let Ok(text) = client.text().await else {
            client = Client::connect(&simulator, ["", "zlib-stream", "zstd-stream"][cuts % 3]).await;
            cuts += 1;
            client.resume(&id, last).await;
            continue;
        };
        let payload: Value = serde_json::from_str(&text).expect("JSON");
        if payload["op"] != 0 {
            continue;
        }
        let sequence = payload["s"].as_u64().expect("s");
        // only a RESUMED of an earlier connection may leave a gap
        assert!(sequence > last && sequence <= last + 1 + cuts as u64, "{last} {sequence}");
        last = sequence;
        if last % 10_000 == 0 && cuts < 4 {
            simulator.act(Selector::LAST, Step::Reset).expect("resets");
        }
    }
    assert!(cuts >= 3, "{cuts}");
    assert_eq!(simulator.record()["sessions"][0]["generated"], 50_000);
}

#[tokio::test]
async fn members_come_in_chunks_by_query_by_id_and_rate_limited() {
    let simulator = start(SimulatorConfig { members: 2_500, guild_create_members: 5, ..Default::default() });
    let mut client = Client::connect(&simulator, "zlib-stream").await;
    let ready = client.identify().await;
    let guild = ready["d"]["guilds"][0]["id"].clone();
    let ask = |extra: Value| {
        let mut data = json!({"guild_id": guild, "limit": 0, "nonce": "n1"});
        extra.as_object().expect("an object").iter().for_each(|(key, value)| data[key] = value.clone());
        json!({"op": 8, "d": data})
    };
    client.send(ask(json!({"query": "", "presences": true}))).await;
    let mut ids = Vec::new();
    for at in 0..3 {
        let chunk = client.until("GUILD_MEMBERS_CHUNK").await["d"].clone();
        assert_eq!(
            (&chunk["chunk_index"], &chunk["chunk_count"], &chunk["nonce"]),
            (&json!(at), &json!(3), &json!("n1"))
        );
        let members = chunk["members"].as_array().expect("members").clone();
        assert_eq!(members.len(), if at == 2 { 500 } else { 1000 });
        assert_eq!(chunk["presences"].as_array().expect("presences").len(), members.len());
        ids.extend(members.iter().map(|member| member["user"]["id"].clone()));
        if at == 0 {
            let name = members[0]["user"]["username"].as_str().expect("a name").to_owned();
            client.send(ask(json!({"query": name, "limit": 5, "nonce": "n2"}))).await;
        }
    }
    assert_eq!(client.until("GUILD_MEMBERS_CHUNK").await["d"]["members"][0]["user"]["id"], ids[0]);
    client.send(ask(json!({"user_ids": [ids[7], "123"]}))).await;
    let chunk = client.until("GUILD_MEMBERS_CHUNK").await["d"].clone();
    assert_eq!((&chunk["members"][0]["user"]["id"], &chunk["not_found"]), (&ids[7], &json!(["123"])));
    client.send(ask(json!({"query": ""}))).await;
    let limited = client.until("RATE_LIMITED").await["d"].clone();
    assert_eq!(
        (&limited["opcode"], &limited["meta"]["nonce"], &limited["meta"]["guild_id"]),
        (&json!(8), &json!("n1"), &guild)
    );
    assert!(limited["retry_after"].as_f64().expect("seconds") > 25.0);
}

#[tokio::test]
async fn voice_soundboard_and_channel_info_are_answered() {
    let simulator = start(quiet());
    let (mut client, _) = ready(&simulator).await;
    client
        .send(json!({"op": 4, "d": {"guild_id": "41", "channel_id": "43", "self_mute": true, "self_deaf": false}}))
        .await;
    let state = client.until("VOICE_STATE_UPDATE").await["d"].clone();
    assert_eq!((&state["channel_id"], &state["self_mute"]), (&json!("43"), &json!(true)));
    assert_eq!(client.payload().await["t"], "VOICE_SERVER_UPDATE");
    client.send(json!({"op": 31, "d": {"guild_ids": ["1", "2"]}})).await;
    assert_eq!(client.until("SOUNDBOARD_SOUNDS").await["d"]["guild_id"], "1");
    assert_eq!(client.until("SOUNDBOARD_SOUNDS").await["d"]["guild_id"], "2");
    client.send(json!({"op": 43, "d": {"guild_id": "1", "fields": ["status"]}})).await;
    assert!(client.until("CHANNEL_INFO").await["d"]["channels"][0]["status"].is_string());
    client.send(json!({"op": 3, "d": {"status": "idle", "since": null, "afk": false, "activities": []}})).await;
    assert!(simulator.wait(&Condition::Op { op: 3, count: 1, connection: None }, PATIENCE));
    assert_eq!(simulator.record()["connections"][0]["ops"][4]["payload"]["d"]["status"], "idle");
}

#[tokio::test]
async fn many_shards_live_side_by_side_and_the_resume_port_is_told_apart() {
    let simulator = start(SimulatorConfig { separate_resume_port: true, guilds: 32, ..Default::default() });
    let mut clients = Vec::new();
    for shard in 0..16 {
        let mut client = Client::connect(&simulator, "zstd-stream").await;
        client.identify_with(json!({"shard": [shard, 16]})).await;
        clients.push(client);
    }
    for client in &mut clients {
        let ready = client.until("READY").await;
        assert_eq!(ready["d"]["guilds"].as_array().expect("guilds").len(), 2);
        assert_ne!(ready["d"]["resume_gateway_url"], json!(simulator.url()));
    }
    assert!(simulator.wait_async(&Condition::Ready { count: 16 }, PATIENCE).await);
    let _ = tcp(&simulator).await;
    let url = format!("{}/?v=10&encoding=json", simulator.resume_url());
    let port: u16 = simulator.resume_url().rsplit(':').next().expect("a port").parse().expect("a number");
    let io = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
    tokio_tungstenite::client_async(url, io).await.expect("upgrades");
    assert!(simulator.wait(&Condition::Connections { count: 17 }, PATIENCE));
    assert_eq!(simulator.record()["connections"][16]["port"], "resume");
}
