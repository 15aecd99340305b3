//! Reading a file in pieces, so that a segment never has to stand in memory whole: small ones first, for who looks at a
//! few records, up to 256 KiB for who goes on, which stay in the processor's cache.

use super::files::DiskFile;
use crate::store::StoreError;

/// Bytes that are read in one go, at first and at most.
const FIRST_BYTES: usize = 4 * 1024;
const PIECE_BYTES: usize = 256 * 1024;

/// A file up to byte `end`, and the piece of it that was read last.
pub(super) struct Pieces<'a> {
    file: &'a DiskFile,
    end: u64,
    start: u64,
    piece: Vec<u8>,
    next_bytes: usize,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(file: &'a DiskFile, end: u64) -> Self {
        Self { file, end, start: 0, piece: Vec::new(), next_bytes: FIRST_BYTES }
    }

    /// The bytes from `at` on: at least `want` of them, fewer only where the file ends; what more was read comes along.
    pub(super) fn from(&mut self, at: u64, want: usize) -> Result<&[u8], StoreError> {
        let read_to = self.start.saturating_add(self.piece.len() as u64);
        let needed = at.saturating_add(want as u64).min(self.end);
        if at < self.start || at > read_to || needed > read_to {
            let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
            self.piece.resize(left.min(want.max(self.next_bytes)), 0);
            self.start = at;
            // What a failed reading leaves there is no piece of the file.
            self.file.read_over(at, &mut self.piece).inspect_err(|_| self.piece.clear())?;
            self.next_bytes = self.next_bytes.saturating_mul(2).min(PIECE_BYTES);
        }
        let skip = usize::try_from(at.saturating_sub(self.start)).unwrap_or(usize::MAX);
        Ok(self.piece.get(skip..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::disk::faults::{Faults, Kind};

    /// After a reading that failed nothing passes for read that was not.
    #[test]
    fn what_a_failed_reading_leaves_is_no_piece() {
        let dir = tempfile::tempdir().unwrap();
        let (path, content) = (dir.path().join("file"), vec![7; 8 * FIRST_BYTES]);
        fs::write(&path, &content).unwrap();
        let file = DiskFile::open(&path, false).unwrap().unwrap();
        let mut pieces = Pieces::new(&file, content.len() as u64);
        assert_eq!(pieces.from(0, 16).unwrap(), vec![7; FIRST_BYTES]);
        let faults = Faults::below(dir.path());
        faults.fail_once(1, Kind::Unreadable);
        assert!(pieces.from(5 * FIRST_BYTES as u64, 16).is_err());
        let behind = pieces.from(FIRST_BYTES as u64 + 16, 16).unwrap();
        assert!(behind.len() >= 16 && behind.iter().all(|byte| *byte == 7));
    }
}
