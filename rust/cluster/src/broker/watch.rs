//! News of a bucket's keys, over reconnects and restarts of the server.
//!
//! The server's own numbers say whether something was missed. Then everything is read anew and held against what was known:
//! of a key that is gone meanwhile nothing may be left to read, for its marker has expired too.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_nats::{HeaderMap, Message, StatusCode, Subscriber, jetstream};
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, watch as signal},
    task::AbortHandle,
    time,
};

use super::{
    Broker,
    error::{BrokerError, Result},
    keys::{is_marker, stream_of, subject_of},
};

/// The server says so often that it has nothing to say.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// After so long without a word, another is asked.
const SILENCE: Duration = Duration::from_secs(3);
/// The server keeps what nobody listens to for so long.
const INACTIVE: Duration = Duration::from_secs(10);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// More changes than this that nobody has asked for are thinned to the last of each key.
const MANY: usize = 4096;

/// A key was written, deleted or has expired.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// What was written; none: the key is gone.
    pub value: Option<Bytes>,
    /// Of the bucket.
    pub revision: u64,
}

/// A key as the reader of a bucket finds it.
pub(super) struct Read {
    pub(super) key: String,
    /// None: it is gone.
    pub(super) value: Option<Bytes>,
    pub(super) revision: u64,
    pub(super) created: f64,
}

pub(super) enum Next {
    Record(Read),
    /// Everything that was there has been read; once.
    Complete,
    /// Something was missed, or may have been: begin anew.
    Lost,
}

/// Reads the last of every key that matches, and then what happens to them.
pub(super) struct Reader {
    broker: Broker,
    stream: String,
    prefix: String,
    consumer: String,
    messages: Subscriber,
    connects: signal::Receiver<u64>,
    /// So many of those that were there are still to come; none: all have.
    left: Option<u64>,
    /// The stream's leader has these, and they have not come. Who reads for us may be a copy that is a little behind.
    missing: HashSet<String>,
    /// The consumer's number of the last one.
    delivered: u64,
    /// The stream's last number before it began.
    began_at: u64,
}

fn number(of: &Value, path: &str) -> u64 {
    of.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

fn header(headers: Option<&HeaderMap>, name: &'static str) -> Option<String> {
    headers?.get(name).map(|value| value.as_str().to_owned())
}

impl Reader {
    pub(super) async fn start(broker: &Broker, bucket: &str, subject: &str) -> Result<Self> {
        broker.connected().await;
        // Whatever connects from here on makes it begin anew.
        let mut connects = broker.0.connects.clone();
        connects.mark_unchanged();
        let stream = stream_of(bucket);
        let call = format!("STREAM.INFO.{stream}");
        let wanted = json!({ "subjects_filter": subject });
        let info = broker.api(&call, &wanted).await?.map_err(|error| broker.server_said(&call, &error))?;
        let subjects = info.pointer("/state/subjects").and_then(Value::as_object);
        let missing = subjects.map(|subjects| subjects.keys().cloned().collect()).unwrap_or_default();
        loop {
            let inbox = broker.inbox();
            let messages = broker.client().subscribe(inbox.clone()).await.map_err(|_| BrokerError::Closed)?;
            let consumer = inbox.rsplit('.').next().unwrap_or(&inbox).to_owned();
            let call = format!("CONSUMER.CREATE.{stream}.{consumer}.{subject}");
            let config = json!({ "stream_name": stream, "config": {
                "name": consumer,
                "deliver_subject": inbox,
                "deliver_policy": "last_per_subject",
                "ack_policy": "none",
                "max_deliver": 1,
                "filter_subject": subject,
                "replay_policy": "instant",
                "flow_control": true,
                "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
                "inactive_threshold": INACTIVE.as_nanos() as u64,
                "mem_storage": true,
                "num_replicas": 1,
            }});
            let Some(made) = broker.api_once(&call, &config).await? else {
                // Of several servers it may have been given to one that is gone. Another name, another place.
                time::sleep(PAUSE).await;
                broker.connected().await;
                continue;
            };
            let made = made.map_err(|error| broker.server_said(&call, &error))?;
            return Ok(Self {
                broker: broker.clone(),
                stream,
                prefix: format!("$KV.{bucket}."),
                consumer,
                messages,
                connects,
                left: Some(number(&made, "/num_pending")),
                missing,
                delivered: 0,
                began_at: number(&info, "/state/last_seq"),
            });
        }
    }

    /// The next thing that is known. Not to be dropped half-way.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            if self.left == Some(0) && self.missing.is_empty() {
                self.left = None;
                return Next::Complete;
            }
            let message = tokio::select! {
                biased;
                changed = self.connects.changed() => {
                    let _ = changed;
                    return Next::Lost;
                }
                message = time::timeout(SILENCE, self.messages.next()) => message,
            };
            let Ok(Some(message)) = message else { return Next::Lost };
            if let Some(next) = self.heard(message).await {
                return next;
            }
        }
    }

    async fn heard(&mut self, message: Message) -> Option<Next> {
        match message.status {
            Some(StatusCode::IDLE_HEARTBEAT) => return self.pulse(message).await,
            Some(status) if status != StatusCode::OK => return Some(Next::Lost),
            _ => {}
        }
        let marker = message.headers.as_ref().is_some_and(|headers| {
            let pairs = headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
            is_marker(pairs.map(|(name, value)| (name.as_ref(), value.as_str())))
        });
        let message = jetstream::Message { message, context: self.broker.jetstream().clone() };
        let Ok(info) = message.info() else { return Some(Next::Lost) };
        if info.consumer_sequence != self.delivered + 1 {
            return Some(Next::Lost);
        }
        self.delivered += 1;
        if self.left.is_some() {
            self.left = Some(info.pending);
            self.missing.remove(message.subject.as_str());
        }
        let (revision, created) = (info.stream_sequence, info.published.unix_timestamp_nanos() as f64 / 1e9);
        let key = message.subject.strip_prefix(&self.prefix)?.to_owned();
        let value = (!marker).then(|| message.message.payload.clone());
        Some(Next::Record(Read { key, value, revision, created }))
    }

    /// The server has nothing to say, or asks whether we come along.
    async fn pulse(&mut self, message: Message) -> Option<Next> {
        let headers = message.headers.as_ref();
        let stalled = header(headers, "Nats-Consumer-Stalled");
        let waits = message.reply.map(|subject| subject.as_str().to_owned()).or_else(|| stalled.clone());
        if let Some(subject) = waits {
            let _ = self.broker.client().publish(subject, Bytes::new()).await;
            return None;
        }
        let last = header(headers, "Nats-Last-Consumer").and_then(|text| text.parse().ok());
        if last.is_some_and(|last: u64| last != self.delivered) {
            return Some(Next::Lost);
        }
        if self.left.is_some() {
            // What was still to come may have expired on its way, and its mark too.
            let call = format!("CONSUMER.INFO.{}.{}", self.stream, self.consumer);
            match self.broker.api_once(&call, &Value::Null).await {
                Ok(Some(Ok(info))) if number(&info, "/num_pending") == 0 => {
                    if number(&info, "/delivered/consumer_seq") == self.delivered {
                        self.left = Some(0);
                        self.missing.clear();
                    }
                }
                Ok(Some(Ok(_))) => {}
                _ => return Some(Next::Lost),
            }
        }
        None
    }

    /// The server need not keep it.
    pub(super) async fn finish(self) {
        let subject = format!("$JS.API.CONSUMER.DELETE.{}.{}", self.stream, self.consumer);
        let _ = self.broker.client().publish(subject, Bytes::new()).await;
    }
}

struct News {
    /// What nobody has asked for yet.
    changes: Vec<Change>,
    /// With more of them they are thinned.
    limit: usize,
    /// What was there has been read.
    begun: bool,
    /// The first batch was handed out, be it an empty one.
    handed: bool,
    ended: bool,
}

struct Desk {
    news: Mutex<News>,
    more: Notify,
}

impl Default for Desk {
    fn default() -> Self {
        let news = News { changes: Vec::new(), limit: MANY, begun: false, handed: false, ended: false };
        Self { news: Mutex::new(news), more: Notify::new() }
    }
}

impl Desk {
    fn put(&self, changes: impl IntoIterator<Item = Change>) {
        let mut news = self.news.lock();
        news.changes.extend(changes);
        if news.changes.len() > news.limit {
            thin(&mut news.changes);
            // As many again until the next time: however many keys there are, it costs little.
            news.limit = MANY.max(2 * news.changes.len());
        }
        drop(news);
        self.more.notify_one();
    }

    fn begun(&self) {
        self.news.lock().begun = true;
        self.more.notify_one();
    }

    fn end(&self) {
        self.news.lock().ended = true;
        self.more.notify_one();
    }
}

/// Leaves the last change of every key.
fn thin(changes: &mut Vec<Change>) {
    let mut seen = HashSet::new();
    let mut kept: Vec<Change> = changes.drain(..).rev().filter(|change| seen.insert(change.key.clone())).collect();
    kept.reverse();
    *changes = kept;
}

/// News of a bucket, until it is dropped. What it holds when the watch begins comes first.
pub struct Watch {
    desk: Arc<Desk>,
    task: AbortHandle,
}

impl Broker {
    /// Hears of the keys that match, from now on.
    ///
    /// # Errors
    /// No answer came, there is no such bucket, or the pattern cannot be one.
    pub async fn watch(&self, bucket: &str, pattern: &str) -> Result<Watch> {
        let subject = subject_of(bucket, pattern, true)?;
        let reader = self.within(&subject, Reader::start(self, bucket, &subject)).await?;
        let desk = Arc::new(Desk::default());
        let (broker, bucket, told) = (self.clone(), bucket.to_owned(), Arc::clone(&desk));
        let task = self.handle().spawn(async move {
            tokio::select! {
                () = broker.closed() => {}
                () = follow(&broker, &bucket, &subject, reader, &told) => {}
            }
            told.end();
        });
        Ok(Watch { desk, task: task.abort_handle() })
    }
}

async fn follow(broker: &Broker, bucket: &str, subject: &str, mut reader: Reader, desk: &Desk) {
    // The revision of every key that is there, as far as we told.
    let mut known: HashMap<String, u64> = HashMap::new();
    loop {
        let mut met = Some(HashSet::new());
        loop {
            match reader.next().await {
                Next::Record(Read { key, value, revision, .. }) => {
                    if let Some(met) = &mut met
                        && value.is_some()
                    {
                        met.insert(key.clone());
                    }
                    let told = if value.is_some() {
                        known.insert(key.clone(), revision) != Some(revision)
                    } else {
                        known.remove(&key).is_some()
                    };
                    if told {
                        desk.put([Change { key, value, revision }]);
                    }
                }
                Next::Complete => {
                    let met = met.take().unwrap_or_default();
                    let gone = known.extract_if(|key, _| !met.contains(key));
                    desk.put(gone.map(|(key, revision)| {
                        // Later than what is gone, and not later than what may follow it.
                        let revision = reader.began_at.max(revision + 1);
                        Change { key, value: None, revision }
                    }));
                    desk.begun();
                }
                Next::Lost => break,
            }
        }
        reader = loop {
            time::sleep(PAUSE).await;
            match broker.within(subject, Reader::start(broker, bucket, subject)).await {
                Ok(reader) => break reader,
                Err(BrokerError::Closed) => return,
                // Of a server that is away, or that has lost the bucket: whoever cares makes it again.
                Err(_) => {}
            }
        };
    }
}

impl Watch {
    /// All changes since the last call, in their order; waits where there are none. The first call returns what there was
    /// when the watch began. Nothing is lost where the future is dropped.
    ///
    /// # Errors
    /// [`BrokerError::Closed`] when the broker was closed, or [`Watch::stop`] called.
    pub async fn next(&self) -> Result<Vec<Change>> {
        loop {
            {
                let mut news = self.desk.news.lock();
                if news.ended {
                    // For whoever else waits.
                    self.desk.more.notify_one();
                    return Err(BrokerError::Closed);
                }
                if news.begun && (!news.handed || !news.changes.is_empty()) {
                    news.handed = true;
                    return Ok(std::mem::take(&mut news.changes));
                }
            }
            self.desk.more.notified().await;
        }
    }

    /// No more; whoever waits gets [`BrokerError::Closed`].
    pub fn stop(&self) {
        self.task.abort();
        self.desk.end();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, revision: u64) -> Change {
        Change { key: key.into(), value: None, revision }
    }

    #[test]
    fn thinning_leaves_the_last_of_each_key_in_order() {
        let mut changes = vec![change("a", 1), change("b", 2), change("a", 3), change("c", 4), change("b", 5)];
        thin(&mut changes);
        assert_eq!(changes, [change("a", 3), change("c", 4), change("b", 5)]);
    }
}
