//! Bodies, in files by the day on which they go, so that dropping them is an `unlink` (`docs/storage.md`, "Bodies").
//!
//! A body gets its place when its transaction is staged, and is written by the flush: [`Bodies::reserve`],
//! [`Bodies::take_writes`], [`Bodies::written`]. Until then it is kept here, and read from here.
//!
//! Invariants: a part before the line in `dropped` has no file and gets none again, so that a place never comes to mean
//! another body; the line is durable before the first file behind it goes, so that a missing file is never taken for
//! damage; bytes that no record refers to (left by a crash) are never read.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use self::pending::{Pending, SPENT_BYTES};
pub(crate) use self::{
    dir::{BodyDir, Line},
    part::Part,
    write::BodyWrites,
};
use super::{
    files,
    segment::{FILE_HEADER_BYTES, Place},
};
use crate::{
    ids::{LedgerId, TxId},
    store::{Body, BodyPart, BodyUse, StoreError},
};

mod dir;
mod part;
mod pending;
mod write;

/// Most files that one call drops, so that a call never takes long: unlinking 64 MiB can take some ten milliseconds.
pub(crate) const UNLINKS_MAX: usize = 16;

/// Bodies that are not durable yet, by part, in their order.
pub(crate) type PendingParts = BTreeMap<Part, Vec<Pending>>;

/// All body files.
pub(crate) struct Bodies {
    dir: Arc<BodyDir>,
    /// Bytes from which on a part is followed by a new one.
    part_bytes: u64,
    line: Line,
    /// Bytes of every part, with what is reserved in it. Those before the line are still to be unlinked.
    parts: BTreeMap<Part, u64>,
    /// Parts whose head and length were looked at before anything was reserved in them.
    seen: BTreeSet<Part>,
    /// The part that takes the next body of a day, by the first part that the day may have: most come for the same day.
    filling: Option<(Part, Part)>,
    /// Bodies to be written, those apart that [`take_writes`](Self::take_writes) took.
    pending: PendingParts,
    taken: Vec<Arc<PendingParts>>,
}

impl Bodies {
    /// Opens the bodies of a log; finishes what was being dropped.
    pub(crate) fn open(path: PathBuf, ledger: LedgerId, log_id: [u8; 16], part_bytes: u64) -> Result<Self, StoreError> {
        files::make_dir(&path)?;
        let mut bodies = Self { part_bytes, ..Self::open_to_read(path, ledger, log_id) };
        bodies.line = bodies.current_line()?;
        bodies.dir.set_line(bodies.line);
        for part in bodies.dir.parts()? {
            bodies.parts.insert(part, bodies.dir.bytes(part));
        }
        bodies.unlink_dropped(usize::MAX)?;
        Ok(bodies)
    }

    /// The same for reading alone: makes nothing, and takes no part to be dropped.
    pub(crate) fn open_to_read(path: PathBuf, ledger: LedgerId, log_id: [u8; 16]) -> Self {
        Self {
            dir: Arc::new(BodyDir::new(path, ledger, log_id)),
            part_bytes: super::SEGMENT_BYTES,
            line: Line::default(),
            parts: BTreeMap::new(),
            seen: BTreeSet::new(),
            filling: None,
            pending: BTreeMap::new(),
            taken: Vec::new(),
        }
    }

    /// How far bodies have been dropped, as the file `dropped` has it now.
    pub(crate) fn current_line(&self) -> Result<Line, StoreError> {
        self.dir.read_line()
    }

    /// Takes room for a body at the end of its day's last part; writes nothing.
    ///
    /// A day that was dropped gets no new file: its bodies go with the first part that is left. `hash` is the body's, as
    /// its header names it; a body that has another one will be found damaged.
    pub(crate) fn reserve(&mut self, day: u64, id: TxId, hash: [u8; 32], body: Vec<u8>) -> Result<Place, StoreError> {
        let part = self.part_with_room(Part::first_of(day).max(Part::first_of(self.line.kept.day().into())))?;
        let end = self.parts.entry(part).or_insert(FILE_HEADER_BYTES as u64);
        let Some(place) = part.place(*end) else {
            return Err(self.dir.full(part));
        };
        let full = || self.dir.full(part);
        let all = self.pending.entry(part).or_default();
        if all.last().is_none_or(|last| last.end() != place.at()) {
            all.push(Pending::new(place.at()));
        }
        *end = all.last_mut().and_then(|last| last.push(place.at(), id, hash, body)).ok_or_else(full)?;
        Ok(place)
    }

    /// The part of a day that takes the next body.
    fn part_with_room(&mut self, first: Part) -> Result<Part, StoreError> {
        match self.filling {
            Some((of, part)) if of == first && self.parts.get(&part).is_some_and(|bytes| *bytes < self.part_bytes) => {
                Ok(part)
            }
            _ => self.next_part(first).inspect(|part| self.filling = Some((first, *part))),
        }
    }

    fn next_part(&mut self, first: Part) -> Result<Part, StoreError> {
        let last = self.parts.range(first..=first.last_possible()).next_back().map_or(first, |(part, _)| *part);
        let mut part = last.max(self.line.kept);
        if self.seen.insert(part) {
            match self.dir.open_part(part, false) {
                Ok(Some((file, _))) => {
                    self.parts.insert(part, file.len()?);
                }
                Ok(None) => {}
                // What stands behind a damaged head can still be looked at, so nothing more is written there.
                Err(StoreError::Damaged { .. }) => part = part.next(),
                Err(error) => {
                    self.seen.remove(&part);
                    return Err(error);
                }
            }
        }
        if self.parts.get(&part).is_some_and(|bytes| *bytes >= self.part_bytes) {
            part = part.next();
        }
        self.seen.insert(part);
        Ok(part)
    }

    /// A body that is not durable yet.
    fn pending(&self, place: Place) -> Option<Vec<u8>> {
        let mut all = self.taken.iter().map(Arc::as_ref).chain([&self.pending]);
        all.find_map(|parts| parts.get(&place.part())?.iter().find_map(|pending| pending.body(place.at())))
    }

    /// All bodies that are to be written, beside the records that refer to them.
    pub(crate) fn take_writes(&mut self) -> BodyWrites {
        // What was taken before and is not known to be written is written again.
        if !self.pending.is_empty() {
            self.taken.push(Arc::new(std::mem::take(&mut self.pending)));
        }
        BodyWrites::new(Arc::clone(&self.dir), self.taken.clone())
    }

    /// Tells how the last [`take_writes`](Self::take_writes) ended. After a failure all of it is to be taken again; else gives
    /// the bodies that nobody reads in memory any more, if they are few enough to be kept until another thread lets them go.
    pub(crate) fn written(&mut self, success: bool) -> Vec<Arc<PendingParts>> {
        let written = if success { std::mem::take(&mut self.taken) } else { Vec::new() };
        let all = written.iter().flat_map(|parts| parts.values()).flatten();
        let bytes = all.map(Pending::bytes).fold(0, u64::saturating_add);
        if bytes <= SPENT_BYTES { written } else { Vec::new() }
    }

    /// Reads a body of `len` bytes.
    pub(crate) fn read(&self, place: Place, id: &TxId, len: u32) -> Result<Body, StoreError> {
        if place.part() < self.line.kept {
            return Ok(Body::Dropped { day: place.day.into(), early: place.part() < self.line.early });
        }
        if let Some(body) = self.pending(place) {
            return Ok(Body::Present(body));
        }
        self.dir.read(place, id, len)
    }

    /// Drops the bodies of all days before `day`, at most [`UNLINKS_MAX`] files in one call; returns how many went.
    pub(crate) fn drop_before(&mut self, day: u64) -> Result<usize, StoreError> {
        let target = Part::first_of(day);
        let beyond = self.parts.range(..target).nth(UNLINKS_MAX).map(|(part, _)| *part);
        let kept = beyond.unwrap_or(target).max(self.line.kept);
        self.move_line(Line { kept, ..self.line })
    }

    /// Drops bodies until all of them take at most `budget` bytes, part by part in their order, at most [`UNLINKS_MAX`]
    /// files in one call; returns how many went.
    pub(crate) fn drop_over(&mut self, budget: u64) -> Result<usize, StoreError> {
        let mut left = self.bytes();
        let mut kept = self.line.kept;
        for (part, bytes) in self.parts.iter().take(UNLINKS_MAX) {
            if left <= budget {
                break;
            }
            left = left.saturating_sub(*bytes);
            kept = kept.max(part.next());
        }
        let early = if kept > self.line.kept { kept } else { self.line.early };
        self.move_line(Line { kept, early })
    }

    /// Moves the line, then removes the files before it; also those that an earlier call could not remove.
    fn move_line(&mut self, line: Line) -> Result<usize, StoreError> {
        if line != self.line {
            self.dir.write_line(line)?;
            self.line = line;
            self.pending = self.pending.split_off(&line.kept);
            self.seen = self.seen.split_off(&line.kept);
            self.filling = None;
        }
        self.unlink_dropped(UNLINKS_MAX)
    }

    fn unlink_dropped(&mut self, max: usize) -> Result<usize, StoreError> {
        let gone: Vec<Part> = self.parts.range(..self.line.kept).take(max).map(|(part, _)| *part).collect();
        for part in &gone {
            self.dir.remove(*part)?;
            self.parts.remove(part);
        }
        if !gone.is_empty() {
            self.dir.sync()?;
        }
        Ok(gone.len())
    }

    /// What bodies take, and how far they have gone.
    pub(crate) fn usage(&self) -> BodyUse {
        let next = self.parts.keys().next().map(|part| {
            let of_day = self.parts.range(..=part.last_possible());
            (u64::from(part.day()), of_day.fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes)))
        });
        let early_until = self.line.early.before().map(|part| part.day().into());
        let first = self.parts.first_key_value();
        let next_part = first.map(|(part, bytes)| BodyPart { day: part.day().into(), nth: part.nth(), bytes: *bytes });
        BodyUse { bytes: self.bytes(), next, next_part, early_until }
    }

    /// Bytes of all files, with what is reserved in them.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.values().copied().fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
#[path = "bodies/tests.rs"]
mod tests;
