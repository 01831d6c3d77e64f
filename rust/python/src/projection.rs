//! `_core.Projection`: the fields that a narrow class names.

use propylon_core::delivery::{Parts, Projection, Projections};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict},
};

/// The fields of an event that are wanted, and of those what.
#[pyclass(frozen, name = "Projection", module = "propylon._core")]
pub(crate) struct PyProjection(Projection);

impl PyProjection {
    pub(crate) fn get(&self) -> &Projection {
        &self.0
    }
}

fn parse(wanted: &Bound<'_, PyDict>) -> PyResult<Projection> {
    let mut projection = Projection::default();
    for (name, parts) in wanted {
        let parts = if parts.is_none() { None } else { Some(parse(parts.cast()?)?) };
        projection.want(name.extract()?, parts);
    }
    Ok(projection)
}

#[pymethods]
impl PyProjection {
    /// Names of fields, to `None` for all of a field, or to the same again for parts of an object.
    #[new]
    fn new(wanted: &Bound<'_, PyDict>) -> PyResult<Self> {
        parse(wanted).map(Self)
    }

    /// What is left of the JSON text of an event; `None` where it cannot be cut.
    fn cut<'py>(&self, py: Python<'py>, data: &[u8]) -> Option<Bound<'py, PyBytes>> {
        let wanted = Projections::One(self.0.clone().into());
        Parts::default().cut(&wanted, data).map(|part| PyBytes::new(py, &part))
    }
}
