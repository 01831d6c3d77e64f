//! An independent client: tokio-tungstenite for the WebSocket, flate2 and zstd-safe for the streams. Knows nothing of the server.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::missing_panics_doc)] // each test file uses its part

use std::sync::Arc;
use std::time::Duration;

use flate2::{Decompress, FlushDecompress};
use futures_util::{SinkExt, StreamExt};
use propylon_simulator::{Simulator, SimulatorConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// No test waits longer for one thing.
pub const PATIENCE: Duration = Duration::from_secs(10);
pub const ALL_INTENTS: u64 = 0x331_ffff;

pub fn start(config: SimulatorConfig) -> Simulator {
    Simulator::start(SimulatorConfig { identify_interval: 0, ..config }).expect("simulator starts")
}

enum Inflate {
    Plain,
    Zlib(Box<Decompress>, Vec<u8>),
    Zstd(zstd_safe::DCtx<'static>),
}

pub struct Client {
    pub socket: WebSocketStream<Box<dyn Io>>,
    inflate: Inflate,
    ready: Vec<String>,
    pub wire_bytes: usize,
}

pub async fn tcp(simulator: &Simulator) -> Box<dyn Io> {
    let stream = TcpStream::connect(("127.0.0.1", simulator.port())).await.expect("connects");
    let _ = stream.set_nodelay(true);
    Box::new(stream)
}

pub async fn tls(simulator: &Simulator) -> std::io::Result<Box<dyn Io>> {
    let pem = simulator.ca_pem().expect("a CA");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(("127.0.0.1", simulator.port())).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    Ok(Box::new(tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await?))
}

impl Client {
    /// `compress`: empty, `zlib-stream` or `zstd-stream`.
    pub async fn connect(simulator: &Simulator, compress: &str) -> Self {
        Self::try_connect(simulator, compress).await.expect("upgrades")
    }

    pub async fn try_connect(simulator: &Simulator, compress: &str) -> Result<Self, tungstenite::Error> {
        let io = if simulator.ca_pem().is_some() { tls(simulator).await? } else { tcp(simulator).await };
        let mut url = format!("{}/?v=10&encoding=json", simulator.url());
        if !compress.is_empty() {
            url.push_str("&compress=");
            url.push_str(compress);
        }
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, _) = tokio_tungstenite::client_async_with_config(url, io, Some(config)).await?;
        let inflate = match compress {
            "zlib-stream" => Inflate::Zlib(Box::new(Decompress::new(true)), Vec::new()),
            "zstd-stream" => Inflate::Zstd(zstd_safe::DCtx::create()),
            _ => Inflate::Plain,
        };
        Ok(Self { socket, inflate, ready: Vec::new(), wire_bytes: 0 })
    }

    pub async fn send(&mut self, payload: Value) {
        self.socket.send(Message::text(payload.to_string())).await.expect("sends");
    }

    pub async fn close(&mut self, code: u16) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
        self.socket.close(Some(frame)).await.expect("closes");
    }

    /// The next message as it came.
    pub async fn message(&mut self) -> Option<Result<Message, tungstenite::Error>> {
        tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a message in time")
    }

    /// The next payload as text; the close code at the end.
    pub async fn text(&mut self) -> Result<String, Option<u16>> {
        loop {
            if !self.ready.is_empty() {
                return Ok(self.ready.remove(0));
            }
            match self.message().await {
                None | Some(Err(_)) => return Err(None),
                Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Binary(bytes))) => {
                    self.wire_bytes += bytes.len();
                    let mut out = Vec::new();
                    match &mut self.inflate {
                        // payload compression: each a document of its own
                        Inflate::Plain => {
                            inflate(&mut Decompress::new(true), &bytes, &mut out);
                        }
                        Inflate::Zlib(zlib, pending) => {
                            pending.extend_from_slice(&bytes);
                            if !pending.ends_with(&[0, 0, 0xff, 0xff]) {
                                continue;
                            }
                            inflate(zlib, pending, &mut out);
                            pending.clear();
                        }
                        Inflate::Zstd(zstd) => {
                            let mut input = zstd_safe::InBuffer::around(&bytes);
                            loop {
                                out.reserve(64 << 10);
                                let at = out.len();
                                let mut buffer = zstd_safe::OutBuffer::around_pos(&mut out, at);
                                zstd.decompress_stream(&mut buffer, &mut input).expect("zstd");
                                if input.pos() == bytes.len() && out.len() < out.capacity() {
                                    break;
                                }
                            }
                        }
                    }
                    let text = String::from_utf8(out).expect("UTF-8");
                    // several payloads may have been merged into one message
                    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<serde::de::IgnoredAny>();
                    let mut start = 0;
                    while values.next().is_some_and(|value| value.is_ok()) {
                        self.ready.push(text[start..values.byte_offset()].to_owned());
                        start = values.byte_offset();
                    }
                }
                Some(Ok(_)) => {}
            }
        }
    }

    pub async fn payload(&mut self) -> Value {
        let text = self.text().await.expect("a payload, not the end");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Reads to the end; its close code.
    pub async fn end(&mut self) -> Option<u16> {
        loop {
            if let Err(code) = self.text().await {
                return code;
            }
        }
    }

    /// Up to the first payload of this kind.
    pub async fn until(&mut self, event: &str) -> Value {
        loop {
            let payload = self.payload().await;
            if payload["t"] == event {
                return payload;
            }
        }
    }

    pub async fn until_op(&mut self, op: i64) -> Value {
        loop {
            let payload = self.payload().await;
            if payload["op"] == op {
                return payload;
            }
        }
    }

    pub async fn identify(&mut self) -> Value {
        self.identify_with(json!({})).await;
        self.until("READY").await
    }

    /// IDENTIFY with changes; answers are left to the caller.
    pub async fn identify_with(&mut self, changes: Value) {
        let mut data = identify_data();
        for (key, value) in changes.as_object().expect("an object") {
            data[key] = value.clone();
        }
        self.send(json!({"op": 2, "d": data})).await;
    }

    pub async fn resume(&mut self, session: &str, sequence: u64) {
        self.send(json!({"op": 6, "d": {"token": "token", "session_id": session, "seq": sequence}})).await;
    }
}

pub fn identify_data() -> Value {
    json!({"token": "token", "intents": ALL_INTENTS, "properties": {"os": "linux", "browser": "test", "device": "test"}})
}

fn inflate(zlib: &mut Decompress, input: &[u8], out: &mut Vec<u8>) {
    let before = zlib.total_in();
    loop {
        out.reserve(64 << 10);
        let rest = &input[(zlib.total_in() - before) as usize..];
        zlib.decompress_vec(rest, out, FlushDecompress::Sync).expect("zlib");
        if (zlib.total_in() - before) as usize == input.len() && out.len() < out.capacity() {
            return;
        }
    }
}
