//! Checking the index against the log, and deriving it anew by hand.

use std::collections::BTreeMap;

use self::{blocks::BlocksCheck, frontier::FrontierCheck};
use super::{Ledger, OrderKey, state::State};
use crate::{
    digest::SetDigest,
    ids::{Digest, LedgerId, Position, TxId},
    merkle,
    network::Network,
    store::{Record, Store, StoreError},
    time::Time,
    transaction::Kind,
};

mod blocks;
mod frontier;

/// Records, or places in order, that are compared in one go.
const PAGE: usize = 4_096;
/// Levels of the tree below which no store keeps roots.
const LEVELS_READ: u32 = 4;

/// What a check of the index found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexCheck {
    /// The index says what follows from the log, and nothing else.
    Agrees,
    /// It does not; this is the first place, in words.
    Contradicts(String),
}

impl<S: Store> Ledger<S> {
    /// Sets the index aside and derives all of it from the log.
    ///
    /// # Errors
    /// [`StoreError`] when the log is damaged, or the index cannot be set aside or written.
    pub fn rebuild_index(network: Network, store: S) -> Result<Self, StoreError> {
        Self::rebuild_index_with(network, store, &mut |_, _| {})
    }

    /// The same; `progress` is told how many records are done, and of how many, once for what the store indexes and once
    /// for what the ledger derives.
    ///
    /// # Errors
    /// As [`rebuild_index`](Self::rebuild_index).
    pub fn rebuild_index_with(
        network: Network,
        mut store: S,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, StoreError> {
        store.reset_index(progress)?;
        Self::open_with(network, store, progress)
    }

    /// Compares every entry of the index that names a transaction, the Merkle tree over the log, the per-day digests, the
    /// blocks, the frontier and the state with what follows from the log. `progress` is told how many transactions have
    /// been compared, each twice: in log order, then in canonical order.
    ///
    /// # Errors
    /// [`StoreError`] when log or index cannot be read.
    pub fn check_index(&self, progress: &mut dyn FnMut(u64)) -> Result<IndexCheck, StoreError> {
        let ledger = self.network.ledger();
        let (mut state, mut subtrees) = (State::new(ledger), Subtrees::new(ledger));
        let mut days = BTreeMap::<u64, (u64, SetDigest)>::new();
        let mut frontier = FrontierCheck::new(self)?;
        loop {
            let records = self.records(Position::new(state.count()), PAGE)?;
            if records.is_empty() {
                break;
            }
            for record in &records {
                let position = Position::new(state.count());
                let misplaced = self.misplaced(position, record, &mut subtrees)?;
                if let Some(what) = misplaced.or(frontier.push(self, position, record)) {
                    return Ok(contradicts(format!("position {position}, id {}: {what}", record.id)));
                }
                state.push(&record.id);
                let day = record.header.core().time().day();
                let day = days.entry(day).or_insert_with(|| (0, SetDigest::new(ledger)));
                day.0 = day.0.saturating_add(1);
                day.1.add(&record.id);
            }
            progress(state.count());
        }
        let mut whole = SetDigest::new(ledger);
        days.values().for_each(|(_, set)| whole.add_set(set));
        if state != self.state || whole.digest() != self.digests.digest() {
            return Ok(contradicts("link, root or digest do not follow from the log".to_owned()));
        }
        let derived: Vec<(u64, u64, Digest)> =
            days.iter().map(|(day, (count, set))| (*day, *count, set.digest())).collect();
        let indexed: Vec<(u64, u64, Digest)> =
            self.days(0, usize::MAX)?.iter().map(|day| (day.day, day.count, day.digest)).collect();
        if derived != indexed {
            return Ok(contradicts("the per-day digests do not follow from the log".to_owned()));
        }
        if let Some(what) = frontier.end(self) {
            return Ok(contradicts(what));
        }
        self.check_order(state.count(), progress)
    }

    /// What the index says wrongly of one record, if anything.
    fn misplaced(
        &self,
        position: Position,
        record: &Record,
        subtrees: &mut Subtrees,
    ) -> Result<Option<&'static str>, StoreError> {
        if self.position(&record.id)? != Some(position) {
            return Ok(Some("the id does not lead to this position"));
        }
        let core = record.header.core();
        if core.kind() == Kind::Tagged && self.store.tagged(core.hint(), position, 1)? != [position] {
            return Ok(Some("its tag does not lead to it"));
        }
        for (level, root) in (0..).zip(subtrees.push(&record.id)) {
            // The lowest are read from the log itself.
            if level >= LEVELS_READ && self.store.node(self.network.ledger(), level, position.get() >> level)? != root {
                return Ok(Some("the tree over the log does not follow from it"));
            }
        }
        Ok(None)
    }

    /// The canonical order has as many places as there are transactions, ascending, and every one of them is right: so
    /// there are no others, and none is missing. The blocks follow from it.
    fn check_order(&self, count: u64, progress: &mut dyn FnMut(u64)) -> Result<IndexCheck, StoreError> {
        let (mut after, mut seen, mut blocks) = (None, 0u64, BlocksCheck::new(self));
        loop {
            let page = self.store.in_order(Time::default(), Time::from_secs(u64::MAX), after, PAGE)?;
            let Some((last, _)) = page.last() else {
                break;
            };
            for (key, position) in &page {
                let right = self.store.record(*position)?.is_some_and(|record| OrderKey::of(&record) == *key);
                if after.is_some_and(|after| *key <= after) || !right {
                    let what = format!("the canonical order has id {} where it does not belong", key.id);
                    return Ok(contradicts(what));
                }
                if let Some(what) = blocks.push(key.time.hour(), key.id)? {
                    return Ok(contradicts(what));
                }
                seen = seen.saturating_add(1);
            }
            progress(count.saturating_add(seen));
            after = Some(*last);
        }
        if seen != count {
            return Ok(contradicts(format!("the canonical order has {seen} transactions, the log {count}")));
        }
        Ok(blocks.end()?.map_or(IndexCheck::Agrees, contradicts))
    }
}

fn contradicts(what: String) -> IndexCheck {
    IndexCheck::Contradicts(what)
}

/// The roots of perfect subtrees that become whole as records are added.
struct Subtrees {
    ledger: LedgerId,
    count: u64,
    /// By level, the last root that has no right neighbour yet.
    left: Vec<[u8; 32]>,
}

impl Subtrees {
    fn new(ledger: LedgerId) -> Self {
        Self { ledger, count: 0, left: Vec::new() }
    }

    /// The roots that become whole with this record, by level from the leaf up.
    fn push(&mut self, id: &TxId) -> Vec<[u8; 32]> {
        let mut root = merkle::leaf(self.ledger, id.as_bytes());
        let mut whole = vec![root];
        for _ in 0..self.count.trailing_ones() {
            if let Some(left) = self.left.pop() {
                root = merkle::node(self.ledger, &left, &root);
                whole.push(root);
            }
        }
        self.left.push(root);
        self.count = self.count.saturating_add(1);
        whole
    }
}
