//! A gateway's options as Python passes them, checked there; what the engine is told of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use propylon_core::{
    inflate::Compression,
    session::{BackoffConfig, Timeouts},
    shard::{ShardConfig, System},
    transport::{Proxies, Proxy},
    zeroize::Zeroizing,
};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyDict};

static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

/// How notices and batches are told apart.
pub(crate) fn next_key() -> u64 {
    NEXT_KEY.fetch_add(1, Relaxed)
}

pub(crate) fn option<'py, T>(options: &Bound<'py, PyDict>, name: &str) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    let value = options.get_item(name)?.ok_or_else(|| PyValueError::new_err(format!("option {name} is missing")))?;
    value.extract()
}

fn seconds(options: &Bound<'_, PyDict>, name: &str) -> PyResult<Duration> {
    Duration::try_from_secs_f64(option::<f64>(options, name)?)
        .map_err(|error| PyValueError::new_err(format!("{name}: {error}")))
}

/// Instead of a proxy's URL.
const ENVIRONMENT: &str = "env";

fn proxy_of(options: &Bound<'_, PyDict>) -> PyResult<Option<Zeroizing<String>>> {
    Ok(option::<Option<String>>(options, "proxy")?.map(Zeroizing::new))
}

/// To be called while attached: Python changes the environment only so, and the C library does not lock it.
pub(crate) fn proxies_of_environment() -> Proxies {
    Proxies::from_environment(|name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned()))
}

/// Whether the environment says which proxies there are.
pub(crate) fn asks_environment(options: &Bound<'_, PyDict>) -> PyResult<bool> {
    Ok(proxy_of(options)?.is_some_and(|proxy| *proxy == ENVIRONMENT))
}

pub(crate) fn config_of(options: &Bound<'_, PyDict>) -> PyResult<ShardConfig> {
    let compression: Option<String> = option(options, "compression")?;
    let compression: Compression = compression.as_deref().unwrap_or("none").parse().map_err(|_| {
        PyValueError::new_err("compression must be \"zstd-stream\", \"zlib-stream\", \"payload\" or None")
    })?;
    let proxies = match proxy_of(options)? {
        Some(url) if *url != ENVIRONMENT => {
            Proxies::Always(Arc::new(Proxy::parse(&url).map_err(PyValueError::new_err)?))
        }
        _ => Proxies::None,
    };
    Ok(ShardConfig {
        token: Zeroizing::new(option(options, "token")?),
        intents: option(options, "intents")?,
        compression,
        presence: option(options, "presence")?,
        large_threshold: option(options, "large_threshold")?,
        auto_reconnect: option(options, "auto_reconnect")?,
        shard: option(options, "shard")?,
        session: None,
        leased: option(options, "leased")?,
        gateway_url: option(options, "gateway_url")?,
        known_url: option(options, "known_url")?,
        outside_gate: option(options, "outside_gate")?,
        api_url: option(options, "api_url")?,
        timeouts: Timeouts {
            connect: seconds(options, "connect")?,
            hello: seconds(options, "hello")?,
            ready: seconds(options, "ready")?,
            close: seconds(options, "close")?,
        },
        backoff: BackoffConfig {
            base: seconds(options, "base")?,
            cap: seconds(options, "cap")?,
            reset_after: seconds(options, "reset_after")?,
            spread: seconds(options, "spread")?,
        },
        max_payload_bytes: option(options, "max_payload_bytes")?,
        proxies,
        wake_interval: seconds(options, "wake_interval")?,
        system: System::default(),
        ca_file: option(options, "ca_file")?,
        native_roots: option(options, "native_roots")?,
        properties: option(options, "properties")?,
        user_agent: option(options, "user_agent")?,
        allow_plaintext: option(options, "allow_plaintext")?,
    })
}
