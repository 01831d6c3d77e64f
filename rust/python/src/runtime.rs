//! The threads of the engine: one tokio runtime for all gateways of the process. They run what must
//! not depend on Python, never attach to it and own no Python object, so that they can be joined at
//! exit whatever Python is doing.

use std::{process, sync::Arc, time::Duration};

use parking_lot::Mutex;
use propylon_core::moderation::Moderation;
use pyo3::{exceptions::PyValueError, prelude::*};
use tokio::runtime::{Builder, Handle, Runtime};

/// One thread reads, inflates and scans 600,000 unheard events in a second, more than Discord sends
/// to any bot; a second one only adds wake-ups between them.
const THREADS: usize = 1;
/// Another number of threads, for a process.
const VARIABLE: &str = "PROPYLON_IO_THREADS";
const MOST: usize = 64;

fn threads() -> PyResult<usize> {
    // While attached: Python changes the environment only so, and the C library does not lock it.
    let Some(told) = std::env::var_os(VARIABLE).filter(|told| !told.is_empty()) else { return Ok(THREADS) };
    told.to_str().and_then(|told| told.trim().parse().ok()).filter(|told| (1..=MOST).contains(told)).ok_or_else(|| {
        PyValueError::new_err(format!(
            "{VARIABLE} must be a whole number from 1 to {MOST}, not {:?}",
            told.to_string_lossy()
        ))
    })
}

struct Engine {
    runtime: Runtime,
    moderation: Arc<Moderation>,
    pid: u32,
}

static ENGINE: Mutex<Option<Engine>> = Mutex::new(None);

/// The runtime and its moderation, started on first use; anew in a forked child, whose copy has no threads.
pub(crate) fn engine() -> PyResult<(Handle, Arc<Moderation>)> {
    let mut engine = ENGINE.lock();
    let pid = process::id();
    if let Some(stale) = engine.take_if(|engine| engine.pid != pid) {
        // Its threads live in the parent only; shutting it down here would wait for them for ever.
        std::mem::forget(stale);
    }
    if let Some(engine) = &*engine {
        return Ok((engine.runtime.handle().clone(), Arc::clone(&engine.moderation)));
    }
    let moderation = Arc::new(Moderation::default());
    let threads = threads()?;
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).thread_name("propylon-io").enable_all();
    if threads == 1 {
        // A worker that is about to park counts as one that looks for work: of several, the others would not be woken.
        let resting = Arc::clone(&moderation);
        builder.on_thread_park(move || resting.rest()).on_thread_unpark(Moderation::woken);
    }
    let runtime = builder.build()?;
    let handle = runtime.handle().clone();
    *engine = Some(Engine { runtime, moderation: Arc::clone(&moderation), pid });
    Ok((handle, moderation))
}

/// Stops and joins the engine's threads. Called at exit, before the interpreter is finalised; does
/// nothing in a forked child.
#[pyfunction]
pub(crate) fn shutdown(py: Python<'_>, timeout: f64) {
    py.detach(|| {
        let engine = ENGINE.lock().take();
        match engine {
            Some(engine) if engine.pid == process::id() => {
                engine.runtime.shutdown_timeout(Duration::from_secs_f64(timeout));
            }
            Some(stale) => std::mem::forget(stale),
            None => {}
        }
    });
}

/// A thing that belongs to the process that made it.
pub(crate) struct OfThisProcess<T> {
    pid: u32,
    value: Option<Arc<T>>,
}

impl<T> OfThisProcess<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { pid: process::id(), value: Some(Arc::new(value)) }
    }

    pub(crate) fn get(&self) -> Option<&Arc<T>> {
        self.value.as_ref().filter(|_| self.pid == process::id())
    }
}

impl<T> Drop for OfThisProcess<T> {
    fn drop(&mut self) {
        if self.pid != process::id() {
            // Dropping would touch locks that a thread of the parent may have held at the fork.
            std::mem::forget(self.value.take());
        }
    }
}
