//! The REST face: `/gateway`, `/gateway/bot` and `/applications/@me`, or what a script answers instead.

use std::collections::BTreeMap;

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::state::{ApiRecord, Common, payload::application_flags};
use crate::wire::Stream;
use crate::wire::http::{Request, response};

/// Answers a request that is no upgrade.
pub(crate) async fn serve(common: &Common, stream: &mut Stream, request: Request) {
    let json_headers = BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]);
    let authorized = match (request.header("authorization"), &common.config.token) {
        (given, Some(token)) => given == format!("Bot {token}"),
        (given, None) => given.starts_with("Bot ") && given.len() > 4,
    };
    let (status, headers, body) = if let Some(scripted) = common.scripted_api_response() {
        scripted
    } else {
        let (status, body) = match (request.method.as_str(), request.path.trim_end_matches('/')) {
            ("GET", "/api/v10/gateway") => (200, json!({"url": common.ws_url()})),
            ("GET", "/api/v10/gateway/bot") if authorized => (
                200,
                json!({
                    "url": common.ws_url(),
                    "shards": common.config.shards,
                    "session_start_limit": {
                        "total": common.config.session_start_total,
                        "remaining": common.session_starts().0,
                        "reset_after": common.session_starts().1,
                        "max_concurrency": common.config.max_concurrency,
                        // Discord has no such field: it is always 5 s.
                        "identify_interval": common.config.identify_interval,
                    },
                }),
            ),
            ("GET", "/api/v10/applications/@me") if authorized => {
                (200, json!({"id": "1", "flags": application_flags(common.config.disallowed_intents)}))
            }
            ("GET", "/api/v10/gateway/bot" | "/api/v10/applications/@me") => {
                (401, json!({"message": "401: Unauthorized", "code": 0}))
            }
            _ => (404, json!({"message": "404: Not Found", "code": 0})),
        };
        (status, json_headers, body.to_string())
    };
    common.record_api(ApiRecord { ms: common.watch.ms(), path: request.path, status, headers: request.headers });
    let _ = stream.write_all(&response(status, &headers, &body)).await;
    let _ = stream.shutdown().await;
}
