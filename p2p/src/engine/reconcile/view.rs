//! The transactions of a span of time as negentropy sees them: sorted by rank and alias, addressable by ordinal.
//!
//! 24 bytes each, at most [`VIEW_MAX`]: the longest that building one takes bounds how long the ledger is held.

use negentropy::{Bound, Error, ID_SIZE, Id, Item, NegentropyStorageBase};
use qasedak_chain::{Position, ledger::OrderKey};

use super::places::Placed;
use crate::wire::{Alias, Salt};

/// Most transactions of a view.
pub(in crate::engine) const VIEW_MAX: usize = 65_536;
/// Bits of a rank that hold the depth.
const DEPTH_BITS: u32 = 29;

/// A half-open span of time, in seconds since 1970, multiples of 60.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) struct Span {
    pub(in crate::engine) from: u64,
    pub(in crate::engine) to: u64,
}

impl Span {
    /// Its two halves; `None` when it is one minute or less.
    pub(super) fn halves(self) -> Option<(Self, Self)> {
        let middle = self.from.midpoint(self.to) / 60 * 60;
        (self.from < middle).then_some((Self { to: middle, ..self }, Self { from: middle, ..self }))
    }
}

/// What negentropy calls a timestamp: minute and depth, so that parents rank before their children.
pub(super) fn rank(key: &OrderKey) -> u64 {
    let depth = key.depth.get().min((1 << DEPTH_BITS) - 1);
    (key.time.secs() / 60) << DEPTH_BITS | depth
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    rank: u64,
    alias: Alias,
    position: Position,
}

impl Entry {
    fn item(&self) -> Item {
        let mut id = [0; ID_SIZE];
        id.iter_mut().zip(self.alias.as_bytes()).for_each(|(to, from)| *to = *from);
        Item::with_timestamp_and_id(self.rank, Id::from_byte_array(id))
    }
}

/// See the module's page.
#[derive(Debug)]
pub(in crate::engine) struct View(Vec<Entry>);

impl View {
    /// The view of the transactions at these places, under a salt.
    pub(super) fn new(salt: &Salt, places: &[Placed]) -> Self {
        let entry =
            |place: &Placed| Entry { rank: place.rank, alias: Alias::of(salt, &place.id), position: place.position };
        let mut entries: Vec<Entry> = places.iter().map(entry).collect();
        entries.sort_unstable();
        // negentropy takes no item twice, and aliases are short.
        entries.dedup_by_key(|entry| (entry.rank, entry.alias));
        Self(entries)
    }

    /// A view of anything.
    #[cfg(test)]
    pub(super) fn of(entries: impl IntoIterator<Item = (u64, Alias)>) -> Self {
        let entry = |(rank, alias)| Entry { rank, alias, position: Position::new(0) };
        let entries: std::collections::BTreeSet<Entry> = entries.into_iter().map(entry).collect();
        Self(entries.into_iter().collect())
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where the transactions with these aliases stand in the log, in the order of the aliases.
    pub(super) fn positions(&self, aliases: &[Alias]) -> Vec<Option<Position>> {
        let mut wanted: Vec<(Alias, Option<Position>)> = aliases.iter().map(|alias| (*alias, None)).collect();
        wanted.sort_unstable();
        for entry in &self.0 {
            if let Ok(at) = wanted.binary_search_by_key(&entry.alias, |(alias, _)| *alias)
                && let Some((_, position)) = wanted.get_mut(at)
            {
                *position = Some(entry.position);
            }
        }
        let of = |alias: &Alias| {
            let at = wanted.binary_search_by_key(alias, |(alias, _)| *alias).ok()?;
            wanted.get(at)?.1
        };
        aliases.iter().map(of).collect()
    }
}

impl NegentropyStorageBase for View {
    fn size(&self) -> Result<usize, Error> {
        Ok(self.0.len())
    }

    fn get_item(&self, at: usize) -> Result<Option<Item>, Error> {
        Ok(self.0.get(at).map(Entry::item))
    }

    fn iterate(
        &self,
        begin: usize,
        end: usize,
        visit: &mut dyn FnMut(Item, usize) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let entries = self.0.get(begin..end).ok_or(Error::BadRange)?;
        for (at, entry) in (begin..).zip(entries) {
            if !visit(entry.item(), at)? {
                break;
            }
        }
        Ok(())
    }

    fn find_lower_bound(&self, first: usize, last: usize, bound: &Bound) -> usize {
        let entries = self.0.get(first..last).unwrap_or_default();
        first.saturating_add(entries.partition_point(|entry| entry.item() < bound.item))
    }
}
