//! Disclosure: a file that opens exactly one message to a third party (DESIGN §6, §8; `docs/wallet-format.md`,
//! "Disclosure file").
//!
//! It holds the transaction that carried the message, to whom it was sealed, and the one secret that opens this body and
//! no other: the KEM's shared secret, or the seed of the encapsulation. No key of either wallet is in it. A file has one
//! form: one that does not serialise to its own bytes is refused, so no byte of it can change unseen.

use std::fmt;

use qasedak_chain::{
    Network, Time, Transaction, TxId, network,
    proof::{self, Fact, ProofError, Proven},
    rules::{self, RuleError},
    transaction::{Header, Kind},
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    address::{Address, AddressError},
    inner::{Content, InnerId},
    keys::{ENCAPSULATION_SEED_BYTES, EncapsulationSeed, SEAL_PUBLIC_BYTES, SealPublic},
    open::{OpenError, Parts, Recipient},
};

mod form;

pub use form::FILE_MAX_BYTES;

/// The one secret that opens a message.
#[derive(Clone)]
pub enum Opening {
    /// The KEM's shared secret: what a recipient can give.
    SharedSecret(Zeroizing<[u8; 32]>),
    /// The seed of the encapsulation, X25519 half clamped: what a sender can give.
    EncapsulationSeed(EncapsulationSeed),
}

impl Opening {
    /// Who can give it.
    pub fn by(&self) -> Discloser {
        match self {
            Opening::SharedSecret(_) => Discloser::Recipient,
            Opening::EncapsulationSeed(_) => Discloser::Sender,
        }
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Opening::SharedSecret(_) => "SharedSecret(…)",
            Opening::EncapsulationSeed(_) => "EncapsulationSeed(…)",
        })
    }
}

/// Who disclosed a message first: each side has another secret to give. Files can be handed on, so this does not say from
/// whom one got the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discloser {
    /// Who wrote it.
    Sender,
    /// To whom it was written.
    Recipient,
}

/// All that a disclosure file holds.
#[derive(Clone, Debug)]
pub struct Disclosure {
    network: Network,
    transaction: Transaction,
    recipient: Address,
    seal: SealPublic,
    opening: Opening,
    /// The proof file of the transaction, as it stands in the disclosure.
    proof: Option<String>,
}

/// What a disclosure shows, once all of it is checked.
#[derive(Clone)]
pub struct Disclosed {
    /// The network.
    pub network: Network,
    /// The transaction that carried the message.
    pub tx_id: TxId,
    /// Its time, by its author's word.
    pub tx_time: Time,
    /// The message's identity: the hash that its sender signed.
    pub inner_id: InnerId,
    /// Who wrote it; proven by the signature inside.
    pub sender: Address,
    /// To whom, as the sender signed it.
    pub recipient: Address,
    /// When, by the sender's word, in milliseconds since 1970.
    pub time_ms: u64,
    /// What. It comes from someone else: show it through [`display`](crate::display).
    pub content: Content,
    /// Whose secret opened it.
    pub discloser: Discloser,
    /// What the proof of the transaction shows, if there is one in the disclosure.
    pub proof: Option<Proven>,
}

impl fmt::Debug for Disclosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disclosed({}, …)", self.tx_id)
    }
}

/// Why a file discloses nothing. One variant per cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DisclosureError {
    /// Longer than any disclosure.
    #[error("the file is longer than any disclosure can be; ask for it again")]
    TooLong,
    /// No JSON, or other fields than a disclosure has.
    #[error("this is no disclosure file, or a part of it is missing; ask for it again")]
    Form,
    /// A later format.
    #[error("the file has a format that this version does not know; a newer version may")]
    Version,
    /// Not the one form that such a file has.
    #[error("the file was changed after it was made: it does not have the one form that a disclosure has")]
    NotCanonical,
    /// The network's name.
    #[error("the file names no network: {0}")]
    Network(#[from] network::NameError),
    /// The header, or the body that goes with it, breaks a rule.
    #[error("the transaction in the file is not valid: {0}")]
    Transaction(#[from] RuleError),
    /// The id is not the one of the header.
    #[error("the header in the file belongs to another transaction than the file names")]
    OtherTransaction,
    /// The recipient's address.
    #[error("the recipient in the file is no address: {0}")]
    Recipient(#[from] AddressError),
    /// The recipient's seal key.
    #[error("the seal key in the file is none")]
    SealKey,
    /// The seed does not lead to the KEM ciphertext in the body.
    #[error("the sender's seed in the file did not seal this message to this key")]
    OtherSeed,
    /// The secret opens another message, or none.
    #[error("the secret in the file does not open this message")]
    OtherSecret,
    /// The content is not genuine or not well formed, or not signed by the sender whom it names.
    #[error("the message does not check: {0}")]
    Message(OpenError),
    /// The proof of the transaction in the file proves nothing.
    #[error("the proof in the file does not check: {0}")]
    Proof(#[from] ProofError),
    /// The proof is of something else.
    #[error("the proof in the file is not one of this transaction in this network")]
    OtherProof,
}

impl Disclosure {
    /// Joins the parts; [`check`](Self::check) says whether they fit. `proof`: the proof file of the transaction, if there
    /// is one.
    pub fn new(
        network: &Network,
        transaction: Transaction,
        recipient: Address,
        seal: SealPublic,
        opening: Opening,
        proof: Option<String>,
    ) -> Self {
        // A proof file ends with a line feed; as a value of another file it does not.
        let proof = proof.map(|proof| proof.trim_end_matches('\n').to_owned());
        let opening = match opening {
            Opening::EncapsulationSeed(seed) => Opening::EncapsulationSeed(seed.canonical()),
            shared => shared,
        };
        Self { network: network.clone(), transaction, recipient, seal, opening, proof }
    }

    /// Checks everything: rules, body, secret, content, the sender's signature inside, and the proof if there is one.
    ///
    /// # Errors
    /// [`DisclosureError`] names the first check that failed.
    pub fn check(&self) -> Result<Disclosed, DisclosureError> {
        let Self { network, transaction, recipient, seal, .. } = self;
        rules::verify_header(network, transaction.header())?;
        let core = transaction.core();
        if core.time() < network.start() {
            return Err(RuleError::TimeBeforeStart.into());
        }
        if core.kind() != Kind::Sealed {
            return Err(DisclosureError::Message(OpenError::NotSealed));
        }
        let parts = Parts::of(transaction).map_err(DisclosureError::Message)?;
        let shared = match &self.opening {
            Opening::SharedSecret(shared) => shared.clone(),
            Opening::EncapsulationSeed(seed) => {
                let again = seal.encapsulate(seed).ok_or(DisclosureError::SealKey)?;
                if !bool::from(again.ciphertext.as_slice().ct_eq(parts.ciphertext.as_slice())) {
                    return Err(DisclosureError::OtherSeed);
                }
                again.shared
            }
        };
        let keys = parts.keys(network, core, &shared).ok_or(DisclosureError::OtherSecret)?;
        let to = Recipient { address: recipient, seal, seal_key: None };
        let opened = parts.open(network, transaction, &keys, &to).map_err(DisclosureError::Message)?;
        Ok(Disclosed {
            network: network.clone(),
            tx_id: transaction.id(),
            tx_time: core.time(),
            inner_id: opened.inner_id,
            sender: opened.sender,
            recipient: *recipient,
            time_ms: opened.message.time_ms,
            content: opened.message.content,
            discloser: self.opening.by(),
            proof: self.check_proof()?,
        })
    }

    /// Checks the proof, if there is one, and that it is of this transaction.
    fn check_proof(&self) -> Result<Option<Proven>, DisclosureError> {
        let Some(file) = &self.proof else {
            return Ok(None);
        };
        let proven = proof::check(format!("{file}\n").as_bytes())?;
        let of_this = matches!(proven.fact(), Fact::Included { id, .. } if *id == self.transaction.id());
        let here = proven.network() == self.network.name();
        if of_this && here { Ok(Some(proven)) } else { Err(DisclosureError::OtherProof) }
    }
}

/// Reads a disclosure file and checks everything in it.
///
/// # Errors
/// [`DisclosureError`] names the first check that failed.
pub fn check(bytes: &[u8]) -> Result<Disclosed, DisclosureError> {
    Disclosure::from_bytes(bytes)?.check()
}

/// Joins what a file says.
fn assemble(parts: form::Fields) -> Result<Disclosure, DisclosureError> {
    let network = Network::named(&parts.network)?;
    let header = Header::from_bytes(&parts.header)?;
    let transaction = Transaction::new(&network, header, Some(parts.body))?;
    if transaction.id() != parts.transaction {
        return Err(DisclosureError::OtherTransaction);
    }
    let seal: [u8; SEAL_PUBLIC_BYTES] = parts.seal_key.try_into().map_err(|_| DisclosureError::SealKey)?;
    Ok(Disclosure {
        network,
        transaction,
        recipient: parts.recipient.parse()?,
        seal: SealPublic::from_bytes(&seal).ok_or(DisclosureError::SealKey)?,
        opening: parts.opening,
        proof: parts.proof,
    })
}

/// An opening from the bytes of a file; `None` when they are none.
fn opening(by: Discloser, bytes: &[u8]) -> Option<Opening> {
    Some(match by {
        Discloser::Recipient => Opening::SharedSecret(Zeroizing::new(bytes.try_into().ok()?)),
        Discloser::Sender => {
            let seed: &[u8; ENCAPSULATION_SEED_BYTES] = bytes.try_into().ok()?;
            let seed = EncapsulationSeed::from_bytes(seed);
            // Of the seeds that give one ciphertext, one is taken, so that the file has one form.
            Opening::EncapsulationSeed((seed.canonical() == seed).then_some(seed)?)
        }
    })
}

#[cfg(test)]
mod tests;
