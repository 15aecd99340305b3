//! The ledger: one network's transactions as one node holds them, and everything derived from them.
//!
//! Pure logic over a [`Store`]: time and randomness are arguments, and there is no IO but what the store does.
//! Invariants: parents stand before children; `link`, `root` and `digest` are those of exactly the
//! records in the log; the index can be derived from the log at any time, and is brought up to date from it on open.

use std::{collections::BTreeSet, sync::OnceLock};

use crate::{
    block::Block,
    ids::{Depth, Digest, Link, Position, Root, TxId},
    network::Network,
    retention::{self, Keep},
    rules::{self, Parent, ParentsError, RuleError, Verified},
    store::{
        Batch, Body, Change, CommitPoint, DiskUse, Flush, NewRecord, Record, ScanEntry, Store, StoreError, Tree, Upkeep,
    },
    time::{DAY_SECS, HOUR_SECS, Time, own_clock},
    transaction::{Core, PARENTS_MAX, Transaction},
};

mod blocks;
mod blocks_tree;
mod check;
mod days;
pub(crate) mod digests;
mod frontier;
mod kept;
mod keys;
mod late;
mod open;
mod parents;
mod paths;
mod prove;
mod retain;
pub(crate) mod state;
mod statement;
mod tips;

pub use crate::store::OrderKey;
pub use blocks::Refreshed;
pub use blocks_tree::BlockPath;
pub use check::IndexCheck;
pub use days::DaySummary;
use digests::Digests;
pub use late::{Attached, MISSING_SCANNED_MAX, Missing};
pub use prove::{ProveError, Proved, Witnesses};
pub use retain::{Pruned, Retained};
use state::State;
pub use statement::public_log_id;

/// One network's transactions in a store.
#[derive(Debug)]
pub struct Ledger<S> {
    network: Network,
    store: S,
    state: State,
    /// What the state comes to, once somebody has asked: it takes some 75 hash compressions, and peers ask often.
    summary: OnceLock<Summary>,
    digests: Digests,
    /// Records were appended that the index has not been told of.
    news: bool,
    /// Whose the last step of upkeep was, and whether it is under way.
    turn: Turn,
    keeping: bool,
    tips: tips::Tips,
    /// No transaction that waits to settle is due before this.
    next_due: Time,
    /// Own transactions that must not become parents yet, since too few peers are known to hold them.
    held_back: BTreeSet<TxId>,
    /// Hours whose block is to be computed anew.
    stale_hours: BTreeSet<u64>,
    /// Large blocks that were computed before their hour had ended: then they are kept for proofs.
    unkept_hours: BTreeSet<u64>,
    blocks_tree: blocks_tree::BlocksTree,
    /// The latest moment that the own clock has shown: it never runs backwards, whatever the system's does.
    latest: Time,
    /// How long bodies are kept.
    keep: Keep,
}

/// Whose step of upkeep it is. They take turns, so that neither waits for the other without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Store,
    Digests,
}

/// Why a transaction was not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is in the log already.
    Known,
    /// Some parents are not; they may still come.
    UnknownParents(Vec<TxId>),
    /// Its lifetime is not over, so it is accepted with its body, or once that was looked for.
    BodyMissing,
    /// It breaks a rule.
    Rule(RuleError),
}

/// Why an append did not happen.
#[derive(Debug)]
pub enum AppendError {
    /// The transaction was refused.
    Refused(Refusal),
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for AppendError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What describes a whole log in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Transactions in the log.
    pub count: u64,
    /// The link after the last.
    pub link: Link,
    /// Merkle root over the ids in log order.
    pub root: Root,
    /// Digest of the set: equal on any two nodes that hold the same set.
    pub digest: Digest,
}

impl<S: Store> Ledger<S> {
    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }
    /// The store, for reading.
    pub fn store(&self) -> &S {
        &self.store
    }
    /// The node's own clock for a system clock of `system`.
    pub fn clock(&self, system: Time) -> Time {
        own_clock(system, self.latest)
    }
    /// Count, link, root and digest of the log.
    pub fn summary(&self) -> Summary {
        *self.summary.get_or_init(|| self.state.summary(self.digests.digest()))
    }
    /// Bytes on disk.
    pub fn disk(&self) -> DiskUse {
        self.store.disk()
    }

    /// Where a transaction stands in the log, if it does.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn position(&self, id: &TxId) -> Result<Option<Position>, StoreError> {
        Ok(self.store.find(id)?.map(|found| found.position))
    }

    /// The record at a position.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read, or its header does not hash to its id.
    pub fn record(&self, position: Position) -> Result<Option<Record>, StoreError> {
        let record = self.store.record(position)?;
        record.map(|record| self.checked(position, record)).transpose()
    }

    /// At most `max` records from a position on: cheaper than one by one.
    ///
    /// # Errors
    /// [`StoreError`] when one cannot be read, or its header does not hash to its id.
    pub fn records(&self, from: Position, max: usize) -> Result<Vec<Record>, StoreError> {
        let records = (from.get()..).zip(self.store.records(from, max)?);
        records.map(|(position, record)| self.checked(Position::new(position), record)).collect()
    }

    fn checked(&self, position: Position, record: Record) -> Result<Record, StoreError> {
        if record.header.id(&self.network) == record.id {
            return Ok(record);
        }
        Err(StoreError::Damaged {
            path: "log".to_owned(),
            offset: position.get(),
            what: format!("the header at position {position} does not hash to its id {}", record.id),
        })
    }

    /// The whole transaction at a position, with its body when that is here.
    ///
    /// # Errors
    /// [`StoreError`] when record or body cannot be read or are damaged.
    pub fn transaction(&self, position: Position) -> Result<Option<Transaction>, StoreError> {
        let Some(record) = self.record(position)? else {
            return Ok(None);
        };
        let body = match self.store.body(position)? {
            Body::Present(body) => Some(body),
            Body::Absent | Body::Dropped { .. } => None,
            Body::Damaged(what) => return Err(damaged_body(position, &record.id, &what)),
        };
        let id = record.id;
        let whole = Transaction::new(&self.network, record.header, body);
        whole.map(Some).map_err(|error| damaged_body(position, &id, &error.to_string()))
    }

    /// Entries of the scan column, from `from` on.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub fn scan(&self, from: Position, max: usize) -> Result<Vec<ScanEntry>, StoreError> {
        self.store.scan(from, max)
    }

    /// Positions of tagged transactions with this tag, at most `max`, in log order.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn tagged(&self, tag: &[u8; 16], max: usize) -> Result<Vec<Position>, StoreError> {
        self.store.tagged(tag, Position::new(0), max)
    }

    /// The same from a position on.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn tagged_from(&self, tag: &[u8; 16], from: Position, max: usize) -> Result<Vec<Position>, StoreError> {
        self.store.tagged(tag, from, max)
    }

    /// At most `max` places in canonical order, with times from `from` up to but not including `to`, behind `after`.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn in_order(
        &self,
        from: Time,
        to: Time,
        after: Option<OrderKey>,
        max: usize,
    ) -> Result<Vec<OrderKey>, StoreError> {
        Ok(self.store.in_order(from, to, after, max)?.into_iter().map(|(key, _)| key).collect())
    }

    /// The same with the positions, for who compares sets: of a damaged record the id may be wrong ([`Store::places`]).
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn places(
        &self,
        from: Time,
        to: Time,
        after: Option<OrderKey>,
        max: usize,
    ) -> Result<Vec<(OrderKey, Position)>, StoreError> {
        self.store.places(from, to, after, max)
    }

    /// Checks a verified transaction against the log and appends it. Visible at once, durable after a flush.
    ///
    /// `own` marks a transaction of this node: on `main` it becomes no parent until
    /// [`known_to_be_held`](Self::known_to_be_held) says so.
    ///
    /// # Errors
    /// [`AppendError`]; nothing has changed then.
    pub fn append(&mut self, verified: Verified, system: Time, own: bool) -> Result<Position, AppendError> {
        self.take_in(verified, system, own, false)
    }

    /// The same for a transaction of others whose body is not here, although its lifetime may not be over: whoever calls
    /// this has looked for the body and goes on looking (decision 0040).
    ///
    /// # Errors
    /// [`AppendError`]; nothing has changed then.
    pub fn append_header_alone(&mut self, verified: Verified, system: Time) -> Result<Position, AppendError> {
        self.take_in(verified, system, false, true)
    }

    fn take_in(&mut self, verified: Verified, system: Time, own: bool, alone: bool) -> Result<Position, AppendError> {
        let now = self.clock(system);
        let depth = self.admit(verified.transaction(), now, alone)?;
        let author_u = *verified.author_u();
        let (id, position) = (verified.transaction().id(), Position::new(self.state.count()));
        let (header, body) = verified.into_transaction().into_parts();
        let (core, time) = (header.core(), header.core().time());
        self.load_day(time.day())?;
        let settles = self.settles_at_once(core, now);
        // The record goes to the store before its parents stop being tips: a store that refuses it changes nothing.
        let mut parents = [self.network.genesis(); PARENTS_MAX];
        parents.iter_mut().zip(core.parents()).for_each(|(to, parent)| *to = *parent);
        let parent_count = core.parents().len();
        let stale = self.mark_stale(time.hour());
        let newly_stale = stale.is_some();
        let waits = (!settles).then(|| self.waits_to_settle(position, core, now));
        let underivable = own && self.network.is_main();
        let held_back = underivable.then(|| self.hold_back(id));
        let changes = [stale, waits, held_back].into_iter().flatten().collect();
        let body_day = retention::body_day(core, now);
        let record = Record { id, arrival: now, depth, header };
        let new = NewRecord { body_day, body, record, author_u };
        if let Err(error) = self.store.stage_one(new, changes, underivable) {
            self.held_back.remove(&id);
            self.digests.unload_empty_day(time.day());
            if newly_stale {
                self.stale_hours.remove(&time.hour());
            }
            return Err(error.into());
        }
        self.advance(&id, time.day());
        self.latest = now;
        if settles {
            self.becomes_tip(&id, time, parents.get(..parent_count).unwrap_or_default());
        }
        Ok(position)
    }

    /// The checks that need the log; returns the depth. `alone`: the header may come without its body at any time.
    fn admit(&self, transaction: &Transaction, now: Time, alone: bool) -> Result<Depth, AppendError> {
        if self.position(&transaction.id())?.is_some() {
            return Err(AppendError::Refused(Refusal::Known));
        }
        let depth = self.check_parents(transaction.core())?;
        if transaction.body().is_none() && !alone && !rules::body_may_be_absent(transaction.core(), now) {
            return Err(AppendError::Refused(Refusal::BodyMissing));
        }
        Ok(depth)
    }

    fn check_parents(&self, core: &Core) -> Result<Depth, AppendError> {
        let mut failed = None;
        let depth = rules::check_parents(&self.network, core, |id| {
            self.parent(id).unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        });
        if let Some(error) = failed {
            return Err(AppendError::Store(error));
        }
        depth.map_err(|error| {
            AppendError::Refused(match error {
                ParentsError::Unknown(ids) => Refusal::UnknownParents(ids),
                ParentsError::Rule(rule) => Refusal::Rule(rule),
            })
        })
    }

    fn parent(&self, id: &TxId) -> Result<Option<Parent>, StoreError> {
        Ok(self.store.find(id)?.map(|found| Parent { time: found.time, depth: found.depth }))
    }

    /// Takes one staged record into the running values. Cannot fail: its day is loaded before it is staged.
    fn advance(&mut self, id: &TxId, day: u64) {
        self.state.push(id);
        self.digests.push(day, id);
        self.summary.take();
        self.news = true;
    }

    /// Takes all that was appended since the last flush, to be made durable. `None` when there is nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the store takes no more.
    pub fn flush(&mut self, now: Time) -> Result<Option<Flush>, StoreError> {
        self.make_room();
        // What settles now never reaches the disk as waiting. Who draws parents meets the failure that this meets.
        drop(self.settle(now));
        self.digests.take_in_few();
        self.tell_index()?;
        let point = CommitPoint { count: self.state.count(), link: self.state.link(), time: self.clock(now) };
        let flush = self.store.flush(point)?;
        if flush.is_some() {
            self.latest = point.time;
        }
        Ok(flush)
    }

    /// Hands the store what the index is to be told, all of it as of the same record.
    fn tell_index(&mut self) -> Result<(), StoreError> {
        let mut changes = self.take_day_changes();
        if self.news || !changes.is_empty() {
            let state = self.state.to_bytes(self.digests.whole());
            changes.push(Change::put(Tree::State, keys::STATE.to_vec(), state));
            self.news = false;
        }
        changes.extend(self.tips.take_changes());
        self.store.stage(Batch::of_changes(changes))
    }

    /// Tells how the flush ended. After a failed one all of it is tried again with the next, and until one succeeds no new
    /// transaction is taken in.
    pub fn flushed(&mut self, success: bool) {
        self.store.flushed(success);
        match self.store.take_peaks() {
            Some((count, peaks)) => self.state.tree_is(count, peaks),
            None => self.state.grow_tree(),
        }
    }

    /// The next step of what is done beside the flushes, so that none of them waits for it; `None` when there is nothing
    /// to be done, or a step is under way. To be asked again after every flush and every step.
    pub fn upkeep(&mut self) -> Option<Upkeep> {
        if self.keeping {
            return None;
        }
        let (turn, step) = match self.turn {
            Turn::Store => self.step_of(Turn::Digests).or_else(|| self.step_of(Turn::Store)),
            Turn::Digests => self.step_of(Turn::Store).or_else(|| self.step_of(Turn::Digests)),
        }?;
        (self.turn, self.keeping) = (turn, true);
        Some(step)
    }

    fn step_of(&mut self, turn: Turn) -> Option<(Turn, Upkeep)> {
        let step = match turn {
            Turn::Store => self.store.upkeep(),
            Turn::Digests => self.digests.begin_step(),
        };
        step.map(|step| (turn, step))
    }

    /// Tells that the step under way has ended.
    pub fn upkept(&mut self) {
        match self.turn {
            Turn::Store => self.store.upkept(),
            Turn::Digests => self.digests.end_step(),
        }
        self.keeping = false;
    }

    /// Flushes on this thread and waits for it, and for all upkeep: for tools and tests; a node does both beside its work.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be made durable.
    pub fn flush_now(&mut self, now: Time) -> Result<(), StoreError> {
        if let Some(flush) = self.flush(now)? {
            let result = flush.run();
            self.flushed(result.is_ok());
            result?;
        }
        self.upkeep_now();
        // What the digests lacked they have now, so that whoever opens the ledger next does not work it out again.
        self.tell_index()
    }

    fn upkeep_now(&mut self) {
        while let Some(upkeep) = self.upkeep() {
            upkeep.run();
            self.upkept();
        }
    }

    /// Ids of the block of an hour, ascending.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn block_ids(&self, number: u64) -> Result<Vec<TxId>, StoreError> {
        Ok(self.block_places(number)?.into_iter().map(|(id, _)| id).collect())
    }

    /// The same with the positions.
    fn block_places(&self, number: u64) -> Result<Vec<(TxId, Position)>, StoreError> {
        let from = Time::from_secs(number.saturating_mul(HOUR_SECS));
        let to = Time::from_secs(number.saturating_add(1).saturating_mul(HOUR_SECS));
        let mut places = self.store.ids_between(from, to)?;
        places.sort_unstable();
        Ok(places)
    }

    /// The newest block: the last one whose hour has begun by the clock `now`.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn newest_block(&mut self, now: Time) -> Result<Option<Block>, StoreError> {
        self.last_block_before(now.hour().saturating_add(1))
    }

    /// Range of times of a day.
    fn day_range(day: u64) -> (Time, Time) {
        let start = day.saturating_mul(DAY_SECS);
        (Time::from_secs(start), Time::from_secs(start.saturating_add(DAY_SECS)))
    }

    /// Places of one day in canonical order, behind `after`, at most `max`.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn day_order(&self, day: u64, after: Option<OrderKey>, max: usize) -> Result<Vec<OrderKey>, StoreError> {
        let (from, to) = Self::day_range(day);
        self.in_order(from, to, after, max)
    }
}

fn damaged_body(position: Position, id: &TxId, what: &str) -> StoreError {
    let what = format!("position {position}, id {id}: {what}");
    StoreError::Damaged { path: "bodies".to_owned(), offset: position.get(), what }
}
