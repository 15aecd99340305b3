//! What is remembered of each connected peer. Nothing of it outlives the connection: scores and the address book, which
//! do, come beside it.
//!
//! Bounds: [`PEERS_MAX`] peers (the driver's connection limits are tighter), [`MISSING_MAX`] and [`PARENTS_MAX`] ids
//! each.

use std::collections::{BTreeMap, BTreeSet};

use qasedak_chain::TxId;

use super::{
    Peer, Token,
    checks::Via,
    exchange::Exchange,
    pace::CLAIM_MS,
    quota,
    reconcile::{Want, answer::WORK_OF_PEER},
    serve::Bucket,
    session::Session,
};

/// Most peers at once.
const PEERS_MAX: usize = 1_024;
/// Most ids that one peer is remembered not to have delivered.
const MISSING_MAX: usize = 4_096;
/// For how long.
const MISSING_MS: u64 = 600_000;
/// Most missing parents to be asked of one peer.
const PARENTS_MAX: usize = 256;
/// Bytes of the first page that is asked of a peer; doubled when it delivers promptly, halved when it takes so long that
/// others are asked for the same, or stalls.
const PAGE_START_BYTES: u32 = 256 * 1024;
/// Bytes of the smallest page.
const PAGE_MIN_BYTES: u32 = 64 * 1024;
/// Bytes of the largest page.
const PAGE_MAX_BYTES: u32 = 1_000_000;
/// How long a page may take after which the next one may be larger.
const PROMPT_MS: u64 = 1_000;
/// After how many comparisons at the latest a session is tried again that brought nothing.
const FRUITLESS_PAUSE: u32 = 32;
/// First pause after a peer failed; doubled each time up to [`BACK_OFF_DOUBLINGS`] times.
const BACK_OFF_MS: u64 = 5_000;
/// Up to 20 s: when a bad network is well again, what was missed is to come within a minute.
const BACK_OFF_DOUBLINGS: u32 = 2;

/// Bytes of answers to a peer: a newcomer takes over a whole ledger with them.
const SERVED: quota::Rate = quota::Rate { burst: 256 << 20, per_second: 16 << 20 };
/// Bytes of gossip from a peer.
const RELAYED: quota::Rate = quota::Rate { burst: 64 << 20, per_second: 4 << 20 };
/// Bytes of gossip from a peer that are relayed to others. A burst of them is what an honest message waits behind, in the
/// queue for each peer; the rest enters the ledger all the same, and others fetch it (decision 0057).
const PASSED_ON: quota::Rate = quota::Rate { burst: 1 << 20, per_second: 1 << 20 };
/// Transactions in gossip from a peer that are verified. A relay of an honest network passes on a few a second.
const CHECKED: quota::Rate = quota::Rate { burst: 4_096, per_second: 512 };

/// A session that brought nothing although the digests differed: mostly the peer is the one that lacks something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fruitless {
    /// Its digest, and this node's.
    pub(super) digests: ([u8; 32], [u8; 32]),
    /// How often the two compared since and found the same.
    pub(super) times: u32,
}

/// One peer.
#[derive(Debug)]
pub(super) struct PeerState {
    /// Whether it can be gossiped to.
    pub(super) subscribed: bool,
    /// What it may still ask.
    pub(super) bucket: Bucket,
    /// Bytes that it may still be sent in answers.
    pub(super) served: quota::Bucket,
    /// Bytes that it may still relay.
    pub(super) relayed: quota::Bucket,
    /// Bytes of what it relayed that may still be relayed to others.
    pub(super) passed_on: quota::Bucket,
    /// Transactions that may still be verified because it relayed them.
    pub(super) checked: quota::Bucket,
    /// What its reconciliations may still cost.
    pub(super) work: quota::Bucket,
    /// Whether the protocol that was agreed on knows no reconciliation.
    pub(super) lists_only: bool,
    /// Its digest when the two last compared.
    pub(super) digest: [u8; 32],
    /// The last session that brought nothing.
    pub(super) fruitless: Option<Fruitless>,
    /// Whether its set was this node's when the two last compared.
    pub(super) same: Option<bool>,
    /// Whether nothing that it has was known to lack here when it was last looked at: a difference now may be gossip
    /// on its way.
    pub(super) even: bool,
    /// The question for its digest that is open.
    pub(super) comparing: Option<Token>,
    /// When its digest was last asked for.
    pub(super) compared_ms: u64,
    /// When its digest is asked for next.
    pub(super) compare_at_ms: u64,
    /// Since when it is known to differ and no session was begun.
    pub(super) differs_since_ms: Option<u64>,
    /// No session with it begins before this.
    pub(super) session_from_ms: u64,
    /// Fetching what it has and this node lacks.
    pub(super) session: Option<Session>,
    /// Missing parents that it must have, since it relayed their children; with the steps from what was relayed.
    pub(super) parents: BTreeMap<TxId, u8>,
    /// The question for them that is open.
    pub(super) parents_asked: Option<Token>,
    /// The question for bodies that is open.
    pub(super) bodies_asked: Option<Token>,
    /// It is asked for no bodies before this.
    pub(super) bodies_from_ms: u64,
    /// Until then no header waits for its answer (see `bare`).
    pub(super) silent_until_ms: u64,
    /// Bytes of a page of it.
    pub(super) page_bytes: u32,
    /// How long its last answer took.
    pub(super) took_ms: u64,
    /// Exchanging checkpoints with it.
    pub(super) exchange: Exchange,
    missing: BTreeSet<Want>,
    missing_until_ms: u64,
    strikes: u32,
}

impl PeerState {
    fn new(key: [u8; 32], now_ms: u64) -> Self {
        Self {
            subscribed: false,
            bucket: Bucket::new(now_ms),
            served: quota::Bucket::full(SERVED, now_ms),
            relayed: quota::Bucket::full(RELAYED, now_ms),
            passed_on: quota::Bucket::full(PASSED_ON, now_ms),
            checked: quota::Bucket::full(CHECKED, now_ms),
            work: quota::Bucket::full(WORK_OF_PEER, now_ms),
            lists_only: false,
            digest: [0; 32],
            fruitless: None,
            same: None,
            even: false,
            comparing: None,
            compared_ms: 0,
            compare_at_ms: now_ms,
            differs_since_ms: None,
            session_from_ms: now_ms,
            session: None,
            parents: BTreeMap::new(),
            parents_asked: None,
            bodies_asked: None,
            bodies_from_ms: now_ms,
            silent_until_ms: 0,
            page_bytes: PAGE_START_BYTES,
            took_ms: 0,
            exchange: Exchange::new(key, now_ms),
            missing: BTreeSet::new(),
            missing_until_ms: 0,
            strikes: 0,
        }
    }

    /// Whether a session may bring something. After one that did not, while nothing changes on either side, the next ones
    /// come ever more seldom.
    pub(super) fn is_worth_a_session(&mut self, digests: ([u8; 32], [u8; 32])) -> bool {
        let Some(last) = self.fruitless.as_mut().filter(|last| last.digests == digests) else {
            return true;
        };
        last.times = last.times.saturating_add(1);
        last.times.is_power_of_two() || last.times.is_multiple_of(FRUITLESS_PAUSE)
    }

    /// It delivered a page: the next one is as large as its pace allows.
    pub(super) fn delivered(&mut self) {
        if self.took_ms <= PROMPT_MS {
            self.page_bytes = self.page_bytes.saturating_mul(2).min(PAGE_MAX_BYTES);
        } else if self.took_ms > CLAIM_MS {
            self.page_bytes = (self.page_bytes / 2).max(PAGE_MIN_BYTES);
        }
        // What came late is no reason to trust it more.
        if self.took_ms <= CLAIM_MS {
            self.strikes = 0;
        }
    }

    /// It failed: smaller pages, and a pause that doubles each time.
    pub(super) fn failed(&mut self, now_ms: u64) {
        self.page_bytes = (self.page_bytes / 2).max(PAGE_MIN_BYTES);
        let pause = BACK_OFF_MS << self.strikes.min(BACK_OFF_DOUBLINGS);
        self.strikes = self.strikes.saturating_add(1);
        self.session_from_ms = now_ms.saturating_add(pause);
        self.compare_at_ms = self.session_from_ms;
        self.differs_since_ms = None;
    }

    /// It did not deliver something although it listed it: not to be asked of it again for some time.
    pub(super) fn lacks(&mut self, want: Want, now_ms: u64) {
        if self.missing_until_ms <= now_ms || self.missing.len() >= MISSING_MAX {
            self.missing.clear();
            self.missing_until_ms = now_ms.saturating_add(MISSING_MS);
        }
        self.missing.insert(want);
    }

    /// Whether it is of use to ask for something.
    pub(super) fn may_have(&self, want: &Want, now_ms: u64) -> bool {
        self.missing_until_ms <= now_ms || !self.missing.contains(want)
    }

    /// Wants missing parents of it; `false` when there are too many of them already.
    pub(super) fn want_parents(&mut self, ids: impl IntoIterator<Item = TxId>, steps: u8) -> bool {
        for id in ids {
            if self.parents.len() >= PARENTS_MAX {
                return false;
            }
            self.parents.entry(id).or_insert(steps);
        }
        true
    }
}

/// All connected peers.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<Peer, PeerState>);

impl Peers {
    /// A peer is connected. A second time changes nothing.
    pub(super) fn connected(&mut self, peer: Peer, key: [u8; 32], now_ms: u64) {
        if self.0.len() < PEERS_MAX {
            self.0.entry(peer).or_insert_with(|| PeerState::new(key, now_ms));
        }
    }
    pub(super) fn remove(&mut self, peer: Peer) -> Option<PeerState> {
        self.0.remove(&peer)
    }
    pub(super) fn get(&self, peer: Peer) -> Option<&PeerState> {
        self.0.get(&peer)
    }
    pub(super) fn get_mut(&mut self, peer: Peer) -> Option<&mut PeerState> {
        self.0.get_mut(&peer)
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = (Peer, &PeerState)> {
        self.0.iter().map(|(peer, state)| (*peer, state))
    }
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Peer, &mut PeerState)> {
        self.0.iter_mut().map(|(peer, state)| (*peer, state))
    }
    pub(super) fn any_subscribed(&self) -> bool {
        self.0.values().any(|peer| peer.subscribed)
    }
    pub(super) fn is_any_in_session(&self) -> bool {
        self.0.values().any(|peer| peer.session.is_some())
    }
    /// Those that something is being fetched from.
    pub(super) fn in_session(&self) -> Vec<Peer> {
        self.iter().filter(|(_, state)| state.session.is_some()).map(|(peer, _)| peer).collect()
    }
    /// A transaction that this peer sent is in the ledger.
    pub(super) fn gained(&mut self, peer: Peer, via: Via, now_ms: u64) {
        if let Some(session) = self.session_via(peer, via) {
            session.gained = session.gained.saturating_add(1);
            session.gained_ms = now_ms;
        }
    }
    /// Whether a valid message of so many bytes is relayed to others, going by who relayed it here.
    pub(super) fn passes_on(&mut self, from: Peer, bytes: usize, now_ms: u64) -> bool {
        let Some(state) = self.get_mut(from) else {
            return true;
        };
        let any = state.passed_on.has_any(now_ms);
        state.passed_on.spend(if any { bytes as u64 } else { 0 });
        any
    }
    /// One that this peer sent is good and waits for the budget: its session gets on.
    pub(super) fn got_on(&mut self, peer: Peer, via: Via, now_ms: u64) {
        if let Some(session) = self.session_via(peer, via) {
            session.gained_ms = now_ms;
        }
    }
    fn session_via(&mut self, peer: Peer, via: Via) -> Option<&mut Session> {
        self.0.get_mut(&peer).filter(|_| via == Via::Session)?.session.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_failed_often_is_tried_again_soon() {
        let mut state = PeerState::new([1; 32], 0);
        (0..20).for_each(|_| state.failed(1_000));
        assert_eq!(state.session_from_ms, 21_000);
    }
}
