//! What never changes, indexed: id → position, tag → positions, canonical order (`docs/storage.md`, "Runs"; decision
//! 0019).
//!
//! The newest records are indexed in memory ([`MemTable`]), older ones by immutable *runs* over contiguous ranges of
//! positions. Invariants: runs hold durable records only and follow one another from position 0 on, the tables in memory
//! go on from there; of four runs of about one size one is made, so there are few. What a run names is confirmed by the
//! log, what it does not name is guarded by its checks: a run that cannot be read is answered for by the log itself until
//! it is made anew.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use self::{
    answers::{Gathered, Places},
    build::Builder,
    run::{Run, order_entry, order_key},
};
use super::{files, log::LogView, memtable::MemTable};
use crate::{
    ids::{Depth, LedgerId, TxId},
    store::{Found, OrderKey, Record, StoreError},
    time::Time,
};

mod answers;
mod blocks;
mod build;
mod run;

/// So many runs of one size become one.
const FAN_IN: usize = 4;
/// Records of the log that are indexed in one go.
const PAGE: usize = 4_096;

/// The index of all records.
pub(super) struct Runs {
    builder: Arc<Builder>,
    runs: Vec<Arc<Run>>,
    /// A full table that a flush makes a run of.
    full: Option<Arc<MemTable>>,
    table: MemTable,
}

/// Work on the runs behind a commit: on the thread of the flush.
pub(super) struct RunJob {
    builder: Arc<Builder>,
    runs: Vec<Arc<Run>>,
    full: Option<Arc<MemTable>>,
    log: LogView,
}

/// Runs that take the place of those before.
pub(super) struct RunsDone {
    runs: Vec<Arc<Run>>,
    took_full: bool,
}

impl Runs {
    /// Opens the runs of a log, makes anew what is missing or unsound, and indexes the log's tail in memory. `progress` is
    /// told of every record that is indexed on the way: position reached, and length of the log.
    pub(super) fn open(
        dir: PathBuf,
        ledger: LedgerId,
        log_id: [u8; 16],
        memtable_records: usize,
        log: &LogView,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, StoreError> {
        files::make_dir(&dir)?;
        for name in files::names(&dir)?.iter().filter(|name| name.ends_with(files::UNFINISHED)) {
            files::remove(&dir.join(name))?;
        }
        let builder = Arc::new(Builder { dir, ledger, log_id, memtable_records: memtable_records.max(1) });
        let mut runs = Self { builder, runs: Vec::new(), full: None, table: MemTable::new(0) };
        runs.open_files(log, progress)?;
        runs.index_tail(log, progress)?;
        Ok(runs)
    }

    /// Opens the runs that cover the log from its start on; between two of them what is missing is made anew.
    fn open_files(&mut self, log: &LogView, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        let names = files::names(&self.builder.dir)?;
        let mut ranges: Vec<(u64, u64)> = names.iter().filter_map(|name| range_of(name)).collect();
        // Of those with one start, the longest first.
        ranges.sort_unstable_by_key(|(first, end)| (*first, u64::MAX.saturating_sub(*end)));
        for (first, end) in ranges {
            let covered = self.covered();
            let path = self.builder.path(first, end);
            if end <= covered {
                // Another took its place before the process died.
                files::remove(&path)?;
                continue;
            }
            let opened = if first < covered || end > log.len { None } else { self.builder.open(first, end, log).ok() };
            let Some(run) = opened else {
                set_aside(&path)?;
                continue;
            };
            if first > covered {
                let made = self.builder.of_log(covered, first, log, &mut |at| progress(at, log.len))?;
                self.runs.push(Arc::new(made));
            }
            self.runs.push(Arc::new(run));
        }
        self.table = MemTable::new(self.covered());
        Ok(())
    }

    /// Positions that runs cover.
    fn covered(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.facts.end)
    }

    fn index_tail(&mut self, log: &LogView, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        while self.table.end() < log.len {
            let room = self.builder.memtable_records.saturating_sub(self.table.len()).min(PAGE);
            for stored in log.records(self.table.end(), log.len, room)? {
                self.table.push(&stored.record);
            }
            progress(self.table.end(), log.len);
            if self.table.len() >= self.builder.memtable_records
                && let Some(job) = self.job(log)
            {
                let done = job.run()?;
                self.done(done);
            }
        }
        Ok(())
    }

    /// Sets all runs aside and indexes the log anew; what is not durable yet is to be pushed again.
    pub(super) fn reset(&mut self, log: &LogView, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        for run in std::mem::take(&mut self.runs) {
            set_aside(run.path())?;
        }
        self.full = None;
        self.table = MemTable::new(0);
        self.index_tail(log, progress)
    }

    /// Indexes the next record.
    pub(super) fn push(&mut self, record: &Record) {
        self.table.push(record);
    }

    /// Records that are indexed in memory.
    pub(super) fn in_memory(&self) -> usize {
        self.table.len().saturating_add(self.full.as_ref().map_or(0, |full| full.len()))
    }

    /// Whether there is work for a flush even when nothing was staged.
    pub(super) fn wants_work(&self) -> bool {
        self.full.is_some() || self.runs.iter().any(|run| run.is_suspect())
    }

    /// What is to be done once the log has come to `log`, if anything.
    pub(super) fn job(&mut self, log: &LogView) -> Option<RunJob> {
        if self.full.is_none() && self.table.len() >= self.builder.memtable_records {
            let next = MemTable::new(self.table.end());
            self.full = Some(Arc::new(std::mem::replace(&mut self.table, next)));
        }
        self.wants_work().then(|| RunJob {
            builder: Arc::clone(&self.builder),
            runs: self.runs.clone(),
            full: self.full.clone(),
            log: log.clone(),
        })
    }

    /// Takes over what a job made.
    pub(super) fn done(&mut self, done: RunsDone) {
        let old = std::mem::replace(&mut self.runs, done.runs);
        if done.took_full {
            self.full = None;
        }
        for gone in old.iter().filter(|run| !self.runs.iter().any(|kept| kept.path() == run.path())) {
            // What stays behind is removed at the next start.
            drop(files::remove(gone.path()));
        }
    }

    /// Where a transaction stands.
    pub(super) fn find(&self, id: &TxId, log: &LogView) -> Result<Option<Found>, StoreError> {
        if let Some(found) = self.table.find(id).or_else(|| self.full.as_ref()?.find(id)) {
            return Ok(Some(found));
        }
        for run in self.runs.iter().rev() {
            if let Some(found) = answers::find(run, id, log)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Positions of a tag, ascending, from `from` on, at most `max`.
    pub(super) fn tagged(&self, tag: &[u8; 16], from: u64, max: usize, log: &LogView) -> Result<Vec<u64>, StoreError> {
        let mut positions = Vec::new();
        for run in self.runs.iter().filter(|run| run.facts.end > from) {
            if positions.len() >= max {
                return Ok(positions);
            }
            answers::tagged(run, tag, from, max, log, &mut positions)?;
        }
        let full = self.full.iter().flat_map(|full| full.tagged(tag, from));
        let room = max.saturating_sub(positions.len());
        positions.extend(full.chain(self.table.tagged(tag, from)).take(room));
        Ok(positions)
    }

    /// At most `max` places in canonical order with times before `to`, from `from` on but behind `after`.
    pub(super) fn in_order(
        &self,
        from: Time,
        to: Time,
        after: Option<OrderKey>,
        max: usize,
        log: &LogView,
    ) -> Result<Vec<(OrderKey, u64)>, StoreError> {
        let least = OrderKey { time: from, depth: Depth::new(0), id: TxId::from_bytes([0; 32]) };
        let start = after.filter(|key| key.time >= from).unwrap_or(least);
        loop {
            let suspects = self.suspects();
            match self.gather(start, to, max, log) {
                Ok(gathered) => {
                    let mut places = answers::with_ids(gathered, log)?;
                    places.retain(|(key, _)| after.is_none_or(|after| *key > after));
                    places.sort_unstable();
                    places.truncate(max);
                    return Ok(places);
                }
                // A run turned out unsound: the log answers for it now.
                Err(_) if self.suspects() > suspects => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn suspects(&self) -> usize {
        self.runs.iter().filter(|run| run.is_suspect()).count()
    }

    /// The least places from `start` on, in order but for ties; of places that only whole ids tell apart all or none.
    fn gather(&self, start: OrderKey, to: Time, max: usize, log: &LogView) -> Result<Vec<Gathered>, StoreError> {
        let first = order_key(&order_entry(&start, 0));
        let mut sources: Vec<Places<'_>> = Vec::new();
        for run in &self.runs {
            sources.push(if run.is_suspect() {
                Places::table(answers::order_in_log(run, answers::first_of_tied(start), to, log)?.into_iter())
            } else {
                Places::Run(run.in_order(&first)?)
            });
        }
        for table in self.full.as_deref().into_iter().chain([&self.table]) {
            sources.push(Places::table(table.in_order(answers::first_of_tied(start))));
        }
        let mut gathered: Vec<Gathered> = Vec::new();
        let mut counted = 0usize;
        loop {
            let mut least: Option<(Gathered, usize)> = None;
            for (nth, source) in sources.iter_mut().enumerate() {
                if let Some(place) = source.peek()?
                    && least.is_none_or(|(least, _)| order_key(&place.0) < order_key(&least.0))
                {
                    least = Some((place, nth));
                }
            }
            let Some((place, nth)) = least.filter(|(place, _)| answers::time_of(&place.0) < to.secs()) else {
                return Ok(gathered);
            };
            let key = order_key(&place.0);
            let tied = gathered.last().is_some_and(|last| order_key(&last.0) == key);
            if counted >= max && !tied {
                return Ok(gathered);
            }
            // Those that agree with the start may all lie before it.
            counted = counted.saturating_add(usize::from(key != first));
            gathered.push(place);
            sources.get_mut(nth).map_or(Ok(()), Places::advance)?;
        }
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        files::bytes_under(&self.builder.dir)
    }
}

impl RunJob {
    /// Makes anew what proved unsound, makes a run of the full table, and merges runs of one size.
    pub(super) fn run(&self) -> Result<RunsDone, StoreError> {
        let mut runs = Vec::new();
        for run in &self.runs {
            if run.is_suspect() {
                set_aside(run.path())?;
                let made = self.builder.of_log(run.facts.first, run.facts.end, &self.log, &mut |_| {})?;
                runs.push(Arc::new(made));
            } else {
                runs.push(Arc::clone(run));
            }
        }
        if let Some(full) = &self.full {
            runs.push(Arc::new(self.builder.of_table(full, &self.log)?));
        }
        while let Some(from) = self.to_merge(&runs) {
            let merged = self.builder.merged(runs.get(from..).unwrap_or_default(), &self.log)?;
            for passing in runs.drain(from..).filter(|run| !self.runs.iter().any(|old| old.path() == run.path())) {
                files::remove(passing.path())?;
            }
            runs.push(Arc::new(merged));
        }
        Ok(RunsDone { runs, took_full: self.full.is_some() })
    }

    /// The first of the last runs that are to become one: those that are no larger than the last, by powers of four.
    fn to_merge(&self, runs: &[Arc<Run>]) -> Option<usize> {
        let unit = self.builder.memtable_records.max(1) as u64;
        let size = |run: &Arc<Run>| (run.facts.count() / unit).checked_ilog2().unwrap_or_default() / 2;
        let last = size(runs.last()?);
        let alike = runs.iter().rev().take_while(|run| size(run) <= last).count();
        (alike >= FAN_IN).then(|| runs.len().saturating_sub(alike))
    }
}

/// First position and end of a run, from the name of its file.
fn range_of(name: &str) -> Option<(u64, u64)> {
    let (first, end) = name.strip_suffix(".run")?.split_once('-')?;
    let (first, end) = (u64::from_str_radix(first, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    (first < end).then_some((first, end))
}

/// Renames a run that is of no use, and keeps it.
fn set_aside(path: &Path) -> Result<(), StoreError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = files::names(path.parent().unwrap_or(Path::new("")))?;
    if !names.iter().any(|found| *found == name) {
        return Ok(());
    }
    let number = |found: &String| found.strip_prefix(&*name)?.strip_prefix(".damaged-")?.parse::<u64>().ok();
    let next = names.iter().filter_map(number).max().unwrap_or_default().saturating_add(1);
    files::rename(path, &path.with_file_name(format!("{name}.damaged-{next}")))
}
