//! Bytes in and out: TCP, proxies, TLS and the WebSocket upgrade. Knows URLs and certificates, nothing of Discord's
//! payloads.

mod answer;
mod dial;
mod endpoint;
mod proxies;
mod proxy;
mod stage;
mod stream;
mod tcp;
mod tls;

pub use answer::{kind_of, retry_after};
pub use dial::{Socket, TransportConfig, connect_stream, dial};
pub use endpoint::{api_url, gateway_url, is_loopback, refuse_resume_url};
pub use proxies::Proxies;
pub use proxy::Proxy;
pub use stage::Stage;
pub use stream::{Io, Metered};
pub use tcp::{Lookup, Resolver, system_resolver};
pub use tls::{TlsError, client_config};
