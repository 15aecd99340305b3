//! What all envelopes have in common: where they enter the ledger, the hint, and how a body is bound to its core.
//!
//! A body is encrypted with the **core without its body hash** as associated data, so a body cannot be moved to
//! another transaction; the author's signature then covers core and body hash (`docs/wallet-format.md`, "Envelopes").

use ed25519_dalek::SigningKey;
use qasedak_chain::{
    LedgerId, Network, Time, Transaction, TxId,
    hash::{Context, hash_prefix},
    rules::RuleError,
    stamp::{Effort, Stamp},
    transaction::{BODY_LENS, Core, CoreFields, Kind, LIFETIME_DEFAULT_SECS, Signed, body_hash},
};

use crate::keys::ScanKey;

/// Where and for how long an envelope enters the ledger. Whoever has the ledger fills this in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Ids of 1 to 8 settled transactions, strictly ascending.
    pub parents: Vec<TxId>,
    /// The sender's clock, a multiple of 60 s, not before any parent's time.
    pub time: Time,
    /// How long the body is kept, in seconds.
    pub lifetime_secs: u32,
}

impl Draft {
    /// A draft with the default lifetime of 30 days.
    pub fn new(parents: Vec<TxId>, time: Time) -> Self {
        Self { parents, time, lifetime_secs: LIFETIME_DEFAULT_SECS }
    }
}

/// A signed transaction and its body: all that is missing is the stamp, which takes work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unstamped {
    signed: Signed,
    body: Vec<u8>,
}

impl Unstamped {
    /// The signed core.
    pub fn signed(&self) -> &Signed {
        &self.signed
    }
    /// The encrypted body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
    /// What the stamp is searched for: the challenge and the effort that the network asks for.
    pub fn work(&self, network: &Network) -> ([u8; 32], Effort) {
        (self.signed.challenge(network), Effort::required(network, self.signed.core()))
    }
    /// Completes the transaction.
    ///
    /// # Errors
    /// [`RuleError`] when `network` is not the one that this was made for.
    pub fn stamped(self, network: &Network, stamp: Stamp) -> Result<Transaction, RuleError> {
        Transaction::new(network, self.signed.stamped(stamp), Some(self.body))
    }
}

/// The shortest body length that holds `bytes`, not below `least`; `None` when none does.
pub(crate) fn body_len_for(bytes: usize, least: u32) -> Option<u32> {
    BODY_LENS.into_iter().find(|len| *len >= least && usize::try_from(*len).is_ok_and(|len| len >= bytes))
}

/// Pads `plaintext` with zeros to `len` bytes.
pub(crate) fn pad(plaintext: &mut Vec<u8>, len: usize) {
    // Reserved first, so that no unzeroized copy of a secret stays behind.
    plaintext.reserve_exact(len.saturating_sub(plaintext.len()));
    plaintext.resize(len.max(plaintext.len()), 0);
}

/// Builds and signs a transaction whose body is made by `encrypt` from the core without body hash.
pub(crate) fn close<E: From<RuleError>>(
    network: &Network,
    draft: &Draft,
    found_by: (Kind, [u8; 16]),
    author: &SigningKey,
    body_len: u32,
    encrypt: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<Unstamped, E> {
    let (kind, hint) = found_by;
    let core = |body_hash| {
        Core::new(CoreFields {
            parents: draft.parents.clone(),
            time: draft.time,
            lifetime_secs: draft.lifetime_secs,
            kind,
            hint,
            body_hash,
            body_len,
            author: author.verifying_key().to_bytes(),
        })
    };
    // The associated data lacks the body hash, which is known only once the body is there.
    let body = encrypt(&core([0; 32])?.to_bytes_without_body_hash())?;
    if u32::try_from(body.len()) != Ok(body_len) {
        return Err(RuleError::BodySize.into());
    }
    let signed = core(body_hash(network, &body))?.sign(network, author)?;
    Ok(Unstamped { signed, body })
}

/// `H("hint", ledger, shared, author u, scan key)[..16]`.
fn hint_of(ledger: LedgerId, shared: &[u8; 32], author_u: &[u8; 32], scan_public: &[u8; 32]) -> [u8; 16] {
    hash_prefix(Context::Hint, &[ledger.as_bytes(), shared, author_u, scan_public])
}

/// The hint that the author puts on an envelope; `None` when the recipient's scan key has small order.
pub(crate) fn hint_for(ledger: LedgerId, author: &SigningKey, scan_public: &[u8; 32]) -> Option<[u8; 16]> {
    let author_u = author.verifying_key().to_montgomery().to_bytes();
    let secret = crate::x25519::Secret::from_bytes(author.to_scalar_bytes());
    let shared = secret.diffie_hellman(scan_public)?;
    Some(hint_of(ledger, &shared, &author_u, scan_public))
}

/// The hint that an author's envelope must have to be for the holder of `scan`; `None` when the author's key has
/// small order.
pub(crate) fn hint_from(ledger: LedgerId, scan: &ScanKey, author_u: &[u8; 32]) -> Option<[u8; 16]> {
    let shared = scan.secret().diffie_hellman(author_u)?;
    Some(hint_of(ledger, &shared, author_u, scan.public()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn body_lengths_are_the_smallest_that_fit() {
        assert_eq!(body_len_for(0, 2048), Some(2048));
        assert_eq!(body_len_for(2048, 2048), Some(2048));
        assert_eq!(body_len_for(2049, 2048), Some(4096));
        assert_eq!(body_len_for(65_536, 2048), Some(65_536));
        assert_eq!(body_len_for(65_537, 2048), None);
    }

    proptest! {
        /// Author and recipient compute the same hint, nobody else does.
        #[test]
        fn both_sides_find_the_same_hint(author: [u8; 32], scan: [u8; 32], other: [u8; 32]) {
            prop_assume!(scan != other);
            let ledger = Network::dev().ledger();
            let author = SigningKey::from_bytes(&author);
            let author_u = author.verifying_key().to_montgomery().to_bytes();
            let (scan, other) = (ScanKey::from_bytes(&scan), ScanKey::from_bytes(&other));
            let hint = hint_for(ledger, &author, scan.public());
            prop_assert!(hint.is_some());
            prop_assert_eq!(hint, hint_from(ledger, &scan, &author_u));
            if scan.public() != other.public() {
                prop_assert_ne!(hint, hint_from(ledger, &other, &author_u));
            }
        }
    }
}
