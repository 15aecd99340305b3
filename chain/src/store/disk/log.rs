//! Reading the log: the durable part of all header segments, as it was at one moment.
//!
//! A [`LogView`] is cheap to copy and stays right while more is appended, so that a flush on another thread can read
//! what it indexes. Invariant: only bytes before the last commit marker are read.

use std::{path::Path, sync::Arc};

use super::{
    files::DiskFile,
    notice::Notices,
    pieces::Pieces,
    segment::{
        Entry, FILE_HEADER_BYTES, FRAME_BYTES, Fields, Framing, KIND_TRANSACTION, PAYLOAD_MAX_BYTES, Place,
        TransactionEntry,
    },
};
use crate::{
    ids::{Position, TxId},
    store::{Record, StoreError},
    transaction::Header,
};

/// Bytes of an entry of an offset column.
pub(super) const OFFSET_BYTES: usize = 4;
/// Two records that are no further apart than this are read in one go.
const NEARBY: u64 = 32;
/// Two whose offsets are read in one go: 4 KiB of them.
const NEARBY_OFFSETS: u64 = 1_024;
/// Two of which only the ids are read, in one go: to copy what lies between costs no more than another call.
const NEARBY_BYTES: u64 = 2_048;

/// Where the id of a transaction record ends: length u32, kind u8, position u64, id.
const ID_END: usize = 45;

/// A segment and its offset column.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) file: Arc<DiskFile>,
    pub(super) offsets: Arc<DiskFile>,
    pub(super) framing: Framing,
    pub(super) notices: Notices,
}

/// The durable records of a log.
#[derive(Clone)]
pub(super) struct LogView {
    pub(super) segments: Arc<Vec<Segment>>,
    /// Durable records.
    pub(super) len: u64,
    /// Committed bytes of the last segment.
    pub(super) end: u64,
}

/// A record as it stands in the log, and where its body was to be when it was written.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) record: Record,
    pub(super) place: Option<Place>,
}

/// Is shown offset and content of a record; `false` ends the reading.
pub(super) type Visit<'a> = &'a mut dyn FnMut(u64, Entry<'_>) -> Result<bool, StoreError>;

impl LogView {
    fn segment_of(&self, position: u64) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.first <= position);
        self.segments.get(after.checked_sub(1)?)
    }

    /// First position of the last segment.
    pub(super) fn last_first(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.first)
    }

    /// Where the committed bytes of a segment end.
    fn end_of(&self, segment: &Segment) -> Result<u64, StoreError> {
        if segment.first == self.last_first() { Ok(self.end) } else { segment.file.len() }
    }

    /// Reads a durable record; `None` past the end.
    pub(super) fn read(&self, position: Position) -> Result<Option<Stored>, StoreError> {
        let at = position.get();
        match self.segment_of(at).filter(|_| at < self.len) {
            Some(segment) => self.mending(segment, || read_record(segment, at, offset_of(segment, at)?)).map(Some),
            None => Ok(None),
        }
    }

    /// Reads the record that is said to begin at a byte of its segment; `None` where it does not.
    pub(super) fn read_at(&self, position: u64, at: u64) -> Option<Stored> {
        let segment = self.segment_of(position).filter(|_| position < self.len)?;
        read_record(segment, position, at).ok()
    }

    /// Where the records at the positions `from..end`, all durable, begin in their segments.
    pub(super) fn offsets(&self, from: u64, end: u64) -> Result<Vec<u32>, StoreError> {
        let (mut offsets, mut next, end) = (Vec::new(), from, end.min(self.len));
        while let Some(segment) = self.segment_of(next).filter(|_| next < end) {
            let after = self.segments.partition_point(|segment| segment.first <= next);
            let to = self.segments.get(after).map_or(end, |segment| segment.first.min(end));
            offsets.extend(self.mending(segment, || offsets_of(segment, next, to))?);
            next = to;
        }
        Ok(offsets)
    }

    /// Reads by an offset; where that fails the offset may be what is wrong, and offsets can be made anew. Damage of the
    /// record itself stays.
    fn mending<T>(&self, segment: &Segment, read: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        match read() {
            Err(damage @ StoreError::Damaged { .. }) => {
                if rebuild_offsets(segment, self.end_of(segment)?).is_err() {
                    return Err(damage);
                }
                let mended = read()?;
                segment.notices.corrected(segment.offsets.path(), 1);
                Ok(mended)
            }
            other => other,
        }
    }

    /// Reads durable records from `from` on, at most `max` and none at `end` or behind it.
    pub(super) fn records(&self, from: u64, end: u64, max: usize) -> Result<Vec<Stored>, StoreError> {
        let end = end.min(self.len).min(from.saturating_add(max as u64));
        let mut records = Vec::new();
        self.each_record(from, end, &mut |stored| records.push(stored))?;
        Ok(records)
    }

    /// Shows the records at the positions `from..end`, in order.
    pub(super) fn each_record(&self, from: u64, end: u64, show: &mut dyn FnMut(Stored)) -> Result<(), StoreError> {
        self.transactions(from, end, &mut |at, entry, path| {
            show(stored(entry).map_err(|what| damaged(path, at, &what))?);
            Ok(())
        })
    }

    /// Shows the transactions at the positions `from..end`, in order.
    pub(super) fn transactions(
        &self,
        from: u64,
        end: u64,
        visit: &mut dyn FnMut(u64, &TransactionEntry<'_>, &Path) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut next = from;
        while let Some(segment) = self.segment_of(next).filter(|_| next < end.min(self.len)) {
            let before = next;
            let start = self.mending(segment, || {
                let at = offset_of(segment, before)?;
                let bytes = segment.file.read_at(at, PAYLOAD_MAX_BYTES + FRAME_BYTES)?;
                read_transaction(segment, before, at, &bytes).map(|_| at)
            })?;
            for_each_entry(segment, start, self.end_of(segment)?, &mut |at, entry| {
                if let Entry::Transaction(entry) = entry {
                    if entry.position != next {
                        return Err(damaged(segment.file.path(), at, "a record contradicts those before it"));
                    }
                    visit(at, &entry, segment.file.path())?;
                    next = next.saturating_add(1);
                }
                Ok(next < end)
            })?;
            if next == before {
                return Err(damaged(segment.file.path(), start, "the segment does not reach up to the next"));
            }
        }
        Ok(())
    }

    /// Asks the system for the beginnings of records that are to be read soon: of all of them together, so that whoever reads
    /// them waits once for their offsets and once for them, and not for each.
    pub(super) fn will_need(&self, positions: impl Iterator<Item = u64>) {
        let durable = positions.filter(|at| *at < self.len);
        let known: Vec<(&Segment, u64)> = durable.filter_map(|at| Some((self.segment_of(at)?, at))).collect();
        known.iter().for_each(|(segment, at)| segment.offsets.will_need(column_at(segment, *at), OFFSET_BYTES as u64));
        for (segment, at) in known {
            if let Ok(offset) = offset_of(segment, at) {
                segment.file.will_need(offset, ID_END as u64);
            }
        }
    }

    /// Ids of the records at ascending `positions`, all durable; those that stand close together are read in one go.
    pub(super) fn ids_at(&self, positions: &[u64]) -> Result<Vec<TxId>, StoreError> {
        let mut ids = Vec::with_capacity(positions.len());
        for group in positions.chunk_by(|a, b| b.saturating_sub(*a) <= NEARBY) {
            let (Some(first), Some(last)) = (group.first(), group.last()) else {
                continue;
            };
            let mut wanted = group.iter().peekable();
            self.transactions(*first, last.saturating_add(1), &mut |_, entry, _| {
                while wanted.next_if_eq(&&entry.position).is_some() {
                    ids.push(entry.id);
                }
                Ok(())
            })?;
        }
        Ok(ids)
    }

    /// The same without their records' checks; `None` where offset or position are not what they should be.
    pub(super) fn ids_unchecked(&self, positions: &[u64]) -> Result<Option<Vec<TxId>>, StoreError> {
        let mut ids = Vec::with_capacity(positions.len());
        let alike = |a: &u64, b: &u64| b.saturating_sub(*a) <= NEARBY_OFFSETS && self.is_one_segment(*a, *b);
        for group in positions.chunk_by(alike) {
            let (Some(first), Some(last)) = (group.first(), group.last()) else {
                continue;
            };
            let Some(segment) = self.segment_of(*first).filter(|_| *last < self.len) else {
                return Ok(None);
            };
            let Some(places) = places_of(segment, group)? else {
                return Ok(None);
            };
            for group in places.chunk_by(|(_, a), (_, b)| b.saturating_sub(*a) <= NEARBY_BYTES) {
                let end = group.iter().map(|(_, at)| at.saturating_add(ID_END as u64)).max().unwrap_or_default();
                let mut pieces = Pieces::new(&segment.file, end);
                for (position, at) in group {
                    match id_unchecked(pieces.from(*at, ID_END)?, *position) {
                        Some(id) => ids.push(id),
                        None => return Ok(None),
                    }
                }
            }
        }
        Ok(Some(ids))
    }

    fn is_one_segment(&self, a: u64, b: u64) -> bool {
        self.segment_of(a).map(|segment| segment.first) == self.segment_of(b).map(|segment| segment.first)
    }

    /// Entries of the segments from the one that holds `from` on, in log order, up to the last commit.
    pub(super) fn entries_from(
        &self,
        from: u64,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let start = self.segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
        for segment in self.segments.iter().skip(start) {
            let visit: Visit<'_> = &mut |_, entry| visit(entry).map(|()| true);
            for_each_entry(segment, FILE_HEADER_BYTES as u64, self.end_of(segment)?, visit)?;
        }
        Ok(())
    }

    /// Entries of the last segment from a byte on, at which one begins, up to the last commit.
    pub(super) fn last_entries(
        &self,
        at: u64,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match self.segments.last() {
            Some(segment) => for_each_entry(segment, at, self.end, &mut |_, entry| visit(entry).map(|()| true)),
            None => Ok(()),
        }
    }
}

pub(super) fn damaged(path: &Path, offset: u64, what: &str) -> StoreError {
    StoreError::Damaged { path: path.display().to_string(), offset, what: what.to_owned() }
}

pub(super) fn offset_bytes(offsets: &[u32]) -> Vec<u8> {
    offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect()
}

/// Shows the records of a segment from byte `at` up to `end`.
pub(super) fn for_each_entry(segment: &Segment, mut at: u64, end: u64, visit: Visit<'_>) -> Result<(), StoreError> {
    let mut pieces = Pieces::new(&segment.file, end);
    while at < end {
        let bytes = pieces.from(at, PAYLOAD_MAX_BYTES + FRAME_BYTES)?;
        let wrong = |what| damaged(segment.file.path(), at, what);
        let frame = segment.framing.read(at, bytes, PAYLOAD_MAX_BYTES).map_err(wrong)?;
        let entry = Entry::parse(frame.kind, frame.payload).ok_or_else(|| wrong("a record of unknown kind"))?;
        if !visit(at, entry)? {
            return Ok(());
        }
        at = at.saturating_add(frame.len() as u64);
    }
    Ok(())
}

/// Makes the offset column of a segment anew from the segment's bytes before `end`.
pub(super) fn rebuild_offsets(segment: &Segment, end: u64) -> Result<(), StoreError> {
    let mut offsets = Vec::new();
    for_each_entry(segment, FILE_HEADER_BYTES as u64, end, &mut |at, entry| {
        if matches!(entry, Entry::Transaction(_)) {
            offsets.push(u32::try_from(at).unwrap_or(u32::MAX));
        }
        Ok(true)
    })?;
    let column = offset_bytes(&offsets);
    segment.offsets.write_at(&column, FILE_HEADER_BYTES as u64)?;
    segment.offsets.truncate((FILE_HEADER_BYTES as u64).saturating_add(column.len() as u64))
}

/// Where the offset of a record stands in its column.
pub(super) fn column_at(segment: &Segment, position: u64) -> u64 {
    let nth = position.saturating_sub(segment.first);
    nth.saturating_mul(OFFSET_BYTES as u64).saturating_add(FILE_HEADER_BYTES as u64)
}

/// Ascending positions of one segment with the offsets of their records, which nothing vouches for; `None` when there are
/// none.
fn places_of(segment: &Segment, positions: &[u64]) -> Result<Option<Vec<(u64, u64)>>, StoreError> {
    let [first, last] = [positions.first(), positions.last()].map(|at| at.copied().unwrap_or_default());
    let count = usize::try_from(last.saturating_sub(first)).unwrap_or(usize::MAX).saturating_add(1);
    let column = segment.offsets.read_at(column_at(segment, first), count.saturating_mul(OFFSET_BYTES))?;
    let place = |position: &u64| {
        let nth = usize::try_from(position.saturating_sub(first)).ok()?;
        let offset = column.as_chunks::<OFFSET_BYTES>().0.get(nth)?;
        Some((*position, u64::from(u32::from_le_bytes(*offset))))
    };
    Ok(positions.iter().map(place).collect())
}

/// Offsets of the records at the positions `from..end` of one segment.
fn offsets_of(segment: &Segment, from: u64, end: u64) -> Result<Vec<u32>, StoreError> {
    let (at, count) = (column_at(segment, from), usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX));
    let bytes = segment.offsets.read_at(at, count.saturating_mul(OFFSET_BYTES))?;
    let offsets: Vec<u32> = bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    let is_whole = offsets.len() == count;
    is_whole.then_some(offsets).ok_or_else(|| damaged(segment.offsets.path(), at, "the offset column is too short"))
}

fn offset_of(segment: &Segment, position: u64) -> Result<u64, StoreError> {
    let offsets = offsets_of(segment, position, position.saturating_add(1))?;
    Ok(offsets.first().copied().unwrap_or_default().into())
}

fn read_transaction<'a>(
    segment: &Segment,
    position: u64,
    at: u64,
    bytes: &'a [u8],
) -> Result<TransactionEntry<'a>, StoreError> {
    let wrong = |what: &str| damaged(segment.file.path(), at, &format!("position {position}: {what}"));
    let frame = segment.framing.read(at, bytes, PAYLOAD_MAX_BYTES).map_err(wrong)?;
    match Entry::parse(frame.kind, frame.payload) {
        Some(Entry::Transaction(entry)) if entry.position == position => Ok(entry),
        Some(Entry::Transaction(_)) => {
            let column_at = column_at(segment, position);
            Err(damaged(segment.offsets.path(), column_at, "the offset leads to another record"))
        }
        _ => Err(wrong("there is no transaction here")),
    }
}

/// The id in a record's first bytes, if the record is of that position.
fn id_unchecked(bytes: &[u8], position: u64) -> Option<TxId> {
    let mut fields = Fields(bytes);
    let (_, kind, at) = (fields.u32()?, fields.u8()?, fields.u64()?);
    (kind == KIND_TRANSACTION && at == position).then(|| fields.take().map(TxId::from_bytes))?
}

fn read_record(segment: &Segment, position: u64, at: u64) -> Result<Stored, StoreError> {
    let bytes = segment.file.read_at(at, PAYLOAD_MAX_BYTES + FRAME_BYTES)?;
    let entry = read_transaction(segment, position, at, &bytes)?;
    stored(&entry).map_err(|what| damaged(segment.file.path(), at, &what))
}

fn stored(entry: &TransactionEntry<'_>) -> Result<Stored, String> {
    let header = Header::from_bytes(entry.header)
        .map_err(|error| format!("position {}, id {}: {error}", entry.position, entry.id))?;
    let record = Record { id: entry.id, arrival: entry.arrival, depth: entry.depth, header };
    Ok(Stored { record, place: entry.place })
}
