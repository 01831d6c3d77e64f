//! The identify gate (protocol.md §5): one IDENTIFY per bucket in 5 s, whatever the number of shards,
//! gateways and reconnects in this process that share a token and a server; and a floor under the day's budget, because
//! an application that uses it up has its token reset.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::{Instant, sleep_until},
};

use crate::protocol::gateway_bot::{GatewayBot, SessionStartLimit};

/// Discord's 5 s are measured at its end: a little more at ours.
const SPACING: Duration = Duration::from_millis(5_250);
/// An IDENTIFY that is not answered holds its bucket no longer than this.
pub const HOLD: Duration = Duration::from_secs(15);
/// Of the spacing, from an answer on: the server had the IDENTIFY before it answered, however long that was on its way.
/// Only its clock may go another way than ours.
const DRIFT: f64 = 0.96;
/// What `/gateway/bot` said is asked for again before an IDENTIFY that comes later than this.
const FRESH: Duration = Duration::from_mins(5);

type Bucket = Arc<AsyncMutex<Option<Instant>>>;
/// By the salted hash of a token and a server.
type Gates = (RandomState, Mutex<HashMap<u64, Arc<IdentifyGate>>>);

/// Gives permits to IDENTIFY, bucket by bucket (`shard_id % max_concurrency`), first come first served.
#[derive(Debug, Default)]
pub struct IdentifyGate {
    buckets: Mutex<HashMap<u32, Bucket>>,
    budget: Mutex<Option<Budget>>,
    /// Held by whoever asks `/gateway/bot`: a thousand shards that start together ask it once.
    asking: AsyncMutex<()>,
    /// Where it said that the Gateway is.
    url: Mutex<Option<String>>,
}

/// What is left of the day's IDENTIFYs, as `/gateway/bot` told it and less those that left since.
#[derive(Debug, Clone, Copy)]
struct Budget {
    total: u32,
    floor: u32,
    remaining: u32,
    max_concurrency: u32,
    spacing: Duration,
    told: Instant,
    resets: Instant,
    /// The same as Unix time in seconds.
    resets_at: f64,
}

/// So few IDENTIFYs are left that the next one is refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blocked {
    /// How long from now.
    pub wait: Duration,
    /// Unix time in seconds.
    pub resets_at: f64,
}

/// What is left of the day's IDENTIFYs, as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left {
    /// Of the whole day.
    pub total: u32,
    /// Of these, not used yet.
    pub remaining: u32,
    /// Unix time in seconds from which on all of them are there again.
    pub resets_at: f64,
}

/// The right to one IDENTIFY, dropped when that was answered or will not be. Its bucket is free again 5 s later.
#[derive(Debug)]
pub struct Permit {
    /// When the next one may leave.
    next: OwnedMutexGuard<Option<Instant>>,
    gate: Arc<IdentifyGate>,
    /// When this one left, and how long after it the next one may.
    spent: Option<(Instant, Duration)>,
}

impl Permit {
    /// IDENTIFY leaves now: the 5 s run from here.
    pub fn spend(&mut self) {
        let mut spacing = SPACING;
        if let Some(budget) = &mut *self.gate.budget.lock() {
            budget.remaining = budget.remaining.saturating_sub(1);
            spacing = budget.spacing;
        }
        let now = Instant::now();
        self.spent = Some((now, spacing));
        *self.next = Some(now + spacing);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some((left, spacing)) = self.spent else { return };
        // It may have been long on its way. Who is never answered keeps the others waiting no longer than `HOLD`.
        let answered = (Instant::now() + spacing.mul_f64(DRIFT)).min(left + HOLD);
        *self.next = (*self.next).max(Some(answered));
    }
}

/// IDENTIFYs that are never spent: 5 % of the day's, or ten, or a tenth where there are few at all.
fn floor(total: u32) -> u32 {
    (total / 20).max((total / 10).min(10))
}

impl IdentifyGate {
    /// The one gate of this process for a token at a server. Keyed by a salted hash: the token is not kept.
    pub fn shared(token: &str, server: &str) -> Arc<Self> {
        static GATES: LazyLock<Gates> = LazyLock::new(Default::default);
        // A forked child has connections of its own, and never hears of the parent's.
        let key = GATES.0.hash_one((token, server, std::process::id()));
        Arc::clone(GATES.1.lock().entry(key).or_default())
    }

    /// What `/gateway/bot` says. It counts the IDENTIFYs of other processes too, and those before a restart.
    pub fn learn(&self, limit: &SessionStartLimit) {
        let now = Instant::now();
        // A day is the longest that Discord says; a time beyond reckoning must not panic.
        let reset_after = Duration::from_millis(limit.reset_after).min(Duration::from_hours(48));
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        *self.budget.lock() = Some(Budget {
            total: limit.total,
            floor: floor(limit.total),
            remaining: limit.remaining,
            max_concurrency: limit.max_concurrency.max(1),
            // With as much slack, by its length, as there is to Discord's.
            spacing: limit
                .identify_interval
                .map_or(SPACING, |interval| Duration::from_millis(interval).mul_f64(1.05).min(SPACING)),
            told: now,
            resets: now + reset_after,
            resets_at: (unix + reset_after).as_secs_f64(),
        });
    }

    /// Waits until nobody asks `/gateway/bot`, and is the only one who may as long as it holds what it gets.
    pub async fn turn_to_ask(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.asking.lock().await
    }

    /// Where `/gateway/bot` said last that the Gateway is.
    pub fn url(&self) -> Option<String> {
        self.url.lock().clone()
    }

    /// What the whole answer says.
    pub fn learn_all(&self, bot: &GatewayBot) {
        if let Some(limit) = &bot.session_start_limit {
            self.learn(limit);
        }
        *self.url.lock() = Some(bot.url.clone());
    }

    /// What is left of the day's; `None` where nobody has told, or what was told is over.
    pub fn left(&self) -> Option<Left> {
        let budget = (*self.budget.lock())?;
        let is_today = Instant::now() < budget.resets;
        is_today.then_some(Left { total: budget.total, remaining: budget.remaining, resets_at: budget.resets_at })
    }

    /// IDENTIFYs in 5 s; 1 where nobody has told.
    pub fn max_concurrency(&self) -> u32 {
        self.budget.lock().map_or(1, |budget| budget.max_concurrency)
    }

    /// Whether what is known of the budget is too old, or too little, to go by.
    pub fn is_stale(&self) -> bool {
        self.budget.lock().is_none_or(|budget| budget.told.elapsed() > FRESH || budget.remaining <= budget.floor)
    }

    fn blocked(&self) -> Option<Blocked> {
        let budget = (*self.budget.lock())?;
        let now = Instant::now();
        let spent = budget.remaining <= budget.floor && now < budget.resets;
        spent.then(|| Blocked { wait: budget.resets - now, resets_at: budget.resets_at })
    }

    /// Waits for the turn of `shard_id`. Cancel-safe: dropping the future gives the turn up.
    ///
    /// # Errors
    /// [`Blocked`] where the day's budget is down to its floor. Where no budget was told there is none to keep.
    pub async fn acquire(self: Arc<Self>, shard_id: u32) -> Result<Permit, Blocked> {
        if let Some(blocked) = self.blocked() {
            return Err(blocked);
        }
        let bucket = {
            let bucket = shard_id % self.max_concurrency();
            let mut buckets = self.buckets.lock();
            Arc::clone(buckets.entry(bucket).or_default())
        };
        let next = bucket.lock_owned().await;
        if let Some(at) = *next {
            sleep_until(at).await;
        }
        // Again: those before this one in the queue have spent theirs.
        match self.blocked() {
            Some(blocked) => Err(blocked),
            None => Ok(Permit { next, gate: self, spent: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(total: u32, remaining: u32, max_concurrency: u32) -> SessionStartLimit {
        SessionStartLimit { total, remaining, reset_after: 3_600_000, max_concurrency, identify_interval: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_simulator_may_say_a_shorter_interval_and_nobody_a_longer_one() {
        for (told, least, most) in [(Some(0), 0, 1), (Some(200), 200, 300), (Some(60_000), 5_250, 5_300)] {
            let gate = Arc::new(IdentifyGate::default());
            gate.learn(&SessionStartLimit { identify_interval: told, ..limit(1000, 1000, 1) });
            let start = Instant::now();
            Arc::clone(&gate).acquire(0).await.unwrap().spend();
            Arc::clone(&gate).acquire(0).await.unwrap().spend();
            let waited = start.elapsed().as_millis();
            assert!((least..=most).contains(&waited), "{waited}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn i2_a_bucket_lets_one_identify_through_in_five_seconds() {
        let gate = Arc::new(IdentifyGate::default());
        gate.learn(&limit(1000, 1000, 2));
        let start = Instant::now();
        for turn in 0..4 {
            let mut permit = Arc::clone(&gate).acquire(2).await.unwrap();
            assert!(start.elapsed() >= Duration::from_secs(5) * turn);
            permit.spend();
        }
        // Another bucket does not wait for this one.
        let before = Instant::now();
        let _other = Arc::clone(&gate).acquire(1).await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn i2_sixty_shards_that_lose_their_sessions_together_keep_to_their_buckets() {
        let gate = Arc::new(IdentifyGate::default());
        gate.learn(&limit(1000, 1000, 16));
        let start = Instant::now();
        let shards = (0..60).map(|shard| {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                let mut permit = gate.acquire(shard).await.unwrap();
                permit.spend();
                let at = start.elapsed();
                // READY takes a while.
                tokio::time::sleep(Duration::from_millis(u64::from(shard) * 37 % 900)).await;
                (shard % 16, at)
            })
        });
        let mut times: HashMap<u32, Vec<Duration>> = HashMap::new();
        for shard in shards.collect::<Vec<_>>() {
            let (bucket, at) = shard.await.unwrap();
            times.entry(bucket).or_default().push(at);
        }
        for times in times.values_mut() {
            times.sort_unstable();
            assert!(times.windows(2).all(|pair| pair[1] >= pair[0] + Duration::from_secs(5)), "{times:?}");
        }
        assert!(start.elapsed() < Duration::from_secs(20), "buckets wait for each other");
    }

    /// What a shard does at the gate.
    #[derive(Debug, Clone)]
    struct Visit {
        shard: u32,
        /// Milliseconds: from the start until it asks, how long it waits at most, how long READY takes then.
        arrives: u64,
        patience: u64,
        ready: u64,
    }

    fn visit() -> impl Strategy<Value = Visit> {
        let patience = prop_oneof![2 => Just(u64::MAX), 1 => 0_u64..20_000];
        (0_u32..40, 0_u64..30_000, patience, 0_u64..20_000).prop_map(|(shard, arrives, patience, ready)| Visit {
            shard,
            arrives,
            patience,
            ready,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn i2_never_two_identifies_of_a_bucket_in_five_seconds_over_random_visits(
            max_concurrency in 1_u32..17,
            visits in prop::collection::vec(visit(), 1..12),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let mut spent = runtime.block_on(async {
                let gate = Arc::new(IdentifyGate::default());
                gate.learn(&limit(100_000, 100_000, max_concurrency));
                let start = Instant::now();
                let tasks = visits.into_iter().map(|Visit { shard, arrives, patience, ready }| {
                    let gate = Arc::clone(&gate);
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(arrives)).await;
                        let asking = tokio::time::timeout(Duration::from_millis(patience), gate.acquire(shard));
                        // Its connection ended while it waited.
                        let Ok(permit) = asking.await else { return None };
                        let mut permit = permit.unwrap();
                        permit.spend();
                        let at = start.elapsed();
                        tokio::time::sleep(Duration::from_millis(ready).min(HOLD)).await;
                        Some((shard % max_concurrency, at))
                    })
                });
                let mut spent = Vec::new();
                for task in tasks.collect::<Vec<_>>() {
                    spent.extend(task.await.unwrap());
                }
                spent
            });
            spent.sort_unstable();
            for pair in spent.windows(2) {
                let [(bucket, sooner), (other, later)] = pair else { unreachable!() };
                prop_assert!(bucket != other || *later >= *sooner + Duration::from_secs(5), "{spent:?}");
            }
        }
    }

    /// A fleet whose shards start together and lose their sessions together, again and again; and a server whose clock
    /// goes another way than ours.
    #[derive(Debug, Clone)]
    struct Storms {
        shards: u32,
        max_concurrency: u32,
        /// Milliseconds from one to the next.
        at: Vec<u64>,
        /// Our milliseconds for a thousand of the server's, less a thousand.
        drift: i64,
        /// Of each IDENTIFY on its way, and of READY, in milliseconds; in turn.
        latencies: Vec<u64>,
        readies: Vec<u64>,
        /// Every so many-th IDENTIFY is lost with its connection.
        lost: u64,
    }

    fn storms() -> impl Strategy<Value = Storms> {
        (
            1_u32..48,
            1_u32..17,
            prop::collection::vec(0_u64..40_000, 1..4),
            -5_i64..6,
            prop::collection::vec(0_u64..3_000, 1..9),
            prop::collection::vec(0_u64..8_000, 1..9),
            2_u64..30,
        )
            .prop_map(|(shards, max_concurrency, storms, drift, latencies, readies, lost)| Storms {
                shards,
                max_concurrency,
                at: storms,
                drift,
                latencies,
                readies,
                lost,
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn i2_a_server_with_a_clock_of_its_own_sees_five_seconds_through_every_storm(fleet in storms()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let Storms { shards, max_concurrency, at: storms, drift, latencies, readies, lost } = fleet;
            let mut seen = runtime.block_on(async {
                let gate = Arc::new(IdentifyGate::default());
                gate.learn(&limit(100_000, 100_000, max_concurrency));
                let start = Instant::now();
                let mut tasks = Vec::new();
                let mut at = 0;
                for (storm, gap) in storms.into_iter().enumerate() {
                    at += gap;
                    for shard in 0..shards {
                        let (gate, turn) = (Arc::clone(&gate), u64::from(shard) * 7 + storm as u64);
                        let latency = latencies[turn as usize % latencies.len()];
                        let ready = readies[turn as usize % readies.len()];
                        tasks.push(tokio::spawn(async move {
                            tokio::time::sleep(Duration::from_millis(at)).await;
                            let mut permit = gate.acquire(shard).await.unwrap();
                            permit.spend();
                            tokio::time::sleep(Duration::from_millis(latency)).await;
                            let arrived = start.elapsed();
                            // Without an answer, the connection ends; not before the server has read what came on it.
                            let answered = if turn % lost == 0 { 0 } else { ready };
                            tokio::time::sleep(Duration::from_millis(answered)).await;
                            (shard % max_concurrency, arrived)
                        }));
                    }
                }
                let mut seen = Vec::new();
                for task in tasks {
                    seen.push(task.await.unwrap());
                }
                seen
            });
            seen.sort_unstable();
            for pair in seen.windows(2) {
                let [(bucket, sooner), (other, later)] = pair else { unreachable!() };
                let by_its_clock = later.saturating_sub(*sooner).mul_f64(1000.0 / (1000 + drift) as f64);
                prop_assert!(bucket != other || by_its_clock >= Duration::from_secs(5), "{seen:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn s5_a_bucket_is_held_until_its_permit_goes() {
        let gate = Arc::new(IdentifyGate::default());
        let first = Arc::clone(&gate).acquire(0).await;
        let second = tokio::time::timeout(Duration::from_mins(1), Arc::clone(&gate).acquire(0)).await;
        assert!(second.is_err());
        drop(first);
        gate.acquire(0).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn s5_f10_at_the_floor_no_identify_leaves_until_the_budget_is_full_again() {
        let gate = Arc::new(IdentifyGate::default());
        gate.learn(&limit(1000, 52, 1));
        for _ in 0..2 {
            Arc::clone(&gate).acquire(0).await.unwrap().spend();
        }
        assert!(gate.is_stale(), "what is left is to be asked for again");
        let blocked = Arc::clone(&gate).acquire(0).await.unwrap_err();
        assert!(blocked.wait > Duration::from_mins(59) && blocked.wait <= Duration::from_hours(1));
        tokio::time::sleep(blocked.wait).await;
        Arc::clone(&gate).acquire(0).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn s5_the_5_seconds_run_from_the_identify_and_have_250_ms_of_slack() {
        let gate = Arc::new(IdentifyGate::default());
        let mut permit = Arc::clone(&gate).acquire(0).await.unwrap();
        // The socket was slow; Discord counts from what it receives.
        tokio::time::sleep(Duration::from_secs(3)).await;
        permit.spend();
        drop(permit);
        let spent = Instant::now();
        Arc::clone(&gate).acquire(0).await.unwrap();
        assert!(spent.elapsed() >= Duration::from_millis(5_250), "{:?}", spent.elapsed());
        assert!(spent.elapsed() < Duration::from_secs(6), "{:?}", spent.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn s5_where_the_way_was_long_the_5_seconds_run_from_the_answer() {
        // Milliseconds from the IDENTIFY to its answer, and to the next IDENTIFY.
        for (answered, least, most) in [(200, 5_250, 5_260), (2_000, 7_000, 7_100), (15_000, 15_000, 15_010)] {
            let gate = Arc::new(IdentifyGate::default());
            let mut permit = Arc::clone(&gate).acquire(0).await.unwrap();
            permit.spend();
            let spent = Instant::now();
            tokio::time::sleep(Duration::from_millis(answered)).await;
            drop(permit);
            gate.acquire(0).await.unwrap();
            let waited = spent.elapsed().as_millis();
            assert!((least..=most).contains(&waited), "{waited}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn s1_what_gateway_bot_told_is_stale_after_five_minutes() {
        let gate = Arc::new(IdentifyGate::default());
        assert!(gate.is_stale(), "nothing was told yet");
        gate.learn(&limit(1000, 1000, 1));
        tokio::time::sleep(Duration::from_mins(5)).await;
        assert!(!gate.is_stale());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(gate.is_stale());
    }

    #[test]
    fn s5_the_floor_is_5_percent_or_ten_and_never_all() {
        assert_eq!([0, 1, 10, 100, 200, 1000, 2000].map(floor), [0, 0, 1, 10, 10, 50, 100]);
    }
}
