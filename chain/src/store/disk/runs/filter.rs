//! The filter of a run: which ids it may hold. An unknown id is asked of every run, so that each pays here: one line of the
//! processor's cache is looked at, and of a thousand unknown ids one is let through.
//!
//! Every id has a line of 64 bytes, by its leading bits, and one bit in each of the line's eight words (`docs/storage.md`,
//! "Runs").

use super::run::prefix;

/// Words of a line.
const WORDS: usize = 8;
/// Bytes of a line.
const LINE_BYTES: usize = 64;
/// Ids for which there is a line: 16 bits each.
const IDS_PER_LINE: u64 = 32;
/// Spreads an id's leading bits, by which its line is chosen, over the bits that choose within the line.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// The bit in the first word is chosen by the six highest bits, that in the next word by the six that follow.
const FIRST_SHIFT: u32 = 58;
const BITS: u32 = 6;

/// A line of the processor's cache.
#[repr(align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line([u64; WORDS]);

/// Lines that are one piece of memory.
const PIECE_LINES: usize = 1_024;
/// Their bytes, 64 KiB.
const PIECE_BYTES: u64 = (PIECE_LINES * LINE_BYTES) as u64;

/// A filter over ids. In pieces of one size: what one of a megabyte took, once it is free, another one does not fit into, and
/// blocks so large have the allocator keep more of all that is freed (decision 0062).
#[derive(Debug)]
pub(super) struct Filter {
    pieces: Vec<Vec<Line>>,
    /// Lines that it is to have, by which ids are spread over them.
    lines: usize,
}

impl Filter {
    /// Lines of a filter for so many ids.
    fn line_count(count: u64) -> u64 {
        count.div_ceil(IDS_PER_LINE)
    }

    /// Bytes of a filter for so many ids.
    pub(super) fn len(count: u64) -> u64 {
        Self::line_count(count).saturating_mul(LINE_BYTES as u64)
    }

    pub(super) fn new(count: u64) -> Self {
        let lines = usize::try_from(Self::line_count(count)).unwrap_or(usize::MAX);
        let piece = |from: usize| vec![Line::default(); lines.saturating_sub(from).min(PIECE_LINES)];
        Self { pieces: (0..lines).step_by(PIECE_LINES).map(piece).collect(), lines }
    }

    /// Piece and line in it that an id has.
    fn place(&self, id: &[u8]) -> (usize, usize) {
        let line = (u128::from(prefix(id)).saturating_mul(self.lines as u128) >> 64) as usize;
        (line / PIECE_LINES, line % PIECE_LINES)
    }

    fn line(&self, id: &[u8]) -> Option<&Line> {
        let (piece, line) = self.place(id);
        self.pieces.get(piece)?.get(line)
    }

    pub(super) fn add(&mut self, id: &[u8]) {
        let (piece, line) = self.place(id);
        if let Some(Line(words)) = self.pieces.get_mut(piece).and_then(|piece| piece.get_mut(line)) {
            words.iter_mut().zip(bits(id)).for_each(|(word, bit)| *word |= bit);
        }
    }

    /// Whether an id may be in it.
    pub(super) fn may_have(&self, id: &[u8]) -> bool {
        let missing = |Line(words): &Line| words.iter().zip(bits(id)).fold(0, |sum, (word, bit)| sum | (bit & !word));
        self.line(id).is_some_and(|line| missing(line) == 0)
    }

    /// The same by the first of its eight bits alone: of five that are not in it two pass.
    pub(super) fn glance(&self, id: &[u8]) -> bool {
        let bit = bits(id).next().unwrap_or_default();
        self.line(id).is_some_and(|Line([word, ..])| word & bit != 0)
    }

    /// The bytes of each line.
    pub(super) fn lines(&self) -> impl Iterator<Item = [u8; LINE_BYTES]> {
        self.pieces.iter().flatten().map(|Line(words)| {
            let mut bytes = [0; LINE_BYTES];
            bytes.as_chunks_mut().0.iter_mut().zip(words).for_each(|(to, word)| *to = word.to_le_bytes());
            bytes
        })
    }

    /// Reads one of so many bytes, piece by piece: `read` is told where in it a piece begins, and of how many bytes it is.
    pub(super) fn read<E>(bytes: u64, read: impl Fn(u64, usize) -> Result<Vec<u8>, E>) -> Result<Self, E> {
        let line = |line: &[u8; LINE_BYTES]| {
            let mut words = [0; WORDS];
            words.iter_mut().zip(line.as_chunks().0).for_each(|(word, bytes)| *word = u64::from_le_bytes(*bytes));
            Line(words)
        };
        let piece = |from: u64| {
            let len = bytes.saturating_sub(from).min(PIECE_BYTES);
            let bytes = read(from, usize::try_from(len).unwrap_or(usize::MAX))?;
            Ok(bytes.as_chunks().0.iter().map(line).collect())
        };
        let pieces = (0..bytes).step_by(PIECE_BYTES as usize).map(piece).collect::<Result<Vec<Vec<Line>>, E>>()?;
        Ok(Self { lines: pieces.iter().map(Vec::len).sum(), pieces })
    }
}

/// The bit of an id in each word.
fn bits(id: &[u8]) -> impl Iterator<Item = u64> {
    let spread = prefix(id).wrapping_mul(SPREAD);
    (0..WORDS as u32).map(move |nth| 1 << (spread >> FIRST_SHIFT.saturating_sub(nth.saturating_mul(BITS)) & 63))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::hash::{Context, hash};

    fn id(nth: u64) -> [u8; 32] {
        hash(Context::Id, &[&nth.to_le_bytes()])
    }

    /// A filter as it is read from these bytes.
    fn read(bytes: &[u8]) -> Filter {
        let part = |from: u64, len| Ok::<_, Infallible>(bytes[from as usize..][..len].to_vec());
        let Ok(filter) = Filter::read(bytes.len() as u64, part);
        filter
    }

    /// What is in it passes, and hardly anything else does.
    #[test]
    fn of_a_thousand_unknown_ids_one_passes() {
        for count in [1, 31, 32, 33, 16_384, 40_000] {
            let mut filter = Filter::new(count);
            (0..count).for_each(|nth| filter.add(&id(nth)));
            let bytes = filter.lines().collect::<Vec<_>>().concat();
            assert_eq!(bytes.len() as u64, Filter::len(count));
            let known = read(&bytes);
            assert!((0..count).all(|nth| known.glance(&id(nth)) && known.may_have(&id(nth))), "{count}");
            let passed = (count..count + 100_000).filter(|nth| known.may_have(&id(*nth))).count();
            assert!(passed < 200, "{passed} of 100,000 pass a filter of {count}");
            let glanced = (count..count + 100_000).filter(|nth| known.glance(&id(*nth))).count();
            assert!(glanced < 50_000, "{glanced} of 100,000 pass a glance at a filter of {count}");
        }
        assert!(!read(&[]).may_have(&id(1)));
    }

    /// Ids that somebody chose, all alike in their first bytes: they pass each other's filter, and nothing breaks.
    #[test]
    fn ids_that_begin_alike_are_one_to_it() {
        let mut filter = Filter::new(64);
        (0..64u64).for_each(|nth| filter.add(&[&[7; 8][..], &nth.to_le_bytes()].concat()));
        let known = read(&filter.lines().collect::<Vec<_>>().concat());
        assert!(known.may_have(&[7; 32]));
        assert!(!known.may_have(&[8; 32]));
    }
}
