//! The session machine: every rule of the Gateway about *when* to connect, beat, identify, resume,
//! send and give up. It has no I/O and no clock: it takes payloads, commands and the time, and
//! gives actions, so that each rule is a unit test with virtual time.

mod backoff;
mod cause;
mod guilds;
mod heartbeat;
mod limiter;
mod machine;
mod record;
mod status;
mod tally;
mod time;

pub use backoff::{Backoff, BackoffConfig};
pub use cause::Cause;
pub use guilds::{GuildChange, Guilds};
pub use heartbeat::{Due, Heartbeat};
pub use limiter::{PresenceLimiter, SendLimiter};
pub use machine::{
    Action, Closed, ConnectFailure, ConnectFailureKind, Ended, Fault, Machine, MachineConfig, SendError, Stats,
    Timeouts, Verdict,
};
pub use record::Session;
pub use status::Status;
pub use tally::{CommandCounts, CommandKind, CommandResult};
pub use time::Time;
