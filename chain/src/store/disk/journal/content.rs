//! The records of a journal, and where in its file each value stands.
//!
//! A record's payload is `number u64 | changes`, the number counting the file's records from 0; a change is
//! `key len u32 | key | value len u32 | value`, the length 2^32 - 1 without a value for a key that goes.

use std::collections::BTreeMap;

use super::super::{
    files::DiskFile,
    pieces::Pieces,
    segment::{FILE_HEADER_BYTES, FRAME_BYTES, Fields, Framing},
};
use crate::store::StoreError;

/// Most bytes of changes in one commit: 16 MiB.
pub const COMMIT_MAX_BYTES: usize = 16 * 1024 * 1024;
/// The one kind of record.
const KIND_CHANGES: u8 = 1;
/// Bytes of a record before its payload: len and kind.
const FRONT_BYTES: usize = 5;
/// Bytes of the number.
const NUMBER_BYTES: usize = 8;
const PAYLOAD_MAX_BYTES: usize = COMMIT_MAX_BYTES + NUMBER_BYTES;
/// Bytes of a change beside key and value.
const CHANGE_BYTES: u64 = 8;
/// In place of the length of a value: the key goes.
const GONE: u32 = u32::MAX;

/// Changes that become durable together or not at all, in order; of several to one key the last counts.
#[derive(Clone, Debug, Default)]
pub struct Changes(Vec<u8>);

impl Changes {
    /// Gives a key a value.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) {
        self.length_and(key);
        self.length_and(value);
    }

    /// Lets a key go.
    pub fn remove(&mut self, key: &[u8]) {
        self.length_and(key);
        self.0.extend_from_slice(&GONE.to_le_bytes());
    }

    /// What is too long for its length is far too long for a commit.
    fn length_and(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(GONE).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes in a record.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Where a value stands, and a check that holds for as long as the file is open.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) len: usize,
    check: [u8; 8],
}

impl Place {
    /// Whether bytes that were read there are the value.
    pub(super) fn is_of(&self, framing: &Framing, value: &[u8]) -> bool {
        value.len() == self.len && framing.check(self.offset, value) == self.check
    }
}

/// What the records of a file come to.
pub(super) struct Content {
    live: BTreeMap<Vec<u8>, Place>,
    live_bytes: u64,
    /// Number of the next record.
    next: u64,
    /// Where the last record ends.
    end: u64,
}

impl Content {
    pub(super) fn new() -> Self {
        Self { live: BTreeMap::new(), live_bytes: 0, next: 0, end: FILE_HEADER_BYTES as u64 }
    }

    pub(super) fn live(&self) -> &BTreeMap<Vec<u8>, Place> {
        &self.live
    }
    pub(super) fn end(&self) -> u64 {
        self.end
    }
    /// Bytes that a file with what lives would not have.
    pub(super) fn dead_bytes(&self) -> u64 {
        self.end.saturating_sub(self.live_bytes)
    }

    /// The next record.
    pub(super) fn record(&self, framing: &Framing, changes: &Changes) -> Vec<u8> {
        let mut record = Vec::with_capacity(changes.len().saturating_add(NUMBER_BYTES + FRAME_BYTES));
        framing.frame_into(&mut record, self.end, KIND_CHANGES, &[&self.next.to_le_bytes(), &changes.0]);
        record
    }

    /// Takes the record that `bytes` begin with, and that stands behind the last one.
    pub(super) fn take(&mut self, framing: &Framing, bytes: &[u8]) -> Result<(), &'static str> {
        let frame = framing.read(self.end, bytes, PAYLOAD_MAX_BYTES)?;
        if frame.kind != KIND_CHANGES || Fields(frame.payload).u64() != Some(self.next) {
            return Err("a record contradicts those before it");
        }
        let parsed = parse(framing, self.end.saturating_add(FRONT_BYTES as u64), frame.payload);
        for (key, place) in parsed.ok_or("a record is not of this version")? {
            let bytes_of =
                |place: Place| CHANGE_BYTES.saturating_add(key.len() as u64).saturating_add(place.len as u64);
            self.live_bytes = self.live_bytes.saturating_add(place.map_or(0, bytes_of));
            let old = match place {
                Some(place) => self.live.insert(key.to_vec(), place),
                None => self.live.remove(key),
            };
            self.live_bytes = self.live_bytes.saturating_sub(old.map_or(0, bytes_of));
        }
        self.next = self.next.saturating_add(1);
        self.end = self.end.saturating_add(frame.len() as u64);
        Ok(())
    }
}

/// A key, and where its value stands if it has one.
type Change<'a> = (&'a [u8], Option<Place>);

/// Reads a payload that stands at `offset` of the file.
fn parse<'a>(framing: &Framing, offset: u64, payload: &'a [u8]) -> Option<Vec<Change<'a>>> {
    let (mut changes, mut rest) = (Vec::new(), payload.get(NUMBER_BYTES..)?);
    while !rest.is_empty() {
        let mut fields = Fields(rest);
        let len = usize::try_from(fields.u32()?).ok()?;
        let (key, behind) = fields.0.split_at_checked(len)?;
        let mut fields = Fields(behind);
        let place = match fields.u32()? {
            GONE => None,
            len => {
                let len = usize::try_from(len).ok()?;
                let at = offset.saturating_add(payload.len().saturating_sub(fields.0.len()) as u64);
                let (value, behind) = fields.0.split_at_checked(len)?;
                fields.0 = behind;
                Some(Place { offset: at, len, check: framing.check(at, value) })
            }
        };
        changes.push((key, place));
        rest = fields.0;
    }
    Some(changes)
}

/// A record that is not sound.
#[derive(Clone, Copy)]
pub(super) struct Bad {
    pub(super) what: &'static str,
    /// Whether what stands there, or anywhere behind, is a record all the same: then no write broke off there.
    pub(super) has_sound_behind: bool,
}

/// Reads a file from its start up to the first record that is not sound.
pub(super) fn scan(file: &DiskFile, framing: &Framing) -> Result<(Content, Option<Bad>), StoreError> {
    let end = file.len()?;
    let (mut content, mut pieces) = (Content::new(), Pieces::new(file, end));
    while content.end < end {
        let len = Fields(pieces.from(content.end, FRONT_BYTES)?).u32().unwrap_or_default();
        let want = usize::try_from(len).map_or(0, |len| len.min(PAYLOAD_MAX_BYTES)).saturating_add(FRAME_BYTES);
        let bytes = pieces.from(content.end, want)?;
        if let Err(what) = content.take(framing, bytes) {
            let has_sound_behind = is_sound_from(framing, &mut pieces, &content, end)?;
            return Ok((content, Some(Bad { what, has_sound_behind })));
        }
    }
    Ok((content, None))
}

/// Whether a record stands at the end of the content or anywhere behind. A match is no accident: the check covers the offset.
fn is_sound_from(framing: &Framing, pieces: &mut Pieces<'_>, content: &Content, end: u64) -> Result<bool, StoreError> {
    for at in content.end..end {
        let left = end.saturating_sub(at);
        let mut fields = Fields(pieces.from(at, FRONT_BYTES + NUMBER_BYTES)?);
        let (Some(len), Some(kind), Some(number)) = (fields.u32(), fields.u8(), fields.u64()) else {
            break;
        };
        let len = u64::from(len).saturating_add(FRAME_BYTES as u64);
        // So many records cannot stand in between: with this hardly a place has to be looked at more closely.
        if kind != KIND_CHANGES || len > left || number > content.next.saturating_add(left) {
            continue;
        }
        let want = usize::try_from(len).unwrap_or(usize::MAX).min(PAYLOAD_MAX_BYTES + FRAME_BYTES);
        if framing.read(at, pieces.from(at, want)?, PAYLOAD_MAX_BYTES).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}
