//! `_core.Publisher` and `_core.Intake`: the events of a cluster, which leave a host past Python, and reach a worker's
//! listeners as a shard's.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use propylon_cluster::{
    broker::Broker,
    sink::{Archive, JetStreamSink, NOT_CONNECTED},
    source::{News, Source, SourceCounts},
};
use propylon_core::{
    admin::{Contribution, Contributor, Exhibit, HeldLease, HeldPartition, Published as PublishedCounts, Taken},
    clock,
    cluster::publisher::{Published, Publisher},
    shard::{SharedState, tag_of},
};
use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyDict};

use crate::{
    cluster::{PyBroker, failed},
    control::{await_in_python, control_runtime},
    dispatch::monotonic,
    errors,
    runtime::OfThisProcess,
    shard::PyShard,
};

struct Outlet {
    broker: Broker,
    app: String,
    publisher: Publisher<JetStreamSink>,
    archive: Arc<Archive>,
    showing: Showing,
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.publisher.close();
        self.showing.end(self);
    }
}

impl Contributor for Outlet {
    fn contribution(&self) -> Contribution {
        let (counts, now) = (self.publisher.counts(), clock::now());
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let oldest = Some(Duration::from_nanos(read(&counts.oldest))).filter(|oldest| !oldest.is_zero());
        Contribution::Publisher {
            counters: PublishedCounts {
                events: read(&counts.events),
                messages: read(&counts.messages),
                bytes: read(&counts.bytes),
                retries: read(&counts.retries),
                known: read(&counts.known),
                fenced: read(&counts.fenced),
            },
            lag: oldest.map_or(Duration::ZERO, |oldest| now.saturating_sub(oldest)),
            leases: self
                .publisher
                .leases()
                .into_iter()
                .map(|(shard, epoch, until)| HeldLease { shard, epoch, left: until.saturating_sub(now) })
                .collect(),
        }
    }
}

/// Where something is shown, once it is.
#[derive(Default)]
struct Showing(Mutex<Option<(Weak<Exhibit>, u64)>>);

impl Showing {
    fn begin<C: Contributor + 'static>(&self, exhibit: &Arc<Exhibit>, shown: &Arc<C>) {
        let mut place = self.0.lock();
        if place.is_none() {
            let shown: Weak<C> = Arc::downgrade(shown);
            *place = Some((Arc::downgrade(exhibit), exhibit.contribute(shown)));
        }
    }

    /// The last word of what was shown.
    fn end(&self, shown: &impl Contributor) {
        if let Some((exhibit, ticket)) = self.0.lock().take()
            && let Some(exhibit) = exhibit.upgrade()
        {
            exhibit.withdraw(ticket, &shown.contribution());
        }
    }
}

/// Publishes the events of shards.
#[pyclass(frozen, name = "Publisher", module = "propylon._core")]
pub(crate) struct PyPublisher(OfThisProcess<Outlet>);

impl PyPublisher {
    fn get(&self) -> PyResult<&Arc<Outlet>> {
        self.0.get().ok_or_else(errors::forked)
    }

    /// Shows what it has done, for as long as there is the publisher.
    pub(crate) fn show(&self, exhibit: &Arc<Exhibit>) -> PyResult<()> {
        let outlet = self.get()?;
        outlet.showing.begin(exhibit, outlet);
        Ok(())
    }
}

#[pymethods]
impl PyPublisher {
    /// `name` tells the process from others that publish.
    #[new]
    fn new(broker: &PyBroker, app: String, partitions: u32, name: &str) -> PyResult<Self> {
        let broker = Broker::clone(broker.get()?);
        let publisher = Publisher::new(JetStreamSink::new(broker.clone(), &app, name), partitions);
        control_runtime()?.spawn(publisher.clone().run());
        Ok(Self(OfThisProcess::new(Outlet {
            broker,
            app,
            publisher,
            archive: Arc::default(),
            showing: Showing::default(),
        })))
    }

    /// Takes the events of a shard from now on, which reach no event loop any more; publishes nothing before `renewed`.
    /// `published`: of the shard's session, the last sequence number by partition that its last owner has published.
    fn add(&self, shard: &PyShard, epoch: u64, published: HashMap<u32, u64>) -> PyResult<()> {
        let (id, state) = shard.shown()?;
        let state: &Arc<SharedState> = state;
        let tag = state.session().map_or(0, |session| tag_of(&session.id));
        self.get()?.publisher.add(state.queue(), id, epoch, Published { tag, last: published });
        Ok(())
    }

    /// The shard with this key publishes until then, in seconds of `time.monotonic()`; not where that had passed already.
    fn renewed(&self, key: u64, until: f64) -> PyResult<bool> {
        let now = clock::now();
        let left = Duration::try_from_secs_f64((until - monotonic(now)).max(0.0)).unwrap_or_default();
        Ok(self.get()?.publisher.renew(key, now + left))
    }

    /// It publishes nothing more.
    fn lost(&self, key: u64) -> PyResult<()> {
        self.get()?.publisher.fence(key);
        Ok(())
    }

    /// It has ended.
    fn remove(&self, key: u64) -> PyResult<()> {
        self.get()?.publisher.remove(key);
        Ok(())
    }

    /// Whether all that it received is published and kept.
    fn flushed(&self, key: u64) -> PyResult<bool> {
        Ok(self.get()?.publisher.is_settled(key))
    }

    /// What anybody has published of a session since that Unix time: the last sequence number by partition.
    fn published<'py>(&self, py: Python<'py>, session_id: &str, since: f64) -> PyResult<Bound<'py, PyAny>> {
        let outlet = Arc::clone(self.get()?);
        let tag = tag_of(session_id);
        await_in_python(py, async move {
            outlet.archive.published(&outlet.broker, &outlet.app, tag, since).await.map_err(failed)
        })
    }

    /// Why a message could not be sent, the last time since this was asked; nothing where there is no connection.
    fn trouble(&self) -> PyResult<Option<String>> {
        Ok(self.get()?.publisher.take_trouble().filter(|why| why != NOT_CONNECTED))
    }

    /// What it has counted.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = self.get()?.publisher.counts();
        let result = PyDict::new(py);
        for (name, counter) in [
            ("published_events", &counts.events),
            ("published_messages", &counts.messages),
            ("published_bytes", &counts.bytes),
            ("publish_retries", &counts.retries),
            ("known_events", &counts.known),
            ("fenced_events", &counts.fenced),
        ] {
            result.set_item(name, counter.load(Relaxed))?;
        }
        let oldest = counts.oldest.load(Relaxed);
        let lag = if oldest == 0 { 0 } else { (clock::now().as_nanos() as u64).saturating_sub(oldest) / 1_000_000 };
        result.set_item("publish_lag_milliseconds", lag)?;
        Ok(result)
    }

    /// Publishes nothing more.
    fn close(&self) -> PyResult<()> {
        self.get()?.publisher.close();
        Ok(())
    }
}

struct Inlet {
    broker: Broker,
    app: String,
    partition: u32,
    state: Arc<SharedState>,
    source: Mutex<Option<Arc<Source>>>,
    overlap: Mutex<Option<u32>>,
    /// Whether it reads no more.
    is_stopped: AtomicBool,
    showing: Showing,
}

impl Inlet {
    fn source(&self) -> Option<Arc<Source>> {
        self.source.lock().clone()
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.showing.end(self);
    }
}

impl Contributor for Inlet {
    fn contribution(&self) -> Contribution {
        let source = self.source();
        let read =
            |of: fn(&SourceCounts) -> &AtomicU64| source.as_ref().map_or(0, |source| of(source.counts()).load(Relaxed));
        let is_reading = source.is_some() && !self.is_stopped.load(Relaxed);
        Contribution::Intake {
            counters: Taken {
                events: read(|counts| &counts.events),
                messages: read(|counts| &counts.messages),
                redelivered: read(|counts| &counts.redelivered),
                dead: read(|counts| &counts.dead),
                expired: read(|counts| &counts.expired),
                stale: read(|counts| &counts.stale),
                overlapped: read(|counts| &counts.overlapped),
                known: read(|counts| &counts.known),
            },
            held: is_reading.then(|| HeldPartition {
                id: self.partition,
                unfinished: read(|counts| &counts.unfinished),
                lag: read(|counts| &counts.lag),
            }),
            state: Arc::clone(&self.state),
        }
    }
}

/// Reads the events of one partition.
#[pyclass(frozen, name = "Intake", module = "propylon._core")]
pub(crate) struct PyIntake(OfThisProcess<Inlet>);

impl PyIntake {
    fn get(&self) -> PyResult<&Arc<Inlet>> {
        self.0.get().ok_or_else(errors::forked)
    }

    /// Shows what it has read, for as long as there is the intake.
    pub(crate) fn show(&self, exhibit: &Arc<Exhibit>) -> PyResult<()> {
        let inlet = self.get()?;
        inlet.showing.begin(exhibit, inlet);
        Ok(())
    }
}

#[pymethods]
impl PyIntake {
    /// Gives its events to `shard`, which connects nowhere.
    #[new]
    fn new(broker: &PyBroker, app: String, partition: u32, shard: &PyShard) -> PyResult<Self> {
        let (_, state) = shard.shown()?;
        Ok(Self(OfThisProcess::new(Inlet {
            broker: Broker::clone(broker.get()?),
            app,
            partition,
            state: Arc::clone(state),
            source: Mutex::new(None),
            overlap: Mutex::new(None),
            is_stopped: AtomicBool::new(false),
            showing: Showing::default(),
        })))
    }

    /// Reads from now on; `epoch` is above those of all owners before.
    fn start<'py>(&self, py: Python<'py>, epoch: u64) -> PyResult<Bound<'py, PyAny>> {
        let inlet = Arc::clone(self.get()?);
        await_in_python(py, async move {
            let source = Source::start(&inlet.broker, &inlet.app, inlet.partition, &inlet.state, epoch);
            let source = Arc::new(source.await.map_err(failed)?);
            if inlet.source.lock().replace(Arc::clone(&source)).is_some() {
                return Err(PyRuntimeError::new_err("the intake was started twice"));
            }
            source.set_overlap(*inlet.overlap.lock());
            Ok(())
        })
    }

    /// The number of the last event that was given to the shard.
    #[getter]
    fn last(&self) -> PyResult<u64> {
        Ok(self.get()?.source().map_or(0, |source| source.counts().last.load(Relaxed)))
    }

    /// Seconds for which what is not acknowledged is kept; infinite where that has no end.
    #[getter]
    fn keeps(&self) -> PyResult<f64> {
        let keeps = self.get()?.source().map_or(Duration::ZERO, |source| source.keeps());
        Ok(if keeps.is_zero() { f64::INFINITY } else { keeps.as_secs_f64() })
    }

    /// Every event up to this number is dealt with.
    fn finished(&self, number: u64) -> PyResult<()> {
        if let Some(source) = self.get()?.source() {
            source.finished(number);
        }
        Ok(())
    }

    /// Two fleets bring events, the old one of so many shards: what they both bring is given out once. `None`: no longer.
    #[pyo3(signature = (old, /))]
    fn overlap(&self, old: Option<u32>) -> PyResult<()> {
        *self.get()?.overlap.lock() = old;
        if let Some(source) = self.get()?.source() {
            source.set_overlap(old);
        }
        Ok(())
    }

    /// Reads nothing more; what was told to be finished is acknowledged when it returns. Raises `TimeoutError` where that
    /// takes longer than an answer of the broker may.
    fn stop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let inlet = self.get()?;
        inlet.is_stopped.store(true, Relaxed);
        let source = inlet.source();
        await_in_python(py, async move {
            if let Some(source) = source {
                source.stop().await.map_err(failed)?;
            }
            Ok(())
        })
    }

    /// What became of messages since the last call, for the log.
    fn news(&self) -> PyResult<Vec<(&'static str, String)>> {
        let news = self.get()?.source().map(|source| source.news()).unwrap_or_default();
        Ok(news
            .into_iter()
            .map(|news| match news {
                News::Dead(reason) => ("dead", reason),
                News::Expired(number) => ("expired", number.to_string()),
                News::Failed(why) => ("failed", why),
            })
            .collect())
    }

    /// What it has counted.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let result = PyDict::new(py);
        let Some(source) = self.get()?.source() else { return Ok(result) };
        let counts = source.counts();
        for (name, counter) in [
            ("events", &counts.events),
            ("messages", &counts.messages),
            ("redelivered", &counts.redelivered),
            ("dead", &counts.dead),
            ("expired", &counts.expired),
            ("stale", &counts.stale),
            ("overlapped", &counts.overlapped),
            ("known", &counts.known),
            ("unfinished", &counts.unfinished),
            ("lag", &counts.lag),
        ] {
            result.set_item(name, counter.load(Relaxed))?;
        }
        Ok(result)
    }
}
