//! Keys of a bucket: a stream with one message a subject, as `nats kv` knows them.
//!
//! Asked of the stream's leader and not of whichever copy is near, so that who wrote reads what it wrote. Keys that were
//! deleted or have expired leave a marker for a minute; to everyone here they are absent.

use std::{collections::HashMap, time::Duration};

use async_nats::{HeaderMap, datetime::parse_rfc3339};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time;

use super::{
    Answer, ApiError, Broker,
    error::{BrokerError, Result},
    watch::{Next, Read, Reader},
};
use crate::headers::MESSAGE_ID;

/// How long it can be seen of a key that it is gone.
pub(super) const MARKER: Duration = Duration::from_mins(1);
/// So often a key that is created was deleted or expired on the way, before we give up on it.
const CONTENDED: usize = 16;

/// A key's value, as it was when it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// What was written.
    pub value: Bytes,
    /// Of the bucket: a later one is larger, whatever the keys.
    pub revision: u64,
    /// When it was written, by the server's clock: Unix time in seconds.
    pub created: f64,
}

/// A key as the stream has it: a value, or that it is gone.
pub(super) struct Record {
    /// None: deleted, or expired.
    value: Option<Bytes>,
    revision: u64,
    created: f64,
}

/// The stream of a bucket.
pub(super) fn stream_of(bucket: &str) -> String {
    format!("KV_{bucket}")
}

fn check_bucket(bucket: &str) -> Result<()> {
    let fits = !bucket.is_empty() && bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if fits { Ok(()) } else { Err(BrokerError::Invalid(format!("{bucket:?} is no name of a bucket"))) }
}

/// The subject of a key; with `pattern`, of all that match.
pub(super) fn subject_of(bucket: &str, key: &str, pattern: bool) -> Result<String> {
    check_bucket(bucket)?;
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/=".contains(&byte);
    let mut tokens = key.split('.').peekable();
    while let Some(token) = tokens.next() {
        let wild = pattern && (token == "*" || (token == ">" && tokens.peek().is_none()));
        if !wild && (token.is_empty() || !token.bytes().all(letter)) {
            let what = if pattern { "pattern of keys" } else { "key" };
            return Err(BrokerError::Invalid(format!("{key:?} is no {what}")));
        }
    }
    Ok(format!("$KV.{bucket}.{key}"))
}

/// Whether these headers say that the key is gone.
pub(super) fn is_marker<'a>(mut headers: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
    headers.any(|header| matches!(header, ("KV-Operation", "DEL" | "PURGE") | ("Nats-Marker-Reason", _)))
}

/// A message, as `STREAM.MSG.GET` answers it.
#[derive(Deserialize)]
pub(super) struct Stored {
    pub(super) seq: u64,
    #[serde(default)]
    data: String,
    #[serde(default)]
    hdrs: String,
    time: String,
}

impl Stored {
    pub(super) fn data(&self) -> Option<Bytes> {
        decode(&self.data).map(Bytes::from)
    }

    /// Name and value of every header, in their order.
    pub(super) fn headers(&self) -> Vec<(String, String)> {
        let text = decode(&self.hdrs).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let pair = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        // The first line is the version.
        text.lines().skip(1).filter_map(pair).collect()
    }

    pub(super) fn at(&self) -> f64 {
        parse_rfc3339(&self.time).map_or(0.0, |time| time.unix_timestamp_nanos() as f64 / 1e9)
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    data_encoding::BASE64.decode(text.as_bytes()).ok()
}

/// Seconds as the server reads them; whole ones, and one at least.
fn ttl_header(ttl: Duration) -> Result<String> {
    if ttl < Duration::from_secs(1) {
        return Err(BrokerError::Invalid("a key lives for one second at least".into()));
    }
    Ok(format!("{}s", ttl.as_secs_f64().ceil()))
}

impl Broker {
    /// The entry; none where the key is absent.
    ///
    /// # Errors
    /// No answer came, there is no such bucket, or the key cannot be one.
    pub async fn get(&self, bucket: &str, key: &str) -> Result<Option<Entry>> {
        let subject = subject_of(bucket, key, false)?;
        let record = self.within(&subject, self.last(bucket, &subject)).await?;
        Ok(record.and_then(|record| {
            let Record { value, revision, created } = record;
            Some(Entry { key: key.to_owned(), value: value?, revision, created })
        }))
    }

    /// All whose key matches, in no order.
    ///
    /// # Errors
    /// No answer came, there is no such bucket, or the pattern cannot be one.
    pub async fn entries(&self, bucket: &str, pattern: &str) -> Result<Vec<Entry>> {
        let subject = subject_of(bucket, pattern, true)?;
        self.within(&subject, async {
            'anew: loop {
                // By key: one may be written again while we read.
                let mut entries = HashMap::new();
                let mut reader = Reader::start(self, bucket, &subject).await?;
                loop {
                    match reader.next().await {
                        Next::Record(Read { key, value: Some(value), revision, created }) => {
                            entries.insert(key.clone(), Entry { key, value, revision, created });
                        }
                        Next::Record(Read { key, value: None, .. }) => {
                            entries.remove(&key);
                        }
                        Next::Complete => {
                            reader.finish().await;
                            return Ok(entries.into_values().collect());
                        }
                        Next::Lost => continue 'anew,
                    }
                }
            }
        })
        .await
    }

    /// Writes the key, whatever is there. With `ttl` it is gone after that long.
    ///
    /// # Errors
    /// No answer came, there is no such bucket, or the key cannot be one.
    pub async fn put(&self, bucket: &str, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64> {
        let subject = subject_of(bucket, key, false)?;
        let stored = self.within(&subject, self.store(bucket, &subject, value, ttl, None, false)).await?;
        stored.ok_or_else(|| BrokerError::Refused(format!("NATS refused to write {subject}")))
    }

    /// Writes the key where it is absent; none where it is not.
    ///
    /// # Errors
    /// No answer came, there is no such bucket, or the key cannot be one.
    pub async fn create(&self, bucket: &str, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<Option<u64>> {
        let subject = subject_of(bucket, key, false)?;
        self.within(&subject, async {
            let mut expected = 0;
            for _ in 0..CONTENDED {
                if let Some(revision) = self.store(bucket, &subject, value.clone(), ttl, Some(expected), false).await? {
                    return Ok(Some(revision));
                }
                expected = match self.last(bucket, &subject).await? {
                    Some(Record { value: Some(_), .. }) => return Ok(None),
                    Some(marker) => marker.revision,
                    None => 0,
                };
                time::sleep(Duration::from_millis(5)).await;
            }
            Ok(None)
        })
        .await
    }

    /// Writes the key where it has still this revision; none where it has not. Its time to live begins anew.
    ///
    /// # Errors
    /// No answer came, there is no such bucket, or the key cannot be one.
    pub async fn update(
        &self,
        bucket: &str,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<Option<u64>> {
        let subject = subject_of(bucket, key, false)?;
        self.within(&subject, self.store(bucket, &subject, value, ttl, Some(revision), false)).await
    }

    /// Removes the key, where it has this revision; whether that was so. Without a revision it always is.
    ///
    /// # Errors
    /// No answer came, there is no such bucket, or the key cannot be one.
    pub async fn delete(&self, bucket: &str, key: &str, revision: Option<u64>) -> Result<bool> {
        let subject = subject_of(bucket, key, false)?;
        let stored = self.store(bucket, &subject, Bytes::new(), Some(MARKER), revision, true);
        Ok(self.within(&subject, stored).await?.is_some())
    }

    /// Writes one message; none where the subject's last one is not the `expected`.
    async fn store(
        &self,
        bucket: &str,
        subject: &str,
        value: Bytes,
        ttl: Option<Duration>,
        expected: Option<u64>,
        marker: bool,
    ) -> Result<Option<u64>> {
        let mut headers = HeaderMap::new();
        // What is asked twice is written once: the server knows it by this, and so do we.
        let id = self.inbox();
        headers.insert(MESSAGE_ID, id.as_str());
        if let Some(ttl) = ttl {
            headers.insert("Nats-TTL", ttl_header(ttl)?);
        }
        if let Some(expected) = expected {
            headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
        }
        if marker {
            headers.insert("KV-Operation", "DEL");
        }
        let Answer { said, again } = self.ask_jetstream(subject, Some(headers), value).await?;
        match said {
            Ok(ack) => match ack.get("seq").and_then(Value::as_u64) {
                Some(revision) => Ok(Some(revision)),
                None => Err(BrokerError::Refused(format!("what serves {subject} is not JetStream"))),
            },
            // A single server looks at the expectation first, which its own first attempt has made wrong.
            Err(error) if error.is_stale() && again => {
                let last = self.stored(&stream_of(bucket), &json!({ "last_by_subj": subject })).await?;
                let ours = |stored: &Stored| stored.headers().contains(&(MESSAGE_ID.to_owned(), id));
                Ok(last.filter(ours).map(|stored| stored.seq))
            }
            Err(error) if error.is_stale() => Ok(None),
            Err(error) => Err(self.server_said(subject, &error)),
        }
    }

    async fn last(&self, bucket: &str, subject: &str) -> Result<Option<Record>> {
        let Some(stored) = self.stored(&stream_of(bucket), &json!({ "last_by_subj": subject })).await? else {
            return Ok(None);
        };
        let headers = stored.headers();
        let value = if is_marker(headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))) {
            None
        } else {
            Some(stored.data().ok_or_else(|| BrokerError::Refused(format!("the value of {subject} cannot be read")))?)
        };
        Ok(Some(Record { value, revision: stored.seq, created: stored.at() }))
    }

    /// One message of a stream; none where there is none.
    pub(super) async fn stored(&self, stream: &str, which: &Value) -> Result<Option<Stored>> {
        let call = format!("STREAM.MSG.GET.{stream}");
        match self.api(&call, which).await? {
            Ok(mut answer) => {
                let message = answer.get_mut("message").map(Value::take).unwrap_or_default();
                let unread =
                    |error| BrokerError::Refused(format!("JetStream's answer to {call} is not known: {error}"));
                serde_json::from_value(message).map(Some).map_err(unread)
            }
            Err(error) if error.err_code == ApiError::NO_MESSAGE => Ok(None),
            Err(error) => Err(self.server_said(&call, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_patterns_are_told_apart() {
        assert_eq!(subject_of("propylon-bot", "lease.8.3", false).unwrap(), "$KV.propylon-bot.lease.8.3");
        assert_eq!(subject_of("b", "lease.8.*", true).unwrap(), "$KV.b.lease.8.*");
        assert_eq!(subject_of("b", ">", true).unwrap(), "$KV.b.>");
        for key in ["", ".", "a.", "a b", "a..b", "*", "a.>", "ä"] {
            assert!(matches!(subject_of("b", key, false), Err(BrokerError::Invalid(_))), "{key:?}");
        }
        for pattern in ["", "a.>.b", "a*", ">.a"] {
            assert!(matches!(subject_of("b", pattern, true), Err(BrokerError::Invalid(_))), "{pattern:?}");
        }
        assert!(matches!(subject_of("b.c", "a", false), Err(BrokerError::Invalid(_))));
    }

    #[test]
    fn a_time_to_live_is_whole_seconds() {
        assert_eq!(ttl_header(Duration::from_secs(15)).unwrap(), "15s");
        assert_eq!(ttl_header(Duration::from_millis(1500)).unwrap(), "2s");
        assert!(ttl_header(Duration::from_millis(900)).is_err());
    }
}
