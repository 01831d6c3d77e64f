//! HTTP: the head of a request, whole responses, and the WebSocket upgrade. What the API answers is `api`'s business.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::encoder::Compression;
use super::stream::Stream;
use crate::options::Step;

/// Bytes of a request head; Discord's proxies allow as much.
const HEAD_LIMIT: usize = 16 << 10;

/// A parsed request head.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// Bytes after the head.
    pub(crate) rest: Vec<u8>,
}

/// Reads one request head; `None` when the peer leaves, or sends no HTTP.
pub(crate) async fn read_request(stream: &mut Stream) -> Option<Request> {
    let mut buffer = Vec::with_capacity(2048);
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(len) = parsed.parse(&buffer).ok()? {
            let target = parsed.path.unwrap_or("/");
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let pairs = query.split('&').filter(|pair| !pair.is_empty());
            return Some(Request {
                method: parsed.method.unwrap_or_default().to_owned(),
                path: path.to_owned(),
                query: pairs
                    .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect(),
                headers: parsed
                    .headers
                    .iter()
                    .map(|header| {
                        (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).trim().to_owned())
                    })
                    .collect(),
                rest: buffer[len..].to_vec(),
            });
        }
        if buffer.len() > HEAD_LIMIT || stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn is_upgrade(&self) -> bool {
        self.header("upgrade").eq_ignore_ascii_case("websocket")
    }

    /// What the query asks for, or why it is refused.
    pub(crate) fn gateway_query(&self, require_user_agent: bool) -> Result<Compression, (u16, &'static str)> {
        let value = |key: &str| self.query.get(key).map(String::as_str);
        if self.method != "GET" || self.path != "/" {
            return Err((404, "no such path"));
        }
        if self.header("sec-websocket-version") != "13" || self.header("sec-websocket-key").is_empty() {
            return Err((400, "not a WebSocket handshake"));
        }
        if require_user_agent && self.header("user-agent").is_empty() {
            return Err((403, "User-Agent required"));
        }
        if value("v") != Some("10") {
            return Err((400, "v must be 10"));
        }
        if value("encoding") != Some("json") {
            return Err((400, "encoding must be json"));
        }
        match value("compress") {
            None => Ok(Compression::None),
            Some("zlib-stream") => Ok(Compression::ZlibStream),
            Some("zstd-stream") => Ok(Compression::ZstdStream),
            Some(_) => Err((400, "unknown compress")),
        }
    }
}

/// A whole response.
pub(crate) fn response(status: u16, headers: &BTreeMap<String, String>, body: &str) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    };
    let mut text = format!("HTTP/1.1 {status} {reason}\r\n");
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let _ = write!(text, "content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    text.into_bytes()
}

/// Writes the 101, or what the script wants instead; false when the connection is not to go on.
pub(crate) async fn upgrade(stream: &mut Stream, request: &Request, steps: &[Step]) -> std::io::Result<bool> {
    let key = derive_accept_key(request.header("sec-websocket-key").as_bytes());
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {key}\r\n"
    );
    let mut trickle = None;
    for step in steps {
        match step {
            Step::HttpResponse { status, headers, body } => {
                stream.write_all(&response(*status, headers, body)).await?;
                stream.shutdown().await?;
                return Ok(false);
            }
            Step::HugeHeader { bytes } => {
                let _ = write!(head, "x-filler: {}\r\n", "a".repeat(*bytes));
            }
            Step::TrickleHandshake { ms, bytes } => trickle = Some((*ms, (*bytes).max(1))),
            _ => {}
        }
    }
    head.push_str("\r\n");
    match trickle {
        None => stream.write_all(head.as_bytes()).await?,
        Some((ms, bytes)) => {
            for piece in head.as_bytes().chunks(bytes) {
                stream.write_all(piece).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
        }
    }
    stream.flush().await?;
    Ok(true)
}

/// Answers an upgrade that is refused.
pub(crate) async fn refuse(stream: &mut Stream, status: u16, why: &str) {
    let body = json!({"message": why, "code": 0}).to_string();
    let _ = stream.write_all(&response(status, &BTreeMap::new(), &body)).await;
    let _ = stream.shutdown().await;
}
