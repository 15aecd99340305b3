//! The files of a ledger as an audit finds them: their heads, and how many records the columns tell of.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{AuditError, Finding, Problem, walk::last_commit};
use crate::{
    ids::LedgerId,
    link::first_link,
    store::{
        StoreError,
        disk::{
            bodies::{BodyDir, Line, Part},
            files::{self, DiskFile},
            headers::{offsets_claimed, offsets_path, segment_firsts, segment_path},
            scan::{self, ENTRY_BYTES, EntryBytes, entry_at},
            segment::{
                COMMIT_RECORD_BYTES, Entry, FILE_HEADER_BYTES, FileHeader, FileKind, Framing, HeaderFault,
                PAYLOAD_MAX_BYTES, TransactionEntry, is_earlier_scan,
            },
        },
    },
    transaction::Header,
};

/// A header segment, before it is read.
pub(super) struct SegmentFile {
    pub(super) first: u64,
    pub(super) name: String,
    /// `None` when it is not what was written.
    pub(super) head: Option<FileHeader>,
    /// The offset column without its head.
    pub(super) offsets: Vec<u8>,
}

/// The bytes of a segment up to where its commits end.
pub(super) struct Loaded {
    pub(super) bytes: Vec<u8>,
    /// How to read the records; `None` when no file's head tells whose they are.
    pub(super) framing: Option<Framing>,
    /// Records that the log holds where the segment ends, as far as others tell.
    pub(super) until: Option<u64>,
    /// Bytes behind the last commit.
    pub(super) tail: u64,
}

/// All that an audit reads, taken before the log itself is, so that the columns never tell of more than the log has.
pub(super) struct Files {
    pub(super) dir: PathBuf,
    pub(super) log_id: Option<[u8; 16]>,
    pub(super) segments: Vec<SegmentFile>,
    /// Records that were committed, by what the columns tell.
    pub(super) claimed: u64,
    pub(super) scan: Option<DiskFile>,
    /// Whole entries of the scan column.
    pub(super) scan_entries: u64,
    /// Parts of bodies whose file has a head that is not what was written.
    pub(super) bad_parts: BTreeSet<Part>,
    pub(super) findings: Vec<Finding>,
}

pub(super) fn finding(file: &str, offset: u64, problem: Problem) -> Finding {
    Finding { file: file.to_owned(), offset, position: None, id: None, problem }
}

/// Collects heads; what is wrong with them is judged once the log's id is known.
struct Heads {
    ledger: LedgerId,
    read: BTreeMap<String, (u64, Result<FileHeader, String>)>,
}

impl Heads {
    fn read(&mut self, name: &str, file: &DiskFile, kind: FileKind, number: u64) -> Result<(), StoreError> {
        let head = match FileHeader::parse(kind, self.ledger, &file.read_at(0, FILE_HEADER_BYTES)?) {
            Ok(head) => Ok(head),
            Err(HeaderFault::Damaged(what)) => Err(what),
            Err(foreign) => return Err(foreign.into_error(file.path())),
        };
        self.read.insert(name.to_owned(), (number, head));
        Ok(())
    }

    /// The log's id: the one that most heads have.
    fn log_id(&self) -> Option<[u8; 16]> {
        let mut votes: BTreeMap<[u8; 16], u32> = BTreeMap::new();
        for head in self.read.values().filter_map(|(_, head)| head.as_ref().ok()) {
            let votes = votes.entry(head.log_id).or_default();
            *votes = votes.saturating_add(1);
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(log_id, _)| log_id)
    }

    /// The head of a file, if it is the right one for its place.
    fn sound(&self, name: &str, log_id: Option<[u8; 16]>) -> Result<FileHeader, String> {
        match self.read.get(name) {
            Some((number, Ok(head))) if Some(head.log_id) == log_id && head.number == *number => Ok(*head),
            Some((_, Ok(_))) => Err("it belongs to another log or another place".to_owned()),
            Some((_, Err(what))) => Err(what.clone()),
            None => Err("it is gone".to_owned()),
        }
    }
}

impl Files {
    /// Takes stock of a ledger's directory.
    pub(super) fn collect(dir: PathBuf, ledger: LedgerId) -> Result<Self, AuditError> {
        let headers_dir = dir.join("headers");
        let firsts = segment_firsts(&headers_dir)?;
        if firsts.is_empty() {
            return Err(AuditError::NoLedger { path: dir.display().to_string() });
        }
        let mut heads = Heads { ledger, read: BTreeMap::new() };
        let scan_path = dir.join("scan.col");
        let mut claimed = scan::claimed(&scan_path)?;
        let (mut scan, mut scan_entries) = (DiskFile::open(&scan_path, false)?, claimed);
        if let Some(file) = &scan {
            // It has no checks to be compared by.
            if is_earlier_scan(&file.read_at(0, FILE_HEADER_BYTES)?) {
                (scan, scan_entries) = (None, 0);
            } else {
                heads.read("scan.col", file, FileKind::Scan, 0)?;
            }
        }
        let mut segments = Vec::new();
        for first in firsts {
            let (segment, shown) = read_segment_head(&headers_dir, first, &mut heads)?;
            claimed = claimed.max(shown);
            segments.push(segment);
        }
        let parts = read_body_heads(&dir.join("bodies"), &mut heads)?;
        let log_id = heads.log_id();
        for segment in &mut segments {
            segment.head = heads.sound(&segment.name, log_id).ok();
        }
        let bad = |part: &Part| heads.sound(&format!("bodies/{}", part.file_name()), log_id).is_err();
        let bad_parts = parts.into_iter().filter(bad).collect();
        let wrong = |name: &String| heads.sound(name, log_id).err().map(|what| (name.clone(), what));
        let wrong: Vec<(String, String)> = heads.read.keys().filter_map(wrong).collect();
        let findings = wrong.into_iter().map(|(name, what)| finding(&name, 0, Problem::FileHeader(what))).collect();
        Ok(Self { dir, log_id, segments, claimed, scan, scan_entries, bad_parts, findings })
    }

    /// Reads a segment up to where its commits end; `next` is the first position of the segment behind it.
    pub(super) fn load(
        &self,
        ledger: LedgerId,
        segment: &SegmentFile,
        next: Option<u64>,
    ) -> Result<Loaded, StoreError> {
        let path = segment_path(&self.dir.join("headers"), segment.first);
        let mut bytes = match DiskFile::open(&path, false)? {
            Some(file) => file.read_from(0)?,
            None => Vec::new(),
        };
        let Some(framing) = self.framing(ledger, segment, &bytes) else {
            return Ok(Loaded { bytes, framing: None, until: next, tail: 0 });
        };
        let (mut end, mut until) = (bytes.len(), next);
        if next.is_none() {
            let (commit_end, committed) = last_commit(&framing, &bytes)
                .map_or((FILE_HEADER_BYTES.min(end), segment.first), |(end, point)| (end, point.count));
            // The columns are written behind the fsync of a commit: what they tell of was committed once.
            if self.claimed > committed {
                until = Some(self.claimed);
            } else {
                let (commit_end, committed) =
                    self.without_unfinished(ledger, segment.first, &framing, &bytes, (commit_end, committed))?;
                (end, until) = (commit_end, Some(committed));
            }
        }
        let tail = bytes.len().saturating_sub(end) as u64;
        bytes.truncate(end);
        Ok(Loaded { bytes, framing: Some(framing), until, tail })
    }

    /// Where the commits end whose bodies are durable: a power cut, or a flush that is under way, can have all of the last
    /// one but bodies.
    fn without_unfinished(
        &self,
        ledger: LedgerId,
        first: u64,
        framing: &Framing,
        bytes: &[u8],
        (end, count): (usize, u64),
    ) -> Result<(usize, u64), StoreError> {
        let last = end.saturating_sub(COMMIT_RECORD_BYTES);
        let (before, committed) = last_commit(framing, bytes.get(..last).unwrap_or_default())
            .map_or((FILE_HEADER_BYTES.min(end), first), |(end, point)| (end, point.count));
        // What the columns tell of was acknowledged.
        if self.claimed > committed {
            return Ok((end, count));
        }
        let bodies = BodyDir::new(self.dir.join("bodies"), ledger, self.log_id.unwrap_or_default());
        let mut at = before;
        while let Some(rest) = bytes.get(at..end).filter(|rest| !rest.is_empty()) {
            let Ok(frame) = framing.read(at as u64, rest, PAYLOAD_MAX_BYTES) else {
                break;
            };
            let named = match Entry::parse(frame.kind, frame.payload) {
                Some(Entry::Transaction(TransactionEntry { place: Some(place), header, .. })) => {
                    Header::from_bytes(header).ok().map(|header| (place, Some(header.core().body_len())))
                }
                Some(Entry::LateBody { place, .. }) => Some((place, None)),
                _ => None,
            };
            if let Some((place, len)) = named
                && bodies.is_unfinished(place, len)?
            {
                return Ok((before, committed));
            }
            at = at.saturating_add(frame.len());
        }
        Ok((end, count))
    }

    /// What the scan column had for a position when the audit began.
    pub(super) fn scan_entry(&self, position: u64) -> Result<Option<EntryBytes>, StoreError> {
        match &self.scan {
            Some(file) if position < self.scan_entries => {
                Ok(file.read_at(entry_at(position), ENTRY_BYTES)?.first_chunk().copied())
            }
            _ => Ok(None),
        }
    }

    /// How a segment's records are read. Where its head does not tell its format, its commits do.
    fn framing(&self, ledger: LedgerId, segment: &SegmentFile, bytes: &[u8]) -> Option<Framing> {
        let (log_id, number, link) = (self.log_id?, segment.first, first_link(ledger));
        if let Some(head) = segment.head {
            return Some(head.framing());
        }
        let of = |kind| FileHeader { kind, ledger, log_id, number, link }.framing();
        let earlier = Some(of(FileKind::EarlierHeaders)).filter(|earlier| last_commit(earlier, bytes).is_some());
        Some(earlier.unwrap_or_else(|| of(FileKind::Headers)))
    }
}

fn read_segment_head(dir: &Path, first: u64, heads: &mut Heads) -> Result<(SegmentFile, u64), StoreError> {
    let name = format!("headers/{first:016x}.seg");
    let mut segment = SegmentFile { first, name, head: None, offsets: Vec::new() };
    let mut claimed = 0;
    if let Some(file) = DiskFile::open(&offsets_path(dir, first), false)? {
        heads.read(&format!("headers/{first:016x}.off"), &file, FileKind::Offsets, first)?;
        claimed = first.saturating_add(offsets_claimed(file.len()?));
        segment.offsets = file.read_from(FILE_HEADER_BYTES as u64)?;
    }
    if let Some(file) = DiskFile::open(&segment_path(dir, first), false)? {
        heads.read(&segment.name, &file, FileKind::Headers, first)?;
    }
    Ok((segment, claimed))
}

/// Parts of bodies that have a file.
fn read_body_heads(dir: &Path, heads: &mut Heads) -> Result<Vec<Part>, StoreError> {
    let mut parts = Vec::new();
    for name in files::names(dir)? {
        let Some(part) = Part::from_file_name(&name) else {
            continue;
        };
        // A running node may just have dropped it.
        if let Some(file) = DiskFile::open(&dir.join(&name), false)? {
            heads.read(&format!("bodies/{name}"), &file, FileKind::Bodies, part.number())?;
            parts.push(part);
        }
    }
    if let Some(file) = DiskFile::open(&dir.join("dropped"), false)? {
        // Its number is what it says, not where it stands.
        let head = FileHeader::parse(FileKind::Dropped, heads.ledger, &file.read_at(0, FILE_HEADER_BYTES)?);
        let number = head.as_ref().map_or(0, |head| head.number);
        heads.read("bodies/dropped", &file, FileKind::Dropped, number)?;
        let rest = file.read_from(FILE_HEADER_BYTES as u64)?;
        if let Some(what) = head.ok().and_then(|head| Line::parse(&head, &rest).err()) {
            heads.read.insert("bodies/dropped".to_owned(), (number, Err(what.to_owned())));
        }
    }
    Ok(parts)
}
