//! Messages that came in parts, and those that did not come: what is larger than the server takes is joined again, and a gap
//! in a publisher's numbers is told.

use std::collections::HashMap;

use async_nats::{HeaderMap, jetstream, jetstream::message::Acker};
use bytes::{Bytes, BytesMut};

use crate::headers::{DELIVERED, NUMBER, PART, part_of};

/// A part whose others are not in the stream within so many seconds belongs to a publisher that is gone. Longer than the
/// server knows it by its id: one that was let go of, and is sent again, would not come again.
const ORPHAN: i64 = 180;

/// Where a message is in the stream, and what acknowledges it.
pub(super) type Token = Vec<(u64, Acker)>;

/// A message that is whole.
pub(super) struct Whole {
    pub(super) frame: Bytes,
    pub(super) ackers: Token,
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
    pub(super) deliveries: u64,
}

/// Parts of one message.
struct Parts {
    /// When the first of them was published, in seconds of the server's clock.
    since: i64,
    frames: Vec<Option<Bytes>>,
    ackers: Token,
    /// Of the part that came most often.
    deliveries: u64,
}

/// What one partition has of its publishers.
#[derive(Default)]
pub(super) struct Joining {
    parts: HashMap<String, Parts>,
    /// The last number of each publisher, and where that message is.
    numbers: HashMap<String, (u64, u64)>,
    /// When the newest message was published. What comes behind it has not been read, however long that takes.
    newest: i64,
}

impl Joining {
    /// The message, where it is whole with this part. `published`: when, in seconds of the server's clock.
    pub(super) fn join(
        &mut self,
        message: jetstream::Message,
        deliveries: u64,
        sequence: u64,
        published: i64,
    ) -> Option<Whole> {
        self.newest = published.max(self.newest);
        let (message, acker) = message.split();
        let headers = message.headers.unwrap_or_default();
        let subject = message.subject.to_string();
        let Some((part, parts, of)) = headers.get(PART).and_then(|said| part_of(said.as_str())) else {
            let ackers = vec![(sequence, acker)];
            return Some(Whole { frame: message.payload, ackers, subject, headers, deliveries });
        };
        let waiting = self.parts.entry(of.clone()).or_insert_with(|| Parts {
            since: published,
            frames: vec![None; parts],
            ackers: Vec::new(),
            deliveries,
        });
        waiting.deliveries = waiting.deliveries.max(deliveries);
        if let Some(place) = waiting.frames.get_mut(part) {
            *place = Some(message.payload);
        }
        waiting.ackers.push((sequence, acker));
        if waiting.frames.iter().any(Option::is_none) {
            return None;
        }
        let whole = self.parts.remove(&of)?;
        let mut frame = BytesMut::new();
        for part in whole.frames.into_iter().flatten() {
            frame.extend_from_slice(&part);
        }
        let deliveries = whole.deliveries;
        Some(Whole { frame: frame.freeze(), ackers: whole.ackers, subject, headers, deliveries })
    }

    /// How many messages of its publisher are missing before this one: they were too old. `floor`: all up to there in the
    /// stream was acknowledged before we began.
    pub(super) fn missing(&mut self, message: &jetstream::Message, sequence: u64, floor: u64) -> u64 {
        // A dead letter that was sent again has an old number.
        let Some(headers) = message.headers.as_ref().filter(|headers| headers.get(DELIVERED).is_none()) else {
            return 0;
        };
        let mut facts = number_of(headers).rsplitn(3, '-');
        let (previous, number) = (facts.next().map(str::parse::<u64>), facts.next().map(str::parse::<u64>));
        let (Some(Ok(previous)), Some(Ok(number)), Some(publisher)) = (previous, number, facts.next()) else {
            return 0;
        };
        let last = self.numbers.get(publisher).copied();
        if last.is_none_or(|(_, at)| sequence > at) {
            self.numbers.insert(publisher.to_owned(), (number, sequence));
        }
        match last {
            // Of what came behind the floor and is not here, one at least was this one's.
            None => u64::from(previous > floor),
            Some((last, _)) => number.saturating_sub(last + 1),
        }
    }

    /// The parts that wait for others.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &(u64, Acker)> {
        self.parts.values().flat_map(|parts| &parts.ackers)
    }

    /// The same, to be changed.
    pub(super) fn waiting_mut(&mut self) -> impl Iterator<Item = &mut (u64, Acker)> {
        self.parts.values_mut().flat_map(|parts| &mut parts.ackers)
    }

    /// Those whose others will not come.
    pub(super) fn orphans(&mut self) -> Token {
        let newest = self.newest;
        let orphans = self.parts.extract_if(|_, parts| newest - parts.since > ORPHAN);
        orphans.flat_map(|(_, parts)| parts.ackers).collect()
    }
}

fn number_of(headers: &HeaderMap) -> &str {
    headers.get(NUMBER).map(async_nats::HeaderValue::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Joining, ORPHAN, Parts};

    #[test]
    fn a_part_waits_for_what_has_not_been_read_however_long_that_takes() {
        let mut joining = Joining::default();
        let parts = Parts { since: 1_000, frames: vec![None; 2], ackers: Vec::new(), deliveries: 1 };
        joining.parts.insert("host-1".to_owned(), parts);
        // Nothing was read since, whatever the time is.
        joining.newest = 1_000 + ORPHAN;
        joining.orphans();
        assert_eq!(joining.parts.len(), 1);
        joining.newest += 1;
        joining.orphans();
        assert!(joining.parts.is_empty(), "its others would be before what was read");
    }
}
