//! What the connections of a simulator have in common: its options and world, the sessions, the budgets, the API's
//! answers and record. Knows no connection: sessions outlive theirs.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::record::ApiRecord;
use super::session::Session;
use super::watch::Watch;
use crate::options::SimulatorConfig;
use crate::traffic::{Generator, World};
use crate::wire::Listeners;

/// A scripted answer to API requests.
type ApiResponse = (u16, BTreeMap<String, String>, String);

/// Everything that connections have in common.
pub(crate) struct Common {
    pub(crate) config: SimulatorConfig,
    pub(crate) world: World,
    pub(crate) generator: Arc<Generator>,
    pub(crate) watch: Arc<Watch>,
    /// A connection's script may close and open the ports.
    pub(crate) listeners: Listeners,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sessions: HashMap<String, Arc<Session>>,
    session_order: Vec<String>,
    api: Vec<ApiRecord>,
    api_scripts: VecDeque<(ApiResponse, usize)>,
    identified: HashMap<u64, Instant>,
    identifies: u32,
    member_requests: HashMap<u64, Instant>,
}

impl Common {
    pub(crate) fn new(config: SimulatorConfig, listeners: Listeners) -> Self {
        let world = World {
            guilds: config.guilds,
            channels: config.channels.max(1),
            members: config.members,
            seed: config.seed,
        };
        let generator = Generator::new(config.seed, &config.events, world.channels, config.stamp);
        Self {
            world,
            generator: Arc::new(generator),
            watch: Arc::new(Watch::new()),
            listeners,
            state: Mutex::default(),
            config,
        }
    }

    fn url(&self, plain: &str, secure: &str, port: u16) -> String {
        if self.config.tls { format!("{secure}://localhost:{port}") } else { format!("{plain}://127.0.0.1:{port}") }
    }

    pub(crate) fn ws_url(&self) -> String {
        self.url("ws", "wss", self.listeners.ports()[0])
    }

    pub(crate) fn resume_url(&self) -> String {
        self.url("ws", "wss", self.listeners.ports()[1])
    }

    pub(crate) fn api_url(&self) -> String {
        format!("{}/api/v10", self.url("http", "https", self.listeners.ports()[0]))
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

    // -- the API --

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

    /// API requests and IDENTIFYs so far.
    pub(crate) fn history(&self) -> (Vec<ApiRecord>, u32) {
        let state = self.state.lock();
        (state.api.clone(), state.identifies)
    }

    /// Forgets the sessions and what they keep for replay.
    pub(crate) fn clear(&self) {
        let sessions = std::mem::take(&mut self.state.lock().sessions);
        drop(sessions);
    }
}
