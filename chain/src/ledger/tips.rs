//! The tips of the frontier, and the pages in which the index keeps them.
//!
//! Tips come and go with every transaction, and the index is costly by the key: so it keeps them by the page, and is told
//! of the pages that changed. A tip that was covered before the index heard of it costs nothing there.

use std::collections::BTreeMap;

use self::by_id::ById;
use super::keys;
use crate::{
    ids::TxId,
    store::{Change, Pair, Tree},
    time::Time,
};

mod by_id;

/// Most tips of a page.
const PAGE: usize = 64;
/// Bytes of a tip in a page: id | time.
const TIP_BYTES: usize = 40;

/// A settled transaction without settled children.
#[derive(Clone, Copy, Debug)]
struct Tip {
    time: Time,
    kept: Kept,
}

/// Where the index keeps a tip.
#[derive(Clone, Copy, Debug)]
enum Kept {
    Nowhere,
    /// Under a key of its own, as earlier versions did.
    Alone,
    Page(u64),
}

#[derive(Debug, Default)]
struct Page {
    tips: Vec<(TxId, Time)>,
    /// Whether the index has heard of it.
    told: bool,
    /// Whether the index is to be told of it as it is now.
    changed: bool,
}

/// The tips, and how they differ from what the index knows of them.
#[derive(Debug, Default)]
pub(super) struct Tips {
    tips: ById<Tip>,
    /// Tips that the index has not heard of, also those that are covered by now.
    added: Vec<TxId>,
    /// Tips with keys of their own that are none any more.
    covered: Vec<TxId>,
    pages: BTreeMap<u64, Page>,
    /// The number of the next page; none is used twice.
    next_page: u64,
}

impl Tips {
    /// The tips as the index has them.
    pub(super) fn load(pairs: &[Pair]) -> Self {
        let mut tips = Self::default();
        for (key, value) in pairs {
            if let (Some(id), Some(time)) = (keys::read_id(key), keys::read_u64(value)) {
                tips.tips.add(id, Tip { time: Time::from_secs(time), kept: Kept::Alone });
            } else if let Some(number) = keys::read_tip_page(key) {
                tips.load_page(number, value);
            }
        }
        tips
    }

    fn load_page(&mut self, number: u64, value: &[u8]) {
        let page = self.pages.entry(number).or_insert(Page { told: true, ..Page::default() });
        for tip in value.as_chunks::<TIP_BYTES>().0 {
            let (id, time) = tip.split_first_chunk::<32>().unwrap_or((&[0; 32], &[]));
            let (id, time) = (TxId::from_bytes(*id), Time::from_secs(keys::read_u64(time).unwrap_or_default()));
            page.tips.push((id, time));
            self.tips.add(id, Tip { time, kept: Kept::Page(number) });
        }
        self.next_page = self.next_page.max(number.saturating_add(1));
    }

    /// All of them, ascending.
    pub(super) fn ids(&self) -> Vec<TxId> {
        self.tips.ids().copied().collect()
    }
    pub(super) fn len(&self) -> usize {
        self.tips.len()
    }
    pub(super) fn time_of(&self, id: &TxId) -> Option<Time> {
        self.tips.get(id).map(|tip| tip.time)
    }

    pub(super) fn add(&mut self, id: TxId, time: Time) {
        if self.tips.add(id, Tip { time, kept: Kept::Nowhere }) {
            self.added.push(id);
        }
    }

    /// It has a settled child, and is no tip any more.
    pub(super) fn cover(&mut self, id: &TxId) {
        match self.tips.remove(id).map(|tip| tip.kept) {
            None | Some(Kept::Nowhere) => {}
            Some(Kept::Alone) => self.covered.push(*id),
            Some(Kept::Page(number)) => {
                if let Some(page) = self.pages.get_mut(&number) {
                    let nth = page.tips.iter().position(|(tip, _)| tip == id);
                    nth.map(|nth| page.tips.swap_remove(nth));
                    page.changed = true;
                }
            }
        }
    }

    /// What the index is to be told.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        self.give_pages();
        let covered = std::mem::take(&mut self.covered).into_iter();
        let mut changes: Vec<Change> = covered.map(|id| Change::remove(Tree::Frontier, keys::tip(&id))).collect();
        let changed: Vec<u64> = self.pages.iter().filter(|(_, page)| page.changed).map(|(number, _)| *number).collect();
        changes.extend(changed.into_iter().filter_map(|number| self.page_change(number)));
        changes
    }

    /// Gives every tip a page that was added and is one still.
    fn give_pages(&mut self) {
        let Self { tips, added, pages, next_page, .. } = self;
        let last = pages.last_key_value().map(|(number, page)| (*number, PAGE.saturating_sub(page.tips.len())));
        let (mut number, mut room) = last.unwrap_or_default();
        let mut give_page = |id: &TxId, tip: &mut Tip| {
            if let Kept::Nowhere = tip.kept {
                if room == 0 {
                    (number, room) = (*next_page, PAGE);
                    *next_page = next_page.saturating_add(1);
                }
                let page = pages.entry(number).or_default();
                page.tips.push((*id, tip.time));
                (page.changed, tip.kept, room) = (true, Kept::Page(number), room.saturating_sub(1));
            }
        };
        // Where many came, most of them are covered by now.
        if added.len() > tips.len() {
            tips.iter_mut().for_each(|(id, tip)| give_page(id, tip));
        } else {
            for id in added.iter() {
                tips.get_mut(id).into_iter().for_each(|tip| give_page(id, tip));
            }
        }
        added.clear();
    }

    fn page_change(&mut self, number: u64) -> Option<Change> {
        let key = keys::tip_page(number);
        let page = self.pages.get_mut(&number)?;
        page.changed = false;
        if page.tips.is_empty() {
            let told = page.told;
            self.pages.remove(&number);
            return told.then(|| Change::remove(Tree::Frontier, key));
        }
        let mut value = Vec::with_capacity(page.tips.len().saturating_mul(TIP_BYTES));
        for (id, time) in &page.tips {
            value.extend_from_slice(id.as_bytes());
            value.extend_from_slice(&time.secs().to_be_bytes());
        }
        let fresh = !std::mem::replace(&mut page.told, true);
        Some(Change { fresh, ..Change::put(Tree::Frontier, key, value) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> TxId {
        let mut id = [0; 32];
        id.iter_mut().zip(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()).for_each(|(to, from)| *to = from);
        TxId::from_bytes(id)
    }

    /// Whatever comes and goes between two tellings, the index has exactly the tips.
    #[test]
    fn what_the_index_was_told_are_the_tips() {
        let mut index: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        // One tip that an earlier version wrote.
        index.insert(keys::tip(&id(9_999)), keys::number(60));
        let mut tips = Tips::load(&index.clone().into_iter().collect::<Vec<_>>());
        for n in 0..3_000u64 {
            tips.add(id(n), Time::from_secs(n * 60));
            // Most are covered soon, some late, some never.
            for back in [3, 70, 500] {
                if n % 11 != 0 && n >= back {
                    tips.cover(&id((n - back) / 2 * 2));
                }
            }
            if n == 2_000 {
                tips.cover(&id(9_999));
            }
            if n % 37 == 0 {
                for Change { key, value, fresh, .. } in tips.take_changes() {
                    assert!(!fresh || !index.contains_key(&key), "a key is new once");
                    match value {
                        Some(value) => drop(index.insert(key, value)),
                        None => assert!(index.remove(&key).is_some(), "only what the index knows is removed"),
                    }
                }
                let loaded = Tips::load(&index.clone().into_iter().collect::<Vec<_>>());
                let all = |tips: &Tips| tips.ids().into_iter().map(|id| (id, tips.time_of(&id))).collect::<Vec<_>>();
                assert_eq!(all(&loaded), all(&tips));
                assert!(loaded.next_page <= tips.next_page);
            }
        }
        assert!(tips.len() > PAGE && index.len() < tips.len() / 4, "{} tips, {} keys", tips.len(), index.len());
    }
}
