//! The log: header segments in position order, and the offsets of their records (`docs/storage.md`, "Headers").
//!
//! Invariants: every segment begins where the one before it ends; every segment but the last ends with a commit
//! marker; only bytes behind the last valid commit marker of the last segment may ever be cut, and only when nothing
//! shows that they were committed once.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    files::{self, DiskFile},
    recover::scan,
    segment::{
        COMMIT_RECORD_BYTES, Entry, FILE_HEADER_BYTES, FRAME_BYTES, FileHeader, FileKind, Framing, PAYLOAD_MAX_BYTES,
        Place,
    },
};
use crate::{
    ids::{LedgerId, Link, Position},
    link::first_link,
    store::{CommitPoint, Record, StoreError},
    transaction::Header,
};

/// Bytes of an entry of an offset column.
const OFFSET_BYTES: usize = 4;

/// A segment and its offset column.
struct Segment {
    first: u64,
    file: Arc<DiskFile>,
    offsets: Arc<DiskFile>,
    framing: Framing,
}

/// All header segments.
pub(super) struct Headers {
    dir: PathBuf,
    ledger: LedgerId,
    log_id: [u8; 16],
    segments: Vec<Segment>,
    /// A segment that has reached this size is followed by a new one.
    segment_bytes: u64,
    /// Durable records.
    len: u64,
    /// Bytes of the last segment.
    end: u64,
    link: Link,
    last_commit: Option<CommitPoint>,
}

/// A record as it stands in the log, and where its body is.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) record: Record,
    pub(super) place: Option<Place>,
}

/// A batch ready to be written: bytes and where they go.
pub(super) struct HeaderWrite {
    file: Arc<DiskFile>,
    at: u64,
    bytes: Vec<u8>,
    offsets_file: Arc<DiskFile>,
    offsets_at: u64,
    offsets: Vec<u8>,
    point: CommitPoint,
}

impl HeaderWrite {
    /// Writes the records with their commit marker in one go, and makes them durable.
    pub(super) fn commit(&self) -> Result<(), StoreError> {
        self.file.write_at(&self.bytes, self.at)?;
        self.file.sync()
    }
    /// Writes the offsets, which can be made anew and which show that the batch was committed.
    pub(super) fn write_offsets(&self) -> Result<(), StoreError> {
        self.offsets_file.write_at(&self.offsets, self.offsets_at)
    }
}

/// Path of a header segment.
pub(crate) fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:016x}.seg"))
}

/// Path of the offset column of a header segment.
pub(crate) fn offsets_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:016x}.off"))
}

/// First positions of the segments in a directory, ascending.
pub(crate) fn segment_firsts(dir: &Path) -> Result<Vec<u64>, StoreError> {
    let names = files::names(dir)?;
    let number = |name: &String| u64::from_str_radix(name.strip_suffix(".seg")?, 16).ok();
    let mut firsts: Vec<u64> = names.iter().filter_map(number).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// Records that an offset column of so many bytes shows to have been committed.
pub(crate) fn offsets_claimed(bytes: u64) -> u64 {
    bytes.saturating_sub(FILE_HEADER_BYTES as u64) / OFFSET_BYTES as u64
}

impl Headers {
    /// Opens the log, or starts one. `claimed`: how many records the scan column shows to have been committed.
    pub(super) fn open(
        dir: PathBuf,
        ledger: LedgerId,
        new_log_id: [u8; 16],
        segment_bytes: u64,
        claimed: u64,
    ) -> Result<Self, StoreError> {
        files::make_dir(&dir)?;
        let mut firsts = segment_firsts(&dir)?;
        if firsts.is_empty() {
            create_segment(&dir, ledger, new_log_id, 0, first_link(ledger))?;
            firsts.push(0);
        }
        let mut headers = Self {
            dir,
            ledger,
            log_id: new_log_id,
            segments: Vec::new(),
            segment_bytes,
            len: 0,
            end: 0,
            link: first_link(ledger),
            last_commit: None,
        };
        for (nth, first) in firsts.iter().enumerate() {
            headers.open_segment(*first, firsts.get(nth.saturating_add(1)).copied(), claimed)?;
        }
        Ok(headers)
    }

    fn open_segment(&mut self, first: u64, next: Option<u64>, claimed: u64) -> Result<(), StoreError> {
        let path = segment_path(&self.dir, first);
        let damaged = |offset: u64, what: &str| damaged(&path, offset, what);
        let file = DiskFile::open(&path, true)?.ok_or_else(|| damaged(0, "the file is missing"))?;
        let header = FileHeader::parse(FileKind::Headers, self.ledger, &file.read_at(0, FILE_HEADER_BYTES)?)
            .map_err(|fault| fault.into_error(&path))?;
        if self.segments.is_empty() {
            self.log_id = header.log_id;
        }
        if header.log_id != self.log_id || header.number != first {
            return Err(damaged(0, "the file belongs elsewhere: its log or its position is not the one of its place"));
        }
        if first != self.len || header.link != self.link {
            return Err(damaged(0, "the segment does not follow the one before it; one is missing or was changed"));
        }
        let offsets = open_offsets(&self.dir, &header)?;
        let segment = Segment { first, file: Arc::new(file), offsets: Arc::new(offsets), framing: header.framing() };
        match next {
            Some(next) => self.skip_segment(segment, next),
            None => self.scan_last(segment, claimed),
        }
    }

    /// Takes an earlier segment by its last commit marker; its records are checked when they are read.
    fn skip_segment(&mut self, segment: Segment, next: u64) -> Result<(), StoreError> {
        let end = segment.file.len()?;
        let at = end.saturating_sub(COMMIT_RECORD_BYTES as u64);
        let bytes = segment.file.read_at(at, COMMIT_RECORD_BYTES)?;
        let entry = segment.framing.read(at, &bytes, PAYLOAD_MAX_BYTES).map(|f| Entry::parse(f.kind, f.payload));
        let Ok(Some(Entry::Commit(point))) = entry else {
            return Err(damaged(segment.file.path(), at, "the segment does not end with a commit marker"));
        };
        if point.count != next {
            return Err(damaged(segment.file.path(), at, "the segment does not reach up to the next"));
        }
        (self.len, self.link, self.last_commit, self.end) = (point.count, point.link, Some(point), end);
        if offsets_claimed(segment.offsets.len()?) != next.saturating_sub(segment.first) {
            rebuild_offsets(&segment, end)?;
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Reads the last segment, and cuts what is behind its last commit marker.
    fn scan_last(&mut self, segment: Segment, claimed: u64) -> Result<(), StoreError> {
        let bytes = segment.file.read_from(0)?;
        let path = segment.file.path();
        let scanned = scan(&segment.framing, &bytes, segment.first, self.link)
            .map_err(|(offset, what)| damaged(path, offset, &what))?;
        let count = segment.first.saturating_add(scanned.offsets.len() as u64);
        let claimed = claimed.max(segment.first.saturating_add(offsets_claimed(segment.offsets.len()?)));
        if claimed > count {
            let what = format!("{claimed} records were committed once, but only {count} can be read");
            return Err(damaged(path, scanned.end as u64, &what));
        }
        if scanned.end < bytes.len() {
            segment.file.truncate(scanned.end as u64)?;
            segment.file.sync()?;
        }
        let column = offset_bytes(&scanned.offsets);
        if segment.offsets.read_from(FILE_HEADER_BYTES as u64)? != column {
            segment.offsets.write_at(&column, FILE_HEADER_BYTES as u64)?;
        }
        (self.len, self.link, self.end) = (count, scanned.link, scanned.end as u64);
        self.last_commit = scanned.commit.or(self.last_commit);
        self.segments.push(segment);
        Ok(())
    }

    pub(super) fn log_id(&self) -> [u8; 16] {
        self.log_id
    }
    /// Durable records.
    pub(super) fn len(&self) -> u64 {
        self.len
    }
    pub(super) fn last_commit(&self) -> Option<CommitPoint> {
        self.last_commit
    }
    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        files::bytes_under(&self.dir)
    }

    fn segment_of(&self, position: u64) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.first <= position);
        self.segments.get(after.checked_sub(1)?)
    }

    /// Reads a durable record; `None` past the end.
    pub(super) fn read(&self, position: Position) -> Result<Option<Stored>, StoreError> {
        if position.get() >= self.len {
            return Ok(None);
        }
        let Some(segment) = self.segment_of(position.get()) else {
            return Ok(None);
        };
        match read_record(segment, position.get()) {
            Ok(stored) => Ok(Some(stored)),
            Err(damage @ StoreError::Damaged { .. }) => {
                // The offset may be what is wrong, and offsets can be made anew; damage of the record stays.
                if rebuild_offsets(segment, self.end_of(segment)?).is_err() {
                    return Err(damage);
                }
                read_record(segment, position.get()).map(Some)
            }
            Err(error) => Err(error),
        }
    }

    /// Entries of the segments from the one that holds `from` on, in log order, up to the last commit.
    pub(super) fn entries_from(
        &self,
        from: u64,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let start = self.segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
        for segment in self.segments.iter().skip(start) {
            for_each_entry(segment, self.end_of(segment)?, |_, entry| visit(entry))?;
        }
        Ok(())
    }

    /// Where the committed bytes of a segment end.
    fn end_of(&self, segment: &Segment) -> Result<u64, StoreError> {
        if segment.first == self.last_first() { Ok(self.end) } else { segment.file.len() }
    }

    /// First position of the last segment.
    pub(super) fn last_first(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.first)
    }

    /// Prepares records, whose positions follow the durable ones, and their commit marker for writing. Starts a new
    /// segment when the last one is full.
    pub(super) fn prepare<'a>(
        &mut self,
        records: impl Iterator<Item = (&'a Record, Option<Place>)>,
        point: CommitPoint,
    ) -> Result<HeaderWrite, StoreError> {
        if self.end >= self.segment_bytes {
            let (file, header) = create_segment(&self.dir, self.ledger, self.log_id, self.len, self.link)?;
            let offsets = Arc::new(open_offsets(&self.dir, &header)?);
            self.segments.push(Segment { first: self.len, file: Arc::new(file), offsets, framing: header.framing() });
            self.end = FILE_HEADER_BYTES as u64;
        }
        let missing = || damaged(&self.dir, 0, "there is no header segment");
        let segment = self.segments.last().ok_or_else(missing)?;
        let (mut bytes, mut offsets) = (Vec::new(), Vec::new());
        for (nth, (record, place)) in records.enumerate() {
            let at = self.end.saturating_add(bytes.len() as u64);
            let header = record.header.to_bytes();
            let entry = super::segment::TransactionEntry {
                position: self.len.saturating_add(nth as u64),
                id: record.id,
                arrival: record.arrival,
                depth: record.depth,
                place,
                header: &header,
            };
            let (kind, payload) = Entry::Transaction(entry).to_payload();
            bytes.extend_from_slice(&segment.framing.frame(at, kind, &payload));
            offsets.push(u32::try_from(at).unwrap_or(u32::MAX));
        }
        let (kind, payload) = Entry::Commit(point).to_payload();
        let at = self.end.saturating_add(bytes.len() as u64);
        bytes.extend_from_slice(&segment.framing.frame(at, kind, &payload));
        let before = self.len.saturating_sub(segment.first).saturating_mul(OFFSET_BYTES as u64);
        Ok(HeaderWrite {
            file: Arc::clone(&segment.file),
            at: self.end,
            bytes,
            offsets_file: Arc::clone(&segment.offsets),
            offsets_at: before.saturating_add(FILE_HEADER_BYTES as u64),
            offsets: offset_bytes(&offsets),
            point,
        })
    }

    /// Takes note of a write that is durable.
    pub(super) fn committed(&mut self, write: &HeaderDone) {
        self.end = write.end;
        self.len = write.point.count;
        self.link = write.point.link;
        self.last_commit = Some(write.point);
    }
}

/// What a [`HeaderWrite`] leads to once it is durable.
pub(super) struct HeaderDone {
    end: u64,
    point: CommitPoint,
}

impl HeaderWrite {
    pub(super) fn done(&self) -> HeaderDone {
        HeaderDone { end: self.at.saturating_add(self.bytes.len() as u64), point: self.point }
    }
}

fn damaged(path: &Path, offset: u64, what: &str) -> StoreError {
    StoreError::Damaged { path: path.display().to_string(), offset, what: what.to_owned() }
}

fn create_segment(
    dir: &Path,
    ledger: LedgerId,
    log_id: [u8; 16],
    first: u64,
    link: Link,
) -> Result<(DiskFile, FileHeader), StoreError> {
    let header = FileHeader { kind: FileKind::Headers, ledger, log_id, number: first, link };
    Ok((files::create_whole(&segment_path(dir, first), &header.to_bytes())?, header))
}

/// Opens the offset column of a segment, or makes an empty one where there is none that is sound.
fn open_offsets(dir: &Path, segment: &FileHeader) -> Result<DiskFile, StoreError> {
    let header = FileHeader { kind: FileKind::Offsets, ..*segment };
    let path = offsets_path(dir, segment.number);
    if let Some(file) = DiskFile::open(&path, true)?
        && file.read_at(0, FILE_HEADER_BYTES)? == header.to_bytes()
    {
        return Ok(file);
    }
    files::create_whole(&path, &header.to_bytes())
}

fn offset_bytes(offsets: &[u32]) -> Vec<u8> {
    offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect()
}

/// Calls `visit` with offset and content of every record of a segment before byte `end`.
fn for_each_entry(
    segment: &Segment,
    end: u64,
    mut visit: impl FnMut(u32, Entry<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let bytes = segment.file.read_at(0, usize::try_from(end).unwrap_or(usize::MAX))?;
    let mut at = FILE_HEADER_BYTES;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let wrong = |what| damaged(segment.file.path(), at as u64, what);
        let frame = segment.framing.read(at as u64, rest, PAYLOAD_MAX_BYTES).map_err(wrong)?;
        let entry = Entry::parse(frame.kind, frame.payload).ok_or_else(|| wrong("a record of unknown kind"))?;
        visit(u32::try_from(at).unwrap_or(u32::MAX), entry)?;
        at = at.saturating_add(frame.len());
    }
    Ok(())
}

/// Makes the offset column of a segment anew from the segment's bytes before `end`.
fn rebuild_offsets(segment: &Segment, end: u64) -> Result<(), StoreError> {
    let mut offsets = Vec::new();
    for_each_entry(segment, end, |at, entry| {
        if matches!(entry, Entry::Transaction(_)) {
            offsets.push(at);
        }
        Ok(())
    })?;
    let column = offset_bytes(&offsets);
    segment.offsets.write_at(&column, FILE_HEADER_BYTES as u64)?;
    segment.offsets.truncate((FILE_HEADER_BYTES as u64).saturating_add(column.len() as u64))
}

fn read_record(segment: &Segment, position: u64) -> Result<Stored, StoreError> {
    let nth = position.saturating_sub(segment.first);
    let column_at = nth.saturating_mul(OFFSET_BYTES as u64).saturating_add(FILE_HEADER_BYTES as u64);
    let column = segment.offsets.read_at(column_at, OFFSET_BYTES)?;
    let offset = column.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let offset = offset.ok_or_else(|| damaged(segment.offsets.path(), column_at, "the offset column is too short"))?;
    let at = u64::from(offset);
    let wrong = |what: &str| damaged(segment.file.path(), at, &format!("position {position}: {what}"));
    let bytes = segment.file.read_at(at, PAYLOAD_MAX_BYTES + FRAME_BYTES)?;
    let frame = segment.framing.read(at, &bytes, PAYLOAD_MAX_BYTES).map_err(wrong)?;
    let Some(Entry::Transaction(entry)) = Entry::parse(frame.kind, frame.payload) else {
        return Err(wrong("there is no transaction here"));
    };
    if entry.position != position {
        return Err(damaged(segment.offsets.path(), column_at, "the offset leads to another record"));
    }
    let header = Header::from_bytes(entry.header).map_err(|error| wrong(&format!("id {}: {error}", entry.id)))?;
    let record = Record { id: entry.id, arrival: entry.arrival, depth: entry.depth, header };
    Ok(Stored { record, place: entry.place })
}
