//! `propylon._core`: the engine behind `PyO3`. Thin: the engine is `propylon-core`, the face is the
//! Python package.
#![allow(clippy::needless_pass_by_value, clippy::unused_self)] // PyO3 fixes the signatures of what Python calls.

use pyo3::prelude::*;

mod admin;
mod cluster;
mod cluster_events;
mod control;
mod dispatch;
mod errors;
mod filter;
mod fleet;
mod hub;
mod interpreter;
mod options;
mod projection;
mod recording;
mod runtime;
mod shard;
mod simulator;
mod subscriptions;

/// The compiled part of propylon. Private: use the names of `propylon`.
#[pymodule]
mod _core {
    use propylon_core::protocol::{event::EventType, intents::Intents};
    use pyo3::{prelude::*, types::PyDict};

    #[pymodule_export]
    use super::admin::{PyAdmin, PyWatch};
    #[pymodule_export]
    use super::cluster::{PyBroker, PyKeyWatch, PyQuestions};
    #[pymodule_export]
    use super::cluster_events::{PyIntake, PyPublisher};
    #[pymodule_export]
    use super::dispatch::{PyDispatch, note_mended, owner, set_decoders, widen};
    #[pymodule_export]
    use super::filter::PyFilter;
    #[pymodule_export]
    use super::fleet::{PyInquiry, PyOverlap, PyRoom};
    #[pymodule_export]
    use super::hub::PyHub;
    #[pymodule_export]
    use super::projection::PyProjection;
    #[pymodule_export]
    use super::recording::{PyRecorder, PyRecordingReader, secret_keys};
    #[pymodule_export]
    use super::runtime::shutdown;
    #[pymodule_export]
    use super::shard::PyShard;
    #[pymodule_export]
    use super::simulator::PySimulator;
    #[pymodule_export]
    use super::subscriptions::PySubscriptions;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::admin::loaded();
        super::interpreter::only_the_main_one(module.py())
    }

    /// Whether this is a debug build: an order of magnitude slower, not for use.
    #[pymodule_export]
    const DEBUG_BUILD: bool = cfg!(debug_assertions);

    /// Event name to the intents of which any one delivers it; 0: always sent.
    #[pyfunction]
    fn event_intents(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let table = PyDict::new(py);
        for event in EventType::all() {
            table.set_item(event.name(), event.intents())?;
        }
        Ok(table)
    }

    /// Event name to its number in routes.
    #[pyfunction]
    fn event_index(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let table = PyDict::new(py);
        for event in EventType::all() {
            table.set_item(event.name(), event.index())?;
        }
        table.set_item("UNKNOWN", EventType::UNKNOWN.index())?;
        Ok(table)
    }

    /// `(name, bit, privileged)` of every intent.
    #[pyfunction]
    fn intents_table() -> Vec<(&'static str, u8, bool)> {
        Intents::TABLE.iter().map(|intent| (intent.name, intent.bit, intent.privileged)).collect()
    }
}
