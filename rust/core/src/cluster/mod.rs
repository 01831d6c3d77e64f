//! Events between processes, whatever engine carries them: what a message holds ([`wire`]), how events become messages
//! ([`publisher`]), and how messages become events again ([`intake`]). The engine is behind [`publisher::EventSink`] and
//! behind whoever feeds an [`intake::Partition`].

pub mod intake;
pub mod publisher;
pub mod wire;
