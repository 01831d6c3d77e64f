//! Everything a shard is told at its start.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use zeroize::Zeroizing;

use crate::{
    clock,
    inflate::Compression,
    moderation::Moderation,
    protocol::{
        command::{self, IdentifyOptions, Properties},
        intents::Intents,
    },
    session::{BackoffConfig, MachineConfig, PresenceLimiter, Session, Timeouts},
    transport::{
        Proxies, Resolver, Stage, TlsError, TransportConfig, api_url, client_config, gateway_url, refuse_resume_url,
        system_resolver,
    },
};

/// The options of one shard.
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools)] // Options that do not depend on each other.
pub struct ShardConfig {
    /// The bot token, without `Bot `.
    pub token: Zeroizing<String>,
    /// The intents' bits.
    pub intents: u64,
    /// Transport or payload compression.
    pub compression: Compression,
    /// Presence of IDENTIFY: JSON of op 3's `d`.
    pub presence: Option<String>,
    /// 50 to 250.
    pub large_threshold: u8,
    /// Whether a lost connection is made anew.
    pub auto_reconnect: bool,
    /// `(shard_id, shard_count)`.
    pub shard: Option<(u32, u32)>,
    /// A session to resume.
    pub session: Option<Session>,
    /// Another process may take the session over: whether one has is asked before each RESUME and IDENTIFY
    /// ([`crate::delivery::Notice::CheckLease`]).
    pub leased: bool,
    /// Where to connect; `None`: `api_url` is asked.
    pub gateway_url: Option<String>,
    /// Where the API said that the Gateway is, so that it need not be asked again so soon.
    pub known_url: Option<String>,
    /// A gate outside of the engine has to agree to each IDENTIFY ([`crate::delivery::Notice::PermitWanted`]).
    pub outside_gate: bool,
    /// `https://discord.com/api/v10`.
    pub api_url: String,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Delays between connections.
    pub backoff: BackoffConfig,
    /// Cap of one payload, inflated, in bytes.
    pub max_payload_bytes: usize,
    /// The way out.
    pub proxies: Proxies,
    /// What is asked of the operating system.
    pub system: System,
    /// How much later events may be told, so that they come together ([`Moderation`]).
    pub wake_interval: Duration,
    /// PEM certificates trusted besides the roots.
    pub ca_file: Option<PathBuf>,
    /// The operating system's roots instead of Mozilla's.
    pub native_roots: bool,
    /// `os`, `browser`, `device`.
    pub properties: [String; 3],
    /// `User-Agent`.
    pub user_agent: String,
    /// `ws://` to other hosts than this machine.
    pub allow_plaintext: bool,
}

impl fmt::Debug for ShardConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardConfig").field("shard", &self.shard).finish_non_exhaustive()
    }
}

/// What is asked of the operating system; tests put something else in its place.
#[derive(Clone)]
pub struct System {
    /// Looks up names.
    pub resolver: Resolver,
    /// How long the machine has slept so far: [`clock::asleep`].
    pub asleep: fn() -> Duration,
    /// Of the threads on which the shard runs; a runtime that does not ask it is not moderated.
    pub moderation: Arc<Moderation>,
}

impl Default for System {
    fn default() -> Self {
        Self { resolver: system_resolver(), asleep: clock::asleep, moderation: Arc::default() }
    }
}

/// A setting that cannot work; the text says what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl From<TlsError> for ConfigError {
    fn from(error: TlsError) -> Self {
        Self(error.0)
    }
}

impl ShardConfig {
    /// Checks what can be checked before a connection is tried.
    ///
    /// # Errors
    /// What is wrong and what to do about it. The token is never part of the text.
    pub fn check(&self) -> Result<(), ConfigError> {
        let fail = |text: &str| Err(ConfigError(text.to_owned()));
        if self.token.is_empty() {
            return fail("the token is empty; set DISCORD_TOKEN to the one on the application's Bot page");
        }
        if !self.token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return fail("the token holds white space or non-ASCII characters; copy it again, without a line end");
        }
        if !(50..=250).contains(&self.large_threshold) {
            return fail("large_threshold must be 50 to 250");
        }
        if let Some((id, count)) = self.shard
            && id >= count
        {
            return Err(ConfigError(format!("shard ({id}, {count}): the id must be below the count, and starts at 0")));
        }
        let first = match &self.gateway_url {
            Some(url) => gateway_url(url, self.compression, self.allow_plaintext).map_err(ConfigError)?,
            None => api_url(&self.api_url, self.allow_plaintext).map_err(ConfigError)?,
        };
        self.proxies.to(&first).map_err(ConfigError)?;
        let [os, browser, device] = &self.properties;
        let identify = Zeroizing::new(command::identify(&IdentifyOptions {
            token: &self.token,
            intents: Intents(self.intents),
            shard: self.shard,
            large_threshold: self.large_threshold,
            compress: false,
            presence: self.presence.as_deref(),
            properties: Properties { os, browser, device },
        }));
        if identify.len() > command::MAX_PAYLOAD_BYTES {
            return Err(ConfigError(format!(
                "IDENTIFY would be {} bytes, Discord takes {}: shorten the presence",
                identify.len(),
                command::MAX_PAYLOAD_BYTES
            )));
        }
        Ok(())
    }

    /// The transport's part.
    ///
    /// # Errors
    /// Where the trust store cannot be built.
    pub fn transport(&self) -> Result<TransportConfig, ConfigError> {
        Ok(TransportConfig {
            tls: client_config(self.ca_file.as_deref(), self.native_roots)?,
            proxies: self.proxies.clone(),
            resolver: Arc::clone(&self.system.resolver),
            compression: self.compression,
            max_payload_bytes: self.max_payload_bytes,
            user_agent: self.user_agent.clone(),
            stage: Stage::default(),
        })
    }

    /// The session machine's part.
    pub fn machine(&self) -> MachineConfig {
        MachineConfig {
            token: self.token.clone(),
            intents: self.intents,
            shard: self.shard,
            compression: self.compression,
            large_threshold: self.large_threshold,
            presence: self.presence.clone(),
            properties: self.properties.clone(),
            auto_reconnect: self.auto_reconnect,
            timeouts: self.timeouts,
            backoff: self.backoff,
            session: self.session.clone(),
            refuse_resume_url,
            base_url: self.gateway_url.clone().or_else(|| self.known_url.clone()),
            assumed_url: assumed_url(&self.api_url),
            allow_plaintext: self.allow_plaintext,
            presence_limiter: PresenceLimiter::default(),
            leased: self.leased,
        }
    }
}

/// Where the Gateway of an API may be, until the API is asked: at the same host. Discord's own hosts are trusted anyway.
fn assumed_url(api_url: &str) -> String {
    api_url.replacen("http", "ws", 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{session::Machine, transport::Proxy};

    #[test]
    fn f40_debug_of_what_holds_secrets_shows_none() {
        let config = ShardConfig {
            token: Zeroizing::new("hush-token".to_owned()),
            intents: 1,
            compression: Compression::None,
            presence: None,
            large_threshold: 50,
            auto_reconnect: true,
            shard: Some((1, 4)),
            session: Some(Session {
                id: "hush-session".to_owned(),
                sequence: 7,
                resume_url: None,
                shard: Some((1, 4)),
                intents: 1,
            }),
            leased: false,
            gateway_url: Some("ws://127.0.0.1:1".to_owned()),
            known_url: None,
            outside_gate: false,
            api_url: "https://discord.com/api/v10".to_owned(),
            timeouts: Timeouts::default(),
            backoff: BackoffConfig::default(),
            max_payload_bytes: 4096,
            proxies: Proxies::Always(Arc::new(Proxy::parse("http://ada:hush-proxy@localhost").unwrap())),
            wake_interval: std::time::Duration::ZERO,
            system: System::default(),
            ca_file: None,
            native_roots: false,
            properties: ["os", "browser", "device"].map(str::to_owned),
            user_agent: "DiscordBot (test, 1)".to_owned(),
            allow_plaintext: false,
        };
        config.check().unwrap();
        let mut machine = Machine::new(config.machine(), 1);
        machine.open(std::time::Duration::ZERO);
        machine.connected(std::time::Duration::ZERO);
        let hello = br#"{"op":10,"d":{"heartbeat_interval":41250}}"#;
        machine.payload(std::time::Duration::ZERO, &crate::protocol::envelope::scan(hello).unwrap(), hello);
        let actions: Vec<_> = std::iter::from_fn(|| machine.poll_action()).collect();
        let text = format!(
            "{config:?} {:?} {:?} {:?} {actions:?}",
            config.machine(),
            config.transport().unwrap(),
            config.session,
        );
        assert!(text.contains("Send(") && text.contains("Proxy(Http localhost:80)"), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
}
