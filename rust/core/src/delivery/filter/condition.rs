//! What a filter asks: its description, as Python writes it, read once.

use serde_json::Value as Json;

use super::value::{Needle, Number, Value, elements};

/// Deeper conditions, or fields, are refused: evaluation is recursive.
const MAX_DEPTH: usize = 32;

/// A description that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError(pub String);

impl std::fmt::Display for FilterError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for FilterError {}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Test(Vec<Box<str>>, Test),
}

/// What is asked of one field. False for every field that is not there.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    Exists,
    Null,
    /// Equals one of these.
    In(Operands),
    Compare(Relation, Operand),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    /// Text with this text in it, or an array with an element that equals it.
    Contains(Needle, Operands),
    /// An array with an element that equals it.
    Element(Operands),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    /// Microseconds since 1970.
    Time(i64),
}

/// A set of operands, sorted to be searched.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Operands {
    pub(super) null: bool,
    pub(super) yes: bool,
    pub(super) no: bool,
    pub(super) numbers: Box<[Number]>,
    pub(super) texts: Box<[Box<str>]>,
    pub(super) times: Box<[i64]>,
}

/// Reads a description.
pub(super) fn condition(json: &Json, depth: usize) -> Result<Condition, FilterError> {
    let wrong = || FilterError(format!("no filter: {json}"));
    if depth > MAX_DEPTH {
        return Err(FilterError(format!("a filter is nested more than {MAX_DEPTH} deep")));
    }
    let all = |parts: &[Json]| parts.iter().map(|part| condition(part, depth + 1)).collect::<Result<Vec<_>, _>>();
    let parts = json.as_array().map(Vec::as_slice).unwrap_or_default();
    let [Json::String(name), rest @ ..] = parts else { return Err(wrong()) };
    match (name.as_str(), rest) {
        ("and", rest) => return Ok(Condition::All(all(rest)?)),
        ("or", rest) => return Ok(Condition::Any(all(rest)?)),
        ("not", [inner]) => return Ok(Condition::Not(Box::new(condition(inner, depth + 1)?))),
        _ => {}
    }
    let [Json::String(path), arguments @ ..] = rest else { return Err(wrong()) };
    let path: Vec<Box<str>> = path.split('.').map(Box::from).collect();
    if path.len() > MAX_DEPTH {
        return Err(FilterError(format!("a field is more than {MAX_DEPTH} objects deep")));
    }
    test(name, arguments).map(|test| Condition::Test(path, test)).ok_or_else(wrong)
}

fn test(name: &str, arguments: &[Json]) -> Option<Test> {
    let relation = match name {
        "<" => Some(Relation::Less),
        "<=" => Some(Relation::LessOrEqual),
        ">" => Some(Relation::Greater),
        ">=" => Some(Relation::GreaterOrEqual),
        _ => None,
    };
    Some(match (name, arguments) {
        ("exists", []) => Test::Exists,
        ("null", []) => Test::Null,
        ("==", [one]) => Test::In(Operands::new([operand(one)?])),
        ("in", [Json::Array(several)]) => {
            Test::In(Operands::new(several.iter().map(operand).collect::<Option<Vec<_>>>()?))
        }
        ("startswith", [Json::String(text)]) => Test::StartsWith(text.as_str().into()),
        ("endswith", [Json::String(text)]) => Test::EndsWith(text.as_str().into()),
        ("contains", [one]) => match operand(one)? {
            Operand::Text(text) => Test::Contains(Needle::new(text.clone()), Operands::new([Operand::Text(text)])),
            other => Test::Element(Operands::new([other])),
        },
        (_, [one]) => match operand(one)? {
            one @ (Operand::Number(_) | Operand::Text(_) | Operand::Time(_)) => Test::Compare(relation?, one),
            Operand::Null | Operand::Bool(_) => return None,
        },
        _ => return None,
    })
}

fn operand(json: &Json) -> Option<Operand> {
    Some(match json {
        Json::Null => Operand::Null,
        Json::Bool(value) => Operand::Bool(*value),
        Json::String(text) => Operand::Text(text.as_str().into()),
        Json::Number(number) => {
            let integer = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from))?;
            Operand::Number(Number::Integer(integer))
        }
        Json::Object(object) if object.contains_key("time") => Operand::Time(object["time"].as_i64()?),
        // As text, because serde_json reads floats to the last bit only by a feature.
        Json::Object(object) => {
            let float: f64 = object.get("float")?.as_str()?.parse().ok()?;
            Operand::Number(Number::Float((!float.is_nan()).then_some(float)?))
        }
        Json::Array(_) => return None,
    })
}

impl Operands {
    fn new(several: impl IntoIterator<Item = Operand>) -> Self {
        let (mut numbers, mut texts, mut times) = (Vec::new(), Vec::new(), Vec::new());
        let mut operands = Self::default();
        for operand in several {
            match operand {
                Operand::Null => operands.null = true,
                Operand::Bool(true) => operands.yes = true,
                Operand::Bool(false) => operands.no = true,
                Operand::Number(number) => numbers.push(number),
                Operand::Text(text) => texts.push(text),
                Operand::Time(time) => times.push(time),
            }
        }
        numbers.sort_unstable();
        texts.sort_unstable();
        times.sort_unstable();
        Self { numbers: numbers.into(), texts: texts.into(), times: times.into(), ..operands }
    }

    /// Whether there is no value among them.
    pub(super) fn are_none(&self) -> bool {
        let few = self.null || self.yes || self.no;
        !few && self.numbers.is_empty() && self.texts.is_empty() && self.times.is_empty()
    }

    fn hold(&self, value: Value<'_>) -> bool {
        match value {
            Value::Null => self.null,
            Value::Bool(value) => {
                if value {
                    self.yes
                } else {
                    self.no
                }
            }
            Value::Number(number) => self.numbers.binary_search(&number).is_ok(),
            Value::Text(text) => {
                let same = match &*self.texts {
                    [] => false,
                    [one] => text.is(one.as_bytes()),
                    several => several.binary_search_by(|one| text.cmp(one).reverse()).is_ok(),
                };
                let number = || text.integer().is_some_and(|number| self.numbers.binary_search(&number).is_ok());
                let time = || text.time().is_some_and(|time| self.times.binary_search(&time).is_ok());
                same || (!self.numbers.is_empty() && number()) || (!self.times.is_empty() && time())
            }
            Value::Array(_) | Value::Object => false,
        }
    }
}

impl Relation {
    fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Test {
    /// Whether it holds for a field that is there.
    pub(super) fn holds(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Exists, _) | (Self::Null, Value::Null) => true,
            (Self::In(operands), value) => operands.hold(value),
            (Self::Compare(relation, Operand::Number(operand)), Value::Number(number)) => {
                relation.holds(number.cmp(operand))
            }
            (Self::Compare(relation, Operand::Number(operand)), Value::Text(text)) => {
                text.integer().is_some_and(|number| relation.holds(number.cmp(operand)))
            }
            (Self::Compare(relation, Operand::Time(operand)), Value::Text(text)) => {
                text.time().is_some_and(|time| relation.holds(time.cmp(operand)))
            }
            (Self::Compare(relation, Operand::Text(operand)), Value::Text(text)) => relation.holds(text.cmp(operand)),
            (Self::StartsWith(start), Value::Text(text)) => text.starts_with(start),
            (Self::EndsWith(end), Value::Text(text)) => text.ends_with(end),
            (Self::Contains(needle, _), Value::Text(text)) => text.contains(needle),
            (Self::Contains(_, operands) | Self::Element(operands), Value::Array(array)) => {
                elements(array).any(|element| operands.hold(element))
            }
            _ => false,
        }
    }
}
