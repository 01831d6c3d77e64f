//! How the event loop's thread is woken: one file descriptor per loop that turns readable. An eventfd
//! on Linux; a socket pair elsewhere, because Windows' proactor loop waits on sockets only, and only by receiving from
//! them. Queues signal it, their hub clears it; it knows neither.
//!
//! The pair is there on Linux too, so that it and the loop that receives from it are tested where we test.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

#[cfg(windows)]
use std::net::TcpStream as Stream;
#[cfg(unix)]
use std::os::unix::net::UnixStream as Stream;

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

    /// The loop has not taken everything: its descriptor stays readable, also where it received what made it so.
    pub(super) fn keep(&self) {
        self.waker.keep();
    }

    /// What the loop waits on.
    pub(super) fn descriptor(&self) -> i64 {
        self.waker.descriptor()
    }
}

/// Writes from any thread, cleared by the loop's thread.
pub struct Waker(Inner);

enum Inner {
    #[cfg(target_os = "linux")]
    Event(std::os::fd::OwnedFd),
    /// Our end, and the loop's.
    Pair(Stream, Stream),
}

impl Waker {
    /// Opens the descriptor that is best here.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    #[cfg(target_os = "linux")]
    pub fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self(Inner::Event(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Opens the descriptor that is best here.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    #[cfg(not(target_os = "linux"))]
    pub fn new() -> io::Result<Self> {
        Self::pair()
    }

    /// Opens a pair of sockets, for loops that can only receive.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    pub fn pair() -> io::Result<Self> {
        let (ours, theirs) = open()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        Ok(Self(Inner::Pair(ours, theirs)))
    }

    /// Makes the descriptor readable. Cannot block: a full counter or buffer is readable already.
    pub fn wake(&self) {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Inner::Event(event) => {
                let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
            }
            Inner::Pair(ours, _) => {
                let _ = io::Write::write(&mut &*ours, &[1]);
            }
        }
    }

    /// Makes it unreadable again.
    pub fn clear(&self) {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Inner::Event(event) => {
                let _ = rustix::io::read(event, &mut [0_u8; 8]);
            }
            Inner::Pair(_, theirs) => {
                let mut buffer = [0_u8; 64];
                while matches!(io::Read::read(&mut &*theirs, &mut buffer), Ok(read) if read == buffer.len()) {}
            }
        }
    }

    /// Makes it readable for one that was, and from which the loop may have received. Nobody can take an eventfd's
    /// counter by waiting for it, so that there is nothing to do.
    fn keep(&self) {
        if matches!(self.0, Inner::Pair(..)) {
            self.clear();
            self.wake();
        }
    }

    /// What the loop waits on.
    pub fn descriptor(&self) -> i64 {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Inner::Event(event) => {
                use std::os::fd::AsRawFd;
                i64::from(event.as_raw_fd())
            }
            Inner::Pair(_, theirs) => descriptor_of(theirs),
        }
    }
}

#[cfg(unix)]
fn open() -> io::Result<(Stream, Stream)> {
    Stream::pair()
}

#[cfg(windows)]
fn open() -> io::Result<(Stream, Stream)> {
    loopback::open()
}

#[cfg(unix)]
fn descriptor_of(stream: &Stream) -> i64 {
    i64::from(std::os::fd::AsRawFd::as_raw_fd(stream))
}

#[cfg(windows)]
fn descriptor_of(stream: &Stream) -> i64 {
    std::os::windows::io::AsRawSocket::as_raw_socket(stream) as i64
}

/// Windows has no other pair of sockets.
#[cfg(any(windows, test))]
mod loopback {
    use std::{
        io,
        net::{TcpListener, TcpStream},
    };

    pub(super) fn open() -> io::Result<(TcpStream, TcpStream)> {
        between(&TcpListener::bind(("127.0.0.1", 0))?)
    }

    pub(super) fn between(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
        let ours = TcpStream::connect(listener.local_addr()?)?;
        loop {
            // Another process of this machine may get in first: only our own end will do.
            let (theirs, peer) = listener.accept()?;
            if peer == ours.local_addr()? {
                ours.set_nodelay(true)?;
                return Ok((ours, theirs));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::{Inner, Waker, loopback};

    /// How many bytes a loop could receive now.
    fn waiting(waker: &Waker) -> usize {
        let Inner::Pair(_, theirs) = &waker.0 else { panic!("not a pair") };
        let mut buffer = [0_u8; 1024];
        match Read::read(&mut &*theirs, &mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_pair_is_readable_from_wake_to_clear() {
        let waker = Waker::pair().expect("a pair");
        assert_eq!(waiting(&waker), 0);
        waker.wake();
        assert_eq!(waiting(&waker), 1);
        for _ in 0..200 {
            waker.wake();
        }
        waker.clear();
        assert_eq!(waiting(&waker), 0);
    }

    #[test]
    fn a_full_pair_neither_blocks_nor_forgets() {
        let waker = Waker::pair().expect("a pair");
        for _ in 0..100_000 {
            waker.wake();
        }
        waker.clear();
        assert_eq!(waiting(&waker), 0);
        waker.wake();
        assert_eq!(waiting(&waker), 1);
    }

    #[test]
    fn a_pair_that_is_kept_is_readable_once_however_often() {
        let waker = Waker::pair().expect("a pair");
        waker.wake();
        assert_eq!(waiting(&waker), 1, "what a loop that receives takes");
        for _ in 0..10 {
            waker.keep();
        }
        assert_eq!(waiting(&waker), 1);
    }

    #[test]
    fn a_loopback_pair_is_one_connection() {
        let (mut ours, mut theirs) = loopback::open().expect("a pair");
        ours.write_all(b"x").expect("it is open");
        let mut byte = [0_u8; 1];
        theirs.read_exact(&mut byte).expect("it came");
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn a_loopback_pair_is_not_made_with_a_stranger() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let stranger = TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection");
        let (ours, theirs) = loopback::between(&listener).expect("a pair");
        assert_eq!(theirs.peer_addr().expect("open"), ours.local_addr().expect("open"));
        assert_ne!(theirs.peer_addr().expect("open"), stranger.local_addr().expect("open"));
    }
}
