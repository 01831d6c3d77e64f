//! Recording: events as they came, into a file of zstd-compressed JSON lines, and out of it again. What a line says is
//! told once, for users and for us, in `docs/recording.md`.
//!
//! The I/O thread copies a matched event behind those that wait ([`Recorder::offer`]); lines are written, secrets left out
//! and frames compressed by a thread of the recording's own. Knows nothing of shards and of Python.

mod file;
mod frames;
mod line;
mod reader;
mod recorder;
mod secrets;

pub use reader::{Reader, Record};
pub use recorder::{Counts, Event, Recorder, RecorderConfig, Recorders};
pub use secrets::SECRET_KEYS;
