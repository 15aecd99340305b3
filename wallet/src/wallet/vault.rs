//! The wallet's database: sled with encrypted values and keys that show no names; a commit is on disk when it returns.
//!
//! A key is one class byte and either a keyed hash of a name or a counter. A value is `key id | nonce | ciphertext`, with
//! key and key id as associated data, so values cannot be moved or swapped (`docs/wallet-format.md`, "Database").
//! sled 0.34's `flush()` makes no fsync on Linux and never fsyncs the files that it puts large pages into, so each commit
//! does both itself. A sled that failed to write takes nothing more, ever, and shows what it could not keep: it is closed
//! at once and opened again, so that nobody builds on that. The next commit first looks whether there is space. After a
//! failed fsync nothing more is taken until the next start: what a second fsync says of the first one's data is no
//! promise. sled panics on some damage: its calls are fenced, and a panic becomes an error.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bincode::{Decode, Encode};
use qasedak_chain::codec;
use zeroize::Zeroizing;

use super::{error::WalletError, rows::ROW_MAX_BYTES};
use crate::{
    aead::{self, NONCE_BYTES},
    keystore::{Secrets, file::sync_dir},
};

/// What a key is for: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Header = 1,
    Cursor = 2,
    Contact = 3,
    Card = 4,
    SealKey = 5,
    Received = 6,
    Known = 7,
    Sent = 8,
    Unread = 9,
}

impl Class {
    const fn byte(self) -> u8 {
        self as u8
    }
    /// Whether its values are encrypted under the current epoch key, which can be destroyed, or under the record key.
    const fn under_epoch(self) -> bool {
        matches!(self, Class::SealKey | Class::Received | Class::Sent)
    }
}

/// Names the record key in a value; epoch keys are named by their day, which is never 0.
const RECORD_KEY_ID: u64 = 0;
/// Memory that sled may use for pages: a wallet is small.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Before a sled that failed is written to again, so much is written beside it: two of its segments.
const PROBE_BYTES: usize = 1024 * 1024;

/// How long a closed sled may take to let go of its file.
const UNLOCKED_WITHIN: Duration = Duration::from_secs(2);

/// An open database.
pub(super) struct Vault {
    /// `None` only while it is opened again, or after that failed.
    open: Mutex<Option<Open>>,
    dir: PathBuf,
    synced_blobs: BTreeSet<OsString>,
    secrets: Secrets,
    health: Health,
}

/// sled, and the file that it keeps its log in.
struct Open {
    db: sled::Db,
    file: Arc<File>,
}

/// What became of the last commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Well,
    /// sled failed to write.
    Failed,
    /// An fsync failed.
    Unsynced,
}

/// Runs a call of sled; its errors and its panics name the directory.
fn fenced<T>(dir: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, WalletError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(WalletError::database(dir)),
        Err(_) => Err(WalletError::Database {
            path: dir.display().to_string(),
            what: "sled broke off on what it found".to_owned(),
        }),
    }
}

/// Removes snapshots that sled did not finish. sled 0.34 takes one for the newest and then refuses to open; the whole one
/// before it is still there.
fn remove_unfinished_snapshots(dir: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn open_sled(dir: &Path) -> Result<Open, WalletError> {
    remove_unfinished_snapshots(dir).map_err(WalletError::io("clean up", dir))?;
    let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    let until = Instant::now() + UNLOCKED_WITHIN;
    let db = loop {
        match fenced(dir, || config.open()) {
            // A sled that was closed lets go of its file a little later, when its threads have ended.
            Err(error) if error.to_string().contains("could not acquire lock") && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => break opened?,
        }
    };
    let path = dir.join("db");
    // Some systems fsync only through a handle that may write.
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(WalletError::io("open", &path))?;
    Ok(Open { db, file: Arc::new(file) })
}

/// Changes that become durable together or not at all.
#[derive(Default)]
pub(super) struct Changes(sled::Batch);

impl Changes {
    pub(super) fn remove(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}

impl Vault {
    /// Opens the database in `dir`, or starts an empty one.
    pub(super) fn open(dir: &Path, secrets: Secrets) -> Result<Self, WalletError> {
        let open = open_sled(dir)?;
        for dir in [Some(dir), dir.parent()].into_iter().flatten() {
            sync_dir(dir).map_err(WalletError::io("sync", dir))?;
        }
        let (dir, synced_blobs) = (dir.to_owned(), BTreeSet::new());
        Ok(Self { open: Mutex::new(Some(open)), dir, synced_blobs, secrets, health: Health::Well })
    }

    /// Whether nothing was ever committed.
    ///
    /// # Errors
    /// [`WalletError::Database`].
    pub(super) fn is_empty(&self) -> Result<bool, WalletError> {
        self.read(|db| Ok(db.is_empty()))
    }

    fn opened(&self) -> MutexGuard<'_, Option<Open>> {
        // A panic of sled is caught before it gets here; what it left behind shows in the next call.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works with sled, opening it where a failure closed it.
    fn read<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, WalletError> {
        let mut opened = self.opened();
        let open = match opened.take() {
            Some(open) => open,
            None => open_sled(&self.dir)?,
        };
        let open = opened.insert(open);
        fenced(&self.dir, || call(&open.db))
    }

    /// What is said when a value is not what was written.
    pub(super) fn damaged(&self) -> WalletError {
        WalletError::damaged(&self.dir)
    }

    /// The key of something that has a name or an id, which the key does not show.
    pub(super) fn named_key(&self, class: Class, name: &[u8]) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new_keyed(self.secrets.name_key());
        hasher.update(&[class.byte()]).update(name);
        let mut key = vec![class.byte()];
        key.extend_from_slice(hasher.finalize().as_bytes());
        key
    }

    /// The key of something that is counted.
    pub(super) fn counted_key(class: Class, number: u64) -> Vec<u8> {
        let mut key = vec![class.byte()];
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The greatest counter in use, 0 if there is none.
    pub(super) fn last_counter(&self, class: Class) -> Result<u64, WalletError> {
        let last = self.read(|db| db.scan_prefix([class.byte()]).next_back().transpose())?;
        last.map_or(Ok(0), |(key, _)| counter(&key).ok_or_else(|| self.damaged()))
    }

    /// The value of a key.
    pub(super) fn get<T: Encode + Decode<()>>(&self, key: &[u8]) -> Result<Option<T>, WalletError> {
        let value = self.read(|db| db.get(key))?;
        value.map(|value| self.decrypt(key, &value)).transpose()
    }

    pub(super) fn contains(&self, key: &[u8]) -> Result<bool, WalletError> {
        self.read(|db| db.contains_key(key))
    }

    /// All values of a class, in order of their keys.
    pub(super) fn all<T: Encode + Decode<()>>(&self, class: Class) -> Result<Vec<T>, WalletError> {
        let pairs: Vec<_> = self.read(|db| db.scan_prefix([class.byte()]).collect())?;
        pairs.iter().map(|(key, value)| self.decrypt(key, value)).collect()
    }

    /// At most `limit` counted values behind the counter `after`, ascending.
    pub(super) fn counted<T: Encode + Decode<()>>(
        &self,
        class: Class,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, T)>, WalletError> {
        let from = Self::counted_key(class, after.saturating_add(1));
        let to = vec![class.byte().saturating_add(1)];
        let pairs: Vec<_> = self.read(|db| db.range(from..to).take(limit).collect())?;
        let row = |(key, value): &(sled::IVec, sled::IVec)| {
            let row = self.decrypt(key, value)?;
            Ok((counter(key).ok_or_else(|| self.damaged())?, row))
        };
        pairs.iter().map(row).collect()
    }

    /// Encrypts a value and adds it to `changes`.
    pub(super) fn put<T: Encode>(
        &self,
        changes: &mut Changes,
        class: Class,
        key: &[u8],
        row: &T,
    ) -> Result<(), WalletError> {
        let plaintext = codec::encode::<ROW_MAX_BYTES, T>(row).map_err(|_| self.damaged())?;
        let plaintext = Zeroizing::new(plaintext);
        let (id, secret) = match self.secrets.epochs().last() {
            Some(epoch) if class.under_epoch() => (epoch.day(), epoch.key()),
            _ => (RECORD_KEY_ID, self.secrets.record_key()),
        };
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| WalletError::Randomness)?;
        let sealed = aead::seal(secret, &nonce, &associated(key, id), &plaintext).map_err(|_| self.damaged())?;
        changes.0.insert(key, [id.to_le_bytes().as_slice(), &nonce, &sealed].concat());
        Ok(())
    }

    fn decrypt<T: Encode + Decode<()>>(&self, key: &[u8], value: &[u8]) -> Result<T, WalletError> {
        self.decrypted(key, value).ok_or_else(|| self.damaged())
    }

    fn decrypted<T: Encode + Decode<()>>(&self, key: &[u8], value: &[u8]) -> Option<T> {
        let (id, rest) = value.split_first_chunk::<8>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let id = u64::from_le_bytes(*id);
        let secret = match id {
            RECORD_KEY_ID => self.secrets.record_key(),
            day => self.secrets.epochs().iter().find(|epoch| epoch.day() == day)?.key(),
        };
        let plaintext = aead::open(secret, nonce, &associated(key, id), sealed).ok()?;
        codec::decode::<ROW_MAX_BYTES, T>(&plaintext).ok()
    }

    /// Makes changes durable, all or none. When this returns they survive a power cut.
    pub(super) fn commit(&mut self, changes: Changes) -> Result<(), WalletError> {
        match self.health {
            Health::Well => {}
            Health::Unsynced => return Err(WalletError::Poisoned),
            Health::Failed => self.probe()?,
        }
        let written = self.read(|db| {
            db.apply_batch(changes.0)?;
            db.flush()
        });
        if let Err(error) = written {
            self.health = Health::Failed;
            self.close();
            return Err(error);
        }
        self.health = Health::Well;
        self.make_durable().inspect_err(|_| self.health = Health::Unsynced)
    }

    fn make_durable(&mut self) -> Result<(), WalletError> {
        self.sync_blobs()?;
        let file = self.opened().as_ref().map(|open| Arc::clone(&open.file));
        file.map_or(Ok(()), |file| file.sync_all()).map_err(WalletError::io("sync", &self.dir))
    }

    /// Whether there is space again.
    fn probe(&self) -> Result<(), WalletError> {
        let path = self.dir.join("probe");
        let probed = fs::write(&path, vec![0x5a; PROBE_BYTES]).and_then(|()| File::open(&path)?.sync_all());
        let removed = fs::remove_file(&path);
        probed.and(removed).map_err(WalletError::io("write", &path))
    }

    /// Closes a sled that failed; the next call opens it again.
    fn close(&self) {
        let old = self.opened().take();
        // sled may panic over what it could not write.
        drop(fenced(&self.dir, || {
            drop(old);
            Ok(())
        }));
    }

    /// fsyncs the files of large pages that are new. sled writes each once, under a name that it never uses again.
    fn sync_blobs(&mut self) -> Result<(), WalletError> {
        let dir = self.dir.join("blobs");
        let mut present = BTreeSet::new();
        for entry in fs::read_dir(&dir).map_err(WalletError::io("read", &dir))? {
            present.insert(entry.map_err(WalletError::io("read", &dir))?.file_name());
        }
        for name in present.difference(&self.synced_blobs) {
            let path = dir.join(name);
            match OpenOptions::new().read(true).write(true).open(&path) {
                Ok(file) => file.sync_all().map_err(WalletError::io("sync", &path))?,
                // sled may drop one at any time that it has replaced.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(WalletError::io("open", &path)(error)),
            }
        }
        if present != self.synced_blobs {
            sync_dir(&dir).map_err(WalletError::io("sync", &dir))?;
        }
        self.synced_blobs = present;
        Ok(())
    }
}

fn associated(key: &[u8], id: u64) -> Vec<u8> {
    [key, &id.to_le_bytes()].concat()
}

fn counter(key: &[u8]) -> Option<u64> {
    key.get(1..)?.try_into().ok().map(u64::from_be_bytes)
}
