//! All filters of an event, asked in one pass over its bytes.
//!
//! The fields that any of them names form a tree. The walk goes down it, answers the tests of each field it meets, one bit
//! each, and skips everything else; then each filter is worked out from the bits. A field that is not there leaves its bits
//! at zero, which is the answer for it, and of a repeated key the last one's answers stay.

use std::ops::Range;

use super::{
    Filter,
    expression::{Condition, Test},
    value::{Text, Value, skip_blanks},
};
use crate::protocol::string;

/// The slots of one event.
#[derive(Debug)]
pub(crate) struct Matcher {
    nodes: Box<[Node]>,
    tests: Box<[Test]>,
    /// The slots without a filter.
    always: u64,
    slots: Box<[(u64, Expression)]>,
}

/// A field, or an object on the way to one.
#[derive(Debug, Default)]
struct Node {
    children: Vec<(Box<[u8]>, usize)>,
    /// Its own tests.
    tests: Range<usize>,
    /// Its own and those of all below it.
    subtree: Range<usize>,
}

/// A filter over the answers.
#[derive(Debug)]
enum Expression {
    All(Box<[Expression]>),
    Any(Box<[Expression]>),
    Not(Box<Expression>),
    Answer(usize),
}

/// The fields while they are collected.
#[derive(Default)]
struct Fields {
    children: Vec<Vec<(Box<[u8]>, usize)>>,
    tests: Vec<Vec<Test>>,
}

impl Fields {
    fn node(&mut self) -> usize {
        self.children.push(Vec::new());
        self.tests.push(Vec::new());
        self.tests.len() - 1
    }

    /// The node and the place of each test, in the order in which the conditions name them.
    fn collect(&mut self, condition: &Condition, places: &mut Vec<(usize, usize)>) {
        match condition {
            Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| self.collect(part, places)),
            Condition::Not(inner) => self.collect(inner, places),
            Condition::Test(path, test) => {
                let mut node = 0;
                for key in path {
                    let known = self.children[node].iter().find(|(name, _)| **name == *key.as_bytes());
                    node = if let Some(&(_, child)) = known {
                        child
                    } else {
                        let child = self.node();
                        self.children[node].push((key.as_bytes().into(), child));
                        child
                    };
                }
                let tests = &mut self.tests[node];
                let place = tests.iter().position(|known| known == test).unwrap_or_else(|| {
                    tests.push(test.clone());
                    tests.len() - 1
                });
                places.push((node, place));
            }
        }
    }

    /// Numbers the tests so that those below a node stand together.
    fn finish(&mut self, node: usize, nodes: &mut [Node], tests: &mut Vec<Test>) {
        let start = tests.len();
        tests.append(&mut self.tests[node]);
        nodes[node].tests = start..tests.len();
        nodes[node].children = std::mem::take(&mut self.children[node]);
        for child in 0..nodes[node].children.len() {
            self.finish(nodes[node].children[child].1, nodes, tests);
        }
        nodes[node].subtree = start..tests.len();
    }
}

fn expression(condition: &Condition, answers: &mut impl Iterator<Item = usize>) -> Expression {
    match condition {
        Condition::All(parts) => Expression::All(parts.iter().map(|part| expression(part, answers)).collect()),
        Condition::Any(parts) => Expression::Any(parts.iter().map(|part| expression(part, answers)).collect()),
        Condition::Not(inner) => Expression::Not(Box::new(expression(inner, answers))),
        // `collect` went the same way and left one for each test.
        Condition::Test(..) => answers.next().map_or(Expression::Any(Box::default()), Expression::Answer),
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

/// So many answers find room on the stack.
const FEW: usize = 256 / 64;

impl Matcher {
    /// A matcher of these slots, at most 64; `None` takes every event.
    pub(crate) fn new(filters: &[Option<&Filter>]) -> Self {
        debug_assert!(filters.len() <= 64);
        let mut fields = Fields::default();
        let mut places = Vec::new();
        fields.node();
        for filter in filters.iter().flatten() {
            fields.collect(&filter.condition, &mut places);
        }
        let mut nodes: Box<[Node]> = fields.tests.iter().map(|_| Node::default()).collect();
        let mut tests = Vec::new();
        fields.finish(0, &mut nodes, &mut tests);
        let mut answers = places.iter().map(|&(node, place)| nodes[node].tests.start + place);
        let (mut always, mut slots) = (0, Vec::new());
        for (slot, filter) in filters.iter().enumerate() {
            match filter {
                Some(filter) => slots.push((1 << slot, expression(&filter.condition, &mut answers))),
                None => always |= 1 << slot,
            }
        }
        Self { tests: tests.into(), always, slots: slots.into(), nodes }
    }

    /// The slots that want an event with this `d`, bit by bit.
    pub(crate) fn matches(&self, data: &[u8]) -> u64 {
        let words = self.tests.len().div_ceil(64);
        let (mut few, mut many) = ([0; FEW], Vec::new());
        let bits = if words <= FEW {
            &mut few[..words]
        } else {
            many.resize(words, 0);
            &mut many[..]
        };
        if self.document(data, bits).is_none() {
            bits.fill(0);
        }
        self.slots.iter().fold(
            self.always,
            |slots, (slot, expression)| {
                if expression.holds(bits) { slots | slot } else { slots }
            },
        )
    }

    /// Answers the tests; `None` where `data` is no JSON object.
    fn document(&self, data: &[u8], bits: &mut [u64]) -> Option<()> {
        let start = skip_blanks(data, 0);
        if *data.get(start)? != b'{' {
            return None;
        }
        let end = self.object(data, start, &self.nodes[0], bits)?;
        (skip_blanks(data, end) == data.len()).then_some(())
    }

    /// Goes through the object at `start`; the offset after it.
    fn object(&self, document: &[u8], start: usize, node: &Node, bits: &mut [u64]) -> Option<usize> {
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
                Some(child) => self.value(document, at, &self.nodes[child], bits)?,
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
    fn value(&self, document: &[u8], at: usize, node: &Node, bits: &mut [u64]) -> Option<usize> {
        // An earlier value under the same key is gone, with all that was in it.
        node.subtree.clone().for_each(|test| bits[test / 64] &= !(1 << (test % 64)));
        let (value, end) = if document.get(at) == Some(&b'{') && !node.children.is_empty() {
            (Value::Object, self.object(document, at, node, bits)?)
        } else {
            Value::read(document, at)?
        };
        for test in node.tests.clone() {
            bits[test / 64] |= u64::from(self.tests[test].holds(value)) << (test % 64);
        }
        Some(end)
    }
}

impl Node {
    #[inline]
    fn child(&self, key: &[u8], escaped: bool) -> Option<usize> {
        let is = |name: &[u8]| if escaped { Text::new(key, true).is(name) } else { key == name };
        self.children.iter().find(|(name, _)| is(name)).map(|(_, child)| *child)
    }
}
