//! The one REST call of a Gateway client: `GET /gateway/bot`.

use std::{sync::Arc, time::Duration};

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use url::Url;

use crate::{
    session::{ConnectFailure, ConnectFailureKind},
    transport::{TransportConfig, connect_stream},
};

/// The answer of `GET /gateway/bot`.
///
/// Source: <https://discord.com/developers/docs/events/gateway#get-gateway-bot>
#[derive(Debug, Clone, Deserialize)]
pub struct GatewayBot {
    /// Where to connect.
    pub url: String,
    /// The number of shards Discord recommends.
    #[serde(default)]
    pub shards: u32,
    /// How many sessions may still be started.
    #[serde(default)]
    pub session_start_limit: SessionStartLimit,
}

/// Discord's session start limit.
#[derive(Debug, Clone, Deserialize)]
pub struct SessionStartLimit {
    /// IDENTIFYs in 24 h.
    pub total: u32,
    /// IDENTIFYs that are left of them.
    pub remaining: u32,
    /// Milliseconds until the number is full again.
    pub reset_after: u64,
    /// IDENTIFYs in 5 s.
    pub max_concurrency: u32,
}

impl Default for SessionStartLimit {
    fn default() -> Self {
        Self { total: 1000, remaining: 1000, reset_after: 0, max_concurrency: 1 }
    }
}

const MAX_BODY: usize = 64 * 1024;

/// Asks `api_url` (`https://discord.com/api/v10`) where the Gateway is.
///
/// # Errors
/// HTTP 401 is [`ConnectFailureKind::Unauthorized`]; everything else may pass and is tried again.
pub async fn gateway_bot(api_url: &str, token: &str, config: &TransportConfig) -> Result<GatewayBot, ConnectFailure> {
    let fail = |kind, message: String| ConnectFailure { kind, message, retry_after: None };
    let broken = |message: String| fail(ConnectFailureKind::Unreachable, format!("GET /gateway/bot: {message}"));
    let url = Url::parse(&format!("{}/gateway/bot", api_url.trim_end_matches('/')))
        .map_err(|error| fail(ConnectFailureKind::Config, format!("api_url {api_url:?}: {error}")))?;
    let stream = connect_stream(&url, &Arc::clone(&config.tls)).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.to_string()))?;
    let request = Request::get(url.path())
        .header(header::HOST, url.authority())
        .header(header::USER_AGENT, &config.user_agent)
        .header(header::AUTHORIZATION, format!("Bot {token}"))
        .body(Empty::<Bytes>::new())
        .map_err(|_| fail(ConnectFailureKind::Config, "the token holds characters that no header may".to_owned()))?;
    // Moves the connection; it ends when `sender` and the body are gone.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| broken(error.to_string()))?;
    let (head, body) = response.into_parts();
    if head.status == StatusCode::UNAUTHORIZED {
        return Err(fail(ConnectFailureKind::Unauthorized, "Discord refused the token (HTTP 401)".to_owned()));
    }
    if head.status != StatusCode::OK {
        let retry = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut failure = broken(format!("HTTP {}", head.status));
        failure.retry_after = retry.map(Duration::from_secs);
        return Err(failure);
    }
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| broken(error.to_string()))?;
    serde_json::from_slice::<GatewayBot>(&body.to_bytes()).map_err(|error| broken(error.to_string()))
}
