//! Verified headers whose bodies did not come with them although their lifetime is not over (DESIGN §4, as decision 0040
//! amends it): the body decides when a transaction enters the ledger, never whether.
//!
//! A header waits here while every connected peer is asked for the whole transaction, all of them at once. Whoever
//! has the body brings it, and the transaction goes the usual way. Once they all have answered that they have no body, or after
//! [`WAIT_MS`] whoever has not answered, the header enters the ledger alone, and its body is wanted from there on (see
//! `repair`). So no header that somebody shows is kept out for good, neither by an author who shows its body to nobody nor by all
//! who dropped it, and no digest differs for it.
//!
//! Every hop of a header waits anew, so what it waits for is what can still bring the body (decision 0048). Who let such a question
//! lapse is asked as before, but not waited for. [`SOON_MS`] pass in any case, so that a header is nowhere quicker than the whole.
//!
//! Nobody is blamed: a header may be all that an honest peer has.
//!
//! Bounds: [`BARE_MAX`] headers, a quarter of them per peer; one question for each peer.

use std::collections::{BTreeMap, BTreeSet};

use qasedak_chain::{
    TxId,
    rules::{self, Verified},
    store::Store,
};

use super::{
    Engine, Peer, Turn, Verdict,
    checks::{Origin, Via},
    reconcile::Want,
    sync::Question,
};
use crate::wire::{Request, WANT_MAX, wire_id};

/// Most headers.
const BARE_MAX: usize = 4_096;
/// What part of them one peer may fill.
const SHARES: usize = 4;
/// What may still come after a page was asked for: the page, and what is under verification.
const ON_THE_WAY: usize = 2 * WANT_MAX;
/// How long a header waits at most. What a slower peer brings is taken all the same.
pub(super) const WAIT_MS: u64 = 5_000;
/// How long it waits at least: the whole may be on its way.
pub(super) const SOON_MS: u64 = 1_000;
/// How long a peer that let a question lapse is not waited for.
const SILENT_MS: u64 = 600_000;

#[derive(Debug)]
struct Header {
    verified: Verified,
    origin: Origin,
    since_ms: u64,
    /// Who was asked, or sent it as it is.
    without: BTreeSet<Peer>,
}

impl Header {
    /// Whether all of these peers are without the body, and one among them did not send the header.
    fn is_vain(&self, awaited: &[Peer]) -> bool {
        self.without.len() >= awaited.len()
            && awaited.iter().any(|peer| *peer != self.origin.peer)
            && awaited.iter().all(|peer| self.without.contains(peer))
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Bare {
    max: usize,
    /// In the order in which they came, so that parents enter first.
    headers: BTreeMap<u64, Header>,
    numbers: BTreeMap<TxId, u64>,
    /// How many of them came from a peer.
    shares: BTreeMap<Peer, usize>,
    /// Who has a question open.
    asked: BTreeSet<Peer>,
    next_number: u64,
}

impl Default for Bare {
    fn default() -> Self {
        Self::with_bound(BARE_MAX)
    }
}

impl Bare {
    pub(super) fn with_bound(max: usize) -> Self {
        let (headers, numbers, shares, asked) = Default::default();
        Self { max, headers, numbers, shares, asked, next_number: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.headers.len()
    }
    pub(super) fn ids(&self) -> impl Iterator<Item = &TxId> {
        self.numbers.keys()
    }
    pub(super) fn contains(&self, id: &TxId) -> bool {
        self.numbers.contains_key(id)
    }
    /// How many of them came from a peer.
    pub(super) fn of(&self, peer: Peer) -> usize {
        self.shares.get(&peer).copied().unwrap_or_default()
    }
    /// Whether a page more of a peer's may come. One that sends whole transactions does not wait for those who do not.
    pub(super) fn has_room(&self, peer: Peer) -> bool {
        let fits = |count: usize, max: usize| count.saturating_add(ON_THE_WAY) <= max;
        self.of(peer) == 0 || (fits(self.of(peer), self.max / SHARES) && fits(self.len(), self.max))
    }

    /// Takes in a header. One that there is no room for comes again by sync.
    pub(super) fn insert(&mut self, verified: Verified, origin: Origin, now_ms: u64) {
        let id = verified.transaction().id();
        if self.is_without(&id, origin.peer) || self.contains(&id) {
            return;
        }
        if self.len() >= self.max || self.of(origin.peer) >= self.max / SHARES {
            return;
        }
        let share = self.shares.entry(origin.peer).or_default();
        *share = share.saturating_add(1);
        let without = BTreeSet::from([origin.peer]);
        self.numbers.insert(id, self.next_number);
        self.headers.insert(self.next_number, Header { verified, origin, since_ms: now_ms, without });
        self.next_number = self.next_number.saturating_add(1);
    }

    fn take(&mut self, number: u64) -> Option<Header> {
        let header = self.headers.remove(&number)?;
        self.numbers.remove(&header.verified.transaction().id());
        let left = self.of(header.origin.peer).saturating_sub(1);
        if left == 0 {
            self.shares.remove(&header.origin.peer);
        } else {
            self.shares.insert(header.origin.peer, left);
        }
        Some(header)
    }

    /// It is in the ledger.
    pub(super) fn remove(&mut self, id: &TxId) {
        if let Some(number) = self.numbers.get(id).copied() {
            self.take(number);
        }
    }

    /// A peer has the header alone, or nothing of it. `true` when that is news.
    pub(super) fn is_without(&mut self, id: &TxId, peer: Peer) -> bool {
        let header = self.numbers.get(id).and_then(|number| self.headers.get_mut(number));
        header.is_some_and(|header| header.without.insert(peer))
    }

    /// The same for several; also for a peer that did not answer.
    pub(super) fn are_without(&mut self, ids: &[TxId], peer: Peer) {
        for id in ids {
            self.is_without(id, peer);
        }
    }

    fn is_known_to_be_without(&self, id: &TxId, peer: Peer) -> bool {
        let header = self.numbers.get(id).and_then(|number| self.headers.get(number));
        header.is_some_and(|header| header.without.contains(&peer))
    }

    /// The question to a peer is closed.
    pub(super) fn closed(&mut self, peer: Peer) {
        self.asked.remove(&peer);
    }

    /// What a peer is to be asked for.
    fn due(&self, peer: Peer) -> Vec<TxId> {
        if self.asked.contains(&peer) {
            return Vec::new();
        }
        let due = self.headers.values().filter(|header| !header.without.contains(&peer));
        due.take(WANT_MAX).map(|header| header.verified.transaction().id()).collect()
    }

    /// Takes out those that have waited, or need not wait for any of the peers `awaited`; but for what is `coming` whole.
    fn ripe(&mut self, now_ms: u64, awaited: &[Peer], coming: impl Fn(&TxId) -> bool) -> Vec<Header> {
        let is_ripe = |header: &Header| {
            let waited_ms = now_ms.saturating_sub(header.since_ms);
            let is_vain = || header.is_vain(awaited) && !coming(&header.verified.transaction().id());
            waited_ms >= WAIT_MS || (waited_ms >= SOON_MS && is_vain())
        };
        let ripe: Vec<u64> =
            self.headers.iter().filter(|(_, header)| is_ripe(header)).map(|(number, _)| *number).collect();
        ripe.into_iter().filter_map(|number| self.take(number)).collect()
    }
}

impl Engine {
    /// Whether a transaction has to be looked for before its header may enter the ledger alone.
    pub(super) fn lacks_its_body<S: Store>(&self, turn: &Turn<'_, S>, verified: &Verified, origin: &Origin) -> bool {
        let transaction = verified.transaction();
        let now = turn.ledger.clock(turn.now.system);
        transaction.body().is_none() && !origin.alone && !rules::body_may_be_absent(transaction.core(), now)
    }

    /// Whether a peer sent the header of what is wanted, and nothing else.
    pub(super) fn has_sent_bare(&self, peer: Peer, want: &Want) -> bool {
        self.aliases.id(want).is_some_and(|id| self.bare.is_known_to_be_without(&id, peer))
    }

    /// A header came without its body.
    pub(super) fn seek_body<S: Store>(&mut self, turn: &mut Turn<'_, S>, verified: Verified, origin: Origin) {
        self.judge(turn, Some(origin), Verdict::Ignore);
        self.bare.insert(verified, Origin { waiter: None, ..origin }, turn.now.elapsed_ms);
    }

    /// A tick went by: asks for the bodies, and lets those headers in whose bodies nobody brought.
    pub(super) fn bare_come_of_age<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        if self.bare.len() == 0 {
            return;
        }
        let now_ms = turn.now.elapsed_ms;
        let answers = self.peers.iter().filter(|(_, state)| state.silent_until_ms <= now_ms);
        let awaited: Vec<Peer> = answers.map(|(peer, _)| peer).collect();
        for header in self.bare.ripe(now_ms, &awaited, |id| self.checks.contains(id) || self.budget.contains(id)) {
            self.place(turn, header.verified, Some(Origin { alone: true, ..header.origin }));
        }
        let peers: Vec<Peer> = self.peers.iter().map(|(peer, _)| peer).collect();
        for peer in peers {
            self.ask_for_whole(turn, peer);
        }
    }

    /// A question for whole transactions has lapsed.
    pub(super) fn is_silent(&mut self, peer: Peer, now_ms: u64) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.silent_until_ms = now_ms.saturating_add(SILENT_MS);
        }
    }

    fn ask_for_whole<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer) {
        let ids = self.bare.due(peer);
        let free = !ids.is_empty() && self.checks.has_room();
        let Some(max_bytes) = self.peers.get(peer).map(|state| state.page_bytes).filter(|_| free) else {
            return;
        };
        let request = Request::Transactions { ids: ids.iter().map(wire_id).collect(), max_bytes };
        self.bare.asked.insert(peer);
        self.ask(turn, peer, Question::Bare(ids), request);
    }

    /// A peer sent what it has of transactions whose headers wait.
    pub(super) fn got_whole<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, ids: &[TxId], list: &[Vec<u8>]) {
        let wants: Vec<Want> = ids.iter().map(|id| Want::Id(*id)).collect();
        let Some(page) = self.take_page(turn, peer, &wants, list, Via::Session) else {
            return;
        };
        // Behind a page that holds a body, the rest did not fit. One that holds none says that none is there.
        let rest: &[Want] = if page.bodies { &page.rest } else { &[] };
        let had = ids.iter().filter(|id| !rest.contains(&Want::Id(**id)));
        // What came whole is under verification: it is not asked for again either.
        self.bare.are_without(&had.copied().collect::<Vec<TxId>>(), peer);
        self.ask_for_whole(turn, peer);
    }
}
