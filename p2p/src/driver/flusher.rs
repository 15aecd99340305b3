//! Making durable what the log gained, one flush at a time. What grows meanwhile goes into the next one.

use std::sync::{Arc, RwLock};

use qasedak_chain::{
    Ledger, Time,
    store::{Store, StoreError},
};
use tokio::task::{JoinError, JoinSet};

use super::DriverError;

/// How a flush ended: how long the log is that it made durable.
pub(super) type Flushed = Result<u64, StoreError>;

/// Whether something is to be flushed, and the flush under way.
#[derive(Debug, Default)]
pub(super) struct Flusher {
    grown: bool,
    running: JoinSet<Flushed>,
}

impl Flusher {
    /// The log grew.
    pub(super) fn grown(&mut self) {
        self.grown = true;
    }

    /// Starts a flush when one is due and none is under way.
    ///
    /// # Errors
    /// [`DriverError`] when the ledger takes no more.
    pub(super) fn start<S: Store>(&mut self, ledger: &Arc<RwLock<Ledger<S>>>, now: Time) -> Result<(), DriverError> {
        if !self.grown || !self.running.is_empty() {
            return Ok(());
        }
        self.grown = false;
        let mut ledger = ledger.write().map_err(|_| DriverError::Task)?;
        let flush = ledger.flush(now).map_err(|error| DriverError::Store(error.to_string()))?;
        let count = ledger.summary().count;
        if let Some(flush) = flush {
            self.running.spawn_blocking(move || flush.run().map(|()| count));
        }
        Ok(())
    }

    /// How the flush under way ended; `None` when there is none.
    pub(super) async fn next(&mut self) -> Option<Result<Flushed, JoinError>> {
        self.running.join_next().await
    }
}
