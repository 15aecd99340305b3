//! A ledger's log and index in files (DESIGN §5, decision 0019; bytes and recovery in `docs/storage.md`).
//!
//! ```text
//! lock                 taken while a process has the directory open
//! headers/N.seg, .off  the log, in segments by first position; offsets of the records
//! bodies/DAY.seg       bodies by the day on which they go, in parts; `dropped` says how far that is
//! scan.col             64 bytes a record for scans
//! tree.col             the Merkle tree over the log
//! mark                 how far the last header segment needs no check
//! runs/                ids, tags and canonical order, immutable
//! blocks/              ids and trees of large blocks, for proofs
//! index/               sled: days, blocks, frontier, state
//! ```
//!
//! Invariants: a commit is bodies, and records with a commit marker, both written and fsynced, at the same time; a last
//! commit whose bodies are not all there was not acknowledged, and is cut. Behind that come columns, runs and sled, which can
//! all be derived anew. So whenever the process dies, the log holds at least what the
//! index tells of. While a flush runs on another thread, reads see what it writes from memory; what a failed one did not
//! write stays there too.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use self::{
    blocks::Blocks,
    bodies::Bodies,
    files::Lock,
    flush::{InFlight, Spent},
    headers::{ColumnWrite, Headers},
    index::{Index, IndexWrite},
    log::Stored,
    notice::Notices,
    recent::{Recent, Staged},
    runs::{Ids, Runs},
    scan::{EntryBytes, ScanColumn},
    segment::Place,
    tree::TreeColumn,
    upkeep::UpkeepInFlight,
};
use super::{
    Batch, Body, BodyUse, Change, CommitPoint, DiskUse, Flush, Found, Kept, NewRecord, OrderKey, Pair, Pairs, Record,
    ScanEntry, Store, StoreError, Tree, Upkeep,
};
use crate::{
    ids::{LedgerId, Position, TxId},
    merkle,
    network::Network,
    time::Time,
};

mod ahead;
mod blocks;
pub(crate) mod bodies;
mod checked;
mod checkpoints;
mod derived;
pub mod files;
mod flush;
pub(crate) mod headers;
mod index;
pub mod journal;
mod log;
mod mark;
mod memtable;
mod notice;
mod outbox;
mod pieces;
mod reads;
mod recent;
pub(crate) mod recover;
mod runs;
pub(crate) mod scan;
pub(crate) mod segment;
mod stage;
mod stock;
mod tree;
mod upkeep;
mod witness;

pub use checkpoints::{DiskCheckpoints, FILE_MAX_BYTES as CHECKPOINTS_MAX_BYTES};
#[cfg(feature = "testing")]
pub use files::fault::plan as faults;
pub use notice::Notice;
pub use outbox::DiskOutbox;

/// A header segment, or a part of a day's bodies, that has reached this size is followed by a new one: 64 MiB.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Records that may wait in memory for their columns to be written before no more are taken in.
const RECENT_MAX: usize = 65_536;
/// Changes of the trees that may wait in memory, likewise.
const CHANGES_MAX: usize = 262_144;

/// Sizes of the parts of a store. Stores with any are read by any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// Bytes of a header segment, or of a part of a day's bodies, from which on it is followed by a new one.
    pub segment_bytes: u64,
    /// Records that are indexed in memory before a run is made of them.
    pub memtable_records: usize,
    /// Changes of the trees that collect in memory before sled gets them.
    pub overlay_entries: usize,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, memtable_records: 8_192, overlay_entries: 4_096 }
    }
}

/// A body that came late and does not stand in the scan column yet.
struct Late {
    place: Place,
    entry: EntryBytes,
    /// Whether the log tells of it.
    logged: bool,
}

/// A log and its index in a directory.
pub struct DiskStore {
    dir: PathBuf,
    headers: Headers,
    bodies: Bodies,
    scan: ScanColumn,
    tree: Arc<TreeColumn>,
    runs: Runs,
    blocks: Blocks,
    index: Index,
    /// Records whose columns are not written yet.
    recent: Recent,
    late: BTreeMap<u64, Late>,
    /// Offsets of durable records that could not be written yet.
    offsets: Vec<ColumnWrite>,
    /// The record that an id was last found to be of: who looks up an id mostly reads that next.
    found: Mutex<Option<(u64, Stored)>>,
    in_flight: Option<InFlight>,
    /// What the next flush lets go of.
    spent: Spent,
    /// Records before the mark.
    marked: u64,
    /// A record was read that is damaged, so that there is to be no mark.
    unmarked: AtomicBool,
    /// The tree over so many records, as the last flush worked it out.
    peaks: Option<(u64, Vec<[u8; 32]>)>,
    /// Changes of the trees that are to be written once so many records are durable.
    trees: Option<(u64, Arc<IndexWrite>)>,
    upkeep: Option<UpkeepInFlight>,
    /// Upkeep failed, and no flush has succeeded since.
    upkeep_rests: bool,
    /// Why the last flush failed, if it did.
    failing: Option<String>,
    /// Why the columns could not be written by the last flush, if they could not.
    behind: Option<String>,
    /// Why the last upkeep failed, if it did.
    upkeep_failed: Option<String>,
    notices: Notices,
    /// Shared with a flush under way and closed last, so that nobody opens what is still being written.
    lock: Arc<Lock>,
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore").field("dir", &self.dir).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Drop for DiskStore {
    /// Hands sled what was collected for it, and sets the mark, so that the next start has nothing to derive or to check.
    fn drop(&mut self) {
        if self.in_flight.is_none() && self.headers.len() == self.len() {
            self.index.close();
            if let Some(mark) = self.last_mark() {
                // The next start does without.
                drop(mark.run());
            }
        }
    }
}

impl DiskStore {
    /// Opens the log of `network` in `dir`, or starts one with the log id `entropy`, 16 random bytes.
    ///
    /// What stands behind the last commit marker is cut; columns and runs that are missing or unsound are made anew.
    /// [`notices`](Self::notices) says what was.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it open, [`StoreError::Foreign`] when it belongs to another network
    /// or was written by a newer version, [`StoreError::Damaged`] when what was committed cannot be read; then nothing
    /// has been cut. [`StoreError::Io`] when the system refuses.
    pub fn open(dir: &Path, network: &Network, entropy: [u8; 16]) -> Result<Self, StoreError> {
        Self::open_with(dir, network, entropy, DiskOptions::default(), &mut |_, _| {})
    }

    /// The same with header segments and parts of bodies that end once they have `segment_bytes`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with_segments(
        dir: &Path,
        network: &Network,
        entropy: [u8; 16],
        segment_bytes: u64,
    ) -> Result<Self, StoreError> {
        let options = DiskOptions { segment_bytes, ..DiskOptions::default() };
        Self::open_with(dir, network, entropy, options, &mut |_, _| {})
    }

    /// The same with sizes of one's own. While columns or runs are made anew, `progress` is told how many records are
    /// done, and of how many; it counts up once for each of them.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(
        dir: &Path,
        network: &Network,
        entropy: [u8; 16],
        options: DiskOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, StoreError> {
        files::make_dir(dir)?;
        let lock = files::lock(&dir.join("lock"))?;
        ahead::of_opening(dir);
        stock::remove_unfinished(dir)?;
        let ledger = network.ledger();
        let (headers_dir, bodies_dir, scan_path) = (dir.join("headers"), dir.join("bodies"), dir.join("scan.col"));
        stock::check_not_beheaded(&headers_dir, &bodies_dir, &scan_path)?;
        stock::refuse_newer(dir, ledger)?;
        let (claimed, notices) = (scan::claimed(&scan_path)?, Notices::default());
        let headers = Headers::open(headers_dir, ledger, entropy, options.segment_bytes, claimed, &notices)?;
        let (log_id, log) = (headers.log_id(), headers.view().clone());
        let bodies = Bodies::open(bodies_dir, ledger, log_id, options.segment_bytes)?;
        let checked_from = headers.checked_from();
        let scan = ScanColumn::open(scan_path, ledger, log_id, &log, checked_from, &notices, progress)?;
        let tree = TreeColumn::open(dir.join("tree.col"), ledger, log_id, &log, &notices, progress)?;
        let (table, runs_dir) = (options.memtable_records, dir.join("runs"));
        let runs = Runs::open(runs_dir, ledger, log_id, table, &log, &notices, progress)?;
        let index = Index::open(dir.join("index"), log_id, options.overlay_entries, log.len > 0, &notices)?;
        Ok(Self {
            dir: dir.to_owned(),
            headers,
            bodies,
            scan,
            tree: Arc::new(tree),
            runs,
            blocks: Blocks::new(dir.join("blocks"), ledger, log_id),
            index,
            recent: Recent::new(log.len),
            late: BTreeMap::new(),
            offsets: Vec::new(),
            found: Mutex::default(),
            in_flight: None,
            spent: Spent::default(),
            marked: checked_from.0,
            unmarked: AtomicBool::new(false),
            peaks: None,
            trees: None,
            upkeep: None,
            upkeep_rests: false,
            failing: None,
            behind: None,
            upkeep_failed: None,
            notices,
            lock: Arc::new(lock),
        })
    }

    /// The log's id: 16 random bytes, drawn when it was started.
    pub fn log_id(&self) -> [u8; 16] {
        self.headers.log_id()
    }

    /// What was not as it was left, on opening and since, in the order in which it was found.
    pub fn notices(&self) -> Vec<Notice> {
        self.notices.all().into_iter().chain(self.runs.unsound()).collect()
    }

    /// Why the disk does not take all in at the moment, if it does not.
    pub fn trouble(&self) -> Option<&str> {
        self.failing.as_ref().or_else(|| self.lagging()).map(String::as_str)
    }

    /// Why something that follows from the log lags behind it, if it does.
    fn lagging(&self) -> Option<&String> {
        self.behind.as_ref().or(self.upkeep_failed.as_ref()).or_else(|| self.index.trouble())
    }
}

impl Store for DiskStore {
    fn len(&self) -> u64 {
        self.recent.end()
    }

    fn last_commit(&self) -> Option<CommitPoint> {
        self.headers.last_commit()
    }

    fn stage(&mut self, batch: Batch) -> Result<(), StoreError> {
        if !(batch.records.is_empty() && batch.late_bodies.is_empty()) {
            self.check_room()?;
        }
        batch.records.into_iter().try_for_each(|new| self.stage_record(new))?;
        batch.late_bodies.into_iter().try_for_each(|late| self.stage_late(late))?;
        self.index.stage(batch.changes, batch.underivable);
        Ok(())
    }

    fn stage_one(&mut self, new: NewRecord, changes: Vec<Change>, underivable: bool) -> Result<(), StoreError> {
        self.check_room()?;
        self.stage_record(new)?;
        self.index.stage(changes, underivable);
        Ok(())
    }

    fn flush(&mut self, point: CommitPoint) -> Result<Option<Flush>, StoreError> {
        self.begin_flush(point)
    }

    fn flushed(&mut self, success: bool) {
        self.end_flush(success);
    }

    fn take_peaks(&mut self) -> Option<(u64, Vec<[u8; 32]>)> {
        self.peaks.take()
    }

    fn upkeep(&mut self) -> Option<Upkeep> {
        self.begin_upkeep()
    }

    fn upkept(&mut self) {
        self.end_upkeep();
    }

    fn record(&self, position: Position) -> Result<Option<Record>, StoreError> {
        Ok(self.stored(position.get())?.map(|(record, _)| record))
    }

    fn records(&self, from: Position, max: usize) -> Result<Vec<Record>, StoreError> {
        let written = self.read_of_log(self.headers.view().records(from.get(), self.recent.first(), max))?;
        let mut records: Vec<Record> = written.into_iter().map(|stored| stored.record).collect();
        let room = max.saturating_sub(records.len());
        records.extend(self.recent.from(from.get()).take(room).map(|staged| staged.record.clone()));
        Ok(records)
    }

    fn body(&self, position: Position) -> Result<Body, StoreError> {
        let Some((record, written)) = self.stored(position.get())? else {
            return Ok(Body::Absent);
        };
        let mut found = Body::Absent;
        for place in self.places(position.get(), written)?.into_iter().flatten() {
            match self.bodies.read(place, &record.id, record.header.core().body_len()) {
                Ok(body @ Body::Present(_)) => return Ok(body),
                Ok(body) if found == Body::Absent => found = body,
                Err(StoreError::Damaged { path, offset, what }) => {
                    found = Body::Damaged(format!("{path} at byte {offset}: {what}"));
                }
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn scan(&self, from: Position, max: usize) -> Result<Vec<ScanEntry>, StoreError> {
        let written = self.scan.read(self.headers.view(), from.get(), self.recent.first(), max);
        let mut entries = self.read_of_log(written)?;
        let room = max.saturating_sub(entries.len());
        entries.extend(self.recent.from(from.get()).take(room).map(Staged::scan));
        for position in self.late.range(from.get()..).map(|(position, _)| position) {
            let nth = usize::try_from(position.saturating_sub(from.get())).unwrap_or(usize::MAX);
            if let Some(entry) = entries.get_mut(nth) {
                entry.has_body = true;
            }
        }
        Ok(entries)
    }

    fn find(&self, id: &TxId) -> Result<Option<Found>, StoreError> {
        if let Some(found) = self.runs.find_in_memory(id) {
            return Ok(Some(found));
        }
        let Some((found, stored)) = self.read_of_log(self.runs.find_in_runs(id, self.headers.view()))? else {
            return Ok(None);
        };
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some((found.position.get(), stored));
        Ok(Some(found))
    }

    fn ids_between(&self, from: Time, to: Time) -> Result<Vec<(TxId, Position)>, StoreError> {
        self.read_of_log(self.runs.ids_between(from, to, self.headers.view()))
    }

    fn ids_at(&self, positions: &[Position]) -> Result<Option<Vec<TxId>>, StoreError> {
        self.ids_unchecked(positions)
    }

    fn keep_block(&mut self, number: u64, bytes: &[u8]) {
        // What cannot be kept is worked out again when it is asked for.
        drop(self.blocks.keep(number, bytes));
    }

    fn kept_block(&self, number: u64) -> Option<Kept> {
        self.blocks.kept(number)
    }

    fn tagged(&self, tag: &[u8; 16], from: Position, max: usize) -> Result<Vec<Position>, StoreError> {
        let positions = self.read_of_log(self.runs.tagged(tag, from.get(), max, self.headers.view()))?;
        Ok(positions.into_iter().map(Position::new).collect())
    }

    fn in_order(
        &self,
        from: Time,
        to: Time,
        after: Option<OrderKey>,
        max: usize,
    ) -> Result<Vec<(OrderKey, Position)>, StoreError> {
        self.read_of_log(self.runs.in_order((from, to), after, max, self.headers.view(), Ids::Checked))
    }

    fn places(
        &self,
        from: Time,
        to: Time,
        after: Option<OrderKey>,
        max: usize,
    ) -> Result<Vec<(OrderKey, Position)>, StoreError> {
        self.read_of_log(self.runs.in_order((from, to), after, max, self.headers.view(), Ids::Unchecked))
    }

    fn node(&self, ledger: LedgerId, level: u32, index: u64) -> Result<[u8; 32], StoreError> {
        let end = index.saturating_add(1).checked_shl(level).unwrap_or(u64::MAX);
        if end <= self.recent.first() {
            return self.read_of_log(self.tree.node(level, index, self.headers.view()));
        }
        if let Some(below) = level.checked_sub(1) {
            let left = index.saturating_mul(2);
            // The right one first: it is the one that the log may not reach.
            let right = self.node(ledger, below, left.saturating_add(1))?;
            return Ok(merkle::node(ledger, &self.node(ledger, below, left)?, &right));
        }
        let staged =
            self.recent.get(index).ok_or_else(|| super::beyond_the_log(&self.dir.display().to_string(), index))?;
        Ok(merkle::leaf(ledger, staged.record.id.as_bytes()))
    }

    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.index.get(tree, key)
    }

    fn range(&self, tree: Tree, from: &[u8], to: &[u8], max: usize) -> Result<Pairs, StoreError> {
        self.index.range(tree, from, to, max)
    }

    fn last_before(&self, tree: Tree, to: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.index.last_before(tree, to)
    }

    fn drop_bodies_before(&mut self, day: u64) -> Result<usize, StoreError> {
        self.bodies.drop_before(day)
    }

    fn drop_bodies_over(&mut self, budget: u64) -> Result<usize, StoreError> {
        self.bodies.drop_over(budget)
    }

    fn bodies(&self) -> BodyUse {
        self.bodies.usage()
    }

    fn reset_trees(&mut self) -> Result<(), StoreError> {
        self.index.reset(Some("it contradicts the log"))
    }

    fn reset_index(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        self.index.reset(None)?;
        self.blocks.reset()?;
        self.tree.reset(self.headers.view(), progress)?;
        self.runs.reset(self.headers.view(), progress)?;
        let staged = self.recent.from(self.headers.len().max(self.recent.first()));
        staged.for_each(|staged| self.runs.push(&staged.record));
        Ok(())
    }

    fn disk(&self) -> DiskUse {
        DiskUse {
            headers: self.headers.bytes(),
            bodies: self.bodies.bytes(),
            scan: self.scan.bytes(),
            index: [self.index.bytes(), self.tree.bytes(), self.runs.bytes(), self.blocks.bytes()]
                .into_iter()
                .fold(0, u64::saturating_add),
        }
    }
}
