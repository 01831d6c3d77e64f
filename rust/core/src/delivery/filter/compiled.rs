//! One filter, as Python holds it.

use std::sync::OnceLock;

use super::{
    Matcher, Slot,
    condition::{Condition, FilterError, condition},
};

/// One filter.
///
/// Its description is JSON: `["and", …]`, `["or", …]`, `["not", x]`, or an operator, a dotted path and an operand:
/// `["==", "author.id", 7]`, likewise `<`, `<=`, `>`, `>=`, `startswith`, `endswith` and `contains`;
/// `["in", path, [operand, …]]`; `["exists", path]` and `["null", path]`. Floats are written `{"float": "0.5"}`,
/// moments `{"time": microseconds since 1970}`.
#[derive(Debug)]
pub struct Filter {
    condition: Condition,
    /// For being asked alone; made when that happens.
    alone: OnceLock<Matcher>,
}

impl Filter {
    /// Compiles a description.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(description: &str) -> Result<Self, FilterError> {
        let json = serde_json::from_str(description).map_err(|error| FilterError(error.to_string()))?;
        condition(&json, 0).map(|condition| Self { condition, alone: OnceLock::new() })
    }

    /// Whether the JSON text of an event's `d` matches. What is no JSON object has no field.
    ///
    /// Events on their way ask all filters that concern them at once, see [`crate::delivery::Subscriptions`].
    pub fn matches(&self, data: &[u8]) -> bool {
        self.alone.get_or_init(|| Matcher::of(&self.condition)).holds(data)
    }

    /// Asks it as `slot` of an event. The slot is not there yet, and not slot 0.
    pub(in crate::delivery) fn insert_into(&self, matcher: &mut Matcher, slot: Slot) {
        matcher.insert(slot, &self.condition);
    }
}
