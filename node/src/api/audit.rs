//! Calls for auditors that need the network: what a peer and this node differ in.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use qasedak_p2p::engine::comparison::{
    CompareError,
    report::{BlockDifference, Side},
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
