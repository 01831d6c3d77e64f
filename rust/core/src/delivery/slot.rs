//! Slots by their numbers.

/// The number of a slot: of a filter, or, 0, of none.
pub type Slot = u32;
