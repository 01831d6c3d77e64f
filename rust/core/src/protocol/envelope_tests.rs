//! The envelope scan against `serde_json`, against hostile documents, and row by row.

use std::ops::Range;

use super::{Envelope, EnvelopeError, EventName, is_blank, scan};
use crate::protocol::EventType;
use proptest::prelude::*;
use serde_json::Value;

fn text(document: &str, range: &Range<usize>) -> String {
    document[range.clone()].to_owned()
}

/// Scans a document that consists of one object only.
fn one(document: &str) -> Envelope {
    let envelope = scan(document.as_bytes()).unwrap_or_else(|error| panic!("{error}: {document}"));
    assert!(is_blank(&document.as_bytes()[envelope.end..]));
    envelope
}

#[test]
fn s2_discords_own_order() {
    let document = r#"{"t":"MESSAGE_CREATE","s":42,"op":0,"d":{"id":"1","op":9,"a":["}"]}}"#;
    let envelope = one(document);
    assert_eq!((envelope.op, envelope.sequence), (Some(0), Some(42)));
    assert_eq!(envelope.event, EventName::Known(EventType::MESSAGE_CREATE));
    assert_eq!(text(document, &envelope.data), r#"{"id":"1","op":9,"a":["}"]}"#);
    assert_eq!(envelope.end, document.len());
}

#[test]
fn control_payloads() {
    let envelope = one(r#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250,"_trace":["[\"x\"]"]}}"#);
    assert_eq!((envelope.op, envelope.sequence, envelope.event), (Some(10), None, EventName::None));
    let envelope = one(" {\"op\" : 11 }\r\n\t");
    assert_eq!((envelope.op, envelope.data), (Some(11), 0..0));
    let document = r#"{"op":9,"d":false}"#;
    assert_eq!(text(document, &one(document).data), "false");
    assert_eq!(one("{}"), Envelope { op: None, sequence: None, event: EventName::None, data: 0..0, end: 2 });
}

#[test]
fn numbers_that_are_no_opcode_or_sequence_are_none() {
    for (number, op, sequence) in [
        ("0", Some(0), Some(0)),
        ("255", Some(255), Some(255)),
        ("256", None, Some(256)),
        ("18446744073709551615", None, Some(u64::MAX)),
        ("18446744073709551616", None, None),
        ("99999999999999999999999999", None, None),
        ("-1", None, None),
        ("-0", None, None),
        ("1.5", None, None),
        ("1.", None, None),
        ("1.0.0", None, None),
        ("1e999", None, None),
        ("1e-2", None, None),
        ("-1.0", None, None),
        ("-0.0", None, None),
        ("00.0", None, None),
        ("true", None, None),
        ("\"1\"", None, None),
        ("[1]", None, None),
        ("{\"op\":1}", None, None),
        ("01", None, None),
    ] {
        let envelope = one(&format!(r#"{{"op":{number},"s":{number}}}"#));
        assert_eq!((envelope.op, envelope.sequence), (op, sequence), "{number}");
    }
}

#[test]
fn s2_whole_floats_are_whole_numbers() {
    for (number, op, sequence) in [
        ("0.0", Some(0), Some(0)),
        ("10.0", Some(10), Some(10)),
        ("1.10e1", Some(11), Some(11)),
        ("256.0", None, Some(256)),
        ("9007199254740992.0", None, Some(1 << 53)),
        // Beyond, a float is no number that somebody counted to.
        ("9007199254740994.0", None, None),
        ("1e18", None, None),
        ("1.0000000000000000000000000000000000000000000000000000000000000000", None, None),
    ] {
        let envelope = one(&format!(r#"{{"op":{number},"s":{number}}}"#));
        assert_eq!((envelope.op, envelope.sequence), (op, sequence), "{number}");
    }
}

#[test]
fn s2_of_a_repeated_key_the_last_counts_whatever_it_is() {
    let envelope = one(r#"{"op":1,"s":2,"t":"READY","d":1,"d":22,"t":7,"s":"x","op":null}"#);
    assert_eq!((envelope.op, envelope.sequence, envelope.event), (None, None, EventName::None));
    assert_eq!(envelope.data, 36..38);
}

#[test]
fn s2_escapes_in_keys_and_names() {
    let envelope = one(
        r#"{"\u006f\u0070":1,"\u0073":7,"\u0074":"MESSAGE\u005fCREATE","\u0064":[],"\u006f\u0070x":9,"\u004fp":3}"#,
    );
    assert_eq!((envelope.op, envelope.sequence), (Some(1), Some(7)));
    assert_eq!(envelope.event, EventName::Known(EventType::MESSAGE_CREATE));
    assert_eq!(envelope.data.len(), 2);
}

#[test]
fn names_that_are_not_in_the_table_can_be_read() {
    let document = r#"{"t":"SOME\u005fNEW\nEVENT \ud800","op":0}"#;
    let envelope = one(document);
    assert_eq!(envelope.event.text(document.as_bytes()).unwrap(), "SOME_NEW\nEVENT \u{fffd}");
    assert_eq!(envelope.event.event_type(), Some(EventType::UNKNOWN));
    assert_eq!(one(r#"{"t":"UNKNOWN"}"#).event, EventName::Other(6..13));
    assert_eq!(one(r#"{"t":""}"#).event, EventName::Other(6..6));
    assert_eq!(EventName::None.text(b""), None);
    assert_eq!(EventName::Known(EventType::READY).text(b"").unwrap(), "READY");
}

#[test]
fn several_payloads_in_one_message() {
    let message = b"{\"op\":1,\"d\":{}}\n{\"op\":7} {\"op\":11}  ";
    let (mut at, mut ops) = (0, Vec::new());
    while !is_blank(&message[at..]) {
        let envelope = scan(&message[at..]).unwrap();
        at += envelope.end;
        ops.push(envelope.op.unwrap());
    }
    assert_eq!(ops, [1, 7, 11]);
}

#[test]
fn what_is_no_object_is_an_error_that_says_where() {
    let unexpected = |offset, byte| Err(EnvelopeError::Unexpected { offset, byte });
    assert_eq!(scan(b""), Err(EnvelopeError::Truncated));
    assert_eq!(scan(b" \n"), Err(EnvelopeError::Truncated));
    assert_eq!(scan(b"\xEF\xBB\xBF{\"op\":1}"), unexpected(0, 0xEF));
    assert_eq!(scan(b"[1]"), unexpected(0, b'['));
    assert_eq!(scan(b"{op:1}"), unexpected(1, b'o'));
    assert_eq!(scan(b"{\"op\":1,}"), unexpected(8, b'}'));
    assert_eq!(scan(b"{,}"), unexpected(1, b','));
    assert_eq!(scan(b"{\"op\" 1}"), unexpected(6, b'1'));
    assert_eq!(scan(b"{\"op\":}"), unexpected(6, b'}'));
    assert_eq!(scan(b"{\"op\":1 2}"), unexpected(8, b'2'));
    assert_eq!(scan(b"{\"op\":1\0}"), unexpected(7, 0));
    assert_eq!(scan(b"{\"d\":[1}}"), unexpected(7, b'}'));
    assert_eq!(scan(b"{\"d\":{\"a\":[]]}"), unexpected(12, b']'));
}

#[test]
fn bytes_inside_d_may_be_anything() {
    let mut document = br#"{"op":0,"s":3,"t":"READY","d":{"a":""#.to_vec();
    document.extend_from_slice(b"\xff\xfe\0\xc0\x80 \\ud800 \xEF\xBB\xBF");
    document.extend_from_slice(br#"","b":1e999,"c":-}}"#);
    let envelope = scan(&document).unwrap();
    assert_eq!((envelope.op, envelope.sequence, envelope.end), (Some(0), Some(3), document.len()));
}

#[test]
fn hostile_sizes_complete() {
    for (open, close) in [("[", "]"), ("{\"d\":", "}")] {
        let deep = format!("{{\"op\":0,\"d\":{}1{}}}", open.repeat(100_000), close.repeat(100_000));
        assert_eq!(one(&deep).data.len(), deep.len() - 13);
        assert_eq!(scan(&deep.as_bytes()[..deep.len() - 1]), Err(EnvelopeError::Truncated));
    }
    let number = format!("{{\"s\":{0},\"d\":{0},\"op\":1}}", "7".repeat(10_000_000));
    let envelope = one(&number);
    assert_eq!((envelope.op, envelope.sequence, envelope.data.len()), (Some(1), None, 10_000_000));
    let keys = format!("{{{}\"op\":1}}", r#""\u006f\u0070":2,"op":3,"#.repeat(500_000));
    assert_eq!(one(&keys).op, Some(1));
    let backslashes = format!("{{\"t\":\"{0}\",\"d\":[\"{0}\"],\"{0}\":1}}", "\\\\".repeat(1_000_000));
    assert_eq!(one(&backslashes).event, EventName::Other(6..2_000_006));
}

/// A string's JSON text, with some characters written as escapes.
fn json_string(choices: &'static [&'static str]) -> BoxedStrategy<String> {
    let free = "[a-z\"\\\\{}\\[\\]:,\u{e4}\u{1f600}\n]{0,80}".prop_map(|text| serde_json::to_string(&text).unwrap());
    let chosen = (prop::sample::select(choices), any::<u16>()).prop_map(|(text, escapes)| {
        let characters = text.chars().enumerate();
        let body: String = characters
            .map(|(index, character)| match escapes >> (index % 16) & 3 {
                0 => format!("\\u{:04X}", character as u32),
                _ => character.to_string(),
            })
            .collect();
        format!("\"{body}\"")
    });
    let plain = prop::sample::select(choices).prop_map(|text| format!("\"{text}\""));
    prop_oneof![2 => free, 2 => chosen, 4 => plain].boxed()
}

fn blanks() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["", "", "", " ", "\n", "\t\r ", "        "][..])
}

fn members(keys: BoxedStrategy<String>, values: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let member = (blanks(), keys, blanks(), values, blanks())
        .prop_map(|(before, key, middle, value, after)| format!("{before}{key}{middle}:{after}{value}{middle}"));
    (prop::collection::vec(member, 0..9), blanks())
        .prop_map(|(members, blank)| format!("{{{blank}{}}}", members.join(",")))
        .boxed()
}

fn value() -> BoxedStrategy<String> {
    let numbers = &[
        "0",
        "-0",
        "7",
        "255",
        "256",
        "-1",
        "1.0",
        "1e2",
        "18446744073709551615",
        "18446744073709551616",
        "null",
        "true",
    ][..];
    let leaf = prop_oneof![
        4 => prop::sample::select(numbers).prop_map(str::to_owned),
        1 => any::<u64>().prop_map(|number| number.to_string()),
        3 => json_string(&["READY", "MESSAGE_CREATE", "SOMETHING_NEW", "op", ""]),
    ];
    leaf.prop_recursive(5, 60, 9, |inner| {
        let array = prop::collection::vec(inner.clone(), 0..9).prop_map(|values| format!("[{}]", values.join(" , ")));
        prop_oneof![array, members(key(), inner)]
    })
    .boxed()
}

fn key() -> BoxedStrategy<String> {
    json_string(&["op", "s", "t", "d", "id"])
}

fn document() -> impl Strategy<Value = String> {
    (blanks(), members(key(), value())).prop_map(|(before, object)| format!("{before}{object}"))
}

/// What `serde_json` reads in the same document; the last of repeated keys wins there too.
fn agrees_with_serde(document: &str) {
    let parsed: Value = serde_json::from_str(document).unwrap();
    let envelope = one(document);
    let whole = |key: &str| {
        let value = parsed.get(key)?;
        let float = value.as_f64().filter(|float| float.is_sign_positive() && float.fract() == 0.0 && *float < 1e6);
        value.as_u64().or(float.map(|float| float as u64))
    };
    assert_eq!(envelope.op, whole("op").and_then(|op| u8::try_from(op).ok()), "{document}");
    assert_eq!(envelope.sequence, whole("s"), "{document}");
    assert_eq!(
        envelope.event.text(document.as_bytes()).as_deref(),
        parsed.get("t").and_then(Value::as_str),
        "{document}"
    );
    let known = parsed.get("t").and_then(Value::as_str).and_then(|name| EventType::from_name(name.as_bytes()));
    assert_eq!(known, envelope.event.event_type().filter(|&event| event != EventType::UNKNOWN), "{document}");
    match parsed.get("d") {
        None => assert_eq!(envelope.data, 0..0),
        // Trimming would be noticed: the range is exactly the value's text.
        Some(data) => {
            let raw = text(document, &envelope.data);
            assert_eq!(raw.trim(), raw);
            assert_eq!(&serde_json::from_str::<Value>(&raw).unwrap(), data, "{document}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn s2_reads_what_serde_json_reads(document in document()) {
        agrees_with_serde(&document);
    }

    #[test]
    fn every_proper_prefix_is_an_error(document in document()) {
        for length in 0..document.len() {
            let prefix = &document.as_bytes()[..length];
            prop_assert_eq!(scan(prefix), Err(EnvelopeError::Truncated), "{}", length);
        }
    }

    #[test]
    fn what_follows_is_not_looked_at(document in document(), rest in prop::collection::vec(any::<u8>(), 0..200)) {
        let alone = scan(document.as_bytes()).unwrap();
        prop_assert_eq!(alone, scan(&[document.as_bytes(), &rest].concat()).unwrap());
    }

    #[test]
    fn a_damaged_document_is_read_as_serde_json_reads_it_or_not_at_all(
        document in document(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&b"\"\\{}[],: 0-te\0\xff"[..])), 1..4),
    ) {
        let mut bytes = document.into_bytes();
        for (index, byte) in damage {
            let position = index.index(bytes.len());
            bytes[position] = byte;
        }
        let scanned = scan(&bytes);
        if let Ok(document) = std::str::from_utf8(&bytes) && serde_json::from_str::<serde_json::Map<String, Value>>(document).is_ok() {
            agrees_with_serde(document);
        } else if let Ok(envelope) = scanned {
            prop_assert!(envelope.end <= bytes.len() && envelope.data.end <= envelope.end);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\"\\:,0tsd "[..])], 0..300)) {
        let _ = scan(&bytes);
        let _ = scan(&[b"{\"d\":".as_slice(), &bytes].concat());
    }
}
