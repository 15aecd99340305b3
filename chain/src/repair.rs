//! Repair of a damaged log: whatever is whole in it is copied into a new one, and the old one is set aside.
//!
//! A log is never mended in place: a hash chain with another record in it is another chain. So a new log is begun, under
//! a new log id, beside the old one; every transaction that can still be read is verified anew and appended to it, parents
//! first; then the old directory is renamed to `ledger.damaged-N`, never deleted, and the new one takes its place. What is
//! missing then comes from peers, as it does for a newcomer: transactions whose record is gone, their descendants, and
//! those whose body is gone though its lifetime is not over. The copies arrived now, by the new log.
//!
//! The two renames are the only moment at which there is no ledger: [`finish`] completes them after a crash.

use std::path::{Path, PathBuf};

use crate::{
    ids::TxId,
    ledger::{AppendError, Ledger, Refusal},
    network::Network,
    rules,
    store::{
        StoreError,
        disk::{DiskStore, files},
    },
    time::Time,
    transaction::Transaction,
};

mod salvage;

/// Transactions that are made durable in one go.
const BATCH: u64 = 1_024;

/// What a repair did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// Where the old log is now.
    pub set_aside: PathBuf,
    /// Transactions that the new log has.
    pub saved: u64,
    /// Transactions that can be read but not be kept yet: a parent is missing, or a body whose lifetime is not over. They
    /// and those that cannot be read come from peers.
    pub waiting: u64,
}

impl std::fmt::Display for Repaired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the ledger was damaged: {} transactions were saved into a new log, {} more wait for peers to send what they \
             lack, and whatever could not be read comes from peers too; the old log is kept in {}",
            self.saved,
            self.waiting,
            self.set_aside.display()
        )
    }
}

/// Copies what is whole of the ledger in `dir` into a new log with the id `entropy`, 16 random bytes, and puts that in its
/// place. `now`: the system's clock. `progress` is told how many transactions have been saved.
///
/// # Errors
/// [`StoreError::InUse`] when a process has the ledger open; [`StoreError::Io`] when the system refuses a read or a write:
/// the old log is where it was then, or [`finish`] finds the new one.
pub fn repair(
    dir: &Path,
    network: &Network,
    entropy: [u8; 16],
    now: Time,
    progress: &mut dyn FnMut(u64),
) -> Result<Repaired, StoreError> {
    let lock = files::lock(&dir.join("lock"))?;
    let beside = beside(dir);
    files::remove_dir(&beside)?;
    let mut copy = Copy {
        network,
        ledger: Ledger::open(network.clone(), DiskStore::open(&beside, network, entropy)?)?,
        now,
        saved: 0,
        waiting: 0,
        progress,
    };
    salvage::each(dir, network, &mut |transaction| copy.take(transaction))?;
    copy.ledger.flush_now(now)?;
    let (saved, waiting) = (copy.saved, copy.waiting);
    // Closed before it is moved: its files are opened by their names.
    drop(copy);
    let set_aside = set_aside(dir)?;
    drop(lock);
    files::rename(&beside, dir)?;
    Ok(Repaired { set_aside, saved, waiting })
}

/// Completes a repair that was broken off between its two renames, and clears away one that was broken off before.
/// Returns whether a new log was put in its place.
///
/// # Errors
/// [`StoreError::Io`] when the system refuses.
pub fn finish(dir: &Path) -> Result<bool, StoreError> {
    let beside = beside(dir);
    if !beside.is_dir() {
        return Ok(false);
    }
    // The old log is set aside only once the new one is complete.
    if dir.exists() {
        files::remove_dir(&beside)?;
        return Ok(false);
    }
    files::rename(&beside, dir)?;
    Ok(true)
}

/// Where the new log is made.
fn beside(dir: &Path) -> PathBuf {
    files::unfinished(dir)
}

/// Renames the ledger's directory to the next free `…damaged-N`.
fn set_aside(dir: &Path) -> Result<PathBuf, StoreError> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let prefix = format!("{name}.damaged-");
    let names = files::names(dir.parent().unwrap_or(Path::new("")))?;
    let numbers = names.iter().filter_map(|name| name.strip_prefix(&prefix)?.parse::<u64>().ok());
    let to = dir.with_file_name(format!("{prefix}{}", numbers.max().unwrap_or_default().saturating_add(1)));
    files::rename(dir, &to)?;
    Ok(to)
}

/// The new log while it is being filled.
struct Copy<'a> {
    network: &'a Network,
    ledger: Ledger<DiskStore>,
    now: Time,
    saved: u64,
    waiting: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Copy<'_> {
    /// Verifies a transaction and appends it, if it and its parents are whole.
    fn take(&mut self, transaction: Transaction) -> Result<(), StoreError> {
        // One that breaks a rule was never appended by this program.
        let Ok(verified) = rules::verify(self.network, transaction) else {
            return Ok(());
        };
        match self.ledger.append(verified, self.now, false) {
            Ok(_) => {}
            Err(AppendError::Refused(Refusal::UnknownParents(_) | Refusal::BodyMissing)) => {
                self.waiting = self.waiting.saturating_add(1);
                return Ok(());
            }
            Err(AppendError::Refused(Refusal::Known | Refusal::Rule(_))) => return Ok(()),
            Err(AppendError::Store(error)) => return Err(error),
        }
        self.saved = self.saved.saturating_add(1);
        if self.saved.is_multiple_of(BATCH) {
            self.ledger.flush_now(self.now)?;
            (self.progress)(self.saved);
        }
        Ok(())
    }
}

/// Whether an id may be trusted: it is the hash of the header.
fn is_own_id(network: &Network, header: &crate::transaction::Header, id: &TxId) -> bool {
    header.id(network) == *id
}
