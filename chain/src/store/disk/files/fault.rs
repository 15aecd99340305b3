//! Where tests make the disk fail: each call of [`files`](super) asks here first, by what it does and to which path.
//!
//! Without the feature `testing` every question is answered with "go on" at compile time.

use std::{fs::File, io, path::Path};

#[cfg(feature = "testing")]
pub mod plan;

/// What a call does.
#[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "only plans of failure look at some of them"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Opens a file that exists, or a directory.
    Open,
    /// Makes a file or a directory.
    Create,
    /// Asks for a file's length, or for the names in a directory.
    Look,
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Cuts a file.
    Truncate,
    /// fsync of a file or of a directory.
    Sync,
    /// Renames.
    Rename,
    /// Removes.
    Remove,
    /// Takes a lock.
    Lock,
}

/// Fails when a test wants this call to fail.
#[inline]
pub(super) fn check(op: Op, path: &Path) -> io::Result<()> {
    #[cfg(feature = "testing")]
    plan::check(op, path)?;
    let _ = (op, path);
    Ok(())
}

/// The same for a write of `bytes` at `offset`, some of which may reach the file all the same.
#[inline]
pub(super) fn write(file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(feature = "testing")]
    plan::write(file, path, bytes, offset)?;
    let _ = (file, path, bytes, offset);
    Ok(())
}

/// The same for a cut to `len` bytes.
#[inline]
pub(super) fn truncate(file: &File, path: &Path, len: u64) -> io::Result<()> {
    #[cfg(feature = "testing")]
    plan::truncate(file, path, len)?;
    let _ = (file, path, len);
    Ok(())
}

/// A file was fsynced: what was written to it is safe.
#[inline]
pub(super) fn synced(path: &Path) {
    #[cfg(feature = "testing")]
    plan::synced(path);
    let _ = path;
}

/// Whether calls below `path` are to come one after the other: a test that counts them has to find them in the same order
/// each time.
#[inline]
pub(crate) fn in_order(path: &Path) -> bool {
    #[cfg(feature = "testing")]
    return plan::is_below(path);
    #[cfg(not(feature = "testing"))]
    {
        let _ = path;
        false
    }
}
