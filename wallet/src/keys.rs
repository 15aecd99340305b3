//! A person's keys: identity (Ed25519) and scan key (X25519) follow from the phrase; seal keys (X-Wing) are random.
//!
//! The scan key finds envelopes and cannot read them; it may be handed to one's own always-on node. Seal keys read;
//! they are renewed with each card and never follow from the words (`docs/wallet-format.md`, "Keys").

use std::{fmt, sync::Arc};

use curve25519_dalek::scalar::clamp_integer;
use ed25519_dalek::{Signer, SigningKey};
use qasedak_chain::hash::{Context, hash};
use rand_core::CryptoRng;
use x_wing::{Ciphertext, DecapsulationKeyRejectNonContrib, Decapsulator, EncapsulationKey, KeyExport, TryDecapsulate};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{address::Address, locked::Locked, phrase::Phrase, x25519};

/// Bytes of a public seal key (X-Wing).
pub const SEAL_PUBLIC_BYTES: usize = x_wing::ENCAPSULATION_KEY_SIZE;
/// Bytes of a KEM ciphertext (X-Wing).
pub const KEM_CIPHERTEXT_BYTES: usize = x_wing::CIPHERTEXT_SIZE;
/// Bytes of the seed of one encapsulation (X-Wing).
pub const ENCAPSULATION_SEED_BYTES: usize = x_wing::ENCAPSULATION_RANDOMNESS_SIZE;

/// Which of a phrase's identities; the first is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account(u32);

impl Account {
    /// The account with that number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }
    /// Its number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The keys that follow from a phrase: who someone is, and how they find their mail. Locked in memory where the system
/// allows it, once for all clones; zeroized when the last is dropped.
#[derive(Clone)]
pub struct Keys {
    identity: Arc<Locked<[u8; 32]>>,
    address: Address,
    scan: ScanKey,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    /// Derives the keys of one account: `H("wallet-key", seed, purpose, account)`.
    pub fn derive(phrase: &Phrase, account: Account) -> Self {
        let seed = phrase.seed();
        let secret = |purpose: &[u8]| {
            Zeroizing::new(hash(Context::WalletKey, &[seed.as_slice(), purpose, &account.0.to_le_bytes()]))
        };
        let identity = Locked::copy_of(&secret(b"identity"));
        let address = Address::of(&SigningKey::from_bytes(&identity));
        Self { identity: Arc::new(identity), address, scan: ScanKey::from_bytes(&secret(b"scan")) }
    }
    /// The address: the public identity key.
    pub fn address(&self) -> Address {
        self.address
    }
    /// Whether the system keeps all of them out of swap.
    pub(crate) fn is_locked(&self) -> bool {
        self.identity.is_locked() && self.scan.secret.is_locked()
    }
    /// The key that finds envelopes.
    pub fn scan(&self) -> &ScanKey {
        &self.scan
    }
    /// Signs with the identity. What signing derives from it is made anew each time, and zeroized.
    pub(crate) fn sign(&self, message: &[u8; 32]) -> [u8; 64] {
        SigningKey::from_bytes(&self.identity).sign(message).to_bytes()
    }
}

/// The secret scan key with its public half: it finds a person's envelopes and reads none. Locked in memory where the
/// system allows it, once for all clones; zeroized when the last is dropped.
#[derive(Clone)]
pub struct ScanKey {
    secret: Arc<Locked<x25519::Secret>>,
    public: [u8; 32],
}

impl fmt::Debug for ScanKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScanKey(…)")
    }
}

impl ScanKey {
    /// From its 32 secret bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let secret = x25519::Secret::from_bytes(*bytes);
        let public = secret.public();
        Self { secret: Arc::new(Locked::new(secret)), public }
    }
    /// The public half, a Montgomery u coordinate, as it stands in a card.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }
    /// The secret half.
    pub(crate) fn secret(&self) -> &x25519::Secret {
        &self.secret
    }
}

/// Names one of a person's seal keys: when it was made, in seconds since 1970, and always more than the one before.
/// It is the sequence number of the card that carries the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealKeyId(u64);

impl SealKeyId {
    /// Wraps the plain number.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }
    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A secret seal key: it reads what was sealed to the card that carries its public half. Locked in memory where the
/// system allows it, once for all clones; zeroized when the last is dropped.
#[derive(Clone)]
pub struct SealKey {
    id: SealKeyId,
    secret: Arc<Locked<[u8; 32]>>,
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({}, …)", self.id.0)
    }
}

impl SealKey {
    /// A new random one.
    pub fn generate(id: SealKeyId, rng: &mut dyn CryptoRng) -> Self {
        let mut secret = Locked::new([0; 32]);
        rng.fill_bytes(&mut *secret);
        Self { id, secret: Arc::new(secret) }
    }
    /// From its 32 secret bytes.
    pub fn from_bytes(id: SealKeyId, secret: &[u8; 32]) -> Self {
        Self { id, secret: Arc::new(Locked::copy_of(secret)) }
    }
    /// Its name.
    pub fn id(&self) -> SealKeyId {
        self.id
    }
    /// The secret bytes, to be stored encrypted.
    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
    /// Whether the system keeps it out of swap.
    pub(crate) fn is_locked(&self) -> bool {
        self.secret.is_locked()
    }
    /// The public half, some 0.1 ms of work.
    pub fn public(&self) -> SealPublic {
        let secret = DecapsulationKeyRejectNonContrib::from(*self.secret());
        SealPublic(Box::new(secret.encapsulation_key().to_bytes().into()))
    }
    /// The shared secret of a KEM ciphertext, some 0.3 ms of work; `None` when its X25519 part is all zero.
    /// A ciphertext that was made for another key gives an unrelated secret, not `None`.
    pub(crate) fn decapsulate(&self, ciphertext: &[u8; KEM_CIPHERTEXT_BYTES]) -> Option<Zeroizing<[u8; 32]>> {
        let secret = DecapsulationKeyRejectNonContrib::from(*self.secret());
        let shared = secret.try_decapsulate(&Ciphertext::from(*ciphertext)).ok()?;
        Some(Zeroizing::new(shared.into()))
    }
}

/// A public seal key: X-Wing, 1,216 bytes. Always one that can be sealed to.
#[derive(Clone, PartialEq, Eq)]
pub struct SealPublic(Box<[u8; SEAL_PUBLIC_BYTES]>);

impl fmt::Debug for SealPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealPublic(…)")
    }
}

impl SealPublic {
    /// From its bytes; `None` when they are no valid key (ML-KEM's modulus check, or X25519 part of small order).
    pub fn from_bytes(bytes: &[u8; SEAL_PUBLIC_BYTES]) -> Option<Self> {
        EncapsulationKey::try_from(bytes.as_slice()).ok()?;
        let x25519_part = bytes.last_chunk::<32>()?;
        (!x25519::has_small_order(x25519_part)).then(|| Self(Box::new(*bytes)))
    }
    /// The bytes as they stand in a card.
    pub fn as_bytes(&self) -> &[u8; SEAL_PUBLIC_BYTES] {
        &self.0
    }
    /// Makes a KEM ciphertext and its shared secret from the seed; the same seed gives the same again.
    /// `None` never happens for a key that [`from_bytes`](Self::from_bytes) accepted.
    pub(crate) fn encapsulate(&self, seed: &EncapsulationSeed) -> Option<Encapsulated> {
        let key = EncapsulationKey::try_from(self.0.as_slice()).ok()?;
        let mut randomness = (*seed.0).into();
        let (ciphertext, shared) = key.encapsulate_deterministic(&randomness);
        randomness.zeroize();
        Some(Encapsulated { ciphertext: Box::new(ciphertext.into()), shared: Zeroizing::new(shared.into()) })
    }
}

/// What an encapsulation yields.
pub(crate) struct Encapsulated {
    pub(crate) ciphertext: Box<[u8; KEM_CIPHERTEXT_BYTES]>,
    pub(crate) shared: Zeroizing<[u8; 32]>,
}

/// The 64 random bytes behind one encapsulation. With them the sender can later show anyone what was sealed, and
/// anyone who has them can read that one message. Zeroized on drop.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct EncapsulationSeed(Box<[u8; ENCAPSULATION_SEED_BYTES]>);

impl fmt::Debug for EncapsulationSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncapsulationSeed(…)")
    }
}

impl EncapsulationSeed {
    /// Draws a new one.
    pub(crate) fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut seed = Self(Box::new([0; ENCAPSULATION_SEED_BYTES]));
        rng.fill_bytes(seed.0.as_mut());
        seed
    }
    /// From its bytes.
    pub fn from_bytes(bytes: &[u8; ENCAPSULATION_SEED_BYTES]) -> Self {
        Self(Box::new(*bytes))
    }
    /// Its bytes, to be stored encrypted.
    pub fn as_bytes(&self) -> &[u8; ENCAPSULATION_SEED_BYTES] {
        &self.0
    }
    /// The one among the 32 seeds of an encapsulation that is used in files: with the scalar of its X25519 half, the
    /// last 32 bytes, clamped (RFC 7748 §5), which the encapsulation does in any case.
    #[must_use]
    pub(crate) fn canonical(&self) -> Self {
        let mut seed = self.clone();
        if let Some(scalar) = seed.0.last_chunk_mut::<32>() {
            *scalar = clamp_integer(*scalar);
        }
        seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(entropy: u8, account: u32) -> Keys {
        Keys::derive(&Phrase::from_entropy(&[entropy; 32]).unwrap(), Account::new(account))
    }

    /// Computed from `docs/wallet-format.md` by an independent implementation.
    #[test]
    fn vectors() {
        let vectors = [
            (
                "qsd1pf36d5ak0dkn7u4qm9g3mhyktqjc65sxqaymn7cqjd247mfwxzts6jt5nq",
                "c6fded741b744bf2d3a90abcb13a98874322147270ac7e4dbe94e4e37e673e0c",
            ),
            (
                "qsd16zc733f75zw0rjjptz8pt0urjt0ny54yhvthdxqr5w295nuyr98s7y5hu6",
                "b9365d30965803f19e5ae5af3d71560803addc281cfeda356e112ec12bcbd84e",
            ),
        ];
        for (account, (address, scan)) in (0..).zip(vectors) {
            assert_eq!(keys(0, account).address().to_string(), address);
            assert_eq!(hex::encode(keys(0, account).scan().public()), scan);
        }
    }

    #[test]
    fn phrase_and_account_make_the_keys() {
        assert_eq!(keys(0, 0).address(), keys(0, 0).address());
        assert_ne!(keys(0, 0).address(), keys(0, 1).address());
        assert_ne!(keys(0, 0).address(), keys(1, 0).address());
        assert_ne!(keys(0, 0).scan().public(), keys(0, 1).scan().public());
    }

    #[test]
    fn the_seed_repeats_an_encapsulation() {
        let key = SealKey::from_bytes(SealKeyId::new(1), &[4; 32]);
        let seed = EncapsulationSeed::from_bytes(&[9; 64]);
        let (first, second) = (key.public().encapsulate(&seed).unwrap(), key.public().encapsulate(&seed).unwrap());
        assert_eq!(first.ciphertext, second.ciphertext);
        assert_eq!(key.decapsulate(&first.ciphertext), Some(first.shared));
        assert_eq!(key.public().encapsulate(&seed.canonical()).unwrap().ciphertext, first.ciphertext);
        assert_ne!(seed.canonical(), seed);
        assert_eq!(seed.canonical().canonical(), seed.canonical());
        let other = SealKey::from_bytes(SealKeyId::new(1), &[5; 32]);
        assert_ne!(other.decapsulate(&first.ciphertext), Some(second.shared));
    }

    #[test]
    fn bad_public_seal_keys_are_refused() {
        let good = *SealKey::from_bytes(SealKeyId::new(1), &[4; 32]).public().as_bytes();
        assert!(SealPublic::from_bytes(&good).is_some());
        let mut small_order = good;
        small_order[SEAL_PUBLIC_BYTES - 32..].fill(0);
        assert_eq!(SealPublic::from_bytes(&small_order), None);
        let mut past_modulus = good;
        past_modulus[..3].fill(0xff);
        assert_eq!(SealPublic::from_bytes(&past_modulus), None);
    }

    #[test]
    fn a_non_contributory_ciphertext_is_refused() {
        let key = SealKey::from_bytes(SealKeyId::new(1), &[4; 32]);
        let mut ciphertext = *key.public().encapsulate(&EncapsulationSeed::from_bytes(&[8; 64])).unwrap().ciphertext;
        ciphertext[KEM_CIPHERTEXT_BYTES - 32..].fill(0);
        assert_eq!(key.decapsulate(&ciphertext), None);
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!(
            "{:?} {:?} {:?} {:?}",
            keys(0, 0),
            keys(0, 0).scan(),
            SealKey::from_bytes(SealKeyId::new(7), &[0xab; 32]),
            EncapsulationSeed::from_bytes(&[0xab; 64])
        );
        assert_eq!(shown, "Keys(…) ScanKey(…) SealKey(7, …) EncapsulationSeed(…)");
    }
}
