//! One flush: what it writes, in which order, and what came of it.
//!
//! Order: bodies fsynced, then records and commit marker fsynced: from then on they are acknowledged. All that follows
//! from them comes behind, and its failure takes nothing back: it is tried again with a later flush.

use std::{
    fs::File,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    DiskStore,
    bodies::BodyWrites,
    files::{self, DiskFile},
    headers::{ColumnWrite, HeaderWrite},
    index::IndexWrite,
    log::LogView,
    runs::{RunJob, RunsDone},
    scan::entry_at,
    tree::TreeColumn,
};
use crate::{
    ids::TxId,
    store::{CommitPoint, Flush, Store, StoreError},
};

/// A flush under way.
pub(super) struct InFlight {
    log: Option<Arc<HeaderWrite>>,
    /// Records that are in the columns once it has succeeded.
    count: u64,
    /// Positions whose late bodies it writes.
    late: Vec<u64>,
    outcome: Arc<Mutex<Outcome>>,
}

/// What came of a flush so far.
#[derive(Default)]
pub(super) struct Outcome {
    /// Records and bodies are durable.
    pub(super) logged: bool,
    /// The columns are written.
    pub(super) columns: bool,
    /// The trees are written.
    pub(super) index: bool,
    pub(super) runs: Option<RunsDone>,
    /// The first failure.
    pub(super) failure: Option<String>,
}

/// Ids that the tree column is to take in.
pub(super) struct TreeWork {
    pub(super) tree: Arc<TreeColumn>,
    /// Position of the first, a multiple of 16.
    pub(super) from: u64,
    pub(super) ids: Vec<TxId>,
    pub(super) log: LogView,
}

/// What one flush writes.
pub(super) struct Work {
    pub(super) bodies: BodyWrites,
    pub(super) log: Option<Arc<HeaderWrite>>,
    pub(super) columns: Vec<ColumnWrite>,
    pub(super) tree: Option<TreeWork>,
    /// Columns whose segment is full: they are not compared with the log at every start any more.
    pub(super) settled: Vec<Arc<DiskFile>>,
    pub(super) runs: Option<RunJob>,
    pub(super) index: Option<IndexWrite>,
    pub(super) outcome: Arc<Mutex<Outcome>>,
    pub(super) _lock: Arc<File>,
}

impl Work {
    /// Does all of it; an error means that nothing may be acknowledged.
    pub(super) fn run(&self) -> Result<(), StoreError> {
        let logged = self.write_log();
        self.note(&logged, |outcome| outcome.logged = true);
        logged?;
        let columns = self.write_columns();
        self.note(&columns, |outcome| outcome.columns = true);
        if let Some(runs) = &self.runs {
            let (mut done, mut made) = (None, Ok(()));
            match runs.run() {
                Ok(runs) => done = Some(runs),
                Err(error) => made = Err(error),
            }
            self.note(&made, |outcome| outcome.runs = done);
        }
        if let Some(index) = &self.index {
            self.note(&index.apply(), |outcome| outcome.index = true);
        }
        Ok(())
    }

    fn note(&self, result: &Result<(), StoreError>, success: impl FnOnce(&mut Outcome)) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => success(&mut outcome),
            Err(error) => drop(outcome.failure.get_or_insert_with(|| error.to_string())),
        }
    }

    fn write_log(&self) -> Result<(), StoreError> {
        self.bodies.run()?;
        self.log.as_ref().map_or(Ok(()), |log| log.commit())
    }

    fn write_columns(&self) -> Result<(), StoreError> {
        self.columns.iter().try_for_each(ColumnWrite::write)?;
        if let Some(TreeWork { tree, from, ids, log }) = &self.tree {
            tree.prepare(*from, ids, log)?.write()?;
        }
        self.settled.iter().try_for_each(|file| file.sync())
    }
}

impl DiskStore {
    fn cannot_flush(&self, why: &str) -> StoreError {
        files::io_error("cannot flush", &self.dir, std::io::Error::other(why))
    }

    /// Whether records or late bodies are here that the log does not tell of.
    fn has_news(&self) -> bool {
        self.headers.len() < self.len() || self.late.values().any(|late| !late.logged)
    }

    pub(super) fn begin_flush(&mut self, point: CommitPoint) -> Result<Option<Flush>, StoreError> {
        if self.in_flight.is_some() {
            return Err(self.cannot_flush("an earlier flush is still under way"));
        }
        let (news, columns) = (self.has_news(), !self.recent.is_empty() || !self.late.is_empty());
        if !news && !columns && !self.runs.wants_work() && !self.index.is_due(self.len()) {
            return Ok(None);
        }
        if point.count != self.len() {
            return Err(self.cannot_flush("the commit point does not count the records that are here"));
        }
        let segments = self.headers.view().segments.len();
        let log = match news.then(|| self.prepare_log(point)).transpose() {
            Ok(log) => log.map(Arc::new),
            Err(error) => {
                self.failing = Some(error.to_string());
                return Err(error);
            }
        };
        let after = log.as_ref().map_or_else(|| self.headers.view().clone(), |log| log.after.clone());
        let outcome = Arc::<Mutex<Outcome>>::default();
        let work = Work {
            columns: self.column_writes(log.as_deref()),
            tree: columns.then(|| self.tree_work(&after)).transpose()?,
            settled: self.settled(segments),
            runs: self.runs.job(&after),
            bodies: self.bodies.take_writes(),
            index: if self.index.is_due(self.len()) { self.index.take(self.len()) } else { None },
            log: log.clone(),
            outcome: Arc::clone(&outcome),
            _lock: Arc::clone(&self.lock),
        };
        self.in_flight = Some(InFlight { log, count: self.len(), late: self.late.keys().copied().collect(), outcome });
        Ok(Some(Flush::new(move || work.run())))
    }

    fn prepare_log(&mut self, point: CommitPoint) -> Result<HeaderWrite, StoreError> {
        let durable = usize::try_from(self.headers.len().saturating_sub(self.recent_first)).unwrap_or(usize::MAX);
        let records = self.recent.iter().skip(durable).map(|staged| (&staged.record, staged.place));
        let late = self.late.iter().filter(|(_, late)| !late.logged).map(|(position, late)| (*position, late.place));
        self.headers.prepare(records, late, point)
    }

    /// Offsets and entries of the scan column for all records that have none yet.
    fn column_writes(&self, log: Option<&HeaderWrite>) -> Vec<ColumnWrite> {
        let mut writes = self.offsets.clone();
        writes.extend(log.map(|log| log.offsets.clone()));
        writes.push(self.scan.prepare(self.recent_first, self.recent.iter().map(|staged| &staged.entry)));
        for (position, late) in &self.late {
            let file = Arc::clone(self.scan.file());
            writes.push(ColumnWrite { file, at: entry_at(*position), bytes: late.entry.to_vec() });
        }
        writes
    }

    fn tree_work(&self, after: &LogView) -> Result<TreeWork, StoreError> {
        let from = self.recent_first / 16 * 16;
        let before: Vec<u64> = (from..self.recent_first).collect();
        let mut ids = self.headers.view().ids_at(&before)?;
        ids.extend(self.recent.iter().map(|staged| staged.record.id));
        Ok(TreeWork { tree: Arc::clone(&self.tree), from, ids, log: after.clone() })
    }

    /// The columns of what lies before a segment that was just begun.
    fn settled(&self, segments_before: usize) -> Vec<Arc<DiskFile>> {
        let segments = &self.headers.view().segments;
        if segments.len() == segments_before {
            return Vec::new();
        }
        let offsets = segments.get(segments_before.saturating_sub(1)).map(|segment| Arc::clone(&segment.offsets));
        [Arc::clone(self.scan.file()), Arc::clone(self.tree.file())].into_iter().chain(offsets).collect()
    }

    pub(super) fn end_flush(&mut self, success: bool) {
        let Some(InFlight { log, count, late, outcome }) = self.in_flight.take() else {
            return;
        };
        let outcome = std::mem::take(&mut *outcome.lock().unwrap_or_else(PoisonError::into_inner));
        let logged = success && outcome.logged;
        self.bodies.written(logged);
        if !logged {
            self.index.give_back();
            let unknown = || "a flush broke off".to_owned();
            self.failing = Some(outcome.failure.unwrap_or_else(unknown));
            return;
        }
        self.index.applied(outcome.index);
        self.failing = None;
        self.behind = outcome.failure;
        if let Some(log) = &log {
            self.headers.committed(log);
        }
        if let Some(runs) = outcome.runs {
            self.runs.done(runs);
        }
        if outcome.columns {
            let written = usize::try_from(count.saturating_sub(self.recent_first)).unwrap_or(usize::MAX);
            self.recent.drain(..written.min(self.recent.len()));
            self.recent_first = count;
            self.offsets.clear();
            self.late.retain(|position, _| late.binary_search(position).is_err());
        } else {
            self.offsets.extend(log.map(|log| log.offsets.clone()));
            late.iter()
                .filter_map(|position| self.late.get_mut(position).map(|late| late.logged = true))
                .for_each(drop);
        }
    }
}
