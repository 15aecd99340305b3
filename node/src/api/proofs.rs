//! Calls that make files for others: disclosures.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use qasedak_chain::{Transaction, TxId};

use super::{Answer, Refusal, ledger::read_id, mail::mail, types};
use crate::node::Node;

/// The transaction of an id with its body, from the log or the outbox.
async fn whole(node: &Node, id: TxId) -> Result<Transaction, Refusal> {
    let found = node
        .with_ledger(move |ledger| ledger.position(&id)?.map_or(Ok(None), |position| ledger.transaction(position)))
        .await
        .map_err(Refusal::internal)?;
    if let Some(transaction) = found {
        return Ok(transaction);
    }
    let kept = node.outbox().await.map_err(Refusal::internal)?;
    kept.into_iter().find(|kept| kept.id() == id).ok_or_else(|| super::ledger::not_here(&id))
}

pub(super) async fn disclosure(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer<types::Made> {
    let id = read_id(&id)?;
    let mail = mail(&node)?;
    let transaction = whole(&node, id).await?;
    let proof = None;
    let proven = proof.is_some();
    let file = mail.disclose(transaction, proof).await?;
    Ok(Json(types::Made { file, proven }))
}
