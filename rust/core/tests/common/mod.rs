//! What the tests of whole connections share: options, a shard with its news, and addresses that do not answer.
#![allow(dead_code, missing_docs)] // Each test takes what it needs.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use propylon_core::{
    delivery::{Hub, Notice, Overflow, QueueConfig, ShardQueue, Waker},
    inflate::Compression,
    session::{BackoffConfig, Timeouts},
    shard::{ShardConfig, ShardHandle, SharedState, System},
    transport::{Proxies, Resolver, Stage, TransportConfig, client_config},
    zeroize::Zeroizing,
};
use propylon_simulator::{Simulator, SimulatorConfig};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn simulator() -> Simulator {
    Simulator::start(SimulatorConfig { guilds: 0, ..Default::default() }).unwrap()
}

/// Names with their addresses; others are not found.
pub(crate) fn names(names: &[(&str, &[SocketAddr])]) -> Resolver {
    let names: HashMap<String, Vec<SocketAddr>> =
        names.iter().map(|(name, addresses)| ((*name).to_owned(), addresses.to_vec())).collect();
    Arc::new(move |host, _| {
        let found = names.get(host).cloned().ok_or_else(|| std::io::Error::other("no such name"));
        Box::pin(async move { found })
    })
}

/// Addresses of a simulator.
pub(crate) fn address_of(simulator: &Simulator) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], simulator.port()))
}

/// An address that does not answer: the queue of its listener is full, so that Linux drops what comes.
pub(crate) struct Silent {
    pub(crate) address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

pub(crate) async fn silent() -> Silent {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "the queue never fills");
    }
    Silent { address, _listener: listener, _waiting: waiting }
}

/// An address where nobody listens.
pub(crate) fn refusing() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(crate) fn transport(resolver: Resolver, proxies: Proxies) -> TransportConfig {
    TransportConfig {
        tls: client_config(None, false).unwrap(),
        proxies,
        resolver,
        compression: Compression::None,
        max_payload_bytes: 1 << 20,
        user_agent: "DiscordBot (test, 1)".to_owned(),
        stage: Stage::default(),
    }
}

pub(crate) fn shard(gateway_url: Option<String>, system: System) -> ShardConfig {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    ShardConfig {
        // The identify gate spaces those that share one.
        token: Zeroizing::new(format!("token-{}", NUMBER.fetch_add(1, Relaxed))),
        intents: 0,
        compression: Compression::None,
        presence: None,
        large_threshold: 50,
        auto_reconnect: true,
        shard: None,
        session: None,
        leased: false,
        gateway_url,
        known_url: None,
        outside_gate: false,
        api_url: "http://127.0.0.1:1".to_owned(),
        timeouts: Timeouts::default(),
        backoff: BackoffConfig::default(),
        max_payload_bytes: 1 << 20,
        wake_interval: std::time::Duration::ZERO,
        proxies: Proxies::None,
        system,
        ca_file: None,
        native_roots: false,
        properties: ["os", "browser", "device"].map(str::to_owned),
        user_agent: "DiscordBot (test, 1)".to_owned(),
        allow_plaintext: true,
    }
}

/// A running shard, and its news.
pub(crate) struct Running {
    pub(crate) state: Arc<SharedState>,
    hub: Arc<Hub>,
    notices: Vec<Notice>,
    _handle: ShardHandle,
}

impl Running {
    pub(crate) fn start(config: &ShardConfig) -> Self {
        let queue = QueueConfig { bytes: 1 << 20, events: 1000, overflow: Overflow::Pause };
        let queue = Arc::new(ShardQueue::new(1, queue));
        let hub = Arc::new(Hub::new(Waker::new().unwrap()));
        hub.bind(&queue);
        let state = SharedState::new(queue, Arc::default(), Arc::default(), None);
        let handle = ShardHandle::start(&tokio::runtime::Handle::current(), config, &state).unwrap();
        Self { state, hub, notices: Vec::new(), _handle: handle }
    }

    /// The next of its news that `wanted` takes.
    pub(crate) async fn news<T>(&mut self, wanted: impl Fn(&Notice) -> Option<T>) -> T {
        let found = async {
            loop {
                self.notices.extend(self.hub.drain(1000).notices.into_iter().map(|(_, notice)| notice));
                while !self.notices.is_empty() {
                    if let Some(found) = wanted(&self.notices.remove(0)) {
                        return found;
                    }
                }
                // The hub's descriptor is for an event loop; here it is looked at now and then.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("no such news")
    }
}
