//! Single values out of an event's raw JSON: each found and read on its own, so that an odd one costs no other, and
//! without a tree of the rest, so that hostile content costs no memory.

use super::{
    envelope::{EnvelopeError, byte, expect, scalar_end, skip_blanks},
    string, structural,
};

/// The raw values of the keys `names` of the object `data`; of a repeated key the last one. What is no object has none.
pub(crate) fn fields<'a, const N: usize>(data: &'a [u8], names: [&str; N]) -> [Option<&'a [u8]>; N] {
    let mut found = [None; N];
    // Up to where it is broken: what stands before that can be read.
    let _ = each_field(data, |key, value| {
        if let Some(at) = names.iter().position(|name| name.as_bytes() == key) {
            found[at] = Some(value);
        }
    });
    found
}

fn each_field<'a>(data: &'a [u8], mut take: impl FnMut(&[u8], &'a [u8])) -> Result<(), EnvelopeError> {
    let mut at = expect(data, skip_blanks(data, 0), b'{')?;
    loop {
        let start = expect(data, skip_blanks(data, at), b'"')?;
        let contents = string::contents(data, start).ok_or(EnvelopeError::Truncated)?;
        let raw = &data[start..contents.end];
        at = skip_blanks(data, expect(data, skip_blanks(data, contents.end + 1), b':')?);
        let end = value_end(data, at)?;
        if contents.escaped {
            take(string::unescape(raw).as_bytes(), &data[at..end]);
        } else {
            take(raw, &data[at..end]);
        }
        at = skip_blanks(data, end);
        if byte(data, at)? != b',' {
            return Ok(());
        }
        at += 1;
    }
}

/// The raw elements of the array `data`, up to where it is broken. What is no array has none.
pub(crate) fn elements(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut next = expect(data, skip_blanks(data, 0), b'[').ok();
    std::iter::from_fn(move || {
        let start = skip_blanks(data, next?);
        let end = value_end(data, start).ok()?;
        let after = skip_blanks(data, end);
        next = (data.get(after) == Some(&b',')).then_some(after + 1);
        Some(&data[start..end])
    })
}

/// Where the value at `start` ends.
pub(crate) fn value_end(data: &[u8], start: usize) -> Result<usize, EnvelopeError> {
    match byte(data, start)? {
        b'"' => Ok(string::contents(data, start + 1).ok_or(EnvelopeError::Truncated)?.end + 1),
        b'{' | b'[' => structural::container_end(data, start).ok_or(EnvelopeError::Truncated),
        _ => scalar_end(data, start),
    }
}

/// A raw value as text; `None` where it is none, or not Unicode.
pub(crate) fn text(raw: &[u8]) -> Option<String> {
    serde_json::from_slice(raw).ok()
}

/// A raw value as an id: Discord writes text, compatible servers numbers.
pub(crate) fn snowflake(raw: &[u8]) -> Option<u64> {
    match raw.first()? {
        b'"' => std::str::from_utf8(raw.get(1..raw.len() - 1)?).ok()?.parse().ok(),
        _ => serde_json::from_slice(raw).ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{elements, fields, snowflake, text};

    #[test]
    fn each_value_is_found_on_its_own() {
        let data = br#" { "a" : "x\"y" , "b":{"a":1,"c":[{}]},"a\u0062":[1, 2],"b" : 7.5e3 ,"c":null} "#;
        let [a, b, ab, c, d] = fields(data, ["a", "b", "ab", "c", "d"]);
        assert_eq!(a.and_then(text).as_deref(), Some("x\"y"));
        assert_eq!((b, c, d), (Some(&b"7.5e3"[..]), Some(&b"null"[..]), None), "the last one counts");
        assert_eq!(elements(ab.unwrap()).collect::<Vec<_>>(), [b"1", b"2"]);
    }

    #[test]
    fn f33_f34_what_is_odd_costs_no_other() {
        let data = br#"{"x":"\ud800","y":1e999,"session_id":"s","z":[[[[]]]],"w":nonsense,"id":"12"}"#;
        let [id, session, odd] = fields(data, ["id", "session_id", "x"]);
        assert_eq!((session.and_then(text).as_deref(), id.and_then(snowflake)), (Some("s"), Some(12)));
        assert_eq!(odd.and_then(text), None);
        assert_eq!(fields(br#"{"a":1,"#, ["a"]), [Some(&b"1"[..])], "what stands before the break can be read");
        for broken in ["", "[]", "null", "{", "{}", r#"{"a"}"#, r#"{"a":"#] {
            assert_eq!(fields(broken.as_bytes(), ["a"]), [None], "{broken}");
            assert_eq!(elements(broken.as_bytes()).count(), 0);
        }
        assert_eq!(
            ["7", "\"7\"", "\"-7\"", "7.5", "null", "\"", "\"\"", ""].map(|raw| snowflake(raw.as_bytes())),
            [Some(7), Some(7), None, None, None, None, None, None]
        );
    }

    proptest! {
        #[test]
        fn agrees_with_a_json_tree(keys in prop::collection::vec("[ab\"\\\\é]{0,2}", 0..6), numbers in any::<[u64; 6]>()) {
            let mut object = serde_json::Map::new();
            for (key, number) in keys.iter().zip(numbers) {
                object.insert(key.clone(), json!([number, key, {"a": number}]));
            }
            let data = Value::Object(object.clone()).to_string();
            for key in ["a", "b", "", "\"", "aé"] {
                let [found] = fields(data.as_bytes(), [key]);
                let found: Option<Value> = found.map(|raw| serde_json::from_slice(raw).unwrap());
                prop_assert_eq!(found.as_ref(), object.get(key));
                if let Some(raw) = fields(data.as_bytes(), [key])[0] {
                    prop_assert_eq!(elements(raw).count(), 3);
                }
            }
        }

        #[test]
        fn no_bytes_do_harm(data in prop::collection::vec(any::<u8>(), 0..60)) {
            for raw in fields(&data, ["a", ""]).into_iter().flatten().chain(elements(&data)) {
                let _ = (text(raw), snowflake(raw));
            }
        }
    }
}
