//! One flush: what it writes, in which order, and what came of it.
//!
//! Order: bodies, and beside them records and commit marker, written and fsynced: once both are, they are acknowledged
//! (decision 0047). All that follows from them comes behind, and its failure takes nothing back: it is tried again with a
//! later flush. It is worked out on another thread while the disk is waited for.

use std::sync::{Arc, Mutex, PoisonError};

use self::wait::{Wait, wait_for_all};
use super::{
    DiskStore,
    bodies::{BodyWrites, PendingParts},
    files::{self, DiskFile, Lock},
    headers::{ColumnWrite, HeaderWrite, LogWork},
    index::IndexWrite,
    log::LogView,
    recent::Group,
    runs::{RunDone, RunJob},
    scan::{ENTRY_BYTES, entry_at, entry_bytes},
    tree::{LEAVES, TreeColumn},
};
use crate::{
    ids::TxId,
    store::{CommitPoint, Flush, Store, StoreError},
};

mod wait;

/// From so many records on it is worth more threads to write them and to work out their columns.
const MANY: usize = 256;

/// A flush under way.
pub(super) struct InFlight {
    /// Whether it commits anything.
    point: Option<CommitPoint>,
    /// Records that are in the columns once it has succeeded.
    count: u64,
    /// Positions whose late bodies it writes.
    late: Vec<u64>,
    index: Option<Arc<IndexWrite>>,
    makes_run: bool,
    outcome: Arc<Mutex<Outcome>>,
}

impl InFlight {
    /// Whether it makes a run of a table.
    pub(super) fn makes_run(&self) -> bool {
        self.makes_run
    }
}

/// What came of a flush so far.
#[derive(Default)]
struct Outcome {
    /// Records and bodies are durable; the log as it is now, and the offsets of the new records.
    logged: Option<(LogView, Option<ColumnWrite>)>,
    /// The columns are written.
    columns: bool,
    /// The tree over all records, if that was worked out.
    peaks: Option<Peaks>,
    /// The trees are written.
    index: bool,
    runs: Option<RunDone>,
    /// The first failure.
    failure: Option<String>,
}

/// What one flush writes.
struct Work {
    bodies: BodyWrites,
    log: Option<LogWork>,
    columns: Option<ColumnWork>,
    runs: Option<RunJob>,
    index: Option<Arc<IndexWrite>>,
    /// The log before.
    before: LogView,
    outcome: Arc<Mutex<Outcome>>,
    spent: Mutex<Spent>,
    _lock: Arc<Lock>,
}

/// What earlier flushes wrote and nobody reads in memory any more. Thousands of small pieces of memory are given
/// back beside a flush and not under the ledger's lock.
#[derive(Default)]
pub(super) struct Spent {
    records: Vec<Group>,
    bodies: Vec<Arc<PendingParts>>,
}

/// What the columns lack.
struct ColumnWork {
    /// Offsets of durable records that could not be written yet.
    offsets: Vec<ColumnWrite>,
    /// Records that have no entries yet.
    groups: Vec<Group>,
    late: Vec<ColumnWrite>,
    scan: Arc<DiskFile>,
    tree: Arc<TreeColumn>,
}

/// What is durable, and what is to be written behind it.
struct Committed {
    log: Option<HeaderWrite>,
    columns: Result<Prepared, StoreError>,
}

/// Peaks of the tree over so many records.
type Peaks = (u64, Vec<[u8; 32]>);

/// Columns in the form in which they are written, and the tree over all records if it grew.
#[derive(Default)]
struct Prepared {
    writes: Vec<ColumnWrite>,
    peaks: Option<Peaks>,
}

impl Work {
    /// Does all of it; an error means that nothing may be acknowledged.
    fn run(&self) -> Result<(), StoreError> {
        let Committed { log, columns } = match self.commit() {
            Ok(committed) => committed,
            Err(error) => {
                let failed = Err(error);
                self.note(&failed, |_| {});
                return failed;
            }
        };
        let after = log.as_ref().map_or_else(|| self.before.clone(), |log| log.after.clone());
        let offsets = log.map(|log| log.offsets);
        self.note(&Ok(()), |outcome| outcome.logged = Some((after, offsets.clone())));
        let written = columns.and_then(|Prepared { writes, peaks }| {
            self.note(&Ok(()), |outcome| outcome.peaks = peaks);
            let columns: Vec<ColumnWrite> = writes.into_iter().chain(offsets).collect();
            self.write_columns(&columns)
        });
        self.note(&written, |outcome| outcome.columns = true);
        if let Some(index) = &self.index {
            self.note(&index.apply(), |outcome| outcome.index = true);
        }
        self.make_run();
        Ok(())
    }

    fn note(&self, result: &Result<(), StoreError>, success: impl FnOnce(&mut Outcome)) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => success(&mut outcome),
            Err(error) => drop(outcome.failure.get_or_insert_with(|| error.to_string())),
        }
    }

    /// Bodies, and at the same time records with their commit marker, so that the disk is waited for once. What comes
    /// behind is worked out while it is. Few are written on this thread, bodies first: more threads would only be in the way of
    /// whatever else the node does.
    fn commit(&self) -> Result<Committed, StoreError> {
        let (log, durable, columns) = if self.is_large() && !self.bodies.in_order() {
            self.commit_at_once()
        } else {
            let (log, durable) = self.commit_in_turn();
            (log, durable, self.prepare_columns())
        };
        // No record stays that counts on bodies which are not durable.
        if let (Some(log), Err(_)) = (&log, &durable) {
            log.take_back();
        }
        durable?;
        Ok(Committed { log, columns })
    }

    fn commit_at_once(&self) -> (Option<HeaderWrite>, Result<(), StoreError>, Result<Prepared, StoreError>) {
        let (parts, written) = (self.bodies.parts(), Mutex::new(None));
        let of_bodies = parts.iter().map(|part| Wait::new(|| part.run().and_then(|()| self.bodies.sync_names())));
        let of_records = Wait::new(|| {
            let (log, committed) = self.commit_log();
            *written.lock().unwrap_or_else(PoisonError::into_inner) = log;
            committed
        });
        let waits: Vec<Wait<'_>> = of_bodies.chain([of_records]).collect();
        let (durable, columns) = wait_for_all(&waits, &|| self.prepare_columns());
        drop(waits);
        (written.into_inner().unwrap_or_else(PoisonError::into_inner), durable, columns)
    }

    fn commit_in_turn(&self) -> (Option<HeaderWrite>, Result<(), StoreError>) {
        // What comes at the same time comes in either order.
        if self.bodies.in_order() && self.before.len % 2 == 1 {
            let (log, committed) = self.commit_log();
            return (log, committed.and_then(|()| self.bodies.run()));
        }
        // No record is written for a body that could not be.
        self.bodies.run().map_or_else(|error| (None, Err(error)), |()| self.commit_log())
    }

    /// Whether it is worth more threads.
    fn is_large(&self) -> bool {
        self.columns.as_ref().is_some_and(|columns| columns.count() >= MANY)
    }

    /// Makes the records durable; what was to be written, and whether it is.
    fn commit_log(&self) -> (Option<HeaderWrite>, Result<(), StoreError>) {
        match self.log.as_ref().map(LogWork::prepare).transpose() {
            Ok(log) => {
                let committed = log.as_ref().map_or(Ok(()), HeaderWrite::commit);
                (log, committed)
            }
            Err(error) => (None, Err(error)),
        }
    }

    fn prepare_columns(&self) -> Result<Prepared, StoreError> {
        drop(std::mem::take(&mut *self.spent.lock().unwrap_or_else(PoisonError::into_inner)));
        let columns = self.columns.as_ref().map(|columns| columns.prepare(&self.before)).transpose()?;
        Ok(columns.unwrap_or_default())
    }

    fn write_columns(&self, columns: &[ColumnWrite]) -> Result<(), StoreError> {
        columns.iter().try_for_each(ColumnWrite::write)?;
        self.settled().iter().try_for_each(|file| file.sync())
    }

    /// The columns of what lies before a segment that was just begun: they are not compared with the log at every start
    /// any more.
    fn settled(&self) -> Vec<Arc<DiskFile>> {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, after) = (&self.before.segments, outcome.logged.as_ref().map(|(after, _)| &after.segments));
        let Some(columns) = self.columns.as_ref().filter(|_| after.is_some_and(|after| after.len() > before.len()))
        else {
            return Vec::new();
        };
        let offsets = before.last().map(|segment| Arc::clone(&segment.offsets));
        [Arc::clone(&columns.scan), Arc::clone(columns.tree.file())].into_iter().chain(offsets).collect()
    }

    /// Makes a run of a table that has waited too long.
    fn make_run(&self) {
        let Some(job) = &self.runs else {
            return;
        };
        match job.run(&self.before) {
            Ok(done) => self.note(&Ok(()), |outcome| outcome.runs = Some(done)),
            Err(error) => self.note(&Err(error), |_| {}),
        }
    }
}

impl ColumnWork {
    fn prepare(&self, before: &LogView) -> Result<Prepared, StoreError> {
        let mut prepared = Prepared { writes: self.offsets.clone(), peaks: None };
        if let Some(Group { first, .. }) = self.groups.first() {
            prepared.writes.push(self.scan_entries(*first));
            let (roots, peaks) = self.tree_roots(*first, before)?;
            prepared.writes.push(roots);
            prepared.peaks = Some((first.saturating_add(self.count() as u64), peaks));
        }
        prepared.writes.extend(self.late.iter().cloned());
        Ok(prepared)
    }

    /// Records that have no entries yet.
    fn count(&self) -> usize {
        self.groups.iter().map(|group| group.records.len()).fold(0, usize::saturating_add)
    }

    fn scan_entries(&self, first: u64) -> ColumnWrite {
        let mut bytes = Vec::with_capacity(self.count().saturating_mul(ENTRY_BYTES));
        let records = self.groups.iter().flat_map(|group| group.records.iter());
        for (position, staged) in (first..).zip(records) {
            let core = staged.record.header.core();
            bytes.extend_from_slice(&entry_bytes(position, core, &staged.author_u, staged.place));
        }
        ColumnWrite { file: Arc::clone(&self.scan), at: entry_at(first), bytes }
    }

    fn tree_roots(&self, first: u64, before: &LogView) -> Result<(ColumnWrite, Vec<[u8; 32]>), StoreError> {
        let from = first / LEAVES * LEAVES;
        let written: Vec<u64> = (from..first).collect();
        let mut ids: Vec<TxId> = before.ids_at(&written)?;
        ids.extend(self.groups.iter().flat_map(|group| group.records.iter()).map(|staged| staged.record.id));
        self.tree.grow(from, &ids, before)
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
        let (news, columns) = (self.has_news(), self.recent.len() > 0 || !self.late.is_empty());
        let runs = self.runs.overdue(self.headers.view()).filter(|_| self.upkeep.is_none() && self.takes_runs());
        self.collect_trees();
        if !news && !columns && runs.is_none() && !self.index.is_urgent() {
            return Ok(None);
        }
        if point.count != self.len() {
            return Err(self.cannot_flush("the commit point does not count the records that are here"));
        }
        let outcome = Arc::<Mutex<Outcome>>::default();
        let groups = self.recent.close();
        let index = if self.index.is_urgent() { self.take_trees() } else { None };
        let work = Work {
            log: news.then(|| self.log_work(&groups, point)),
            columns: columns.then(|| self.column_work(groups)),
            bodies: self.bodies.take_writes(),
            before: self.headers.view().clone(),
            runs,
            index: index.clone(),
            outcome: Arc::clone(&outcome),
            spent: Mutex::new(std::mem::take(&mut self.spent)),
            _lock: Arc::clone(&self.lock),
        };
        let (late, makes_run) = (self.late.keys().copied().collect(), work.runs.is_some());
        let (point, count) = (news.then_some(point), self.len());
        self.in_flight = Some(InFlight { point, count, late, index, makes_run, outcome });
        Ok(Some(Flush::new(move || work.run())))
    }

    fn log_work(&self, groups: &[Group], point: CommitPoint) -> LogWork {
        let groups = groups.iter().filter(|group| group.first >= self.headers.len()).cloned().collect();
        let late = self.late.iter().filter(|(_, late)| !late.logged).map(|(position, late)| (*position, late.place));
        self.headers.work(groups, late.collect(), point)
    }

    /// Offsets, entries of the scan column and roots for all records that have none yet.
    fn column_work(&self, groups: Vec<Group>) -> ColumnWork {
        let scan = Arc::clone(self.scan.file());
        let write = |(position, late): (&u64, &super::Late)| {
            let (at, bytes) = (entry_at(*position), late.entry.to_vec());
            ColumnWrite { file: Arc::clone(&scan), at, bytes }
        };
        let late = self.late.iter().map(write).collect();
        ColumnWork {
            offsets: self.offsets.clone(),
            groups,
            late,
            scan: Arc::clone(&scan),
            tree: Arc::clone(&self.tree),
        }
    }

    pub(super) fn end_flush(&mut self, success: bool) {
        let Some(InFlight { point, count, late, index, outcome, .. }) = self.in_flight.take() else {
            return;
        };
        let outcome = std::mem::take(&mut *outcome.lock().unwrap_or_else(PoisonError::into_inner));
        let logged = outcome.logged.filter(|_| success);
        self.spent.bodies.extend(self.bodies.written(logged.is_some()));
        let Some((after, offsets)) = logged else {
            if index.is_some() {
                self.index.give_back();
            }
            let unknown = || "a flush broke off".to_owned();
            self.failing = Some(outcome.failure.unwrap_or_else(unknown));
            return;
        };
        if let Some(index) = &index {
            self.index.applied(index, outcome.index);
        }
        self.failing = None;
        self.peaks = outcome.peaks;
        self.behind = outcome.failure;
        // The disk may be well again.
        self.upkeep_rests = false;
        if let Some(point) = point {
            self.headers.committed(after, point);
        }
        if let Some(done) = outcome.runs {
            self.runs.done(done);
        }
        if outcome.columns {
            self.spent.records.extend(self.recent.let_go(count));
            self.offsets.clear();
            self.late.retain(|position, _| late.binary_search(position).is_err());
        } else {
            self.offsets.extend(offsets);
            late.iter()
                .filter_map(|position| self.late.get_mut(position).map(|late| late.logged = true))
                .for_each(drop);
        }
    }
}
