//! The store of a simulated node: in memory, or the one that ships, in a directory.
//!
//! A crash keeps what was flushed, and nothing else. On disk it strikes a flush that is under way at a random call, and of
//! what was written and not fsynced keeps random sectors.

use qasedak_chain::{
    LedgerId, Position, Time, TxId,
    store::{
        Batch, Body, BodyUse, CommitPoint, DiskUse, Flush, Found, OrderKey, Pair, Pairs, Record, ScanEntry, Store,
        StoreError, Tree, disk::DiskStore, memory::MemoryStore,
    },
};

/// One of the two.
#[derive(Debug)]
pub enum SimStore {
    Memory(Box<MemoryStore>),
    Disk(Box<DiskStore>),
}

/// Hands a call on to whichever it is.
macro_rules! either {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Self::Memory($store) => $call,
            Self::Disk($store) => $call,
        }
    };
}

impl Store for SimStore {
    fn len(&self) -> u64 {
        either!(self, store => store.len())
    }
    fn last_commit(&self) -> Option<CommitPoint> {
        either!(self, store => store.last_commit())
    }
    fn stage(&mut self, batch: Batch) -> Result<(), StoreError> {
        either!(self, store => store.stage(batch))
    }
    fn flush(&mut self, point: CommitPoint) -> Result<Option<Flush>, StoreError> {
        either!(self, store => store.flush(point))
    }
    fn flushed(&mut self, success: bool) {
        either!(self, store => store.flushed(success))
    }
    fn record(&self, position: Position) -> Result<Option<Record>, StoreError> {
        either!(self, store => store.record(position))
    }
    fn records(&self, from: Position, max: usize) -> Result<Vec<Record>, StoreError> {
        either!(self, store => store.records(from, max))
    }
    fn body(&self, position: Position) -> Result<Body, StoreError> {
        either!(self, store => store.body(position))
    }
    fn scan(&self, from: Position, max: usize) -> Result<Vec<ScanEntry>, StoreError> {
        either!(self, store => store.scan(from, max))
    }
    fn find(&self, id: &TxId) -> Result<Option<Found>, StoreError> {
        either!(self, store => store.find(id))
    }
    fn tagged(&self, tag: &[u8; 16], from: Position, max: usize) -> Result<Vec<Position>, StoreError> {
        either!(self, store => store.tagged(tag, from, max))
    }
    fn in_order(
        &self,
        from: Time,
        to: Time,
        after: Option<OrderKey>,
        max: usize,
    ) -> Result<Vec<(OrderKey, Position)>, StoreError> {
        either!(self, store => store.in_order(from, to, after, max))
    }
    fn places(
        &self,
        from: Time,
        to: Time,
        after: Option<OrderKey>,
        max: usize,
    ) -> Result<Vec<(OrderKey, Position)>, StoreError> {
        either!(self, store => store.places(from, to, after, max))
    }
    fn node(&self, ledger: LedgerId, level: u32, index: u64) -> Result<[u8; 32], StoreError> {
        either!(self, store => store.node(ledger, level, index))
    }
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        either!(self, store => store.get(tree, key))
    }
    fn range(&self, tree: Tree, from: &[u8], to: &[u8], max: usize) -> Result<Pairs, StoreError> {
        either!(self, store => store.range(tree, from, to, max))
    }
    fn last_before(&self, tree: Tree, to: &[u8]) -> Result<Option<Pair>, StoreError> {
        either!(self, store => store.last_before(tree, to))
    }
    fn drop_bodies_before(&mut self, day: u64) -> Result<usize, StoreError> {
        either!(self, store => store.drop_bodies_before(day))
    }
    fn drop_bodies_over(&mut self, budget: u64) -> Result<usize, StoreError> {
        either!(self, store => store.drop_bodies_over(budget))
    }
    fn bodies(&self) -> BodyUse {
        either!(self, store => store.bodies())
    }
    fn reset_trees(&mut self) -> Result<(), StoreError> {
        either!(self, store => store.reset_trees())
    }
    fn reset_index(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        either!(self, store => store.reset_index(progress))
    }
    fn disk(&self) -> DiskUse {
        either!(self, store => store.disk())
    }
}
