//! Outputs of the engine, turned into calls.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use libp2p::{
    PeerId,
    gossipsub::{MessageAcceptance, PublishError},
};
use qasedak_chain::{Time, TxId, store::Store};

use super::{
    RefusedPeer,
    events::Asks,
    task::{Task, system_time},
};
use crate::engine::{Fault, Input, Output, Verdict};

/// For how long a peer that was at fault is refused.
const REFUSED_FOR: Duration = Duration::from_secs(600);
/// Most peers that are refused at a time. A new key is free, so this need not be large.
const REFUSED_MAX: usize = 1_024;

/// Peers that were at fault, in the order in which they may come back.
#[derive(Debug, Default)]
pub(super) struct Refusals(VecDeque<Refusal>);

#[derive(Debug)]
struct Refusal {
    until: Instant,
    peer: PeerId,
    shown: RefusedPeer,
}

impl Refusals {
    /// Refuses a peer. Returns the one that makes room for it.
    fn add(&mut self, peer: PeerId, fault: Fault, now: Instant, system: Time) -> Option<PeerId> {
        let until = system.plus(REFUSED_FOR.as_secs());
        let shown = RefusedPeer { id: peer.to_string(), reason: fault.to_string(), since: system, until };
        self.0.push_back(Refusal { until: now + REFUSED_FOR, peer, shown });
        if self.0.len() > REFUSED_MAX { self.0.pop_front().map(|oldest| oldest.peer) } else { None }
    }

    /// Who is refused, and why.
    pub(super) fn shown(&self) -> Vec<RefusedPeer> {
        self.0.iter().map(|refusal| refusal.shown.clone()).collect()
    }

    /// Peers that may come back.
    pub(super) fn over(&mut self, now: Instant) -> Vec<PeerId> {
        let count = self.0.iter().take_while(|refusal| refusal.until <= now).count();
        self.0.drain(..count).map(|refusal| refusal.peer).collect()
    }
}

impl<S: Store + Send + Sync + 'static> Task<S> {
    pub(super) fn apply(&mut self, output: Output) {
        match output {
            Output::Judge { token, verdict, .. } => {
                if let Some(waits) = self.gossiped.remove(&token) {
                    self.judge(&waits, acceptance(verdict));
                }
            }
            Output::Check { token, transaction } => self.checks.push(token, transaction),
            Output::Publish { id, bytes } => self.publish(id, bytes),
            Output::Ask { peer, token, request } => {
                if let Some(id) = self.peers.id(peer) {
                    let request = self.swarm.behaviour_mut().sync.send_request(&id, Ok(request));
                    self.asks.insert(request, Asks { peer, token });
                }
            }
            Output::Answer { token, response } => {
                if let Some((_, channel)) = self.answers.remove(&token) {
                    // It fails when the peer no longer waits.
                    drop(self.swarm.behaviour_mut().sync.send_response(channel, response));
                }
            }
            Output::Keep(entry) => self.keep(*entry),
            Output::Compared { token, result } => self.compared(token, result),
            Output::Grown => self.grown(),
            Output::Released(ids) => self.releases.push(ids),
            Output::StoreFailed(reason) => self.flusher.failed(reason, system_time(), Instant::now()),
            Output::Disconnect { peer, fault } => {
                if let Some(id) = self.peers.id(peer) {
                    self.turn_out(&id, fault);
                }
            }
        }
    }

    fn publish(&mut self, id: TxId, bytes: Vec<u8>) {
        let sent = match self.swarm.behaviour_mut().gossip().publish(self.topic.hash(), bytes) {
            // A duplicate has been sent before.
            Ok(_) | Err(PublishError::Duplicate) => true,
            Err(error) => {
                tracing::debug!(%error, "a transaction could not be published yet");
                false
            }
        };
        if sent {
            self.last_published = Some(Instant::now());
        }
        self.sent.push_back(Input::Published { id, sent });
    }

    /// Lets a peer go that was at fault, and refuses it for a while.
    pub(super) fn turn_out(&mut self, peer: &PeerId, fault: Fault) {
        tracing::debug!(%peer, ?fault, "a peer is let go");
        self.dialer.unwelcome(peer);
        if let Some(oldest) = self.refusals.add(*peer, fault, Instant::now(), system_time()) {
            self.swarm.behaviour_mut().blocked.unblock_peer(oldest);
        }
        self.swarm.behaviour_mut().blocked.block_peer(*peer);
        self.part_from(peer);
    }
}

fn acceptance(verdict: Verdict) -> MessageAcceptance {
    match verdict {
        Verdict::Accept => MessageAcceptance::Accept,
        Verdict::Ignore => MessageAcceptance::Ignore,
        Verdict::Reject => MessageAcceptance::Reject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_bounded_and_end() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let first = PeerId::random();
        let mut add = |peer, now| refusals.add(peer, Fault::Flooding, now, Time::from_secs(1_000));
        assert_eq!(add(first, now), None);
        for _ in 1..REFUSED_MAX {
            assert_eq!(add(PeerId::random(), now), None);
        }
        assert_eq!(add(PeerId::random(), now + Duration::from_secs(1)), Some(first));
        let shown = &refusals.shown()[0];
        assert_eq!((shown.since.secs(), shown.until.secs()), (1_000, 1_600));
        assert!(shown.reason.contains("more than its share"), "{}", shown.reason);
        assert!(refusals.over(now).is_empty());
        assert_eq!(refusals.over(now + REFUSED_FOR).len(), REFUSED_MAX - 1);
    }
}
