//! `_core.Recorder` and `_core.RecordingReader`: events into files and out of them. Both may wait for a disk, and let go of
//! Python meanwhile.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use propylon_core::{
    delivery::{Notice, Overflow, QueueConfig, ShardQueue, Subscriptions},
    recording::{Reader, Record, Recorder, RecorderConfig, SECRET_KEYS},
};
use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
    types::PyBytes,
};

use crate::{errors, hub::PyHub, options::next_key, runtime::OfThisProcess, subscriptions::PySubscriptions};

struct Inner {
    /// Carries the word of a disk that refuses.
    queue: Arc<ShardQueue>,
    config: RecorderConfig,
    selection: Arc<Subscriptions>,
    begun: AtomicBool,
    recorder: Mutex<Option<Arc<Recorder>>>,
}

/// One recording.
#[pyclass(frozen, name = "Recorder", module = "propylon._core")]
pub(crate) struct PyRecorder(OfThisProcess<Inner>);

impl PyRecorder {
    fn get(&self) -> PyResult<&Arc<Inner>> {
        self.0.get().ok_or_else(errors::forked)
    }
}

#[pymethods]
impl PyRecorder {
    /// `selection` says which events are recorded.
    #[new]
    fn new(
        path: PathBuf,
        selection: &PySubscriptions,
        secrets: bool,
        max_bytes: Option<u64>,
        queue_bytes: usize,
    ) -> PyResult<Self> {
        let limits = QueueConfig { bytes: 0, events: 0, overflow: Overflow::Pause };
        Ok(Self(OfThisProcess::new(Inner {
            queue: Arc::new(ShardQueue::new(next_key(), limits)),
            config: RecorderConfig { path, secrets, max_bytes, queue_bytes },
            selection: Arc::clone(selection.get()?),
            begun: AtomicBool::new(false),
            recorder: Mutex::default(),
        })))
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

    /// Opens the file, and takes the events of all shards of `subscriptions` from their next batch on; `("warn", text)` tells
    /// of the first error of the disk. Raises `OSError`.
    fn start(&self, py: Python<'_>, subscriptions: &PySubscriptions) -> PyResult<()> {
        let inner = self.get()?;
        // Nothing is locked meanwhile: whoever waits for it would keep Python to itself.
        if inner.begun.swap(true, Relaxed) {
            return Err(PyRuntimeError::new_err("the recording has begun already"));
        }
        let queue = Arc::clone(&inner.queue);
        let tell = move |text| queue.notify(Notice::Warn(text));
        let started = py.detach(|| Recorder::start(&inner.config, Arc::clone(&inner.selection), tell))?;
        let recorder = Arc::new(started);
        subscriptions.recorders()?.add(&recorder);
        *inner.recorder.lock() = Some(recorder);
        Ok(())
    }

    /// Takes no further event, and waits for `patience` seconds at most until all are in the file; whether they are.
    fn stop(&self, py: Python<'_>, subscriptions: &PySubscriptions, patience: f64) -> PyResult<bool> {
        let Some(recorder) = self.get()?.recorder.lock().clone() else { return Ok(true) };
        subscriptions.recorders()?.remove(&recorder);
        let patience = Duration::try_from_secs_f64(patience).unwrap_or_default();
        Ok(py.detach(|| recorder.stop(patience)))
    }

    /// `(events, bytes, dropped, redacted, error)`.
    fn counts(&self) -> PyResult<(u64, u64, u64, u64, Option<String>)> {
        let recorder = self.get()?.recorder.lock().clone();
        let counts = recorder.map(|recorder| recorder.counts()).unwrap_or_default();
        Ok((counts.events, counts.bytes, counts.dropped, counts.redacted, counts.error))
    }
}

/// Bytes of payloads that are read in one go.
const ENOUGH: usize = 1024 * 1024;

/// As Python gets it: `(type, sequence, shard, at, guild_change, redacted, raw)`.
type Facts<'py> = (String, Option<u64>, (u32, u32), f64, Option<String>, Vec<String>, Bound<'py, PyBytes>);

/// Reads one recording from its beginning, for one reader.
#[pyclass(frozen, name = "RecordingReader", module = "propylon._core")]
pub(crate) struct PyRecordingReader(Mutex<State>);

struct State {
    reader: Reader,
    /// Came behind events that were given first.
    error: Option<io::Error>,
}

#[pymethods]
impl PyRecordingReader {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let reader = py.detach(|| Reader::new(&path))?;
        Ok(Self(Mutex::new(State { reader, error: None })))
    }

    /// The next events, `count` of them at most; none at the end. What stands before an error is given first. Raises
    /// `ValueError` for what is no recording, and `OSError`.
    fn read<'py>(&self, py: Python<'py>, count: usize) -> PyResult<Vec<Facts<'py>>> {
        let records = py.detach(|| -> io::Result<Vec<Record>> {
            let mut state = self.0.lock();
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            let mut records = Vec::new();
            let mut bytes = 0;
            while records.len() < count && bytes < ENOUGH {
                match state.reader.read() {
                    Ok(Some(record)) => {
                        bytes += record.data.len();
                        records.push(record);
                    }
                    Ok(None) => break,
                    Err(error) if records.is_empty() => return Err(error),
                    Err(error) => {
                        state.error = Some(error);
                        break;
                    }
                }
            }
            Ok(records)
        });
        let records = records.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => PyValueError::new_err(error.to_string()),
            _ => error.into(),
        })?;
        let facts = |record: Record| {
            let Record { name, sequence, shard, at, guild_change, redacted, data } = record;
            (name, sequence, shard, at, guild_change, redacted, PyBytes::new(py, &data))
        };
        Ok(records.into_iter().map(facts).collect())
    }

    /// The files so far that ended within a frame or a line.
    #[getter]
    fn torn(&self) -> Vec<PathBuf> {
        self.0.lock().reader.torn().to_vec()
    }
}

/// The keys whose values are secret, wherever they stand in an event.
#[pyfunction]
pub(crate) fn secret_keys() -> [&'static str; 3] {
    SECRET_KEYS
}
