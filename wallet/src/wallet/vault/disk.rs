//! sled beneath the wallet: its calls fenced, its failures survived, its commits made durable.
//!
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

use super::WalletError;
use crate::keystore::file::sync_dir;

/// Memory that sled may use for pages: a wallet is small.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Before a sled that failed is written to again, so much is written beside it: two of its segments.
const PROBE_BYTES: usize = 1024 * 1024;

/// How long a closed sled may take to let go of its file.
const UNLOCKED_WITHIN: Duration = Duration::from_secs(2);

/// An open sled.
pub(in crate::wallet) struct Disk {
    /// `None` only while it is opened again, or after that failed.
    open: Mutex<Option<Open>>,
    dir: PathBuf,
    synced_blobs: BTreeSet<OsString>,
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

impl Disk {
    /// Opens the database in `dir`, or starts an empty one.
    pub(in crate::wallet) fn open(dir: &Path) -> Result<Self, WalletError> {
        let open = open_sled(dir)?;
        for dir in [Some(dir), dir.parent()].into_iter().flatten() {
            sync_dir(dir).map_err(WalletError::io("sync", dir))?;
        }
        let (dir, synced_blobs) = (dir.to_owned(), BTreeSet::new());
        Ok(Self { open: Mutex::new(Some(open)), dir, synced_blobs, health: Health::Well })
    }

    /// Its directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn opened(&self) -> MutexGuard<'_, Option<Open>> {
        // A panic of sled is caught before it gets here; what it left behind shows in the next call.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works with sled, opening it where a failure closed it.
    pub(super) fn read<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, WalletError> {
        let mut opened = self.opened();
        let open = match opened.take() {
            Some(open) => open,
            None => open_sled(&self.dir)?,
        };
        let open = opened.insert(open);
        fenced(&self.dir, || call(&open.db))
    }

    /// Makes changes durable, all or none. When this returns they survive a power cut.
    pub(in crate::wallet) fn commit(&mut self, batch: sled::Batch) -> Result<(), WalletError> {
        match self.health {
            Health::Well => {}
            Health::Unsynced => return Err(WalletError::Poisoned),
            Health::Failed => self.probe()?,
        }
        let written = self.read(|db| {
            db.apply_batch(batch)?;
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
