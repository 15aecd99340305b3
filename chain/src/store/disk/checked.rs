//! Files in checked pieces: what a run, and what is kept of a block, is written in and read from (`docs/storage.md`,
//! "Runs" and "Blocks").
//!
//! Behind the file header, the content stands in pieces of 984 bytes, the last one shorter, each followed by a check over
//! log, two numbers that tell the file from others, number of the piece and content. So any part is read and checked
//! without the rest.

use std::path::Path;

use crate::{
    hash::{Context, hash_prefix},
    ids::LedgerId,
    link::first_link,
    store::{
        StoreError,
        disk::{
            files::{self, DiskFile},
            log::damaged,
            segment::{FILE_HEADER_BYTES, FileHeader, FileKind},
        },
    },
};

const CHECK_BYTES: usize = 8;
/// Content of a piece: with what else its check covers, the 1,024 bytes that BLAKE3 takes in one go.
const DATA_BYTES: usize = 984;
const PIECE_BYTES: usize = DATA_BYTES + CHECK_BYTES;
/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 256 * PIECE_BYTES;

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
    fn header(&self) -> Vec<u8> {
        let link = first_link(self.ledger);
        FileHeader { kind: self.kind, ledger: self.ledger, log_id: self.log_id, number: self.first, link }.to_bytes()
    }

    fn check(&self, nth: u64, data: &[u8]) -> [u8; CHECK_BYTES] {
        let (first, end) = (self.first.to_le_bytes(), self.end.to_le_bytes());
        hash_prefix(Context::Record, &[&self.log_id, &first, &end, &nth.to_le_bytes(), data])
    }
}

/// Writes a file in checked pieces.
pub(super) struct CheckedWriter {
    file: DiskFile,
    identity: Identity,
    at: u64,
    nth: u64,
    /// Content of the piece that is being filled.
    piece: Vec<u8>,
    /// Whole pieces that are still to be written.
    out: Vec<u8>,
}

impl CheckedWriter {
    /// Begins the file, under another name until it is whole.
    pub(super) fn create(path: &Path, identity: Identity) -> Result<Self, StoreError> {
        let file = files::create_unfinished(path)?;
        let (piece, out) = (Vec::with_capacity(DATA_BYTES), identity.header());
        Ok(Self { file, identity, at: 0, nth: 0, piece, out })
    }

    /// Appends content.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            let room = DATA_BYTES.saturating_sub(self.piece.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == DATA_BYTES {
                self.end_piece()?;
            }
        }
        Ok(())
    }

    fn end_piece(&mut self) -> Result<(), StoreError> {
        self.out.extend_from_slice(&self.piece);
        self.out.extend_from_slice(&self.identity.check(self.nth, &self.piece));
        self.piece.clear();
        self.nth = self.nth.saturating_add(1);
        if self.out.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.file.write_at(&self.out, self.at)?;
        self.at = self.at.saturating_add(self.out.len() as u64);
        self.out.clear();
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

    /// The same without making anything durable: what a power cut leaves of it fails its checks.
    pub(super) fn finish_soon(&mut self, path: &Path) -> Result<(), StoreError> {
        self.write_rest()?;
        self.file.finish_soon(path)
    }

    fn write_rest(&mut self) -> Result<(), StoreError> {
        if !self.piece.is_empty() {
            self.end_piece()?;
        }
        self.write()
    }
}

/// Reads a file in checked pieces.
#[derive(Debug)]
pub(super) struct CheckedFile {
    file: DiskFile,
    identity: Identity,
    /// Bytes of content.
    len: u64,
}

impl CheckedFile {
    /// Opens a file, and checks its header.
    pub(super) fn open(path: &Path, identity: Identity) -> Result<Self, StoreError> {
        let file = DiskFile::open(path, false)?.ok_or_else(|| damaged(path, 0, "the file is missing"))?;
        if file.read_at(0, FILE_HEADER_BYTES)? != identity.header() {
            return Err(damaged(path, 0, "the file header is not that of its log, kind and place"));
        }
        let bytes = file.len()?.saturating_sub(FILE_HEADER_BYTES as u64);
        let checks = bytes.div_ceil(PIECE_BYTES as u64).saturating_mul(CHECK_BYTES as u64);
        Ok(Self { file, identity, len: bytes.saturating_sub(checks) })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }
    /// Bytes of content.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads content, once its pieces' checks are right.
    pub(super) fn read(&self, from: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let (first, skip) = (from / DATA_BYTES as u64, (from % DATA_BYTES as u64) as usize);
        let pieces = skip.saturating_add(len).div_ceil(DATA_BYTES);
        let at = first.saturating_mul(PIECE_BYTES as u64).saturating_add(FILE_HEADER_BYTES as u64);
        let bytes = self.file.read_at(at, pieces.saturating_mul(PIECE_BYTES))?;
        let mut content = Vec::with_capacity(bytes.len());
        // What is wanted, once all pieces that it is in are checked.
        for (nth, piece) in (first..).zip(bytes.chunks(PIECE_BYTES)) {
            let (data, check) = piece.split_at_checked(piece.len().saturating_sub(CHECK_BYTES)).unwrap_or_default();
            if self.identity.check(nth, data) != check {
                let at = nth.saturating_mul(PIECE_BYTES as u64).saturating_add(FILE_HEADER_BYTES as u64);
                return Err(damaged(self.path(), at, "a part of it fails its check"));
            }
            content.extend_from_slice(data);
        }
        if content.len() < skip.saturating_add(len) {
            return Err(damaged(self.path(), at, "the file is cut short"));
        }
        content.drain(..skip);
        content.truncate(len);
        Ok(content)
    }
}
