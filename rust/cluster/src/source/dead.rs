//! Dead letters: messages that cannot be handled.

use std::sync::atomic::Ordering::Relaxed;

use async_nats::HeaderMap;

use super::{News, Owner, joining::Whole};
use crate::{
    broker::names,
    headers::{DELIVERED, MESSAGE_ID, PART, REASON, SUBJECT},
};

impl Owner {
    /// What cannot be handled is kept for people, with the reason, and is out of the way.
    pub(super) async fn bury(&mut self, whole: Whole, reason: String) {
        let mut headers = HeaderMap::new();
        for (name, values) in whole.headers.iter().filter(|(name, _)| name.to_string() != PART) {
            for value in values {
                headers.append(name.clone(), value.clone());
            }
        }
        headers.insert(SUBJECT, whole.subject.as_str());
        headers.insert(REASON, reason.as_str());
        headers.insert(DELIVERED, whole.deliveries.to_string().as_str());
        let subject = format!("{}dead", names::prefix(&self.record.app));
        let most = self.record.broker.max_payload().saturating_sub(16 * 1024).max(1);
        let parts = whole.frame.len().div_ceil(most).max(1);
        // Where it was in the stream: the same when it is tried again.
        let place = whole.ackers.iter().map(|(sequence, _)| *sequence).min().unwrap_or_default();
        let letter = format!("{}-{place}", self.record.partition);
        for part in 0..parts {
            let mut headers = headers.clone();
            headers.insert(MESSAGE_ID, format!("{part}-{letter}"));
            if parts > 1 {
                headers.insert(PART, format!("{part}-{parts}-{letter}"));
            }
            let data = whole.frame.slice(part * most..whole.frame.len().min((part + 1) * most));
            let sent = self.record.broker.jetstream().publish_with_headers(subject.clone(), headers, data).await;
            let is_kept = match sent {
                Ok(kept) => kept.await.is_ok(),
                Err(_) => false,
            };
            if !is_kept {
                // It is tried again, and not acknowledged before.
                self.unburied.push((whole, reason));
                return;
            }
        }
        self.counts.dead.fetch_add(1, Relaxed);
        self.tell(News::Dead(reason));
        for (_, acker) in whole.ackers {
            let _ = acker.ack().await;
        }
    }
}
