//! One connection attempt: TCP or a proxy, TLS, HTTP upgrade. Gives a WebSocket or says what failed; deadlines are the
//! session machine's.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, client::IntoClientRequest, protocol::WebSocketConfig},
};
use url::Url;

use super::{
    answer::{failure, kind_of, rest_of_body, retry_after},
    proxies::Proxies,
    stage::{Stage, Step},
    stream::{Io, Metered},
    tcp::{self, Resolver},
    tls::secure,
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
    /// The way out.
    pub proxies: Proxies,
    /// Looks up the names of hosts and proxies.
    pub resolver: Resolver,
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
        f.debug_struct("TransportConfig").field("proxies", &self.proxies).finish_non_exhaustive()
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
    let proxy = config.proxies.to(url).map_err(|why| failure(ConnectFailureKind::Config, why))?;
    if let Some(proxy) = proxy {
        config.stage.enter(Step::ProxyTcp);
        let tcp = proxy.reach(&config.resolver, &config.stage).await?;
        config.stage.enter(Step::Proxy);
        let stream = proxy.tunnel(tcp, host, port, &config.tls, &config.user_agent).await?;
        config.stage.enter(Step::Tls);
        return if encrypted { secure(stream, host, &config.tls).await } else { Ok(stream) };
    }
    config.stage.enter(Step::Tcp);
    let tcp = tcp::connect(host, port, &config.resolver, &config.stage)
        .await
        .map_err(|why| failure(ConnectFailureKind::Unreachable, format!("{host}:{port}: {why}")))?;
    config.stage.enter(Step::Tls);
    if encrypted { secure(tcp, host, &config.tls).await } else { Ok(Box::new(tcp)) }
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
    let (stream, mut given_back) = Metered::lent(stream, config.largest() + config.largest() / 4 + WRITE_BUFFER);
    match client_async_with_config(request, stream, Some(config.websocket())).await {
        Ok((mut socket, _)) => {
            socket.get_mut().keep();
            Ok(socket)
        }
        Err(error) => Err(upgrade_failure(error, given_back.try_recv().ok()).await),
    }
}

/// `stream`: where the rest of the answer's body would come from.
async fn upgrade_failure(error: Error, stream: Option<Box<dyn Io>>) -> ConnectFailure {
    let response = match error {
        Error::Http(response) => *response,
        other => return failure(ConnectFailureKind::Handshake, format!("WebSocket upgrade: {other}")),
    };
    let (head, body) = response.into_parts();
    let status = head.status;
    let kind = kind_of(status.as_u16(), ConnectFailureKind::Handshake);
    let mut body = body.unwrap_or_default();
    if kind == ConnectFailureKind::RateLimited
        && let Some(stream) = stream
    {
        let length = header_of(&head.headers, "content-length").and_then(|value| std::str::from_utf8(value).ok());
        body = rest_of_body(stream, body, length.and_then(|length| length.trim().parse().ok())).await;
    }
    let advice = if status.is_redirection() { "; redirects are not followed, so check the URL" } else { "" };
    ConnectFailure {
        kind,
        message: format!("the server answered HTTP {status} instead of 101{advice}"),
        retry_after: retry_after(status.as_u16(), |name| header_of(&head.headers, name), &body),
    }
}

fn header_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get(name).map(HeaderValue::as_bytes)
}
