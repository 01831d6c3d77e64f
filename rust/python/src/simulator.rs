//! `_core.Simulator`: the gateway server of `propylon.testing`. Options, steps, conditions and records cross as JSON text.
//!
//! Its threads never attach to Python; everything that may block releases the GIL.

use std::str::FromStr;
use std::time::Duration;

use propylon_simulator::{Condition, Script, Simulator, SimulatorConfig, Step, Target};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

fn parse<T: FromStr<Err = String>>(what: &str, json: &str) -> PyResult<T> {
    json.parse().map_err(|error| PyValueError::new_err(format!("{what}: {error}")))
}

/// A Discord-compatible gateway server on 127.0.0.1; runs from construction to `stop()`.
#[pyclass(frozen, name = "Simulator", module = "propylon._core")]
pub(crate) struct PySimulator(Simulator);

#[pymethods]
impl PySimulator {
    #[new]
    fn new(py: Python<'_>, config: &str) -> PyResult<Self> {
        let config: SimulatorConfig = parse("simulator option", config)?;
        // `?` makes an OSError of the io::Error
        Ok(Self(py.detach(|| Simulator::start(config))?))
    }

    #[getter]
    fn url(&self) -> String {
        self.0.url()
    }

    #[getter]
    fn resume_url(&self) -> String {
        self.0.resume_url()
    }

    #[getter]
    fn api_url(&self) -> String {
        self.0.api_url()
    }

    #[getter]
    fn port(&self) -> u16 {
        self.0.port()
    }

    #[getter]
    fn ca_pem(&self) -> Option<String> {
        self.0.ca_pem()
    }

    /// `{"connection": selector, "steps": [...]}`.
    fn script(&self, py: Python<'_>, script: &str) -> PyResult<()> {
        let script: Script = parse("script", script)?;
        py.detach(|| self.0.script(script.connection, script.steps));
        Ok(())
    }

    /// A step for live connections; `target` and `step` as JSON.
    fn act(&self, py: Python<'_>, target: &str, step: &str) -> PyResult<()> {
        let target: Target = parse("connection", target)?;
        let step: Step = parse("step", step)?;
        py.detach(|| self.0.act(target, step)).map_err(PyRuntimeError::new_err)
    }

    /// An event with `d` as text, for one session or all; to how many sessions it went.
    #[pyo3(signature = (event, data, session=None))]
    fn dispatch(&self, py: Python<'_>, event: &str, data: Vec<u8>, session: Option<&str>) -> usize {
        py.detach(|| self.0.dispatch_json(event, data, session))
    }

    /// Events of one kind with guild and `d` each, for the sessions that have the guild; to how many they went in all.
    fn route(&self, py: Python<'_>, event: &str, events: Vec<(u64, Vec<u8>)>) -> usize {
        py.detach(|| self.0.route(event, events.into_iter().map(|(guild, data)| (guild, data.into()))))
    }

    /// Starts or stops the traffic; `rate` in events per second, 0 for flat out, None to leave it.
    #[pyo3(signature = (on, rate=None))]
    fn flood(&self, py: Python<'_>, on: bool, rate: Option<f64>) {
        py.detach(|| self.0.flood(on, rate));
    }

    /// The same for the traffic of the whole bot; there is no flat out.
    #[pyo3(signature = (on, rate=None))]
    fn flood_shared(&self, py: Python<'_>, on: bool, rate: Option<f64>) -> PyResult<()> {
        py.detach(|| self.0.flood_shared(on, rate)).map_err(PyValueError::new_err)
    }

    /// Everything that the server saw, as JSON, with or without the payloads that clients sent.
    fn record(&self, py: Python<'_>, payloads: bool) -> String {
        py.detach(|| if payloads { self.0.record() } else { self.0.record_without_payloads() }.to_string())
    }

    /// How a fleet is, in counts, as JSON.
    fn fleet(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.fleet().to_string())
    }

    /// Blocks until a condition holds, for at most `timeout` seconds; whether it holds.
    fn wait(&self, py: Python<'_>, condition: &str, timeout: f64) -> PyResult<bool> {
        let condition: Condition = parse("condition", condition)?;
        let timeout = Duration::try_from_secs_f64(timeout).unwrap_or_default();
        Ok(py.detach(|| self.0.wait(&condition, timeout)))
    }

    /// Stops the server and joins its threads; nothing the second time.
    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.0.stop());
    }
}
