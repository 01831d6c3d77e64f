//! The handle of a running shard: it starts the driver, gives it requests, and ends it.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::sync::mpsc;

use super::{ConfigError, Request, ShardConfig, SharedState, driver::Driver};

/// A running shard. Dropping it closes the shard without a closing handshake.
#[derive(Debug)]
pub struct ShardHandle {
    requests: mpsc::UnboundedSender<Request>,
    task: tokio::task::JoinHandle<()>,
}

impl ShardHandle {
    /// Starts the shard on `runtime`; it connects at once.
    ///
    /// # Errors
    /// Where a setting cannot work.
    pub fn start(
        runtime: &tokio::runtime::Handle,
        config: &ShardConfig,
        state: &Arc<SharedState>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let (requests, inbox) = mpsc::unbounded_channel();
        // The driver's timer belongs to the runtime.
        let _inside = runtime.enter();
        let driver = Driver::new(config, Arc::clone(state), inbox)?;
        state.running.store(true, Relaxed);
        Ok(Self { requests, task: runtime.spawn(driver.run()) })
    }

    /// Asks something of it. Returns whether it still runs.
    pub fn request(&self, request: Request) -> bool {
        self.requests.send(request).is_ok()
    }

    /// Whether its last notice is out.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Stops it where it stands.
    pub fn abort(&self) {
        self.task.abort();
    }
}

impl Drop for ShardHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
