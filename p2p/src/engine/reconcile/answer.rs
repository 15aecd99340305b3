//! The answering side of reconciliations: the views of spans that peers ask about (decision 0025).
//!
//! An answer follows from the question and the ledger alone, so nothing has to be remembered between rounds. Views are
//! kept for a while all the same, since building one reads and hashes up to [`VIEW_MAX`] ids: at most
//! [`VIEWS_OF_PEER`] for each peer and [`KEPT_MAX`] transactions in all, the longest unused going first. What is built is
//! charged, to the peer and to all peers together, transaction by transaction; who has nothing left is told to come again
//! later.

use std::collections::VecDeque;

use negentropy::Negentropy;
use qasedak_chain::{Ledger, Position, store::Store, store::StoreError};

use super::{
    super::quota::{Bucket, Rate},
    compact::{expand, shrink},
    places::Places,
    view::{Span, VIEW_MAX, View},
};
use crate::{
    engine::Peer,
    wire::{Alias, RECONCILE_ANSWER_MAX, Salt},
};

/// Transactions that one peer may have hashed for it: a million twice over at once, then twenty thousand a second.
pub(in crate::engine) const WORK_OF_PEER: Rate = Rate { burst: 2_500_000, per_second: 20_000 };
/// The same for all peers together.
const WORK_OF_ALL: Rate = Rate { burst: 10_000_000, per_second: 200_000 };
/// What a round over a view costs of that: one part of so many.
const ROUND_PART: u64 = 32;
/// Most transactions in views that are kept.
const KEPT_MAX: usize = 8 * VIEW_MAX;
/// Most views that are kept for one peer.
const VIEWS_OF_PEER: usize = 2;
/// How long a view is kept unused.
const KEPT_MS: u64 = 30_000;
/// How long one is used after the log has grown: a round or two. An asker that keeps its salt for a slow peer's sake would else
/// be answered from what was here when it first asked.
const STALE_MS: u64 = 2_000;

#[derive(Debug)]
struct Kept {
    peer: Peer,
    salt: Salt,
    span: Span,
    view: View,
    /// How many transactions the log had when it was made, and when that was.
    log: u64,
    made_ms: u64,
    used_ms: u64,
}

/// How a question came out.
#[derive(Debug)]
pub(in crate::engine) enum Answered<T> {
    Well(T),
    /// There is more in the span than is reconciled at once.
    TooMany,
    /// The asker has had its share.
    Busy,
    /// The message is none.
    Malformed,
}

/// Views of askers, the longest unused first.
#[derive(Debug)]
pub(in crate::engine) struct Views {
    kept: VecDeque<Kept>,
    /// What they, and this node's own, are made of.
    pub(super) places: Places,
    work: Bucket,
}

impl Default for Views {
    fn default() -> Self {
        Self { kept: VecDeque::new(), places: Places::default(), work: Bucket::full(WORK_OF_ALL, 0) }
    }
}

impl Views {
    /// How many transactions are in those that are kept.
    pub(in crate::engine) fn len(&self) -> usize {
        self.kept.iter().map(|kept| kept.view.len()).sum()
    }

    /// One round.
    pub(in crate::engine) fn reconcile<S: Store>(
        &mut self,
        ledger: &Ledger<S>,
        asker: (Peer, &mut Bucket),
        (salt, span): (&Salt, Span),
        message: &[u8],
        now_ms: u64,
    ) -> Result<Answered<Vec<u8>>, StoreError> {
        let Some(expanded) = expand(message) else {
            return Ok(Answered::Malformed);
        };
        Ok(self.with(ledger, asker, (salt, span), now_ms)?.map(|view| {
            let side = Negentropy::borrowed(view, RECONCILE_ANSWER_MAX as u64);
            side.and_then(|mut side| side.reconcile(&expanded.message)).ok().and_then(|answer| shrink(&answer))
        }))
    }

    /// Where the transactions with these aliases stand in the log.
    pub(in crate::engine) fn positions<S: Store>(
        &mut self,
        ledger: &Ledger<S>,
        asker: (Peer, &mut Bucket),
        (salt, span): (&Salt, Span),
        aliases: &[Alias],
        now_ms: u64,
    ) -> Result<Answered<Vec<Option<Position>>>, StoreError> {
        Ok(self.with(ledger, asker, (salt, span), now_ms)?.map(|view| Some(view.positions(aliases))))
    }

    /// The view of a span, kept or built, if the asker may have it.
    fn with<S: Store>(
        &mut self,
        ledger: &Ledger<S>,
        (peer, share): (Peer, &mut Bucket),
        (salt, span): (&Salt, Span),
        now_ms: u64,
    ) -> Result<Answered<&View>, StoreError> {
        if !share.has_any(now_ms) || !self.work.has_any(now_ms) {
            return Ok(Answered::Busy);
        }
        let is_it = |kept: &Kept| kept.peer == peer && kept.salt == *salt && kept.span == span;
        let kept = self.kept.iter().position(is_it).and_then(|at| self.kept.remove(at));
        let count = ledger.store().len();
        let is_fresh = |kept: &Kept| kept.log == count || now_ms.saturating_sub(kept.made_ms) < STALE_MS;
        let (mut log, mut made_ms) = (count, now_ms);
        let (view, cost) = match kept.filter(is_fresh) {
            Some(kept) => {
                (log, made_ms) = (kept.log, kept.made_ms);
                let cost = kept.view.len() as u64 / ROUND_PART;
                (kept.view, cost)
            }
            None => match self.places.of(ledger, span, now_ms)?.map(|places| View::new(salt, places)) {
                Some(view) => {
                    let cost = view.len() as u64;
                    (view, cost)
                }
                None => {
                    self.charge(share, VIEW_MAX as u64);
                    return Ok(Answered::TooMany);
                }
            },
        };
        self.charge(share, cost.saturating_add(1));
        self.make_room(peer, view.len());
        self.kept.push_back(Kept { peer, salt: *salt, span, view, log, made_ms, used_ms: now_ms });
        Ok(self.kept.back().map_or(Answered::Busy, |kept| Answered::Well(&kept.view)))
    }

    fn charge(&mut self, share: &mut Bucket, cost: u64) {
        share.spend(cost);
        self.work.spend(cost);
    }

    fn make_room(&mut self, peer: Peer, len: usize) {
        while self.kept.iter().filter(|kept| kept.peer == peer).count() >= VIEWS_OF_PEER {
            let oldest = self.kept.iter().position(|kept| kept.peer == peer);
            oldest.and_then(|at| self.kept.remove(at));
        }
        while self.kept.iter().map(|kept| kept.view.len()).sum::<usize>().saturating_add(len) > KEPT_MAX {
            self.kept.pop_front();
        }
    }

    /// Forgets what is unused.
    pub(in crate::engine) fn expire(&mut self, now_ms: u64) {
        self.kept.retain(|kept| now_ms.saturating_sub(kept.used_ms) < KEPT_MS);
        self.places.expire(now_ms);
    }

    /// A peer is gone.
    pub(in crate::engine) fn forget(&mut self, peer: Peer) {
        self.kept.retain(|kept| kept.peer != peer);
    }
}

impl<'a> Answered<&'a View> {
    /// Answers from the view; `None` is what a malformed question comes to.
    fn map<T>(self, answer: impl FnOnce(&'a View) -> Option<T>) -> Answered<T> {
        match self {
            Self::Well(view) => answer(view).map_or(Answered::Malformed, Answered::Well),
            Self::TooMany => Answered::TooMany,
            Self::Busy => Answered::Busy,
            Self::Malformed => Answered::Malformed,
        }
    }
}
