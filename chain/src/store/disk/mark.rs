//! The mark: up to which commit the last header segment need not be checked again when the log is opened
//! (`docs/storage.md`, "Mark"; decision 0051).
//!
//! It tells of a commit that is durable, and whose offsets and entries of the scan column were made durable before it was
//! written; beside the flushes when many records have come, and when the store is closed. Invariant: nothing rests on it. It
//! counts only for the log and the segment that it names, and where the same commit marker stands at its place; else all of
//! the segment is checked. What is damaged before it is found as in earlier segments: when it is read, and by an audit; and
//! then there is no mark any more.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use super::{
    DiskStore,
    files::{self, DiskFile},
    headers::offsets_claimed,
    log::Segment,
    recover::Reached,
    segment::{
        COMMIT_BYTES, COMMIT_RECORD_BYTES, Entry, FILE_HEADER_BYTES, FRAME_BYTES, Fields, FileHeader, FileKind,
        KIND_COMMIT, KIND_MARK, PAYLOAD_MAX_BYTES,
    },
};
use crate::{
    ids::LedgerId,
    link::first_link,
    store::{CommitPoint, StoreError},
};

/// end u64 | what the commit marker before it holds.
const PAYLOAD_BYTES: usize = 8 + COMMIT_BYTES;
const MARK_BYTES: usize = FILE_HEADER_BYTES + FRAME_BYTES + PAYLOAD_BYTES;
/// So many full tables of records come before the mark is set anew.
const TABLES: usize = 2;
/// A store that is closed leaves at most this part of a full table behind the mark.
const CLOSING: usize = 8;

/// Path of the mark, beside the directory of the header segments.
fn path_of(headers: &Path) -> PathBuf {
    headers.with_file_name("mark")
}

fn header_of(ledger: LedgerId, log_id: [u8; 16], segment: u64) -> FileHeader {
    FileHeader { kind: FileKind::Mark, ledger, log_id, number: segment, link: first_link(ledger) }
}

/// How far a segment needs no check, if the mark tells so, and nothing contradicts it. `claimed`: how many records the scan
/// column shows to have been committed.
pub(super) fn reached(
    headers: &Path,
    ledger: LedgerId,
    log_id: [u8; 16],
    segment: &Segment,
    claimed: u64,
) -> Option<Reached> {
    let header = header_of(ledger, log_id, segment.first);
    let (end, point) = told(&path_of(headers), &header)?;
    let at = end.checked_sub(COMMIT_RECORD_BYTES as u64).filter(|at| *at >= FILE_HEADER_BYTES as u64)?;
    let bytes = segment.file.read_at(at, COMMIT_RECORD_BYTES).ok()?;
    let frame = segment.framing.read(at, &bytes, PAYLOAD_MAX_BYTES).ok()?;
    if Entry::parse(frame.kind, frame.payload) != Some(Entry::Commit(point)) {
        return None;
    }
    let records = point.count.checked_sub(segment.first)?;
    let in_columns = point.count <= claimed && records <= offsets_claimed(segment.offsets.len().ok()?);
    let records = usize::try_from(records).ok().filter(|_| in_columns)?;
    Some(Reached { records, end, link: point.link, commit: Some(point) })
}

/// What the mark tells of the segment with that header.
fn told(path: &Path, header: &FileHeader) -> Option<(u64, CommitPoint)> {
    let bytes = DiskFile::open(path, false).ok()??.read_at(0, MARK_BYTES).ok()?;
    let (found, record) = bytes.split_at_checked(FILE_HEADER_BYTES)?;
    if found != header.to_bytes() {
        return None;
    }
    let frame = header.framing().read(FILE_HEADER_BYTES as u64, record, PAYLOAD_BYTES).ok()?;
    let mut fields = Fields(frame.payload);
    let end = fields.u64().filter(|_| frame.kind == KIND_MARK)?;
    match Entry::parse(KIND_COMMIT, fields.0)? {
        Entry::Commit(point) => Some((end, point)),
        _ => None,
    }
}

/// A mark to be written.
pub(super) struct MarkJob {
    path: PathBuf,
    header: FileHeader,
    end: u64,
    point: CommitPoint,
    /// What must be durable before: offsets and scan column.
    columns: [Arc<DiskFile>; 2],
}

impl MarkJob {
    /// Makes durable what the mark tells of, then writes it; without fsync, since a start does without it.
    pub(super) fn run(&self) -> Result<(), StoreError> {
        self.columns.iter().try_for_each(|column| column.sync())?;
        let (_, marker) = Entry::Commit(self.point).to_payload();
        let payload = [&self.end.to_le_bytes()[..], &marker].concat();
        let record = self.header.framing().frame(FILE_HEADER_BYTES as u64, KIND_MARK, &payload);
        let bytes = [self.header.to_bytes(), record].concat();
        match DiskFile::open(&self.path, true)? {
            Some(file) => file.write_at(&bytes, 0),
            None => files::create_whole(&self.path, &bytes).map(drop),
        }
    }

    /// Records before the mark.
    pub(super) fn count(&self) -> u64 {
        self.point.count
    }
}

impl DiskStore {
    /// What was read of the log. Damage takes the mark away, for good: the next start checks the whole segment, and the log is
    /// mended as any that is found damaged then.
    pub(super) fn read_of_log<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Damaged { .. }) = &read {
            self.unmarked.store(true, Ordering::Release);
            // Where it stays, or upkeep was just setting it, the next reading of the damage takes it away.
            drop(files::remove(&path_of(self.headers.dir())));
        }
        read
    }

    /// The mark that is to be written once enough records have come, if all columns are written.
    pub(super) fn mark_due(&self) -> Option<MarkJob> {
        self.mark_behind(self.runs.table_records().saturating_mul(TABLES))
    }

    /// The same when the store is closed.
    pub(super) fn last_mark(&self) -> Option<MarkJob> {
        let least = self.runs.table_records().div_ceil(CLOSING);
        if self.upkeep.is_some() { None } else { self.mark_behind(least) }
    }

    fn mark_behind(&self, least: usize) -> Option<MarkJob> {
        let (log, point) = (self.headers.view(), self.headers.last_commit()?);
        let segment = log.segments.last()?;
        let behind = log.len.saturating_sub(self.marked.max(segment.first));
        let whole = self.recent.first() >= log.len && self.offsets.is_empty();
        let whole = whole && !self.late.values().any(|late| late.logged);
        let whole = whole && !self.unmarked.load(Ordering::Acquire);
        if !whole || behind < least.max(1) as u64 || point.count != log.len {
            return None;
        }
        let header = header_of(self.headers.ledger(), self.headers.log_id(), segment.first);
        let columns = [Arc::clone(&segment.offsets), Arc::clone(self.scan.file())];
        Some(MarkJob { path: path_of(self.headers.dir()), header, end: log.end, point, columns })
    }
}
