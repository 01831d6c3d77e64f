//! The names of the compressions: for the options, and for the query of the Gateway URL.

use std::fmt;
use std::str::FromStr;

/// How Discord compresses what it sends.
///
/// Source: <https://discord.com/developers/docs/events/gateway#encoding-and-compression>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// Each large payload is a zlib document (RFC 1950) of its own; asked for in IDENTIFY.
    Payload,
    /// One zlib stream per connection; asked for in the URL.
    ZlibStream,
    /// One zstd stream (RFC 8878) per connection; asked for in the URL. Costs the least CPU.
    #[default]
    ZstdStream,
}

impl Compression {
    /// The value of `compress` in the URL's query; `None` where it is left out.
    pub const fn query(self) -> Option<&'static str> {
        match self {
            Self::None | Self::Payload => None,
            Self::ZlibStream => Some("zlib-stream"),
            Self::ZstdStream => Some("zstd-stream"),
        }
    }

    /// The name in our options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Payload => "payload",
            Self::ZlibStream => "zlib-stream",
            Self::ZstdStream => "zstd-stream",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(name: &str) -> Result<Self, UnknownCompression> {
        [Self::None, Self::Payload, Self::ZlibStream, Self::ZstdStream]
            .into_iter()
            .find(|compression| compression.name() == name)
            .ok_or(UnknownCompression)
    }
}

/// The name is none of a compression's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCompression;

impl fmt::Display for UnknownCompression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the compression must be \"none\", \"payload\", \"zlib-stream\" or \"zstd-stream\"")
    }
}

impl std::error::Error for UnknownCompression {}
