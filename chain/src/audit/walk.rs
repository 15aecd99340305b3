//! Going through a header segment record by record, also where it is damaged.
//!
//! Behind a record whose check fails, the next record that is right is searched for byte by byte: the check covers
//! the offset, so a match is no accident. Records carry their position and commit markers the count, so it is known
//! how many were lost in between, and what they were is read from their bytes as far as these make sense.

use std::collections::BTreeMap;

use super::files::{Files, SegmentFile};
use crate::{
    ids::TxId,
    network::Network,
    rules,
    store::{
        CommitPoint, StoreError,
        disk::{
            files::DiskFile,
            headers::segment_path,
            recover::find_commit,
            segment::{
                COMMIT_RECORD_BYTES, Entry, FILE_HEADER_BYTES, FRAME_BYTES, Fields, Framing, KIND_TRANSACTION,
                PAYLOAD_MAX_BYTES, Place, TRANSACTION_FIXED_BYTES, TransactionEntry,
            },
        },
    },
    transaction::{HEADER_MIN_BYTES, Header},
};

/// What was come upon in a segment, with its offset.
#[derive(Debug)]
pub(super) enum Item<'a> {
    /// A transaction whose check is right.
    Transaction { at: usize, entry: TransactionEntry<'a> },
    /// A transaction whose bytes were changed, at this position, with what could be made of it.
    Changed { at: usize, position: u64, why: &'static str, id: Option<TxId>, header: Option<Box<Header>> },
    /// So many transactions from this position on of which nothing could be made.
    Unreadable { at: usize, position: u64, count: u64 },
    /// The body of an earlier transaction has come.
    LateBody { position: u64, place: Place },
    /// A commit marker.
    Commit { at: usize, point: CommitPoint },
    /// A record that was changed and is no transaction.
    ChangedMarker { at: usize, why: &'static str },
    /// Nothing more could be recognised.
    Rest { at: usize, bytes: u64 },
    /// A record that is right by itself and contradicts those before it.
    Contradiction { at: usize, what: &'static str },
}

/// A segment's bytes and what is known of them from elsewhere.
pub(super) struct Walk<'a> {
    pub(super) network: &'a Network,
    pub(super) framing: Framing,
    pub(super) bytes: &'a [u8],
    /// Position of the first record.
    pub(super) first: u64,
    /// Records that the log holds where the segment ends, as far as others tell.
    pub(super) until: Option<u64>,
}

impl<'a> Walk<'a> {
    /// All that is in the segment; every position from `first` to `until` is accounted for.
    pub(super) fn items(&self) -> Vec<Item<'a>> {
        let mut items = Vec::new();
        let (mut at, mut count) = (FILE_HEADER_BYTES, self.first);
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let frame = match self.framing.read(at as u64, rest, PAYLOAD_MAX_BYTES) {
                Ok(frame) => frame,
                Err(why) => {
                    let (next, after) = self.next_sound(at.saturating_add(1), count);
                    self.changed(at, next, count, after, why, &mut items);
                    (at, count) = (next, after.unwrap_or(count));
                    continue;
                }
            };
            let contradiction = |what| Item::Contradiction { at, what };
            match Entry::parse(frame.kind, frame.payload) {
                Some(Entry::Transaction(entry)) => {
                    if entry.position != count {
                        items.push(contradiction("it stands at another position than its own"));
                    }
                    count = entry.position.saturating_add(1);
                    items.push(Item::Transaction { at, entry });
                }
                Some(Entry::Commit(point)) => {
                    if point.count != count {
                        items.push(contradiction("it counts other transactions than there are"));
                    }
                    count = point.count;
                    items.push(Item::Commit { at, point });
                }
                Some(Entry::LateBody { position, place }) if position < count => {
                    items.push(Item::LateBody { position, place });
                }
                Some(Entry::LateBody { .. }) => items.push(contradiction("it is the body of what is not there yet")),
                None => items.push(contradiction("it is of no known kind")),
            }
            at = at.saturating_add(frame.len());
        }
        items
    }

    /// Offset of the next record that is right, and the position that follows from it; where there is none, the end of
    /// the segment and what others tell.
    fn next_sound(&self, from: usize, count: u64) -> (usize, Option<u64>) {
        let mut first = None;
        let mut at = from;
        while let Some(rest) = self.bytes.get(at..).filter(|rest| rest.len() >= FRAME_BYTES) {
            let Ok(frame) = self.framing.read(at as u64, rest, PAYLOAD_MAX_BYTES) else {
                at = at.saturating_add(1);
                continue;
            };
            let first = *first.get_or_insert(at);
            match Entry::parse(frame.kind, frame.payload) {
                Some(Entry::Transaction(entry)) => return (first, Some(entry.position.max(count))),
                Some(Entry::Commit(point)) => return (first, Some(point.count.max(count))),
                _ => at = at.saturating_add(frame.len()),
            }
        }
        (first.unwrap_or(self.bytes.len()), self.until.map(|until| until.max(count)))
    }

    /// What stood in the changed bytes `at..next`, which held the positions from `count` up to `after`.
    fn changed(
        &self,
        at: usize,
        next: usize,
        count: u64,
        after: Option<u64>,
        why: &'static str,
        items: &mut Vec<Item<'a>>,
    ) {
        let lost = after.map_or(0, |after| after.saturating_sub(count));
        let region = self.bytes.get(at..next).unwrap_or_default();
        if lost == 0 {
            items.push(match region.len() {
                COMMIT_RECORD_BYTES => Item::ChangedMarker { at, why },
                _ if next == self.bytes.len() => Item::Rest { at, bytes: region.len() as u64 },
                _ => Item::ChangedMarker { at, why },
            });
            return;
        }
        let (mut at, mut rest, mut position) = (at, region, count);
        for left in (1..=lost).rev() {
            // The last of them reaches to the next sound record; those before it, as far as they say.
            let len = if left == 1 { Some(rest.len()) } else { stated_len(rest) };
            let Some((record, behind)) = len.and_then(|len| rest.split_at_checked(len)) else {
                break;
            };
            let Some((id, header)) = self.read_changed(record) else {
                break;
            };
            items.push(Item::Changed { at, position, why, id, header });
            (at, rest, position) = (at.saturating_add(record.len()), behind, position.saturating_add(1));
        }
        let unreadable = after.unwrap_or(position).saturating_sub(position);
        if unreadable > 0 {
            items.push(Item::Unreadable { at, position, count: unreadable });
            if next == self.bytes.len() {
                items.push(Item::Rest { at, bytes: rest.len() as u64 });
            }
        }
    }

    /// Id and header of a changed record, as far as the rest of the evidence bears them out.
    fn read_changed(&self, record: &[u8]) -> Option<(Option<TxId>, Option<Box<Header>>)> {
        let mut fields = Fields(record.get(5..)?);
        fields.u64()?;
        let stored = TxId::from_bytes(fields.take()?);
        let header_at = TRANSACTION_FIXED_BYTES.saturating_add(5);
        let header = record.get(header_at..).and_then(|bytes| {
            let exact = bytes.get(..bytes.len().checked_sub(FRAME_BYTES.saturating_sub(5))?)?;
            let stated = || bytes.get(..stated_len(record)?.checked_sub(header_at.saturating_add(8))?);
            Header::from_bytes(exact).ok().or_else(|| Header::from_bytes(stated()?).ok())
        });
        let Some(header) = header else {
            return Some((Some(stored), None));
        };
        let computed = header.id(self.network);
        // A header whose stamp and signature hold is as its author made it, so its hash is its id.
        if computed == stored || rules::verify_header(self.network, &header).is_ok() {
            return Some((Some(computed), Some(Box::new(header))));
        }
        Some((Some(stored), None))
    }
}

/// The whole length that a record states, if it is one that a transaction's record can have.
fn stated_len(record: &[u8]) -> Option<usize> {
    let mut fields = Fields(record);
    let len = usize::try_from(fields.u32()?).ok()?;
    let possible = TRANSACTION_FIXED_BYTES.saturating_add(HEADER_MIN_BYTES)..=PAYLOAD_MAX_BYTES;
    (fields.u8()? == KIND_TRANSACTION && possible.contains(&len)).then(|| len.saturating_add(FRAME_BYTES))
}

/// The last valid commit marker: where it ends, and what it says.
pub(super) fn last_commit(framing: &Framing, bytes: &[u8]) -> Option<(usize, CommitPoint)> {
    let last = bytes.len().checked_sub(COMMIT_RECORD_BYTES)?;
    (FILE_HEADER_BYTES..=last).rev().find_map(|at| {
        let window = bytes.get(..at.saturating_add(COMMIT_RECORD_BYTES))?;
        find_commit(framing, window, at).map(|(_, point)| (window.len(), point))
    })
}

/// Where bodies stand that came, or came again, after their records. They may stand in any later segment, so all are read
/// for them, one at a time.
pub(super) fn late_bodies(
    files: &Files,
    segments: &[SegmentFile],
    network: &Network,
) -> Result<BTreeMap<u64, Place>, StoreError> {
    let mut late = BTreeMap::new();
    for segment in segments {
        let path = segment_path(&files.dir.join("headers"), segment.first);
        let head = files.segment_head(network.ledger(), segment.first);
        let (Some(head), Some(file)) = (head, DiskFile::open(&path, false)?) else {
            continue;
        };
        let bytes = file.read_from(0)?;
        let walk = Walk { network, framing: head.framing(), bytes: &bytes, first: segment.first, until: None };
        late.extend(walk.items().into_iter().filter_map(|item| match item {
            Item::LateBody { position, place } => Some((position, place)),
            _ => None,
        }));
    }
    Ok(late)
}
