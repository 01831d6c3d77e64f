//! One TCP connection to a name that may have several addresses, by Happy Eyeballs (RFC 8305): an address that does not
//! answer costs a quarter of a second and not the whole deadline. Owns which address is tried when and what is told of
//! each; the deadline is the session machine's.
//!
//! The system's resolver gives both families in one answer and in the order of RFC 6724, so nothing is left to do of
//! section 3 of the RFC (two questions that race).

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{Arc, LazyLock},
    task::Poll,
    time::Duration,
};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use super::stage::Stage;

/// The addresses of a name, or why there are none.
pub type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Looks a name up: host and port to addresses. The system does it; a test may give its own.
pub type Resolver = Arc<dyn Fn(&str, u16) -> Lookup + Send + Sync>;

/// RFC 8305, section 8: between the beginnings of two attempts.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Answers of the system are good for so long: a thousand shards that are cut off together ask once.
const FRESH: Duration = Duration::from_secs(2);

/// A question that takes longer is asked anew.
const LONG: Duration = Duration::from_secs(10);

/// `getaddrinfo`, on a thread of its own; whoever asks meanwhile, or within two seconds, gets the same answer.
pub fn system_resolver() -> Resolver {
    static SHARED: LazyLock<Resolver> = LazyLock::new(|| {
        shared(Arc::new(|host, port| {
            let host = host.to_owned();
            Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
        }))
    });
    Arc::clone(&SHARED)
}

type Answer = Result<Vec<SocketAddr>, Arc<io::Error>>;
/// By process, host and port, each with when it was asked.
type Questions = HashMap<(u32, String, u16), (Instant, Shared)>;
type Shared = futures_util::future::Shared<Pin<Box<dyn Future<Output = Answer> + Send>>>;

/// `resolver` with one question at a time for each name, and answers kept for [`FRESH`]; refusals are not kept.
fn shared(resolver: Resolver) -> Resolver {
    let asked: Mutex<Questions> = Mutex::default();
    Arc::new(move |host, port| {
        let mut asked = asked.lock();
        asked.retain(|_, (at, question)| match question.peek() {
            // Nobody may be left who waits for it, and drives it.
            None => at.elapsed() < LONG,
            Some(answer) => answer.is_ok() && at.elapsed() < FRESH,
        });
        // A forked child has no part in its parent's questions.
        let question = asked.entry((std::process::id(), host.to_owned(), port)).or_insert_with(|| {
            let lookup = resolver(host, port);
            (Instant::now(), lookup.map(|answer| answer.map_err(Arc::new)).boxed().shared())
        });
        let question = question.1.clone();
        Box::pin(async move { question.await.map_err(|error| io::Error::new(error.kind(), error.to_string())) })
    })
}

/// Connects to the first address of `host` that answers. What is tried, and what came of it, is noted in `stage`.
///
/// # Errors
/// Why the name was not found, or each address with its reason.
pub(super) async fn connect(host: &str, port: u16, resolver: &Resolver, stage: &Stage) -> Result<TcpStream, String> {
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => resolver(host, port).await.map_err(|error| error.to_string())?,
    };
    if addresses.is_empty() {
        return Err("the name has no address".to_owned());
    }
    match race(interleaved(&addresses), stage, TcpStream::connect).await {
        Some(stream) => stream.set_nodelay(true).map(|()| stream).map_err(|error| error.to_string()),
        None => Err(stage.tried()),
    }
}

/// RFC 8305, section 4: the families take turns, the first address stays the first.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (ours, others): (Vec<SocketAddr>, Vec<_>) = addresses.iter().partition(|address| address.is_ipv6() == first);
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut sorted = Vec::with_capacity(addresses.len());
    while sorted.len() < addresses.len() {
        sorted.extend(ours.next());
        sorted.extend(others.next());
    }
    sorted
}

/// RFC 8305, section 5: one attempt after the other, the next one when one fails, or when none has succeeded for 250 ms.
/// The first that succeeds is kept, the others are dropped; `None` where all have failed.
async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: Vec<SocketAddr>,
    stage: &Stage,
    attempt: impl Fn(SocketAddr) -> F,
) -> Option<T> {
    let mut waiting = addresses.into_iter();
    let mut under_way: Vec<(SocketAddr, Pin<Box<F>>)> = Vec::new();
    let mut pause = pin!(sleep(Duration::ZERO));
    loop {
        if let Some(address) = waiting.next() {
            stage.trying(address);
            under_way.push((address, Box::pin(attempt(address))));
            pause.as_mut().reset(Instant::now() + ATTEMPT_DELAY);
        }
        if under_way.is_empty() {
            return None;
        }
        let won = poll_fn(|cx| {
            let (mut failed, mut at) = (false, 0);
            while let Some((address, connecting)) = under_way.get_mut(at) {
                match connecting.as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Some(stream)),
                    Poll::Ready(Err(error)) => {
                        stage.failed(*address, &error);
                        under_way.swap_remove(at);
                        failed = true;
                    }
                    Poll::Pending => at += 1,
                }
            }
            let next = failed || (waiting.len() > 0 && pause.as_mut().poll(cx).is_ready());
            if next { Poll::Ready(None) } else { Poll::Pending }
        });
        if let Some(stream) = won.await {
            return Some(stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        future::pending,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;

    /// A resolver that counts its questions and takes a second for each; it knows no "nowhere".
    fn slow(asked: &Arc<AtomicUsize>) -> Resolver {
        let asked = Arc::clone(asked);
        Arc::new(move |host, port| {
            asked.fetch_add(1, Relaxed);
            let known = host != "nowhere";
            Box::pin(async move {
                sleep(Duration::from_secs(1)).await;
                if known { Ok(vec![([127, 0, 0, 1], port).into()]) } else { Err(io::Error::other("no such name")) }
            })
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_shards_ask_for_a_name_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let resolver = shared(slow(&asked));
        let lookups: Vec<_> = (0..1000).map(|_| tokio::spawn(resolver("here", 443))).collect();
        for lookup in lookups {
            assert_eq!(lookup.await.unwrap().unwrap().len(), 1);
        }
        resolver("here", 443).await.unwrap();
        assert_eq!(asked.load(Relaxed), 1);
        resolver("here", 80).await.unwrap();
        sleep(FRESH).await;
        resolver("here", 443).await.unwrap();
        assert_eq!(asked.load(Relaxed), 3, "an answer is kept for too long");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_not_kept_and_whoever_gives_up_takes_nobody_along() {
        let asked = Arc::new(AtomicUsize::new(0));
        let resolver = shared(slow(&asked));
        let first = tokio::spawn(resolver("nowhere", 443));
        let second = tokio::spawn(resolver("nowhere", 443));
        tokio::task::yield_now().await;
        first.abort();
        assert_eq!(second.await.unwrap().unwrap_err().to_string(), "no such name");
        resolver("nowhere", 443).await.unwrap_err();
        assert_eq!(asked.load(Relaxed), 2);
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// What the address with this port does.
    #[derive(Clone, Copy)]
    enum Does {
        Nothing,
        Refuse,
        Answer(u64),
    }

    struct Raced {
        winner: Option<u16>,
        /// When each attempt began, in milliseconds.
        began: Vec<u128>,
        took: u128,
        dropped: usize,
        told: String,
    }

    /// A race of addresses that do as told, in virtual time.
    async fn raced(does: &[Does]) -> Raced {
        struct Attempt<'a>(&'a Cell<usize>);
        impl Drop for Attempt<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let (start, stage) = (Instant::now(), Stage::default());
        let (began, dropped) = (RefCell::new(Vec::new()), Cell::new(0));
        let all = (0..does.len()).map(|port| SocketAddr::from(([192, 0, 2, 1], port as u16))).collect();
        let attempt = |address: SocketAddr| {
            began.borrow_mut().push(start.elapsed().as_millis());
            let (port, held) = (address.port(), Attempt(&dropped));
            let what = does[usize::from(port)];
            async move {
                let _held = held;
                match what {
                    Does::Nothing => pending().await,
                    Does::Refuse => Err(io::ErrorKind::ConnectionRefused.into()),
                    Does::Answer(after) => {
                        sleep(Duration::from_millis(after)).await;
                        Ok(port)
                    }
                }
            }
        };
        let winner = race(all, &stage, attempt).await;
        let took = start.elapsed().as_millis();
        Raced { winner, began: began.take(), took, dropped: dropped.get(), told: stage.tried() }
    }

    #[tokio::test(start_paused = true)]
    async fn s1_the_next_address_is_tried_after_250_ms_and_the_first_to_answer_is_kept() {
        use Does::{Answer, Nothing, Refuse};
        let raced_ = raced(&[Nothing, Nothing, Answer(40), Answer(1)]).await;
        assert_eq!((raced_.winner, raced_.began, raced_.took), (Some(2), vec![0, 250, 500], 540));
        assert_eq!(raced_.dropped, 3, "the others are given up");
        // An attempt that was overtaken may still win.
        let raced_ = raced(&[Answer(300), Answer(500)]).await;
        assert_eq!((raced_.winner, raced_.began, raced_.took), (Some(0), vec![0, 250], 300));
        // A failure does not wait for the 250 ms, and the next pause begins anew.
        let raced_ = raced(&[Refuse, Refuse, Nothing, Answer(1)]).await;
        assert_eq!((raced_.winner, raced_.began, raced_.took), (Some(3), vec![0, 0, 0, 250], 251));
        let raced_ = raced(&[Answer(7)]).await;
        assert_eq!((raced_.winner, raced_.took, raced_.told.as_str()), (Some(0), 7, "192.0.2.1:0 does not answer"));
    }

    #[tokio::test(start_paused = true)]
    async fn s1_where_all_fail_each_is_told_with_its_reason() {
        let raced_ = raced(&[Does::Refuse; 3]).await;
        assert_eq!((raced_.winner, raced_.took), (None, 0));
        let told = "192.0.2.1:0: connection refused; 192.0.2.1:1: connection refused; 192.0.2.1:2: connection refused";
        assert_eq!(raced_.told, told);
        let many = raced(&[Does::Refuse; 100]).await.told;
        assert!(many.ends_with("192.0.2.1:7: connection refused; and 92 more"), "{many}");
    }

    #[test]
    fn s1_the_families_take_turns() {
        let mixed = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let sorted = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(interleaved(&mixed), sorted);
        let mixed = addresses(&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"]);
        assert_eq!(interleaved(&mixed), addresses(&["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]));
        assert_eq!(interleaved(&[]), []);
    }
}
