//! What an application has at the server: a stream of events, one of dead letters, and a bucket of keys.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use async_nats::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    ApiError, Broker,
    error::{BrokerError, Result},
    keys::{MARKER, Stored, stream_of},
};
use crate::headers::{self, MESSAGE_ID, PART, REASON, SUBJECT};

const AGE: Duration = Duration::from_mins(5);
const BYTES: u64 = 1 << 30;
const DEAD_AGE: Duration = Duration::from_hours(7 * 24);
const DEAD_BYTES: u64 = 1 << 28;
const DUPLICATES: Duration = Duration::from_mins(2);

/// What an application's streams, bucket and subjects are called.
pub mod names {
    /// The stream of events.
    pub fn events(app: &str) -> String {
        format!("propylon-{app}")
    }

    /// The stream of dead letters.
    pub fn dead(app: &str) -> String {
        format!("propylon-{app}-dead")
    }

    /// The bucket of keys.
    pub fn bucket(app: &str) -> String {
        format!("propylon-{app}")
    }

    /// What every subject of the application begins with.
    pub fn prefix(app: &str) -> String {
        format!("propylon.{app}.")
    }
}

/// How the streams are to be. None: as they are, or as is usual where they are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prepare {
    /// On so many servers; 1, usually.
    pub replicas: Option<u8>,
    /// The most that events may take; 1 GiB, usually.
    pub max_bytes: Option<u64>,
    /// The oldest that events may get; 5 minutes, usually.
    pub max_age: Option<Duration>,
}

/// The stream of events, as the server tells it.
#[derive(Clone, Debug, Serialize)]
pub struct StreamStatus {
    /// So many are there.
    pub messages: u64,
    /// What they take.
    pub bytes: u64,
    /// The number of the oldest.
    pub first_sequence: u64,
    /// The number of the latest.
    pub last_sequence: u64,
    /// On so many servers.
    pub replicas: u64,
    /// The most that they may take; 0: no limit.
    pub max_bytes: u64,
    /// The oldest that they may get, in seconds.
    pub max_age: f64,
    /// How many dead letters there are.
    pub dead: u64,
    /// Who reads it.
    pub consumers: Vec<Consumer>,
}

/// Who reads a stream, and how far it is.
#[derive(Clone, Debug, Serialize)]
pub struct Consumer {
    /// As it was made.
    pub name: String,
    /// What it has not been sent.
    pub pending: u64,
    /// What it was sent and has not acknowledged.
    pub ack_pending: u64,
    /// What it was sent more than once, of those.
    pub redelivered: u64,
    /// All up to this one are acknowledged.
    pub ack_floor: u64,
}

/// What nobody could handle.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetter {
    /// Its number, for [`Broker::replay_dead`].
    pub sequence: u64,
    /// Where it was sent to.
    pub subject: String,
    /// Why it is here.
    pub reason: String,
    /// How many bytes it has.
    pub size: usize,
    /// Since when it is here: Unix time in seconds.
    pub at: f64,
    /// Everything else that was said with it.
    pub headers: Vec<(String, String)>,
}

fn number(of: &Value, path: &str) -> u64 {
    of.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Broker {
    /// Makes what the application needs, or makes it as `prepare` says where it is there already.
    ///
    /// # Errors
    /// No answer came, there is no `JetStream`, or the server refuses: for too few servers or too little room, most of all.
    pub async fn prepare(&self, app: &str, prepare: Prepare) -> Result<()> {
        self.within(&format!("the streams of {app}"), async {
            self.has_jetstream().await?;
            let replicas = prepare.replicas.map(Value::from);
            let events = [
                ("num_replicas", replicas.clone(), json!(1)),
                ("max_bytes", prepare.max_bytes.map(Value::from), json!(BYTES)),
                ("max_age", prepare.max_age.map(|age| json!(nanoseconds(age))), json!(nanoseconds(AGE))),
                // Of what comes again after a RESUME. The server lets it be no longer than the age.
                (
                    "duplicate_window",
                    prepare.max_age.map(|age| json!(nanoseconds(age.min(DUPLICATES)))),
                    json!(nanoseconds(DUPLICATES)),
                ),
            ];
            self.make(
                &names::events(app),
                json!({
                    "subjects": [format!("{}ev.*", names::prefix(app))],
                    "storage": "file",
                    "retention": "limits",
                    "discard": "old",
                    "allow_direct": true,
                }),
                &events,
            )
            .await?;
            let few = [("num_replicas", replicas, json!(1))];
            self.make(
                &names::dead(app),
                json!({
                    "subjects": [format!("{}dead", names::prefix(app))],
                    "storage": "file",
                    "retention": "limits",
                    "discard": "old",
                    "max_age": nanoseconds(DEAD_AGE),
                    "max_bytes": DEAD_BYTES,
                    "allow_direct": true,
                }),
                &few,
            )
            .await?;
            // Epochs are revisions. In a bucket that was lost and is made again they must not begin anew: what was seen of
            // the time before would be later than all that comes.
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let first = ("first_seq", None, json!(u64::try_from(now.as_micros()).unwrap_or_default()));
            let [replicas] = few;
            let keys = [replicas, first];
            let bucket = names::bucket(app);
            self.make(
                &stream_of(&bucket),
                json!({
                    "subjects": [format!("$KV.{bucket}.>")],
                    "storage": "file",
                    "retention": "limits",
                    "discard": "new",
                    "max_msgs_per_subject": 1,
                    "allow_rollup_hdrs": true,
                    "deny_delete": true,
                    "allow_direct": true,
                    "allow_msg_ttl": true,
                    "duplicate_window": nanoseconds(DUPLICATES),
                    "subject_delete_marker_ttl": nanoseconds(MARKER),
                }),
                &keys,
            )
            .await
        })
        .await
    }

    async fn has_jetstream(&self) -> Result<()> {
        // A server that has just started says for a moment that nobody is there, as one without JetStream does always.
        let seen = tokio::time::timeout(self.timeout().mul_f32(0.8), self.api("INFO", &Value::Null)).await;
        match seen {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(error))) if error.err_code == ApiError::NOT_FOR_ACCOUNT => Err(BrokerError::Refused(format!(
                "our account at the NATS server {} has no JetStream; write jetstream: enabled into it",
                self.servers()
            ))),
            Ok(Ok(Err(error))) => Err(self.server_said("JetStream", &error)),
            Ok(Err(error)) => Err(error),
            Err(_) if self.is_connected() && self.trouble().is_none() => Err(BrokerError::Refused(format!(
                "NATS at {} has no JetStream; start it with -js, or with jetstream {{}} in its configuration",
                self.servers()
            ))),
            Err(_) => Err(self.timed_out(self.timeout(), "JetStream")),
        }
    }

    /// One stream: `fixed` is what we need, `options` are `(field, wanted, usual)`.
    async fn make(&self, stream: &str, fixed: Value, options: &[(&str, Option<Value>, Value)]) -> Result<()> {
        let Value::Object(fixed) = fixed else { return Ok(()) };
        loop {
            let call = format!("STREAM.INFO.{stream}");
            match self.api(&call, &Value::Null).await? {
                Ok(mut info) => {
                    let Some(Value::Object(mut config)) = info.get_mut("config").map(Value::take) else {
                        return Ok(());
                    };
                    let wanted = options.iter().filter_map(|(field, wanted, _)| Some((*field, wanted.clone()?)));
                    let wanted = fixed.iter().map(|(field, value)| (field.as_str(), value.clone())).chain(wanted);
                    let mut changed = false;
                    for (field, value) in wanted {
                        changed |= config.get(field) != Some(&value);
                        config.insert(field.to_owned(), value);
                    }
                    if changed {
                        let call = format!("STREAM.UPDATE.{stream}");
                        let made = self.api(&call, &Value::Object(config)).await?;
                        made.map_err(|error| self.server_said(&call, &error))?;
                    }
                    return Ok(());
                }
                Err(error) if error.err_code == ApiError::NO_STREAM => {
                    let mut config = Map::from_iter([("name".to_owned(), json!(stream))]);
                    config.extend(fixed.clone());
                    for (field, wanted, usual) in options {
                        config.insert((*field).to_owned(), wanted.clone().unwrap_or_else(|| usual.clone()));
                    }
                    let call = format!("STREAM.CREATE.{stream}");
                    match self.api(&call, &Value::Object(config)).await? {
                        Ok(_) => return Ok(()),
                        // Somebody else made it at the same time.
                        Err(error) if error.err_code == ApiError::NAME_IN_USE => {}
                        Err(error) => return Err(self.server_said(&call, &error)),
                    }
                }
                Err(error) => return Err(self.server_said(&call, &error)),
            }
        }
    }

    /// How the stream of events is, and who reads it; none where there is none.
    ///
    /// # Errors
    /// No answer came.
    pub async fn stream_status(&self, app: &str) -> Result<Option<StreamStatus>> {
        let stream = names::events(app);
        self.within(&format!("STREAM.INFO.{stream}"), async {
            let Some(info) = self.stream_info(&stream).await? else { return Ok(None) };
            let dead = self.stream_info(&names::dead(app)).await?.unwrap_or_default();
            Ok(Some(StreamStatus {
                messages: number(&info, "/state/messages"),
                bytes: number(&info, "/state/bytes"),
                first_sequence: number(&info, "/state/first_seq"),
                last_sequence: number(&info, "/state/last_seq"),
                replicas: number(&info, "/config/num_replicas"),
                max_bytes: number(&info, "/config/max_bytes"),
                max_age: number(&info, "/config/max_age") as f64 / 1e9,
                dead: number(&dead, "/state/messages"),
                consumers: self.consumers(&stream).await?,
            }))
        })
        .await
    }

    async fn stream_info(&self, stream: &str) -> Result<Option<Value>> {
        let call = format!("STREAM.INFO.{stream}");
        match self.api(&call, &Value::Null).await? {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.err_code == ApiError::NO_STREAM => Ok(None),
            Err(error) => Err(self.server_said(&call, &error)),
        }
    }

    async fn consumers(&self, stream: &str) -> Result<Vec<Consumer>> {
        let call = format!("CONSUMER.LIST.{stream}");
        let mut consumers = Vec::new();
        loop {
            // The server tells a page of them at a time.
            let page = self.api(&call, &json!({ "offset": consumers.len() })).await?;
            let page = page.map_err(|error| self.server_said(&call, &error))?;
            let listed = page.get("consumers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            consumers.extend(listed.iter().map(|consumer| Consumer {
                name: consumer.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
                pending: number(consumer, "/num_pending"),
                ack_pending: number(consumer, "/num_ack_pending"),
                redelivered: number(consumer, "/num_redelivered"),
                ack_floor: number(consumer, "/ack_floor/stream_seq"),
            }));
            if listed.is_empty() || consumers.len() as u64 >= number(&page, "/total") {
                return Ok(consumers);
            }
        }
    }

    /// Removes streams and bucket, and with them everything that is known of the application.
    ///
    /// # Errors
    /// No answer came.
    pub async fn purge(&self, app: &str) -> Result<()> {
        self.within(&format!("the streams of {app}"), async {
            for stream in [names::events(app), names::dead(app), stream_of(&names::bucket(app))] {
                let call = format!("STREAM.DELETE.{stream}");
                match self.api(&call, &Value::Null).await? {
                    Ok(_) => {}
                    Err(error) if error.err_code == ApiError::NO_STREAM => {}
                    Err(error) => return Err(self.server_said(&call, &error)),
                }
            }
            Ok(())
        })
        .await
    }

    /// The oldest dead letters, `limit` of them at most, behind that sequence number. One that was kept in parts has the
    /// number of its first part, and the size of all.
    ///
    /// # Errors
    /// No answer came in time to one of the questions, or there is no such application.
    pub async fn dead(&self, app: &str, limit: usize, after: u64) -> Result<Vec<DeadLetter>> {
        let mut letters: Vec<DeadLetter> = Vec::new();
        let mut split: HashMap<String, usize> = HashMap::new();
        let mut next = after + 1;
        while let Some(stored) = self.next_dead(app, next).await? {
            next = stored.seq + 1;
            let one = letter(&stored);
            match part_of(&stored) {
                Some((part, _, of)) if part > 0 => {
                    // Those of letters before `after` are not to be told again.
                    if let Some(&place) = split.get(&of) {
                        letters[place].size += one.size;
                    }
                    continue;
                }
                _ if letters.len() == limit => break,
                Some((_, _, of)) => _ = split.insert(of, letters.len()),
                None => {}
            }
            letters.push(one);
        }
        Ok(letters)
    }

    async fn next_dead(&self, app: &str, from: u64) -> Result<Option<Stored>> {
        let (stream, subject) = (names::dead(app), format!("{}dead", names::prefix(app)));
        self.within(&subject, self.stored(&stream, &json!({ "seq": from, "next_by_subj": subject }))).await
    }

    /// Sends a dead letter again to where it was sent to, with all its parts, and removes it; false where there is none.
    ///
    /// # Errors
    /// No answer came in time to one of the questions, a part is missing, or it is not of this application.
    pub async fn replay_dead(&self, app: &str, sequence: u64) -> Result<bool> {
        let stream = names::dead(app);
        let what = format!("dead letter {sequence}");
        let refused = |why: &str| BrokerError::Refused(format!("{what} {why}"));
        let Some(first) = self.within(&what, self.stored(&stream, &json!({ "seq": sequence }))).await? else {
            return Ok(false);
        };
        let mut all = vec![first];
        if let Some((part, parts, of)) = part_of(&all[0]) {
            if part > 0 {
                return Err(refused("is a part of one before; replay that one"));
            }
            while all.len() < parts {
                let from = all.last().map_or(sequence, |last| last.seq) + 1;
                let Some(stored) = self.next_part(app, from, &of, all.len()).await? else {
                    return Err(refused(&format!("is not whole: of its {parts} parts {} are there", all.len())));
                };
                all.push(stored);
            }
        }
        for stored in &all {
            let DeadLetter { subject, headers, .. } = letter(stored);
            if !subject.starts_with(&format!("{}ev.", names::prefix(app))) {
                return Err(refused("does not say to where it was sent"));
            }
            let data = stored.data().ok_or_else(|| refused("cannot be read"))?;
            let mut sent = HeaderMap::new();
            for (name, value) in &headers {
                if !name.starts_with("Nats-") {
                    sent.append(name.as_str(), value.as_str());
                }
            }
            // Its old one may be known to the server still, which would drop it. One of its own, for who replays it twice.
            sent.insert(MESSAGE_ID, format!("dead:{}", stored.seq));
            let acknowledged = self.within(&what, self.ask_jetstream(&subject, Some(sent), data)).await?;
            acknowledged.said.map_err(|error| self.server_said(&subject, &error))?;
        }
        // The first one last: while that is there, it can be replayed again.
        for stored in all.iter().rev() {
            let call = format!("STREAM.MSG.DELETE.{stream}");
            match self.within(&what, self.api(&call, &json!({ "seq": stored.seq, "no_erase": true }))).await? {
                Err(error) if error.err_code != ApiError::NO_MESSAGE => return Err(self.server_said(&call, &error)),
                _ => {}
            }
        }
        Ok(true)
    }

    async fn next_part(&self, app: &str, from: u64, of: &str, part: usize) -> Result<Option<Stored>> {
        let mut next = from;
        while let Some(stored) = self.next_dead(app, next).await? {
            next = stored.seq + 1;
            if part_of(&stored).is_some_and(|(place, _, other)| place == part && other == of) {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }
}

fn part_of(stored: &Stored) -> Option<(usize, usize, String)> {
    let headers = stored.headers();
    headers::part_of(headers.iter().find(|(name, _)| name == PART).map(|(_, value)| value.as_str())?)
}

fn letter(stored: &Stored) -> DeadLetter {
    let (mut subject, mut reason) = (String::new(), String::new());
    let mut headers = stored.headers();
    headers.retain_mut(|(name, value)| match name.as_str() {
        SUBJECT => {
            subject = std::mem::take(value);
            false
        }
        REASON => {
            reason = std::mem::take(value);
            false
        }
        _ => true,
    });
    let size = stored.data().map_or(0, |data| data.len());
    DeadLetter { sequence: stored.seq, subject, reason, size, at: stored.at(), headers }
}
