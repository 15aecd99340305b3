//! The keystore: the file that holds a wallet's secrets, encrypted under a passphrase (DESIGN §8;
//! `docs/wallet-format.md`, "Keystore file").
//!
//! Argon2id makes the key, XChaCha20-Poly1305 encrypts; everything before the ciphertext is associated data. A wrong
//! passphrase, a changed file and a file of another kind give one and the same error. The file is small and always
//! written whole: to a new file, fsynced, renamed, directory fsynced. [`seal`] and [`unseal`] are pure.
//!
//! An **epoch key** is what makes destruction real: whatever goes on one UTC day is encrypted under the epoch key of that
//! day, which stands in this file and nowhere else, and which is left out when the day is over.
//!
//! In memory, keys are in pages of their own that the system is asked to lock (`locked`).

use argon2::{Algorithm, Argon2, Params, Version};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    aead::{self, NONCE_BYTES},
    bytes::Reader,
    locked::Locked,
    phrase::{Phrase, PhraseError},
};

mod epochs;
pub(crate) mod file;
pub(crate) mod live;

/// First bytes of a keystore file.
const MAGIC: &[u8; 8] = b"qsd-keys";
/// Version of the file's layout.
const VERSION: u8 = 1;
/// Version of the payload's layout.
const PAYLOAD_VERSION: u8 = 1;
const SALT_BYTES: usize = 16;
/// magic | version | memory | passes | lanes | salt | nonce: what stands before the ciphertext.
const HEAD_BYTES: usize = 8 + 1 + LOCK_BYTES + NONCE_BYTES;
/// memory | passes | lanes | salt: how a key is made from a passphrase.
pub(crate) const LOCK_BYTES: usize = 4 + 4 + 4 + SALT_BYTES;
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

    /// From a file, where a stranger may have written it: bounded before any memory is taken. At most 256 MiB, four times what
    /// is written: room for a later version, and no more than a small computer has.
    fn bounded(memory_kib: u32, passes: u32, lanes: u32) -> Option<Self> {
        let bounded = (1..=4).contains(&lanes)
            && (1..=16).contains(&passes)
            && (lanes.saturating_mul(8)..=256 * 1024).contains(&memory_kib);
        bounded.then_some(Self { memory_kib, passes, lanes })
    }

    fn key(self, passphrase: &str, salt: &[u8; SALT_BYTES]) -> Result<Locked<[u8; 32]>, KeystoreError> {
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(|_| KeystoreError::Memory)?;
        // Keyboards disagree on how an accented letter is encoded, so the passphrase is normalised (NFKD) first.
        let mut normal = std::borrow::Cow::Borrowed(passphrase);
        bip39::Mnemonic::normalize_utf8_cow(&mut normal);
        let normal = Zeroizing::new(normal.into_owned());
        let mut key = Locked::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(normal.as_bytes(), salt, &mut *key)
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

/// All that must stay secret and cannot be made anew. Locked in memory where the system allows it, zeroized on drop; each
/// key has one place for as long as it lives.
pub struct Secrets {
    ledger: [u8; 32],
    /// The phrase's entropy, the name key, the record key.
    keys: Locked<[[u8; 32]; 3]>,
    epochs: epochs::Epochs,
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        let (Ok(this), Ok(other)) = (self.to_bytes(), other.to_bytes()) else {
            return false;
        };
        this.ct_eq(&other).into()
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl Secrets {
    /// The secrets of a new wallet for the ledger, with no epoch.
    pub fn generate(phrase: &Phrase, ledger: [u8; 32], rng: &mut dyn CryptoRng) -> Self {
        let mut keys = Locked::new([[0; 32]; 3]);
        let [entropy, name_key, record_key] = &mut *keys;
        entropy.copy_from_slice(phrase.entropy());
        rng.fill_bytes(name_key);
        rng.fill_bytes(record_key);
        Self { ledger, keys, epochs: epochs::Epochs::default() }
    }
    /// The phrase that the identity follows from.
    ///
    /// # Errors
    /// [`PhraseError::Entropy`], which 32 bytes never give.
    pub fn phrase(&self) -> Result<Phrase, PhraseError> {
        let [entropy, ..] = &*self.keys;
        Phrase::from_entropy(entropy)
    }
    /// The ledger that the wallet belongs to.
    pub fn ledger(&self) -> &[u8; 32] {
        &self.ledger
    }
    /// Hashes names, so that database keys do not show them.
    pub(crate) fn name_key(&self) -> &[u8; 32] {
        let [_, name_key, _] = &*self.keys;
        name_key
    }
    /// Encrypts what is kept for as long as the wallet exists.
    pub(crate) fn record_key(&self) -> &[u8; 32] {
        let [.., record_key] = &*self.keys;
        record_key
    }
    /// The key of what goes on that UTC day (days since 1970), if it has one.
    pub fn epoch(&self, day: u64) -> Option<&[u8; 32]> {
        self.epochs.get(day)
    }
    /// The days that have a key, ascending.
    pub fn epoch_days(&self) -> impl Iterator<Item = u64> {
        self.epochs.days()
    }
    /// Gives a day its key, unless it has one. Day 0 has none.
    ///
    /// # Errors
    /// [`KeystoreError::Full`] when there are [`EPOCHS_MAX`] already.
    pub(crate) fn add_epoch(&mut self, day: u64, key: &[u8; 32]) -> Result<(), KeystoreError> {
        self.epochs.add(day, key)
    }
    /// Drops the keys of all days before `day`; says whether there were any.
    pub(crate) fn drop_epochs_before(&mut self, day: u64) -> bool {
        self.epochs.drop_before(day)
    }
    /// Whether the system keeps all of them out of swap.
    pub(crate) fn is_locked(&self) -> bool {
        self.keys.is_locked() && self.epochs.is_locked()
    }

    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        let count = u16::try_from(self.epochs.len()).ok().filter(|count| usize::from(*count) <= EPOCHS_MAX);
        let count = count.ok_or(KeystoreError::Full)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX_BYTES as usize));
        bytes.push(PAYLOAD_VERSION);
        let [entropy, name_key, record_key] = &*self.keys;
        for key in [entropy, &self.ledger, name_key, record_key] {
            bytes.extend_from_slice(key);
        }
        bytes.extend_from_slice(&count.to_le_bytes());
        for (day, key) in self.epochs.iter() {
            bytes.extend_from_slice(&day.to_le_bytes());
            bytes.extend_from_slice(key);
        }
        Ok(bytes)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != PAYLOAD_VERSION {
            return None;
        }
        let mut keys = Locked::new([[0; 32]; 3]);
        let [entropy, name_key, record_key] = &mut *keys;
        entropy.copy_from_slice(reader.slice(32)?);
        let ledger = reader.array()?;
        name_key.copy_from_slice(reader.slice(32)?);
        record_key.copy_from_slice(reader.slice(32)?);
        let count = usize::from(reader.array().map(u16::from_le_bytes)?);
        if count > EPOCHS_MAX {
            return None;
        }
        let (mut epochs, mut last) = (epochs::Epochs::default(), 0);
        for _ in 0..count {
            let day = reader.u64()?;
            // Ascending, and none for day 0.
            if day <= last {
                return None;
            }
            epochs.add(day, reader.slice(32)?.first_chunk()?).ok()?;
            last = day;
        }
        reader.rest().is_empty().then_some(Self { ledger, keys, epochs })
    }
}

/// What a passphrase came to: the key of a keystore file and how it was made. With it the file can be written again
/// without the passphrase, which is not kept. Zeroized on drop.
pub(crate) struct Lock {
    cost: KdfCost,
    salt: [u8; SALT_BYTES],
    key: Locked<[u8; 32]>,
}

impl Lock {
    /// Derives the key of a new file, under a new salt.
    pub(crate) fn new(passphrase: &str, cost: KdfCost, rng: &mut dyn CryptoRng) -> Result<Self, KeystoreError> {
        if passphrase.is_empty() {
            return Err(KeystoreError::EmptyPassphrase);
        }
        let mut salt = [0; SALT_BYTES];
        rng.fill_bytes(&mut salt);
        Ok(Self { cost, salt, key: cost.key(passphrase, &salt)? })
    }

    /// The key again, of a file that says how it was made; `None` when the parameters are beyond what is allowed.
    pub(crate) fn again(passphrase: &str, head: &[u8; LOCK_BYTES]) -> Option<Result<Self, KeystoreError>> {
        let mut reader = Reader::new(head);
        let cost = KdfCost::bounded(reader.u32()?, reader.u32()?, reader.u32()?)?;
        let salt = reader.array()?;
        Some(cost.key(passphrase, &salt).map(|key| Self { cost, salt, key }))
    }

    /// How the key was made, as it stands in files: memory | passes | lanes | salt.
    pub(crate) fn head(&self) -> Vec<u8> {
        let parameters = [self.cost.memory_kib, self.cost.passes, self.cost.lanes];
        let parameters = parameters.into_iter().flat_map(u32::to_le_bytes);
        parameters.chain(self.salt).collect()
    }

    /// Whether the system keeps it out of swap.
    pub(crate) fn is_locked(&self) -> bool {
        self.key.is_locked()
    }

    /// The key.
    pub(crate) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Encrypts secrets: the bytes of a keystore file. The nonce must be a new random one.
    pub(crate) fn seal(&self, secrets: &Secrets, nonce: &[u8; NONCE_BYTES]) -> Result<Vec<u8>, KeystoreError> {
        let mut file = Vec::with_capacity(HEAD_BYTES);
        file.extend_from_slice(MAGIC);
        file.push(VERSION);
        file.extend_from_slice(&self.head());
        file.extend_from_slice(nonce);
        let sealed = aead::seal(&self.key, nonce, &file, &secrets.to_bytes()?).map_err(|_| KeystoreError::Full)?;
        file.extend_from_slice(&sealed);
        Ok(file)
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
    let lock = Lock::new(passphrase, cost, rng)?;
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    lock.seal(secrets, &nonce)
}

/// Decrypts the bytes of a keystore file.
///
/// # Errors
/// [`KeystoreError::Newer`] for a file of a later version; else [`KeystoreError::Unlock`] whatever is wrong with passphrase
/// or file, [`KeystoreError::Memory`] when Argon2 gets none.
pub fn unseal(file: &[u8], passphrase: &str) -> Result<Secrets, KeystoreError> {
    unlock(file, passphrase).map(|(secrets, _)| secrets)
}

/// [`unseal`], and what is needed to write the file again.
pub(crate) fn unlock(file: &[u8], passphrase: &str) -> Result<(Secrets, Lock), KeystoreError> {
    // Of a later version nothing but the first nine bytes is known. An older one would be read here; there is none yet.
    if let Some((magic, [version, ..])) = file.split_first_chunk::<8>()
        && magic == MAGIC
        && *version > VERSION
    {
        return Err(KeystoreError::Newer);
    }
    let (head, sealed) = file.split_first_chunk::<HEAD_BYTES>().ok_or(KeystoreError::Unlock)?;
    let (lock, nonce) = read_head(head).ok_or(KeystoreError::Unlock)?;
    let lock = Lock::again(passphrase, &lock).ok_or(KeystoreError::Unlock)??;
    let payload = aead::open(&lock.key, &nonce, head, sealed).map_err(|_| KeystoreError::Unlock)?;
    let secrets = Secrets::from_bytes(&payload).ok_or(KeystoreError::Unlock)?;
    Ok((secrets, lock))
}

fn read_head(head: &[u8; HEAD_BYTES]) -> Option<([u8; LOCK_BYTES], [u8; NONCE_BYTES])> {
    let mut reader = Reader::new(head);
    let known = &reader.array::<8>()? == MAGIC && reader.u8()? == VERSION;
    known.then_some((reader.array()?, reader.array()?))
}

#[cfg(test)]
mod tests;
