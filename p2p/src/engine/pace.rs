//! What a slow peer may keep others from (decision 0044): what it was asked for is free for them after [`CLAIM_MS`], and when
//! it takes longer and brings little, its session ends if there is somebody else. Slow is no fault, and a late answer is taken.

use qasedak_chain::store::Store;

use super::{
    Engine, Peer, Token, Turn,
    peers::PeerState,
    sync::{Asked, Question},
};

/// How long nobody else is asked for what a peer was asked for. A page is so large that a peer in order needs less.
pub(super) const CLAIM_MS: u64 = 3_000;
/// What a peer that takes longer has to bring in a second.
const PACE_BYTES: u64 = 16 * 1024;

impl Engine {
    /// What a question fetches may be asked of others.
    pub(super) fn release(&mut self, token: Token, question: &Question) {
        let fetched = self.fetched_by(question);
        if fetched.is_empty() {
            return;
        }
        for alias in fetched {
            // It may be in another peer's hands by now.
            if self.in_flight.get(&alias) == Some(&token) {
                self.in_flight.remove(&alias);
            }
        }
        self.landed = self.landed.saturating_add(1);
    }

    /// A peer was slow and brought little: with others to fetch from it gives way to them, for a while. Alone it is better
    /// than nobody.
    pub(super) fn keep_pace<S: Store>(&mut self, turn: &mut Turn<'_, S>, peer: Peer, too_slow: bool) {
        let is_other = |(other, state): (Peer, &PeerState)| {
            other != peer && (state.session.is_some() || state.differs_since_ms.is_some())
        };
        if too_slow && self.peers.iter().any(is_other) {
            self.give_up(turn, peer);
        }
    }

    /// Frees what peers take too long for, so that others can be asked for it.
    pub(super) fn lapse(&mut self, now_ms: u64) {
        let late = |asked: &Asked| !asked.lapsed && now_ms.saturating_sub(asked.since_ms) >= CLAIM_MS;
        let late: Vec<Token> = self.asked.iter().filter(|(_, asked)| late(asked)).map(|(token, _)| *token).collect();
        for token in late {
            let Some(asked) = self.asked.get_mut(&token) else {
                continue;
            };
            asked.lapsed = true;
            let (peer, question) = (asked.peer, asked.question.clone());
            self.release(token, &question);
            if matches!(question, Question::Bare(_)) {
                self.is_silent(peer, now_ms);
            }
        }
    }
}

/// Whether a page came slower than it has to and lacks something: what the peer still has is better asked of others.
pub(super) fn is_too_slow(took_ms: u64, asked: usize, list: &[Vec<u8>]) -> bool {
    let bytes: u64 = list.iter().map(|bytes| bytes.len() as u64).sum();
    took_ms > CLAIM_MS && list.len() < asked && bytes.saturating_mul(1_000) < took_ms.saturating_mul(PACE_BYTES)
}
