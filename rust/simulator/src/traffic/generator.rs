//! The event of a given number: a pure function of seed, shard and number, so that a session replays by regenerating.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use fastrand::Rng;
use parking_lot::Mutex;

use super::templates::{EVENTS, People, Slot, Template};
use super::world::{Share, World};

/// Distinct events in the pool. 4,096 of 870 B are 14 times zstd's window: no event meets its own template there, so the
/// ratio is that of traffic that does not repeat.
const POOL: usize = 4_096;
/// Discord's epoch in Unix milliseconds.
const EPOCH: u64 = 1_420_070_400_000;
/// The first event's time, Unix milliseconds: 2026-09-01.
const START: u64 = 1_788_220_800_000;
/// The first numbered user's creation, milliseconds of Discord's epoch.
const USER_BASE: u64 = 200_000_000_000;

/// What stands for the shard in the snowflakes of the whole bot's events: they differ from those of any session's own.
const SHARED: u64 = 0x3ff;
/// The event of the whole bot's traffic, and its intent.
const MESSAGE: &str = "MESSAGE_CREATE";
const MESSAGE_INTENT: u64 = 1 << 9;

/// The pool of a simulator, shared by its sessions.
#[derive(Debug)]
pub(crate) struct Generator {
    pool: Vec<Template>,
    /// Of the whole bot's traffic: messages, whatever the sessions' own events are.
    messages: OnceLock<Vec<Template>>,
    /// By intents, for a thousand sessions that ask for the same.
    allowed: Mutex<HashMap<u64, Arc<[u32]>>>,
    seed: u64,
    channels: usize,
    stamp: bool,
}

/// What a session draws from a [`Generator`].
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    guilds: Vec<u64>,
    shard: u64,
    share: Share,
    /// Of the whole bot's traffic.
    messages: bool,
    /// Indexes into the pool that the session's intents let through.
    allowed: Arc<[u32]>,
}

/// What the slots of one event are filled from.
struct Facts {
    guild: u64,
    /// Shard, or what stands for it.
    source: u64,
    index: u64,
    mix: u64,
    /// Guild and number of a numbered event.
    nonce: Option<(u64, u64)>,
}

impl Stream {
    /// The place of event `number` of the whole bot's traffic in this session's share of it; `None`: it is not for it.
    pub(crate) fn place(&self, number: u64) -> Option<u64> {
        self.share.place(number).filter(|_| self.messages)
    }

    /// False when no event may be sent.
    pub(crate) fn has_events(&self) -> bool {
        !self.allowed.is_empty()
    }
}

impl Generator {
    /// Builds the pool; `events` filters by name, empty for the whole mix.
    pub(crate) fn new(seed: u64, events: &[String], channels: usize, stamp: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let pool = Self::pool(&mut rng, events);
        Self { pool, messages: OnceLock::new(), allowed: Mutex::default(), seed, channels: channels.max(1), stamp }
    }

    fn pool(rng: &mut Rng, events: &[String]) -> Vec<Template> {
        let weight = |(name, weight, _): &(&str, u32, u8)| {
            if events.is_empty() || events.iter().any(|event| event == name) { *weight } else { 0 }
        };
        let total: u32 = EVENTS.iter().map(weight).sum();
        let mut kinds = Vec::with_capacity(POOL);
        if total > 0 {
            let mut reached = 0;
            for (kind, event) in EVENTS.iter().enumerate() {
                reached += weight(event);
                // cumulative, so that rounding never leaves the pool short
                kinds.resize(POOL * reached as usize / total as usize, kind);
            }
        }
        rng.shuffle(&mut kinds);
        let people = People::new(rng);
        let mut pool: Vec<Template> = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let template = Template::new(kind, &people, pool.last(), rng);
            pool.push(template);
        }
        pool
    }

    /// Makes the messages of the whole bot's traffic, which takes a moment.
    pub(crate) fn prepare_messages(&self) {
        let _ = self.messages();
    }

    /// The messages of the whole bot's traffic, made when they are first wanted.
    fn messages(&self) -> &[Template] {
        self.messages.get_or_init(|| Self::pool(&mut Rng::with_seed(!self.seed), &[MESSAGE.to_owned()]))
    }

    /// A session's share: the guilds of its shard, the events that its intents allow (all with `u64::MAX`).
    pub(crate) fn stream(&self, world: &World, shard: (u64, u64), intents: u64) -> Stream {
        let owned = world.share(shard);
        let mut guilds = world.guilds_of(shard);
        if guilds.is_empty() {
            // a guild that the bot is not in, but of this shard
            guilds.push(World::guild_id(owned.first as usize));
        }
        let allowed = || {
            (0..self.pool.len() as u32)
                .filter(|at| intents & (1 << EVENTS[self.pool[*at as usize].kind].2) != 0)
                .collect()
        };
        let allowed = Arc::clone(self.allowed.lock().entry(intents).or_insert_with(allowed));
        Stream { guilds, shard: shard.0, share: owned, messages: intents & MESSAGE_INTENT != 0, allowed }
    }

    fn template(&self, stream: &Stream, index: u64) -> &Template {
        // every session walks the pool from another place
        let at = (index + stream.shard * 997) % stream.allowed.len() as u64;
        &self.pool[stream.allowed[at as usize] as usize]
    }

    /// Index into [`EVENTS`] of the event numbered `index`.
    pub(crate) fn kind(&self, stream: &Stream, index: u64) -> usize {
        self.template(stream, index).kind
    }

    /// Appends the whole payload of event `index`, with sequence `s`.
    pub(crate) fn write(&self, stream: &Stream, index: u64, sequence: u64, out: &mut Vec<u8>) {
        let template = self.template(stream, index);
        let mix = mix(self.seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (stream.shard << 48));
        let guild = stream.guilds[(mix >> 32) as usize % stream.guilds.len()];
        self.fill(template, &Facts { guild, source: stream.shard, index, mix, nonce: None }, sequence, out);
    }

    /// Appends the whole payload at `place` of a session's share of the whole bot's traffic, with sequence `s`. Its `d` is
    /// the same for every session that has the guild.
    pub(crate) fn write_shared(&self, stream: &Stream, place: u64, sequence: u64, out: &mut Vec<u8>) {
        let number = stream.share.number(place);
        let (guild, count) = (number % stream.share.world.max(1), number / stream.share.world.max(1) + 1);
        let mix = mix(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (SHARED << 48));
        let messages = self.messages();
        let template = &messages[(mix >> 40) as usize % messages.len()];
        let facts = Facts {
            guild: World::guild_id(guild as usize),
            source: SHARED,
            index: number,
            mix,
            nonce: Some((guild, count)),
        };
        self.fill(template, &facts, sequence, out);
    }

    fn fill(&self, template: &Template, facts: &Facts, sequence: u64, out: &mut Vec<u8>) {
        let &Facts { guild, source, index, mix, nonce } = facts;
        let text_channels = self.channels.saturating_sub(1).max(1);
        let channel = World::channel_id(guild, (mix & 0xffff) as usize % text_channels);
        let event = ((START - EPOCH + index) << 22) | (source << 12) | (mix & 0xfff);
        out.extend_from_slice(&template.head);
        decimal(sequence, out);
        out.extend_from_slice(b",\"op\":0,\"d\":");
        for (literal, slot) in &template.parts {
            out.extend_from_slice(literal);
            match slot {
                None => {}
                Some(Slot::Guild) => decimal(guild, out),
                Some(Slot::Channel) => decimal(channel, out),
                Some(Slot::Voice) => decimal(World::channel_id(guild, self.channels - 1), out),
                Some(Slot::Event) => decimal(event, out),
                Some(Slot::User) => {
                    decimal(((USER_BASE + index) << 22) | (source << 12) | 5, out);
                }
                Some(Slot::Earlier) => {
                    decimal(event.saturating_sub(((mix >> 16) & 0xffff) << 22), out);
                }
                Some(Slot::Time) => iso(START + index, mix as u32 % 1000, out),
                Some(Slot::Seconds) => decimal((START + index) / 1000, out),
                Some(Slot::Role(role)) => decimal(World::role_id(guild, *role as usize), out),
                Some(Slot::Nonce) => match nonce {
                    Some((guild, count)) => {
                        decimal(guild, out);
                        out.push(b':');
                        decimal(count, out);
                    }
                    None => decimal(if self.stamp { now_nanos() } else { event + (1 << 20) }, out),
                },
            }
        }
        out.push(b'}');
    }
}

fn now_nanos() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// splitmix64's finaliser: neighbouring numbers give unrelated bits.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Appends a number; `format!` would cost more than the rest of the event.
fn decimal(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `2026-09-01T00:00:00.123456+00:00` for Unix milliseconds.
fn iso(unix_ms: u64, micros: u32, out: &mut Vec<u8>) {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let two = |value: u64, out: &mut Vec<u8>| {
        out.extend_from_slice(&[b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]);
    };
    two(year / 100, out);
    two(year % 100, out);
    for (mark, value) in
        [(b'-', month), (b'-', day), (b'T', ms / 3_600_000), (b':', ms / 60_000 % 60), (b':', ms / 1000 % 60)]
    {
        out.push(mark);
        two(value, out);
    }
    out.push(b'.');
    let fraction = (ms % 1000) * 1000 + u64::from(micros);
    for value in [fraction / 10_000, fraction / 100 % 100, fraction % 100] {
        two(value, out);
    }
    out.extend_from_slice(b"+00:00");
}

/// Days since 1970 to year, month, day (Howard Hinnant's algorithm, for dates after 1970).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World {
        World { guilds: 10, channels: 8, members: 50, seed: 1 }
    }

    #[test]
    fn events_are_json_of_the_sizes_and_the_mix_of_a_large_bot() {
        let generator = Generator::new(7, &[], 8, false);
        let stream = generator.stream(&world(), (0, 1), u64::MAX);
        let mut counts = vec![(0_usize, 0_usize); EVENTS.len()];
        for index in 0..POOL as u64 {
            let mut out = Vec::new();
            generator.write(&stream, index, index + 1, &mut out);
            let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
            assert_eq!(value["s"], index + 1);
            let kind = generator.kind(&stream, index);
            assert_eq!(value["t"], EVENTS[kind].0);
            counts[kind].0 += 1;
            counts[kind].1 += out.len();
        }
        for ((name, weight, _), (count, bytes)) in EVENTS.iter().zip(&counts) {
            println!("{name}: {count}, {} B", bytes / count);
            assert!((count * 1000 / POOL).abs_diff(*weight as usize) <= 1, "{name} {count}");
        }
        let average = counts.iter().map(|count| count.1).sum::<usize>() / POOL;
        println!("average {average} B");
        assert!((780..960).contains(&average), "{average}");
        let message = counts[1].1 / counts[1].0;
        assert!((1_200..1_450).contains(&message), "{message}");
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
        let bytes = |seed| {
            let generator = Generator::new(seed, &["MESSAGE_CREATE".to_owned()], 8, false);
            let stream = generator.stream(&world(), (1, 2), u64::MAX);
            let mut out = Vec::new();
            (0..50).for_each(|index| generator.write(&stream, index, index, &mut out));
            out
        };
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }

    #[test]
    fn numbered_events_are_the_same_for_every_number_of_shards() {
        let generator = Generator::new(7, &["TYPING_START".to_owned()], 8, false);
        let world = world();
        let mut seen = std::collections::HashSet::new();
        for number in 0..500 {
            let guild = number % 10;
            let mut texts = Vec::new();
            for count in [1, 3, 16] {
                let shard = (World::guild_id(guild as usize) >> 22) % count;
                let stream = generator.stream(&world, (shard, count), u64::MAX);
                let mut out = Vec::new();
                generator.write_shared(&stream, stream.place(number).expect("its guild"), 5, &mut out);
                texts.push(String::from_utf8(out).expect("UTF-8"));
                let other = generator.stream(&world, ((shard + 1) % count, count), u64::MAX);
                assert!(count == 1 || other.place(number).is_none());
                assert!(generator.stream(&world, (shard, count), !MESSAGE_INTENT).place(number).is_none());
            }
            assert!(texts.iter().all(|text| *text == texts[0]));
            let value: serde_json::Value = serde_json::from_str(&texts[0]).expect("JSON");
            assert_eq!(value["t"], MESSAGE);
            assert_eq!(value["d"]["nonce"], format!("{guild}:{}", number / 10 + 1));
            assert_eq!(value["d"]["guild_id"], World::guild_id(guild as usize).to_string());
            assert!(seen.insert(value["d"]["id"].to_string()));
        }
    }

    #[test]
    fn dates_are_written_as_discord_writes_them() {
        let mut out = Vec::new();
        iso(START + 3_723_004, 5, &mut out);
        assert_eq!(out, b"2026-09-01T01:02:03.004005+00:00");
    }
}
