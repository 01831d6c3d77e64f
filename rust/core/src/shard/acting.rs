//! What the driver does for the machine: dials, sends, closes, tells.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{dialling::Plan, driver::Driver, story};
use crate::{
    clock,
    delivery::{Notice, ShardQueue},
    fleet,
    protocol::close_code::FatalClose,
    session::{Action, Ended, Session},
    transport::api_url,
};

/// The end of a gateway is not told later than this because a question is unanswered.
const INQUIRY: Duration = Duration::from_secs(3);

/// The turn at an outside gate, from the question on; it is given up, or given back, when this is dropped.
pub(super) struct OutsideTurn {
    number: u64,
    queue: Arc<ShardQueue>,
    asked: bool,
}

impl OutsideTurn {
    fn ask(&mut self, max_concurrency: u32) {
        self.asked = true;
        self.queue.notify(Notice::PermitWanted(self.number, max_concurrency));
    }
}

impl Drop for OutsideTurn {
    fn drop(&mut self) {
        if self.asked {
            self.queue.notify(Notice::PermitOver(self.number));
        }
    }
}

impl Driver {
    /// Carries out what the machine wants, and then tells of it.
    pub(super) fn act(&mut self, now: Duration) {
        // From a text on that found no room: what it was, and who awaits it.
        let mut unsent: Vec<(u64, String)> = Vec::new();
        let mut stuck: Option<Zeroizing<String>> = None;
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Connect { resume_url } => self.dial(resume_url),
                Action::AbortConnect => self.dialling = None,
                Action::TakeNext => {
                    if let Some(next) = self.next.take() {
                        self.connection = Some(next);
                    }
                }
                Action::DropNext => {
                    if let Some(mut next) = self.next.take() {
                        next.close(4000, "not needed");
                        next.linger(self.close_timeout);
                    }
                }
                Action::CheckLease(check) => self.news.push(Notice::CheckLease(check)),
                Action::AcquirePermit => self.ask_gate(),
                Action::ReleasePermit => {
                    self.permit = None;
                    self.asking = None;
                }
                Action::Send(text) => {
                    let text = Zeroizing::new(text);
                    if stuck.is_some() || !self.send(now, &text) {
                        stuck = Some(text);
                    }
                }
                Action::Close { code, reason, linger } => self.hang_up(now, code, &reason, linger),
                Action::Drop => self.drop_connection(),
                Action::Status(status) => {
                    self.state.status.store(status as u8, Relaxed);
                    story::turned(&mut self.news, status, &self.machine, now);
                }
                Action::Ready { resumed } => {
                    if let Some(journal) = &*self.state.journal.load() {
                        journal.ready(self.state.queue.key(), resumed);
                    }
                    if !resumed {
                        // Its READY is yet to be queued, and is not accepted before.
                        let session = self.machine.session().cloned().map(|session| Session { sequence: 0, ..session });
                        self.state.begin_session(session, now);
                        self.state.user_id.store(self.machine.user_id().unwrap_or(0), Relaxed);
                    }
                    // Whoever is woken by it reads counters and sequence; and its event is neither before nor behind it.
                    self.tell_news();
                    self.earlier.publish(&self.machine, &self.state);
                    self.flush_with(now, Some(Notice::Ready { resumed }));
                }
                Action::Closed(closed) => {
                    if let Some(journal) = &*self.state.journal.load()
                        && closed.reconnect
                    {
                        journal.lost(self.state.queue.key(), self.shard_id, closed.code, &closed.reason);
                    }
                    self.flush_batch(now);
                    self.state.keep_session(self.machine.session().cloned());
                    self.drop_connection();
                    if self.inquire(closed.error.as_ref()) {
                        self.unanswered = Some(closed);
                    } else {
                        self.news.push(Notice::Closed(closed));
                    }
                }
                Action::CommandDone(id, outcome) => match &mut stuck {
                    Some(text) if outcome.is_ok() && !text.is_empty() => {
                        unsent.push((id, std::mem::take(&mut **text)));
                    }
                    _ => self.news.push(Notice::CommandDone(id, outcome)),
                },
                Action::ConnectFailed(failure, delay) => {
                    let failure = story::explained(failure, &self.transport.stage, &self.token);
                    self.news.push(Notice::ConnectFailed(failure, delay));
                }
                Action::Warn(text) => self.news.push(Notice::Warn(text)),
                Action::Ended(Ended::Unreachable(failure)) => {
                    self.end(Ended::Unreachable(story::explained(failure, &self.transport.stage, &self.token)));
                }
                // With an answer awaited, it ends when that is in.
                Action::Ended(how) => {
                    if self.inquiry.is_none() {
                        self.end(how);
                    }
                }
            }
        }
        if !unsent.is_empty() {
            self.machine.send_again(unsent);
            return self.act(now);
        }
        self.tell_news();
    }

    /// Tells what has happened, once the counters say so too.
    fn tell_news(&mut self) {
        if !self.news.is_empty() {
            self.earlier.publish(&self.machine, &self.state);
            for notice in self.news.drain(..) {
                self.state.queue.notify(notice);
            }
        }
    }

    /// 4014 does not say which intent it refuses, but the application's flags do. Whether they are being asked for.
    fn inquire(&mut self, error: Option<&Ended>) -> bool {
        let refused = matches!(error, Some(Ended::Fatal { close: FatalClose::DisallowedIntents, .. }));
        if !refused || self.given_url {
            return false;
        }
        let Ok(api) = api_url(&self.api_url, self.allow_plaintext) else { return false };
        let (token, transport) = (self.token.clone(), self.transport.clone());
        self.inquiry = Some(Box::pin(async move {
            let flags = fleet::application_flags(&api, &token, &transport);
            tokio::time::timeout(INQUIRY, flags).await.ok()?.ok()
        }));
        true
    }

    pub(super) fn poll_inquiry(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(inquiry) = &mut self.inquiry else { return false };
        let Poll::Ready(flags) = inquiry.as_mut().poll(cx) else { return false };
        self.inquiry = None;
        let Some(mut closed) = self.unanswered.take() else { return false };
        if let Some(Ended::Fatal { application_flags, .. }) = &mut closed.error {
            *application_flags = flags;
        }
        let how = closed.error.clone();
        self.news.push(Notice::Closed(closed));
        if let Some(how) = how {
            self.end(how);
        }
        self.tell_news();
        true
    }

    /// Asks for the turn to IDENTIFY: the gate of this process, and then the one outside, where there is one.
    fn ask_gate(&mut self) {
        let (gate, shard_id) = (Arc::clone(&self.gate), self.shard_id);
        if !self.outside_gate {
            self.asking = Some(Box::pin(async move { Ok((gate.acquire(shard_id).await?, None)) }));
            return;
        }
        self.asked += 1;
        let (answer, answered) = oneshot::channel();
        self.outside_answer = Some((self.asked, answer));
        let mut turn = OutsideTurn { number: self.asked, queue: Arc::clone(&self.state.queue), asked: false };
        self.asking = Some(Box::pin(async move {
            let permit = Arc::clone(&gate).acquire(shard_id).await?;
            turn.ask(gate.max_concurrency());
            match answered.await {
                Ok(Ok(())) => Ok((permit, Some(turn))),
                Ok(Err(blocked)) => Err(blocked),
                // Never heard of: the driver keeps the other end as long as this is polled.
                Err(_) => std::future::pending().await,
            }
        }));
    }

    /// Whether it found room.
    fn send(&mut self, now: Duration, text: &Zeroizing<String>) -> bool {
        let Some(connection) = &mut self.connection else { return true };
        // A copy, wiped as well: what finds no room is sent again.
        let sent = connection.send(text.clone());
        if !sent {
            // 64 KiB unread by the peer: it is gone.
            self.machine.transport_failed(now, "the server stopped reading");
        }
        sent
    }

    fn hang_up(&mut self, now: Duration, code: u16, reason: &str, linger: bool) {
        let Some(connection) = &mut self.connection else { return };
        connection.close(code, reason);
        if linger {
            // The answer has to be read, whatever the queue says.
            if let Some((_, since)) = self.paused.take() {
                self.count_pause(since, now);
            }
        } else if let Some(connection) = self.connection.take() {
            connection.linger(self.close_timeout);
        }
    }

    pub(super) fn drop_connection(&mut self) {
        self.guilds.disconnected();
        self.connection = None;
        self.asking = None;
        self.breather = None;
        self.backlog = false;
        if let Some((_, since)) = self.paused.take() {
            self.count_pause(since, clock::now());
        }
    }

    pub(super) fn count_pause(&mut self, since: Duration, now: Duration) {
        let paused = now.saturating_sub(since).as_nanos() as u64;
        self.pauses.ended(&self.state.queue, now.saturating_sub(since));
        self.state.counts.paused_since.store(0, Relaxed);
        self.state.counts.paused_nanos.fetch_add(paused, Relaxed);
    }

    fn end(&mut self, how: Ended) {
        self.flush_batch(clock::now());
        self.drop_connection();
        self.next = None;
        self.dialling = None;
        self.permit = None;
        self.asking = None;
        self.ended = true;
        self.state.keep_session(self.machine.session().cloned());
        self.state.latency.store(u64::MAX, Relaxed);
        self.earlier.publish(&self.machine, &self.state);
        self.state.presence_limiter.lock().clone_from(self.machine.presence_limiter());
        self.state.running.store(false, Relaxed);
        self.news.push(Notice::Ended(how));
    }

    fn dial(&mut self, resume_url: Option<String>) {
        let resuming = self.machine.session().is_some();
        let ask = !self.given_url && !resuming && self.gate.is_stale();
        let url = resume_url.or_else(|| self.base_url.clone());
        story::connecting(&mut self.news, url.as_deref(), &self.api_url, resuming, &self.transport);
        let plan = Plan {
            url,
            ask,
            gate: Arc::clone(&self.gate),
            api_url: self.api_url.clone(),
            token: self.token.clone(),
            transport: self.transport.clone(),
            allow_plaintext: self.allow_plaintext,
        };
        self.dialling = Some(Box::pin(plan.carry_out()));
    }
}
