//! What can go wrong while inflating. After any of it the connection's context is lost: reconnect and resume.

use std::fmt;

use super::compression::Compression;

/// Why a message could not be inflated. Holds no bytes of the message, so that it may be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecompressionError {
    /// A payload is larger than allowed; raise the limit if it was a legitimate one.
    TooLarge {
        /// The most bytes that one payload may have, inflated.
        limit: usize,
    },
    /// The bytes are not what the compression's format demands.
    Corrupt {
        /// The compression in use.
        compression: Compression,
        /// What the decompressor said.
        reason: Box<str>,
    },
    /// The message ends inside what should be a complete payload.
    Truncated {
        /// The compression in use.
        compression: Compression,
    },
    /// Bytes follow the end of a compressed payload.
    TrailingGarbage {
        /// How many.
        bytes: usize,
    },
    /// The zlib stream, which lasts as long as the connection, was ended.
    StreamEnded,
    /// There was no memory for the decompressor.
    OutOfMemory,
}

impl fmt::Display for DecompressionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(formatter, "a payload is larger than the limit of {limit} bytes"),
            Self::Corrupt { compression, reason } => write!(formatter, "corrupt {compression} data: {reason}"),
            Self::Truncated { compression } => {
                write!(formatter, "a message ends inside a {compression} payload")
            }
            Self::TrailingGarbage { bytes } => {
                write!(formatter, "{bytes} bytes follow the end of a compressed payload")
            }
            Self::StreamEnded => {
                formatter.write_str("the server ended the zlib stream in the middle of the connection")
            }
            Self::OutOfMemory => formatter.write_str("no memory for the decompressor"),
        }
    }
}

impl std::error::Error for DecompressionError {}

impl DecompressionError {
    pub(super) fn corrupt(compression: Compression, reason: impl Into<Box<str>>) -> Self {
        Self::Corrupt { compression, reason: reason.into() }
    }
}
