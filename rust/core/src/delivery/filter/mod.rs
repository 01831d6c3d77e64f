//! `where=` filters: does an event's `d` match? Decided on the raw bytes, before anything is queued.
//!
//! What operators mean is said once, for users and for us, in `docs/filters.md`; the descriptions that [`Filter::parse`]
//! reads are written by `python/propylon/_filters/expression.py`.

mod compiled;
mod condition;
mod index;
mod matcher;
mod slab;
mod time;
mod value;

#[cfg(test)]
mod tests;

pub use compiled::Filter;
pub use condition::FilterError;

pub(super) use matcher::Matcher;

use super::slot::Slot;
