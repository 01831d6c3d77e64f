//! The Gateway's vocabulary and framing: opcodes, close codes, intents, event names, the envelope scan and the commands.
//!
//! Pure functions over bytes and numbers. When to send what, and what a received payload changes, is the session
//! machine's business; how bytes come off the socket is the transport's.

pub mod close_code;
pub mod command;
pub mod envelope;
pub mod event;
pub(crate) mod fields;
pub mod gateway_bot;
pub mod intents;
pub mod opcode;
pub(crate) mod string;
pub(crate) mod structural;
mod structural_scan;
#[cfg(target_arch = "x86_64")]
mod structural_x86;

pub use close_code::{CloseAction, FatalClose};
pub use envelope::{Envelope, EnvelopeError, EventName};
pub use event::{EventSet, EventType};
pub use intents::{IntentInfo, Intents};
pub use opcode::Opcode;
