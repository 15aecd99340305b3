//! Where a ledger keeps its log and its index: the [`Store`] trait, and the stores behind it.
//!
//! A store does two things. It holds the **log**: records in position order, appended and never changed, with
//! their bodies until these are dropped. And it holds the **index**: sorted key-value pairs that the
//! [`Ledger`](crate::Ledger) derives from the log and can derive again. A batch of both is staged by [`Store::stage`],
//! is visible at once, and becomes durable, all or nothing, when a [`Flush`] made after it has run.
//! Flushing may run on another thread while more is staged: that is the group commit.

use crate::{
    ids::{Depth, Link, Position, TxId},
    time::Time,
    transaction::{Header, Kind, Transaction},
};

pub mod disk;
pub mod memory;

/// A transaction as the log holds it. The header, the arrival and the depth are never dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The transaction's id, as it was when the record was written.
    pub id: TxId,
    /// When this node received it, by its own clock.
    pub arrival: Time,
    /// 1 + the greatest depth among the parents.
    pub depth: Depth,
    /// The header.
    pub header: Header,
}

/// A record and the body that goes with it, to be appended.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// The record.
    pub record: Record,
    /// The body, if it is here.
    pub body: Option<Vec<u8>>,
    /// First day, counted from 1970, on which the body may be dropped.
    pub body_day: u64,
    /// The author's key as a Montgomery u coordinate, for the scan column.
    pub author_u: [u8; 32],
}

/// One entry of the scan column: what a scan or a light client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanEntry {
    /// How the envelope is found.
    pub kind: Kind,
    /// The envelope's hint or tag.
    pub hint: [u8; 16],
    /// The author's key as a Montgomery u coordinate (RFC 7748).
    pub author_u: [u8; 32],
    /// Whether the body was here when the entry was written.
    pub has_body: bool,
}

/// Parts of the index. Each is a sorted map of its own from byte strings to byte strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tree {
    /// id → position.
    Ids,
    /// tag | position → nothing.
    Tags,
    /// time | depth | id → position: the canonical order.
    Order,
    /// day → count, digest and digest state of the transactions of that day.
    Days,
    /// hour → count, root and chain of that block; empty while they are to be computed anew.
    Blocks,
    /// Frontier: tips and those that wait to settle.
    Frontier,
    /// The state that stands at the end of the log.
    State,
}

impl Tree {
    /// The byte that keys of this tree begin with where trees share one map.
    pub const fn prefix(self) -> u8 {
        match self {
            Tree::Ids => 1,
            Tree::Tags => 2,
            Tree::Order => 3,
            Tree::Days => 4,
            Tree::Blocks => 5,
            Tree::Frontier => 6,
            Tree::State => 7,
        }
    }
}

/// A change to the index: a new value, or `None` to remove the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which map.
    pub tree: Tree,
    /// The key.
    pub key: Vec<u8>,
    /// The value, or `None` to remove the key.
    pub value: Option<Vec<u8>>,
}

/// What the end of a commit says of the log so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPoint {
    /// Records in the log.
    pub count: u64,
    /// The link after the last of them.
    pub link: Link,
    /// The own clock at the commit.
    pub time: Time,
}

/// A batch to stage: records in position order, and the changes to the index that follow from them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Records to append.
    pub records: Vec<NewRecord>,
    /// Changes to the index, applied in order.
    pub changes: Vec<Change>,
}

/// What a body is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Here.
    Present(Vec<u8>),
    /// Never came; or is lost, which an audit tells apart.
    Absent,
    /// Was here, and was dropped.
    Dropped {
        /// The first day, counted from 1970, on which it was to go for its age.
        day: u64,
        /// Whether it may have gone before that day, to keep to a disk budget.
        early: bool,
    },
}

/// What went wrong below the ledger.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused a read or a write.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was being done, as a verb: "cannot read".
        what: &'static str,
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Bytes on disk are not what was written.
    #[error(
        "damaged: {path} at byte {offset}: {what}; run `qasedak audit verify` to see all damage, and keep the file"
    )]
    Damaged {
        /// The file.
        path: String,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// Another process has the directory open.
    #[error(
        "{path} is in use by another qasedak process; stop that one first, or choose another directory with --data"
    )]
    InUse {
        /// The directory.
        path: String,
    },
    /// The files belong to another network or were written by a newer version.
    #[error("{path}: {what}")]
    Foreign {
        /// The file.
        path: String,
        /// What it is instead.
        what: String,
    },
    /// The index failed.
    #[error("index {path}: {what}; the log is unharmed, and the index can be made anew from it")]
    Index {
        /// The index directory.
        path: String,
        /// What the index said.
        what: String,
    },
    /// A flush failed: what was staged cannot be acknowledged, and this store takes no more.
    #[error("an earlier write failed, so nothing more is accepted; free space or mend the disk, then start again")]
    Poisoned,
}

/// Work that makes durable what was staged before it was made. Runs on any thread, once.
pub struct Flush(Box<dyn FnOnce() -> Result<(), StoreError> + Send>);

impl Flush {
    /// Wraps the work.
    pub fn new(work: impl FnOnce() -> Result<(), StoreError> + Send + 'static) -> Self {
        Self(Box::new(work))
    }
    /// Does the work; when it returns `Ok`, all of it is on disk.
    ///
    /// # Errors
    /// [`StoreError`] when any write or fsync failed: nothing of it may be acknowledged.
    pub fn run(self) -> Result<(), StoreError> {
        (self.0)()
    }
}

impl std::fmt::Debug for Flush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flush")
    }
}

/// A key of the index and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Sorted pairs of an index range.
pub type Pairs = Vec<Pair>;

/// A log with an index. See the module's page for the contract.
pub trait Store {
    /// Records in the log, staged ones included.
    fn len(&self) -> u64;
    /// Whether the log holds nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The last commit that is durable, `None` for a new log.
    fn last_commit(&self) -> Option<CommitPoint>;
    /// Stages a batch: visible to every read from now on, durable after a flush.
    ///
    /// # Errors
    /// [`StoreError`] when bodies cannot be written; then nothing of the batch is staged.
    fn stage(&mut self, batch: Batch) -> Result<(), StoreError>;
    /// Takes all that is staged, to be made durable under the given commit point. `None` when nothing is staged.
    /// At most one flush is under way at a time: [`flushed`](Self::flushed) must be called before the next.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] after a failed flush.
    fn flush(&mut self, point: CommitPoint) -> Result<Option<Flush>, StoreError>;
    /// Tells how the flush under way ended.
    fn flushed(&mut self, success: bool);
    /// Reads a record; `None` past the end.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    fn record(&self, position: Position) -> Result<Option<Record>, StoreError>;
    /// Reads the body of a record. Its hash is checked by the ledger.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    fn body(&self, position: Position) -> Result<Body, StoreError>;
    /// Reads at most `max` entries of the scan column from `from` on.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    fn scan(&self, from: Position, max: usize) -> Result<Vec<ScanEntry>, StoreError>;
    /// Reads a value of the index.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Reads at most `max` pairs with keys from `from` (included) up to `to` (excluded), ascending.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    fn range(&self, tree: Tree, from: &[u8], to: &[u8], max: usize) -> Result<Pairs, StoreError>;
    /// The pair with the greatest key below `to`.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    fn last_before(&self, tree: Tree, to: &[u8]) -> Result<Option<Pair>, StoreError>;
    /// Drops bodies whose [`body_day`](NewRecord::body_day) is before `day`, a bounded number of files in one call;
    /// returns how many went. To be called again until none goes.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be removed.
    fn drop_bodies_before(&mut self, day: u64) -> Result<usize, StoreError>;
    /// Drops bodies until all of them take at most `budget` bytes, those first whose day comes first, a bounded number of
    /// files in one call; returns how many went. What is staged counts too.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be removed.
    fn drop_bodies_over(&mut self, budget: u64) -> Result<usize, StoreError>;
    /// What bodies take, and how far they have gone.
    fn bodies(&self) -> BodyUse;
    /// Sets the whole index aside and starts an empty one, to be derived anew.
    ///
    /// # Errors
    /// [`StoreError`] when the old index cannot be set aside.
    fn reset_index(&mut self) -> Result<(), StoreError>;
    /// Bytes that this store occupies on disk: headers, bodies, scan column and index.
    fn disk(&self) -> DiskUse;
}

/// Own and relayed transactions that are not part of the ledger yet (DESIGN §7, Stem). Acknowledged state: what
/// [`put`](Self::put) accepted survives a power cut.
pub trait Outbox: Send + Sync {
    /// Keeps a transaction; on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be made durable.
    fn put(&self, transaction: &Transaction) -> Result<(), StoreError>;
    /// Lets transactions go that the ledger has durably.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails; they may then still be here after a restart, which does no harm.
    fn remove(&self, ids: &[TxId]) -> Result<(), StoreError>;
    /// All that is kept, in order of id.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    fn all(&self) -> Result<Vec<Transaction>, StoreError>;
}

/// Bytes on disk, by what uses them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Header segments.
    pub headers: u64,
    /// Bodies.
    pub bodies: u64,
    /// Scan column.
    pub scan: u64,
    /// Index.
    pub index: u64,
}

/// What bodies take, and how far they have gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyUse {
    /// Bytes of all bodies, staged ones included.
    pub bytes: u64,
    /// The first day that has bodies, counted from 1970: they go next. And the bytes that they take.
    pub next: Option<(u64, u64)>,
    /// The last day that bodies were dropped of to keep to a disk budget.
    pub early_until: Option<u64>,
}
