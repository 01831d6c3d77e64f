//! From when to when two fleets bring events, in one partition's stream.

use super::{Owner, record::Overlap};

/// Where two fleets end to overlap could not be asked yet.
const UNKNOWN: u64 = u64::MAX;

impl Owner {
    /// Two fleets overlap no longer: what is in the stream by now is looked at first. Whether the partition is lost.
    pub(super) async fn look_for_end(&mut self) -> bool {
        if self.entering.is_none() && !self.partition.overlaps() {
            return false;
        }
        match self.consumer.get_info().await {
            Ok(info) if info.num_pending == 0 && info.delivered.consumer_sequence == self.delivered => {
                self.end_overlap().await
            }
            _ => {
                if self.until.is_none_or(|until| until == UNKNOWN) {
                    let stream = self.record.stream.get_info().await;
                    self.until = Some(stream.map_or(UNKNOWN, |stream| stream.state.last_sequence));
                }
                false
            }
        }
    }

    /// Whether the partition is lost.
    pub(super) async fn end_overlap(&mut self) -> bool {
        (self.until, self.entering) = (None, None);
        self.partition.end_overlap();
        // Messages of which nothing was given out, because the other fleet had brought it.
        self.finish(self.finished).await;
        if let Some(overlap) = &mut self.record.seen.overlap
            && overlap.end.is_none()
        {
            overlap.end = Some(self.taken);
            self.unwritten = true;
        }
        // Whoever begins before all of it is acknowledged has both fleets' events before it.
        self.forgotten_at = Some(self.partition.number());
        self.forget_overlap().await || (self.unwritten && self.write().await)
    }

    /// Whether the partition is lost.
    pub(super) async fn forget_overlap(&mut self) -> bool {
        if self.forgotten_at.is_none_or(|number| number > self.finished) {
            return false;
        }
        self.forgotten_at = None;
        if let Some(overlap) = self.record.seen.overlap.take() {
            self.partition.forget(overlap.old);
            self.keep_epochs(self.taken);
        }
        self.write().await
    }

    /// Whether the partition is lost.
    pub(super) async fn begin_overlap(&mut self, old: u32) -> bool {
        // An earlier owner knew it, or we do.
        let is_known = self.entering.is_some() || self.partition.overlaps();
        if let Some(overlap) = self.record.seen.overlap.filter(|overlap| is_known && overlap.old == old) {
            self.until = overlap.end;
            return false;
        }
        (self.entering, self.until, self.forgotten_at) = (None, None, None);
        self.partition.begin_overlap(old);
        self.record.seen.overlap = Some(Overlap { old, since: self.taken, end: None });
        self.write().await
    }
}
