//! Which interpreter of the process asks for the engine: only the main one gets it.
#![allow(unsafe_code)] // PyO3 has no safe way to ask for the interpreter's number.

use pyo3::{exceptions::PyImportError, ffi, prelude::*};

/// The main interpreter's number (PEP 734).
const MAIN: i64 = 0;

/// # Errors
/// `ImportError` in a sub-interpreter. `PyO3`'s classes are one per process, and a process whose sub-interpreter has
/// made them does not end: its finalisation waits for ever (seen on 3.11). The interpreter itself refuses only those
/// that have a GIL of their own.
pub(crate) fn only_the_main_one(_py: Python<'_>) -> PyResult<()> {
    // SAFETY: the token proves that this thread is attached; then the current interpreter exists.
    let number = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    if number == MAIN {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "propylon does not run in sub-interpreters (concurrent.interpreters, or mod_wsgi without \
         WSGIApplicationGroup %{GLOBAL}): import it in the main interpreter, or in a process of its own",
    ))
}
