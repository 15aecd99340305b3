//! Proof files out of this ledger: that a transaction is in its block, or that a block does not hold an id (DESIGN §6;
//! `docs/protocol.md`, "Proof files"). The parts and their check are [`proof`](crate::proof)'s; here they are gathered.

use super::{
    BlockPath, Ledger,
    kept::{self, Failed, KeptBlock, Place},
};
use crate::{
    block::{Block, Contents, closes},
    checkpoint::SignedCheckpoint,
    ids::TxId,
    proof::{
        self, AbsenceProof, CHECKPOINTS_MAX, EmptyBlockProof, InclusionProof, Neighbour, NeighbourBlock, Placed,
        ProofError, Sides, Surrounded,
    },
    store::{Store, StoreError},
    time::Time,
    transaction::Header,
};

/// Checkpoints that a proof may cite.
#[derive(Clone, Debug)]
pub struct Witnesses {
    /// The prover's own peer key, where it has signed any.
    pub own: Option<[u8; 32]>,
    /// Own and peers' checkpoints, those to be preferred first. Those that do not carry the block are left out.
    pub checkpoints: Vec<SignedCheckpoint>,
}

/// A proof file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// What it holds.
    pub file: Vec<u8>,
    /// Checkpoints that were not looked at, since the file has no room for more than [`CHECKPOINTS_MAX`].
    pub left_out: u64,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The transaction is not in the ledger.
    #[error("transaction {0} is not in this node's ledger; check the id, or wait until the node has caught up")]
    NotHere(TxId),
    /// The transaction is in the ledger, so its absence cannot be shown.
    #[error("transaction {id} is in block {number} of this node's ledger, so no absence of it is proven")]
    Present {
        /// The id.
        id: TxId,
        /// Its block.
        number: u64,
    },
    /// No checkpoint can speak of the block yet.
    #[error("block {number} is still open: checkpoints speak of closed blocks only; ask again from {closes} on")]
    Open {
        /// The block's number.
        number: u64,
        /// When it closes.
        closes: Time,
    },
    /// The hour lies before the network's first.
    #[error("hour {number} lies before the network's start; there are blocks from {first} on only")]
    BeforeStart {
        /// The hour's number.
        number: u64,
        /// The network's first hour.
        first: u64,
    },
    /// The block is closed, and no checkpoint carries it as it is here.
    #[error(
        "no checkpoint carries block {0} as it is in this ledger now; the node makes one each minute, and peers send \
         theirs: try again in two minutes"
    )]
    NoWitness(u64),
    /// What was put together would prove nothing.
    #[error("the proof does not check, so none was made: {0}")]
    Proof(#[from] ProofError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<S: Store> Ledger<S> {
    /// Makes the file that proves that a transaction is in the block of its hour.
    ///
    /// # Errors
    /// [`ProveError`] says why there is none.
    pub fn prove(&mut self, id: &TxId, witnesses: &Witnesses, system: Time) -> Result<Proved, ProveError> {
        let header = self.header_of(id)?.ok_or(ProveError::NotHere(*id))?;
        let number = header.core().time().hour();
        self.check_closed(number, system)?;
        let block = self.block(number)?.ok_or(ProveError::NotHere(*id))?;
        let Place { index, path } = self.place_in_block(&block, id)?.ok_or(ProveError::NotHere(*id))?;
        let mut parents = Vec::new();
        for parent in header.core().parents().iter().filter(|parent| **parent != self.network.genesis()) {
            parents.push(self.header_of(parent)?.ok_or(ProveError::NotHere(*parent))?);
        }
        let (checkpoints, left_out) = self.placed(&block, witnesses)?;
        let own = own_of(witnesses, checkpoints.iter().map(|placed| &placed.checkpoint));
        let proof = InclusionProof { header, parents, block: contents(&block), index, path, own, checkpoints };
        Ok(Proved { file: proof.to_file(&self.network)?, left_out })
    }

    /// Makes the file that proves that the block of an hour does not hold an id, or that the hour has no block at all.
    ///
    /// # Errors
    /// [`ProveError`] says why there is none; among others [`ProveError::Present`].
    pub fn prove_absent(
        &mut self,
        id: &TxId,
        number: u64,
        witnesses: &Witnesses,
        system: Time,
    ) -> Result<Proved, ProveError> {
        if let Some(header) = self.header_of(id)? {
            return Err(ProveError::Present { id: *id, number: header.core().time().hour() });
        }
        self.check_closed(number, system)?;
        let Some(block) = self.block(number)? else {
            return self.prove_empty(id, number, witnesses);
        };
        let sides = self.neighbours_in_block(&block, id)?;
        let (before, after) = sides.ok_or(ProveError::Present { id: *id, number })?;
        let (checkpoints, left_out) = self.placed(&block, witnesses)?;
        let own = own_of(witnesses, checkpoints.iter().map(|placed| &placed.checkpoint));
        let proof = AbsenceProof { id: *id, number, block: contents(&block), before, after, own, checkpoints };
        Ok(Proved { file: proof.to_file(&self.network)?, left_out })
    }

    /// Index and path of an id in its block; `None` when the block does not hold it.
    pub(super) fn place_in_block(&mut self, block: &Block, id: &TxId) -> Result<Option<Place>, StoreError> {
        if let Some(place) = self.of_kept(block, |kept| kept.place(id))? {
            return Ok(Some(place));
        }
        let place = proof::place_in_block(self.network.ledger(), &self.read_block_whole(block)?, id);
        Ok(place.map(|(index, path)| Place { index, path }))
    }

    /// The ids on either side of one that a block does not hold; `None` when it does.
    pub(super) fn neighbours_in_block(
        &mut self,
        block: &Block,
        id: &TxId,
    ) -> Result<Option<Sides<Neighbour>>, StoreError> {
        if let Some(sides) = self.of_kept(block, |kept| kept.neighbours(id))? {
            return Ok(Some(sides));
        }
        Ok(proof::neighbours(self.network.ledger(), &self.read_block_whole(block)?, id))
    }

    /// Asks what is kept of a block; `None` when nothing is that leads to the block's root.
    fn of_kept<T>(
        &self,
        block: &Block,
        ask: impl FnOnce(&KeptBlock<'_, S>) -> Result<T, Failed>,
    ) -> Result<Option<T>, StoreError> {
        match KeptBlock::open(&self.store, self.network.ledger(), block).map(|kept| ask(&kept)) {
            Some(Ok(answer)) => Ok(Some(answer)),
            Some(Err(Failed::Store(error))) => Err(error),
            Some(Err(Failed::Kept)) | None => Ok(None),
        }
    }

    /// All ids of a block, ascending. What proofs need of a large one is kept: the next is made without this.
    fn read_block_whole(&mut self, block: &Block) -> Result<Vec<TxId>, StoreError> {
        let places = self.block_places(block.number)?;
        if places.len() > kept::READ_WHOLE {
            self.keep_block(block.number, &places);
        }
        Ok(places.into_iter().map(|(id, _)| id).collect())
    }

    fn prove_empty(&mut self, id: &TxId, number: u64, witnesses: &Witnesses) -> Result<Proved, ProveError> {
        let sides = (self.last_block_before(number)?, self.blocks(number, 1)?.into_iter().next());
        let (checkpoints, left_out) =
            cited(number, witnesses, |checkpoint| self.surrounded(number, sides, checkpoint))?;
        let own = own_of(witnesses, checkpoints.iter().map(|around| &around.checkpoint));
        Ok(Proved { file: EmptyBlockProof { id: *id, number, own, checkpoints }.to_file(&self.network)?, left_out })
    }

    /// What a checkpoint shows of an hour without a block, which stands between `sides`.
    fn surrounded(
        &mut self,
        number: u64,
        sides: (Option<Block>, Option<Block>),
        checkpoint: &SignedCheckpoint,
    ) -> Result<Option<Surrounded>, StoreError> {
        let statement = checkpoint.statement();
        let Some(closed) = statement.closed.filter(|closed| closed.number >= number) else {
            let shown = closes(number) <= statement.time;
            return Ok(shown.then_some(Surrounded { checkpoint: *checkpoint, before: None, after: None }));
        };
        let mut side = |block: Option<Block>| -> Result<Option<NeighbourBlock>, StoreError> {
            let Some(block) = block.filter(|block| block.number <= closed.number) else {
                return Ok(None);
            };
            Ok(self.path_under(block.number, checkpoint)?.map(|BlockPath { index, path, .. }| NeighbourBlock {
                number: block.number,
                block: contents(&block),
                index,
                path,
            }))
        };
        let (before, after) = (side(sides.0)?, side(sides.1)?);
        Ok(after.is_some().then_some(Surrounded { checkpoint: *checkpoint, before, after }))
    }

    /// The checkpoints that carry a block, with the block's place in each, and how many were not looked at.
    fn placed(&mut self, block: &Block, witnesses: &Witnesses) -> Result<(Vec<Placed>, u64), ProveError> {
        cited(block.number, witnesses, |checkpoint| {
            let path = self.path_under(block.number, checkpoint)?;
            Ok(path.map(|BlockPath { index, path, .. }| Placed { checkpoint: *checkpoint, index, path }))
        })
    }

    /// The way from a block's leaf to the root over blocks that a checkpoint states; `None` when the blocks of this ledger
    /// do not lead to that root, or the checkpoint does not reach that far.
    fn path_under(&mut self, number: u64, checkpoint: &SignedCheckpoint) -> Result<Option<BlockPath>, StoreError> {
        let Some(closed) = checkpoint.statement().closed.filter(|closed| number <= closed.number) else {
            return Ok(None);
        };
        if self.blocks_up_to(closed.number)? != Some(closed) {
            return Ok(None);
        }
        self.block_path(number, closed.number)
    }

    fn header_of(&self, id: &TxId) -> Result<Option<Header>, StoreError> {
        let Some(position) = self.position(id)? else {
            return Ok(None);
        };
        Ok(self.record(position)?.map(|record| record.header))
    }

    fn check_closed(&self, number: u64, system: Time) -> Result<(), ProveError> {
        let first = self.network.start().hour();
        if number < first {
            return Err(ProveError::BeforeStart { number, first });
        }
        let closes = closes(number);
        if self.clock(system) < closes { Err(ProveError::Open { number, closes }) } else { Ok(()) }
    }
}

/// What the first [`CHECKPOINTS_MAX`] checkpoints show that show anything of a block, and how many were not looked at.
fn cited<T>(
    number: u64,
    witnesses: &Witnesses,
    mut shows: impl FnMut(&SignedCheckpoint) -> Result<Option<T>, StoreError>,
) -> Result<(Vec<T>, u64), ProveError> {
    let (mut cited, mut rest) = (Vec::new(), witnesses.checkpoints.iter());
    while cited.len() < CHECKPOINTS_MAX
        && let Some(checkpoint) = rest.next()
    {
        cited.extend(shows(checkpoint)?);
    }
    if cited.is_empty() { Err(ProveError::NoWitness(number)) } else { Ok((cited, rest.len() as u64)) }
}

fn contents(block: &Block) -> Contents {
    Contents { count: block.count, root: block.root }
}

/// The prover's key, if it signed one of the checkpoints.
fn own_of<'a>(witnesses: &Witnesses, mut checkpoints: impl Iterator<Item = &'a SignedCheckpoint>) -> Option<[u8; 32]> {
    witnesses.own.filter(|own| checkpoints.any(|checkpoint| checkpoint.signer() == own))
}
