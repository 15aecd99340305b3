//! The places of the spans that were looked at last, whoever asked: a node that asks a peer about a day is mostly asked about
//! the same day by that peer, under another salt, and reading the ledger costs more than hashing.
//!
//! What was read stays true, since nothing leaves the log: only what the log has gained since is added. At most [`KEPT`]
//! spans of [`VIEW_MAX`] places each.

use std::collections::VecDeque;

use qasedak_chain::{
    Ledger, Position, Time, TxId,
    ledger::OrderKey,
    store::{Record, Store, StoreError},
};

use super::view::{Span, VIEW_MAX, rank};

/// Most spans that are kept.
const KEPT: usize = 2;
/// How long one is kept unused.
const KEPT_MS: u64 = 30_000;
/// Places that are read from the ledger at once: all of a span, since every reading searches each run for its start; and
/// one more than a view may have, so that one reading tells that there are too many.
const PAGE: usize = VIEW_MAX + 1;
/// When the log has gained more than this, a span is read anew.
const GAINED_MAX: usize = 2_048;

/// A transaction's place in canonical order, as far as reconciling goes, and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Placed {
    pub(super) rank: u64,
    pub(super) id: TxId,
    pub(super) position: Position,
}

#[derive(Debug)]
struct Kept {
    span: Span,
    places: Vec<Placed>,
    /// Positions before this have been looked at.
    read: u64,
    used_ms: u64,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(in crate::engine) struct Places {
    /// The longest unused first.
    kept: VecDeque<Kept>,
}

impl Places {
    /// The places of a span, in no order; `None` when there are too many.
    pub(super) fn of<S: Store>(
        &mut self,
        ledger: &Ledger<S>,
        span: Span,
        now_ms: u64,
    ) -> Result<Option<&[Placed]>, StoreError> {
        let kept = self.kept.iter().position(|kept| kept.span == span).and_then(|at| self.kept.remove(at));
        let count = ledger.store().len();
        let current = kept.map(|kept| kept.brought_up(ledger, count)).transpose().unwrap_or_default().flatten();
        let Some(mut kept) = current.map_or_else(|| Kept::read(ledger, span, count), |kept| Ok(Some(kept)))? else {
            return Ok(None);
        };
        if kept.places.len() > VIEW_MAX {
            return Ok(None);
        }
        kept.used_ms = now_ms;
        while self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(kept);
        Ok(self.kept.back().map(|kept| kept.places.as_slice()))
    }

    /// Forgets what is unused.
    pub(in crate::engine) fn expire(&mut self, now_ms: u64) {
        self.kept.retain(|kept| now_ms.saturating_sub(kept.used_ms) < KEPT_MS);
    }
}

impl Kept {
    /// Reads a span; `None` when there are too many transactions in it.
    fn read<S: Store>(ledger: &Ledger<S>, span: Span, count: u64) -> Result<Option<Self>, StoreError> {
        let (from, to) = (Time::from_secs(span.from), Time::from_secs(span.to));
        let (mut places, mut after) = (Vec::new(), None);
        loop {
            let page = ledger.places(from, to, after, PAGE)?;
            places.extend(page.iter().map(|(key, position)| placed(key, *position)));
            if places.len() > VIEW_MAX {
                return Ok(None);
            }
            match page.last().filter(|_| page.len() == PAGE) {
                Some((key, _)) => after = Some(*key),
                None => return Ok(Some(Self { span, places, read: count, used_ms: 0 })),
            }
        }
    }

    /// Adds what the log has gained. `None` when that is too much, or the log was begun anew.
    fn brought_up<S: Store>(mut self, ledger: &Ledger<S>, count: u64) -> Result<Option<Self>, StoreError> {
        let Some(gained) = count.checked_sub(self.read).filter(|gained| *gained <= GAINED_MAX as u64) else {
            return Ok(None);
        };
        if gained > 0 {
            let records = ledger.records(Position::new(self.read), GAINED_MAX)?;
            let within = |record: &Record| (self.span.from..self.span.to).contains(&record.header.core().time().secs());
            let gained = (self.read..count).zip(&records).filter(|(_, record)| within(record));
            self.places.extend(gained.map(|(at, record)| placed(&OrderKey::of(record), Position::new(at))));
            self.read = count.min(self.read.saturating_add(records.len() as u64));
        }
        Ok((self.read == count).then_some(self))
    }
}

fn placed(key: &OrderKey, position: Position) -> Placed {
    Placed { rank: rank(key), id: key.id, position }
}

#[cfg(test)]
mod tests {
    use qasedak_chain::{Network, store::memory::MemoryStore, time::DAY_SECS};

    use super::*;
    use crate::engine::tests::make::{noon, verified, world};

    /// However the log grows between two looks, what is kept is what would be read anew: for spans that overlap, that are
    /// let go, and that are looked at by turns.
    #[test]
    fn what_is_kept_is_what_would_be_read() {
        let (network, now) = (Network::dev(), noon());
        let mut ledger = Ledger::open(network.clone(), MemoryStore::new()).unwrap();
        let today = now.secs() / DAY_SECS * DAY_SECS;
        let day = |back: u64| Span { from: today - back * DAY_SECS, to: today - back * DAY_SECS + DAY_SECS };
        let spans = [day(1), day(0), Span { from: today - 2 * DAY_SECS, to: today + DAY_SECS }];
        let mut places = Places::default();
        let mut seen = 0;
        for (nth, transaction) in world().iter().enumerate() {
            ledger.append(verified(&network, transaction), now, false).unwrap();
            for (_, span) in spans.iter().enumerate().filter(|(at, _)| nth % (at + 2) == 0) {
                let sorted = |places: &mut Places| {
                    let mut found = places.of(&ledger, *span, 0).unwrap().unwrap().to_vec();
                    found.sort_unstable();
                    found
                };
                let kept = sorted(&mut places);
                assert_eq!(kept, sorted(&mut Places::default()), "after {nth} transactions");
                seen += kept.len();
                assert!(places.kept.len() <= KEPT);
            }
        }
        assert!(seen > world().len(), "{seen} places seen");
        places.expire(KEPT_MS);
        assert!(places.kept.is_empty());
    }
}
