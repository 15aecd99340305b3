//! `audit compare`: what this node and one peer differ in, block by block (DESIGN §6; `docs/protocol.md`, "Sync").
//!
//! It asks the questions of sync (digest, days, places of a day) on its own, and fetches nothing. Sync goes on
//! meanwhile, so both sets may grow under it. Sets only grow, and so every line of the answer is true at a moment:
//!
//! - *equal*: the peer's digest was this node's when it came;
//! - *only here*: this node had it before the comparison began, and the peer did not list it afterwards;
//! - *only there*: the peer listed it, and this node still lacks it at the end.
//!
//! Blocks before the one that was asked for are left out of all but *equal*. What arrived between is dropped; if nothing is left of a difference, both look again, at most `ROUNDS_MAX` times.
//!
//! Bounds: one comparison at a time, [`LIMIT_MS`] for all of it, one page of either side in memory, `OWN_PER_TURN`
//! own places in one turn, a bounded [`Report`].

use std::collections::VecDeque;

use qasedak_chain::{
    Ledger, Position, TxId,
    ledger::{DaySummary, OrderKey},
    store::{Store, StoreError},
    time::{DAY_SECS, HOUR_SECS},
};

use super::{Engine, Fault, Output, Peer, Token, Turn, serve::order_key, session::is_page_of_day, sync::Question};
use crate::wire::{DAYS_MAX, DayDigest, IDS_MAX, Place, Request, wire_id};

pub mod report;

use report::{Found, Report, Where};

/// How long a comparison may take.
pub const LIMIT_MS: u64 = 300_000;
/// How often both look again when sync has removed every difference that was found.
const ROUNDS_MAX: u8 = 3;
/// How often in a row the peer may be busy.
const BUSY_MAX: u32 = 30;
/// Own places that are read at once.
const OWN_CHUNK: usize = 2_048;
/// Own places that are looked at in one turn: the ledger's lock is held meanwhile.
const OWN_PER_TURN: usize = 16_384;

/// What a day without a page costs of these, at least.
const DAY_COSTS: usize = 64;

/// Why a comparison came to no end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// There is one already.
    #[error("another comparison is under way; wait until it is done, then try again")]
    UnderWay,
    /// The peer is not connected, or no longer.
    #[error("that peer is not connected; see who is with: qasedak peers")]
    NotConnected,
    /// More than one connected peer has such an id.
    #[error("more than one connected peer begins like that; give more of its id")]
    Ambiguous,
    /// The peer did not answer, or too slowly.
    #[error("the peer does not answer, or too slowly; try again later, or compare with another")]
    NoAnswer,
    /// The peer's answers contradict the protocol or one another.
    #[error("the peer answers wrongly, so nothing can be said; compare with another")]
    WrongAnswer,
    /// This node's store failed.
    #[error("{0}")]
    Store(String),
}

impl From<StoreError> for CompareError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// What a comparison asks. Each is one question of sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Digest,
    Days { from: u64 },
    Day { day: u64, after: Option<Place> },
}

impl Step {
    fn request<S: Store>(self, ledger: &Ledger<S>) -> Request {
        match self {
            Self::Digest => {
                let ours = ledger.summary();
                Request::Digest { count: ours.count, digest: *ours.digest.as_bytes() }
            }
            Self::Days { from } => Request::Days { from },
            Self::Day { day, after } => Request::Day { day, after, max: PAGE },
        }
    }
}

/// Places in a page of the peer's.
const PAGE: u32 = IDS_MAX as u32;

/// A day whose places are being laid side by side.
#[derive(Debug)]
struct Day {
    number: u64,
    /// Everything up to here is compared.
    at: Option<Place>,
    /// The peer's page behind it.
    page: VecDeque<Place>,
    /// The last place that the page speaks for; `None` when it speaks for the rest of the day.
    last: Option<Place>,
    /// Whether there is a page to compare with.
    here: bool,
}

/// A comparison under way.
#[derive(Debug)]
pub(super) struct Comparison {
    token: Token,
    peer: Peer,
    until_ms: u64,
    resume_ms: u64,
    busy: u32,
    rounds: u8,
    /// The question that is open.
    asked: Option<Token>,
    /// The next one.
    next: Option<Step>,
    /// Own positions before this are compared.
    before: u64,
    count_there: u64,
    /// Days that differ, ascending; whether the peer listed them.
    days: VecDeque<(u64, bool)>,
    /// First day of the next page of days.
    days_from: Option<u64>,
    day: Option<Day>,
    found: Found,
}

impl Comparison {
    fn new(token: Token, peer: Peer, from: u64, now_ms: u64, count: u64) -> Self {
        Self {
            token,
            peer,
            until_ms: now_ms.saturating_add(LIMIT_MS),
            resume_ms: now_ms,
            busy: 0,
            rounds: 0,
            asked: None,
            next: Some(Step::Digest),
            before: count,
            count_there: 0,
            days: VecDeque::new(),
            days_from: None,
            day: None,
            found: Found::from_block(from),
        }
    }

    /// Lays the peer's days beside this node's, as far as both lists reach.
    fn take_days<S: Store>(&mut self, ledger: &Ledger<S>, from: u64, theirs: &[DayDigest]) -> Result<(), StoreError> {
        let ours = ledger.days(from, DAYS_MAX)?;
        let reach = |full: bool, last: Option<u64>| if full { last.unwrap_or(u64::MAX) } else { u64::MAX };
        let end = reach(theirs.len() >= DAYS_MAX, theirs.last().map(|day| day.day))
            .min(reach(ours.len() >= DAYS_MAX, ours.last().map(|day| day.day)));
        let same =
            |our: &DaySummary, their: &DayDigest| our.count == their.count && our.digest.as_bytes() == &their.digest;
        let mut days: std::collections::BTreeMap<u64, bool> = std::collections::BTreeMap::new();
        for our in ours.iter().filter(|our| our.day <= end) {
            match theirs.binary_search_by_key(&our.day, |their| their.day).ok().and_then(|at| theirs.get(at)) {
                Some(their) if same(our, their) => {}
                Some(_) => drop(days.insert(our.day, true)),
                None => drop(days.insert(our.day, false)),
            }
        }
        for their in theirs.iter().filter(|their| their.day <= end) {
            if ours.binary_search_by_key(&their.day, |our| our.day).is_err() {
                days.insert(their.day, true);
            }
        }
        self.days = days.into_iter().collect();
        self.days_from = end.checked_add(1);
        Ok(())
    }

    /// Lays own places beside the peer's page, at most `budget` of them. Whether the page is through.
    fn merge<S: Store>(&mut self, ledger: &Ledger<S>, budget: &mut usize) -> Result<bool, CompareError> {
        let Some(mut day) = self.day.take() else {
            return Ok(true);
        };
        while *budget > 0 {
            let chunk = ledger.day_order(day.number, day.at.map(order_key), OWN_CHUNK)?;
            *budget = budget.saturating_sub(chunk.len().max(DAY_COSTS));
            for key in &chunk {
                let own = place(key);
                if day.last.is_some_and(|last| own > last) {
                    return self.end_page(ledger, day);
                }
                while let Some(theirs) = day.page.front().copied().filter(|theirs| *theirs < own) {
                    day.page.pop_front();
                    self.listed_only_there(ledger, &theirs)?;
                }
                if day.page.front() == Some(&own) {
                    day.page.pop_front();
                } else if ledger.position(&key.id)?.is_some_and(|at| at < Position::new(self.before)) {
                    self.found.note(Where::Here, &own);
                }
                day.at = Some(own);
            }
            if chunk.len() < OWN_CHUNK {
                return self.end_page(ledger, day);
            }
        }
        self.day = Some(day);
        Ok(false)
    }

    /// Everything that the page speaks for is compared, but for what stands behind the last own place.
    fn end_page<S: Store>(&mut self, ledger: &Ledger<S>, mut day: Day) -> Result<bool, CompareError> {
        for theirs in std::mem::take(&mut day.page) {
            self.listed_only_there(ledger, &theirs)?;
        }
        if day.last.is_some() {
            day.at = day.last.take();
            day.here = false;
            self.day = Some(day);
        }
        Ok(true)
    }

    /// The peer listed a place that is not among this node's. If the transaction is here after all, it has come
    /// meanwhile, or the peer put it in a wrong place.
    fn listed_only_there<S: Store>(&mut self, ledger: &Ledger<S>, theirs: &Place) -> Result<(), CompareError> {
        let Some(position) = ledger.position(&TxId::from_bytes(theirs.id))? else {
            self.found.note(Where::There, theirs);
            return Ok(());
        };
        let here = ledger.record(position)?.map(|record| Place {
            time: record.header.core().time().secs(),
            depth: record.depth.get(),
            id: wire_id(&record.id),
        });
        if here.as_ref() == Some(theirs) { Ok(()) } else { Err(CompareError::WrongAnswer) }
    }
}

fn place(key: &OrderKey) -> Place {
    Place { time: key.time.secs(), depth: key.depth.get(), id: wire_id(&key.id) }
}

impl Engine {
    /// An operator wants to know what a peer and this node differ in.
    pub(super) fn on_compare<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, from: u64, token: Token) {
        let refused = if self.comparison.is_some() {
            Some(CompareError::UnderWay)
        } else {
            self.peers.get(peer).is_none().then_some(CompareError::NotConnected)
        };
        match refused {
            Some(error) => turn.out.push(Output::Compared { token, result: Err(error) }),
            None => {
                let count = turn.ledger.store().len();
                self.comparison = Some(Box::new(Comparison::new(token, peer, from, turn.now.elapsed_ms, count)));
            }
        }
    }

    /// Ends the comparison, if it is with this peer.
    pub(super) fn end_comparison_with<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, error: CompareError) {
        if let Some(comparison) = self.comparison.take_if(|comparison| comparison.peer == peer) {
            turn.out.push(Output::Compared { token: comparison.token, result: Err(error) });
        }
    }

    /// Goes on with the comparison, if it can. Called at the end of every turn.
    pub(super) fn step_comparison<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        let Some(mut comparison) = self.comparison.take() else {
            return;
        };
        let token = comparison.token;
        let result = if self.peers.get(comparison.peer).is_none() {
            Err(CompareError::NotConnected)
        } else if turn.now.elapsed_ms >= comparison.until_ms {
            comparison.asked.take().and_then(|asked| self.asked.remove(&asked));
            Err(CompareError::NoAnswer)
        } else {
            self.advance(turn, &mut comparison)
        };
        match result {
            Ok(None) => self.comparison = Some(comparison),
            Ok(Some(report)) => turn.out.push(Output::Compared { token, result: Ok(Box::new(report)) }),
            Err(error) => {
                if error == CompareError::WrongAnswer {
                    self.let_go(turn, comparison.peer, Fault::WrongAnswer);
                }
                turn.out.push(Output::Compared { token, result: Err(error) });
            }
        }
    }

    fn advance<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        comparison: &mut Comparison,
    ) -> Result<Option<Report>, CompareError> {
        if comparison.asked.is_some() || turn.now.elapsed_ms < comparison.resume_ms {
            return Ok(None);
        }
        // A turn does so much and no more; the next one goes on.
        let mut budget = OWN_PER_TURN;
        while comparison.next.is_none() {
            if let Some(day) = &comparison.day {
                if !day.here {
                    comparison.next = Some(Step::Day { day: day.number, after: day.at });
                } else if !comparison.merge(turn.ledger, &mut budget)? {
                    return Ok(None);
                }
            } else if let Some((number, listed)) = comparison.days.pop_front() {
                // A day that the peer did not list is empty there, and need not be asked for.
                comparison.day = Some(Day { number, at: None, page: VecDeque::new(), last: None, here: !listed });
            } else if let Some(from) = comparison.days_from.take() {
                comparison.next = Some(Step::Days { from });
            } else {
                return self.end_round(turn, comparison);
            }
        }
        if let Some(step) = comparison.next.take() {
            let request = step.request(turn.ledger);
            comparison.asked = Some(self.ask(turn, comparison.peer, Question::Audit(step), request));
        }
        Ok(None)
    }

    /// Everything was laid side by side once.
    fn end_round<S: Store>(
        &self,
        turn: &mut Turn<'_, S>,
        comparison: &mut Comparison,
    ) -> Result<Option<Report>, CompareError> {
        let ledger = &turn.ledger;
        comparison.found.settle(Where::There, |id| Ok::<_, StoreError>(ledger.position(id)?.is_some()))?;
        comparison.rounds = comparison.rounds.saturating_add(1);
        if comparison.found.is_empty() && comparison.rounds < ROUNDS_MAX {
            comparison.before = ledger.store().len();
            comparison.next = Some(Step::Digest);
            return Ok(None);
        }
        Ok(Some(self.report(turn, comparison, false)))
    }

    fn report<S: Store>(&self, turn: &Turn<'_, S>, comparison: &mut Comparison, equal: bool) -> Report {
        let found = std::mem::take(&mut comparison.found);
        let report = found.into_report(self.closed_here(), self.closed_there(comparison.peer));
        Report { equal, count_here: turn.ledger.store().len(), count_there: comparison.count_there, ..report }
    }

    /// The peer answered with its digest.
    pub(super) fn compared_digest<S: Store>(&mut self, turn: &mut Turn<'_, S>, count: u64, digest: &[u8; 32]) {
        let Some(mut comparison) = self.comparison.take() else {
            return;
        };
        comparison.busy = 0;
        comparison.count_there = count;
        if turn.ledger.summary().digest.as_bytes() == digest {
            let report = self.report(turn, &mut comparison, true);
            turn.out.push(Output::Compared { token: comparison.token, result: Ok(Box::new(report)) });
            return;
        }
        comparison.days_from = Some(comparison.found.from().saturating_mul(HOUR_SECS) / DAY_SECS);
        self.comparison = Some(comparison);
    }

    /// The peer listed its days, in answer to a comparison.
    pub(super) fn compared_days<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        peer: Peer,
        from: u64,
        days: &[DayDigest],
    ) {
        if !super::session::are_days_from(from, days) {
            return self.compared_wrongly(turn, peer);
        }
        if let Some(comparison) = &mut self.comparison {
            comparison.busy = 0;
            if let Err(error) = comparison.take_days(turn.ledger, from, days) {
                self.failures.note(&error);
                self.end_comparison_with(turn, peer, error.into());
            }
        }
    }

    /// The peer listed places of a day, in answer to a comparison.
    pub(super) fn compared_day<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        peer: Peer,
        (number, after): (u64, Option<Place>),
        places: &[Place],
    ) {
        if !is_page_of_day((number, after, PAGE), places) {
            return self.compared_wrongly(turn, peer);
        }
        if let Some(comparison) = &mut self.comparison
            && let Some(day) = &mut comparison.day
        {
            comparison.busy = 0;
            day.last = places.last().copied().filter(|_| places.len() >= IDS_MAX);
            day.page = places.iter().copied().collect();
            day.here = true;
        }
    }

    /// The peer answered a question of a comparison with what answers no such question.
    pub(super) fn compared_wrongly<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer) {
        self.end_comparison_with(turn, peer, CompareError::WrongAnswer);
        self.let_go(turn, peer, Fault::WrongAnswer);
    }

    /// The peer was too busy for a question of a comparison.
    pub(super) fn comparison_put_off<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        peer: Peer,
        step: Step,
        again_ms: u64,
    ) {
        let Some(comparison) = &mut self.comparison else {
            return;
        };
        comparison.next = Some(step);
        comparison.resume_ms = again_ms;
        comparison.busy = comparison.busy.saturating_add(1);
        if comparison.busy > BUSY_MAX {
            self.end_comparison_with(turn, peer, CompareError::NoAnswer);
        }
    }

    /// A question of a comparison is closed.
    pub(super) fn comparison_closed(&mut self, token: Token) {
        if let Some(comparison) = &mut self.comparison {
            comparison.asked.take_if(|asked| *asked == token);
        }
    }
}
