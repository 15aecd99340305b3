//! The keystore: the file that holds a wallet's secrets, encrypted under a passphrase (DESIGN §8;
//! `docs/wallet-format.md`, "Keystore file").
//!
//! Argon2id makes the key, XChaCha20-Poly1305 encrypts; everything before the ciphertext is associated data. A wrong
//! passphrase, a changed file and a file of another kind give one and the same error. The file is small and always
//! written whole: to a new file, fsynced, renamed, directory fsynced. [`seal`] and [`unseal`] are pure.

use argon2::{Algorithm, Argon2, Params, Version};
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    aead::{self, NONCE_BYTES},
    bytes::Reader,
    phrase::{Phrase, PhraseError},
};

pub(crate) mod file;

/// First bytes of a keystore file.
const MAGIC: &[u8; 8] = b"qsd-keys";
/// Version of the file's layout.
const VERSION: u8 = 1;
/// Version of the payload's layout.
const PAYLOAD_VERSION: u8 = 1;
const SALT_BYTES: usize = 16;
/// magic | version | memory | passes | lanes | salt | nonce: what stands before the ciphertext.
const HEAD_BYTES: usize = 8 + 1 + 4 + 4 + 4 + SALT_BYTES + NONCE_BYTES;
/// Most epoch keys in a keystore.
pub const EPOCHS_MAX: usize = 1024;
/// A longer file is no keystore.
pub const FILE_MAX_BYTES: u64 = 64 * 1024;

/// What guessing one passphrase costs: the parameters of Argon2id (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl KdfCost {
    /// 64 MiB, 3 passes, 1 lane: some 0.2 s of one desktop core.
    pub const STANDARD: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

    /// The least that Argon2 allows. Protects nothing: for tests only.
    pub const fn for_tests() -> Self {
        Self { memory_kib: 8, passes: 1, lanes: 1 }
    }

    /// From a file, where a stranger may have written it: bounded before any memory is taken.
    fn bounded(memory_kib: u32, passes: u32, lanes: u32) -> Option<Self> {
        let bounded = (1..=4).contains(&lanes)
            && (1..=16).contains(&passes)
            && (lanes.saturating_mul(8)..=1024 * 1024).contains(&memory_kib);
        bounded.then_some(Self { memory_kib, passes, lanes })
    }

    fn key(self, passphrase: &str, salt: &[u8; SALT_BYTES]) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(|_| KeystoreError::Memory)?;
        // Keyboards disagree on how an accented letter is encoded, so the passphrase is normalised (NFKD) first.
        let mut normal = std::borrow::Cow::Borrowed(passphrase);
        bip39::Mnemonic::normalize_utf8_cow(&mut normal);
        let normal = Zeroizing::new(normal.into_owned());
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(normal.as_bytes(), salt, key.as_mut())
            .map_err(|_| KeystoreError::Memory)?;
        Ok(key)
    }
}

/// Why a keystore could not be made or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// Wrong passphrase, changed file, or no keystore at all: they cannot be told apart.
    #[error(
        "the passphrase is wrong, or the keystore file was damaged; try the passphrase again (check the keyboard's \
         language), else restore the wallet from the 24 words"
    )]
    Unlock,
    /// The file has a layout that this version does not know.
    #[error("the keystore was written by a newer version of this program; use that one")]
    Newer,
    /// No passphrase.
    #[error("the passphrase is empty; choose one, it protects your keys when this machine is taken")]
    EmptyPassphrase,
    /// Argon2 got no memory.
    #[error("not enough memory to check the passphrase (64 MiB are needed); close other programs and try again")]
    Memory,
    /// More epochs than a keystore holds.
    #[error("the keystore is full; this is a fault of the program, please report it")]
    Full,
}

/// A key that lives in the keystore alone, so that dropping it deletes what is encrypted under it. Zeroized on drop.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Epoch {
    day: u64,
    key: [u8; 32],
}

impl Epoch {
    /// A new random key for a UTC day (days since 1970, not 0).
    pub fn generate(day: u64, rng: &mut dyn CryptoRng) -> Self {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        Self { day: day.max(1), key }
    }
    /// The day from which on it is used.
    pub fn day(&self) -> u64 {
        self.day
    }
    /// The key.
    pub(crate) fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

/// All that must stay secret and cannot be made anew. Zeroized on drop.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secrets {
    entropy: [u8; 32],
    ledger: [u8; 32],
    name_key: [u8; 32],
    record_key: [u8; 32],
    epochs: Vec<Epoch>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl Secrets {
    /// The secrets of a new wallet for the ledger, with one epoch.
    pub fn generate(phrase: &Phrase, ledger: [u8; 32], day: u64, rng: &mut dyn CryptoRng) -> Self {
        let (mut name_key, mut record_key) = ([0; 32], [0; 32]);
        rng.fill_bytes(&mut name_key);
        rng.fill_bytes(&mut record_key);
        Self { entropy: *phrase.entropy(), ledger, name_key, record_key, epochs: vec![Epoch::generate(day, rng)] }
    }
    /// The phrase that the identity follows from.
    ///
    /// # Errors
    /// [`PhraseError::Entropy`], which 32 bytes never give.
    pub fn phrase(&self) -> Result<Phrase, PhraseError> {
        Phrase::from_entropy(&self.entropy)
    }
    /// The ledger that the wallet belongs to.
    pub fn ledger(&self) -> &[u8; 32] {
        &self.ledger
    }
    /// Hashes names, so that database keys do not show them.
    pub(crate) fn name_key(&self) -> &[u8; 32] {
        &self.name_key
    }
    /// Encrypts what is kept for as long as the wallet exists.
    pub(crate) fn record_key(&self) -> &[u8; 32] {
        &self.record_key
    }
    /// Epoch keys, days ascending.
    pub(crate) fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        let count = u16::try_from(self.epochs.len()).ok().filter(|count| usize::from(*count) <= EPOCHS_MAX);
        let count = count.ok_or(KeystoreError::Full)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX_BYTES as usize));
        bytes.push(PAYLOAD_VERSION);
        for key in [&self.entropy, &self.ledger, &self.name_key, &self.record_key] {
            bytes.extend_from_slice(key);
        }
        bytes.extend_from_slice(&count.to_le_bytes());
        for epoch in &self.epochs {
            bytes.extend_from_slice(&epoch.day.to_le_bytes());
            bytes.extend_from_slice(&epoch.key);
        }
        Ok(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != PAYLOAD_VERSION {
            return None;
        }
        let mut secrets = Self {
            entropy: reader.array()?,
            ledger: reader.array()?,
            name_key: reader.array()?,
            record_key: reader.array()?,
            epochs: Vec::new(),
        };
        let count = usize::from(reader.array().map(u16::from_le_bytes)?);
        if !(1..=EPOCHS_MAX).contains(&count) {
            return None;
        }
        // Reserved at once, so that growing leaves no copies of keys behind.
        secrets.epochs.reserve_exact(count);
        for _ in 0..count {
            secrets.epochs.push(Epoch { day: reader.u64()?, key: reader.array()? });
        }
        let ascending = secrets.epochs.is_sorted_by(|a, b| a.day < b.day);
        (ascending && secrets.epochs.iter().all(|epoch| epoch.day > 0) && reader.rest().is_empty()).then_some(secrets)
    }
}

/// Encrypts secrets: the bytes of a keystore file.
///
/// # Errors
/// [`KeystoreError::EmptyPassphrase`], [`KeystoreError::Memory`] or [`KeystoreError::Full`].
pub fn seal(
    secrets: &Secrets,
    passphrase: &str,
    cost: KdfCost,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, KeystoreError> {
    if passphrase.is_empty() {
        return Err(KeystoreError::EmptyPassphrase);
    }
    let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
    rng.fill_bytes(&mut salt);
    rng.fill_bytes(&mut nonce);
    let key = cost.key(passphrase, &salt)?;
    let mut file = Vec::with_capacity(HEAD_BYTES);
    file.extend_from_slice(MAGIC);
    file.push(VERSION);
    for parameter in [cost.memory_kib, cost.passes, cost.lanes] {
        file.extend_from_slice(&parameter.to_le_bytes());
    }
    file.extend_from_slice(&salt);
    file.extend_from_slice(&nonce);
    let sealed = aead::seal(&key, &nonce, &file, &secrets.to_bytes()?).map_err(|_| KeystoreError::Full)?;
    file.extend_from_slice(&sealed);
    Ok(file)
}

/// Decrypts the bytes of a keystore file.
///
/// # Errors
/// [`KeystoreError::Newer`] for a file of a later version; else [`KeystoreError::Unlock`] whatever is wrong with passphrase
/// or file, [`KeystoreError::Memory`] when Argon2 gets none.
pub fn unseal(file: &[u8], passphrase: &str) -> Result<Secrets, KeystoreError> {
    // Of a later version nothing but the first nine bytes is known. An older one would be read here; there is none yet.
    if let Some((magic, [version, ..])) = file.split_first_chunk::<8>()
        && magic == MAGIC
        && *version > VERSION
    {
        return Err(KeystoreError::Newer);
    }
    let (head, sealed) = file.split_first_chunk::<HEAD_BYTES>().ok_or(KeystoreError::Unlock)?;
    let (cost, salt, nonce) = read_head(head).ok_or(KeystoreError::Unlock)?;
    let key = cost.key(passphrase, &salt)?;
    let payload = aead::open(&key, &nonce, head, sealed).map_err(|_| KeystoreError::Unlock)?;
    Secrets::from_bytes(&payload).ok_or(KeystoreError::Unlock)
}

fn read_head(head: &[u8; HEAD_BYTES]) -> Option<(KdfCost, [u8; SALT_BYTES], [u8; NONCE_BYTES])> {
    let mut reader = Reader::new(head);
    if &reader.array::<8>()? != MAGIC || reader.u8()? != VERSION {
        return None;
    }
    let cost = KdfCost::bounded(reader.u32()?, reader.u32()?, reader.u32()?)?;
    Some((cost, reader.array()?, reader.array()?))
}

#[cfg(test)]
mod tests;
