//! Checking the index against the log, and deriving it anew by hand.

use super::{Ledger, OrderKey, keys, state::State};
use crate::{
    digest::SetDigest,
    ids::{Digest, Position},
    network::Network,
    store::{Record, Store, StoreError, Tree},
    transaction::Kind,
};

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
    pub fn rebuild_index(network: Network, mut store: S) -> Result<Self, StoreError> {
        store.reset_index()?;
        Self::open(network, store)
    }

    /// Compares every entry of the index that names a transaction, the per-day digests and the state with what follows
    /// from the log. `progress` is told how many transactions have been compared.
    ///
    /// # Errors
    /// [`StoreError`] when log or index cannot be read.
    pub fn check_index(&self, progress: &mut dyn FnMut(u64)) -> Result<IndexCheck, StoreError> {
        let mut state = State::new(self.network.ledger());
        let mut days = std::collections::BTreeMap::<u64, (u64, SetDigest)>::new();
        while let Some(record) = self.record(Position::new(state.count()))? {
            let position = Position::new(state.count());
            if let Some(what) = self.misplaced(position, &record)? {
                return Ok(IndexCheck::Contradicts(format!("position {position}, id {}: {what}", record.id)));
            }
            state.push(&record.id);
            let day = days
                .entry(record.header.core().time().day())
                .or_insert_with(|| (0, SetDigest::new(self.network.ledger())));
            day.0 = day.0.saturating_add(1);
            day.1.add(&record.id);
            progress(state.count());
        }
        if state != self.state {
            return Ok(IndexCheck::Contradicts("link, root or digest do not follow from the log".to_owned()));
        }
        let derived: Vec<(u64, u64, Digest)> =
            days.iter().map(|(day, (count, set))| (*day, *count, set.digest())).collect();
        let indexed: Vec<(u64, u64, Digest)> =
            self.days(0, usize::MAX)?.iter().map(|day| (day.day, day.count, day.digest)).collect();
        if derived != indexed {
            return Ok(IndexCheck::Contradicts("the per-day digests do not follow from the log".to_owned()));
        }
        self.count_entries(state.count())
    }

    /// What the index says wrongly of one record, if anything.
    fn misplaced(&self, position: Position, record: &Record) -> Result<Option<&'static str>, StoreError> {
        let core = record.header.core();
        let place = position.get().to_be_bytes();
        let order = keys::order(OrderKey { time: core.time(), depth: record.depth, id: record.id });
        if self.store.get(Tree::Ids, record.id.as_bytes())?.as_deref() != Some(&place) {
            return Ok(Some("the id does not lead to this position"));
        }
        if self.store.get(Tree::Order, &order)?.as_deref() != Some(&place) {
            return Ok(Some("it is missing in the canonical order"));
        }
        if core.kind() == Kind::Tagged && self.store.get(Tree::Tags, &keys::tag(core.hint(), position))?.is_none() {
            return Ok(Some("its tag does not lead to it"));
        }
        Ok(None)
    }

    /// As many entries as transactions, and all of them right: so there are no others.
    fn count_entries(&self, count: u64) -> Result<IndexCheck, StoreError> {
        for (tree, name) in [(Tree::Ids, "ids"), (Tree::Order, "canonical order")] {
            if self.entries(tree)? != count {
                return Ok(IndexCheck::Contradicts(format!("the {name} name transactions that the log does not have")));
            }
        }
        Ok(IndexCheck::Agrees)
    }

    fn entries(&self, tree: Tree) -> Result<u64, StoreError> {
        const PAGE: usize = 4_096;
        // Longer than any key of these trees.
        let end = [0xff; 64];
        let (mut from, mut count) = (Vec::new(), 0u64);
        loop {
            let page = self.store.range(tree, &from, &end, PAGE)?;
            count = count.saturating_add(page.len() as u64);
            match page.last() {
                Some((last, _)) => from = keys::after(last),
                None => return Ok(count),
            }
        }
    }
}
