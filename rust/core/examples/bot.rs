//! A bot in Rust alone: connects, sets its presence, prints ten messages, closes. With `DISCORD_TOKEN` on Discord; without,
//! on a simulated one on this machine.
//!
//! `cargo run -p propylon-core --example bot`

use std::{error::Error, sync::Arc, time::Duration};

use propylon_core::{
    delivery::{Hub, Notice, Overflow, QueueConfig, ShardQueue, Subscriptions, Waker},
    inflate::Compression,
    protocol::{
        event::{EventSet, EventType},
        intents::Intents,
    },
    session::{BackoffConfig, Timeouts},
    shard::{Request, ShardConfig, ShardHandle, SharedState, System},
    transport::Proxies,
    zeroize::Zeroizing,
};
use propylon_simulator::{Simulator, SimulatorConfig};

/// As many events as are taken at once.
const BATCH: usize = 256;

/// As many messages as it stays for.
const ENOUGH: usize = 10;

fn config(token: String, gateway_url: Option<String>) -> ShardConfig {
    ShardConfig {
        token: Zeroizing::new(token),
        intents: Intents::GUILDS.union(Intents::GUILD_MESSAGES).union(Intents::MESSAGE_CONTENT).bits(),
        compression: Compression::ZstdStream,
        presence: None,
        large_threshold: 50,
        auto_reconnect: true,
        shard: None,
        session: None,
        leased: false,
        gateway_url,
        known_url: None,
        outside_gate: false,
        api_url: "https://discord.com/api/v10".to_owned(),
        timeouts: Timeouts::default(),
        backoff: BackoffConfig::default(),
        max_payload_bytes: 64 << 20,
        proxies: Proxies::None,
        system: System::default(),
        wake_interval: Duration::from_millis(2),
        ca_file: None,
        native_roots: false,
        properties: [std::env::consts::OS, "propylon-core", "propylon-core"].map(str::to_owned),
        user_agent: "DiscordBot (https://github.com/propylon/propylon, 0.2)".to_owned(),
        allow_plaintext: false,
    }
}

/// The author and the first words of a message.
fn line(data: &[u8]) -> Result<String, serde_json::Error> {
    let message: serde_json::Value = serde_json::from_slice(data)?;
    let content: String = message["content"].as_str().unwrap_or_default().chars().take(60).collect();
    Ok(format!("{}: {content}", message["author"]["username"].as_str().unwrap_or_default()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (simulator, config) = if let Ok(token) = std::env::var("DISCORD_TOKEN") {
        (None, config(token, None))
    } else {
        let options =
            SimulatorConfig { events: vec!["MESSAGE_CREATE".to_owned()], rate: Some(20.0), ..Default::default() };
        let simulator = Simulator::start(options)?;
        let config = config("token".to_owned(), Some(simulator.url()));
        (Some(simulator), config)
    };

    // What is not asked for here is dropped as soon as its name is read.
    let mut wanted = EventSet::new();
    wanted.insert(EventType::from_name(b"MESSAGE_CREATE").ok_or("no such event")?);
    let subscriptions = Arc::new(Subscriptions::default());
    subscriptions.add(0, None, wanted);

    let limits = QueueConfig { bytes: 64 << 20, events: 10_000, overflow: Overflow::Pause };
    let queue = Arc::new(ShardQueue::new(1, limits));
    let hub = Hub::new(Waker::new()?);
    hub.bind(&queue);
    let state = SharedState::new(queue, subscriptions, Arc::default(), None);
    let shard = ShardHandle::start(&tokio::runtime::Handle::current(), &config, &state)?;

    let mut heard = 0;
    loop {
        // A bot with an event loop of its own waits for `hub.descriptor()` to be readable; this one looks now and then.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let drained = hub.drain(BATCH);
        for (_, notice) in drained.notices {
            match notice {
                Notice::Ready { resumed: false } => {
                    println!("ready");
                    let presence =
                        r#"{"since":null,"activities":[{"name":"Rust","type":0}],"status":"online","afk":false}"#;
                    shard.request(Request::SetPresence { id: 1, presence: presence.to_owned() });
                }
                Notice::CommandDone(1, outcome) => println!("presence: {outcome:?}"),
                Notice::Ended(ended) => {
                    println!("ended: {ended:?}, after {heard} messages");
                    drop(simulator);
                    return Ok(());
                }
                _ => {}
            }
        }
        for (_, dispatches) in drained.batches {
            for dispatch in dispatches {
                println!("{}", line(&dispatch.data)?);
                heard += 1;
                if heard == ENOUGH {
                    // Its last news follows.
                    shard.request(Request::Close { code: 1000, reason: String::new() });
                }
            }
        }
    }
}
