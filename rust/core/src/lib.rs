//! The engine of Propylon: a Discord Gateway client without Python in it.
//!
//! Data flows one way: [`transport`] → [`inflate`] → [`protocol::envelope`] → [`session`] →
//! [`delivery`]; the driver in [`shard`] joins them, [`fleet`] holds what shards share, and [`admin`] shows
//! how they stand. [`cluster`] carries events to other processes. A lower layer never uses a higher one.

pub mod admin;
pub mod clock;
pub mod cluster;
pub mod delivery;
pub mod fleet;
pub mod inflate;
pub mod moderation;
pub mod protocol;
pub mod recording;
pub mod session;
pub mod shard;
pub mod transport;

pub use bytes;
pub use zeroize;
