//! Answers to the questions of peers, from the ledger, each at most one page (`docs/protocol.md`, "Sync").
//!
//! What is in the log is served, durable or not: whoever gets it verifies it. The outbox is never looked at.
//! Each peer has a bucket of questions; one that finds it empty is told to come again later, and let go when
//! it does not stop; so has it one of bytes.

use qasedak_chain::{
    Ledger, Position, Time, TxId,
    ledger::OrderKey,
    store::{Store, StoreError},
    time::{DAY_SECS, TIME_END_SECS},
};

use super::{
    Engine, Fault, Output, Peer, Token, Turn,
    reconcile::{answer::Answered, view::Span},
};
use crate::wire::{DAYS_MAX, DayDigest, IDS_MAX, Place, RESPONSE_MAX_BYTES, Request, Response, WANT_MAX, wire_id};

/// Questions that a peer may ask at once.
const BURST: u64 = 128;
/// Questions that it may ask each second in the long run.
const PER_SECOND: u64 = 64;
/// Questions past its share, less one a second, after which it is let go.
const DEBT_MAX: u64 = 512;
/// Bytes of an answer that are not transactions: the variant, and the number of them.
const FRAME_BYTES: usize = 12;
/// Bytes that precede each transaction: its length.
const LENGTH_BYTES: usize = 8;

/// How much a peer may still ask, in thousandths of a question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    left_milli: u64,
    debt_milli: u64,
    filled_ms: u64,
}

/// What the bucket says to one more question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Within,
    Over,
    Flooding,
}

impl Bucket {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { left_milli: BURST.saturating_mul(1_000), debt_milli: 0, filled_ms: now_ms }
    }

    fn take(&mut self, now_ms: u64) -> Share {
        let passed_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = now_ms;
        let filled = self.left_milli.saturating_add(passed_ms.saturating_mul(PER_SECOND));
        self.left_milli = filled.min(BURST.saturating_mul(1_000));
        self.debt_milli = self.debt_milli.saturating_sub(passed_ms);
        if let Some(left) = self.left_milli.checked_sub(1_000) {
            self.left_milli = left;
            return Share::Within;
        }
        self.debt_milli = self.debt_milli.saturating_add(1_000);
        if self.debt_milli > DEBT_MAX.saturating_mul(1_000) { Share::Flooding } else { Share::Over }
    }
}

impl Engine {
    /// A peer asks something.
    pub(super) fn on_asked<S: Store>(&mut self, turn: &mut Turn<'_, S>, from: Peer, token: Token, request: &Request) {
        let share = match self.peers.get_mut(from) {
            Some(peer) => match peer.bucket.take(turn.now.elapsed_ms) {
                Share::Within if !peer.served.has_any(turn.now.elapsed_ms) => Share::Over,
                share => share,
            },
            None => Share::Over,
        };
        let response = match share {
            Share::Within => match self.answer(turn, from, request) {
                Ok(Some(response)) => response,
                Ok(None) => return self.let_go(turn, from, Fault::Malformed),
                Err(error) => {
                    self.failures.note(&error);
                    Response::Busy
                }
            },
            Share::Over | Share::Flooding => Response::Busy,
        };
        if let Some(peer) = self.peers.get_mut(from) {
            peer.served.spend(bytes_of(&response));
        }
        turn.out.push(Output::Answer { token, response });
        match request {
            _ if share == Share::Flooding => self.let_go(turn, from, Fault::Flooding),
            Request::Digest { count, digest } if share == Share::Within => {
                self.compared(turn, from, *count, digest);
            }
            _ => {}
        }
    }

    /// Answers one question; `None` to one that is none.
    fn answer<S: Store>(
        &mut self,
        turn: &Turn<'_, S>,
        from: Peer,
        request: &Request,
    ) -> Result<Option<Response>, StoreError> {
        let ledger = &*turn.ledger;
        let response = match request {
            Request::Reconcile { .. } | Request::Aliased { .. } => return self.answer_aliased(turn, from, request),
            Request::Digest { .. } => {
                let summary = ledger.summary();
                Ok(Response::Digest { count: summary.count, digest: *summary.digest.as_bytes() })
            }
            Request::Days { from } => {
                let days = ledger.days(*from, DAYS_MAX)?;
                let wire = |day: &qasedak_chain::ledger::DaySummary| DayDigest {
                    day: day.day,
                    count: day.count,
                    digest: *day.digest.as_bytes(),
                };
                Ok(Response::Days(days.iter().map(wire).collect()))
            }
            Request::Day { day, after, max } => places(ledger, *day, *after, *max).map(Response::Day),
            Request::Transactions { ids, max_bytes } => {
                let positions = ids.iter().map(|id| ledger.position(&TxId::from_bytes(*id)));
                self.page(turn, positions, *max_bytes)
            }
            Request::Checkpoint { known } => self.own_newest(turn, *known),
        };
        response.map(Some)
    }

    /// Answers a question of a reconciliation; `None` to one that is none.
    fn answer_aliased<S: Store>(
        &mut self,
        turn: &Turn<'_, S>,
        from: Peer,
        request: &Request,
    ) -> Result<Option<Response>, StoreError> {
        let (ledger, now_ms) = (&*turn.ledger, turn.now.elapsed_ms);
        let Some(state) = self.peers.get_mut(from) else {
            return Ok(Some(Response::Busy));
        };
        let asker = (from, &mut state.work);
        Ok(match request {
            Request::Reconcile { salt, from, to, message } => {
                let span = Span { from: *from, to: *to };
                match self.views.reconcile(ledger, asker, (salt, span), message, now_ms)? {
                    Answered::Well(answer) => Some(Response::Reconciled(Some(answer))),
                    Answered::TooMany => Some(Response::Reconciled(None)),
                    Answered::Busy => Some(Response::Busy),
                    Answered::Malformed => None,
                }
            }
            Request::Aliased { salt, from, to, aliases, max_bytes } => {
                let span = Span { from: *from, to: *to };
                match self.views.positions(ledger, asker, (salt, span), aliases, now_ms)? {
                    Answered::Well(positions) => Some(self.page(turn, positions.into_iter().map(Ok), *max_bytes)?),
                    // Spans with so many are not reconciled, so nobody has their aliases.
                    Answered::TooMany => Some(Response::Transactions(Vec::new())),
                    Answered::Busy | Answered::Malformed => Some(Response::Busy),
                }
            }
            _ => None,
        })
    }

    fn page<S: Store>(
        &mut self,
        turn: &Turn<'_, S>,
        positions: impl Iterator<Item = Result<Option<Position>, StoreError>>,
        max_bytes: u32,
    ) -> Result<Response, StoreError> {
        let mut damaged = Damaged::default();
        let page = transactions(turn.ledger, &mut damaged, positions, max_bytes);
        for (position, error) in damaged {
            self.failures.note_unread(&error);
            // One whose header cannot be read either is not to be mended so.
            if let Ok(Some(record)) = turn.ledger.store().record(position) {
                self.repair.want(record.id);
            }
        }
        page.map(Response::Transactions)
    }
}

/// Bytes of an answer, near enough.
fn bytes_of(response: &Response) -> u64 {
    let bytes = match response {
        Response::Days(days) => days.len().saturating_mul(size_of::<DayDigest>()),
        Response::Day(places) => places.len().saturating_mul(size_of::<Place>()),
        Response::Transactions(list) => list.iter().map(|bytes| bytes.len().saturating_add(LENGTH_BYTES)).sum(),
        Response::Reconciled(message) => message.as_ref().map_or(0, Vec::len),
        Response::Digest { .. } | Response::Busy | Response::Checkpoint { .. } => 0,
    };
    bytes.saturating_add(FRAME_BYTES) as u64
}

/// Transactions that could not be read, and why.
type Damaged = Vec<(Position, StoreError)>;

fn places<S: Store>(ledger: &Ledger<S>, day: u64, after: Option<Place>, max: u32) -> Result<Vec<Place>, StoreError> {
    let is_of_day = |place: Place| place.time / DAY_SECS == day;
    if day > TIME_END_SECS / DAY_SECS || !after.is_none_or(is_of_day) {
        return Ok(Vec::new());
    }
    let max = usize::try_from(max).map_or(IDS_MAX, |max| max.min(IDS_MAX));
    let keys = ledger.day_order(day, after.map(order_key), max)?;
    let wire = |key: &OrderKey| Place { time: key.time.secs(), depth: key.depth.get(), id: wire_id(&key.id) };
    Ok(keys.iter().map(wire).collect())
}

pub(super) fn order_key(place: Place) -> OrderKey {
    OrderKey {
        time: Time::from_secs(place.time),
        depth: qasedak_chain::Depth::new(place.depth),
        id: TxId::from_bytes(place.id),
    }
}

/// The transactions that are here, as many as fit the page; those whose bodies are not, as headers: the asker decides what
/// they are good for (see `bare`). One that cannot be read is left out: the asker finds another peer for it, and so does
/// this node.
fn transactions<S: Store>(
    ledger: &Ledger<S>,
    damaged: &mut Damaged,
    positions: impl Iterator<Item = Result<Option<Position>, StoreError>>,
    max_bytes: u32,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let wanted = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let mut left = wanted.min(RESPONSE_MAX_BYTES.saturating_sub(FRAME_BYTES));
    let mut page: Vec<Vec<u8>> = Vec::new();
    for position in positions.take(WANT_MAX) {
        let Some(position) = position? else {
            continue;
        };
        let bytes = match ledger.transaction(position) {
            Ok(Some(transaction)) => transaction.to_bytes(),
            Ok(None) => continue,
            Err(error) => {
                damaged.push((position, error));
                continue;
            }
        };
        let size = bytes.len().saturating_add(LENGTH_BYTES);
        if size > left && !page.is_empty() {
            break;
        }
        left = left.saturating_sub(size);
        page.push(bytes);
    }
    Ok(page)
}
