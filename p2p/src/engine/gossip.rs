//! Transactions that peers relay, and the verdicts on them (DESIGN §7, Gossip; `docs/protocol.md`, "Gossip").
//!
//! - A message is one whole transaction with its body. Only what is fully validated is accepted, that is, relayed.
//! - What the relay had to check (size, encoding, form, body hash, stamp, signature, time against parents) and did not
//!   is its provable fault: rejected, and the relay is let go. gossipsub's message id covers the body, so a right
//!   header under a wrong body hides nothing.
//! - Every message gets exactly one verdict. It stays open while the transaction is under verification, and for up to
//!   [`VERDICT_MS`] while its parents are being fetched: gossipsub keeps the message that long, and takes no
//!   second publication of it. A transaction that is adopted later is not gossiped by this node; the others
//!   are told that the digest changed (see `sync`).

use qasedak_chain::{Transaction, TxId, rules::RuleError, rules::Verified, store::Store};

use super::{
    Engine, Fault, Output, Peer, Token, Turn, Verdict,
    checks::{Origin, Via, Waiter},
};

/// How long a verdict stays open for missing parents. gossipsub's cache must keep messages longer than this.
pub const VERDICT_MS: u64 = 4_000;

impl Engine {
    /// A peer relayed a message.
    pub(super) fn on_gossip<S: Store>(&mut self, turn: &mut Turn<'_, S>, from: Peer, token: Token, bytes: &[u8]) {
        let waiter = Waiter { token, from, until_ms: turn.now.elapsed_ms.saturating_add(VERDICT_MS) };
        let origin = Origin { waiter: Some(waiter), ..Origin::new(from, Via::Gossip) };
        if let Some(peer) = self.peers.get_mut(from) {
            if !peer.relayed.has_any(turn.now.elapsed_ms) {
                return self.judge(turn, Some(origin), Verdict::Ignore);
            }
            peer.relayed.spend(bytes.len() as u64);
        }
        match Transaction::from_bytes(&self.network, bytes) {
            Ok(transaction) => self.relayed(turn, transaction, origin, waiter),
            Err(rule) => self.reject(turn, waiter, rule),
        }
    }

    fn reject<S: Store>(&mut self, turn: &mut Turn<'_, S>, waiter: Waiter, rule: RuleError) {
        turn.out.push(Output::Judge { token: waiter.token, from: waiter.from, verdict: Verdict::Reject });
        self.let_go(turn, waiter.from, Fault::InvalidTransaction(rule));
    }

    fn relayed<S: Store>(&mut self, turn: &mut Turn<'_, S>, transaction: Transaction, origin: Origin, waiter: Waiter) {
        let id = transaction.id();
        // A relay passes on whole transactions only: a header alone must not keep the body from being noticed.
        if transaction.body().is_none() {
            return self.judge(turn, Some(origin), Verdict::Ignore);
        }
        if let Some(verified) = self.outbox.verified(&id) {
            return self.offered(turn, verified, origin);
        }
        if self.budget.contains(&id) {
            return self.judge(turn, Some(origin), Verdict::Ignore);
        }
        if self.checks.contains(&id) || self.orphans.contains(&id) {
            if !self.checks.attach(&id, waiter) && !self.orphans.attach(&id, waiter) {
                self.judge(turn, Some(origin), Verdict::Ignore);
            }
            return;
        }
        match turn.ledger.position(&id) {
            Ok(None) => {
                let has_share = self.peers.get_mut(origin.peer).is_none_or(|peer| {
                    let any = peer.checked.has_any(turn.now.elapsed_ms);
                    peer.checked.spend(u64::from(any));
                    any
                });
                if !has_share || !self.check(turn, transaction, origin) {
                    self.judge(turn, Some(origin), Verdict::Ignore);
                }
            }
            Ok(Some(_)) => {
                self.holds(turn, origin.peer, &id);
                // The header is here alone: the others may lack the body as well.
                let verdict = if self.mend(turn, &transaction) { Verdict::Accept } else { Verdict::Ignore };
                self.judge(turn, Some(origin), verdict);
            }
            Err(error) => self.store_failed(turn, Some(origin), &error),
        }
    }

    /// A peer offers an own transaction that waits in the outbox: so the world has it, and it goes into the log.
    pub(super) fn offered<S: Store>(&mut self, turn: &mut Turn<'_, S>, verified: Verified, origin: Origin) {
        let id: TxId = verified.transaction().id();
        self.place(turn, verified, Some(origin));
        self.holds(turn, origin.peer, &id);
    }
}
