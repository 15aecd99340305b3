//! What of a header segment was committed: all up to the last commit marker before which every record is right
//! (`docs/storage.md`, "Recovery").
//!
//! A bad record with a valid commit marker anywhere behind it is damage. A bad record with none behind it begins what a
//! broken-off write left, unless the columns tell that it was committed, which the caller judges.

use super::segment::{
    COMMIT_BYTES, COMMIT_RECORD_BYTES, Entry, FILE_HEADER_BYTES, Framing, KIND_COMMIT, PAYLOAD_MAX_BYTES,
};
use crate::{ids::Link, link::next_link, store::CommitPoint};

/// Offset of the first valid commit marker at or behind `from`, found byte by byte. A match is no accident: the check
/// covers the offset.
pub(crate) fn find_commit(framing: &Framing, bytes: &[u8], from: usize) -> Option<(usize, CommitPoint)> {
    let mut start = [0; 5];
    start
        .iter_mut()
        .zip((COMMIT_BYTES as u32).to_le_bytes().into_iter().chain([KIND_COMMIT]))
        .for_each(|(to, b)| *to = b);
    let windows = bytes.get(from..)?.windows(COMMIT_RECORD_BYTES).enumerate();
    windows.filter(|(_, window)| window.starts_with(&start)).find_map(|(skipped, window)| {
        let at = from.saturating_add(skipped);
        let frame = framing.read(at as u64, window, PAYLOAD_MAX_BYTES).ok()?;
        match Entry::parse(frame.kind, frame.payload)? {
            Entry::Commit(point) => Some((at, point)),
            _ => None,
        }
    })
}

/// What reading a segment from its start gave.
pub(super) struct Scanned {
    /// Offsets of the records.
    pub(super) offsets: Vec<u32>,
    /// Where the last commit marker ends.
    pub(super) end: usize,
    pub(super) link: Link,
    pub(super) commit: Option<CommitPoint>,
}

/// Reads a segment up to its last commit marker. `Err` holds offset and what is wrong there.
pub(super) fn scan(framing: &Framing, bytes: &[u8], first: u64, link: Link) -> Result<Scanned, (u64, String)> {
    let mut done = Scanned { offsets: Vec::new(), end: FILE_HEADER_BYTES, link, commit: None };
    let mut committed = 0;
    let (mut at, mut link, mut offsets) = (FILE_HEADER_BYTES, link, Vec::new());
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let wrong = |what: &str| Err((at as u64, what.to_owned()));
        let frame = match framing.read(at as u64, rest, PAYLOAD_MAX_BYTES) {
            Ok(frame) => frame,
            Err(what) if find_commit(framing, bytes, at).is_some() => return wrong(what),
            Err(_) => break,
        };
        let count = first.saturating_add(offsets.len() as u64);
        let end = at.saturating_add(frame.len());
        match Entry::parse(frame.kind, frame.payload) {
            Some(Entry::Transaction(entry)) if entry.position == count => {
                link = next_link(link, &entry.id);
                offsets.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
            Some(Entry::Commit(point)) if point.count == count && point.link == link => {
                done = Scanned { offsets: Vec::new(), end, link, commit: Some(point) };
                committed = offsets.len();
            }
            Some(Entry::LateBody { position, .. }) if position < count => {}
            Some(_) => return wrong("a record contradicts those before it"),
            None => return wrong("a record of unknown kind"),
        }
        at = end;
    }
    offsets.truncate(committed);
    Ok(Scanned { offsets, ..done })
}
