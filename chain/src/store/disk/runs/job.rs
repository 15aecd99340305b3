//! The steps in which runs are made, merged, mended and removed, each short, beside the flushes.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    build::{Builder, set_aside},
    merge::Merging,
    run::Run,
};
use crate::store::{
    StoreError,
    disk::{files, log::LogView, memtable::MemTable},
};

/// Entries that one step of a merge takes, so that it ends soon, for each record of a full table.
const SLICE: usize = 8;

/// One step of the work on the runs, beside the flushes.
pub(in crate::store::disk) struct RunJob {
    pub(super) builder: Arc<Builder>,
    pub(super) step: Step,
}

pub(super) enum Step {
    /// Removes what a longer run covers.
    Remove(Vec<Arc<Run>>),
    /// Makes anew what proved unsound.
    Mend(Arc<Run>),
    /// Makes a run of a full table.
    Make(Arc<MemTable>),
    /// Goes on with a merge.
    Merge(Arc<Mutex<Merging>>),
    /// Begins to make one run of neighbouring ones.
    BeginMerge(Vec<Arc<Run>>),
}

/// What a step has come to.
pub(in crate::store::disk) struct RunDone(pub(super) Done);

pub(super) enum Done {
    Removed,
    Mended { old: Arc<Run>, new: Run },
    Made(Run),
    Begun(Merging),
    Going,
    Merged { old: Vec<Arc<Run>>, new: Run },
}

impl RunJob {
    /// Does the step. The log must have come as far as when it was asked for.
    pub(in crate::store::disk) fn run(&self, log: &LogView) -> Result<RunDone, StoreError> {
        let done = self.take_step(log)?;
        if let Done::Made(new) | Done::Mended { new, .. } | Done::Merged { new, .. } = &done {
            // Beside the flushes, and not by the look-up that comes first.
            new.wake();
        }
        Ok(RunDone(done))
    }

    pub(super) fn take_step(&self, log: &LogView) -> Result<Done, StoreError> {
        match &self.step {
            Step::Remove(runs) => {
                // What stays behind is removed at the next start.
                runs.iter().for_each(|run| drop(files::remove(run.path())));
                Ok(Done::Removed)
            }
            Step::Mend(run) => {
                if let Some(kept_as) = set_aside(run.path())? {
                    self.builder.notices.set_aside(run.path(), &kept_as, "it failed its check when it was read");
                }
                let new = self.builder.of_log(run.facts.first, run.facts.end, log, &mut |_| {})?;
                Ok(Done::Mended { old: Arc::clone(run), new })
            }
            Step::Make(table) => self.builder.of_table(table, log).map(Done::Made),
            Step::BeginMerge(runs) => Merging::begin(&self.builder, runs.clone()).map(Done::Begun),
            Step::Merge(merging) => {
                let mut merging = merging.lock().unwrap_or_else(PoisonError::into_inner);
                if !merging.step(self.builder.memtable_records.saturating_mul(SLICE), log)? {
                    return Ok(Done::Going);
                }
                let new = merging.finish(&self.builder, log)?;
                Ok(Done::Merged { old: merging.runs().to_vec(), new })
            }
        }
    }
}
