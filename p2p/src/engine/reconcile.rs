//! Reconciling days that differ in little (DESIGN §7, Sync; `docs/protocol.md`, "Reconciliation"; decision 0025).
//!
//! Between the digests of days and the lists of places stands negentropy: range-based set reconciliation, in rounds that
//! cost bytes by what differs and not by what is there. It runs over [`Alias`]es under a salt of this node's, which is drawn
//! anew whenever nothing is being fetched, and is the same for all peers that are fetched from at a time: so a
//! transaction that two of them have is asked of one only, before its id is known.
//!
//! What comes out are aliases in an order that has parents before children, fetched by them, and the count of
//! what the peer lacks. Nothing is taken on trust: what comes is verified like anything else, and where both sets still
//! differ although nothing came, the next session lists the places (see `sync`).
//!
//! | module | holds |
//! |---|---|
//! | `places` | the transactions of a span, as the ledger has them |
//! | [`view`] | the transactions of a span, as negentropy sees them |
//! | `compact` | its messages on the wire |
//! | `answer` | the other side: views of askers, and what they may cost |
//!
//! Bounds: [`view::VIEW_MAX`] transactions in one reconciliation, [`ROUNDS_MAX`] rounds, twice [`SEEN_MAX`] remembered aliases.

use std::collections::{BTreeMap, BTreeSet};

use negentropy::Negentropy;
use qasedak_chain::{
    TxId,
    store::{Store, StoreError},
    time::{DAY_SECS, TIME_END_SECS},
};

use super::{Engine, Fault, Peer, Turn, sync::Question};
use crate::wire::{Alias, RECONCILE_ASK_MAX, Request, Salt};

pub(super) mod answer;
mod compact;
mod places;
pub(super) mod view;

#[cfg(test)]
mod tests;

use compact::{ListedAt, expand, shrink};
use view::{Span, VIEW_MAX, View};

/// Most rounds of one reconciliation. Each narrows what differs by a factor of sixteen, or carries a full message.
const ROUNDS_MAX: u32 = 64;
/// Most transactions of days that are reconciled together.
const GROUP_MAX: u64 = 32_768;
/// A day of which the peer has no more is listed: that is one question.
const FEW: u64 = 64;
/// So is a day of which this node has less than this part of what the peer has.
const PART: u64 = 8;
/// Half of the most aliases that are remembered with their ids.
const SEEN_MAX: usize = 16_384;

/// Something to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Want {
    /// By its id.
    Id(TxId),
    /// By its alias under this node's salt.
    Alias(Alias),
}

/// This node's salt, and the ids of what came lately since it was drawn. Sessions that share the work are never far apart, so
/// what came long ago is in nobody's list any more (decision 0049).
#[derive(Debug, Default)]
pub(super) struct Aliases {
    pub(super) salt: Salt,
    seen: BTreeMap<Alias, TxId>,
    /// Those before, which go when there are as many again.
    older: BTreeMap<Alias, TxId>,
}

impl Aliases {
    pub(super) fn of(&self, want: &Want) -> Alias {
        match want {
            Want::Id(id) => Alias::of(&self.salt, id),
            Want::Alias(alias) => *alias,
        }
    }

    /// Whether this is what is wanted.
    pub(super) fn is(&self, want: &Want, id: &TxId) -> bool {
        match want {
            Want::Id(wanted) => wanted == id,
            Want::Alias(alias) => *alias == Alias::of(&self.salt, id),
        }
    }

    /// The id behind a want, as far as it is known.
    pub(super) fn id(&self, want: &Want) -> Option<TxId> {
        match want {
            Want::Id(id) => Some(*id),
            Want::Alias(alias) => self.seen.get(alias).or_else(|| self.older.get(alias)).copied(),
        }
    }

    /// A transaction came.
    pub(super) fn came(&mut self, id: &TxId) {
        // At worst some are fetched a second time.
        if self.seen.len() >= SEEN_MAX {
            self.older = std::mem::take(&mut self.seen);
        }
        self.seen.insert(Alias::of(&self.salt, id), *id);
    }

    /// Begins anew with what is known and not in the ledger.
    fn renew(&mut self, salt: Salt, known: impl Iterator<Item = TxId>) {
        let seen = known.map(|id| (Alias::of(&salt, &id), id)).collect();
        *self = Self { salt, seen, older: BTreeMap::new() };
    }
}

/// What a session does about days that differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Lists the places of one.
    List(u64),
    /// Reconciles a span: the days in it that differ, and how many transactions it has on the side that has more.
    Reconcile { span: Span, days: Vec<u64>, count: u64 },
}

impl Work {
    /// What to do about a day that differs; joined to the work before it where one reconciliation can do for both.
    /// `between` is how many transactions lie between the two.
    pub(super) fn plan(last: Option<&mut Self>, day: u64, ours: u64, theirs: u64, between: u64) -> Option<Self> {
        let count = ours.max(theirs);
        let end = day.saturating_add(1).saturating_mul(DAY_SECS);
        // The last of all days ends behind the last second that there is, and no question may name that.
        if theirs <= FEW || ours < theirs / PART || end > TIME_END_SECS {
            return Some(Self::List(day));
        }
        if let Some(Self::Reconcile { span, days, count: before }) = last {
            let together = before.saturating_add(between).saturating_add(count);
            if together <= GROUP_MAX {
                span.to = end;
                days.push(day);
                *before = together;
                return None;
            }
        }
        let span = Span { from: day.saturating_mul(DAY_SECS), to: end };
        Some(Self::Reconcile { span, days: vec![day], count })
    }
}

/// A reconciliation under way, from the asker's side.
#[derive(Debug)]
pub(super) struct Reconciling {
    span: Span,
    days: Vec<u64>,
    view: View,
    /// The message to send.
    message: Vec<u8>,
    rounds: u32,
    needs: BTreeSet<(ListedAt, Alias)>,
    have: BTreeSet<Alias>,
}

/// How a round ended.
#[derive(Debug)]
enum Round {
    Next,
    Done,
    /// The answer is no message, or names more than a view can hold.
    Lie,
    /// Too many rounds.
    Endless,
}

impl Reconciling {
    fn over(view: View, span: Span, days: Vec<u64>) -> Option<Self> {
        let message = Negentropy::borrowed(&view, RECONCILE_ASK_MAX as u64).and_then(|mut side| side.initiate());
        let message = message.ok().and_then(|message| shrink(&message));
        let none = (BTreeSet::new(), BTreeSet::new());
        let begun = |message| Self { span, days, view, message, rounds: 0, needs: none.0, have: none.1 };
        message.map(begun)
    }

    fn take(&mut self, answer: &[u8]) -> Round {
        let Some(expanded) = expand(answer) else {
            return Round::Lie;
        };
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let next = Negentropy::borrowed(&self.view, RECONCILE_ASK_MAX as u64).and_then(|mut side| {
            side.set_initiator();
            side.reconcile_with_ids(&expanded.message, &mut have, &mut need)
        });
        let Ok(next) = next else {
            return Round::Lie;
        };
        let alias = |id: &negentropy::Id| id.as_bytes().first_chunk().copied().map(Alias::from_bytes);
        self.have.extend(have.iter().filter_map(alias));
        let listed_at = |alias: Alias| Some((*expanded.listed.get(&alias)?, alias));
        self.needs.extend(need.iter().filter_map(alias).filter_map(listed_at));
        if self.needs.len() > VIEW_MAX {
            return Round::Lie;
        }
        self.rounds = self.rounds.saturating_add(1);
        match next.map(|message| shrink(&message)) {
            None => Round::Done,
            Some(_) if self.rounds >= ROUNDS_MAX => Round::Endless,
            Some(Some(message)) => {
                self.message = message;
                Round::Next
            }
            Some(None) => Round::Lie,
        }
    }

    pub(super) fn request(&self, salt: &Salt) -> Request {
        Request::Reconcile { salt: *salt, from: self.span.from, to: self.span.to, message: self.message.clone() }
    }
}

/// A span is too much for one reconciliation: its halves, or lists where it cannot be halved.
fn halve(span: Span, days: &[u64]) -> Vec<Work> {
    let Some((first, second)) = span.halves() else {
        return list(days);
    };
    let within = |span: Span| {
        let touches = |day: &&u64| (span.from / DAY_SECS..=span.to.saturating_sub(1) / DAY_SECS).contains(day);
        let days: Vec<u64> = days.iter().filter(touches).copied().collect();
        (!days.is_empty()).then_some(Work::Reconcile { span, days, count: GROUP_MAX })
    };
    [first, second].into_iter().filter_map(within).collect()
}

fn list(days: &[u64]) -> Vec<Work> {
    days.iter().map(|day| Work::List(*day)).collect()
}

impl Engine {
    /// Draws a new salt when nothing depends on the old one.
    pub(super) fn renew_salt(&mut self) {
        if !self.in_flight.is_empty() || !self.peers.in_session().is_empty() {
            return;
        }
        let mut salt = Salt::default();
        for part in salt.chunks_exact_mut(8) {
            part.copy_from_slice(&rand::Rng::next_u64(&mut self.rng).to_le_bytes());
        }
        let waiting = self.orphans.ids().chain(self.budget.ids()).chain(self.bare.ids());
        let known: Vec<TxId> = self.checks.ids().chain(waiting).copied().collect();
        self.aliases.renew(salt, known.into_iter());
    }

    /// Begins to reconcile a span with a peer. `None` when there is too much in it; then the work is divided.
    pub(super) fn begin_reconciling<S: Store>(
        &mut self,
        turn: &Turn<'_, S>,
        span: Span,
        days: Vec<u64>,
    ) -> Result<Result<Reconciling, Vec<Work>>, StoreError> {
        let places = self.views.places.of(turn.ledger, span, turn.now.elapsed_ms)?;
        let view = places.map(|places| View::new(&self.aliases.salt, places));
        let begun = view.and_then(|view| Reconciling::over(view, span, days.clone()));
        Ok(begun.ok_or_else(|| halve(span, &days)))
    }

    /// A peer answered a round.
    pub(super) fn reconciled<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, answer: Option<&[u8]>) {
        let Some(session) = self.session(peer) else {
            return;
        };
        let Some(mut reconciling) = session.reconciling.take() else {
            return;
        };
        session.busy = 0;
        let round = match answer {
            Some(answer) => reconciling.take(answer),
            None => {
                session.works_first(halve(reconciling.span, &reconciling.days));
                return;
            }
        };
        match round {
            Round::Next => session.reconciling = Some(reconciling),
            Round::Done => {
                session.span = reconciling.span;
                session.todo.extend(reconciling.needs.iter().map(|(_, alias)| Want::Alias(*alias)));
                self.holds_all_but(turn, peer, &reconciling.days, &reconciling.have);
            }
            Round::Lie => self.let_go(turn, peer, Fault::WrongAnswer),
            Round::Endless => session.works_first(list(&reconciling.days)),
        }
    }

    /// A peer holds what this node has of these days, but for what was found to be lacking there.
    fn holds_all_but<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, days: &[u64], lacking: &BTreeSet<Alias>) {
        for day in days {
            for id in self.outbox.counted_of(Some(*day)) {
                if !lacking.contains(&Alias::of(&self.aliases.salt, &id)) {
                    self.holds(turn, peer, &id);
                }
            }
        }
    }

    /// The protocol that was agreed on with a peer knows no reconciliation: its days are listed.
    pub(super) fn reconciles_not(&mut self, peer: Peer) {
        let Some(state) = self.peers.get_mut(peer) else {
            return;
        };
        state.lists_only = true;
        if let Some(session) = &mut state.session {
            if let Some(reconciling) = session.reconciling.take() {
                session.works_first(list(&reconciling.days));
            }
            session.list_all();
        }
    }

    /// The request for a list of wants of one kind.
    pub(super) fn request_for(&self, wants: &[Want], span: Span, max_bytes: u32) -> Request {
        let aliases: Vec<Alias> =
            wants.iter().filter_map(|want| if let Want::Alias(alias) = want { Some(*alias) } else { None }).collect();
        if aliases.is_empty() {
            let id = |want: &Want| if let Want::Id(id) = want { Some(crate::wire::wire_id(id)) } else { None };
            return Request::Transactions { ids: wants.iter().filter_map(id).collect(), max_bytes };
        }
        Request::Aliased { salt: self.aliases.salt, from: span.from, to: span.to, aliases, max_bytes }
    }

    /// Whether it is being fetched.
    pub(super) fn is_in_flight(&self, want: &Want) -> bool {
        self.in_flight.contains_key(&self.aliases.of(want))
    }
}

/// The question of a round.
pub(super) fn question(reconciling: &Reconciling, salt: &Salt) -> (Question, Request) {
    (Question::Reconcile, reconciling.request(salt))
}
