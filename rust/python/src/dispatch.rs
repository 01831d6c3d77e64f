//! `propylon.Dispatch`: the holder of one event. Owns the bytes, decodes on first touch, and is a
//! buffer, so that decoders read the bytes in place.
#![allow(unsafe_code)] // The buffer protocol has no safe form.

use std::{
    os::raw::c_int,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use propylon_core::{
    delivery::{Dispatch, Heard},
    protocol::event::EventType,
    session::GuildChange,
};
use pyo3::{
    exceptions::{PyRuntimeError, PyTypeError, PyValueError},
    ffi,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyList, PyTuple},
};

/// One event as it came: see `propylon.Dispatch` in `_core.pyi`.
#[pyclass(frozen, generic, name = "Dispatch", module = "propylon", freelist = 1024)]
pub(crate) struct PyDispatch {
    inner: Dispatch,
    /// Seconds of `time.monotonic()`.
    received_at: f64,
    /// The same as Unix time, worked out when it is asked for: hardly anybody does.
    received_time: OnceLock<f64>,
    /// The typed payload, or the error that came instead.
    decoded: PyOnceLock<Result<Py<PyAny>, Py<PyAny>>>,
    /// What decoding has left out so far. A list, made by the first: hardly any event needs one.
    mended: PyOnceLock<Py<PyList>>,
    /// Its buffer is what its listeners want of it, as long as nobody else sees it.
    narrow: AtomicBool,
    /// The shard it came on, by [`crate::shard::PyShard::key`]; none for one made by hand and for the copy of an event
    /// that answers a request.
    owner: Option<u64>,
}

/// `time.monotonic()` at the engine's epoch: Rust does not tell what its clock counts from.
static MONOTONIC_OFFSET: OnceLock<f64> = OnceLock::new();
/// `decode(dispatch)` gives the typed payload or raises; set once by the package.
static DECODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
/// `json(dispatch)` gives plain Python objects.
static TO_JSON: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
/// `decode_as(dispatch, cls)`.
static DECODE_AS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
/// What a pickle calls to make it again.
static RESTORE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Tells the engine how the package decodes.
#[pyfunction]
pub(crate) fn set_decoders(
    py: Python<'_>,
    decode: Py<PyAny>,
    to_json: Py<PyAny>,
    decode_as: Py<PyAny>,
    restore: Py<PyAny>,
) -> PyResult<()> {
    let _ = DECODE.set(py, decode);
    let _ = TO_JSON.set(py, to_json);
    let _ = DECODE_AS.set(py, decode_as);
    let _ = RESTORE.set(py, restore);
    let monotonic: f64 = py.import("time")?.call_method0("monotonic")?.extract()?;
    let _ = MONOTONIC_OFFSET.set(monotonic - propylon_core::clock::now().as_secs_f64());
    Ok(())
}

/// The key of the shard that `dispatch` came on, if it is an event for listeners.
#[pyfunction]
pub(crate) fn owner(dispatch: &Bound<'_, PyDispatch>) -> Option<u64> {
    dispatch.get().owner
}

/// From now on the buffer of `dispatch` is all of its bytes: to be called before anybody gets to see it. Whether it was
/// what its listeners want of it until now.
#[pyfunction]
pub(crate) fn widen(dispatch: &Bound<'_, PyDispatch>) -> bool {
    dispatch.get().narrow.swap(false, Relaxed)
}

/// Adds to `Dispatch.mended` what it does not hold yet; whether these are the first.
#[pyfunction]
pub(crate) fn note_mended(dispatch: &Bound<'_, PyDispatch>, paths: Vec<Bound<'_, PyAny>>) -> PyResult<bool> {
    let py = dispatch.py();
    let kept = dispatch.get().mended.get_or_init(py, || PyList::empty(py).unbind()).bind(py);
    let first = kept.is_empty();
    for path in paths {
        if !kept.contains(&path)? {
            kept.append(path)?;
        }
    }
    Ok(first)
}

fn hook<'py>(py: Python<'py>, hook: &PyOnceLock<Py<PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    let hook = hook.get(py).ok_or_else(|| PyRuntimeError::new_err("import propylon, not propylon._core"))?;
    Ok(hook.bind(py).clone())
}

fn datetime_class(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("datetime")?.getattr("datetime")
}

/// A time of the engine's clock as seconds of `time.monotonic()`.
pub(crate) fn monotonic(time: std::time::Duration) -> f64 {
    MONOTONIC_OFFSET.get().copied().unwrap_or(0.0) + time.as_secs_f64()
}

impl From<Dispatch> for PyDispatch {
    fn from(inner: Dispatch) -> Self {
        let received_at = monotonic(inner.received_at);
        Self::new_of(inner, received_at, None)
    }
}

impl PyDispatch {
    /// An event for the listeners of the shard whose key is `owner`.
    pub(crate) fn of_shard(inner: Dispatch, owner: u64) -> Self {
        let received_at = monotonic(inner.received_at);
        Self::new_of(inner, received_at, Some(owner))
    }

    fn new_of(inner: Dispatch, received_at: f64, owner: Option<u64>) -> Self {
        let received_time = OnceLock::new();
        let narrow = AtomicBool::new(inner.part.is_some());
        Self { inner, received_at, received_time, decoded: PyOnceLock::new(), mended: PyOnceLock::new(), narrow, owner }
    }

    /// When it was read: seconds of Unix time, the same each time it is asked.
    fn unix_time(&self) -> f64 {
        *self.received_time.get_or_init(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            now - (monotonic(propylon_core::clock::now()) - self.received_at)
        })
    }

    /// The JSON text of `d`.
    pub(crate) fn raw_bytes(&self) -> &[u8] {
        &self.inner.data
    }

    pub(crate) fn route(dispatch: &Dispatch) -> u128 {
        (u128::from(dispatch.heard.low) << 8) | dispatch.event.index() as u128
    }

    fn outcome<'a>(slf: &'a Bound<'_, Self>) -> PyResult<&'a Result<Py<PyAny>, Py<PyAny>>> {
        let py = slf.py();
        slf.get().narrow.store(false, Relaxed);
        slf.get().decoded.get_or_try_init(py, || match hook(py, &DECODE)?.call1((slf,)) {
            Ok(value) => Ok(Ok(value.unbind())),
            // KeyboardInterrupt and the like are not the payload's fault.
            Err(error) if error.is_instance_of::<pyo3::exceptions::PyException>(py) => {
                let error = error.into_value(py).into_any();
                error.setattr(py, "__traceback__", py.None())?;
                Ok(Err(error))
            }
            Err(error) => Err(error),
        })
    }
}

#[pymethods]
impl PyDispatch {
    #[new]
    #[pyo3(signature = (
        r#type, raw, *, shard_id = 0, sequence = None, received_at = 0.0, guild_change = None, received_time = None
    ))]
    fn new(
        r#type: &str,
        raw: &[u8],
        shard_id: u32,
        sequence: Option<u64>,
        received_at: f64,
        guild_change: Option<&str>,
        received_time: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let guild_change = guild_change.map(|name| {
            let change = GuildChange::ALL.into_iter().find(|change| change.name() == name);
            change.ok_or_else(|| PyValueError::new_err(format!("guild_change {name:?} is none")))
        });
        let known = EventType::from_name(r#type.as_bytes());
        let inner = Dispatch {
            event: known.unwrap_or(EventType::UNKNOWN),
            name: known.is_none().then(|| r#type.into()),
            shard_id,
            sequence,
            received_at: std::time::Duration::ZERO,
            data: propylon_core::bytes::Bytes::copy_from_slice(raw),
            part: None,
            guild_change: guild_change.transpose()?,
            heard: Heard::default(),
        };
        let this = Self::new_of(inner, received_at, None);
        if let Some(time) = received_time {
            if !time.is_instance(&datetime_class(time.py())?)? {
                return Err(PyTypeError::new_err("received_time takes a datetime"));
            }
            if time.call_method0("utcoffset")?.is_none() {
                return Err(PyValueError::new_err("received_time has no time zone; give it one, such as datetime.UTC"));
            }
            let _ = this.received_time.set(time.call_method0("timestamp")?.extract()?);
        }
        Ok(this)
    }

    #[getter]
    fn r#type(&self) -> &str {
        self.inner.name()
    }

    #[getter]
    fn shard_id(&self) -> u32 {
        self.inner.shard_id
    }

    #[getter]
    fn sequence(&self) -> Option<u64> {
        self.inner.sequence
    }

    #[getter]
    fn guild_change(&self) -> Option<&'static str> {
        self.inner.guild_change.map(GuildChange::name)
    }

    #[getter]
    fn received_at(&self) -> f64 {
        self.received_at
    }

    #[getter]
    fn received_time<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let utc = py.import("datetime")?.getattr("UTC")?;
        datetime_class(py)?.call_method1("fromtimestamp", (self.unix_time(), utc))
    }

    #[getter]
    fn raw<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.data)
    }

    #[getter]
    fn data<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        match Self::outcome(slf)? {
            Ok(value) => Ok(value.bind(py).clone()),
            Err(error) => {
                // A fresh one each time: the traceback of a kept one would hold frames that hold this object.
                let error = error.bind(py);
                Err(PyErr::from_value(error.get_type().call1((error.str()?, slf))?))
            }
        }
    }

    #[getter]
    fn model_error<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        Ok(Self::outcome(slf)?.as_ref().err().map(|error| error.bind(py).clone()))
    }

    #[getter]
    fn mended<'py>(&self, py: Python<'py>) -> Bound<'py, PyTuple> {
        self.mended.get(py).map_or_else(|| PyTuple::empty(py), |paths| paths.bind(py).to_tuple())
    }

    fn json<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.get().narrow.store(false, Relaxed);
        hook(slf.py(), &TO_JSON)?.call1((slf,))
    }

    fn decode<'py>(slf: &Bound<'py, Self>, r#type: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        slf.get().narrow.store(false, Relaxed);
        hook(slf.py(), &DECODE_AS)?.call1((slf, r#type))
    }

    fn __len__(&self) -> usize {
        self.inner.data.len()
    }

    fn __bool__(&self) -> bool {
        true
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let this = slf.get();
        let arguments = (
            this.r#type(),
            PyBytes::new(py, &this.inner.data),
            this.inner.shard_id,
            this.inner.sequence,
            this.received_at(),
            this.guild_change(),
            this.received_time(py)?,
        );
        (hook(py, &RESTORE)?, arguments).into_pyobject(py)
    }

    fn __repr__(&self) -> String {
        let sequence = self.inner.sequence.map_or_else(|| "None".to_owned(), |sequence| sequence.to_string());
        format!(
            "<Dispatch {} shard_id={} sequence={sequence} bytes={}>",
            self.inner.name(),
            self.inner.shard_id,
            self.inner.data.len()
        )
    }

    /// # Safety
    /// Called by the interpreter with a valid `view`. The bytes live as long as the object, which the
    /// view keeps alive; they are never written.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let data = match &this.inner.part {
            Some(part) if this.narrow.load(Relaxed) => part,
            _ => &this.inner.data,
        };
        // SAFETY: `view` comes from the interpreter; the pointer and length are those of an immutable
        // buffer that `slf` owns, and FillInfo takes a reference to `slf` (PEP 3118, read-only).
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                data.as_ptr().cast_mut().cast(),
                data.len().cast_signed(),
                1,
                flags,
            )
        };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}
