//! From the shards to whoever listens: subscriptions decide what is heard, bounded queues hold it,
//! one wake-up tells the event loop. Knows nothing of Python.

mod dispatch;
mod filter;
mod hub;
mod overlap;
mod projection;
mod queue;
mod room;
mod slot;
mod subscriptions;
mod wake;

pub use dispatch::Dispatch;
pub use filter::{Filter, FilterError};
pub use hub::{Drained, Hub};
pub use overlap::{Overlap, Side, content_hash};
pub use projection::{Parts, Projection, Projections};
pub use queue::{Counts, Fill, Ledger, Level, Loan, Lot, Notice, Overflow, QueueConfig, ShardQueue, Tally};
pub use room::CommonRoom;
pub use slot::Slot;
pub use subscriptions::{Heard, Slots, Subscriptions};
pub use wake::Waker;
