//! Work on the index for which no flush waits: step by step, on a thread of its own.
//!
//! Between two steps the lock on the ledger is free, and whoever stops the node waits for one step at most.

use std::sync::{
    Arc, RwLock,
    atomic::{AtomicBool, Ordering},
};

use qasedak_chain::{
    Ledger,
    store::{Store, Upkeep},
};

use super::{DriverError, worker::Worker};

/// The steps under way, if there are any.
#[derive(Debug)]
pub(super) struct Upkeeper {
    worker: Worker<()>,
    stop: Arc<AtomicBool>,
}

impl Upkeeper {
    /// # Errors
    /// [`DriverError::Setup`] when the system has no thread for it.
    pub(super) fn new() -> Result<Self, DriverError> {
        let worker = Worker::start("upkeep").map_err(|error| DriverError::Setup(error.to_string()))?;
        Ok(Self { worker, stop: Arc::default() })
    }

    /// Starts what there is to be done, unless something is under way.
    pub(super) fn start<S: Store + Send + Sync + 'static>(&mut self, ledger: &Arc<RwLock<Ledger<S>>>) {
        // A step that panicked is begun anew.
        if let Some(Err(_)) = self.worker.try_next()
            && let Ok(mut ledger) = ledger.write()
        {
            ledger.upkept();
        }
        if self.worker.is_free()
            && !self.stop.load(Ordering::Acquire)
            && let Some(step) = ledger.write().ok().and_then(|mut ledger| ledger.upkeep())
        {
            let (ledger, stop) = (Arc::clone(ledger), Arc::clone(&self.stop));
            self.worker.give(move || keep_up(&ledger, &stop, step));
        }
    }

    /// Waits for the step under way, and lets no other begin.
    pub(super) async fn end(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.worker.next().await;
    }
}

fn keep_up<S: Store>(ledger: &RwLock<Ledger<S>>, stop: &AtomicBool, first: Upkeep) {
    let mut next = Some(first);
    while let Some(step) = next.take() {
        step.run();
        // Whoever holds a poisoned lock has ended the node already.
        if let Ok(mut ledger) = ledger.write() {
            ledger.upkept();
            next = if stop.load(Ordering::Acquire) { None } else { ledger.upkeep() };
        }
    }
}
