//! The index of the newest records, in memory: derived from the log's tail and bounded, until a run takes it over.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
};

use foldhash::quality::RandomState;

use crate::{
    ids::{Position, TxId},
    store::{Found, OrderKey, Record},
    transaction::Kind,
};

/// The index of the records from position `first` on.
#[derive(Debug, Default)]
pub(super) struct MemTable {
    first: u64,
    /// Only ever asked for one id, or taken whole and sorted. Its hash is keyed by chance, so that nobody can choose ids
    /// that collide.
    ids: HashMap<TxId, Found, RandomState>,
    tags: BTreeSet<([u8; 16], u64)>,
    order: BTreeMap<OrderKey, u64>,
}

impl MemTable {
    /// An empty one for the records from `first` on, about `room` of them.
    pub(super) fn new(first: u64, room: usize) -> Self {
        Self { first, ids: HashMap::with_capacity_and_hasher(room, RandomState::default()), ..Self::default() }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
    /// The position after the last record.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.ids.len() as u64)
    }

    /// Takes in the next record.
    pub(super) fn push(&mut self, record: &Record) {
        let (position, core) = (self.end(), record.header.core());
        let found = Found { position: Position::new(position), time: core.time(), depth: record.depth };
        self.ids.insert(record.id, found);
        self.order.insert(OrderKey { time: core.time(), depth: record.depth, id: record.id }, position);
        if core.kind() == Kind::Tagged {
            self.tags.insert((*core.hint(), position));
        }
    }

    pub(super) fn find(&self, id: &TxId) -> Option<Found> {
        self.ids.get(id).copied()
    }

    /// Positions of a tag, ascending, from `from` on.
    pub(super) fn tagged(&self, tag: &[u8; 16], from: u64) -> impl Iterator<Item = u64> + '_ {
        self.tags.range((*tag, from)..=(*tag, u64::MAX)).map(|(_, position)| *position)
    }

    /// Places in canonical order, from `from` on.
    pub(super) fn in_order(&self, from: OrderKey) -> impl Iterator<Item = (OrderKey, u64)> + '_ {
        self.order.range((Bound::Included(from), Bound::Unbounded)).map(|(key, position)| (*key, *position))
    }

    /// All ids with their positions, in no order.
    pub(super) fn ids(&self) -> impl Iterator<Item = (&TxId, u64)> {
        self.ids.iter().map(|(id, found)| (id, found.position.get()))
    }
    /// All tags with their positions, ascending.
    pub(super) fn tags(&self) -> &BTreeSet<([u8; 16], u64)> {
        &self.tags
    }
    /// All places in canonical order with their positions.
    pub(super) fn order(&self) -> &BTreeMap<OrderKey, u64> {
        &self.order
    }
}
