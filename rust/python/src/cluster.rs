//! `_core.Broker` and what it gives out: the connection to NATS of a cluster, for Python. Every method is awaited, but for
//! those that only tell what is known.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use propylon_cluster::broker::{Broker, BrokerError, Change, Entry, Options, Prepare, Question, Questions, Watch};
use pyo3::{
    exceptions::{PyConnectionError, PyTimeoutError, PyValueError},
    prelude::*,
    types::PyBytes,
};
use serde::Serialize;

pub(crate) use crate::control::await_in_python;
use crate::{errors, runtime::OfThisProcess};

/// The broker's errors as Python's: `OSError`s, and `ValueError` for what cannot be asked.
pub(crate) fn failed(error: BrokerError) -> PyErr {
    let text = error.to_string();
    match error {
        BrokerError::Closed | BrokerError::Refused(_) => PyConnectionError::new_err(text),
        BrokerError::TimedOut(_) => PyTimeoutError::new_err(text),
        BrokerError::Invalid(_) => PyValueError::new_err(text),
        // The class that Python has for it, such as FileNotFoundError.
        BrokerError::File(_, error) => std::io::Error::new(error.kind(), text).into(),
    }
}

fn seconds(what: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| PyValueError::new_err(format!("{what} must not be {seconds}")))
}

fn seconds_or_none(what: &str, value: Option<f64>) -> PyResult<Option<Duration>> {
    value.map(|value| seconds(what, value)).transpose()
}

/// Bytes that become Python's own.
struct Data(Bytes);

impl<'py> IntoPyObject<'py> for Data {
    type Target = PyBytes;
    type Output = Bound<'py, PyBytes>;
    type Error = std::convert::Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Self::Error> {
        Ok(PyBytes::new(py, &self.0))
    }
}

fn json(value: &impl Serialize) -> PyResult<Data> {
    let text = serde_json::to_vec(value).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(Data(text.into()))
}

fn entry(entry: Entry) -> (String, Data, u64, f64) {
    (entry.key, Data(entry.value), entry.revision, entry.created)
}

fn change(change: Change) -> (String, Option<Data>, u64) {
    (change.key, change.value.map(Data), change.revision)
}

/// The options of a connection, as a dict with all of these.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Given {
    name: String,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    nkey: Option<String>,
    creds: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    timeout: f64,
}

/// A connection to NATS.
#[pyclass(frozen, name = "Broker", module = "propylon._core")]
pub(crate) struct PyBroker(OfThisProcess<Broker>);

impl PyBroker {
    /// The broker itself, for those who carry events.
    pub(crate) fn get(&self) -> PyResult<&Arc<Broker>> {
        self.0.get().ok_or_else(errors::forked)
    }

    fn call<'py, F, T>(&self, py: Python<'py>, work: impl FnOnce(Broker) -> F) -> PyResult<Bound<'py, PyAny>>
    where
        F: Future<Output = PyResult<T>> + Send + 'static,
        T: for<'any> IntoPyObject<'any> + Send + 'static,
    {
        let broker = Broker::clone(self.get()?);
        await_in_python(py, work(broker))
    }
}

#[pymethods]
impl PyBroker {
    /// Connects; `servers` have nothing secret in them.
    #[staticmethod]
    fn connect(py: Python<'_>, servers: Vec<String>, options: Given) -> PyResult<Bound<'_, PyAny>> {
        let options = Options {
            servers,
            name: options.name,
            user: options.user,
            password: options.password,
            token: options.token,
            nkey: options.nkey,
            creds: options.creds,
            ca_file: options.ca_file,
            cert_file: options.cert_file,
            key_file: options.key_file,
            timeout: seconds("timeout", options.timeout)?,
        };
        await_in_python(py, async move {
            Ok(PyBroker(OfThisProcess::new(Broker::connect(&options).await.map_err(failed)?)))
        })
    }

    /// Whether there is a connection now.
    #[getter]
    fn connected(&self) -> PyResult<bool> {
        Ok(self.get()?.is_connected())
    }

    /// How often it has connected: 1, until it had to come back.
    #[getter]
    fn connects(&self) -> PyResult<u64> {
        Ok(self.get()?.connects())
    }

    /// The servers' addresses, as they were given.
    #[getter]
    fn servers(&self) -> PyResult<&str> {
        Ok(self.get()?.servers())
    }

    /// How many bytes a message may have.
    #[getter]
    fn max_payload(&self) -> PyResult<usize> {
        Ok(self.get()?.max_payload())
    }

    /// Streams and bucket of an application.
    #[pyo3(signature = (app, *, replicas=None, max_bytes=None, max_age=None))]
    fn prepare<'py>(
        &self,
        py: Python<'py>,
        app: String,
        replicas: Option<u8>,
        max_bytes: Option<u64>,
        max_age: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let prepare = Prepare { replicas, max_bytes, max_age: seconds_or_none("max_age", max_age)? };
        self.call(py, |broker| async move { broker.prepare(&app, prepare).await.map_err(failed) })
    }

    #[pyo3(name = "get", signature = (bucket, key, /))]
    fn get_entry<'py>(&self, py: Python<'py>, bucket: String, key: String) -> PyResult<Bound<'py, PyAny>> {
        self.call(py, |broker| async move { Ok(broker.get(&bucket, &key).await.map_err(failed)?.map(entry)) })
    }

    #[pyo3(signature = (bucket, pattern, /))]
    fn entries<'py>(&self, py: Python<'py>, bucket: String, pattern: String) -> PyResult<Bound<'py, PyAny>> {
        self.call(py, |broker| async move {
            let entries = broker.entries(&bucket, &pattern).await.map_err(failed)?;
            Ok(entries.into_iter().map(entry).collect::<Vec<_>>())
        })
    }

    #[pyo3(signature = (bucket, key, value, /, *, ttl=None))]
    fn put<'py>(
        &self,
        py: Python<'py>,
        bucket: String,
        key: String,
        value: Vec<u8>,
        ttl: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let ttl = seconds_or_none("ttl", ttl)?;
        self.call(py, |broker| async move { broker.put(&bucket, &key, value.into(), ttl).await.map_err(failed) })
    }

    #[pyo3(signature = (bucket, key, value, /, *, ttl=None))]
    fn create<'py>(
        &self,
        py: Python<'py>,
        bucket: String,
        key: String,
        value: Vec<u8>,
        ttl: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let ttl = seconds_or_none("ttl", ttl)?;
        self.call(py, |broker| async move { broker.create(&bucket, &key, value.into(), ttl).await.map_err(failed) })
    }

    #[pyo3(signature = (bucket, key, value, revision, /, *, ttl=None))]
    fn update<'py>(
        &self,
        py: Python<'py>,
        bucket: String,
        key: String,
        value: Vec<u8>,
        revision: u64,
        ttl: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let ttl = seconds_or_none("ttl", ttl)?;
        self.call(py, |broker| async move {
            broker.update(&bucket, &key, value.into(), revision, ttl).await.map_err(failed)
        })
    }

    #[pyo3(signature = (bucket, key, /, *, revision=None))]
    fn delete<'py>(
        &self,
        py: Python<'py>,
        bucket: String,
        key: String,
        revision: Option<u64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.call(py, |broker| async move { broker.delete(&bucket, &key, revision).await.map_err(failed) })
    }

    #[pyo3(signature = (bucket, pattern, /))]
    fn watch<'py>(&self, py: Python<'py>, bucket: String, pattern: String) -> PyResult<Bound<'py, PyAny>> {
        self.call(py, |broker| async move {
            Ok(PyKeyWatch(OfThisProcess::new(broker.watch(&bucket, &pattern).await.map_err(failed)?)))
        })
    }

    #[pyo3(signature = (subject, data, timeout, /))]
    fn request<'py>(
        &self,
        py: Python<'py>,
        subject: String,
        data: Vec<u8>,
        timeout: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let timeout = seconds("timeout", timeout)?;
        self.call(py, |broker| async move {
            Ok(broker.request(&subject, data.into(), timeout).await.map_err(failed)?.map(Data))
        })
    }

    #[pyo3(signature = (subject, /))]
    fn serve<'py>(&self, py: Python<'py>, subject: String) -> PyResult<Bound<'py, PyAny>> {
        self.call(py, |broker| async move {
            Ok(PyQuestions(OfThisProcess::new(broker.serve(&subject).await.map_err(failed)?)))
        })
    }

    #[pyo3(signature = (subject, data, /))]
    fn publish<'py>(&self, py: Python<'py>, subject: String, data: Vec<u8>) -> PyResult<Bound<'py, PyAny>> {
        self.call(py, |broker| async move { broker.publish(&subject, data.into()).await.map_err(failed) })
    }

    fn inbox(&self) -> PyResult<String> {
        Ok(self.get()?.inbox())
    }

    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.call(py, |broker| async move {
            broker.close().await;
            Ok(())
        })
    }

    /// The stream of events as JSON; None where there is none.
    #[pyo3(signature = (app, /))]
    fn stream_status<'py>(&self, py: Python<'py>, app: String) -> PyResult<Bound<'py, PyAny>> {
        self.call(py, |broker| async move {
            broker.stream_status(&app).await.map_err(failed)?.as_ref().map(json).transpose()
        })
    }

    #[pyo3(signature = (app, /))]
    fn purge<'py>(&self, py: Python<'py>, app: String) -> PyResult<Bound<'py, PyAny>> {
        self.call(py, |broker| async move { broker.purge(&app).await.map_err(failed) })
    }

    /// The oldest dead letters as JSON.
    #[pyo3(signature = (app, limit, after, /))]
    fn dead<'py>(&self, py: Python<'py>, app: String, limit: usize, after: u64) -> PyResult<Bound<'py, PyAny>> {
        self.call(py, |broker| async move { json(&broker.dead(&app, limit, after).await.map_err(failed)?) })
    }

    #[pyo3(signature = (app, sequence, /))]
    fn replay_dead<'py>(&self, py: Python<'py>, app: String, sequence: u64) -> PyResult<Bound<'py, PyAny>> {
        self.call(py, |broker| async move { broker.replay_dead(&app, sequence).await.map_err(failed) })
    }
}

/// News of a bucket.
#[pyclass(frozen, name = "KeyWatch", module = "propylon._core")]
pub(crate) struct PyKeyWatch(OfThisProcess<Watch>);

#[pymethods]
impl PyKeyWatch {
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let watch = Arc::clone(self.0.get().ok_or_else(errors::forked)?);
        await_in_python(py, async move {
            Ok(watch.next().await.map_err(failed)?.into_iter().map(change).collect::<Vec<_>>())
        })
    }

    fn stop(&self) {
        if let Some(watch) = self.0.get() {
            watch.stop();
        }
    }
}

/// Requests to one subject.
#[pyclass(frozen, name = "Questions", module = "propylon._core")]
pub(crate) struct PyQuestions(OfThisProcess<Questions>);

#[pymethods]
impl PyQuestions {
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let questions = Arc::clone(self.0.get().ok_or_else(errors::forked)?);
        await_in_python(py, async move {
            let Question { data, reply } = questions.next().await.map_err(failed)?;
            Ok((Data(data), reply))
        })
    }

    fn stop(&self) {
        if let Some(questions) = self.0.get() {
            questions.stop();
        }
    }
}
