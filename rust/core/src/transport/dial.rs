//! One connection attempt: TCP, TLS, HTTP upgrade. Gives a WebSocket or says what failed; deadlines
//! are the session machine's.

use std::{io, sync::Arc, time::Duration};

use http::{HeaderValue, header};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, client::IntoClientRequest, protocol::WebSocketConfig},
};
use url::Url;

use crate::{
    inflate::Compression,
    session::{ConnectFailure, ConnectFailureKind},
};

/// A byte stream, whatever lies under it. One virtual call per read, which takes 16 KiB.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open WebSocket.
pub type Socket = WebSocketStream<Box<dyn Io>>;

/// What every connection of a gateway shares.
#[derive(Clone)]
pub struct TransportConfig {
    /// Trust and TLS versions.
    pub tls: Arc<rustls::ClientConfig>,
    /// Decides how large a message may be on the wire.
    pub compression: Compression,
    /// Cap of one payload, inflated.
    pub max_payload_bytes: usize,
    /// `User-Agent` of the upgrade and of `/gateway/bot`: `DiscordBot (url, version)`.
    pub user_agent: String,
}

impl std::fmt::Debug for TransportConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransportConfig").finish_non_exhaustive()
    }
}

/// Read buffer of the WebSocket. Tungstenite's default of 128 KiB measured 2,750 ns per 40 kB frame, this 1,600 ns.
const READ_BUFFER: usize = 16 * 1024;
/// A peer that stops reading costs us this much and the connection; payloads are 4 KiB at most.
const WRITE_BUFFER: usize = 64 * 1024;
/// Compressed messages beyond this are no Discord's: 16 MiB of zstd can inflate to half a terabyte.
const MAX_COMPRESSED: usize = 16 * 1024 * 1024;

impl TransportConfig {
    fn websocket(&self) -> WebSocketConfig {
        let largest = match self.compression {
            Compression::None => self.max_payload_bytes,
            _ => self.max_payload_bytes.min(MAX_COMPRESSED),
        };
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(largest))
            .max_frame_size(Some(largest))
    }
}

fn failure(kind: ConnectFailureKind, message: impl Into<String>) -> ConnectFailure {
    ConnectFailure { kind, message: message.into(), retry_after: None }
}

/// Opens TCP and, where the scheme says so (`wss`, `https`), TLS.
///
/// # Errors
/// What failed and why; certificates name their reason.
pub async fn connect_stream(url: &Url, tls: &Arc<rustls::ClientConfig>) -> Result<Box<dyn Io>, ConnectFailure> {
    let unreachable = |error: io::Error| failure(ConnectFailureKind::Unreachable, error.to_string());
    let host = url.host_str().ok_or_else(|| failure(ConnectFailureKind::Config, "the URL has no host"))?;
    let port = url.port_or_known_default().ok_or_else(|| failure(ConnectFailureKind::Config, "the URL has no port"))?;
    // An IPv6 literal stands in brackets in a URL, and only there.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let tcp = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    if !matches!(url.scheme(), "wss" | "https") {
        return Ok(Box::new(tcp));
    }
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| failure(ConnectFailureKind::Config, format!("{host}: {error}")))?;
    match TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(tls_failure(&error)),
    }
}

fn tls_failure(error: &io::Error) -> ConnectFailure {
    let reason = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match reason {
        Some(reason @ rustls::Error::InvalidCertificate(_)) => {
            failure(ConnectFailureKind::Certificate, format!("certificate refused: {reason}"))
        }
        Some(reason) => failure(ConnectFailureKind::Certificate, format!("TLS handshake failed: {reason}")),
        None => failure(ConnectFailureKind::Unreachable, format!("TLS handshake: {error}")),
    }
}

/// Opens a WebSocket to `url`, which has its query already.
///
/// # Errors
/// What failed and why. Redirects are answers other than 101 and are not followed.
pub async fn dial(url: Url, config: TransportConfig) -> Result<Socket, ConnectFailure> {
    let stream = connect_stream(&url, &config.tls).await?;
    let mut request =
        url.as_str().into_client_request().map_err(|error| failure(ConnectFailureKind::Config, error.to_string()))?;
    let user_agent = HeaderValue::from_str(&config.user_agent)
        .map_err(|error| failure(ConnectFailureKind::Config, format!("User-Agent: {error}")))?;
    request.headers_mut().insert(header::USER_AGENT, user_agent);
    match client_async_with_config(request, stream, Some(config.websocket())).await {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(upgrade_failure(&error)),
    }
}

fn upgrade_failure(error: &Error) -> ConnectFailure {
    let Error::Http(response) = error else {
        return failure(ConnectFailureKind::Handshake, format!("WebSocket upgrade: {error}"));
    };
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|text| text.trim().parse::<f64>().ok());
    ConnectFailure {
        kind: ConnectFailureKind::Handshake,
        message: format!("the server answered HTTP {} instead of 101", response.status()),
        retry_after: retry_after.filter(|s| s.is_finite() && *s > 0.0).map(|s| Duration::from_secs_f64(s.min(3600.0))),
    }
}
