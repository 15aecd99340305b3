//! Proof files: that a transaction is in a block, or is not, by the word of peers (DESIGN §6; `docs/protocol.md`, "Proof
//! files"; `docs/decisions/0018-proof-files.md`).
//!
//! A proof is put together from what a ledger gives ([`InclusionProof`], [`AbsenceProof`], [`EmptyBlockProof`]) and
//! written with `to_file`. [`check`] reads such a file and needs nothing else: no ledger, wallet or network. What it
//! returns, [`Proven`], says what is shown, by whose word, and what is not shown. All of it is pure.
//!
//! Everything in a file is bound twice. The signatures bind what it means; its one form and the check at its end bind
//! its every byte, so that no file that differs from one that was written passes by accident.

use crate::{
    block::Contents,
    checkpoint::{CheckpointError, SignedCheckpoint},
    ids::TxId,
    network::Network,
    rules::RuleError,
    transaction::Header,
};

mod build;
mod file;
mod proven;
mod text;
mod verify;

pub use build::{Sides, neighbours, place, place_in_block, surroundings};
pub use proven::{Fact, Limit, ParentClaim, Proven, Word};

/// Longest proof file, in bytes.
pub const FILE_MAX_BYTES: usize = 1 << 20;
/// Most checkpoints in a proof file.
pub const CHECKPOINTS_MAX: usize = 256;

/// A checkpoint, and the path of a block's leaf in its tree of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What the peer signed.
    pub checkpoint: SignedCheckpoint,
    /// Index of the block among the closed blocks.
    pub index: u64,
    /// Inclusion path from the block's leaf to the checkpoint's root over blocks.
    pub path: Vec<[u8; 32]>,
}

/// The parts of a proof that a transaction is in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// The transaction's header.
    pub header: Header,
    /// Headers of its parents in the order in which it names them, without genesis.
    pub parents: Vec<Header>,
    /// Count and root of the block of its hour.
    pub block: Contents,
    /// Index of its id in the block.
    pub index: u64,
    /// Inclusion path from its id to the block's root.
    pub path: Vec<[u8; 32]>,
    /// The prover's own peer key, when one of the checkpoints is the prover's.
    pub own: Option<[u8; 32]>,
    /// Checkpoints whose tree of blocks has the block, in any order.
    pub checkpoints: Vec<Placed>,
}

/// A leaf of a block's tree that stands beside the place where an absent id would stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The id that stands there.
    pub id: TxId,
    /// Its index in the block.
    pub index: u64,
    /// Inclusion path to the block's root.
    pub path: Vec<[u8; 32]>,
}

/// The parts of a proof that a block exists and does not hold an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsenceProof {
    /// What the block does not hold.
    pub id: TxId,
    /// The block's number.
    pub number: u64,
    /// Count and root of the block.
    pub block: Contents,
    /// The greatest id of the block below the absent one, `None` when there is none.
    pub before: Option<Neighbour>,
    /// The least id of the block above the absent one, `None` when there is none.
    pub after: Option<Neighbour>,
    /// The prover's own peer key, when one of the checkpoints is the prover's.
    pub own: Option<[u8; 32]>,
    /// Checkpoints whose tree of blocks has the block, in any order.
    pub checkpoints: Vec<Placed>,
}

/// A leaf of a tree of blocks that stands beside the place where an empty hour's block would stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourBlock {
    /// The block's number.
    pub number: u64,
    /// Its count and root.
    pub block: Contents,
    /// Its index among the closed blocks.
    pub index: u64,
    /// Inclusion path to the checkpoint's root over blocks.
    pub path: Vec<[u8; 32]>,
}

/// A checkpoint, and the blocks on either side of an empty hour in its tree of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surrounded {
    /// What the peer signed.
    pub checkpoint: SignedCheckpoint,
    /// The last block before the hour, if there is one and one after it.
    pub before: Option<NeighbourBlock>,
    /// The first block after the hour. `None` when the hour is behind the last closed block: then the checkpoint itself
    /// says by its time that the hour is closed and has no block.
    pub after: Option<NeighbourBlock>,
}

/// The parts of a proof that an hour has no block, so that no id is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmptyBlockProof {
    /// The id that was asked for.
    pub id: TxId,
    /// The hour.
    pub number: u64,
    /// The prover's own peer key, when one of the checkpoints is the prover's.
    pub own: Option<[u8; 32]>,
    /// Checkpoints that show that the hour is empty, in any order.
    pub checkpoints: Vec<Surrounded>,
}

/// Why a file proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Longer than any proof file is.
    #[error("longer than 1 MiB: no proof file; ask the prover for one with fewer checkpoints")]
    TooLong,
    /// Not JSON, or not the fields of a proof file.
    #[error("not a proof file: {0}; ask the prover for the file again")]
    Json(String),
    /// A kind of proof that this version does not know.
    #[error("not a proof of a known kind; a newer qasedak may know it")]
    Kind,
    /// Written in another format.
    #[error("a proof file of another version; a newer qasedak may read it")]
    Version,
    /// Not in the one form that proof files are written in.
    #[error("the file was edited: it is not in the form in which proof files are written; ask for it again")]
    NotCanonical,
    /// The check at the end does not fit the file.
    #[error("the file was changed: the check at its end does not fit; ask for it again")]
    Check,
    /// No network has this name and these parameters.
    #[error("the network's parameters are not those of the network of that name")]
    Network,
    /// The header of the transaction, or of a parent, is not valid.
    #[error("transaction {id}: {rule}")]
    Header {
        /// The id that the file gives it.
        id: TxId,
        /// The rule that is broken.
        rule: RuleError,
    },
    /// A header does not hash to the id beside it.
    #[error("a header does not hash to the id {0} that the file gives it")]
    Id(TxId),
    /// The parents' headers are not those of the parents that the transaction names.
    #[error("the parents' headers are not those of the parents that the transaction names")]
    Parents,
    /// The transaction's time is not in the block's hour.
    #[error("the transaction's time does not lie in the block's hour")]
    Hour,
    /// The path in the block does not lead to the block's root.
    #[error("the path does not lead to the block's root: the block does not hold the id there")]
    Path,
    /// The neighbours do not enclose the absent id.
    #[error("the neighbours shown do not enclose the place where the id would stand: its absence is not shown")]
    Neighbours,
    /// There is no checkpoint, so nobody says that the block is as shown.
    #[error("no peer's checkpoint: a transaction may be valid and stand nowhere; ask a prover who has checkpoints")]
    NoCheckpoints,
    /// More checkpoints than a file may have.
    #[error("more than 256 checkpoints; leave some out")]
    TooManyCheckpoints,
    /// Checkpoints are not in their order, or one stands twice.
    #[error("the checkpoints are not in ascending order")]
    CheckpointOrder,
    /// A checkpoint is none.
    #[error("a checkpoint in the file is not good: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint does not hold the block as shown.
    #[error("the checkpoint of {signer} at {time} does not carry what the file says of the block")]
    NotCarried {
        /// The signer's public key in hexadecimal digits.
        signer: String,
        /// The checkpoint's time.
        time: crate::Time,
    },
    /// The prover's own key signed none of the checkpoints.
    #[error("the key that is named as the prover's own signed none of the checkpoints")]
    Own,
}

impl InclusionProof {
    /// Writes the proof file, once it has been checked.
    ///
    /// # Errors
    /// [`ProofError`] when the parts prove nothing.
    pub fn to_file(&self, network: &Network) -> Result<Vec<u8>, ProofError> {
        file::write_inclusion(network, self)
    }
}

impl AbsenceProof {
    /// Writes the proof file, once it has been checked.
    ///
    /// # Errors
    /// [`ProofError`] when the parts prove nothing.
    pub fn to_file(&self, network: &Network) -> Result<Vec<u8>, ProofError> {
        file::write_absence(network, self)
    }
}

impl EmptyBlockProof {
    /// Writes the proof file, once it has been checked.
    ///
    /// # Errors
    /// [`ProofError`] when the parts prove nothing.
    pub fn to_file(&self, network: &Network) -> Result<Vec<u8>, ProofError> {
        file::write_empty_block(network, self)
    }
}

/// Checks a proof file: form, check, network, header, paths, signatures.
///
/// # Errors
/// [`ProofError`]: the file proves nothing.
pub fn check(bytes: &[u8]) -> Result<Proven, ProofError> {
    if bytes.len() > FILE_MAX_BYTES {
        return Err(ProofError::TooLong);
    }
    file::check(bytes)
}
