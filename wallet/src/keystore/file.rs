//! The keystore's file: read bounded, written whole and for good, readable by its owner only, overwritten before it goes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::FILE_MAX_BYTES;

/// Reads a keystore file; of a longer one only so much that it cannot pass for a keystore.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a keystore file that must not exist yet. When this returns, it is there after a power cut, whole.
///
/// The caller holds the wallet's lock, so nobody else creates the file between the look and the rename.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    put_in_place(path, bytes)
}

/// Writes a keystore file over the one that is there. When this returns, a power cut leaves the new one, whole; before, one
/// of the two. Then the old one's bytes are overwritten, where the system lets one hold a file that has no name any more.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Held by its handle: the name belongs to the new file by the time that the bytes are overwritten.
    #[cfg(unix)]
    let old = OpenOptions::new().write(true).open(path)?;
    put_in_place(path, bytes)?;
    #[cfg(unix)]
    overwrite(old)?;
    Ok(())
}

/// Removes what an unfinished write left beside the file, if it did.
pub(crate) fn remove_unfinished(path: &Path) -> io::Result<()> {
    remove(&beside(path))
}

/// Overwrites a file and removes it, durably. One that is not there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => overwrite(opened?)?,
    }
    fs::remove_file(path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

fn put_in_place(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Left over from a crash; it was never the keystore.
    remove_unfinished(path)?;
    let beside = beside(path);
    let mut file = owner_only().open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Writes zeros over a file's bytes. On a plain disk they are gone then; a drive that spreads its writes and a file system
/// that copies on write keep the old ones until they need the room (`docs/threat-model.md`).
fn overwrite(mut file: File) -> io::Result<()> {
    let len = file.metadata()?.len().min(FILE_MAX_BYTES.saturating_mul(2));
    file.seek(SeekFrom::Start(0))?;
    io::copy(&mut io::repeat(0).take(len), &mut file)?;
    file.sync_all()
}

fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes names in a directory durable. Systems other than Unix have no such call.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(dir)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}
