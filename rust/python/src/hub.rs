//! `_core.Hub`: what one event loop waits on and drains.

use std::sync::Arc;

use propylon_core::{
    delivery::{Drained, Hub, Level, Notice, Slot, Waker},
    protocol::close_code::FatalClose,
    session::{ConnectFailureKind, Ended, Fault, SendError},
};
use pyo3::{
    prelude::*,
    types::{PyList, PyTuple},
};

use crate::{dispatch::PyDispatch, runtime::OfThisProcess};

/// Delivery to one event loop.
#[pyclass(frozen, name = "Hub", module = "propylon._core")]
pub(crate) struct PyHub(OfThisProcess<Hub>);

impl PyHub {
    pub(crate) fn get(&self) -> PyResult<&Arc<Hub>> {
        self.0.get().ok_or_else(crate::errors::forked)
    }
}

#[pymethods]
impl PyHub {
    /// With `pair`, a pair of sockets wakes the loop on every system, as it does where there is nothing better.
    #[new]
    #[pyo3(signature = (*, pair=false))]
    fn new(pair: bool) -> PyResult<Self> {
        let waker = if pair { Waker::pair()? } else { Waker::new()? };
        Ok(Self(OfThisProcess::new(Hub::new(waker))))
    }

    /// The file descriptor that turns readable when there is something to drain.
    #[getter]
    fn fd(&self) -> PyResult<i64> {
        Ok(self.get()?.descriptor())
    }

    /// Up to `limit` events: `(notices, batches)`; a notice is `(key, kind, ...)`, a batch is
    /// `(key, generation, dispatches, routes)`. A route is the number of the event in its lowest byte and the slots
    /// below 64 above that; where there are others, a tuple of this and their numbers.
    fn drain<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyTuple>> {
        let Drained { notices, batches } = self.get()?.drain(limit);
        let heard = PyList::empty(py);
        for (key, dispatches) in batches {
            let mut rest = dispatches.into_iter().peekable();
            while let Some(first) = rest.peek() {
                let generation = first.heard.generation;
                let mut run = Vec::new();
                let mut routes: Vec<Bound<'py, PyAny>> = Vec::new();
                // Events in a row are mostly of one kind: one object for all of them, which Python tells by identity.
                let mut last = None;
                while let Some(dispatch) = rest.next_if(|next| next.heard.generation == generation) {
                    let low = PyDispatch::route(&dispatch);
                    let route = match (last, &dispatch.heard.high) {
                        (Some((other, object)), None) if other == low => object,
                        (_, None) => low.into_pyobject(py)?.into_any(),
                        (_, Some(high)) => route_of_many(py, low, high)?,
                    };
                    last = dispatch.heard.high.is_none().then(|| (low, route.clone()));
                    routes.push(route);
                    run.push(Bound::new(py, PyDispatch::of_shard(dispatch, key))?);
                }
                heard.append((key, generation, PyList::new(py, run)?, PyList::new(py, routes)?))?;
            }
        }
        let news = PyList::empty(py);
        for (key, notice) in notices {
            news.append(news_item(py, key, notice)?)?;
        }
        (news, heard).into_pyobject(py)
    }
}

/// What tells of slots beyond 64: a tuple of what tells of the others, and their numbers.
fn route_of_many<'py>(py: Python<'py>, low: u128, high: &[Slot]) -> PyResult<Bound<'py, PyAny>> {
    let mut route = vec![low.into_pyobject(py)?.into_any()];
    for slot in high {
        route.push(slot.into_pyobject(py)?.into_any());
    }
    Ok(PyTuple::new(py, route)?.into_any())
}

fn send_error(outcome: Result<(), SendError>) -> Option<&'static str> {
    match outcome {
        Ok(()) => None,
        Err(SendError::NotConnected) => Some("not connected"),
        Err(SendError::QueueFull) => Some("queue full"),
    }
}

fn kind_name(kind: ConnectFailureKind) -> &'static str {
    match kind {
        ConnectFailureKind::Unreachable => "unreachable",
        ConnectFailureKind::Timeout => "timeout",
        ConnectFailureKind::ProxyRefused => "proxy refused",
        ConnectFailureKind::RateLimited => "rate limited",
        ConnectFailureKind::Certificate => "certificate",
        ConnectFailureKind::Handshake => "handshake",
        ConnectFailureKind::Unauthorized => "unauthorized",
        ConnectFailureKind::Config => "config",
    }
}

fn ended(py: Python<'_>, how: Ended) -> PyResult<Bound<'_, PyTuple>> {
    match how {
        Ended::ByUser => ("by user",).into_pyobject(py),
        Ended::Fatal { close, reason, application_flags } => {
            ("fatal", close.code(), reason, close.advice(), application_flags).into_pyobject(py)
        }
        Ended::Unauthorized { reason } => {
            ("fatal", None::<u16>, reason, FatalClose::AuthenticationFailed.advice(), None::<u64>).into_pyobject(py)
        }
        Ended::BudgetExhausted { resets_at } => ("budget exhausted", resets_at).into_pyobject(py),
        Ended::NotRemade { code, reason } => ("not remade", code, reason).into_pyobject(py),
        Ended::TakenOver => ("taken over",).into_pyobject(py),
        Ended::Unreachable(failure) => ("unreachable", kind_name(failure.kind), failure.message).into_pyobject(py),
    }
}

fn news_item(py: Python<'_>, key: u64, notice: Notice) -> PyResult<Bound<'_, PyTuple>> {
    match notice {
        Notice::Ready { resumed } => (key, "ready", resumed).into_pyobject(py),
        Notice::GuildsReady => (key, "guilds ready").into_pyobject(py),
        Notice::Closed(closed) => {
            let error = match (closed.error, closed.fault) {
                (Some(how), _) => Some(ended(py, how)?),
                (None, Some(Fault::Decompression)) => {
                    Some(("decompression", closed.reason.as_str()).into_pyobject(py)?)
                }
                (None, Some(Fault::TooLarge)) => Some(("too large", closed.reason.as_str()).into_pyobject(py)?),
                (None, None) => None,
            };
            (key, "closed", closed.code, closed.reason, error, closed.reconnect).into_pyobject(py)
        }
        Notice::ConnectFailed(failure, delay) => {
            (key, "connect failed", kind_name(failure.kind), failure.message, delay.as_secs_f64()).into_pyobject(py)
        }
        Notice::Ended(how) => (key, "ended", ended(py, how)?).into_pyobject(py),
        Notice::CommandDone(id, outcome) => (key, "done", id, send_error(outcome)).into_pyobject(py),
        Notice::Reply(dispatch) => (key, "reply", PyDispatch::from(dispatch)).into_pyobject(py),
        Notice::PermitWanted(number, max_concurrency) => {
            (key, "permit wanted", number, max_concurrency).into_pyobject(py)
        }
        Notice::PermitOver(number) => (key, "permit over", number).into_pyobject(py),
        Notice::GatewayBot(answer) => match answer {
            Ok(bot) => {
                let limit = bot
                    .session_start_limit
                    .map(|limit| (limit.total, limit.remaining, limit.reset_after as f64 / 1e3, limit.max_concurrency));
                (key, "gateway bot", bot.url, bot.shards, limit).into_pyobject(py)
            }
            Err(failure) => (key, "no answer", ended(py, Ended::of_failure(failure))?).into_pyobject(py),
        },
        Notice::CheckLease(check) => (key, "check lease", check).into_pyobject(py),
        Notice::Warn(text) => (key, "warn", text).into_pyobject(py),
        Notice::Log(Level::Debug, text) => (key, "debug", text).into_pyobject(py),
        Notice::Log(Level::Info, text) => (key, "info", text).into_pyobject(py),
    }
}
