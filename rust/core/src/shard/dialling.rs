//! The way to one connection: asks `/gateway/bot` where that is needed, builds the URL, dials.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::{
    fleet::{self, IdentifyGate},
    session::{ConnectFailure, ConnectFailureKind},
    transport::{Socket, TransportConfig, api_url, dial, gateway_url},
};

/// A WebSocket, and where `/gateway/bot` said that the Gateway is, where it was asked.
pub(super) type Dialled = Result<(Socket, Option<String>), ConnectFailure>;

/// All that one attempt needs, so that it borrows nothing.
pub(super) struct Plan {
    /// `None`: nobody has said yet where the Gateway is.
    pub(super) url: Option<String>,
    /// Ask `/gateway/bot` first, for the budget; where that fails, `url` serves all the same.
    pub(super) ask: bool,
    pub(super) gate: Arc<IdentifyGate>,
    pub(super) api_url: String,
    pub(super) token: Zeroizing<String>,
    pub(super) transport: TransportConfig,
    pub(super) allow_plaintext: bool,
}

impl Plan {
    pub(super) async fn carry_out(self) -> Dialled {
        let config = |message| ConnectFailure { kind: ConnectFailureKind::Config, message, retry_after: None };
        let (base, told) = match self.url {
            Some(url) if !self.ask => (url, None),
            known => {
                let api = api_url(&self.api_url, self.allow_plaintext).map_err(config)?;
                let _turn = self.gate.turn_to_ask().await;
                match (self.gate.url().filter(|_| !self.gate.is_stale()), known) {
                    // Another shard has asked meanwhile.
                    (Some(url), _) => (url.clone(), Some(url)),
                    (None, known) => match (fleet::gateway_bot(&api, &self.token, &self.transport).await, known) {
                        (Ok(bot), _) => {
                            self.gate.learn_all(&bot);
                            (bot.url.clone(), Some(bot.url))
                        }
                        (Err(failure), Some(url)) if failure.kind != ConnectFailureKind::Unauthorized => (url, None),
                        (Err(failure), _) => return Err(failure),
                    },
                }
            }
        };
        // What the user gave cannot work another time either; what the API said may be another thing next time.
        let kind = if told.is_some() { ConnectFailureKind::Unreachable } else { ConnectFailureKind::Config };
        let url = gateway_url(&base, self.transport.compression, self.allow_plaintext)
            .map_err(|message| ConnectFailure { kind, message, retry_after: None })?;
        dial(url, self.transport).await.map(|socket| (socket, told))
    }
}
