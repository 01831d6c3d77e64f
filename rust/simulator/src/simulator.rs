//! The handle of a running simulator: blocking calls that work from any thread, on a runtime of its own.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::gateway::steps;
use crate::observe;
use crate::options::{Condition, Script, Selector, SimulatorConfig, Step, Target};
use crate::server::Server;

/// A step that takes longer is given up; scripts have no such limit.
const PATIENCE: Duration = Duration::from_secs(30);

/// A Discord-compatible gateway server on 127.0.0.1.
///
/// It runs on its own threads (`propylon-sim`) until [`stop`](Self::stop) or drop. Calls block for as long as the server
/// takes to do them, which is micro- to milliseconds; only [`wait`](Self::wait) waits for a client.
///
/// ```
/// use propylon_simulator::{Simulator, SimulatorConfig};
///
/// let simulator = Simulator::start(SimulatorConfig { rate: Some(100.0), ..Default::default() })?;
/// assert!(simulator.url().starts_with("ws://127.0.0.1:"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Simulator {
    server: Arc<Server>,
    handle: Handle,
    thread: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
    /// Threads do not survive `fork()`: a child's copy can only be forgotten.
    process: u32,
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Simulator {
    /// Starts a server.
    ///
    /// # Errors
    /// When the port cannot be bound, or a certificate not be made.
    pub fn start(config: SimulatorConfig) -> io::Result<Self> {
        let (started, starting) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("propylon-sim".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("propylon-sim")
                .enable_all()
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            let server = runtime.block_on(async { Server::start(config) });
            let handle = runtime.handle().clone();
            let running = server.as_ref().ok().map(Arc::clone);
            let told = started.send(server.map(|server| (server, handle))).is_ok();
            if let (true, Some(server)) = (told, running) {
                // an error means that the handle was dropped: the same as a stop
                let _ = runtime.block_on(stopped);
                runtime.block_on(server.common.listeners.close());
                server.clear();
            }
            runtime.shutdown_timeout(Duration::from_secs(5));
        })?;
        match starting.recv() {
            Ok(Ok((server, handle))) => {
                Ok(Self { server, handle, thread: Mutex::new(Some((stop, thread))), process: std::process::id() })
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the simulator's thread ended")),
        }
    }

    /// Stops the server and joins its threads. Clients see their connections end. Does nothing the second time, nor in a
    /// forked child.
    pub fn stop(&self) {
        if self.process != std::process::id() {
            // joining a thread that fork() left behind would wait for ever
            return std::mem::forget(self.thread.try_lock().and_then(|mut thread| thread.take()));
        }
        if let Some((stop, thread)) = self.thread.lock().take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }

    /// `ws://127.0.0.1:<port>`, with TLS `wss://localhost:<port>`.
    pub fn url(&self) -> String {
        self.server.common.ws_url()
    }

    /// What READY tells as `resume_gateway_url`.
    pub fn resume_url(&self) -> String {
        self.server.common.resume_url()
    }

    /// Base of the REST face, `/api/v10` included.
    pub fn api_url(&self) -> String {
        self.server.common.api_url()
    }

    /// The gateway's port.
    pub fn port(&self) -> u16 {
        self.server.common.listeners.ports()[0]
    }

    /// The certificate authority to trust, as PEM; `None` without TLS.
    pub fn ca_pem(&self) -> Option<String> {
        self.server.ca_pem().map(str::to_owned)
    }

    /// Gives steps to connections to come.
    pub fn script(&self, connection: impl Into<Selector>, steps: Vec<Step>) {
        self.server.add_script(Script { connection: connection.into(), steps });
    }

    /// Does a step now, on live connections or on the server. With several connections, each has its turn.
    ///
    /// # Errors
    /// When nothing matches, or the step is not possible now: the first error of several.
    pub fn act(&self, target: impl Into<Target>, step: Step) -> Result<(), String> {
        let target = target.into();
        let server = Arc::clone(&self.server);
        self.block_on(async move {
            match (target, &step) {
                (Target::Shards(shards), Step::ExpireSessions) => {
                    let found = steps::expire(&server.common, shards) > 0;
                    return found.then_some(()).ok_or_else(|| format!("no session of {shards:?}"));
                }
                (Target::Shards(shards), step) if step.is_server_wide() => {
                    return Err(format!("a step of the server, not of {shards:?}"));
                }
                (_, step) if step.is_server_wide() => return steps::act_on_server(&server.common, step).await,
                _ => {}
            }
            let connections = server.select(target);
            if connections.is_empty() {
                return Err(format!("no connection {target:?}"));
            }
            let mut outcome = Ok(());
            for connection in connections {
                outcome = outcome.and(steps::act(&connection, &step).await);
            }
            outcome
        })
    }

    /// Sends an event to one session, or to all: numbered, recorded, and kept for a RESUME even while disconnected.
    /// Returns to how many sessions.
    pub fn dispatch(&self, event: &str, data: &Value, session: Option<&str>) -> usize {
        self.dispatch_json(event, data.to_string(), session)
    }

    /// [`dispatch`](Self::dispatch) with `d` as text, sent byte for byte, JSON or not.
    pub fn dispatch_json(&self, event: &str, data: impl Into<Bytes>, session: Option<&str>) -> usize {
        let (data, event) = (data.into(), Arc::<str>::from(event));
        let common = &self.server.common;
        let sessions: Vec<_> = match session {
            Some(id) => common.session(id).into_iter().filter(|session| !session.is_dead()).collect(),
            None => common.routes.lock().all().cloned().collect(),
        };
        for session in &sessions {
            session.dispatch(Arc::clone(&event), data.clone());
        }
        sessions.len()
    }

    /// Sends events of one kind, each to every live session that has its guild, by whatever number of shards: numbered
    /// there, recorded, and kept for a RESUME. `d` is text, sent byte for byte. Guild 0: to all sessions. Returns to how
    /// many sessions events went, over all of them.
    pub fn route(&self, event: &str, events: impl IntoIterator<Item = (u64, Bytes)>) -> usize {
        let event = Arc::<str>::from(event);
        let mut due = Vec::new();
        {
            let mut routes = self.server.common.routes.lock();
            for (guild, data) in events {
                if guild == 0 {
                    due.extend(routes.all().map(|session| (Arc::clone(session), data.clone())));
                } else {
                    due.extend(routes.of_guild(guild).map(|session| (Arc::clone(session), data.clone())));
                }
            }
        }
        for (session, data) in &due {
            session.dispatch(Arc::clone(&event), data.clone());
        }
        due.len()
    }

    /// Sends a whole payload as it is (its envelope included) through the compression of live connections.
    ///
    /// # Errors
    /// When no connection matches.
    pub fn send_raw(&self, target: impl Into<Target>, payload: &str) -> Result<(), String> {
        self.act(target, Step::SendPayload { text: payload.to_owned(), hex: String::new() })
    }

    /// Starts or stops the traffic of every session. `rate`: events per second, 0 for flat out, `None` to leave it.
    pub fn flood(&self, on: bool, rate: Option<f64>) {
        for session in self.server.common.sessions() {
            session.set_pace(on, rate);
        }
    }

    /// Starts or stops the numbered traffic of the whole bot; when this returns after a stop, none is made any more.
    /// `rate`: events per second, `None` to leave it.
    ///
    /// # Errors
    /// When it is to start and there is no rate.
    pub fn flood_shared(&self, on: bool, rate: Option<f64>) -> Result<(), String> {
        let set = self.server.common.shared.set_pace(on, rate);
        set.then_some(()).ok_or_else(|| "the whole bot's events need a rate above 0".to_owned())
    }

    /// Everything that the server saw, as JSON: `connections`, `sessions`, `api`, `identifies`, `shared`, `ms`.
    pub fn record(&self) -> Value {
        observe::record(&self.server, true)
    }

    /// The same without the payloads that clients sent, `ops`: what a thousand connections are asked for.
    pub fn record_without_payloads(&self) -> Value {
        observe::record(&self.server, false)
    }

    /// How a fleet is, in counts; cheap with a thousand connections.
    pub fn fleet(&self) -> Value {
        observe::fleet(&self.server)
    }

    /// Blocks until a condition holds; false when time runs out.
    pub fn wait(&self, condition: &Condition, timeout: Duration) -> bool {
        self.server.common.watch.wait(timeout, || observe::holds(&self.server, condition))
    }

    /// The same, for tasks of a tokio runtime with timers.
    pub async fn wait_async(&self, condition: &Condition, timeout: Duration) -> bool {
        self.server.common.watch.wait_async(timeout, || observe::holds(&self.server, condition)).await
    }

    fn block_on<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, String>> + Send + 'static,
    ) -> Result<T, String> {
        if self.process != std::process::id() || self.thread.lock().is_none() {
            return Err("the simulator is stopped".to_owned());
        }
        // not `Handle::block_on`: that panics in a caller's own runtime
        let (done, wait) = mpsc::channel();
        self.handle.spawn(async move {
            let _ = done.send(work.await);
        });
        wait.recv_timeout(PATIENCE).unwrap_or_else(|_| Err("the step took too long".to_owned()))
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop();
    }
}
