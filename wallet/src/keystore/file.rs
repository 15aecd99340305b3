//! The keystore's file: read bounded, written whole and for good, readable by its owner only, overwritten before it goes.

use std::path::{Path, PathBuf};

use qasedak_chain::store::{
    StoreError,
    disk::files::{self, DiskFile},
};

use super::FILE_MAX_BYTES;

/// Bytes that are read of a file at most: more than a keystore has.
const READ_MAX: usize = FILE_MAX_BYTES as usize + 1;

/// What came of writing a file over another.
#[derive(Debug)]
#[must_use]
pub(crate) enum Replaced {
    /// The new one is there for good, and the old one's bytes are overwritten.
    Well,
    /// The new one took its place, as far as the system says, but what was to follow failed: a power cut may bring the old
    /// one back, or its bytes are left on the disk.
    NotForGood(StoreError),
}

/// Reads a keystore file, `None` when there is none; of a longer one only so much that it cannot pass for a keystore.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    DiskFile::open(path, false)?.map(|file| file.read_at(0, READ_MAX)).transpose()
}

/// Writes a keystore file where there is none. When this returns, it is there after a power cut, whole.
///
/// The caller holds the wallet's lock and has looked that there is none.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    files::rename(&write_beside(path, bytes)?, path)
}

/// Writes a keystore file over the one that is there. When this returns well, a power cut leaves the new one, whole; before,
/// one of the two. Then the old one's bytes are overwritten, where the system lets one hold a file that has no name any more.
///
/// # Errors
/// The system's: the old one is there as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<Replaced, StoreError> {
    // Held by its handle: the name belongs to the new file by the time that the bytes are overwritten.
    #[cfg(unix)]
    let old = DiskFile::open(path, true)?;
    let beside = write_beside(path, bytes)?;
    let renamed = files::rename(&beside, path);
    // A rename that was not made durable was made all the same.
    if let Err(error) = renamed {
        return if matches!(files::exists(&beside), Ok(true)) { Err(error) } else { Ok(Replaced::NotForGood(error)) };
    }
    #[cfg(unix)]
    if let Some(Err(error)) = old.as_ref().map(overwrite) {
        return Ok(Replaced::NotForGood(error));
    }
    Ok(Replaced::Well)
}

/// Removes what an unfinished write left beside the file, if it did.
pub(crate) fn remove_unfinished(path: &Path) -> Result<(), StoreError> {
    remove(&beside(path))
}

/// Overwrites a file and removes it, durably. One that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    let Some(file) = DiskFile::open(path, true)? else {
        return Ok(());
    };
    overwrite(&file)?;
    drop(file);
    files::remove(path)?;
    files::sync_parent(path)
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

fn write_beside(path: &Path, bytes: &[u8]) -> Result<PathBuf, StoreError> {
    // Left over from a crash; it was never the keystore.
    remove_unfinished(path)?;
    let beside = beside(path);
    let file = DiskFile::create_new(&beside)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    Ok(beside)
}

/// Writes zeros over a file's bytes. On a plain disk they are gone then; a drive that spreads its writes and a file system
/// that copies on write keep the old ones until they need the room (`docs/threat-model.md`).
fn overwrite(file: &DiskFile) -> Result<(), StoreError> {
    let len = usize::try_from(file.len()?).unwrap_or(READ_MAX).min(READ_MAX);
    file.write_at(&vec![0; len], 0)?;
    file.sync()
}
