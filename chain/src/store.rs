//! Where a ledger keeps its log and its index: the [`Store`] trait, and the stores behind it.
//!
//! A store does three things. It holds the **log**: records in position order, appended and never changed, with their
//! bodies until these are dropped. It indexes by itself **what never changes**: where an id stands, which positions have a
//! tag, the canonical order, the Merkle tree over the log. And it holds **trees**: sorted key-value pairs that the
//! [`Ledger`](crate::Ledger) derives from the log, changes, and can derive again. A batch is staged by [`Store::stage`], is
//! visible to every read at once, and becomes durable, all or nothing, when a [`Flush`] made after it has run. Flushing may
//! run on another thread while more is staged: that is the group commit.
//!
//! Only records and late bodies are acknowledged state. All else follows from them: a flush that made them durable has
//! succeeded, whatever became of the rest, which the store keeps in memory and writes with a later flush. Changes to the
//! trees may reach the disk long after the records that they follow from; when the process dies before, the ledger derives
//! them anew on open, from the [state](Tree::State) on that did reach the disk.
//!
//! A flush that failed changes nothing: everything that was staged stays here and readable, and the next flush writes all
//! of it again. Until one succeeds the store takes no new records, so that memory stays bounded.

use crate::{
    ids::{Depth, LedgerId, Link, Position, TxId},
    time::Time,
    transaction::{Header, Kind, Transaction},
};

pub mod checkpoints;
pub mod disk;
mod error;
pub mod memory;
mod work;

pub use error::StoreError;
pub use work::{Flush, Kept, Upkeep};

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

/// A body for a record that is in the log without one that is sound.
#[derive(Clone, Debug)]
pub struct LateBody {
    /// The record's position.
    pub position: Position,
    /// The record's id.
    pub id: TxId,
    /// The body.
    pub body: Vec<u8>,
    /// First day, counted from 1970, on which the body may be dropped.
    pub body_day: u64,
}

/// Where a transaction stands, and what its children need to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its position.
    pub position: Position,
    /// Its time.
    pub time: Time,
    /// Its depth.
    pub depth: Depth,
}

/// A place in the canonical order: `(time, depth, id)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    /// The transaction's time.
    pub time: Time,
    /// The transaction's depth.
    pub depth: Depth,
    /// The transaction's id.
    pub id: TxId,
}

impl OrderKey {
    /// The place of a record.
    pub fn of(record: &Record) -> Self {
        Self { time: record.header.core().time(), depth: record.depth, id: record.id }
    }
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

/// What of the index changes. Each is a sorted map of its own from byte strings to byte strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tree {
    /// day → count and digest of the transactions of that day, and the digest's state where there are many.
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
            Tree::Days => 4,
            Tree::Blocks => 5,
            Tree::Frontier => 6,
            Tree::State => 7,
        }
    }
}

/// A change to a tree: a new value, or `None` to remove the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which map.
    pub tree: Tree,
    /// The key.
    pub key: Vec<u8>,
    /// The value, or `None` to remove the key.
    pub value: Option<Vec<u8>>,
    /// Whether the key never had a value before: when it is removed before it reached the disk, it leaves no trace there.
    pub fresh: bool,
}

impl Change {
    /// Gives a key a value, whether it had one or not.
    pub fn put(tree: Tree, key: Vec<u8>, value: Vec<u8>) -> Self {
        Self { tree, key, value: Some(value), fresh: false }
    }
    /// Gives a key its first value.
    pub fn put_fresh(tree: Tree, key: Vec<u8>, value: Vec<u8>) -> Self {
        Self { fresh: true, ..Self::put(tree, key, value) }
    }
    /// Removes a key.
    pub fn remove(tree: Tree, key: Vec<u8>) -> Self {
        Self { tree, key, value: None, fresh: false }
    }
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

/// A batch to stage: records in position order, bodies that came late, and the changes to the trees that follow.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Records to append.
    pub records: Vec<NewRecord>,
    /// Bodies of records that are in the log.
    pub late_bodies: Vec<LateBody>,
    /// Changes to the trees, applied in order.
    pub changes: Vec<Change>,
    /// Whether some of the changes do not follow from the log: they then reach the disk with the next flush.
    pub underivable: bool,
}

impl Batch {
    /// A batch of nothing but changes that follow from the log.
    pub fn of_changes(changes: Vec<Change>) -> Self {
        Self { changes, ..Self::default() }
    }
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
    /// Here, but not as it was written; other nodes have it until its lifetime ends.
    Damaged(String),
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
    /// [`StoreError::Failing`] for new records while writes fail. Nothing of the batch is staged then.
    fn stage(&mut self, batch: Batch) -> Result<(), StoreError>;
    /// Stages one record and the changes that go with it: the same as a batch of these, for who does it often.
    ///
    /// # Errors
    /// As [`stage`](Self::stage).
    fn stage_one(&mut self, new: NewRecord, changes: Vec<Change>, underivable: bool) -> Result<(), StoreError> {
        self.stage(Batch { records: vec![new], changes, underivable, ..Batch::default() })
    }
    /// Takes all that is staged, to be made durable under the given commit point. `None` when nothing is to be done.
    /// At most one flush is under way at a time: [`flushed`](Self::flushed) must be called before the next.
    ///
    /// # Errors
    /// [`StoreError`] when the flush cannot be begun; nothing has changed then, and it may be tried again.
    fn flush(&mut self, point: CommitPoint) -> Result<Option<Flush>, StoreError>;
    /// Tells how the flush under way ended. After a failed one all that it was to write is staged again.
    fn flushed(&mut self, success: bool);
    /// Gives the tree over the first so many records, as peaks of an [`Accumulator`](crate::merkle::Accumulator), when a
    /// flush has worked that out since it was last asked: whoever needs it too is spared half of all hashes.
    fn take_peaks(&mut self) -> Option<(u64, Vec<[u8; 32]>)> {
        None
    }
    /// Takes the next step of the work that is done beside the flushes; `None` when there is none to be done, or one is
    /// under way. To be asked again after every flush and after every step. At most one is under way at a time:
    /// [`upkept`](Self::upkept) must be called before the next.
    fn upkeep(&mut self) -> Option<Upkeep> {
        None
    }
    /// The step under way has ended. One that failed is tried again after the next flush that succeeds.
    fn upkept(&mut self) {}
    /// Reads a record; `None` past the end.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    fn record(&self, position: Position) -> Result<Option<Record>, StoreError>;
    /// Reads at most `max` records from `from` on: cheaper than one by one.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read or are damaged.
    fn records(&self, from: Position, max: usize) -> Result<Vec<Record>, StoreError>;
    /// Reads the body of a record, the one that came last. Its hash is checked by the ledger.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    fn body(&self, position: Position) -> Result<Body, StoreError>;
    /// Reads at most `max` entries of the scan column from `from` on.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    fn scan(&self, from: Position, max: usize) -> Result<Vec<ScanEntry>, StoreError>;
    /// Where a transaction stands in the log, if it does.
    ///
    /// # Errors
    /// [`StoreError`] when log or index cannot be read.
    fn find(&self, id: &TxId) -> Result<Option<Found>, StoreError>;
    /// Positions from `from` on of tagged transactions with this tag, ascending, at most `max`.
    ///
    /// # Errors
    /// [`StoreError`] when log or index cannot be read.
    fn tagged(&self, tag: &[u8; 16], from: Position, max: usize) -> Result<Vec<Position>, StoreError>;
    /// At most `max` places in canonical order with their positions: times from `from` up to but not including `to`,
    /// behind `after`.
    ///
    /// # Errors
    /// [`StoreError`] when log or index cannot be read.
    fn in_order(
        &self,
        from: Time,
        to: Time,
        after: Option<OrderKey>,
        max: usize,
    ) -> Result<Vec<(OrderKey, Position)>, StoreError>;
    /// The same for who compares sets: an id may be read without its record's check, so that of a damaged record it may be
    /// wrong. What differs then is looked at again; nothing may rest on such an id.
    ///
    /// # Errors
    /// [`StoreError`] when log or index cannot be read.
    fn places(
        &self,
        from: Time,
        to: Time,
        after: Option<OrderKey>,
        max: usize,
    ) -> Result<Vec<(OrderKey, Position)>, StoreError> {
        self.in_order(from, to, after, max)
    }
    /// Ids and positions of all records with times from `from` up to but not including `to`, in any order.
    ///
    /// # Errors
    /// [`StoreError`] when log or index cannot be read.
    fn ids_between(&self, from: Time, to: Time) -> Result<Vec<(TxId, Position)>, StoreError> {
        let places = self.in_order(from, to, None, usize::MAX)?;
        Ok(places.into_iter().map(|(key, position)| (key.id, position)).collect())
    }
    /// Ids of the records at these positions, in their order; `None` when one is not there. They may be read without their
    /// records' checks, like those of [`places`](Self::places): nothing may rest on such an id.
    ///
    /// # Errors
    /// [`StoreError`] when the log cannot be read.
    fn ids_at(&self, positions: &[Position]) -> Result<Option<Vec<TxId>>, StoreError> {
        positions.iter().map(|position| Ok(self.record(*position)?.map(|record| record.id))).collect()
    }
    /// Keeps bytes about a block that follow from the log, in place of those that were kept of it before, so that a proof
    /// need not read all of the block. They may be lost, or not be kept at all: the ledger then makes them anew. It
    /// relies on nothing in them that it has not checked.
    fn keep_block(&mut self, number: u64, bytes: &[u8]) {
        let _ = (number, bytes);
    }
    /// What is kept of a block; `None` when nothing is.
    fn kept_block(&self, number: u64) -> Option<Kept> {
        let _ = number;
        None
    }
    /// Root of the perfect subtree over the records `index·2^level` up to, but not including, `(index+1)·2^level`, of the
    /// Merkle tree over the log; level 0 is a leaf. All these records must be in the log.
    ///
    /// # Errors
    /// [`StoreError`] when log or index cannot be read, or the log does not reach that far.
    fn node(&self, ledger: LedgerId, level: u32, index: u64) -> Result<[u8; 32], StoreError>;
    /// Reads a value of a tree.
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
    /// Sets the trees aside and starts empty ones, to be derived anew.
    ///
    /// # Errors
    /// [`StoreError`] when the old ones cannot be set aside.
    fn reset_trees(&mut self) -> Result<(), StoreError>;
    /// Sets aside the trees and all that the store indexes by itself, and derives the latter from the log. `progress` is told how many records
    /// are done, and of how many.
    ///
    /// # Errors
    /// [`StoreError`] when the old index cannot be set aside, or the log cannot be read.
    fn reset_index(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError>;
    /// Bytes that this store occupies on disk: headers, bodies, scan column and index.
    fn disk(&self) -> DiskUse;
}

/// What is asked for has no record yet.
fn beyond_the_log(path: &str, position: u64) -> StoreError {
    let what = "the log does not reach that far".to_owned();
    StoreError::Damaged { path: path.to_owned(), offset: position, what }
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

/// One file of bodies: they go file by file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyPart {
    /// The day on which its bodies go for their age, counted from 1970.
    pub day: u64,
    /// Its number among the files of that day, from 0.
    pub nth: u32,
    /// Its bytes, as things stand.
    pub bytes: u64,
}

/// What bodies take, and how far they have gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyUse {
    /// Bytes of all bodies, staged ones included.
    pub bytes: u64,
    /// The first day that has bodies, counted from 1970: they go next. And the bytes that they take.
    pub next: Option<(u64, u64)>,
    /// The file of bodies that goes first when there is no room.
    pub next_part: Option<BodyPart>,
    /// The last day that bodies were dropped of to keep to a disk budget.
    pub early_until: Option<u64>,
}
