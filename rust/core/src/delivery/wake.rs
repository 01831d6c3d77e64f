//! How the event loop's thread is woken: one file descriptor per loop that turns readable. An eventfd
//! on Linux; a socket pair elsewhere, because Windows' proactor loop waits on sockets only. Queues signal it, their hub
//! clears it; it knows neither.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

/// A [`Waker`] that is written only while the loop sleeps.
pub(super) struct Signal {
    signalled: AtomicBool,
    waker: Waker,
}

impl Signal {
    pub(super) fn new(waker: Waker) -> Self {
        Self { signalled: AtomicBool::new(false), waker }
    }

    /// Whether the caller has to [`wake`](Signal::wake) the loop: it sleeps, and nobody else is about to. To be asked
    /// under the lock of what was added: a loop that finds the work by itself in between takes no wake-up for it that
    /// is counted only later.
    #[must_use]
    pub(super) fn claim(&self) -> bool {
        !self.signalled.swap(true, SeqCst)
    }

    /// Makes the descriptor readable, after a [`claim`](Signal::claim).
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// The loop goes to sleep: the next signal wakes it. The caller looks for work once more after this.
    pub(super) fn clear(&self) {
        self.waker.clear();
        self.signalled.store(false, SeqCst);
    }

    /// What the loop waits on.
    pub(super) fn descriptor(&self) -> i64 {
        self.waker.descriptor()
    }
}

/// Writes from any thread, cleared by the loop's thread.
pub struct Waker(Inner);

#[cfg(target_os = "linux")]
type Inner = std::os::fd::OwnedFd;
#[cfg(not(target_os = "linux"))]
type Inner = (pair::Stream, pair::Stream);

#[cfg(target_os = "linux")]
impl Waker {
    /// Opens the descriptor.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Makes the descriptor readable. Cannot block: a full counter is readable already.
    pub fn wake(&self) {
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it unreadable again.
    pub fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }

    /// What the loop waits on.
    pub fn descriptor(&self) -> i64 {
        use std::os::fd::AsRawFd;
        i64::from(self.0.as_raw_fd())
    }
}

#[cfg(not(target_os = "linux"))]
impl Waker {
    /// Opens the descriptors.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let (ours, theirs) = pair::open()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        Ok(Self((ours, theirs)))
    }

    /// Makes the descriptor readable. Cannot block: a full buffer is readable already.
    pub fn wake(&self) {
        let _ = io::Write::write(&mut &self.0.0, &[1]);
    }

    /// Makes it unreadable again.
    pub fn clear(&self) {
        let mut buffer = [0_u8; 64];
        while matches!(io::Read::read(&mut &self.0.1, &mut buffer), Ok(read) if read == buffer.len()) {}
    }

    /// What the loop waits on.
    pub fn descriptor(&self) -> i64 {
        pair::descriptor(&self.0.1)
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
mod pair {
    use std::os::fd::AsRawFd;
    pub(super) use std::os::unix::net::UnixStream as Stream;

    pub(super) fn open() -> std::io::Result<(Stream, Stream)> {
        Stream::pair()
    }

    pub(super) fn descriptor(stream: &Stream) -> i64 {
        i64::from(stream.as_raw_fd())
    }
}

#[cfg(windows)]
mod pair {
    pub(super) use std::net::TcpStream as Stream;
    use std::{io, net::TcpListener, os::windows::io::AsRawSocket};

    pub(super) fn open() -> io::Result<(Stream, Stream)> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let ours = Stream::connect(listener.local_addr()?)?;
        loop {
            // Another process of this machine may get in first: only our own end will do.
            let (theirs, peer) = listener.accept()?;
            if peer == ours.local_addr()? {
                ours.set_nodelay(true)?;
                return Ok((ours, theirs));
            }
        }
    }

    pub(super) fn descriptor(stream: &Stream) -> i64 {
        stream.as_raw_socket() as i64
    }
}
