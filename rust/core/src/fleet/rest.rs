//! The one REST call of a Gateway client: `GET /gateway/bot`.

use std::{
    future::{Future, poll_fn},
    pin::pin,
};

use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::{
    session::{ConnectFailure, ConnectFailureKind},
    transport::{TransportConfig, connect_stream, retry_after},
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

/// Discord's answer has 200 bytes.
const MAX_BODY: usize = 64 * 1024;
const MAX_HEAD: usize = 32 * 1024;
const MAX_URL: usize = 200;

/// What is wrong with an answer, less what the parser quotes of it.
fn complaint(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once('"') {
        None => text,
        Some((before, _)) => format!("{} at line {} column {}", before.trim_end(), error.line(), error.column()),
    }
}

/// Asks `url` (see [`api_url`](crate::transport::api_url)) where the Gateway is.
///
/// # Errors
/// HTTP 401 is [`ConnectFailureKind::Unauthorized`]; everything else may pass and is tried again. No redirect is
/// followed: it would get the token.
pub async fn gateway_bot(url: &Url, token: &str, config: &TransportConfig) -> Result<GatewayBot, ConnectFailure> {
    let fail = |kind, message: String| ConnectFailure { kind, message, retry_after: None };
    let broken = |message: String| fail(ConnectFailureKind::Unreachable, format!("GET /gateway/bot: {message}"));
    let stream = connect_stream(url, config).await?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(error.to_string()))?;
    let authorization = Bytes::from_owner(Zeroizing::new(format!("Bot {token}")));
    let mut authorization = HeaderValue::from_maybe_shared(authorization)
        .map_err(|_| fail(ConnectFailureKind::Config, "the token holds characters that no header may".to_owned()))?;
    authorization.set_sensitive(true);
    let request = Request::get(url.path())
        .header(header::HOST, url.authority())
        .header(header::USER_AGENT, &config.user_agent)
        .header(header::AUTHORIZATION, authorization)
        .body(Empty::<Bytes>::new())
        .map_err(|error| fail(ConnectFailureKind::Config, format!("GET /gateway/bot: {error}")))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| broken(error.to_string()))?;
        let (head, body) = response.into_parts();
        if head.status == StatusCode::UNAUTHORIZED {
            return Err(fail(ConnectFailureKind::Unauthorized, "Discord refused the token (HTTP 401)".to_owned()));
        }
        if head.status != StatusCode::OK {
            let advice =
                if head.status.is_redirection() { "; redirects are not followed, so check api_url" } else { "" };
            let mut failure = broken(format!("HTTP {}{advice}", head.status));
            failure.retry_after = head.headers.get(header::RETRY_AFTER).and_then(|value| retry_after(value.as_bytes()));
            return Err(failure);
        }
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| broken(error.to_string()))?;
        let bot = serde_json::from_slice::<GatewayBot>(&body.to_bytes())
            .map_err(|error| broken(format!("the answer is not what Discord's API says: {}", complaint(&error))))?;
        if bot.url.len() > MAX_URL {
            return Err(broken(format!("the gateway's URL is over {MAX_URL} bytes")));
        }
        Ok(bot)
    };
    // Side by side rather than in a task of its own: an attempt that is given up leaves nothing behind.
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange));
    let mut over = false;
    poll_fn(|cx| {
        // It ends when the server hangs up; what came before is still to be read.
        over = over || connection.as_mut().poll(cx).is_ready();
        exchange.as_mut().poll(cx)
    })
    .await
}
