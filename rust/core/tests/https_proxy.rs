//! A proxy that is spoken to under TLS: its password goes to nobody whose certificate is not trusted. Other proxies are
//! met by `tests/faults/test_proxies.py`.

use std::{path::PathBuf, sync::Arc};

use propylon_core::{
    inflate::Compression,
    session::ConnectFailureKind,
    transport::{Proxies, Proxy, Stage, TransportConfig, client_config, connect_stream, system_resolver},
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// Serves one CONNECT and echoes what comes through the tunnel. Gives the request's head, empty where TLS failed.
async fn serve() -> (u16, String, JoinHandle<String>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let Ok(tls) = TlsAcceptor::from(Arc::new(config)).accept(tcp).await else { return String::new() };
        let mut stream = BufReader::new(tls);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).await.unwrap() > 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        stream.flush().await.unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.unwrap();
        stream.write_all(&echo).await.unwrap();
        stream.flush().await.unwrap();
        head
    });
    (port, cert.pem(), task)
}

fn config(port: u16, ca_file: Option<&PathBuf>) -> TransportConfig {
    let proxy = Proxy::parse(&format!("https://ada:hush@localhost:{port}")).unwrap();
    TransportConfig {
        tls: client_config(ca_file.map(PathBuf::as_path), false).unwrap(),
        proxies: Proxies::Always(Arc::new(proxy)),
        resolver: system_resolver(),
        compression: Compression::None,
        max_payload_bytes: 4096,
        user_agent: "DiscordBot (test, 1)".to_owned(),
        stage: Stage::default(),
    }
}

#[tokio::test]
async fn the_tunnel_lies_under_tls_to_the_proxy() {
    let (port, pem, task) = serve().await;
    let ca_file = std::env::temp_dir().join(format!("propylon-https-proxy-{port}.pem"));
    std::fs::write(&ca_file, pem).unwrap();
    let config = config(port, Some(&ca_file));
    std::fs::remove_file(&ca_file).unwrap();
    let mut stream = connect_stream(&"ws://gateway.invalid:81".parse().unwrap(), &config).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.flush().await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
    let head = task.await.unwrap();
    assert!(head.starts_with("CONNECT gateway.invalid:81 HTTP/1.1\r\nHost: gateway.invalid:81\r\n"), "{head}");
    assert!(head.contains("\r\nProxy-Authorization: Basic YWRhOmh1c2g=\r\n"), "{head}");
}

#[tokio::test]
async fn f39_f40_a_proxy_that_is_not_trusted_hears_no_password() {
    let (port, _, task) = serve().await;
    let config = config(port, None);
    let Err(failure) = connect_stream(&"ws://gateway.invalid:81".parse().unwrap(), &config).await else {
        panic!("an unknown certificate was taken")
    };
    assert_eq!(failure.kind, ConnectFailureKind::Certificate);
    assert!(failure.message.starts_with(&format!("the proxy localhost:{port}: ")), "{}", failure.message);
    assert!(!format!("{failure:?} {config:?}").contains("hush"));
    assert_eq!(task.await.unwrap(), "");
}
