//! What a session is: the facts that a RESUME needs and those that tell whether it still fits.

use serde::{Deserialize, Serialize};

/// A Gateway session, enough to RESUME it on another connection or in another process.
///
/// Source: <https://discord.com/developers/docs/events/gateway#resuming>
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// `session_id` of READY. Secret: with the token it takes the session over.
    pub id: String,
    /// The last accepted sequence number.
    pub sequence: u64,
    /// `resume_gateway_url` of READY, bare, as Discord sent it; absent where READY had none.
    pub resume_url: Option<String>,
    /// `(shard_id, shard_count)` it was identified with.
    pub shard: Option<(u32, u32)>,
    /// The intents it was identified with.
    pub intents: u64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &"<redacted>")
            .field("sequence", &self.sequence)
            .field("resume_url", &self.resume_url)
            .field("shard", &self.shard)
            .field("intents", &self.intents)
            .finish()
    }
}
