//! What a proof must hold to prove anything: headers, paths, and what the checkpoints carry.
//!
//! Signatures of checkpoints were verified when they were read: a [`SignedCheckpoint`] holds no other.

use super::{
    AbsenceProof, CHECKPOINTS_MAX, EmptyBlockProof, Fact, InclusionProof, Neighbour, NeighbourBlock, ParentClaim,
    Placed, ProofError, Proven, Surrounded, Word,
};
use crate::{
    block::{self, Contents, closes},
    checkpoint::{Closed, SignedCheckpoint},
    ids::{LedgerId, TxId},
    merkle::{leaf, verify_inclusion},
    network::Network,
    rules::{RuleError, verify_header},
    transaction::Header,
};

pub(super) fn inclusion(network: &Network, proof: &InclusionProof) -> Result<Proven, ProofError> {
    let (ledger, core) = (network.ledger(), proof.header.core());
    let id = valid(network, &proof.header)?;
    let parents = parents(network, proof, id)?;
    let number = core.time().hour();
    if !in_block(ledger, &id, proof.index, proof.block, &proof.path) {
        return Err(ProofError::Path);
    }
    carried(ledger, number, proof.block, &proof.checkpoints)?;
    let fact = Fact::Included { id, time: core.time(), number, count: proof.block.count, parents };
    let words = words(proof.checkpoints.iter().map(|placed| &placed.checkpoint), proof.own)?;
    Ok(Proven::new(network, fact, words))
}

pub(super) fn absence(network: &Network, proof: &AbsenceProof) -> Result<Proven, ProofError> {
    let ledger = network.ledger();
    let AbsenceProof { id, number, block, .. } = *proof;
    let stands = |side: &Neighbour| in_block(ledger, &side.id, side.index, block, &side.path);
    let enclosed = match (&proof.before, &proof.after) {
        (Some(before), Some(after)) => {
            before.id < id && id < after.id && before.index.checked_add(1) == Some(after.index)
        }
        (Some(last), None) => last.id < id && last.index.checked_add(1) == Some(block.count),
        (None, Some(first)) => id < first.id && first.index == 0,
        (None, None) => false,
    };
    if !enclosed {
        return Err(ProofError::Neighbours);
    }
    if !proof.before.iter().chain(&proof.after).all(stands) {
        return Err(ProofError::Path);
    }
    carried(ledger, number, block, &proof.checkpoints)?;
    let words = words(proof.checkpoints.iter().map(|placed| &placed.checkpoint), proof.own)?;
    Ok(Proven::new(network, Fact::Absent { id, number, count: block.count }, words))
}

pub(super) fn empty_block(network: &Network, proof: &EmptyBlockProof) -> Result<Proven, ProofError> {
    let ledger = network.ledger();
    for surrounded in &proof.checkpoints {
        if !shows_empty(ledger, proof.number, surrounded) {
            return Err(not_carried(&surrounded.checkpoint));
        }
    }
    let words = words(proof.checkpoints.iter().map(|surrounded| &surrounded.checkpoint), proof.own)?;
    Ok(Proven::new(network, Fact::EmptyBlock { id: proof.id, number: proof.number }, words))
}

/// The id of a header that obeys every rule that needs no ledger.
fn valid(network: &Network, header: &Header) -> Result<TxId, ProofError> {
    let id = header.id(network);
    verify_header(network, header).map_err(|rule| ProofError::Header { id, rule })?;
    Ok(id)
}

/// The headers are those of exactly the parents that the transaction names, and none is later than it.
fn parents(network: &Network, proof: &InclusionProof, id: TxId) -> Result<Vec<ParentClaim>, ProofError> {
    let core = proof.header.core();
    let named: Vec<TxId> = core.parents().iter().filter(|parent| **parent != network.genesis()).copied().collect();
    if named.len() != proof.parents.len() {
        return Err(ProofError::Parents);
    }
    let mut claims = Vec::new();
    for (named, header) in named.into_iter().zip(&proof.parents) {
        if header.id(network) != named {
            return Err(ProofError::Parents);
        }
        valid(network, header)?;
        let time = header.core().time();
        if core.time() < time {
            return Err(ProofError::Header { id, rule: RuleError::TimeBeforeParent });
        }
        claims.push(ParentClaim { id: named, time });
    }
    Ok(claims)
}

/// Whether an id stands at an index of a block. The block's leaf binds its count and its root together.
fn in_block(ledger: LedgerId, id: &TxId, index: u64, block: Contents, path: &[[u8; 32]]) -> bool {
    verify_inclusion(ledger, leaf(ledger, id.as_bytes()), index, block.count, path, &block.root)
}

/// Whether a block stands at an index of the tree of blocks of a checkpoint, and has the last number if and only if it
/// has the last index.
fn among_closed(
    ledger: LedgerId,
    closed: &Closed,
    number: u64,
    block: Contents,
    index: u64,
    path: &[[u8; 32]],
) -> bool {
    let is_last = index.checked_add(1) == Some(closed.blocks);
    let data = leaf(ledger, &block::leaf(number, block));
    number <= closed.number
        && is_last == (number == closed.number)
        && verify_inclusion(ledger, data, index, closed.blocks, path, &closed.root)
}

/// Every checkpoint must carry the block: one that does not is no witness, and has no place in the file.
fn carried(ledger: LedgerId, number: u64, block: Contents, checkpoints: &[Placed]) -> Result<(), ProofError> {
    for Placed { checkpoint, index, path } in checkpoints {
        let closed = checkpoint.statement().closed;
        if !closed.is_some_and(|closed| among_closed(ledger, &closed, number, block, *index, path)) {
            return Err(not_carried(checkpoint));
        }
    }
    Ok(())
}

fn not_carried(checkpoint: &SignedCheckpoint) -> ProofError {
    ProofError::NotCarried { signer: hex::encode(checkpoint.signer()), time: checkpoint.statement().time }
}

/// Whether an hour lies between two neighbouring closed blocks, before the first, or behind the last one but closed.
fn shows_empty(ledger: LedgerId, number: u64, surrounded: &Surrounded) -> bool {
    let statement = surrounded.checkpoint.statement();
    let last = statement.closed.filter(|closed| number <= closed.number);
    let Some(closed) = last else {
        // "The last block that there is of those closed at the checkpoint's time": there is none after it.
        return surrounded.before.is_none() && surrounded.after.is_none() && closes(number) <= statement.time;
    };
    let stands = |side: &NeighbourBlock| among_closed(ledger, &closed, side.number, side.block, side.index, &side.path);
    let enclosed = match (&surrounded.before, &surrounded.after) {
        (Some(before), Some(after)) => {
            before.number < number && number < after.number && before.index.checked_add(1) == Some(after.index)
        }
        (None, Some(first)) => number < first.number && first.index == 0,
        (_, None) => false,
    };
    enclosed && surrounded.before.iter().chain(&surrounded.after).all(stands)
}

/// Who says so: at least one checkpoint, in strictly ascending order, and the prover's own key among the signers.
fn words<'a>(
    checkpoints: impl Iterator<Item = &'a SignedCheckpoint>,
    own: Option<[u8; 32]>,
) -> Result<Vec<Word>, ProofError> {
    let checkpoints: Vec<&SignedCheckpoint> = checkpoints.collect();
    if checkpoints.is_empty() {
        return Err(ProofError::NoCheckpoints);
    }
    if checkpoints.len() > CHECKPOINTS_MAX {
        return Err(ProofError::TooManyCheckpoints);
    }
    if !checkpoints.is_sorted_by(|a, b| order(a) < order(b)) {
        return Err(ProofError::CheckpointOrder);
    }
    if own.is_some_and(|own| !checkpoints.iter().any(|checkpoint| *checkpoint.signer() == own)) {
        return Err(ProofError::Own);
    }
    let word = |checkpoint: &&SignedCheckpoint| {
        let statement = checkpoint.statement();
        Word {
            signer: *checkpoint.signer(),
            own: own == Some(*checkpoint.signer()),
            log: statement.log,
            count: statement.count,
            time: statement.time,
        }
    };
    Ok(checkpoints.iter().map(word).collect())
}

/// The order of checkpoints in a file: signer, log, count, time. Two that are equal in these are one, or contradict each
/// other.
pub(super) fn order(checkpoint: &SignedCheckpoint) -> impl Ord + use<> {
    let statement = checkpoint.statement();
    (*checkpoint.signer(), statement.log, statement.count, statement.time)
}
