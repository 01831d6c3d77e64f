//! One event as a line, and a line as one event. `d` stands last and as it came: what is before it is looked at, and `d`
//! itself by nobody.

use std::io::Write as _;

use data_encoding::BASE64;
use serde::Deserialize;

use super::secrets::Searcher;
use crate::session::GuildChange;

/// What stands before the payload, in every line that we write. No text can hold it, because of its quotes.
const DATA: &[u8] = br#","d":"#;

/// An event as it waits for its line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) name: &'a str,
    pub(super) sequence: Option<u64>,
    pub(super) shard: (u32, u32),
    /// Unix time in seconds.
    pub(super) at: f64,
    pub(super) guild_change: Option<GuildChange>,
}

/// Appends the line of an event. Whether secrets were left out.
pub(super) fn write(facts: &Facts<'_>, data: &[u8], searcher: Option<&Searcher>, out: &mut Vec<u8>) -> bool {
    // Writing into memory does not fail, and a text can always be written.
    out.extend_from_slice(br#"{"t":"#);
    let _ = serde_json::to_writer(&mut *out, facts.name);
    out.extend_from_slice(br#","s":"#);
    match facts.sequence {
        Some(sequence) => {
            let _ = write!(out, "{sequence}");
        }
        None => out.extend_from_slice(b"null"),
    }
    let _ = write!(out, r#","shard":[{},{}],"at":{:.6}"#, facts.shard.0, facts.shard.1, facts.at);
    if let Some(change) = facts.guild_change {
        let _ = write!(out, r#","guild_change":"{}""#, change.name());
    }
    let mut redacted = false;
    let cleaned = searcher.map(|searcher| {
        let mut cleaned = Vec::with_capacity(data.len());
        let paths = searcher.copy(data, &mut cleaned);
        if !paths.is_empty() {
            redacted = true;
            out.extend_from_slice(br#","redacted":"#);
            let _ = serde_json::to_writer(&mut *out, &paths);
        }
        cleaned
    });
    let data = match cleaned.as_deref().unwrap_or(data) {
        // An event without `d`.
        b"" => b"null",
        data => data,
    };
    if memchr::memchr2(b'\n', b'\r', data).is_some() || std::str::from_utf8(data).is_err() {
        // It would not be a line, or not be text.
        out.extend_from_slice(br#","d64":""#);
        out.extend_from_slice(BASE64.encode(data).as_bytes());
        out.extend_from_slice(b"\"}\n");
    } else {
        out.extend_from_slice(DATA);
        out.extend_from_slice(data);
        out.extend_from_slice(b"}\n");
    }
    redacted
}

/// What a line says besides its payload.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    pub(super) t: String,
    pub(super) s: Option<u64>,
    #[serde(default = "alone")]
    pub(super) shard: (u32, u32),
    pub(super) at: f64,
    #[serde(default)]
    pub(super) guild_change: Option<String>,
    #[serde(default)]
    pub(super) redacted: Vec<String>,
    #[serde(default)]
    d64: Option<String>,
}

fn alone() -> (u32, u32) {
    (0, 1)
}

/// Reads a line, without its end.
pub(super) fn read(line: &[u8]) -> Result<(Head, Vec<u8>), String> {
    let (mut head, data) = split(line)?;
    // A later version may know others.
    let known = |name: &String| GuildChange::ALL.iter().any(|change| change.name() == name);
    head.guild_change = head.guild_change.filter(known);
    Ok((head, data))
}

fn split(line: &[u8]) -> Result<(Head, Vec<u8>), String> {
    let Some(at) = memchr::memmem::find(line, DATA) else {
        let head: Head = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let text = head.d64.as_deref().ok_or_else(|| "it has no \"d\" at its end".to_owned())?;
        let data = BASE64.decode(text.as_bytes()).map_err(|error| format!("d64: {error}"))?;
        return Ok((head, data));
    };
    let head = [&line[..at], b"}"].concat();
    let head = serde_json::from_slice(&head).map_err(|error| error.to_string())?;
    match line[at + DATA.len()..].trim_ascii_end().split_last() {
        Some((b'}', data)) if !data.is_empty() => Ok((head, data.to_vec())),
        _ => Err("it does not end with a }".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Facts, read, write};
    use crate::{recording::secrets::Searcher, session::GuildChange};

    fn facts(name: &str) -> Facts<'_> {
        Facts { name, sequence: Some(7), shard: (3, 16), at: 1_764_347_000.123_456, guild_change: None }
    }

    fn line(facts: &Facts<'_>, data: &[u8], searcher: Option<&Searcher>) -> String {
        let mut out = Vec::new();
        write(facts, data, searcher, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_as_documented() {
        assert_eq!(
            line(&facts("MESSAGE_CREATE"), br#"{"id":"1"}"#, None),
            "{\"t\":\"MESSAGE_CREATE\",\"s\":7,\"shard\":[3,16],\"at\":1764347000.123456,\"d\":{\"id\":\"1\"}}\n"
        );
        let facts = Facts { sequence: None, guild_change: Some(GuildChange::Joined), ..facts("GUILD_CREATE") };
        assert_eq!(
            line(&facts, br#"{"token":"hush"}"#, Some(&Searcher::new())),
            "{\"t\":\"GUILD_CREATE\",\"s\":null,\"shard\":[3,16],\"at\":1764347000.123456,\"guild_change\":\"joined\",\
             \"redacted\":[\"token\"],\"d\":{\"token\":\"\"}}\n"
        );
        assert!(line(&facts, b"[1,\n2]", None).ends_with(",\"d64\":\"WzEsCjJd\"}\n"));
    }

    #[test]
    fn what_is_no_line_says_why() {
        for (line, why) in [
            ("", "EOF"),
            ("{}", "missing field"),
            (r#"{"t":"A","s":1,"at":1}"#, "no \"d\""),
            (r#"{"t":"A","s":1,"at":1,"d":{}"#, "trailing"),
            (r#"{"t":"A","s":1,"at":1,"d":}"#, "does not end"),
            (r#"{"t":"A","s":1,"at":1,"d64":"?"}"#, "d64"),
            (r#"{"t":"A","s":-1,"at":1,"d":1}"#, "invalid value"),
            (r#"{"t":"A","s":1,"shard":[-1,1],"at":1,"d":1}"#, "invalid value"),
        ] {
            match read(line.as_bytes()) {
                Err(error) => assert!(error.contains(why), "{line}: {error}"),
                // What lacks a bracket inside is the payload's affair.
                Ok((_, data)) => assert_eq!((line, &data[..]), (r#"{"t":"A","s":1,"at":1,"d":{}"#, &b"{"[..])),
            }
        }
        let changed = read(br#"{"t":"A","s":1,"at":1,"guild_change":"sold","d":1}"#).unwrap();
        assert_eq!(changed.0.guild_change, None);
        let (head, data) = read(br#"{"t":"A","s":1,"at":1.5,"later":[],"d":[1] }"#).unwrap();
        assert_eq!((head.t.as_str(), head.shard, head.at, &data[..]), ("A", (0, 1), 1.5, &b"[1] "[..]));
    }

    #[test]
    fn an_event_without_d_is_one_of_null() {
        for searcher in [None, Some(&Searcher::new())] {
            let mut out = Vec::new();
            write(&facts("RESUMED"), b"", searcher, &mut out);
            out.pop();
            assert_eq!(read(&out).unwrap().1, b"null");
        }
    }

    proptest! {
        #[test]
        fn a_payload_comes_back_byte_for_byte(
            name in "\\PC{0,8}|.*\",\"d\":.*",
            data in prop_oneof![prop::collection::vec(any::<u8>(), 1..40), "[{}\",d:\\\\\n ]{1,20}".prop_map(String::into_bytes)],
        ) {
            let mut out = Vec::new();
            write(&facts(&name), &data, None, &mut out);
            prop_assert_eq!(out.pop(), Some(b'\n'));
            prop_assert!(!out.contains(&b'\n'));
            let (head, read) = read(&out).unwrap();
            prop_assert_eq!((head.t, head.s, head.shard, read), (name, Some(7), (3, 16), data));
        }
    }
}
