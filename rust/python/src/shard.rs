//! `_core.Shard`: one shard's engine as Python holds it. Every method returns at once; what takes
//! time is answered by a notice through the hub.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use propylon_core::{
    bytes::Bytes,
    clock,
    delivery::{Counts, Dispatch, Heard, Overflow, QueueConfig, ShardQueue, Side},
    fleet::Blocked,
    protocol::event::EventType,
    session::{GuildChange, Session},
    shard::{Request, ShardConfig, ShardHandle, SharedState},
};
use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
    types::PyDict,
};

use crate::{
    dispatch, errors,
    fleet::{PyOverlap, PyRoom},
    hub::PyHub,
    options::{asks_environment, config_of, next_key, option, proxies_of_environment},
    runtime,
    runtime::OfThisProcess,
    subscriptions::PySubscriptions,
};

/// A session as Python passes it: `(id, sequence, resume_url, shard, intents)`.
type SessionFacts = (String, u64, Option<String>, Option<(u32, u32)>, u64);

/// An event that no connection brought: `(type, raw, sequence, shard_id, guild_change)`.
type Fed = (String, Vec<u8>, Option<u64>, u32, Option<String>);

struct Inner {
    state: Arc<SharedState>,
    handle: Mutex<Option<ShardHandle>>,
    config: Mutex<ShardConfig>,
    /// `proxy="env"`: the environment's proxies, as they are when it starts.
    proxies_of_environment: bool,
}

/// One shard.
#[pyclass(frozen, name = "Shard", module = "propylon._core")]
pub(crate) struct PyShard(OfThisProcess<Inner>);

fn session_of(facts: Option<SessionFacts>) -> Option<Session> {
    facts.map(|(id, sequence, resume_url, shard, intents)| Session { id, sequence, resume_url, shard, intents })
}

fn facts_of(session: Session) -> SessionFacts {
    (session.id, session.sequence, session.resume_url, session.shard, session.intents)
}

fn by_type<'py>(py: Python<'py>, counts: &Counts) -> PyResult<Bound<'py, PyDict>> {
    let result = PyDict::new(py);
    for event in EventType::all() {
        if counts[event.index()] > 0 {
            result.set_item(event.name(), counts[event.index()])?;
        }
    }
    if counts[EventType::UNKNOWN.index()] > 0 {
        result.set_item("UNKNOWN", counts[EventType::UNKNOWN.index()])?;
    }
    Ok(result)
}

impl PyShard {
    fn get(&self) -> PyResult<&Arc<Inner>> {
        self.0.get().ok_or_else(errors::forked)
    }

    /// Which it is, and its state, for who shows it.
    pub(crate) fn shown(&self) -> PyResult<((u32, u32), &Arc<SharedState>)> {
        let inner = self.get()?;
        let id = inner.config.lock().shard.unwrap_or((0, 1));
        Ok((id, &inner.state))
    }

    fn request(&self, request: Request) -> PyResult<bool> {
        Ok(self.get()?.handle.lock().as_ref().is_some_and(|handle| handle.request(request)))
    }
}

#[pymethods]
impl PyShard {
    #[new]
    #[pyo3(signature = (options, subscriptions, room=None))]
    fn new(options: &Bound<'_, PyDict>, subscriptions: &PySubscriptions, room: Option<&PyRoom>) -> PyResult<Self> {
        let config = config_of(options)?;
        config.check().map_err(|error| PyValueError::new_err(error.0))?;
        let overflow: String = option(options, "overflow")?;
        let overflow = match overflow.as_str() {
            "pause" => Overflow::Pause,
            "drop_oldest" => Overflow::DropOldest,
            _ => return Err(PyValueError::new_err("overflow must be \"pause\" or \"drop_oldest\"")),
        };
        let queue =
            QueueConfig { bytes: option(options, "queue_bytes")?, events: option(options, "queue_events")?, overflow };
        let queue = ShardQueue::new(next_key(), queue);
        let queue = Arc::new(match room {
            Some(room) => queue.within(Arc::clone(room.0.get().ok_or_else(errors::forked)?)),
            None => queue,
        });
        let session = session_of(option(options, "session")?);
        let (heard, recorders) = (Arc::clone(subscriptions.get()?), Arc::clone(subscriptions.recorders()?));
        let state = SharedState::new(queue, heard, recorders, session);
        Ok(Self(OfThisProcess::new(Inner {
            state,
            handle: Mutex::new(None),
            config: Mutex::new(config),
            proxies_of_environment: asks_environment(options)?,
        })))
    }

    /// How its notices and batches are told from those of other shards.
    #[getter]
    fn key(&self) -> PyResult<u64> {
        Ok(self.get()?.state.queue().key())
    }

    /// Holds its events against those of another fleet of the same bot; `new`: it is of the fleet that takes the
    /// other's place.
    #[pyo3(signature = (overlap, new=false))]
    fn overlap(&self, overlap: Option<&PyOverlap>, new: bool) -> PyResult<()> {
        let side = if new { Side::New } else { Side::Old };
        let overlap = match overlap {
            Some(overlap) => Some((Arc::clone(overlap.0.get().ok_or_else(errors::forked)?), side)),
            None => None,
        };
        self.get()?.state.set_overlap(overlap);
        Ok(())
    }

    /// Answers `("permit wanted", number, …)`: with when the day's budget is full again in Unix seconds, it is spent.
    #[pyo3(signature = (number, resets_at=None))]
    fn permit(&self, number: u64, resets_at: Option<f64>) -> PyResult<bool> {
        let answer = match resets_at {
            None => Ok(()),
            Some(resets_at) => {
                let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
                let wait = Duration::try_from_secs_f64((resets_at - unix).max(0.0)).unwrap_or(Duration::MAX);
                Err(Blocked { wait, resets_at })
            }
        };
        self.request(Request::PermitAnswered(number, answer))
    }

    /// Where the API said that the Gateway is, for the next run.
    fn set_known_url(&self, url: String) -> PyResult<()> {
        self.get()?.config.lock().known_url = Some(url);
        Ok(())
    }

    /// Bytes of WebSocket messages received: where they have grown, the connection lives.
    #[getter]
    fn wire_bytes(&self) -> PyResult<u64> {
        Ok(self.get()?.state.counts().wire_bytes.load(Relaxed))
    }

    /// Guilds of the session.
    #[getter]
    fn guild_count(&self) -> PyResult<usize> {
        Ok(self.get()?.state.guild_count())
    }

    /// Binds delivery to `hub` (or to nothing).
    #[pyo3(signature = (hub))]
    fn bind(&self, hub: Option<&PyHub>) -> PyResult<()> {
        let queue = self.get()?.state.queue();
        match hub {
            Some(hub) => hub.get()?.bind(queue),
            None => queue.unbind(),
        }
        Ok(())
    }

    /// Starts it; it connects at once.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.get()?;
        if inner.state.is_running() {
            return Err(PyRuntimeError::new_err("the shard runs already"));
        }
        let (runtime, moderation) = runtime::engine()?;
        let mut config = inner.config.lock().clone();
        config.system.moderation = moderation;
        if inner.proxies_of_environment {
            config.proxies = proxies_of_environment();
        }
        // Reading root certificates can touch the disk.
        let handle = py.detach(|| ShardHandle::start(&runtime, &config, &inner.state));
        *inner.handle.lock() = Some(handle.map_err(|error| PyValueError::new_err(error.0))?);
        Ok(())
    }

    /// Whether a run is under way.
    #[getter]
    fn running(&self) -> PyResult<bool> {
        Ok(self.get()?.state.is_running())
    }

    /// Asks for the closing handshake; `("ended", …)` follows. Whether a run was there to be asked.
    fn close(&self, code: u16, reason: String) -> PyResult<bool> {
        self.request(Request::Close { code, reason })
    }

    /// Queues a payload; `("done", id, …)` follows. Whether a run was there to take it.
    fn send(&self, id: u64, opcode: u8, payload: String) -> PyResult<bool> {
        self.request(Request::Send { id, opcode, payload })
    }

    /// Sets the presence (JSON of op 3's `d`); `("done", id, …)` follows.
    fn set_presence(&self, id: u64, presence: String) -> PyResult<bool> {
        let inner = self.get()?;
        inner.config.lock().presence = Some(presence.clone());
        self.request(Request::SetPresence { id, presence })
    }

    /// Asks for these intents from the next run on.
    fn set_intents(&self, intents: u64) -> PyResult<()> {
        self.get()?.config.lock().intents = intents;
        Ok(())
    }

    /// Takes a command back that still waits.
    fn cancel(&self, id: u64) -> PyResult<bool> {
        self.request(Request::Cancel(id))
    }

    /// Makes no further connection.
    fn stop_reconnecting(&self) -> PyResult<bool> {
        self.request(Request::StopReconnecting)
    }

    /// Answers `("check lease", check)`: the session is still this process's.
    fn lease_held(&self, check: u64) -> PyResult<bool> {
        self.request(Request::LeaseHeld(check))
    }

    /// Another process has claimed the session: `("ended", …)` follows.
    fn taken_over(&self) -> PyResult<bool> {
        self.request(Request::TakenOver)
    }

    /// Stops or resumes the hand-over of events: back-pressure of the listeners.
    fn hold(&self, held: bool) -> PyResult<()> {
        self.get()?.state.queue().hold(held);
        Ok(())
    }

    /// Takes events that no connection brought, as if one had: matched, counted and queued. Nothing of the session changes.
    fn feed(&self, py: Python<'_>, events: Vec<Fed>) -> PyResult<()> {
        let state = &self.get()?.state;
        let dispatches = events.into_iter().map(|(name, raw, sequence, shard_id, change)| {
            let known = EventType::from_name(name.as_bytes());
            Dispatch {
                event: known.unwrap_or(EventType::UNKNOWN),
                name: known.is_none().then(|| name.into_boxed_str()),
                shard_id,
                sequence,
                received_at: clock::now(),
                data: Bytes::from(raw),
                part: None,
                guild_change: GuildChange::ALL.into_iter().find(|known| Some(known.name()) == change.as_deref()),
                heard: Heard::default(),
            }
        });
        let dispatches: Vec<_> = dispatches.collect();
        py.detach(|| state.feed(dispatches, None));
        Ok(())
    }

    /// Whether events wait in the queue.
    #[getter]
    fn waiting(&self) -> PyResult<bool> {
        Ok(!self.get()?.state.queue().is_empty())
    }

    /// The name of the lifecycle's state.
    #[getter]
    fn status(&self) -> PyResult<&'static str> {
        Ok(self.get()?.state.status().name())
    }

    /// Seconds from the last acknowledged heartbeat to its ACK.
    #[getter]
    fn latency(&self) -> PyResult<Option<f64>> {
        Ok(self.get()?.state.latency().map(|latency| latency.as_secs_f64()))
    }

    /// Whether every guild of READY has been heard of.
    #[getter]
    fn guilds_ready(&self) -> PyResult<bool> {
        Ok(self.get()?.state.guilds_ready())
    }

    /// Unix time in seconds until which no IDENTIFY leaves.
    #[getter]
    fn identify_blocked_until(&self) -> PyResult<Option<f64>> {
        Ok(self.get()?.state.identify_blocked_until())
    }

    /// `(id, sequence, resume_url, shard, intents)` or `None`.
    #[getter]
    fn session(&self) -> PyResult<Option<SessionFacts>> {
        Ok(self.get()?.state.session().map(facts_of))
    }

    /// The session, its sequence the largest up to which no event waits in the queue, and when the session began in
    /// seconds of `time.monotonic()`.
    #[getter]
    fn mark(&self) -> PyResult<Option<(SessionFacts, f64)>> {
        let mark = self.get()?.state.mark();
        Ok(mark.map(|(session, since)| (facts_of(session), dispatch::monotonic(since))))
    }

    /// What the send window still takes, and the seconds until all of it is free again.
    #[getter]
    fn send_window(&self) -> PyResult<(usize, f64)> {
        let (remaining, resets_in) = self.get()?.state.send_window();
        Ok((remaining, resets_in.as_secs_f64()))
    }

    /// The bot's own user; `None` before the first READY.
    #[getter]
    fn user_id(&self) -> PyResult<Option<u64>> {
        Ok(self.get()?.state.user_id())
    }

    /// From the next batch on, `("reply", dispatch)` tells each of these events as news too.
    fn await_replies(&self, events: Vec<String>) -> PyResult<()> {
        let awaited = events.iter().filter_map(|name| EventType::from_name(name.as_bytes())).collect();
        self.get()?.state.await_replies(awaited);
        Ok(())
    }

    /// Replaces the session that the next run resumes.
    #[pyo3(signature = (session))]
    fn set_session(&self, session: Option<SessionFacts>) -> PyResult<()> {
        self.get()?.state.set_session(session_of(session));
        Ok(())
    }

    /// What Python has counted so far, for who asks while it is blocked.
    fn tell(&self, mended: u64, undecodable: u64, listener_errors: u64) -> PyResult<()> {
        let told = self.get()?.state.told();
        told.mended.store(mended, Relaxed);
        told.undecodable.store(undecodable, Relaxed);
        told.listener_errors.store(listener_errors, Relaxed);
        Ok(())
    }

    /// All counters, taken together.
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let state = &self.get()?.state;
        let (ledger, queue_bytes, waiting) = state.queue().snapshot();
        let queued: u64 = waiting.iter().sum();
        let counts = state.counts();
        let result = PyDict::new(py);
        for (name, counts) in [
            ("received", &ledger.received),
            ("delivered", &ledger.delivered),
            ("unheard", &ledger.unheard),
            ("filtered", &ledger.filtered),
            ("overflowed", &ledger.overflowed),
            ("overlapped", &ledger.overlapped),
        ] {
            result.set_item(name, counts.iter().sum::<u64>())?;
            result.set_item(format!("{name}_by_type"), by_type(py, counts)?)?;
        }
        result.set_item("queued_by_type", by_type(py, &waiting)?)?;
        result.set_item("queued", queued)?;
        result.set_item("queue_bytes", queue_bytes)?;
        result.set_item("wakeups", state.queue().wakeups())?;
        for (name, counter) in [
            ("wire_bytes", &counts.wire_bytes),
            ("inflated_bytes", &counts.inflated_bytes),
            ("pauses", &counts.pauses),
            ("heartbeats", &counts.heartbeats),
            ("reconnects", &counts.reconnects),
            ("resumes", &counts.resumes),
            ("identifies", &counts.identifies),
            ("commands_sent", &counts.commands_sent),
            ("duplicates", &counts.duplicates),
            ("ignored", &counts.ignored),
            ("malformed", &counts.malformed),
        ] {
            result.set_item(name, counter.load(Relaxed))?;
        }
        result.set_item("paused_seconds", counts.paused().as_secs_f64())?;
        let ages = state.ages();
        for (name, at) in
            [("last_frame_at", ages.frame()), ("last_event_at", ages.event()), ("last_ack_at", ages.ack())]
        {
            result.set_item(name, at.map(clock::unix_of))?;
        }
        Ok(result)
    }
}
