//! Ways out through a proxy: HTTP CONNECT (RFC 9110, section 9.3.6) and SOCKS5 (RFC 1928, RFC 1929). Owns the proxy's
//! URL and its password, and leaves a byte stream to the wanted host; the proxy looks the host's name up.
//!
//! CONNECT is hyper's connection; the ready-made tunnel of hyper-util does not tell the status that it was refused with.
//! SOCKS5 is written out: docs/design.md says what the crates for it would lose.

use std::{error::Error, fmt, io, iter::successors, sync::Arc};

use data_encoding::BASE64;
use http::{HeaderMap, HeaderValue, Request, header, response};
use http_body_util::Empty;
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::{
    answer::{failure, kind_of, retry_after},
    stage::Stage,
    stream::Io,
    tcp::{self, Resolver},
    tls::secure,
};
use crate::session::{ConnectFailure, ConnectFailureKind};

/// Bytes of a CONNECT answer's head, and headers in it. A proxy has little to say there.
const HEAD_LIMIT: usize = 16 * 1024;
const HEADERS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    /// HTTP under TLS to the proxy.
    Https,
    Socks5,
}

struct Credentials {
    user: Zeroizing<String>,
    password: Zeroizing<String>,
}

impl Credentials {
    /// As HTTP has them (RFC 7617), in memory that is wiped.
    fn basic(&self) -> HeaderValue {
        let pair = Zeroizing::new(format!("{}:{}", self.user.as_str(), self.password.as_str()));
        let text = Zeroizing::new(format!("Basic {}", Zeroizing::new(BASE64.encode(pair.as_bytes())).as_str()));
        let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).expect("base64 may stand in a header");
        value.set_sensitive(true);
        value
    }
}

/// A proxy that carries the WebSocket and `/gateway/bot`. `Debug` and `Display` leave user and password out.
pub struct Proxy {
    scheme: Scheme,
    host: String,
    port: u16,
    credentials: Option<Credentials>,
    /// Where the user wrote it: `proxy=`, or a variable of the environment.
    source: &'static str,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&authority(&self.host, self.port))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({:?} {self})", self.scheme)
    }
}

/// An IPv6 address stands in brackets before a port.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl Proxy {
    /// Reads `scheme://user:password@host:port`, the scheme `http`, `https`, `socks5` or `socks5h`. User and password
    /// are optional, with `%` and two hex digits for what a URL cannot hold; the port too: 80, 443, 1080.
    ///
    /// # Errors
    /// A text for the user that repeats nothing of the URL: a password may stand anywhere in one that is malformed.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::written_in("proxy=", text)
    }

    /// The same, for one that is written elsewhere than in the option.
    pub(super) fn written_in(source: &'static str, text: &str) -> Result<Self, String> {
        let name = source.trim_end_matches('=');
        let refuse = |why: &str| {
            format!("{name}: {why}; write it as http://user:password@host:port or socks5://user:password@host:port")
        };
        let url = Url::parse(text).map_err(|error| refuse(&format!("it is no URL ({error})")))?;
        let (scheme, default_port) = match url.scheme() {
            "http" => (Scheme::Http, 80),
            "https" => (Scheme::Https, 443),
            "socks5" | "socks5h" => (Scheme::Socks5, 1080),
            _ => return Err(refuse("it must start with http://, https://, socks5:// or socks5h://")),
        };
        let host = url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned());
        let host = host.filter(|host| !host.is_empty()).ok_or_else(|| refuse("it names no host"))?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("nothing may follow the port"));
        }
        let decoded = |part: &str| match percent_decode_str(part).decode_utf8() {
            Ok(part) => Ok(Zeroizing::new(part.into_owned())),
            Err(_) => Err(refuse("user or password is not UTF-8 once its %-signs are decoded")),
        };
        let credentials = if url.username().is_empty() && url.password().is_none() {
            None
        } else {
            let (user, password) = (decoded(url.username())?, decoded(url.password().unwrap_or_default())?);
            if scheme == Scheme::Socks5 && [&user, &password].iter().any(|part| !(1..=255).contains(&part.len())) {
                return Err(refuse("SOCKS5 takes a user and a password of 1 to 255 bytes each"));
            }
            if scheme != Scheme::Socks5 && user.contains(':') {
                return Err(refuse("HTTP takes no user with a colon"));
            }
            Some(Credentials { user, password })
        };
        Ok(Self { scheme, host, port: url.port().unwrap_or(default_port), credentials, source })
    }

    /// Opens TCP to the proxy.
    pub(super) async fn reach(&self, resolver: &Resolver, stage: &Stage) -> Result<TcpStream, ConnectFailure> {
        let tcp = tcp::connect(&self.host, self.port, resolver, stage).await;
        tcp.map_err(|why| self.lost(&format!("cannot be reached: {why}")))
    }

    /// Opens a byte stream to `host` through the proxy at the other end of `tcp`.
    pub(super) async fn tunnel(
        &self,
        tcp: TcpStream,
        host: &str,
        port: u16,
        tls: &Arc<rustls::ClientConfig>,
        user_agent: &str,
    ) -> Result<Box<dyn Io>, ConnectFailure> {
        let mut stream: Box<dyn Io> = if self.scheme == Scheme::Https {
            secure(tcp, &self.host, tls).await.map_err(|mut failure| {
                failure.message = format!("the proxy {self}: {}", failure.message);
                failure
            })?
        } else {
            Box::new(tcp)
        };
        if self.scheme != Scheme::Socks5 {
            return self.connect(stream, host, port, user_agent).await;
        }
        self.socks5(&mut stream, host, port).await?;
        Ok(stream)
    }

    fn lost(&self, what: &str) -> ConnectFailure {
        failure(ConnectFailureKind::Unreachable, format!("the proxy {self} {what}"))
    }

    fn refused(&self, what: &str) -> ConnectFailure {
        let source = self.source;
        let advice = if self.credentials.is_some() {
            format!("check user and password in {source}")
        } else {
            format!("give user and password in {source}, as scheme://user:password@host:port")
        };
        failure(ConnectFailureKind::ProxyRefused, format!("the proxy {self} {what}: {advice}"))
    }

    fn broken_off(&self, step: &str, error: &io::Error) -> ConnectFailure {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => {
                self.lost(&format!("closed the connection {step}"))
            }
            _ => self.lost(&format!("failed {step}: {error}")),
        }
    }

    // ---------------------------------------------------------------- HTTP CONNECT

    /// hyper speaks, and gives the stream back once it is a tunnel.
    async fn connect(
        &self,
        stream: Box<dyn Io>,
        host: &str,
        port: u16,
        user_agent: &str,
    ) -> Result<Box<dyn Io>, ConnectFailure> {
        let target = authority(host, port);
        let mut request =
            Request::connect(&target).header(header::HOST, &target).header(header::USER_AGENT, user_agent);
        if let Some(credentials) = &self.credentials {
            request = request.header(header::PROXY_AUTHORIZATION, credentials.basic());
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| failure(ConnectFailureKind::Config, format!("CONNECT {target}: {error}")))?;
        let broken = |error: hyper::Error| self.unanswered(&error);
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_LIMIT)
            .max_headers(HEADERS)
            // There are proxies that know no other.
            .title_case_headers(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let asking = async {
            let (head, _) = sender.send_request(request).await.map_err(broken)?.into_parts();
            self.check_answer(&head, &target)
        };
        // Side by side rather than in a task of its own: an attempt that is given up leaves nothing behind.
        let ((), tunnel) = tokio::try_join!(asking, async { connection.without_shutdown().await.map_err(broken) })?;
        if !tunnel.read_buf.is_empty() {
            // Nobody has asked the other side anything yet.
            return Err(self.lost("opened the tunnel and said more than that; it is no CONNECT proxy"));
        }
        Ok(tunnel.io.into_inner())
    }

    /// What came instead of an answer to CONNECT.
    fn unanswered(&self, error: &hyper::Error) -> ConnectFailure {
        let step = "instead of answering CONNECT";
        let mut sources = successors(error.source(), |&error| error.source());
        if let Some(error) = sources.find_map(|error| error.downcast_ref::<io::Error>()) {
            return self.broken_off(step, error);
        }
        if error.is_parse_too_large() {
            return self.lost(&format!("answered CONNECT with over {HEAD_LIMIT} bytes of headers, or over {HEADERS}"));
        }
        // Canceled for a reason, it spoke before it was asked.
        if error.is_incomplete_message() || (error.is_canceled() && error.source().is_none()) {
            return self.lost(&format!("closed the connection {step}"));
        }
        self.lost(&format!("does not answer in HTTP; for a SOCKS proxy write socks5:// in {}", self.source))
    }

    fn check_answer(&self, head: &response::Parts, target: &str) -> Result<(), ConnectFailure> {
        let code = head.status.as_u16();
        let what = match code {
            200..=299 => return Ok(()),
            407 => return Err(self.refused(&wanted_authentication(&head.headers))),
            401 | 403 => format!("answered {code}: it does not allow connections to {target}"),
            502..=504 => format!("answered {code}: it cannot reach {target}"),
            _ => format!("answered {code} to CONNECT {target}"),
        };
        let mut failure = self.lost(&what);
        failure.kind = kind_of(code, failure.kind);
        failure.retry_after = retry_after(code, |name| head.headers.get(name).map(HeaderValue::as_bytes), &[]);
        Err(failure)
    }

    // ---------------------------------------------------------------- SOCKS5

    async fn socks5(&self, stream: &mut Box<dyn Io>, host: &str, port: u16) -> Result<(), ConnectFailure> {
        const NONE: u8 = 0;
        const PASSWORD: u8 = 2;
        let step = "during the greeting";
        let offer: &[u8] = if self.credentials.is_some() { &[5, 2, NONE, PASSWORD] } else { &[5, 1, NONE] };
        let [version, method] = self.ask(stream, offer, step).await?;
        self.check_version(version)?;
        match (method, &self.credentials) {
            (NONE, _) => {}
            (PASSWORD, Some(credentials)) => self.authenticate(stream, credentials).await?,
            (0xff, None) => return Err(self.refused("wants to know who is asking")),
            (0xff, Some(_)) => {
                return Err(self.refused("takes neither a user with a password nor an anonymous one"));
            }
            _ => return Err(self.lost(&format!("chose a way to authenticate that was not offered ({method})"))),
        }

        let target = authority(host, port);
        let mut request = vec![5, 1, 0];
        match Host::parse(&if host.contains(':') { format!("[{host}]") } else { host.to_owned() }) {
            Ok(Host::Ipv4(address)) => {
                request.push(1);
                request.extend(address.octets());
            }
            Ok(Host::Ipv6(address)) => {
                request.push(4);
                request.extend(address.octets());
            }
            _ => {
                let Ok(length) = u8::try_from(host.len()) else {
                    return Err(failure(ConnectFailureKind::Config, "SOCKS5 takes host names of at most 255 bytes"));
                };
                request.extend([3, length]);
                request.extend(host.as_bytes());
            }
        }
        request.extend(port.to_be_bytes());
        let step = "instead of connecting";
        let [version, reply, _, kind] = self.ask(stream, &request, step).await?;
        self.check_version(version)?;
        if reply != 0 {
            return Err(self.lost(&format!("cannot connect to {target}: {} (reply {reply})", reply_text(reply))));
        }
        // The address from which it connects: of no use, but it has to be read.
        let length = match kind {
            1 => 4,
            4 => 16,
            3 => usize::from(self.read::<1>(stream, step).await?[0]),
            _ => return Err(self.lost(&format!("answered with an address of no known kind ({kind})"))),
        };
        let mut rest = vec![0; length + 2];
        stream.read_exact(&mut rest).await.map_err(|error| self.broken_off(step, &error))?;
        Ok(())
    }

    async fn authenticate(&self, stream: &mut Box<dyn Io>, credentials: &Credentials) -> Result<(), ConnectFailure> {
        let mut request = Zeroizing::new(Vec::with_capacity(3 + 2 * 255));
        request.push(1);
        for part in [&credentials.user, &credentials.password] {
            request.push(part.len() as u8);
            request.extend_from_slice(part.as_bytes());
        }
        let [_, status] = self.ask(stream, &request, "instead of taking the password").await?;
        if status == 0 { Ok(()) } else { Err(self.refused("refused user and password")) }
    }

    fn check_version(&self, version: u8) -> Result<(), ConnectFailure> {
        match version {
            5 => Ok(()),
            b'H' => Err(self.lost(&format!("answers in HTTP, not in SOCKS5; write http:// in {}", self.source))),
            other => Err(self.lost(&format!("does not speak SOCKS5: its answer begins with {other}"))),
        }
    }

    async fn ask<const N: usize>(
        &self,
        stream: &mut Box<dyn Io>,
        request: &[u8],
        step: &str,
    ) -> Result<[u8; N], ConnectFailure> {
        let broken = |error: io::Error| self.broken_off(step, &error);
        stream.write_all(request).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        self.read(stream, step).await
    }

    async fn read<const N: usize>(&self, stream: &mut Box<dyn Io>, step: &str) -> Result<[u8; N], ConnectFailure> {
        let mut answer = [0; N];
        stream.read_exact(&mut answer).await.map_err(|error| self.broken_off(step, &error))?;
        Ok(answer)
    }
}

/// Basic is what we have; a proxy that wants something else should be told apart from a wrong password.
fn wanted_authentication(headers: &HeaderMap) -> String {
    let schemes: Vec<String> = headers
        .get_all(header::PROXY_AUTHENTICATE)
        .iter()
        .map(|value| {
            let word = value.as_bytes().iter().take_while(|byte| byte.is_ascii_alphanumeric()).take(20);
            word.map(|byte| char::from(*byte)).collect()
        })
        .collect();
    if schemes.is_empty() || schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic")) {
        return "answered 407".to_owned();
    }
    format!("answered 407 and takes only {}, where we have only Basic", schemes.join(", "))
}

fn reply_text(reply: u8) -> &'static str {
    match reply {
        1 => "it failed",
        2 => "its rules do not allow it",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the connection was refused",
        6 => "the time to live is over",
        7 => "it does not know the command",
        8 => "it does not know such addresses",
        _ => "it does not say why",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_with_its_escapes_and_default_ports() {
        let proxy = Proxy::parse("http://us%40er:p%3Ass%2F@proxy.example:3128/").unwrap();
        let credentials = proxy.credentials.as_ref().unwrap();
        assert_eq!((credentials.user.as_str(), credentials.password.as_str()), ("us@er", "p:ss/"));
        assert_eq!(proxy.to_string(), "proxy.example:3128");
        assert_eq!(format!("{proxy:?}"), "Proxy(Http proxy.example:3128)");
        for (url, shown) in [
            ("http://p", "p:80"),
            ("https://p", "p:443"),
            ("socks5://p", "p:1080"),
            ("socks5h://127.0.0.1:9", "127.0.0.1:9"),
            ("socks5://[::1]:9", "[::1]:9"),
            ("http://[::1]", "[::1]:80"),
        ] {
            assert_eq!(Proxy::parse(url).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn f40_what_cannot_work_is_refused_without_repeating_it() {
        for url in [
            "hush",
            "",
            "hush:hush@host:1080",
            "ftp://hush:hush@host",
            "socks4://hush:hush@host",
            "http://",
            "socks5://hush:hush@",
            "socks5://hush@host:1080",
            "socks5://hush:%00%ff@host:1080",
            "http://hush%3Aer:hush@host",
            "http://hush:hush@host/path",
            "http://hush:hush@host?query",
            "http://hush:hush@host:hush",
            &format!("socks5://hush:{}@host", "x".repeat(256)),
        ] {
            let Err(error) = Proxy::parse(url) else { panic!("{url} was taken") };
            assert!(error.starts_with("proxy: ") && error.contains("write it as"), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
