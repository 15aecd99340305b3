//! Calls for auditors that need the network: what a peer and this node differ in, and what peers have signed.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
};
use qasedak_chain::{
    Time,
    book::{Book, Kept},
    checkpoint::SignedCheckpoint,
};
use qasedak_p2p::{
    driver::peer_id_of,
    engine::comparison::{
        CompareError,
        report::{BlockDifference, Side},
    },
};

use serde::Deserialize;

use super::{Answer, Refusal, ledger::block_number, types};
use crate::node::Node;

impl From<CompareError> for Refusal {
    fn from(error: CompareError) -> Self {
        match error {
            CompareError::Store(_) => Self::internal(error),
            CompareError::Ambiguous => Self::usage(error),
            _ => Self::unable(error),
        }
    }
}

/// Where a comparison begins.
#[derive(Deserialize)]
pub(super) struct Beginning {
    from: Option<String>,
}

pub(super) async fn compare(
    State(node): State<Arc<Node>>,
    Path(peer): Path<String>,
    Query(begin): Query<Beginning>,
) -> Answer<types::Comparison> {
    let from = begin.from.as_deref().map_or(Ok(0), block_number)?;
    let found = node.p2p().compare(&peer, from).await.map_err(Refusal::internal)??;
    let report = found.report;
    Ok(Json(types::Comparison {
        peer: found.peer,
        equal: report.equal,
        count_here: report.count_here,
        count_there: report.count_there,
        closed_here: report.closed_here,
        closed_there: report.closed_there,
        blocks: report.blocks.iter().map(shown_block).collect(),
        beyond: report.beyond,
        next: report.next,
    }))
}

fn shown_block(block: &BlockDifference) -> types::BlockDifference {
    types::BlockDifference {
        number: block.number,
        only_here: shown_side(&block.only_here),
        only_there: shown_side(&block.only_there),
    }
}

fn shown_side(side: &Side) -> types::Side {
    types::Side { count: side.count, late: side.late, ids: side.ids.iter().map(ToString::to_string).collect() }
}

/// Which checkpoints are asked for.
#[derive(Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    all: bool,
}

pub(super) async fn checkpoints(
    State(node): State<Arc<Node>>,
    Query(which): Query<Which>,
) -> Answer<types::CheckpointLog> {
    let book = node.p2p().book().await.map_err(Refusal::internal)?;
    Ok(Json(shown_book(&book, which.all)))
}

/// A book as the API and `audit log` show it: with the newest checkpoint of each log, or `all` that are kept.
pub fn shown_book(book: &Book, all: bool) -> types::CheckpointLog {
    let contradictions = book.evidence().map(|evidence| types::Contradiction {
        peer: peer_id_of(evidence.signer()),
        reason: evidence.reason.to_string(),
        convinces: evidence.reason.is_evidence(),
        first: shown(&evidence.first, evidence.received),
        second: shown(&evidence.second, evidence.received),
    });
    let kept = |kept: &Kept| shown(&kept.checkpoint, kept.received);
    let mut received: Vec<types::Checkpoint> =
        if all { book.of_peers().map(kept).collect() } else { book.newest_of_all().map(kept).collect() };
    received.sort_by(|a, b| b.received.cmp(&a.received).then_with(|| a.peer.cmp(&b.peer)));
    let mut own_kept: Vec<types::Checkpoint> = if all { book.own_ones().map(kept).collect() } else { Vec::new() };
    own_kept.reverse();
    types::CheckpointLog { contradictions: contradictions.collect(), received, own: book.own().map(kept), own_kept }
}

fn shown(checkpoint: &SignedCheckpoint, received: Time) -> types::Checkpoint {
    let statement = checkpoint.statement();
    types::Checkpoint {
        peer: peer_id_of(checkpoint.signer()),
        log: hex::encode(statement.log),
        transactions: statement.count,
        closed: statement.closed.map(|closed| closed.number),
        link: statement.link.to_string(),
        root: statement.root.to_string(),
        digest: statement.digest.to_string(),
        time: statement.time.secs(),
        received: received.secs(),
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use qasedak_chain::{
        Digest, Link, Network, Root,
        book::Entry,
        checkpoint::{Checkpoint, Statement},
    };

    use super::*;

    /// The `count`th checkpoint of a peer.
    fn kept(peer: u8, count: u64) -> Kept {
        let (network, key) = (Network::dev(), SigningKey::from_bytes(&[peer; 32]));
        let time = network.start().plus(60 * count);
        let bytes = [count as u8; 32];
        let (link, root, digest) = (Link::from_bytes(bytes), Root::from_bytes(bytes), Digest::from_bytes(bytes));
        let statement = Statement { log: [peer; 16], count, link, root, digest, closed: None, time };
        let unsigned = Checkpoint::new(&network, statement).unwrap();
        let signed = unsigned.sign(&network, key.verifying_key().to_bytes(), |message| key.sign(message).to_bytes());
        Kept { checkpoint: signed.unwrap(), received: time }
    }

    #[test]
    fn all_that_are_kept_are_shown_when_they_are_asked_for() {
        let mut book = Book::new();
        for count in 1..=4 {
            book.insert(Entry::Own(kept(1, count)));
            book.insert(Entry::Peer(kept(2, count)));
        }
        book.insert(Entry::Peer(kept(3, 9)));
        let counts = |shown: &[types::Checkpoint]| shown.iter().map(|one| one.transactions).collect::<Vec<_>>();
        let newest = shown_book(&book, false);
        assert_eq!((counts(&newest.received), counts(&newest.own_kept)), (vec![9, 4], vec![]));
        let all = shown_book(&book, true);
        assert_eq!((counts(&all.received), counts(&all.own_kept)), (vec![9, 4, 3, 2, 1], vec![4, 3, 2, 1]));
        assert_eq!(newest.own.unwrap().transactions, 4);
    }
}
