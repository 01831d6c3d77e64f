//! What the shards of one application share: the identify gate and what the REST API says.

mod gate;
mod rest;

pub use gate::{Blocked, HOLD, IdentifyGate, Left, Permit};
pub use rest::{application_flags, gateway_bot};
