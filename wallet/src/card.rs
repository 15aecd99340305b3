//! Cards: a person's public keys, signed, on the ledger (DESIGN §8; `docs/wallet-format.md`, "Card").
//!
//! A card travels as the body of a *tagged* transaction. Tag and key follow from the address and the week of the
//! transaction's time, so knowing an address is enough to write to it, and no one else learns whose card it is. Whoever
//! knows the address can put forgeries under the same tag: they cost a stamp each, the signature shows them up, and only
//! the [`CANDIDATES_MAX`] with the most work of each week are looked at.

use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Network, Time, Transaction,
    hash::{Context, hash, hash_prefix},
    rules::{RuleError, signature_is_valid},
    transaction::{Header, Kind, LIFETIME_DEFAULT_SECS, LIFETIME_MAX_SECS},
};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    address::Address,
    aead::{self, NONCE_BYTES, TAG_BYTES},
    bytes::{Reader, all_zero},
    envelope::{Draft, Unstamped, close, pad},
    keys::{Keys, SEAL_PUBLIC_BYTES, SealKey, SealKeyId, SealPublic},
    x25519,
};

/// Version of the card's layout.
const VERSION: u8 = 1;
/// Bytes of a card.
pub const CARD_BYTES: usize = SIGNED_BYTES + 64;
const SIGNED_BYTES: usize = 1 + 32 + 32 + SEAL_PUBLIC_BYTES + 8;
/// Bytes of the body that carries a card.
pub const BODY_BYTES: u32 = 2048;
/// How long a card's body is kept: 30 days.
pub const LIFETIME_SECS: u32 = LIFETIME_DEFAULT_SECS;
/// A new card is due when the last one is older than this: 25 days, so that one is always there.
pub const RENEW_AFTER_SECS: u64 = 25 * 86_400;
/// For how long after a seal key was made a message may be sealed to it and still be alive: the 30 days of its card, and
/// the 90 days that a message lives at most.
pub const SEALED_WITHIN_SECS: u64 = LIFETIME_SECS as u64 + LIFETIME_MAX_SECS as u64;
/// When a seal key is destroyed, after it was made: when no message that was sealed to it is alive, and 4 days more, for
/// clocks that differ and bodies that honest nodes still hold.
pub const SEAL_KEY_KEPT_SECS: u64 = SEALED_WITHIN_SECS + 4 * 86_400;
/// Over how many weeks a card is looked for, the current one included.
pub const LOOKUP_WEEKS: u64 = 6;
/// How many transactions under one tag are looked at.
pub const CANDIDATES_MAX: usize = 64;

/// A verified card: its signature is that of its address, its keys can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    address: Address,
    scan: [u8; 32],
    seal: SealPublic,
    sequence: SealKeyId,
    signature: [u8; 64],
}

/// Why a transaction or some bytes are no card of the expected address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// A sealed transaction.
    #[error("the transaction carries no card: it is not a tagged one")]
    NotTagged,
    /// The tag is that of another address or week.
    #[error("the transaction carries no card of this address: its tag is another")]
    OtherTag,
    /// The body has expired or is not here yet.
    #[error("the card's body is not here; ask its owner to come online and publish a new card")]
    NoBody,
    /// The body was not made with this address' key.
    #[error("the body cannot be decrypted with this address: it is a forgery or damaged")]
    Decryption,
    /// A newer or broken layout.
    #[error("the card has a layout that this version does not know; a newer version may")]
    Layout,
    /// The card names another address.
    #[error("the card belongs to another address")]
    OtherAddress,
    /// The owner did not sign it.
    #[error("the card's signature is not that of its address: it is a forgery")]
    Signature,
    /// Scan or seal key is unusable.
    #[error("the card's keys cannot be used; ask its owner to publish a new card")]
    Keys,
}

/// The tag of an address' cards in one week.
pub fn tag(network: &Network, address: &Address, week: u64) -> [u8; 16] {
    hash_prefix(Context::CardTag, &[network.ledger().as_bytes(), address.as_bytes(), &week.to_le_bytes()])
}

/// The tags to look under, newest week first.
pub fn tags(network: &Network, address: &Address, now: Time) -> Vec<[u8; 16]> {
    (0..LOOKUP_WEEKS).filter_map(|back| now.week().checked_sub(back)).map(|week| tag(network, address, week)).collect()
}

fn key(network: &Network, address: &Address, week: u64) -> Zeroizing<[u8; 32]> {
    let week = week.to_le_bytes();
    Zeroizing::new(hash(Context::CardKey, &[network.ledger().as_bytes(), address.as_bytes(), &week]))
}

/// Of all that was found under one tag, the [`CANDIDATES_MAX`] with the most work, most work first.
pub fn strongest<T>(network: &Network, found: impl IntoIterator<Item = (T, Header)>) -> Vec<T> {
    let mut ranked: Vec<_> = found
        .into_iter()
        .map(|(item, header)| (header.stamp().work(&header.signed().challenge(network)), item))
        .collect();
    ranked.sort_by_key(|(work, _)| std::cmp::Reverse(*work));
    ranked.into_iter().take(CANDIDATES_MAX).map(|(_, item)| item).collect()
}

/// The valid cards of `address` among `candidates`, the oldest first; of several with one sequence number the one that
/// [`newest`] takes.
pub fn valid<'a>(
    network: &Network,
    address: &Address,
    candidates: impl IntoIterator<Item = &'a Transaction>,
) -> Vec<Card> {
    let open = |transaction| Card::open(network, address, transaction).ok();
    let mut cards: Vec<Card> = candidates.into_iter().filter_map(open).collect();
    cards.sort_by_key(|card| std::cmp::Reverse((card.sequence, card.signature)));
    cards.dedup_by_key(|card| card.sequence);
    cards.reverse();
    cards
}

/// The newest valid card of `address` among `candidates`, unless it is older than the one `known` already.
pub fn newest<'a>(
    network: &Network,
    address: &Address,
    known: Option<&Card>,
    candidates: impl IntoIterator<Item = &'a Transaction>,
) -> Option<Card> {
    candidates
        .into_iter()
        .filter_map(|transaction| Card::open(network, address, transaction).ok())
        .filter(|card| known.is_none_or(|known| card.sequence >= known.sequence))
        .max_by_key(|card| (card.sequence, card.signature))
}

impl Card {
    /// Makes and signs a card of `keys` that carries the public half of `seal_key`.
    pub fn sign(network: &Network, keys: &Keys, seal_key: &SealKey) -> Self {
        let mut card = Self {
            address: keys.address(),
            scan: *keys.scan().public(),
            seal: seal_key.public(),
            sequence: seal_key.id(),
            signature: [0; 64],
        };
        card.signature = keys.sign(&card.signing_message(network));
        card
    }

    /// Encrypts the card into a tagged transaction. `draft.lifetime_secs` is ignored: cards live 30 days.
    ///
    /// # Errors
    /// [`RuleError`] when the draft breaks a rule of form.
    pub fn publish(&self, network: &Network, draft: &Draft, rng: &mut dyn CryptoRng) -> Result<Unstamped, RuleError> {
        let draft = Draft { lifetime_secs: LIFETIME_SECS, ..draft.clone() };
        let week = draft.time.week();
        let author = SigningKey::generate(rng);
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let mut plaintext = self.to_bytes();
        pad(&mut plaintext, (BODY_BYTES as usize).saturating_sub(NONCE_BYTES).saturating_sub(TAG_BYTES));
        let found_by = (Kind::Tagged, tag(network, &self.address, week));
        close(network, &draft, found_by, &author, BODY_BYTES, |aad| {
            let key = key(network, &self.address, week);
            let sealed = aead::seal(&key, &nonce, aad, &plaintext).map_err(|_| RuleError::BodySize)?;
            Ok([nonce.as_slice(), &sealed].concat())
        })
    }

    /// Reads the card of `address` from a transaction.
    ///
    /// # Errors
    /// [`CardError`] when it carries none, or a forged one.
    pub fn open(network: &Network, address: &Address, transaction: &Transaction) -> Result<Self, CardError> {
        let core = transaction.core();
        if core.kind() != Kind::Tagged {
            return Err(CardError::NotTagged);
        }
        let week = core.time().week();
        if core.hint() != &tag(network, address, week) {
            return Err(CardError::OtherTag);
        }
        let body = transaction.body().ok_or(CardError::NoBody)?;
        if core.body_len() != BODY_BYTES {
            return Err(CardError::Layout);
        }
        let (nonce, sealed) = body.split_first_chunk::<NONCE_BYTES>().ok_or(CardError::Layout)?;
        let plaintext = aead::open(&key(network, address, week), nonce, &core.to_bytes_without_body_hash(), sealed)
            .map_err(|_| CardError::Decryption)?;
        let (bytes, padding) = plaintext.split_at_checked(CARD_BYTES).ok_or(CardError::Layout)?;
        if !all_zero(padding) {
            return Err(CardError::Layout);
        }
        let card = Self::from_bytes(network, bytes)?;
        if card.address == *address { Ok(card) } else { Err(CardError::OtherAddress) }
    }

    /// Reads and verifies the plain bytes of a card.
    ///
    /// # Errors
    /// [`CardError`] when layout, signature or keys are bad.
    pub fn from_bytes(network: &Network, bytes: &[u8]) -> Result<Self, CardError> {
        if bytes.len() != CARD_BYTES {
            return Err(CardError::Layout);
        }
        Self::read(network, &mut Reader::new(bytes)).unwrap_or(Err(CardError::Layout))
    }

    /// `None` when the bytes end too early, which the length check excludes.
    fn read(network: &Network, reader: &mut Reader<'_>) -> Option<Result<Self, CardError>> {
        if reader.u8()? != VERSION {
            return Some(Err(CardError::Layout));
        }
        let Ok(address) = Address::from_bytes(reader.array()?) else {
            return Some(Err(CardError::Keys));
        };
        let scan: [u8; 32] = reader.array()?;
        let seal = SealPublic::from_bytes(&reader.array::<SEAL_PUBLIC_BYTES>()?);
        let sequence = SealKeyId::new(reader.u64()?);
        let signature = reader.array()?;
        let Some(seal) = seal.filter(|_| !x25519::has_small_order(&scan)) else {
            return Some(Err(CardError::Keys));
        };
        let card = Self { address, scan, seal, sequence, signature };
        if signature_is_valid(address.as_bytes(), &card.signing_message(network), &signature) {
            Some(Ok(card))
        } else {
            Some(Err(CardError::Signature))
        }
    }

    /// The plain bytes: version | address | scan key | seal key | sequence | signature.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BODY_BYTES as usize);
        bytes.extend_from_slice(&self.signed_bytes());
        bytes.extend_from_slice(&self.signature);
        bytes
    }
    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SIGNED_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.address.as_bytes());
        bytes.extend_from_slice(&self.scan);
        bytes.extend_from_slice(self.seal.as_bytes());
        bytes.extend_from_slice(&self.sequence.get().to_le_bytes());
        bytes
    }
    fn signing_message(&self, network: &Network) -> [u8; 32] {
        hash(Context::CardSign, &[network.ledger().as_bytes(), &self.signed_bytes()])
    }

    /// Whose card it is.
    pub fn address(&self) -> Address {
        self.address
    }
    /// The public scan key, a Montgomery u coordinate.
    pub fn scan(&self) -> &[u8; 32] {
        &self.scan
    }
    /// The public seal key.
    pub fn seal(&self) -> &SealPublic {
        &self.seal
    }
    /// The name of the seal key, which is the card's sequence number: when it was made, in seconds since 1970.
    pub fn sequence(&self) -> SealKeyId {
        self.sequence
    }
    /// Until when a message to this card may live: its owner keeps the key no longer for sure.
    pub fn opens_until(&self) -> Time {
        Time::from_secs(self.sequence.get()).plus(SEALED_WITHIN_SECS)
    }
    /// Whether this card replaces `other`.
    pub fn is_newer_than(&self, other: &Card) -> bool {
        self.sequence > other.sequence
    }
}

#[cfg(test)]
mod tests;
