//! What the API says of the Gateway, its shards and the sessions that may still be started.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The answer of `GET /gateway/bot`.
///
/// Source: <https://discord.com/developers/docs/events/gateway#get-gateway-bot>
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GatewayBot {
    /// Where to connect.
    pub url: String,
    /// The number of shards Discord recommends.
    #[serde(default)]
    pub shards: u32,
    /// How many sessions may still be started; a compatible server may not say, or say it in its own way.
    #[serde(default, deserialize_with = "limit_where_told")]
    pub session_start_limit: Option<SessionStartLimit>,
}

/// Discord's session start limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStartLimit {
    /// IDENTIFYs in 24 h.
    pub total: u32,
    /// IDENTIFYs that are left of them.
    pub remaining: u32,
    /// Milliseconds until the number is full again.
    pub reset_after: u64,
    /// IDENTIFYs in 5 s.
    pub max_concurrency: u32,
    /// Milliseconds instead of these 5 s, as a simulator on this machine may say; Discord does not.
    pub identify_interval: Option<u64>,
}

/// What of it can be read; nothing where `remaining` cannot: then there is no budget to keep.
fn limit_where_told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SessionStartLimit>, D::Error> {
    let told = Value::deserialize(deserializer)?;
    let number = |name: &str| told[name].as_f64().map(|number| number.max(0.0) as u64);
    let small = |name: &str| number(name).map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    let max_concurrency = small("max_concurrency").unwrap_or(1).max(1);
    let total = small("total").unwrap_or(1000);
    Ok(small("remaining").map(|remaining| SessionStartLimit {
        total,
        remaining,
        reset_after: number("reset_after").unwrap_or(0),
        max_concurrency,
        identify_interval: number("identify_interval"),
    }))
}

#[cfg(test)]
mod tests {
    use super::{GatewayBot, SessionStartLimit};

    #[test]
    fn s5_the_limit_is_read_as_far_as_it_is_told() {
        let bot = |limit: &str| {
            serde_json::from_str::<GatewayBot>(&format!(r#"{{"url":"wss://x","session_start_limit":{limit}}}"#))
                .unwrap()
                .session_start_limit
        };
        let limit = |total, remaining, reset_after, max_concurrency| {
            Some(SessionStartLimit { total, remaining, reset_after, max_concurrency, identify_interval: None })
        };
        let all = r#"{"total":2000,"remaining":7,"reset_after":3600000.5,"max_concurrency":16,"new":[]}"#;
        assert_eq!(bot(all), limit(2000, 7, 3_600_000, 16));
        assert_eq!(bot(r#"{"remaining":-1,"max_concurrency":0}"#), limit(1000, 0, 0, 1));
        for none in ["null", "{}", "7", "[]", r#"{"remaining":"many"}"#] {
            assert_eq!(bot(none), None, "{none}");
        }
        assert!(serde_json::from_str::<GatewayBot>(r#"{"url":"wss://x"}"#).unwrap().session_start_limit.is_none());
    }
}
