//! A set of expected tags, made once and asked about every tagged entry of the ledger.
//!
//! Tags are hashes: their own bits spread them, so that no other hash is needed. Most entries are for others, and a
//! look at one word of a filter says so (a Bloom filter of two bits in one word; Putze, Sanders and Singler, "Cache-, Hash-
//! and Space-Efficient Bloom Filters", 2007); those that pass are searched for.

/// Bits of the filter for each tag, at least: of the tags of others one in a hundred or less is searched for in vain.
const BITS_EACH: usize = 16;

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub(super) struct Tags {
    /// Ascending, as little-endian numbers.
    sorted: Vec<u128>,
    /// For each tag two bits of a word are set, which its own bits choose.
    filter: Vec<u64>,
}

impl Tags {
    /// Adds tags.
    pub(super) fn extend(&mut self, tags: impl IntoIterator<Item = [u8; 16]>) {
        self.sorted.extend(tags.into_iter().map(u128::from_le_bytes));
        self.sorted.sort_unstable();
        self.sorted.dedup();
        let words = self.sorted.len().saturating_mul(BITS_EACH).div_ceil(64).next_power_of_two();
        let mut filter = vec![0; words];
        for tag in &self.sorted {
            let (word, bits) = place(*tag, words);
            if let Some(word) = filter.get_mut(word) {
                *word |= bits;
            }
        }
        self.filter = filter;
    }

    /// Whether a tag is among them.
    pub(super) fn contains(&self, tag: &[u8; 16]) -> bool {
        let tag = u128::from_le_bytes(*tag);
        let (word, bits) = place(tag, self.filter.len());
        self.filter.get(word).is_some_and(|word| word & bits == bits) && self.sorted.binary_search(&tag).is_ok()
    }
}

/// The word of a filter of so many, a power of two, that a tag's bits are in, and the bits.
fn place(tag: u128, words: usize) -> (usize, u64) {
    let high = (tag >> 64) as u64;
    let word = (high >> 12) as usize & words.saturating_sub(1);
    (word, 1 << (high & 63) | 1 << (high >> 6 & 63))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        /// Exactly those that were added are in it, however they came, also such as agree in most bits.
        #[test]
        fn it_is_a_set(
            added in prop::collection::vec(prop::collection::vec((any::<u8>(), 0usize..16), 0..60), 0..4),
            asked in prop::collection::vec((any::<u8>(), 0usize..16), 0..100),
        ) {
            let tag = |(byte, at): &(u8, usize)| {
                let mut tag = [0; 16];
                tag[*at] = *byte;
                tag
            };
            let (mut tags, mut set) = (Tags::default(), BTreeSet::new());
            prop_assert!(!tags.contains(&[0; 16]));
            for some in &added {
                tags.extend(some.iter().map(tag));
                set.extend(some.iter().map(tag));
            }
            for one in asked.iter().chain(added.iter().flatten()).map(tag) {
                prop_assert_eq!(tags.contains(&one), set.contains(&one));
            }
        }
    }
}
