//! What of a header segment was committed: all up to the last commit marker before which every record is right
//! (`docs/storage.md`, "Recovery").
//!
//! A bad record with a valid commit marker anywhere behind it is damage. A bad record with none behind it begins what a
//! broken-off write left, unless the columns tell that it was committed, which the caller judges.
//!
//! A power cut can also keep the end of the last write, with its marker, and lose sectors before it: a disk writes sectors
//! in any order. Such a batch was never acknowledged, for that takes an fsync of all of it. It is told from damage by what
//! it must look like: it is the last, and its first bad record reaches into a sector that was never written, which reads
//! as zeros up to where the batch began. Records are full of hashes, so no record has that by itself.

use super::{
    pieces::Pieces,
    segment::{
        COMMIT_BYTES, COMMIT_RECORD_BYTES, Entry, FILE_HEADER_BYTES, FRAME_BYTES, Framing, KIND_COMMIT,
        PAYLOAD_MAX_BYTES,
    },
};
use crate::{
    ids::Link,
    link::next_link,
    store::{CommitPoint, StoreError},
};

/// Bytes that a disk writes as a whole.
pub(super) const SECTOR_BYTES: u64 = 512;
/// So many zeros stand in no record: it would take a hash that has them.
pub(super) const LEAST_ZEROS: usize = 16;
/// Bytes that are searched for a commit marker in one go.
const SEARCH_BYTES: usize = 1024 * 1024;

/// Offset of the first valid commit marker at or behind `from`, found byte by byte. A match is no accident: the check
/// covers the offset.
pub(crate) fn find_commit(framing: &Framing, bytes: &[u8], from: usize) -> Option<(usize, CommitPoint)> {
    let (skipped, point) = find_commit_in(framing, from as u64, bytes.get(from..)?)?;
    Some((from.saturating_add(skipped), point))
}

/// The same in bytes that stand at `base` of the file; the offset is counted from there.
fn find_commit_in(framing: &Framing, base: u64, bytes: &[u8]) -> Option<(usize, CommitPoint)> {
    let mut start = [0; 5];
    start
        .iter_mut()
        .zip((COMMIT_BYTES as u32).to_le_bytes().into_iter().chain([KIND_COMMIT]))
        .for_each(|(to, b)| *to = b);
    let windows = bytes.windows(COMMIT_RECORD_BYTES).enumerate();
    windows.filter(|(_, window)| window.starts_with(&start)).find_map(|(skipped, window)| {
        let frame = framing.read(base.saturating_add(skipped as u64), window, PAYLOAD_MAX_BYTES).ok()?;
        match Entry::parse(frame.kind, frame.payload)? {
            Entry::Commit(point) => Some((skipped, point)),
            _ => None,
        }
    })
}

/// Where the first valid commit marker at or behind `at` ends, if there is one.
fn commit_behind(framing: &Framing, pieces: &mut Pieces<'_>, mut at: u64) -> Result<Option<u64>, StoreError> {
    loop {
        let bytes = pieces.from(at, SEARCH_BYTES)?;
        if let Some((skipped, _)) = find_commit_in(framing, at, bytes) {
            return Ok(Some(at.saturating_add(skipped.saturating_add(COMMIT_RECORD_BYTES) as u64)));
        }
        if bytes.len() < SEARCH_BYTES {
            return Ok(None);
        }
        // One that straddles two pieces is whole in the second.
        at = at.saturating_add(bytes.len().saturating_sub(COMMIT_RECORD_BYTES) as u64);
    }
}

/// Whether the record at `at` reaches into a part of a sector, behind `begin`, that was never written.
fn is_torn(pieces: &mut Pieces<'_>, begin: u64, at: u64) -> Result<bool, StoreError> {
    // The longest that the record can be; a batch whose last sectors are gone too has no marker.
    let end = at.saturating_add((PAYLOAD_MAX_BYTES + FRAME_BYTES) as u64);
    let mut sector = at.checked_div(SECTOR_BYTES).unwrap_or_default().saturating_mul(SECTOR_BYTES);
    while sector < end {
        let (from, to) = (sector.max(begin), sector.saturating_add(SECTOR_BYTES));
        let len = usize::try_from(to.saturating_sub(from)).unwrap_or_default();
        let bytes = pieces.from(from, len)?;
        let written = bytes.iter().take(len).any(|byte| *byte != 0);
        if len >= LEAST_ZEROS && bytes.len() >= len && !written {
            return Ok(true);
        }
        sector = to;
    }
    Ok(false)
}

/// What reading a segment up to its end gave.
pub(super) struct Scanned {
    /// Records of the segment that were not read: those before the place from which on it was.
    pub(super) before_them: usize,
    /// Offsets of the records behind these.
    pub(super) offsets: Vec<u32>,
    /// Where the last commit marker ends.
    pub(super) end: u64,
    pub(super) link: Link,
    pub(super) commit: Option<CommitPoint>,
    /// A commit with its marker stands behind that end, and is what a power cut left.
    pub(super) torn: bool,
    /// What was reached before the last commit.
    pub(super) before: Option<Reached>,
}

/// How far the log came with a commit marker.
#[derive(Clone, Copy)]
pub(super) struct Reached {
    /// Records of the segment.
    pub(super) records: usize,
    pub(super) end: u64,
    pub(super) link: Link,
    pub(super) commit: Option<CommitPoint>,
}

impl Reached {
    /// The place behind the file header of a segment that goes on from a link.
    pub(super) fn start(link: Link) -> Self {
        Self { records: 0, end: FILE_HEADER_BYTES as u64, link, commit: None }
    }
}

impl Scanned {
    /// Records of the segment.
    pub(super) fn records(&self) -> usize {
        self.before_them.saturating_add(self.offsets.len())
    }

    /// The same without the last commit, which is what a power cut left.
    pub(super) fn before_the_last(mut self) -> Self {
        let Some(Reached { records, end, link, commit }) = self.before else {
            return self;
        };
        self.offsets.truncate(records.saturating_sub(self.before_them));
        Self { end, link, commit, torn: true, before: None, ..self }
    }
}

/// Reads a segment, whose first position is `first`, from a place in it up to its last commit marker. The inner `Err` holds
/// offset and what is wrong there.
pub(super) fn scan(
    framing: &Framing,
    pieces: &mut Pieces<'_>,
    first: u64,
    from: Reached,
) -> Result<Result<Scanned, (u64, String)>, StoreError> {
    let Reached { records: before_them, end, link, commit } = from;
    let mut done = Scanned { before_them, offsets: Vec::new(), end, link, commit, torn: false, before: None };
    let first = first.saturating_add(before_them as u64);
    let mut committed = 0usize;
    let (mut at, mut link, mut offsets) = (end, link, Vec::new());
    let mut bad = None;
    loop {
        let bytes = pieces.from(at, PAYLOAD_MAX_BYTES + FRAME_BYTES)?;
        if bytes.is_empty() {
            break;
        }
        let wrong = |what: &str| Ok(Err((at, what.to_owned())));
        let frame = match framing.read(at, bytes, PAYLOAD_MAX_BYTES) {
            Ok(frame) => frame,
            Err(what) => {
                bad = Some(what);
                break;
            }
        };
        let count = first.saturating_add(offsets.len() as u64);
        let end = at.saturating_add(frame.len() as u64);
        match Entry::parse(frame.kind, frame.payload) {
            Some(Entry::Transaction(entry)) if entry.position == count => {
                link = next_link(link, &entry.id);
                offsets.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
            Some(Entry::Commit(point)) if point.count == count && point.link == link => {
                let records = before_them.saturating_add(committed);
                let before = Some(Reached { records, end: done.end, link: done.link, commit: done.commit });
                done = Scanned { end, link, commit: Some(point), before, ..done };
                committed = offsets.len();
            }
            Some(Entry::LateBody { position, .. }) if position < count => {}
            Some(_) => return wrong("a record contradicts those before it"),
            None => return wrong("a record of unknown kind"),
        }
        at = end;
    }
    if let Some(what) = bad
        && let Some(marker) = commit_behind(framing, pieces, at)?
    {
        if commit_behind(framing, pieces, marker)?.is_some() || !is_torn(pieces, done.end, at)? {
            return Ok(Err((at, what.to_owned())));
        }
        done.torn = true;
    }
    offsets.truncate(committed);
    Ok(Ok(Scanned { offsets, ..done }))
}
