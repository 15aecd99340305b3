//! Blocks are derived, not mined: block *n* is the set of all transactions of UTC hour *n* (DESIGN §2, §3).
//!
//! Every node that holds the same set computes the same chain of blocks. Blocks can gain messages when islands
//! meet; they can never lose one.

use crate::{
    hash::{Context, hash},
    ids::{Chain, LedgerId, Root, TxId},
    merkle,
    time::{HOUR_SECS, Time},
};

/// A block is called closed this long after its hour ended by the local clock. Not final.
pub const CLOSE_AFTER_SECS: u64 = 2 * HOUR_SECS;

/// When the block of an hour is called closed: two hours after the hour's end.
pub fn closes(number: u64) -> Time {
    Time::from_secs(number.saturating_add(1).saturating_mul(HOUR_SECS)).plus(CLOSE_AFTER_SECS)
}

/// What there is to say of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The UTC hour, counted from 1970.
    pub number: u64,
    /// How many transactions it holds; never 0.
    pub count: u64,
    /// Merkle root over their ids, ascending.
    pub root: Root,
    /// `H("block", ledger, chain of the previous block, number, count, root)`.
    pub chain: Chain,
}

impl Block {
    /// Whether the block's hour ended two hours ago by the clock `now`.
    pub fn is_closed(&self, now: Time) -> bool {
        closes(self.number) <= now
    }
    /// The data of this block's leaf in the tree of blocks, 48 bytes: number `u64` | count `u64` | root, integers
    /// little-endian.
    pub fn leaf(&self) -> [u8; 48] {
        leaf(self.number, Contents { count: self.count, root: self.root })
    }
    /// Whether the block's hour has begun by the clock `now`; the others are of the future, and shown as such.
    pub fn has_begun(&self, now: Time) -> bool {
        now.hour() >= self.number
    }
}

/// Count and root of a block, which do not depend on any other block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// How many transactions it holds.
    pub count: u64,
    /// Merkle root over their ids, ascending.
    pub root: Root,
}

/// The data of a block's leaf in the tree of blocks: number `u64` | count `u64` | root, integers little-endian.
pub fn leaf(number: u64, contents: Contents) -> [u8; 48] {
    let mut bytes = [0; 48];
    let (head, root) = bytes.split_at_mut(16);
    let (first, second) = head.split_at_mut(8);
    first.copy_from_slice(&number.to_le_bytes());
    second.copy_from_slice(&contents.count.to_le_bytes());
    root.copy_from_slice(contents.root.as_bytes());
    bytes
}

/// Contents of the block that holds exactly these ids, in any order.
pub fn contents(ledger: LedgerId, mut ids: Vec<TxId>) -> Contents {
    ids.sort_unstable();
    Contents { count: ids.len() as u64, root: merkle::root(ledger, &ids) }
}

/// The chain value before the first block: the ledger id.
pub fn first_previous(ledger: LedgerId) -> Chain {
    Chain::from_bytes(*ledger.as_bytes())
}

/// Puts a block's contents behind the previous block's chain value.
pub fn chained(ledger: LedgerId, previous: Chain, number: u64, contents: Contents) -> Block {
    let Contents { count, root } = contents;
    let chain = Chain::from_bytes(hash(
        Context::Block,
        &[ledger.as_bytes(), previous.as_bytes(), &number.to_le_bytes(), &count.to_le_bytes(), root.as_bytes()],
    ));
    Block { number, count, root, chain }
}
