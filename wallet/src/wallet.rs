//! One person's wallet on disk: the only part of this crate, with [`crate::keystore`]'s file, that does IO.
//!
//! A directory `<data>/<network>/wallet/` with the file `keystore`, the database `db/` and the file `lock`. Everything in
//! it is encrypted; every change is on disk when the method returns. Methods that change something take `&mut self`.
//! Everything that is said has an end, and goes with it: [`Wallet::expire`].

use std::path::Path;

use qasedak_chain::{
    Network, Time, Transaction,
    store::{
        StoreError,
        disk::files::{self, Lock},
    },
};
use rand_core::CryptoRng;

use crate::{
    address::Address,
    card::Card,
    clock::WalletClock,
    contact::Contact,
    envelope::Draft,
    inner::Message,
    keys::SealKey,
    keystore::{KdfCost, Secrets, live::Keystore},
    open::{self, OpenError, Opened},
    phrase::Phrase,
    scan::Scanner,
    seal::{self, SealError, SealedMessage},
};

mod cards;
mod contacts;
mod cores;
mod disclosing;
mod error;
mod expiry;
mod export;
mod history;
mod identities;
mod index;
mod messages;
mod requests;
mod rows;
mod scan_key;
mod sent;
mod vault;

pub use contacts::{CardNews, KeyWarning};
pub use disclosing::DiscloseError;
pub use error::WalletError;
pub use expiry::Expired;
pub use history::HistoryEntry;
pub use identities::Identity;
pub use messages::{LogId, Recorded, Scanned, StoredMessage, UNREAD_MAX};
pub use requests::{REQUEST_BYTES_MAX, REQUESTS_MAX, REQUESTS_PER_SENDER_MAX};
pub use sent::{OwedReceipt, SentMessage, SentState};

use identities::Own;
use index::Index;
use rows::{ClockRow, CounterRow, HeaderRow};
use vault::{Changes, Class, Vault};

/// An open wallet.
pub struct Wallet {
    network: Network,
    /// The identity that every wallet has.
    main: Own,
    others: Vec<Own>,
    // By folded name.
    contacts: std::collections::BTreeMap<String, Contact>,
    // Since when.
    blocked: std::collections::BTreeMap<Address, Time>,
    index: Index,
    clock: WalletClock,
    /// What of the clock is on disk.
    kept_clock: WalletClock,
    vault: Vault,
    // Held for as long as the wallet is open; last, so that it is let go last.
    _lock: Lock,
}

/// What is counted. Numbers are never used again, whatever goes.
#[derive(Clone, Copy)]
enum Numbers {
    /// Messages, received and sent.
    Messages = 0,
    /// Own seal keys.
    SealKeys = 1,
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wallet(…)")
    }
}

impl Wallet {
    /// Whether `dir` holds a wallet. Does not say that it can be opened.
    ///
    /// # Errors
    /// [`WalletError::Store`] when the system does not say: then there may be one.
    pub fn exists(dir: &Path) -> Result<bool, WalletError> {
        Ok(files::exists(&dir.join("keystore"))?)
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
        files::make_dir(dir)?;
        let lock = take_lock(dir)?;
        if Self::exists(dir)? {
            return Err(WalletError::Exists { path: dir.display().to_string() });
        }
        files::set_aside(&dir.join("db"))?;
        let secrets = Secrets::generate(phrase, *network.ledger().as_bytes(), rng);
        let keystore = Keystore::create(&dir.join("keystore"), secrets, passphrase, cost, rng)?;
        Self::with_keystore(dir, network, keystore, now, lock)
    }

    /// Opens the wallet in `dir`, and lets go what has expired by `now`, the system's clock.
    ///
    /// # Errors
    /// [`WalletError`], among others [`WalletError::Missing`], [`WalletError::InUse`] and, for a wrong passphrase,
    /// [`WalletError::Keystore`].
    pub fn open(dir: &Path, network: &Network, passphrase: &str, now: Time) -> Result<Self, WalletError> {
        if !Self::exists(dir)? {
            return Err(WalletError::Missing { path: dir.display().to_string() });
        }
        let lock = take_lock(dir)?;
        let keystore = Keystore::open(&dir.join("keystore"), passphrase)?;
        Self::with_keystore(dir, network, keystore, now, lock)
    }

    fn with_keystore(
        dir: &Path,
        network: &Network,
        keystore: Keystore,
        now: Time,
        lock: Lock,
    ) -> Result<Self, WalletError> {
        if keystore.secrets().ledger() != network.ledger().as_bytes() {
            return Err(WalletError::OtherNetwork { path: dir.display().to_string() });
        }
        let main = Own::derive(&keystore.secrets().phrase()?, Default::default(), String::new());
        let vault = Vault::open(&dir.join("db"), keystore)?;
        let mut wallet = Self {
            network: network.clone(),
            main,
            others: Vec::new(),
            contacts: Default::default(),
            blocked: Default::default(),
            index: Index::default(),
            clock: WalletClock::new(now),
            kept_clock: WalletClock::new(now),
            vault,
            _lock: lock,
        };
        wallet.check_header(dir)?;
        wallet.load_clock(now)?;
        wallet.vault.load_due()?;
        wallet.load_identities()?;
        wallet.load_contacts()?;
        wallet.load_blocked()?;
        wallet.expire(now)?;
        wallet.load_seal_keys()?;
        wallet.load_messages()?;
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
            // An older layout is brought up to this one here, before anything else is read. None was ever released.
            Some(HeaderRow { version: 1, .. }) => Err(WalletError::Older { path: dir.display().to_string() }),
            Some(_) => Err(WalletError::damaged(dir)),
            None if !self.vault.is_empty() => Err(WalletError::damaged(dir)),
            None => {
                let mut changes = Changes::default();
                let row = HeaderRow { version: rows::VERSION, ledger, address };
                self.vault.put(&mut changes, &key, &row)?;
                let clock = ClockRow { clock: self.clock };
                self.vault.put(&mut changes, &Vault::counted_key(Class::Clock, 0), &clock)?;
                self.vault.commit(changes)
            }
        }
    }

    /// The greatest number that was given to a row of that kind, 0 for none.
    fn last_number(&self, kind: Numbers) -> Result<u64, WalletError> {
        let row = self.vault.get::<CounterRow>(&Vault::counted_key(Class::Counter, kind as u64))?;
        Ok(row.map_or(0, |row| row.last))
    }

    /// Notes that numbers up to `last` are given.
    fn put_last_number(&mut self, changes: &mut Changes, kind: Numbers, last: u64) -> Result<(), WalletError> {
        self.vault.put(changes, &Vault::counted_key(Class::Counter, kind as u64), &CounterRow { last })
    }

    /// Encrypts the keystore under another passphrase, under a new salt. Whoever knows the old one opens nothing any more
    /// but copies of the file that were made before.
    ///
    /// # Errors
    /// [`WalletError::EitherPassphrase`] when the disk failed after the new one had taken the old one's place. At all others the
    /// old one holds: [`WalletError::Keystore`] for an empty passphrase or want of memory, [`WalletError::Store`].
    pub fn change_passphrase(
        &mut self,
        passphrase: &str,
        cost: KdfCost,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), WalletError> {
        self.vault.keystore().rekey(passphrase, cost, rng)
    }

    /// The address of the first identity.
    pub fn address(&self) -> Address {
        self.main.keys.address()
    }

    /// Whether the system keeps all of its keys out of swap, as the wallet asks it to. Where it refuses, as for want
    /// of a limit, everything else works as well.
    pub fn keys_locked(&self) -> bool {
        let own = |own: &identities::Own| own.keys.is_locked() && own.seal_keys.iter().all(SealKey::is_locked);
        self.vault.is_locked() && self.own().all(own)
    }

    /// The network that it belongs to.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Finds this wallet's sealed envelopes, of all its identities, in the scan column. Independent of the wallet once made.
    ///
    /// Conversations will come in here: the tags that their envelopes are expected under ([`Scanner::with_tags`]), which pass
    /// through the same scan, and which [`record_scanned`](Self::record_scanned) advances with the cursor.
    pub fn scanner(&self) -> Scanner {
        let first = Scanner::new(&self.network, self.main.keys.scan());
        self.others.iter().fold(first, |scanner, own| scanner.with_key(own.keys.scan()))
    }

    /// Opens a transaction that the scanner found. Changes nothing: hand the result to
    /// [`record_scanned`](Self::record_scanned).
    ///
    /// # Errors
    /// [`OpenError`] names the first check that failed.
    pub fn open_transaction(&self, transaction: &Transaction) -> Result<Opened, OpenError> {
        self.unsealed(transaction).map(|(unsealed, _)| unsealed.opened)
    }

    /// What a transaction opens to, and for which identity.
    fn unsealed(&self, transaction: &Transaction) -> Result<(open::Unsealed, &Own), OpenError> {
        let mut refused = OpenError::NotForUs;
        for own in self.own() {
            match open::unseal(&self.network, &own.keys, &own.seal_keys, transaction) {
                Ok(unsealed) => return Ok((unsealed, own)),
                Err(OpenError::NotForUs) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Seals a message to the holder of `card`, by the identity that the contact knows, else by the first. Changes nothing:
    /// once stamped, hand its record to [`record_sent`](Self::record_sent).
    ///
    /// # Errors
    /// [`SealError`] when the content is too long, the card too old, or the draft breaks a rule of form.
    pub fn seal(
        &self,
        card: &Card,
        message: Message,
        draft: &Draft,
        rng: &mut dyn CryptoRng,
    ) -> Result<SealedMessage, SealError> {
        seal::seal(&self.network, &self.known_to(&card.address()).keys, card, message, draft, rng)
    }
}

fn take_lock(dir: &Path) -> Result<Lock, StoreError> {
    files::lock(&dir.join("lock"))
}

#[cfg(test)]
mod tests;
