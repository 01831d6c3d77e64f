//! What the simulated Discord talks about: its guilds and users, and a seeded, endless stream of realistic events.

mod encode;
mod generator;
mod templates;
mod text;
mod world;

pub use encode::encode_stream;
pub(crate) use generator::{Generator, Stream};
pub(crate) use templates::EVENTS;
pub(crate) use world::{BOT_ID, World};
