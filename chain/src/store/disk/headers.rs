//! The log: header segments in position order, and the offsets of their records (`docs/storage.md`, "Headers").
//!
//! Invariants: every segment begins where the one before it ends; every segment but the last ends with a commit
//! marker; only bytes behind the last valid commit marker of the last segment may ever be cut, and only when nothing
//! shows that they were committed once.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    bodies::BodyDir,
    derived,
    files::{self, DiskFile},
    log::{LogView, OFFSET_BYTES, Segment, column_at, damaged, for_each_entry, offset_bytes, rebuild_offsets},
    mark,
    notice::{Notice, Notices},
    pieces::Pieces,
    recent::{Group, Staged},
    recover::{Reached, Scanned, scan},
    segment::{
        COMMIT_RECORD_BYTES, Entry, FILE_HEADER_BYTES, FileHeader, FileKind, KIND_TRANSACTION, PAYLOAD_MAX_BYTES,
        Place, TransactionEntry,
    },
};
use crate::{
    ids::{LedgerId, Link},
    link::first_link,
    store::{CommitPoint, Record, StoreError},
    transaction::Header,
};

/// Room for a record of a transaction with three parents.
const RECORD_BYTES: usize = 384;

/// All header segments.
pub(super) struct Headers {
    dir: PathBuf,
    ledger: LedgerId,
    log_id: [u8; 16],
    view: LogView,
    /// A segment that has reached this size is followed by a new one.
    segment_bytes: u64,
    link: Link,
    last_commit: Option<CommitPoint>,
    /// From which position, and which byte of the last segment, on the log was checked when it was opened.
    checked_from: (u64, u64),
    notices: Notices,
}

/// What a flush is to commit, not yet in the form in which it is written.
pub(super) struct LogWork {
    dir: PathBuf,
    ledger: LedgerId,
    log_id: [u8; 16],
    segment_bytes: u64,
    /// The log before.
    view: LogView,
    link: Link,
    groups: Vec<Group>,
    late: Vec<(u64, Place)>,
    notices: Notices,
    pub(super) point: CommitPoint,
}

/// A batch ready to be written: bytes and where they go.
pub(super) struct HeaderWrite {
    file: Arc<DiskFile>,
    at: u64,
    bytes: Vec<u8>,
    /// The offsets, which can be made anew and which show that the batch was committed.
    pub(super) offsets: ColumnWrite,
    /// The log once this is durable.
    pub(super) after: LogView,
}

/// Bytes for a column that follows from the log.
#[derive(Clone)]
pub(super) struct ColumnWrite {
    pub(super) file: Arc<DiskFile>,
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
}

impl ColumnWrite {
    /// Writes the bytes, without fsync: what a power cut takes is made anew.
    pub(super) fn write(&self) -> Result<(), StoreError> {
        self.file.write_at(&self.bytes, self.at)
    }
}

impl HeaderWrite {
    /// Writes the records with their commit marker in one go, and makes them durable. What an earlier attempt left
    /// behind the last commit is cut first: a failed fsync may have kept any of it, or none.
    pub(super) fn commit(&self) -> Result<(), StoreError> {
        if self.file.len()? > self.at {
            self.file.truncate(self.at)?;
        }
        self.file.write_at(&self.bytes, self.at)?;
        self.file.sync()
    }

    /// Takes the records out of the file again, since their bodies could not be made durable: a process that dies before
    /// they can leaves none that a start would take for committed. Where that fails too, the start looks at the bodies.
    pub(super) fn take_back(&self) {
        drop(self.file.truncate(self.at));
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
        notices: &Notices,
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
            view: LogView { segments: Arc::default(), len: 0, end: 0 },
            segment_bytes,
            link: first_link(ledger),
            last_commit: None,
            checked_from: (0, FILE_HEADER_BYTES as u64),
            notices: notices.clone(),
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
        if self.view.segments.is_empty() {
            self.log_id = header.log_id;
        }
        if header.log_id != self.log_id || header.number != first {
            return Err(damaged(0, "the file belongs elsewhere: its log or its position is not the one of its place"));
        }
        if first != self.view.len || header.link != self.link {
            return Err(damaged(0, "the segment does not follow the one before it; one is missing or was changed"));
        }
        let expected = file.len()? > FILE_HEADER_BYTES as u64;
        let offsets = Arc::new(open_offsets(&self.dir, &header, expected, &self.notices)?);
        let (framing, notices) = (header.framing(), self.notices.clone());
        let segment = Segment { first, file: Arc::new(file), offsets, framing, notices };
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
        (self.link, self.last_commit) = (point.link, Some(point));
        let (written, records) = (offsets_claimed(segment.offsets.len()?), next.saturating_sub(segment.first));
        if written != records {
            rebuild_offsets(&segment, end)?;
            match written.checked_sub(records) {
                Some(more) => self.notices.corrected(segment.offsets.path(), more),
                None => self.notices.missing(segment.offsets.path()),
            }
        }
        self.add(segment, point.count, end);
        Ok(())
    }

    fn add(&mut self, segment: Segment, len: u64, end: u64) {
        Arc::make_mut(&mut self.view.segments).push(segment);
        (self.view.len, self.view.end) = (len, end);
    }

    /// Reads the last segment from the mark on, and cuts what is behind its last commit marker.
    fn scan_last(&mut self, segment: Segment, claimed: u64) -> Result<(), StoreError> {
        let path = segment.file.path();
        let len = segment.file.len()?;
        let marked = mark::reached(&self.dir, self.ledger, self.log_id, &segment, claimed);
        let from = marked.unwrap_or(Reached::start(self.link));
        let scanned = scan(&segment.framing, &mut Pieces::new(&segment.file, len), segment.first, from)?
            .map_err(|(offset, what)| damaged(path, offset, &what))?;
        let claimed = claimed.max(segment.first.saturating_add(offsets_claimed(segment.offsets.len()?)));
        let scanned = self.with_bodies(&segment, scanned, claimed)?;
        let count = segment.first.saturating_add(scanned.records() as u64);
        if claimed > count {
            let what = format!("{claimed} records were committed once, but only {count} can be read");
            return Err(damaged(path, scanned.end, &what));
        }
        if scanned.end < len {
            segment.file.truncate(scanned.end)?;
            let (path, offset, bytes) = (path.display().to_string(), scanned.end, len.saturating_sub(scanned.end));
            self.notices.add(match scanned.torn {
                true => Notice::TornCommit { path, offset, bytes },
                false => Notice::Unfinished { path, offset, bytes },
            });
        }
        // A commit that a dying process wrote and did not make durable counts from now on, so now it must be.
        segment.file.sync()?;
        let column = offset_bytes(&scanned.offsets);
        let checked_from = segment.first.saturating_add(scanned.before_them as u64);
        let column_at = column_at(&segment, checked_from);
        let written = segment.offsets.read_from(column_at)?;
        if written != column {
            segment.offsets.write_at(&column, column_at)?;
            let pairs = written.as_chunks::<OFFSET_BYTES>().0.iter().zip(column.as_chunks::<OFFSET_BYTES>().0);
            let wrong = pairs.filter(|(written, right)| written != right).count();
            self.notices.corrected(segment.offsets.path(), wrong as u64);
        }
        self.checked_from = (checked_from, from.end);
        self.link = scanned.link;
        self.last_commit = scanned.commit.or(self.last_commit);
        self.add(segment, count, scanned.end);
        Ok(())
    }

    /// What was scanned, without the last commit if its bodies did not all become durable. Only where nothing tells that it
    /// was acknowledged; else what is wrong with a body is damage of that body.
    fn with_bodies(&self, segment: &Segment, scanned: Scanned, claimed: u64) -> Result<Scanned, StoreError> {
        let acknowledged = |before: &Reached| claimed > segment.first.saturating_add(before.records as u64);
        let Some(before) = scanned.before.filter(|before| !acknowledged(before)) else {
            return Ok(scanned);
        };
        let dir = BodyDir::new(self.dir.with_file_name("bodies"), self.ledger, self.log_id);
        let (mut parts, mut whole) = (BTreeSet::new(), true);
        for_each_entry(segment, before.end, scanned.end, &mut |at, entry| {
            let (place, len) = match &entry {
                Entry::Transaction(TransactionEntry { place: Some(place), header, .. }) => {
                    let header = Header::from_bytes(header);
                    let header = header.map_err(|error| damaged(segment.file.path(), at, &error.to_string()))?;
                    (*place, Some(header.core().body_len()))
                }
                Entry::LateBody { place, .. } => (*place, None),
                _ => return Ok(true),
            };
            parts.insert(place.part());
            whole = !dir.is_unfinished(place, len)?;
            Ok(whole)
        })?;
        if !whole {
            return Ok(scanned.before_the_last());
        }
        // It counts from now on, so now its bodies must be durable.
        parts.into_iter().try_for_each(|part| dir.sync_part(part))?;
        Ok(scanned)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
    pub(super) fn ledger(&self) -> LedgerId {
        self.ledger
    }
    pub(super) fn log_id(&self) -> [u8; 16] {
        self.log_id
    }
    /// From which position, and which byte of the last segment, on the log was checked when it was opened.
    pub(super) fn checked_from(&self) -> (u64, u64) {
        self.checked_from
    }
    /// Durable records.
    pub(super) fn len(&self) -> u64 {
        self.view.len
    }
    pub(super) fn last_commit(&self) -> Option<CommitPoint> {
        self.last_commit
    }
    /// The durable part of the log, for reading.
    pub(super) fn view(&self) -> &LogView {
        &self.view
    }
    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        files::bytes_under(&self.dir)
    }

    /// What is to be committed: groups of records that follow the durable ones, and bodies that came late.
    pub(super) fn work(&self, groups: Vec<Group>, late: Vec<(u64, Place)>, point: CommitPoint) -> LogWork {
        let (dir, view) = (self.dir.clone(), self.view.clone());
        let (ledger, log_id, link, segment_bytes) = (self.ledger, self.log_id, self.link, self.segment_bytes);
        let notices = self.notices.clone();
        LogWork { dir, ledger, log_id, segment_bytes, view, link, groups, late, notices, point }
    }

    /// Takes note of a write that is durable.
    pub(super) fn committed(&mut self, after: LogView, point: CommitPoint) {
        self.view = after;
        self.link = point.link;
        self.last_commit = Some(point);
    }
}

impl LogWork {
    /// Prepares records, bodies that came late, and their commit marker for writing. Starts a new segment when the last
    /// one is full; should the commit fail, the next attempt starts it again.
    pub(super) fn prepare(&self) -> Result<HeaderWrite, StoreError> {
        let mut view = self.view.clone();
        if view.end >= self.segment_bytes {
            let (file, header) = create_segment(&self.dir, self.ledger, self.log_id, view.len, self.link)?;
            let offsets = Arc::new(open_offsets(&self.dir, &header, false, &self.notices)?);
            let (framing, notices) = (header.framing(), self.notices.clone());
            let segment = Segment { first: view.len, file: Arc::new(file), offsets, framing, notices };
            Arc::make_mut(&mut view.segments).push(segment);
            view.end = FILE_HEADER_BYTES as u64;
        }
        let missing = || damaged(&self.dir, 0, "there is no header segment");
        let segment = view.segments.last().ok_or_else(missing)?;
        let records = || self.groups.iter().flat_map(|group| group.records.iter());
        let mut bytes = Vec::with_capacity(records().count().saturating_mul(RECORD_BYTES));
        let (mut offsets, mut header) = (Vec::new(), Vec::new());
        let at = |bytes: &Vec<u8>| view.end.saturating_add(bytes.len() as u64);
        for (position, Staged { record, place, .. }) in (view.len..).zip(records()) {
            header.clear();
            record.header.write_to(&mut header);
            let Record { id, arrival, depth, .. } = *record;
            let entry = TransactionEntry { position, id, arrival, depth, place: *place, header: &header };
            let at = at(&bytes);
            offsets.extend_from_slice(&u32::try_from(at).unwrap_or(u32::MAX).to_le_bytes());
            segment.framing.frame_into(&mut bytes, at, KIND_TRANSACTION, &[&entry.fixed(), &header]);
        }
        let late = self.late.iter().map(|(position, place)| Entry::LateBody { position: *position, place: *place });
        for entry in late.chain([Entry::Commit(self.point)]) {
            let ((kind, payload), at) = (entry.to_payload(), at(&bytes));
            segment.framing.frame_into(&mut bytes, at, kind, &[&payload]);
        }
        let before = view.len.saturating_sub(segment.first).saturating_mul(OFFSET_BYTES as u64);
        let offsets = ColumnWrite {
            file: Arc::clone(&segment.offsets),
            at: before.saturating_add(FILE_HEADER_BYTES as u64),
            bytes: offsets,
        };
        let (file, start) = (Arc::clone(&segment.file), view.end);
        view.end = at(&bytes);
        view.len = self.point.count;
        Ok(HeaderWrite { file, at: start, bytes, offsets, after: view })
    }
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
fn open_offsets(dir: &Path, segment: &FileHeader, expected: bool, notices: &Notices) -> Result<DiskFile, StoreError> {
    let header = FileHeader { kind: FileKind::Offsets, ..*segment };
    derived::open(&offsets_path(dir, segment.number), header, expected, notices)
}
