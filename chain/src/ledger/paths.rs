//! Paths over the Merkle tree of the log (RFC 9162): that it held a transaction, that it grew from what it was.

use super::Ledger;
use crate::{
    ids::{LedgerId, Position, Root},
    merkle::{Nodes, PathError, consistency_path, inclusion_path, root_of},
    store::{Store, StoreError},
};

/// The perfect subtrees that a store keeps.
struct LogNodes<'a, S> {
    store: &'a S,
    ledger: LedgerId,
}

impl<S: Store> Nodes for LogNodes<'_, S> {
    type Error = StoreError;
    fn node(&self, level: u32, index: u64) -> Result<[u8; 32], StoreError> {
        self.store.node(self.ledger, level, index)
    }
}

impl<S: Store> Ledger<S> {
    fn nodes(&self) -> LogNodes<'_, S> {
        LogNodes { store: &self.store, ledger: self.network.ledger() }
    }

    /// Root over the first `count` transactions of the log; O(log n) reads.
    ///
    /// # Errors
    /// [`PathError::OutOfRange`] when the log is shorter, [`PathError::Nodes`] when it cannot be read.
    pub fn root_at(&self, count: u64) -> Result<Root, PathError<StoreError>> {
        Ok(root_of(self.network.ledger(), &self.nodes(), self.within(count)?)?)
    }

    /// Path from the transaction at a position to the root over the first `count`.
    ///
    /// # Errors
    /// As [`root_at`](Self::root_at); also when the position is not below `count`.
    pub fn inclusion_path(&self, position: Position, count: u64) -> Result<Vec<[u8; 32]>, PathError<StoreError>> {
        let count = self.within(count)?;
        inclusion_path(self.network.ledger(), &self.nodes(), position.get(), count)
    }

    /// Path that shows that the log of `new` transactions begins with the one of `old`.
    ///
    /// # Errors
    /// As [`root_at`](Self::root_at); also when `old` is above `new`.
    pub fn consistency_path(&self, old: u64, new: u64) -> Result<Vec<[u8; 32]>, PathError<StoreError>> {
        let new = self.within(new)?;
        consistency_path(self.network.ledger(), &self.nodes(), old, new)
    }

    fn within(&self, count: u64) -> Result<u64, PathError<StoreError>> {
        let size = self.state.count();
        if count <= size { Ok(count) } else { Err(PathError::OutOfRange { at: count, size }) }
    }
}
