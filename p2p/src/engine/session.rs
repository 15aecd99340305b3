//! One session: finding out which transactions a peer has that are not here, and fetching them, oldest first.
//!
//! Days whose count or digest differ are listed page by page in canonical order, which puts parents before children;
//! what a page names and is not here is fetched before the next page is asked for. So a session holds at most one page
//! of ids, and what it has fetched is of use even when it breaks off: the next one finds the rest. Several sessions
//! share the work: an id that is being fetched from one peer is left for later by the others.
//!
//! Lists of whole days are what `negentropy` replaces for days that differ in little; fetching stays as it is.

use std::collections::VecDeque;

use qasedak_chain::{
    TxId,
    store::{Store, StoreError},
    time::DAY_SECS,
};

use super::{
    Engine, Fault, Peer, Token, Turn,
    checks::{Origin, Via},
    sync::Question,
};
use crate::wire::{DAYS_MAX, DayDigest, IDS_MAX, Place, Request, WANT_MAX, wire_id};

/// How many transactions of a peer may be under verification when its next page is asked for.
const PIPELINE: usize = 128;
/// How many ids that others fetch a session looks past to find one to fetch itself.
const LOOK_PAST: usize = 1_024;
/// How often in a row a peer may be busy.
const BUSY_MAX: u32 = 30;
/// How many pages in a row may bring nothing of use.
const BARREN_MAX: u32 = 4;
/// Bytes of a place on the wire.
const PLACE_BYTES: u32 = 48;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Session {
    /// The question that is open.
    pub(super) asked: Option<Token>,
    /// How many transactions it brought into the ledger.
    pub(super) gained: u64,
    /// First day of the next page of days.
    days_from: Option<u64>,
    /// Days that differ, ascending.
    days: VecDeque<u64>,
    /// Where the next page of a day's list begins.
    listing: Option<(u64, Option<Place>)>,
    /// Ids that are not here, in canonical order.
    todo: VecDeque<TxId>,
    /// Nothing is asked before this.
    resume_ms: u64,
    busy: u32,
    barren: u32,
    /// The state of [`Engine::landed`] at which all that is left was being fetched from others.
    blocked_at: Option<u64>,
}

/// What a session wants to do next.
enum Step {
    Ask(Question, Request),
    Wait,
    Finish,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            asked: None,
            gained: 0,
            days_from: Some(0),
            days: VecDeque::new(),
            listing: None,
            todo: VecDeque::new(),
            resume_ms: 0,
            busy: 0,
            barren: 0,
            blocked_at: None,
        }
    }

    /// How many transactions it knows the peer to have that are not here.
    pub(super) fn left(&self) -> usize {
        self.todo.len()
    }

    /// The peer was too busy for a question: it is to be asked again. `false` when that happened too often.
    pub(super) fn put_off(&mut self, question: Question, again_ms: u64) -> bool {
        match question {
            Question::Days { from } => self.days_from = Some(from),
            Question::Day { day, after, .. } => self.listing = Some((day, after)),
            Question::Listed(ids) => self.put_back(&ids),
            Question::Compare
            | Question::Parents(..)
            | Question::Audit(_)
            | Question::Bodies(_)
            | Question::Checkpoint(_) => {}
        }
        self.resume_ms = again_ms;
        self.busy = self.busy.saturating_add(1);
        self.busy <= BUSY_MAX
    }

    fn put_back(&mut self, ids: &[TxId]) {
        ids.iter().rev().for_each(|id| self.todo.push_front(*id));
    }

    /// The next list to ask for; pages of `page_bytes`.
    fn next_list(&mut self, page_bytes: u32) -> Option<(Question, Request)> {
        if self.listing.is_none() {
            self.listing = self.days.pop_front().map(|day| (day, None));
        }
        if let Some((day, after)) = self.listing.take() {
            let max = (page_bytes / PLACE_BYTES).clamp(1, u32::try_from(IDS_MAX).unwrap_or(u32::MAX));
            return Some((Question::Day { day, after, max }, Request::Day { day, after, max }));
        }
        self.days_from.take().map(|from| (Question::Days { from }, Request::Days { from }))
    }
}

impl Engine {
    /// Goes on with the session with a peer, if it can.
    pub(super) fn step<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer) {
        let Some(mut session) = self.peers.get_mut(peer).and_then(|state| state.session.take()) else {
            return;
        };
        let step = self.next_step(turn, peer, &mut session);
        match step {
            Ok(Step::Finish) => return self.finish(turn.now, peer, session.gained),
            Ok(Step::Ask(question, request)) => session.asked = Some(self.ask(turn, peer, question, request)),
            Ok(Step::Wait) => {}
            Err(error) => {
                self.failures.note(&error);
                return self.give_up(turn, peer);
            }
        }
        if let Some(state) = self.peers.get_mut(peer) {
            state.session = Some(session);
        }
    }

    fn next_step<S: Store>(&self, turn: &Turn<'_, S>, peer: Peer, session: &mut Session) -> Result<Step, StoreError> {
        if session.asked.is_some() || turn.now.elapsed_ms < session.resume_ms {
            return Ok(Step::Wait);
        }
        let page_bytes = self.peers.get(peer).map_or(0, |state| state.page_bytes);
        if !session.todo.is_empty() {
            let blocked = session.blocked_at == Some(self.landed);
            if blocked || self.checks.asked_of(peer) >= PIPELINE || !self.checks.has_room() {
                return Ok(Step::Wait);
            }
            let ids = self.next_wanted(turn, peer, session)?;
            if !ids.is_empty() {
                let wire = ids.iter().map(wire_id).collect();
                let request = Request::Transactions { ids: wire, max_bytes: page_bytes };
                return Ok(Step::Ask(Question::Listed(ids), request));
            }
            if !session.todo.is_empty() {
                session.blocked_at = Some(self.landed);
                return Ok(Step::Wait);
            }
        }
        match session.next_list(page_bytes) {
            Some((question, request)) => Ok(Step::Ask(question, request)),
            None if self.checks.asked_of(peer) > 0 => Ok(Step::Wait),
            None => Ok(Step::Finish),
        }
    }

    /// The next ids to fetch from this peer. Leaves in the session what others fetch at the moment.
    fn next_wanted<S: Store>(
        &self,
        turn: &Turn<'_, S>,
        peer: Peer,
        session: &mut Session,
    ) -> Result<Vec<TxId>, StoreError> {
        let mut picked = Vec::new();
        let mut later = Vec::new();
        while picked.len() < WANT_MAX && later.len() < LOOK_PAST {
            let Some(id) = session.todo.pop_front() else {
                break;
            };
            if self.in_flight.contains_key(&id) {
                later.push(id);
            } else if self.peers.get(peer).is_some_and(|state| state.may_have(&id, turn.now.elapsed_ms))
                && !self.known(turn, &id)?
            {
                picked.push(id);
            }
        }
        session.put_back(&later);
        Ok(picked)
    }

    fn session(&mut self, peer: Peer) -> Option<&mut Session> {
        self.peers.get_mut(peer)?.session.as_mut()
    }

    /// A peer listed its days from `first` on.
    pub(super) fn listed_days<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, first: u64, days: &[DayDigest]) {
        if !are_days_from(first, days) {
            return self.let_go(turn, peer, Fault::WrongAnswer);
        }
        let mut differing = Vec::new();
        for day in days {
            match turn.ledger.days(day.day, 1) {
                Ok(ours) => {
                    let ours = ours.first().filter(|ours| ours.day == day.day);
                    if ours.is_some_and(|ours| ours.count == day.count && ours.digest.as_bytes() == &day.digest) {
                        self.holds_all(turn, peer, Some(day.day));
                    } else {
                        differing.push(day.day);
                    }
                }
                Err(error) => {
                    self.failures.note(&error);
                    return self.give_up(turn, peer);
                }
            }
        }
        if let Some(session) = self.session(peer) {
            session.busy = 0;
            session.days.extend(differing);
            let last = days.last().filter(|_| days.len() == DAYS_MAX);
            session.days_from = last.map(|day| day.day.saturating_add(1));
        }
    }

    /// A peer listed places of a day.
    pub(super) fn listed_day<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        peer: Peer,
        (day, after, max): (u64, Option<Place>, u32),
        places: &[Place],
    ) {
        if !is_page_of_day((day, after, max), places) {
            return self.let_go(turn, peer, Fault::WrongAnswer);
        }
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let mut unknown = Vec::new();
        for place in places {
            let id = TxId::from_bytes(place.id);
            if let Some(verified) = self.outbox.verified(&id) {
                self.offered(turn, verified, Origin { peer, via: Via::Session, waiter: None });
                continue;
            }
            match self.known(turn, &id) {
                Ok(true) => self.holds(turn, peer, &id),
                Ok(false) => unknown.push(id),
                Err(error) => {
                    self.failures.note(&error);
                    return self.give_up(turn, peer);
                }
            }
        }
        if let Some(session) = self.session(peer) {
            session.busy = 0;
            session.todo.extend(unknown);
            session.listing = places.last().filter(|_| places.len() == max).map(|last| (day, Some(*last)));
        }
    }

    /// A peer sent transactions that it had listed.
    pub(super) fn got_listed<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, ids: &[TxId], list: &[Vec<u8>]) {
        let Some(page) = self.take_page(turn, peer, ids, list, Via::Session) else {
            return;
        };
        let Some(session) = self.session(peer) else {
            return;
        };
        session.busy = 0;
        session.put_back(&page.rest);
        session.barren = if page.of_use { 0 } else { session.barren.saturating_add(1) };
        if session.barren > BARREN_MAX {
            self.give_up(turn, peer);
        }
    }
}

/// Whether this answers a question for days from `first` on.
pub(super) fn are_days_from(first: u64, days: &[DayDigest]) -> bool {
    let ascends = days.is_sorted_by(|a, b| a.day < b.day);
    ascends && days.len() <= DAYS_MAX && days.iter().all(|day| day.day >= first && day.count > 0)
}

/// Whether this answers a question for places of a day.
pub(super) fn is_page_of_day((day, after, max): (u64, Option<Place>, u32), places: &[Place]) -> bool {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let ascends = places.is_sorted_by(|a, b| a < b) && places.first().is_none_or(|first| Some(*first) > after);
    let of_day = places.iter().all(|place| place.time / DAY_SECS == day);
    // A day is asked for because the peer named it as one that has transactions.
    let empty = after.is_none() && places.is_empty();
    ascends && of_day && !empty && places.len() <= max
}
