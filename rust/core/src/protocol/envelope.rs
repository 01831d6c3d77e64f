//! The envelope `{"op", "s", "t", "d"}` of a received payload, found in one pass over its bytes.
//!
//! Not a validating parser: `d` is skipped by its strings and brackets and handed on as a byte range, whatever is inside.
//! What the envelope means is the session machine's business, what `d` means the model's.

use std::ops::Range;

use super::event::EventType;
use super::string;
use super::structural;

/// Longer raw contents cannot be a known name, even with every character written as `\uXXXX`.
const LONGEST_ESCAPED_NAME: usize = 6 * 64;

/// No float that somebody writes is longer; what is, is not read for the sake of its length.
const LONGEST_FLOAT: usize = 64;

/// Where the parts of one payload stand. Keys may come in any order; of a repeated one the last wins.
///
/// Source: <https://discord.com/developers/docs/events/gateway-events#payload-structure>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `op`; `None` when it is missing, not a whole number, or above 255.
    pub op: Option<u8>,
    /// `s`; `None` when it is null, missing, negative, not a whole number, or above `u64::MAX`.
    pub sequence: Option<u64>,
    /// `t`.
    pub event: EventName,
    /// The bytes of the value of `d`; empty when it is missing.
    pub data: Range<usize>,
    /// The offset after the closing brace. More may follow: several payloads can stand in one message.
    pub end: usize,
}

/// What stands in `t`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventName {
    /// Null, missing, or not a string.
    None,
    /// A documented event.
    Known(EventType),
    /// Any other string: the range of its raw contents, between the quotes and with its escapes.
    Other(Range<usize>),
}

impl EventName {
    /// The name as text; `None` where there is none. `document` is the slice that was scanned.
    ///
    /// Invalid UTF-8 and lone surrogates become U+FFFD.
    pub fn text(&self, document: &[u8]) -> Option<String> {
        match self {
            Self::None => None,
            Self::Known(event) => Some(event.name().to_owned()),
            Self::Other(raw) => Some(string::unescape(document.get(raw.clone()).unwrap_or_default())),
        }
    }

    /// The event's place in tables by event: [`EventType::UNKNOWN`] for any other name, `None` where there is none.
    pub const fn event_type(&self) -> Option<EventType> {
        match self {
            Self::None => None,
            Self::Known(event) => Some(*event),
            Self::Other(_) => Some(EventType::UNKNOWN),
        }
    }
}

/// Why no envelope was found. Holds offsets and single bytes only, so that it may be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeError {
    /// The document ends before the object does, or holds nothing but blanks.
    Truncated,
    /// A byte that cannot stand there: not an object, a byte order mark, a bracket of the wrong kind.
    Unexpected {
        /// Where it stands.
        offset: usize,
        /// What stands there.
        byte: u8,
    },
}

impl std::fmt::Display for EnvelopeError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => formatter.write_str("the payload ends before its JSON object does"),
            Self::Unexpected { offset, byte } => {
                write!(formatter, "byte {byte:#04x} at offset {offset} cannot stand there in a JSON object")
            }
        }
    }
}

impl std::error::Error for EnvelopeError {}

/// Finds the envelope of the JSON object at the beginning of `document`, after blanks.
///
/// Linear in the object's length, without recursion, and without allocation unless the name in `t` has escapes.
/// Bytes after the object are not looked at: scan on from [`Envelope::end`], until [`is_blank`].
///
/// # Errors
/// [`EnvelopeError`] when there is no complete object: every proper prefix of an object is an error.
pub fn scan(document: &[u8]) -> Result<Envelope, EnvelopeError> {
    scan_noting(document, |_| false, &mut Members::default())
}

/// Where the fields of `d` end, noted while it is skipped: whoever takes it apart need not look for them again.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// Where `d` stands in what was scanned; `None` where nothing was noted.
    pub(crate) data: Option<Range<usize>>,
    /// The commas between its members.
    pub(crate) commas: Vec<usize>,
}

/// The same, and notes the members of `d` where `noted` says so of its event and its name came before it, as Discord has it.
#[inline]
pub(crate) fn scan_noting(
    document: &[u8],
    noted: impl Fn(EventType) -> bool,
    members: &mut Members,
) -> Result<Envelope, EnvelopeError> {
    members.data = None;
    members.commas.clear();
    let mut envelope = Envelope { op: None, sequence: None, event: EventName::None, data: 0..0, end: 0 };
    let mut at = expect(document, skip_blanks(document, 0), b'{')?;
    at = skip_blanks(document, at);
    if byte(document, at)? == b'}' {
        envelope.end = at + 1;
        return Ok(envelope);
    }
    loop {
        let (field, value_at) = key(document, at)?;
        let noted = match (&envelope.event, field) {
            (EventName::Known(event), Field::Data) if noted(*event) => Some(&mut *members),
            _ => None,
        };
        at = value(document, value_at, field, &mut envelope, noted)?;
        at = skip_blanks(document, at);
        match byte(document, at)? {
            b',' => at = skip_blanks(document, at + 1),
            b'}' => {
                envelope.end = at + 1;
                return Ok(envelope);
            }
            byte => return Err(EnvelopeError::Unexpected { offset: at, byte }),
        }
    }
}

/// Whether only JSON blanks (RFC 8259 section 2) are left.
pub fn is_blank(rest: &[u8]) -> bool {
    skip_blanks(rest, 0) == rest.len()
}

/// The keys of an envelope.
#[derive(Clone, Copy)]
enum Field {
    Op,
    Sequence,
    Event,
    Data,
    Other,
}

impl Field {
    #[inline]
    fn of(raw: &[u8], escaped: bool) -> Self {
        match raw {
            b"t" => Self::Event,
            b"s" => Self::Sequence,
            b"op" => Self::Op,
            b"d" => Self::Data,
            // "\u006f\u0070" is the longest way to write "op".
            _ if escaped && raw.len() <= 12 => Self::of(string::unescape(raw).as_bytes(), false),
            _ => Self::Other,
        }
    }
}

/// The key at `at`, and where its value begins.
#[inline]
fn key(document: &[u8], at: usize) -> Result<(Field, usize), EnvelopeError> {
    // As Discord writes them: one comparison each.
    match document.get(at..).unwrap_or_default() {
        [b'"', b't', b'"', b':', byte, ..] if *byte > b' ' => return Ok((Field::Event, at + 4)),
        [b'"', b's', b'"', b':', byte, ..] if *byte > b' ' => return Ok((Field::Sequence, at + 4)),
        [b'"', b'd', b'"', b':', byte, ..] if *byte > b' ' => return Ok((Field::Data, at + 4)),
        [b'"', b'o', b'p', b'"', b':', byte, ..] if *byte > b' ' => return Ok((Field::Op, at + 5)),
        _ => {}
    }
    let start = expect(document, at, b'"')?;
    let contents = string::contents(document, start).ok_or(EnvelopeError::Truncated)?;
    let field = Field::of(&document[start..contents.end], contents.escaped);
    let after = expect(document, skip_blanks(document, contents.end + 1), b':')?;
    Ok((field, skip_blanks(document, after)))
}

/// Reads the value at `start` into its field; the offset after it.
#[inline]
fn value(
    document: &[u8],
    start: usize,
    field: Field,
    envelope: &mut Envelope,
    noted: Option<&mut Members>,
) -> Result<usize, EnvelopeError> {
    let mut name = EventName::None;
    let mut scalar: &[u8] = &[];
    let end = match byte(document, start)? {
        b'"' => {
            let contents = string::contents(document, start + 1).ok_or(EnvelopeError::Truncated)?;
            if matches!(field, Field::Event) {
                name = event_name(document, start + 1..contents.end, contents.escaped);
            }
            contents.end + 1
        }
        open @ (b'{' | b'[') => {
            let end = match noted {
                Some(members) if open == b'{' => {
                    members.commas.clear();
                    let last = structural::members(document, start, &mut members.commas);
                    members.data = last.map(|last| start..last + 1);
                    last.map(|last| last + 1)
                }
                _ => structural::container_end(document, start),
            }
            .ok_or(EnvelopeError::Truncated)?;
            let byte = document[end - 1];
            if byte != open + 2 {
                return Err(EnvelopeError::Unexpected { offset: end - 1, byte });
            }
            end
        }
        _ => {
            let end = scalar_end(document, start)?;
            scalar = &document[start..end];
            end
        }
    };
    match field {
        Field::Event => envelope.event = name,
        Field::Sequence => envelope.sequence = whole_number(scalar),
        Field::Op => envelope.op = whole_number(scalar).and_then(|op| u8::try_from(op).ok()),
        Field::Data => envelope.data = start..end,
        Field::Other => {}
    }
    Ok(end)
}

#[inline]
fn event_name(document: &[u8], raw: Range<usize>, escaped: bool) -> EventName {
    let mut known = EventType::from_name(&document[raw.clone()]);
    if escaped && raw.len() <= LONGEST_ESCAPED_NAME {
        known = EventType::from_name(string::unescape(&document[raw.clone()]).as_bytes());
    }
    known.map_or(EventName::Other(raw), EventName::Known)
}

/// The end of a number or a literal. Which characters it has is checked, how they are arranged is not.
#[inline]
pub(super) fn scalar_end(document: &[u8], start: usize) -> Result<usize, EnvelopeError> {
    let rest = &document[start..];
    let is_scalar = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
    // A scalar is complete only when something follows it.
    let length = rest.iter().position(|byte| !is_scalar(byte)).ok_or(EnvelopeError::Truncated)?;
    if length == 0 {
        return Err(EnvelopeError::Unexpected { offset: start, byte: rest[0] });
    }
    Ok(start + length)
}

/// A whole number of 0 to `u64::MAX` in JSON. Servers whose language has but one kind of number write `41250.0`.
#[inline]
pub(crate) fn whole_number(scalar: &[u8]) -> Option<u64> {
    if matches!(scalar, [] | [b'0', _, ..]) {
        return whole_float(scalar);
    }
    let mut number = 0_u64;
    for &digit in scalar {
        let next = if digit.is_ascii_digit() { number.checked_mul(10) } else { None };
        let Some(next) = next.and_then(|tens| tens.checked_add(u64::from(digit - b'0'))) else {
            return whole_float(scalar);
        };
        number = next;
    }
    Some(number)
}

/// What is written as a float and is none, as far as a float holds each whole number; `-0` and the like stay none. Apart
/// from [`whole_number`], so that numbers as Discord writes them pay nothing for it.
#[cold]
fn whole_float(scalar: &[u8]) -> Option<u64> {
    const EXACT: f64 = (1_u64 << 53) as f64;
    // `null` and the like are the most of what comes here.
    if scalar.len() > LONGEST_FLOAT || !scalar.first()?.is_ascii_digit() {
        return None;
    }
    let number: f64 = serde_json::from_slice(scalar).ok()?;
    (number.fract() == 0.0 && number <= EXACT).then_some(number as u64)
}

#[inline]
pub(crate) fn skip_blanks(document: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = document.get(at) {
        // Discord writes none: the first comparison is usually the only one.
        if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            break;
        }
        at += 1;
    }
    at
}

#[inline]
pub(super) fn byte(document: &[u8], at: usize) -> Result<u8, EnvelopeError> {
    document.get(at).copied().ok_or(EnvelopeError::Truncated)
}

/// The offset after `expected`, which must stand at `at`.
#[inline]
pub(super) fn expect(document: &[u8], at: usize, expected: u8) -> Result<usize, EnvelopeError> {
    match byte(document, at)? {
        byte if byte == expected => Ok(at + 1),
        byte => Err(EnvelopeError::Unexpected { offset: at, byte }),
    }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
