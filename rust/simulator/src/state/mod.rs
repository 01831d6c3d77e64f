//! What the server knows, without the socket of any client: sessions and their logs, what waits to be written, budgets,
//! the record.

mod common;
mod log;
mod meter;
mod outbox;
mod outgoing;
pub(crate) mod pace;
pub(crate) mod payload;
mod record;
mod routes;
mod session;
mod shared;
pub(crate) mod shared_pace;
mod tally;
mod watch;

pub(crate) use common::Common;
pub(crate) use outbox::Item;
pub(crate) use outgoing::Outgoing;
pub(crate) use record::{ApiRecord, CloseRecord, ConnectionRecord, OpRecord};
pub(crate) use session::{Resume, Session};
