//! The listening ports: opened, closed, and opened again, while what they accepted lives on. Who is served, and how, is
//! the business of whoever takes the accepted connections.

use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::tcp::bind;

/// After a connection that could not be accepted.
const BREATH: Duration = Duration::from_millis(10);

/// A TCP connection that was just accepted.
pub(crate) struct Accepted {
    pub(crate) tcp: TcpStream,
    /// `main`, or `resume` for the second port.
    pub(crate) port: &'static str,
}

/// The ports of one simulator.
pub(crate) struct Listeners {
    /// The gateway's, and the one for resuming: the same unless a second one was asked for.
    ports: [u16; 2],
    send_buffer: Option<u32>,
    accepted: mpsc::UnboundedSender<Accepted>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Listeners {
    /// Binds `port` (0: a free one), with `second` another free one, and begins to accept. Runs inside a runtime.
    pub(crate) fn open(
        port: u16,
        second: bool,
        send_buffer: Option<u32>,
    ) -> io::Result<(Self, mpsc::UnboundedReceiver<Accepted>)> {
        let main = bind(port, send_buffer)?;
        let second = second.then(|| bind(0, send_buffer)).transpose()?;
        let main_port = main.local_addr()?.port();
        let second_port =
            second.as_ref().map_or(Ok(main_port), |listener| listener.local_addr().map(|addr| addr.port()))?;
        let (accepted, taken) = mpsc::unbounded_channel();
        let listeners = Self { ports: [main_port, second_port], send_buffer, accepted, tasks: Mutex::default() };
        listeners.accept_on(main, "main");
        if let Some(second) = second {
            listeners.accept_on(second, "resume");
        }
        Ok((listeners, taken))
    }

    /// The gateway's port, and the one for resuming.
    pub(crate) fn ports(&self) -> [u16; 2] {
        self.ports
    }

    /// Closes the ports; returns when they are closed.
    pub(crate) async fn close(&self) {
        let tasks: Vec<_> = self.tasks.lock().drain(..).collect();
        for task in tasks {
            task.abort();
            // the port is closed once the task, and its listener, is gone
            let _ = task.await;
        }
    }

    /// Opens the same ports again.
    pub(crate) async fn open_again(&self) -> io::Result<()> {
        self.close().await;
        let [main, second] = self.ports;
        self.accept_on(bind(main, self.send_buffer)?, "main");
        if second != main {
            self.accept_on(bind(second, self.send_buffer)?, "resume");
        }
        Ok(())
    }

    fn accept_on(&self, listener: TcpListener, port: &'static str) {
        let accepted = self.accepted.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((tcp, _)) = listener.accept().await else {
                    // out of files, mostly: those who wait are taken when others have left
                    tokio::time::sleep(BREATH).await;
                    continue;
                };
                if accepted.send(Accepted { tcp, port }).is_err() {
                    // nobody serves any more
                    return;
                }
            }
        });
        self.tasks.lock().push(task);
    }
}
