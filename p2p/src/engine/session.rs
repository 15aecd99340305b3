//! One session: finding out which transactions a peer has that are not here, and fetching them, oldest first.
//!
//! Days whose count or digest differ are reconciled (see `reconcile`), or listed page by page in canonical order when
//! that is cheaper, when the peer does not know better, or when reconciling brought nothing. Either way parents come before
//! children, and what a page or a reconciliation names and is not here is fetched before the next one is asked for. So a
//! session holds at most one page of ids, and what it has fetched is of use even when it breaks off: the next one finds the
//! rest. Several sessions share the work: what is being fetched from one peer is left for later by the others.

use std::collections::VecDeque;

use qasedak_chain::{
    TxId,
    store::{Store, StoreError},
    time::DAY_SECS,
};

use super::{
    Engine, Fault, Peer, Token, Turn,
    checks::{Origin, Via},
    reconcile::{self, Reconciling, Want, Work, view::Span},
    sync::Question,
};
use crate::wire::{DAYS_MAX, DayDigest, IDS_MAX, Place, Request, WANT_MAX};

/// How many transactions of a peer may be under verification when its next page is asked for: what two cores verify while
/// that is read, sent and taken apart.
const PIPELINE: usize = 256;
/// How many ids that others fetch a session looks past to find one to fetch itself.
const LOOK_PAST: usize = 1_024;
/// How often in a row a peer may be busy.
const BUSY_MAX: u32 = 30;
/// How many pages in a row may bring nothing of use.
const BARREN_MAX: u32 = 4;
/// How many orphans of a peer are enough while headers of its own wait for their bodies.
const HELD_UP: usize = 128;
/// Bytes of a place on the wire.
const PLACE_BYTES: u32 = 48;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Session {
    /// The question that is open.
    pub(super) asked: Option<Token>,
    /// How many transactions it brought into the ledger.
    pub(super) gained: u64,
    /// When it brought the last one; when it began, before that.
    pub(super) gained_ms: u64,
    /// When it began.
    pub(super) began_ms: u64,
    /// How many more transactions than this node the peer has on the days that it listed, at least.
    expected: u64,
    /// First day of the next page of days.
    days_from: Option<u64>,
    /// What to do about days that differ, ascending.
    works: VecDeque<Work>,
    /// Where the next page of a day's list begins.
    listing: Option<(u64, Option<Place>)>,
    /// The reconciliation under way.
    pub(super) reconciling: Option<Reconciling>,
    /// Whether everything is listed and nothing reconciled.
    lists_only: bool,
    /// What is not here, parents before children.
    pub(super) todo: VecDeque<Want>,
    /// The span in which the aliases among them lie.
    pub(super) span: Span,
    /// Nothing is asked before this.
    resume_ms: u64,
    pub(super) busy: u32,
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
    pub(super) fn new(lists_only: bool, now_ms: u64) -> Self {
        Self {
            asked: None,
            gained: 0,
            gained_ms: now_ms,
            began_ms: now_ms,
            expected: 0,
            days_from: Some(0),
            works: VecDeque::new(),
            listing: None,
            reconciling: None,
            lists_only,
            todo: VecDeque::new(),
            span: Span { from: 0, to: 0 },
            resume_ms: 0,
            busy: 0,
            barren: 0,
            blocked_at: None,
        }
    }

    /// How many transactions the peer is known to have that are not here, at least.
    pub(super) fn left(&self) -> u64 {
        (self.todo.len() as u64).max(self.expected.saturating_sub(self.gained))
    }

    /// The peer was too busy for a question: it is to be asked again. `false` when that happened too often.
    pub(super) fn put_off(&mut self, question: Question, again_ms: u64) -> bool {
        match question {
            Question::Days { from } => self.days_from = Some(from),
            Question::Day { day, after, .. } => self.listing = Some((day, after)),
            Question::Listed(wants) => self.put_back(&wants),
            // Its message is kept until it is answered.
            Question::Reconcile
            | Question::Compare
            | Question::Parents(..)
            | Question::Audit(_)
            | Question::Bodies(_)
            | Question::Bare(_)
            | Question::Checkpoint(_) => {}
        }
        self.resume_ms = again_ms;
        self.busy = self.busy.saturating_add(1);
        self.busy <= BUSY_MAX
    }

    fn put_back(&mut self, wants: &[Want]) {
        wants.iter().rev().for_each(|want| self.todo.push_front(*want));
    }

    /// What is to be done before all else.
    pub(super) fn works_first(&mut self, works: Vec<Work>) {
        works.into_iter().rev().for_each(|work| self.works.push_front(work));
    }

    /// Nothing is reconciled any more.
    pub(super) fn list_all(&mut self) {
        self.lists_only = true;
        let days = std::mem::take(&mut self.works).into_iter().flat_map(|work| match work {
            Work::List(day) => vec![day],
            Work::Reconcile { days, .. } => days,
        });
        self.works = days.map(Work::List).collect();
    }

    /// The next list to ask for; pages of `page_bytes`.
    fn next_list(&mut self, page_bytes: u32) -> Option<(Question, Request)> {
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
            Ok(Step::Finish) => {
                let ours = *turn.ledger.summary().digest.as_bytes();
                return self.finish(turn.now, ours, peer, session.gained);
            }
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

    fn next_step<S: Store>(
        &mut self,
        turn: &Turn<'_, S>,
        peer: Peer,
        session: &mut Session,
    ) -> Result<Step, StoreError> {
        if session.asked.is_some() || turn.now.elapsed_ms < session.resume_ms {
            return Ok(Step::Wait);
        }
        let page_bytes = self.peers.get(peer).map_or(0, |state| state.page_bytes);
        if !session.todo.is_empty() {
            let blocked = session.blocked_at == Some(self.landed);
            let full = self.budget.is_full() || !self.checks.has_room() || !self.bare.has_room(peer);
            // What stands behind a header that waits for its body would only be dropped.
            let held_up = self.bare.of(peer) > 0 && self.orphans.of(peer) >= HELD_UP;
            if blocked || full || held_up || self.checks.asked_of(peer) >= PIPELINE {
                return Ok(Step::Wait);
            }
            let wants = self.next_wanted(turn, peer, session)?;
            if !wants.is_empty() {
                let request = self.request_for(&wants, session.span, page_bytes);
                return Ok(Step::Ask(Question::Listed(wants), request));
            }
            if !session.todo.is_empty() {
                session.blocked_at = Some(self.landed);
                return Ok(Step::Wait);
            }
        }
        self.next_work(turn, session)?;
        if let Some(reconciling) = &session.reconciling {
            let (question, request) = reconcile::question(reconciling, &self.aliases.salt);
            return Ok(Step::Ask(question, request));
        }
        match session.next_list(page_bytes) {
            Some((question, request)) => Ok(Step::Ask(question, request)),
            None if self.checks.asked_of(peer) > 0 => Ok(Step::Wait),
            None => Ok(Step::Finish),
        }
    }

    /// Takes up the next work, when none is under way.
    fn next_work<S: Store>(&mut self, turn: &Turn<'_, S>, session: &mut Session) -> Result<(), StoreError> {
        while session.reconciling.is_none() && session.listing.is_none() {
            match session.works.pop_front() {
                Some(Work::List(day)) => session.listing = Some((day, None)),
                Some(Work::Reconcile { span, days, .. }) => match self.begin_reconciling(turn, span, days)? {
                    Ok(begun) => session.reconciling = Some(begun),
                    Err(divided) => session.works_first(divided),
                },
                None => break,
            }
        }
        Ok(())
    }

    /// What to fetch next from this peer. Leaves in the session what others fetch at the moment.
    fn next_wanted<S: Store>(
        &self,
        turn: &Turn<'_, S>,
        peer: Peer,
        session: &mut Session,
    ) -> Result<Vec<Want>, StoreError> {
        let mut picked = Vec::new();
        let mut later = Vec::new();
        while picked.len() < WANT_MAX && later.len() < LOOK_PAST {
            let Some(want) = session.todo.pop_front() else {
                break;
            };
            if self.is_in_flight(&want) {
                later.push(want);
            } else if self.peers.get(peer).is_some_and(|state| state.may_have(&want, turn.now.elapsed_ms))
                && !self.has_sent_bare(peer, &want)
                && !self.is_known(turn, &want)?
            {
                picked.push(want);
            }
        }
        session.put_back(&later);
        Ok(picked)
    }

    fn is_known<S: Store>(&self, turn: &Turn<'_, S>, want: &Want) -> Result<bool, StoreError> {
        self.aliases.id(want).map_or(Ok(false), |id| self.known(turn, &id))
    }

    pub(super) fn session(&mut self, peer: Peer) -> Option<&mut Session> {
        self.peers.get_mut(peer)?.session.as_mut()
    }

    /// A peer listed its days from `first` on.
    pub(super) fn listed_days<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, first: u64, days: &[DayDigest]) {
        if !are_days_from(first, days) {
            return self.let_go(turn, peer, Fault::WrongAnswer);
        }
        let Some(lists_only) = self.session(peer).map(|session| session.lists_only) else {
            return;
        };
        let mut works: VecDeque<Work> = VecDeque::new();
        let mut between = 0_u64;
        let mut expected = 0_u64;
        for day in days {
            let ours = match turn.ledger.days(day.day, 1) {
                Ok(ours) => ours.into_iter().find(|ours| ours.day == day.day),
                Err(error) => {
                    self.failures.note(&error);
                    return self.give_up(turn, peer);
                }
            };
            let same = ours.is_some_and(|ours| ours.count == day.count && ours.digest.as_bytes() == &day.digest);
            if same {
                between = between.saturating_add(day.count);
                self.holds_all(turn, peer, Some(day.day));
                continue;
            }
            let lacked = day.count.saturating_sub(ours.as_ref().map_or(0, |ours| ours.count));
            expected = expected.saturating_add(lacked);
            if lists_only {
                works.push_back(Work::List(day.day));
            } else {
                let ours = ours.map_or(0, |ours| ours.count);
                let work = Work::plan(works.back_mut(), day.day, ours, day.count, between);
                works.extend(work);
                between = 0;
            }
        }
        if let Some(session) = self.session(peer) {
            session.busy = 0;
            session.works.extend(works);
            session.expected = session.expected.saturating_add(expected);
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
                self.offered(turn, verified, Origin::new(peer, Via::Session));
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
            session.todo.extend(unknown.into_iter().map(Want::Id));
            session.listing = places.last().filter(|_| places.len() == max).map(|last| (day, Some(*last)));
        }
    }

    /// A peer sent transactions that it had listed.
    pub(super) fn got_listed<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        peer: Peer,
        wants: &[Want],
        list: &[Vec<u8>],
    ) {
        let Some(page) = self.take_page(turn, peer, wants, list, Via::Session) else {
            return;
        };
        self.lacks(turn, peer, &page);
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
