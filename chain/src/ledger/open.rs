//! Opening: the index is brought up to date with the log, and set aside when it contradicts it.

use std::{collections::BTreeSet, sync::OnceLock};

use super::{
    Ledger, Turn,
    blocks_tree::BlocksTree,
    digests::{Digested, Digests},
    keys,
    state::State,
    tips::Tips,
};
use crate::{
    ids::Position,
    network::Network,
    retention::Keep,
    store::{Batch, Change, Record, Store, StoreError, Tree},
    time::Time,
};

/// Records that are indexed in one go while catching up with the log.
const CATCH_UP_PAGE: usize = 4_096;

impl<S: Store> Ledger<S> {
    /// Opens the ledger of `network` in `store`, bringing the index up to date with the log; an index that
    /// contradicts the log is set aside and derived anew.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read, or the log is damaged.
    pub fn open(network: Network, store: S) -> Result<Self, StoreError> {
        Self::open_with(network, store, &mut |_, _| {})
    }

    /// The same; while much is derived, `progress` is told how many records are done, and of how many.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(network: Network, store: S, progress: &mut dyn FnMut(u64, u64)) -> Result<Self, StoreError> {
        let (state, digests) = (State::new(network.ledger()), Digests::new(network.ledger()));
        let blocks_tree = BlocksTree::new(network.ledger());
        let latest = store.last_commit().map_or(Time::default(), |point| point.time);
        let mut ledger = Self {
            network,
            store,
            state,
            summary: OnceLock::new(),
            digests,
            news: false,
            turn: Turn::Store,
            keeping: false,
            tips: Tips::default(),
            next_due: Time::default(),
            held_back: BTreeSet::new(),
            stale_hours: BTreeSet::new(),
            unkept_hours: BTreeSet::new(),
            blocks_tree,
            latest,
            keep: Keep::default(),
        };
        ledger.load()?;
        ledger.catch_up(progress)?;
        if !ledger.agrees() {
            ledger.start_anew()?;
            ledger.catch_up(progress)?;
        }
        if ledger.agrees() { Ok(ledger) } else { Err(ledger.contradiction()) }
    }

    /// Whether count and link are those of the last commit. An indexed state behind it can only be judged by where it
    /// leads to.
    fn agrees(&self) -> bool {
        let count = self.state.count();
        match self.store.last_commit() {
            Some(point) if point.count == count => point.link == self.state.link(),
            Some(point) => point.count < count,
            None => count > 0 || self.state == State::new(self.network.ledger()),
        }
    }

    fn contradiction(&self) -> StoreError {
        StoreError::Damaged {
            path: "log".to_owned(),
            offset: self.state.count(),
            what: "the last commit's link does not follow from the records before it".to_owned(),
        }
    }

    /// Sets the trees aside, to derive all of them from the log.
    fn start_anew(&mut self) -> Result<(), StoreError> {
        self.store.reset_trees()?;
        self.state = State::new(self.network.ledger());
        self.summary.take();
        self.digests = Digests::new(self.network.ledger());
        self.tips = Tips::default();
        self.next_due = Time::default();
        self.held_back.clear();
        self.stale_hours.clear();
        self.unkept_hours.clear();
        self.blocks_tree = BlocksTree::new(self.network.ledger());
        Ok(())
    }

    fn load(&mut self) -> Result<(), StoreError> {
        if let Some((state, digested)) = self.read_state()? {
            self.state = state;
            self.load_digests(digested)?;
            self.summary.take();
            self.load_frontier()?;
            return self.load_stale_hours();
        }
        if !self.store.is_empty() || self.store.get(Tree::State, keys::STATE)?.is_some() {
            self.start_anew()?;
        }
        Ok(())
    }

    /// Takes over the indexed digests, and what the log has behind them.
    fn load_digests(&mut self, digested: Digested) -> Result<(), StoreError> {
        let mut next = digested.count;
        self.digests = Digests::of(self.network.ledger(), digested);
        while next < self.state.count() {
            let left = usize::try_from(self.state.count().saturating_sub(next)).unwrap_or(usize::MAX);
            let records = self.store.records(Position::new(next), left.min(CATCH_UP_PAGE))?;
            if records.is_empty() {
                break;
            }
            for record in &records {
                let day = record.header.core().time().day();
                self.load_day(day)?;
                self.digests.push(day, &record.id);
            }
            next = next.saturating_add(records.len() as u64);
        }
        Ok(())
    }

    /// The indexed state with the digest, unless it contradicts the log.
    fn read_state(&self) -> Result<Option<(State, Digested)>, StoreError> {
        let Some(bytes) = self.store.get(Tree::State, keys::STATE)? else {
            return Ok(None);
        };
        // One that tells of more than the log has contradicts it, and its tree cannot be read.
        if State::count_of(&bytes).is_none_or(|count| count > self.store.len()) {
            return Ok(None);
        }
        let ledger = self.network.ledger();
        let node = |level, index| self.store.node(ledger, level, index);
        let Some((state, digested)) = State::from_bytes(ledger, &bytes, &node)? else {
            return Ok(None);
        };
        let agrees = match self.store.last_commit() {
            Some(point) if point.count == state.count() => point.link == state.link(),
            Some(point) => state.count() < point.count,
            None => state == State::new(ledger) && digested == *Digests::new(ledger).whole(),
        };
        Ok(agrees.then_some((state, digested)))
    }

    /// Derives the trees for all records behind the indexed state.
    fn catch_up(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        while self.state.count() < self.store.len() {
            let records = self.store.records(Position::new(self.state.count()), CATCH_UP_PAGE)?;
            if records.is_empty() {
                return Ok(());
            }
            for record in &records {
                self.derive(record)?;
            }
            progress(self.state.count(), self.store.len());
            self.settle(self.latest)?;
            self.flush_trees()?;
        }
        Ok(())
    }

    /// Derives the trees for the next record.
    fn derive(&mut self, record: &Record) -> Result<(), StoreError> {
        let (position, core) = (Position::new(self.state.count()), record.header.core());
        self.load_day(core.time().day())?;
        let mut changes: Vec<Change> = self.mark_stale(core.time().hour()).into_iter().collect();
        // What was due at the last commit waits no more, and its waiting never reaches the disk.
        if self.due(core, record.arrival) <= self.latest {
            self.settle(self.latest)?;
            self.settle_one(&record.id, core.time(), core.parents(), &mut changes)?;
        } else {
            changes.push(self.waits_to_settle(position, core, record.arrival));
        }
        if !changes.is_empty() {
            self.store.stage(Batch::of_changes(changes))?;
        }
        self.advance(&record.id, core.time().day());
        Ok(())
    }

    /// Hands the trees over to the store while catching up, so that it does not pile up in memory.
    fn flush_trees(&mut self) -> Result<(), StoreError> {
        let Some(point) = self.store.last_commit() else {
            return Ok(());
        };
        self.tell_index()?;
        if let Some(flush) = self.store.flush(point)? {
            let result = flush.run();
            self.store.flushed(result.is_ok());
            result?;
        }
        self.upkeep_now();
        self.tell_index()
    }
}
