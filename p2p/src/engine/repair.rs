//! Bodies that are missing or damaged here, fetched again from peers (DESIGN §4, the wanted list; §5).
//!
//! A walk over the whole log reads every record and every body once a day, at a bounded rate, and notes whose body never
//! came or is not what it was; so does a header that is taken in alone, and every answer to a peer that meets damage. What is wanted is asked of one peer after
//! the other, in turns, with the question that sync has for transactions. A body is taken if the header that comes with it has the
//! very id that the log holds, and it hashes to what that header says. It is durable with the next flush.
//!
//! Bounds: [`WANTED_MAX`] ids, of which those give way that nobody has, one question for each peer, [`WALK_RECORDS`] and [`WALK_BYTES`] read in one tick. A record
//! whose header is damaged cannot be mended so: it is reported, and the walk goes on.

use std::collections::{BTreeMap, BTreeSet};

use qasedak_chain::{
    Position, Transaction, TxId,
    ledger::Attached,
    store::{Body, Store, StoreError},
    transaction::body_hash,
};

use super::{Engine, Fault, Now, Peer, Turn, peers::PeerState, sync::Question};
use crate::wire::{Request, wire_id};

/// Most bodies that are wanted at once. The next walk finds the rest.
const WANTED_MAX: usize = 4_096;
/// Most bodies in one question.
const ASK_MAX: usize = 64;
/// Records that the walk reads in one tick.
const WALK_RECORDS: usize = 64;
/// Bytes of bodies after which it stops in a tick.
const WALK_BYTES: usize = 1024 * 1024;
/// Time between the beginnings of two walks.
const WALK_EVERY_MS: u64 = 86_400_000;
/// Most peers that one body was asked of before it is asked of all again.
const ASKED_MAX: usize = 64;
/// How long a peer that did not have a body, or did not answer, is not asked for it again: the peer may get it meanwhile,
/// or the answer was lost.
const AGAIN_MS: u64 = 5_000;
/// After so many rounds in vain that time doubles with each,
const QUICK_ROUNDS: u32 = 24;
/// up to some 85 minutes.
const AGAIN_DOUBLINGS: u32 = 10;
/// How long a body is asked of one peer alone: a slow one must not keep it from being asked of others.
const HELD_MS: u64 = 2_000;
/// Pause after a question to a peer that brought nothing.
const PAUSE_MS: u64 = 2_000;
/// When to look again whether a peer may be asked for something.
const IDLE_MS: u64 = 500;
/// Pause after a page that held less than it was asked for: longer than that, so that others come first.
const TURN_MS: u64 = 600;

/// A body that is wanted: whom it was asked of, and when that is forgotten.
#[derive(Debug, Default)]
struct Wanted {
    asked_of: BTreeSet<Peer>,
    forget_ms: u64,
    /// How often all were asked in vain.
    rounds: u32,
    /// It is being asked of one peer, and until then of no other.
    held_until_ms: u64,
}

impl Wanted {
    /// How long a peer that did not have it is not asked again. What nobody has for long is asked for ever more seldom:
    /// every answer costs its headers.
    fn again_ms(&self) -> u64 {
        AGAIN_MS << self.rounds.saturating_sub(QUICK_ROUNDS).min(AGAIN_DOUBLINGS)
    }
}

/// What an operator is shown of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairStatus {
    /// Bodies that are wanted.
    pub wanted: usize,
    /// Bodies that came since the start.
    pub repaired: u64,
    /// Records that the walk has read; all of them while it rests.
    pub walked: u64,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Repair {
    wanted: BTreeMap<TxId, Wanted>,
    /// Whether there was no room for one: the walk begins anew when there is.
    missed: bool,
    repaired: u64,
    walk_at: u64,
    walk_from_ms: u64,
    /// When the next walk begins.
    next_walk_ms: u64,
}

impl Repair {
    pub(super) fn status(&self) -> RepairStatus {
        RepairStatus { wanted: self.wanted.len(), repaired: self.repaired, walked: self.walk_at }
    }

    /// A body is missing or damaged.
    pub(super) fn want(&mut self, id: TxId) {
        if self.wanted.contains_key(&id) {
            return;
        }
        if self.wanted.len() >= WANTED_MAX {
            // What nobody seems to have gives way; the next walk finds it again.
            let vain = self.wanted.iter().filter(|(_, wanted)| wanted.rounds > 0);
            let Some(most) = vain.max_by_key(|(id, wanted)| (wanted.rounds, **id)).map(|(id, _)| *id) else {
                self.missed = true;
                return;
            };
            self.wanted.remove(&most);
        }
        self.wanted.insert(id, Wanted::default());
    }

    /// A question for these is closed: they may be asked of others.
    pub(super) fn closed(&mut self, ids: &[TxId]) {
        for id in ids {
            if let Some(wanted) = self.wanted.get_mut(id) {
                wanted.held_until_ms = 0;
            }
        }
    }

    /// What to ask of this peer: what it was not asked for lately.
    fn due(&mut self, peer: Peer, now_ms: u64) -> Vec<TxId> {
        let mut due = Vec::new();
        for (id, wanted) in &mut self.wanted {
            let over = wanted.forget_ms <= now_ms || wanted.asked_of.len() >= ASKED_MAX;
            if over && !wanted.asked_of.is_empty() {
                wanted.asked_of.clear();
                wanted.rounds = wanted.rounds.saturating_add(1);
            }
            if due.len() < ASK_MAX && wanted.held_until_ms <= now_ms && !wanted.asked_of.contains(&peer) {
                wanted.held_until_ms = now_ms.saturating_add(HELD_MS);
                due.push(*id);
            }
        }
        due
    }
}

impl Engine {
    /// A tick went by: the walk goes on.
    pub(super) fn walk<S: Store>(&mut self, turn: &Turn<'_, S>) {
        let now_ms = turn.now.elapsed_ms;
        let again = self.repair.missed && self.repair.wanted.len() < WANTED_MAX / 2;
        if now_ms < self.repair.next_walk_ms && !again {
            return;
        }
        if self.repair.walk_at == 0 {
            self.repair.walk_from_ms = now_ms;
            self.repair.next_walk_ms = now_ms;
            self.repair.missed = false;
        }
        let mut bytes = 0_usize;
        for _ in 0..WALK_RECORDS {
            if self.repair.walk_at >= turn.ledger.store().len() {
                self.repair.walk_at = 0;
                self.repair.next_walk_ms = self.repair.walk_from_ms.saturating_add(WALK_EVERY_MS);
                return;
            }
            let position = Position::new(self.repair.walk_at);
            self.repair.walk_at = self.repair.walk_at.saturating_add(1);
            match self.look_at(turn, position) {
                Ok(read) => bytes = bytes.saturating_add(read),
                Err(error) => self.failures.note_unread(&error),
            }
            if bytes >= WALK_BYTES {
                return;
            }
        }
    }

    /// Reads a record and its body; wants the body if it should be here and is not. Returns how many bytes it read.
    pub(super) fn look_at<S: Store>(&mut self, turn: &Turn<'_, S>, position: Position) -> Result<usize, StoreError> {
        let Some(record) = turn.ledger.record(position)? else {
            return Ok(0);
        };
        let core = record.header.core();
        match turn.ledger.store().body(position)? {
            Body::Present(body) if body_hash(&self.network, &body) == *core.body_hash() => return Ok(body.len()),
            Body::Dropped { .. } => return Ok(0),
            Body::Present(_) | Body::Damaged(_) => self.repair.want(record.id),
            // One that never came is wanted for as long as others keep it.
            Body::Absent => {
                let day = qasedak_chain::retention::body_day(core, record.arrival);
                if day > turn.ledger.clock(turn.now.system).day() {
                    self.repair.want(record.id);
                }
            }
        }
        Ok(0)
    }

    /// Asks peers for bodies that are wanted.
    pub(super) fn ask_for_bodies<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        if self.repair.wanted.is_empty() {
            return;
        }
        let now_ms = turn.now.elapsed_ms;
        let is_free = |state: &PeerState| state.bodies_asked.is_none() && state.bodies_from_ms <= now_ms;
        let free = self.peers.iter().filter(|(_, state)| is_free(state));
        let mut free: Vec<(u64, Peer, u32)> =
            free.map(|(peer, state)| (state.bodies_from_ms, peer, state.page_bytes)).collect();
        // Whoever was asked longest ago comes first: one who answers without having anything keeps nothing from the others.
        free.sort_unstable();
        for (_, peer, max_bytes) in free {
            let ids = self.repair.due(peer, now_ms);
            let asked = if ids.is_empty() {
                None
            } else {
                let request = Request::Transactions { ids: ids.iter().map(wire_id).collect(), max_bytes };
                Some(self.ask(turn, peer, Question::Bodies(ids), request))
            };
            if let Some(state) = self.peers.get_mut(peer) {
                state.bodies_from_ms = now_ms.saturating_add(if asked.is_some() { 0 } else { IDLE_MS });
                state.bodies_asked = asked;
            }
        }
    }

    /// Takes in a body that came.
    fn attach<S: Store>(&mut self, turn: &mut Turn<'_, S>, transaction: &Transaction) -> Result<bool, StoreError> {
        let taken = turn.ledger.attach_body(transaction, turn.now.system)? == Attached::Taken;
        self.repair.wanted.remove(&transaction.id());
        if taken {
            self.repair.repaired = self.repair.repaired.saturating_add(1);
            turn.stored = true;
        }
        Ok(taken)
    }

    /// A peer relayed a transaction that is in the ledger. Whether its body was wanted, and is here now.
    pub(super) fn mend<S: Store>(&mut self, turn: &mut Turn<'_, S>, transaction: &Transaction) -> bool {
        if !self.repair.wanted.contains_key(&transaction.id()) {
            return false;
        }
        self.attach(turn, transaction).unwrap_or_else(|error| {
            self.failures.note(&error);
            false
        })
    }

    /// A peer is asked for no bodies for a moment.
    pub(super) fn pause_bodies(&mut self, peer: Peer, now: Now) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.bodies_from_ms = now.elapsed_ms.saturating_add(PAUSE_MS);
        }
    }

    /// A question for bodies brought nothing.
    pub(super) fn bodies_not_had(&mut self, peer: Peer, ids: &[TxId], now: Now) {
        self.pause_bodies(peer, now);
        for id in ids {
            if let Some(wanted) = self.repair.wanted.get_mut(id) {
                wanted.asked_of.insert(peer);
                wanted.forget_ms = now.elapsed_ms.saturating_add(wanted.again_ms());
            }
        }
    }

    /// A peer sent transactions whose bodies are wanted.
    pub(super) fn got_bodies<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, ids: &[TxId], list: &[Vec<u8>]) {
        let mut asked = ids.iter();
        let mut without = Vec::new();
        let mut any = false;
        for bytes in list {
            let transaction = match Transaction::from_bytes(&self.network, bytes) {
                Ok(transaction) => transaction,
                Err(rule) => return self.let_go(turn, peer, Fault::InvalidTransaction(rule)),
            };
            let id = transaction.id();
            // In the order of the question; those left out are not there.
            let before = asked.as_slice();
            if !asked.any(|next| *next == id) {
                return self.let_go(turn, peer, Fault::WrongAnswer);
            }
            let skipped = before.len().saturating_sub(asked.len()).saturating_sub(1);
            without.extend(before.iter().take(skipped));
            if transaction.body().is_none() {
                without.push(id);
                continue;
            }
            any = true;
            if let Err(error) = self.attach(turn, &transaction) {
                self.failures.note(&error);
                return self.pause_bodies(peer, turn.now);
            }
        }
        // Behind a page that holds a body, the rest did not fit, or so it says: others get their turn first. One that holds
        // none says that none is there.
        if !any {
            without = ids.to_vec();
        } else if asked.len() > 0
            && let Some(state) = self.peers.get_mut(peer)
        {
            state.bodies_from_ms = turn.now.elapsed_ms.saturating_add(TURN_MS);
        }
        if !without.is_empty() {
            self.bodies_not_had(peer, &without, turn.now);
        }
    }
}
