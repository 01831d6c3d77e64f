//! What happens below TLS and HTTP: listening, and peers that say nothing, or nothing good.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Listens on loopback; port 0 takes a free one. The error names the port and says what to do.
pub(crate) fn bind(port: u16, send_buffer: Option<u32>) -> io::Result<TcpListener> {
    listen(port, send_buffer).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => "stop what listens there (another simulator?), or choose another port",
            io::ErrorKind::PermissionDenied => "choose a port from 1024 on",
            _ => "choose another port",
        };
        let text = format!("cannot listen on {}:{port}: {error}; {advice}; 0 takes a free one", Ipv4Addr::LOCALHOST);
        io::Error::new(error.kind(), text)
    })
}

fn listen(port: u16, send_buffer: Option<u32>) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // `listen again` while old connections of the port are still in TIME_WAIT
    socket.set_reuseaddr(true)?;
    if let Some(bytes) = send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    // a fleet comes back all at once; the system has a limit of its own
    socket.listen(4096)
}

/// Keeps a connection open in silence until the peer leaves.
pub(crate) async fn hold(mut tcp: TcpStream) {
    let mut ignored = [0; 1024];
    while tcp.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
}

/// Answers a TLS hello with a fatal alert.
pub(crate) async fn alert(mut tcp: TcpStream, code: u8) {
    let mut hello = [0; 4096];
    let _ = tcp.read(&mut hello).await;
    // record type 21 (alert), TLS 1.1, two bytes: fatal, code
    let _ = tcp.write_all(&[21, 3, 2, 0, 2, 2, code]).await;
    let _ = tcp.shutdown().await;
}
