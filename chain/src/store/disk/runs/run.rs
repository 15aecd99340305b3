//! One run: the immutable index of the records in a range of positions.
//!
//! Content: facts | ids | tags | order | fan-out of ids | fan-out of tags | filter. Entries are big-endian and ascending
//! as byte strings, but for places in canonical order that agree in time, depth and the first bytes of their ids: those
//! stand in the order of their whole ids.

use std::{
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::filter::Filter;
use crate::{
    ids::TxId,
    store::{
        OrderKey, StoreError,
        disk::{
            checked::{CheckedFile, Identity},
            log::{LogView, damaged},
            segment::{Fields, joined},
        },
    },
};

/// A tag's first 8 bytes | position, 5 bytes.
pub(super) const NAME_BYTES: usize = 13;
/// The same of an id, then where the record begins in its segment, 4 bytes.
pub(super) const ID_BYTES: usize = 17;
/// Time, 5 bytes | depth, 5 bytes | the id's first 4 bytes | position, 5 bytes.
pub(super) const ORDER_BYTES: usize = 19;
/// Bytes of a place in canonical order before its position.
pub(super) const ORDER_KEY_BYTES: usize = 14;
/// first u64 | end u64 | tagged u64 | first id | last id, little-endian.
pub(super) const FACTS_BYTES: usize = 88;
/// Entries that share an entry of the fan-out, about.
const BUCKET: u64 = 16;
/// At most 2^20 entries of a fan-out, 4 MiB.
const FAN_BITS_MAX: u32 = 20;
/// Entries that are searched by reading all of them.
const SEARCH: u64 = 64;
/// Entries that are read in one go, at most.
const READ_MAX: u64 = 1_024;

/// An entry of a tag, and what stands first in that of an id.
pub(super) type Name = [u8; NAME_BYTES];
/// An entry of an id.
pub(super) type IdEntry = [u8; ID_BYTES];
/// A place in canonical order.
pub(super) type OrderEntry = [u8; ORDER_BYTES];

/// The last five bytes of an entry.
pub(super) fn position_of(entry: &[u8]) -> u64 {
    entry.last_chunk::<5>().map_or(u64::MAX, |low| low.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn five(number: u64) -> [u8; 5] {
    // Times end below 2^40, and so many transactions no disk holds.
    let [_, _, _, low @ ..] = number.min((1 << 40) - 1).to_be_bytes();
    low
}

/// The entry of an id or a tag, of which the first 8 bytes count.
pub(super) fn name(of: &[u8], position: u64) -> Name {
    let first = of.first_chunk::<8>().copied().unwrap_or_default();
    joined(&[&first, &five(position)])
}

/// The entry of an id whose record begins at a byte of its segment.
pub(super) fn id_entry(id: &TxId, position: u64, offset: u32) -> IdEntry {
    joined(&[&name(id.as_bytes(), position), &offset.to_be_bytes()])
}

/// The entry of a place in canonical order.
pub(super) fn order_entry(key: &OrderKey, position: u64) -> OrderEntry {
    let [a, b, c, d, ..] = *key.id.as_bytes();
    joined(&[&five(key.time.secs()), &five(key.depth.get()), &[a, b, c, d], &five(position)])
}

/// Time, depth and the id's first bytes.
pub(super) fn order_key(entry: &OrderEntry) -> [u8; ORDER_KEY_BYTES] {
    entry.first_chunk().copied().unwrap_or_default()
}

/// The same as a number, for who compares many.
pub(super) fn order_rank(entry: &OrderEntry) -> u128 {
    order_key(entry).iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

/// The first eight bytes of a name as a number.
pub(super) fn prefix(entry: &[u8]) -> u64 {
    entry.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// How many leading bits of a name the fan-out of so many goes by.
fn fan_bits(count: u64) -> u32 {
    (count / BUCKET).checked_ilog2().unwrap_or_default().min(FAN_BITS_MAX)
}

/// For every value of a name's leading bits, how many names have less; then their number.
#[derive(Debug)]
pub(super) struct Fan {
    bits: u32,
    counts: Vec<u32>,
}

impl Fan {
    pub(super) fn new(count: u64) -> Self {
        let bits = fan_bits(count);
        Self { bits, counts: vec![0; Self::len(bits)] }
    }
    fn len(bits: u32) -> usize {
        (1usize << bits).saturating_add(1)
    }
    fn bucket(&self, name: &[u8]) -> usize {
        prefix(name).checked_shr(64u32.saturating_sub(self.bits)).map_or(0, |bucket| bucket as usize)
    }
    /// Counts a name in.
    pub(super) fn add(&mut self, name: &[u8]) {
        let bucket = self.bucket(name).saturating_add(1);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
    }
    /// The bytes, once all names are counted in.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let sums = self.counts.iter().scan(0u32, |sum, count| {
            *sum = sum.saturating_add(*count);
            Some(*sum)
        });
        sums.flat_map(u32::to_le_bytes).collect()
    }
    /// Between which entries the names with these leading bits stand.
    fn range(&self, name: &[u8]) -> (u64, u64) {
        let bucket = self.bucket(name);
        let at = |bucket: usize| self.counts.get(bucket).copied().unwrap_or_default().into();
        (at(bucket), at(bucket.saturating_add(1)))
    }
}

/// Where a record stands, by the word of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lead {
    pub(super) position: u64,
    /// Where it begins in its segment.
    pub(super) offset: u64,
}

impl Lead {
    fn of(entry: &IdEntry) -> Self {
        let [name @ .., a, b, c, d] = entry;
        Self { position: position_of(name), offset: u32::from_be_bytes([*a, *b, *c, *d]).into() }
    }
}

/// What a run says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) first: u64,
    pub(super) end: u64,
    /// How many of the records have a tag.
    pub(super) tagged: u64,
    /// Ids of the first and the last record, to be compared with the log.
    pub(super) ids: [TxId; 2],
}

impl Facts {
    pub(super) fn count(&self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let [first, last] = &self.ids;
        let parts: [&[u8]; 5] = [
            &self.first.to_le_bytes(),
            &self.end.to_le_bytes(),
            &self.tagged.to_le_bytes(),
            first.as_bytes(),
            last.as_bytes(),
        ];
        parts.concat()
    }

    /// Whether the log has other records at the ends. One that is damaged there is no reason to lose the run too.
    fn differ_from(&self, log: &LogView) -> bool {
        let ends = [self.first, self.end.saturating_sub(1)];
        // Whoever opens a ledger of which nothing is in memory waits for each read: two are enough to see that all is well.
        if matches!(log.ids_unchecked(&ends), Ok(Some(found)) if found == self.ids) {
            return false;
        }
        let differs = |(at, id): (u64, TxId)| matches!(log.ids_at(&[at]), Ok(found) if found != [id]);
        ends.into_iter().zip(self.ids).any(differs)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (first, end, tagged) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let ids = [TxId::from_bytes(fields.take()?), TxId::from_bytes(fields.take()?)];
        (first < end).then_some(Self { first, end, tagged, ids })
    }
}

/// A part of the content with entries of one size.
#[derive(Clone, Copy, Debug)]
struct Section {
    start: u64,
    count: u64,
}

/// A run that is open for reading.
#[derive(Debug)]
pub(super) struct Run {
    file: CheckedFile,
    pub(super) facts: Facts,
    ids: Section,
    tags: Section,
    order: Section,
    id_fan: Section,
    tag_fan: Section,
    filter: Section,
    /// Fan-out and filter of the ids, and fan-out of the tags, once they were asked for.
    names: OnceLock<(Fan, Filter)>,
    tag_names: OnceLock<Fan>,
    /// It could not be read; the log answers in its place until it is made anew.
    suspect: AtomicBool,
}

impl Run {
    /// Opens the run of a range of positions: header, facts and length are checked, its ends are compared with the log. The
    /// rest is checked when it is read.
    pub(super) fn open(path: &Path, identity: Identity, log: &LogView) -> Result<Self, StoreError> {
        let file = CheckedFile::open(path, identity)?;
        let wrong = |what: &str| damaged(path, 0, what);
        let facts = Facts::parse(&file.read(0, FACTS_BYTES)?).ok_or_else(|| wrong("it says nothing of itself"))?;
        if (facts.first, facts.end) != (identity.first, identity.end) {
            return Err(wrong("it covers other positions than its name says"));
        }
        if facts.differ_from(log) {
            return Err(wrong("it was made from another log"));
        }
        let mut at = FACTS_BYTES as u64;
        let mut section = |count: u64, bytes: usize| {
            let start = at;
            at = at.saturating_add(count.saturating_mul(bytes as u64));
            Section { start, count }
        };
        let (ids, tags) = (section(facts.count(), ID_BYTES), section(facts.tagged, NAME_BYTES));
        let order = section(facts.count(), ORDER_BYTES);
        let mut fan = |count| section(Fan::len(fan_bits(count)) as u64, 4);
        let (id_fan, tag_fan) = (fan(facts.count()), fan(facts.tagged));
        let filter = section(Filter::len(facts.count()), 1);
        if at != file.len() {
            return Err(wrong("it is longer or shorter than it should be"));
        }
        let suspect = AtomicBool::new(false);
        let (names, tag_names) = (OnceLock::new(), OnceLock::new());
        Ok(Self { file, facts, ids, tags, order, id_fan, tag_fan, filter, names, tag_names, suspect })
    }

    /// Fan-out and filter of the ids, which are read when an id is first asked for: who opens a ledger to look at something
    /// else needs no megabyte of each 400,000 records.
    fn names(&self) -> Result<&(Fan, Filter), StoreError> {
        if let Some(names) = self.names.get() {
            return Ok(names);
        }
        let read = || {
            let fan = self.fan(self.id_fan, self.facts.count())?;
            let part = |from: u64, len| self.file.read(self.filter.start.saturating_add(from), len);
            let filter = Filter::read(self.filter.count, part)?;
            Ok((fan, filter))
        };
        let names = self.or_suspect(read())?;
        Ok(self.names.get_or_init(|| names))
    }

    /// Reads what an id is asked of, unless that was done. What fails is met again by who asks.
    pub(super) fn wake(&self) {
        if self.names.get().is_none() && !self.is_suspect() {
            drop(self.names());
        }
    }

    /// Whether it may have an id, by a first look at the filter. One that could not be read may have any.
    pub(super) fn glance(&self, id: &TxId) -> bool {
        self.is_suspect() || self.names.get().is_none_or(|(_, filter)| filter.glance(id.as_bytes()))
    }

    /// The fan-out of the tags, likewise.
    fn tag_names(&self) -> Result<&Fan, StoreError> {
        if let Some(fan) = self.tag_names.get() {
            return Ok(fan);
        }
        let fan = self.or_suspect(self.fan(self.tag_fan, self.facts.tagged))?;
        Ok(self.tag_names.get_or_init(|| fan))
    }

    fn fan(&self, part: Section, count: u64) -> Result<Fan, StoreError> {
        let bits = fan_bits(count);
        let bytes = self.file.read(part.start, Fan::len(bits).saturating_mul(4))?;
        let counts = bytes.as_chunks().0.iter().map(|count| u32::from_le_bytes(*count)).collect();
        Ok(Fan { bits, counts })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }
    /// Whether it could not be read.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire)
    }

    /// What stands where an id must stand; `None` where the filter does not know the id.
    pub(super) fn near(&self, id: &TxId) -> Result<Option<Near>, StoreError> {
        let (fan, filter) = self.names()?;
        if !filter.may_have(id.as_bytes()) {
            return Ok(None);
        }
        let (start, end) = fan.range(id.as_bytes());
        let (start, end) = (start.min(self.ids.count), end.min(self.ids.count));
        if end.saturating_sub(start) > SEARCH {
            return Ok(Some(Near::Many(start, end)));
        }
        let (at, len) = place::<ID_BYTES>(self.ids, start, end.saturating_sub(start));
        self.or_suspect(self.file.read_unchecked(at, len)).map(|entries| Some(Near::Few { at, len, entries }))
    }

    /// Positions of records whose ids may be this one, by entries whose checks are right.
    pub(super) fn candidates(&self, id: &TxId, near: &Near) -> Result<Vec<u64>, StoreError> {
        let position = |entry: &IdEntry| Lead::of(entry).position;
        match near {
            Near::Few { at, len, .. } => {
                let entries = self.or_suspect(self.file.read(*at, *len))?;
                Ok(alike(&entries, id).map(position).collect())
            }
            Near::Many(start, end) => {
                let mut positions = Vec::new();
                let mut entries = self.named::<ID_BYTES>(self.ids, (*start, *end), id.as_bytes(), 0)?;
                while let Some(entry) = entries.next()?.filter(|entry| prefix(entry) == prefix(id.as_bytes())) {
                    positions.push(position(&entry));
                }
                Ok(positions)
            }
        }
    }

    /// Entries from the one of a tag, and of a position at or behind `from`, on.
    pub(super) fn tagged(&self, tag: &[u8; 16], from: u64) -> Result<Entries<'_, NAME_BYTES>, StoreError> {
        self.named(self.tags, self.tag_names()?.range(tag), tag, from)
    }

    fn named<const N: usize>(
        &self,
        section: Section,
        (start, end): (u64, u64),
        of: &[u8],
        from: u64,
    ) -> Result<Entries<'_, N>, StoreError> {
        Entries::seek(self, section, start, end.min(section.count), &name(of, from))
    }

    /// Places in canonical order, from the first that is not before `key` in time, depth and the id's first bytes.
    pub(super) fn in_order(&self, key: &[u8; ORDER_KEY_BYTES]) -> Result<Entries<'_, ORDER_BYTES>, StoreError> {
        Entries::seek(self, self.order, 0, self.order.count, key)
    }

    /// Ids, from the one at `nth` place on.
    pub(super) fn ids_from(&self, nth: u64) -> Entries<'_, ID_BYTES> {
        Entries::new(self, self.ids, nth, READ_MAX)
    }
    /// Tags, likewise.
    pub(super) fn tags_from(&self, nth: u64) -> Entries<'_, NAME_BYTES> {
        Entries::new(self, self.tags, nth, READ_MAX)
    }
    /// Places in canonical order, likewise.
    pub(super) fn order_from(&self, nth: u64) -> Entries<'_, ORDER_BYTES> {
        Entries::new(self, self.order, nth, READ_MAX)
    }

    /// The bytes of entries of a section.
    fn read<const N: usize>(&self, section: Section, nth: u64, count: u64) -> Result<Vec<u8>, StoreError> {
        let (at, len) = place::<N>(section, nth, count);
        self.or_suspect(self.file.read(at, len))
    }

    /// What was read; a run that could not be read is suspect.
    fn or_suspect<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        if read.is_err() {
            self.suspect.store(true, Ordering::Release);
        }
        read
    }
}

/// Where in the content entries of a section stand, and how many bytes they are.
fn place<const N: usize>(section: Section, nth: u64, count: u64) -> (u64, usize) {
    let at = section.start.saturating_add(nth.saturating_mul(N as u64));
    (at, usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(N))
}

/// The entries of ids that begin as an id does.
fn alike<'a>(entries: &'a [u8], id: &TxId) -> impl Iterator<Item = &'a IdEntry> {
    let beginning = prefix(id.as_bytes());
    entries.as_chunks::<ID_BYTES>().0.iter().filter(move |entry| prefix(&entry[..]) == beginning)
}

/// The entries where an id must stand.
pub(super) enum Near {
    /// Few: where they are in the content, and what stands there.
    Few { at: u64, len: usize, entries: Vec<u8> },
    /// Between which two places they are: so many that somebody must have chosen ids that begin alike.
    Many(u64, u64),
}

impl Near {
    /// Where records stand whose ids may be this one, by entries whose checks nobody has looked at.
    pub(super) fn guesses(&self, id: &TxId) -> impl Iterator<Item = Lead> {
        let entries = match self {
            Self::Few { entries, .. } => entries.as_slice(),
            Self::Many(..) => &[],
        };
        alike(entries, id).map(Lead::of)
    }
}

/// Entries of a section, one after the other.
pub(super) struct Entries<'a, const N: usize> {
    run: &'a Run,
    section: Section,
    /// The next entry that is not in `read`.
    next: u64,
    /// Bytes of entries that were read, and where the next one begins.
    read: Vec<u8>,
    at: usize,
    /// Entries to be read at the next reading: few for a look-up, more for whoever goes on.
    batch: u64,
}

impl<'a, const N: usize> Entries<'a, N> {
    fn new(run: &'a Run, section: Section, next: u64, batch: u64) -> Self {
        Self { run, section, next, read: Vec::new(), at: 0, batch }
    }

    /// From the first entry in `start..end` on that is not below `key`.
    fn seek(run: &'a Run, section: Section, start: u64, end: u64, key: &[u8]) -> Result<Self, StoreError> {
        let (mut low, mut high) = (start, end);
        while high.saturating_sub(low) > SEARCH {
            let middle = low.midpoint(high);
            if run.read::<N>(section, middle, 1)?.as_slice() < key {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        let mut entries = Self::new(run, section, low, SEARCH.min(high.saturating_sub(low)));
        while entries.peek()?.is_some_and(|entry| &entry[..] < key) {
            entries.pass(1);
        }
        Ok(entries)
    }

    /// The next entry.
    pub(super) fn peek(&mut self) -> Result<Option<[u8; N]>, StoreError> {
        // Whoever is at the end is asked again and again while others go on: that must not read.
        if self.at >= self.read.len() && self.next < self.section.count {
            let count = self.section.count.saturating_sub(self.next).min(self.batch.max(1));
            (self.read, self.at) = (self.run.read::<N>(self.section, self.next, count)?, 0);
            self.next = self.next.saturating_add(count);
            self.batch = self.batch.saturating_mul(2).clamp(SEARCH, READ_MAX);
        }
        Ok(self.read.get(self.at..).and_then(|left| left.first_chunk().copied()))
    }

    pub(super) fn next(&mut self) -> Result<Option<[u8; N]>, StoreError> {
        let next = self.peek()?;
        self.pass(1);
        Ok(next)
    }

    /// Entries that were read already, from the next one on.
    pub(super) fn ahead(&self) -> &[[u8; N]] {
        self.read.get(self.at..).unwrap_or_default().as_chunks().0
    }

    /// Goes on behind so many of those.
    pub(super) fn pass(&mut self, count: usize) {
        self.at = self.at.saturating_add(count.saturating_mul(N)).min(self.read.len());
    }

    /// The place of the next entry in its section.
    pub(super) fn reached(&self) -> u64 {
        self.next.saturating_sub((self.read.len().saturating_sub(self.at) / N) as u64)
    }
}
