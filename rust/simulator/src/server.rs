//! The shared state of a simulator and its listening ports: who connects, which script is theirs, which sessions live.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::config::SimulatorConfig;
use crate::connection::Connection;
use crate::encoder::{Compression, Encoder};
use crate::http;
use crate::record::{ApiRecord, ConnectionRecord, Watch};
use crate::script::{Keyword, Script, Selector, Step};
use crate::session::Session;
use crate::steps;
use crate::tcp::{alert, bind, hold};
use crate::tls::{Authority, Certificate};
use crate::traffic::{Generator, World};
use crate::wire::{Stream, Wire};

/// Encoded bytes that may wait for a client: of plain JSON, and of compressed frames (about 6,000 events each).
const PLAIN_AHEAD: usize = 4 << 20;
const COMPRESSED_AHEAD: usize = 768 << 10;

/// A scripted answer to API requests.
type ApiResponse = (u16, BTreeMap<String, String>, String);

/// Everything that connections share.
pub(crate) struct Server {
    pub(crate) config: SimulatorConfig,
    pub(crate) world: World,
    pub(crate) generator: Arc<Generator>,
    pub(crate) watch: Watch,
    authority: Option<Authority>,
    ports: [u16; 2],
    listeners: Mutex<Vec<JoinHandle<()>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Numbers given out.
    last: u64,
    numbered: HashMap<u64, Vec<Step>>,
    next: VecDeque<Vec<Step>>,
    every: Option<Vec<Step>>,
    accepted: BTreeMap<u64, ConnectionRecord>,
    connections: BTreeMap<u64, Arc<Connection>>,
    sessions: HashMap<String, Arc<Session>>,
    session_order: Vec<String>,
    api: Vec<ApiRecord>,
    api_scripts: VecDeque<(ApiResponse, usize)>,
    identified: HashMap<u64, Instant>,
    identifies: u32,
    member_requests: HashMap<u64, Instant>,
}

impl Server {
    /// Binds the ports and begins to accept. Runs inside the simulator's runtime.
    pub(crate) fn start(config: SimulatorConfig) -> io::Result<Arc<Self>> {
        // scripts may show a certificate on a TLS port only, so plain servers need none
        let authority = config.tls.then(Authority::new).transpose()?;
        let main = bind(config.port, config.send_buffer)?;
        let second = config.separate_resume_port.then(|| bind(0, config.send_buffer)).transpose()?;
        let main_port = main.local_addr()?.port();
        let second_port =
            second.as_ref().map_or(Ok(main_port), |listener| listener.local_addr().map(|addr| addr.port()))?;
        let world = World {
            guilds: config.guilds,
            channels: config.channels.max(1),
            members: config.members,
            seed: config.seed,
        };
        let generator = Generator::new(config.seed, &config.events, world.channels, config.stamp);
        let server = Arc::new(Self {
            world,
            generator: Arc::new(generator),
            watch: Watch::new(),
            authority,
            ports: [main_port, second_port],
            listeners: Mutex::default(),
            state: Mutex::default(),
            config,
        });
        for script in &server.config.scripts {
            server.add_script(script.clone());
        }
        server.accept_on(main, "main")?;
        if let Some(second) = second {
            server.accept_on(second, "resume")?;
        }
        Ok(server)
    }

    fn accept_on(self: &Arc<Self>, listener: TcpListener, port: &'static str) -> io::Result<()> {
        let acceptor = match &self.authority {
            Some(authority) => Some(authority.acceptor(self.config.certificate)?),
            None => None,
        };
        let server = Arc::clone(self);
        let task = tokio::spawn(async move {
            loop {
                if let Ok((tcp, _)) = listener.accept().await {
                    tokio::spawn(Arc::clone(&server).serve(tcp, acceptor.clone(), port));
                }
            }
        });
        self.listeners.lock().push(task);
        Ok(())
    }

    pub(crate) async fn stop_listening(&self) {
        let tasks: Vec<_> = self.listeners.lock().drain(..).collect();
        for task in tasks {
            task.abort();
            // the port is closed once the task, and its listener, is gone
            let _ = task.await;
        }
    }

    pub(crate) async fn listen(self: &Arc<Self>) -> io::Result<()> {
        self.stop_listening().await;
        self.accept_on(bind(self.ports[0], self.config.send_buffer)?, "main")?;
        if self.config.separate_resume_port {
            self.accept_on(bind(self.ports[1], self.config.send_buffer)?, "resume")?;
        }
        Ok(())
    }

    pub(crate) fn port(&self) -> u16 {
        self.ports[0]
    }

    pub(crate) fn ca_pem(&self) -> Option<&str> {
        self.authority.as_ref().map(Authority::pem)
    }

    fn url(&self, plain: &str, secure: &str, port: u16) -> String {
        if self.config.tls { format!("{secure}://localhost:{port}") } else { format!("{plain}://127.0.0.1:{port}") }
    }

    pub(crate) fn ws_url(&self) -> String {
        self.url("ws", "wss", self.ports[0])
    }

    pub(crate) fn resume_url(&self) -> String {
        self.url("ws", "wss", self.ports[1])
    }

    pub(crate) fn api_url(&self) -> String {
        format!("{}/api/v10", self.url("http", "https", self.ports[0]))
    }

    /// One accepted TCP connection, from its first byte to its last.
    async fn serve(self: Arc<Self>, tcp: TcpStream, acceptor: Option<tokio_rustls::TlsAcceptor>, port: &'static str) {
        let accepted_ms = self.watch.ms();
        let slice = Arc::new(AtomicUsize::new(0));
        let early = self.take_early_script(port, accepted_ms);
        let mut certificate = None;
        let mut plaintext = false;
        for step in early.iter().flat_map(|(_, steps)| steps).take_while(|step| step.is_before_http()) {
            match step {
                Step::SilentAccept => return hold(tcp).await,
                Step::TlsAlert { code } => return alert(tcp, *code).await,
                Step::Certificate { kind } => certificate = Some(*kind),
                _ => plaintext = true,
            }
        }
        if plaintext {
            let mut stream = Stream::Plain(Wire::new(tcp, slice));
            return http::refuse(&self, &mut stream, 400, "plain HTTP on a TLS port").await;
        }
        let acceptor = match certificate {
            Some(kind) => self.acceptor(kind),
            None => acceptor,
        };
        let wire = Wire::new(tcp, Arc::clone(&slice));
        let mut stream = match acceptor {
            None => Stream::Plain(wire),
            Some(acceptor) => match acceptor.accept(wire).await {
                Ok(tls) => Stream::Tls(Box::new(tls)),
                Err(error) => {
                    if let Some((number, _)) = early {
                        self.with_record(number, |record| {
                            record.errors.push(format!("TLS: {error}"));
                        });
                    }
                    return;
                }
            },
        };
        let Some(request) = http::read_request(&mut stream).await else {
            return;
        };
        if !request.is_upgrade() {
            return http::serve_api(&self, &mut stream, request).await;
        }
        let (number, script) = early.unwrap_or_else(|| self.take_script(port, accepted_ms));
        self.with_record(number, |record| {
            record.tls = self.config.tls;
            record.path.clone_from(&request.path);
            record.query.clone_from(&request.query);
            record.headers.clone_from(&request.headers);
        });
        let compression = match request.gateway_query(self.config.require_user_agent) {
            Ok(compression) => compression,
            Err((status, why)) => {
                self.with_record(number, |record| record.status = Some(status));
                return http::refuse(&self, &mut stream, status, why).await;
            }
        };
        let handshake: Vec<Step> = script.iter().filter(|step| step.is_handshake()).cloned().collect();
        let status = handshake
            .iter()
            .find_map(|step| if let Step::HttpResponse { status, .. } = step { Some(*status) } else { None })
            .unwrap_or(101);
        self.with_record(number, |record| record.status = Some(status));
        if !http::upgrade(&mut stream, &request, &handshake).await.unwrap_or(false) {
            return;
        }
        let connection = self.open(number, compression, slice);
        let steps: Vec<Step> =
            script.into_iter().filter(|step| !step.is_before_http() && !step.is_handshake()).collect();
        let rest = steps::begin(&connection, steps).await;
        tokio::spawn(steps::finish(Arc::clone(&connection), rest));
        connection.run(stream, request.rest).await;
    }

    fn open(self: &Arc<Self>, number: u64, compression: Compression, slice: Arc<AtomicUsize>) -> Arc<Connection> {
        let encoder = Encoder::new(compression, self.config.zlib_level, self.config.zstd_level);
        let capacity = if compression == Compression::None { PLAIN_AHEAD } else { COMPRESSED_AHEAD };
        let mut state = self.state.lock();
        let mut record = state.accepted.remove(&number).unwrap_or_default();
        record.upgraded_ms = Some(self.watch.ms());
        let connection = Arc::new(Connection::new(self, record, encoder, slice, capacity));
        state.connections.insert(number, Arc::clone(&connection));
        drop(state);
        self.watch.changed();
        connection
    }

    fn acceptor(&self, kind: Certificate) -> Option<tokio_rustls::TlsAcceptor> {
        self.authority.as_ref().and_then(|authority| authority.acceptor(kind).ok())
    }

    // -- scripts --

    pub(crate) fn add_script(&self, script: Script) {
        let mut state = self.state.lock();
        match script.connection {
            Selector::Number(number) => {
                state.numbered.insert(number, script.steps);
            }
            Selector::Keyword(Keyword::Every) => state.every = Some(script.steps),
            Selector::Keyword(_) => state.next.push_back(script.steps),
        }
    }

    /// A script whose first step cannot wait for the HTTP head takes the next connection, whatever that will ask for.
    fn take_early_script(&self, port: &'static str, ms: f64) -> Option<(u64, Vec<Step>)> {
        let state = self.state.lock();
        let script = state.numbered.get(&(state.last + 1)).or(state.next.front()).or(state.every.as_ref());
        let early = script.and_then(|steps| steps.first()).is_some_and(Step::is_before_http);
        drop(state);
        early.then(|| self.take_script(port, ms))
    }

    fn take_script(&self, port: &'static str, accepted_ms: f64) -> (u64, Vec<Step>) {
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        let script = state.numbered.remove(&number);
        let script = script.or_else(|| state.next.pop_front()).or_else(|| state.every.clone());
        state.accepted.insert(number, ConnectionRecord { number, port, accepted_ms, ..ConnectionRecord::default() });
        drop(state);
        self.watch.changed();
        (number, script.unwrap_or_default())
    }

    pub(crate) fn select(&self, selector: Selector) -> Vec<Arc<Connection>> {
        let state = self.state.lock();
        match selector {
            Selector::Number(number) => state.connections.get(&number).cloned().into_iter().collect(),
            Selector::Keyword(Keyword::Every) => {
                let live = |connection: &&Arc<Connection>| !connection.ended.load(std::sync::atomic::Ordering::Relaxed);
                state.connections.values().filter(live).cloned().collect()
            }
            Selector::Keyword(_) => state.connections.values().next_back().cloned().into_iter().collect(),
        }
    }

    // -- sessions and budgets --

    pub(crate) fn add_session(&self, session: Arc<Session>) {
        let mut state = self.state.lock();
        state.session_order.push(session.id.clone());
        state.sessions.insert(session.id.clone(), session);
    }

    pub(crate) fn session(&self, id: &str) -> Option<Arc<Session>> {
        self.state.lock().sessions.get(id).cloned()
    }

    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        let state = self.state.lock();
        state.session_order.iter().filter_map(|id| state.sessions.get(id).cloned()).collect()
    }

    /// Takes an IDENTIFY from its bucket; false when it came too early. Also the number of the IDENTIFY.
    pub(crate) fn take_identify(&self, shard: u64) -> (bool, u32) {
        let bucket = shard % u64::from(self.config.max_concurrency.max(1));
        let mut state = self.state.lock();
        state.identifies += 1;
        let number = state.identifies;
        let now = Instant::now();
        let early = state
            .identified
            .get(&bucket)
            .is_some_and(|last| (now.duration_since(*last).as_millis() as u64) < self.config.identify_interval);
        if !early {
            state.identified.insert(bucket, now);
        }
        (!early, number)
    }

    /// `(remaining, reset_after)`: full again once, `session_start_reset_after` after the start.
    pub(crate) fn session_starts(&self) -> (u32, u64) {
        let config = &self.config;
        let left = config.session_start_reset_after.saturating_sub(self.watch.ms() as u64);
        let of = if left == 0 { config.session_start_total } else { config.session_start_remaining };
        (of.saturating_sub(self.state.lock().identifies), left)
    }

    /// Seconds to wait before all members of a guild may be asked for again; `None`: now.
    pub(crate) fn member_request_wait(&self, guild: u64) -> Option<f64> {
        let interval = self.config.member_request_interval;
        let mut state = self.state.lock();
        let elapsed = state.member_requests.get(&guild).map(|last| last.elapsed().as_millis() as u64);
        match elapsed {
            Some(elapsed) if elapsed < interval => Some((interval - elapsed) as f64 / 1000.0),
            _ => {
                state.member_requests.insert(guild, Instant::now());
                None
            }
        }
    }

    // -- records --

    fn with_record(&self, number: u64, change: impl FnOnce(&mut ConnectionRecord)) {
        if let Some(record) = self.state.lock().accepted.get_mut(&number) {
            change(record);
        }
        self.watch.changed();
    }

    pub(crate) fn script_api_response(&self, response: ApiResponse, times: usize) {
        self.state.lock().api_scripts.push_back((response, times));
    }

    pub(crate) fn scripted_api_response(&self) -> Option<ApiResponse> {
        let mut state = self.state.lock();
        let (response, times) = state.api_scripts.front_mut()?;
        let response = response.clone();
        *times = times.saturating_sub(1);
        if *times == 0 {
            state.api_scripts.pop_front();
        }
        Some(response)
    }

    pub(crate) fn record_api(&self, record: ApiRecord) {
        self.state.lock().api.push(record);
        self.watch.changed();
    }

    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        self.state.lock().connections.values().cloned().collect()
    }

    /// Gateway connections accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.state.lock().last
    }

    /// Connections that were not upgraded, API requests, IDENTIFYs.
    pub(crate) fn history(&self) -> (BTreeMap<u64, ConnectionRecord>, Vec<ApiRecord>, u32) {
        let state = self.state.lock();
        (state.accepted.clone(), state.api.clone(), state.identifies)
    }

    /// Breaks the cycles between server, connections and sessions.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        let sessions = std::mem::take(&mut state.sessions);
        let connections = std::mem::take(&mut state.connections);
        drop(state);
        drop((sessions, connections));
    }
}
