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
use tokio::task::JoinSet;

/// The steps under way, if there are any.
#[derive(Debug, Default)]
pub(super) struct Upkeeper {
    running: JoinSet<()>,
    stop: Arc<AtomicBool>,
}

impl Upkeeper {
    /// Starts what there is to be done, unless something is under way.
    pub(super) fn start<S: Store + Send + Sync + 'static>(&mut self, ledger: &Arc<RwLock<Ledger<S>>>) {
        while let Some(ended) = self.running.try_join_next() {
            // A step that panicked is begun anew.
            if ended.is_err()
                && let Ok(mut ledger) = ledger.write()
            {
                ledger.upkept();
            }
        }
        if self.running.is_empty()
            && !self.stop.load(Ordering::Acquire)
            && let Some(step) = ledger.write().ok().and_then(|mut ledger| ledger.upkeep())
        {
            let (ledger, stop) = (Arc::clone(ledger), Arc::clone(&self.stop));
            self.running.spawn_blocking(move || keep_up(&ledger, &stop, step));
        }
    }

    /// Waits for the step under way, and lets no other begin.
    pub(super) async fn end(&mut self) {
        self.stop.store(true, Ordering::Release);
        while self.running.join_next().await.is_some() {}
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
