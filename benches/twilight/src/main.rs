//! twilight as the client of a benchmark, as it is released. Speaks as `clients/meter.py` does, where its words are
//! explained. `--mode raw` (JSON text, nothing parsed), `typed` (one event) or `all` (every event).

use std::{error::Error, fs, time::Duration};

use futures_util::StreamExt as _;
use serde_json::json;
use twilight_gateway::{ConfigBuilder, Event, EventTypeFlags, Intents, Message, Shard, ShardId, StreamExt as _};

const SETTLE: Duration = Duration::from_millis(500);
/// The event that ends the measurement is shorter than any other in which its name could stand.
const SHORT: usize = 256;

/// What this process has used so far: nanoseconds of CPU of all threads, and how often they have waited.
fn used() -> Result<(u64, u64), Box<dyn Error>> {
    let (mut nanos, mut waits) = (0, 0);
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        nanos += fs::read_to_string(task.join("schedstat"))?.split(' ').next().unwrap_or("0").parse::<u64>()?;
        let status = fs::read_to_string(task.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        waits += line.unwrap_or("0").trim().parse::<u64>()?;
    }
    Ok((nanos, waits))
}

/// Bytes.
fn rss() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Reads one event; whether it was a message, and whether it was the last.
async fn step(shard: &mut Shard, mode: &str) -> Result<(bool, bool), Box<dyn Error>> {
    if mode == "raw" {
        return match shard.next().await.ok_or("closed")?? {
            Message::Text(text) => Ok((false, text.len() < SHORT && text.contains("\"INVITE_DELETE\""))),
            Message::Close(frame) => Err(format!("closed: {frame:?}").into()),
        };
    }
    let wanted = match mode {
        "typed" => EventTypeFlags::MESSAGE_CREATE | EventTypeFlags::INVITE_DELETE,
        _ => EventTypeFlags::all(),
    };
    Ok(match shard.next_event(wanted).await.ok_or("closed")?? {
        Event::MessageCreate(message) => {
            std::hint::black_box((&message.content, message.author.id, message.channel_id));
            (true, false)
        }
        Event::InviteDelete(_) => (false, true),
        _ => (false, false),
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| arguments.iter().position(|each| each == name).and_then(|at| arguments.get(at + 1));
    let mode = option("--mode").ok_or("missing: --mode")?.clone();
    let url = option("--url").ok_or("missing: --url")?.clone();
    if option("--compression").is_some_and(|compression| compression != "zstd-stream") {
        return Err("as released it takes zstd-stream".into());
    }
    // It leaves the choice to whoever uses it, and wants one for ws:// too.
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "a provider is installed already")?;
    let config = ConfigBuilder::new("token".to_owned(), Intents::all()).proxy_url(url).build();
    let mut shard = Shard::with_config(ShardId::ONE, config);
    let mut settled = Box::pin(async {
        loop {
            step(&mut shard, &mode).await?;
        }
        #[allow(unreachable_code)]
        Ok::<(), Box<dyn Error>>(())
    });
    // READY and the guilds come within it.
    if let Ok(outcome) = tokio::time::timeout(SETTLE * 3, &mut settled).await {
        outcome?;
    }
    drop(settled);
    let before = rss()?;
    println!("{}", json!({"ready": true}));
    let (nanos, waits) = used()?;
    let mut messages = 0_u64;
    loop {
        let (message, last) = step(&mut shard, &mode).await?;
        messages += u64::from(message);
        if last {
            break;
        }
    }
    let now = used()?;
    let seconds = (now.0 - nanos) as f64 / 1e9;
    println!(
        "{}",
        json!({"result": {
            "user": seconds, "system": 0.0, "loop_thread": seconds, "waits": now.1 - waits, "messages": messages,
            "rss_before": before, "rss_peak": rss()?, "rss_after": rss()?, "latency_p50": null, "latency_p99": null,
        }})
    );
    Ok(())
}
