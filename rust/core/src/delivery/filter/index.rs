//! Equality on one field, turned around: from a value to the slots that ask for it, so that an event looks its value up
//! once however many ask. What equals what is said by [`Operands`]; the two agree, which the tests hold.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use super::{
    Slot,
    condition::Operands,
    value::{Number, Text, Value},
};

/// One slot that asks for a value.
#[derive(Debug)]
pub(super) struct Entry<R> {
    pub(super) slot: Slot,
    /// What else has to hold, where equality was one condition of several.
    pub(super) rest: Option<Arc<R>>,
}

impl<R> Clone for Entry<R> {
    fn clone(&self) -> Self {
        Self { slot: self.slot, rest: self.rest.clone() }
    }
}

type Bucket<R> = Vec<Entry<R>>;

/// The values asked for at one field.
#[derive(Debug)]
pub(super) struct Index<R> {
    null: Bucket<R>,
    yes: Bucket<R>,
    no: Bucket<R>,
    numbers: HashMap<Key, Bucket<R>>,
    texts: HashMap<Box<[u8]>, Bucket<R>>,
    times: HashMap<i64, Bucket<R>>,
    /// Bytes of the longest text that is asked for: nothing longer is looked up, however long messages are.
    longest: usize,
}

/// A number by which equal ones are found, whole floats among the integers. In half the room of an `i128`: of ten
/// thousand values that are waited for, fewer lines of the cache hold the one that is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Natural(u64),
    Negative(i64),
    /// By its bits, which are the same for equal floats: none is NaN, and zeros are natural.
    Float(u64),
}

impl From<Number> for Key {
    fn from(number: Number) -> Self {
        let (whole, float) = match number {
            Number::Integer(integer) => (Some(integer), 0.0),
            Number::Float(float) => (number.whole(), float),
        };
        let natural = whole.and_then(|whole| u64::try_from(whole).ok()).map(Self::Natural);
        let negative = || whole.and_then(|whole| i64::try_from(whole).ok()).map(Self::Negative);
        // An integer has 64 bits, so what is left is a float that equals none.
        natural.or_else(negative).unwrap_or_else(|| Self::Float(float.to_bits()))
    }
}

/// An escape of six bytes is the longest that stands for one.
const LONGEST_ESCAPE: usize = 6;

/// Takes out what nobody asks for any more, and the room that it took.
fn tidy<K: Eq + Hash, R>(map: &mut HashMap<K, Bucket<R>>, keys: impl Iterator<Item = K>) {
    for key in keys {
        if map.get(&key).is_some_and(Vec::is_empty) {
            map.remove(&key);
        }
    }
    if map.len() * 4 < map.capacity() {
        map.shrink_to(map.len() * 2);
    }
}

impl<R> Default for Index<R> {
    fn default() -> Self {
        Self {
            null: Vec::new(),
            yes: Vec::new(),
            no: Vec::new(),
            numbers: HashMap::new(),
            texts: HashMap::new(),
            times: HashMap::new(),
            longest: 0,
        }
    }
}

impl<R> Index<R> {
    /// Notes a slot under each of its operands.
    pub(super) fn insert(&mut self, operands: &Operands, entry: &Entry<R>) {
        if let Some(longest) = operands.texts.iter().map(|text| text.len()).max() {
            self.longest = self.longest.max(longest);
        }
        self.each(operands, |bucket| {
            // `is_in([1, 1.0])` names a key twice.
            if bucket.last().is_none_or(|last| last.slot != entry.slot) {
                bucket.push(entry.clone());
            }
        });
    }

    /// Forgets it again.
    pub(super) fn remove(&mut self, operands: &Operands, slot: Slot) {
        self.each(operands, |bucket| {
            if let Some(place) = bucket.iter().position(|entry| entry.slot == slot) {
                bucket.swap_remove(place);
                if bucket.len() * 4 < bucket.capacity() {
                    bucket.shrink_to(bucket.len() * 2);
                }
            }
        });
        tidy(&mut self.numbers, operands.numbers.iter().map(|&number| Key::from(number)));
        tidy(&mut self.texts, operands.texts.iter().map(|text| text.as_bytes().into()));
        tidy(&mut self.times, operands.times.iter().copied());
        if self.texts.is_empty() {
            self.longest = 0;
        }
    }

    fn each(&mut self, operands: &Operands, mut then: impl FnMut(&mut Bucket<R>)) {
        for (asked, bucket) in
            [(operands.null, &mut self.null), (operands.yes, &mut self.yes), (operands.no, &mut self.no)]
        {
            if asked {
                then(bucket);
            }
        }
        operands.numbers.iter().for_each(|&number| then(self.numbers.entry(number.into()).or_default()));
        operands.texts.iter().for_each(|text| then(self.texts.entry(text.as_bytes().into()).or_default()));
        operands.times.iter().for_each(|&time| then(self.times.entry(time).or_default()));
    }

    /// Whether nobody asks for anything.
    pub(super) fn is_empty(&self) -> bool {
        let few = [&self.null, &self.yes, &self.no].into_iter().all(Vec::is_empty);
        few && self.numbers.is_empty() && self.texts.is_empty() && self.times.is_empty()
    }

    /// How many slots share the most crowded value of `operands`.
    pub(super) fn crowd(&self, operands: &Operands) -> usize {
        let few = [(operands.null, &self.null), (operands.yes, &self.yes), (operands.no, &self.no)];
        let few = few.into_iter().filter(|(asked, _)| *asked).map(|(_, bucket)| bucket.len());
        let size = |bucket: Option<&Bucket<R>>| bucket.map_or(0, Vec::len);
        few.chain(operands.numbers.iter().map(|&number| size(self.numbers.get(&number.into()))))
            .chain(operands.texts.iter().map(|text| size(self.texts.get(text.as_bytes()))))
            .chain(operands.times.iter().map(|time| size(self.times.get(time))))
            .max()
            .unwrap_or(0)
    }

    /// The slots that ask for what the field holds. A slot may come twice, where a text is its number too.
    #[inline]
    pub(super) fn look_up<'a>(&'a self, value: Value<'_>, mut found: impl FnMut(&'a Entry<R>)) {
        match value {
            Value::Null => self.null.iter().for_each(found),
            Value::Bool(true) => self.yes.iter().for_each(found),
            Value::Bool(false) => self.no.iter().for_each(found),
            Value::Number(number) => self.numbers.get(&number.into()).into_iter().flatten().for_each(found),
            Value::Text(text) => {
                self.text(text).into_iter().flatten().for_each(&mut found);
                if !self.numbers.is_empty()
                    && let Some(number) = text.integer()
                {
                    self.numbers.get(&number.into()).into_iter().flatten().for_each(&mut found);
                }
                if !self.times.is_empty()
                    && let Some(time) = text.time()
                {
                    self.times.get(&time).into_iter().flatten().for_each(found);
                }
            }
            Value::Array(_) | Value::Object => {}
        }
    }

    fn text(&self, text: Text<'_>) -> Option<&Bucket<R>> {
        if self.texts.is_empty() {
            return None;
        }
        match text.plain() {
            Ok(raw) if raw.len() <= self.longest => self.texts.get(raw),
            Err(raw) if raw.len() <= self.longest.saturating_mul(LONGEST_ESCAPE) => {
                self.texts.get(text.unescaped().as_slice())
            }
            _ => None,
        }
    }
}
