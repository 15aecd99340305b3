//! Transactions under verification: what was handed out with [`Output::Check`](super::Output::Check) and has not come
//! back.
//!
//! Bounds: [`CHECKS_MAX`] and [`CHECKS_MAX_BYTES`] in all, [`GOSSIP_SHARE`] of one peer's gossip. What does not fit is
//! not taken in, and comes again by sync.

use std::collections::BTreeMap;

use qasedak_chain::{Transaction, TxId};

use super::{Peer, Token};

/// Most transactions under verification at once.
const CHECKS_MAX: usize = 2_048;
/// Most bytes of them.
const CHECKS_MAX_BYTES: usize = 32 * 1024 * 1024;
/// Most transactions that one peer relayed among them.
const GOSSIP_SHARE: usize = 256;

/// How a transaction came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// Relayed.
    Gossip,
    /// Listed by a peer in sync, and asked for.
    Session,
    /// Asked for since another one names it as its parent; so many steps behind the one that was relayed.
    Parents(u8),
}

/// A gossip message whose verdict is still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    /// The driver's name for the message.
    pub(super) token: Token,
    /// Who relayed it.
    pub(super) from: Peer,
    /// Until when gossipsub surely still has the message.
    pub(super) until_ms: u64,
}

/// Where a transaction came from, and who waits for its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// Who sent it.
    pub(super) peer: Peer,
    /// How.
    pub(super) via: Via,
    /// The gossip message to be judged, if there is one.
    pub(super) waiter: Option<Waiter>,
    /// Whether its header may enter the ledger alone: its body was looked for (see `bare`).
    pub(super) alone: bool,
}

impl Origin {
    pub(super) fn new(peer: Peer, via: Via) -> Self {
        Self { peer, via, waiter: None, alone: false }
    }
}

#[derive(Debug)]
struct Check {
    id: TxId,
    origin: Origin,
    bytes: usize,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Checks {
    by_token: BTreeMap<Token, Check>,
    ids: BTreeMap<TxId, Token>,
    bytes: usize,
    /// How many of them came from a peer, by gossip and otherwise.
    shares: BTreeMap<Peer, Share>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    gossip: usize,
    asked: usize,
}

impl Share {
    fn of(&mut self, via: Via) -> &mut usize {
        match via {
            Via::Gossip => &mut self.gossip,
            Via::Session | Via::Parents(_) => &mut self.asked,
        }
    }
}

impl Checks {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
    pub(super) fn contains(&self, id: &TxId) -> bool {
        self.ids.contains_key(id)
    }
    pub(super) fn ids(&self) -> impl Iterator<Item = &TxId> {
        self.ids.keys()
    }
    /// How many transactions that were asked of `peer` are under verification.
    pub(super) fn asked_of(&self, peer: Peer) -> usize {
        self.shares.get(&peer).map_or(0, |share| share.asked)
    }
    /// Whether a page more of what was asked for may come.
    pub(super) fn has_room(&self) -> bool {
        self.len() < CHECKS_MAX / 2 && self.bytes < CHECKS_MAX_BYTES / 2
    }

    /// Takes a transaction in under a fresh token, unless it would go past a bound.
    pub(super) fn insert(&mut self, token: Token, transaction: &Transaction, origin: Origin) -> bool {
        let body = transaction.body().map_or(0, <[u8]>::len);
        let bytes = transaction.core().header_len().saturating_add(body);
        let share = self.shares.entry(origin.peer).or_default();
        let over_share = origin.via == Via::Gossip && share.gossip >= GOSSIP_SHARE;
        if over_share || self.ids.len() >= CHECKS_MAX || self.bytes.saturating_add(bytes) > CHECKS_MAX_BYTES {
            return false;
        }
        let count = share.of(origin.via);
        *count = count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.ids.insert(transaction.id(), token);
        self.by_token.insert(token, Check { id: transaction.id(), origin, bytes });
        true
    }

    /// Lets a gossip message wait for a check that is under way, unless another one does.
    pub(super) fn attach(&mut self, id: &TxId, waiter: Waiter) -> bool {
        let Some(check) = self.ids.get(id).and_then(|token| self.by_token.get_mut(token)) else {
            return false;
        };
        if check.origin.waiter.is_some() {
            return false;
        }
        check.origin.waiter = Some(waiter);
        true
    }

    /// Takes out what came back. `None` for a token that was never handed out.
    pub(super) fn remove(&mut self, token: Token) -> Option<Origin> {
        let check = self.by_token.remove(&token)?;
        self.ids.remove(&check.id);
        self.bytes = self.bytes.saturating_sub(check.bytes);
        if let Some(share) = self.shares.get_mut(&check.origin.peer) {
            let count = share.of(check.origin.via);
            *count = count.saturating_sub(1);
            if share.gossip == 0 && share.asked == 0 {
                self.shares.remove(&check.origin.peer);
            }
        }
        Some(check.origin)
    }
}
