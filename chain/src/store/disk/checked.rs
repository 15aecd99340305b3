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
    /// Opens a file, and checks its header. It may be of an earlier kind, if there is one.
    pub(super) fn open(path: &Path, identity: Identity, earlier: Option<FileKind>) -> Result<Self, StoreError> {
        let file = DiskFile::open(path, false)?.ok_or_else(|| damaged(path, 0, "the file is missing"))?;
        let (header, kinds) = (file.read_at(0, FILE_HEADER_BYTES)?, [Some(identity.kind), earlier]);
        let identities = kinds.into_iter().flatten().map(|kind| Identity { kind, ..identity });
        let Some(identity) = identities.into_iter().find(|identity| identity.header() == header) else {
            return Err(damaged(path, 0, "the file header is not that of its log, kind and place"));
        };
        let bytes = file.len()?.saturating_sub(FILE_HEADER_BYTES as u64);
        let checks = bytes.div_ceil(PIECE_BYTES as u64).saturating_mul(CHECK_BYTES as u64);
        Ok(Self { file, identity, len: bytes.saturating_sub(checks) })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }
    /// Its kind, or the earlier one.
    pub(super) fn kind(&self) -> FileKind {
        self.identity.kind
    }
    /// Bytes of content.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads content, once its pieces' checks are right.
    pub(super) fn read(&self, from: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        self.check(&self.read_unchecked(from, len)?)
    }

    /// Reads content with all pieces that it is in, and leaves their checks for later.
    pub(super) fn read_unchecked(&self, from: u64, len: usize) -> Result<Unchecked, StoreError> {
        let (first, skip) = (from / DATA_BYTES as u64, (from % DATA_BYTES as u64) as usize);
        let pieces = skip.saturating_add(len).div_ceil(DATA_BYTES);
        let bytes = self.file.read_at(piece_at(first), pieces.saturating_mul(PIECE_BYTES))?;
        Ok(Unchecked { first, skip, len, bytes })
    }

    /// The content, once the checks of its pieces are right.
    pub(super) fn check(&self, unchecked: &Unchecked) -> Result<Vec<u8>, StoreError> {
        for (nth, piece) in (unchecked.first..).zip(unchecked.bytes.chunks(PIECE_BYTES)) {
            let (data, check) = split(piece);
            if self.identity.check(nth, data) != check {
                return Err(damaged(self.path(), piece_at(nth), "a part of it fails its check"));
            }
        }
        let content = unchecked.content();
        if content.len() < unchecked.len {
            return Err(damaged(self.path(), piece_at(unchecked.first), "the file is cut short"));
        }
        Ok(content)
    }
}

/// Where a piece begins in the file.
fn piece_at(nth: u64) -> u64 {
    nth.saturating_mul(PIECE_BYTES as u64).saturating_add(FILE_HEADER_BYTES as u64)
}

/// Content and check of a piece.
fn split(piece: &[u8]) -> (&[u8], &[u8]) {
    piece.split_at_checked(piece.len().saturating_sub(CHECK_BYTES)).unwrap_or_default()
}

/// Pieces as they stand in a file.
pub(super) struct Unchecked {
    first: u64,
    /// Content of the first piece before what is wanted.
    skip: usize,
    /// Bytes that are wanted.
    len: usize,
    bytes: Vec<u8>,
}

impl Unchecked {
    /// What was wanted of them; less where the file ends before.
    pub(super) fn content(&self) -> Vec<u8> {
        let mut content = Vec::with_capacity(self.bytes.len());
        self.bytes.chunks(PIECE_BYTES).for_each(|piece| content.extend_from_slice(split(piece).0));
        content.truncate(self.skip.saturating_add(self.len));
        content.drain(..self.skip.min(content.len()));
        content
    }
}
