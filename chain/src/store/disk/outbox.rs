//! The outbox on disk: a sled database of its own whose commits are acknowledged state (DESIGN §5).
//!
//! sled 0.34's `flush` makes no fsync on Linux, so every commit is a `flush` and an fsync of sled's `db` file. sled
//! puts large pages into files of their own that it never fsyncs; a transaction is therefore kept in pieces of 4 KiB,
//! of which no page can grow that large.

use std::{
    fmt,
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
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
/// The key under which the ledger id stands; all others have 33 bytes: id | number of the piece.
const LEDGER_KEY: &[u8] = b"ledger";

/// Transactions on the stem, on disk.
pub struct DiskOutbox {
    path: PathBuf,
    network: Network,
    db: sled::Db,
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
        let db = fenced("cannot open", dir, || sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).open())?;
        let outbox = Self { path: dir.to_owned(), network: network.clone(), db, _lock: lock };
        outbox.check_ledger(network.ledger())?;
        Ok(outbox)
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        files::bytes_under(&self.path)
    }

    fn check_ledger(&self, ledger: LedgerId) -> Result<(), StoreError> {
        let found = fenced("cannot read", &self.path, || self.db.get(LEDGER_KEY))?;
        match found {
            Some(found) if found.as_ref() == ledger.as_bytes() => Ok(()),
            Some(_) => Err(StoreError::Foreign {
                path: self.path.display().to_string(),
                what: "belongs to another network; choose that one with --network, or another directory with --data"
                    .to_owned(),
            }),
            None => {
                fenced("cannot write", &self.path, || self.db.insert(LEDGER_KEY, ledger.as_bytes().as_slice()))?;
                self.make_durable()?;
                files::sync_dir(&self.path)
            }
        }
    }

    /// `flush`, and the fsync that it leaves out.
    fn make_durable(&self) -> Result<(), StoreError> {
        fenced("cannot write", &self.path, || self.db.flush())?;
        files::sync_file(&self.path.join("db"))
    }

    fn apply(&self, batch: sled::Batch) -> Result<(), StoreError> {
        fenced("cannot write", &self.path, || self.db.apply_batch(batch))?;
        self.make_durable()
    }

    fn damaged(&self, id: &TxId, what: &str) -> StoreError {
        StoreError::Damaged {
            path: self.path.display().to_string(),
            offset: 0,
            what: format!("transaction {id} of the outbox: {what}"),
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
        self.apply(batch)
    }

    fn remove(&self, ids: &[TxId]) -> Result<(), StoreError> {
        let batch = fenced("cannot read", &self.path, || {
            let mut batch = sled::Batch::default();
            for key in ids.iter().flat_map(|id| self.db.scan_prefix(id.as_bytes()).keys()) {
                batch.remove(key?);
            }
            Ok(batch)
        })?;
        self.apply(batch)
    }

    fn all(&self) -> Result<Vec<Transaction>, StoreError> {
        let mut whole: Vec<(TxId, Vec<u8>)> = Vec::new();
        fenced("cannot read", &self.path, || {
            for pair in self.db.iter() {
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
