//! One gateway connection: its state, Discord's rules for what the client sends, the steps of scripts, and the loops that
//! move its bytes.

mod commands;
mod connection;
pub(crate) mod loops;
mod rules;
pub(crate) mod steps;

pub(crate) use connection::Connection;
pub(crate) use rules::BEAT_TOLERANCE;
