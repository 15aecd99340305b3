//! A deterministic store in memory, for tests and the simulator. It forgets what was not flushed when told to crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use super::{
    Batch, Body, BodyUse, CommitPoint, DiskUse, Flush, NewRecord, Outbox, Pair, Pairs, Record, ScanEntry, Store,
    StoreError, Tree,
};
use crate::{
    ids::{Position, TxId},
    transaction::Transaction,
};

type Index = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;

/// Log and index in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    log: Vec<NewRecord>,
    index: Index,
    /// What would survive a crash: length of the log, the index then, and the commit.
    durable: (usize, Index, Option<CommitPoint>),
    flushing: Option<(usize, Index, Option<CommitPoint>)>,
    poisoned: bool,
    /// The first day whose bodies have not been dropped.
    kept_from: u64,
    /// The first day whose bodies have not been dropped for want of room.
    early_from: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a restart after a power cut finds: everything flushed, and nothing else.
    #[must_use]
    pub fn crashed(&self) -> Self {
        let (len, index, point) = self.durable.clone();
        let log = self.log.iter().take(len).cloned().collect();
        Self {
            log,
            index: index.clone(),
            durable: (len, index, point),
            flushing: None,
            poisoned: false,
            kept_from: self.kept_from,
            early_from: self.early_from,
        }
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

    fn at(&self, position: Position) -> Option<&NewRecord> {
        usize::try_from(position.get()).ok().and_then(|at| self.log.get(at))
    }
}

impl Store for MemoryStore {
    fn len(&self) -> u64 {
        self.log.len() as u64
    }
    fn last_commit(&self) -> Option<CommitPoint> {
        self.durable.2
    }
    fn stage(&mut self, batch: Batch) -> Result<(), StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        let kept_from = self.kept_from;
        let place = |new: NewRecord| NewRecord { body_day: new.body_day.max(kept_from), ..new };
        self.log.extend(batch.records.into_iter().map(place));
        for change in batch.changes {
            let key = (change.tree, change.key);
            match change.value {
                Some(value) => self.index.insert(key, value),
                None => self.index.remove(&key),
            };
        }
        Ok(())
    }
    fn flush(&mut self, point: CommitPoint) -> Result<Option<Flush>, StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        if self.log.len() == self.durable.0 && self.index == self.durable.1 {
            return Ok(None);
        }
        self.flushing = Some((self.log.len(), self.index.clone(), Some(point)));
        Ok(Some(Flush::new(|| Ok(()))))
    }
    fn flushed(&mut self, success: bool) {
        match self.flushing.take() {
            Some(durable) if success => self.durable = durable,
            Some(_) => self.poisoned = true,
            None => {}
        }
    }
    fn record(&self, position: Position) -> Result<Option<Record>, StoreError> {
        Ok(self.at(position).map(|new| new.record.clone()))
    }
    fn body(&self, position: Position) -> Result<Body, StoreError> {
        Ok(match self.at(position) {
            Some(NewRecord { body: Some(_), body_day, .. }) if *body_day < self.kept_from => {
                Body::Dropped { day: *body_day, early: *body_day < self.early_from }
            }
            Some(NewRecord { body: Some(body), .. }) => Body::Present(body.clone()),
            _ => Body::Absent,
        })
    }
    fn scan(&self, from: Position, max: usize) -> Result<Vec<ScanEntry>, StoreError> {
        let skip = usize::try_from(from.get()).unwrap_or(usize::MAX);
        Ok(self.log.iter().skip(skip).take(max).map(NewRecord::scan_entry).collect())
    }
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.index.get(&(tree, key.to_vec())).cloned())
    }
    fn range(&self, tree: Tree, from: &[u8], to: &[u8], max: usize) -> Result<Pairs, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let range = (tree, from.to_vec())..(tree, to.to_vec());
        Ok(self.index.range(range).take(max).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }
    fn last_before(&self, tree: Tree, to: &[u8]) -> Result<Option<Pair>, StoreError> {
        let range = (tree, Vec::new())..(tree, to.to_vec());
        Ok(self.index.range(range).next_back().map(|((_, key), value)| (key.clone(), value.clone())))
    }
    fn drop_bodies_before(&mut self, day: u64) -> Result<usize, StoreError> {
        let gone = self.kept_from..day;
        let mut days = BTreeSet::new();
        for new in self.log.iter_mut().filter(|new| gone.contains(&new.body_day)) {
            // That there was one is still told.
            if let Some(body) = &mut new.body {
                *body = Vec::new();
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
            early_until: self.early_from.checked_sub(1),
        }
    }
    fn reset_index(&mut self) -> Result<(), StoreError> {
        self.index.clear();
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
