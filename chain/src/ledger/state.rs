//! The state at the end of the log: count, link and Merkle peaks, all advanced by one id at a time.

use crate::{
    digest::{STATE_BYTES, SetDigest},
    ids::{Digest, LedgerId, Link, TxId},
    ledger::{Summary, digests::Digested},
    link::{first_link, next_link},
    merkle::Accumulator,
    store::StoreError,
};

/// So many ids are kept before they are taken into the tree, unless a store has worked that out by then.
const BEHIND_MAX: usize = 4_096;
/// The lowest level of the tree that every store keeps at hand: roots over 2^4 records. What stands below is written down
/// with the state.
const KEPT_LEVEL: u32 = 4;

/// Where roots of perfect subtrees are read: level, and index within that.
pub(crate) type ReadNode<'a> = &'a dyn Fn(u32, u64) -> Result<[u8; 32], StoreError>;

/// The running values over all records of the log.
#[derive(Clone, Debug)]
pub(crate) struct State {
    ledger: LedgerId,
    link: Link,
    tree: Accumulator,
    /// Ids that are not in the tree yet. Its hashes are half of all that a record costs here, and a store that keeps the tree
    /// computes them beside the flush: [`tree_is`](Self::tree_is).
    behind: Vec<TxId>,
}

/// However much of it is in the tree already.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let plain = |state: &Self| (state.ledger, state.link, state.count());
        plain(self) == plain(other) && self.whole_tree() == other.whole_tree()
    }
}

impl Eq for State {}

impl State {
    pub(crate) fn new(ledger: LedgerId) -> Self {
        Self { ledger, link: first_link(ledger), tree: Accumulator::new(ledger), behind: Vec::new() }
    }

    pub(crate) fn count(&self) -> u64 {
        self.tree.len().saturating_add(self.behind.len() as u64)
    }
    pub(crate) fn link(&self) -> Link {
        self.link
    }

    pub(crate) fn push(&mut self, id: &TxId) {
        self.link = next_link(self.link, id);
        self.behind.push(*id);
        if self.behind.len() >= BEHIND_MAX {
            self.grow_tree();
        }
    }

    /// Takes all ids into the tree: for a store that does not work it out.
    pub(crate) fn grow_tree(&mut self) {
        self.behind.drain(..).for_each(|id| self.tree.push(&id));
    }

    /// Takes over the tree over the first `count` records, as the store has worked it out from the same ids.
    pub(crate) fn tree_is(&mut self, count: u64, peaks: Vec<[u8; 32]>) {
        let done = count.checked_sub(self.tree.len()).and_then(|done| usize::try_from(done).ok());
        if let Some(done) = done.filter(|done| *done <= self.behind.len())
            && let Some(tree) = Accumulator::from_peaks(self.ledger, count, peaks)
        {
            self.tree = tree;
            self.behind.drain(..done);
        }
    }

    /// The tree over all records.
    fn whole_tree(&self) -> Accumulator {
        let mut tree = self.tree.clone();
        self.behind.iter().for_each(|id| tree.push(id));
        tree
    }

    /// What it comes to, with the digest of the records that it counts.
    pub(crate) fn summary(&self, digest: Digest) -> Summary {
        Summary { count: self.count(), link: self.link, root: self.whole_tree().root(), digest }
    }

    /// Roots of the perfect subtrees at the end that are lower than those that stores keep.
    fn low_peaks(&self) -> Vec<[u8; 32]> {
        let low = usize::try_from(self.count() % (1 << KEPT_LEVEL)).unwrap_or_default();
        let tree = match self.behind.len().checked_sub(low) {
            Some(skipped) => {
                let mut tree = Accumulator::new(self.ledger);
                self.behind.iter().skip(skipped).for_each(|id| tree.push(id));
                tree
            }
            None => self.whole_tree(),
        };
        let peaks = tree.peaks();
        peaks.get(peaks.len().saturating_sub(low.count_ones() as usize)..).unwrap_or_default().to_vec()
    }

    /// count u64 | link | digest state | records in the digest u64 | low peaks.
    pub(crate) fn to_bytes(&self, digested: &Digested) -> Vec<u8> {
        let mut bytes = self.count().to_be_bytes().to_vec();
        bytes.extend_from_slice(self.link.as_bytes());
        bytes.extend_from_slice(&digested.set.to_bytes());
        bytes.extend_from_slice(&digested.count.to_be_bytes());
        self.low_peaks().iter().for_each(|peak| bytes.extend_from_slice(peak));
        bytes
    }

    /// How many records a state in this form counts.
    pub(crate) fn count_of(bytes: &[u8]) -> Option<u64> {
        bytes.first_chunk().map(|count| u64::from_be_bytes(*count))
    }

    /// Reads a state, and how far the digest is; `None` when it is none. Peaks that are not in it are read with `node`;
    /// earlier versions wrote all.
    pub(crate) fn from_bytes(
        ledger: LedgerId,
        bytes: &[u8],
        node: ReadNode<'_>,
    ) -> Result<Option<(Self, Digested)>, StoreError> {
        let Some((count, link, digested, peaks)) = split(ledger, bytes) else {
            return Ok(None);
        };
        let high = count >> KEPT_LEVEL << KEPT_LEVEL;
        let mut all = Vec::new();
        if peaks.len() < count.count_ones() as usize {
            for level in (KEPT_LEVEL..u64::BITS).rev().filter(|level| high >> level & 1 == 1) {
                all.push(node(level, (high >> level).saturating_sub(1))?);
            }
        }
        all.extend_from_slice(peaks);
        let tree = Accumulator::from_peaks(ledger, count, all);
        Ok(tree.map(|tree| (Self { ledger, link, tree, behind: Vec::new() }, digested)))
    }
}

/// Count, link, digest and peaks of a state.
fn split(ledger: LedgerId, bytes: &[u8]) -> Option<(u64, Link, Digested, &[[u8; 32]])> {
    let (count, rest) = bytes.split_first_chunk::<8>()?;
    let (link, rest) = rest.split_first_chunk::<32>()?;
    let (set, rest) = rest.split_at_checked(STATE_BYTES)?;
    // In earlier versions the digest was that of all records, and did not say so.
    let (digested, rest) = match rest.split_first_chunk::<8>() {
        Some((digested, peaks)) if peaks.len() % 32 == 0 => (digested, peaks),
        _ => (count, rest),
    };
    let (peaks, []) = rest.as_chunks::<32>() else {
        return None;
    };
    let (count, digested) = (u64::from_be_bytes(*count), u64::from_be_bytes(*digested));
    let digested = Digested { count: digested, set: SetDigest::from_bytes(ledger, set)? };
    (digested.count <= count).then_some((count, Link::from_bytes(*link), digested, peaks))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say by panicking that something is wrong")]

    use super::*;
    use crate::{ids::Root, merkle};

    const LEDGER: LedgerId = LedgerId::from_bytes([4; 32]);

    fn ids(count: u64) -> Vec<TxId> {
        (0..count).map(|n| TxId::from_bytes([n as u8 ^ (n >> 8) as u8; 32])).collect()
    }

    fn state(ids: &[TxId]) -> State {
        let mut state = State::new(LEDGER);
        ids.iter().for_each(|id| state.push(id));
        state
    }

    fn root(state: &State) -> Root {
        state.summary(Digest::from_bytes([0; 32])).root
    }

    /// What was written down comes back with the subtrees that the store has, and as earlier versions wrote it without.
    #[test]
    fn a_state_is_read_as_it_was_written() {
        let all = ids(5_000);
        let node = |level: u32, index: u64| {
            let from = usize::try_from(index << level).unwrap();
            Ok(*merkle::root(LEDGER, &all[from..from + (1 << level)]).as_bytes())
        };
        for count in [0, 1, 15, 16, 17, 31, 32, 100, 255, 4_095, 4_096, 4_097, 4_999] {
            let state = state(&all[..count]);
            assert_eq!(root(&state), merkle::root(LEDGER, &all[..count]));
            let mut digested = Digested { count: count as u64 / 2, set: SetDigest::new(LEDGER) };
            all[..count / 2].iter().for_each(|id| digested.set.add(id));
            let bytes = state.to_bytes(&digested);
            let read = State::from_bytes(LEDGER, &bytes, &node).unwrap().unwrap();
            assert_eq!((&read.0, read.0.count(), &read.1), (&state, count as u64, &digested), "{count}");
            // As two earlier versions wrote it: without how far the digest is, and with all peaks.
            digested.count = count as u64;
            let earlier = [&bytes[..40 + STATE_BYTES], &bytes[48 + STATE_BYTES..]].concat();
            let read = State::from_bytes(LEDGER, &earlier, &node).unwrap().unwrap();
            assert_eq!((&read.0, &read.1), (&state, &digested), "{count}");
            let mut earlier = bytes[..40 + STATE_BYTES].to_vec();
            earlier.extend(state.whole_tree().peaks().concat());
            let none = |_, _| panic!("all peaks are there");
            let read = State::from_bytes(LEDGER, &earlier, &none).unwrap().unwrap();
            assert_eq!((&read.0, &read.1), (&state, &digested), "{count}");
            earlier.extend([0; 64]);
            assert_eq!(State::from_bytes(LEDGER, &earlier, &node).unwrap(), None);
            digested.count += 1;
            assert_eq!(
                State::from_bytes(LEDGER, &state.to_bytes(&digested), &node).unwrap(),
                None,
                "of more than there are"
            );
        }
    }

    /// The tree of a store takes the place of what is behind, and of nothing else.
    #[test]
    fn the_stores_tree_is_taken_over() {
        let all = ids(1_000);
        let peaks = |count: usize| state(&all[..count]).whole_tree().peaks().to_vec();
        let mut state = state(&all);
        let whole = root(&state);
        for count in [0, 300, 300, 700, 200, 1_001, 1_000] {
            state.tree_is(count as u64, peaks(count.min(1_000)));
            assert_eq!(root(&state), whole, "{count}");
            assert_eq!(state.count(), 1_000);
        }
        assert_eq!(state.behind, []);
    }
}
