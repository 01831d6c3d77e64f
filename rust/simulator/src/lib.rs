//! A Discord-compatible gateway server on loopback, for tests, demos and benchmarks.
//!
//! One port serves REST (`/api/v10/gateway`, `/gateway/bot`) and the WebSocket; see [`Simulator`]. It shares no code with the
//! client that it tests, so that a mistake in one is not hidden by the same mistake in the other.

mod commands;
mod config;
mod connection;
mod encoder;
mod frame;
mod gateway;
mod http;
mod json;
mod log;
mod observe;
mod outbox;
mod pace;
mod record;
mod script;
mod server;
mod session;
mod simulator;
mod steps;
mod stream;
mod tcp;
mod tls;
mod traffic;
mod wire;

pub use config::{SimulatorConfig, Start};
pub use encoder::Compression;
pub use record::Condition;
pub use script::{Keyword, Script, Selector, Step};
pub use simulator::Simulator;
pub use stream::encode_stream;
pub use tls::Certificate;
