//! What an operator sees: one small HTTP server on the engine's threads, so that it answers while Python is blocked,
//! and says so. It only reads: nothing that comes in changes anything.
//!
//! Shown is what an [`Exhibit`] holds; tokens, session ids, resume URLs and payloads are not in it.

mod answer;
mod cluster;
mod cluster_metrics;
mod config;
mod exhibit;
mod families;
mod history;
mod metrics;
mod page;
mod server;
mod snapshot;
mod totals;
mod view;
mod watch;
mod wire;

pub use cluster::{Contribution, Contributor, HeldLease, HeldPartition, Published, Taken};
pub use config::AdminConfig;
pub use exhibit::{Exhibit, Process};
pub use server::AdminServer;
pub use view::View;
pub use watch::Watch;
