//! Files in checked blocks: what a run is written in and read from (`docs/storage.md`, "Runs").
//!
//! Behind the file header, the content stands in blocks of 984 bytes, the last one shorter, each followed by a check over
//! log, range of positions, number of the block and content. So any part is read and checked without the rest.

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
/// Content of a block: with what else its check covers, the 1,024 bytes that BLAKE3 takes in one go.
const DATA_BYTES: usize = 984;
const BLOCK_BYTES: usize = DATA_BYTES + CHECK_BYTES;
/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 256 * BLOCK_BYTES;

/// Which file a block belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) ledger: LedgerId,
    pub(super) log_id: [u8; 16],
    pub(super) first: u64,
    pub(super) end: u64,
}

impl Identity {
    fn header(&self) -> Vec<u8> {
        let link = first_link(self.ledger);
        FileHeader { kind: FileKind::Run, ledger: self.ledger, log_id: self.log_id, number: self.first, link }
            .to_bytes()
    }

    fn check(&self, nth: u64, data: &[u8]) -> [u8; CHECK_BYTES] {
        let (first, end) = (self.first.to_le_bytes(), self.end.to_le_bytes());
        hash_prefix(Context::Record, &[&self.log_id, &first, &end, &nth.to_le_bytes(), data])
    }
}

/// Writes a file in checked blocks.
pub(super) struct BlockWriter {
    file: DiskFile,
    identity: Identity,
    at: u64,
    nth: u64,
    /// Content of the block that is being filled.
    block: Vec<u8>,
    /// Whole blocks that are still to be written.
    out: Vec<u8>,
}

impl BlockWriter {
    /// Begins the file, under another name until it is whole.
    pub(super) fn create(path: &Path, identity: Identity) -> Result<Self, StoreError> {
        let file = files::create_unfinished(path)?;
        let (block, out) = (Vec::with_capacity(DATA_BYTES), identity.header());
        Ok(Self { file, identity, at: 0, nth: 0, block, out })
    }

    /// Appends content.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            let room = DATA_BYTES.saturating_sub(self.block.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == DATA_BYTES {
                self.end_block()?;
            }
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), StoreError> {
        self.out.extend_from_slice(&self.block);
        self.out.extend_from_slice(&self.identity.check(self.nth, &self.block));
        self.block.clear();
        self.nth = self.nth.saturating_add(1);
        if self.out.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.file.write_at(&self.out, self.at)?;
        self.at = self.at.saturating_add(self.out.len() as u64);
        self.out.clear();
        Ok(())
    }

    /// Makes durable what is there so far, but for the block that is being filled.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.write()?;
        self.file.sync()
    }

    /// Writes what is left, makes the file durable, and gives it its name.
    pub(super) fn finish(&mut self, path: &Path) -> Result<(), StoreError> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        self.write()?;
        self.file.finish(path)
    }
}

/// Reads a file in checked blocks.
#[derive(Debug)]
pub(super) struct BlockFile {
    file: DiskFile,
    identity: Identity,
    /// Bytes of content.
    len: u64,
}

impl BlockFile {
    /// Opens a file, and checks its header.
    pub(super) fn open(path: &Path, identity: Identity) -> Result<Self, StoreError> {
        let file = DiskFile::open(path, false)?.ok_or_else(|| damaged(path, 0, "the file is missing"))?;
        if file.read_at(0, FILE_HEADER_BYTES)? != identity.header() {
            return Err(damaged(path, 0, "the file header is not that of a run of this log and place"));
        }
        let bytes = file.len()?.saturating_sub(FILE_HEADER_BYTES as u64);
        let checks = bytes.div_ceil(BLOCK_BYTES as u64).saturating_mul(CHECK_BYTES as u64);
        Ok(Self { file, identity, len: bytes.saturating_sub(checks) })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }
    /// Bytes of content.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads content, once its blocks' checks are right.
    pub(super) fn read(&self, from: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let (first, skip) = (from / DATA_BYTES as u64, (from % DATA_BYTES as u64) as usize);
        let blocks = skip.saturating_add(len).div_ceil(DATA_BYTES);
        let at = first.saturating_mul(BLOCK_BYTES as u64).saturating_add(FILE_HEADER_BYTES as u64);
        let bytes = self.file.read_at(at, blocks.saturating_mul(BLOCK_BYTES))?;
        let mut content = Vec::with_capacity(bytes.len());
        // What is wanted, once all blocks that it is in are checked.
        for (nth, block) in (first..).zip(bytes.chunks(BLOCK_BYTES)) {
            let (data, check) = block.split_at_checked(block.len().saturating_sub(CHECK_BYTES)).unwrap_or_default();
            if self.identity.check(nth, data) != check {
                let at = nth.saturating_mul(BLOCK_BYTES as u64).saturating_add(FILE_HEADER_BYTES as u64);
                return Err(damaged(self.path(), at, "a block fails its check"));
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
