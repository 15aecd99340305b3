//! Own transactions on their way into the ledger (DESIGN §7, Stem).
//!
//! The disk keeps them ([`Outbox`](qasedak_chain::store::Outbox)) before the engine hears of them, and lets them go on
//! [`Output::Released`](super::Output::Released), which comes when the log has them durably. In between, one
//!
//! 1. **waits**: outside ledger, digest, sync and answers, until a subscribed peer is there and its parents are here
//!    (after a power cut they may come after it); when its body's day has come before that, it is released unpublished;
//! 2. **is published**, and waits again, a while, when that reached nobody;
//! 3. **is logged**, once it was sent to a subscriber, or as soon as a peer offers it by gossip or lists it in sync.
//!
//! This is the fluff phase at once, on every network. The stem belongs between 1 and 2: a guard to send to instead of
//! the publication, the embargo as one more way to 3, and relayed stems as further entries.
//!
//! From 3 on `holders` counts the peers that hold it.

use std::collections::BTreeMap;

use qasedak_chain::{Position, TxId, retention::body_day, rules::Verified, store::Store};

use super::{
    Engine, Output, Peer, Turn,
    holders::{FOLLOWED_MAX, Followed, Holders},
    intake::missing_parents,
};

/// How long to wait before the next attempt when nobody was reached, or no word came of the last one.
const RETRY_MS: u64 = 2_000;
/// How long a publication may take.
const PUBLISHING_MS: u64 = 10_000;
/// A clock that is so many days past the end of what waits is not believed, since nobody else could give that back; what is
/// really so old is published, and goes with the day's other bodies.
const BELIEVED_DAYS: u64 = 180;
/// Most publications at a time.
const BURST: usize = 64;

#[derive(Debug)]
struct Waiting {
    verified: Verified,
    /// Not to be published before this.
    next_ms: u64,
    /// Whether it waits for parents: then any growth of the ledger may be what it waits for.
    lacks_parents: bool,
}

/// See the module's page. Its size is this node's own doing, so that only what it counts of peers has bounds.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: BTreeMap<TxId, Waiting>,
    /// In the log, and not known to be durable yet.
    logged: BTreeMap<TxId, Position>,
    holders: Holders,
    /// Whether counting has gone on with what an earlier run of the node left.
    resumed: bool,
    /// How many turned out to break a rule. They stay on disk.
    refused: u64,
}

impl Outbox {
    /// How many are not in the ledger.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
    pub(super) fn refused_count(&self) -> u64 {
        self.refused
    }
    pub(super) fn is_waiting(&self, id: &TxId) -> bool {
        self.waiting.contains_key(id)
    }
    pub(super) fn verified(&self, id: &TxId) -> Option<Verified> {
        self.waiting.get(id).map(|waiting| waiting.verified.clone())
    }

    /// It is in the log. Its holders are counted from now on; while it is held back, also so that it may become a parent.
    pub(super) fn logged(&mut self, one: Followed, position: Position, held_back: bool) {
        self.waiting.remove(&one.id);
        self.logged.insert(one.id, position);
        self.holders.follow(one, held_back);
    }

    /// It breaks a rule, which a wallet's own work never does: do not try it again before the next start.
    pub(super) fn refused(&mut self, id: &TxId) {
        if self.waiting.remove(id).is_some() {
            self.refused = self.refused.saturating_add(1);
        }
    }

    /// Own transactions for which another holder counts: of one day, or all.
    pub(super) fn counted_of(&self, day: Option<u64>) -> Vec<TxId> {
        self.holders.counted_of(day)
    }
}

impl Engine {
    /// This node made a transaction, or had it in the outbox when it started.
    pub(super) fn on_own<S: Store>(&mut self, turn: &mut Turn<'_, S>, verified: Verified) {
        let id = verified.transaction().id();
        self.outbox.waiting.insert(id, Waiting { verified, next_ms: turn.now.elapsed_ms, lacks_parents: false });
        self.own_was_known(turn, &id);
        self.release_ended(turn);
        self.publish(turn);
    }

    /// Goes on counting the holders of what an earlier run of the node left held back.
    pub(super) fn resume_counting<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        if std::mem::replace(&mut self.outbox.resumed, true) {
            return;
        }
        for id in turn.ledger.held_back() {
            match turn.ledger.position(id).and_then(|at| at.map_or(Ok(None), |at| turn.ledger.record(at))) {
                Ok(Some(record)) => self.outbox.holders.follow(Followed::of(*id, record.header.core()), true),
                Ok(None) => {}
                Err(error) => self.failures.note(&error),
            }
        }
    }

    /// Releases what waits since before its body would have been dropped: it was never published, and nobody would keep it
    /// now. So the body goes from this disk, too, when it goes from every other.
    pub(super) fn release_ended<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        let today = turn.ledger.clock(turn.now.system).day();
        // It did not arrive; had it, then not before the time that it gives.
        let is_over = |waiting: &Waiting| {
            let core = waiting.verified.transaction().core();
            let day = body_day(core, core.time());
            (day..=day.saturating_add(BELIEVED_DAYS)).contains(&today)
        };
        let ended = self.outbox.waiting.extract_if(.., |_, waiting| is_over(waiting));
        let ended: Vec<TxId> = ended.map(|(id, _)| id).collect();
        if !ended.is_empty() {
            turn.out.push(Output::Released(ended));
        }
    }

    /// An own transaction is in the log already: it needs only to be let go.
    pub(super) fn own_was_known<S: Store>(&mut self, turn: &mut Turn<'_, S>, id: &TxId) {
        let Some(own) = self.outbox.waiting.get(id).map(|own| Followed::of(*id, own.verified.transaction().core()))
        else {
            return;
        };
        match turn.ledger.position(id) {
            Ok(Some(position)) => {
                self.outbox.logged(own, position, false);
                let durable = turn.ledger.store().last_commit().map_or(0, |point| point.count);
                self.on_durable(turn, Position::new(durable));
            }
            Ok(None) => {}
            Err(error) => self.failures.note(&error),
        }
    }

    /// Publishes what is due, if anybody could hear it.
    pub(super) fn publish<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        if !self.peers.any_subscribed() {
            return;
        }
        let now_ms = turn.now.elapsed_ms;
        let due = self.outbox.waiting.iter_mut().filter(|(_, waiting)| waiting.next_ms <= now_ms);
        for (id, waiting) in due.take(BURST) {
            match missing_parents(turn, waiting.verified.transaction().core()) {
                Ok(missing) if missing.is_empty() => {
                    waiting.next_ms = now_ms.saturating_add(PUBLISHING_MS);
                    let bytes = waiting.verified.transaction().to_bytes();
                    turn.out.push(Output::Publish { id: *id, bytes });
                }
                Ok(_) => {
                    waiting.lacks_parents = true;
                    waiting.next_ms = u64::MAX;
                }
                Err(error) => {
                    waiting.next_ms = now_ms.saturating_add(RETRY_MS);
                    self.failures.note(&error);
                }
            }
        }
    }

    /// The ledger grew: what waited for parents may be published now.
    pub(super) fn own_may_have_parents<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        let now_ms = turn.now.elapsed_ms;
        let lacking = self.outbox.waiting.values_mut().filter(|waiting| waiting.lacks_parents);
        let count = lacking.map(|waiting| (waiting.lacks_parents, waiting.next_ms) = (false, now_ms)).count();
        if count > 0 {
            self.publish(turn);
        }
    }

    /// How a publication went.
    pub(super) fn on_published<S: Store>(&mut self, turn: &mut Turn<'_, S>, id: &TxId, sent: bool) {
        let Some(waiting) = self.outbox.waiting.get_mut(id) else {
            return;
        };
        waiting.next_ms = turn.now.elapsed_ms.saturating_add(RETRY_MS);
        if sent {
            let verified = waiting.verified.clone();
            self.place(turn, verified, None);
        }
    }

    /// Everything before `position` is durable.
    pub(super) fn on_durable<S: Store>(&mut self, turn: &mut Turn<'_, S>, position: Position) {
        let safe: Vec<TxId> = self.outbox.logged.iter().filter(|(_, at)| **at < position).map(|(id, _)| *id).collect();
        if safe.is_empty() {
            return;
        }
        for id in &safe {
            self.outbox.logged.remove(id);
        }
        turn.out.push(Output::Released(safe));
    }

    /// Own transactions of an earlier run whose holders are to be counted again: those that are in the log.
    pub(super) fn follow<S: Store>(&mut self, turn: &mut Turn<'_, S>, all: &[Followed]) {
        for one in all.iter().take(FOLLOWED_MAX) {
            match turn.ledger.position(&one.id) {
                Ok(Some(_)) => self.outbox.holders.follow(*one, false),
                // One that waits is followed once it is in the log.
                Ok(None) => {}
                Err(error) => self.failures.note(&error),
            }
        }
    }

    /// How many peers are known to hold each of these own transactions, at most [`KEYS_MAX`](super::holders::KEYS_MAX);
    /// `None` for one whose holders are not counted.
    pub fn holders(&self, ids: &[TxId]) -> Vec<Option<usize>> {
        ids.iter().map(|id| self.outbox.holders.count(id)).collect()
    }

    /// Lets go what is counted of own transactions that have ended.
    pub(super) fn expire_holders<S>(&mut self, turn: &Turn<'_, S>) {
        self.outbox.holders.expire(turn.now.system);
    }

    /// `peer` holds a transaction.
    pub(super) fn holds<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, id: &TxId) {
        let Some(key) = self.peers.get(peer).map(|state| state.exchange.key) else {
            return;
        };
        if self.outbox.holders.add(id, key)
            && let Err(error) = turn.ledger.known_to_be_held(id, turn.now.system)
        {
            self.failures.note(&error);
        }
    }

    /// `peer` holds everything that this node has of a day, or everything.
    pub(super) fn holds_all<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, day: Option<u64>) {
        for id in self.outbox.counted_of(day) {
            self.holds(turn, peer, &id);
        }
    }
}
