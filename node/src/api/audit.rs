//! Calls for auditors that need the network: what a peer and this node differ in, and what peers have signed.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
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

use super::{Answer, Refusal, types};
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

pub(super) async fn compare(State(node): State<Arc<Node>>, Path(peer): Path<String>) -> Answer<types::Comparison> {
    let found = node.p2p().compare(&peer).await.map_err(Refusal::internal)??;
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

pub(super) async fn checkpoints(State(node): State<Arc<Node>>) -> Answer<types::CheckpointLog> {
    let book = node.p2p().book().await.map_err(Refusal::internal)?;
    Ok(Json(shown_book(&book)))
}

/// A book as the API and `audit log` show it.
pub fn shown_book(book: &Book) -> types::CheckpointLog {
    let contradictions = book.evidence().map(|evidence| types::Contradiction {
        peer: peer_id_of(evidence.signer()),
        reason: evidence.reason.to_string(),
        convinces: evidence.reason.is_evidence(),
        first: shown(&evidence.first, evidence.received),
        second: shown(&evidence.second, evidence.received),
    });
    let kept = |kept: &Kept| shown(&kept.checkpoint, kept.received);
    let mut received: Vec<types::Checkpoint> = book.newest_of_all().map(kept).collect();
    received.sort_by(|a, b| b.received.cmp(&a.received).then_with(|| a.peer.cmp(&b.peer)));
    types::CheckpointLog { contradictions: contradictions.collect(), received, own: book.own().map(kept) }
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
