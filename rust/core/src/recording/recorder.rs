//! The recorder: takes events on the I/O thread and writes them on its own.
//!
//! An event is copied behind those that wait, all into one buffer that is used again: so nothing of the 32 KiB around an
//! event is held, nothing is allocated for it, and the limit is exact. Compressing and a disk that blocks are no business
//! of the I/O thread, which beats for every shard: hence a thread for each recording.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use zstd_safe::{CCtx, CParameter};

use super::{
    file::RecordingFile,
    line::{self, Facts},
    secrets::Searcher,
};
use crate::{
    clock,
    delivery::{Slots, Subscriptions},
    protocol::event::EventType,
    session::GuildChange,
};

/// The first event of a frame waits for so long, at most: with what writing takes, what is older than a second is in the
/// file.
const WAIT: Duration = Duration::from_millis(500);
/// Text of one frame. Larger ones hardly compress better, and their buffers do not fit a processor's cache.
const FRAME: usize = 1024 * 1024;
/// libzstd's own default: 5 MB of events in a second take it 1 to 2 % of a core.
const LEVEL: i32 = 3;

/// How to record.
#[derive(Debug, Clone)]
pub struct RecorderConfig {
    /// Where to.
    pub path: PathBuf,
    /// Write secrets too.
    pub secrets: bool,
    /// A file is set aside when it would be larger.
    pub max_bytes: Option<u64>,
    /// Bytes of events that may wait; as many may be being written meanwhile.
    pub queue_bytes: usize,
}

/// What became of the events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Written.
    pub events: u64,
    /// Written to the disk, compressed.
    pub bytes: u64,
    /// Not written, because too many waited or the disk refused them.
    pub dropped: u64,
    /// Written without secrets that they had.
    pub redacted: u64,
    /// What the disk said last.
    pub error: Option<String>,
}

/// An event as it is offered.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Its place in the name table.
    pub event: EventType,
    /// The shard that it came on, and of how many.
    pub shard: (u32, u32),
    /// `s`.
    pub sequence: Option<u64>,
    /// When it was read, by [`clock::now`].
    pub received_at: Duration,
    /// What it means for its guild.
    pub guild_change: Option<GuildChange>,
    /// The JSON text of `d`.
    pub data: &'a [u8],
}

struct Waiting {
    event: EventType,
    name: Option<Box<str>>,
    shard: (u32, u32),
    sequence: Option<u64>,
    received_at: Duration,
    guild_change: Option<GuildChange>,
    /// Where its bytes end, and the next one's begin.
    end: usize,
}

#[derive(Default)]
struct Batch {
    events: Vec<Waiting>,
    data: Vec<u8>,
    /// Bytes of the names that no table has.
    names: usize,
}

impl Batch {
    fn cost(&self) -> usize {
        self.data.len() + self.names + self.events.len() * size_of::<Waiting>()
    }

    /// Keeps its room for the next events, unless it is a burst's.
    fn clear(&mut self) {
        self.events.clear();
        self.data.clear();
        self.names = 0;
        if self.data.capacity() > 2 * FRAME {
            *self = Self::default();
        }
    }
}

#[derive(Default)]
struct State {
    batch: Batch,
    stopping: bool,
    finished: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the thread: something waits, enough waits, or it is over.
    filled: Condvar,
    finished: Condvar,
    /// So much is written at once, and not waited for.
    enough: usize,
    limit: usize,
    events: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    redacted: AtomicU64,
    error: Mutex<Option<String>>,
}

/// A recording under way. Dropping it ends it, without waiting for what is not written yet.
pub struct Recorder {
    subscriptions: Arc<Subscriptions>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Recorder").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Opens the file and starts the thread. `subscriptions` say which events are written; `tell` hears, on that thread,
    /// the first error of the disk.
    ///
    /// # Errors
    /// Where the file cannot be opened or is written by another recording, and where there is no thread.
    pub fn start(
        config: &RecorderConfig,
        subscriptions: Arc<Subscriptions>,
        tell: impl Fn(String) + Send + 'static,
    ) -> io::Result<Self> {
        let file = RecordingFile::open(&config.path, config.max_bytes)?;
        let mut context = CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        for parameter in [CParameter::CompressionLevel(LEVEL), CParameter::ChecksumFlag(true)] {
            context.set_parameter(parameter).map_err(zstd_error)?;
        }
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            finished: Condvar::new(),
            enough: FRAME.min(config.queue_bytes / 4),
            limit: config.queue_bytes,
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            redacted: AtomicU64::new(0),
            error: Mutex::default(),
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            file,
            context,
            searcher: (!config.secrets).then(Searcher::new),
            text: Vec::new(),
            frame: Vec::new(),
            tell: Box::new(tell),
        };
        thread::Builder::new().name("propylon-record".to_owned()).spawn(move || writer.run())?;
        Ok(Self { subscriptions, shared })
    }

    /// Takes an event, where it is one of those that are recorded; `name` where the table has none. Copies it, and waits for
    /// nothing but that copy of another thread.
    #[inline]
    pub fn offer(&self, event: &Event<'_>, name: impl FnOnce() -> Option<Box<str>>) {
        if matches!(self.subscriptions.matches(event.event, event.data), Slots::Heard(..)) {
            self.take(event, name());
        }
    }

    fn take(&self, event: &Event<'_>, name: Option<Box<str>>) {
        let shared = &*self.shared;
        let mut state = shared.state.lock();
        if state.stopping {
            return;
        }
        let batch = &mut state.batch;
        let before = batch.cost();
        // One alone is taken whatever it weighs: it would never be recorded otherwise.
        if before > 0 && before + event.data.len() + size_of::<Waiting>() > shared.limit {
            drop(state);
            shared.dropped.fetch_add(1, Relaxed);
            return;
        }
        batch.data.extend_from_slice(event.data);
        batch.names += name.as_deref().map_or(0, str::len);
        let end = batch.data.len();
        let &Event { event, shard, sequence, received_at, guild_change, .. } = event;
        batch.events.push(Waiting { event, name, shard, sequence, received_at, guild_change, end });
        let wakes = before == 0 || (before < shared.enough && batch.cost() >= shared.enough);
        drop(state);
        if wakes {
            shared.filled.notify_one();
        }
    }

    /// What became of the events so far.
    pub fn counts(&self) -> Counts {
        let shared = &*self.shared;
        Counts {
            events: shared.events.load(Relaxed),
            bytes: shared.bytes.load(Relaxed),
            dropped: shared.dropped.load(Relaxed),
            redacted: shared.redacted.load(Relaxed),
            error: shared.error.lock().clone(),
        }
    }

    /// Takes no further event, and waits until all are written. `false`: they are not within `patience`; the thread goes on
    /// trying.
    pub fn stop(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut state = self.shared.state.lock();
        state.stopping = true;
        self.shared.filled.notify_one();
        while !state.finished {
            if self.shared.finished.wait_until(&mut state, until).timed_out() {
                return state.finished;
            }
        }
        true
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.filled.notify_one();
    }
}

struct Writer {
    shared: Arc<Shared>,
    file: RecordingFile,
    context: CCtx<'static>,
    searcher: Option<Searcher>,
    text: Vec<u8>,
    frame: Vec<u8>,
    tell: Box<dyn Fn(String) + Send>,
}

impl Writer {
    fn run(mut self) {
        let mut batch = Batch::default();
        while self.next(&mut batch) {
            self.write(&batch);
            batch.clear();
        }
        let shared = Arc::clone(&self.shared);
        // The file is closed, and its lock given back, before anybody hears of the end.
        drop(self);
        shared.state.lock().finished = true;
        shared.finished.notify_all();
    }

    /// Waits for events, and takes them. `false`: there are no more.
    fn next(&self, batch: &mut Batch) -> bool {
        let shared = &*self.shared;
        let mut state = shared.state.lock();
        while state.batch.events.is_empty() {
            if state.stopping {
                return false;
            }
            shared.filled.wait(&mut state);
        }
        let until = Instant::now() + WAIT;
        while !state.stopping && state.batch.cost() < shared.enough {
            if shared.filled.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        std::mem::swap(&mut state.batch, batch);
        true
    }

    fn write(&mut self, batch: &Batch) {
        // Anew for each batch, so that a clock that is set, or a machine that slept, is wrong for one of them at most.
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let now = clock::now();
        let (mut start, mut events, mut redacted) = (0, 0, 0);
        for waiting in &batch.events {
            let facts = Facts {
                name: waiting.name.as_deref().unwrap_or_else(|| waiting.event.name()),
                sequence: waiting.sequence,
                shard: waiting.shard,
                at: unix - now.saturating_sub(waiting.received_at).as_secs_f64(),
                guild_change: waiting.guild_change,
            };
            let data = &batch.data[start..waiting.end];
            redacted += u64::from(line::write(&facts, data, self.searcher.as_ref(), &mut self.text));
            start = waiting.end;
            events += 1;
            if self.text.len() >= FRAME {
                self.end_frame(std::mem::take(&mut events), std::mem::take(&mut redacted));
            }
        }
        if events > 0 {
            self.end_frame(events, redacted);
        }
    }

    fn end_frame(&mut self, events: u64, redacted: u64) {
        let written = self.append();
        self.text.clear();
        if self.text.capacity() > 4 * FRAME {
            // One large event; its memory is given back.
            (self.text, self.frame) = (Vec::new(), Vec::new());
        }
        let shared = &*self.shared;
        match written {
            Ok(bytes) => {
                shared.events.fetch_add(events, Relaxed);
                shared.redacted.fetch_add(redacted, Relaxed);
                shared.bytes.fetch_add(bytes, Relaxed);
            }
            Err(error) => {
                shared.dropped.fetch_add(events, Relaxed);
                let text = error.to_string();
                if shared.error.lock().replace(text.clone()).is_none() {
                    (self.tell)(text);
                }
            }
        }
    }

    fn append(&mut self) -> io::Result<u64> {
        self.frame.resize(zstd_safe::compress_bound(self.text.len()), 0);
        let length = self.context.compress2(&mut self.frame[..], &self.text).map_err(zstd_error)?;
        self.file.append(&self.frame[..length])?;
        Ok(length as u64)
    }
}

fn zstd_error(code: zstd_safe::ErrorCode) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

/// The recordings of one gateway or fleet; usually none. Its shards look here once for each batch that they read.
#[derive(Debug, Default)]
pub struct Recorders(ArcSwap<Vec<Arc<Recorder>>>);

impl Recorders {
    /// Offers events to it from the next batch on.
    pub fn add(&self, recorder: &Arc<Recorder>) {
        self.0.rcu(|all| all.iter().chain([recorder]).cloned().collect::<Vec<_>>());
    }

    /// And no more.
    pub fn remove(&self, recorder: &Arc<Recorder>) {
        self.0.rcu(|all| all.iter().filter(|other| !Arc::ptr_eq(other, recorder)).cloned().collect::<Vec<_>>());
    }

    /// Those that are there; `None` where there are none.
    pub fn current(&self) -> Option<Arc<Vec<Arc<Recorder>>>> {
        let all = self.0.load();
        (!all.is_empty()).then(|| Arc::clone(&all))
    }
}
