//! The server: who connects, which script is theirs, and each accepted connection from its first byte on.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio_rustls::TlsAcceptor;

use crate::api;
use crate::gateway::{Connection, loops, steps};
use crate::options::{Keyword, Script, Selector, SimulatorConfig, Start, Step, Target};
use crate::state::{Common, ConnectionRecord, Outgoing, shared_pace};
use crate::wire::tcp::{alert, hold};
use crate::wire::{Accepted, Authority, Compression, Encoder, Listeners, Stream, Wire, http};

/// Encoded bytes that may wait for a client: of plain JSON, and of compressed frames (about 6,000 events each).
const PLAIN_AHEAD: usize = 4 << 20;
const COMPRESSED_AHEAD: usize = 768 << 10;

/// So many open connections have compressors of the usual size; those that come after get lighter ones.
const MANY: u64 = 64;

/// A running server.
pub(crate) struct Server {
    pub(crate) common: Arc<Common>,
    authority: Option<Authority>,
    acceptor: Option<TlsAcceptor>,
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
}

impl Server {
    /// Binds the ports and begins to accept. Runs inside the simulator's runtime.
    pub(crate) fn start(mut config: SimulatorConfig) -> io::Result<Arc<Self>> {
        // scripts may show a certificate on a TLS port only, so plain servers need none
        let authority = config.tls.then(Authority::new).transpose()?;
        let acceptor = authority.as_ref().map(|authority| authority.acceptor(config.certificate)).transpose()?;
        let (listeners, mut accepted) = Listeners::open(config.port, config.separate_resume_port, config.send_buffer)?;
        let scripts = std::mem::take(&mut config.scripts);
        let common = Arc::new(Common::new(config, listeners));
        let from_the_start = common.config.start == Start::Ready && common.config.shared_rate > 0.0;
        common.shared.set_pace(from_the_start, Some(common.config.shared_rate));
        let server = Arc::new(Self { common, authority, acceptor, state: Mutex::default() });
        for script in scripts {
            server.add_script(script);
        }
        tokio::spawn(shared_pace::run(Arc::clone(&server.common)));
        let serving = Arc::clone(&server);
        tokio::spawn(async move {
            while let Some(accepted) = accepted.recv().await {
                tokio::spawn(Arc::clone(&serving).serve(accepted));
            }
        });
        Ok(server)
    }

    pub(crate) fn ca_pem(&self) -> Option<&str> {
        self.authority.as_ref().map(Authority::pem)
    }

    /// One accepted TCP connection, from its first byte to its last.
    async fn serve(self: Arc<Self>, Accepted { tcp, port }: Accepted) {
        let common = &self.common;
        let accepted_ms = common.watch.ms();
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
            http::refuse(&mut stream, 400, "plain HTTP on a TLS port").await;
            return common.watch.changed();
        }
        let acceptor = match certificate {
            Some(kind) => self.authority.as_ref().and_then(|authority| authority.acceptor(kind).ok()),
            None => self.acceptor.clone(),
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
            return api::serve(common, &mut stream, request).await;
        }
        let (number, script) = early.unwrap_or_else(|| self.take_script(port, accepted_ms));
        self.with_record(number, |record| {
            record.tls = common.config.tls;
            record.path.clone_from(&request.path);
            record.query.clone_from(&request.query);
            record.headers.clone_from(&request.headers);
        });
        let compression = match request.gateway_query(common.config.require_user_agent) {
            Ok(compression) => compression,
            Err((status, why)) => {
                self.with_record(number, |record| record.status = Some(status));
                http::refuse(&mut stream, status, why).await;
                return common.watch.changed();
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
        loops::run(&connection, stream, request.rest).await;
    }

    fn open(&self, number: u64, compression: Compression, slice: Arc<AtomicUsize>) -> Arc<Connection> {
        let common = &self.common;
        let mut encoder = Encoder::new(compression, common.config.zlib_level, common.config.zstd_level);
        if common.tally.counts().open >= MANY {
            encoder.lighten();
        }
        let capacity = if compression == Compression::None { PLAIN_AHEAD } else { COMPRESSED_AHEAD };
        let out = Outgoing::new(number, encoder, capacity, Arc::clone(&common.watch), Arc::clone(&common.tally));
        let mut state = self.state.lock();
        let mut record = state.accepted.remove(&number).unwrap_or_default();
        record.upgraded_ms = Some(common.watch.ms());
        let connection = Arc::new(Connection::new(Arc::clone(common), out, record, slice));
        state.connections.insert(number, Arc::clone(&connection));
        drop(state);
        common.tally.counts().opened();
        common.watch.changed();
        connection
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
        self.common.tally.counts().accepted += 1;
        self.common.watch.changed();
        (number, script.unwrap_or_default())
    }

    pub(crate) fn select(&self, target: Target) -> Vec<Arc<Connection>> {
        let state = self.state.lock();
        let live = |connection: &&Arc<Connection>| !connection.ended.load(Ordering::Relaxed);
        match target {
            Target::Connections(Selector::Number(number)) => {
                state.connections.get(&number).cloned().into_iter().collect()
            }
            Target::Connections(Selector::Keyword(Keyword::Every)) => {
                state.connections.values().filter(live).cloned().collect()
            }
            Target::Connections(Selector::Keyword(_)) => {
                state.connections.values().next_back().cloned().into_iter().collect()
            }
            Target::Shards(shards) => {
                let wanted = |connection: &&Arc<Connection>| {
                    connection.record.lock().shard.is_some_and(|shard| shards.has(shard))
                };
                state.connections.values().filter(live).filter(wanted).cloned().collect()
            }
        }
    }

    // -- records --

    fn with_record(&self, number: u64, change: impl FnOnce(&mut ConnectionRecord)) {
        if let Some(record) = self.state.lock().accepted.get_mut(&number) {
            change(record);
        }
        self.common.watch.changed();
    }

    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        self.state.lock().connections.values().cloned().collect()
    }

    /// One that was upgraded, by its number.
    pub(crate) fn connection(&self, number: u64) -> Option<Arc<Connection>> {
        self.state.lock().connections.get(&number).cloned()
    }

    /// Connections that were not upgraded.
    pub(crate) fn not_upgraded(&self) -> BTreeMap<u64, ConnectionRecord> {
        self.state.lock().accepted.clone()
    }

    /// Forgets connections and sessions: what a stopped simulator's handle need not keep.
    pub(crate) fn clear(&self) {
        let connections = std::mem::take(&mut self.state.lock().connections);
        drop(connections);
        self.common.clear();
    }
}
