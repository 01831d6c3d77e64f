//! F03: HTTP 429, of the REST API and of the WebSocket upgrade, is what it is, and says when to come again.

mod common;

use std::{collections::BTreeMap, time::Duration};

use common::{PATIENCE, Running, shard, simulator, transport};
use propylon_core::{
    delivery::Notice,
    fleet::gateway_bot,
    session::{ConnectFailure, ConnectFailureKind},
    shard::System,
    transport::{Proxies, dial, system_resolver},
};
use propylon_simulator::{Condition, Selector, Step};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const BODY: &str = r#"{"message": "You are being rate limited.", "retry_after": 64.57, "global": false}"#;

/// A server that answers a request by these pieces, each a segment of its own, and then keeps the connection.
async fn answering(pieces: Vec<String>) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut head).await.unwrap() > 0);
        }
        for piece in pieces {
            stream.write_all(piece.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Until the client has gone.
        while matches!(stream.read_buf(&mut head).await, Ok(1..)) {}
    });
    (host, task)
}

async fn upgrade(pieces: Vec<String>) -> ConnectFailure {
    let (host, task) = answering(pieces).await;
    let failure = dial(format!("ws://{host}/").parse().unwrap(), transport(system_resolver(), Proxies::None))
        .await
        .err()
        .unwrap();
    tokio::time::timeout(PATIENCE, task).await.expect("the connection is kept").unwrap();
    failure
}

async fn api(pieces: Vec<String>) -> ConnectFailure {
    let (host, task) = answering(pieces).await;
    let config = transport(system_resolver(), Proxies::None);
    let base = format!("http://{host}/api/v10").parse().unwrap();
    let failure = gateway_bot(&base, "token", &config).await.err().unwrap();
    tokio::time::timeout(PATIENCE, task).await.expect("the connection is kept").unwrap();
    failure
}

#[tokio::test]
async fn f03_s11_a_429_is_a_rate_limit_and_tells_when_to_come_again() {
    let head = |headers: &str| format!("HTTP/1.1 429 Too Many Requests\r\n{headers}\r\n");
    let length = format!("Content-Length: {}\r\n", BODY.len());
    let chunked = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
    for (pieces, told) in [
        (vec![head(&length) + BODY], Some(64.57)),
        // The body comes later than the head, and in halves.
        (vec![head(&length), BODY[..60].to_owned(), BODY[60..].to_owned()], Some(64.57)),
        (vec![head("Transfer-Encoding: chunked\r\n"), chunked], Some(64.57)),
        (vec![head("Content-Length: 0\r\nX-RateLimit-Reset-After: 1.5\r\n")], Some(1.5)),
        (vec![head("Content-Length: 0\r\nRetry-After: 7\r\n")], Some(7.0)),
        (vec![head("Content-Length: 0\r\n")], None),
    ] {
        for failure in [upgrade(pieces.clone()).await, api(pieces.clone()).await] {
            assert_eq!(failure.kind, ConnectFailureKind::RateLimited, "{pieces:?}");
            assert_eq!(failure.retry_after, told.map(Duration::from_secs_f64), "{pieces:?} {failure:?}");
            assert!(failure.message.contains("HTTP 429") && !failure.message.contains("rate"), "{failure:?}");
        }
    }
}

#[tokio::test]
async fn f03_a_429_whose_body_does_not_come_is_a_rate_limit_all_the_same() {
    let head = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 90\r\nRetry-After: 7\r\n\r\n{\"retry".to_owned();
    let (one, other) = tokio::join!(upgrade(vec![head.clone()]), api(vec![head]));
    for failure in [one, other] {
        assert_eq!(
            (failure.kind, failure.retry_after),
            (ConnectFailureKind::RateLimited, Some(Duration::from_secs(7)))
        );
    }
}

#[tokio::test]
async fn f03_other_answers_are_what_they_were() {
    let busy = vec!["HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n".to_owned()];
    let failure = upgrade(busy.clone()).await;
    assert_eq!((failure.kind, failure.retry_after), (ConnectFailureKind::Handshake, Some(Duration::from_secs(3))));
    let failure = api(busy).await;
    assert_eq!((failure.kind, failure.retry_after), (ConnectFailureKind::Unreachable, Some(Duration::from_secs(3))));
}

#[tokio::test(flavor = "multi_thread")]
async fn f03_s11_a_429_without_a_word_is_not_knocked_on_again_for_half_a_minute() {
    let simulator = simulator();
    let refusal = Step::HttpResponse { status: 429, headers: BTreeMap::default(), body: String::new() };
    simulator.script(Selector::EVERY, vec![refusal.clone()]);
    simulator
        .act(
            Selector::EVERY,
            Step::ApiResponse { status: 429, headers: BTreeMap::default(), body: String::new(), times: 9 },
        )
        .unwrap();
    let told = |notice: &Notice| match notice {
        Notice::ConnectFailed(failure, delay) => Some((failure.kind, *delay)),
        _ => None,
    };
    let mut by_gateway = Running::start(&shard(Some(simulator.url()), System::default()));
    let mut config = shard(None, System::default());
    config.api_url = simulator.api_url();
    let mut by_api = Running::start(&config);
    for (kind, delay) in [by_gateway.news(told).await, by_api.news(told).await] {
        assert_eq!(kind, ConnectFailureKind::RateLimited);
        assert!(delay >= Duration::from_secs(30) && delay <= Duration::from_secs(45), "{delay:?}");
    }
    assert!(!simulator.wait_async(&Condition::Accepted { count: 2 }, Duration::from_secs(1)).await);
}
