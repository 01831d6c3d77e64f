//! The values that filters look at, read in place: no allocation, no recursion, time linear in the value's length.
//!
//! Numbers are read as orjson reads them: integers of 64 bits exactly, all others as the nearest double. Text is compared
//! by its code points, which is the order of its UTF-8 bytes; a lone surrogate counts as U+FFFD. Text is not validated:
//! bytes that are no UTF-8 compare as they are.

use std::cmp::Ordering;

use super::time;
use crate::protocol::{string, structural};

/// Values that numbers are compared by. Integers are those of `i64` and `u64`; floats are not NaN.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Integer(i128),
    Float(f64),
}

/// From here on, up or down, a float is beyond every integer.
const BEYOND: f64 = 36_893_488_147_419_103_232.0; // 2^65

impl Number {
    /// An integer that fits 64 bits, signed or unsigned.
    pub(super) fn integer(digits: &[u8]) -> Option<Self> {
        let (negative, digits) = match digits {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        if digits.is_empty() || digits.len() > 20 || (digits[0] == b'0' && digits.len() > 1) {
            return None;
        }
        let magnitude = if digits.len() < 20 {
            // Nearly all, ids among them: 64 bits are enough, and quicker.
            i128::from(digits.iter().try_fold(0_u64, |number, &digit| {
                digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
            })?)
        } else {
            digits.iter().try_fold(0_i128, |number, &digit| {
                digit.is_ascii_digit().then(|| number * 10 + i128::from(digit - b'0'))
            })?
        };
        let number = if negative { -magnitude } else { magnitude };
        (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&number).then_some(Self::Integer(number))
    }

    /// The integer that it equals, of any float that an integer could equal.
    pub(super) fn whole(self) -> Option<i128> {
        match self {
            Self::Integer(integer) => Some(integer),
            Self::Float(float) => (float.fract() == 0.0 && float.abs() < BEYOND).then_some(float as i128),
        }
    }

    /// A JSON number; `None` where the grammar has no such number.
    fn json(token: &[u8]) -> Option<Self> {
        if let Some(integer) = Self::integer(token) {
            return Some(integer);
        }
        if !is_number(token) {
            return None;
        }
        // Too large a number becomes an infinity here, never an error.
        std::str::from_utf8(token).ok()?.parse().ok().map(Self::Float)
    }
}

/// Exact, also between an integer and a float.
impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (*self, *other) {
            (Self::Integer(one), Self::Integer(other)) => one.cmp(&other),
            (Self::Float(one), Self::Float(other)) => one.partial_cmp(&other).unwrap_or(Ordering::Equal),
            (Self::Integer(one), Self::Float(other)) => compare(one, other),
            (Self::Float(one), Self::Integer(other)) => compare(other, one).reverse(),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

fn compare(integer: i128, float: f64) -> Ordering {
    if float >= BEYOND {
        return Ordering::Less;
    }
    if float <= -BEYOND {
        return Ordering::Greater;
    }
    let whole = float.trunc();
    integer.cmp(&(whole as i128)).then_with(|| whole.partial_cmp(&float).unwrap_or(Ordering::Equal))
}

/// Whether it is a number by RFC 8259 section 6.
fn is_number(token: &[u8]) -> bool {
    fn digits(rest: &[u8]) -> Option<&[u8]> {
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then(|| &rest[count..])
    }
    fn number(token: &[u8]) -> Option<&[u8]> {
        let mut rest = token.strip_prefix(b"-").unwrap_or(token);
        rest = rest.strip_prefix(b"0").map_or_else(|| digits(rest), Some)?;
        if let Some(fraction) = rest.strip_prefix(b".") {
            rest = digits(fraction)?;
        }
        if let [b'e' | b'E', exponent @ ..] = rest {
            rest = digits(exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent))?;
        }
        Some(rest)
    }
    number(token).is_some_and(<[u8]>::is_empty)
}

/// The contents of a JSON string, between the quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> Text<'a> {
    pub(super) fn new(raw: &'a [u8], escaped: bool) -> Self {
        Self { raw, escaped }
    }

    fn bytes(self) -> impl Iterator<Item = u8> {
        string::Unescaped::new(self.raw)
    }

    /// Its bytes as they stand there, as an error where these are not what they mean.
    pub(super) fn plain(self) -> Result<&'a [u8], &'a [u8]> {
        if self.escaped { Err(self.raw) } else { Ok(self.raw) }
    }

    pub(super) fn unescaped(self) -> Vec<u8> {
        self.bytes().collect()
    }

    pub(super) fn is(self, other: &[u8]) -> bool {
        if self.escaped { self.bytes().eq(other.iter().copied()) } else { self.raw == other }
    }

    pub(super) fn cmp(self, other: &str) -> Ordering {
        if self.escaped { self.bytes().cmp(other.bytes()) } else { self.raw.cmp(other.as_bytes()) }
    }

    pub(super) fn starts_with(self, start: &str) -> bool {
        if self.escaped {
            self.bytes().take(start.len()).eq(start.bytes())
        } else {
            self.raw.starts_with(start.as_bytes())
        }
    }

    pub(super) fn ends_with(self, end: &str) -> bool {
        if !self.escaped {
            return self.raw.ends_with(end.as_bytes());
        }
        let length = self.bytes().count();
        length >= end.len() && self.bytes().skip(length - end.len()).eq(end.bytes())
    }

    /// The number that it writes: ids travel as text.
    pub(super) fn integer(self) -> Option<Number> {
        // Twenty digits and a sign are the longest.
        self.short::<21, _>(Number::integer)
    }

    /// The moment that it writes, in microseconds since 1970.
    pub(super) fn time(self) -> Option<i64> {
        self.short::<64, _>(time::parse)
    }

    /// What `read` makes of the unescaped text, unless that is longer than `LONGEST`.
    fn short<const LONGEST: usize, T>(self, read: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        if !self.escaped {
            return if self.raw.len() <= LONGEST { read(self.raw) } else { None };
        }
        let mut text = [0; LONGEST];
        let mut length = 0;
        for byte in self.bytes() {
            *text.get_mut(length)? = byte;
            length += 1;
        }
        read(&text[..length])
    }

    pub(super) fn contains(self, needle: &Needle) -> bool {
        match std::str::from_utf8(self.raw) {
            // The library's search is faster, but it needs text that stands there as it is.
            Ok(text) if !self.escaped => text.contains(&*needle.text),
            _ => needle.occurs_in(self.bytes()),
        }
    }
}

/// What `contains` looks for in text: in time linear in the text, whatever either holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Needle {
    pub(super) text: Box<str>,
    /// The table of Knuth, Morris and Pratt ("Fast Pattern Matching in Strings"): how much of the needle still stands
    /// before the place where it stopped to match.
    borders: Box<[usize]>,
}

impl Needle {
    pub(super) fn new(text: Box<str>) -> Self {
        let bytes = text.as_bytes();
        let mut borders = vec![0; bytes.len()];
        let mut border = 0;
        for at in 1..bytes.len() {
            while border > 0 && bytes[at] != bytes[border] {
                border = borders[border - 1];
            }
            border += usize::from(bytes[at] == bytes[border]);
            borders[at] = border;
        }
        Self { text, borders: borders.into() }
    }

    fn occurs_in(&self, text: impl Iterator<Item = u8>) -> bool {
        let bytes = self.text.as_bytes();
        let mut matched = 0;
        if bytes.is_empty() {
            return true;
        }
        for byte in text {
            while matched > 0 && byte != bytes[matched] {
                matched = self.borders[matched - 1];
            }
            matched += usize::from(byte == bytes[matched]);
            if matched == bytes.len() {
                return true;
            }
        }
        false
    }
}

/// One JSON value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Text<'a>),
    /// With its brackets.
    Array(&'a [u8]),
    Object,
}

impl<'a> Value<'a> {
    /// The value at `at` and the offset after it; `None` where no value can be read.
    pub(super) fn read(document: &'a [u8], at: usize) -> Option<(Self, usize)> {
        match *document.get(at)? {
            b'"' => {
                let contents = string::contents(document, at + 1)?;
                Some((Self::Text(Text::new(&document[at + 1..contents.end], contents.escaped)), contents.end + 1))
            }
            b'[' => {
                let end = container_end(document, at)?;
                Some((Self::Array(&document[at..end]), end))
            }
            b'{' => Some((Self::Object, container_end(document, at)?)),
            _ => {
                let end = scalar_end(document, at);
                let value = match &document[at..end] {
                    b"null" => Self::Null,
                    b"true" => Self::Bool(true),
                    b"false" => Self::Bool(false),
                    token => Self::Number(Number::json(token)?),
                };
                Some((value, end))
            }
        }
    }

    /// The offset after the value at `at`, which nobody asks for.
    #[inline]
    pub(super) fn skip(document: &[u8], at: usize) -> Option<usize> {
        match *document.get(at)? {
            b'"' => Some(string::contents(document, at + 1)?.end + 1),
            b'{' | b'[' => container_end(document, at),
            _ => {
                let end = scalar_end(document, at);
                (end > at).then_some(end)
            }
        }
    }
}

/// The elements of an array; ends early where it is no JSON.
pub(super) fn elements(array: &[u8]) -> impl Iterator<Item = Value<'_>> {
    let mut at = 1;
    std::iter::from_fn(move || {
        at = skip_blanks(array, at);
        if at > 1 && array.get(at) == Some(&b',') {
            at = skip_blanks(array, at + 1);
        }
        let (value, end) = Value::read(array, at)?;
        at = end;
        Some(value)
    })
}

#[inline]
fn container_end(document: &[u8], at: usize) -> Option<usize> {
    // Most arrays are empty, and the search has to set out first.
    if document[at] == b'[' && document.get(at + 1) == Some(&b']') {
        return Some(at + 2);
    }
    let end = structural::container_end(document, at)?;
    // The search takes brackets and braces for the same.
    (document[end - 1] == document[at] + 2).then_some(end)
}

#[inline]
fn scalar_end(document: &[u8], at: usize) -> usize {
    let is_scalar = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
    at + document[at..].iter().take_while(|byte| is_scalar(byte)).count()
}

#[inline]
pub(super) fn skip_blanks(document: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = document.get(at) {
        // Discord writes none: the first comparison is usually the only one.
        if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            break;
        }
        at += 1;
    }
    at
}
