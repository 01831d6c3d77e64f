//! Where the engine's errors become Python exceptions.

use pyo3::{exceptions::PyRuntimeError, prelude::*};

/// A gateway of the parent process was used in a forked child: `propylon.ForkedError`.
pub(crate) fn forked() -> PyErr {
    Python::attach(|py| {
        let message = "this gateway belongs to the parent process; make a new one after fork()";
        let class = py.import("propylon.errors").and_then(|module| module.getattr("ForkedError"));
        match class.and_then(|class| class.call1((message,))) {
            Ok(error) => PyErr::from_value(error),
            Err(_) => PyRuntimeError::new_err(message),
        }
    })
}
