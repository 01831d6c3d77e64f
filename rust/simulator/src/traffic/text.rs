//! Words, names and hashes of the generated traffic, from a seeded generator. Several scripts and emoji: JSON that is only
//! ASCII hides mistakes; one script to a text: that is how people write, and what a decoder of UTF-8 costs depends on it.

use fastrand::Rng;
use std::fmt::Write as _;

const ENGLISH: &[&str] = &[
    "the",
    "of",
    "and",
    "to",
    "in",
    "that",
    "you",
    "is",
    "it",
    "not",
    "have",
    "with",
    "this",
    "what",
    "game",
    "server",
    "anyone",
    "here",
    "please",
    "where",
    "when",
    "because",
    "thanks",
    "build",
    "update",
    "tonight",
    "raid",
    "queue",
    "patch",
    "really",
    "maybe",
    "someone",
    "channel",
    "moderator",
    "problem",
    "restart",
    "working",
    "version",
    "again",
    "lol",
    "wait",
    "already",
    "streaming",
    "music",
    "playlist",
    "tomorrow",
    "weekend",
    "practice",
    "level",
    "quest",
];

/// One of them to a sentence: people of one channel write one script, among English words.
const OTHERS: &[&[&str]] = &[
    &["für", "nächste", "Straße", "größer", "über", "schön"],
    &["où", "déjà", "garçon", "être", "ça", "après"],
    &["mañana", "niño", "qué", "acción", "español"],
    &["ação", "você", "não", "coração", "amanhã"],
    &["İstanbul", "şimdi", "değil", "çok", "güzel"],
    &["привет", "сегодня", "почему", "спасибо", "сервер"],
    &["こんにちは", "ありがとう", "今日", "配信", "お願いします"],
    &["游戏", "大家好", "更新", "什么时候", "谢谢"],
    &["안녕하세요", "오늘", "감사합니다", "서버"],
    &["مرحبا", "شكرا", "اليوم"],
    &["שלום", "תודה"],
    &["สวัสดี", "ขอบคุณ"],
    &["नमस्ते", "धन्यवाद"],
];

const EMOJI: &[&str] = &["😂", "🔥", "👍🏽", "❤️", "👨‍👩‍👧", "🇫🇷", "🎮", "✨"];

/// What JSON escapes, Markdown means, or phones put in by themselves.
const MARKS: &[&str] = &["it's", "\"quoted\"", "C:\\games", "50%", "a/b", "<3", "o_O", "can’t", "don’t", "—"];

const NAMES: &[&str] = &[
    "mason", "luna", "kestrel", "nova", "pixel", "otter", "raven", "sage", "quartz", "ember", "willow", "falcon",
    "miso", "zephyr", "cosmo", "juniper", "tofu", "atlas", "bramble", "comet", "dusk", "echo", "fjord", "glitch",
    "hazel", "iris",
];

const GLOBAL_NAMES: &[&str] = &[
    "Zoë",
    "Søren",
    "Łukasz",
    "Мария",
    "さくら",
    "지우",
    "小明",
    "✧ Luna ✧",
    "José María",
    "Ömer",
    "Nguyễn",
    "Ana 🌸",
    "the \"real\" one",
    "Æsir",
    "K.",
    "Δelta",
    "ᴍᴏᴏɴ",
    "Mr. Fox 🦊",
    "Priya",
    "أحمد",
];

/// A JSON string literal.
pub(super) fn quote(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

fn pick<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    from[rng.usize(..from.len())]
}

/// A sentence of `words` words, sometimes over two lines. Two of three are English, one of ten ends in an emoji.
pub(super) fn sentence(rng: &mut Rng, words: usize) -> String {
    let mut text = String::new();
    let script = if rng.u8(0..3) == 0 { OTHERS[rng.usize(..OTHERS.len())] } else { ENGLISH };
    for at in 0..words {
        if at > 0 {
            text.push(if at % 17 == 0 { '\n' } else { ' ' });
        }
        let from = match rng.u8(0..40) {
            0 => MARKS,
            1..=20 => script,
            _ => ENGLISH,
        };
        text.push_str(pick(rng, from));
    }
    if rng.u8(0..10) == 0 {
        text.push(' ');
        text.push_str(pick(rng, EMOJI));
    }
    text
}

/// A unique-style user name: lower case ASCII and digits.
pub(super) fn username(rng: &mut Rng) -> String {
    let (first, second) = (pick(rng, NAMES), pick(rng, NAMES));
    format!("{first}_{second}{}", rng.u16(0..9999))
}

/// A JSON literal: a display name, or null for the quarter who have none.
pub(super) fn global_name(rng: &mut Rng) -> String {
    match rng.u8(0..8) {
        0 | 1 => "null".to_owned(),
        2..=4 => quote(pick(rng, GLOBAL_NAMES)),
        _ => {
            let name = pick(rng, NAMES);
            quote(&format!("{}{}", name[..1].to_uppercase(), &name[1..]))
        }
    }
}

/// 32 hexadecimal digits, as of avatars and icons.
pub(super) fn hash(rng: &mut Rng) -> String {
    format!("{:032x}", rng.u128(..))
}

/// A JSON literal: an avatar hash or null, animated now and then.
pub(super) fn avatar(rng: &mut Rng) -> String {
    match rng.u8(0..10) {
        0 => "null".to_owned(),
        1 => format!("\"a_{}\"", hash(rng)),
        _ => format!("\"{}\"", hash(rng)),
    }
}

/// A past point in time, ISO 8601 with microseconds as Discord writes it.
pub(super) fn past(rng: &mut Rng) -> String {
    let mut text = String::new();
    let _ = write!(
        text,
        "{}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}000+00:00",
        rng.u16(2016..2026),
        rng.u8(1..13),
        rng.u8(1..29),
        rng.u8(0..24),
        rng.u8(0..60),
        rng.u8(0..60),
        rng.u16(0..1000)
    );
    text
}

/// A user snowflake of some other user.
pub(super) fn user_id(rng: &mut Rng) -> u64 {
    (rng.u64(20_000_000_000..330_000_000_000) << 22) | rng.u64(0..1 << 17)
}
