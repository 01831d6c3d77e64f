//! The driver's reader: from messages of the socket to events in the queue, batch by batch.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

use super::{
    connection::Incoming,
    driver::{BATCH, Driver},
    story,
};
use crate::{
    clock,
    delivery::{Dispatch, Fill, Notice, Slots},
    inflate::DecompressionError,
    moderation,
    protocol::{
        envelope::{self, Envelope, EventName},
        event::EventType,
        opcode::Opcode,
    },
    recording::{self, Recorder},
    session::{Fault, GuildChange, Verdict},
};

/// How long the reader waits for a consumer that is behind, at most: at 256 events in 2 ms it still reads more than
/// any bot gets, and neither beats nor ACKs are late by more.
const BREATHER: Duration = Duration::from_millis(2);

impl Driver {
    /// Reads until the socket is empty or a batch is full. Returns the number of messages.
    pub(super) fn poll_socket(&mut self, cx: &mut Context<'_>) -> usize {
        if self.paused.is_some() || self.breather.is_some() || self.connection.is_none() {
            return 0;
        }
        let now = clock::now();
        self.awaited = **self.state.awaited.load();
        self.overlap = self.state.overlap.load_full();
        self.recorders = self.state.recorders.current();
        let room = self.state.queue.room_left();
        // The user closes and nobody takes the events: the answer lies behind them, and has to be read.
        self.discarding = self.machine.is_closing() && (room.0 == 0 || room.1 == 0);
        let mut count = 0;
        self.backlog = true;
        while count < BATCH {
            let Some(connection) = &mut self.connection else { break };
            match connection.poll_read(cx) {
                Poll::Pending => {
                    self.backlog = false;
                    break;
                }
                Poll::Ready(Incoming::Message(message, binary)) => {
                    count += 1;
                    if !self.message(now, &message, binary) {
                        break;
                    }
                    if self.batch_bytes >= room.0 || self.batch.len() >= room.1 {
                        break;
                    }
                }
                Poll::Ready(Incoming::Quiet) => count += 1,
                Poll::Ready(incoming @ (Incoming::Closed(..) | Incoming::Lost(_))) => {
                    count += 1;
                    let (code, reason) = match incoming {
                        Incoming::Closed(code, reason) => {
                            // The answer that RFC 6455, section 5.5.1 asks for has to leave.
                            if let Some(connection) = self.connection.take() {
                                connection.linger(self.close_timeout);
                            }
                            (code, reason)
                        }
                        Incoming::Lost(reason) => (None, reason),
                        _ => unreachable!("one of these two"),
                    };
                    let session = self.machine.session().map(|session| session.id.as_str());
                    let reason = story::without(reason, [Some(self.token.as_str()), session]);
                    self.machine.closed(now, code, &reason);
                    self.act(now);
                    break;
                }
                Poll::Ready(Incoming::Broken(fault, why)) => {
                    count += 1;
                    self.machine.transport_faulted(now, fault, &why);
                    self.act(now);
                    break;
                }
            }
        }
        if !self.backlog && (self.tally.any || !self.batch.is_empty()) {
            moderation::has_read();
        }
        if count > 0 {
            self.state.ages.frame.store(now.as_nanos() as u64, Relaxed);
        }
        self.flush_batch(now);
        count
    }

    /// The connection beside the current one: nothing but its HELLO is awaited.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(next) = &mut self.next else { return false };
        let hello = match next.poll_read(cx) {
            Poll::Pending => {
                next.poll_flush(cx);
                return false;
            }
            Poll::Ready(Incoming::Quiet) => return true,
            Poll::Ready(Incoming::Message(message, binary)) => {
                self.state.counts.wire_bytes.fetch_add(message.len() as u64, Relaxed);
                match next.inflater.push(&message, binary) {
                    Ok(false) => return true,
                    Ok(true) => envelope::scan(next.inflater.document())
                        .is_ok_and(|envelope| envelope.op == Some(Opcode::Hello.code())),
                    Err(_) => false,
                }
            }
            Poll::Ready(Incoming::Closed(..) | Incoming::Lost(_) | Incoming::Broken(..)) => false,
        };
        let now = clock::now();
        if hello {
            self.machine.switch(now);
            self.act(now);
            self.documents(now);
        } else {
            self.next = None;
            self.machine.next_lost(now);
            self.act(now);
        }
        true
    }

    /// One WebSocket message. `false`: the connection is over.
    fn message(&mut self, now: Duration, message: &Bytes, binary: bool) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        self.state.counts.wire_bytes.store(self.state.counts.wire_bytes.load(Relaxed) + message.len() as u64, Relaxed);
        match connection.inflater.push(message, binary) {
            Ok(true) => {}
            Ok(false) => return true,
            Err(error) => {
                self.state.counts.malformed.fetch_add(1, Relaxed);
                let fault = match error {
                    DecompressionError::TooLarge { .. } => Fault::TooLarge,
                    _ => Fault::Decompression,
                };
                self.machine.transport_faulted(now, Some(fault), &error.to_string());
                self.act(now);
                return false;
            }
        }
        self.documents(now)
    }

    /// The document that was inflated, or the documents: several may stand in one message. `false`: the connection is over.
    fn documents(&mut self, now: Duration) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let length = connection.inflater.document().len();
        let counts = &self.state.counts;
        counts.inflated_bytes.store(counts.inflated_bytes.load(Relaxed) + length as u64, Relaxed);
        let mut start = 0;
        // Handed out once, when the first event of it is heard.
        let mut frozen: Option<Bytes> = None;
        while start < length {
            let Some(connection) = &mut self.connection else { return false };
            let document = frozen.as_deref().unwrap_or_else(|| connection.inflater.document());
            let rest = &document[start..];
            if start > 0 && envelope::is_blank(rest) {
                break;
            }
            let subscriptions = &self.state.subscriptions;
            let envelope = match self.parts.scan(rest, |event| subscriptions.is_projected(event)) {
                Ok(envelope) => envelope,
                Err(error) => {
                    self.state.counts.malformed.fetch_add(1, Relaxed);
                    self.machine.transport_failed(now, &format!("payload is not JSON: {error}"));
                    self.act(now);
                    return false;
                }
            };
            if self.discarding && envelope.op == Some(Opcode::Dispatch.code()) {
                // Not accepted: a RESUME brings it again.
                start += envelope.end;
                continue;
            }
            match self.machine.payload(now, &envelope, rest) {
                Verdict::Dispatch => {
                    let event = match &envelope.event {
                        EventName::Known(event) => *event,
                        _ => EventType::UNKNOWN,
                    };
                    let guild_change = self.guilds.note(now, event, &rest[envelope.data.clone()]);
                    if let Some(recorders) = &self.recorders {
                        let shard = (self.shard_id, self.shard_count);
                        offer(recorders, shard, now, event, &envelope, rest, guild_change);
                    }
                    match self.state.subscriptions.matches(event, &rest[envelope.data.clone()]) {
                        Slots::Unheard => {
                            self.tally.unheard[event.index()] += 1;
                            self.tally.any = true;
                        }
                        Slots::Filtered => {
                            self.tally.filtered[event.index()] += 1;
                            self.tally.any = true;
                        }
                        Slots::Heard(heard, wanted) => {
                            let name = Dispatch::unknown_name(&envelope.event, rest);
                            let elsewhere = self.overlap.as_deref().is_some_and(|(overlap, side)| {
                                !overlap.delivers(*side, event, name.as_deref(), &rest[envelope.data.clone()], now)
                            });
                            if elsewhere {
                                self.tally.overlapped[event.index()] += 1;
                                self.tally.any = true;
                            } else {
                                let bytes = frozen.get_or_insert_with(|| connection.inflater.freeze());
                                let data = bytes.slice(start + envelope.data.start..start + envelope.data.end);
                                let part = self.parts.cut(&wanted, &data);
                                let dispatch = Dispatch {
                                    event,
                                    name,
                                    shard_id: self.shard_id,
                                    sequence: envelope.sequence,
                                    received_at: now,
                                    data,
                                    part,
                                    guild_change,
                                    heard,
                                };
                                self.batch_bytes += dispatch.cost();
                                self.batch.push(dispatch);
                            }
                        }
                    }
                    if self.awaited.contains(event) {
                        let bytes = frozen.get_or_insert_with(|| connection.inflater.freeze());
                        let data = bytes.slice(start + envelope.data.start..start + envelope.data.end);
                        self.replies.push(Dispatch::answer(event, self.shard_id, envelope.sequence, now, data));
                    }
                    self.settle(now, event);
                }
                Verdict::Control => self.act(now),
                Verdict::Disconnected => {
                    self.act(now);
                    return false;
                }
            }
            start += envelope.end;
        }
        if frozen.is_none()
            && let Some(connection) = &mut self.connection
        {
            connection.inflater.discard();
        }
        true
    }

    /// Does what an event brings with it once it is in the batch.
    #[inline]
    fn settle(&mut self, now: Duration, event: EventType) {
        if matches!(event, EventType::READY | EventType::RESUMED) {
            // The status first: listeners of READY read it.
            self.act(now);
            self.flush_batch(now);
        }
        if self.guilds.is_complete() {
            self.flush_batch(now);
            self.guilds.tell();
        }
    }

    /// Gives the batch to the queue: one lock, one wake-up; and stops reading where the queue is full.
    pub(super) fn flush_batch(&mut self, now: Duration) {
        self.flush_with(now, None);
    }

    /// The same, with a notice that is neither before nor behind the events.
    pub(super) fn flush_with(&mut self, now: Duration, notice: Option<Notice>) {
        let accepted = self.machine.session().map(|session| session.sequence);
        if let Some(sequence) = accepted {
            self.state.sequence.store(sequence, Relaxed);
        }
        if !self.replies.is_empty() {
            self.state.queue.reply(&mut self.replies);
        }
        self.batch_bytes = 0;
        if self.tally.any || !self.batch.is_empty() {
            self.state.ages.event.store(now.as_nanos() as u64, Relaxed);
        }
        let fill = self.state.queue.push(&mut self.batch, &mut self.tally, accepted, notice);
        if fill == Fill::Low || self.paused.is_some() || self.connection.is_none() || self.machine.is_closing() {
            return;
        }
        let queue = Arc::clone(&self.state.queue);
        let room = async move { queue.room().await };
        if fill == Fill::High {
            self.breather = Some(Box::pin(async move {
                let _ = tokio::time::timeout(BREATHER, room).await;
            }));
            return;
        }
        self.state.counts.pauses.fetch_add(1, Relaxed);
        self.state.counts.paused_since.store(now.as_nanos() as u64, Relaxed);
        self.pauses.began(&self.state.queue, now);
        self.paused = Some((Box::pin(room), now));
        self.machine.pause_reading();
    }
}

/// Offers an accepted event to those who record, before anything decides who hears it.
fn offer(
    recorders: &[Arc<Recorder>],
    shard: (u32, u32),
    received_at: Duration,
    event: EventType,
    envelope: &Envelope,
    document: &[u8],
    guild_change: Option<GuildChange>,
) {
    let (sequence, data) = (envelope.sequence, &document[envelope.data.clone()]);
    let offered = recording::Event { event, shard, sequence, received_at, guild_change, data };
    for recorder in recorders {
        recorder.offer(&offered, || Dispatch::unknown_name(&envelope.event, document));
    }
}
