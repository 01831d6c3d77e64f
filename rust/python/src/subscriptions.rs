//! `_core.Subscriptions`: who listens to what, and who records it, for one shard or for several.

use std::sync::Arc;

use propylon_core::{
    delivery::{Slot, Subscriptions},
    protocol::event::{EventSet, EventType},
    recording::Recorders,
};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{errors, filter::PyFilter, projection::PyProjection, runtime::OfThisProcess};

#[derive(Default)]
struct Inner {
    subscriptions: Arc<Subscriptions>,
    recorders: Arc<Recorders>,
}

/// The slots of a listener face, as the engine asks them, and its recordings.
#[pyclass(frozen, name = "Subscriptions", module = "propylon._core")]
pub(crate) struct PySubscriptions(OfThisProcess<Inner>);

impl PySubscriptions {
    pub(crate) fn get(&self) -> PyResult<&Arc<Subscriptions>> {
        Ok(&self.0.get().ok_or_else(errors::forked)?.subscriptions)
    }

    pub(crate) fn recorders(&self) -> PyResult<&Arc<Recorders>> {
        Ok(&self.0.get().ok_or_else(errors::forked)?.recorders)
    }
}

/// A name that no table has stands for all such names, `*` for every event.
fn set_of(events: &[String]) -> EventSet {
    if events.iter().any(|name| name == "*") {
        return EventSet::ALL;
    }
    events.iter().map(|name| EventType::from_name(name.as_bytes()).unwrap_or(EventType::UNKNOWN)).collect()
}

#[pymethods]
impl PySubscriptions {
    #[new]
    fn new() -> Self {
        Self(OfThisProcess::new(Inner::default()))
    }

    /// Asks a slot for these events too; `filter` is `None` for slot 0 and for no other. The generation from which on
    /// events may have matched it. With no events: only the next generation.
    fn add(&self, slot: Slot, filter: Option<PyRef<'_, PyFilter>>, events: Vec<String>) -> PyResult<u64> {
        if (slot == 0) != filter.is_none() {
            return Err(PyValueError::new_err("slot 0 is the one without a filter"));
        }
        Ok(self.get()?.add(slot, filter.as_deref().map(PyFilter::get), set_of(&events)))
    }

    /// Of an event that this slot matches, its listeners want this part only; `None`: all of it, as from the beginning. To be
    /// told before the `add` from which on somebody is there who wants more.
    #[pyo3(signature = (slot, event, projection=None))]
    fn project(&self, slot: Slot, event: &str, projection: Option<&PyProjection>) -> PyResult<()> {
        let Some(event) = EventType::from_name(event.as_bytes()) else {
            return Err(PyValueError::new_err(format!("no table has an event {event:?}")));
        };
        self.get()?.project(slot, event, projection.map(|projection| projection.get().clone()));
        Ok(())
    }

    /// Asks it for these events no more. The generation from which on nothing matches it.
    fn remove(&self, slot: Slot, events: Vec<String>) -> PyResult<u64> {
        Ok(self.get()?.remove(slot, set_of(&events)))
    }
}
