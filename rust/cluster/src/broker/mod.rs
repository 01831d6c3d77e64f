//! The connection to NATS: keys that are compared and set, news of them, questions and answers, and the streams of an
//! application. Events are not its business; `client` and `jetstream` are for those who carry them.
//!
//! What it asks of `JetStream` is asked in the server's own JSON, so that times to live, compare and set and the server's
//! error codes are in one place and at hand.

mod error;
mod keys;
mod options;
mod questions;
mod streams;
mod watch;

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::{
    Client, ConnectErrorKind, Event, HeaderMap, Message, Request, RequestErrorKind,
    connection::State,
    jetstream::{self, Context},
};
use bytes::Bytes;
use futures_util::{StreamExt, future::ready};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tokio::{runtime::Handle, sync::watch as signal, time};

pub use error::{BrokerError, Result};
pub use keys::Entry;
pub use options::Options;
pub use questions::{Question, Questions};
pub use streams::{Consumer, DeadLetter, Prepare, StreamStatus, names};
pub use watch::{Change, Watch};

/// The first server that lets a single key expire.
const OLDEST: (i64, i64, i64) = (2, 11, 0);
/// What every call of `JetStream`'s own interface begins with.
const API: &str = "$JS.API.";
/// Between two attempts where the server has nobody yet who could answer.
const PAUSE: Duration = Duration::from_millis(100);
/// So long one attempt may take: what reaches a stream while it elects a leader is never answered.
const ATTEMPT: Duration = Duration::from_millis(1500);

/// What is known of the connection beyond the client's own state.
#[derive(Default)]
struct Link {
    /// The last thing that went wrong, while it is wrong.
    trouble: Mutex<Option<String>>,
}

struct Inner {
    client: Client,
    jetstream: Context,
    /// As they were given, for error texts.
    servers: String,
    timeout: Duration,
    link: Arc<Link>,
    /// How often it connected. Whoever waits for news asks anew when it changes.
    connects: signal::Receiver<u64>,
    closed: signal::Sender<bool>,
    handle: Handle,
}

/// A connection to NATS, which comes back by itself. Clones share it.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

/// An error in an answer of `JetStream`.
#[derive(Debug, Deserialize)]
struct ApiError {
    #[serde(default)]
    code: u32,
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

impl ApiError {
    const NO_MESSAGE: u32 = 10037;
    const NO_STREAM: u32 = 10059;
    const NAME_IN_USE: u32 = 10058;
    const WRONG_LAST_SEQUENCE: u32 = 10071;
    const WRONG_LAST_SEQUENCE_CONSTANT: u32 = 10164;
    const DUPLICATE_IN_PROCESS: u32 = 10158;
    const NOT_FOR_ACCOUNT: u32 = 10039;

    /// The server will do it, though not just now: it elects a leader, reads its files, or is at it already.
    fn passes(&self) -> bool {
        self.code == 503 && self.err_code != Self::NOT_FOR_ACCOUNT || self.err_code == Self::DUPLICATE_IN_PROCESS
    }

    fn is_stale(&self) -> bool {
        matches!(self.err_code, Self::WRONG_LAST_SEQUENCE | Self::WRONG_LAST_SEQUENCE_CONSTANT)
    }
}

/// An answer of `JetStream`, or what it has against the question.
type Said = std::result::Result<Value, ApiError>;

/// What `JetStream` says.
struct Answer {
    said: Said,
    /// It was asked more than once, and may have done it the first time.
    again: bool,
}

impl Broker {
    /// Connects, within the time-out; from then on it connects again by itself, however long that takes.
    ///
    /// # Errors
    /// No server answered, none wants us, or the server is too old; the text says which were tried.
    pub async fn connect(options: &Options) -> Result<Self> {
        let addresses = options.addresses()?;
        let servers = addresses.iter().map(|at| format!("{}:{}", at.host(), at.port())).collect::<Vec<_>>().join(", ");
        let link = Arc::new(Link::default());
        let (connected, connects) = signal::channel(0);
        let no_answer = || {
            let seconds = options.timeout.as_secs_f64();
            BrokerError::Refused(format!("no NATS server answered within {seconds} s at {servers}"))
        };
        let deadline = time::Instant::now() + options.timeout;
        let client = loop {
            let (told, connected) = (Arc::clone(&link), connected.clone());
            let client = options.client()?.event_callback(move |event| {
                match event {
                    Event::Connected => {
                        *told.trouble.lock() = None;
                        connected.send_modify(|count| *count += 1);
                    }
                    Event::ServerError(error) => *told.trouble.lock() = Some(error.to_string()),
                    Event::ClientError(error) => *told.trouble.lock() = Some(error.to_string()),
                    _ => {}
                }
                ready(())
            });
            match time::timeout_at(deadline, client.connect(&addresses[..])).await {
                Ok(Ok(client)) => break client,
                // It may be just starting.
                Ok(Err(error)) if error.kind() == ConnectErrorKind::Io && time::Instant::now() + PAUSE < deadline => {
                    time::sleep(PAUSE).await;
                }
                Ok(Err(error)) if error.kind() != ConnectErrorKind::TimedOut => return Err(refused(&error, &servers)),
                Ok(Err(_)) | Err(_) => return Err(no_answer()),
            }
        };
        let (major, minor, patch) = OLDEST;
        if !client.is_server_compatible(major, minor, patch) {
            let version = client.server_info().version;
            return Err(BrokerError::Refused(format!(
                "NATS at {servers} is version {version}; {major}.{minor} or newer is needed, for keys that expire"
            )));
        }
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(options.timeout)
            .ack_timeout(options.timeout)
            .build(client.clone());
        Ok(Self(Arc::new(Inner {
            client,
            jetstream,
            servers,
            timeout: options.timeout,
            link,
            connects,
            closed: signal::Sender::new(false),
            handle: Handle::current(),
        })))
    }

    /// The client beneath, for those who carry events.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// `JetStream` beneath, for those who carry events.
    pub fn jetstream(&self) -> &Context {
        &self.0.jetstream
    }

    /// The runtime that the connection lives on.
    pub fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// The servers, as the options named them: `host:port, host:port`.
    pub fn servers(&self) -> &str {
        &self.0.servers
    }

    /// How long an answer may take.
    pub fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// How many bytes a message may have, with its headers; the server says so when it is connected to.
    pub fn max_payload(&self) -> usize {
        self.0.client.max_payload()
    }

    /// Whether there is a connection now.
    pub fn is_connected(&self) -> bool {
        self.0.client.connection_state() == State::Connected
    }

    /// How often it has connected: 1, until the first time that it had to come back.
    pub fn connects(&self) -> u64 {
        self.0.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// A subject that nobody else has.
    pub fn inbox(&self) -> String {
        self.0.client.new_inbox()
    }

    /// Sends what is on its way, and ends the connection. Everything that waits gets [`BrokerError::Closed`].
    pub async fn close(&self) {
        if self.0.closed.send_replace(true) {
            return;
        }
        if self.is_connected() {
            let _ = time::timeout(self.0.timeout, self.0.client.flush()).await;
        }
        let _ = time::timeout(self.0.timeout, self.0.client.drain()).await;
    }

    /// Returns when the broker was closed.
    pub async fn closed(&self) {
        let _ = self.0.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Sends `data` to whoever is there.
    ///
    /// # Errors
    /// There is no connection within the time-out, or the subject cannot be one.
    pub async fn publish(&self, subject: &str, data: Bytes) -> Result<()> {
        self.within(subject, async {
            self.connected().await;
            let sent = self.0.client.publish(subject.to_owned(), data).await;
            sent.map_err(|error| BrokerError::Invalid(format!("nothing can be sent to {subject:?}: {error}")))?;
            self.0.client.flush().await.map_err(|_| BrokerError::Closed)
        })
        .await
    }

    /// Asks whoever serves `subject`; none where nobody does.
    ///
    /// # Errors
    /// No answer came within `timeout`, or the subject cannot be one.
    pub async fn request(&self, subject: &str, data: Bytes, timeout: Duration) -> Result<Option<Bytes>> {
        self.at_most(timeout, subject, async {
            self.connected().await;
            Ok(self.ask(subject, None, data, timeout).await?.map(|message| message.payload))
        })
        .await
    }

    /// `work`, if it ends within the time-out and before the broker is closed; `what` is for the text.
    async fn within<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.at_most(self.0.timeout, what, work).await
    }

    async fn at_most<T>(&self, limit: Duration, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.closed() => Err(BrokerError::Closed),
            result = time::timeout(limit, work) => result.unwrap_or_else(|_| Err(self.timed_out(limit, what))),
        }
    }

    fn timed_out(&self, limit: Duration, what: &str) -> BrokerError {
        let (servers, seconds) = (&self.0.servers, limit.as_secs_f64());
        BrokerError::TimedOut(match (self.is_connected(), self.trouble()) {
            (true, None) => format!("NATS at {servers} did not answer within {seconds} s: {what}"),
            // A server tells what is forbidden by the way, and does not answer.
            (true, Some(error)) => {
                format!("NATS at {servers} did not answer within {seconds} s ({error}): {what}")
            }
            (false, None) => format!("there was no connection to NATS at {servers} within {seconds} s: {what}"),
            (false, Some(error)) => {
                format!("there was no connection to NATS at {servers} within {seconds} s ({error}): {what}")
            }
        })
    }

    /// What has gone wrong since it is connected, or on the way to that.
    fn trouble(&self) -> Option<String> {
        self.0.link.trouble.lock().clone()
    }

    /// An error of the client, and what the server has told since it is connected: it does not answer to what is forbidden.
    pub(crate) fn explained(&self, error: &dyn std::fmt::Display) -> String {
        match self.trouble() {
            Some(trouble) => format!("{error} ({trouble})"),
            None => error.to_string(),
        }
    }

    /// Returns when there is a connection. What is sent without one would reach the server whenever there is one again,
    /// long after the caller gave up.
    async fn connected(&self) {
        while !self.is_connected() {
            time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// One question; none where nobody serves the subject.
    async fn ask(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        data: Bytes,
        timeout: Duration,
    ) -> Result<Option<Message>> {
        let mut request = Request::new().payload(data).timeout(Some(timeout));
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        match self.0.client.send_request(subject.to_owned(), request).await {
            Ok(message) => Ok(Some(message)),
            Err(error) => match error.kind() {
                RequestErrorKind::NoResponders => Ok(None),
                RequestErrorKind::TimedOut => Err(self.timed_out(timeout, subject)),
                RequestErrorKind::InvalidSubject => Err(BrokerError::Invalid(format!("{subject:?} is no subject"))),
                RequestErrorKind::MaxPayloadExceeded => Err(BrokerError::Invalid(format!("{subject}: {error}"))),
                RequestErrorKind::Other => Err(BrokerError::Closed),
            },
        }
    }

    /// One question to `JetStream`, asked again while nobody there can answer it. The server may have heard it before: what must
    /// not happen twice has an id by which it is known.
    async fn ask_jetstream(&self, subject: &str, headers: Option<HeaderMap>, data: Bytes) -> Result<Answer> {
        let mut again = false;
        loop {
            self.connected().await;
            if let Some(said) = self.ask_once(subject, headers.clone(), data.clone()).await? {
                return Ok(Answer { said, again });
            }
            again = true;
            time::sleep(PAUSE).await;
        }
    }

    /// One attempt; none where nobody there could answer it.
    async fn ask_once(&self, subject: &str, headers: Option<HeaderMap>, data: Bytes) -> Result<Option<Said>> {
        match self.ask(subject, headers, data, ATTEMPT.min(self.0.timeout)).await {
            Ok(None) | Err(BrokerError::TimedOut(_)) => Ok(None),
            Ok(Some(message)) => match answered(subject, &message.payload)? {
                Err(error) if error.passes() => Ok(None),
                said => Ok(Some(said)),
            },
            Err(error) => Err(error),
        }
    }

    /// A call of `JetStream`'s own interface: `call` is what follows `$JS.API.`.
    async fn api(&self, call: &str, body: &Value) -> Result<Said> {
        Ok(self.ask_jetstream(&format!("{API}{call}"), None, encoded(body)).await?.said)
    }

    /// The same, tried once; none where nobody there could answer it.
    async fn api_once(&self, call: &str, body: &Value) -> Result<Option<Said>> {
        self.ask_once(&format!("{API}{call}"), None, encoded(body)).await
    }

    fn server_said(&self, call: &str, error: &ApiError) -> BrokerError {
        let text = &error.description;
        BrokerError::Refused(format!("NATS at {} refused {call}: {text} ({})", self.0.servers, error.err_code))
    }

    /// Returns when the server has read all that was sent before: nobody hears "nobody is there" after it.
    async fn round_trip(&self) -> Result<()> {
        let inbox = self.inbox();
        let gone = |_| BrokerError::Closed;
        let mut echo = self.0.client.subscribe(inbox.clone()).await.map_err(|_| BrokerError::Closed)?;
        self.0.client.publish(inbox, Bytes::new()).await.map_err(|_| BrokerError::Closed)?;
        self.0.client.flush().await.map_err(gone)?;
        echo.next().await.map(drop).ok_or(BrokerError::Closed)
    }
}

fn encoded(body: &Value) -> Bytes {
    if body.is_null() { Bytes::new() } else { body.to_string().into() }
}

fn answered(subject: &str, payload: &[u8]) -> Result<Said> {
    let answer: Value = serde_json::from_slice(payload)
        .map_err(|_| BrokerError::Refused(format!("JetStream's answer to {subject} is not JSON")))?;
    let Some(error) = answer.get("error") else { return Ok(Ok(answer)) };
    let unknown = |_| ApiError { code: 500, err_code: 0, description: error.to_string() };
    Ok(Err(ApiError::deserialize(error).unwrap_or_else(unknown)))
}

/// Why the first connection failed, in words that help.
fn refused(error: &async_nats::ConnectError, servers: &str) -> BrokerError {
    BrokerError::Refused(match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            format!("NATS at {servers} does not let us in ({error}): check user, token, nkey or creds")
        }
        ConnectErrorKind::Tls => format!("no NATS server could be reached at {servers}, because of TLS: {error}"),
        _ => format!("no NATS server could be reached at {servers}: {error}"),
    })
}
