//! Names with several addresses (RFC 8305), on real sockets: one that does not answer costs a quarter of a second,
//! whoever's name it is.
#![cfg(target_os = "linux")] // A full queue of connections is silent there; elsewhere it refuses.

mod common;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{PATIENCE, Running, address_of, names, refusing, shard, silent, simulator, transport};
use propylon_core::{
    delivery::Notice,
    fleet::gateway_bot,
    session::ConnectFailureKind,
    shard::System,
    transport::{Proxies, Proxy, connect_stream, dial},
};
use propylon_simulator::{Condition, Selector, Step};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Below the 5 s that a connection may take, which a silent address would use up: a busy machine may take a while.
const SOON: Duration = Duration::from_secs(4);

#[tokio::test]
async fn s1_a_dead_address_of_the_gateway_does_not_hold_up_the_others() {
    let (simulator, dead) = (simulator(), silent().await);
    let live = address_of(&simulator);
    let config = transport(names(&[("gateway.test", &[dead.address, live])]), Proxies::None);
    let started = Instant::now();
    dial("ws://gateway.test/?v=10&encoding=json".parse().unwrap(), config).await.unwrap();
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert!(started.elapsed() >= Duration::from_millis(250), "the first had its chance: {:?}", started.elapsed());
}

#[tokio::test]
async fn s1_a_refused_address_costs_no_time_at_all() {
    let simulator = simulator();
    let mut addresses: Vec<SocketAddr> = std::iter::repeat_with(refusing).take(20).collect();
    addresses.push(address_of(&simulator));
    let config = transport(names(&[("gateway.test", &addresses)]), Proxies::None);
    let started = Instant::now();
    dial("ws://gateway.test/?v=10&encoding=json".parse().unwrap(), config).await.unwrap();
    // Twenty pauses of 250 ms would be longer.
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[tokio::test]
async fn s1_a_dead_address_of_the_api_does_not_hold_up_the_others() {
    let (simulator, dead) = (simulator(), silent().await);
    let config = transport(names(&[("api.test", &[dead.address, address_of(&simulator)])]), Proxies::None);
    let started = Instant::now();
    let bot = gateway_bot(&"http://api.test/api/v10".parse().unwrap(), "token", &config).await.unwrap();
    assert_eq!(bot.url, simulator.url());
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[tokio::test]
async fn s1_a_dead_address_of_a_proxy_does_not_hold_up_the_others() {
    let dead = silent().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let live = listener.local_addr().unwrap();
    let proxy = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut head).await.unwrap() > 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let proxies = Proxies::Always(Arc::new(Proxy::parse("http://proxy.test:3128").unwrap()));
    let config = transport(names(&[("proxy.test", &[dead.address, live])]), proxies);
    let started = Instant::now();
    connect_stream(&"ws://gateway.test:81".parse().unwrap(), &config).await.unwrap();
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    // The gateway's own name is the proxy's to look up.
    assert!(proxy.await.unwrap().starts_with("CONNECT gateway.test:81 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_a_dead_address_of_the_resume_host_does_not_hold_up_the_others() {
    let (simulator, dead) = (simulator(), silent().await);
    let url = format!("ws://localhost:{}", simulator.port());
    let ready =
        Step::Ready { set: [("resume_gateway_url".to_owned(), json!(url))].into_iter().collect(), remove: vec![] };
    simulator.script(1, vec![ready]);
    let resolver = names(&[("localhost", &[dead.address, address_of(&simulator)])]);
    let config = shard(Some(simulator.url()), System { resolver, ..System::default() });
    let mut running = Running::start(&config);
    running.news(|notice| matches!(notice, Notice::Ready { resumed: false }).then_some(())).await;
    let started = Instant::now();
    simulator.act(Selector::EVERY, Step::Reset).unwrap();
    running.news(|notice| matches!(notice, Notice::Ready { resumed: true }).then_some(())).await;
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert!(simulator.wait_async(&Condition::Resumed { count: 1 }, PATIENCE).await);
    // By its name, that is: a resume URL of this machine is the host in use, whatever it is called.
    let host = &simulator.record()["connections"][1]["headers"]["host"];
    assert_eq!(*host, json!(format!("localhost:{}", simulator.port())));
}

#[tokio::test]
async fn s1_the_error_names_each_address_with_its_reason() {
    let (one, two) = (refusing(), refusing());
    let config = transport(names(&[("gateway.test", &[one, two])]), Proxies::None);
    let url = "ws://gateway.test:81/".parse().unwrap();
    let failure = dial(url, config).await.err().unwrap();
    assert_eq!(failure.kind, ConnectFailureKind::Unreachable);
    let reason = "Connection refused (os error 111)";
    assert_eq!(failure.message, format!("gateway.test:81: {one}: {reason}; {two}: {reason}"));
    for (found, why) in [(&[][..], "the name has no address"), (&[one], "no such name")] {
        let name = if found.is_empty() { "gateway.test" } else { "another.test" };
        let config = transport(names(&[(name, found)]), Proxies::None);
        let failure = dial("ws://gateway.test:81/".parse().unwrap(), config).await.err().unwrap();
        assert_eq!(failure.message, format!("gateway.test:81: {why}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_a_deadline_names_the_addresses_that_did_not_answer() {
    let dead = silent().await;
    let told = |resolver| async move {
        let mut config = shard(Some("ws://gateway.test".to_owned()), System { resolver, ..System::default() });
        config.timeouts.connect = Duration::from_secs(3);
        let mut running = Running::start(&config);
        running
            .news(|notice| match notice {
                Notice::ConnectFailed(failure, _) => Some(failure.message.clone()),
                _ => None,
            })
            .await
    };
    let (silent, refused): (SocketAddr, _) = (dead.address, refusing());
    let message = told(names(&[("gateway.test", &[silent, refused])])).await;
    let reason = "Connection refused (os error 111)";
    assert_eq!(message, format!("no connection within 3 s: {silent} does not answer; {refused}: {reason}"));
    let message = told(Arc::new(|_, _| Box::pin(std::future::pending()))).await;
    assert_eq!(message, "no connection within 3 s: the name is still being looked up");
}
