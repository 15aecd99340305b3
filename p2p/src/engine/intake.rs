//! The one way into the ledger: verification, parents, append; and the blame for what breaks a rule.
//!
//! Whatever its source, a transaction goes the same way: handed out for verification, then appended when its parents
//! are in the ledger, or kept among the orphans until they are. Blame falls only on whoever sent what it had to check
//! itself: a relay passes nothing on, and a peer serves nothing, that it has not verified under its parents.

use std::collections::{BTreeSet, VecDeque};

use qasedak_chain::{
    Transaction, TxId,
    ledger::{AppendError, Refusal},
    rules::{RuleError, Verified},
    store::{Store, StoreError},
    transaction::Core,
};

use super::{
    Engine, Fault, Output, Peer, Token, Turn, Verdict,
    budget::wire_bytes,
    checks::{Origin, Via, Waiter},
    holders::Followed,
};

impl Engine {
    /// Whether a transaction is in the ledger, under verification, or waiting for its parents.
    pub(super) fn known<S: Store>(&self, turn: &Turn<'_, S>, id: &TxId) -> Result<bool, StoreError> {
        if self.checks.contains(id) || self.orphans.contains(id) || self.budget.contains(id) {
            return Ok(true);
        }
        Ok(turn.ledger.position(id)?.is_some())
    }

    /// Hands a transaction out for verification. `false` when too many are under way.
    pub(super) fn check<S: Store>(&mut self, turn: &mut Turn<'_, S>, transaction: Transaction, origin: Origin) -> bool {
        let token = self.fresh_token();
        if !self.checks.insert(token, &transaction, origin) {
            return false;
        }
        if self.peers.is_any_in_session() {
            self.aliases.came(&transaction.id());
        }
        turn.out.push(Output::Check { token, transaction: Box::new(transaction) });
        true
    }

    /// A verdict came back.
    pub(super) fn on_checked<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        token: Token,
        verdict: Result<Box<Verified>, RuleError>,
    ) {
        let Some(origin) = self.checks.remove(token) else {
            return;
        };
        match verdict {
            Ok(verified) => self.place(turn, *verified, Some(origin)),
            Err(rule) => self.blame(turn, origin, rule),
        }
    }

    /// Appends a verified transaction, and then every orphan that waited for it; or makes it an orphan. Own ones
    /// have no origin.
    pub(super) fn place<S: Store>(&mut self, turn: &mut Turn<'_, S>, verified: Verified, origin: Option<Origin>) {
        let mut queue = VecDeque::from([(verified, origin)]);
        while let Some((verified, origin)) = queue.pop_front() {
            let id = verified.transaction().id();
            if let Some(origin) = origin
                && self.lacks_its_body(turn, &verified, &origin)
            {
                self.seek_body(turn, verified, origin);
                continue;
            }
            match missing_parents(turn, verified.transaction().core()) {
                Err(error) => self.store_failed(turn, origin, &error),
                Ok(missing) if !missing.is_empty() => self.make_orphan(turn, verified, origin, missing),
                Ok(_) => match origin {
                    Some(origin) if !self.may_enter(turn, &id, Some(&origin)) => {
                        self.wait_for_budget(turn, verified, origin);
                    }
                    origin => queue.extend(self.append_and_adopt(turn, verified, origin)),
                },
            }
        }
    }

    /// Appends a transaction that has waited for the budget, and places every orphan that waited for it.
    pub(super) fn enter<S: Store>(&mut self, turn: &mut Turn<'_, S>, verified: Verified, origin: Option<Origin>) {
        for (verified, origin) in self.append_and_adopt(turn, verified, origin) {
            self.place(turn, verified, origin);
        }
    }

    /// Appends a transaction. Returns the orphans that lack nothing any more.
    fn append_and_adopt<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        verified: Verified,
        origin: Option<Origin>,
    ) -> Vec<(Verified, Option<Origin>)> {
        let id = verified.transaction().id();
        if !self.append(turn, verified, origin) {
            return Vec::new();
        }
        let adopted = self.orphans.adopt(&id);
        adopted.into_iter().map(|orphan| (orphan.verified, Some(orphan.origin))).collect()
    }

    /// Appends a transaction whose parents are in the ledger.
    fn append<S: Store>(&mut self, turn: &mut Turn<'_, S>, verified: Verified, origin: Option<Origin>) -> bool {
        let id = verified.transaction().id();
        let followed = Followed::of(id, verified.transaction().core());
        let own = self.outbox.is_waiting(&id);
        let now = turn.ledger.clock(turn.now.system);
        let bytes = wire_bytes(&verified);
        let header_alone = verified.transaction().body().is_none();
        let appended = match origin {
            Some(origin) if origin.alone && !own => turn.ledger.append_header_alone(verified, now),
            _ => turn.ledger.append(verified, now, own),
        };
        match appended {
            Ok(position) => {
                turn.grown = true;
                self.bare.remove(&id);
                if origin.is_some() && !own {
                    self.charge_budget(bytes);
                }
                // By this clock it may need no body; by another one it does, and others have it.
                if header_alone && let Err(error) = self.look_at(turn, position) {
                    self.failures.note_unread(&error);
                }
                if own {
                    self.outbox.logged(followed, position, self.network.is_main());
                }
                self.came(turn, origin, bytes);
                true
            }
            Err(AppendError::Refused(Refusal::Rule(rule))) => {
                match origin {
                    Some(origin) => self.blame(turn, origin, rule),
                    None => self.outbox.refused(&id),
                }
                false
            }
            Err(AppendError::Refused(Refusal::Known)) => {
                self.own_was_known(turn, &id);
                self.judge(turn, origin, Verdict::Ignore);
                false
            }
            Err(AppendError::Refused(Refusal::UnknownParents(_) | Refusal::BodyMissing)) => {
                self.judge(turn, origin, Verdict::Ignore);
                false
            }
            Err(AppendError::Store(error)) => {
                self.store_failed(turn, origin, &error);
                false
            }
        }
    }

    /// A transaction is in the ledger: judge the message that brought it, or see to it that other peers hear of it.
    fn came<S: Store>(&mut self, turn: &mut Turn<'_, S>, origin: Option<Origin>, bytes: usize) {
        let Some(origin) = origin else {
            return;
        };
        self.peers.gained(origin.peer, origin.via, turn.now.elapsed_ms);
        let now_ms = turn.now.elapsed_ms;
        let relays = origin.waiter.is_some_and(|waiter| self.peers.passes_on(waiter.from, bytes, now_ms));
        // What is not gossiped from here, others pull: they are told that the digest changed.
        self.untold |= !relays;
        self.judge(turn, Some(origin), if relays { Verdict::Accept } else { Verdict::Ignore });
    }

    fn make_orphan<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        verified: Verified,
        origin: Option<Origin>,
        missing: BTreeSet<TxId>,
    ) {
        // An own transaction stays in the outbox until its parents are here.
        let Some(origin) = origin else {
            return;
        };
        self.want_parents(turn, origin, &missing);
        for gone in self.orphans.insert(verified, origin, missing, turn.now.elapsed_ms) {
            self.judge(turn, Some(gone.origin), Verdict::Ignore);
        }
    }

    /// Gives the open verdict on the message that brought a transaction, if there is one.
    pub(super) fn judge<S: Store>(&mut self, turn: &mut Turn<'_, S>, origin: Option<Origin>, verdict: Verdict) {
        if let Some(Waiter { token, from, .. }) = origin.and_then(|origin| origin.waiter) {
            turn.out.push(Output::Judge { token, from, verdict });
        }
    }

    /// A transaction breaks a rule: whoever sent it is let go.
    fn blame<S: Store>(&mut self, turn: &mut Turn<'_, S>, origin: Origin, rule: RuleError) {
        self.judge(turn, Some(origin), Verdict::Reject);
        if let Some(waiter) = origin.waiter {
            self.let_go(turn, waiter.from, Fault::InvalidTransaction(rule));
        }
        self.let_go(turn, origin.peer, Fault::InvalidTransaction(rule));
    }

    /// Lets a peer go and forgets it. Does nothing when that has happened.
    pub(super) fn let_go<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, fault: Fault) {
        if self.forget(peer) {
            turn.out.push(Output::Disconnect { peer, fault });
        }
    }

    /// The store failed over a transaction: drop it, and blame nobody. Damage to one record is no reason to fetch
    /// nothing more.
    pub(super) fn store_failed<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        origin: Option<Origin>,
        error: &StoreError,
    ) {
        self.failures.note(error);
        self.judge(turn, origin, Verdict::Ignore);
        if let Some(origin) = origin
            && origin.via == Via::Session
            && !matches!(error, StoreError::Damaged { .. })
        {
            self.give_up(turn, origin.peer);
        }
    }
}

/// The parents that are not in the ledger.
pub(super) fn missing_parents<S: Store>(turn: &Turn<'_, S>, core: &Core) -> Result<BTreeSet<TxId>, StoreError> {
    let mut missing = BTreeSet::new();
    let genesis = turn.ledger.network().genesis();
    for id in core.parents() {
        if *id != genesis && turn.ledger.position(id)?.is_none() {
            missing.insert(*id);
        }
    }
    Ok(missing)
}
