//! A Discord-compatible gateway server on loopback, for tests, demos and benchmarks.
//!
//! One port serves REST (`/api/v10/gateway`, `/gateway/bot`) and the WebSocket; see [`Simulator`]. It shares no code with the
//! client that it tests, so that a mistake in one is not hidden by the same mistake in the other.
//!
//! From the bottom: `options` is what callers say, `wire` moves bytes, `traffic` makes events, `state` is what the server
//! knows without a socket (sessions above all), `gateway` serves one connection, and the files beside this one accept
//! connections, answer REST and are the handle. None imports what comes after it.

mod api;
mod gateway;
mod observe;
mod options;
mod server;
mod simulator;
mod state;
mod traffic;
mod wire;

pub use options::{Certificate, Condition, Keyword, Script, Selector, Shards, SimulatorConfig, Start, Step, Target};
pub use simulator::Simulator;
pub use traffic::encode_stream;
pub use wire::Compression;
