//! What the shards of one application share: the identify gate and what `/gateway/bot` says.

mod gate;
mod rest;

pub use gate::{HOLD, IdentifyGate, Permit};
pub use rest::{GatewayBot, SessionStartLimit, gateway_bot};
