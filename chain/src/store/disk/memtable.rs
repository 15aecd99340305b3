//! The index of the newest records, in memory: derived from the log's tail and bounded, until a run takes it over.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use self::{sorted::Sorted, tags::Tags};
use crate::{
    ids::{Depth, Position, TxId},
    store::{Found, OrderKey, Record},
    time::Time,
    transaction::Kind,
};

mod sorted;
mod tags;

/// What the table knows of a record.
#[derive(Debug)]
struct Entry {
    id: TxId,
    time: Time,
    depth: Depth,
    /// The record before this one whose id begins alike.
    alike: Option<u32>,
}

/// The index of the records from position `first` on.
#[derive(Debug, Default)]
pub(super) struct MemTable {
    first: u64,
    /// In log order: most that is asked for are the newest, which stand together.
    entries: Vec<Entry>,
    /// By the first bytes of an id the last record that has them. The hash is keyed by chance, so that nobody can choose ids
    /// that collide.
    ids: HashMap<u32, u32, RandomState>,
    tags: Tags,
    order: Sorted,
}

/// Few enough bytes for the whole map to be in the processor's cache: of a table's records hardly any two agree in them, and
/// one that agrees with a given one costs whoever wants that 2^32 stamps.
fn beginning(id: &TxId) -> u32 {
    id.as_bytes().first_chunk().map_or(0, |first| u32::from_le_bytes(*first))
}

impl MemTable {
    /// An empty one for the records from `first` on, about `room` of them.
    pub(super) fn new(first: u64, room: usize) -> Self {
        let ids = HashMap::with_capacity_and_hasher(room, RandomState::default());
        Self { first, entries: Vec::with_capacity(room), ids, ..Self::default() }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
    /// The position after the last record.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.entries.len() as u64)
    }

    /// Takes in the next record.
    pub(super) fn push(&mut self, record: &Record) {
        let (position, core) = (self.end(), record.header.core());
        let nth = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let alike = self.ids.insert(beginning(&record.id), nth);
        self.entries.push(Entry { id: record.id, time: core.time(), depth: record.depth, alike });
        self.order.insert(OrderKey { time: core.time(), depth: record.depth, id: record.id }, position);
        if core.kind() == Kind::Tagged {
            self.tags.push(*core.hint(), position);
        }
    }

    pub(super) fn find(&self, id: &TxId) -> Option<Found> {
        let mut next = self.ids.get(&beginning(id)).copied();
        while let Some(nth) = next {
            let entry = self.entries.get(usize::try_from(nth).ok()?)?;
            if entry.id == *id {
                let position = Position::new(self.first.saturating_add(nth.into()));
                return Some(Found { position, time: entry.time, depth: entry.depth });
            }
            next = entry.alike;
        }
        None
    }

    /// Positions of a tag, ascending, from `from` on.
    pub(super) fn tagged(&self, tag: &[u8; 16], from: u64) -> Vec<u64> {
        self.tags.from(tag, from)
    }

    /// Places in canonical order, from `from` on.
    pub(super) fn in_order(&self, from: OrderKey) -> impl Iterator<Item = (OrderKey, u64)> + '_ {
        self.order.from(from)
    }

    /// All ids with their positions, in log order.
    pub(super) fn ids(&self) -> impl Iterator<Item = (&TxId, u64)> {
        self.entries.iter().map(|entry| &entry.id).zip(self.first..)
    }
    /// All tags with their positions, in log order.
    pub(super) fn tags(&self) -> impl ExactSizeIterator<Item = (&[u8; 16], u64)> {
        self.tags.iter()
    }
    /// All places in canonical order with their positions.
    pub(super) fn order(&self) -> impl Iterator<Item = &(OrderKey, u64)> {
        self.order.iter()
    }
}
