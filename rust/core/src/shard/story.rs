//! What the log is told of a shard's life, line by line, for who debugs a bot. Owns the words and that no secret is in
//! them; they reach Python as notices, a bounded number of them, and only on the turns of a connection's life.

use std::time::Duration;

use url::Url;

use crate::{
    delivery::{Level, Notice, ShardQueue},
    session::{ConnectFailure, ConnectFailureKind, Machine, Status},
    transport::{Stage, TransportConfig},
};

/// Pauses of a small queue follow each other by the millisecond; of those, one in so much time is told.
const PAUSE_EVERY: Duration = Duration::from_secs(10);
/// Shorter than any token or session id of Discord's; what tests call a token stands in many words.
const SECRET: usize = 8;

/// A host and port, without what else a URL may hold.
fn host_of(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "a URL that is none".to_owned() };
    let host = url.host_str().unwrap_or("no host");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Tells of a connection attempt to `url`, or to where `api_url` says.
pub(super) fn connecting(
    news: &mut Vec<Notice>,
    url: Option<&str>,
    api_url: &str,
    resuming: bool,
    way: &TransportConfig,
) {
    let whither = match url {
        Some(url) => host_of(url),
        None => format!("where {} says", host_of(api_url)),
    };
    let purpose = if resuming { ", to resume" } else { "" };
    let first = Url::parse(url.unwrap_or(api_url)).ok();
    let proxy = first.as_ref().and_then(|first| way.proxies.to(first).ok().flatten());
    let proxy = proxy.map_or_else(String::new, |proxy| format!(", through the proxy {proxy}"));
    news.push(Notice::Log(Level::Debug, format!("connecting to {whither}{purpose}{proxy}")));
}

/// Tells of a turn of the lifecycle.
pub(super) fn turned(news: &mut Vec<Notice>, status: Status, machine: &Machine, now: Duration) {
    let beat = machine.heartbeat_interval().map_or(0.0, |interval| interval.as_secs_f64());
    let line = match status {
        Status::WaitingForHello => "connected; waiting for HELLO".to_owned(),
        Status::Identifying => format!("HELLO: a heartbeat every {beat} s; waiting for leave to IDENTIFY"),
        Status::WaitingForReady => "IDENTIFY sent; waiting for READY".to_owned(),
        Status::Resuming => {
            let sequence = machine.session().map_or(0, |session| session.sequence);
            format!("HELLO: a heartbeat every {beat} s; RESUME sent, from sequence {sequence}")
        }
        // Where the next connection begins at once, `connecting` tells.
        Status::Disconnected => match machine.next_connection() {
            Some(at) => format!("next connection in {:.1} s", at.saturating_sub(now).as_secs_f64()),
            None => return,
        },
        _ => return,
    };
    news.push(Notice::Log(Level::Debug, line));
}

/// When a pause of reading was told last.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    told: Option<Duration>,
    open: bool,
}

impl Pauses {
    pub(super) fn began(&mut self, queue: &ShardQueue, now: Duration) {
        if self.told.is_some_and(|at| now.saturating_sub(at) < PAUSE_EVERY) {
            return;
        }
        self.told = Some(now);
        self.open = true;
        let line = "listeners do not keep up and the queue is full: the socket is not read until half of it is taken";
        queue.notify(Notice::Log(Level::Info, line.to_owned()));
    }

    pub(super) fn ended(&mut self, queue: &ShardQueue, lasted: Duration) {
        if std::mem::take(&mut self.open) {
            let line = format!("the socket is read again, after {:.3} s", lasted.as_secs_f64());
            queue.notify(Notice::Log(Level::Info, line));
        }
    }
}

/// A failure as it is told: a passed deadline with what was being waited for, and nothing that a server repeats of ours.
pub(super) fn explained(mut failure: ConnectFailure, stage: &Stage, token: &str) -> ConnectFailure {
    if failure.kind == ConnectFailureKind::Timeout {
        failure.message = format!("{}: {}", failure.message, stage.missing());
    }
    failure.message = without(failure.message, [Some(token), None]);
    failure
}

/// A peer's words, less what they repeat of ours.
pub(super) fn without(words: String, secrets: [Option<&str>; 2]) -> String {
    secrets
        .into_iter()
        .flatten()
        .filter(|secret| secret.len() >= SECRET)
        .fold(words, |words, secret| if words.contains(secret) { words.replace(secret, "<hidden>") } else { words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f40_a_host_is_all_that_is_told_of_a_url() {
        assert_eq!(host_of("wss://user:hush@gateway.discord.gg/hush?hush=1"), "gateway.discord.gg");
        assert_eq!(host_of("ws://127.0.0.1:8080/"), "127.0.0.1:8080");
        assert_eq!(host_of("hush"), "a URL that is none");
    }

    #[test]
    fn f40_what_a_peer_says_back_is_hidden() {
        let secrets = [Some("MTA0NTY3.token"), Some("session-id")];
        let words = without("not MTA0NTY3.token, nor session-id; MTA0NTY3.token".to_owned(), secrets);
        assert_eq!(words, "not <hidden>, nor <hidden>; <hidden>");
        assert_eq!(without("Authentication failed.".to_owned(), [Some("failed"), None]), "Authentication failed.");
    }
}
