//! Merkle trees in the shape of RFC 9162 §2.1, with `H("merkle", …)` as their hash (`docs/protocol.md`, "Merkle trees
//! and proofs").
//!
//! Empty tree: `H("merkle", ledger)`; leaf: `H("merkle", ledger, 0x00, data)`; node:
//! `H("merkle", ledger, 0x01, left, right)`. A tree of n leaves splits at the largest power of two below n. The data of a
//! leaf is an id (32 bytes) in the trees of logs and blocks, and [`Block::leaf`](crate::block::Block::leaf) (48 bytes) in
//! the tree of blocks.
//!
//! - [`Accumulator`] grows by one leaf at a time and knows its root, in O(log n) memory.
//! - [`Nodes`] is any source of perfect subtrees' roots; [`root_of`], [`inclusion_path`] and [`consistency_path`] read
//!   O(log n) of them. [`Tree`] is such a source in memory.
//! - [`verify_inclusion`] and [`verify_consistency`] judge paths that came from others.

use crate::{
    hash::{Context, hash},
    ids::{LedgerId, Root, TxId},
};

mod path;
mod tree;
mod verify;

pub use path::{Nodes, PathError, consistency_path, inclusion_path, root_of};
pub use tree::{OutOfTree, Tree};
pub use verify::{CONSISTENCY_MAX, INCLUSION_MAX, verify_consistency, verify_inclusion};

/// The root of a tree without leaves: `H("merkle", ledger)`.
pub fn empty(ledger: LedgerId) -> [u8; 32] {
    hash(Context::Merkle, &[ledger.as_bytes()])
}

/// The hash of a leaf: `H("merkle", ledger, 0x00, data)`.
pub fn leaf(ledger: LedgerId, data: &[u8]) -> [u8; 32] {
    hash(Context::Merkle, &[ledger.as_bytes(), &[0], data])
}

/// The hash of an inner node: `H("merkle", ledger, 0x01, left, right)`.
pub fn node(ledger: LedgerId, left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    hash(Context::Merkle, &[ledger.as_bytes(), &[1], left, right])
}

/// A growing tree, kept as the roots of its perfect subtrees: append and root are O(log n).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accumulator {
    ledger: LedgerId,
    len: u64,
    /// Roots of the perfect subtrees, largest first: one per set bit of `len`.
    peaks: Vec<[u8; 32]>,
}

impl Accumulator {
    /// The empty tree of a network.
    pub fn new(ledger: LedgerId) -> Self {
        Self { ledger, len: 0, peaks: Vec::new() }
    }

    /// Restores a tree from what [`peaks`](Self::peaks) gave; `None` when the number of peaks does not fit `len`.
    pub fn from_peaks(ledger: LedgerId, len: u64, peaks: Vec<[u8; 32]>) -> Option<Self> {
        (u32::try_from(peaks.len()) == Ok(len.count_ones())).then_some(Self { ledger, len, peaks })
    }

    /// Number of leaves.
    pub fn len(&self) -> u64 {
        self.len
    }
    /// Whether there are no leaves.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Roots of the perfect subtrees, largest first.
    pub fn peaks(&self) -> &[[u8; 32]] {
        &self.peaks
    }

    /// Appends one leaf.
    pub fn push(&mut self, id: &TxId) {
        let mut root = leaf(self.ledger, id.as_bytes());
        // Each trailing one bit of the old length is a perfect subtree that the new one completes.
        for _ in 0..self.len.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                root = node(self.ledger, &left, &root);
            }
        }
        self.peaks.push(root);
        self.len = self.len.saturating_add(1);
    }

    /// Root over all leaves so far.
    pub fn root(&self) -> Root {
        let folded = self.peaks.iter().rev().copied().reduce(|right, left| node(self.ledger, &left, &right));
        Root::from_bytes(folded.unwrap_or_else(|| empty(self.ledger)))
    }
}

/// Root over a whole list of ids.
pub fn root<'a>(ledger: LedgerId, ids: impl IntoIterator<Item = &'a TxId>) -> Root {
    let mut tree = Accumulator::new(ledger);
    ids.into_iter().for_each(|id| tree.push(id));
    tree.root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_restore_the_tree() {
        let ledger = LedgerId::from_bytes([1; 32]);
        let mut tree = Accumulator::new(ledger);
        for n in 0..77u8 {
            tree.push(&TxId::from_bytes([n; 32]));
        }
        let restored = Accumulator::from_peaks(ledger, tree.len(), tree.peaks().to_vec());
        assert_eq!(restored.as_ref(), Some(&tree));
        // 79 leaves have five peaks.
        assert_eq!(Accumulator::from_peaks(ledger, 79, tree.peaks().to_vec()), None);
    }
}
