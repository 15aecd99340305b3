//! The text of proof files: strict JSON with one form only (`docs/protocol.md`, "Proof files").
//!
//! Every field is known, stands in its place and is needed. What was read is written again and must give the same bytes:
//! no other spacing, order, spelling of a number or case of a digit is a proof file.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    AbsenceProof, CHECKPOINTS_MAX, EmptyBlockProof, InclusionProof, ProofError, Proven,
    text::{BlockText, HeaderText, Hex, NeighbourText, NetworkText, Path, PlacedText, SurroundedText, path, path_text},
    verify,
};
use crate::{
    checkpoint::SignedCheckpoint,
    hash::{Context, hash},
    ids::TxId,
    network::Network,
};

const ABOUT: &str =
    "What stood in a block of a Qasedak ledger, by the word of peers. Check it with: qasedak audit check";
const VERSION: u32 = 1;
const INCLUSION: &str = "inclusion";
const ABSENCE: &str = "absence";
const EMPTY_BLOCK: &str = "empty block";

/// What every proof file begins with, read before anything else of it.
#[derive(Deserialize)]
struct Head {
    kind: String,
    version: u32,
}

/// The file of an [`InclusionProof`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InclusionFile {
    about: String,
    kind: String,
    version: u32,
    network: NetworkText,
    transaction: HeaderText,
    parents: Vec<HeaderText>,
    block: BlockText,
    index: u64,
    path: Path,
    own: Option<Hex<32>>,
    checkpoints: Vec<PlacedText>,
    check: Hex<32>,
}

/// The file of an [`AbsenceProof`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AbsenceFile {
    about: String,
    kind: String,
    version: u32,
    network: NetworkText,
    absent: Hex<32>,
    block: BlockText,
    before: Option<NeighbourText>,
    after: Option<NeighbourText>,
    own: Option<Hex<32>>,
    checkpoints: Vec<PlacedText>,
    check: Hex<32>,
}

/// The file of an [`EmptyBlockProof`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyBlockFile {
    about: String,
    kind: String,
    version: u32,
    network: NetworkText,
    absent: Hex<32>,
    number: u64,
    own: Option<Hex<32>>,
    checkpoints: Vec<SurroundedText>,
    check: Hex<32>,
}

/// What the three kinds of file have in common.
trait Form: Serialize + DeserializeOwned {
    const KIND: &'static str;
    fn about(&self) -> &str;
    fn check(&mut self) -> &mut Hex<32>;
    fn prove(&self) -> Result<Proven, ProofError>;
}

macro_rules! file {
    ($name:ident, $kind:expr, $prove:ident) => {
        impl Form for $name {
            const KIND: &'static str = $kind;
            fn about(&self) -> &str {
                &self.about
            }
            fn check(&mut self) -> &mut Hex<32> {
                &mut self.check
            }
            fn prove(&self) -> Result<Proven, ProofError> {
                let network = self.network.read()?;
                verify::$prove(&network, &self.read(&network)?)
            }
        }
    };
}

file!(InclusionFile, INCLUSION, inclusion);
file!(AbsenceFile, ABSENCE, absence);
file!(EmptyBlockFile, EMPTY_BLOCK, empty_block);

impl InclusionFile {
    fn read(&self, network: &Network) -> Result<InclusionProof, ProofError> {
        let header = self.transaction.read(network)?;
        if header.core().time().hour() != self.block.number {
            return Err(ProofError::Hour);
        }
        Ok(InclusionProof {
            header,
            parents: all(&self.parents, |parent| parent.read(network))?,
            block: self.block.contents(),
            index: self.index,
            path: path(&self.path),
            own: self.own.map(|own| own.0),
            checkpoints: read_checkpoints(&self.checkpoints, |placed| placed.read(network))?,
        })
    }
}

impl AbsenceFile {
    fn read(&self, network: &Network) -> Result<AbsenceProof, ProofError> {
        Ok(AbsenceProof {
            id: TxId::from_bytes(self.absent.0),
            number: self.block.number,
            block: self.block.contents(),
            before: self.before.as_ref().map(NeighbourText::read),
            after: self.after.as_ref().map(NeighbourText::read),
            own: self.own.map(|own| own.0),
            checkpoints: read_checkpoints(&self.checkpoints, |placed| placed.read(network))?,
        })
    }
}

impl EmptyBlockFile {
    fn read(&self, network: &Network) -> Result<EmptyBlockProof, ProofError> {
        Ok(EmptyBlockProof {
            id: TxId::from_bytes(self.absent.0),
            number: self.number,
            own: self.own.map(|own| own.0),
            checkpoints: read_checkpoints(&self.checkpoints, |around| around.read(network))?,
        })
    }
}

fn all<T, U>(texts: &[T], read: impl Fn(&T) -> Result<U, ProofError>) -> Result<Vec<U>, ProofError> {
    texts.iter().map(read).collect()
}

/// Bounds the number of signatures before the first is verified.
fn read_checkpoints<T, U>(texts: &[T], read: impl Fn(&T) -> Result<U, ProofError>) -> Result<Vec<U>, ProofError> {
    if texts.len() > CHECKPOINTS_MAX { Err(ProofError::TooManyCheckpoints) } else { all(texts, read) }
}

pub(super) fn write_inclusion(network: &Network, proof: &InclusionProof) -> Result<Vec<u8>, ProofError> {
    write(InclusionFile {
        about: ABOUT.to_owned(),
        kind: INCLUSION.to_owned(),
        version: VERSION,
        network: NetworkText::of(network),
        transaction: HeaderText::of(network, &proof.header),
        parents: proof.parents.iter().map(|parent| HeaderText::of(network, parent)).collect(),
        block: BlockText::of(proof.header.core().time().hour(), proof.block),
        index: proof.index,
        path: path_text(&proof.path),
        own: proof.own.map(Hex),
        checkpoints: sorted(&proof.checkpoints, |placed| &placed.checkpoint, PlacedText::of),
        check: Hex([0; 32]),
    })
}

pub(super) fn write_absence(network: &Network, proof: &AbsenceProof) -> Result<Vec<u8>, ProofError> {
    write(AbsenceFile {
        about: ABOUT.to_owned(),
        kind: ABSENCE.to_owned(),
        version: VERSION,
        network: NetworkText::of(network),
        absent: Hex(*proof.id.as_bytes()),
        block: BlockText::of(proof.number, proof.block),
        before: proof.before.as_ref().map(NeighbourText::of),
        after: proof.after.as_ref().map(NeighbourText::of),
        own: proof.own.map(Hex),
        checkpoints: sorted(&proof.checkpoints, |placed| &placed.checkpoint, PlacedText::of),
        check: Hex([0; 32]),
    })
}

pub(super) fn write_empty_block(network: &Network, proof: &EmptyBlockProof) -> Result<Vec<u8>, ProofError> {
    write(EmptyBlockFile {
        about: ABOUT.to_owned(),
        kind: EMPTY_BLOCK.to_owned(),
        version: VERSION,
        network: NetworkText::of(network),
        absent: Hex(*proof.id.as_bytes()),
        number: proof.number,
        own: proof.own.map(Hex),
        checkpoints: sorted(&proof.checkpoints, |around| &around.checkpoint, SurroundedText::of),
        check: Hex([0; 32]),
    })
}

/// Checkpoints in the order of the file; one that was given twice stands once.
fn sorted<T: PartialEq, U>(parts: &[T], checkpoint: impl Fn(&T) -> &SignedCheckpoint, text: fn(&T) -> U) -> Vec<U> {
    let mut parts: Vec<&T> = parts.iter().collect();
    parts.sort_by_cached_key(|part| verify::order(checkpoint(part)));
    parts.dedup();
    parts.into_iter().map(text).collect()
}

/// The one form of a file: JSON with two spaces a level, and a newline at the end.
fn to_bytes<F: Form>(file: &F) -> Result<Vec<u8>, ProofError> {
    let mut bytes = serde_json::to_vec_pretty(file).map_err(|error| ProofError::Json(error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// `H("proof", file)` over the file with 64 zeros in place of the check.
fn check_of<F: Form>(file: &mut F) -> Result<[u8; 32], ProofError> {
    let found = std::mem::replace(file.check(), Hex([0; 32]));
    let check = hash(Context::Proof, &[&to_bytes(file)?]);
    *file.check() = found;
    Ok(check)
}

/// Completes a file with its check. What would not pass is not written.
fn write<F: Form>(mut file: F) -> Result<Vec<u8>, ProofError> {
    *file.check() = Hex(check_of(&mut file)?);
    let bytes = to_bytes(&file)?;
    super::check(&bytes)?;
    Ok(bytes)
}

/// Reads a file of any kind and checks it.
pub(super) fn check(bytes: &[u8]) -> Result<Proven, ProofError> {
    let head: Head = parse(bytes)?;
    if head.version != VERSION {
        return Err(ProofError::Version);
    }
    match head.kind.as_str() {
        InclusionFile::KIND => check_as::<InclusionFile>(bytes),
        AbsenceFile::KIND => check_as::<AbsenceFile>(bytes),
        EmptyBlockFile::KIND => check_as::<EmptyBlockFile>(bytes),
        _ => Err(ProofError::Kind),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ProofError> {
    serde_json::from_slice(bytes).map_err(|error| ProofError::Json(error.to_string()))
}

fn check_as<F: Form>(bytes: &[u8]) -> Result<Proven, ProofError> {
    let mut file: F = parse(bytes)?;
    if to_bytes(&file)? != bytes || file.about() != ABOUT {
        return Err(ProofError::NotCanonical);
    }
    let check = check_of(&mut file)?;
    if file.check().0 != check {
        return Err(ProofError::Check);
    }
    file.prove()
}
