//! Messages of events into `JetStream`, and what a session's last owner has put there.

use std::{collections::HashMap, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::consumer::{DeliverPolicy, pull::OrderedConfig},
};
use futures_util::StreamExt;
use parking_lot::Mutex;
use propylon_core::cluster::publisher::{EventSink, Message};
use tokio::{sync::oneshot, time};

use crate::{
    broker::{Broker, BrokerError, names},
    headers::{MESSAGE_ID, NUMBER, PART, RANGES},
};

/// Why nothing is sent where there is no connection, of which is told anyway.
pub const NOT_CONNECTED: &str = "not connected";

/// Headers take from what a message may have; these and the server's own are far below.
const HEADERS: usize = 16 * 1024;

/// The subject of a partition's events.
pub(crate) fn subject_of(app: &str, partition: u32) -> String {
    format!("{}ev.{partition}", names::prefix(app))
}

fn partition_of(app: &str, subject: &str) -> Option<u32> {
    subject.strip_prefix(&names::prefix(app))?.strip_prefix("ev.")?.parse().ok()
}

/// Puts messages of events into the stream of an application.
pub struct JetStreamSink {
    broker: Broker,
    app: String,
    publisher: String,
}

impl JetStreamSink {
    /// `publisher` tells this process from others.
    pub fn new(broker: Broker, app: &str, publisher: &str) -> Self {
        Self { broker, app: app.to_owned(), publisher: publisher.replace('-', "_") }
    }
}

impl EventSink for JetStreamSink {
    async fn publish(&self, message: &Message) -> Result<u64, String> {
        if !self.broker.is_connected() {
            // What is sent now would reach the server whenever there is one again.
            return Err(NOT_CONNECTED.to_owned());
        }
        let subject = subject_of(&self.app, message.partition);
        let ranges: Vec<String> =
            message.ranges.iter().map(|(tag, first, last)| format!("{tag:x}-{first:x}-{last:x}")).collect();
        let ranges = ranges.join(",");
        let most = self.broker.max_payload().saturating_sub(HEADERS).max(HEADERS);
        let parts = message.frame.len().div_ceil(most).max(1);
        let number = format!("{}-{}-{}", self.publisher, message.number, message.previous);
        let whole = if parts > 1 { format!("{}-{}", self.publisher, message.ticket) } else { String::new() };
        let mut position = 0;
        for part in 0..parts {
            let mut headers = HeaderMap::new();
            headers.insert(NUMBER, number.as_str());
            if parts > 1 {
                headers.insert(PART, format!("{part}-{parts}-{whole}"));
            }
            if part + 1 == parts {
                // Only with the last part it is all there, whoever sends it. Parts of another process, which sends the
                // same once more because this one has ended, are others: it has compressed them anew.
                headers.insert(MESSAGE_ID, message.id.as_str());
                headers.insert(RANGES, ranges.as_str());
            } else {
                headers.insert(MESSAGE_ID, format!("{part}-{whole}"));
            }
            let data = message.frame.slice(part * most..message.frame.len().min((part + 1) * most));
            let sent = self.broker.jetstream().publish_with_headers(subject.clone(), headers, data).await;
            let kept = sent.map_err(|error| self.broker.explained(&error))?;
            position = kept.await.map_err(|error| self.broker.explained(&error))?.sequence;
        }
        Ok(position)
    }
}

type Last = HashMap<u32, u64>;
type Question = (u64, f64, oneshot::Sender<Result<Last, String>>);

/// Looks through the stream for what sessions have put there. Those who ask together are answered by one look: a host that
/// takes over a hundred shards asks a hundred times.
#[derive(Default)]
pub struct Archive {
    asked: Mutex<Vec<Question>>,
    looking: tokio::sync::Mutex<()>,
}

impl Archive {
    /// The last sequence number by partition of the session with this tag, in messages published since then: Unix time in
    /// seconds, by the server's clock.
    ///
    /// # Errors
    /// The stream cannot be read.
    pub async fn published(&self, broker: &Broker, app: &str, tag: u64, since: f64) -> Result<Last, BrokerError> {
        let (tell, mut told) = oneshot::channel();
        self.asked.lock().push((tag, since, tell));
        {
            let _one_at_a_time = self.looking.lock().await;
            let asked = std::mem::take(&mut *self.asked.lock());
            if !asked.is_empty() {
                let tags: Vec<u64> = asked.iter().map(|(tag, _, _)| *tag).collect();
                let since = asked.iter().map(|(_, since, _)| *since).fold(f64::INFINITY, f64::min);
                let found = published(broker, app, &tags, since).await.map_err(|error| error.to_string());
                for (tag, _, tell) in asked {
                    let answer = found.as_ref().map(|found| found.get(&tag).cloned().unwrap_or_default());
                    let _ = tell.send(answer.map_err(Clone::clone));
                }
            }
        }
        told.try_recv()
            .unwrap_or_else(|_| Err("the look was broken off; ask again".to_owned()))
            .map_err(BrokerError::Refused)
    }
}

/// Of each session with one of these tags, the last sequence number by partition in messages that were published since then,
/// in seconds of Unix time by the server's clock.
///
/// # Errors
/// The stream cannot be read.
async fn published(
    broker: &Broker,
    app: &str,
    tags: &[u64],
    since: f64,
) -> Result<HashMap<u64, HashMap<u32, u64>>, BrokerError> {
    let mut found: HashMap<u64, HashMap<u32, u64>> = tags.iter().map(|&tag| (tag, HashMap::new())).collect();
    let failed =
        |what: &dyn std::fmt::Display| BrokerError::Refused(format!("the stream of {app} cannot be read: {what}"));
    let since = Duration::try_from_secs_f64(since.max(0.0)).unwrap_or_default();
    let start_time = (std::time::SystemTime::UNIX_EPOCH + since).into();
    let config = OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartTime { start_time },
        headers_only: true,
        ..OrderedConfig::default()
    };
    let stream = broker.jetstream().get_stream_no_info(names::events(app)).await.map_err(|error| failed(&error))?;
    let mut info = stream.get_info().await.map_err(|error| failed(&error))?;
    let last = std::mem::take(&mut info.state.last_sequence);
    let consumer = stream.create_consumer(config).await.map_err(|error| failed(&error))?;
    if consumer.cached_info().num_pending == 0 {
        return Ok(found);
    }
    let mut messages = consumer.messages().await.map_err(|error| failed(&error))?;
    loop {
        let message = time::timeout(broker.timeout(), messages.next())
            .await
            .map_err(|_| failed(&"no answer in time"))?
            .ok_or_else(|| failed(&"it has ended"))?
            .map_err(|error| failed(&error))?;
        if let Some(partition) = partition_of(app, &message.subject)
            && let Some(ranges) = message.headers.as_ref().and_then(|headers| headers.get(RANGES))
        {
            for range in ranges.as_str().split(',') {
                let mut numbers = range.split('-').map(|number| u64::from_str_radix(number, 16));
                if let (Some(Ok(tag)), Some(Ok(_)), Some(Ok(last))) = (numbers.next(), numbers.next(), numbers.next())
                    && let Some(by_partition) = found.get_mut(&tag)
                {
                    let most = by_partition.entry(partition).or_default();
                    *most = last.max(*most);
                }
            }
        }
        let info = message.info().map_err(|error| failed(&error))?;
        if info.pending == 0 || info.stream_sequence >= last {
            return Ok(found);
        }
    }
}
