//! The threads of the engine, for all gateways of the process: a tokio runtime each, of one thread. They run what must
//! not depend on Python, never attach to it and own no Python object, so that they can be joined at
//! exit whatever Python is doing.

use std::{process, sync::Arc, thread, time::Duration};

use parking_lot::Mutex;
use propylon_core::moderation::Moderation;
use pyo3::{exceptions::PyValueError, prelude::*};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::control;

/// So many shards get a thread before there is another one. One reads, inflates and scans 600,000 unheard events in a
/// second, more than Discord sends to any bot; a second one beside it only adds wake-ups. What needs more is a flood over
/// many shards.
const SHARDS: usize = 16;
/// So many threads there are at most, however many cores: Python is the first to have too much to do.
const THREADS: usize = 4;
/// Another number of threads, for a process: that many, as soon as there are shards for them.
const VARIABLE: &str = "PROPYLON_IO_THREADS";
const MOST: usize = 64;

/// How many threads there may be, and how many shards each gets before the next is started.
fn threads() -> PyResult<(usize, usize)> {
    // While attached: Python changes the environment only so, and the C library does not lock it.
    let Some(told) = std::env::var_os(VARIABLE).filter(|told| !told.is_empty()) else {
        return Ok((thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS)), SHARDS));
    };
    let number = told.to_str().and_then(|told| told.trim().parse().ok()).filter(|told| (1..=MOST).contains(told));
    let number = number.ok_or_else(|| {
        PyValueError::new_err(format!(
            "{VARIABLE} must be a whole number from 1 to {MOST}, not {:?}",
            told.to_string_lossy()
        ))
    })?;
    Ok((number, 1))
}

struct IoThread {
    runtime: Runtime,
    moderation: Arc<Moderation>,
}

impl IoThread {
    fn start() -> PyResult<Self> {
        let moderation = Arc::new(Moderation::default());
        let resting = Arc::clone(&moderation);
        // Not one runtime of several threads: a worker that is about to park counts there as one that looks for work, so
        // that while it rests the others would not be woken; and a shard would wander from cache to cache.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("propylon-io")
            .enable_all()
            .on_thread_park(move || resting.rest())
            .on_thread_unpark(Moderation::woken)
            .build()?;
        Ok(Self { runtime, moderation })
    }
}

struct Engine {
    threads: Vec<IoThread>,
    most: usize,
    shards_each: usize,
    pid: u32,
}

impl Engine {
    /// The thread for one more shard.
    fn place(&mut self) -> PyResult<&IoThread> {
        let room = self.threads.iter().position(|thread| thread.moderation.shards() < self.shards_each);
        let place = match room {
            Some(place) => place,
            None if self.threads.len() < self.most => match IoThread::start() {
                Ok(thread) => {
                    self.threads.push(thread);
                    self.threads.len() - 1
                }
                Err(error) if self.threads.is_empty() => return Err(error),
                // The system gives no more; those that are there take it.
                Err(_) => self.idlest(),
            },
            None => self.idlest(),
        };
        Ok(&self.threads[place])
    }

    fn idlest(&self) -> usize {
        (0..self.threads.len()).min_by_key(|&at| self.threads[at].moderation.shards()).unwrap_or_default()
    }
}

static ENGINE: Mutex<Option<Engine>> = Mutex::new(None);

/// The runtime for one more shard, and its moderation, started on first use; anew in a forked child, whose copy has no
/// threads.
pub(crate) fn engine() -> PyResult<(Handle, Arc<Moderation>)> {
    let mut engine = ENGINE.lock();
    let pid = process::id();
    if let Some(stale) = engine.take_if(|engine| engine.pid != pid) {
        // Its threads live in the parent only; shutting it down here would wait for them for ever.
        std::mem::forget(stale);
    }
    let engine = match &mut *engine {
        Some(engine) => engine,
        none => {
            let (most, shards_each) = threads()?;
            none.insert(Engine { threads: Vec::new(), most, shards_each, pid })
        }
    };
    let IoThread { runtime, moderation } = engine.place()?;
    Ok((runtime.handle().clone(), Arc::clone(moderation)))
}

/// Stops and joins the engine's threads. Called at exit, before the interpreter is finalised; does
/// nothing in a forked child.
#[pyfunction]
pub(crate) fn shutdown(py: Python<'_>, timeout: f64) {
    py.detach(|| {
        let timeout = Duration::from_secs_f64(timeout);
        // Those attach to Python; what they do may need the engine's.
        control::shutdown(timeout);
        let engine = ENGINE.lock().take();
        match engine {
            Some(engine) if engine.pid == process::id() => {
                // One that does not end takes no time from the others.
                thread::scope(|scope| {
                    for thread in engine.threads {
                        scope.spawn(move || thread.runtime.shutdown_timeout(timeout));
                    }
                });
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
