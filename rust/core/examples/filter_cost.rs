//! What `where=` costs: nanoseconds to find that an event does not match, by event of the simulator's stream.
//!
//! `filter_cost <count> <event,…>` prints a line for the skipping that every event costs anyway, one for each of some
//! filters, one for all of them at once, and one for thousands of waits on one field.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use propylon_core::delivery::{Filter, Slots, Subscriptions};
use propylon_core::protocol::envelope;
use propylon_core::protocol::event::{EventSet, EventType};
use propylon_simulator::{Compression, SimulatorConfig, encode_stream};

const FILTERS: [(&str, &str); 6] = [
    ("guild_id == 1", r#"["==","guild_id",1]"#),
    ("author.id == 1", r#"["==","author.id",1]"#),
    ("content.startswith", r#"["startswith","content","\u0001"]"#),
    ("content.contains", r#"["contains","content","\u0001"]"#),
    ("guild_id, user.id, status", r#"["or",["==","guild_id",1],["==","user.id",1],["==","status","none"]]"#),
    ("guild_id.is_in, author.bot", r#"["and",["in","guild_id",[1,2,3,4,5,6,7,8]],["not",["==","author.bot",true]]]"#),
];

/// The least of several rounds, for each event: what else runs on the machine only adds.
fn measure(stream: &[Bytes], mut work: impl FnMut(&[u8])) -> f64 {
    let mut least = Duration::MAX;
    for _ in 0..50 {
        let began = Instant::now();
        for document in stream {
            work(document);
        }
        least = least.min(began.elapsed());
    }
    least.as_nanos() as f64 / stream.len() as f64
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().ok_or("missing argument: count")?.parse()?;
    let events = arguments.next().map(|names| names.split(',').map(str::to_owned).collect()).unwrap_or_default();
    let config = SimulatorConfig { seed: 1, events, ..SimulatorConfig::default() };
    let stream = encode_stream(&config, Compression::None, count);
    let bytes: usize = stream.iter().map(Bytes::len).sum();
    println!("{} bytes per event", bytes / stream.len());
    let scan = measure(&stream, |document| drop(black_box(envelope::scan(document))));
    println!("{scan:8.1} ns  envelope");
    let filters: Vec<Filter> = FILTERS.iter().map(|(_, text)| Filter::parse(text)).collect::<Result<_, _>>()?;
    let mut cases: Vec<_> = FILTERS.iter().zip(&filters).map(|((name, _), one)| (*name, vec![Some(one)])).collect();
    cases.push(("all at once", filters.iter().map(Some).collect()));
    let waits: Vec<Filter> = (1..=10_000)
        .map(|user| Filter::parse(&format!(r#"["==","author.id",{}]"#, user * 41_943_040_000_u64)))
        .collect::<Result<_, _>>()?;
    cases.push(("10,000 x author.id == …", waits.iter().map(Some).collect()));
    for (name, slots) in cases {
        let table = Subscriptions::default();
        for (slot, filter) in (1..).zip(&slots) {
            table.add(slot, *filter, EventSet::ALL);
        }
        let mut heard = 0;
        let spent = measure(&stream, |document| {
            let Ok(envelope) = envelope::scan(document) else { return };
            let event = envelope.event.event_type().unwrap_or(EventType::UNKNOWN);
            heard += usize::from(table.matches(event, &document[envelope.data]) != Slots::Filtered);
        });
        println!("{:8.1} ns  {name} ({heard} matched)", spent - scan);
    }
    Ok(())
}
