//! The tree of blocks: the Merkle tree over the leaves of all blocks in order, which checkpoints sign up to their last
//! closed block and proofs lead to (`docs/protocol.md`, "Checkpoints").
//!
//! It is held in memory, some 70 bytes a block, and recomputed from the first changed block on when it is asked for.

use super::Ledger;
use crate::{
    block::CLOSE_AFTER_SECS,
    checkpoint::Closed,
    ids::LedgerId,
    merkle::Tree,
    store::{Store, StoreError},
    time::{HOUR_SECS, Time},
};

/// How many blocks are read at once.
const PAGE: usize = 1_024;

/// The tree, and which of its leaves are to be made anew.
#[derive(Debug)]
pub(super) struct BlocksTree {
    tree: Tree,
    /// Numbers of the blocks behind the leaves, ascending.
    numbers: Vec<u64>,
    /// Leaves of this block and of all behind it are out of date.
    changed_from: Option<u64>,
}

impl BlocksTree {
    pub(super) fn new(ledger: LedgerId) -> Self {
        Self { tree: Tree::new(ledger), numbers: Vec::new(), changed_from: Some(0) }
    }

    /// The block of an hour changed, or is new.
    pub(super) fn changed(&mut self, hour: u64) {
        self.changed_from = Some(self.changed_from.map_or(hour, |from| from.min(hour)));
    }

    /// How many blocks there are up to this one.
    fn up_to(&self, number: u64) -> u64 {
        self.numbers.partition_point(|other| *other <= number) as u64
    }
}

/// Where a block's leaf stands in the tree of all blocks up to another one, and the way to its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockPath {
    /// Index of the leaf.
    pub index: u64,
    /// Leaves of the tree.
    pub size: u64,
    /// The inclusion path (RFC 9162 §2.1.3).
    pub path: Vec<[u8; 32]>,
}

impl<S: Store> Ledger<S> {
    /// Brings the tree up to date with the blocks.
    fn refresh_tree(&mut self) -> Result<(), StoreError> {
        let Some(first) = self.blocks_tree.changed_from else {
            return Ok(());
        };
        let keep = self.blocks_tree.numbers.partition_point(|number| *number < first);
        self.blocks_tree.numbers.truncate(keep);
        self.blocks_tree.tree.truncate(keep as u64);
        let mut from = first;
        loop {
            let page = self.blocks(from, PAGE)?;
            for block in &page {
                self.blocks_tree.tree.push(&block.leaf());
                self.blocks_tree.numbers.push(block.number);
            }
            match page.last().and_then(|last| last.number.checked_add(1)) {
                Some(next) if page.len() >= PAGE => {
                    from = next;
                    // Should reading break off, the next attempt goes on here.
                    self.blocks_tree.changed_from = Some(from);
                }
                _ => break,
            }
        }
        self.blocks_tree.changed_from = None;
        Ok(())
    }

    /// What a checkpoint says of the blocks that are closed by the own clock `now`; `None` while there are none.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn closed_blocks(&mut self, now: Time) -> Result<Option<Closed>, StoreError> {
        // closes(n) <= now for exactly the numbers below this.
        let end = now.secs().saturating_sub(CLOSE_AFTER_SECS) / HOUR_SECS;
        let Some(last) = self.last_block_before(end)? else {
            return Ok(None);
        };
        self.blocks_up_to(last.number)
    }

    /// The same for all blocks up to the one of this number; `None` when that hour is empty.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn blocks_up_to(&mut self, number: u64) -> Result<Option<Closed>, StoreError> {
        let Some(last) = self.block(number)? else {
            return Ok(None);
        };
        self.refresh_tree()?;
        let blocks = self.blocks_tree.up_to(number);
        let root = self.blocks_tree.tree.root_of(blocks).map_err(|error| self.tree_failed(&error))?;
        Ok(Some(Closed { number, chain: last.chain, blocks, root }))
    }

    /// The way from the leaf of block `number` to the root over all blocks up to `last`; `None` when either hour is
    /// empty, or `number` is behind `last`.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn block_path(&mut self, number: u64, last: u64) -> Result<Option<BlockPath>, StoreError> {
        if number > last || self.block(number)?.is_none() || self.block(last)?.is_none() {
            return Ok(None);
        }
        self.refresh_tree()?;
        let (index, size) = (self.blocks_tree.up_to(number).saturating_sub(1), self.blocks_tree.up_to(last));
        let path = self.blocks_tree.tree.inclusion_path(index, size).map_err(|error| self.tree_failed(&error))?;
        Ok(Some(BlockPath { index, size, path }))
    }

    fn tree_failed(&self, error: &dyn std::fmt::Display) -> StoreError {
        StoreError::Damaged { path: "index".to_owned(), offset: 0, what: format!("the blocks do not agree: {error}") }
    }
}
