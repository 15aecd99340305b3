//! Calls that make files for others: proofs and disclosures.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use qasedak_chain::{
    Transaction, TxId,
    ledger::{ProveError, Proved, Witnesses},
    proof::CHECKPOINTS_MAX,
};

use super::{
    Answer, Refusal,
    ledger::{block_number, not_here, read_id},
    mail::mail,
    types,
};
use crate::node::{DiskLedger, Node, now};

/// Most checkpoints of peers that are tried, the newest first: each costs a few look-ups under the ledger's lock.
const TRIED_MAX: usize = 4 * CHECKPOINTS_MAX;

impl From<ProveError> for Refusal {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::Store(_) => Self::internal(error),
            _ => Self::unable(error),
        }
    }
}

/// Own checkpoints by the peer key of now, then those of peers, newest first; and how many more are kept than are tried.
async fn witnesses(node: &Node) -> Result<(Witnesses, u64), Refusal> {
    let book = node.p2p().book().await.map_err(Refusal::internal)?;
    let own = book.own().map(|kept| *kept.checkpoint.signer());
    // Those of an earlier peer key of this node would pass for a peer's.
    let own_ones = book.own_ones().filter(|kept| Some(kept.checkpoint.signer()) == own.as_ref()).copied();
    let mut of_peers: Vec<_> = book.of_peers().copied().collect();
    of_peers.sort_by_key(|kept| std::cmp::Reverse(kept.received));
    let untried = of_peers.len().saturating_sub(TRIED_MAX) as u64;
    of_peers.truncate(TRIED_MAX);
    let mut checkpoints: Vec<_> = own_ones.map(|kept| kept.checkpoint).collect();
    checkpoints.reverse();
    checkpoints.extend(of_peers.iter().map(|kept| kept.checkpoint));
    Ok((Witnesses { own, checkpoints }, untried))
}

/// Has the ledger make a proof file.
async fn prove(
    node: &Node,
    make: impl FnOnce(&mut DiskLedger, &Witnesses) -> Result<Proved, ProveError> + Send + 'static,
) -> Result<Result<types::Made, ProveError>, Refusal> {
    let (witnesses, untried) = witnesses(node).await?;
    let made = node.with_ledger(move |ledger| Ok(make(ledger, &witnesses))).await.map_err(Refusal::internal)?;
    Ok(made.map(|Proved { file, left_out }| types::Made {
        // It is JSON, hence text.
        file: String::from_utf8_lossy(&file).into_owned(),
        proven: true,
        left_out: left_out.saturating_add(untried),
    }))
}

async fn prove_inclusion(node: &Node, id: TxId) -> Result<Result<types::Made, ProveError>, Refusal> {
    prove(node, move |ledger, witnesses| ledger.prove(&id, witnesses, now())).await
}

pub(super) async fn proof(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer<types::Made> {
    Ok(Json(prove_inclusion(&node, read_id(&id)?).await??))
}

pub(super) async fn absence(
    State(node): State<Arc<Node>>,
    Path((which, id)): Path<(String, String)>,
) -> Answer<types::Made> {
    let (number, id) = (block_number(&which)?, read_id(&id)?);
    if in_outbox(&node, id).await?.is_some() {
        return Err(Refusal::unable(format!(
            "transaction {id} is in this node's outbox, on its way into the ledger, so no absence of it is proven"
        )));
    }
    Ok(Json(prove(&node, move |ledger, witnesses| ledger.prove_absent(&id, number, witnesses, now())).await??))
}

async fn in_outbox(node: &Node, id: TxId) -> Result<Option<Transaction>, Refusal> {
    let kept = node.outbox().await.map_err(Refusal::internal)?;
    Ok(kept.into_iter().find(|kept| kept.id() == id))
}

/// The transaction of an id with its body, from the log or the outbox.
async fn whole(node: &Node, id: TxId) -> Result<Transaction, Refusal> {
    let found = node
        .with_ledger(move |ledger| ledger.position(&id)?.map_or(Ok(None), |position| ledger.transaction(position)))
        .await
        .map_err(Refusal::internal)?;
    match found {
        Some(transaction) => Ok(transaction),
        None => in_outbox(node, id).await?.ok_or_else(|| not_here(&id)),
    }
}

pub(super) async fn disclosure(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer<types::Made> {
    let id = read_id(&id)?;
    let mail = mail(&node)?;
    let transaction = whole(&node, id).await?;
    // What cannot be proven yet can be disclosed all the same: the file then says so.
    let proof = match prove_inclusion(&node, id).await? {
        Err(error @ ProveError::Store(_)) => return Err(error.into()),
        made => made.ok(),
    };
    let (proven, left_out) = (proof.is_some(), proof.as_ref().map_or(0, |made| made.left_out));
    let file = mail.disclose(transaction, proof.map(|mut made| std::mem::take(&mut made.file))).await?;
    Ok(Json(types::Made { file, proven, left_out }))
}
