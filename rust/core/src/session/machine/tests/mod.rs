//! Rules of protocol.md under virtual time, one test per rule. `s9_…` names a section of protocol.md,
//! `f24_…` a case and `i1_…` an invariant of faults.md.

// Virtual time only moves forward; where it did not, the panic is the failed test.
#![allow(clippy::unchecked_time_subtraction)]

mod backoff;
mod close_codes;
mod commands;
mod counted;
mod heartbeat;
mod identify;
mod lease;
mod lifecycle;
mod model;
mod properties;
mod resume;
mod script;
mod sequence;
mod sleep;
mod support;
