//! One run: the immutable index of the records in a range of positions.
//!
//! Content: facts | ids | tags | order | fan-out of ids | fan-out of tags | filter. Entries are big-endian and ascending
//! as byte strings, but for places in canonical order that agree in time, depth and the first bytes of their ids: those
//! stand in the order of their whole ids.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    ids::TxId,
    store::{
        OrderKey, StoreError,
        disk::{
            checked::{CheckedFile, Identity},
            log::{LogView, damaged},
            segment::Fields,
        },
    },
};

/// An id's first 8 bytes | position, 5 bytes; the same for tags.
pub(super) const NAME_BYTES: usize = 13;
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
const READ_MAX: u64 = 4_096;
/// Bits that stand for an id in the filter.
const FILTER_HASHES: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9];

/// An entry of ids or tags.
pub(super) type Name = [u8; NAME_BYTES];
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
    let mut entry = [0; NAME_BYTES];
    entry.iter_mut().zip(of.iter().take(8).copied().chain(five(position))).for_each(|(to, from)| *to = from);
    entry
}

/// The entry of a place in canonical order.
pub(super) fn order_entry(key: &OrderKey, position: u64) -> OrderEntry {
    let mut entry = [0; ORDER_BYTES];
    let id = key.id.as_bytes().iter().take(4).copied();
    let bytes = five(key.time.secs()).into_iter().chain(five(key.depth.get())).chain(id).chain(five(position));
    entry.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    entry
}

/// Time, depth and the id's first bytes.
pub(super) fn order_key(entry: &OrderEntry) -> [u8; ORDER_KEY_BYTES] {
    entry.first_chunk().copied().unwrap_or_default()
}

/// The same as a number, for who compares many.
pub(super) fn order_rank(entry: &OrderEntry) -> u128 {
    order_key(entry).iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

fn prefix(entry: &[u8]) -> u64 {
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

/// A Bloom filter over the ids: eight bits and three hashes for each, so that one unknown id in 30 costs a read.
#[derive(Debug)]
pub(super) struct Filter(Vec<u8>);

impl Filter {
    pub(super) fn new(count: u64) -> Self {
        Self(vec![0; usize::try_from(count).unwrap_or(usize::MAX)])
    }
    fn bits(&self, id: &[u8]) -> [(usize, u8); 3] {
        let bits = (self.0.len() as u128).saturating_mul(8);
        FILTER_HASHES.map(|hash| {
            let hash = prefix(id).wrapping_mul(hash);
            let bit = u128::from(hash ^ (hash >> 32)).saturating_mul(bits) >> 64;
            ((bit / 8) as usize, 1 << (bit % 8))
        })
    }
    pub(super) fn add(&mut self, id: &[u8]) {
        for (byte, bit) in self.bits(id) {
            if let Some(byte) = self.0.get_mut(byte) {
                *byte |= bit;
            }
        }
    }
    fn may_have(&self, id: &[u8]) -> bool {
        self.bits(id).iter().all(|(byte, bit)| self.0.get(*byte).is_some_and(|byte| byte & bit != 0))
    }
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
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
    id_fan: Fan,
    tag_fan: Fan,
    filter: Filter,
    /// It could not be read; the log answers in its place until it is made anew.
    suspect: AtomicBool,
}

impl Run {
    /// Opens the run of a range of positions: header, facts, fan-outs and filter are checked, its ends are compared with
    /// the log. The rest is checked when it is read.
    pub(super) fn open(path: &Path, identity: Identity, log: &LogView) -> Result<Self, StoreError> {
        let file = CheckedFile::open(path, identity)?;
        let wrong = |what: &str| damaged(path, 0, what);
        let facts = Facts::parse(&file.read(0, FACTS_BYTES)?).ok_or_else(|| wrong("it says nothing of itself"))?;
        if (facts.first, facts.end) != (identity.first, identity.end) {
            return Err(wrong("it covers other positions than its name says"));
        }
        // A record that is damaged there is no reason to lose the run too.
        let differs = |at: u64, id: TxId| matches!(log.ids_at(&[at]), Ok(found) if found != [id]);
        let [first, last] = facts.ids;
        if differs(facts.first, first) || differs(facts.end.saturating_sub(1), last) {
            return Err(wrong("it was made from another log"));
        }
        let mut at = FACTS_BYTES as u64;
        let mut section = |count: u64, bytes: usize| {
            let start = at;
            at = at.saturating_add(count.saturating_mul(bytes as u64));
            Section { start, count }
        };
        let (ids, tags) = (section(facts.count(), NAME_BYTES), section(facts.tagged, NAME_BYTES));
        let order = section(facts.count(), ORDER_BYTES);
        let mut fan = |count| {
            let bits = fan_bits(count);
            let part = section(Fan::len(bits) as u64, 4);
            let bytes = file.read(part.start, Fan::len(bits).saturating_mul(4))?;
            let counts = bytes.as_chunks().0.iter().map(|count| u32::from_le_bytes(*count)).collect();
            Ok::<Fan, StoreError>(Fan { bits, counts })
        };
        let (id_fan, tag_fan) = (fan(facts.count())?, fan(facts.tagged)?);
        let part = section(facts.count(), 1);
        let filter = Filter(file.read(part.start, usize::try_from(part.count).unwrap_or(usize::MAX))?);
        if at != file.len() {
            return Err(wrong("it is longer or shorter than it should be"));
        }
        Ok(Self { file, facts, ids, tags, order, id_fan, tag_fan, filter, suspect: AtomicBool::new(false) })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }
    /// Whether it could not be read.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire)
    }

    /// Positions of records whose ids may be this one.
    pub(super) fn candidates(&self, id: &TxId) -> Result<Vec<u64>, StoreError> {
        let mut positions = Vec::new();
        if !self.filter.may_have(id.as_bytes()) {
            return Ok(positions);
        }
        let (start, end) = self.id_fan.range(id.as_bytes());
        let (end, alike) = (end.min(self.ids.count), |entry: &[u8]| prefix(entry) == prefix(id.as_bytes()));
        if end.saturating_sub(start) <= SEARCH {
            let entries = self.read::<NAME_BYTES>(self.ids, start, end.saturating_sub(start))?;
            positions.extend(entries.iter().filter(|entry| alike(&entry[..])).map(|entry| position_of(entry)));
        } else {
            let mut entries = self.named(self.ids, (start, end), id.as_bytes(), 0)?;
            while let Some(entry) = entries.next()?.filter(|entry| alike(entry)) {
                positions.push(position_of(&entry));
            }
        }
        Ok(positions)
    }

    /// Entries from the one of a tag, and of a position at or behind `from`, on.
    pub(super) fn tagged(&self, tag: &[u8; 16], from: u64) -> Result<Entries<'_, NAME_BYTES>, StoreError> {
        self.named(self.tags, self.tag_fan.range(tag), tag, from)
    }

    fn named(
        &self,
        section: Section,
        (start, end): (u64, u64),
        of: &[u8],
        from: u64,
    ) -> Result<Entries<'_, NAME_BYTES>, StoreError> {
        Entries::seek(self, section, start, end.min(section.count), &name(of, from))
    }

    /// Places in canonical order, from the first that is not before `key` in time, depth and the id's first bytes.
    pub(super) fn in_order(&self, key: &[u8; ORDER_KEY_BYTES]) -> Result<Entries<'_, ORDER_BYTES>, StoreError> {
        Entries::seek(self, self.order, 0, self.order.count, key)
    }

    /// Ids, from the one at `nth` place on.
    pub(super) fn ids_from(&self, nth: u64) -> Entries<'_, NAME_BYTES> {
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

    fn read<const N: usize>(&self, section: Section, nth: u64, count: u64) -> Result<Vec<[u8; N]>, StoreError> {
        let at = section.start.saturating_add(nth.saturating_mul(N as u64));
        let len = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(N);
        match self.file.read(at, len) {
            Ok(bytes) => Ok(bytes.as_chunks::<N>().0.to_vec()),
            Err(error) => {
                self.suspect.store(true, Ordering::Release);
                Err(error)
            }
        }
    }
}

/// Entries of a section, one after the other.
pub(super) struct Entries<'a, const N: usize> {
    run: &'a Run,
    section: Section,
    /// The next entry that is not in `read`.
    next: u64,
    read: std::iter::Peekable<std::vec::IntoIter<[u8; N]>>,
    /// Entries to be read at the next reading: few for a look-up, more for whoever goes on.
    batch: u64,
}

impl<'a, const N: usize> Entries<'a, N> {
    fn new(run: &'a Run, section: Section, next: u64, batch: u64) -> Self {
        Self { run, section, next, read: Vec::new().into_iter().peekable(), batch }
    }

    /// From the first entry in `start..end` on that is not below `key`.
    fn seek(run: &'a Run, section: Section, start: u64, end: u64, key: &[u8]) -> Result<Self, StoreError> {
        let (mut low, mut high) = (start, end);
        while high.saturating_sub(low) > SEARCH {
            let middle = low.midpoint(high);
            let entry = run.read::<N>(section, middle, 1)?;
            match entry.first() {
                Some(entry) if &entry[..] < key => low = middle.saturating_add(1),
                _ => high = middle,
            }
        }
        let mut entries = Self::new(run, section, low, SEARCH.min(high.saturating_sub(low)));
        while entries.peek()?.is_some_and(|entry| &entry[..] < key) {
            entries.next()?;
        }
        Ok(entries)
    }

    pub(super) fn peek(&mut self) -> Result<Option<[u8; N]>, StoreError> {
        // Whoever is at the end is asked again and again while others go on: that must not read.
        if self.read.peek().is_none() && self.next < self.section.count {
            let count = self.section.count.saturating_sub(self.next).min(self.batch.max(1));
            self.read = self.run.read(self.section, self.next, count)?.into_iter().peekable();
            self.next = self.next.saturating_add(count);
            self.batch = self.batch.saturating_mul(2).clamp(SEARCH, READ_MAX);
        }
        Ok(self.read.peek().copied())
    }

    pub(super) fn next(&mut self) -> Result<Option<[u8; N]>, StoreError> {
        self.peek()?;
        Ok(self.read.next())
    }

    /// The place of the next entry in its section.
    pub(super) fn reached(&self) -> u64 {
        self.next.saturating_sub(self.read.len() as u64)
    }
}
