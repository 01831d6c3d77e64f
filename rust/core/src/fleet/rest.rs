//! The REST calls of a Gateway client: `GET /gateway/bot`, and `GET /applications/@me` to tell why an intent is refused.

use std::{sync::Arc, time::Duration};

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, de::DeserializeOwned};
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
    /// How many sessions may still be started; a compatible server may not say.
    #[serde(default)]
    pub session_start_limit: Option<SessionStartLimit>,
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
    #[serde(default = "one")]
    pub max_concurrency: u32,
}

const fn one() -> u32 {
    1
}

#[derive(Deserialize)]
struct Application {
    #[serde(default)]
    flags: u64,
}

const MAX_BODY: usize = 64 * 1024;

/// Asks `api_url` (`https://discord.com/api/v10`) where the Gateway is.
///
/// # Errors
/// HTTP 401 is [`ConnectFailureKind::Unauthorized`]; everything else may pass and is tried again.
pub async fn gateway_bot(api_url: &str, token: &str, config: &TransportConfig) -> Result<GatewayBot, ConnectFailure> {
    get(api_url, "/gateway/bot", token, config).await
}

/// The application's flags, which tell the privileged intents that it may use.
///
/// Source: <https://discord.com/developers/docs/resources/application#application-object-application-flags>
///
/// # Errors
/// As [`gateway_bot`].
pub async fn application_flags(api_url: &str, token: &str, config: &TransportConfig) -> Result<u64, ConnectFailure> {
    get::<Application>(api_url, "/applications/@me", token, config).await.map(|application| application.flags)
}

async fn get<T: DeserializeOwned>(
    api_url: &str,
    path: &str,
    token: &str,
    config: &TransportConfig,
) -> Result<T, ConnectFailure> {
    let fail = |kind, message: String| ConnectFailure { kind, message, retry_after: None };
    let broken = |message: String| fail(ConnectFailureKind::Unreachable, format!("GET {path}: {message}"));
    let url = Url::parse(&format!("{}{path}", api_url.trim_end_matches('/')))
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
    serde_json::from_slice(&body.to_bytes()).map_err(|error| broken(error.to_string()))
}
