//! What opens a session, a voice connection or an interaction, cut out of an event. Everything else keeps its bytes.

use std::ops::Range;

use memchr::memmem::Finder;
use serde::de::IgnoredAny;

use crate::protocol::{
    fields,
    string::{self, Contents},
};

/// The keys whose values are secret, wherever they stand: of READY, voice states and servers, interactions, webhooks and
/// activities. The table of the whole project; the log of payloads reads it too.
pub const SECRET_KEYS: [&str; 3] = ["token", "session_id", "secrets"];

/// Deeper than any event of Discord's. What is deeper still is not looked through.
const DEPTH: usize = 100;

/// So many paths are told of one event, and so many bytes of each: the keys in them are the server's.
const PATHS: usize = 64;
const PATH: usize = 1_024;
/// In place of what is too much.
const MORE: &str = "\u{2026}";

/// Looks for secrets; made once for many events.
#[derive(Debug)]
pub(super) struct Searcher {
    keys: [Finder<'static>; 3],
    escape: Finder<'static>,
}

/// A secret, and what stands in its place.
struct Cut {
    place: Range<usize>,
    instead: &'static [u8],
}

impl Searcher {
    pub(super) fn new() -> Self {
        Self { keys: SECRET_KEYS.map(Finder::new), escape: Finder::new(br"\u") }
    }

    /// Appends `data` without its secrets to `out`, and gives the dotted paths of these, without the numbers of arrays; `*`:
    /// it cannot be looked through, and all of it is left out.
    pub(super) fn copy(&self, data: &[u8], out: &mut Vec<u8>) -> Vec<String> {
        // A key may be spelled with escapes; most events have neither these nor such a word.
        let suspicious = self.keys.iter().any(|key| key.find(data).is_some()) || self.escape.find(data).is_some();
        let mut paths = Vec::new();
        let cuts = match suspicious {
            // What is no JSON may be read in more than one way, and a secret found in another one than ours.
            true if serde_json::from_slice::<IgnoredAny>(data).is_err() => None,
            true => find(data, &mut paths),
            false => Some(Vec::new()),
        };
        let Some(cuts) = cuts else {
            out.extend_from_slice(b"null");
            return vec!["*".to_owned()];
        };
        let mut at = 0;
        for cut in cuts {
            out.extend_from_slice(&data[at..cut.place.start]);
            out.extend_from_slice(cut.instead);
            at = cut.place.end;
        }
        out.extend_from_slice(&data[at..]);
        paths
    }
}

/// One container on the way down: whether it is an object, and the key at which it stands.
type Level = (bool, Option<String>);

/// `None`: it is no JSON, or too deep.
fn find(data: &[u8], paths: &mut Vec<String>) -> Option<Vec<Cut>> {
    let mut cuts = Vec::new();
    let mut levels: Vec<Level> = Vec::new();
    let mut key: Option<String> = None;
    let mut key_is_next = false;
    let mut at = 0;
    while let Some(byte) = data.get(at) {
        match byte {
            b'"' => {
                let Contents { end, escaped } = string::contents(data, at + 1)?;
                let raw = &data[at + 1..end];
                at = end + 1;
                if !std::mem::take(&mut key_is_next) {
                    continue;
                }
                let name = if escaped { string::unescape(raw) } else { String::from_utf8_lossy(raw).into_owned() };
                at = blanks(data, at);
                if data.get(at) != Some(&b':') {
                    return None;
                }
                at = blanks(data, at + 1);
                if SECRET_KEYS.contains(&name.as_str()) {
                    let end = fields::value_end(data, at).ok()?;
                    if let Some(instead) = instead_of(&data[at..end]) {
                        note(paths, &levels, &name);
                        cuts.push(Cut { place: at..end, instead });
                    }
                    at = end;
                } else {
                    key = Some(name);
                }
                continue;
            }
            b'{' | b'[' => {
                if levels.len() == DEPTH {
                    return None;
                }
                key_is_next = *byte == b'{';
                levels.push((key_is_next, key.take()));
            }
            b'}' | b']' => {
                let (object, _) = levels.pop()?;
                if object != (*byte == b'}') {
                    return None;
                }
                key_is_next = false;
                key = None;
            }
            b',' => {
                key_is_next = levels.last()?.0;
                key = None;
            }
            _ => {}
        }
        at += 1;
    }
    levels.is_empty().then_some(cuts)
}

/// Of the same kind, so that classes still fit; `None`: no secret stands there.
fn instead_of(value: &[u8]) -> Option<&'static [u8]> {
    let instead: &[u8] = match value.first()? {
        b'"' => br#""""#,
        b'{' => b"{}",
        b'[' => b"[]",
        b'n' | b't' | b'f' => return None,
        _ => b"0",
    };
    (value != instead).then_some(instead)
}

fn note(paths: &mut Vec<String>, levels: &[Level], name: &str) {
    if paths.len() > PATHS {
        return;
    }
    if paths.len() == PATHS {
        paths.push(MORE.to_owned());
        return;
    }
    let keys = || levels.iter().filter_map(|(_, key)| key.as_deref());
    let long = keys().map(str::len).sum::<usize>() > PATH;
    let path = if long { [MORE, name].join(".") } else { keys().chain([name]).collect::<Vec<_>>().join(".") };
    if !paths.contains(&path) {
        paths.push(path);
    }
}

fn blanks(data: &[u8], at: usize) -> usize {
    at + data[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{SECRET_KEYS, Searcher};

    fn without(data: &str) -> (String, Vec<String>) {
        let mut out = Vec::new();
        let paths = Searcher::new().copy(data.as_bytes(), &mut out);
        (String::from_utf8(out).unwrap(), paths)
    }

    #[test]
    fn paths_are_bounded_in_number_and_length_and_all_is_cut() {
        let many = (0..200).map(|number| format!(r#""k{number}":{{"token":"hush"}}"#)).collect::<Vec<_>>().join(",");
        let (out, paths) = without(&format!("{{{many}}}"));
        assert!(!out.contains("hush"));
        assert_eq!((paths.len(), paths[0].as_str(), paths[64].as_str()), (65, "k0.token", "\u{2026}"));
        let long = "k".repeat(60_000);
        let (out, paths) = without(&format!(r#"{{"{long}":[{{"token":"hush"}},{{"token":"hush"}}]}}"#));
        assert!(!out.contains("hush"));
        assert_eq!(paths, ["\u{2026}.token"]);
    }

    #[test]
    fn the_path_of_an_element_has_no_key_of_the_one_before() {
        let (_, paths) =
            without(r#"{"states":[{"session_id":"a","user_id":"1"},{"session_id":"b"}],"n":1,"m":[{"token":"t"}]}"#);
        assert_eq!(paths, ["states.session_id", "m.token"]);
    }

    #[test]
    fn only_secrets_are_cut_out() {
        for (data, expected, paths) in [
            (r#"{"id":"1", "token" : "hush" ,"n":[1e3]}"#, r#"{"id":"1", "token" : "" ,"n":[1e3]}"#, &["token"][..]),
            (r#"{"t\u006fken":"hu\"sh","x":"\u00e9"}"#, r#"{"t\u006fken":"","x":"\u00e9"}"#, &["token"]),
            (
                r#"{"voice_states":[{"session_id":"a"},{"session_id":"b","token":null}],"content":"\"token\":1"}"#,
                r#"{"voice_states":[{"session_id":""},{"session_id":"","token":null}],"content":"\"token\":1"}"#,
                &["voice_states.session_id"],
            ),
            (
                r#"{"secrets":{"join":"hush"},"token":[1],"a":{"token":7}}"#,
                r#"{"secrets":{},"token":[],"a":{"token":0}}"#,
                &["secrets", "token", "a.token"],
            ),
            (r#"{"token":"a","token":"b"}"#, r#"{"token":"","token":""}"#, &["token"]),
            (r#"{"name":"token","value":"session_id"}"#, r#"{"name":"token","value":"session_id"}"#, &[]),
            (r#"["token","x"]"#, r#"["token","x"]"#, &[]),
            (r#"{"token":""}"#, r#"{"token":""}"#, &[]),
        ] {
            assert_eq!(without(data), (expected.to_owned(), paths.iter().map(ToString::to_string).collect()));
        }
    }

    #[test]
    fn what_cannot_be_looked_through_is_left_out() {
        let deep = format!(r#"{}{{"token":"hush"}}{}"#, "[".repeat(300), "]".repeat(300));
        for broken in [
            r#"{"a":1 "token":"hush"}"#,
            "{'token':'hush'}",
            r#"{token:"hush"}"#,
            r#"{"token":"hush"} {}"#,
            r#"{"token":"hush""#,
            r#"{"token""#,
            r#"{"token":"hu"#,
            r#"{"x":1]"token":"hush"}"#,
            &deep,
        ] {
            assert_eq!(without(broken), ("null".to_owned(), vec!["*".to_owned()]), "{broken}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let key = prop::sample::select(vec!["token", "session_id", "secrets", "a", "b\"é", "tok"]);
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            "[a\"\\\\é\u{1}]{0,3}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 30, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(key.clone().prop_map(str::to_owned), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn hide(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map.iter_mut() {
                    match value {
                        _ if !SECRET_KEYS.contains(&key.as_str()) => hide(value),
                        Value::String(text) => text.clear(),
                        Value::Object(map) => map.clear(),
                        Value::Array(list) => list.clear(),
                        _ => {}
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(hide),
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_json_tree(value in values()) {
            let (out, _) = without(&value.to_string());
            let mut expected = value;
            hide(&mut expected);
            prop_assert_eq!(out, expected.to_string());
        }

        #[test]
        fn no_bytes_do_harm(data in "[\\[\\]{}\",:\\\\a token]{0,40}") {
            let _ = without(&data);
        }
    }
}
