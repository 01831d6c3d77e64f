//! Bytes in, JSON documents out: the compressions Discord offers, with a cap on what comes out.
//!
//! Knows neither WebSocket nor JSON. A context lives as long as its connection: a new connection takes a new [`Inflater`].

mod compression;
mod error;
mod inflater;
mod output;
mod payload;
mod zlib_stream;
mod zstd_stream;

#[cfg(test)]
mod tests;

pub use compression::{Compression, UnknownCompression};
pub use error::DecompressionError;
pub use inflater::Inflater;
