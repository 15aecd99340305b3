//! How much of others' transactions is taken in (DESIGN §7, Quotas; decision 0026).
//!
//! A ledger takes so many bytes a day, as a bucket that holds one day's worth and is filled all the time. While it is empty,
//! verified transactions wait here, outside of the ledger, and enter it as the bucket fills: highest work per byte first.
//! What waits is bounded; when there is too much of it, the lowest work per byte gives way and comes again by sync. So a
//! flood costs its sender the work of everyone who waits. Own transactions never wait: they are acknowledged.
//!
//! Bounds: [`WAITING_MAX`] and [`WAITING_MAX_BYTES`]. From half of either on, no more is asked for.

use std::{cmp::Reverse, collections::BTreeMap};

use qasedak_chain::{Network, TxId, rules::Verified, store::Store};

use super::{
    Engine, Turn, Verdict,
    checks::Origin,
    quota::{Bucket, Rate},
};

/// Bytes that are taken in a day when nothing else is said.
pub const DAILY_BYTES: u64 = 4 << 30;
/// Most transactions that wait.
const WAITING_MAX: usize = 4_096;
/// Most bytes of them.
const WAITING_MAX_BYTES: usize = 32 * 1024 * 1024;
/// Most that enter the ledger in one turn.
const PER_TURN: usize = 64;
/// Seconds over which a day's worth comes in.
const DAY_SECS: u64 = 86_400;

/// What an operator is shown of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetStatus {
    /// Bytes that are taken in a day.
    pub daily_bytes: u64,
    /// Transactions that wait for the budget.
    pub waiting: usize,
    /// Bytes of them.
    pub waiting_bytes: usize,
}

/// Work for each KiB, and who came first. The greatest goes first.
type Rank = (u64, Reverse<u64>);

#[derive(Debug)]
struct Held {
    verified: Verified,
    origin: Origin,
    bytes: usize,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Budget {
    daily_bytes: u64,
    bucket: Bucket,
    waiting: BTreeMap<Rank, Held>,
    ids: BTreeMap<TxId, Rank>,
    bytes: usize,
    next_number: u64,
}

impl Budget {
    pub(super) fn new(daily_bytes: u64) -> Self {
        let rate = Rate { burst: daily_bytes.max(1), per_second: (daily_bytes / DAY_SECS).max(1) };
        let (waiting, ids) = Default::default();
        Self { daily_bytes, bucket: Bucket::full(rate, 0), waiting, ids, bytes: 0, next_number: 0 }
    }

    pub(super) fn contains(&self, id: &TxId) -> bool {
        self.ids.contains_key(id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &TxId> {
        self.ids.keys()
    }

    /// Whether no more is to be asked for.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX / 2 || self.bytes >= WAITING_MAX_BYTES / 2
    }

    pub(super) fn status(&self) -> BudgetStatus {
        BudgetStatus { daily_bytes: self.daily_bytes, waiting: self.waiting.len(), waiting_bytes: self.bytes }
    }

    /// Whether the next one may enter the ledger at once.
    fn is_open(&mut self, now_ms: u64) -> bool {
        self.waiting.is_empty() && self.bucket.has_any(now_ms)
    }

    /// One entered the ledger.
    fn took(&mut self, bytes: usize) {
        self.bucket.spend(bytes as u64);
    }

    fn hold(&mut self, network: &Network, verified: Verified, origin: Origin) {
        let bytes = wire_bytes(&verified);
        let header = verified.transaction().header();
        let work = header.stamp().work(&header.signed().challenge(network)).get();
        let per_kib = work.saturating_mul(1_024).checked_div(bytes as u64).unwrap_or(u64::MAX);
        let rank = (per_kib, Reverse(self.next_number));
        self.next_number = self.next_number.saturating_add(1);
        self.ids.insert(verified.transaction().id(), rank);
        self.bytes = self.bytes.saturating_add(bytes);
        self.waiting.insert(rank, Held { verified, origin, bytes });
        while self.waiting.len() > WAITING_MAX || self.bytes > WAITING_MAX_BYTES {
            let least = self.waiting.pop_first();
            self.left(least);
        }
    }

    /// The next one, if there is room for it.
    fn next(&mut self, now_ms: u64) -> Option<Held> {
        if !self.bucket.has_any(now_ms) {
            return None;
        }
        let most = self.waiting.pop_last();
        self.left(most)
    }

    fn left(&mut self, gone: Option<(Rank, Held)>) -> Option<Held> {
        let (_, held) = gone?;
        self.ids.remove(&held.verified.transaction().id());
        self.bytes = self.bytes.saturating_sub(held.bytes);
        Some(held)
    }
}

/// Bytes of a transaction on the wire.
pub(super) fn wire_bytes(verified: &Verified) -> usize {
    let transaction = verified.transaction();
    transaction.core().header_len().saturating_add(transaction.body().map_or(0, <[u8]>::len))
}

impl Engine {
    /// Sets how many bytes of others' transactions are taken in a day.
    #[must_use]
    pub fn with_daily_bytes(self, daily_bytes: u64) -> Self {
        Self { budget: Budget::new(daily_bytes), ..self }
    }

    /// Whether a transaction may enter the ledger now. Own ones always may.
    pub(super) fn may_enter<S: Store>(&mut self, turn: &Turn<'_, S>, id: &TxId, origin: Option<&Origin>) -> bool {
        origin.is_none() || self.outbox.is_waiting(id) || self.budget.is_open(turn.now.elapsed_ms)
    }

    /// A transaction waits for the budget. What is not kept is not relayed either.
    pub(super) fn wait_for_budget<S: Store>(&mut self, turn: &mut Turn<'_, S>, verified: Verified, mut origin: Origin) {
        self.judge(turn, Some(origin), Verdict::Ignore);
        self.peers.got_on(origin.peer, origin.via, turn.now.elapsed_ms);
        origin.waiter = None;
        self.budget.hold(&self.network, verified, origin);
    }

    /// A transaction of others entered the ledger.
    pub(super) fn charge_budget(&mut self, bytes: usize) {
        self.budget.took(bytes);
    }

    /// Lets in what there is room for.
    pub(super) fn let_in<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        for _ in 0..PER_TURN {
            let Some(held) = self.budget.next(turn.now.elapsed_ms) else {
                return;
            };
            self.enter(turn, held.verified, Some(held.origin));
        }
    }
}
