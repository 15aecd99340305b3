//! Checkpoints: a peer's signed statement about its log and its blocks (DESIGN §3, §6; `docs/protocol.md`, "Checkpoints").
//!
//! A [`Checkpoint`] cannot be built or decoded with values that no honest node could state at all; a
//! [`SignedCheckpoint`] cannot be built or decoded with a signature that does not verify. Two of one signer and log are
//! held against each other by [`judge`].

use bincode::{Decode, Encode};

use crate::{
    block::closes,
    codec,
    hash::{Context, hash},
    ids::{Chain, Digest, Link, Root},
    network::Network,
    rules::signature_is_valid,
    time::{TIME_END_SECS, Time},
};

mod judge;

pub use judge::{Contradiction, judge};

/// Bytes of a checkpoint.
pub const CHECKPOINT_BYTES: usize = 209;
/// Bytes of a checkpoint with its signer and signature.
pub const SIGNED_BYTES: usize = CHECKPOINT_BYTES + 32 + 64;
/// The first byte of every checkpoint.
const VERSION: u8 = 1;

/// Why a checkpoint is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Another length, or bytes that no checkpoint encodes to.
    #[error("not the encoding of a checkpoint; ask the peer for it again")]
    Encoding,
    /// Written in a newer format.
    #[error("a checkpoint of another version; a newer qasedak may read it")]
    Version,
    /// It speaks of a log without transactions.
    #[error("a checkpoint needs at least one transaction; make it once the log has one")]
    EmptyLog,
    /// More closed blocks than transactions, or than hours up to the last of them, or no closed block where one is named.
    #[error("the number of closed blocks does not fit the transactions or the last block; the signer is at fault")]
    BlockCount,
    /// The last closed block is not closed yet at the checkpoint's time.
    #[error("the last closed block is not closed at the checkpoint's time; the signer is at fault")]
    NotClosed,
    /// The time lies before the network's start or at 2^40 and beyond.
    #[error("the checkpoint's time lies outside the network's; the signer's clock is at fault")]
    Time,
    /// The signature is not the signer's over this checkpoint in this network.
    #[error("the signature does not verify in this network; the checkpoint was changed, or belongs to another network")]
    Signature,
}

/// What a checkpoint says of all closed blocks up to the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Number of the last closed block: the last block that there is of those closed at the checkpoint's time.
    pub number: u64,
    /// Chain value of that block.
    pub chain: Chain,
    /// How many blocks there are up to it, itself included; never 0.
    pub blocks: u64,
    /// Merkle root over the [leaves](crate::block::Block::leaf) of these blocks in order.
    pub root: Root,
}

/// What a node states about its log and its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Names the log: 16 random bytes, new for every log and with every peer key.
    pub log: [u8; 16],
    /// Transactions in the log; never 0.
    pub count: u64,
    /// Link after the last of them.
    pub link: Link,
    /// Merkle root over their ids by position.
    pub root: Root,
    /// Digest of their set.
    pub digest: Digest,
    /// The closed blocks, `None` while there are none.
    pub closed: Option<Closed>,
    /// When the node said this, by its own clock.
    pub time: Time,
}

/// A statement that one honest node could make, still unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint(Statement);

/// The bytes in order; without closed blocks, their fields are zero.
#[derive(Encode, Decode)]
struct Wire {
    version: u8,
    log: [u8; 16],
    count: u64,
    link: [u8; 32],
    root: [u8; 32],
    digest: [u8; 32],
    closed_number: u64,
    closed_chain: [u8; 32],
    closed_blocks: u64,
    closed_root: [u8; 32],
    time: u64,
}

impl Checkpoint {
    /// Checks a statement for what no honest node could say.
    ///
    /// # Errors
    /// The [`CheckpointError`] of the first rule that is broken.
    pub fn new(network: &Network, statement: Statement) -> Result<Self, CheckpointError> {
        let Statement { count, time, .. } = statement;
        if count == 0 {
            return Err(CheckpointError::EmptyLog);
        }
        if time < network.start() || time.secs() >= TIME_END_SECS {
            return Err(CheckpointError::Time);
        }
        if let Some(Closed { number, blocks, .. }) = statement.closed {
            // Blocks number from the hour of the network's start on, one an hour at most.
            let hours = number.checked_sub(network.start().hour()).map_or(0, |hours| hours.saturating_add(1));
            if blocks == 0 || blocks > count || blocks > hours {
                return Err(CheckpointError::BlockCount);
            }
            if time < closes(number) {
                return Err(CheckpointError::NotClosed);
            }
        }
        Ok(Self(statement))
    }

    /// What is stated.
    pub fn statement(&self) -> &Statement {
        &self.0
    }

    /// The canonical encoding, [`CHECKPOINT_BYTES`] long.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Statement { log, count, link, root, digest, closed, time } = self.0;
        let wire = Wire {
            version: VERSION,
            log,
            count,
            link: *link.as_bytes(),
            root: *root.as_bytes(),
            digest: *digest.as_bytes(),
            closed_number: closed.map_or(0, |closed| closed.number),
            closed_chain: closed.map_or([0; 32], |closed| *closed.chain.as_bytes()),
            closed_blocks: closed.map_or(0, |closed| closed.blocks),
            closed_root: closed.map_or([0; 32], |closed| *closed.root.as_bytes()),
            time: time.secs(),
        };
        // Cannot fail: all fields have fixed sizes.
        codec::encode::<CHECKPOINT_BYTES, Wire>(&wire).unwrap_or_default()
    }

    /// Decodes a checkpoint that fills `bytes` exactly.
    ///
    /// # Errors
    /// [`CheckpointError`]; all but `Signature` can be.
    pub fn from_bytes(network: &Network, bytes: &[u8]) -> Result<Self, CheckpointError> {
        if bytes.len() != CHECKPOINT_BYTES {
            return Err(CheckpointError::Encoding);
        }
        if bytes.first() != Some(&VERSION) {
            return Err(CheckpointError::Version);
        }
        let wire: Wire = codec::decode::<CHECKPOINT_BYTES, _>(bytes).map_err(|_| CheckpointError::Encoding)?;
        let closed = Closed {
            number: wire.closed_number,
            chain: Chain::from_bytes(wire.closed_chain),
            blocks: wire.closed_blocks,
            root: Root::from_bytes(wire.closed_root),
        };
        let checkpoint = Self::new(
            network,
            Statement {
                log: wire.log,
                count: wire.count,
                link: Link::from_bytes(wire.link),
                root: Root::from_bytes(wire.root),
                digest: Digest::from_bytes(wire.digest),
                closed: (closed.blocks != 0).then_some(closed),
                time: Time::from_secs(wire.time),
            },
        )?;
        // "No closed block yet" has one form: zeros.
        if checkpoint.to_bytes() == bytes { Ok(checkpoint) } else { Err(CheckpointError::Encoding) }
    }

    /// `H("checkpoint", ledger, checkpoint)`, the message under the signature.
    pub fn signing_message(&self, network: &Network) -> [u8; 32] {
        hash(Context::Checkpoint, &[network.ledger().as_bytes(), &self.to_bytes()])
    }

    /// Has the checkpoint signed: `sign` makes the Ed25519 signature of `signer`, the peer key, over a message.
    ///
    /// # Errors
    /// [`CheckpointError::Signature`] when what `sign` made does not verify.
    pub fn sign(
        self,
        network: &Network,
        signer: [u8; 32],
        sign: impl FnOnce(&[u8; 32]) -> [u8; 64],
    ) -> Result<SignedCheckpoint, CheckpointError> {
        let signature = sign(&self.signing_message(network));
        SignedCheckpoint::new(network, self, signer, signature)
    }
}

/// A checkpoint whose signature verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    signer: [u8; 32],
    signature: [u8; 64],
}

impl SignedCheckpoint {
    /// Joins a checkpoint with a signature, by the signature rule of transactions (`verify_strict`).
    ///
    /// # Errors
    /// [`CheckpointError::Signature`] when it does not verify in this network.
    pub fn new(
        network: &Network,
        checkpoint: Checkpoint,
        signer: [u8; 32],
        signature: [u8; 64],
    ) -> Result<Self, CheckpointError> {
        if signature_is_valid(&signer, &checkpoint.signing_message(network), &signature) {
            Ok(Self { checkpoint, signer, signature })
        } else {
            Err(CheckpointError::Signature)
        }
    }

    /// What is stated.
    pub fn statement(&self) -> &Statement {
        self.checkpoint.statement()
    }
    /// The unsigned checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
    /// The peer's Ed25519 public key.
    pub fn signer(&self) -> &[u8; 32] {
        &self.signer
    }
    /// The Ed25519 signature.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// checkpoint | signer | signature, [`SIGNED_BYTES`] long.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.checkpoint.to_bytes()[..], &self.signer, &self.signature].concat()
    }

    /// Decodes and verifies a signed checkpoint that fills `bytes` exactly.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn from_bytes(network: &Network, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let (checkpoint, rest) = bytes.split_at_checked(CHECKPOINT_BYTES).ok_or(CheckpointError::Encoding)?;
        let (signer, rest) = rest.split_first_chunk::<32>().ok_or(CheckpointError::Encoding)?;
        let signature = <[u8; 64]>::try_from(rest).map_err(|_| CheckpointError::Encoding)?;
        Self::new(network, Checkpoint::from_bytes(network, checkpoint)?, *signer, signature)
    }
}
