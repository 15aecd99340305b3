//! Fields of proof files as text: what each value looks like in JSON, and back.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{Neighbour, NeighbourBlock, Placed, ProofError, Surrounded};
use crate::{
    block::Contents,
    checkpoint::{Checkpoint, Closed, SignedCheckpoint, Statement},
    ids::{Chain, Digest, Link, Root, TxId},
    network::{FORMAT_VERSION, Network},
    time::Time,
    transaction::{HEADER_MAX_BYTES, Header},
};

/// N bytes as lower-case hexadecimal digits. Upper case is read, and then found out when the file is written again.
#[derive(Clone, Copy)]
pub(super) struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; N];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| D::Error::custom(format_args!("expected {} hexadecimal digits", N.saturating_mul(2))))?;
        Ok(Self(bytes))
    }
}

/// A header's bytes as lower-case hexadecimal digits.
struct HexHeader(Vec<u8>);

impl Serialize for HexHeader {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for HexHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() > HEADER_MAX_BYTES.saturating_mul(2) {
            return Err(D::Error::custom("longer than any header"));
        }
        hex::decode(text).map(Self).map_err(|_| D::Error::custom("expected hexadecimal digits"))
    }
}

pub(super) type Path = Vec<Hex<32>>;

pub(super) fn path_text(path: &[[u8; 32]]) -> Path {
    path.iter().map(|hash| Hex(*hash)).collect()
}

pub(super) fn path(text: &Path) -> Vec<[u8; 32]> {
    text.iter().map(|hash| hash.0).collect()
}

/// The fields of the genesis record.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkText {
    name: String,
    version: u8,
    start: u64,
    base_milli: u64,
    settle: u64,
}

impl NetworkText {
    pub(super) fn of(network: &Network) -> Self {
        Self {
            name: network.name().to_owned(),
            version: FORMAT_VERSION,
            start: network.start().secs(),
            base_milli: network.base_milli(),
            settle: network.settle_secs(),
        }
    }
    /// The network of that name, if it has these parameters.
    pub(super) fn read(&self) -> Result<Network, ProofError> {
        let network = Network::named(&self.name).map_err(|_| ProofError::Network)?;
        if Self::of(&network) == *self { Ok(network) } else { Err(ProofError::Network) }
    }
}

/// A header and its id.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderText {
    id: Hex<32>,
    header: HexHeader,
}

impl HeaderText {
    pub(super) fn of(network: &Network, header: &Header) -> Self {
        Self { id: Hex(*header.id(network).as_bytes()), header: HexHeader(header.to_bytes()) }
    }
    pub(super) fn read(&self, network: &Network) -> Result<Header, ProofError> {
        let id = TxId::from_bytes(self.id.0);
        let header = Header::from_bytes(&self.header.0).map_err(|rule| ProofError::Header { id, rule })?;
        if header.id(network) == id { Ok(header) } else { Err(ProofError::Id(id)) }
    }
}

/// A block.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockText {
    pub number: u64,
    count: u64,
    root: Hex<32>,
}

impl BlockText {
    pub(super) fn of(number: u64, contents: Contents) -> Self {
        Self { number, count: contents.count, root: Hex(*contents.root.as_bytes()) }
    }
    pub(super) fn contents(&self) -> Contents {
        Contents { count: self.count, root: Root::from_bytes(self.root.0) }
    }
}

/// A leaf of a block's tree.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NeighbourText {
    id: Hex<32>,
    index: u64,
    path: Path,
}

impl NeighbourText {
    pub(super) fn of(neighbour: &Neighbour) -> Self {
        let Neighbour { id, index, path } = neighbour;
        Self { id: Hex(*id.as_bytes()), index: *index, path: path_text(path) }
    }
    pub(super) fn read(&self) -> Neighbour {
        Neighbour { id: TxId::from_bytes(self.id.0), index: self.index, path: path(&self.path) }
    }
}

/// A leaf of a tree of blocks.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NeighbourBlockText {
    block: BlockText,
    index: u64,
    path: Path,
}

impl NeighbourBlockText {
    pub(super) fn of(neighbour: &NeighbourBlock) -> Self {
        let NeighbourBlock { number, block, index, path } = neighbour;
        Self { block: BlockText::of(*number, *block), index: *index, path: path_text(path) }
    }
    pub(super) fn read(&self) -> NeighbourBlock {
        let (number, block) = (self.block.number, self.block.contents());
        NeighbourBlock { number, block, index: self.index, path: path(&self.path) }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClosedText {
    number: u64,
    chain: Hex<32>,
    blocks: u64,
    root: Hex<32>,
}

/// A signed checkpoint, field by field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckpointText {
    signer: Hex<32>,
    signature: Hex<64>,
    time: u64,
    log: Hex<16>,
    count: u64,
    link: Hex<32>,
    root: Hex<32>,
    digest: Hex<32>,
    closed: Option<ClosedText>,
}

impl CheckpointText {
    pub(super) fn of(checkpoint: &SignedCheckpoint) -> Self {
        let Statement { log, count, link, root, digest, closed, time } = *checkpoint.statement();
        Self {
            signer: Hex(*checkpoint.signer()),
            signature: Hex(*checkpoint.signature()),
            time: time.secs(),
            log: Hex(log),
            count,
            link: Hex(*link.as_bytes()),
            root: Hex(*root.as_bytes()),
            digest: Hex(*digest.as_bytes()),
            closed: closed.map(|closed| ClosedText {
                number: closed.number,
                chain: Hex(*closed.chain.as_bytes()),
                blocks: closed.blocks,
                root: Hex(*closed.root.as_bytes()),
            }),
        }
    }

    /// Reads a checkpoint and verifies its signature.
    pub(super) fn read(&self, network: &Network) -> Result<SignedCheckpoint, ProofError> {
        let closed = self.closed.as_ref().map(|closed| Closed {
            number: closed.number,
            chain: Chain::from_bytes(closed.chain.0),
            blocks: closed.blocks,
            root: Root::from_bytes(closed.root.0),
        });
        let statement = Statement {
            log: self.log.0,
            count: self.count,
            link: Link::from_bytes(self.link.0),
            root: Root::from_bytes(self.root.0),
            digest: Digest::from_bytes(self.digest.0),
            closed,
            time: Time::from_secs(self.time),
        };
        let checkpoint = Checkpoint::new(network, statement)?;
        Ok(SignedCheckpoint::new(network, checkpoint, self.signer.0, self.signature.0)?)
    }
}

/// A checkpoint with the block's place in it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlacedText {
    checkpoint: CheckpointText,
    index: u64,
    path: Path,
}

impl PlacedText {
    pub(super) fn of(placed: &Placed) -> Self {
        let Placed { checkpoint, index, path } = placed;
        Self { checkpoint: CheckpointText::of(checkpoint), index: *index, path: path_text(path) }
    }
    pub(super) fn read(&self, network: &Network) -> Result<Placed, ProofError> {
        let checkpoint = self.checkpoint.read(network)?;
        Ok(Placed { checkpoint, index: self.index, path: path(&self.path) })
    }
}

/// A checkpoint with the blocks around an empty hour.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SurroundedText {
    checkpoint: CheckpointText,
    before: Option<NeighbourBlockText>,
    after: Option<NeighbourBlockText>,
}

impl SurroundedText {
    pub(super) fn of(surrounded: &Surrounded) -> Self {
        let Surrounded { checkpoint, before, after } = surrounded;
        Self {
            checkpoint: CheckpointText::of(checkpoint),
            before: before.as_ref().map(NeighbourBlockText::of),
            after: after.as_ref().map(NeighbourBlockText::of),
        }
    }
    pub(super) fn read(&self, network: &Network) -> Result<Surrounded, ProofError> {
        let side = |text: &Option<NeighbourBlockText>| text.as_ref().map(NeighbourBlockText::read);
        Ok(Surrounded {
            checkpoint: self.checkpoint.read(network)?,
            before: side(&self.before),
            after: side(&self.after),
        })
    }
}
