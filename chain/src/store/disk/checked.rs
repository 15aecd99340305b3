//! Files in checked pieces: what a run, and what is kept of a block, is written in and read from (`docs/storage.md`,
//! "Runs" and "Blocks").
//!
//! Behind the file header, the content stands in pieces of 984 bytes, the last one shorter, each followed by a sum over the
//! file's identity, number of the piece and content. So any part is read and checked without the rest.

use std::path::Path;

use twox_hash::XxHash64;

use crate::{
    ids::LedgerId,
    link::first_link,
    store::{
        StoreError,
        disk::{
            files::{self, DiskFile},
            log::damaged,
            segment::{FILE_HEADER_BYTES, FileHeader, FileKind, IDENTITY_BYTES, joined},
        },
    },
};

const CHECK_BYTES: usize = 8;
/// Content of a piece.
const DATA_BYTES: usize = 984;
const PIECE_BYTES: usize = DATA_BYTES + CHECK_BYTES;
/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 64 * PIECE_BYTES;

/// Which file a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) kind: FileKind,
    pub(super) ledger: LedgerId,
    pub(super) log_id: [u8; 16],
    /// The number in the file header.
    pub(super) first: u64,
    /// What else tells it from others.
    pub(super) end: u64,
}

impl Identity {
    fn header(&self) -> FileHeader {
        let link = first_link(self.ledger);
        FileHeader { kind: self.kind, ledger: self.ledger, log_id: self.log_id, number: self.first, link }
    }

    fn checks(&self) -> Checks {
        Checks(joined(&[&self.header().identity(), &self.end.to_le_bytes()]))
    }
}

/// The checks of a file's pieces: XXH64 with a seed that follows from the file and the number of the piece.
#[derive(Debug)]
struct Checks([u8; IDENTITY_BYTES + 8]);

impl Checks {
    fn over(&self, nth: u64, data: &[u8]) -> [u8; CHECK_BYTES] {
        XxHash64::oneshot(XxHash64::oneshot(nth, &self.0), data).to_le_bytes()
    }
}

/// Writes a file in checked pieces.
pub(super) struct CheckedWriter {
    file: DiskFile,
    checks: Checks,
    at: u64,
    nth: u64,
    /// What is still to be written: whole pieces, then content of the one that is being filled.
    out: Vec<u8>,
    /// Where that one begins.
    piece: usize,
}

impl CheckedWriter {
    /// Begins the file, under another name until it is whole.
    pub(super) fn create(path: &Path, identity: Identity) -> Result<Self, StoreError> {
        let file = files::create_unfinished(path)?;
        let out = identity.header().to_bytes();
        Ok(Self { file, checks: identity.checks(), at: 0, nth: 0, piece: out.len(), out })
    }

    /// Appends content.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        loop {
            let room = DATA_BYTES.saturating_sub(self.out.len().saturating_sub(self.piece));
            let Some((now, later)) = bytes.split_at_checked(room) else {
                self.out.extend_from_slice(bytes);
                return Ok(());
            };
            self.out.extend_from_slice(now);
            self.end_piece()?;
            bytes = later;
        }
    }

    fn end_piece(&mut self) -> Result<(), StoreError> {
        let check = self.checks.over(self.nth, self.out.get(self.piece..).unwrap_or_default());
        self.out.extend_from_slice(&check);
        (self.nth, self.piece) = (self.nth.saturating_add(1), self.out.len());
        if self.piece >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    /// Writes the whole pieces.
    fn write(&mut self) -> Result<(), StoreError> {
        self.file.write_at(self.out.get(..self.piece).unwrap_or_default(), self.at)?;
        self.at = self.at.saturating_add(self.piece as u64);
        self.out.drain(..self.piece);
        self.piece = 0;
        Ok(())
    }

    /// Makes durable what is there so far, but for the piece that is being filled.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.write()?;
        self.file.sync()
    }

    /// Writes what is left, makes the file durable, and gives it its name.
    pub(super) fn finish(&mut self, path: &Path) -> Result<(), StoreError> {
        self.write_rest()?;
        self.file.finish(path)
    }

    /// The same, but the name becomes durable with whatever is made durable in its directory next.
    pub(super) fn finish_content(&mut self, path: &Path) -> Result<(), StoreError> {
        self.write_rest()?;
        self.file.sync()?;
        self.file.finish_soon(path)
    }

    /// The same without making anything durable: what a power cut leaves of it fails its checks.
    pub(super) fn finish_soon(&mut self, path: &Path) -> Result<(), StoreError> {
        self.write_rest()?;
        self.file.finish_soon(path)
    }

    fn write_rest(&mut self) -> Result<(), StoreError> {
        if self.out.len() > self.piece {
            self.end_piece()?;
        }
        self.write()
    }
}

/// Reads a file in checked pieces.
#[derive(Debug)]
pub(super) struct CheckedFile {
    file: DiskFile,
    checks: Checks,
    /// Bytes of content.
    len: u64,
}

impl CheckedFile {
    /// Opens a file, and checks its header.
    pub(super) fn open(path: &Path, identity: Identity) -> Result<Self, StoreError> {
        let file = DiskFile::open(path, false)?.ok_or_else(|| damaged(path, 0, "the file is missing"))?;
        if file.read_at(0, FILE_HEADER_BYTES)? != identity.header().to_bytes() {
            return Err(damaged(path, 0, "the file header is not that of its log, kind and place"));
        }
        let bytes = file.len()?.saturating_sub(FILE_HEADER_BYTES as u64);
        let checks = bytes.div_ceil(PIECE_BYTES as u64).saturating_mul(CHECK_BYTES as u64);
        Ok(Self { file, checks: identity.checks(), len: bytes.saturating_sub(checks) })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }
    /// Bytes of content.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads content, once the checks of all pieces that it is in are right.
    pub(super) fn read(&self, from: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let (first, mut skip) = (from / DATA_BYTES as u64, (from % DATA_BYTES as u64) as usize);
        let pieces = skip.saturating_add(len).div_ceil(DATA_BYTES);
        let bytes = self.file.read_at(piece_at(first), pieces.saturating_mul(PIECE_BYTES))?;
        let mut content = Vec::with_capacity(len.min(bytes.len()));
        for (nth, piece) in (first..).zip(bytes.chunks(PIECE_BYTES)) {
            let (data, check) = split(piece);
            if self.checks.over(nth, data) != check {
                return Err(damaged(self.path(), piece_at(nth), "a part of it fails its check"));
            }
            let wanted = data.get(std::mem::take(&mut skip)..).unwrap_or_default();
            let left = len.saturating_sub(content.len());
            content.extend_from_slice(wanted.get(..left).unwrap_or(wanted));
        }
        if content.len() < len {
            return Err(damaged(self.path(), piece_at(first), "the file is cut short"));
        }
        Ok(content)
    }

    /// Reads content and nothing else, so without the checks: for what confirms itself. It is shorter where the file is.
    pub(super) fn read_unchecked(&self, from: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let end = from.saturating_add(len as u64).min(self.len);
        let stored = usize::try_from(stored_at(end).saturating_sub(stored_at(from))).unwrap_or(usize::MAX);
        let mut bytes = self.file.read_at(stored_at(from), stored)?;
        let mut check = DATA_BYTES.saturating_sub((from % DATA_BYTES as u64) as usize);
        while check < bytes.len() {
            bytes.drain(check..check.saturating_add(CHECK_BYTES).min(bytes.len()));
            check = check.saturating_add(DATA_BYTES);
        }
        bytes.truncate(usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX));
        Ok(bytes)
    }
}

/// Where a piece begins in the file.
fn piece_at(nth: u64) -> u64 {
    nth.saturating_mul(PIECE_BYTES as u64).saturating_add(FILE_HEADER_BYTES as u64)
}

/// Where content stands in the file.
fn stored_at(content: u64) -> u64 {
    piece_at(content / DATA_BYTES as u64).saturating_add(content % DATA_BYTES as u64)
}

/// Content and check of a piece.
fn split(piece: &[u8]) -> (&[u8], &[u8]) {
    piece.split_at_checked(piece.len().saturating_sub(CHECK_BYTES)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any part of the content reads alike with the checks and without, and no part behind a changed byte passes the checks.
    #[test]
    fn any_part_is_read_with_checks_and_without() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pieces");
        let ledger = crate::network::Network::dev().ledger();
        let identity = Identity { kind: FileKind::Run, ledger, log_id: [7; 16], first: 3, end: 9 };
        let content: Vec<u8> = (0..3 * DATA_BYTES as u32 + 100).map(|n| ((n * 31) >> 3) as u8).collect();
        let mut writer = CheckedWriter::create(&path, identity).unwrap();
        content.chunks(77).for_each(|part| writer.push(part).unwrap());
        writer.finish(&path).unwrap();
        let file = CheckedFile::open(&path, identity).unwrap();
        assert_eq!(file.len(), content.len() as u64);
        for from in (0..content.len()).step_by(41).chain([DATA_BYTES - 1, DATA_BYTES, 3 * DATA_BYTES]) {
            for len in [0, 1, 13, DATA_BYTES - 1, DATA_BYTES, DATA_BYTES + 1, 2 * DATA_BYTES + 8] {
                let there = &content[from..content.len().min(from + len)];
                assert_eq!(file.read_unchecked(from as u64, len).unwrap(), there, "{len} from {from}");
                match file.read(from as u64, len) {
                    Ok(read) => assert_eq!(read, there, "{len} from {from}"),
                    Err(_) => assert!(there.len() < len, "{len} from {from}"),
                }
            }
        }
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[FILE_HEADER_BYTES + PIECE_BYTES + 5] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let file = CheckedFile::open(&path, identity).unwrap();
        assert!(file.read(0, DATA_BYTES).is_ok() && file.read(2 * DATA_BYTES as u64, 9).is_ok());
        assert!(file.read(DATA_BYTES as u64 + 500, 1).is_err(), "the check is over all of a piece");
        assert_ne!(file.read_unchecked(DATA_BYTES as u64, 9).unwrap(), content[DATA_BYTES..DATA_BYTES + 9]);
    }
}
