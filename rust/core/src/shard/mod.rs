//! One shard at work: the driver joins the session machine, the transport and the delivery, and the
//! handle is what the outside holds of it.

mod acting;
mod config;
mod connection;
mod counters;
mod dialling;
mod driver;
mod guild_watch;
mod handle;
mod inquiry;
mod journal;
mod reading;
mod shared;
mod story;

pub use config::{ConfigError, ShardConfig, System};
pub use handle::ShardHandle;
pub use inquiry::inquire;
pub use journal::{Journal, Reconnect};
pub use shared::{Ages, Request, SharedState, Told, WireCounts, tag_of};
