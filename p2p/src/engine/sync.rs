//! Comparing sets with peers, and the questions that are open (DESIGN §7, Sync; `docs/protocol.md`, "Sync").
//!
//! On contact, and then every 20 s or so, each peer is asked for its digest. The question carries this node's own,
//! so one question tells both sides, and each begins to pull what it lacks: nothing is ever pushed. What came by sync
//! is not gossiped either; instead the other peers are asked for their digests at once, and so learn that this node has
//! more: that is how two islands merge through one bridge, hop by hop.
//!
//! A small difference to a peer that was equal before is mostly gossip on its way; it gets a second look before a
//! session begins. Every question has a token and a deadline; an answer without an open question is ignored. At most
//! [`SESSIONS_MAX`] peers are fetched from at once; while others wait, one that brings nothing gives way, so that peers who
//! answer just in time and say nothing new keep nobody out.
//!
//! What is asked of one peer is left alone by the others for a moment, not until the answer's deadline; and a session
//! whose peer takes longer and brings little of what was asked ends when there is another one (see `pace`).

use qasedak_chain::{TxId, store::Store};

use super::{
    Engine, Fault, Now, Peer, Token, Turn,
    comparison::{CompareError, Step},
    exchange::AskedCheckpoint,
    pace,
    peers::{Fruitless, PeerState},
    reconcile::Want,
    session::Session,
};
use crate::wire::{Alias, Place, Request, Response};

/// Time between two comparisons with a peer, without what chance adds.
const COMPARE_MS: u64 = 15_000;
/// What chance adds at most, so that nodes do not fall into step.
const COMPARE_JITTER_MS: u64 = 10_000;
/// When to look again at a small difference.
const SECOND_LOOK_MS: u64 = 1_500;
/// What a small difference is, in transactions.
const SMALL_DIFFERENCE: u64 = 8;
/// How long an answer may take.
const ANSWER_MS: u64 = 10_000;
/// Pause after a peer was busy, to which chance adds as much again.
const BUSY_MS: u64 = 1_000;
/// Pause between two sessions, or two comparisons, with one peer.
const PAUSE_MS: u64 = 500;
/// How often peers are told of growth while sessions go on.
const TELL_MS: u64 = 5_000;
/// Most peers that are fetched from at once.
const SESSIONS_MAX: usize = 4;
/// How long a peer waits for a session until others have to make room.
const WAITED_MS: u64 = 15_000;
/// How long a session may bring nothing while others wait.
const BARREN_MS: u64 = 20_000;
/// How long a session may go on while others wait.
const TURN_MS: u64 = 120_000;

/// What was asked.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// The digest of the whole set.
    Compare,
    /// Days from `from` on.
    Days { from: u64 },
    /// Places of a day.
    Day { day: u64, after: Option<Place>, max: u32 },
    /// A round of a reconciliation.
    Reconcile,
    /// Transactions that the peer listed.
    Listed(Vec<Want>),
    /// Parents of what it relayed, and the most steps between one of them and that.
    Parents(Vec<TxId>, u8),
    /// A step of `audit compare`.
    Audit(Step),
    /// Bodies that are missing here, of transactions that are not.
    Bodies(Vec<TxId>),
    /// The same of transactions whose headers wait.
    Bare(Vec<TxId>),
    /// Its newest checkpoint.
    Checkpoint(AskedCheckpoint),
}

/// A question that is open.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) peer: Peer,
    pub(super) question: Question,
    pub(super) since_ms: u64,
    until_ms: u64,
    /// Whether others may be asked for the same.
    pub(super) lapsed: bool,
}

impl Engine {
    /// Asks a peer something, under a fresh token.
    pub(super) fn ask<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        peer: Peer,
        question: Question,
        request: Request,
    ) -> Token {
        let token = self.fresh_token();
        for alias in self.fetched_by(&question) {
            self.in_flight.insert(alias, token);
        }
        let since_ms = turn.now.elapsed_ms;
        let until_ms = since_ms.saturating_add(ANSWER_MS);
        self.asked.insert(token, Asked { peer, question, since_ms, until_ms, lapsed: false });
        turn.out.push(super::Output::Ask { peer, token, request });
        token
    }

    /// What a question fetches.
    pub(super) fn fetched_by(&self, question: &Question) -> Vec<Alias> {
        match question {
            Question::Listed(wants) => wants.iter().map(|want| self.aliases.of(want)).collect(),
            Question::Parents(ids, _) => ids.iter().map(|id| self.aliases.of(&Want::Id(*id))).collect(),
            _ => Vec::new(),
        }
    }

    /// Closes a question, whatever became of it.
    pub(super) fn close(&mut self, token: Token) -> Option<Asked> {
        let asked = self.asked.remove(&token)?;
        self.release(token, &asked.question);
        self.comparison_closed(token);
        match &asked.question {
            Question::Bodies(ids) => self.repair.closed(ids),
            Question::Bare(_) => self.bare.closed(asked.peer),
            _ => {}
        }
        if let Some(state) = self.peers.get_mut(asked.peer) {
            match (&asked.question, &mut state.session) {
                (Question::Compare, _) => state.comparing = None,
                (Question::Parents(..), _) => state.parents_asked = None,
                (Question::Bodies(_), _) => state.bodies_asked = None,
                (Question::Checkpoint(_), _) => state.exchange.closed(),
                (
                    Question::Days { .. } | Question::Day { .. } | Question::Reconcile | Question::Listed(_),
                    Some(session),
                ) => session.asked = None,
                (Question::Days { .. } | Question::Day { .. } | Question::Reconcile | Question::Listed(_), None)
                | (Question::Audit(_) | Question::Bare(_), _) => {}
            }
        }
        Some(asked)
    }

    /// A peer answered.
    pub(super) fn on_answered<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        from: Peer,
        token: Token,
        response: Response,
    ) {
        if self.asked.get(&token).is_none_or(|asked| asked.peer != from) {
            return;
        }
        let Some(Asked { question, since_ms, .. }) = self.close(token) else {
            return;
        };
        let took_ms = turn.now.elapsed_ms.saturating_sub(since_ms);
        if let Some(state) = self.peers.get_mut(from) {
            state.took_ms = took_ms;
        }
        match (question, response) {
            (question, Response::Busy) => self.on_busy(turn, from, question),
            (Question::Compare, Response::Digest { count, digest }) => self.compared(turn, from, count, &digest),
            (Question::Days { from: first }, Response::Days(days)) => self.listed_days(turn, from, first, &days),
            (Question::Day { day, after, max }, Response::Day(places)) => {
                self.listed_day(turn, from, (day, after, max), &places);
            }
            (Question::Reconcile, Response::Reconciled(answer)) => self.reconciled(turn, from, answer.as_deref()),
            (Question::Listed(ids), Response::Transactions(list)) => {
                let too_slow = pace::is_too_slow(took_ms, ids.len(), &list);
                self.got_listed(turn, from, &ids, &list);
                self.keep_pace(turn, from, too_slow);
            }
            (Question::Parents(ids, steps), Response::Transactions(list)) => {
                self.got_parents(turn, from, &ids, steps, &list);
            }
            (Question::Bodies(ids), Response::Transactions(list)) => self.got_bodies(turn, from, &ids, &list),
            (Question::Bare(ids), Response::Transactions(list)) => self.got_whole(turn, from, &ids, &list),
            (Question::Checkpoint(asked), Response::Checkpoint { checkpoint, path }) => {
                self.told_checkpoint(turn, from, &asked, checkpoint.as_deref(), &path);
            }
            (Question::Audit(step), response) => self.on_audit_answered(turn, from, step, response),
            _ => self.let_go(turn, from, Fault::WrongAnswer),
        }
    }

    fn on_audit_answered<S: Store>(&mut self, turn: &mut Turn<'_, S>, from: Peer, step: Step, response: Response) {
        match (step, response) {
            (Step::Digest, Response::Digest { count, digest }) => self.compared_digest(turn, count, &digest),
            (Step::Days { from: first }, Response::Days(days)) => self.compared_days(turn, from, first, &days),
            (Step::Day { day, after }, Response::Day(places)) => self.compared_day(turn, from, (day, after), &places),
            _ => self.compared_wrongly(turn, from),
        }
    }

    fn on_busy<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, question: Question) {
        let again_ms = turn.now.elapsed_ms.saturating_add(BUSY_MS).saturating_add(self.chance(BUSY_MS));
        match question {
            Question::Audit(step) => return self.comparison_put_off(turn, peer, step, again_ms),
            Question::Checkpoint(_) => return self.exchange_later(peer, turn.now.elapsed_ms),
            Question::Bodies(_) => return self.pause_bodies(peer, turn.now),
            Question::Bare(ids) => return self.bare.are_without(&ids, peer),
            _ => {}
        }
        let Some(state) = self.peers.get_mut(peer) else {
            return;
        };
        let patient = match (question, &mut state.session) {
            (Question::Compare, _) => {
                state.compare_at_ms = again_ms;
                true
            }
            (Question::Parents(..), _) => {
                state.compare_at_ms = state.compare_at_ms.min(again_ms);
                true
            }
            (question, Some(session)) => session.put_off(question, again_ms),
            (_, None) => true,
        };
        if !patient {
            self.give_up(turn, peer);
        }
    }

    /// A question failed, or its peer did.
    pub(super) fn on_failed<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, token: Token, fault: bool) {
        let ours = self.asked.get(&token).is_some_and(|asked| asked.peer == peer);
        let closed = if ours { self.close(token) } else { None };
        if fault {
            return self.let_go(turn, peer, Fault::Malformed);
        }
        match closed.map(|asked| asked.question) {
            Some(Question::Compare | Question::Parents(..)) => {
                if let Some(state) = self.peers.get_mut(peer) {
                    state.failed(turn.now.elapsed_ms);
                }
            }
            Some(Question::Days { .. } | Question::Day { .. } | Question::Reconcile | Question::Listed(_)) => {
                self.give_up(turn, peer);
            }
            Some(Question::Bodies(ids)) => self.bodies_not_had(peer, &ids, turn.now),
            Some(Question::Bare(ids)) => self.bare.are_without(&ids, peer),
            // An older version knows no checkpoints.
            Some(Question::Checkpoint(_)) => self.exchange_later(peer, turn.now.elapsed_ms),
            Some(Question::Audit(_)) => self.end_comparison_with(turn, peer, CompareError::NoAnswer),
            None => {}
        }
    }

    /// The version of the protocol that was agreed on with a peer does not know a question.
    pub(super) fn on_unsupported<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, token: Token) {
        let ours = self.asked.get(&token).is_some_and(|asked| asked.peer == peer);
        match self.asked.get(&token).filter(|_| ours).map(|asked| &asked.question) {
            Some(Question::Reconcile) => {
                self.close(token);
                self.reconciles_not(peer);
            }
            _ => self.on_failed(turn, peer, token, false),
        }
    }

    /// Ends the session with a peer that does not get on, and leaves the peer alone for a while. What was asked of it
    /// is free for others.
    pub(super) fn give_up<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer) {
        let Some(state) = self.peers.get_mut(peer) else {
            return;
        };
        state.failed(turn.now.elapsed_ms);
        if let Some(token) = state.session.take().and_then(|session| session.asked) {
            self.close(token);
        }
    }

    /// Gives up the questions whose time is over, and lets others have what takes long.
    pub(super) fn time_out<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        let now_ms = turn.now.elapsed_ms;
        self.lapse(now_ms);
        let over: Vec<(Peer, Token)> = self
            .asked
            .iter()
            .filter(|(_, asked)| asked.until_ms <= now_ms)
            .map(|(token, asked)| (asked.peer, *token))
            .collect();
        for (peer, token) in over {
            self.on_failed(turn, peer, token, false);
        }
    }

    /// A peer told its digest.
    pub(super) fn compared<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, count: u64, digest: &[u8; 32]) {
        let ours = turn.ledger.summary();
        let same = ours.digest.as_bytes() == digest;
        let now_ms = turn.now.elapsed_ms;
        let Some(state) = self.peers.get_mut(peer) else {
            return;
        };
        state.same = Some(same);
        state.digest = *digest;
        let was_even = std::mem::replace(&mut state.even, same);
        if same {
            state.differs_since_ms = None;
            state.fruitless = None;
            return self.holds_all(turn, peer, None);
        }
        if was_even && count.abs_diff(ours.count) <= SMALL_DIFFERENCE {
            state.compare_at_ms = state.compare_at_ms.min(now_ms.saturating_add(SECOND_LOOK_MS));
        } else if count > 0 && state.is_worth_a_session((*digest, *ours.digest.as_bytes())) {
            state.differs_since_ms.get_or_insert(now_ms);
        }
    }

    /// Does what is due: sessions, missing parents, comparisons. Called at the end of every turn.
    pub(super) fn run<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        self.let_in(turn);
        self.make_room_for_sessions(turn);
        self.begin_sessions(turn);
        for peer in self.peers.in_session() {
            self.step(turn, peer);
        }
        self.ask_for_parents(turn);
        self.tell(turn.now);
        self.compare(turn);
        self.exchange(turn);
        self.ask_for_bodies(turn);
        self.step_comparison(turn);
    }

    /// All sessions are taken, and a peer has waited for one long enough: whoever has brought nothing for longest makes
    /// room, and if all bring something, whoever has had a session for long enough.
    fn make_room_for_sessions<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        let now_ms = turn.now.elapsed_ms;
        let waits = |state: &PeerState| {
            let since = state.differs_since_ms.filter(|_| state.session.is_none() && state.session_from_ms <= now_ms);
            since.is_some_and(|since| now_ms.saturating_sub(since) > WAITED_MS)
        };
        if self.budget.is_full() || !self.peers.iter().any(|(_, state)| waits(state)) {
            return;
        }
        let sessions: Vec<(Peer, u64, u64)> = self
            .peers
            .iter()
            .filter_map(|(peer, state)| state.session.as_ref().map(|session| (peer, session)))
            .map(|(peer, session)| (peer, session.gained_ms, session.began_ms))
            .collect();
        if sessions.len() < SESSIONS_MAX {
            return;
        }
        let barren = sessions.iter().min_by_key(|(peer, gained_ms, _)| (*gained_ms, *peer));
        if let Some((peer, ..)) = barren.filter(|(_, gained_ms, _)| now_ms.saturating_sub(*gained_ms) > BARREN_MS) {
            return self.give_up(turn, *peer);
        }
        let oldest = sessions.iter().min_by_key(|(peer, _, began_ms)| (*began_ms, *peer));
        if let Some((peer, ..)) = oldest.filter(|(_, _, began_ms)| now_ms.saturating_sub(*began_ms) > TURN_MS) {
            self.break_off(turn.now, *peer);
        }
    }

    /// Ends a session that others wait for. It is no failure: the peer is next when they had theirs.
    fn break_off(&mut self, now: Now, peer: Peer) {
        let Some(state) = self.peers.get_mut(peer) else {
            return;
        };
        state.differs_since_ms = Some(now.elapsed_ms);
        state.session_from_ms = now.elapsed_ms.saturating_add(PAUSE_MS);
        if let Some(token) = state.session.take().and_then(|session| session.asked) {
            self.close(token);
        }
    }

    fn begin_sessions<S: Store>(&mut self, turn: &Turn<'_, S>) {
        let now = turn.now;
        let most = if self.budget.is_full() { 0 } else { SESSIONS_MAX };
        let mut free = most.saturating_sub(self.peers.in_session().len());
        while free > 0 {
            let due = self.peers.iter().filter(|(_, state)| {
                state.session.is_none() && state.session_from_ms <= now.elapsed_ms && state.differs_since_ms.is_some()
            });
            let Some((peer, _)) = due.min_by_key(|(peer, state)| (state.differs_since_ms, *peer)) else {
                return;
            };
            self.renew_salt();
            // It takes a hash of two kilobytes, and this is called at the end of every turn.
            let ours = *turn.ledger.summary().digest.as_bytes();
            let Some(state) = self.peers.get_mut(peer) else {
                return;
            };
            state.differs_since_ms = None;
            // What reconciling did not bring, a list may.
            let again = state.fruitless.is_some_and(|last| last.digests == (state.digest, ours));
            state.session = Some(Session::new(state.lists_only || again, now.elapsed_ms));
            free = free.saturating_sub(1);
        }
    }

    /// A session is through with what the peer had.
    pub(super) fn finish(&mut self, now: Now, ours: [u8; 32], peer: Peer, gained: u64) {
        let next_ms = self.next_round_ms(now);
        let Some(state) = self.peers.get_mut(peer) else {
            return;
        };
        state.session_from_ms = now.elapsed_ms.saturating_add(PAUSE_MS);
        if gained == 0 {
            let digests = (state.digest, ours);
            let before = state.fruitless.filter(|last| last.digests == digests);
            state.fruitless = before.or(Some(Fruitless { digests, times: 0 }));
        }
        // Something may have changed meanwhile on either side: compare again soon, unless there was nothing to get.
        let again = gained > 0 || state.differs_since_ms.take().is_some();
        state.even = true;
        state.compare_at_ms = if again { state.session_from_ms } else { next_ms };
    }

    /// The ledger grew otherwise than by gossip: ask all peers for their digests soon, so that they learn this node's.
    fn tell(&mut self, now: Now) {
        let busy = !self.peers.in_session().is_empty();
        if !self.untold || (busy && now.elapsed_ms < self.told_ms.saturating_add(TELL_MS)) {
            return;
        }
        self.untold = false;
        self.told_ms = now.elapsed_ms;
        for (_, state) in self.peers.iter_mut() {
            let soon_ms = state.compared_ms.saturating_add(PAUSE_MS).max(now.elapsed_ms).max(state.session_from_ms);
            state.compare_at_ms = state.compare_at_ms.min(soon_ms);
        }
    }

    /// A peer may lack what was relayed to it: ask it for its digest soon, so that it learns this node's.
    pub(super) fn tell_one(&mut self, now: Now, peer: Peer) {
        if let Some(state) = self.peers.get_mut(peer) {
            let soon_ms = state.compared_ms.saturating_add(PAUSE_MS).max(now.elapsed_ms);
            state.compare_at_ms = state.compare_at_ms.min(soon_ms);
        }
    }

    /// Asks those for their digests whose turn it is.
    fn compare<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        let now_ms = turn.now.elapsed_ms;
        let due =
            |state: &PeerState| state.comparing.is_none() && state.session.is_none() && state.compare_at_ms <= now_ms;
        let due: Vec<Peer> = self.peers.iter().filter(|(_, state)| due(state)).map(|(peer, _)| peer).collect();
        for peer in due {
            let ours = turn.ledger.summary();
            let request = Request::Digest { count: ours.count, digest: *ours.digest.as_bytes() };
            let token = self.ask(turn, peer, Question::Compare, request);
            let next_ms = self.next_round_ms(turn.now);
            if let Some(state) = self.peers.get_mut(peer) {
                state.comparing = Some(token);
                state.compared_ms = now_ms;
                state.compare_at_ms = next_ms;
            }
        }
    }

    fn next_round_ms(&mut self, now: Now) -> u64 {
        now.elapsed_ms.saturating_add(COMPARE_MS).saturating_add(self.chance(COMPARE_JITTER_MS))
    }
}
