//! Several machines: gateway hosts and workers that share keys, questions and events over NATS. It implements the seams of
//! `propylon-core` on async-nats, and knows nothing of Python.

pub mod broker;
mod headers;
pub mod sink;
pub mod source;
