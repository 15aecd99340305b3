//! The outbox on disk: a sled database of its own whose commits are acknowledged state (DESIGN §5).
//!
//! sled 0.34's `flush` makes no fsync on Linux, so every commit is a `flush` and an fsync of sled's `db` file. sled
//! puts large pages into files of their own that it never fsyncs; a transaction is therefore kept in pieces of 4 KiB,
//! of which no page can grow that large.
//!
//! A sled that failed to write takes nothing more, ever, and shows what it could not keep. It is closed at once, and
//! opened again by the next call; the next write first looks whether there is space. After a failed fsync that would be no
//! help: what it was to make durable may be gone from the disk and still show in memory, so nothing is taken until the
//! next start.

use std::{
    fmt,
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::files;
use crate::{
    ids::{LedgerId, TxId},
    network::Network,
    store::{Outbox, StoreError},
    transaction::Transaction,
};

/// Bytes of a piece. A leaf of sled has some 20 at most, far below the 128 KiB from which it uses extra files.
const PIECE_BYTES: usize = 4_096;
/// Memory that sled may use for its pages.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// The key under which the ledger id stands; those of transactions have 33 bytes: id | number of the piece.
const LEDGER_KEY: &[u8] = b"ledger";
/// Before a sled that failed is written to again, so much is written beside it: two of its segments.
const PROBE_BYTES: usize = 1024 * 1024;

/// How long a closed sled may take to let go of its file.
const UNLOCKED_WITHIN: Duration = Duration::from_secs(2);
/// The key under which the format stands, a `u32` in little-endian; the first versions wrote none, and mean 1.
const FORMAT_KEY: &[u8] = b"format";
/// The format that this version writes and knows.
const FORMAT: u32 = 1;

/// The database, and what became of the last write.
struct State {
    /// `None` only while it is opened again, or after that failed.
    db: Option<sled::Db>,
    health: Health,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Well,
    /// sled failed to write.
    Failed,
    /// An fsync failed.
    Unsynced,
}

/// Transactions on the stem, on disk.
pub struct DiskOutbox {
    path: PathBuf,
    network: Network,
    state: Mutex<State>,
    /// Closed last, so that nobody opens what is still being closed.
    _lock: File,
}

impl fmt::Debug for DiskOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskOutbox").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Runs a call of sled; its errors and its panics name the directory.
fn fenced<T>(what: &'static str, path: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    let source = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(sled::Error::Io(error))) => error,
        Ok(Err(error)) => std::io::Error::other(error.to_string()),
        Err(_) => std::io::Error::other("sled broke off on what it found"),
    };
    Err(files::io_error(what, path, source))
}

impl DiskOutbox {
    /// Opens the outbox of a network in `dir`, which is made if there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be opened, [`StoreError::InUse`] when another process has it open,
    /// [`StoreError::Foreign`] when it belongs to another network.
    pub fn open(dir: &Path, network: &Network) -> Result<Self, StoreError> {
        files::make_dir(dir)?;
        let lock = files::lock(&dir.join("lock"))?;
        let state = Mutex::new(State { db: Some(open_sled(dir)?), health: Health::Well });
        let outbox = Self { path: dir.to_owned(), network: network.clone(), state, _lock: lock };
        outbox.check_format()?;
        outbox.check_ledger(network.ledger())?;
        Ok(outbox)
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        files::bytes_under(&self.path)
    }

    /// A newer format is left alone. An older one is brought up to this one here; there is none yet.
    fn check_format(&self) -> Result<(), StoreError> {
        let found = self.read(|db| db.get(FORMAT_KEY))?;
        let found = found.map_or(Some(FORMAT), |bytes| bytes.as_ref().try_into().ok().map(u32::from_le_bytes));
        if found.is_some_and(|format| format <= FORMAT) {
            return Ok(());
        }
        let what = format!("the outbox was written by a newer version (this one knows format {FORMAT}); use that one");
        Err(StoreError::Foreign { path: self.path.display().to_string(), what })
    }

    fn check_ledger(&self, ledger: LedgerId) -> Result<(), StoreError> {
        let found = self.read(|db| db.get(LEDGER_KEY))?;
        match found {
            Some(found) if found.as_ref() == ledger.as_bytes() => Ok(()),
            Some(_) => Err(StoreError::Foreign {
                path: self.path.display().to_string(),
                what: "belongs to another network; choose that one with --network, or another directory with --data"
                    .to_owned(),
            }),
            None => {
                let mut batch = sled::Batch::default();
                batch.insert(LEDGER_KEY, ledger.as_bytes().as_slice());
                batch.insert(FORMAT_KEY, FORMAT.to_le_bytes().as_slice());
                self.write(|_| Ok(batch))?;
                files::sync_dir(&self.path)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of sled is caught before it gets here; what it left behind shows in the next call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, StoreError> {
        self.with("cannot read", &mut self.state(), call)
    }

    /// Works with sled, opening it where a failure closed it.
    fn with<T>(
        &self,
        what: &'static str,
        state: &mut State,
        call: impl FnOnce(&sled::Db) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        let db = match state.db.take() {
            Some(db) => db,
            None => open_sled(&self.path)?,
        };
        let db = state.db.insert(db);
        fenced(what, &self.path, || call(db))
    }

    /// Makes a batch from what is there and commits it: `flush`, and the fsync that sled leaves out.
    fn write(&self, batch: impl FnOnce(&sled::Db) -> sled::Result<sled::Batch>) -> Result<(), StoreError> {
        let mut state = self.state();
        match state.health {
            Health::Well => {}
            Health::Unsynced => return Err(self.unsynced()),
            Health::Failed => self.probe()?,
        }
        let written = self.with("cannot write", &mut state, |db| {
            db.apply_batch(batch(db)?)?;
            db.flush()
        });
        if let Err(error) = written {
            state.health = Health::Failed;
            let old = state.db.take();
            // sled may panic over what it could not write.
            drop(fenced("cannot close", &self.path, || {
                drop(old);
                Ok(())
            }));
            return Err(error);
        }
        state.health = Health::Well;
        files::sync_file(&self.path.join("db")).inspect_err(|_| state.health = Health::Unsynced)
    }

    /// Whether there is space again.
    fn probe(&self) -> Result<(), StoreError> {
        let path = self.path.join("probe");
        let probed = files::create_whole(&path, &vec![0x5a; PROBE_BYTES]).map(drop);
        files::remove(&path)?;
        files::remove(&files::unfinished(&path))?;
        probed
    }

    fn unsynced(&self) -> StoreError {
        let why = "an earlier write could not be made durable; mend the disk, then start again";
        files::io_error("cannot write", &self.path, std::io::Error::other(why))
    }

    fn damaged(&self, id: &TxId, what: &str) -> StoreError {
        StoreError::Damaged {
            path: self.path.display().to_string(),
            offset: 0,
            what: format!("transaction {id} of the outbox: {what}"),
        }
    }
}

fn open_sled(dir: &Path) -> Result<sled::Db, StoreError> {
    files::remove_unfinished_snapshots(dir)?;
    let until = Instant::now() + UNLOCKED_WITHIN;
    loop {
        let opened = fenced("cannot open", dir, || sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).open());
        match opened {
            // A sled that was closed lets go of its file a little later, when its threads have ended.
            Err(error) if error.to_string().contains("could not acquire lock") && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

fn piece_key(id: &TxId, nth: usize) -> Vec<u8> {
    [&id.as_bytes()[..], &[u8::try_from(nth).unwrap_or(u8::MAX)]].concat()
}

impl Outbox for DiskOutbox {
    fn put(&self, transaction: &Transaction) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (nth, piece) in transaction.to_bytes().chunks(PIECE_BYTES).enumerate() {
            batch.insert(piece_key(&transaction.id(), nth), piece);
        }
        self.write(|_| Ok(batch))
    }

    fn remove(&self, ids: &[TxId]) -> Result<(), StoreError> {
        self.write(|db| {
            let mut batch = sled::Batch::default();
            for key in ids.iter().flat_map(|id| db.scan_prefix(id.as_bytes()).keys()) {
                batch.remove(key?);
            }
            Ok(batch)
        })
    }

    fn all(&self) -> Result<Vec<Transaction>, StoreError> {
        let mut whole: Vec<(TxId, Vec<u8>)> = Vec::new();
        self.read(|db| {
            for pair in db.iter() {
                let (key, piece) = pair?;
                let Some((id, [nth])) = key.split_first_chunk::<32>() else {
                    continue;
                };
                match whole.last_mut() {
                    Some((last, bytes)) if *nth > 0 && last.as_bytes() == id => bytes.extend_from_slice(&piece),
                    _ => whole.push((TxId::from_bytes(*id), piece.to_vec())),
                }
            }
            Ok(())
        })?;
        let read = |(id, bytes): &(TxId, Vec<u8>)| match Transaction::from_bytes(&self.network, bytes) {
            Ok(transaction) if transaction.id() == *id => Ok(transaction),
            Ok(_) => Err(self.damaged(id, "its bytes are those of another")),
            Err(error) => Err(self.damaged(id, &error.to_string())),
        };
        whole.iter().map(read).collect()
    }
}
