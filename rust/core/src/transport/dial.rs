//! One connection attempt: TCP or a proxy, TLS, HTTP upgrade. Gives a WebSocket or says what failed; deadlines are the
//! session machine's.

use std::{io, sync::Arc, time::Duration};

use http::{HeaderValue, header};
use rustls::{CertificateError, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, client::IntoClientRequest, protocol::WebSocketConfig},
};
use url::Url;

use super::{
    proxy::Proxy,
    stage::{Stage, Step},
    stream::{Io, Metered},
};
use crate::{
    inflate::Compression,
    session::{ConnectFailure, ConnectFailureKind},
};

/// An open WebSocket.
pub type Socket = WebSocketStream<Metered>;

/// What every connection of a gateway shares.
#[derive(Clone)]
pub struct TransportConfig {
    /// Trust and TLS versions.
    pub tls: Arc<rustls::ClientConfig>,
    /// The way out; `None`: straight.
    pub proxy: Option<Arc<Proxy>>,
    /// Decides how large a message may be on the wire.
    pub compression: Compression,
    /// Cap of one payload, inflated.
    pub max_payload_bytes: usize,
    /// `User-Agent` of the upgrade and of `/gateway/bot`: `DiscordBot (url, version)`.
    pub user_agent: String,
    /// Where the attempt under way stands.
    pub stage: Stage,
}

impl std::fmt::Debug for TransportConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransportConfig").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

/// Read buffer of the WebSocket. Tungstenite's default of 128 KiB measured 2,750 ns per 40 kB frame, this 1,600 ns.
const READ_BUFFER: usize = 16 * 1024;
/// A peer that stops reading costs us this much and the connection; payloads are 4 KiB at most.
const WRITE_BUFFER: usize = 64 * 1024;
/// Compressed messages beyond this are no Discord's: 16 MiB of zstd can inflate to half a terabyte.
const MAX_COMPRESSED: usize = 16 * 1024 * 1024;

impl TransportConfig {
    /// Bytes of the largest message.
    fn largest(&self) -> usize {
        match self.compression {
            Compression::None => self.max_payload_bytes,
            _ => self.max_payload_bytes.min(MAX_COMPRESSED),
        }
    }

    fn websocket(&self) -> WebSocketConfig {
        let largest = self.largest();
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(largest))
            .max_frame_size(Some(largest))
    }
}

pub(super) fn failure(kind: ConnectFailureKind, message: impl Into<String>) -> ConnectFailure {
    ConnectFailure { kind, message: message.into(), retry_after: None }
}

/// Opens TCP, through the proxy where there is one, and, where the scheme says so (`wss`, `https`), TLS.
///
/// # Errors
/// What failed and why; certificates name their reason.
pub async fn connect_stream(url: &Url, config: &TransportConfig) -> Result<Box<dyn Io>, ConnectFailure> {
    let host = url.host_str().ok_or_else(|| failure(ConnectFailureKind::Config, "the URL has no host"))?;
    let port = url.port_or_known_default().ok_or_else(|| failure(ConnectFailureKind::Config, "the URL has no port"))?;
    // An IPv6 literal stands in brackets in a URL, and only there.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let encrypted = matches!(url.scheme(), "wss" | "https");
    if let Some(proxy) = &config.proxy {
        let stream = proxy.tunnel(host, port, config).await?;
        config.stage.enter(Step::Tls);
        return if encrypted { secure(stream, host, &config.tls).await } else { Ok(stream) };
    }
    config.stage.enter(Step::Tcp);
    let unreachable = |error: io::Error| failure(ConnectFailureKind::Unreachable, format!("{host}:{port}: {error}"));
    let tcp = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    config.stage.enter(Step::Tls);
    if encrypted { secure(tcp, host, &config.tls).await } else { Ok(Box::new(tcp)) }
}

/// TLS over `stream` to `host`.
pub(super) async fn secure<S: Io + 'static>(
    stream: S,
    host: &str,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<Box<dyn Io>, ConnectFailure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| failure(ConnectFailureKind::Config, format!("{host}: {error}")))?;
    match TlsConnector::from(Arc::clone(tls)).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(tls_failure(host, &error)),
    }
}

fn tls_failure(host: &str, error: &io::Error) -> ConnectFailure {
    use rustls::{AlertDescription, Error, InvalidMessage};
    let Some(reason) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return failure(ConnectFailureKind::Unreachable, format!("TLS handshake with {host}: {error}"));
    };
    let (kind, advice) = match reason {
        Error::InvalidCertificate(wrong) => (ConnectFailureKind::Certificate, certificate_advice(wrong)),
        // What follows also comes from a load balancer in trouble: it is tried again.
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            (ConnectFailureKind::Handshake, "what answers does not speak TLS on this port; check the URL")
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            (ConnectFailureKind::Handshake, "the server must speak TLS 1.2 or 1.3")
        }
        _ => (ConnectFailureKind::Handshake, ""),
    };
    let what = match kind {
        ConnectFailureKind::Certificate => "the certificate of",
        _ => "the TLS handshake with",
    };
    let colon = if advice.is_empty() { "" } else { ": " };
    failure(kind, format!("{what} {host} failed ({reason}){colon}{advice}"))
}

fn certificate_advice(wrong: &CertificateError) -> &'static str {
    use CertificateError as Wrong;
    match wrong {
        Wrong::Expired | Wrong::ExpiredContext { .. } => "it has expired, unless the clock of this machine is wrong",
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            "it is not valid yet, unless the clock of this machine is wrong"
        }
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
            "it belongs to another host; check the URL, and what stands between here and there"
        }
        Wrong::UnknownIssuer => {
            "nobody who is trusted has issued it; a private authority goes into ca_file=, \
             and native_roots=True trusts those of the operating system"
        }
        Wrong::Revoked => "it was revoked",
        _ => "it must not be trusted",
    }
}

/// Opens a WebSocket to `url`, which has its query already.
///
/// # Errors
/// What failed and why. Redirects are answers other than 101 and are not followed.
pub async fn dial(url: Url, config: TransportConfig) -> Result<Socket, ConnectFailure> {
    let stream = connect_stream(&url, &config).await?;
    config.stage.enter(Step::Http);
    let mut request =
        url.as_str().into_client_request().map_err(|error| failure(ConnectFailureKind::Config, error.to_string()))?;
    let user_agent = HeaderValue::from_str(&config.user_agent)
        .map_err(|error| failure(ConnectFailureKind::Config, format!("User-Agent: {error}")))?;
    request.headers_mut().insert(header::USER_AGENT, user_agent);
    // A quarter for the headers of frames: messages that come in fragments of 10 bytes are no Discord's.
    let stream = Metered::new(stream, config.largest() + config.largest() / 4 + WRITE_BUFFER);
    match client_async_with_config(request, stream, Some(config.websocket())).await {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(upgrade_failure(&error)),
    }
}

fn upgrade_failure(error: &Error) -> ConnectFailure {
    let Error::Http(response) = error else {
        return failure(ConnectFailureKind::Handshake, format!("WebSocket upgrade: {error}"));
    };
    let status = response.status();
    let advice = if status.is_redirection() { "; redirects are not followed, so check the URL" } else { "" };
    ConnectFailure {
        kind: ConnectFailureKind::Handshake,
        // The body is the server's own: it is neither read further nor repeated.
        message: format!("the server answered HTTP {status} instead of 101{advice}"),
        retry_after: response.headers().get(header::RETRY_AFTER).and_then(|value| retry_after(value.as_bytes())),
    }
}

/// A `Retry-After` in seconds, decimals allowed, an hour at most; Discord sends no dates there.
pub fn retry_after(value: &[u8]) -> Option<Duration> {
    let seconds: f64 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    (seconds.is_finite() && seconds > 0.0).then(|| Duration::from_secs_f64(seconds.min(3600.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f03_retry_after_is_seconds_with_decimals_and_capped() {
        let parsed = |text: &str| retry_after(text.as_bytes()).map(|duration| duration.as_secs_f64());
        assert_eq!(parsed("5"), Some(5.0));
        assert_eq!(parsed(" 0.25 "), Some(0.25));
        assert_eq!(parsed("1e9"), Some(3600.0));
        for nothing in ["", "0", "-1", "nan", "inf", "soon", "Wed, 21 Oct 2026 07:28:00 GMT"] {
            assert_eq!(parsed(nothing), None, "{nothing}");
        }
    }
}
