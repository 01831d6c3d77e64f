//! The certificates that a server can show, by name. How they are made is `wire::tls`'s business.

use serde::{Deserialize, Serialize};

/// Which certificate a server shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certificate {
    /// For `localhost` and 127.0.0.1, signed by the CA of [`Simulator::ca_pem`](crate::Simulator::ca_pem).
    #[default]
    Valid,
    /// Good, but for `gateway.example.net`.
    WrongHost,
    /// Ended in 2021.
    Expired,
    /// Begins in 2090.
    NotYetValid,
    /// Signed by itself.
    SelfSigned,
    /// Signed by a CA that nobody was told of.
    UnknownCa,
}
