//! When two checkpoints of one signer and log cannot both be true (`docs/protocol.md`, "Checkpoints").
//!
//! A log only grows and an own clock never runs backwards; blocks only gain. What follows from these is judged, and
//! nothing else: transactions that come late from an island may change any block, however long it is closed, and with it
//! the chain and the root over the blocks. Which of the two came first is not taken from the caller but from what they
//! say, so that two that passed each other on the way accuse nobody.

use super::{Closed, SignedCheckpoint, Statement};
use crate::{merkle::verify_consistency, network::Network};

/// Why two checkpoints of one signer and log cannot both be true, or were not shown to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// As many transactions, and another link.
    #[error("two logs of one name: as many transactions, and another link")]
    Link,
    /// As many transactions, and another root.
    #[error("two logs of one name: as many transactions, and another root")]
    Root,
    /// As many transactions, and another digest.
    #[error("two sets of one name: as many transactions, and another digest")]
    Digest,
    /// Another number of transactions under the same link, root or digest.
    #[error("another number of transactions under the same link, root or digest")]
    SameHash,
    /// The later one has fewer transactions.
    #[error("the log shrank: fewer transactions at a later time")]
    FewerTransactions,
    /// The one with more transactions has the earlier time.
    #[error("the clock ran backwards: more transactions at an earlier time")]
    EarlierTime,
    /// The last closed block has a lower number.
    #[error("the last closed block went backwards")]
    ClosedBackwards,
    /// There are fewer closed blocks.
    #[error("closed blocks went away")]
    FewerBlocks,
    /// More closed blocks came than new hours and new transactions allow, or none where the last one advanced.
    #[error("the number of closed blocks does not fit: blocks appeared from nowhere, or a new last block adds none")]
    BlockCount,
    /// The same transactions up to the same block, and another chain or root over the blocks; or the same chain over other
    /// blocks.
    #[error("the same blocks and another chain, or the same chain and other blocks")]
    Blocks,
    /// The same transactions at the same time, and another last closed block.
    #[error("the same transactions at the same time, and another last closed block")]
    SameTime,
    /// No path was given that shows that the larger log begins with the smaller. No evidence: ask for the path.
    #[error("not shown that the larger log begins with the smaller; ask the signer for a consistency path")]
    NoPath,
    /// The path given does not show it. No evidence for others: anybody can make up a bad path.
    #[error("the path given does not show that the larger log begins with the smaller; ask the signer for another")]
    BadPath,
}

impl Contradiction {
    /// Whether the two checkpoints alone convince anyone that their signer said what cannot be. A missing or bad path
    /// convinces only whoever asked the signer for it.
    pub fn is_evidence(self) -> bool {
        !matches!(self, Self::NoPath | Self::BadPath)
    }
}

/// Holds `next` against `previous`. `path` is the consistency path from the smaller log to the larger (RFC 9162 §2.1.4);
/// logs of equal length need none. Checkpoints of two signers or of two logs never contradict each other.
///
/// # Errors
/// The first [`Contradiction`]; those that are evidence come before those that are not.
pub fn judge(
    network: &Network,
    previous: &SignedCheckpoint,
    next: &SignedCheckpoint,
    path: Option<&[[u8; 32]]>,
) -> Result<(), Contradiction> {
    if previous.signer() != next.signer() || previous.statement().log != next.statement().log {
        return Ok(());
    }
    let turned = key(next.statement()) < key(previous.statement());
    let (old, new) = if turned { (next, previous) } else { (previous, next) };
    let (old, new) = (old.statement(), new.statement());
    judge_log(old, new, turned)?;
    judge_blocks(old, new)?;
    if old.count == new.count {
        return Ok(());
    }
    let path = path.ok_or(Contradiction::NoPath)?;
    if verify_consistency(network.ledger(), old.count, &old.root, new.count, &new.root, path) {
        Ok(())
    } else {
        Err(Contradiction::BadPath)
    }
}

/// Which of two came first, by what they say.
fn key(statement: &Statement) -> impl Ord + use<> {
    (statement.count, statement.time)
}

fn judge_log(old: &Statement, new: &Statement, turned: bool) -> Result<(), Contradiction> {
    if old.count == new.count {
        if old.link != new.link {
            return Err(Contradiction::Link);
        }
        if old.root != new.root {
            return Err(Contradiction::Root);
        }
        if old.digest != new.digest {
            return Err(Contradiction::Digest);
        }
        return Ok(());
    }
    if old.link == new.link || old.root == new.root || old.digest == new.digest {
        return Err(Contradiction::SameHash);
    }
    if new.time < old.time {
        return Err(if turned { Contradiction::FewerTransactions } else { Contradiction::EarlierTime });
    }
    Ok(())
}

/// From here on `new` has no fewer transactions and no earlier time.
fn judge_blocks(old: &Statement, new: &Statement) -> Result<(), Contradiction> {
    let same_set = old.count == new.count;
    let number = |statement: &Statement| statement.closed.map(|closed| closed.number);
    if same_set && old.time == new.time && number(old) != number(new) {
        return Err(Contradiction::SameTime);
    }
    let (before, after) = match (old.closed, new.closed) {
        (Some(before), Some(after)) => (before, after),
        (Some(_), None) => return Err(Contradiction::ClosedBackwards),
        (None, _) => return Ok(()),
    };
    if after.number < before.number {
        return Err(Contradiction::ClosedBackwards);
    }
    if after.blocks < before.blocks {
        return Err(Contradiction::FewerBlocks);
    }
    let gained = after.blocks.saturating_sub(before.blocks);
    let hours = after.number.saturating_sub(before.number);
    let transactions = new.count.saturating_sub(old.count);
    // A new block has a new hour, or it is of an hour that was empty and so holds a new transaction.
    if gained > hours.saturating_add(transactions) || (hours > 0 && gained == 0) {
        return Err(Contradiction::BlockCount);
    }
    if same_blocks_judged_alike(&before, &after, same_set) { Ok(()) } else { Err(Contradiction::Blocks) }
}

/// Chain and root both name the same list of blocks, so they change together or not at all; and the same transactions
/// up to the same block are the same list.
fn same_blocks_judged_alike(before: &Closed, after: &Closed, same_set: bool) -> bool {
    let same_list = before.number == after.number && before.blocks == after.blocks;
    let (same_chain, same_root) = (before.chain == after.chain, before.root == after.root);
    let alike = same_chain == same_root && (!same_chain || same_list);
    let must = same_set && before.number == after.number;
    alike && (!must || same_chain)
}
