//! What `audit compare` and `audit log` answer (`docs/api.md`).

use serde::{Deserialize, Serialize};

/// What this node and a peer differ in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// The peer's id.
    pub peer: String,
    /// Whether both held the same set at one moment of the comparison.
    pub equal: bool,
    /// Transactions of this node.
    pub count_here: u64,
    /// Transactions of the peer, by its own word.
    pub count_there: u64,
    /// Last block that this node has signed as closed.
    pub closed_here: Option<u64>,
    /// Last block that the peer has signed as closed in the newest checkpoint that is kept of it.
    pub closed_there: Option<u64>,
    /// Blocks that differ, ascending; at most 1,024.
    pub blocks: Vec<BlockDifference>,
    /// Ids that only one side has, in blocks beyond these.
    pub beyond: u64,
}

/// What both differ in within one block.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BlockDifference {
    /// The block.
    pub number: u64,
    /// What this node has and the peer lacks.
    pub only_here: Side,
    /// What the peer has and this node lacks.
    pub only_there: Side,
}

/// What one side has in a block and the other lacks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Side {
    /// How many.
    pub count: u64,
    /// Whether the side that lacks them has signed this block as closed.
    pub late: bool,
    /// Their ids, ascending; at most 4,096 in all of an answer.
    pub ids: Vec<String>,
}
