//! Requests to one subject, one after the other.

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    sync::{Mutex, mpsc},
    task::AbortHandle,
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

/// Who serves a subject, until it is dropped.
pub struct Questions {
    questions: Mutex<mpsc::Receiver<Question>>,
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
                let subscribed = self.client().subscribe(subject.to_owned()).await;
                let subscriber = subscribed
                    .map_err(|error| BrokerError::Invalid(format!("{subject:?} cannot be served: {error}")))?;
                self.round_trip().await?;
                Ok(subscriber)
            })
            .await?;
        let (sender, questions) = mpsc::channel(AHEAD);
        let broker = self.clone();
        let reader = self.handle().spawn(async move {
            let read = async {
                while let Some(message) = subscriber.next().await {
                    let reply = message.reply.map(|subject| subject.as_str().to_owned()).unwrap_or_default();
                    if sender.send(Question { data: message.payload, reply }).await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! {
                () = broker.closed() => {}
                () = read => {}
            }
        });
        Ok(Questions { questions: Mutex::new(questions), reader: reader.abort_handle() })
    }
}

impl Questions {
    /// The next one. Nothing is lost where the future is dropped.
    ///
    /// # Errors
    /// [`BrokerError::Closed`] when the broker was closed, or [`Questions::stop`] called.
    pub async fn next(&self) -> Result<Question> {
        self.questions.lock().await.recv().await.ok_or(BrokerError::Closed)
    }

    /// No more: whoever asks from now on hears at once that nobody is there.
    pub fn stop(&self) {
        self.reader.abort();
    }
}

impl Drop for Questions {
    fn drop(&mut self) {
        self.stop();
    }
}
