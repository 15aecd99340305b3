//! One person's wallet on disk: the only part of this crate, with [`keystore`]'s file, that does IO.
//!
//! A directory `<data>/<network>/wallet/` with the file `keystore`, the database `db/` and the file `lock`. Everything in
//! it is encrypted; every change is on disk when the method returns. Methods that change something take `&mut self`.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use qasedak_chain::{Network, Time, Transaction};
use rand_core::CryptoRng;

use crate::{
    address::Address,
    card::Card,
    contact::Contact,
    envelope::Draft,
    inner::Content,
    keys::{Account, Keys, SealKey},
    keystore::{self, KdfCost, Secrets},
    open::{self, OpenError, Opened},
    phrase::Phrase,
    scan::Scanner,
    seal::{self, SealError, SealedMessage},
};

mod cards;
mod contacts;
mod disclosing;
mod error;
mod messages;
mod rows;
mod vault;

pub use disclosing::DiscloseError;
pub use error::WalletError;
pub use messages::{LogId, Scanned, SentMessage, StoredMessage, UNREAD_MAX};

use rows::HeaderRow;
use vault::{Changes, Class, Vault};

/// An open wallet.
pub struct Wallet {
    network: Network,
    keys: Keys,
    // Oldest first.
    seal_keys: Vec<SealKey>,
    // By folded name.
    contacts: std::collections::BTreeMap<String, Contact>,
    vault: Vault,
    // Held for as long as the wallet is open; last, so that it is let go last.
    _lock: File,
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wallet(…)")
    }
}

impl Wallet {
    /// Whether `dir` holds a wallet. Does not say that it can be opened.
    pub fn exists(dir: &Path) -> bool {
        fs::symlink_metadata(dir.join("keystore")).is_ok()
    }

    /// Makes a wallet in `dir`, which is created if need be. A database without keystore, which nobody can read any more,
    /// is set aside under another name.
    ///
    /// # Errors
    /// [`WalletError`], among others [`WalletError::Exists`]: an existing wallet is never touched.
    pub fn create(
        dir: &Path,
        network: &Network,
        phrase: &Phrase,
        passphrase: &str,
        cost: KdfCost,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, WalletError> {
        create_dir(dir)?;
        let lock = take_lock(dir)?;
        if Self::exists(dir) {
            return Err(WalletError::Exists { path: dir.display().to_string() });
        }
        set_aside(&dir.join("db"))?;
        let secrets = Secrets::generate(phrase, *network.ledger().as_bytes(), now.day(), rng);
        let path = dir.join("keystore");
        let file = keystore::seal(&secrets, passphrase, cost, rng)?;
        keystore::file::write_new(&path, &file).map_err(WalletError::io("write", &path))?;
        Self::with_secrets(dir, network, secrets, lock)
    }

    /// Opens the wallet in `dir`.
    ///
    /// # Errors
    /// [`WalletError`], among others [`WalletError::Missing`], [`WalletError::InUse`] and, for a wrong passphrase,
    /// [`WalletError::Keystore`].
    pub fn open(dir: &Path, network: &Network, passphrase: &str) -> Result<Self, WalletError> {
        if !Self::exists(dir) {
            return Err(WalletError::Missing { path: dir.display().to_string() });
        }
        let lock = take_lock(dir)?;
        let path = dir.join("keystore");
        let file = keystore::file::read(&path).map_err(WalletError::io("read", &path))?;
        Self::with_secrets(dir, network, keystore::unseal(&file, passphrase)?, lock)
    }

    fn with_secrets(dir: &Path, network: &Network, secrets: Secrets, lock: File) -> Result<Self, WalletError> {
        if secrets.ledger() != network.ledger().as_bytes() {
            return Err(WalletError::OtherNetwork { path: dir.display().to_string() });
        }
        let keys = Keys::derive(&secrets.phrase()?, Account::default());
        let vault = Vault::open(&dir.join("db"), secrets)?;
        let mut wallet = Self {
            network: network.clone(),
            keys,
            seal_keys: Vec::new(),
            contacts: Default::default(),
            vault,
            _lock: lock,
        };
        wallet.check_header(dir)?;
        wallet.load_seal_keys()?;
        wallet.load_contacts()?;
        Ok(wallet)
    }

    /// A new database gets its header; an old one must be of this wallet and of a layout that is known.
    fn check_header(&mut self, dir: &Path) -> Result<(), WalletError> {
        // Not a named key: those of another keystore would not be found, and a second header would be written.
        let key = Vault::counted_key(Class::Header, 0);
        let (ledger, address) = (*self.network.ledger().as_bytes(), *self.address().as_bytes());
        match self.vault.get::<HeaderRow>(&key)? {
            Some(HeaderRow { version: rows::VERSION, ledger: l, address: a }) if (l, a) == (ledger, address) => Ok(()),
            Some(HeaderRow { version, .. }) if version > rows::VERSION => {
                Err(WalletError::Newer { path: dir.display().to_string() })
            }
            // An older layout is brought up to this one here, before anything else is read. There is none yet.
            Some(_) => Err(WalletError::damaged(dir)),
            None if !self.vault.is_empty()? => Err(WalletError::damaged(dir)),
            None => {
                let mut changes = Changes::default();
                let row = HeaderRow { version: rows::VERSION, ledger, address };
                self.vault.put(&mut changes, Class::Header, &key, &row)?;
                self.vault.commit(changes)
            }
        }
    }

    /// The wallet's own address.
    pub fn address(&self) -> Address {
        self.keys.address()
    }

    /// The network that it belongs to.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Finds this wallet's sealed envelopes in the scan column. Independent of the wallet once made.
    pub fn scanner(&self) -> Scanner {
        Scanner::new(&self.network, self.keys.scan())
    }

    /// Opens a transaction that the scanner found. Changes nothing: hand the result to
    /// [`record_scanned`](Self::record_scanned).
    ///
    /// # Errors
    /// [`OpenError`] names the first check that failed.
    pub fn open_transaction(&self, transaction: &Transaction) -> Result<Opened, OpenError> {
        open::open(&self.network, &self.keys, &self.seal_keys, transaction)
    }

    /// Seals a message of this wallet to the holder of `card`. Changes nothing: once stamped, hand its record to
    /// [`record_sent`](Self::record_sent).
    ///
    /// # Errors
    /// [`SealError`] when the content is too long or the draft breaks a rule of form.
    pub fn seal(
        &self,
        card: &Card,
        content: Content,
        time_ms: u64,
        draft: &Draft,
        rng: &mut dyn CryptoRng,
    ) -> Result<SealedMessage, SealError> {
        seal::seal(&self.network, &self.keys, card, content, time_ms, draft, rng)
    }
}

/// Creates the directory, for its owner only, and makes its name durable.
fn create_dir(dir: &Path) -> Result<(), WalletError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(WalletError::io("create", dir))?;
    dir.parent().map_or(Ok(()), |parent| keystore::file::sync_dir(parent).map_err(WalletError::io("sync", parent)))
}

fn take_lock(dir: &Path) -> Result<File, WalletError> {
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(&path).map_err(WalletError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(WalletError::InUse { path: dir.display().to_string() }),
        Err(TryLockError::Error(error)) => Err(WalletError::io("lock", &path)(error)),
    }
}

/// Renames what stands at `path`, if anything does, to the first free `path.old-N`.
fn set_aside(path: &Path) -> Result<(), WalletError> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    let free = (1u32..)
        .map(|n| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".old-{n}"));
            PathBuf::from(name)
        })
        .find(|name| fs::symlink_metadata(name).is_err());
    free.map_or(Ok(()), |free| fs::rename(path, free).map_err(WalletError::io("set aside", path)))
}

#[cfg(test)]
mod tests;
