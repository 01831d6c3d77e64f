//! Projection: the fields of an event that a narrow class names, cut out of its `d` before Python sees it.
//!
//! What is written is an object with the same keys and values, byte for byte and in the same order, less what is not
//! wanted: repeated keys come repeated, a value that is no object where one is expected comes as it is, and what is no
//! object at all, or is seen to be broken, is not cut. So a decoder of the class finds what it would find in all of it. What
//! nobody wants is skipped by its strings and brackets, and not looked at.

use std::{borrow::Cow, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};

use crate::protocol::{
    envelope::{self, Envelope, EnvelopeError, Members, skip_blanks},
    event::EventType,
    string,
    structural::{self, MOST_COMMAS},
};

/// The wanted fields of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Projection {
    fields: Vec<(Box<[u8]>, Option<Projection>)>,
    /// Which lengths the names have, bit by bit; the highest stands for all above it.
    lengths: u64,
}

impl Projection {
    /// Wants one more field: parts of it where `parts` says which and the field is an object, otherwise all of it.
    pub fn want(&mut self, name: &str, parts: Option<Self>) {
        self.lengths |= length_bit(name.len());
        self.fields.push((name.as_bytes().into(), parts));
    }

    /// What is wanted of a field: `None` inside for all of it.
    fn find(&self, name: &[u8]) -> Option<&Option<Self>> {
        if self.lengths & length_bit(name.len()) == 0 {
            return None;
        }
        self.fields.iter().find(|(known, _)| **known == *name).map(|(_, parts)| parts)
    }
}

/// Those of all who get an event: each of them wants a part of it only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Projections {
    /// Somebody wants all of it.
    #[default]
    Whole,
    /// One slot, as mostly.
    One(Arc<Projection>),
    /// Several.
    Many(Vec<Arc<Projection>>),
}

impl Projections {
    /// One more slot gets the event, which wants this part of it, or all. The first of them begins with `None`.
    pub(super) fn with(all: Option<Self>, one: Option<&Arc<Projection>>) -> Self {
        match (all, one) {
            (None, Some(one)) => Self::One(Arc::clone(one)),
            (Some(Self::One(first)), Some(one)) => Self::Many(vec![first, Arc::clone(one)]),
            (Some(Self::Many(mut many)), Some(one)) => {
                many.push(Arc::clone(one));
                Self::Many(many)
            }
            (Some(Self::Whole), _) | (_, None) => Self::Whole,
        }
    }
}

const fn length_bit(length: usize) -> u64 {
    1 << if length < 63 { length } else { 63 }
}

/// Cuts one part after the other into chunks that they share.
#[derive(Debug, Default)]
pub struct Parts {
    chunk: BytesMut,
    /// Where the fields of the objects that are being cut end, first those of the event.
    members: Members,
}

/// Bytes of a chunk: as many as the part of a usual event takes, some hundred times.
const CHUNK: usize = 16 * 1024;
/// So many who listen share the cut of a field; with more of them it is kept whole.
const MOST: usize = 4;

impl Parts {
    /// [`envelope::scan`]. Of an event of which `cut` says that a part may be wanted, what is seen on the way is kept for
    /// [`Parts::cut`], which has to come next.
    ///
    /// # Errors
    /// The same.
    #[inline]
    pub fn scan(&mut self, document: &[u8], cut: impl Fn(EventType) -> bool) -> Result<Envelope, EnvelopeError> {
        envelope::scan_noting(document, cut, &mut self.members)
    }

    /// What is wanted of `data`; `None` where that is all of it, or it cannot be cut.
    #[inline]
    pub fn cut(&mut self, wanted: &Projections, data: &[u8]) -> Option<Bytes> {
        match wanted {
            Projections::Whole => None,
            Projections::One(one) => self.cut_by(&[one], data),
            Projections::Many(many) => self.cut_by(&many.iter().map(|one| &**one).collect::<Vec<_>>(), data),
        }
    }

    fn cut_by(&mut self, wanted: &[&Projection], data: &[u8]) -> Option<Bytes> {
        // The part of a large event is mostly small: it gets a buffer of its own that grows as it must, for in a chunk of
        // such a size small parts would hold on to it.
        let large = data.len() > CHUNK;
        let shared = large.then(|| std::mem::take(&mut self.chunk));
        // No part is longer than the whole.
        if !large && self.chunk.capacity() < data.len() {
            self.chunk.reserve(CHUNK);
        }
        let done = match self.members.data.take() {
            Some(noted) if noted.len() == data.len() && data.first() == Some(&b'{') => {
                self.write(wanted, data, 0, noted.start, 0, data.len() - 1)
            }
            _ => {
                self.members.commas.clear();
                self.find_and_write(wanted, data)
            }
        };
        let part = self.chunk.split();
        match shared {
            Some(shared) => {
                self.chunk = shared;
                done.map(|()| Bytes::copy_from_slice(&part))
            }
            None => done.map(|()| part.freeze()),
        }
    }

    fn find_and_write(&mut self, wanted: &[&Projection], data: &[u8]) -> Option<()> {
        let start = skip_blanks(data, 0);
        if data.get(start) != Some(&b'{') {
            return None;
        }
        let first = self.members.commas.len();
        let end = structural::members(data, start, &mut self.members.commas)?;
        if skip_blanks(data, end + 1) != data.len() {
            return None;
        }
        self.write(wanted, data, first, 0, start, end)
    }

    /// The object that stands from `start` to `end`; its commas are those from the one numbered `first` on, counted from
    /// `base` bytes before `data`.
    fn write(
        &mut self,
        wanted: &[&Projection],
        data: &[u8],
        first: usize,
        base: usize,
        start: usize,
        end: usize,
    ) -> Option<()> {
        if data[end] != b'}' || self.members.commas.len() > MOST_COMMAS {
            return None;
        }
        self.chunk.put_u8(b'{');
        let last = self.members.commas.len();
        let mut at = start + 1;
        let mut is_first = true;
        for index in first..=last {
            let until = if index < last { self.members.commas[index] - base } else { end };
            at = skip_blanks(data, at);
            if at == until && first == last {
                // An empty object.
                break;
            }
            let key = Key::read(data, at, until)?;
            at = until + 1;
            // Mostly there is one, which need not be asked as one of several.
            let found = match wanted {
                [one] => one
                    .find(&key.name())
                    .map(|part| ([part.as_ref().unwrap_or(*one); MOST], usize::from(part.is_some()))),
                _ => wanted_of(wanted, &key.name()),
            };
            let Some((parts, number)) = found else { continue };
            let value = key.value(data, until)?;
            if !is_first {
                self.chunk.put_u8(b',');
            }
            is_first = false;
            self.chunk.put_slice(key.written);
            self.chunk.put_u8(b':');
            if number == 0 || value.first() != Some(&b'{') {
                self.chunk.put_slice(value);
            } else {
                self.find_and_write(&parts[..number], value)?;
            }
        }
        self.members.commas.truncate(first);
        self.chunk.put_u8(b'}');
        Some(())
    }
}

/// What several want of one field, and how many of them a part only: none where somebody wants all of it. `None` where
/// nobody wants it.
fn wanted_of<'a>(wanted: &[&'a Projection], name: &[u8]) -> Option<([&'a Projection; MOST], usize)> {
    let mut parts = [*wanted.first()?; MOST];
    let (mut number, mut whole, mut found) = (0, false, false);
    for projection in wanted {
        match projection.find(name) {
            None => continue,
            Some(Some(part)) if number < MOST => {
                parts[number] = part;
                number += 1;
            }
            Some(_) => whole = true,
        }
        found = true;
    }
    found.then_some((parts, if whole { 0 } else { number }))
}

/// The key of a field.
struct Key<'a> {
    /// As it is written, with its quotes.
    written: &'a [u8],
    escaped: bool,
    /// The offset after it.
    end: usize,
}

impl<'a> Key<'a> {
    /// The one that stands from `at` on, which is no blank, of a field that ends before `until`; `None` where that is none.
    #[inline]
    fn read(data: &'a [u8], at: usize, until: usize) -> Option<Self> {
        if data[at] != b'"' {
            return None;
        }
        let contents = string::contents(data, at + 1)?;
        let end = contents.end + 1;
        (end < until).then(|| Self { written: &data[at..end], escaped: contents.escaped, end })
    }

    #[inline]
    fn name(&self) -> Cow<'a, [u8]> {
        let raw = &self.written[1..self.written.len() - 1];
        if self.escaped { Cow::Owned(string::unescape(raw).into_bytes()) } else { Cow::Borrowed(raw) }
    }

    /// What stands after it.
    #[inline]
    fn value(&self, data: &'a [u8], until: usize) -> Option<&'a [u8]> {
        let colon = skip_blanks(data, self.end);
        if colon >= until || data[colon] != b':' {
            return None;
        }
        let value = data[skip_blanks(data, colon + 1).min(until)..until].trim_ascii_end();
        is_one_value(value).then_some(value)
    }
}

/// Whether it looks like one value from its ends; a number or a literal is short and looked at.
#[inline]
fn is_one_value(value: &[u8]) -> bool {
    match value {
        [b'"', .., b'"'] | [b'{', .., b'}'] | [b'[', .., b']'] => true,
        [] | [b'"' | b'{' | b'[', ..] => false,
        scalar => scalar.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn wanted(tree: &Value) -> Projection {
        let mut projection = Projection::default();
        for (name, parts) in tree.as_object().unwrap() {
            projection.want(name, parts.is_object().then(|| wanted(parts)));
        }
        projection
    }

    fn cut_by(trees: &[Value], data: &str) -> Option<String> {
        let wanted = Projections::Many(trees.iter().map(wanted).map(Arc::new).collect());
        let mut parts = Parts::default();
        let cut = parts.cut(&wanted, data.as_bytes());
        // What one event leaves behind is no part of the next one.
        assert_eq!(parts.cut(&wanted, b"{}").as_deref(), Some(&b"{}"[..]));
        // The same with what was noted on the way, whatever stands before it; and what was noted serves once.
        for head in [r#"{"t":"MESSAGE_CREATE","s":1,"op":0,"d":"#, r#"{"d":{"a":1,"b":2},"t":"MESSAGE_CREATE","d": "#] {
            let document = format!("{head}{data}}}");
            let Ok(envelope) = parts.scan(document.as_bytes(), |event| event == EventType::MESSAGE_CREATE) else {
                continue;
            };
            if document[envelope.data.clone()] != *data.trim() {
                // Broken data that ends the document.
                continue;
            }
            assert_eq!(parts.cut(&wanted, &document.as_bytes()[envelope.data]), cut, "{document}");
            assert_eq!(parts.cut(&wanted, data.as_bytes()), cut, "{document}");
        }
        cut.map(|part| String::from_utf8(part.to_vec()).unwrap())
    }

    #[test]
    fn what_is_named_stays_as_it_is_written() {
        let tree = json!({"content": null, "author": {"id": null}});
        for (data, left) in [
            (
                r#"{"content":"x","n":[1,{"content":2}],"author":{"id":"7","name":"a"}}"#,
                r#"{"content":"x","author":{"id":"7"}}"#,
            ),
            (r#" { "author" : { "name" : 1 } , "content" : null } "#, r#"{"author":{},"content":null}"#),
            (
                r#"{"content":1,"content":"2","author":null,"author":"ada"}"#,
                r#"{"content":1,"content":"2","author":null,"author":"ada"}"#,
            ),
            (
                r#"{"c\u006fntent":"\ud83d\ude00","author":[{"id":1}]}"#,
                r#"{"c\u006fntent":"\ud83d\ude00","author":[{"id":1}]}"#,
            ),
            ("{}", "{}"),
            (r#"{"x":{"content":1}}"#, "{}"),
        ] {
            assert_eq!(cut_by(std::slice::from_ref(&tree), data).as_deref(), Some(left), "{data}");
        }
    }

    #[test]
    fn what_is_no_object_or_is_broken_is_not_cut() {
        let tree = json!({"content": null, "author": {"id": null}});
        for data in [
            "",
            "null",
            "[]",
            "{",
            r#"{"content"}"#,
            r#"{"content":}"#,
            r#"{"content":1"#,
            r#"{"content":1,}"#,
            "{} x",
            r#"{"content":1}}"#,
            r#"{"author":{"id":1]}"#,
            r#"{"author":{"id"}}"#,
        ] {
            assert_eq!(cut_by(std::slice::from_ref(&tree), data), None, "{data}");
        }
    }

    #[test]
    fn what_has_thousands_of_fields_is_not_cut_and_costs_no_memory() {
        let fields = |number| format!(r#"{{{}"content":1}}"#, r#""x":1,"#.repeat(number));
        let wanted = Projections::One(wanted(&json!({"content": null})).into());
        let mut parts = Parts::default();
        for (number, cut) in [(MOST_COMMAS, true), (MOST_COMMAS + 1, false), (1_000_000, false)] {
            let document = format!(r#"{{"t":"MESSAGE_CREATE","s":1,"op":0,"d":{}}}"#, fields(number));
            let envelope = parts.scan(document.as_bytes(), |_| true).unwrap();
            let data = &document.as_bytes()[envelope.data];
            assert_eq!(parts.cut(&wanted, data).is_some(), cut);
            assert_eq!(parts.cut(&wanted, data).is_some(), cut, "where nothing was noted");
        }
        let array = format!(r#"{{"t":"MESSAGE_CREATE","s":1,"op":0,"d":[{}0]}}"#, "0,".repeat(1_000_000));
        parts.scan(array.as_bytes(), |_| true).unwrap();
        assert!(parts.members.commas.capacity() <= 2 * (MOST_COMMAS + 1));
    }

    #[test]
    fn several_get_what_any_of_them_wants() {
        let data = r#"{"a":{"x":1,"y":2,"z":3},"b":1,"c":2}"#;
        let trees = [json!({"a": {"x": null}}), json!({"a": {"y": null}, "b": null})];
        assert_eq!(cut_by(&trees, data).unwrap(), r#"{"a":{"x":1,"y":2},"b":1}"#);
        let trees = [trees[0].clone(), json!({"a": null})];
        assert_eq!(cut_by(&trees, data).unwrap(), r#"{"a":{"x":1,"y":2,"z":3}}"#);
        let many: Vec<_> = ["x", "y", "w", "v", "u"].map(|name| json!({"a": {name: null}})).to_vec();
        assert_eq!(cut_by(&many, data).unwrap(), r#"{"a":{"x":1,"y":2,"z":3}}"#, "more than share a cut");
    }

    fn tree() -> impl Strategy<Value = Value> {
        let name = prop::sample::select(vec!["a", "b", "cd", "\"", ""]);
        Just(Value::Null).prop_recursive(3, 16, 4, move |inner| {
            prop::collection::hash_map(name.clone(), inner, 0..4)
                .prop_map(|fields| fields.into_iter().map(|(name, part)| (name.to_owned(), part)).collect())
        })
    }

    fn document() -> impl Strategy<Value = Value> {
        let name = prop::sample::select(vec!["a", "b", "cd", "\"", "", "é"]);
        let leaf = prop_oneof![Just(json!(null)), Just(json!(1.5)), Just(json!("}\\\"{")), Just(json!([1, {"a": 2}]))];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop::collection::hash_map(name.clone(), inner, 0..5)
                .prop_map(|fields| fields.into_iter().map(|(name, part)| (name.to_owned(), part)).collect())
        })
    }

    /// The same by way of a tree.
    fn plain(tree: &Value, document: &Value) -> Value {
        match (tree, document) {
            (Value::Object(names), Value::Object(fields)) => {
                let kept =
                    fields.iter().filter_map(|(name, value)| Some((name.clone(), plain(names.get(name)?, value))));
                Value::Object(kept.collect::<Map<_, _>>())
            }
            _ => document.clone(),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_json_tree(tree in tree(), document in document()) {
            let tree = if tree.is_object() { tree } else { json!({"a": null}) };
            let cut = cut_by(std::slice::from_ref(&tree), &document.to_string());
            let cut: Option<Value> = cut.map(|text| serde_json::from_str(&text).unwrap());
            prop_assert_eq!(cut, document.is_object().then(|| plain(&tree, &document)));
        }

        #[test]
        fn no_bytes_do_harm(data in prop::collection::vec(any::<u8>(), 0..60)) {
            let wanted = Projections::One(wanted(&json!({"a": {"b": null}, "": null})).into());
            Parts::default().cut(&wanted, &[b"{\"a\":", &*data].concat());
            Parts::default().cut(&wanted, &data);
        }
    }
}
