//! What is looked up by transaction id, many times for each transaction that comes in.
//!
//! The one place of the pure code that hashes: ids are what is asked for most, and an ordered map costs three times as
//! much. It shows its entries in the order of their ids only, so that no run differs from another.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use crate::ids::TxId;

/// Values by id. Its hash is keyed by chance, so that nobody can choose ids that collide.
#[derive(Debug)]
pub(crate) struct IdMap<V>(HashMap<TxId, V, RandomState>);

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        Self::with_room(0)
    }
}

impl<V> IdMap<V> {
    /// An empty one with room for so many.
    pub(crate) fn with_room(count: usize) -> Self {
        Self(HashMap::with_capacity_and_hasher(count, RandomState::default()))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
    pub(crate) fn get(&self, id: &TxId) -> Option<&V> {
        self.0.get(id)
    }
    pub(crate) fn get_mut(&mut self, id: &TxId) -> Option<&mut V> {
        self.0.get_mut(id)
    }
    pub(crate) fn insert(&mut self, id: TxId, value: V) -> Option<V> {
        self.0.insert(id, value)
    }
    pub(crate) fn remove(&mut self, id: &TxId) -> Option<V> {
        self.0.remove(id)
    }

    /// All entries, by id ascending.
    pub(crate) fn sorted(&self) -> Vec<(&TxId, &V)> {
        let mut all: Vec<(&TxId, &V)> = self.0.iter().collect();
        all.sort_unstable_by_key(|(id, _)| **id);
        all
    }
}
