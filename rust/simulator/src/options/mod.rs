//! What callers tell a simulator, as plain data: its options, the steps of scripts, conditions to wait for. All of it is
//! written as JSON too. Knows nothing of what is done about it.

mod certificate;
mod condition;
mod config;
mod json;
mod script;

pub use certificate::Certificate;
pub use condition::Condition;
pub use config::{SimulatorConfig, Start};
pub(crate) use script::blob;
pub use script::{Keyword, Script, Selector, Shards, Step, Target};
