//! Parts: the files that a day's bodies are split into, their names and numbers, and the places in them
//! (`docs/storage.md`, "Bodies").
//!
//! Invariant: parts order as they go, by day and then by number; part 0 of a day has the name and the number that a day's
//! only file had before there were parts.

use crate::store::disk::segment::Place;

/// Bits of a place's offset that give the offset in the part; those above give the part.
const OFFSET_BITS: u32 = 40;
/// The greatest number of a part.
const NTH_MAX: u32 = (1 << (u64::BITS - OFFSET_BITS)) - 1;
/// The last day that has a file. The day behind it stands for "no body" in a record.
const DAY_MAX: u32 = u32::MAX - 1;

/// One file of bodies. Bodies go part by part, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    day: u32,
    nth: u32,
}

impl Part {
    /// The first part of a day, counted from 1970; days too far ahead are taken for the last that has a file.
    pub(crate) fn first_of(day: u64) -> Self {
        Self { day: u32::try_from(day).unwrap_or(DAY_MAX).min(DAY_MAX), nth: 0 }
    }

    /// The last part that the day of this one can have.
    pub(crate) const fn last_possible(self) -> Self {
        Self { nth: NTH_MAX, ..self }
    }

    /// The day on which its bodies may go for their age.
    pub(crate) const fn day(self) -> u32 {
        self.day
    }

    /// Its number among the parts of its day.
    pub(crate) const fn nth(self) -> u32 {
        self.nth
    }

    /// The part behind this one in the order in which they go: of the same day while that can have more.
    pub(crate) const fn next(self) -> Self {
        if self.nth < NTH_MAX {
            Self { nth: self.nth.saturating_add(1), ..self }
        } else {
            Self { day: self.day.saturating_add(1), nth: 0 }
        }
    }

    /// A part before this one, of its own day if that can be; `None` for the very first.
    pub(crate) fn before(self) -> Option<Self> {
        match self.nth.checked_sub(1) {
            Some(nth) => Some(Self { nth, ..self }),
            None => Some(Self { day: self.day.checked_sub(1)?, nth: NTH_MAX }),
        }
    }

    /// The number in file headers: the day in the low 32 bits, the part in the high ones.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.nth) << 32 | u64::from(self.day)
    }

    /// The part with this number.
    pub(crate) const fn from_number(number: u64) -> Self {
        Self { day: (number & 0xffff_ffff) as u32, nth: (number >> 32) as u32 }
    }

    /// `DAY.seg`, or `DAY-PART.seg` from part 1 on.
    pub(crate) fn file_name(self) -> String {
        match self.nth {
            0 => format!("{}.seg", self.day),
            nth => format!("{}-{nth}.seg", self.day),
        }
    }

    /// The part whose file has exactly this name.
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".seg")?;
        let (day, nth) = stem.split_once('-').unwrap_or((stem, "0"));
        let part = Self { day: day.parse().ok()?, nth: nth.parse().ok()? };
        (part.nth <= NTH_MAX && part.file_name() == name).then_some(part)
    }

    /// The place at an offset of this part; `None` when the offset or the part is out of bounds.
    pub(crate) fn place(self, at: u64) -> Option<Place> {
        let fits = at >> OFFSET_BITS == 0 && self.nth <= NTH_MAX && self.day <= DAY_MAX;
        fits.then(|| Place { day: self.day, offset: u64::from(self.nth) << OFFSET_BITS | at })
    }
}

impl Place {
    /// The part that this place lies in.
    pub(crate) const fn part(self) -> Part {
        Part { day: self.day, nth: (self.offset >> OFFSET_BITS) as u32 }
    }

    /// The offset in that part.
    pub(crate) const fn at(self) -> u64 {
        self.offset & ((1 << OFFSET_BITS) - 1)
    }
}

#[cfg(test)]
#[path = "part_tests.rs"]
mod tests;
