//! How fast the server gives when the client only drains the socket: whether it could ever limit a benchmark.
//!
//! `cargo run --profile quick -p propylon-simulator --example flat_out [events]`

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use propylon_simulator::{Condition, Simulator, SimulatorConfig, Start};

const PATIENCE: Duration = Duration::from_mins(10);

/// CPU seconds of this process, client included.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

fn main() -> std::io::Result<()> {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(500_000_u64);
    println!("{count} events of the mix, wall-clock events/s, and CPU µs per event of server and drain together");
    for compress in ["none", "zlib-stream", "zstd-stream"] {
        for preload in [false, true] {
            let simulator = Simulator::start(SimulatorConfig {
                rate: None,
                count: Some(count),
                preload,
                start: Start::Manual,
                ..Default::default()
            })?;
            let mut socket = TcpStream::connect(("127.0.0.1", simulator.port()))?;
            let query = if compress == "none" { String::new() } else { format!("&compress={compress}") };
            write!(
                socket,
                "GET /?v=10&encoding=json{query} HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )?;
            let identify = br#"{"op":2,"d":{"token":"t","intents":0,"properties":{}}}"#;
            let mut frame = vec![0x81, 0x80 | identify.len() as u8, 0, 0, 0, 0];
            frame.extend_from_slice(identify);
            socket.write_all(&frame)?;
            let mut drain = socket.try_clone()?;
            let drained = std::thread::spawn(move || {
                let (mut buffer, mut total) = (vec![0; 1 << 20], 0_u64);
                while let Ok(count @ 1..) = drain.read(&mut buffer) {
                    total += count as u64;
                }
                total
            });
            let ahead = if preload { count } else { 1 };
            assert!(simulator.wait(&Condition::Dispatched { count: ahead }, PATIENCE));
            let (began, used) = (Instant::now(), cpu());
            simulator.flood(true, None);
            assert!(simulator.wait(&Condition::TrafficDone, PATIENCE));
            let (took, used) = (began.elapsed().as_secs_f64(), cpu() - used);
            simulator.stop();
            let bytes = drained.join().unwrap_or_default();
            println!(
                "{compress:<12} preload {preload:<5} {:>10.0} events/s  {:>6.2} µs CPU  {:>6.1} B/event on the wire",
                count as f64 / took,
                used / count as f64 * 1e6,
                bytes as f64 / count as f64
            );
        }
    }
    Ok(())
}
