//! Bytes in and out: TCP, TLS and the WebSocket upgrade. Knows URLs and certificates, nothing of Discord's payloads.

mod dial;
mod endpoint;
mod tls;

pub use dial::{Io, Socket, TransportConfig, connect_stream, dial};
pub use endpoint::{gateway_url, is_loopback, refuse_resume_url};
pub use tls::{TlsError, client_config};
