//! What the shards of a fleet share, as Python holds it: room for events, the account of two fleets that overlap, and
//! the question how many shards there should be.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use propylon_core::{
    clock,
    delivery::{CommonRoom, Overflow, Overlap, QueueConfig, ShardQueue},
    shard::{ShardConfig, inquire},
};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyDict};
use tokio::task::JoinHandle;

use crate::{errors, hub::PyHub, options, runtime, runtime::OfThisProcess};

/// Bytes of events that the queues of several shards share.
#[pyclass(frozen, name = "Room", module = "propylon._core")]
pub(crate) struct PyRoom(pub(crate) OfThisProcess<CommonRoom>);

#[pymethods]
impl PyRoom {
    #[new]
    fn new(limit: usize, shards: usize) -> Self {
        Self(OfThisProcess::new(CommonRoom::new(limit, shards)))
    }

    /// Bytes that wait.
    #[getter]
    fn used(&self) -> PyResult<usize> {
        Ok(self.0.get().ok_or_else(errors::forked)?.used())
    }
}

/// What two fleets of one bot bring.
#[pyclass(frozen, name = "Overlap", module = "propylon._core")]
pub(crate) struct PyOverlap(pub(crate) OfThisProcess<Overlap>);

impl PyOverlap {
    fn get(&self) -> PyResult<&Arc<Overlap>> {
        self.0.get().ok_or_else(errors::forked)
    }
}

#[pymethods]
impl PyOverlap {
    #[new]
    fn new() -> Self {
        Self(OfThisProcess::new(Overlap::new()))
    }

    /// All shards of the new fleet are ready.
    fn ready(&self, py: Python<'_>) -> PyResult<()> {
        let overlap = Arc::clone(self.get()?);
        // A million events may have been counted.
        py.detach(|| overlap.ready());
        Ok(())
    }

    /// From now on both fleets deliver, each what the other has not.
    fn switch(&self) -> PyResult<()> {
        self.get()?.switch();
        Ok(())
    }

    /// Nobody has anything left to replay from before all shards of the new fleet were ready.
    fn settle(&self, py: Python<'_>) -> PyResult<()> {
        let overlap = Arc::clone(self.get()?);
        py.detach(|| overlap.settle());
        Ok(())
    }

    /// The old fleet has closed; what it brought longer than `window` seconds ago is forgotten.
    fn finish(&self, py: Python<'_>, window: f64) -> PyResult<()> {
        let window =
            Duration::try_from_secs_f64(window).map_err(|error| PyValueError::new_err(format!("window: {error}")))?;
        let overlap = Arc::clone(self.get()?);
        py.detach(|| overlap.finish(clock::now(), window));
        Ok(())
    }

    /// Events dropped since the switch, because the other fleet had delivered them.
    #[getter]
    fn dropped(&self) -> PyResult<u64> {
        Ok(self.get()?.dropped())
    }
}

struct Asked {
    queue: Arc<ShardQueue>,
    config: ShardConfig,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().take() {
            task.abort();
        }
    }
}

/// A question to the API, `GET /gateway/bot`; its notices have the key, as a shard's.
#[pyclass(frozen, name = "Inquiry", module = "propylon._core")]
pub(crate) struct PyInquiry(OfThisProcess<Asked>);

impl PyInquiry {
    fn get(&self) -> PyResult<&Arc<Asked>> {
        self.0.get().ok_or_else(errors::forked)
    }
}

#[pymethods]
impl PyInquiry {
    /// `given` are the options of a shard.
    #[new]
    fn new(given: &Bound<'_, PyDict>) -> PyResult<Self> {
        let mut config = options::config_of(given)?;
        config.check().map_err(|error| PyValueError::new_err(error.0))?;
        if options::asks_environment(given)? {
            config.proxies = options::proxies_of_environment();
        }
        let limits = QueueConfig { bytes: 0, events: 0, overflow: Overflow::Pause };
        let queue = Arc::new(ShardQueue::new(options::next_key(), limits));
        Ok(Self(OfThisProcess::new(Asked { queue, config, task: Mutex::default() })))
    }

    /// How its notices are told from those of shards.
    #[getter]
    fn key(&self) -> PyResult<u64> {
        Ok(self.get()?.queue.key())
    }

    /// Binds its notices to `hub`, or to nothing.
    #[pyo3(signature = (hub))]
    fn bind(&self, hub: Option<&PyHub>) -> PyResult<()> {
        let queue = &self.get()?.queue;
        match hub {
            Some(hub) => hub.get()?.bind(queue),
            None => queue.unbind(),
        }
        Ok(())
    }

    /// Asks; `("gateway bot", url, shards, limit)` or `("no answer", how)` follows.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let asked = self.get()?;
        let (runtime, _) = runtime::engine()?;
        // Reading root certificates can touch the disk.
        let task = py.detach(|| inquire(&runtime, &asked.config, &asked.queue));
        *asked.task.lock() = Some(task.map_err(|error| PyValueError::new_err(error.0))?);
        Ok(())
    }
}
