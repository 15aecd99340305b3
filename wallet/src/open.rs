//! Opening: a sealed transaction becomes a message, or one of a few refusals.
//!
//! Checks run cheapest first: kind → body → hint → decapsulation → commitment → AEAD → layout → inner signature. All
//! input is hostile: anyone can stamp a transaction with a right hint and anything for a body.

use std::fmt;

use qasedak_chain::{
    Network, Time, Transaction, TxId,
    rules::signature_is_valid,
    transaction::{Core, Kind},
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    address::Address,
    aead,
    envelope::hint_from,
    inner::{Binding, Inner, InnerError, InnerId, Message},
    keys::{KEM_CIPHERTEXT_BYTES, Keys, SealKey, SealKeyId, SealPublic},
    seal::{BodyKeys, COMMITMENT_BYTES, body_keys},
};

/// Most seal keys that are tried on one envelope, newest first. A key is made every 25 days and kept for 124, so a wallet has
/// about five of each identity, and a few more after it was restored; nobody else can add to them. The bound is far above
/// that, so that no key which a card may still carry is left out, and what a stranger can make this cost by an envelope that
/// no key opens stays below what its stamp costs them: each key takes some 0.3 ms.
pub const SEAL_KEYS_TRIED_MAX: usize = 1_024;

/// A message that was sealed to this wallet and is signed by its sender.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// The transaction that carried it.
    pub tx_id: TxId,
    /// The message's identity: the same for every copy.
    pub inner_id: InnerId,
    /// Who wrote it.
    pub sender: Address,
    /// To whom.
    pub recipient: Address,
    /// What was written, and when by the sender's word.
    pub message: Message,
    /// The time of the transaction, by its author's word.
    pub time: Time,
    /// How long it lives, in seconds.
    pub lifetime_secs: u32,
    /// Which of the wallet's seal keys it was sealed to.
    pub seal_key: SealKeyId,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({}, …)", self.tx_id)
    }
}

/// Why a transaction does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A tagged transaction.
    #[error("not a sealed transaction")]
    NotSealed,
    /// The hint is someone else's.
    #[error("not for this wallet")]
    NotForUs,
    /// The body has expired or is not here yet.
    #[error("the body is not here: it has expired, or this node never got it")]
    NoBody,
    /// Too short for a sealed body.
    #[error("the body is too short to hold a message")]
    BodyTooShort,
    /// No seal key of this wallet fits: destroyed, of another device, or the sender made it up.
    #[error("sealed to a key that this wallet does not have; ask the sender to write again")]
    Commitment,
    /// Key and commitment fit, the ciphertext is not genuine.
    #[error("the message was changed after it was sealed; ask the sender to write again")]
    Decryption,
    /// A newer layout.
    #[error("the message has a format that this version does not know; a newer version may")]
    Version,
    /// The plaintext breaks the layout.
    #[error("the message is malformed; its sender uses a faulty program")]
    Layout,
    /// A text that is not UTF-8.
    #[error("the message is not valid text; its sender uses a faulty program")]
    Text,
    /// It names another seal key than the one that opened it.
    #[error("the message names another key than the one it was sealed to; its sender uses a faulty program")]
    OtherSealKey,
    /// The inner signature is not the named sender's, or was made for another recipient or transaction.
    #[error("the message is not by the sender whom it names, or was written to someone else; do not trust it")]
    Signature,
}

impl From<InnerError> for OpenError {
    fn from(error: InnerError) -> Self {
        match error {
            InnerError::Version => Self::Version,
            InnerError::Layout => Self::Layout,
            InnerError::Text => Self::Text,
        }
    }
}

/// Opens a transaction with the wallet's keys. `seal_keys` are tried from the last to the first.
///
/// # Errors
/// [`OpenError`] names the first check that failed.
pub fn open(
    network: &Network,
    keys: &Keys,
    seal_keys: &[SealKey],
    transaction: &Transaction,
) -> Result<Opened, OpenError> {
    unseal(network, keys, seal_keys, transaction).map(|unsealed| unsealed.opened)
}

/// An opened message with what opened it.
pub(crate) struct Unsealed {
    pub(crate) opened: Opened,
    /// The KEM's shared secret: it opens this one message.
    pub(crate) shared: Zeroizing<[u8; 32]>,
    /// The public half of the seal key.
    pub(crate) seal: SealPublic,
}

/// [`open`], and what a disclosure needs besides.
pub(crate) fn unseal(
    network: &Network,
    keys: &Keys,
    seal_keys: &[SealKey],
    transaction: &Transaction,
) -> Result<Unsealed, OpenError> {
    let core = transaction.core();
    if core.kind() != Kind::Sealed {
        return Err(OpenError::NotSealed);
    }
    let author_u = montgomery(core.author()).ok_or(OpenError::NotForUs)?;
    let hint = hint_from(network.ledger(), keys.scan(), &author_u).ok_or(OpenError::NotForUs)?;
    if !bool::from(hint.ct_eq(core.hint())) {
        return Err(OpenError::NotForUs);
    }
    let parts = Parts::of(transaction)?;
    let (seal_key, shared, body_keys) = seal_keys
        .iter()
        .rev()
        .take(SEAL_KEYS_TRIED_MAX)
        .find_map(|key| {
            let shared = key.decapsulate(parts.ciphertext)?;
            let fitting = parts.keys(network, core, &shared)?;
            Some((key, shared, fitting))
        })
        .ok_or(OpenError::Commitment)?;
    let (recipient, seal) = (keys.address(), seal_key.public());
    let to = Recipient { address: &recipient, seal: &seal, seal_key: Some(seal_key.id()) };
    let opened = parts.open(network, transaction, &body_keys, &to)?;
    Ok(Unsealed { opened, shared, seal })
}

/// To whom a message is sealed.
pub(crate) struct Recipient<'a> {
    pub(crate) address: &'a Address,
    pub(crate) seal: &'a SealPublic,
    /// The number that the message must give for the seal key, where it is known.
    pub(crate) seal_key: Option<SealKeyId>,
}

/// The parts of a sealed body.
pub(crate) struct Parts<'a> {
    pub(crate) ciphertext: &'a [u8; KEM_CIPHERTEXT_BYTES],
    commitment: &'a [u8; COMMITMENT_BYTES],
    sealed: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(crate) fn of(transaction: &'a Transaction) -> Result<Self, OpenError> {
        let body = transaction.body().ok_or(OpenError::NoBody)?;
        let (ciphertext, rest) = body.split_first_chunk::<KEM_CIPHERTEXT_BYTES>().ok_or(OpenError::BodyTooShort)?;
        let (commitment, sealed) = rest.split_first_chunk::<COMMITMENT_BYTES>().ok_or(OpenError::BodyTooShort)?;
        Ok(Self { ciphertext, commitment, sealed })
    }

    /// The body's keys, if `shared` is the secret it was sealed with. Compared before anything is decrypted.
    pub(crate) fn keys(&self, network: &Network, core: &Core, shared: &[u8; 32]) -> Option<BodyKeys> {
        body_keys(network, core.author(), self.ciphertext, shared)
            .filter(|keys| keys.commitment.ct_eq(self.commitment).into())
    }

    /// Decrypts, reads, and verifies the sender's signature.
    pub(crate) fn open(
        &self,
        network: &Network,
        transaction: &Transaction,
        keys: &BodyKeys,
        to: &Recipient<'_>,
    ) -> Result<Opened, OpenError> {
        let core = transaction.core();
        let aad = core.to_bytes_without_body_hash();
        let plaintext = aead::open(&keys.key, &keys.nonce, &aad, self.sealed).map_err(|_| OpenError::Decryption)?;
        let (inner, signature) = Inner::read(&plaintext)?;
        if to.seal_key.is_some_and(|expected| expected != inner.seal_key) {
            return Err(OpenError::OtherSealKey);
        }
        let inner_id = inner.id(&Binding {
            network,
            author: core.author(),
            recipient: to.address,
            seal: to.seal,
            ciphertext: self.ciphertext,
        });
        let sender = Address::from_bytes(inner.sender).map_err(|_| OpenError::Signature)?;
        if !signature_is_valid(sender.as_bytes(), inner_id.as_bytes(), &signature) {
            return Err(OpenError::Signature);
        }
        Ok(Opened {
            tx_id: transaction.id(),
            inner_id,
            sender,
            recipient: *to.address,
            message: inner.message,
            time: core.time(),
            lifetime_secs: core.lifetime_secs(),
            seal_key: inner.seal_key,
        })
    }
}

/// The author's key as a Montgomery u coordinate; `None` when it is no point.
fn montgomery(author: &[u8; 32]) -> Option<[u8; 32]> {
    curve25519_dalek::edwards::CompressedEdwardsY(*author).decompress().map(|point| point.to_montgomery().to_bytes())
}

#[cfg(test)]
mod tests;
