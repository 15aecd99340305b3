//! A whole tree in memory: every perfect subtree's root, for the ids of one block and for the tree of blocks.
//!
//! Some 64 bytes a leaf. Level k holds the roots of the complete subtrees of 2^k leaves, in order; nothing else is kept,
//! so that the tail can be cut and replaced at the cost of what is cut.

use crate::ids::{LedgerId, Root, TxId};

use super::{Nodes, PathError, consistency_path, empty, inclusion_path, leaf, node, root_of};

/// A subtree that is not, or not yet wholly, in the tree was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tree has no complete subtree {index} at level {level}; it is shorter than the caller said")]
pub struct OutOfTree {
    /// The level asked for.
    pub level: u32,
    /// The index on that level.
    pub index: u64,
}

/// A tree of all levels in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    ledger: LedgerId,
    /// Roots of complete subtrees, level by level; level 0 are the leaves. No level is empty but in the empty tree.
    levels: Vec<Vec<[u8; 32]>>,
}

impl Tree {
    /// The empty tree of a network.
    pub fn new(ledger: LedgerId) -> Self {
        Self { ledger, levels: Vec::new() }
    }

    /// The tree over leaves with this data.
    pub fn of<T: AsRef<[u8]>>(ledger: LedgerId, leaves: impl IntoIterator<Item = T>) -> Self {
        let mut tree = Self::new(ledger);
        leaves.into_iter().for_each(|data| tree.push(data.as_ref()));
        tree
    }

    /// The tree over ids, in the order given.
    pub fn of_ids<'a>(ledger: LedgerId, ids: impl IntoIterator<Item = &'a TxId>) -> Self {
        Self::of(ledger, ids.into_iter().map(TxId::as_bytes))
    }

    /// The network whose ledger id is in every hash.
    pub fn ledger(&self) -> LedgerId {
        self.ledger
    }
    /// Number of leaves.
    pub fn len(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }
    /// Whether there are no leaves.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Appends a leaf with this data; O(1) on average, O(log n) at most.
    pub fn push(&mut self, data: &[u8]) {
        let mut root = leaf(self.ledger, data);
        let mut level = 0;
        loop {
            let Some(row) = self.levels.get_mut(level) else {
                self.levels.push(vec![root]);
                return;
            };
            row.push(root);
            // Two complete neighbours make a complete subtree one level up.
            match row.as_slice() {
                [.., left, right] if row.len().is_multiple_of(2) => root = node(self.ledger, left, right),
                _ => return,
            }
            level = level.saturating_add(1);
        }
    }

    /// Keeps the first `len` leaves; O(log n), and nothing happens when there are no more than that.
    pub fn truncate(&mut self, len: u64) {
        let mut keep = usize::try_from(len).unwrap_or(usize::MAX);
        for row in &mut self.levels {
            row.truncate(keep);
            keep /= 2;
        }
        self.levels.retain(|row| !row.is_empty());
    }

    /// Replaces everything from leaf `from` on.
    pub fn replace_tail<T: AsRef<[u8]>>(&mut self, from: u64, leaves: impl IntoIterator<Item = T>) {
        self.truncate(from);
        leaves.into_iter().for_each(|data| self.push(data.as_ref()));
    }

    /// Root over all leaves.
    pub fn root(&self) -> Root {
        // The last subtree of a row of odd length is one without a neighbour: a peak, the smallest first.
        let peaks = self.levels.iter().filter(|row| !row.len().is_multiple_of(2)).filter_map(|row| row.last().copied());
        let folded = peaks.reduce(|right, left| node(self.ledger, &left, &right));
        Root::from_bytes(folded.unwrap_or_else(|| empty(self.ledger)))
    }
    /// Root over the first `size` leaves.
    ///
    /// # Errors
    /// [`OutOfTree`] when there are fewer.
    pub fn root_of(&self, size: u64) -> Result<Root, OutOfTree> {
        root_of(self.ledger, self, size)
    }
    /// See [`inclusion_path`].
    ///
    /// # Errors
    /// [`PathError`] unless `index < size` and there are `size` leaves.
    pub fn inclusion_path(&self, index: u64, size: u64) -> Result<Vec<[u8; 32]>, PathError<OutOfTree>> {
        inclusion_path(self.ledger, self, index, size)
    }
    /// See [`consistency_path`].
    ///
    /// # Errors
    /// [`PathError`] unless `old <= new` and there are `new` leaves.
    pub fn consistency_path(&self, old: u64, new: u64) -> Result<Vec<[u8; 32]>, PathError<OutOfTree>> {
        consistency_path(self.ledger, self, old, new)
    }
}

impl Nodes for Tree {
    type Error = OutOfTree;

    fn node(&self, level: u32, index: u64) -> Result<[u8; 32], OutOfTree> {
        let row = usize::try_from(level).ok().and_then(|level| self.levels.get(level));
        let found = usize::try_from(index).ok().and_then(|index| row?.get(index));
        found.copied().ok_or(OutOfTree { level, index })
    }
}
