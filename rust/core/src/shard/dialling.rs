//! The way to one connection: asks `/gateway/bot` where that is needed, builds the URL, dials.

use zeroize::Zeroizing;

use crate::{
    fleet::{self, GatewayBot},
    session::{ConnectFailure, ConnectFailureKind},
    transport::{Socket, TransportConfig, api_url, dial, gateway_url},
};

/// A WebSocket, and what `/gateway/bot` said where it was asked.
pub(super) type Dialled = Result<(Socket, Option<GatewayBot>), ConnectFailure>;

/// All that one attempt needs, so that it borrows nothing.
pub(super) struct Plan {
    /// `None`: nobody has said yet where the Gateway is.
    pub(super) url: Option<String>,
    /// Ask `/gateway/bot` first, for the budget; where that fails, `url` serves all the same.
    pub(super) ask: bool,
    pub(super) api_url: String,
    pub(super) token: Zeroizing<String>,
    pub(super) transport: TransportConfig,
    pub(super) allow_plaintext: bool,
}

impl Plan {
    pub(super) async fn carry_out(self) -> Dialled {
        let config = |message| ConnectFailure { kind: ConnectFailureKind::Config, message, retry_after: None };
        let (base, bot) = match self.url {
            Some(url) if !self.ask => (url, None),
            known => {
                let api = api_url(&self.api_url, self.allow_plaintext).map_err(config)?;
                match (fleet::gateway_bot(&api, &self.token, &self.transport).await, known) {
                    (Ok(bot), _) => (bot.url.clone(), Some(bot)),
                    (Err(failure), Some(url)) if failure.kind != ConnectFailureKind::Unauthorized => (url, None),
                    (Err(failure), _) => return Err(failure),
                }
            }
        };
        // What the user gave cannot work another time either; what the API said may be another thing next time.
        let kind = if bot.is_some() { ConnectFailureKind::Unreachable } else { ConnectFailureKind::Config };
        let url = gateway_url(&base, self.transport.compression, self.allow_plaintext)
            .map_err(|message| ConnectFailure { kind, message, retry_after: None })?;
        dial(url, self.transport).await.map(|socket| (socket, bot))
    }
}
