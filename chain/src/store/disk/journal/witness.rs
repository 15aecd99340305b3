//! The witness beside a journal: how much of it was committed, so that a last record that is gone or changed is not taken
//! for one that broke off.
//!
//! Written after each commit and not fsynced, so it may tell of less than there is, and never of more. Without it, or when
//! it is damaged, nothing is known, and nothing is wrong.

use std::path::PathBuf;

use super::super::{
    files::{self, DiskFile},
    segment::{FILE_HEADER_BYTES, FRAME_BYTES, Fields, FileHeader, FileKind},
};
use crate::{ids::LedgerId, store::StoreError};

/// The one kind of record: `end u64`.
const KIND_END: u8 = 2;
const END_BYTES: usize = 8;
const WITNESS_BYTES: usize = FILE_HEADER_BYTES + FRAME_BYTES + END_BYTES;

pub(super) struct Witness {
    path: PathBuf,
    kind: FileKind,
    ledger: LedgerId,
    /// Once it was written to.
    file: Option<DiskFile>,
}

impl Witness {
    pub(super) fn new(path: PathBuf, kind: FileKind, ledger: LedgerId) -> Self {
        Self { path, kind, ledger, file: None }
    }

    /// Which generation of the journal was committed up to which byte, if it can be read.
    pub(super) fn told(&self) -> Result<Option<(u64, u64)>, StoreError> {
        let Some(file) = DiskFile::open(&self.path, false)? else {
            return Ok(None);
        };
        let bytes = file.read_at(0, WITNESS_BYTES)?;
        let Ok(header) = FileHeader::parse(self.kind, self.ledger, &bytes) else {
            return Ok(None);
        };
        let record = bytes.get(FILE_HEADER_BYTES..).unwrap_or_default();
        let frame = header.framing().read(FILE_HEADER_BYTES as u64, record, END_BYTES).ok();
        let end = frame.filter(|frame| frame.kind == KIND_END).and_then(|frame| Fields(frame.payload).u64());
        Ok(end.map(|end| (header.number, end)))
    }

    /// Writes that the journal with this header was committed up to byte `end`. What goes wrong is made good by the next.
    pub(super) fn tell(&mut self, journal: &FileHeader, end: u64) {
        let record = journal.framing().frame(FILE_HEADER_BYTES as u64, KIND_END, &end.to_le_bytes());
        self.file = self.write(&[journal.to_bytes(), record].concat()).ok();
    }

    fn write(&mut self, bytes: &[u8]) -> Result<DiskFile, StoreError> {
        let there = match self.file.take() {
            Some(file) => Some(file),
            None => DiskFile::open(&self.path, true)?,
        };
        match there {
            Some(file) => file.write_at(bytes, 0).map(|()| file),
            None => files::create_whole(&self.path, bytes),
        }
    }
}
