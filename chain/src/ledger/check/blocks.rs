//! Comparing the stored blocks with the transactions of their hours, as these come by in canonical order.
//!
//! A block that is marked stale is computed anew before anyone sees it, and so is the chain value of every block behind
//! it: of those nothing is demanded but that the mark is there, and count and root where they are stored.

use crate::{
    block::{chained, contents, first_previous},
    ids::{Chain, TxId},
    ledger::{Ledger, blocks::read_block, keys},
    store::{Store, StoreError, Tree},
};

/// The stored blocks up to the hour that is being gathered.
pub(super) struct BlocksCheck<'a, S> {
    ledger: &'a Ledger<S>,
    /// The hour that is being gathered, and the ids of its transactions so far.
    hour: Option<u64>,
    ids: Vec<TxId>,
    /// The chain value so far, as long as no block was stale.
    chain: Option<Chain>,
    /// Stored blocks before this hour have been compared.
    next: u64,
}

impl<'a, S: Store> BlocksCheck<'a, S> {
    pub(super) fn new(ledger: &'a Ledger<S>) -> Self {
        let chain = Some(first_previous(ledger.network.ledger()));
        Self { ledger, hour: None, ids: Vec::new(), chain, next: 0 }
    }

    /// Takes the next transaction in canonical order. What is wrong with the block that it ends, if anything.
    pub(super) fn push(&mut self, hour: u64, id: TxId) -> Result<Option<String>, StoreError> {
        let wrong = if self.hour == Some(hour) { None } else { self.end_block()? };
        self.hour = Some(hour);
        self.ids.push(id);
        Ok(wrong)
    }

    /// What is wrong with the last block, or behind it, if anything.
    pub(super) fn end(mut self) -> Result<Option<String>, StoreError> {
        let wrong = self.end_block()?;
        Ok(wrong.or(self.stored_from_next()?.map(|(number, _)| without_transactions(number))))
    }

    fn stored_from_next(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let stored = self.ledger.store.range(Tree::Blocks, &keys::number(self.next), &[0xff; 9], 1)?.pop();
        Ok(stored.map(|(key, value)| (keys::read_u64(&key).unwrap_or(u64::MAX), value)))
    }

    fn end_block(&mut self) -> Result<Option<String>, StoreError> {
        let Some(number) = self.hour.take() else {
            return Ok(None);
        };
        let ids = std::mem::take(&mut self.ids);
        let stored = self.stored_from_next()?;
        self.next = number.saturating_add(1);
        let value = match stored {
            Some((at, value)) if at == number => value,
            Some((at, _)) if at < number => return Ok(Some(without_transactions(at))),
            _ => return Ok(Some(format!("block {number} is missing, and is not marked to be computed"))),
        };
        if value.is_empty() {
            self.chain = None;
            return Ok(None);
        }
        let ledger = self.ledger.network.ledger();
        let right = contents(ledger, ids);
        let Some(block) =
            read_block(number, &value).filter(|block| (block.count, block.root) == (right.count, right.root))
        else {
            let what = format!("block {number} is not that of its transactions, and is not marked to be computed anew");
            return Ok(Some(what));
        };
        if self.chain.is_some_and(|previous| chained(ledger, previous, number, right).chain != block.chain) {
            return Ok(Some(format!("the chain value of block {number} does not follow from the block before it")));
        }
        self.chain = self.chain.map(|_| block.chain);
        Ok(None)
    }
}

fn without_transactions(number: u64) -> String {
    format!("there is a block {number}, but the log has no transactions of that hour")
}
