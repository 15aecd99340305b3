//! Export, import and wiping: a whole wallet as one encrypted file, and the end of one.
//!
//! The file holds what the keystore holds and the rows of the database as they stand, encrypted in chunks under a passphrase
//! of its own (`docs/wallet-format.md`, "Export file"). Chunks are numbered and the last is marked, so none can be left out,
//! swapped or cut off. **An export keeps keys alive that the wallet destroys**: it is worth as much as the wallet was on the
//! day on which it was made, until the file itself is destroyed.

use std::{
    cell::Cell,
    io::{self, BufReader, Read},
    path::Path,
};

use qasedak_chain::{
    Network, Time,
    store::{
        StoreError,
        disk::{
            files::{self, DiskFile},
            journal::{Changes, Entry},
        },
    },
};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{Wallet, WalletError, take_lock, vault::open_journal};
use crate::{
    aead::{self, NONCE_BYTES, TAG_BYTES},
    bytes::Reader,
    keystore::{KdfCost, LOCK_BYTES, Lock, Secrets, file as keystore_file, live::Keystore},
};

/// First bytes of an export.
const MAGIC: &[u8; 8] = b"qsd-wall";
/// Version of its layout.
const VERSION: u8 = 1;
/// The random part of the chunks' nonces; their number is the rest.
const PREFIX_BYTES: usize = NONCE_BYTES - 8;
/// magic | version | memory | passes | lanes | salt | prefix: what stands before the chunks.
const HEAD_BYTES: usize = 8 + 1 + LOCK_BYTES + PREFIX_BYTES;
/// Most bytes of a chunk before encryption. A chunk that another row fits in is not closed.
const CHUNK_MAX_BYTES: usize = 256 * 1024;
/// Rows that are read from the database at a time.
const PAGE: usize = 64;

/// What encrypts and numbers chunks.
struct Chunks {
    lock: Lock,
    head: Vec<u8>,
    prefix: [u8; PREFIX_BYTES],
    next: u64,
}

impl Chunks {
    fn nonce(&mut self) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        let number = self.next.to_be_bytes();
        nonce.iter_mut().zip(self.prefix.into_iter().chain(number)).for_each(|(place, byte)| *place = byte);
        self.next = self.next.saturating_add(1);
        nonce
    }

    fn seal(&mut self, last: bool, plaintext: &[u8]) -> Option<Vec<u8>> {
        let (nonce, aad) = (self.nonce(), [self.head.as_slice(), &[u8::from(last)]].concat());
        let sealed = aead::seal(self.lock.key(), &nonce, &aad, plaintext).ok()?;
        let length = u32::try_from(sealed.len()).ok()?;
        Some([length.to_le_bytes().as_slice(), &[u8::from(last)], &sealed].concat())
    }

    fn open(&mut self, last: bool, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, aad) = (self.nonce(), [self.head.as_slice(), &[u8::from(last)]].concat());
        aead::open(self.lock.key(), &nonce, &aad, sealed).ok()
    }
}

fn head(lock: &Lock, prefix: &[u8; PREFIX_BYTES]) -> Vec<u8> {
    [MAGIC.as_slice(), &[VERSION], &lock.head(), prefix].concat()
}

impl Wallet {
    /// Writes the whole wallet to a new file, readable by its owner only: identities, seal keys, contacts, messages. It is on
    /// disk when this returns. The passphrase may be another than the wallet's.
    ///
    /// # Errors
    /// [`WalletError::Store`] when there is such a file or it cannot be written, [`WalletError::Keystore`] for an empty
    /// passphrase, or what reading gives. No file is left then.
    pub fn export(
        &self,
        path: &Path,
        passphrase: &str,
        cost: KdfCost,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), WalletError> {
        let lock = Lock::new(passphrase, cost, rng)?;
        let mut prefix = [0; PREFIX_BYTES];
        rng.fill_bytes(&mut prefix);
        let chunks = Chunks { head: head(&lock, &prefix), lock, prefix, next: 0 };
        let file = DiskFile::create_new(path)?;
        let written = self.write_export(&file, chunks).and_then(|()| Ok(files::sync_parent(path)?));
        written.inspect_err(|_| drop(files::remove(path)))
    }

    fn write_export(&self, file: &DiskFile, mut chunks: Chunks) -> Result<(), WalletError> {
        let mut end = 0u64;
        let mut write = |bytes: &[u8]| {
            file.write_at(bytes, end)?;
            end = end.saturating_add(bytes.len() as u64);
            Ok::<(), StoreError>(())
        };
        write(&chunks.head)?;
        let mut chunk = self.vault.secrets().to_bytes()?;
        let mut behind = Vec::new();
        loop {
            let page = self.vault.entries(&behind, PAGE)?;
            let Some((last, _)) = page.last() else {
                break;
            };
            behind.clone_from(last);
            for (key, value) in &page {
                let entry = entry(key, value).ok_or_else(|| self.vault.damaged())?;
                // The secrets have a chunk of their own.
                if chunks.next == 0 || chunk.len().saturating_add(entry.len()) > CHUNK_MAX_BYTES {
                    write(&chunks.seal(false, &chunk).ok_or_else(|| self.vault.damaged())?)?;
                    chunk.clear();
                }
                chunk.extend_from_slice(&entry);
            }
        }
        write(&chunks.seal(true, &chunk).ok_or_else(|| self.vault.damaged())?)?;
        Ok(file.sync()?)
    }

    /// Makes a wallet in `dir`, where there must be none, from an export, and lets go what has expired since.
    ///
    /// # Errors
    /// [`WalletError::BadExport`] for a wrong passphrase and for a file that was changed or cut; [`WalletError::Exists`],
    /// [`WalletError::OtherNetwork`], [`WalletError::Damaged`] for rows that are not this wallet's, and what writing gives.
    /// There is no wallet then, as before.
    #[expect(clippy::too_many_arguments, reason = "two files, two passphrases, and what every wallet is made with")]
    pub fn import(
        dir: &Path,
        network: &Network,
        export: &Path,
        export_passphrase: &str,
        passphrase: &str,
        cost: KdfCost,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, WalletError> {
        let file = ExportFile::open(export)?;
        // What could not be read says nothing of the export.
        let bad = || file.failure().unwrap_or_else(|| WalletError::BadExport { path: export.display().to_string() });
        let mut import = Import::begin(BufReader::new(&file), export_passphrase)?.ok_or_else(bad)?;
        let secrets = import.secrets().ok_or_else(bad)?;
        if secrets.ledger() != network.ledger().as_bytes() {
            return Err(WalletError::OtherNetwork { path: export.display().to_string() });
        }
        files::make_dir(dir)?;
        let lock = take_lock(dir)?;
        if Self::exists(dir)? {
            return Err(WalletError::Exists { path: dir.display().to_string() });
        }
        // The keystore comes last: without one there is no wallet, whatever else is there.
        let db = dir.join("db");
        files::set_aside(&db)?;
        let mut journal = open_journal(&db, secrets.ledger())?;
        while let Some(entries) = import.entries().ok_or_else(bad)? {
            let mut changes = Changes::default();
            entries.iter().for_each(|(key, value)| changes.insert(key, value));
            journal.commit(&changes)?;
        }
        drop(journal);
        let path = dir.join("keystore");
        let keystore = Keystore::create(&path, secrets, passphrase, cost, rng)?;
        // Whose the rows are, and whether they are any, is known only now.
        Self::with_keystore(dir, network, keystore, now, lock).inspect_err(|_| drop(keystore_file::remove(&path)))
    }

    /// Destroys the wallet in `dir`: first the keys, overwritten, then the rest. What was exported or copied is not touched.
    ///
    /// # Errors
    /// [`WalletError::Missing`], [`WalletError::InUse`] or [`WalletError::Store`].
    pub fn wipe(dir: &Path) -> Result<(), WalletError> {
        if !Self::exists(dir)? {
            return Err(WalletError::Missing { path: dir.display().to_string() });
        }
        let lock = take_lock(dir)?;
        let keystore = dir.join("keystore");
        keystore_file::remove_unfinished(&keystore)?;
        keystore_file::remove(&keystore)?;
        drop(lock);
        Ok(files::remove_dir(dir)?)
    }
}

/// key length:u8 | key | value length:u32 | value
fn entry(key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let lengths = (u8::try_from(key.len()).ok()?, u32::try_from(value.len()).ok()?);
    Some([&[lengths.0], key, lengths.1.to_le_bytes().as_slice(), value].concat())
}

/// The file of an export, read from its start to its end. Remembers why it could not be read on.
struct ExportFile {
    file: DiskFile,
    at: Cell<u64>,
    failure: Cell<Option<StoreError>>,
}

impl ExportFile {
    fn open(path: &Path) -> Result<Self, WalletError> {
        let missing = || StoreError::Io {
            what: "cannot read",
            path: path.display().to_string(),
            source: io::ErrorKind::NotFound.into(),
        };
        let file = DiskFile::open(path, false)?.ok_or_else(missing)?;
        Ok(Self { file, at: Cell::default(), failure: Cell::default() })
    }

    fn failure(&self) -> Option<WalletError> {
        self.failure.take().map(WalletError::from)
    }
}

impl Read for &ExportFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self.file.read_at(self.at.get(), bytes.len()) {
            Ok(read) => {
                bytes.iter_mut().zip(&read).for_each(|(to, from)| *to = *from);
                self.at.set(self.at.get().saturating_add(read.len() as u64));
                Ok(read.len())
            }
            Err(error) => {
                self.failure.set(Some(error));
                Err(io::ErrorKind::Other.into())
            }
        }
    }
}

/// An export that is being read. `None` stands for a file that is none, was changed, or was made under another passphrase.
struct Import<R> {
    file: R,
    chunks: Chunks,
    ended: bool,
}

impl<R: Read> Import<R> {
    fn begin(mut file: R, passphrase: &str) -> Result<Option<Self>, WalletError> {
        let mut head = [0; HEAD_BYTES];
        if file.read_exact(&mut head).is_err() {
            return Ok(None);
        }
        let mut reader = Reader::new(&head);
        let Some((MAGIC, version)) = reader.array::<8>().as_ref().zip(reader.u8()) else {
            return Ok(None);
        };
        if version > VERSION {
            return Err(crate::keystore::KeystoreError::Newer.into());
        }
        let Some((lock, prefix)) = reader.array().zip(reader.array()).filter(|_| version == VERSION) else {
            return Ok(None);
        };
        let Some(lock) = Lock::again(passphrase, &lock) else {
            return Ok(None);
        };
        let chunks = Chunks { lock: lock?, head: head.to_vec(), prefix, next: 0 };
        Ok(Some(Self { file, chunks, ended: false }))
    }

    fn chunk(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let mut front = [0; 5];
        self.file.read_exact(&mut front).ok()?;
        let (length, last) = front.split_first_chunk::<4>()?;
        let (length, last) = (u32::from_le_bytes(*length), *last.first()?);
        let length = usize::try_from(length).ok().filter(|length| *length <= CHUNK_MAX_BYTES + TAG_BYTES)?;
        let mut sealed = vec![0; length];
        self.file.read_exact(&mut sealed).ok()?;
        self.ended = match last {
            0 => false,
            1 => true,
            _ => return None,
        };
        // Nothing may stand behind the last one.
        if self.ended && io::copy(&mut self.file.by_ref().take(1), &mut io::sink()).ok()? > 0 {
            return None;
        }
        self.chunks.open(self.ended, &sealed)
    }

    fn secrets(&mut self) -> Option<Secrets> {
        let chunk = self.chunk()?;
        Secrets::from_bytes(&chunk).filter(|_| !self.ended)
    }

    /// The rows of the next chunk; inner `None` behind the last one.
    fn entries(&mut self) -> Option<Option<Vec<Entry>>> {
        if self.ended {
            return Some(None);
        }
        let chunk = self.chunk()?;
        let (mut rest, mut entries) = (chunk.as_slice(), Vec::new());
        while !rest.is_empty() {
            let mut reader = Reader::new(rest);
            let key = usize::from(reader.u8()?);
            let key = reader.slice(key)?.to_vec();
            let value = usize::try_from(reader.u32()?).ok()?;
            entries.push((key, reader.slice(value)?.to_vec()));
            rest = reader.rest();
        }
        Some(Some(entries))
    }
}

#[cfg(test)]
mod tests;
