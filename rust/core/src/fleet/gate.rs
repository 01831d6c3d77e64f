//! The identify gate (protocol.md §5): one IDENTIFY per bucket in 5 s, whatever the number of shards,
//! gateways and reconnects in this process that share a token and a server.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, LazyLock},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::{Instant, sleep_until},
};

/// Discord's 5 s are measured at its end: a little more at ours.
const SPACING: Duration = Duration::from_millis(5_250);
/// An IDENTIFY that is not answered holds its bucket no longer than this.
pub const HOLD: Duration = Duration::from_secs(15);

type Bucket = Arc<AsyncMutex<Option<Instant>>>;
/// By the salted hash of a token and a server.
type Gates = (RandomState, Mutex<HashMap<u64, Arc<IdentifyGate>>>);

/// Gives permits to IDENTIFY, bucket by bucket (`shard_id % max_concurrency`), first come first served.
#[derive(Debug, Default)]
pub struct IdentifyGate {
    buckets: Mutex<HashMap<u32, Bucket>>,
}

/// The right to one IDENTIFY; its bucket is free again when it is dropped and 5 s have passed.
#[derive(Debug)]
pub struct Permit(OwnedMutexGuard<Option<Instant>>);

impl Permit {
    /// IDENTIFY leaves now: the 5 s run from here.
    pub fn spend(&mut self) {
        *self.0 = Some(Instant::now() + SPACING);
    }
}

impl IdentifyGate {
    /// The one gate of this process for a token at a server. Keyed by a salted hash: the token is not kept.
    pub fn shared(token: &str, server: &str) -> Arc<Self> {
        static GATES: LazyLock<Gates> = LazyLock::new(Default::default);
        let key = GATES.0.hash_one((token, server));
        Arc::clone(GATES.1.lock().entry(key).or_default())
    }

    /// Waits for the turn of `shard_id`. Cancel-safe: dropping the future gives the turn up.
    pub async fn acquire(self: Arc<Self>, shard_id: u32, max_concurrency: u32) -> Permit {
        let bucket = {
            let mut buckets = self.buckets.lock();
            Arc::clone(buckets.entry(shard_id % max_concurrency.max(1)).or_default())
        };
        let next = bucket.lock_owned().await;
        if let Some(at) = *next {
            sleep_until(at).await;
        }
        Permit(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn i2_a_bucket_lets_one_identify_through_in_five_seconds() {
        let gate = Arc::new(IdentifyGate::default());
        let start = Instant::now();
        for turn in 0..4 {
            let mut permit = Arc::clone(&gate).acquire(0, 1).await;
            assert!(start.elapsed() >= Duration::from_secs(5) * turn);
            permit.spend();
        }
        // Another bucket does not wait for this one.
        let before = Instant::now();
        let _other = Arc::clone(&gate).acquire(1, 2).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_is_held_until_its_permit_goes() {
        let gate = Arc::new(IdentifyGate::default());
        let first = Arc::clone(&gate).acquire(0, 1).await;
        let second = tokio::time::timeout(Duration::from_mins(1), Arc::clone(&gate).acquire(0, 1)).await;
        assert!(second.is_err());
        drop(first);
        gate.acquire(0, 1).await;
    }
}
