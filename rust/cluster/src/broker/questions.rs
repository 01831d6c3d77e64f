//! Requests to one subject, one after the other.

use std::time::Duration;

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    sync::{Mutex, mpsc, watch as signal},
    task::AbortHandle,
    time::{self, Instant},
};

use super::{
    Broker,
    error::{BrokerError, Result},
};

/// What somebody waits for an answer to.
#[derive(Debug)]
pub struct Question {
    /// What was asked.
    pub data: Bytes,
    /// Where the answer goes; empty where none is wanted.
    pub reply: String,
}

/// Read, and not yet asked for; more wait in the client, which holds 65,536.
const AHEAD: usize = 64;
/// A time that does not come.
const FOREVER: Duration = Duration::from_hours(24 * 365);

/// Who serves a subject, until it is dropped.
pub struct Questions {
    asked: Mutex<mpsc::Receiver<Question>>,
    stop: signal::Sender<bool>,
    /// Holds the subscription: it ends with it.
    reader: AbortHandle,
}

impl Broker {
    /// Serves `subject` from when this returns: whoever asks later is not told that nobody is there.
    ///
    /// # Errors
    /// There is no connection within the time-out, or the subject cannot be one.
    pub async fn serve(&self, subject: &str) -> Result<Questions> {
        let mut subscriber = self
            .within(subject, async {
                self.connected().await;
                let made = self.client().subscribe(subject.to_owned()).await;
                let subscriber =
                    made.map_err(|error| BrokerError::Invalid(format!("{subject:?} cannot be served: {error}")))?;
                self.round_trip().await?;
                Ok(subscriber)
            })
            .await?;
        let (sender, asked) = mpsc::channel(AHEAD);
        let (stop, stopped) = signal::channel(false);
        let broker = self.clone();
        let reader = self.handle().spawn(async move {
            tokio::select! {
                () = broker.closed() => {}
                () = read(&broker, &mut subscriber, &sender, stopped) => {}
            }
        });
        Ok(Questions { asked: Mutex::new(asked), stop, reader: reader.abort_handle() })
    }
}

async fn read(
    broker: &Broker,
    subscriber: &mut Subscriber,
    sender: &mpsc::Sender<Question>,
    mut stopped: signal::Receiver<bool>,
) {
    let mut last = Instant::now() + FOREVER;
    let mut draining = false;
    loop {
        let message = tokio::select! {
            biased;
            gone = async { stopped.wait_for(|stopped| *stopped).await.is_err() }, if !draining => {
                // The server is told, and says when nothing more is on its way; without one nothing is.
                if gone || !broker.is_connected() || subscriber.drain().await.is_err() {
                    return;
                }
                draining = true;
                last = Instant::now() + broker.timeout();
                continue;
            }
            message = subscriber.next() => message,
            () = time::sleep_until(last) => None,
        };
        let Some(message) = message else { return };
        let reply = message.reply.map(|subject| subject.as_str().to_owned()).unwrap_or_default();
        if sender.send(Question { data: message.payload, reply }).await.is_err() {
            return;
        }
    }
}

impl Questions {
    /// The next one. Nothing is lost where the future is dropped.
    ///
    /// # Errors
    /// [`BrokerError::Closed`] when the broker was closed, or after the last one where [`Questions::stop`] was called.
    pub async fn next(&self) -> Result<Question> {
        self.asked.lock().await.recv().await.ok_or(BrokerError::Closed)
    }

    /// No more: whoever asks from now on hears at once that nobody is there. What was asked before still comes.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Drop for Questions {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
