//! JSON strings as raw bytes: where one ends, what its escapes stand for, and how one is written.
//!
//! Reading is lenient (RFC 8259 section 8.2 leaves lone surrogates open): what is no text becomes U+FFFD, never an error.

use wide::u8x16;

const LANES: usize = 16;

/// A string's contents, without the quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The offset of the closing quote.
    pub(crate) end: usize,
    /// Whether a backslash occurs.
    pub(crate) escaped: bool,
}

/// Finds the end of the string whose contents begin at `start`; `None` when the document ends before it.
#[inline]
pub(crate) fn contents(document: &[u8], start: usize) -> Option<Contents> {
    let mut at = start;
    let mut escaped = false;
    loop {
        let rest = document.get(at..)?;
        let position = if let Some(block) = rest.first_chunk::<LANES>() {
            let bytes = u8x16::new(*block);
            let stops = bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\'));
            match stops.to_bitmask() {
                0 => {
                    at += LANES;
                    continue;
                }
                mask => mask.trailing_zeros() as usize,
            }
        } else {
            rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?
        };
        at += position;
        if document[at] == b'"' {
            return Some(Contents { end: at, escaped });
        }
        escaped = true;
        at += 2; // the backslash and what it escapes
    }
}

/// The text that a string's raw contents stand for.
pub(crate) fn unescape(raw: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(position) = rest.iter().position(|&byte| byte == b'\\') {
        text.push_str(&String::from_utf8_lossy(&rest[..position]));
        let (character, length) = escape(&rest[position..]);
        text.push(character);
        rest = &rest[position + length..];
    }
    text.push_str(&String::from_utf8_lossy(rest));
    text
}

/// The UTF-8 bytes that a string's raw contents stand for, one by one. Bytes that are no UTF-8 come as they are.
pub(crate) struct Unescaped<'a> {
    raw: &'a [u8],
    /// What is left of an escaped character, in the order of the bytes, from the lowest byte.
    character: u32,
}

impl<'a> Unescaped<'a> {
    pub(crate) fn new(raw: &'a [u8]) -> Self {
        Self { raw, character: 0 }
    }
}

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.character != 0 {
            let byte = self.character as u8;
            self.character >>= 8;
            return Some(byte);
        }
        let (&first, rest) = self.raw.split_first()?;
        if first != b'\\' {
            self.raw = rest;
            return Some(first);
        }
        let (character, length) = escape(self.raw);
        self.raw = &self.raw[length..];
        let mut bytes = [0; 4];
        character.encode_utf8(&mut bytes);
        // No byte after the first is zero, so that what is left says where the character ends.
        self.character = u32::from_le_bytes(bytes) >> 8;
        Some(bytes[0])
    }
}

/// The character that the escape at the beginning of `raw` stands for, and how long the escape is.
fn escape(raw: &[u8]) -> (char, usize) {
    let simple = match raw.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(&byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
        Some(b'u') => return unicode_escape(raw),
        Some(byte) if byte.is_ascii() => return (char::REPLACEMENT_CHARACTER, 2),
        _ => return (char::REPLACEMENT_CHARACTER, 1),
    };
    (simple, 2)
}

fn unicode_escape(raw: &[u8]) -> (char, usize) {
    let Some(unit) = code_unit(raw) else {
        return (char::REPLACEMENT_CHARACTER, 2);
    };
    if let Some(character) = char::from_u32(unit) {
        return (character, 6);
    }
    // A surrogate: only a high one followed by a low one is a character.
    let low = raw.get(6..).and_then(code_unit);
    match (unit, low) {
        (0xD800..=0xDBFF, Some(low @ 0xDC00..=0xDFFF)) => {
            let scalar = 0x10000 + ((unit - 0xD800) << 10 | (low - 0xDC00));
            (char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}

/// The four hexadecimal digits of a `\uXXXX` at the beginning of `raw`.
fn code_unit(raw: &[u8]) -> Option<u32> {
    let digits = raw.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}

/// Appends `text` as a JSON string, in UTF-8 and with the escapes that RFC 8259 section 7 demands.
pub(super) fn write(json: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\0'..='\x1f' => {
                let code = character as usize;
                json.push_str("\\u00");
                json.push(char::from(HEX[code >> 4]));
                json.push(char::from(HEX[code & 15]));
            }
            other => json.push(other),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::{Contents, Unescaped, contents, unescape, write};
    use proptest::prelude::*;

    #[test]
    fn the_end_is_the_first_quote_that_is_not_escaped() {
        assert_eq!(contents(br#""op":"#, 1), Some(Contents { end: 3, escaped: false }));
        assert_eq!(contents(br#""a\"b\\":"#, 1), Some(Contents { end: 7, escaped: true }));
        for open in [&br#""abc"#[..], br#""abc\"#, br#""abc\""#, br#""0123456789abcdef0123"#, b"\"", b""] {
            assert_eq!(contents(open, 1), None);
        }
    }

    #[test]
    fn what_is_no_text_becomes_the_replacement_character() {
        for (raw, text) in [
            (&b"\\ud83d\\ude00"[..], "\u{1f600}"),
            (b"\\ud83dx", "\u{fffd}x"),
            (b"\\ude00\\ud83d", "\u{fffd}\u{fffd}"),
            (b"\\ud800\\u0041", "\u{fffd}A"),
            (b"\\u12", "\u{fffd}12"),
            (b"\\x\\", "\u{fffd}\u{fffd}"),
            (b"a\xffb", "a\u{fffd}b"),
            (b"\\\xc3\xa4", "\u{fffd}\u{e4}"),
        ] {
            assert_eq!(unescape(raw), text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn writes_and_reads_what_serde_json_does(text in any::<String>()) {
            let mut json = String::new();
            write(&mut json, &text);
            prop_assert_eq!(&serde_json::from_str::<String>(&json).unwrap(), &text);
            let theirs = serde_json::to_string(&text).unwrap();
            let end = contents(theirs.as_bytes(), 1).unwrap().end;
            prop_assert_eq!(end, theirs.len() - 1);
            prop_assert_eq!(unescape(&theirs.as_bytes()[1..end]), text);
        }

        #[test]
        fn unescape_never_panics(raw in prop::collection::vec(prop_oneof![Just(b'\\'), Just(b'u'), Just(b'd'), any::<u8>()], 0..40)) {
            unescape(&raw);
            Unescaped::new(&raw).for_each(drop);
        }

        #[test]
        fn byte_by_byte_it_is_the_same_text(raw in r#"([a\x00é😀]|\\[\\"/bfnrtx]|\\u[0d][08c][0e][0-9]){0,12}"#) {
            let bytes: Vec<u8> = Unescaped::new(raw.as_bytes()).collect();
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), unescape(raw.as_bytes()));
        }
    }
}
