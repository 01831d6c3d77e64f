//! What the connections of a simulator have in common: its options and world, the sessions, the budgets, the API's
//! answers and record. Knows no connection: sessions outlive theirs.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::record::ApiRecord;
use super::routes::Routes;
use super::session::Session;
use super::shared::Shared;
use super::tally::Tally;
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
    pub(crate) tally: Arc<Tally>,
    /// The live sessions. Whoever holds this may lock a session, never the other way round.
    pub(crate) routes: Mutex<Routes>,
    pub(crate) shared: Shared,
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
    /// IDENTIFYs before the budget was full again.
    spent: Option<u32>,
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
            tally: Arc::default(),
            routes: Mutex::default(),
            shared: Shared::default(),
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

    /// From now on the session can be resumed, and gets the events of its guilds.
    pub(crate) fn add_session(&self, session: Arc<Session>) {
        let mut state = self.state.lock();
        state.session_order.push(session.id.clone());
        state.sessions.insert(session.id.clone(), Arc::clone(&session));
        drop(state);
        self.routes.lock().add(session);
    }

    pub(crate) fn session(&self, id: &str) -> Option<Arc<Session>> {
        self.state.lock().sessions.get(id).cloned()
    }

    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        let state = self.state.lock();
        state.session_order.iter().filter_map(|id| state.sessions.get(id).cloned()).collect()
    }

    /// Every session has sent all of its own events; the first that has not is enough to know.
    pub(crate) fn is_traffic_done(&self) -> bool {
        let state = self.state.lock();
        !state.sessions.is_empty() && state.sessions.values().all(|session| session.is_dead() || session.is_done())
    }

    /// Takes an IDENTIFY from its bucket; false when it came too early. Also the number of the IDENTIFY.
    pub(crate) fn take_identify(&self, shard: u64) -> (bool, u32) {
        let bucket = shard % u64::from(self.config.max_concurrency.max(1));
        let interval = self.config.identify_interval;
        let mut state = self.state.lock();
        let (left, _) = self.starts(&mut state);
        state.identifies += 1;
        let number = state.identifies;
        let now = Instant::now();
        let elapsed = state.identified.get(&bucket).map(|last| now.duration_since(*last));
        let early = elapsed.filter(|elapsed| (elapsed.as_millis() as u64) < interval);
        if early.is_none() {
            state.identified.insert(bucket, now);
        }
        drop(state);
        let mut counts = self.tally.counts();
        counts.over_budget += u64::from(left == 0);
        if let Some(elapsed) = early {
            counts.early.note(interval as f64 - elapsed.as_secs_f64() * 1e3);
        }
        (early.is_none(), number)
    }

    /// `(remaining, reset_after)`: full again once, `session_start_reset_after` after the start.
    pub(crate) fn session_starts(&self) -> (u32, u64) {
        self.starts(&mut self.state.lock())
    }

    fn starts(&self, state: &mut State) -> (u32, u64) {
        let config = &self.config;
        let left = config.session_start_reset_after.saturating_sub(self.watch.ms() as u64);
        if left > 0 {
            return (config.session_start_remaining.saturating_sub(state.identifies), left);
        }
        let spent = *state.spent.get_or_insert(state.identifies);
        (config.session_start_total.saturating_sub(state.identifies - spent), 0)
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
        self.tally.counts().api += 1;
        self.watch.changed();
    }

    /// API requests and IDENTIFYs so far.
    pub(crate) fn history(&self) -> (Vec<ApiRecord>, u32) {
        let state = self.state.lock();
        (state.api.clone(), state.identifies)
    }

    /// IDENTIFYs so far.
    pub(crate) fn identifies(&self) -> u32 {
        self.state.lock().identifies
    }

    /// Forgets the sessions and what they keep for replay.
    pub(crate) fn clear(&self) {
        let sessions = std::mem::take(&mut self.state.lock().sessions);
        let routes = std::mem::take(&mut *self.routes.lock());
        drop((sessions, routes));
    }
}
