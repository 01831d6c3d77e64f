//! `_core.Filter`: a compiled `where=` expression.

use propylon_core::delivery::Filter;
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::dispatch::PyDispatch;

/// One filter: what `propylon._filters` describes in JSON.
#[pyclass(frozen, name = "Filter", module = "propylon._core")]
pub(crate) struct PyFilter(Filter);

impl PyFilter {
    pub(crate) fn get(&self) -> &Filter {
        &self.0
    }
}

#[pymethods]
impl PyFilter {
    #[new]
    fn new(description: &str) -> PyResult<Self> {
        Filter::parse(description).map(Self).map_err(|error| PyValueError::new_err(error.0))
    }

    /// Whether an event, or the JSON text of its `d`, matches.
    fn matches(&self, subject: &Bound<'_, PyAny>) -> PyResult<bool> {
        if let Ok(dispatch) = subject.cast::<PyDispatch>() {
            return Ok(self.0.matches(dispatch.get().raw_bytes()));
        }
        Ok(self.0.matches(subject.extract()?))
    }
}
