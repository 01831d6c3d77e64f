//! What can go wrong with a broker, in words that name the servers and no secret.

use std::{fmt, io, path::PathBuf};

/// Why a call to the broker has no result.
#[derive(Debug)]
pub enum BrokerError {
    /// The broker was closed.
    Closed,
    /// No answer came within the time-out.
    TimedOut(String),
    /// There is no connection, or the server does not want what was asked.
    Refused(String),
    /// What was asked cannot be asked: a key with a blank in it, a time to live under a second.
    Invalid(String),
    /// A file of the options cannot be read.
    File(PathBuf, io::Error),
}

/// What calls to the broker return.
pub type Result<T> = std::result::Result<T, BrokerError>;

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection to NATS was closed"),
            Self::TimedOut(text) | Self::Refused(text) | Self::Invalid(text) => f.write_str(text),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for BrokerError {}
