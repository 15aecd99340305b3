//! What never changes, indexed: id → position, tag → positions, canonical order (`docs/storage.md`, "Runs"; decision
//! 0019).
//!
//! The newest records are indexed in memory ([`MemTable`]), older ones by immutable *runs* over contiguous ranges of
//! positions. Invariants: runs hold durable records only and follow one another from position 0 on, the tables in memory
//! go on from there; of four runs of about one size one is made, and fewer are left at rest ([`plan`]). What a run names is
//! confirmed by the log, what it does not name is guarded by its checks: a run that cannot be read is answered for by the
//! log itself until it is made anew.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use self::{
    answers::{Gathered, Head, Places},
    build::{Builder, range_of, set_aside},
    job::{Done, Step},
    merge::Merging,
    run::{Run, order_entry, order_key, order_rank},
};
use super::{
    files,
    log::{LogView, Stored},
    memtable::MemTable,
    notice::{Notice, Notices},
};
use crate::{
    ids::{Depth, LedgerId, Position, TxId},
    store::{Found, OrderKey, Record, StoreError},
    time::Time,
};

pub(super) use answers::Ids;
pub(super) use job::{RunDone, RunJob};

mod answers;
mod build;
mod filter;
mod job;
mod merge;
mod plan;
mod run;

/// A log that has grown by less than this part of a table since it was last asked what is to be merged is at rest.
const REST: u64 = 128;
/// Records of the log that are indexed in one go.
const PAGE: usize = 4_096;

/// So many full tables wait at most, before a flush makes runs of them by itself.
const WAITING_MAX: usize = 3;

/// The index of all records.
pub(super) struct Runs {
    builder: Arc<Builder>,
    runs: Vec<Arc<Run>>,
    /// Full tables that runs are to be made of, in order.
    full: VecDeque<Arc<MemTable>>,
    /// The table that the last run was made of, until the next one is half full: what is asked for most are the newest.
    last: Option<Arc<MemTable>>,
    table: MemTable,
    merging: Option<Arc<Mutex<Merging>>>,
    /// Runs that a longer one has taken the place of.
    gone: Vec<Arc<Run>>,
    /// Where the table ended when it was last asked what is to be merged.
    looked_at: u64,
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
        notices: &Notices,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, StoreError> {
        files::make_dir(&dir)?;
        for name in files::names(&dir)?.iter().filter(|name| name.ends_with(files::UNFINISHED)) {
            files::remove(&dir.join(name))?;
        }
        let (memtable_records, notices) = (memtable_records.max(1), notices.clone());
        let builder = Arc::new(Builder { dir, ledger, log_id, memtable_records, notices });
        let table = builder.new_table(0);
        let mut runs = Self {
            builder,
            runs: Vec::new(),
            full: VecDeque::new(),
            last: None,
            table,
            merging: None,
            gone: Vec::new(),
            looked_at: 0,
        };
        runs.open_files(log, progress)?;
        runs.index_tail(log, progress)?;
        Ok(runs)
    }

    /// Opens the runs that cover the log from its start on; between two of them what is missing is made anew.
    fn open_files(&mut self, log: &LogView, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        let names = files::names(&self.builder.dir)?;
        let mut ranges: Vec<(u64, u64)> = names.iter().filter_map(|name| range_of(name)).collect();
        self.remove_earlier(&mut ranges)?;
        log.will_need(ranges.iter().flat_map(|(first, end)| [*first, end.saturating_sub(1)]));
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
            let opened = if first < covered || end > log.len {
                Err("its positions are not those that are left for it".to_owned())
            } else {
                self.builder.open(first, end, log).map_err(|error| error.to_string())
            };
            let run = match opened {
                Ok(run) => run,
                Err(why) => {
                    self.set_aside(&path, &why)?;
                    continue;
                }
            };
            if first > covered {
                self.builder.notices.missing(&self.builder.path(covered, first));
                let made = self.builder.of_log(covered, first, log, &mut |at| progress(at, log.len))?;
                self.runs.push(Arc::new(made));
            }
            self.runs.push(Arc::new(run));
        }
        self.table = self.builder.new_table(self.covered());
        Ok(())
    }

    /// Removes runs that an earlier version made. They follow from the log like all others, and are made anew from it.
    fn remove_earlier(&self, ranges: &mut Vec<(u64, u64)>) -> Result<(), StoreError> {
        let all = std::mem::take(ranges);
        for (first, end) in all.iter().copied() {
            if self.builder.is_earlier(first, end)? {
                files::remove(&self.builder.path(first, end))?;
            } else {
                ranges.push((first, end));
            }
        }
        if ranges.len() < all.len() {
            self.builder.notices.add(Notice::Upgraded { path: self.builder.dir.display().to_string() });
        }
        Ok(())
    }

    fn set_aside(&self, path: &Path, why: &str) -> Result<(), StoreError> {
        if let Some(kept_as) = set_aside(path)? {
            self.builder.notices.set_aside(path, &kept_as, why);
        }
        Ok(())
    }

    /// Runs that could not be read, and are not made anew yet.
    pub(super) fn unsound(&self) -> impl Iterator<Item = Notice> {
        let suspects = self.runs.iter().filter(|run| run.is_suspect());
        suspects.map(|run| Notice::Unsound { path: run.path().display().to_string() })
    }

    /// Positions that runs cover.
    fn covered(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.facts.end)
    }

    fn index_tail(&mut self, log: &LogView, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        while self.table.end() < log.len {
            let room = self.builder.memtable_records.saturating_sub(self.table.len()).min(PAGE);
            let end = self.table.end().saturating_add(room as u64).min(log.len);
            // One by one: to gather them costs more than to index them.
            log.each_record(self.table.end(), end, &mut |stored| self.push(&stored.record))?;
            progress(self.table.end(), log.len);
            while let Some(step) = self.next_step(log) {
                let done = RunJob { builder: Arc::clone(&self.builder), step }.take_step(log)?;
                self.done(RunDone(done));
            }
        }
        Ok(())
    }

    /// Sets all runs aside and indexes the log anew; what is not durable yet is to be pushed again.
    pub(super) fn reset(&mut self, log: &LogView, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        for run in std::mem::take(&mut self.runs) {
            set_aside(run.path())?;
        }
        (self.merging, self.last) = (None, None);
        self.full.clear();
        self.table = self.builder.new_table(0);
        self.index_tail(log, progress)
    }

    /// Records of a full table.
    pub(super) fn table_records(&self) -> usize {
        self.builder.memtable_records
    }

    /// Indexes the next record. A table that is full with it is set aside, so that a run is made of it once its records are
    /// durable.
    pub(super) fn push(&mut self, record: &Record) {
        self.table.push(record);
        if self.is_half_full() {
            self.last = None;
        }
        if self.table.len() >= self.builder.memtable_records {
            let next = self.builder.new_table(self.table.end());
            self.full.push_back(Arc::new(std::mem::replace(&mut self.table, next)));
        }
    }

    fn is_half_full(&self) -> bool {
        self.table.len() >= self.builder.memtable_records / 2
    }

    /// Records that are indexed in memory alone.
    pub(super) fn in_memory(&self) -> usize {
        self.full.iter().map(|full| full.len()).fold(self.table.len(), usize::saturating_add)
    }

    /// What a flush is to do by itself, since nobody does it beside the flushes.
    pub(super) fn overdue(&self, log: &LogView) -> Option<RunJob> {
        let full = self.full.front().filter(|full| self.full.len() >= WAITING_MAX && full.end() <= log.len)?;
        Some(RunJob { builder: Arc::clone(&self.builder), step: Step::Make(Arc::clone(full)) })
    }

    /// What is to be done next now that the log has come to `log`, if anything.
    pub(super) fn next_job(&mut self, log: &LogView) -> Option<RunJob> {
        let step = self.next_step(log)?;
        Some(RunJob { builder: Arc::clone(&self.builder), step })
    }

    fn next_step(&mut self, log: &LogView) -> Option<Step> {
        if !self.gone.is_empty() {
            return Some(Step::Remove(std::mem::take(&mut self.gone)));
        }
        if let Some(suspect) = self.runs.iter().find(|run| run.is_suspect()) {
            let suspect = Arc::clone(suspect);
            self.merging = None;
            return Some(Step::Mend(suspect));
        }
        if let Some(full) = self.full.front().filter(|full| full.end() <= log.len) {
            return Some(Step::Make(Arc::clone(full)));
        }
        if let Some(merging) = &self.merging {
            return Some(Step::Merge(Arc::clone(merging)));
        }
        self.choose(log).map(Step::BeginMerge)
    }

    /// Neighbouring runs that are to become one, if any.
    fn choose(&mut self, log: &LogView) -> Option<Vec<Arc<Run>>> {
        let counts: Vec<u64> = self.runs.iter().map(|run| run.facts.count()).collect();
        let table = self.builder.memtable_records as u64;
        let end = self.table.end();
        let grown = end.saturating_sub(std::mem::replace(&mut self.looked_at, end));
        // What is not durable yet shows that more is coming.
        let rests = end <= log.len && grown <= table / REST;
        let range = plan::alike(&counts, table).or_else(|| plan::at_rest(&counts).filter(|_| rests))?;
        self.runs.get(range).map(<[_]>::to_vec)
    }

    /// Takes over what a step has come to.
    pub(super) fn done(&mut self, done: RunDone) {
        match done.0 {
            Done::Removed | Done::Going => {}
            Done::Mended { old, new } => {
                if let Some(run) = self.runs.iter_mut().find(|run| Arc::ptr_eq(run, &old)) {
                    *run = Arc::new(new);
                }
            }
            Done::Made(run) => {
                let last = self.full.pop_front();
                self.last = last.filter(|_| !self.is_half_full());
                self.runs.push(Arc::new(run));
            }
            Done::Begun(merging) => self.merging = Some(Arc::new(Mutex::new(merging))),
            Done::Merged { old, new } => {
                self.merging = None;
                let first = self.runs.iter().position(|run| old.first().is_some_and(|old| Arc::ptr_eq(run, old)));
                if let Some(first) = first {
                    let range = first..first.saturating_add(old.len()).min(self.runs.len());
                    self.gone.extend(self.runs.splice(range, [Arc::new(new)]));
                }
            }
        }
    }

    /// A step failed: a merge is begun anew.
    pub(super) fn failed(&mut self) {
        self.merging = None;
    }

    /// Where a transaction stands, if it is one of the newest, which are indexed in memory: nearly all that is asked for while
    /// transactions come.
    pub(super) fn find_in_memory(&self, id: &TxId) -> Option<Found> {
        let older = || self.full.iter().rev().chain(&self.last).find_map(|table| table.find(id));
        self.table.find(id).or_else(older)
    }

    /// Where another one stands, with its record.
    pub(super) fn find_in_runs(&self, id: &TxId, log: &LogView) -> Result<Option<(Found, Stored)>, StoreError> {
        // All of them with the first that is asked for, so that one look-up waits and not one for each run.
        self.runs.iter().for_each(|run| run.wake());
        let glances = self.glances(id);
        let is_vain = |nth: u32| glances.checked_shr(nth).is_some_and(|from| from & 1 == 0);
        // The oldest is the largest.
        for (_, run) in (0..).zip(&self.runs).filter(|(nth, _)| !is_vain(*nth)) {
            if let Some(found) = answers::find(run, id, log)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Which runs may have an id, by a first look at their filters: a bit for each of the first 64. Hardly ever is a line of a
    /// filter in the processor's cache: looked at in one go they come together, and not each when its run's turn has come.
    fn glances(&self, id: &TxId) -> u64 {
        let bit = |nth: u32, run: &Run| u64::from(run.glance(id)).checked_shl(nth).unwrap_or_default();
        (0..).zip(&self.runs).fold(0, |bits, (nth, run)| bits | bit(nth, run))
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
        (from, to): (Time, Time),
        after: Option<OrderKey>,
        max: usize,
        log: &LogView,
        ids: Ids,
    ) -> Result<Vec<(OrderKey, Position)>, StoreError> {
        let least = OrderKey { time: from, depth: Depth::new(0), id: TxId::from_bytes([0; 32]) };
        let start = after.filter(|key| key.time >= from).unwrap_or(least);
        loop {
            let suspects = self.suspects();
            match self.gather(start, to, max, log) {
                Ok(gathered) => {
                    let mut places = answers::with_ids(gathered, log, ids)?;
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

    /// Ids and positions of all records with times from `from` up to but not including `to`, in no order.
    pub(super) fn ids_between(&self, from: Time, to: Time, log: &LogView) -> Result<Vec<(TxId, Position)>, StoreError> {
        let mut ids = Vec::new();
        for run in &self.runs {
            let positions = answers::positions_between(run, from, to, log)?;
            ids.extend(log.ids_at(&positions)?.into_iter().zip(positions.into_iter().map(Position::new)));
        }
        let least = OrderKey { time: from, depth: Depth::new(0), id: TxId::from_bytes([0; 32]) };
        for table in self.full.iter().map(Arc::as_ref).chain([&self.table]) {
            let places = table.in_order(least).take_while(|(key, _)| key.time < to);
            ids.extend(places.map(|(key, position)| (key.id, Position::new(position))));
        }
        Ok(ids)
    }

    fn suspects(&self) -> usize {
        self.runs.iter().filter(|run| run.is_suspect()).count()
    }

    /// The least places from `start` on, in order but for ties; of places that only whole ids tell apart all or none.
    fn gather(&self, start: OrderKey, to: Time, max: usize, log: &LogView) -> Result<Vec<Gathered>, StoreError> {
        let start_entry = order_entry(&start, 0);
        let (first, first_key) = (order_rank(&start_entry), order_key(&start_entry));
        let mut sources: Vec<Places<'_>> = Vec::new();
        for run in &self.runs {
            sources.push(if run.is_suspect() {
                Places::table(answers::order_in_log(run, answers::first_of_tied(start), to, log)?.into_iter())
            } else {
                Places::Run(run.in_order(&first_key)?)
            });
        }
        for table in self.full.iter().map(Arc::as_ref).chain([&self.table]) {
            sources.push(Places::table(table.in_order(answers::first_of_tied(start))));
        }
        let heads: Result<Vec<Option<Head<'_>>>, StoreError> = sources.into_iter().map(Head::of).collect();
        let mut heads: Vec<Head<'_>> = heads?.into_iter().flatten().collect();
        let (mut gathered, mut counted, mut last) = (Vec::new(), 0usize, None);
        loop {
            let least = heads.iter_mut().enumerate().min_by_key(|(_, head)| head.rank);
            let Some((nth, head)) = least.filter(|(_, head)| answers::time_of(&head.place.0) < to.secs()) else {
                return Ok(gathered);
            };
            if counted >= max && last != Some(head.rank) {
                return Ok(gathered);
            }
            // Those that agree with the start may all lie before it.
            counted = counted.saturating_add(usize::from(head.rank != first));
            last = Some(head.rank);
            gathered.push(head.place);
            if !head.advance()? {
                heads.swap_remove(nth);
            }
        }
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        files::bytes_under(&self.builder.dir)
    }
}
