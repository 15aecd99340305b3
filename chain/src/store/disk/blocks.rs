//! What is kept of large blocks, one file each, so that a proof need not read all of a block (`docs/storage.md`, "Blocks";
//! decision 0042).
//!
//! Invariant: nothing waits for these files and nothing rests on them. They are written without fsync, every part is
//! checked when it is read, and one that is missing, cut short or unsound is as none: the ledger makes it anew.

use std::path::{Path, PathBuf};

use super::{
    checked::{CheckedFile, CheckedWriter, Identity},
    files::{self, DiskFile},
    segment::{FILE_HEADER_BYTES, FileHeader, FileKind, HeaderFault},
};
use crate::{
    ids::LedgerId,
    store::{Kept, StoreError},
};

/// The files of a log's blocks.
pub(super) struct Blocks {
    dir: PathBuf,
    ledger: LedgerId,
    log_id: [u8; 16],
}

impl Blocks {
    pub(super) fn new(dir: PathBuf, ledger: LedgerId, log_id: [u8; 16]) -> Self {
        Self { dir, ledger, log_id }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number}.blk"))
    }

    fn identity(&self, number: u64) -> Identity {
        Identity { kind: FileKind::Block, ledger: self.ledger, log_id: self.log_id, first: number, end: 0 }
    }

    /// Writes what is to be kept of a block, in place of what was there.
    pub(super) fn keep(&self, number: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(number);
        if self.is_newer(&path)? {
            return Ok(());
        }
        files::make_dir(&self.dir)?;
        let mut writer = CheckedWriter::create(&path, self.identity(number))?;
        writer.push(bytes)?;
        writer.finish_soon(&path)
    }

    /// Whether a later version wrote the file: it is left alone.
    fn is_newer(&self, path: &Path) -> Result<bool, StoreError> {
        let Some(file) = DiskFile::open(path, false)? else {
            return Ok(false);
        };
        let header = FileHeader::parse(FileKind::Block, self.ledger, &file.read_at(0, FILE_HEADER_BYTES)?);
        Ok(matches!(header, Err(HeaderFault::Newer(_))))
    }

    /// What is kept of a block.
    pub(super) fn kept(&self, number: u64) -> Option<Kept> {
        let file = CheckedFile::open(&self.path(number), self.identity(number)).ok()?;
        Some(Kept::new(move |offset, len| file.read(offset, len).ok()))
    }

    /// Removes all of them.
    pub(super) fn reset(&self) -> Result<(), StoreError> {
        files::remove_dir(&self.dir)
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        files::bytes_under(&self.dir)
    }
}

#[cfg(test)]
#[path = "blocks/tests.rs"]
mod tests;
