//! Pages of transactions that were asked for, and the parents of what was relayed.
//!
//! A relayed transaction whose parents are not here has them fetched from its relay, which must have them: quick when
//! one message was missed. More than [`STEPS_MAX`] generations, or more parents than fit the list, are
//! left to a session with that peer.

use std::collections::BTreeSet;

use qasedak_chain::{Transaction, TxId, store::Store};

use super::{
    Engine, Fault, Peer, Turn,
    checks::{Origin, Via},
    reconcile::Want,
    sync::Question,
};
use crate::wire::{Request, WANT_MAX, wire_id};

/// How many generations of parents are fetched one by one.
const STEPS_MAX: u8 = 8;

/// What became of a page.
#[derive(Debug)]
pub(super) struct Page {
    /// Asked for and not answered, since the page was full; to be asked for again.
    pub(super) rest: Vec<Want>,
    /// What the peer has not.
    pub(super) missing: Vec<Want>,
    /// Whether anything in it was of use.
    pub(super) of_use: bool,
    /// Whether there was a body in it.
    pub(super) bodies: bool,
}

impl Engine {
    /// Takes in a page of transactions that answers a question for `wants`. `None` when the peer was let go for it.
    pub(super) fn take_page<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        peer: Peer,
        wants: &[Want],
        list: &[Vec<u8>],
        via: Via,
    ) -> Option<Page> {
        let mut asked = wants.iter().copied();
        let mut page = Page { rest: Vec::new(), missing: Vec::new(), of_use: false, bodies: false };
        for bytes in list {
            let transaction = match Transaction::from_bytes(&self.network, bytes) {
                Ok(transaction) => transaction,
                Err(rule) => {
                    self.let_go(turn, peer, Fault::InvalidTransaction(rule));
                    return None;
                }
            };
            let id = transaction.id();
            let want = loop {
                match asked.next() {
                    Some(next) if self.aliases.is(&next, &id) => break next,
                    Some(left_out) => page.missing.push(left_out),
                    None => {
                        self.let_go(turn, peer, Fault::WrongAnswer);
                        return None;
                    }
                }
            };
            page.bodies |= transaction.body().is_some();
            // Its header entered alone meanwhile.
            if transaction.body().is_some() && self.mend(turn, &transaction) {
                page.of_use = true;
                continue;
            }
            // A header that came alone before is not verified twice.
            if transaction.body().is_none() && self.bare.contains(&id) {
                page.of_use |= self.bare.is_without(&id, peer);
                continue;
            }
            page.of_use = true;
            if !self.take_asked(turn, transaction, Origin::new(peer, via)) {
                page.rest.push(want);
            }
        }
        // Behind a page that holds something, the rest did not fit; an empty one says that nothing is there.
        if list.is_empty() {
            page.missing.extend(asked)
        } else {
            page.rest.extend(asked)
        }
        if let Some(state) = self.peers.get_mut(peer).filter(|_| page.of_use) {
            state.delivered();
        }
        Some(page)
    }

    /// What a peer has not is not asked of it again for some time.
    pub(super) fn lacks<S: Store>(&mut self, turn: &Turn<'_, S>, peer: Peer, page: &Page) {
        if let Some(state) = self.peers.get_mut(peer) {
            page.missing.iter().for_each(|want| state.lacks(*want, turn.now.elapsed_ms));
        }
    }

    /// Hands a transaction out for verification, unless it came by another way meanwhile. `false` when there is no
    /// room.
    fn take_asked<S: Store>(&mut self, turn: &mut Turn<'_, S>, transaction: Transaction, origin: Origin) -> bool {
        let id = transaction.id();
        // One of this node's own, by its alias: so the world has it.
        if let Some(verified) = self.outbox.verified(&id) {
            self.offered(turn, verified, origin);
            return true;
        }
        match self.known(turn, &id) {
            Ok(true) => true,
            Ok(false) => self.check(turn, transaction, origin),
            Err(error) => {
                self.failures.note(&error);
                true
            }
        }
    }

    /// The parents `missing` of a transaction are not in the ledger: have them fetched, unless they are on their way.
    pub(super) fn want_parents<S: Store>(&mut self, turn: &Turn<'_, S>, origin: Origin, missing: &BTreeSet<TxId>) {
        let steps = match origin.via {
            Via::Session => return,
            Via::Gossip => 1,
            Via::Parents(steps) => steps.saturating_add(1),
        };
        let on_the_way =
            |id: &&TxId| self.checks.contains(id) || self.orphans.contains(id) || self.is_in_flight(&Want::Id(**id));
        let wanted: Vec<TxId> = missing.iter().filter(|id| !on_the_way(id)).copied().collect();
        let Some(state) = self.peers.get_mut(origin.peer) else {
            return;
        };
        // A session brings them anyhow.
        if wanted.is_empty() || state.session.is_some() {
            return;
        }
        if steps > STEPS_MAX || !state.want_parents(wanted, steps) {
            state.differs_since_ms.get_or_insert(turn.now.elapsed_ms);
        }
    }

    /// Asks each relay for the parents that are wanted of it.
    pub(super) fn ask_for_parents<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        let due: Vec<Peer> = self
            .peers
            .iter()
            .filter(|(_, state)| !state.parents.is_empty() && state.parents_asked.is_none())
            .map(|(peer, _)| peer)
            .collect();
        for peer in due {
            if !self.checks.has_room() || self.budget.is_full() {
                return;
            }
            let has_room = self.bare.has_room(peer);
            let Some(state) = self.peers.get_mut(peer).filter(|_| has_room) else {
                continue;
            };
            let wanted = std::mem::take(&mut state.parents);
            let max_bytes = state.page_bytes;
            let steps = wanted.values().copied().max().unwrap_or_default();
            let mut ids = Vec::new();
            for id in wanted.into_keys().take(WANT_MAX) {
                match self.known(turn, &id) {
                    Ok(false) if !self.is_in_flight(&Want::Id(id)) => ids.push(id),
                    Ok(_) => {}
                    Err(error) => self.failures.note(&error),
                }
            }
            if ids.is_empty() {
                continue;
            }
            let request = Request::Transactions { ids: ids.iter().map(wire_id).collect(), max_bytes };
            let token = self.ask(turn, peer, Question::Parents(ids, steps), request);
            if let Some(state) = self.peers.get_mut(peer) {
                state.parents_asked = Some(token);
            }
        }
    }

    /// A relay sent parents of what it had relayed.
    pub(super) fn got_parents<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        peer: Peer,
        ids: &[TxId],
        steps: u8,
        list: &[Vec<u8>],
    ) {
        let wants: Vec<Want> = ids.iter().map(|id| Want::Id(*id)).collect();
        let Some(page) = self.take_page(turn, peer, &wants, list, Via::Parents(steps)) else {
            return;
        };
        self.lacks(turn, peer, &page);
        let Some(state) = self.peers.get_mut(peer) else {
            return;
        };
        let rest = page.rest.iter().filter_map(|want| if let Want::Id(id) = want { Some(*id) } else { None });
        if !page.of_use || !state.want_parents(rest, steps) {
            state.differs_since_ms.get_or_insert(turn.now.elapsed_ms);
        }
    }
}
