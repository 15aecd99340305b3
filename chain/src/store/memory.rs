//! A deterministic store in memory, for tests and the simulator. It forgets what was not flushed when told to crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Batch, Body, BodyPart, BodyUse, CommitPoint, DiskUse, Flush, Found, Kept, NewRecord, OrderKey, Outbox, Pair, Pairs,
    Record, ScanEntry, Store, StoreError, Tree,
};
use crate::{
    ids::{Depth, LedgerId, Position, TxId},
    merkle,
    time::Time,
    transaction::{Kind, Transaction},
};

type Index = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;
/// Values that were changed, as they were; `None` where there was none.
type Before = BTreeMap<(Tree, Vec<u8>), Option<Vec<u8>>>;

/// Log and index in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    log: Vec<NewRecord>,
    /// What never changes, indexed.
    ids: BTreeMap<TxId, Found>,
    tags: BTreeSet<([u8; 16], u64)>,
    order: BTreeMap<OrderKey, u64>,
    trees: Index,
    /// What is kept of blocks. A crash loses it.
    blocks: BTreeMap<u64, Arc<Vec<u8>>>,
    /// Positions whose body came late and is not durable yet, with what was there before.
    late: Vec<(Position, Option<Vec<u8>>)>,
    /// What would survive a crash.
    durable: Durable,
    /// What stood in the trees where they changed since the last flush began.
    before: Before,
    flushing: Option<Flushing>,
    /// The last flush failed, and none has succeeded since.
    failing: bool,
    /// The first day whose bodies have not been dropped.
    kept_from: u64,
    /// The first day whose bodies have not been dropped for want of room.
    early_from: u64,
}

/// Length of the log, and the commit.
#[derive(Clone, Copy, Debug, Default)]
struct Durable {
    len: usize,
    point: Option<CommitPoint>,
}

/// A flush under way: what it makes durable.
#[derive(Clone, Debug)]
struct Flushing {
    durable: Durable,
    before: Before,
    late: usize,
}

fn take_back(trees: &mut Index, before: &Before) {
    for (key, value) in before {
        match value {
            Some(value) => trees.insert(key.clone(), value.clone()),
            None => trees.remove(key),
        };
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a restart after a power cut finds: everything flushed, and nothing else.
    #[must_use]
    pub fn crashed(&self) -> Self {
        let mut trees = self.trees.clone();
        take_back(&mut trees, &self.before);
        self.flushing.iter().for_each(|flushing| take_back(&mut trees, &flushing.before));
        let mut store = Self {
            trees,
            durable: self.durable,
            kept_from: self.kept_from,
            early_from: self.early_from,
            ..Self::default()
        };
        self.log.iter().take(self.durable.len).for_each(|new| store.push(new.clone()));
        for (position, before) in self.late.iter().rev() {
            store.set_body(*position, before.clone());
        }
        store
    }

    fn set_body(&mut self, position: Position, body: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let at = usize::try_from(position.get()).ok()?;
        std::mem::replace(&mut self.log.get_mut(at)?.body, body)
    }

    fn at(&self, position: Position) -> Option<&NewRecord> {
        usize::try_from(position.get()).ok().and_then(|at| self.log.get(at))
    }

    /// Days that have bodies, and the bytes of these.
    fn body_days(&self) -> BTreeMap<u64, u64> {
        let mut days = BTreeMap::new();
        for new in self.log.iter().filter(|new| new.body_day >= self.kept_from) {
            if let Some(body) = &new.body {
                let bytes: &mut u64 = days.entry(new.body_day).or_default();
                *bytes = bytes.saturating_add(body.len() as u64);
            }
        }
        days
    }

    fn push(&mut self, new: NewRecord) {
        let (position, record) = (self.log.len() as u64, &new.record);
        let core = record.header.core();
        let found = Found { position: Position::new(position), time: core.time(), depth: record.depth };
        self.ids.insert(record.id, found);
        self.order.insert(OrderKey::of(record), position);
        if core.kind() == Kind::Tagged {
            self.tags.insert((*core.hint(), position));
        }
        self.log.push(new);
    }
}

impl Store for MemoryStore {
    fn len(&self) -> u64 {
        self.log.len() as u64
    }
    fn last_commit(&self) -> Option<CommitPoint> {
        self.durable.point
    }
    fn stage(&mut self, batch: Batch) -> Result<(), StoreError> {
        if self.failing && !(batch.records.is_empty() && batch.late_bodies.is_empty()) {
            return Err(StoreError::Failing { cause: "the last flush failed".to_owned() });
        }
        let kept_from = self.kept_from;
        let place = |new: NewRecord| NewRecord { body_day: new.body_day.max(kept_from), ..new };
        batch.records.into_iter().map(place).for_each(|new| self.push(new));
        for late in batch.late_bodies {
            let before = self.set_body(late.position, Some(late.body));
            self.late.push((late.position, before));
        }
        for change in batch.changes {
            let key = (change.tree, change.key);
            let before = match change.value {
                Some(value) => self.trees.insert(key.clone(), value),
                None => self.trees.remove(&key),
            };
            self.before.entry(key).or_insert(before);
        }
        Ok(())
    }
    fn flush(&mut self, point: CommitPoint) -> Result<Option<Flush>, StoreError> {
        let trees = &self.trees;
        self.before.retain(|key, before| trees.get(key) != before.as_ref());
        // After a failed one there is always another, since only one that succeeds ends the failure.
        let news = self.log.len() > self.durable.len || !self.before.is_empty() || !self.late.is_empty();
        if !news && !self.failing {
            return Ok(None);
        }
        let durable = Durable { len: self.log.len(), point: Some(point) };
        let before = std::mem::take(&mut self.before);
        self.flushing = Some(Flushing { durable, before, late: self.late.len() });
        Ok(Some(Flush::new(|| Ok(()))))
    }
    fn flushed(&mut self, success: bool) {
        if let Some(flushing) = self.flushing.take() {
            self.failing = !success;
            if success {
                self.durable = flushing.durable;
                self.late.drain(..flushing.late.min(self.late.len()));
            } else {
                self.before.extend(flushing.before);
            }
        }
    }
    fn record(&self, position: Position) -> Result<Option<Record>, StoreError> {
        Ok(self.at(position).map(|new| new.record.clone()))
    }
    fn records(&self, from: Position, max: usize) -> Result<Vec<Record>, StoreError> {
        let skip = usize::try_from(from.get()).unwrap_or(usize::MAX);
        Ok(self.log.iter().skip(skip).take(max).map(|new| new.record.clone()).collect())
    }
    fn body(&self, position: Position) -> Result<Body, StoreError> {
        Ok(match self.at(position) {
            Some(NewRecord { body: Some(_), body_day, .. }) if *body_day < self.kept_from => {
                Body::Dropped { day: *body_day, early: *body_day < self.early_from }
            }
            Some(NewRecord { body: Some(body), .. }) => Body::Present(body.to_vec()),
            _ => Body::Absent,
        })
    }
    fn scan(&self, from: Position, max: usize) -> Result<Vec<ScanEntry>, StoreError> {
        let skip = usize::try_from(from.get()).unwrap_or(usize::MAX);
        Ok(self.log.iter().skip(skip).take(max).map(NewRecord::scan_entry).collect())
    }
    fn find(&self, id: &TxId) -> Result<Option<Found>, StoreError> {
        Ok(self.ids.get(id).copied())
    }
    fn tagged(&self, tag: &[u8; 16], from: Position, max: usize) -> Result<Vec<Position>, StoreError> {
        let range = (*tag, from.get())..=(*tag, u64::MAX);
        Ok(self.tags.range(range).take(max).map(|(_, position)| Position::new(*position)).collect())
    }
    fn in_order(
        &self,
        from: Time,
        to: Time,
        after: Option<OrderKey>,
        max: usize,
    ) -> Result<Vec<(OrderKey, Position)>, StoreError> {
        let least = OrderKey { time: from, depth: Depth::new(0), id: TxId::from_bytes([0; 32]) };
        let start = match after {
            Some(after) if after >= least => Bound::Excluded(after),
            _ => Bound::Included(least),
        };
        let places = self.order.range((start, Bound::Unbounded)).take_while(|(key, _)| key.time < to).take(max);
        Ok(places.map(|(key, position)| (*key, Position::new(*position))).collect())
    }
    fn keep_block(&mut self, number: u64, bytes: &[u8]) {
        self.blocks.insert(number, Arc::new(bytes.to_vec()));
    }
    fn kept_block(&self, number: u64) -> Option<Kept> {
        let bytes = Arc::clone(self.blocks.get(&number)?);
        Some(Kept::new(move |offset, len| {
            let start = usize::try_from(offset).ok()?;
            bytes.get(start..start.checked_add(len)?).map(<[u8]>::to_vec)
        }))
    }
    fn node(&self, ledger: LedgerId, level: u32, index: u64) -> Result<[u8; 32], StoreError> {
        if let Some(below) = level.checked_sub(1) {
            let left = index.saturating_mul(2);
            let right = self.node(ledger, below, left.saturating_add(1))?;
            return Ok(merkle::node(ledger, &self.node(ledger, below, left)?, &right));
        }
        match self.at(Position::new(index)) {
            Some(new) => Ok(merkle::leaf(ledger, new.record.id.as_bytes())),
            None => Err(super::beyond_the_log("memory", index)),
        }
    }
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.trees.get(&(tree, key.to_vec())).cloned())
    }
    fn range(&self, tree: Tree, from: &[u8], to: &[u8], max: usize) -> Result<Pairs, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let range = (tree, from.to_vec())..(tree, to.to_vec());
        Ok(self.trees.range(range).take(max).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }
    fn last_before(&self, tree: Tree, to: &[u8]) -> Result<Option<Pair>, StoreError> {
        let range = (tree, Vec::new())..(tree, to.to_vec());
        Ok(self.trees.range(range).next_back().map(|((_, key), value)| (key.clone(), value.clone())))
    }
    fn drop_bodies_before(&mut self, day: u64) -> Result<usize, StoreError> {
        let gone = self.kept_from..day;
        let mut days = BTreeSet::new();
        for new in self.log.iter_mut().filter(|new| gone.contains(&new.body_day)) {
            // That there was one is still told.
            if let Some(body) = &mut new.body {
                body.clear();
                days.insert(new.body_day);
            }
        }
        self.kept_from = self.kept_from.max(day);
        Ok(days.len())
    }
    fn drop_bodies_over(&mut self, budget: u64) -> Result<usize, StoreError> {
        let mut left = self.bodies().bytes;
        let mut line = self.kept_from;
        for (day, bytes) in self.body_days() {
            if left <= budget {
                break;
            }
            left = left.saturating_sub(bytes);
            line = day.saturating_add(1);
        }
        if line > self.kept_from {
            self.early_from = line;
        }
        self.drop_bodies_before(line)
    }
    fn bodies(&self) -> BodyUse {
        let days = self.body_days();
        BodyUse {
            bytes: days.values().copied().fold(0, u64::saturating_add),
            next: days.first_key_value().map(|(day, bytes)| (*day, *bytes)),
            next_part: days.first_key_value().map(|(day, bytes)| BodyPart { day: *day, nth: 0, bytes: *bytes }),
            early_until: self.early_from.checked_sub(1),
        }
    }
    fn reset_trees(&mut self) -> Result<(), StoreError> {
        for (key, value) in std::mem::take(&mut self.trees) {
            self.before.entry(key).or_insert(Some(value));
        }
        Ok(())
    }
    fn reset_index(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        self.reset_trees()?;
        self.blocks.clear();
        let log = std::mem::take(&mut self.log);
        (self.ids, self.tags, self.order) = Default::default();
        log.into_iter().for_each(|new| self.push(new));
        progress(self.len(), self.len());
        Ok(())
    }
    fn disk(&self) -> DiskUse {
        DiskUse::default()
    }
}

impl NewRecord {
    /// The entry of the scan column that goes with this record.
    pub fn scan_entry(&self) -> ScanEntry {
        let core = self.record.header.core();
        ScanEntry { kind: core.kind(), hint: *core.hint(), author_u: self.author_u, has_body: self.body.is_some() }
    }
}

/// An outbox in memory, for tests and the simulator.
#[derive(Debug, Default)]
pub struct MemoryOutbox(Mutex<BTreeMap<TxId, Transaction>>);

impl Outbox for MemoryOutbox {
    fn put(&self, transaction: &Transaction) -> Result<(), StoreError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(transaction.id(), transaction.clone());
        Ok(())
    }
    fn remove(&self, ids: &[TxId]) -> Result<(), StoreError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.iter().for_each(|id| drop(kept.remove(id)));
        Ok(())
    }
    fn all(&self) -> Result<Vec<Transaction>, StoreError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect())
    }
}
