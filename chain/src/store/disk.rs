//! A ledger's log and index in files (DESIGN §5; bytes and recovery in `docs/storage.md`).
//!
//! ```text
//! lock                 taken while a process has the directory open
//! headers/N.seg, .off  the log, in segments by first position; offsets of the records
//! bodies/DAY.seg       bodies by the day on which they go, in parts; `dropped` says how far that is
//! scan.col             64 bytes a record for scans
//! index/               sled: everything derived
//! ```
//!
//! Invariants: a commit is bodies written and fsynced, then records and commit marker written and fsynced, then scan column,
//! offsets and index written, which can all be derived anew. So whenever the process dies, the log holds at least what
//! the index tells of. While a flush runs on another thread, reads see what it writes from memory.

use std::{
    collections::VecDeque,
    fmt,
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use self::{
    bodies::Bodies,
    headers::{HeaderDone, HeaderWrite, Headers},
    index::Index,
    scan::{EntryBytes, ScanColumn},
    segment::Place,
};
use super::{
    Batch, Body, BodyUse, CommitPoint, DiskUse, Flush, Pair, Pairs, Record, ScanEntry, Store, StoreError, Tree,
};
use crate::{ids::Position, network::Network};

pub(crate) mod bodies;
pub(crate) mod files;
pub(crate) mod headers;
mod index;
mod outbox;
pub(crate) mod recover;
pub(crate) mod scan;
pub(crate) mod segment;

#[cfg(feature = "testing")]
pub use files::fault::plan as faults;
pub use outbox::DiskOutbox;

/// A header segment, or a part of a day's bodies, that has reached this size is followed by a new one: 64 MiB.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// A record that is staged or being written, with what was worked out for it.
struct Staged {
    record: Record,
    scan: ScanEntry,
    entry: EntryBytes,
    place: Option<Place>,
}

/// A flush under way.
struct InFlight {
    /// How many of the records in memory it makes durable.
    records: usize,
    done: Option<HeaderDone>,
    succeeded: Arc<AtomicBool>,
}

/// A log and its index in a directory.
pub struct DiskStore {
    dir: PathBuf,
    headers: Headers,
    bodies: Bodies,
    scan: ScanColumn,
    index: Index,
    /// Records behind the durable ones: those of the flush under way, then the staged ones.
    recent: VecDeque<Staged>,
    in_flight: Option<InFlight>,
    poisoned: bool,
    /// Shared with a flush under way and closed last, so that nobody opens what is still being written.
    lock: Arc<File>,
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore").field("dir", &self.dir).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl DiskStore {
    /// Opens the log of `network` in `dir`, or starts one with the log id `entropy`, 16 random bytes.
    ///
    /// What stands behind the last commit marker is cut; columns that are missing or too short are made anew.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it open, [`StoreError::Foreign`] when it belongs to another network
    /// or was written by a newer version, [`StoreError::Damaged`] when what was committed cannot be read; then nothing
    /// has been cut. [`StoreError::Io`] when the system refuses.
    pub fn open(dir: &Path, network: &Network, entropy: [u8; 16]) -> Result<Self, StoreError> {
        Self::open_with_segments(dir, network, entropy, SEGMENT_BYTES)
    }

    /// The same with header segments and parts of bodies that end once they have `segment_bytes`. Logs with any are read
    /// by any.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with_segments(
        dir: &Path,
        network: &Network,
        entropy: [u8; 16],
        segment_bytes: u64,
    ) -> Result<Self, StoreError> {
        files::make_dir(dir)?;
        let lock = files::lock(&dir.join("lock"))?;
        remove_unfinished(dir)?;
        let ledger = network.ledger();
        let (headers_dir, bodies_dir, scan_path) = (dir.join("headers"), dir.join("bodies"), dir.join("scan.col"));
        check_not_beheaded(&headers_dir, &bodies_dir, &scan_path)?;
        let headers = Headers::open(headers_dir, ledger, entropy, segment_bytes, scan::claimed(&scan_path)?)?;
        let bodies = Bodies::open(bodies_dir, ledger, headers.log_id(), segment_bytes)?;
        let scan = ScanColumn::open(scan_path, ledger, &headers)?;
        let index = Index::open(dir.join("index"), headers.log_id())?;
        Ok(Self {
            dir: dir.to_owned(),
            headers,
            bodies,
            scan,
            index,
            recent: VecDeque::new(),
            in_flight: None,
            poisoned: false,
            lock: Arc::new(lock),
        })
    }

    /// The log's id: 16 random bytes, drawn when it was started.
    pub fn log_id(&self) -> [u8; 16] {
        self.headers.log_id()
    }

    /// A record that is not durable yet.
    fn recent(&self, position: Position) -> Option<&Staged> {
        let nth = position.get().checked_sub(self.headers.len())?;
        self.recent.get(usize::try_from(nth).ok()?)
    }

    fn cannot_flush(&self, why: &str) -> StoreError {
        files::io_error("cannot flush", &self.dir, std::io::Error::other(why))
    }

    /// The work of one flush: everything on disk in the order that the module's page gives.
    fn prepare(&mut self, point: CommitPoint) -> Result<Work, StoreError> {
        let log = if self.recent.is_empty() {
            None
        } else {
            let records = self.recent.iter().map(|staged| (&staged.record, staged.place));
            let write = self.headers.prepare(records, point)?;
            let scan = self.scan.prepare(self.headers.len(), self.recent.iter().map(|staged| &staged.entry));
            Some((write, scan))
        };
        Ok(Work { log, bodies: self.bodies.take_writes(), index: self.index.take()?, _lock: Arc::clone(&self.lock) })
    }
}

/// What one flush writes.
struct Work {
    log: Option<(HeaderWrite, scan::ScanWrite)>,
    bodies: bodies::BodyWrites,
    index: index::IndexWrite,
    _lock: Arc<File>,
}

impl Work {
    fn run(&self) -> Result<(), StoreError> {
        self.bodies.run()?;
        if let Some((log, scan)) = &self.log {
            log.commit()?;
            scan.write()?;
            log.write_offsets()?;
        }
        self.index.apply()
    }
}

/// A log that has bodies or a scan column had headers once: starting a new one beside them would hide the loss.
fn check_not_beheaded(headers: &Path, bodies: &Path, scan: &Path) -> Result<(), StoreError> {
    let bodies = files::names(bodies)?.iter().any(|name| name.ends_with(".seg"));
    if (bodies || scan.exists()) && headers::segment_firsts(headers)?.is_empty() {
        return Err(StoreError::Damaged {
            path: headers.display().to_string(),
            offset: 0,
            what: "the header segments are gone, while other parts of the log are here".to_owned(),
        });
    }
    Ok(())
}

/// Removes files whose making was broken off.
fn remove_unfinished(dir: &Path) -> Result<(), StoreError> {
    for dir in [dir.to_owned(), dir.join("headers"), dir.join("bodies")] {
        for name in files::names(&dir)?.iter().filter(|name| name.ends_with(files::UNFINISHED)) {
            files::remove(&dir.join(name))?;
        }
    }
    Ok(())
}

impl Store for DiskStore {
    fn len(&self) -> u64 {
        self.headers.len().saturating_add(self.recent.len() as u64)
    }

    fn last_commit(&self) -> Option<CommitPoint> {
        self.headers.last_commit()
    }

    fn stage(&mut self, batch: Batch) -> Result<(), StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        let mut staged = Vec::with_capacity(batch.records.len());
        for new in batch.records {
            let id = new.record.id;
            let reserve = |body: &Vec<u8>| self.bodies.reserve(new.body_day, &id, Arc::from(body.as_slice()));
            let place = new.body.as_ref().map(reserve).transpose()?;
            let entry = scan::entry_bytes(new.record.header.core(), &new.author_u, place);
            staged.push(Staged { scan: new.scan_entry(), record: new.record, entry, place });
        }
        self.recent.extend(staged);
        self.index.stage(batch.changes);
        Ok(())
    }

    fn flush(&mut self, point: CommitPoint) -> Result<Option<Flush>, StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        if self.in_flight.is_some() {
            return Err(self.cannot_flush("an earlier flush is still under way"));
        }
        if self.recent.is_empty() && self.index.is_clean() {
            return Ok(None);
        }
        if point.count != self.len() {
            return Err(self.cannot_flush("the commit point does not count the records that are here"));
        }
        let work = self.prepare(point)?;
        let succeeded = Arc::new(AtomicBool::new(false));
        let done = work.log.as_ref().map(|(write, _)| write.done());
        self.in_flight = Some(InFlight { records: self.recent.len(), done, succeeded: Arc::clone(&succeeded) });
        Ok(Some(Flush::new(move || {
            work.run()?;
            succeeded.store(true, Ordering::Release);
            Ok(())
        })))
    }

    fn flushed(&mut self, success: bool) {
        let Some(flight) = self.in_flight.take() else {
            return;
        };
        let success = success && flight.succeeded.load(Ordering::Acquire);
        self.bodies.written(success);
        if !success {
            // What is in memory stays readable; the next start finds what reached the disk.
            self.poisoned = true;
            return;
        }
        self.recent.drain(..flight.records.min(self.recent.len()));
        if let Some(done) = &flight.done {
            self.headers.committed(done);
        }
        self.index.applied();
    }

    fn record(&self, position: Position) -> Result<Option<Record>, StoreError> {
        if let Some(staged) = self.recent(position) {
            return Ok(Some(staged.record.clone()));
        }
        Ok(self.headers.read(position)?.map(|stored| stored.record))
    }

    fn body(&self, position: Position) -> Result<Body, StoreError> {
        let (record, place) = if let Some(staged) = self.recent(position) {
            (staged.record.clone(), staged.place)
        } else if let Some(stored) = self.headers.read(position)? {
            let late = || self.scan.late_place(position.get());
            let place = if stored.place.is_some() { stored.place } else { late()? };
            (stored.record, place)
        } else {
            return Ok(Body::Absent);
        };
        match place {
            Some(place) => self.bodies.read(place, &record.id, record.header.core().body_len()),
            None => Ok(Body::Absent),
        }
    }

    fn scan(&self, from: Position, max: usize) -> Result<Vec<ScanEntry>, StoreError> {
        let durable = self.headers.len();
        let mut entries = self.scan.read(from.get(), durable, max)?;
        let skip = usize::try_from(from.get().saturating_sub(durable)).unwrap_or(usize::MAX);
        let room = max.saturating_sub(entries.len());
        entries.extend(self.recent.iter().skip(skip).take(room).map(|staged| staged.scan));
        Ok(entries)
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

    fn reset_index(&mut self) -> Result<(), StoreError> {
        self.index.reset()
    }

    fn disk(&self) -> DiskUse {
        DiskUse {
            headers: self.headers.bytes(),
            bodies: self.bodies.bytes(),
            scan: self.scan.bytes(),
            index: self.index.bytes(),
        }
    }
}
