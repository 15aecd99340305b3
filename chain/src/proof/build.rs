//! Parts of proofs out of what a ledger has: its tree of blocks, a block's ids, and the checkpoints of peers.
//!
//! A checkpoint of a peer carries a block when the peer's tree of closed blocks is the beginning of the own one, as it is
//! now; late arrivals change the own one, and older checkpoints then carry nothing any more.

use super::{Neighbour, NeighbourBlock, Placed, Surrounded};
use crate::{
    block::{Block, Contents, closes},
    checkpoint::SignedCheckpoint,
    ids::{LedgerId, TxId},
    merkle::{Nodes, PathError, Tree, inclusion_path, root_of},
};

/// What stands before, and what stands after.
pub type Sides<T> = (Option<T>, Option<T>);

/// The place of the block with index `index` of the own tree of blocks under a checkpoint; `None` when the checkpoint
/// does not carry the own tree of blocks, or not up to this block. `nodes` is the own tree, of `len` leaves.
///
/// # Errors
/// The source's own.
pub fn place<N: Nodes>(
    ledger: LedgerId,
    nodes: &N,
    len: u64,
    index: u64,
    checkpoint: &SignedCheckpoint,
) -> Result<Option<Placed>, N::Error> {
    let blocks = checkpoint.statement().closed.map_or(0, |closed| closed.blocks);
    if index >= blocks || !carries(ledger, nodes, len, checkpoint)? {
        return Ok(None);
    }
    match inclusion_path(ledger, nodes, index, blocks) {
        Ok(path) => Ok(Some(Placed { checkpoint: *checkpoint, index, path })),
        Err(PathError::Nodes(error)) => Err(error),
        Err(PathError::OutOfRange { .. }) => Ok(None),
    }
}

/// Whether the first blocks of the own tree are those that a checkpoint speaks of.
fn carries<N: Nodes>(ledger: LedgerId, nodes: &N, len: u64, checkpoint: &SignedCheckpoint) -> Result<bool, N::Error> {
    match checkpoint.statement().closed {
        Some(closed) if closed.blocks <= len => Ok(root_of(ledger, nodes, closed.blocks)? == closed.root),
        _ => Ok(false),
    }
}

/// What a checkpoint shows of an hour without a block. `sides` are the own blocks before and after it with
/// their index in the own tree of blocks, `None` where there is none; `nodes` is that tree, of `len` leaves. `None` when the
/// checkpoint shows nothing of the hour.
///
/// # Errors
/// The source's own.
pub fn surroundings<N: Nodes>(
    ledger: LedgerId,
    nodes: &N,
    len: u64,
    number: u64,
    sides: Sides<(u64, Block)>,
    checkpoint: &SignedCheckpoint,
) -> Result<Option<Surrounded>, N::Error> {
    let statement = checkpoint.statement();
    if statement.closed.is_none_or(|closed| closed.number < number) {
        let shown = closes(number) <= statement.time;
        return Ok(shown.then_some(Surrounded { checkpoint: *checkpoint, before: None, after: None }));
    }
    let side = |block: Option<(u64, Block)>| -> Result<Option<NeighbourBlock>, N::Error> {
        let Some((index, Block { number, count, root, .. })) = block else {
            return Ok(None);
        };
        let placed = place(ledger, nodes, len, index, checkpoint)?;
        Ok(placed.map(|Placed { index, path, .. }| NeighbourBlock {
            number,
            block: Contents { count, root },
            index,
            path,
        }))
    };
    let (before, after) = (side(sides.0)?, side(sides.1)?);
    Ok(after.is_some().then_some(Surrounded { checkpoint: *checkpoint, before, after }))
}

/// Index and path of an id in its block. `ids` are the block's, ascending. `None` when the block does not hold the id.
pub fn place_in_block(ledger: LedgerId, ids: &[TxId], id: &TxId) -> Option<(u64, Vec<[u8; 32]>)> {
    let index = ids.binary_search(id).ok()? as u64;
    let tree = Tree::of_ids(ledger, ids);
    Some((index, tree.inclusion_path(index, tree.len()).ok()?))
}

/// The ids on either side of an id that a block does not hold. `ids` are the block's, ascending. `None` when the block
/// holds the id, or has none at all.
pub fn neighbours(ledger: LedgerId, ids: &[TxId], id: &TxId) -> Option<Sides<Neighbour>> {
    let at = ids.binary_search(id).err()?;
    let tree = Tree::of_ids(ledger, ids);
    let neighbour = |index: usize| {
        let (id, index) = (*ids.get(index)?, index as u64);
        let path = tree.inclusion_path(index, tree.len()).ok()?;
        Some(Neighbour { id, index, path })
    };
    (!ids.is_empty()).then(|| (at.checked_sub(1).and_then(neighbour), neighbour(at)))
}
