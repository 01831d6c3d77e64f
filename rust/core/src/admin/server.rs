//! The server: where it listens, how many it lets in and for how long. It ends when it is dropped.

use std::{
    convert::Infallible,
    fmt, io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    runtime::Handle,
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    answer::{Room, answer},
    config::AdminConfig,
    exhibit::Exhibit,
    history,
    wire::{Moved, Wire},
};

/// Connections at once; whoever comes then finds the door shut.
const CONNECTIONS: usize = 64;
/// A request's head: bytes of it, fields, and the time for it, in which a connection that is kept may be silent too.
const HEAD_BYTES: usize = 8 * 1024;
const HEAD_FIELDS: usize = 64;
const HEAD_TIME: Duration = Duration::from_secs(5);
/// A client that takes nothing of its answer for so long is let go.
const STANDSTILL: Duration = Duration::from_secs(30);
/// After a failure to accept, which is mostly that the process has no descriptor left.
const REST: Duration = Duration::from_millis(100);
/// How long the end waits for the threads to close the port.
const FAREWELL: Duration = Duration::from_secs(1);

/// A server that answers until it is dropped.
pub struct AdminServer {
    address: SocketAddr,
    exhibit: Arc<Exhibit>,
    task: AbortHandle,
    /// Disconnected once the port is closed.
    over: parking_lot::Mutex<mpsc::Receiver<()>>,
}

impl fmt::Debug for AdminServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminServer").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn serve_one(socket: TcpStream, room: Arc<Room>) {
    // An error means that it is gone already, which the first read finds too.
    let _ = socket.set_nodelay(true);
    let moved = Moved::now();
    let wire = TokioIo::new(Wire { socket, moved: moved.clone() });
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let answer = answer(&room, &request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS)
        .serve_connection(wire, service);
    tokio::select! {
        // What a client does wrong is its own business.
        _ = connection => {}
        () = moved.stands_still(STANDSTILL) => {}
    }
}

/// An open port. Fields are dropped in their order: who waits hears of it when it is closed.
struct Port {
    listener: tokio::net::TcpListener,
    _over: mpsc::SyncSender<()>,
}

impl Drop for Port {
    /// A child that was forked has the descriptor too, and would keep the port open.
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
    }
}

async fn serve(port: Port, room: Arc<Room>) {
    let mut connections = JoinSet::new();
    let mut points = interval(Duration::from_secs(history::INTERVAL));
    points.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            accepted = port.listener.accept() => match accepted {
                Ok((socket, _)) if connections.len() < CONNECTIONS => {
                    connections.spawn(serve_one(socket, Arc::clone(&room)));
                }
                Ok(_) => {}
                Err(_) => sleep(REST).await,
            },
            _ = points.tick() => room.exhibit.sample(),
            Some(_) = connections.join_next() => {}
        }
    }
}

impl AdminServer {
    /// Listens, on `runtime`.
    ///
    /// # Errors
    /// Where it cannot, mostly because the address is taken.
    pub fn start(runtime: &Handle, config: AdminConfig, exhibit: Arc<Exhibit>) -> io::Result<Self> {
        let listener = TcpListener::bind(config.address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let _inside = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (sender, over) = mpsc::sync_channel(0);
        let room = Arc::new(Room::new(Arc::clone(&exhibit), config.is_local()));
        let task = runtime.spawn(serve(Port { listener, _over: sender }, room)).abort_handle();
        Ok(Self { address, exhibit, task, over: parking_lot::Mutex::new(over) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it shows.
    pub fn exhibit(&self) -> &Arc<Exhibit> {
        &self.exhibit
    }
}

impl Drop for AdminServer {
    /// Closes the port, so that the next one finds it free.
    fn drop(&mut self) {
        self.task.abort();
        let _ = self.over.get_mut().recv_timeout(FAREWELL);
    }
}
