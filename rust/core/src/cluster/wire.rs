//! A message of events: to which partition an event belongs, and its bytes on the way from a gateway host to a worker.
//!
//! All numbers are little endian. A body is one byte, [`VERSION`], and then for each event: the length of its name (1 byte)
//! and the name; the shard and the total (4 bytes each); the epoch of the shard's lease, the tag of its session, the
//! sequence number and the time of receipt in microseconds of Unix time (8 bytes each); what it means for its guild (1 byte,
//! 0 for nothing); the length of `d` (4 bytes) and `d` as it came. On the way a body is one zstd frame (RFC 8878).

use bytes::Bytes;
use zstd_safe::{CCtx, CParameter, DCtx, InBuffer, OutBuffer};

use crate::{
    protocol::{
        event::EventType,
        fields::{fields, snowflake},
    },
    session::GuildChange,
};

/// Of the format. A worker refuses others.
pub const VERSION: u8 = 1;
/// No event has this sequence number: it stands for none.
const NO_SEQUENCE: u64 = u64::MAX;
/// What a body may have at most: far above the largest event, and a bomb ends there.
const LARGEST: usize = 256 * 1024 * 1024;

/// An event as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name, as Discord sent it.
    pub name: Box<str>,
    /// The shard it came on.
    pub shard: u32,
    /// Of how many.
    pub total: u32,
    /// Of the shard's lease, when it was published.
    pub epoch: u64,
    /// What tells its session from others ([`crate::shard::tag_of`]).
    pub tag: u64,
    /// `s`, where the server sent one.
    pub sequence: Option<u64>,
    /// When its bytes were read, in microseconds of Unix time.
    pub received_at: u64,
    /// What it means for its guild.
    pub guild_change: Option<GuildChange>,
    /// The JSON text of `d`.
    pub data: Bytes,
}

/// Why a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// It is no zstd frame, or one of over 256 MiB.
    Compression(String),
    /// Of another version of the format.
    Version(u8),
    /// It ends in the middle.
    Truncated,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compression(why) => write!(f, "the message is no zstd frame: {why}"),
            Self::Version(version) => {
                write!(f, "the message has format {version}, this worker reads {VERSION}: update the older side")
            }
            Self::Truncated => f.write_str("the message ends in the middle"),
        }
    }
}

impl std::error::Error for Malformed {}

/// The partition of an event: of its guild, else its channel, else its user; what has none of them is in partition 0.
///
/// It depends on nothing but the event, so it stays where it is whatever the number of shards.
pub fn partition_of(event: EventType, data: &[u8], partitions: u32) -> u32 {
    let key = match event {
        EventType::GUILD_CREATE | EventType::GUILD_UPDATE | EventType::GUILD_DELETE => fields(data, ["id"])[0],
        _ => {
            let [guild, channel, user_id, user] = fields(data, ["guild_id", "channel_id", "user_id", "user"]);
            let present = |value: Option<&'_ [u8]>| value.is_some_and(|raw| snowflake(raw).is_some());
            if present(guild) {
                guild
            } else if present(channel) {
                channel
            } else if present(user_id) {
                user_id
            } else {
                user.and_then(|user| fields(user, ["id"])[0])
            }
        }
    };
    key.and_then(snowflake).map_or(0, |id| of_id(id, partitions))
}

/// The partition of an id.
pub fn of_id(id: u64, partitions: u32) -> u32 {
    // Ids of one millisecond differ in few bits: mixed, by the finaliser of MurmurHash3.
    let mut mixed = id;
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^= mixed >> 33;
    (mixed % u64::from(partitions.max(1))) as u32
}

/// Adds an event to a body.
pub fn write(body: &mut Vec<u8>, event: &Event) {
    if body.is_empty() {
        body.push(VERSION);
    }
    let name = &event.name.as_bytes()[..event.name.len().min(255)];
    body.push(name.len() as u8);
    body.extend_from_slice(name);
    body.extend_from_slice(&event.shard.to_le_bytes());
    body.extend_from_slice(&event.total.to_le_bytes());
    body.extend_from_slice(&event.epoch.to_le_bytes());
    body.extend_from_slice(&event.tag.to_le_bytes());
    body.extend_from_slice(&event.sequence.unwrap_or(NO_SEQUENCE).to_le_bytes());
    body.extend_from_slice(&event.received_at.to_le_bytes());
    body.push(event.guild_change.map_or(0, |change| change as u8));
    body.extend_from_slice(&(event.data.len() as u32).to_le_bytes());
    body.extend_from_slice(&event.data);
}

/// The events of a body.
///
/// # Errors
///
/// It is of another version, or ends in the middle.
pub fn read(body: &Bytes) -> Result<Vec<Event>, Malformed> {
    let mut at = Reader { body, at: 0 };
    let version = at.byte()?;
    if version != VERSION {
        return Err(Malformed::Version(version));
    }
    let mut events = Vec::new();
    while at.at < body.len() {
        let length = usize::from(at.byte()?);
        let name = String::from_utf8_lossy(&at.take(length)?).into_owned().into_boxed_str();
        let (shard, total) = (at.four()?, at.four()?);
        let (epoch, tag, sequence, received_at) = (at.eight()?, at.eight()?, at.eight()?, at.eight()?);
        let change = at.byte()?;
        let length = at.four()? as usize;
        events.push(Event {
            name,
            shard,
            total,
            epoch,
            tag,
            sequence: (sequence != NO_SEQUENCE).then_some(sequence),
            received_at,
            guild_change: GuildChange::ALL.into_iter().find(|known| *known as u8 == change),
            data: at.take(length)?,
        });
    }
    Ok(events)
}

struct Reader<'a> {
    body: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.body.len()).ok_or(Malformed::Truncated)?;
        let taken = self.body.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn four(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.take(4)?[..].try_into().map_err(|_| Malformed::Truncated)?))
    }

    fn eight(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.take(8)?[..].try_into().map_err(|_| Malformed::Truncated)?))
    }
}

/// Compresses bodies; the context is made once.
pub struct Compressor(CCtx<'static>);

impl Compressor {
    /// At zstd's fastest ordinary level: events of one guild are much alike.
    pub fn new() -> Self {
        let mut context = CCtx::create();
        // Both are in every libzstd; what could not be set would only compress otherwise.
        let _ = context.set_parameter(CParameter::CompressionLevel(1));
        let _ = context.set_parameter(CParameter::ContentSizeFlag(true));
        Self(context)
    }

    /// One frame of it.
    ///
    /// # Errors
    ///
    /// libzstd has no memory.
    pub fn compress(&mut self, body: &[u8]) -> Result<Bytes, Malformed> {
        let mut frame = Vec::with_capacity(zstd_safe::compress_bound(body.len()));
        self.0
            .compress2(&mut frame, body)
            .map_err(|code| Malformed::Compression(zstd_safe::get_error_name(code).to_owned()))?;
        Ok(frame.into())
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

/// Inflates bodies.
pub struct Inflater(DCtx<'static>);

impl Inflater {
    /// With a context of its own.
    pub fn new() -> Self {
        Self(DCtx::create())
    }

    /// What a frame holds.
    ///
    /// # Errors
    ///
    /// It is broken, or too large.
    pub fn inflate(&mut self, frame: &[u8]) -> Result<Bytes, Malformed> {
        let error = |code| Malformed::Compression(zstd_safe::get_error_name(code).to_owned());
        let _ = self.0.reset(zstd_safe::ResetDirective::SessionOnly);
        let told = zstd_safe::get_frame_content_size(frame).ok().flatten().unwrap_or_default();
        let mut body = Vec::with_capacity(usize::try_from(told).unwrap_or(LARGEST).clamp(1024, LARGEST));
        let mut input = InBuffer::around(frame);
        loop {
            let length = body.len();
            let left = {
                let mut output = OutBuffer::around_pos(&mut body, length);
                self.0.decompress_stream(&mut output, &mut input).map_err(error)?
            };
            if left == 0 {
                return Ok(body.into());
            }
            if body.len() == length && input.pos == frame.len() {
                return Err(Malformed::Compression("it ends in the middle".to_owned()));
            }
            if body.len() == body.capacity() {
                if body.len() >= LARGEST {
                    return Err(Malformed::Compression(format!("over {LARGEST} bytes")));
                }
                body.reserve(body.len().max(64 * 1024));
            }
        }
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

/// The name of a message, by which the engine tells it from one that it has already: made of what is in it, so that it
/// is the same when it is sent again.
pub fn message_id(ranges: &[(u64, u64, u64)]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for (tag, first, last) in ranges {
        for number in [tag, first, last] {
            context.update(&number.to_le_bytes());
        }
    }
    let digest = context.finish();
    let mut id = String::with_capacity(32);
    for byte in &digest.as_ref()[..16] {
        use std::fmt::Write as _;
        let _ = write!(id, "{byte:02x}");
    }
    id
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(name: &str, sequence: Option<u64>, change: Option<GuildChange>, data: Vec<u8>) -> Event {
        let (shard, total, epoch, received_at) = (3, 8, 42, 1_700_000_000_000_000);
        Event {
            name: name.into(),
            shard,
            total,
            epoch,
            tag: 77,
            sequence,
            received_at,
            guild_change: change,
            data: data.into(),
        }
    }

    #[test]
    fn a_partition_is_of_the_guild_else_the_channel_else_the_user() {
        let of = |event, data: &str| partition_of(event, data.as_bytes(), 64);
        let message = EventType::MESSAGE_CREATE;
        assert_eq!(of(message, r#"{"guild_id":"123","channel_id":"5"}"#), of_id(123, 64));
        assert_eq!(of(message, r#"{"guild_id":null,"channel_id":"5"}"#), of_id(5, 64));
        assert_eq!(of(EventType::USER_UPDATE, r#"{"user":{"id":"7"}}"#), of_id(7, 64));
        assert_eq!(of(EventType::GUILD_CREATE, r#"{"id":"123","channels":[]}"#), of_id(123, 64));
        assert_eq!(of(EventType::READY, r#"{"v":10}"#), 0);
        assert_eq!(of(message, "broken"), 0);
    }

    #[test]
    fn partitions_are_even() {
        let mut counts = [0; 64];
        for number in 0..64_000_u64 {
            counts[of_id((number << 22) + 1_000_000_000_000_000_000, 64) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }

    #[test]
    fn what_is_cut_anywhere_is_refused() {
        let mut body = Vec::new();
        write(&mut body, &event("MESSAGE_CREATE", Some(7), Some(GuildChange::Joined), b"{\"a\":1}".to_vec()));
        for end in 0..body.len() {
            let cut = read(&Bytes::copy_from_slice(&body[..end]));
            // A body that ends behind the version holds nothing.
            assert!(cut.is_err() || (end == 1 && cut == Ok(Vec::new())), "{end}: {cut:?}");
        }
        body[0] = 9;
        assert_eq!(read(&body.into()), Err(Malformed::Version(9)));
    }

    #[test]
    fn a_bomb_and_a_torn_frame_are_refused() {
        let frame = Compressor::new().compress(&vec![0; 100_000]).unwrap();
        assert!(matches!(Inflater::new().inflate(&frame[..frame.len() - 1]), Err(Malformed::Compression(_))));
        assert!(matches!(Inflater::new().inflate(b"no frame"), Err(Malformed::Compression(_))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            events in prop::collection::vec(
                ("[A-Z_]{1,40}", any::<Option<u32>>(), 0_usize..5, prop::collection::vec(any::<u8>(), 0..3_000)), 1..40
            ),
        ) {
            let events: Vec<Event> = events
                .into_iter()
                .map(|(name, sequence, change, data)| {
                    event(&name, sequence.map(u64::from), GuildChange::ALL.get(change).copied(), data)
                })
                .collect();
            let mut body = Vec::new();
            for event in &events {
                write(&mut body, event);
            }
            let frame = Compressor::new().compress(&body).unwrap();
            let inflated = Inflater::new().inflate(&frame).unwrap();
            prop_assert_eq!(read(&inflated).unwrap(), events);
        }
    }
}
