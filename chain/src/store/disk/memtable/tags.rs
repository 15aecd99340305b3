//! Tags with their positions: in log order, and by each tag the last one, which leads to those before it.

use std::collections::HashMap;

use foldhash::quality::RandomState;

/// A tag of a record.
#[derive(Debug)]
struct Tagged {
    tag: [u8; 16],
    position: u64,
    /// The one before this that has the same tag.
    before: Option<u32>,
}

/// Tags with their positions.
#[derive(Debug, Default)]
pub(super) struct Tags {
    /// Positions ascend.
    all: Vec<Tagged>,
    /// By tag the last that has it. The hash is keyed by chance, so that nobody can choose tags that collide.
    last: HashMap<[u8; 16], u32, RandomState>,
}

impl Tags {
    /// Adds the tag of a record behind all others.
    pub(super) fn push(&mut self, tag: [u8; 16], position: u64) {
        let nth = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let before = self.last.insert(tag, nth);
        self.all.push(Tagged { tag, position, before });
    }

    /// Positions of a tag, ascending, from `from` on.
    pub(super) fn from(&self, tag: &[u8; 16], from: u64) -> Vec<u64> {
        let get = |nth: u32| self.all.get(usize::try_from(nth).ok()?);
        let last = self.last.get(tag).and_then(|nth| get(*nth));
        let backwards = std::iter::successors(last, |tagged| get(tagged.before?));
        let mut positions: Vec<u64> =
            backwards.map(|tagged| tagged.position).take_while(|position| *position >= from).collect();
        positions.reverse();
        positions
    }

    /// All of them, in log order.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8; 16], u64)> {
        self.all.iter().map(|tagged| (&tagged.tag, tagged.position))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
        /// Whatever tags come, each has exactly its positions.
        #[test]
        fn each_tag_has_its_positions(tags in prop::collection::vec(0..9u8, 0..200), asked in 0..9u8, from in 0..300u64) {
            let expected: Vec<([u8; 16], u64)> = tags.iter().map(|tag| [*tag; 16]).zip(50..).collect();
            let mut all = Tags::default();
            expected.iter().for_each(|(tag, position)| all.push(*tag, *position));
            let asked_for = |(tag, position): &&([u8; 16], u64)| *tag == [asked; 16] && *position >= from;
            let positions: Vec<u64> = expected.iter().filter(asked_for).map(|(_, position)| *position).collect();
            prop_assert_eq!(all.from(&[asked; 16], from), positions);
            prop_assert!(all.iter().eq(expected.iter().map(|(tag, position)| (tag, *position))));
        }
    }
}
