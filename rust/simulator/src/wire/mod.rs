//! Bytes on a connection: TCP, TLS, HTTP, WebSocket frames, compression. Also where they are spoiled. Knows neither
//! sessions nor who is connected.

mod encoder;
pub(crate) mod frame;
pub(crate) mod http;
mod listeners;
mod stream;
pub(crate) mod tcp;
mod tls;

pub use encoder::Compression;
pub(crate) use encoder::{Encoder, Spoil};
pub(crate) use listeners::{Accepted, Listeners};
pub(crate) use stream::{Stream, Wire};
pub(crate) use tls::Authority;
