//! What is kept of a large block, so that a proof reads some dozens of ids and log n hashes, and not all of the block
//! (`docs/storage.md`, "Blocks"; decision 0042).
//!
//! Content: count `u64` | root | positions of the block's records, ids ascending, 5 bytes each | roots of perfect subtrees
//! over 2^5 ids, then over 2^6, and so on, each level from left to right. All but the positions is little-endian.
//!
//! Invariant: none of it is relied on. It must be of the count and root that the block has now, so that it goes out of use
//! with a late arrival; ids come from the log; and a path counts only if it leads from its id to the block's root. What
//! fails there is as if nothing had been kept.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    block::{Block, Contents},
    ids::{LedgerId, Position, Root, TxId},
    merkle::{self, Nodes, PathError},
    proof::{Neighbour, Sides},
    store::{Kept, Store, StoreError},
};

/// Blocks of no more than so many are read whole.
pub(super) const READ_WHOLE: usize = 128;
/// The lowest level that is kept.
const LEVEL: u32 = 5;
/// Ids below a root of the lowest level: so many are read for one place.
const GROUP: u64 = 1 << LEVEL;
const FACTS_BYTES: u64 = 40;
const POSITION_BYTES: u64 = 5;
const ROOT_BYTES: u64 = 32;

/// What of a block's tree was found where.
pub(super) struct Place {
    pub(super) index: u64,
    pub(super) path: Vec<[u8; 32]>,
}

/// Count and root of a block, and what is kept of it. `ids` are all of its ids, ascending, with their positions.
pub(super) fn contents_and_bytes(ledger: LedgerId, ids: &[(TxId, Position)]) -> (Contents, Vec<u8>) {
    let root_over = |ids: &[(TxId, Position)]| merkle::root(ledger, ids.iter().map(|(id, _)| id));
    let (groups, rest) = ids.as_chunks::<{ GROUP as usize }>();
    let mut levels: Vec<Vec<[u8; 32]>> = vec![groups.iter().map(|group| *root_over(group).as_bytes()).collect()];
    while let Some(level) = levels.last().filter(|level| level.len() > 1) {
        let pairs = level.as_chunks::<2>().0.iter();
        levels.push(pairs.map(|[left, right]| merkle::node(ledger, left, right)).collect());
    }
    // From the smallest perfect subtree, which stands last, to the largest.
    let rest = (!rest.is_empty()).then(|| *root_over(rest).as_bytes());
    let peaks = levels.iter().filter(|level| !level.len().is_multiple_of(2)).filter_map(|level| level.last().copied());
    let root = rest.into_iter().chain(peaks).reduce(|right, left| merkle::node(ledger, &left, &right));
    let root = Root::from_bytes(root.unwrap_or_else(|| merkle::empty(ledger)));
    let count = ids.len() as u64;
    let mut bytes = [&count.to_le_bytes()[..], root.as_bytes()].concat();
    for (_, position) in ids {
        // So many transactions no disk holds that more than five bytes count.
        let [_, _, _, low @ ..] = position.get().to_be_bytes();
        bytes.extend_from_slice(&low);
    }
    levels.iter().flatten().for_each(|root| bytes.extend_from_slice(root));
    (Contents { count, root }, bytes)
}

/// Why what is kept leads nowhere.
pub(super) enum Failed {
    /// It is unsound, or out of date.
    Kept,
    /// The log cannot be read.
    Store(StoreError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<PathError<Failed>> for Failed {
    fn from(error: PathError<Failed>) -> Self {
        match error {
            PathError::Nodes(failed) => failed,
            PathError::OutOfRange { .. } => Self::Kept,
        }
    }
}

/// So often it is guessed where an id stands, before its place is found by halves.
const GUESSES: u32 = 6;

/// An id's first bytes as a number.
fn leading(id: &TxId) -> u64 {
    id.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// The group between two, neither of them, that should begin at `wanted` when ids are spread evenly between `low` and
/// `high`, each a group and the number that it begins with.
fn between(low: (u64, u64), high: (u64, u64), wanted: u64) -> u64 {
    let (groups, span) = (high.0.saturating_sub(low.0), high.1.saturating_sub(low.1));
    let into = u128::from(wanted.saturating_sub(low.1)).saturating_mul(groups.into());
    let guess = into.checked_div(span.into()).and_then(|guess| u64::try_from(guess).ok()).unwrap_or_default();
    low.0.saturating_add(guess).clamp(low.0.saturating_add(1), high.0.saturating_sub(1))
}

/// A block of which something is kept.
pub(super) struct KeptBlock<'a, S> {
    store: &'a S,
    ledger: LedgerId,
    block: Block,
    kept: Kept,
    /// Groups of ids that were read: one or two where the place is, and the last.
    groups: RefCell<BTreeMap<u64, Vec<TxId>>>,
}

impl<'a, S: Store> KeptBlock<'a, S> {
    /// What is kept of a block as it is now; `None` when nothing is.
    pub(super) fn open(store: &'a S, ledger: LedgerId, block: &Block) -> Option<Self> {
        let kept = store.kept_block(block.number)?;
        let facts = [&block.count.to_le_bytes()[..], block.root.as_bytes()].concat();
        let is_current = kept.read(0, facts.len())? == facts;
        is_current.then(|| Self { store, ledger, block: *block, kept, groups: RefCell::default() })
    }

    fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, Failed> {
        let len = usize::try_from(len).map_err(|_| Failed::Kept)?;
        self.kept.read(offset, len).ok_or(Failed::Kept)
    }

    /// Ids of so many places from `first` on.
    fn ids(&self, first: u64, count: u64) -> Result<Vec<TxId>, Failed> {
        let at = first.saturating_mul(POSITION_BYTES).saturating_add(FACTS_BYTES);
        let bytes = self.read(at, count.saturating_mul(POSITION_BYTES))?;
        let entries = bytes.as_chunks::<{ POSITION_BYTES as usize }>().0.iter();
        let positions: Vec<Position> =
            entries.map(|entry| Position::new(entry.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))).collect();
        self.store.ids_at(&positions)?.ok_or(Failed::Kept)
    }

    /// Ids of the group that a place is in.
    fn group(&self, index: u64) -> Result<Vec<TxId>, Failed> {
        let nth = index / GROUP;
        if let Some(group) = self.groups.borrow().get(&nth) {
            return Ok(group.clone());
        }
        let first = nth.saturating_mul(GROUP);
        let group = self.ids(first, GROUP.min(self.block.count.saturating_sub(first)))?;
        self.groups.borrow_mut().insert(nth, group.clone());
        Ok(group)
    }

    /// The id at a place.
    fn id(&self, index: u64) -> Result<TxId, Failed> {
        let nth = usize::try_from(index % GROUP).map_err(|_| Failed::Kept)?;
        self.group(index)?.get(nth).copied().ok_or(Failed::Kept)
    }

    /// How many ids of the block are less than this one, and whether it is the next.
    fn rank(&self, id: &TxId) -> Result<(u64, bool), Failed> {
        // The last group that begins with no greater id. Ids are hashes, so that a group stands about as far from the ends
        // as its first id does, and two or three looks find it. Should somebody have seen to it that they are not spread
        // evenly, half of what is left goes with every look from some on.
        let (mut low, mut high) = (0, self.block.count.div_ceil(GROUP));
        let (mut least, mut most, wanted) = (0, u64::MAX, leading(id));
        let mut looks = 0u32;
        while high.saturating_sub(low) > 1 {
            let middle = if looks < GUESSES { between((low, least), (high, most), wanted) } else { low.midpoint(high) };
            let first = self.ids(middle.saturating_mul(GROUP), 1)?.first().copied().ok_or(Failed::Kept)?;
            if first <= *id {
                (low, least) = (middle, leading(&first))
            } else {
                (high, most) = (middle, leading(&first))
            }
            looks = looks.saturating_add(1);
        }
        let start = low.saturating_mul(GROUP);
        let group = self.group(start)?;
        let (Ok(nth) | Err(nth)) = group.binary_search(id);
        Ok((start.saturating_add(nth as u64), group.get(nth) == Some(id)))
    }

    /// The way from the id at a place to the block's root.
    fn path(&self, index: u64, id: &TxId) -> Result<Vec<[u8; 32]>, Failed> {
        let Block { count, root, .. } = self.block;
        let path = merkle::inclusion_path(self.ledger, self, index, count)?;
        let leaf = merkle::leaf(self.ledger, id.as_bytes());
        let leads = merkle::verify_inclusion(self.ledger, leaf, index, count, &path, &root);
        if leads { Ok(path) } else { Err(Failed::Kept) }
    }

    /// The place of an id that the block is to hold.
    pub(super) fn place(&self, id: &TxId) -> Result<Place, Failed> {
        let (index, is_here) = self.rank(id)?;
        if !is_here {
            return Err(Failed::Kept);
        }
        Ok(Place { index, path: self.path(index, id)? })
    }

    /// The ids on either side of one that the block is not to hold.
    pub(super) fn neighbours(&self, id: &TxId) -> Result<Sides<Neighbour>, Failed> {
        let (index, is_here) = self.rank(id)?;
        let side = |index: u64| {
            let id = self.id(index)?;
            Ok::<Neighbour, Failed>(Neighbour { id, index, path: self.path(index, &id)? })
        };
        let before = index.checked_sub(1).map(side).transpose()?;
        let after = (index < self.block.count).then(|| side(index)).transpose()?;
        let between =
            before.as_ref().is_none_or(|before| before.id < *id) && after.as_ref().is_none_or(|after| *id < after.id);
        if is_here || !between { Err(Failed::Kept) } else { Ok((before, after)) }
    }
}

impl<S: Store> Nodes for KeptBlock<'_, S> {
    type Error = Failed;

    fn node(&self, level: u32, index: u64) -> Result<[u8; 32], Failed> {
        let count = self.block.count;
        let Some(above) = level.checked_sub(LEVEL) else {
            let first = index << level;
            let group = self.group(first)?;
            let skip = usize::try_from(first % GROUP).map_err(|_| Failed::Kept)?;
            let ids = group.get(skip..).and_then(|ids| ids.get(..1 << level)).ok_or(Failed::Kept)?;
            return Ok(*merkle::root(self.ledger, ids).as_bytes());
        };
        let below: u64 = (0..above).map(|below| count >> LEVEL >> below).fold(0, u64::saturating_add);
        let at = count
            .saturating_mul(POSITION_BYTES)
            .saturating_add(below.saturating_add(index).saturating_mul(ROOT_BYTES))
            .saturating_add(FACTS_BYTES);
        self.read(at, ROOT_BYTES)?.try_into().map_err(|_| Failed::Kept)
    }
}

#[cfg(test)]
mod tests;
