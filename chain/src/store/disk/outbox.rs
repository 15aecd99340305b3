//! The outbox on disk: a [`Journal`] of its own, since it is acknowledged state (DESIGN §5, decisions 0010 and 0036).
//!
//! The key is a transaction's id, the value its bytes.

use std::{
    fmt,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    files,
    journal::{Changes, Holds, Journal},
};
use crate::{
    ids::TxId,
    network::Network,
    store::{Outbox, StoreError},
    transaction::Transaction,
};

/// Transactions on the stem, on disk.
pub struct DiskOutbox {
    dir: PathBuf,
    network: Network,
    journal: Mutex<Journal>,
    /// Closed last, so that nobody opens what is still being closed.
    _lock: files::Lock,
}

impl fmt::Debug for DiskOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskOutbox").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl DiskOutbox {
    /// Opens the outbox of a network in `dir`, which is made if there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be opened, [`StoreError::InUse`] when another process has it open,
    /// [`StoreError::Foreign`] when it belongs to another network or was written by another version,
    /// [`StoreError::DamagedJournal`] when something of it cannot be read; nothing has been changed then.
    pub fn open(dir: &Path, network: &Network) -> Result<Self, StoreError> {
        files::make_dir(dir)?;
        let lock = files::lock(&dir.join("lock"))?;
        let journal = Mutex::new(Journal::open(dir, Holds::Outbox, network.ledger())?);
        Ok(Self { dir: dir.to_owned(), network: network.clone(), journal, _lock: lock })
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        files::bytes_under(&self.dir)
    }

    /// Whether it holds that transaction.
    pub fn contains(&self, id: &TxId) -> bool {
        self.journal().contains(id.as_bytes())
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transaction(&self, key: &[u8], bytes: &[u8]) -> Result<Transaction, StoreError> {
        let what = match Transaction::from_bytes(&self.network, bytes) {
            Ok(transaction) if transaction.id().as_bytes() == key => return Ok(transaction),
            Ok(transaction) => format!("transaction {} under another id", transaction.id()),
            Err(error) => format!("a transaction does not decode: {error}"),
        };
        Err(StoreError::DamagedJournal { path: self.dir.display().to_string(), offset: 0, what })
    }
}

impl Outbox for DiskOutbox {
    fn put(&self, transaction: &Transaction) -> Result<(), StoreError> {
        let mut changes = Changes::default();
        changes.insert(transaction.id().as_bytes(), &transaction.to_bytes());
        self.journal().commit(&changes)
    }

    fn remove(&self, ids: &[TxId]) -> Result<(), StoreError> {
        let (mut journal, mut changes) = (self.journal(), Changes::default());
        let kept = ids.iter().filter(|id| journal.contains(id.as_bytes()));
        kept.for_each(|id| changes.remove(id.as_bytes()));
        journal.commit(&changes)
    }

    fn all(&self) -> Result<Vec<Transaction>, StoreError> {
        let journal = self.journal();
        let entries = journal.entries(Bound::Unbounded);
        entries.map(|entry| entry.and_then(|(key, bytes)| self.transaction(&key, &bytes))).collect()
    }
}
