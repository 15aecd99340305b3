//! The check of a whole ledger from its files alone (DESIGN §6, *verify*): header segments, bodies, columns; no index,
//! no lock, and a node may be running on them.
//!
//! What is checked: file headers, every record's check, encoding, ids, stamps and signatures, parents, times, depths,
//! links against every commit marker and every own checkpoint, bodies, the scan and offset columns. What stands behind the last commit marker of
//! a running node is unfinished, no damage; but the columns are written only after a commit, so what they tell of was
//! committed once, and must be readable. Nothing is changed on disk. Memory: about 150 bytes a transaction.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{
    block::Block,
    checkpoint::SignedCheckpoint,
    ids::{Digest, Link, Position, Root, TxId},
    network::Network,
    store::StoreError,
    time::Time,
};

mod export;
mod files;
mod finding;
mod late;
mod record;
mod run;
mod stated;
mod tally;
mod walk;

pub use export::{ExportError, Exported, export};
pub use finding::{Problem, Remedy};
use record::Fate;

/// Most findings that a report lists; further ones are counted.
pub const FINDINGS_MAX: usize = 1_000;

/// One thing that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, relative to the ledger's directory.
    pub file: String,
    /// Where in the file, in bytes from its start.
    pub offset: u64,
    /// The position of the transaction that is touched, where known.
    pub position: Option<Position>,
    /// The id of the transaction that is touched, where known.
    pub id: Option<TxId>,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.position, self.id) {
            (Some(position), Some(id)) => write!(f, "position {position}, id {id}: ")?,
            (Some(position), None) => write!(f, "position {position}: ")?,
            (None, Some(id)) => write!(f, "id {id}: ")?,
            (None, None) => {}
        }
        write!(f, "{} ({} at byte {})", self.problem, self.file, self.offset)
    }
}

/// What became of the bodies: which can be shown, and which no longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyCount {
    /// Here, and matching their headers.
    pub present: u64,
    /// Of these, those whose day has come: an archive keeps them, another node drops them soon.
    pub past_their_day: u64,
    /// Dropped when their day had come.
    pub expired: u64,
    /// Dropped before their day, which is still to come, to keep to a disk budget.
    pub dropped_early: u64,
    /// Never came: the transaction was taken in as a header alone.
    pub never_came: u64,
}

impl BodyCount {
    /// Transactions whose body cannot be shown, though nothing is wrong with that.
    pub fn absent(&self) -> u64 {
        self.expired.saturating_add(self.dropped_early).saturating_add(self.never_came)
    }

    fn add(&mut self, fate: Fate) {
        let count = match fate {
            Fate::Here => &mut self.present,
            Fate::Kept => {
                self.past_their_day = self.past_their_day.saturating_add(1);
                &mut self.present
            }
            Fate::NeverCame => &mut self.never_came,
            Fate::Expired => &mut self.expired,
            Fate::Early => &mut self.dropped_early,
        };
        *count = count.saturating_add(1);
    }
}

/// What the node's own checkpoints say of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnWord {
    /// Own checkpoints of this log that were compared with it.
    pub compared: u64,
    /// The newest of these: of how many transactions, and when.
    pub newest: Option<(u64, Time)>,
    /// Own checkpoints of other logs: those before a repair, or before a new peer key.
    pub of_other_logs: u64,
}

/// How far an audit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Records that have been checked.
    pub checked: u64,
    /// Records that there are, by what the columns told when the audit began; never less than `checked`. A running node
    /// may add to them.
    pub total: u64,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Transactions in the log up to the last commit.
    pub count: u64,
    /// The link after the last of them.
    pub link: Link,
    /// Merkle root over their ids in log order. With findings: over the ids that could be read.
    pub root: Root,
    /// Digest of their set. With findings: of those that could be read.
    pub digest: Digest,
    /// Derived blocks, those of future hours included.
    pub blocks: u64,
    /// The last block whose hour has begun.
    pub newest_block: Option<Block>,
    /// What became of the bodies.
    pub bodies: BodyCount,
    /// What the node's own checkpoints say of the log.
    pub own_word: OwnWord,
    /// Entries of the scan column that were compared. Fewer than `count` is no damage: the column can be made anew.
    pub scan_entries: u64,
    /// Bytes behind the last commit marker: what a running node is writing, or what a crash left.
    pub unfinished_tail_bytes: u64,
    /// What is wrong, at most [`FINDINGS_MAX`] of it, in log order.
    pub findings: Vec<Finding>,
    /// All that is wrong, also beyond those listed.
    pub findings_total: u64,
    /// The most that is to be done about any of it.
    pub remedy: Option<Remedy>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings_total == 0
    }
}

/// Why an audit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// There is no ledger in the directory.
    #[error("{path}: there is no ledger here; check --data and --network")]
    NoLedger {
        /// The directory.
        path: String,
    },
    /// The files cannot be read, or belong to another network or a newer version.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks the whole ledger in `dir`. `now`: the system's clock. `progress` is told again and again how far it is.
///
/// # Errors
/// [`AuditError`] when there is nothing to check or the system refuses to read it. Damage is no error: it is in the
/// report.
pub fn verify(
    dir: &Path,
    network: &Network,
    now: Time,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, AuditError> {
    verify_against(dir, network, &[], now, progress)
}

/// The same, and that the log is the one which its node has stated in `own`, its own checkpoints: those of other logs are
/// left out. They are to be read before this is called, so that a running node never states more than is found.
///
/// # Errors
/// As [`verify`].
pub fn verify_against(
    dir: &Path,
    network: &Network,
    own: &[SignedCheckpoint],
    now: Time,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, AuditError> {
    run::Run::new(PathBuf::from(dir), network.clone(), own, now)?.finish(progress)
}
