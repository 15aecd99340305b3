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
    /// The block from which on another comparison tells more; null when all is told.
    pub next: Option<u64>,
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

/// Checkpoints that were received, and contradictions between them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckpointLog {
    /// Contradictions, in the order in which they were found.
    pub contradictions: Vec<Contradiction>,
    /// The newest checkpoint of each log of each peer, or all that are kept of them; the last one heard first.
    pub received: Vec<Checkpoint>,
    /// This node's own newest checkpoint.
    pub own: Option<Checkpoint>,
    /// All own checkpoints that are kept, newest first; empty unless all were asked for.
    pub own_kept: Vec<Checkpoint>,
}

/// One checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The signer's peer id.
    pub peer: String,
    /// The log id.
    pub log: String,
    /// Transactions in the log.
    pub transactions: u64,
    /// Last closed block.
    pub closed: Option<u64>,
    /// The link after the last transaction.
    pub link: String,
    /// Merkle root over the ids in log order.
    pub root: String,
    /// Digest of the set.
    pub digest: String,
    /// When the signer said so, by its own clock.
    pub time: u64,
    /// When it was received.
    pub received: u64,
}

/// Two checkpoints of one peer and log that contradict each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Contradiction {
    /// The signer's peer id.
    pub peer: String,
    /// What contradicts what, in words.
    pub reason: String,
    /// Whether the two alone convince anyone; otherwise the peer failed to show that its log has only grown.
    pub convinces: bool,
    /// The one that was known first.
    pub first: Checkpoint,
    /// The one that came then.
    pub second: Checkpoint,
}
