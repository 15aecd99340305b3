//! Delegated finding: a file with which a node that is not trusted with content finds the envelopes of one identity
//! (DESIGN §8; `docs/wallet-format.md`, "Scan key file"; decision 0037).
//!
//! It holds the scan key, which recognises hints, and a token by which the owner and the finder know each other. Nothing
//! in it opens, signs or names: seal keys are random, the identity follows from the words by another path, and the address
//! does not stand in it. What is found is kept under a key that follows from the file, so that a disk without the file does not
//! tell for whom.

use std::fmt;

use qasedak_chain::{
    LedgerId, Network, TxId,
    hash::{Context, hash, hash_prefix},
};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    aead::{self, NONCE_BYTES},
    bytes::Reader,
    keys::ScanKey,
    scan::Scanner,
};

/// First bytes of a scan key file.
const MAGIC: &[u8; 8] = b"qsd-scan";
/// Version of its layout.
const VERSION: u8 = 1;
/// Bytes of the token.
pub const TOKEN_BYTES: usize = 32;
const CHECK_BYTES: usize = 16;
/// magic | version | ledger | scan secret | token: what the check covers.
const CHECKED_BYTES: usize = 8 + 1 + 32 + 32 + TOKEN_BYTES;
/// Bytes of a scan key file; it has this length and no other.
pub const FILE_BYTES: usize = CHECKED_BYTES + CHECK_BYTES;

/// Why a file is no scan key file that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanKeyError {
    /// Another file, or one that was cut.
    #[error(
        "this is no scan key file, or a part of it is missing; make one with: qasedak wallet scan-key export ID -o FILE"
    )]
    Form,
    /// A later layout.
    #[error("the scan key file was written by a newer version of this program; use that one")]
    Newer,
    /// A byte is not what was written.
    #[error("the scan key file is damaged; copy it again, or make a new one")]
    Damaged,
    /// Another ledger.
    #[error("the scan key file is for another network; choose that one with --network")]
    OtherNetwork,
}

/// What a finder is given. Zeroized on drop.
#[derive(Clone)]
pub struct ScanKeyFile {
    ledger: LedgerId,
    key: ScanKey,
    // Boxed, so that the secret has one place in memory for as long as it lives.
    token: Box<Zeroizing<[u8; TOKEN_BYTES]>>,
}

impl fmt::Debug for ScanKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScanKeyFile(…)")
    }
}

impl ScanKeyFile {
    /// A new one for a scan key, with a token of its own.
    pub(crate) fn new(network: &Network, key: &ScanKey, rng: &mut dyn CryptoRng) -> Self {
        let mut token = Box::new(Zeroizing::new([0; TOKEN_BYTES]));
        rng.fill_bytes(token.as_mut().as_mut());
        Self { ledger: network.ledger(), key: key.clone(), token }
    }

    /// Reads a file that was made for this network.
    ///
    /// # Errors
    /// [`ScanKeyError`] names the first check that failed.
    pub fn from_bytes(network: &Network, bytes: &[u8]) -> Result<Self, ScanKeyError> {
        let mut reader = Reader::new(bytes);
        match reader.array::<8>().as_ref().zip(reader.u8()) {
            // Of a later version nothing but the first nine bytes is known.
            Some((MAGIC, version)) if version > VERSION => return Err(ScanKeyError::Newer),
            Some((MAGIC, VERSION)) if bytes.len() == FILE_BYTES => {}
            _ => return Err(ScanKeyError::Form),
        }
        let (ledger, secret, token, check) = (|| {
            let ledger = LedgerId::from_bytes(reader.array()?);
            let secret = Zeroizing::new(reader.array::<32>()?);
            let token = Box::new(Zeroizing::new(reader.array()?));
            Some((ledger, secret, token, reader.array::<CHECK_BYTES>()?))
        })()
        .ok_or(ScanKeyError::Form)?;
        let checked = bytes.split_at_checked(CHECKED_BYTES).map(|(checked, _)| checked).ok_or(ScanKeyError::Form)?;
        if check_of(checked) != check {
            return Err(ScanKeyError::Damaged);
        }
        if ledger != network.ledger() {
            return Err(ScanKeyError::OtherNetwork);
        }
        Ok(Self { ledger, key: ScanKey::from_bytes(&secret), token })
    }

    /// The bytes of the file. They are secret.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Reserved as a whole, so that no copy of a secret stays behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES));
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.ledger.as_bytes());
        bytes.extend_from_slice(self.key.secret().as_bytes());
        bytes.extend_from_slice(self.token.as_ref().as_ref());
        let check = check_of(&bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    /// Finds the identity's sealed envelopes in the scan column. There are no expected tags in this version: nothing but cards
    /// is tagged.
    pub fn scanner(&self, network: &Network) -> Scanner {
        Scanner::new(network, &self.key)
    }

    /// Whether this is the file of that scan key.
    pub(crate) fn is_of(&self, key: &ScanKey) -> bool {
        self.key.public() == key.public()
    }

    /// Whether these are the bytes of the token. Takes the same time for any of that length.
    pub fn admits(&self, token: &[u8]) -> bool {
        token.ct_eq(self.token.as_ref().as_ref()).into()
    }

    /// The token in hexadecimal digits, as it stands in a call.
    pub fn token_text(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.token.as_ref()))
    }

    /// Names the list of what was found: `H("found", …, "list name")[..16]`. Says nothing to those who lack the file.
    pub fn list_name(&self) -> [u8; 16] {
        self.derived_prefix(b"list name")
    }

    /// Names, in the owner's wallet, how much was fetched: `H("found", …, "cursor")[..16]`. The finder knows it and has no
    /// say in it, so it cannot pass for the log of the owner's own node.
    pub fn cursor_name(&self) -> [u8; 16] {
        self.derived_prefix(b"cursor")
    }

    /// Encrypts the rows of that list.
    pub fn list_key(&self) -> ListKey {
        ListKey(Box::new(Zeroizing::new(hash(Context::Found, &self.parts(b"list key")))))
    }

    fn parts<'a>(&'a self, purpose: &'a [u8]) -> [&'a [u8]; 4] {
        [self.ledger.as_bytes(), self.key.secret().as_bytes(), self.token.as_ref().as_ref(), purpose]
    }

    fn derived_prefix(&self, purpose: &[u8]) -> [u8; 16] {
        hash_prefix(Context::Found, &self.parts(purpose))
    }
}

fn check_of(checked: &[u8]) -> [u8; CHECK_BYTES] {
    hash_prefix(Context::ScanKeyFile, &[checked])
}

/// Encrypts what a finder keeps of what it found. Zeroized on drop.
pub struct ListKey(Box<Zeroizing<[u8; 32]>>);

impl fmt::Debug for ListKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ListKey(…)")
    }
}

impl ListKey {
    /// `nonce:[24] | AEAD(list key, nonce, aad = name, row)`; `None` for a row beyond the cipher's limit.
    pub fn seal(&self, name: &[u8], row: &[u8], rng: &mut dyn CryptoRng) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let sealed = aead::seal(&self.0, &nonce, name, row).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// The row; `None` when it was not sealed with this key under this name.
    pub fn open(&self, name: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        aead::open(&self.0, nonce, name, sealed).ok()
    }
}

/// One entry of the list: what was found, and until when it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundRow {
    /// The transaction's id.
    pub id: TxId,
    /// In seconds since 1970.
    pub until: u64,
}

impl FoundRow {
    /// `id:[32] | until:u64`.
    pub fn to_bytes(self) -> Vec<u8> {
        [self.id.as_bytes().as_slice(), &self.until.to_le_bytes()].concat()
    }
    /// Reads a row; `None` for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let row = Self { id: TxId::from_bytes(reader.array()?), until: reader.u64()? };
        reader.rest().is_empty().then_some(row)
    }
}

#[cfg(test)]
mod tests;
