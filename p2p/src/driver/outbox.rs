//! The outbox between starts: what it holds is sent off again, and what the ledger has durably is taken out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use qasedak_chain::{
    Network, TxId,
    rules::{self, Verified},
    store::{Outbox, StoreError},
};
use tokio::task::{JoinError, JoinSet};

use super::DriverError;

/// All that the outbox holds, verified anew: a file that someone else wrote to must not make this node a liar.
///
/// # Errors
/// [`DriverError::Store`] when it cannot be read.
pub(super) async fn load(network: Network, outbox: Arc<dyn Outbox>) -> Result<Vec<Verified>, DriverError> {
    let job = tokio::task::spawn_blocking(move || {
        let mut own = Vec::new();
        for transaction in outbox.all()? {
            // Its id is not logged: what is in the outbox is this node's own.
            match rules::verify(&network, transaction) {
                Ok(verified) => own.push(verified),
                Err(error) => tracing::error!(%error, "a transaction in the outbox is not valid and stays there"),
            }
        }
        Ok::<_, StoreError>(own)
    });
    let loaded = job.await.map_err(|_| DriverError::Task)?;
    loaded.map_err(|error| DriverError::Store(error.to_string()))
}

/// How long to wait when the outbox could not let go of what it was to.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// How a job ended: what it was to take out, and whether it did.
pub(super) type Released = (Vec<TxId>, Result<(), StoreError>);

/// Transactions to take out of the outbox, one job at a time.
pub(super) struct Releases {
    outbox: Arc<dyn Outbox>,
    waiting: Vec<TxId>,
    not_before: Option<Instant>,
    running: JoinSet<Released>,
}

impl Releases {
    pub(super) fn new(outbox: Arc<dyn Outbox>) -> Self {
        Self { outbox, waiting: Vec::new(), not_before: None, running: JoinSet::new() }
    }

    pub(super) fn push(&mut self, ids: Vec<TxId>) {
        self.waiting.extend(ids);
    }

    pub(super) fn start(&mut self, now: Instant) {
        let paused = self.not_before.is_some_and(|until| now < until);
        if self.waiting.is_empty() || !self.running.is_empty() || paused {
            return;
        }
        let (ids, outbox) = (std::mem::take(&mut self.waiting), Arc::clone(&self.outbox));
        self.running.spawn_blocking(move || {
            let result = outbox.remove(&ids);
            (ids, result)
        });
    }

    /// Takes note of how a job ended. What stays in the outbox does no harm, and is tried again after a while.
    pub(super) fn ended(&mut self, (ids, result): Released, now: Instant) {
        self.not_before = None;
        if let Err(error) = result {
            tracing::warn!(%error, "the outbox keeps transactions that the ledger has");
            self.waiting.extend(ids);
            self.not_before = Some(now + RETRY_AFTER);
        }
    }

    /// How the job under way ended; `None` when there is none.
    pub(super) async fn next(&mut self) -> Option<Result<Released, JoinError>> {
        self.running.join_next().await
    }
}
