//! Exchanging checkpoints with peers (DESIGN §6; `docs/protocol.md`, "Checkpoints"; decision 0023).
//!
//! On contact, and then every ten minutes or so, each peer is asked for its newest checkpoint. The question names the last
//! one of that peer that is kept, and the answer brings a consistency path from it. Only the peer's own word counts: a
//! checkpoint that another key signed, or that does not verify, is its fault. One that contradicts an earlier one is kept
//! as evidence, shown, and no reason to let the peer go: whoever restores a backup contradicts itself too, and what it
//! relays is checked all the same.
//!
//! A missing or wrong path is asked for once more before it is kept, as the weaker evidence that it is. A peer without
//! checkpoints is new, or of an older version, and asked again later.

use qasedak_chain::{
    Time,
    book::{Book, Entry, Evidence, Kept},
    checkpoint::{CheckpointError, Contradiction, SignedCheckpoint, judge},
    merkle::PathError,
    store::{Store, StoreError},
    time::DAY_SECS,
};

use super::{Engine, Fault, Output, Peer, Token, Turn, sync::Question};
use crate::wire::{KnownCheckpoint, Request, Response};

/// Time between two questions to a peer, without what chance adds.
const EVERY_MS: u64 = 540_000;
/// What chance adds at most.
const JITTER_MS: u64 = 120_000;
/// First pause after a peer had none, or could not answer; doubled each time.
const PAUSE_MS: u64 = 5_000;
/// Doublings of it: up to some eleven minutes.
const PAUSE_DOUBLINGS: u32 = 7;
/// A checkpoint that says nothing new is kept again after so long, to show how long its signer has been known.
const KEEP_AGAIN_SECS: u64 = DAY_SECS;

/// Where the exchange with one peer stands.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The peer's Ed25519 public key.
    pub(super) key: [u8; 32],
    /// The question that is open.
    asked: Option<Token>,
    /// When it is asked next.
    at_ms: u64,
    /// How often in a row there was no checkpoint to be had.
    empty: u32,
    /// The one to be asked for a path from, a second time.
    again: Option<Box<SignedCheckpoint>>,
}

impl Exchange {
    pub(super) fn new(key: [u8; 32], now_ms: u64) -> Self {
        Self { key, asked: None, at_ms: now_ms, empty: 0, again: None }
    }

    pub(super) fn closed(&mut self) {
        self.asked = None;
    }
}

/// What was asked: the last one known, and whether its path is asked for the second time.
#[derive(Clone, Debug)]
pub(super) struct AskedCheckpoint {
    known: Option<KnownCheckpoint>,
    again: bool,
}

fn name(checkpoint: &SignedCheckpoint) -> KnownCheckpoint {
    let statement = checkpoint.statement();
    KnownCheckpoint { log_id: statement.log, count: statement.count }
}

/// Whether the second says nothing but the time anew.
fn same_but_for_time(a: &SignedCheckpoint, b: &SignedCheckpoint) -> bool {
    let (a, b) = (a.statement(), b.statement());
    a.log == b.log && a.count == b.count && a.link == b.link && a.closed == b.closed
}

impl Engine {
    /// Goes on with the checkpoints that were kept before the start.
    #[must_use]
    pub fn with_book(self, book: Book) -> Self {
        Self { book, ..self }
    }

    /// The checkpoints and the evidence that are kept.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// This node signed a checkpoint, and it is kept durably.
    pub(super) fn on_signed<S: Store>(&mut self, turn: &Turn<'_, S>, checkpoint: SignedCheckpoint) {
        let received = turn.ledger.clock(turn.now.system);
        self.book.insert(Entry::Own(Kept { checkpoint, received }));
        self.own_checkpoint = Some(checkpoint);
    }

    /// Answers with the newest own checkpoint, and the path from the one that the asker names.
    pub(super) fn own_newest<S: Store>(
        &self,
        turn: &Turn<'_, S>,
        known: Option<KnownCheckpoint>,
    ) -> Result<Response, StoreError> {
        let Some(own) = &self.own_checkpoint else {
            return Ok(Response::Checkpoint { checkpoint: None, path: Vec::new() });
        };
        let statement = own.statement();
        let known = known.filter(|known| known.log_id == statement.log);
        let path = match known.map(|known| turn.ledger.consistency_path(known.count, statement.count)) {
            Some(Ok(path)) => path,
            Some(Err(PathError::Nodes(error))) => return Err(error),
            Some(Err(PathError::OutOfRange { .. })) | None => Vec::new(),
        };
        Ok(Response::Checkpoint { checkpoint: Some(own.to_bytes()), path })
    }

    /// Asks those for their checkpoints whose turn it is.
    pub(super) fn exchange<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        let now_ms = turn.now.elapsed_ms;
        let due = |exchange: &Exchange| exchange.asked.is_none() && exchange.at_ms <= now_ms;
        let due: Vec<Peer> =
            self.peers.iter().filter(|(_, state)| due(&state.exchange)).map(|(peer, _)| peer).collect();
        for peer in due {
            let next_ms = now_ms.saturating_add(EVERY_MS).saturating_add(self.chance(JITTER_MS));
            let Some(exchange) = self.peers.get_mut(peer).map(|state| &mut state.exchange) else {
                continue;
            };
            exchange.at_ms = next_ms;
            let (key, again) = (exchange.key, exchange.again.take());
            let known = match &again {
                Some(checkpoint) => Some(name(checkpoint)),
                None => self.book.newest(&key).map(|kept| name(&kept.checkpoint)),
            };
            let question = Question::Checkpoint(AskedCheckpoint { known, again: again.is_some() });
            let token = self.ask(turn, peer, question, Request::Checkpoint { known });
            if let Some(state) = self.peers.get_mut(peer) {
                state.exchange.asked = Some(token);
            }
        }
    }

    /// There was nothing to be had: asks again after a pause that doubles each time.
    pub(super) fn exchange_later(&mut self, peer: Peer, now_ms: u64) {
        if let Some(state) = self.peers.get_mut(peer) {
            let pause = PAUSE_MS << state.exchange.empty.min(PAUSE_DOUBLINGS);
            state.exchange.empty = state.exchange.empty.saturating_add(1);
            state.exchange.at_ms = now_ms.saturating_add(pause);
        }
    }

    /// A peer told its newest checkpoint, or that it has none.
    pub(super) fn told_checkpoint<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        peer: Peer,
        asked: &AskedCheckpoint,
        bytes: Option<&[u8]>,
        path: &[[u8; 32]],
    ) {
        let Some(state) = self.peers.get_mut(peer) else {
            return;
        };
        let key = state.exchange.key;
        let read = bytes.map(|bytes| SignedCheckpoint::from_bytes(&self.network, bytes));
        let checkpoint = match read {
            None | Some(Err(CheckpointError::Version)) => return self.exchange_later(peer, turn.now.elapsed_ms),
            Some(Ok(checkpoint)) if *checkpoint.signer() == key => checkpoint,
            Some(_) => return self.let_go(turn, peer, Fault::WrongAnswer),
        };
        state.exchange.empty = 0;
        let received = turn.ledger.clock(turn.now.system);
        let Some(previous) = self.book.newest_of(&key, &checkpoint.statement().log).copied() else {
            return self.keep(turn, Entry::Peer(Kept { checkpoint, received }));
        };
        let given = (!path.is_empty()).then_some(path);
        match judge(&self.network, &previous.checkpoint, &checkpoint, given) {
            Ok(()) => self.keep_sound(turn, &previous, checkpoint, received),
            // The path was asked for from another one than it is needed from, or something went wrong on the way.
            Err(reason) if !reason.is_evidence() && !asked.again => {
                if let Some(state) = self.peers.get_mut(peer) {
                    state.exchange.again = Some(Box::new(previous.checkpoint));
                    state.exchange.at_ms = turn.now.elapsed_ms;
                }
            }
            // It answered for another log than the last time: the next round will tell.
            Err(reason) if !reason.is_evidence() && asked.known != Some(name(&previous.checkpoint)) => {}
            Err(reason) => self.contradicted(turn, previous.checkpoint, checkpoint, path, reason, received),
        }
    }

    fn keep_sound<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        previous: &Kept,
        checkpoint: SignedCheckpoint,
        received: Time,
    ) {
        let again = received.secs().saturating_sub(previous.received.secs()) >= KEEP_AGAIN_SECS;
        if again || !same_but_for_time(&previous.checkpoint, &checkpoint) {
            self.keep(turn, Entry::Peer(Kept { checkpoint, received }));
        }
    }

    fn contradicted<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        first: SignedCheckpoint,
        second: SignedCheckpoint,
        path: &[[u8; 32]],
        reason: Contradiction,
        received: Time,
    ) {
        // Two that contradict each other do so with no path at all.
        let path = if reason.is_evidence() { Vec::new() } else { path.to_vec() };
        self.keep(turn, Entry::Evidence(Box::new(Evidence { first, second, path, reason, received })));
    }

    fn keep<S: Store>(&mut self, turn: &mut Turn<'_, S>, entry: Entry) {
        if self.book.insert(entry.clone()) {
            turn.out.push(Output::Keep(Box::new(entry)));
        }
    }

    /// Last block that this node has signed as closed.
    pub(super) fn closed_here(&self) -> Option<u64> {
        self.own_checkpoint.as_ref()?.statement().closed.map(|closed| closed.number)
    }

    /// Last block that a peer has signed as closed.
    pub(super) fn closed_there(&self, peer: Peer) -> Option<u64> {
        let key = self.peers.get(peer)?.exchange.key;
        self.book.newest(&key)?.checkpoint.statement().closed.map(|closed| closed.number)
    }
}
