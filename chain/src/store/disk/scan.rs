//! The scan column: one entry of 64 bytes per record, so that a scan reads nothing else
//! (`docs/storage.md`, "Scan column").
//!
//! Invariant: it is written only after the records it tells of are durable, never holds more than the log, and can be
//! made anew from the log. On open the entries of the last header segment are compared with the log.

use std::{path::PathBuf, sync::Arc};

use curve25519_dalek::edwards::CompressedEdwardsY;

use super::{
    files::{self, DiskFile},
    headers::Headers,
    segment::{Entry, FILE_HEADER_BYTES, Fields, FileHeader, FileKind, Place, TransactionEntry},
};
use crate::{
    ids::LedgerId,
    link::first_link,
    store::{ScanEntry, StoreError},
    transaction::{BODY_LENS, Core, Header, Kind},
};

/// Bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = 64;
/// Bytes of an entry before the author's u coordinate, and where that ends.
const AUTHOR: std::ops::Range<usize> = 20..52;
/// Entries that are read in one go.
const READ_ENTRIES: usize = 16_384;

/// One entry: kind u8 | body class u8 | two zero bytes | hint 16 | author's u 32 | day u32 | body offset u64.
pub(crate) type EntryBytes = [u8; ENTRY_BYTES];

/// 0 without a body, else 1 + the body length's place among [`BODY_LENS`].
fn body_class(core: &Core, has_body: bool) -> u8 {
    let nth = BODY_LENS.iter().position(|len| *len == core.body_len()).unwrap_or_default();
    if has_body { u8::try_from(nth.saturating_add(1)).unwrap_or(u8::MAX) } else { 0 }
}

/// The entry that goes with a header.
pub(crate) fn entry_bytes(core: &Core, author_u: &[u8; 32], place: Option<Place>) -> EntryBytes {
    let (day, offset) = place.map_or((0, 0), |place| (place.day, place.offset));
    let parts: [&[u8]; 5] = [
        &[core.kind().to_byte(), body_class(core, place.is_some()), 0, 0],
        core.hint(),
        author_u,
        &day.to_le_bytes(),
        &offset.to_le_bytes(),
    ];
    let mut bytes = [0; ENTRY_BYTES];
    bytes.iter_mut().zip(parts.concat()).for_each(|(to, from)| *to = from);
    bytes
}

/// The author's key as a Montgomery u coordinate; zeros when it is no point, which no valid signature allows.
pub(crate) fn author_u(core: &Core) -> [u8; 32] {
    CompressedEdwardsY(*core.author()).decompress().map(|point| point.to_montgomery().to_bytes()).unwrap_or_default()
}

/// Reads an entry.
pub(crate) fn parse(bytes: &[u8]) -> Option<(ScanEntry, Option<Place>)> {
    let mut fields = Fields(bytes);
    let kind = Kind::from_byte(fields.u8()?)?;
    let class = fields.u8()?;
    fields.take::<2>()?;
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
}

/// Entries ready to be written.
pub(super) struct ScanWrite {
    file: Arc<DiskFile>,
    at: u64,
    bytes: Vec<u8>,
}

impl ScanWrite {
    /// Writes the entries, which can be made anew.
    pub(super) fn write(&self) -> Result<(), StoreError> {
        self.file.write_at(&self.bytes, self.at)
    }
}

impl ScanColumn {
    /// Opens the column, or makes it anew where it is missing or unsound, and brings it up to the log.
    pub(super) fn open(path: PathBuf, ledger: LedgerId, headers: &Headers) -> Result<Self, StoreError> {
        let link = first_link(ledger);
        let header = FileHeader { kind: FileKind::Scan, ledger, log_id: headers.log_id(), number: 0, link };
        let file = match DiskFile::open(&path, true)? {
            Some(file) if file.read_at(0, FILE_HEADER_BYTES)? == header.to_bytes() => file,
            _ => files::create_whole(&path, &header.to_bytes())?,
        };
        let column = Self { file: Arc::new(file) };
        column.reconcile(headers)?;
        Ok(column)
    }

    /// Compares the column with the log, from its own end or the last segment on, and rewrites what differs.
    fn reconcile(&self, headers: &Headers) -> Result<(), StoreError> {
        let from = claimed(self.file.path())?.min(headers.last_first());
        headers.entries_from(from, &mut |entry| match entry {
            Entry::Transaction(transaction) => self.reconcile_entry(&transaction),
            Entry::LateBody { position, place } => self.set_place(headers, position, place),
            Entry::Commit(_) => Ok(()),
        })?;
        self.file.truncate(entry_at(headers.len()))
    }

    fn reconcile_entry(&self, transaction: &TransactionEntry<'_>) -> Result<(), StoreError> {
        let header = Header::from_bytes(transaction.header).map_err(|error| StoreError::Damaged {
            path: self.file.path().display().to_string(),
            offset: entry_at(transaction.position),
            what: format!("position {}, id {}: {error}", transaction.position, transaction.id),
        })?;
        let at = entry_at(transaction.position);
        let found = self.file.read_at(at, ENTRY_BYTES)?;
        // The author's u costs a square root, so it is taken as it stands where all else is right.
        let stored = found.get(AUTHOR).and_then(|u| u.try_into().ok()).filter(|u| u != &[0; 32]);
        let expected = entry_bytes(header.core(), &stored.unwrap_or_default(), transaction.place);
        if stored.is_some() && found == expected {
            return Ok(());
        }
        self.file.write_at(&entry_bytes(header.core(), &author_u(header.core()), transaction.place), at)
    }

    fn set_place(&self, headers: &Headers, position: u64, place: Place) -> Result<(), StoreError> {
        let Some(stored) = headers.read(crate::Position::new(position))? else {
            return Ok(());
        };
        let core = stored.record.header.core();
        self.file.write_at(&entry_bytes(core, &author_u(core), Some(place)), entry_at(position))
    }

    /// Prepares entries for the positions from `from` on.
    pub(super) fn prepare<'a>(&self, from: u64, entries: impl Iterator<Item = &'a EntryBytes>) -> ScanWrite {
        let bytes = entries.flat_map(|entry| entry.iter().copied()).collect();
        ScanWrite { file: Arc::clone(&self.file), at: entry_at(from), bytes }
    }

    /// Reads durable entries, at most `max` and none at `end` or behind it.
    pub(super) fn read(&self, from: u64, end: u64, max: usize) -> Result<Vec<ScanEntry>, StoreError> {
        let wanted = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX).min(max);
        let mut entries = Vec::with_capacity(wanted);
        while entries.len() < wanted {
            let at = entry_at(from.saturating_add(entries.len() as u64));
            let some = wanted.saturating_sub(entries.len()).min(READ_ENTRIES);
            let bytes = self.file.read_at(at, some.saturating_mul(ENTRY_BYTES))?;
            let (whole, _) = bytes.as_chunks::<ENTRY_BYTES>();
            let parsed: Option<Vec<ScanEntry>> = whole.iter().map(|bytes| Some(parse(bytes)?.0)).collect();
            match parsed.filter(|parsed| !parsed.is_empty()) {
                Some(parsed) => entries.extend(parsed),
                None => return Err(self.damaged(at)),
            }
        }
        Ok(entries)
    }

    /// Where the body of a durable record is that had none when the record was written.
    pub(super) fn late_place(&self, position: u64) -> Result<Option<Place>, StoreError> {
        let at = entry_at(position);
        parse(&self.file.read_at(at, ENTRY_BYTES)?).map(|(_, place)| place).ok_or_else(|| self.damaged(at))
    }

    fn damaged(&self, at: u64) -> StoreError {
        StoreError::Damaged {
            path: self.file.path().display().to_string(),
            offset: at,
            what: "no entry of the scan column is here; it can be made anew: stop the node, move the file away, start"
                .to_owned(),
        }
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.file.len().unwrap_or_default()
    }
}
