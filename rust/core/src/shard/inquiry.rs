//! Asking the API where the Gateway is, and how many shards there should be, before there is a shard.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{ConfigError, ShardConfig};
use crate::{
    delivery::{Notice, ShardQueue},
    fleet::{self, IdentifyGate},
    session::{ConnectFailure, ConnectFailureKind},
    transport::api_url,
};

/// Asks `GET /gateway/bot` on `runtime`; [`Notice::GatewayBot`] follows in `queue`, within the deadline of a connection.
/// What it says of the day's IDENTIFYs, the process's identify gate learns.
///
/// # Errors
/// Where a setting cannot work.
pub fn inquire(
    runtime: &tokio::runtime::Handle,
    config: &ShardConfig,
    queue: &Arc<ShardQueue>,
) -> Result<JoinHandle<()>, ConfigError> {
    config.check()?;
    let api = api_url(&config.api_url, config.allow_plaintext).map_err(ConfigError)?;
    let server = config.gateway_url.as_deref().unwrap_or(&config.api_url);
    let gate = IdentifyGate::shared(&config.token, server);
    let (token, transport, queue) = (config.token.clone(), config.transport()?, Arc::clone(queue));
    let patience = config.timeouts.connect;
    Ok(runtime.spawn(async move {
        let asking = fleet::gateway_bot(&api, &token, &transport);
        let answer = tokio::time::timeout(patience, asking).await.unwrap_or_else(|_| {
            Err(ConnectFailure {
                kind: ConnectFailureKind::Timeout,
                message: format!("GET /gateway/bot: no answer within {} s", patience.as_secs_f64()),
                retry_after: None,
            })
        });
        if let Ok(bot) = &answer {
            gate.learn_all(bot);
        }
        queue.notify(Notice::GatewayBot(answer));
    }))
}
