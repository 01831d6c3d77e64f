//! All filters of an event, asked in one pass over its bytes.
//!
//! The fields that any of them names form a tree. The walk goes down it and skips everything else. At each field that it
//! meets it answers the tests that stand there, one bit each, and looks the value up in the field's index, where equality
//! waits; then each filter is worked out from the bits, and what was found is asked for the rest of its condition. A
//! field that is not there leaves its bits at zero, which is the answer for it, and of a repeated key the last one counts.
//!
//! A slot comes and goes alone: what that costs depends on its own filter and not on how many others there are.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use memchr::memmem::Finder;

use super::{
    Slot,
    condition::{Condition, Operands, Test},
    index::{Entry, Index},
    slab::Slab,
    value::{Text, Value, skip_blanks},
};
use crate::protocol::string;

/// The slots of one event.
#[derive(Debug)]
pub(crate) struct Matcher {
    nodes: Slab<Node>,
    tests: Slab<Asked>,
    /// Whether slot 0, which has no filter, is here.
    always: bool,
    /// The slots whose filters are worked out for each event.
    general: Vec<(Slot, Expression)>,
    places: HashMap<Slot, Place>,
}

/// A field, or an object on the way to one.
#[derive(Debug, Default)]
struct Node {
    parent: usize,
    children: Vec<(Box<[u8]>, usize)>,
    tests: Vec<usize>,
    index: Option<Box<Index<Matcher>>>,
    /// Of a field of the event itself: finds its key, in quotes.
    finder: Option<Box<Finder<'static>>>,
}

/// A test, where it stands, and how many conditions ask it.
#[derive(Debug)]
struct Asked {
    test: Test,
    node: usize,
    by: usize,
}

/// Where a slot is kept, to be found when it goes.
#[derive(Debug)]
enum Place {
    /// Its place in the list of the general ones.
    General(usize),
    Indexed(usize, Operands),
}

/// A filter over the answers.
#[derive(Debug)]
enum Expression {
    All(Box<[Expression]>),
    Any(Box<[Expression]>),
    Not(Box<Expression>),
    Answer(usize),
}

/// An equality that an index can answer: its field, what is asked for, and what else has to hold.
type Equality<'a> = (&'a [Box<str>], &'a Operands, Option<Condition>);

/// Where a key occurs more often than this, all of the document is walked: it may be large, and full of it.
const OCCURRENCES: usize = 8;
/// How JSON can spell a letter, digit or underscore of a key otherwise than by itself (RFC 8259 section 7).
static SPELLED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u00"));

/// The node of the whole document.
const ROOT: usize = 0;
/// So many tests of a field are searched for an equal one; among more, one that is asked twice costs its turn twice.
const SEARCHED: usize = 32;
/// Beyond so many that ask for the same value and for more, the rest is not asked in a pass for each, but with the
/// conditions that are worked out for every event: a bot may have a hundred commands in its one guild.
const CROWD: usize = 4;
/// So many answers, and so many fields, find room on the stack.
const FEW: usize = 256 / 64;

impl Default for Matcher {
    fn default() -> Self {
        let mut nodes = Slab::default();
        nodes.insert(Node::default());
        Self { nodes, tests: Slab::default(), always: false, general: Vec::new(), places: HashMap::new() }
    }
}

impl Matcher {
    /// A matcher that asks one filter alone, as slot 0.
    pub(super) fn of(condition: &Condition) -> Self {
        let mut matcher = Self::default();
        matcher.insert_general(0, condition);
        matcher
    }

    /// Adds slot 0, which takes every event.
    pub(crate) fn insert_plain(&mut self) {
        self.always = true;
    }

    /// Adds a slot that is not here yet, and not slot 0.
    pub(super) fn insert(&mut self, slot: Slot, condition: &Condition) {
        match self.indexed(condition) {
            None => self.insert_general(slot, condition),
            Some((path, operands, rest)) => {
                let node = self.node(path);
                let entry = Entry { slot, rest: rest.map(|rest| Arc::new(Self::of(&rest))) };
                self.nodes[node].index.get_or_insert_default().insert(operands, &entry);
                self.places.insert(slot, Place::Indexed(node, operands.clone()));
            }
        }
    }

    /// Takes a slot out again.
    pub(crate) fn remove(&mut self, slot: Slot) {
        match self.places.remove(&slot) {
            None => self.always &= slot != 0,
            Some(Place::General(place)) => {
                let (_, expression) = self.general.swap_remove(place);
                if let Some((moved, _)) = self.general.get(place) {
                    self.places.insert(*moved, Place::General(place));
                }
                if self.general.len() * 4 < self.general.capacity() {
                    self.general.shrink_to(self.general.len() * 2);
                }
                self.release(&expression);
            }
            Some(Place::Indexed(node, operands)) => {
                let index = &mut self.nodes[node].index;
                if let Some(some) = index {
                    some.remove(&operands, slot);
                    index.take_if(|some| some.is_empty());
                }
                self.prune(node);
            }
        }
        if self.places.len() * 4 < self.places.capacity() {
            self.places.shrink_to(self.places.len() * 2);
        }
    }

    /// Whether there is no slot.
    pub(crate) fn is_empty(&self) -> bool {
        !self.always && self.places.is_empty()
    }

    /// Whether there is but slot 0, without a filter.
    pub(crate) fn is_plain(&self) -> bool {
        self.always && self.places.is_empty()
    }

    /// Whether nothing is left of any slot: no field, no test.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        let root = &self.nodes[ROOT];
        self.nodes.room() == 1 && self.tests.room() == 0 && root.children.is_empty() && root.tests.is_empty()
    }

    /// How many slots are in an index.
    #[cfg(test)]
    pub(super) fn asked_apart(&self) -> usize {
        self.places.values().filter(|place| matches!(place, Place::Indexed(..))).count()
    }

    /// The equality that an index can answer, where there is one, and what remains. Of several the one whose value fewest
    /// ask for already: thousands may wait in one channel, but for different users.
    fn indexed<'a>(&self, condition: &'a Condition) -> Option<Equality<'a>> {
        let equality = |condition: &'a Condition| match condition {
            // What asks for no value stands nowhere in an index, and would not keep its field there.
            Condition::Test(path, Test::In(operands)) if !operands.are_none() => Some((path.as_slice(), operands)),
            _ => None,
        };
        let Condition::All(parts) = condition else {
            return equality(condition).map(|(path, operands)| (path, operands, None));
        };
        let crowd = |path: &[Box<str>], operands| {
            let index = self.find(path).and_then(|node| self.nodes[node].index.as_ref());
            index.map_or(0, |index| index.crowd(operands))
        };
        let equalities = parts.iter().enumerate().filter_map(|(place, part)| Some((place, equality(part)?)));
        let crowded = equalities.map(|(place, (path, operands))| (crowd(path, operands), place, path, operands));
        let (asked, place, path, operands) = crowded.min_by_key(|&(asked, ..)| asked)?;
        if asked >= CROWD && parts.len() > 1 {
            return None;
        }
        let mut rest = parts.clone();
        rest.remove(place);
        let rest = if rest.len() == 1 { rest.pop() } else { (!rest.is_empty()).then_some(Condition::All(rest)) };
        Some((path, operands, rest))
    }

    fn insert_general(&mut self, slot: Slot, condition: &Condition) {
        let expression = self.expression(condition);
        self.places.insert(slot, Place::General(self.general.len()));
        self.general.push((slot, expression));
    }

    fn expression(&mut self, condition: &Condition) -> Expression {
        match condition {
            Condition::All(parts) => Expression::All(parts.iter().map(|part| self.expression(part)).collect()),
            Condition::Any(parts) => Expression::Any(parts.iter().map(|part| self.expression(part)).collect()),
            Condition::Not(inner) => Expression::Not(Box::new(self.expression(inner))),
            Condition::Test(path, test) => {
                let node = self.node(path);
                Expression::Answer(self.ask(node, test))
            }
        }
    }

    /// The number of a test at a node.
    fn ask(&mut self, node: usize, test: &Test) -> usize {
        let asked = &self.nodes[node].tests;
        let known = asked.iter().take(SEARCHED).find(|&&known| self.tests[known].test == *test).copied();
        if let Some(known) = known {
            self.tests[known].by += 1;
            return known;
        }
        let number = self.tests.insert(Asked { test: test.clone(), node, by: 1 });
        self.nodes[node].tests.push(number);
        number
    }

    fn release(&mut self, expression: &Expression) {
        match expression {
            Expression::All(parts) | Expression::Any(parts) => parts.iter().for_each(|part| self.release(part)),
            Expression::Not(inner) => self.release(inner),
            &Expression::Answer(number) => {
                self.tests[number].by -= 1;
                if self.tests[number].by == 0 {
                    let node = self.tests[number].node;
                    let tests = &mut self.nodes[node].tests;
                    tests.retain(|&test| test != number);
                    if tests.len() * 4 < tests.capacity() {
                        tests.shrink_to(tests.len() * 2);
                    }
                    self.tests.remove(number);
                    self.prune(node);
                }
            }
        }
    }

    fn child_of(&self, node: usize, key: &str) -> Option<usize> {
        self.nodes[node].child(key.as_bytes(), false)
    }

    fn find(&self, path: &[Box<str>]) -> Option<usize> {
        path.iter().try_fold(ROOT, |node, key| self.child_of(node, key))
    }

    /// The node of a field, made where there is none.
    fn node(&mut self, path: &[Box<str>]) -> usize {
        path.iter().fold(ROOT, |parent, key| {
            self.child_of(parent, key).unwrap_or_else(|| {
                let finder = (parent == ROOT).then(|| Box::new(Finder::new(&format!("\"{key}\"")).into_owned()));
                let child = self.nodes.insert(Node { parent, finder, ..Node::default() });
                self.nodes[parent].children.push((key.as_bytes().into(), child));
                child
            })
        })
    }

    /// Takes a node out that nobody asks any more, and those above it likewise.
    fn prune(&mut self, mut node: usize) {
        while node != ROOT {
            let Node { parent, children, tests, index, .. } = &self.nodes[node];
            if !(children.is_empty() && tests.is_empty() && index.is_none()) {
                return;
            }
            let parent = *parent;
            self.nodes[parent].children.retain(|(_, child)| *child != node);
            self.nodes.remove(node);
            node = parent;
        }
    }

    /// Whether any slot wants an event with this `d`.
    pub(super) fn holds(&self, data: &[u8]) -> bool {
        let mut found = false;
        self.matches(data, |_| found = true);
        found
    }

    /// Whether an index may hold what this `d` has. No is certain; yes is for the walk to say.
    ///
    /// Where all slots wait in indexes nearly every event is for none of them, and then a search for the keys, which goes
    /// through the bytes ten times as fast as the walk, and a look at what stands behind them is enough.
    fn may_be_found(&self, data: &[u8]) -> bool {
        let plain = |key: &[u8]| key.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        if self.nodes.room() > 64 * FEW || SPELLED.find(data).is_some() {
            return true;
        }
        let mut seen = [0; FEW];
        self.nodes[ROOT].children.iter().any(|(key, child)| {
            let Some(finder) = self.nodes[*child].finder.as_ref().filter(|_| plain(key)) else { return true };
            finder.find_iter(data).enumerate().any(|(count, at)| {
                let at = skip_blanks(data, at + key.len() + 2);
                if data.get(at) != Some(&b':') {
                    // A text, or no JSON.
                    return false;
                }
                seen.fill(0);
                let mut walk =
                    Walk { matcher: self, document: data, answers: &mut [], seen: &mut seen, hits: Vec::new() };
                let end = walk.value(skip_blanks(data, at + 1), *child);
                count >= OCCURRENCES || end.is_none() || !walk.hits.is_empty()
            })
        })
    }

    /// Calls `found` with each slot that wants an event with this `d`; with a slot of an index perhaps twice.
    pub(crate) fn matches(&self, data: &[u8], mut found: impl FnMut(Slot)) {
        if self.always {
            found(0);
        }
        if self.places.is_empty() || (self.general.is_empty() && !self.may_be_found(data)) {
            return;
        }
        let (answers, fields) = (self.tests.room().div_ceil(64), self.nodes.room().div_ceil(64));
        let (mut few, mut many) = ([0; 2 * FEW], Vec::new());
        let bits = if answers <= FEW && fields <= FEW {
            &mut few[..answers + fields]
        } else {
            many.resize(answers + fields, 0);
            &mut many[..]
        };
        let (answers, seen) = bits.split_at_mut(answers);
        let mut walk = Walk { matcher: self, document: data, answers, seen, hits: Vec::new() };
        if walk.document().is_none() {
            walk.answers.fill(0);
            walk.hits.clear();
        }
        for (slot, expression) in &self.general {
            if expression.holds(walk.answers) {
                found(*slot);
            }
        }
        for (_, entry) in &walk.hits {
            if entry.rest.as_ref().is_none_or(|rest| rest.holds(data)) {
                found(entry.slot);
            }
        }
    }
}

impl Expression {
    fn holds(&self, bits: &[u64]) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(bits)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(bits)),
            Self::Not(inner) => !inner.holds(bits),
            Self::Answer(test) => bits[test / 64] >> (test % 64) & 1 != 0,
        }
    }
}

/// One pass over a document.
struct Walk<'m, 'd, 'b> {
    matcher: &'m Matcher,
    document: &'d [u8],
    /// A bit for each test.
    answers: &'b mut [u64],
    /// A bit for each node: its key was met.
    seen: &'b mut [u64],
    /// What indexes found, and at which node. Empty for most events, and then it allocates nothing.
    hits: Vec<(usize, &'m Entry<Matcher>)>,
}

impl<'m> Walk<'m, '_, '_> {
    /// Answers the tests; `None` where it is no JSON object.
    fn document(&mut self) -> Option<()> {
        let start = skip_blanks(self.document, 0);
        if *self.document.get(start)? != b'{' {
            return None;
        }
        let end = self.object(start, &self.matcher.nodes[ROOT])?;
        (skip_blanks(self.document, end) == self.document.len()).then_some(())
    }

    /// Goes through the object at `start`; the offset after it.
    fn object(&mut self, start: usize, node: &'m Node) -> Option<usize> {
        let document = self.document;
        let mut at = skip_blanks(document, start + 1);
        if *document.get(at)? == b'}' {
            return Some(at + 1);
        }
        loop {
            if *document.get(at)? != b'"' {
                return None;
            }
            let contents = string::contents(document, at + 1)?;
            let key = &document[at + 1..contents.end];
            at = skip_blanks(document, contents.end + 1);
            if *document.get(at)? != b':' {
                return None;
            }
            at = skip_blanks(document, at + 1);
            at = match node.child(key, contents.escaped) {
                None => Value::skip(document, at)?,
                Some(child) => self.value(at, child)?,
            };
            at = skip_blanks(document, at);
            match *document.get(at)? {
                b',' => at = skip_blanks(document, at + 1),
                b'}' => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// Answers the tests of a field, whose value stands at `at`; the offset after it.
    fn value(&mut self, at: usize, number: usize) -> Option<usize> {
        let node = &self.matcher.nodes[number];
        if self.seen[number / 64] >> (number % 64) & 1 != 0 {
            // An earlier value under the same key is gone, with all that was in it.
            self.forget(number);
        }
        self.seen[number / 64] |= 1 << (number % 64);
        let (value, end) = if self.document.get(at) == Some(&b'{') && !node.children.is_empty() {
            (Value::Object, self.object(at, node)?)
        } else {
            Value::read(self.document, at)?
        };
        for &test in &node.tests {
            self.answers[test / 64] |= u64::from(self.matcher.tests[test].test.holds(value)) << (test % 64);
        }
        if let Some(index) = &node.index {
            index.look_up(value, |entry| self.hits.push((number, entry)));
        }
        Some(end)
    }

    fn forget(&mut self, number: usize) {
        let node = &self.matcher.nodes[number];
        self.seen[number / 64] &= !(1 << (number % 64));
        node.tests.iter().for_each(|test| self.answers[test / 64] &= !(1 << (test % 64)));
        self.hits.retain(|(at, _)| *at != number);
        node.children.iter().for_each(|(_, child)| self.forget(*child));
    }
}

impl Node {
    #[inline]
    fn child(&self, key: &[u8], escaped: bool) -> Option<usize> {
        let is = |name: &[u8]| if escaped { Text::new(key, true).is(name) } else { key == name };
        self.children.iter().find(|(name, _)| is(name)).map(|(_, child)| *child)
    }
}
