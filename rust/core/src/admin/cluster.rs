//! What a process of a cluster shows: what its publisher and its partitions tell when they are asked, and how the whole
//! cluster stands, as Python tells it when that changes.
//!
//! Neither is kept alive by this: of what has gone its counters stay, for counters do not go back.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;

use super::{
    totals::Totals,
    view::{Role, View},
};
use crate::shard::SharedState;

/// Counters of what has left a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Published {
    /// Events in messages that are kept.
    pub events: u64,
    /// Messages that are kept.
    pub messages: u64,
    /// Their bytes, compressed.
    pub bytes: u64,
    /// Times that a message was sent again.
    pub retries: u64,
    /// Events that the session's last owner had published already.
    pub known: u64,
    /// Events that were not published because the lease had run out.
    pub fenced: u64,
}

/// Counters of what a worker has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Events that were given to listeners, or heard by none.
    pub events: u64,
    /// Messages.
    pub messages: u64,
    /// Messages that had been delivered before.
    pub redelivered: u64,
    /// Messages that became dead letters.
    pub dead: u64,
    /// Messages that were too old before anybody took them.
    pub expired: u64,
    /// Events of an earlier epoch behind a later one.
    pub stale: u64,
    /// Events that another fleet had brought.
    pub overlapped: u64,
    /// Events that an earlier owner of their shard had published as well.
    pub known: u64,
}

/// The lease of a shard that a host has.
#[derive(Debug, Clone, Copy)]
pub struct HeldLease {
    /// Which shard.
    pub shard: u32,
    /// Of all who have had it, the later has the larger one.
    pub epoch: u64,
    /// Until it is given up, unless it is renewed.
    pub left: Duration,
}

/// A partition that a worker has.
#[derive(Debug, Clone, Copy)]
pub struct HeldPartition {
    /// Which one.
    pub id: u32,
    /// Messages that are not acknowledged.
    pub unfinished: u64,
    /// Messages in the stream that were not taken yet.
    pub lag: u64,
}

/// What one [`Contributor`] tells.
#[derive(Clone)]
pub enum Contribution {
    /// A member's way to the cluster: whether it is there now.
    Connection(bool),
    /// What publishes the events of a host's shards.
    Publisher {
        /// Since it was made.
        counters: Published,
        /// The age of the oldest event that is not published.
        lag: Duration,
        /// Of the shards whose events it publishes.
        leases: Vec<HeldLease>,
    },
    /// What reads the events of a partition.
    Intake {
        /// Since it was made.
        counters: Taken,
        /// None: it reads no more.
        held: Option<HeldPartition>,
        /// What its events are given to.
        state: Arc<SharedState>,
    },
}

impl fmt::Debug for Contribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(is_there) => f.debug_tuple("Connection").field(is_there).finish(),
            Self::Publisher { counters, leases, .. } => {
                let mut told = f.debug_struct("Publisher");
                told.field("counters", counters).field("leases", leases).finish_non_exhaustive()
            }
            Self::Intake { counters, held, .. } => {
                f.debug_struct("Intake").field("counters", counters).field("held", held).finish_non_exhaustive()
            }
        }
    }
}

/// A part of a process of a cluster. It is asked by the engine's threads, and waits for nothing.
pub trait Contributor: Send + Sync {
    /// How it stands.
    fn contribution(&self) -> Contribution;
}

/// Counters of contributors, and what those of partitions have given to listeners.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted {
    pub(super) published: Published,
    pub(super) taken: Taken,
    pub(super) heard: Totals,
}

impl Counted {
    fn of(contribution: &Contribution) -> Self {
        match contribution {
            Contribution::Connection(_) => Self::default(),
            Contribution::Publisher { counters, .. } => Self { published: *counters, ..Self::default() },
            Contribution::Intake { counters, state, .. } => {
                let heard = Totals::of(state, state.queue().snapshot().0);
                Self { taken: *counters, heard, ..Self::default() }
            }
        }
    }

    fn add(&mut self, other: &Self) {
        let Published { events, messages, bytes, retries, known, fenced } = other.published;
        let published = &mut self.published;
        published.events += events;
        published.messages += messages;
        published.bytes += bytes;
        published.retries += retries;
        published.known += known;
        published.fenced += fenced;
        let Taken { events, messages, redelivered, dead, expired, stale, overlapped, known } = other.taken;
        let taken = &mut self.taken;
        taken.events += events;
        taken.messages += messages;
        taken.redelivered += redelivered;
        taken.dead += dead;
        taken.expired += expired;
        taken.stale += stale;
        taken.overlapped += overlapped;
        taken.known += known;
        self.heard.add(&other.heard);
    }
}

/// One contributor.
struct Shown {
    ticket: u64,
    of: Weak<dyn Contributor>,
    /// What it had counted when it was asked last.
    counted: Counted,
}

#[derive(Default)]
struct Gathered {
    shown: Vec<Shown>,
    tickets: u64,
    gone: Counted,
    views: Vec<View>,
}

/// Which parts there are.
#[derive(Default)]
pub(super) struct Members(Mutex<Gathered>);

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").field("views", &self.0.lock().views.len()).finish_non_exhaustive()
    }
}

/// How they all stand.
#[derive(Debug, Default)]
pub(super) struct Standings {
    pub(super) now: Vec<Contribution>,
    /// Those that have gone among them.
    pub(super) counted: Counted,
    /// The cluster, as each member in this process sees it; more than one only where several share an address.
    pub(super) views: Vec<View>,
}

impl Members {
    /// Shows a part for as long as it lives; by the number [`Members::withdraw`] knows it.
    pub(super) fn contribute(&self, of: Weak<dyn Contributor>) -> u64 {
        let Gathered { shown, tickets, .. } = &mut *self.0.lock();
        *tickets += 1;
        shown.push(Shown { ticket: *tickets, of, counted: Counted::default() });
        *tickets
    }

    /// It goes, and this was its last word.
    pub(super) fn withdraw(&self, ticket: u64, last: &Contribution) {
        let counted = Counted::of(last);
        let Gathered { shown, gone, .. } = &mut *self.0.lock();
        if let Some(at) = shown.iter().position(|one| one.ticket == ticket) {
            shown.remove(at);
            gone.add(&counted);
        }
    }

    /// How one member sees the cluster, by its id.
    pub(super) fn tell(&self, view: View) {
        let views = &mut self.0.lock().views;
        match views.iter_mut().find(|known| known.id == view.id) {
            Some(known) => *known = view,
            None => views.push(view),
        }
    }

    /// It is no member any more.
    pub(super) fn forget(&self, id: &str) {
        self.0.lock().views.retain(|view| view.id != id);
    }

    /// Asks all of them.
    pub(super) fn standings(&self) -> Standings {
        // The last one to hold a part ends it, which withdraws it: not while the lock is held.
        let parts: Vec<(u64, Arc<dyn Contributor>)> =
            self.0.lock().shown.iter().filter_map(|one| Some((one.ticket, one.of.upgrade()?))).collect();
        let told: Vec<(u64, Contribution, Counted)> = parts
            .iter()
            .map(|(ticket, part)| {
                let contribution = part.contribution();
                let counted = Counted::of(&contribution);
                (*ticket, contribution, counted)
            })
            .collect();
        let mut gathered = self.0.lock();
        let mut standings = Standings { views: gathered.views.clone(), ..Standings::default() };
        for (ticket, contribution, counted) in told {
            if let Some(one) = gathered.shown.iter_mut().find(|one| one.ticket == ticket) {
                one.counted = counted;
                standings.now.push(contribution);
            }
        }
        standings.counted = gathered.gone.clone();
        for one in &gathered.shown {
            standings.counted.add(&one.counted);
        }
        drop(gathered);
        standings
    }
}

impl Standings {
    /// Whether there is anything of a cluster.
    pub(super) fn is_there(&self) -> bool {
        !self.views.is_empty() || !self.now.is_empty()
    }

    /// Whether all have a connection to NATS; none where nobody knows.
    pub(super) fn is_connected(&self) -> Option<bool> {
        let each = self.now.iter().filter_map(|one| match one {
            Contribution::Connection(is_there) => Some(*is_there),
            _ => None,
        });
        each.reduce(|all, one| all && one)
    }

    /// The age of the oldest event that is not published; none where nothing publishes.
    pub(super) fn publish_lag(&self) -> Option<Duration> {
        let each = self.now.iter().filter_map(|one| match one {
            Contribution::Publisher { lag, .. } => Some(*lag),
            _ => None,
        });
        each.max()
    }

    /// The leases of this process's shards by their ids. While it is resharded two have one id: the later epoch, and the
    /// lesser of both times.
    pub(super) fn leases(&self) -> BTreeMap<u32, HeldLease> {
        let mut leases: BTreeMap<u32, HeldLease> = BTreeMap::new();
        for one in &self.now {
            let Contribution::Publisher { leases: held, .. } = one else { continue };
            for lease in held {
                let known = leases.entry(lease.shard).or_insert(*lease);
                known.epoch = known.epoch.max(lease.epoch);
                known.left = known.left.min(lease.left);
            }
        }
        leases
    }

    /// The partitions that this process reads, by their numbers.
    pub(super) fn partitions(&self) -> BTreeMap<u32, HeldPartition> {
        let held = self.now.iter().filter_map(|one| match one {
            Contribution::Intake { held, .. } => *held,
            _ => None,
        });
        held.map(|partition| (partition.id, partition)).collect()
    }

    /// What waits for listeners: events, and their bytes.
    pub(super) fn queued(&self) -> (u64, usize) {
        let mut sums = (0, 0);
        for one in &self.now {
            if let Contribution::Intake { state, .. } = one {
                let (_, bytes, waiting) = state.queue().snapshot();
                sums = (sums.0 + waiting.iter().sum::<u64>(), sums.1 + bytes);
            }
        }
        sums
    }

    /// So many shards, or partitions, are to be had by this process; none where it is no such member.
    pub(super) fn wanted(&self, role: Role) -> Option<usize> {
        let each = self.views.iter().filter(|view| view.role == role).map(|view| view.wanted);
        each.reduce(|all, one| all + one)
    }

    /// The cluster as it is shown: its own partitions are as far as they are now.
    pub(super) fn view(&self) -> Option<View> {
        let mut view = self.views.last()?.clone();
        let held = self.partitions();
        for row in &mut view.partitions {
            if let Some(partition) = held.get(&row.id) {
                row.lag = Some(partition.lag);
            }
        }
        Some(view)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    struct Part {
        events: AtomicU64,
        of: Option<(Arc<Members>, u64)>,
    }

    impl Contributor for Part {
        fn contribution(&self) -> Contribution {
            let counters = Published { events: self.events.load(Relaxed), ..Published::default() };
            let leases = [(3, 40, 9), (3, 50, 7)].map(|(shard, epoch, left)| {
                let left = Duration::from_secs(left);
                HeldLease { shard, epoch, left }
            });
            Contribution::Publisher { counters, lag: Duration::from_secs(2), leases: leases.to_vec() }
        }
    }

    impl Drop for Part {
        fn drop(&mut self) {
            if let Some((members, ticket)) = self.of.take() {
                members.withdraw(ticket, &self.contribution());
            }
        }
    }

    fn part(members: &Arc<Members>, events: u64) -> Arc<Part> {
        Arc::new_cyclic(|this: &Weak<Part>| {
            let ticket = members.contribute(Weak::<Part>::clone(this));
            Part { events: AtomicU64::new(events), of: Some((Arc::clone(members), ticket)) }
        })
    }

    #[test]
    fn what_has_gone_still_counts_and_stands_no_more() {
        let members = Arc::new(Members::default());
        let (first, second) = (part(&members, 3), part(&members, 4));
        assert_eq!(members.standings().counted.published.events, 7);
        assert_eq!(members.standings().now.len(), 2);
        first.events.store(5, Relaxed);
        drop(first);
        let standings = members.standings();
        assert_eq!((standings.counted.published.events, standings.now.len()), (9, 1), "its last word counts");
        drop(second);
        let standings = members.standings();
        assert_eq!((standings.counted.published.events, standings.now.len()), (9, 0));
        assert!(!standings.is_there() && standings.publish_lag().is_none());
    }

    #[test]
    fn of_two_leases_with_one_id_the_later_epoch_and_the_lesser_time_are_told() {
        let members = Arc::new(Members::default());
        let _part = part(&members, 0);
        let standings = members.standings();
        let lease = standings.leases()[&3];
        assert_eq!((lease.epoch, lease.left), (50, Duration::from_secs(7)));
        assert_eq!(standings.publish_lag(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn connected_is_who_has_all_connections() {
        let mut standings = Standings::default();
        assert_eq!(standings.is_connected(), None);
        standings.now = vec![Contribution::Connection(true)];
        assert_eq!(standings.is_connected(), Some(true));
        standings.now.push(Contribution::Connection(false));
        assert_eq!(standings.is_connected(), Some(false));
    }

    #[test]
    fn a_member_is_known_by_its_id() {
        let members = Members::default();
        let view = |id: &str, role, wanted| View {
            role,
            id: id.to_owned(),
            app: "app".to_owned(),
            wanted,
            total: None,
            next: None,
            hosts: Vec::new(),
            shards: Vec::new(),
            workers: Vec::new(),
            partitions: Vec::new(),
        };
        members.tell(view("a", Role::Host, 2));
        members.tell(view("b", Role::Worker, 64));
        members.tell(view("a", Role::Host, 3));
        let standings = members.standings();
        assert_eq!((standings.wanted(Role::Host), standings.wanted(Role::Worker)), (Some(3), Some(64)));
        members.forget("a");
        assert_eq!(members.standings().wanted(Role::Host), None);
        assert!(members.standings().is_there());
    }
}
