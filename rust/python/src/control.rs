//! Control calls of a cluster: Rust futures that Python awaits, through pyo3-async-runtimes. Rare, long and cancellable; events
//! and the commands of a shard do not come this way.
//!
//! They run on a runtime of their own, made on first use. Its threads attach to Python in order to complete what Python
//! awaits, so that they are joined at exit while Python can still run, and from then on there is no other. The runtime is
//! handed to pyo3-async-runtimes by its trait: the one that it would make itself is kept for ever in a static, and cannot be
//! joined.

use std::{future::Future, pin::Pin, process, time::Duration};

use parking_lot::Mutex;
use pyo3::{
    exceptions::PyRuntimeError,
    prelude::*,
    types::{PyDict, PyTuple},
};
use pyo3_async_runtimes::{
    TaskLocals,
    generic::{self, ContextExt},
    get_running_loop,
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::{JoinError, JoinHandle},
};

/// Threads for what may wait: for Python, where a call is complete, and for the system's resolver.
const WAITING_THREADS: usize = 4;

struct Control {
    /// None: it has ended.
    runtime: Option<Runtime>,
    pid: u32,
}

static CONTROL: Mutex<Option<Control>> = Mutex::new(None);

/// Leaves the parent's runtime alone in a forked child: its threads are not here, and ending it would wait for them.
fn forget_stale(control: &mut Option<Control>) {
    if let Some(stale) = control.take_if(|control| control.pid != process::id()) {
        std::mem::forget(stale);
    }
}

/// The runtime of control calls and of what NATS needs, started on first use; anew in a forked child.
///
/// # Errors
/// The process ends, or the system has no thread left.
pub(crate) fn control_runtime() -> PyResult<Handle> {
    let mut control = CONTROL.lock();
    forget_stale(&mut control);
    let control = match &mut *control {
        Some(control) => control,
        none => {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .max_blocking_threads(WAITING_THREADS)
                .thread_name("propylon-control")
                .enable_all()
                .build()?;
            none.insert(Control { runtime: Some(runtime), pid: process::id() })
        }
    };
    let runtime = control.runtime.as_ref();
    runtime.map(|runtime| runtime.handle().clone()).ok_or_else(|| PyRuntimeError::new_err("the process ends"))
}

/// Drops what is under way, and joins the threads. Not attached to Python, which they may wait for.
pub(crate) fn shutdown(timeout: Duration) {
    let ended = {
        let mut control = CONTROL.lock();
        forget_stale(&mut control);
        // Not the state before the first use: a thread that nobody waits for may go on calling.
        control.replace(Control { runtime: None, pid: process::id() }).and_then(|control| control.runtime)
    };
    if let Some(runtime) = ended {
        runtime.shutdown_timeout(timeout);
    }
}

/// What pyo3-async-runtimes spawns on: the runtime that it is called in.
struct OnControl;

impl generic::Runtime for OnControl {
    type JoinError = JoinError;
    type JoinHandle = JoinHandle<()>;

    fn spawn<F>(future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Handle::current().spawn(future)
    }

    fn spawn_blocking<F>(work: F) -> JoinHandle<()>
    where
        F: FnOnce() + Send + 'static,
    {
        Handle::current().spawn_blocking(work)
    }
}

impl ContextExt for OnControl {
    fn scope<F, R>(_: TaskLocals, future: F) -> Pin<Box<dyn Future<Output = R> + Send>>
    where
        F: Future<Output = R> + Send + 'static,
    {
        // No future of ours awaits one of Python's, which is what the locals would be for.
        Box::pin(future)
    }

    fn get_task_locals() -> Option<TaskLocals> {
        None
    }
}

/// The event loop of a call, as pyo3-async-runtimes sees it. A call may be complete when its loop was closed; the loop itself
/// would raise, and the error be printed.
#[pyclass(frozen, name = "ControlLoop", module = "propylon._core")]
struct ControlLoop(Py<PyAny>);

#[pymethods]
impl ControlLoop {
    fn create_future(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.0.call_method0(py, "create_future")
    }

    #[pyo3(signature = (*args, **options))]
    fn call_soon_threadsafe(&self, args: &Bound<'_, PyTuple>, options: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let event_loop = self.0.bind(args.py());
        match event_loop.call_method("call_soon_threadsafe", args, options) {
            Ok(_) => Ok(()),
            // Nobody waits any more.
            Err(_) if event_loop.call_method0("is_closed")?.is_truthy()? => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A future of the running event loop that completes when `work` does, which runs on the control runtime. Cancelling it drops
/// `work`.
///
/// # Errors
/// No event loop runs in this thread, or the process ends.
pub(crate) fn await_in_python<F, T>(py: Python<'_>, work: F) -> PyResult<Bound<'_, PyAny>>
where
    F: Future<Output = PyResult<T>> + Send + 'static,
    T: for<'py> IntoPyObject<'py> + Send + 'static,
{
    let runtime = control_runtime()?;
    let event_loop = Bound::new(py, ControlLoop(get_running_loop(py)?.unbind()))?;
    let _inside = runtime.enter();
    generic::future_into_py_with_locals::<OnControl, F, T>(py, TaskLocals::new(event_loop.into_any()), work)
}
