//! Work beside the flushes, for which no acknowledgement waits: making and merging runs, writing the trees, and setting the
//! mark.
//!
//! Invariant: it writes only what follows from durable records. One step is under way at a time, each is short, and what
//! a step did not come to is begun anew. A step that failed is tried again once a flush has succeeded.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    DiskStore,
    files::Lock,
    index::IndexWrite,
    log::LogView,
    mark::MarkJob,
    runs::{RunDone, RunJob},
};
use crate::store::{Store, StoreError, Upkeep};

/// A step under way.
pub(super) struct UpkeepInFlight {
    index: Option<Arc<IndexWrite>>,
    has_runs: bool,
    /// Records before the mark that it sets.
    mark: Option<u64>,
    outcome: Arc<Mutex<Outcome>>,
}

/// What came of a step.
#[derive(Default)]
struct Outcome {
    index: Option<Result<(), StoreError>>,
    runs: Option<Result<RunDone, StoreError>>,
    mark: Option<Result<(), StoreError>>,
}

struct Work {
    index: Option<Arc<IndexWrite>>,
    runs: Option<RunJob>,
    mark: Option<MarkJob>,
    log: LogView,
    outcome: Arc<Mutex<Outcome>>,
    _lock: Arc<Lock>,
}

impl Work {
    fn run(&self) {
        let index = self.index.as_ref().map(|index| index.apply());
        let runs = self.runs.as_ref().map(|runs| runs.run(&self.log));
        let mark = self.mark.as_ref().map(MarkJob::run);
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Outcome { index, runs, mark };
    }
}

impl DiskStore {
    /// Sets aside what is staged for the trees when that has become much, to be written once the records that are here
    /// now are durable.
    pub(super) fn collect_trees(&mut self) {
        if !self.index.is_urgent() && self.index.is_due(self.len()) {
            self.trees = self.index.take(self.len()).map(|write| (self.len(), write));
        }
    }

    /// Takes all that is staged for the trees, to be written by the flush that is begun now.
    pub(super) fn take_trees(&mut self) -> Option<Arc<IndexWrite>> {
        // All that was set aside is in it.
        self.trees = None;
        self.index.take(self.len())
    }

    pub(super) fn begin_upkeep(&mut self) -> Option<Upkeep> {
        let busy = self.upkeep.is_some() || self.in_flight.as_ref().is_some_and(|flush| flush.makes_run());
        if busy || self.upkeep_rests {
            return None;
        }
        let log = self.headers.view().clone();
        let index = self.trees.take_if(|(count, _)| *count <= log.len).map(|(_, write)| write);
        let runs = if self.takes_runs() { self.runs.next_job(&log) } else { None };
        let mark = self.mark_due();
        if index.is_none() && runs.is_none() && mark.is_none() {
            return None;
        }
        let outcome = Arc::<Mutex<Outcome>>::default();
        self.upkeep = Some(UpkeepInFlight {
            index: index.clone(),
            has_runs: runs.is_some(),
            mark: mark.as_ref().map(MarkJob::count),
            outcome: Arc::clone(&outcome),
        });
        let work = Work { index, runs, mark, log, outcome, _lock: Arc::clone(&self.lock) };
        Some(Upkeep::new(move || work.run()))
    }

    /// Whether runs may be made: they take offsets from their columns, and some may wait to be written.
    pub(super) fn takes_runs(&self) -> bool {
        self.offsets.is_empty()
    }

    pub(super) fn end_upkeep(&mut self) {
        let Some(UpkeepInFlight { index, has_runs, mark, outcome }) = self.upkeep.take() else {
            return;
        };
        let outcome = std::mem::take(&mut *outcome.lock().unwrap_or_else(PoisonError::into_inner));
        let mut failure = None;
        if let Some(index) = &index {
            self.index.applied(index, matches!(outcome.index, Some(Ok(()))));
            failure = outcome.index.map_or_else(broke_off, |applied| applied.err().map(|error| error.to_string()));
        }
        if has_runs {
            let failed = match outcome.runs {
                Some(Ok(done)) => {
                    self.runs.done(done);
                    None
                }
                Some(Err(error)) => Some(error.to_string()),
                None => broke_off(),
            };
            if failed.is_some() {
                self.runs.failed();
            }
            failure = failure.or(failed);
        }
        if let Some(count) = mark {
            match outcome.mark {
                Some(Ok(())) => self.marked = count,
                Some(Err(error)) => failure = failure.or(Some(error.to_string())),
                None => failure = failure.or_else(broke_off),
            }
        }
        self.upkeep_rests = failure.is_some();
        self.upkeep_failed = failure;
    }
}

fn broke_off() -> Option<String> {
    Some("a step of upkeep broke off".to_owned())
}
