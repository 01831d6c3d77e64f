//! What the client sends, as compact JSON text.
//!
//! When it may be sent (limits, order, queue) is the session machine's and the limiter's business.

use std::fmt::{self, Write};

use super::intents::Intents;
use super::opcode::Opcode;
use super::string;

/// The longest payload that Discord accepts, in bytes of UTF-8; a longer one closes the connection with 4002.
///
/// Source: <https://discord.com/developers/docs/events/gateway#sending-events>.
pub const MAX_PAYLOAD_BYTES: usize = 4096;

/// What IDENTIFY tells Discord.
///
/// Source: <https://discord.com/developers/docs/events/gateway-events#identify>.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdentifyOptions<'a> {
    /// The bot's token, without the prefix `Bot `.
    pub token: &'a str,
    /// What to receive.
    pub intents: Intents,
    /// The shard's id and the number of shards; `None` for a bot that does not shard.
    pub shard: Option<(u32, u32)>,
    /// Members from which on a guild comes without its offline members, 50 to 250. Clamped to that.
    pub large_threshold: u8,
    /// Payload compression: zlib in binary frames. Discord ignores it under transport compression.
    pub compress: bool,
    /// The first presence, as ready-made JSON of an Update Presence payload.
    pub presence: Option<&'a str>,
    /// Who is connecting.
    pub properties: Properties<'a>,
}

/// The connection properties of IDENTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties<'a> {
    /// The operating system.
    pub os: &'a str,
    /// The library's name.
    pub browser: &'a str,
    /// The library's name.
    pub device: &'a str,
}

impl Default for Properties<'static> {
    fn default() -> Self {
        Self { os: std::env::consts::OS, browser: "propylon", device: "propylon" }
    }
}

impl fmt::Debug for IdentifyOptions<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IdentifyOptions")
            .field("token", &format_args!("<hidden>"))
            .field("intents", &self.intents)
            .field("shard", &self.shard)
            .field("large_threshold", &self.large_threshold)
            .field("compress", &self.compress)
            .field("presence", &self.presence)
            .field("properties", &self.properties)
            .finish()
    }
}

/// IDENTIFY (op 2): starts a session. The result holds the token: whoever sends it wipes it, nobody logs it.
pub fn identify(options: &IdentifyOptions<'_>) -> String {
    let IdentifyOptions { token, intents, shard, large_threshold, compress, presence, properties } = options;
    // Room for all of it: a string that grows leaves copies of the token behind.
    let texts = [*token, properties.os, properties.browser, properties.device].map(str::len).iter().sum::<usize>();
    let mut json = String::with_capacity(256 + 6 * texts + presence.map_or(0, str::len));
    json.push_str("{\"op\":2,\"d\":{\"token\":");
    string::write(&mut json, token);
    json.push_str(",\"properties\":{\"os\":");
    string::write(&mut json, properties.os);
    json.push_str(",\"browser\":");
    string::write(&mut json, properties.browser);
    json.push_str(",\"device\":");
    string::write(&mut json, properties.device);
    // Discord has a default for each of the last two; servers that are built on a model of another client may not.
    append(
        &mut json,
        format_args!(
            "}},\"intents\":{},\"large_threshold\":{},\"compress\":{compress}",
            intents.0,
            large_threshold.clamp(&50, &250)
        ),
    );
    if let Some((id, count)) = shard {
        append(&mut json, format_args!(",\"shard\":[{id},{count}]"));
    }
    if let Some(presence) = presence {
        json.push_str(",\"presence\":");
        json.push_str(presence);
    }
    json.push_str("}}");
    json
}

/// RESUME (op 6): continues a session from `sequence`. The result holds the token: whoever sends it wipes it, nobody logs it.
///
/// Source: <https://discord.com/developers/docs/events/gateway-events#resume>.
pub fn resume(token: &str, session_id: &str, sequence: u64) -> String {
    let mut json = String::with_capacity(96 + 6 * (token.len() + session_id.len()));
    json.push_str("{\"op\":6,\"d\":{\"token\":");
    string::write(&mut json, token);
    json.push_str(",\"session_id\":");
    string::write(&mut json, session_id);
    append(&mut json, format_args!(",\"seq\":{sequence}}}}}"));
    json
}

/// HEARTBEAT (op 1) with the last sequence, null before the first dispatch.
///
/// Source: <https://discord.com/developers/docs/events/gateway-events#heartbeat>.
pub fn heartbeat(sequence: Option<u64>) -> String {
    match sequence {
        Some(sequence) => raw(Opcode::Heartbeat.code(), &sequence.to_string()),
        None => raw(Opcode::Heartbeat.code(), "null"),
    }
}

/// Any payload: `data` is ready-made JSON and goes in as it is.
pub fn raw(op: u8, data: &str) -> String {
    let mut json = String::with_capacity(16 + data.len());
    append(&mut json, format_args!("{{\"op\":{op},\"d\":"));
    json.push_str(data);
    json.push('}');
    json
}

fn append(json: &mut String, text: fmt::Arguments<'_>) {
    json.write_fmt(text).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::{IdentifyOptions, Intents, Properties, heartbeat, identify, raw, resume};
    use serde_json::{Value, json};

    const OPTIONS: IdentifyOptions<'_> = IdentifyOptions {
        token: "to\"k\\en",
        intents: Intents(513),
        shard: None,
        large_threshold: 50,
        compress: false,
        presence: None,
        properties: Properties { os: "linux", browser: "b\n", device: "\u{e4}\u{1}" },
    };

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn s5_identify_always_says_compress_and_large_threshold_and_leaves_out_what_was_not_given() {
        let properties = json!({"os": "linux", "browser": "b\n", "device": "\u{e4}\u{1}"});
        let expected = json!({"op": 2, "d": {
            "token": "to\"k\\en", "properties": properties, "intents": 513, "large_threshold": 50,
            "compress": false,
        }});
        assert_eq!(parsed(&identify(&OPTIONS)), expected);
    }

    #[test]
    fn s5_identify_carries_shard_compress_and_presence() {
        let presence = r#"{"since":null,"activities":[],"status":"idle","afk":false}"#;
        let options = IdentifyOptions {
            shard: Some((3, 16)),
            compress: true,
            presence: Some(presence),
            large_threshold: 255,
            ..OPTIONS
        };
        let text = identify(&options);
        let data = &parsed(&text)["d"];
        assert_eq!((&data["shard"], &data["compress"]), (&json!([3, 16]), &json!(true)));
        assert_eq!((&data["presence"], &data["large_threshold"]), (&parsed(presence), &json!(250)));
        assert!(!text.contains(": ") && text.capacity() >= text.len());
    }

    #[test]
    fn debug_hides_the_token() {
        let text = format!("{OPTIONS:?}");
        assert!(text.contains("<hidden>") && !text.contains("k\\") && !text.contains("to\\"), "{text}");
    }

    #[test]
    fn the_other_commands_are_compact() {
        assert_eq!(resume("t", "s", 7), r#"{"op":6,"d":{"token":"t","session_id":"s","seq":7}}"#);
        assert_eq!(heartbeat(None), r#"{"op":1,"d":null}"#);
        assert_eq!(heartbeat(Some(u64::MAX)), r#"{"op":1,"d":18446744073709551615}"#);
        assert_eq!(raw(43, r#"{"guild_id":"1"}"#), r#"{"op":43,"d":{"guild_id":"1"}}"#);
    }
}
