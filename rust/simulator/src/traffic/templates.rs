//! The `d` of each kind of generated event, with slots for what differs from event to event. Fields and key order are those
//! that Discord's gateway sends (keys mostly descending, `guild_id` last).

use std::fmt::Write as _;

use fastrand::Rng;

use super::text;
use super::world::user;

/// A value that is computed for each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// The guild of the event.
    Guild,
    /// A text channel of that guild.
    Channel,
    /// The guild's voice channel.
    Voice,
    /// The event's own snowflake: rises by one millisecond per event.
    Event,
    /// A user's snowflake, numbered like the event.
    User,
    /// The snowflake of an earlier event.
    Earlier,
    /// The event's point in time, ISO 8601.
    Time,
    /// The same in Unix seconds.
    Seconds,
    /// A role of the guild.
    Role(u8),
    /// A client's nonce, or a time stamp for latency.
    Nonce,
}

/// People who talk on the bot's guilds.
const PEOPLE: usize = 400;

/// Marks a slot in a template's text; cannot occur in JSON.
const MARK: char = '\u{1}';
pub(super) const GUILD: &str = "\u{1}G";
const CHANNEL: &str = "\u{1}C";
const VOICE: &str = "\u{1}V";
const EVENT: &str = "\u{1}E";
const USER: &str = "\u{1}U";
const EARLIER: &str = "\u{1}P";
const TIME: &str = "\u{1}T";
const SECONDS: &str = "\u{1}S";
const NONCE: &str = "\u{1}N";

/// Name, weight in the mix (of 1,000) and intent bit of each generated event.
pub(crate) const EVENTS: &[(&str, u32, u8)] = &[
    ("PRESENCE_UPDATE", 400, 8),
    ("MESSAGE_CREATE", 300, 9),
    ("TYPING_START", 100, 11),
    ("GUILD_MEMBER_UPDATE", 40, 1),
    ("MESSAGE_REACTION_ADD", 40, 10),
    ("MESSAGE_UPDATE", 35, 9),
    ("VOICE_STATE_UPDATE", 30, 7),
    ("GUILD_MEMBER_ADD", 15, 1),
    ("MESSAGE_DELETE", 15, 9),
    ("MESSAGE_REACTION_REMOVE", 15, 10),
    ("GUILD_MEMBER_REMOVE", 10, 1),
];

/// One event with its slots.
#[derive(Debug)]
pub(super) struct Template {
    /// Index into [`EVENTS`].
    pub(super) kind: usize,
    /// `{"t":"NAME","s":`
    pub(super) head: Vec<u8>,
    /// Literal text, each followed by a slot except for the last.
    pub(super) parts: Vec<(Vec<u8>, Option<Slot>)>,
}

/// Those who talk: a few hundred people write most messages, so their users and members come again and again.
#[derive(Debug)]
pub(super) struct People(Vec<Person>);

#[derive(Debug)]
struct Person {
    id: String,
    user: String,
    /// Without the user, as a message has it.
    member: String,
}

impl People {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let person = |rng: &mut Rng| {
            let id = text::user_id(rng).to_string();
            Person { user: user(rng, &id), member: member(rng, None), id }
        };
        Self((0..PEOPLE).map(|_| person(rng)).collect())
    }

    /// Some more often than others.
    fn pick(&self, rng: &mut Rng) -> &Person {
        let at = rng.f64() * rng.f64() * self.0.len() as f64;
        &self.0[at as usize % self.0.len()]
    }
}

impl Person {
    /// A member object with its user.
    fn whole(&self) -> String {
        format!(r#"{{"user":{},{}"#, self.user, &self.member[1..])
    }
}

impl Template {
    /// `before`: the event that precedes it.
    pub(super) fn new(kind: usize, people: &People, before: Option<&Self>, rng: &mut Rng) -> Self {
        let name = EVENTS[kind].0;
        let body = match name {
            "PRESENCE_UPDATE" => {
                // a user's presence is told once for each guild that the bot shares with them
                if let Some(before) = before.filter(|before| before.kind == kind && rng.u8(0..3) == 0) {
                    return Self { kind, head: before.head.clone(), parts: before.parts.clone() };
                }
                presence(rng)
            }
            "MESSAGE_CREATE" => message(rng, people, false),
            "MESSAGE_UPDATE" => message(rng, people, true),
            "TYPING_START" => {
                let person = people.pick(rng);
                format!(
                    r#"{{"user_id":"{}","timestamp":{SECONDS},"member":{},"channel_id":"{CHANNEL}","guild_id":"{GUILD}"}}"#,
                    person.id,
                    person.whole()
                )
            }
            "GUILD_MEMBER_UPDATE" | "GUILD_MEMBER_ADD" => {
                let member = member(rng, Some(USER));
                format!(r#"{},"unusual_dm_activity_until":null,"guild_id":"{GUILD}"}}"#, &member[..member.len() - 1])
            }
            "GUILD_MEMBER_REMOVE" => {
                format!(r#"{{"user":{},"guild_id":"{GUILD}"}}"#, user(rng, USER))
            }
            "MESSAGE_REACTION_ADD" => {
                let (person, author) = (people.pick(rng), people.pick(rng));
                format!(
                    r#"{{"user_id":"{}","type":0,"message_id":"{EARLIER}","message_author_id":"{}","member":{},"emoji":{},"channel_id":"{CHANNEL}","burst":false,"guild_id":"{GUILD}"}}"#,
                    person.id,
                    author.id,
                    person.whole(),
                    emoji(rng)
                )
            }
            "MESSAGE_REACTION_REMOVE" => format!(
                r#"{{"user_id":"{}","type":0,"message_id":"{EARLIER}","emoji":{},"channel_id":"{CHANNEL}","burst":false,"guild_id":"{GUILD}"}}"#,
                people.pick(rng).id,
                emoji(rng)
            ),
            "MESSAGE_DELETE" => {
                format!(r#"{{"id":"{EARLIER}","channel_id":"{CHANNEL}","guild_id":"{GUILD}"}}"#)
            }
            "VOICE_STATE_UPDATE" => format!(
                r#"{{"user_id":"{USER}","suppress":false,"session_id":"{}","self_video":false,"self_mute":{},"self_deaf":{},"request_to_speak_timestamp":null,"mute":false,"member":{},"guild_id":"{GUILD}","deaf":false,"channel_id":{}}}"#,
                text::hash(rng),
                rng.bool(),
                rng.bool(),
                member(rng, Some(USER)),
                if rng.u8(0..3) == 0 { "null".to_owned() } else { format!("\"{VOICE}\"") }
            ),
            _ => "{}".to_owned(),
        };
        Self { kind, head: format!(r#"{{"t":"{name}","s":"#).into_bytes(), parts: parse(&body) }
    }
}

fn parse(body: &str) -> Vec<(Vec<u8>, Option<Slot>)> {
    let mut pieces = body.split(MARK);
    let mut parts = Vec::new();
    let mut literal = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let mut letters = piece.chars();
        let mut rest = 1;
        let slot = match letters.next() {
            Some('G') => Slot::Guild,
            Some('C') => Slot::Channel,
            Some('V') => Slot::Voice,
            Some('E') => Slot::Event,
            Some('U') => Slot::User,
            Some('P') => Slot::Earlier,
            Some('T') => Slot::Time,
            Some('S') => Slot::Seconds,
            Some('N') => Slot::Nonce,
            Some(_) | None => {
                rest = 2;
                Slot::Role(letters.next().and_then(|digit| digit.to_digit(10)).unwrap_or_default() as u8)
            }
        };
        parts.push((std::mem::take(&mut literal), Some(slot)));
        literal.extend_from_slice(&piece.as_bytes()[rest..]);
    }
    parts.push((literal, None));
    parts
}

fn roles(rng: &mut Rng) -> String {
    let mut list = String::new();
    for role in 0..rng.u8(0..6) {
        let _ = write!(list, "{}\"\u{1}R{}\"", if role > 0 { "," } else { "" }, role + rng.u8(0..4));
    }
    list
}

fn member(rng: &mut Rng, id: Option<&str>) -> String {
    let user = id.map_or_else(String::new, |id| format!(r#""user":{},"#, user(rng, id)));
    let nick = if rng.u8(0..4) == 0 { text::global_name(rng) } else { "null".to_owned() };
    format!(
        r#"{{{user}"roles":[{}],"premium_since":null,"pending":false,"nick":{nick},"mute":false,"joined_at":"{}","flags":{},"deaf":false,"communication_disabled_until":null,"banner":null,"avatar":null}}"#,
        roles(rng),
        text::past(rng),
        rng.u8(0..3)
    )
}

fn emoji(rng: &mut Rng) -> String {
    if rng.bool() {
        format!(r#"{{"name":"{}","id":null}}"#, ["👍", "🔥", "😂", "❤️", "🎉"][rng.usize(..5)])
    } else {
        format!(r#"{{"name":"pepe_{}","id":"{}","animated":{}}}"#, rng.u8(..), text::user_id(rng), rng.bool())
    }
}

fn presence(rng: &mut Rng) -> String {
    let status = ["online", "idle", "dnd", "offline"][rng.usize(..4)];
    let client = ["desktop", "mobile", "web"][rng.usize(..3)];
    let count = if status == "offline" { 0 } else { [0, 1, 1, 1, 2][rng.usize(..5)] };
    let activities = (0..count).map(|_| activity(rng)).collect::<Vec<_>>().join(",");
    let client_status = if status == "offline" { "{}".to_owned() } else { format!(r#"{{"{client}":"{status}"}}"#) };
    let user = if rng.u8(0..8) == 0 { user(rng, USER) } else { format!(r#"{{"id":"{USER}"}}"#) };
    format!(
        r#"{{"user":{user},"status":"{status}","processed_at_timestamp":{SECONDS}000,"guild_id":"{GUILD}","client_status":{client_status},"broadcast":null,"activities":[{activities}]}}"#
    )
}

fn activity(rng: &mut Rng) -> String {
    let created = 1_788_000_000_000_u64 + rng.u64(0..200_000_000);
    let hash = text::hash(rng);
    match rng.u8(0..8) {
        0 | 1 => format!(
            r#"{{"type":4,"state":{},"name":"Custom Status","id":"custom","emoji":{},"created_at":{created}}}"#,
            text::quote(&text::sentence(rng, 5)),
            emoji(rng)
        ),
        2..=4 => {
            let user = text::user_id(rng);
            format!(
                r#"{{"type":2,"timestamps":{{"start":{created},"end":{}}},"sync_id":"{}","state":{},"session_id":"{hash}","party":{{"id":"spotify:{user}"}},"name":"Spotify","id":"spotify:1","flags":48,"details":{},"created_at":{created},"assets":{{"large_text":{},"large_image":"spotify:ab67616d0000b273{}"}}}}"#,
                created + rng.u64(120_000..400_000),
                &text::hash(rng)[..22],
                text::quote(&text::sentence(rng, 2)),
                text::quote(&text::sentence(rng, 4)),
                text::quote(&text::sentence(rng, 3)),
                &text::hash(rng)[..24]
            )
        }
        _ => format!(
            r#"{{"type":0,"timestamps":{{"start":{created}}},"state":{},"session_id":"{hash}","party":{{"size":[{},5],"id":"{}"}},"name":"{}","id":"{}","details":{},"created_at":{created},"assets":{{"small_text":"Level {}","small_image":"{}","large_text":{},"large_image":"mp:external/{}/https/cdn.example.net/{}.png"}},"application_id":"{}"}}"#,
            text::quote(&text::sentence(rng, 3)),
            rng.u8(1..6),
            text::hash(rng),
            ["VALORANT", "League of Legends", "Minecraft", "Rocket League", "原神", "Visual Studio Code"]
                [rng.usize(..6)],
            &hash[..16],
            text::quote(&text::sentence(rng, 4)),
            rng.u8(..),
            text::user_id(rng),
            text::quote(&text::sentence(rng, 3)),
            text::hash(rng),
            rng.u32(..),
            text::user_id(rng)
        ),
    }
}

fn message(rng: &mut Rng, people: &People, edited: bool) -> String {
    let words = match rng.u8(0..10) {
        0..=5 => rng.usize(1..9),
        6..=8 => rng.usize(9..26),
        _ => rng.usize(26..80),
    };
    let content = text::quote(&text::sentence(rng, words));
    let mentions = if rng.u8(0..14) == 0 { mention(people.pick(rng)) } else { String::new() };
    let embeds = if rng.u8(0..12) == 0 { embed(rng) } else { String::new() };
    let attachments = if rng.u8(0..16) == 0 { attachment(rng) } else { String::new() };
    let (kind, reply) = if rng.u8(0..9) == 0 {
        (
            19,
            format!(
                r#","referenced_message":{},"message_reference":{{"type":0,"message_id":"{EARLIER}","guild_id":"{GUILD}","channel_id":"{CHANNEL}"}}"#,
                referenced(rng, people)
            ),
        )
    } else {
        (0, String::new())
    };
    let author = people.pick(rng);
    let edit = if edited { format!("\"{TIME}\"") } else { "null".to_owned() };
    format!(
        r#"{{"type":{kind},"tts":false,"timestamp":"{TIME}"{reply},"pinned":false,"nonce":"{NONCE}","mentions":[{mentions}],"mention_roles":[],"mention_everyone":false,"member":{},"id":"{EVENT}","flags":0,"embeds":[{embeds}],"edited_timestamp":{edit},"content":{content},"components":[],"channel_type":0,"channel_id":"{CHANNEL}","author":{},"attachments":[{attachments}],"guild_id":"{GUILD}"}}"#,
        author.member, author.user,
    )
}

fn mention(person: &Person) -> String {
    format!(r#"{},"member":{}}}"#, &person.user[..person.user.len() - 1], person.member)
}

fn referenced(rng: &mut Rng, people: &People) -> String {
    let words = rng.usize(3..20);
    format!(
        r#"{{"type":0,"tts":false,"timestamp":"{}","pinned":false,"mentions":[],"mention_roles":[],"mention_everyone":false,"id":"{EARLIER}","flags":0,"embeds":[],"edited_timestamp":null,"content":{},"components":[],"channel_id":"{CHANNEL}","author":{},"attachments":[]}}"#,
        text::past(rng),
        text::quote(&text::sentence(rng, words)),
        people.pick(rng).user
    )
}

fn embed(rng: &mut Rng) -> String {
    let (title, words) = (text::quote(&text::sentence(rng, 5)), rng.usize(5..60));
    format!(
        r#"{{"url":"https://example.net/watch?v={}","type":"rich","title":{title},"thumbnail":{{"width":1280,"url":"https://example.net/{}.jpg","proxy_url":"https://images-ext-1.example.net/external/{}/https/example.net/maxresdefault.jpg","placeholder_version":1,"placeholder":"{}","height":720,"flags":0,"content_type":"image/jpeg"}},"provider":{{"name":"Example"}},"description":{},"color":{},"author":{{"name":{}}}}}"#,
        &text::hash(rng)[..11],
        rng.u32(..),
        text::hash(rng),
        &text::hash(rng)[..24],
        text::quote(&text::sentence(rng, words)),
        rng.u32(0..0x00ff_ffff),
        text::quote(&text::sentence(rng, 2)),
    )
}

fn attachment(rng: &mut Rng) -> String {
    let (id, hash) = (text::user_id(rng), text::hash(rng));
    format!(
        r#"{{"width":{0},"url":"https://cdn.example.net/attachments/{CHANNEL}/{id}/image.png?ex=68b4c1d2&is=68b37052&hm={hash}&","size":{1},"proxy_url":"https://media.example.net/attachments/{CHANNEL}/{id}/image.png?ex=68b4c1d2&is=68b37052&hm={hash}&","placeholder_version":1,"placeholder":"{2}","id":"{id}","height":{0},"flags":0,"filename":"image.png","content_type":"image/png"}}"#,
        rng.u16(200..2000),
        rng.u32(10_000..5_000_000),
        &text::hash(rng)[..24],
    )
}
