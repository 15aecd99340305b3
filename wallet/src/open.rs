//! Opening: a sealed transaction becomes a message, or one of a few refusals.
//!
//! Checks run cheapest first: kind → body → hint → decapsulation → commitment → AEAD → layout → inner signature. All
//! input is hostile: anyone can stamp a transaction with a right hint and anything for a body.

use std::fmt;

use qasedak_chain::{Network, Transaction, TxId, rules::signature_is_valid, transaction::Kind};
use subtle::ConstantTimeEq;

use crate::{
    address::Address,
    aead,
    envelope::hint_from,
    inner::{Binding, Content, Inner, InnerError, InnerId},
    keys::{KEM_CIPHERTEXT_BYTES, Keys, SealKey, SealKeyId},
    seal::{BodyKeys, COMMITMENT_BYTES, body_keys},
};

/// Most seal keys that are tried on one envelope, newest first; each costs some 0.3 ms.
pub const SEAL_KEYS_TRIED_MAX: usize = 64;

/// A message that was sealed to this wallet and is signed by its sender.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// The transaction that carried it.
    pub tx_id: TxId,
    /// The message's identity: the same for every copy.
    pub inner_id: InnerId,
    /// Who wrote it.
    pub sender: Address,
    /// When, by the sender's word, in milliseconds since 1970.
    pub time_ms: u64,
    /// What.
    pub content: Content,
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
    let core = transaction.core();
    if core.kind() != Kind::Sealed {
        return Err(OpenError::NotSealed);
    }
    let author_u = montgomery(core.author()).ok_or(OpenError::NotForUs)?;
    let hint = hint_from(network.ledger(), keys.scan(), &author_u).ok_or(OpenError::NotForUs)?;
    if !bool::from(hint.ct_eq(core.hint())) {
        return Err(OpenError::NotForUs);
    }
    let body = transaction.body().ok_or(OpenError::NoBody)?;
    let (ciphertext, rest) = body.split_first_chunk::<KEM_CIPHERTEXT_BYTES>().ok_or(OpenError::BodyTooShort)?;
    let (commitment, sealed) = rest.split_first_chunk::<COMMITMENT_BYTES>().ok_or(OpenError::BodyTooShort)?;
    let (seal_key, body_keys) = seal_keys
        .iter()
        .rev()
        .take(SEAL_KEYS_TRIED_MAX)
        .find_map(|key| fitting(network, core.author(), ciphertext, commitment, key).map(|keys| (key, keys)))
        .ok_or(OpenError::Commitment)?;
    let aad = core.to_bytes_without_body_hash();
    let plaintext = aead::open(&body_keys.key, &body_keys.nonce, &aad, sealed).map_err(|_| OpenError::Decryption)?;
    let (inner, signature) = Inner::read(&plaintext)?;
    if inner.seal_key != seal_key.id() {
        return Err(OpenError::OtherSealKey);
    }
    let inner_id = inner.id(&Binding {
        network,
        author: core.author(),
        recipient: &keys.address(),
        seal: &seal_key.public(),
        ciphertext,
    });
    let sender = Address::from_bytes(inner.sender).map_err(|_| OpenError::Signature)?;
    if !signature_is_valid(sender.as_bytes(), inner_id.as_bytes(), &signature) {
        return Err(OpenError::Signature);
    }
    Ok(Opened {
        tx_id: transaction.id(),
        inner_id,
        sender,
        time_ms: inner.time_ms,
        content: inner.content,
        seal_key: seal_key.id(),
    })
}

/// The body's keys, if it was sealed to `key`. Compared before anything is decrypted.
fn fitting(
    network: &Network,
    author: &[u8; 32],
    ciphertext: &[u8; KEM_CIPHERTEXT_BYTES],
    commitment: &[u8; COMMITMENT_BYTES],
    key: &SealKey,
) -> Option<BodyKeys> {
    let shared = key.decapsulate(ciphertext)?;
    body_keys(network, author, ciphertext, &shared).filter(|keys| keys.commitment.ct_eq(commitment).into())
}

/// The author's key as a Montgomery u coordinate; `None` when it is no point.
fn montgomery(author: &[u8; 32]) -> Option<[u8; 32]> {
    curve25519_dalek::edwards::CompressedEdwardsY(*author).decompress().map(|point| point.to_montgomery().to_bytes())
}

#[cfg(test)]
mod tests;
