//! `_core.Watch` and `_core.Admin`: what Python tells of its event loops, and the server that tells it on.

use std::{
    collections::HashMap,
    io, process,
    sync::{Arc, LazyLock, Weak},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use propylon_cluster::broker::Broker;
use propylon_core::{
    admin::{AdminConfig, AdminServer, Contribution, Contributor, Exhibit, Process, View, Watch},
    clock,
    shard::SharedState,
};
use pyo3::{
    exceptions::{PyOSError, PyValueError},
    prelude::*,
};

use crate::{
    cluster::PyBroker,
    cluster_events::{PyIntake, PyPublisher},
    errors, runtime,
    runtime::OfThisProcess,
    shard::PyShard,
};

/// When the engine was loaded, in Unix seconds.
static LOADED: LazyLock<f64> = LazyLock::new(clock::unix_now);

/// Notes the time: the process has begun.
pub(crate) fn loaded() {
    LazyLock::force(&LOADED);
}

/// One event loop, as Python tells of it. It may be told from any thread, and waits for nothing.
#[pyclass(frozen, name = "Watch", module = "propylon._core")]
pub(crate) struct PyWatch(Arc<Watch>);

#[pymethods]
impl PyWatch {
    #[new]
    fn new() -> Self {
        Self(Arc::default())
    }

    /// The loop has taken a turn, `lag` seconds after it was due; it runs nothing else.
    fn beat(&self, lag: f64) {
        self.0.beat(Duration::try_from_secs_f64(lag.max(0.0)).unwrap_or(Duration::ZERO));
    }

    /// The number of a listener, by its name; the same for the same.
    fn listener(&self, name: &str) -> u32 {
        self.0.listener(name)
    }

    /// The listener with this number runs from now on.
    fn running(&self, number: u32) {
        self.0.running(number);
    }

    /// No listener runs.
    fn done(&self) {
        self.0.done();
    }

    /// This holds the loop, and is no listener; until its next turn.
    fn held_by(&self, name: &str) {
        self.0.held_by(name);
    }

    /// So many calls of a listener took so many seconds in all, and raised so many errors.
    #[pyo3(signature = (number, seconds, calls=1, errors=0))]
    fn record(&self, number: u32, seconds: f64, calls: u64, errors: u64) {
        self.0.record(number, seconds, calls, errors);
    }

    /// Seconds since its last turn; 0.0 where that is less than 2 s ago.
    #[getter]
    fn blocked_seconds(&self) -> f64 {
        self.0.blocked(clock::now()).as_secs_f64()
    }

    /// The name of the listener that runs, or of what else holds the loop, where one was told.
    #[getter]
    fn running_name(&self) -> Option<String> {
        self.0.running_name()
    }
}

/// The servers of a process by the addresses that they were asked for, which is what others ask for too.
#[derive(Default)]
struct Servers(Mutex<HashMap<AdminConfig, Weak<AdminServer>>>);

/// Those of the process with this number. A fork may come while another thread has the lock, which nobody gives back in
/// the child: it makes its own.
static SERVERS: ArcSwapOption<(u32, Servers)> = ArcSwapOption::const_empty();

fn servers() -> Arc<(u32, Servers)> {
    let pid = process::id();
    let is_ours = |known: &Option<Arc<(u32, Servers)>>| known.as_deref().is_some_and(|(made, _)| *made == pid);
    let before =
        SERVERS.rcu(|known| if is_ours(known) { known.clone() } else { Some(Arc::new((pid, Servers::default()))) });
    if !is_ours(&before) {
        // The parent's: dropping them would wait for threads that are not here.
        std::mem::forget(before);
    }
    SERVERS.load_full().unwrap_or_default()
}

/// The server at this address: that of another gateway of the process, or a new one.
fn join(config: AdminConfig, facts: &Process) -> PyResult<Arc<AdminServer>> {
    let ours = servers();
    let mut servers = ours.1.0.lock();
    if let Some(server) = servers.get(&config).and_then(Weak::upgrade) {
        return Ok(server);
    }
    let (runtime, _) = runtime::engine()?;
    let exhibit = Arc::new(Exhibit::new(facts.clone()));
    let server = AdminServer::start(&runtime, config, exhibit).map_err(|error| refused(config, &error))?;
    let server = Arc::new(server);
    servers.retain(|_, server| server.strong_count() > 0);
    servers.insert(config, Arc::downgrade(&server));
    Ok(server)
}

fn refused(config: AdminConfig, error: &io::Error) -> PyErr {
    let address = config.address;
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "something else listens there; name another port, or 0 for a free one",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        io::ErrorKind::PermissionDenied => "this user may not listen there; name a port above 1023",
        _ => "nothing can listen there",
    };
    // With its number, by which Python chooses the subclass.
    match error.raw_os_error() {
        Some(number) => PyOSError::new_err((number, format!("admin=\"{address}\": {advice}"))),
        None => PyOSError::new_err(format!("admin=\"{address}\": {advice}: {error}")),
    }
}

/// A server, and what one gateway shows there.
type Shown = (Arc<AdminServer>, Vec<Weak<SharedState>>);

/// A connection to NATS, as long as that is there.
struct Link(Weak<Broker>);

impl Contributor for Link {
    fn contribution(&self) -> Contribution {
        Contribution::Connection(self.0.upgrade().is_some_and(|broker| broker.is_connected()))
    }
}

/// What a host or worker has shown besides its shards.
#[derive(Default)]
struct Member {
    /// Its id, once it has told of its cluster.
    id: Option<String>,
    /// Its connection, and by which number that is known.
    link: Option<(Arc<Link>, u64)>,
}

struct Inner {
    config: AdminConfig,
    facts: Process,
    /// While its gateway is open.
    server: Mutex<Option<Shown>>,
    member: Mutex<Member>,
}

impl Inner {
    fn leave(&self) {
        let Some((server, shown)) = self.server.lock().take() else { return };
        for state in shown.iter().filter_map(Weak::upgrade) {
            server.exhibit().hide(&state);
        }
        let member = std::mem::take(&mut *self.member.lock());
        if let Some(id) = member.id {
            server.exhibit().forget_member(&id);
        }
        if let Some((link, ticket)) = member.link {
            server.exhibit().withdraw(ticket, &link.contribution());
        }
        // Where nobody else has it, this is its end, and another one may want the address at once.
        let ours = servers();
        let _servers = ours.1.0.lock();
        drop(server);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The admin server of one gateway, or of a fleet; it may be that of others too.
#[pyclass(frozen, name = "Admin", module = "propylon._core")]
pub(crate) struct PyAdmin(OfThisProcess<Inner>);

impl PyAdmin {
    fn get(&self) -> PyResult<&Arc<Inner>> {
        self.0.get().ok_or_else(errors::forked)
    }
}

#[pymethods]
impl PyAdmin {
    /// Checks where it is to listen. Raises `ValueError` where that cannot be.
    #[new]
    fn new(address: &str, remote: bool, propylon: String, python: String) -> PyResult<Self> {
        let config = AdminConfig::parse(address, remote).map_err(PyValueError::new_err)?;
        let facts = Process { started_at: *LOADED, propylon, python };
        Ok(Self(OfThisProcess::new(Inner { config, facts, server: Mutex::default(), member: Mutex::default() })))
    }

    /// Listens, or joins the server that another gateway has there. Raises `OSError` where neither can be.
    fn open(&self) -> PyResult<()> {
        let inner = self.get()?;
        let mut server = inner.server.lock();
        if server.is_none() {
            *server = Some((join(inner.config, &inner.facts)?, Vec::new()));
        }
        Ok(())
    }

    /// `(host, port)` where it listens; `None` while it does not.
    #[getter]
    fn address(&self) -> PyResult<Option<(String, u16)>> {
        let server = self.get()?.server.lock();
        Ok(server.as_ref().map(|(server, _)| (server.address().ip().to_string(), server.address().port())))
    }

    /// Shows a shard, while it is open.
    fn show(&self, shard: &PyShard) -> PyResult<()> {
        if let Some((server, shown)) = &mut *self.get()?.server.lock() {
            let (id, state) = shard.shown()?;
            server.exhibit().show(id, state);
            shown.retain(|known| known.strong_count() > 0);
            shown.push(Arc::downgrade(state));
        }
        Ok(())
    }

    /// Shows it no more; what it has counted stays in the sums.
    fn hide(&self, shard: &PyShard) -> PyResult<()> {
        if let Some((server, _)) = &*self.get()?.server.lock() {
            server.exhibit().hide(shard.shown()?.1);
        }
        Ok(())
    }

    /// Shows an event loop, while it is open.
    fn watch(&self, watch: &PyWatch) -> PyResult<()> {
        if let Some((server, _)) = &*self.get()?.server.lock() {
            server.exhibit().watch(&watch.0);
        }
        Ok(())
    }

    /// Shows whether there is a connection to NATS, while it is open.
    fn show_broker(&self, broker: &PyBroker) -> PyResult<()> {
        let inner = self.get()?;
        if let Some((server, _)) = &*inner.server.lock() {
            let link = Arc::new(Link(Arc::downgrade(broker.get()?)));
            let shown: Weak<Link> = Arc::downgrade(&link);
            let ticket = server.exhibit().contribute(shown);
            if let Some((link, ticket)) = inner.member.lock().link.replace((link, ticket)) {
                server.exhibit().withdraw(ticket, &link.contribution());
            }
        }
        Ok(())
    }

    /// Shows a publisher for as long as that lives, while this is open.
    fn show_publisher(&self, publisher: &PyPublisher) -> PyResult<()> {
        match &*self.get()?.server.lock() {
            Some((server, _)) => publisher.show(server.exhibit()),
            None => Ok(()),
        }
    }

    /// Shows an intake for as long as that lives, while this is open.
    fn show_intake(&self, intake: &PyIntake) -> PyResult<()> {
        match &*self.get()?.server.lock() {
            Some((server, _)) => intake.show(server.exhibit()),
            None => Ok(()),
        }
    }

    /// How the cluster stands, as JSON; while it is open.
    fn tell_cluster(&self, view: &[u8]) -> PyResult<()> {
        let view: View = serde_json::from_slice(view).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let inner = self.get()?;
        if let Some((server, _)) = &*inner.server.lock() {
            inner.member.lock().id = Some(view.id.clone());
            server.exhibit().tell_cluster(view);
        }
        Ok(())
    }

    /// How many seconds ago somebody looked at a snapshot; `None` where nobody has.
    #[getter]
    fn looked(&self) -> PyResult<Option<f64>> {
        let server = self.get()?.server.lock();
        Ok(server.as_ref().and_then(|(server, _)| server.exhibit().looked()).map(|ago| ago.as_secs_f64()))
    }

    /// Shows nothing any more, and stops listening where nobody else does.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let inner = Arc::clone(self.get()?);
        // It waits until the port is closed.
        py.detach(|| inner.leave());
        Ok(())
    }
}
