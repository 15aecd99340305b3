//! Calls that read the ledger and the network: status, peers, blocks, transactions.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use qasedak_chain::{
    Ledger, Position, Time, TxId, block,
    ledger::Retained,
    retention::Keep,
    store::{Body, DiskUse, Record, Store, StoreError},
    time::{DAY_SECS, HOUR_SECS},
    transaction::{Header, Kind},
};

use super::{Answer, Refusal, types};
use crate::node::{DiskBeside, Node, now};

/// Most ids that a block is shown with.
const BLOCK_IDS_MAX: usize = 10_000;

pub(super) async fn status(State(node): State<Arc<Node>>) -> Answer<types::Status> {
    let engine = node.p2p().status().await.map_err(Refusal::internal)?;
    let listen = node.p2p().listen_addresses();
    let outbox = node.outbox_bytes();
    let beside = node.disk_beside().await.map_err(Refusal::internal)?;
    let (summary, newest, frontier, disk, retained) = node
        .with_ledger(|ledger| {
            // Keeps what the frontier gained; a disk that fails is told of below, and shows all the same.
            drop(ledger.settle(now()));
            let newest = ledger.newest_block(ledger.clock(now()))?;
            Ok((ledger.summary(), newest, ledger.frontier_len(), ledger.disk(), ledger.retained(now())))
        })
        .await
        .map_err(Refusal::internal)?;
    let (keys_locked, key_warnings) = match node.mail() {
        Some(mail) => (Some(mail.keys_locked().await?), Some(mail.key_warnings().await?)),
        None => (None, None),
    };
    Ok(Json(types::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        network: node.network().name().to_owned(),
        transactions: summary.count,
        digest: summary.digest.to_string(),
        root: summary.root.to_string(),
        link: summary.link.to_string(),
        newest_block: newest.map(|block| shown_block(&block, None)),
        frontier,
        outbox: engine.outbox,
        peers: engine.peers.len(),
        waiting: engine.waiting,
        bodies_wanted: engine.repair.wanted,
        bodies_repaired: engine.repair.repaired,
        syncing: engine.syncing.is_some(),
        sync: engine.syncing.map(|sync| types::Sync { peers: sync.peers, gained: sync.gained, left: sync.left }),
        scanning: node
            .mail()
            .and_then(|mail| mail.scanning())
            .map(|scan| types::Scanning { done: scan.done, total: scan.total }),
        intake: types::Intake {
            daily_bytes: engine.budget.daily_bytes,
            waiting: engine.budget.waiting,
            waiting_bytes: engine.budget.waiting_bytes,
        },
        address: node.mail().map(|mail| mail.address().to_string()),
        keys_locked,
        key_warnings,
        listen: listen.iter().map(ToString::to_string).collect(),
        disk: shown_disk(&disk, outbox, &beside),
        retention: shown_retention(retained),
        disk_failing: node
            .p2p()
            .disk_trouble()
            .map(|trouble| types::DiskFailing { since: trouble.since.secs(), reason: trouble.reason }),
    }))
}

fn shown_disk(disk: &DiskUse, outbox: u64, beside: &DiskBeside) -> types::Disk {
    let DiskBeside { checkpoints, wallet, all } = *beside;
    let DiskUse { headers, bodies, scan, index } = *disk;
    let named = [headers, bodies, scan, index, outbox, checkpoints, wallet].into_iter().fold(0, u64::saturating_add);
    // What grew between the two looks is not counted as something else.
    let other = all.saturating_sub(named);
    types::Disk { headers, bodies, scan, index, outbox, checkpoints, wallet, other }
}

fn shown_retention(retained: Retained) -> types::Retention {
    let start = |day: u64| day.saturating_mul(DAY_SECS);
    types::Retention {
        archive: retained.keep == Keep::Archive,
        budget: match retained.keep {
            Keep::Budget(bytes) => Some(bytes),
            Keep::UntilTheirDay | Keep::Archive => None,
        },
        next: retained.next.map(|(day, bytes)| types::NextDrop { day: start(day), bytes }),
        next_early: retained.next_early.map(|(part, left)| types::NextEarly {
            day: start(part.day),
            part: part.nth,
            bytes: part.bytes,
            left,
        }),
        early_until: retained.early_until.map(start),
    }
}

pub(super) async fn peers(State(node): State<Arc<Node>>) -> Answer<Vec<types::Peer>> {
    let peers = node.p2p().peers().await.map_err(Refusal::internal)?;
    let shown = peers.into_iter().map(|peer| types::Peer {
        id: peer.id,
        address: peer.address.to_string(),
        transport: peer.transport.to_string(),
        direction: if peer.inbound { "in" } else { "out" }.to_owned(),
        since: peer.since.secs(),
    });
    Ok(Json(shown.collect()))
}

pub(super) async fn refused(State(node): State<Arc<Node>>) -> Answer<Vec<types::RefusedPeer>> {
    let peers = node.p2p().refused_peers().await.map_err(Refusal::internal)?;
    let shown = peers.into_iter().map(|peer| types::RefusedPeer {
        id: peer.id,
        reason: peer.reason,
        since: peer.since.secs(),
        until: peer.until.secs(),
    });
    Ok(Json(shown.collect()))
}

pub(super) async fn block(State(node): State<Arc<Node>>, Path(which): Path<String>) -> Answer<types::Block> {
    let number = if which == "newest" { None } else { Some(block_number(&which)?) };
    let found = node
        .with_ledger(move |ledger| {
            let block = match number {
                Some(number) => ledger.block(number)?,
                None => ledger.newest_block(ledger.clock(now()))?,
            };
            block.map(|block| Ok((block, ledger.block_ids(block.number)?))).transpose()
        })
        .await
        .map_err(Refusal::internal)?;
    let (block, ids) = found.ok_or_else(|| match number {
        Some(number) => {
            Refusal::unable(format!("block {number} is empty on this node: no transaction lies in that hour"))
        }
        None => Refusal::unable("the ledger is empty: there is no block yet; send a message, or wait for a peer"),
    })?;
    let ids = ids.iter().take(BLOCK_IDS_MAX).map(ToString::to_string).collect();
    Ok(Json(shown_block(&block, Some(ids))))
}

/// A block's number, or its hour as YYYY-MM-DDTHH.
pub(super) fn block_number(text: &str) -> Result<u64, Refusal> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let wrong = || Refusal::usage(format!("{text:?} is no block; give its number, or its hour like 2026-11-22T14"));
    let (date, hour) = text.split_once('T').ok_or_else(wrong)?;
    let hour: u64 =
        hour.trim_end_matches('Z').split(':').next().and_then(|hour| hour.parse().ok()).ok_or_else(wrong)?;
    let parts: Vec<u64> = date.split('-').filter_map(|part| part.parse().ok()).collect();
    let [year, month, day] = parts.try_into().map_err(|_| wrong())?;
    let day = qasedak_chain::time::day_of_date(year, month, day).ok_or_else(wrong)?;
    if hour < 24 { Ok(day.saturating_mul(24).saturating_add(hour)) } else { Err(wrong()) }
}

fn shown_block(block: &block::Block, transactions: Option<Vec<String>>) -> types::Block {
    let state = match (block.has_begun(now()), block.is_closed(now())) {
        (false, _) => "future",
        (true, true) => "closed",
        (true, false) => "open",
    };
    types::Block {
        number: block.number,
        start: block.number.saturating_mul(HOUR_SECS),
        count: block.count,
        root: block.root.to_string(),
        chain: block.chain.to_string(),
        state: state.to_owned(),
        transactions,
    }
}

pub(super) async fn transaction(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer<types::Transaction> {
    let id = read_id(&id)?;
    let found = node.with_ledger(move |ledger| find(ledger, &id)).await.map_err(Refusal::internal)?;
    let network = node.network();
    if let Some((position, record, body)) = found {
        let body = match body {
            Body::Present(_) => "present",
            Body::Dropped { day, early: true } if day > now().day() => "dropped early",
            Body::Dropped { .. } => "expired",
            Body::Absent if now() >= record.header.core().expires() => "expired",
            Body::Absent => "missing",
            Body::Damaged(_) => "damaged",
        };
        let mut shown = shown_header(network, &record.header, "ledger", body);
        shown.position = Some(position.get());
        shown.depth = Some(record.depth.get());
        shown.arrival = Some(record.arrival.secs());
        return Ok(Json(shown));
    }
    let waiting = node.outbox().await.map_err(Refusal::internal)?.into_iter().find(|kept| kept.id() == id);
    match waiting {
        Some(kept) => Ok(Json(shown_header(network, kept.header(), "outbox", "present"))),
        None => Err(not_here(&id)),
    }
}

pub(super) fn read_id(id: &str) -> Result<TxId, Refusal> {
    id.parse().map_err(|error| Refusal::usage(format!("{id:?} is no transaction id: {error}")))
}

pub(super) fn not_here(id: &TxId) -> Refusal {
    Refusal::unable(format!(
        "transaction {id} is not here; check the id, or wait until this node has caught up with its peers"
    ))
}

fn find<S: Store>(ledger: &Ledger<S>, id: &TxId) -> Result<Option<(Position, Record, Body)>, StoreError> {
    let Some(position) = ledger.position(id)? else {
        return Ok(None);
    };
    let body = ledger.store().body(position)?;
    Ok(ledger.record(position)?.map(|record| (position, record, body)))
}

fn shown_header(network: &qasedak_chain::Network, header: &Header, place: &str, body: &str) -> types::Transaction {
    let core = header.core();
    let time: Time = core.time();
    types::Transaction {
        id: header.id(network).to_string(),
        place: place.to_owned(),
        position: None,
        depth: None,
        arrival: None,
        block: time.hour(),
        time: time.secs(),
        lifetime: core.lifetime_secs(),
        kind: match core.kind() {
            Kind::Sealed => "sealed",
            Kind::Tagged => "tagged",
        }
        .to_owned(),
        hint: hex::encode(core.hint()),
        author: hex::encode(core.author()),
        parents: core.parents().iter().map(ToString::to_string).collect(),
        body_hash: hex::encode(core.body_hash()),
        body_len: core.body_len(),
        body: body.to_owned(),
        work: header.stamp().work(&header.signed().challenge(network)).get(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_named_by_number_or_hour() {
        assert_eq!(block_number("498775").ok(), Some(498_775));
        assert_eq!(block_number("1970-01-02T03").ok(), Some(27));
        assert_eq!(block_number("2026-11-01T00:00Z").ok(), Some(1_793_491_200 / 3_600));
        for bad in ["", "x", "2026-13-01T00", "2026-11-01T24", "2026-02-30T01", "2026-11-01"] {
            assert!(block_number(bad).is_err(), "{bad}");
        }
    }
}
