//! The scan column: one entry of 64 bytes per record, so that a scan reads nothing else
//! (`docs/storage.md`, "Scan column").
//!
//! Invariant: it is written only after the records it tells of are durable, never holds more than the log, and can be
//! made anew from the log. On open the entries of what is checked of the last header segment are compared with the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use curve25519_dalek::edwards::CompressedEdwardsY;

use super::{
    derived,
    files::DiskFile,
    log::{LogView, damaged},
    notice::Notices,
    segment::{Entry, FILE_HEADER_BYTES, Fields, FileHeader, FileKind, Place, TransactionEntry, joined},
};
use crate::{
    ids::{LedgerId, Position},
    link::first_link,
    store::{ScanEntry, StoreError},
    transaction::{BODY_LENS, Core, Header, Kind},
};

/// Bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = 64;
/// Bytes of an entry before the author's u coordinate, and where that ends.
const AUTHOR: Range<usize> = 20..52;
/// Where an entry's check stands.
const CHECK: Range<usize> = 2..4;
/// Entries that are read in one go: 64 KiB, which stay in the processor's cache until they are parsed.
const READ_ENTRIES: usize = 1_024;

/// One entry: kind u8 | body class u8 | check 2 | hint 16 | author's u 32 | day u32 | body offset u64.
pub(crate) type EntryBytes = [u8; ENTRY_BYTES];

/// 0 without a body, else 1 + the body length's place among [`BODY_LENS`].
fn body_class(core: &Core, has_body: bool) -> u8 {
    let nth = BODY_LENS.iter().position(|len| *len == core.body_len()).unwrap_or_default();
    if has_body { u8::try_from(nth.saturating_add(1)).unwrap_or(u8::MAX) } else { 0 }
}

/// The entry that goes with the header at a position.
pub(crate) fn entry_bytes(position: u64, core: &Core, author_u: &[u8; 32], place: Option<Place>) -> EntryBytes {
    let (day, offset) = place.map_or((0, 0), |place| (place.day, place.offset));
    let mut bytes: EntryBytes = joined(&[
        &[core.kind().to_byte(), body_class(core, place.is_some()), 0, 0],
        core.hint(),
        author_u,
        &day.to_le_bytes(),
        &offset.to_le_bytes(),
    ]);
    let check = check(position, &bytes);
    bytes.iter_mut().skip(CHECK.start).zip(check).for_each(|(to, from)| *to = from);
    bytes
}

/// The check of an entry: two bytes that tell a changed or misplaced one but for one in 65,536. Every step is a
/// bijection of 64 bits, so that no single changed word is lost before the end. Made for speed: a scan reads millions.
fn check(position: u64, entry: &EntryBytes) -> [u8; 2] {
    let mut sum = position.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for (nth, word) in entry.as_chunks::<8>().0.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The check's own bytes count as zeros.
        let word = if nth == 0 { word & !0xffff_0000 } else { word };
        sum = (sum ^ word ^ (sum >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    let [.., a, b] = (sum ^ (sum >> 32)).to_be_bytes();
    [a, b]
}

/// The author's key as a Montgomery u coordinate; zeros when it is no point, which no valid signature allows.
pub(crate) fn author_u(core: &Core) -> [u8; 32] {
    CompressedEdwardsY(*core.author()).decompress().map(|point| point.to_montgomery().to_bytes()).unwrap_or_default()
}

/// Reads the entry of a position; `None` when it is not what was written there.
pub(crate) fn parse(position: u64, bytes: &[u8]) -> Option<(ScanEntry, Option<Place>)> {
    let entry: &EntryBytes = bytes.try_into().ok()?;
    let mut fields = Fields(bytes);
    let kind = Kind::from_byte(fields.u8()?)?;
    let class = fields.u8()?;
    if fields.take::<2>()? != check(position, entry) {
        return None;
    }
    let (hint, author_u) = (fields.take()?, fields.take()?);
    let place = Place { day: fields.u32()?, offset: fields.u64()? };
    Some((ScanEntry { kind, hint, author_u, has_body: class != 0 }, (class != 0).then_some(place)))
}

/// Entries that the column in `dir` holds, 0 when there is none: so many records were committed once.
pub(crate) fn claimed(path: &std::path::Path) -> Result<u64, StoreError> {
    let Some(file) = DiskFile::open(path, false)? else {
        return Ok(0);
    };
    Ok(file.len()?.saturating_sub(FILE_HEADER_BYTES as u64) / ENTRY_BYTES as u64)
}

/// Offset in the file of the entry of a position.
pub(crate) const fn entry_at(position: u64) -> u64 {
    position.saturating_mul(ENTRY_BYTES as u64).saturating_add(FILE_HEADER_BYTES as u64)
}

/// The scan column of a log.
pub(super) struct ScanColumn {
    file: Arc<DiskFile>,
    notices: Notices,
}

impl ScanColumn {
    /// Opens the column, or makes it anew where it is missing or unsound, and brings it up to the log. `progress` is told
    /// of every record whose entry is made: position reached, and length of the log. Entries are compared from a position
    /// on, whose record begins at or behind a byte of the last segment.
    pub(super) fn open(
        path: PathBuf,
        ledger: LedgerId,
        log_id: [u8; 16],
        log: &LogView,
        compare_from: (u64, u64),
        notices: &Notices,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, StoreError> {
        let link = first_link(ledger);
        let header = FileHeader { kind: FileKind::Scan, ledger, log_id, number: 0, link };
        let file = derived::open(&path, header, log.len > 0, notices)?;
        let column = Self { file: Arc::new(file), notices: notices.clone() };
        column.reconcile(log, compare_from, progress)?;
        Ok(column)
    }

    /// Compares the column with the log, from its own end or what is checked on, and rewrites what differs.
    fn reconcile(
        &self,
        log: &LogView,
        (compare_from, at): (u64, u64),
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), StoreError> {
        let written = self.file.len()?.saturating_sub(FILE_HEADER_BYTES as u64) / ENTRY_BYTES as u64;
        if written < log.last_first() {
            self.notices.missing(self.file.path());
        }
        let (mut page, mut late, mut wrong) = (Page::default(), BTreeMap::new(), BTreeSet::new());
        let compare: &mut dyn FnMut(Entry<'_>) -> Result<(), StoreError> = &mut |entry| {
            match entry {
                Entry::Transaction(transaction) => {
                    let position = transaction.position;
                    if page.reconcile(&self.file, &transaction)? && position < written {
                        wrong.insert(position);
                    }
                    if position >= written {
                        progress(position.saturating_add(1), log.len);
                    }
                }
                Entry::LateBody { position, place } => drop(late.insert(position, place)),
                Entry::Commit(_) => {}
            }
            Ok(())
        };
        match written >= compare_from {
            true => log.last_entries(at, compare)?,
            false => log.entries_from(written, compare)?,
        }
        page.write(&self.file)?;
        // Where a body came late, the entry was not that of the record as it came.
        wrong.retain(|position| !late.contains_key(position));
        self.notices.corrected(self.file.path(), wrong.len() as u64);
        for (position, place) in late {
            if let Some(stored) = log.read(Position::new(position))? {
                let core = stored.record.header.core();
                let entry = entry_bytes(position, core, &author_u(core), Some(place));
                self.file.write_at(&entry, entry_at(position))?;
            }
        }
        self.file.truncate(entry_at(log.len))
    }

    /// Reads written entries, at most `max` and none at `end` or behind it. An entry that is not what was written is
    /// made anew from the log.
    pub(super) fn read(&self, log: &LogView, from: u64, end: u64, max: usize) -> Result<Vec<ScanEntry>, StoreError> {
        let wanted = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX).min(max);
        let mut entries = Vec::with_capacity(wanted);
        while entries.len() < wanted {
            let first = from.saturating_add(entries.len() as u64);
            let some = wanted.saturating_sub(entries.len()).min(READ_ENTRIES);
            let bytes = self.file.read_at(entry_at(first), some.saturating_mul(ENTRY_BYTES))?;
            let (whole, _) = bytes.as_chunks::<ENTRY_BYTES>();
            for (position, bytes) in (first..).zip(whole) {
                match parse(position, bytes) {
                    Some((entry, _)) => entries.push(entry),
                    None => entries.push(self.mend(log, position)?.0),
                }
            }
            if whole.is_empty() {
                entries.push(self.mend(log, first)?.0);
            }
        }
        Ok(entries)
    }

    /// Where the body of a record whose entry is written is now, if it ever came.
    pub(super) fn place(&self, log: &LogView, position: u64) -> Result<Option<Place>, StoreError> {
        match parse(position, &self.file.read_at(entry_at(position), ENTRY_BYTES)?) {
            Some((_, place)) => Ok(place),
            None => Ok(self.mend(log, position)?.1),
        }
    }

    /// The entry of a position as it follows from the log, written again if the disk lets it.
    fn mend(&self, log: &LogView, position: u64) -> Result<(ScanEntry, Option<Place>), StoreError> {
        let missing =
            || damaged(self.file.path(), entry_at(position), "no entry can be here: the log has no such record");
        let stored = log.read(Position::new(position))?.ok_or_else(missing)?;
        let mut place = stored.place;
        log.entries_from(position, &mut |entry| {
            match entry {
                Entry::LateBody { position: of, place: late } if of == position => place = Some(late),
                _ => {}
            }
            Ok(())
        })?;
        let core = stored.record.header.core();
        let entry = entry_bytes(position, core, &author_u(core), place);
        self.notices.corrected(self.file.path(), 1);
        // Tried again when it is read again.
        drop(self.file.write_at(&entry, entry_at(position)));
        parse(position, &entry).ok_or_else(missing)
    }

    /// The file, for an fsync.
    pub(super) fn file(&self) -> &Arc<DiskFile> {
        &self.file
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.file.len().unwrap_or_default()
    }
}

/// A part of the column that is being compared with the log.
#[derive(Default)]
struct Page {
    first: u64,
    entries: Vec<EntryBytes>,
    /// Entries up to here have been compared.
    compared: usize,
    changed: bool,
}

impl Page {
    /// Compares the entry of the next record; whether it was another.
    fn reconcile(&mut self, file: &DiskFile, transaction: &TransactionEntry<'_>) -> Result<bool, StoreError> {
        let position = transaction.position;
        if self.compared == self.entries.len() || self.first.saturating_add(self.compared as u64) != position {
            self.write(file)?;
            let bytes = file.read_at(entry_at(position), READ_ENTRIES.saturating_mul(ENTRY_BYTES))?;
            let mut entries = bytes.as_chunks::<ENTRY_BYTES>().0.to_vec();
            entries.resize(READ_ENTRIES, [0; ENTRY_BYTES]);
            *self = Self { first: position, entries, compared: 0, changed: false };
        }
        let header = Header::from_bytes(transaction.header).map_err(|error| {
            damaged(file.path(), entry_at(position), &format!("position {position}, id {}: {error}", transaction.id))
        })?;
        let mut differs = false;
        if let Some(entry) = self.entries.get_mut(self.compared) {
            // The author's u costs a square root, so it is taken as it stands where all else is right.
            let stored = entry.get(AUTHOR).and_then(|u| u.try_into().ok()).filter(|u| u != &[0; 32]);
            let u = stored.unwrap_or_else(|| author_u(header.core()));
            differs = *entry != entry_bytes(position, header.core(), &u, transaction.place);
            if differs {
                *entry = entry_bytes(position, header.core(), &author_u(header.core()), transaction.place);
                self.changed = true;
            }
        }
        self.compared = self.compared.saturating_add(1);
        Ok(differs)
    }

    fn write(&self, file: &DiskFile) -> Result<(), StoreError> {
        match self.entries.get(..self.compared) {
            Some(compared) if self.changed => file.write_at(&compared.concat(), entry_at(self.first)),
            _ => Ok(()),
        }
    }
}
