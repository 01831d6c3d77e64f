//! What a fleet costs the server: memory of quiet connections, and CPU of numbered traffic, with clients that only drain.
//!
//! `cargo run --profile quick -p propylon-simulator --example fleet [shards] [events/s]`

use std::time::{Duration, Instant};

use propylon_simulator::{Condition, Simulator, SimulatorConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_mins(2);

/// A number of `/proc/self/status`, MiB.
fn mebibytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}

/// CPU seconds of the server's threads.
fn cpu() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    stats
        .filter(|stat| stat.contains("(propylon-sim)"))
        .map(|stat| {
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
            (ticks(11) + ticks(12)) / 100.0
        })
        .sum()
}

async fn client(port: u16, shard: u64, shards: u64) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    let identify =
        format!(r#"{{"op":2,"d":{{"token":"t","intents":33281,"shard":[{shard},{shards}],"properties":{{}}}}}}"#);
    let mut head =
        b"GET /?v=10&encoding=json&compress=zstd-stream HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
          connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            .to_vec();
    head.extend_from_slice(&[0x81, 0x80 | identify.len() as u8, 0, 0, 0, 0]);
    head.extend_from_slice(identify.as_bytes());
    socket.write_all(&head).await?;
    let mut buffer = [0; 4096];
    while socket.read(&mut buffer).await? > 0 {}
    Ok(())
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).map_while(|argument| argument.parse::<u64>().ok());
    let shards = arguments.next().unwrap_or(1_000);
    let rate = arguments.next().unwrap_or(20_000);
    let simulator = Simulator::start(SimulatorConfig {
        guilds: shards as usize * 2,
        max_concurrency: shards as u32,
        ..Default::default()
    })?;
    let (before, began) = (mebibytes("VmRSS"), Instant::now());
    let clients: Vec<_> = (0..shards).map(|shard| tokio::spawn(client(simulator.port(), shard, shards))).collect();
    assert!(simulator.wait_async(&Condition::Ready { count: shards }, PATIENCE).await);
    println!("{shards} shards ready after {:.2} s", began.elapsed().as_secs_f64());
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("quiet: {} MiB more than without them", mebibytes("VmRSS") - before);
    simulator.flood_shared(true, Some(rate as f64)).map_err(std::io::Error::other)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let made = || simulator.fleet()["shared"]["made"].as_u64().unwrap_or_default();
    let (first, began, used) = (made(), Instant::now(), cpu());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (took, used) = (began.elapsed().as_secs_f64(), cpu() - used);
    let events = (made() - first) as f64;
    println!("{:.0} events/s with {:.2} cores, {:.1} µs each", events / took, used / took, used / events * 1e6);
    println!("after that: {} MiB more", mebibytes("VmRSS") - before);
    let began = Instant::now();
    let fleet = simulator.fleet();
    println!("fleet() in {:.2} ms: {fleet}", began.elapsed().as_secs_f64() * 1e3);
    simulator.stop();
    for client in clients {
        let _ = client.await;
    }
    Ok(())
}
