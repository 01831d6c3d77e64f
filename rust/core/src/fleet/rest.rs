//! The REST calls of a Gateway client: `GET /gateway/bot`, and `GET /applications/@me` to tell why an intent is refused.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    time::Duration,
};

use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    protocol::gateway_bot::GatewayBot,
    session::{ConnectFailure, ConnectFailureKind},
    transport::{TransportConfig, connect_stream, is_loopback, kind_of, retry_after},
};

#[derive(Deserialize)]
struct Application {
    #[serde(default)]
    flags: u64,
}

/// Discord's answer has 200 bytes.
const MAX_BODY: usize = 64 * 1024;
const MAX_HEAD: usize = 32 * 1024;
const MAX_REFUSAL: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(2);
const MAX_URL: usize = 200;

/// What is wrong with an answer, less what the parser quotes of it.
fn complaint(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once('"') {
        None => text,
        Some((before, _)) => format!("{} at line {} column {}", before.trim_end(), error.line(), error.column()),
    }
}

/// Asks the API at `base` (see [`api_url`](crate::transport::api_url)) where the Gateway is.
///
/// # Errors
/// HTTP 401 is [`ConnectFailureKind::Unauthorized`]; everything else may pass and is tried again. No redirect is
/// followed: it would get the token.
pub async fn gateway_bot(base: &Url, token: &str, config: &TransportConfig) -> Result<GatewayBot, ConnectFailure> {
    let mut bot: GatewayBot = get(base, "/gateway/bot", token, config).await?;
    if !is_loopback(base)
        && let Some(limit) = &mut bot.session_start_limit
    {
        // Nobody else may talk us out of the rule that protects the token.
        limit.identify_interval = None;
    }
    if bot.url.len() > MAX_URL {
        return Err(ConnectFailure {
            kind: ConnectFailureKind::Unreachable,
            message: format!("GET /gateway/bot: the gateway's URL is over {MAX_URL} bytes"),
            retry_after: None,
        });
    }
    Ok(bot)
}

/// The application's flags, which tell the privileged intents that it may use.
///
/// Source: <https://discord.com/developers/docs/resources/application#application-object-application-flags>
///
/// # Errors
/// As [`gateway_bot`].
pub async fn application_flags(base: &Url, token: &str, config: &TransportConfig) -> Result<u64, ConnectFailure> {
    get::<Application>(base, "/applications/@me", token, config).await.map(|application| application.flags)
}

/// The body of a refusal, where it is small and soon there: the status is an answer without it.
async fn refusal(body: Incoming) -> Bytes {
    let body = Limited::new(body, MAX_REFUSAL).collect();
    match tokio::time::timeout(PATIENCE, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => Bytes::new(),
    }
}

async fn get<T: DeserializeOwned>(
    base: &Url,
    path: &str,
    token: &str,
    config: &TransportConfig,
) -> Result<T, ConnectFailure> {
    let fail = |kind, message: String| ConnectFailure { kind, message, retry_after: None };
    let broken = |message: String| fail(ConnectFailureKind::Unreachable, format!("GET {path}: {message}"));
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    let stream = connect_stream(&url, config).await?;
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
        .map_err(|error| fail(ConnectFailureKind::Config, format!("GET {path}: {error}")))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| broken(error.to_string()))?;
        let (head, body) = response.into_parts();
        if head.status == StatusCode::UNAUTHORIZED {
            return Err(fail(ConnectFailureKind::Unauthorized, format!("GET {path}: HTTP 401")));
        }
        if head.status != StatusCode::OK {
            let advice =
                if head.status.is_redirection() { "; redirects are not followed, so check api_url" } else { "" };
            let mut failure = broken(format!("HTTP {}{advice}", head.status));
            failure.kind = kind_of(head.status.as_u16(), failure.kind);
            let header = |name: &str| head.headers.get(name).map(HeaderValue::as_bytes);
            let body = if failure.kind == ConnectFailureKind::RateLimited { refusal(body).await } else { Bytes::new() };
            failure.retry_after = retry_after(head.status.as_u16(), header, &body);
            return Err(failure);
        }
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| broken(error.to_string()))?;
        serde_json::from_slice(&body.to_bytes())
            .map_err(|error| broken(format!("the answer is not what Discord's API says: {}", complaint(&error))))
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
