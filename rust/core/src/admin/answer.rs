//! What is answered to which request: the paths, who may ask, and the headers that keep browsers from doing more with it.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Frame,
    header::{self, HeaderName, HeaderValue},
};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{MissedTickBehavior, interval},
};

use super::{config::is_loopback, exhibit::Exhibit, metrics, page, snapshot};
use crate::clock;

/// Between two snapshots of a stream.
const TICK: Duration = Duration::from_secs(1);
/// Streams at once.
const STREAMS: usize = 8;
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// The page takes nothing from elsewhere, sends nothing elsewhere, and stands in no other page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What the connections of one server share.
pub(super) struct Room {
    pub(super) exhibit: Arc<Exhibit>,
    /// Only this machine reaches it.
    local: bool,
    streams: Arc<Semaphore>,
    /// The newest event of the streams and when it was made: those that ask together get the same.
    event: Mutex<(Option<Duration>, Bytes)>,
}

impl Room {
    pub(super) fn new(exhibit: Arc<Exhibit>, local: bool) -> Self {
        Self { exhibit, local, streams: Arc::new(Semaphore::new(STREAMS)), event: Mutex::default() }
    }

    fn event(&self) -> Bytes {
        let (made, event) = &mut *self.event.lock();
        let now = clock::now();
        if made.is_none_or(|made| now.saturating_sub(made) > TICK / 2) {
            let json = snapshot::snapshot_json(&self.exhibit);
            *event = Bytes::from([b"event: snapshot\ndata: ".as_slice(), &json, b"\n\n"].concat());
            *made = Some(now);
        }
        event.clone()
    }
}

/// Whether `Host` is this machine. A page from elsewhere whose name was made to mean this machine (DNS rebinding) names
/// itself there.
fn is_this_machine(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(literal) => literal.split_once(']').unwrap_or((host, "")),
        None => host.split_once(':').map_or((host, ""), |(name, port)| (name, &host[name.len()..][..=port.len()])),
    };
    let port = port.strip_prefix(':').unwrap_or(port);
    let known = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(is_loopback);
    known && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn may_ask<B>(room: &Room, request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let named = hosts.next().and_then(|host| host.to_str().ok()).is_some_and(is_this_machine);
    // A page of somebody else's may neither read the answer nor take up a stream.
    let elsewhere = request.headers().get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    let authority = request.uri().authority().is_none_or(|authority| is_this_machine(authority.as_str()));
    !elsewhere && (!room.local || (named && hosts.next().is_none() && authority))
}

fn with(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn json(ok: bool, value: &impl serde::Serialize) -> Response<Body> {
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    with(status, JSON, serde_json::to_vec(value).unwrap_or_default())
}

fn metrics_of<B>(room: &Room, request: &Request<B>) -> Response<Body> {
    let wanted = request.headers().get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if wanted.into_iter().any(|accepted| accepted.contains("application/openmetrics-text")) {
        with(StatusCode::OK, metrics::OPEN_METRICS, metrics::open_metrics(&room.exhibit))
    } else {
        with(StatusCode::OK, metrics::PLAIN_TEXT, metrics::plain_text(&room.exhibit))
    }
}

fn events(room: &Arc<Room>, place: OwnedSemaphorePermit) -> Response<Body> {
    let mut ticks = interval(TICK);
    // A reader that lags gets fewer.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let frames = stream::unfold((ticks, Arc::clone(room), place), async |(mut ticks, room, place)| {
        ticks.tick().await;
        let frame = Ok(Frame::data(room.event()));
        Some((frame, (ticks, room, place)))
    });
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

fn route<B>(room: &Arc<Room>, request: &Request<B>) -> Response<Body> {
    if !may_ask(room, request) {
        return with(StatusCode::MISDIRECTED_REQUEST, TEXT, "this server answers to 127.0.0.1 and localhost only\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = with(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/livez" => {
            let live = snapshot::live(&room.exhibit);
            json(live.ok, &live)
        }
        "/readyz" => {
            let ready = snapshot::readiness(&room.exhibit);
            json(ready.ok, &ready)
        }
        "/metrics" => metrics_of(room, request),
        "/snapshot" => with(StatusCode::OK, JSON, snapshot::snapshot_json(&room.exhibit)),
        "/history" => with(StatusCode::OK, JSON, room.exhibit.history_json()),
        "/stream" => match Arc::clone(&room.streams).try_acquire_owned() {
            Ok(place) => events(room, place),
            Err(_) => with(StatusCode::SERVICE_UNAVAILABLE, TEXT, "so many streams are open already\n"),
        },
        path => match page::FILES.iter().find(|file| file.path == path) {
            Some(file) => with(StatusCode::OK, file.content_type, file.bytes),
            None => with(StatusCode::NOT_FOUND, TEXT, "there is no such path\n"),
        },
    }
}

/// Answers a request, whose body is not read.
pub(super) fn answer<B>(room: &Arc<Room>, request: &Request<B>) -> Response<Body> {
    let mut response = route(room, request);
    let fixed: [(HeaderName, &str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_this_machine() {
        for host in ["localhost", "LOCALHOST:9464", "127.0.0.1", "127.0.0.1:80", "127.9.9.9:1", "[::1]", "[::1]:9464"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "localhost:80@example.com",
            "127.0.0.1.example.com",
            "192.0.2.1:9464",
            "[2001:db8::1]",
            "[::1",
            "[::1]x",
            "0.0.0.0",
            "127.0.0.1:80:80",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
