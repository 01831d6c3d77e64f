//! What the owner of a partition leaves for the next one, and the consumer by which it reads: both change hands together.

use std::time::Duration;

use async_nats::jetstream::{
    self, ErrorCode,
    consumer::{AckPolicy, DeliverPolicy, pull},
    context::ConsumerInfoErrorKind,
    stream::{ConsumerError, ConsumerErrorKind},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    broker::{Broker, BrokerError, names},
    sink::subject_of,
};

/// Until a message that is not acknowledged comes again.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Messages that may be unfinished. What stops the reading is the room for events; while fleets overlap, nothing is
/// acknowledged, and where no more is delivered the end of the overlap does not come either.
const UNFINISHED: i64 = 200_000;

/// Consumers that are remembered to be replaced: the first ones. What comes later are names of those that the server refuses.
const REPLACED: usize = 16;

type Stream = jetstream::stream::Stream<()>;
pub(super) type Consumer = jetstream::consumer::Consumer<pull::Config>;

/// What an owner leaves for the next one, in the key `seen.<partition>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Seen {
    /// Of the owner.
    pub(super) consumer: String,
    /// Those in whose place it was to come, while they are there.
    pub(super) replaced: Vec<String>,
    /// The stream's sequence number up to which all was acknowledged.
    pub(super) floor: u64,
    /// How many owners have begun at that floor and not come further.
    pub(super) tries: u64,
    /// Total, shard, epoch, and where in the stream that began.
    pub(super) epochs: Vec<(u32, u32, u64, u64)>,
    /// Two fleets that overlap in what is not acknowledged.
    pub(super) overlap: Option<Overlap>,
}

impl Seen {
    /// What the owner before has acknowledged since it wrote this, and whether it was at something. The consumers that are
    /// still there are to be replaced.
    ///
    /// # Errors
    /// The server does not say: what is acknowledged is not known, and all of it would come again.
    pub(super) async fn catch_up(&mut self, stream: &Stream) -> Result<(), String> {
        let (mut floor, mut tries) = (self.floor, 0);
        let (latest, mut names) = (std::mem::take(&mut self.consumer), std::mem::take(&mut self.replaced));
        names.extend((!latest.is_empty()).then(|| latest.clone()));
        for name in names {
            match stream.consumer_info(&name).await {
                Ok(info) => {
                    floor = floor.max(info.ack_floor.stream_sequence);
                    if name == latest && info.num_ack_pending > 0 {
                        tries = self.tries + 1;
                    }
                    self.replaced.push(name);
                }
                Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {
                    if name == latest {
                        // The server refused to make it: nobody was given anything.
                        tries = self.tries;
                    }
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        self.tries = if floor == self.floor { tries } else { 0 };
        self.floor = floor;
        Ok(())
    }

    /// The stream ends at `last`: one that was made anew, or has lost its end, numbers from there on.
    pub(super) fn fit(&mut self, last: u64) {
        if self.floor > last {
            (self.floor, self.tries) = (last, 0);
        }
        self.overlap = self.overlap.filter(|overlap| overlap.since <= last);
    }
}

/// Since when two fleets bring events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Overlap {
    /// The number of shards of the old one.
    pub(super) old: u32,
    /// The stream's sequence number up to which there was one fleet. Whoever has the partition next reads from there, so
    /// that what one fleet has brought and the other has not need not be kept.
    pub(super) since: u64,
    /// Where it has ended, while not all up to there is finished.
    #[serde(default)]
    pub(super) end: Option<u64>,
}

/// What an owner has left. Of what another version wrote, the least that says where to go on.
pub(super) fn decoded(left: &[u8]) -> Seen {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Least {
        consumer: String,
        floor: u64,
    }
    serde_json::from_slice(left).unwrap_or_else(|_| {
        let Least { consumer, floor } = serde_json::from_slice(left).unwrap_or_default();
        Seen { consumer, floor, ..Seen::default() }
    })
}

fn encoded(seen: &Seen) -> Bytes {
    serde_json::to_vec(seen).unwrap_or_default().into()
}

/// What this owner has written for the next one, and its consumer.
pub(super) struct Record {
    pub(super) broker: Broker,
    pub(super) app: String,
    pub(super) partition: u32,
    pub(super) epoch: u64,
    /// How many consumers it has made.
    pub(super) begun: u64,
    pub(super) key: String,
    pub(super) seen: Seen,
    /// Of the key; 0: it is not there.
    pub(super) revision: u64,
    pub(super) stream: Stream,
}

impl Record {
    /// Writes it; whether the partition is still ours.
    pub(super) async fn write(&mut self) -> Result<bool, BrokerError> {
        let (bucket, value) = (names::bucket(&self.app), encoded(&self.seen));
        let written = match self.revision {
            0 => self.broker.create(&bucket, &self.key, value, None).await?,
            revision => self.broker.update(&bucket, &self.key, value, revision, None).await?,
        };
        self.revision = written.unwrap_or(self.revision);
        Ok(written.is_some())
    }

    /// A consumer of what comes behind `from`, in place of the one before; `None`: another worker has the partition.
    pub(super) async fn begin(&mut self, from: u64) -> Result<Option<Consumer>, BrokerError> {
        let partition = self.partition;
        let failed = |what: String| BrokerError::Refused(format!("partition {partition}: {what}"));
        self.begun += 1;
        let name = format!("partition-{}-{}-{}", self.partition, self.epoch, self.begun);
        let old = std::mem::replace(&mut self.seen.consumer, name.clone());
        if !old.is_empty() && self.seen.replaced.len() < REPLACED {
            self.seen.replaced.push(old);
        }
        // Written first, and with the revision that we know: of two who begin, one goes on.
        if !self.write().await? {
            return Ok(None);
        }
        let config = pull::Config {
            durable_name: Some(name),
            filter_subject: subject_of(&self.app, self.partition),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from + 1 },
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: UNFINISHED,
            ..pull::Config::default()
        };
        let consumer = self.stream.create_consumer(config).await.map_err(|error| failed(error.to_string()))?;
        for old in std::mem::take(&mut self.seen.replaced) {
            // Whoever still has it gets nothing more, and what it acknowledges counts for nothing.
            if let Err(error) = self.stream.delete_consumer(&old).await
                && !is_not_found(&error)
            {
                self.seen.replaced.push(old);
            }
        }
        Ok(Some(consumer))
    }
}

fn is_not_found(error: &ConsumerError) -> bool {
    matches!(error.kind(), ConsumerErrorKind::JetStream(error) if error.error_code() == ErrorCode::CONSUMER_NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::{Overlap, Seen, decoded, encoded};

    #[test]
    fn what_is_left_is_read_again_and_of_another_version_the_least() {
        let overlap = Overlap { old: 8, since: 3, end: Some(9) };
        let seen = Seen { floor: 7, tries: 1, epochs: vec![(8, 0, 5, 2)], overlap: Some(overlap), ..Seen::default() };
        let again = decoded(&encoded(&seen));
        assert_eq!((again.floor, again.tries, again.epochs, again.overlap), (7, 1, vec![(8, 0, 5, 2)], Some(overlap)));
        let other = decoded(br#"{"consumer": "c", "floor": 7, "epochs": [[8, 0, 5]], "overlap": 8, "ahead": []}"#);
        assert_eq!((other.consumer.as_str(), other.floor, other.epochs, other.overlap), ("c", 7, vec![], None));
        assert_eq!(decoded(b"?").floor, 0);
    }
}
