//! What a simulated server is told at its start: one flat, serialisable struct, so that Python passes plain JSON.

use serde::{Deserialize, Serialize};

use super::certificate::Certificate;
use super::script::Script;

/// Options of a [`Simulator`](crate::Simulator). Every field has a default; unknown fields are an error.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools)] // independent switches, named in JSON by tests
pub struct SimulatorConfig {
    /// TCP port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Serve TLS (`wss`, `https`) with a certificate made at start.
    pub tls: bool,
    /// Which certificate is shown; everything but [`Certificate::Valid`] has to be refused by a client.
    pub certificate: Certificate,
    /// The only token that is accepted (without `Bot `); `None` accepts every non-empty one.
    pub token: Option<String>,
    /// Milliseconds between beats, sent in HELLO. Discord's is about 41,250.
    pub heartbeat_interval: u64,

    /// Guilds of the bot, over all shards.
    pub guilds: usize,
    /// Channels of each guild.
    pub channels: usize,
    /// Members of each guild, as told by `GUILD_MEMBERS_CHUNK`.
    pub members: usize,
    /// Members that `GUILD_CREATE` carries (Discord: the online ones of a large guild).
    pub guild_create_members: usize,
    /// Send a `GUILD_CREATE` for each guild of READY, if the GUILDS intent was asked for.
    pub guild_creates: bool,

    /// `shards` as told by `/gateway/bot`.
    pub shards: u32,
    /// Guilds that one shard may have; an IDENTIFY of a larger one is closed with 4011. 0 switches the rule off.
    pub guilds_per_shard: u64,
    /// IDENTIFYs that may come at once; bucket of a shard = `shard_id % max_concurrency`.
    pub max_concurrency: u32,
    /// Milliseconds between two IDENTIFYs of one bucket (an earlier one gets op 9); 0 switches the rule off.
    pub identify_interval: u64,
    /// `session_start_limit.total`.
    pub session_start_total: u32,
    /// `session_start_limit.remaining` at start; every IDENTIFY takes one.
    pub session_start_remaining: u32,
    /// `session_start_limit.reset_after` in milliseconds, counted from the start; then the budget is full.
    pub session_start_reset_after: u64,
    /// Intent bits that the application may not use: 4014.
    pub disallowed_intents: u64,
    /// Frames of one connection in 60 s before 4008; 0 switches the rule off.
    pub command_limit: usize,
    /// Bytes of one client payload before 4002.
    pub payload_limit: usize,
    /// Milliseconds between two all-members requests for a guild (an earlier one gets `RATE_LIMITED`); 0 switches the rule off.
    pub member_request_interval: u64,

    /// Dispatches that a session can replay; `None`: Discord's `max(100, min(3500, guilds * 75))`, and a million for a
    /// flat-out stream, whose events wait by the ten thousand in socket buffers.
    pub replay_buffer: Option<u64>,
    /// Milliseconds that a session outlives its connection.
    pub session_ttl: u64,
    /// Drop a connection whose client is this many dispatches behind; `None` waits for ever.
    pub max_lag: Option<u64>,
    /// Listen on a second port, given out as `resume_gateway_url`, so that a test can tell the two apart.
    pub separate_resume_port: bool,
    /// Answer 403 to an upgrade without `User-Agent`.
    pub require_user_agent: bool,
    /// `SO_SNDBUF` of accepted connections, bytes; `None`: the system's.
    pub send_buffer: Option<u32>,
    /// zlib level of zlib-stream and payload compression.
    pub zlib_level: u32,
    /// zstd level of zstd-stream; the window log is always 18, as Discord's.
    pub zstd_level: i32,

    /// Seed of the traffic: the same seed gives the same bytes.
    pub seed: u64,
    /// Events per second and session; 0: none, `None`: flat out.
    pub rate: Option<f64>,
    /// Milliseconds between two looks at which events are due; below 2, the timer's own grain, it takes a thread.
    pub tick: f64,
    /// Events per second of the whole bot, numbered for each guild, the same for every session that has the guild; 0: none
    /// until `flood_shared(true)`.
    pub shared_rate: f64,
    /// Only these events (names as Discord's); empty: the mix of a large bot.
    pub events: Vec<String>,
    /// Events per session; `None`: endless.
    pub count: Option<u64>,
    /// When the traffic of a session starts, and that of the whole bot.
    pub start: Start,
    /// With `count` and flat out: encode everything before the first event is sent.
    pub preload: bool,
    /// Leave out generated events whose intent the client did not ask for.
    pub respect_intents: bool,
    /// Put nanoseconds since the Unix epoch into `nonce` of each `MESSAGE_CREATE`, for latency (bytes then differ between runs).
    pub stamp: bool,

    /// Scripts of connections to come.
    pub scripts: Vec<Script>,
}

/// When traffic starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// A session's after READY and its `GUILD_CREATEs`, that of the whole bot with the server.
    #[default]
    Ready,
    /// When `flood(true)` or `flood_shared(true)` is called, or a script says so.
    Manual,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            port: 0,
            tls: false,
            certificate: Certificate::Valid,
            token: None,
            heartbeat_interval: 41_250,
            guilds: 10,
            channels: 8,
            members: 50,
            guild_create_members: 20,
            guild_creates: true,
            shards: 1,
            guilds_per_shard: 2_500,
            max_concurrency: 1,
            identify_interval: 5_000,
            session_start_total: 1_000,
            session_start_remaining: 1_000,
            session_start_reset_after: 86_400_000,
            disallowed_intents: 0,
            command_limit: 120,
            payload_limit: 4_096,
            member_request_interval: 30_000,
            replay_buffer: None,
            session_ttl: 180_000,
            max_lag: None,
            separate_resume_port: false,
            require_user_agent: false,
            send_buffer: None,
            zlib_level: 6,
            zstd_level: 3,
            seed: 0,
            rate: Some(0.0),
            tick: 2.0,
            shared_rate: 0.0,
            events: Vec::new(),
            count: None,
            start: Start::Ready,
            preload: false,
            respect_intents: false,
            stamp: false,
            scripts: Vec::new(),
        }
    }
}

impl SimulatorConfig {
    /// Dispatches kept for a RESUME.
    pub(crate) fn replay_limit(&self) -> u64 {
        self.replay_buffer.unwrap_or_else(|| {
            if self.rate.is_none() {
                1_000_000
            } else {
                // discord-api-docs #24: `max(100, min(3500, guilds * 75))`
                (self.guilds as u64 * 75).clamp(100, 3_500)
            }
        })
    }
}
