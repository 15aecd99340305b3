//! Derived blocks, computed anew only where something changed, and only when asked for. Of large ones whose hour has ended
//! it is [kept](super::kept) what proofs need.

use super::{Ledger, kept, keys};
use crate::{
    block::{Block, Contents, chained, contents, first_previous},
    ids::{Chain, Position, Root, TxId},
    store::{Batch, Change, Store, StoreError, Tree},
};

/// What bringing blocks up to date took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Blocks whose ids were read, sorted and hashed again: those that got a transaction.
    pub contents: u64,
    /// Blocks whose chain value was computed again: those and all behind the first of them. One hash each.
    pub chained: u64,
}

impl<S: Store> Ledger<S> {
    /// An hour got a transaction: its block is to be computed anew. The mark survives a restart; `None` when it is there.
    pub(super) fn mark_stale(&mut self, hour: u64) -> Option<Change> {
        self.blocks_tree.changed(hour);
        // Most come in the newest hour, which is at hand.
        let fresh = self.stale_hours.last() != Some(&hour) && self.stale_hours.insert(hour);
        fresh.then(|| Change::put(Tree::Blocks, keys::number(hour), Vec::new()))
    }

    pub(super) fn load_stale_hours(&mut self) -> Result<(), StoreError> {
        let pairs = self.store.range(Tree::Blocks, &[], &[0xff; 9], usize::MAX)?;
        let stale = pairs.iter().filter(|(_, value)| value.is_empty());
        self.stale_hours = stale.filter_map(|(key, _)| keys::read_u64(key)).collect();
        Ok(())
    }

    /// Brings all blocks up to date: contents where they changed, the chain from there on. Whatever asks for blocks does
    /// this first.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn refresh_blocks(&mut self) -> Result<Refreshed, StoreError> {
        let mut refreshed = Refreshed::default();
        let Some(first) = self.stale_hours.first().copied() else {
            self.keep_ended()?;
            return Ok(refreshed);
        };
        let ledger = self.network.ledger();
        let mut chain = self.stored_block_before(first)?.map_or(first_previous(ledger), |block| block.chain);
        let mut changes = Vec::new();
        for (key, value) in self.store.range(Tree::Blocks, &keys::number(first), &[0xff; 9], usize::MAX)? {
            let Some(number) = keys::read_u64(&key) else {
                continue;
            };
            let contents = match read_block(number, &value) {
                Some(block) if !self.stale_hours.contains(&number) => Contents { count: block.count, root: block.root },
                _ => {
                    refreshed.contents = refreshed.contents.saturating_add(1);
                    self.compute_block(number)?
                }
            };
            refreshed.chained = refreshed.chained.saturating_add(1);
            let block = chained(ledger, chain, number, contents);
            chain = block.chain;
            changes.push(Change::put(Tree::Blocks, key, write_block(&block)));
        }
        self.store.stage(Batch::of_changes(changes))?;
        self.stale_hours.clear();
        self.keep_ended()?;
        Ok(refreshed)
    }

    /// Reads, sorts and hashes the ids of a block.
    fn compute_block(&mut self, number: u64) -> Result<Contents, StoreError> {
        let places = self.block_places(number)?;
        if places.len() <= kept::READ_WHOLE {
            return Ok(contents(self.network.ledger(), places.into_iter().map(|(id, _)| id).collect()));
        }
        if number < self.latest.hour() {
            return Ok(self.keep_block(number, &places));
        }
        // It is computed many times before its hour ends: it is not worth keeping yet.
        self.unkept_hours.insert(number);
        Ok(contents(self.network.ledger(), places.into_iter().map(|(id, _)| id).collect()))
    }

    /// Keeps large blocks whose hour has ended since they were computed.
    fn keep_ended(&mut self) -> Result<(), StoreError> {
        while let Some(number) = self.unkept_hours.first().copied().filter(|number| *number < self.latest.hour()) {
            let places = self.block_places(number)?;
            self.keep_block(number, &places);
        }
        Ok(())
    }

    /// Keeps what proofs need of a block. `places` are all of its ids, ascending.
    pub(super) fn keep_block(&mut self, number: u64, places: &[(TxId, Position)]) -> Contents {
        let (contents, bytes) = kept::contents_and_bytes(self.network.ledger(), places);
        self.store.keep_block(number, &bytes);
        self.unkept_hours.remove(&number);
        contents
    }

    fn stored_block_before(&self, number: u64) -> Result<Option<Block>, StoreError> {
        let pair = self.store.last_before(Tree::Blocks, &keys::number(number))?;
        Ok(pair.and_then(|(key, value)| read_block(keys::read_u64(&key)?, &value)))
    }

    /// The last block with a number below `number`.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn last_block_before(&mut self, number: u64) -> Result<Option<Block>, StoreError> {
        self.refresh_blocks()?;
        self.stored_block_before(number)
    }

    /// The block of an hour; `None` when that hour is empty.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn block(&mut self, number: u64) -> Result<Option<Block>, StoreError> {
        self.refresh_blocks()?;
        let value = self.store.get(Tree::Blocks, &keys::number(number))?;
        Ok(value.and_then(|value| read_block(number, &value)))
    }

    /// At most `max` blocks from `from` on, ascending.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn blocks(&mut self, from: u64, max: usize) -> Result<Vec<Block>, StoreError> {
        self.refresh_blocks()?;
        let pairs = self.store.range(Tree::Blocks, &keys::number(from), &[0xff; 9], max)?;
        Ok(pairs.iter().filter_map(|(key, value)| read_block(keys::read_u64(key)?, value)).collect())
    }
}

/// count u64 | root | chain.
fn write_block(block: &Block) -> Vec<u8> {
    [&block.count.to_be_bytes()[..], block.root.as_bytes(), block.chain.as_bytes()].concat()
}

pub(super) fn read_block(number: u64, value: &[u8]) -> Option<Block> {
    let (count, rest) = value.split_first_chunk::<8>()?;
    let (root, rest) = rest.split_first_chunk::<32>()?;
    Some(Block {
        number,
        count: u64::from_be_bytes(*count),
        root: Root::from_bytes(*root),
        chain: Chain::from_bytes(rest.try_into().ok()?),
    })
}
