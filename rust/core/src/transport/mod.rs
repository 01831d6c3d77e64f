//! Bytes in and out: TCP, proxies, TLS and the WebSocket upgrade. Knows URLs and certificates, nothing of Discord's
//! payloads.

mod dial;
mod endpoint;
mod proxy;
mod stage;
mod stream;
mod tls;

pub use dial::{Socket, TransportConfig, connect_stream, dial, retry_after};
pub use endpoint::{api_url, gateway_url, is_loopback, refuse_resume_url};
pub use proxy::Proxy;
pub use stage::Stage;
pub use stream::{Io, Metered};
pub use tls::{TlsError, client_config};
