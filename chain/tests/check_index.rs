//! The check of the index finds every kind of entry that does not follow from the log, and rebuilding mends it.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use qasedak_chain::{
    Ledger, Network, Position, Transaction, block,
    ledger::IndexCheck,
    store::{Batch, Change, Store, Tree, memory::MemoryStore},
};

#[path = "support/pool.rs"]
mod pool;

use pool::{after_pool, pool, verified};

const LEN: usize = 20;

/// Some transactions, with their blocks.
fn ledger() -> Ledger<MemoryStore> {
    let network = Network::dev();
    let mut ledger = Ledger::open(network.clone(), MemoryStore::new()).unwrap();
    for transaction in &pool()[..LEN] {
        ledger.append(verified(&network, transaction), after_pool(), false).unwrap();
    }
    ledger.flush_now(after_pool()).unwrap();
    ledger.blocks(0, usize::MAX).unwrap();
    ledger.flush_now(after_pool()).unwrap();
    ledger
}

/// The ledger's store after one change to its index.
fn changed(change: Change) -> Ledger<MemoryStore> {
    let mut store = ledger().store().crashed();
    store.stage(Batch::of_changes(vec![change])).unwrap();
    Ledger::open(Network::dev(), store).unwrap()
}

#[test]
fn an_index_that_follows_from_the_log_agrees() {
    let mut seen = Vec::new();
    assert_eq!(ledger().check_index(&mut |count| seen.push(count)).unwrap(), IndexCheck::Agrees);
    // Both passes tell how far they are.
    let len = LEN as u64;
    assert!(seen.is_sorted() && seen.contains(&len) && seen.last() == Some(&(2 * len)), "{seen:?}");
}

/// Blocks that are to be computed anew are no contradiction, wherever they stand.
#[test]
fn an_index_with_stale_blocks_agrees() {
    let network = Network::dev();
    let mut ledger = ledger();
    for transaction in &pool()[LEN..LEN + 40] {
        ledger.append(verified(&network, transaction), after_pool(), false).unwrap();
        assert_eq!(ledger.check_index(&mut |_| {}).unwrap(), IndexCheck::Agrees);
    }
    ledger.flush_now(after_pool()).unwrap();
    let reopened = Ledger::open(network, ledger.store().crashed()).unwrap();
    assert_eq!(reopened.check_index(&mut |_| {}).unwrap(), IndexCheck::Agrees);
}

/// The key of an hour's block.
fn hour(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// Wrong blocks: contents, chain, an hour without any transaction, a block or its mark that is missing, and one that was
/// computed before its last transaction came and is not marked.
fn wrong_blocks(store: &MemoryStore) -> Vec<Change> {
    let blocks = store.range(Tree::Blocks, &[], &[0xff; 9], usize::MAX).unwrap();
    assert!(blocks.len() > 3 && blocks.iter().all(|(_, value)| value.len() == 72));
    let mut changes = Vec::new();
    // count, root, chain.
    for at in [7, 20, 50] {
        let (key, mut value) = blocks[1].clone();
        value[at] ^= 1;
        changes.push(Change::put(Tree::Blocks, key, value));
    }
    let (last, whole) = blocks.last().unwrap().clone();
    changes.extend([blocks[0].0.clone(), last.clone()].map(|key| Change::remove(Tree::Blocks, key)));
    let hours: Vec<u64> = blocks.iter().map(|(key, _)| u64::from_be_bytes(key[..].try_into().unwrap())).collect();
    let between = (hours[0] + 1..).find(|free| !hours.contains(free)).unwrap();
    let behind = hours.last().unwrap() + 1;
    for free in [0, between, behind] {
        changes.push(Change::put(Tree::Blocks, hour(free), whole.clone()));
        changes.push(Change::put(Tree::Blocks, hour(free), Vec::new()));
    }
    let ledger_id = Network::dev().ledger();
    let ids: Vec<_> = pool()[..LEN].iter().filter(|t| hour(t.core().time().hour()) == last).map(|t| t.id()).collect();
    let before = block::contents(ledger_id, ids[..ids.len() - 1].to_vec());
    let early = [&before.count.to_be_bytes()[..], before.root.as_bytes(), &whole[40..]].concat();
    changes.push(Change::put(Tree::Blocks, last, early));
    changes
}

/// Wrong tips: one too few, one too many, one of another time; one that waits and does not exist; one that is held back
/// and does not exist.
fn wrong_tips(store: &MemoryStore) -> Vec<Change> {
    let mut pages = store.range(Tree::Frontier, &[0], &[1], usize::MAX).unwrap();
    let (key, value) = pages.remove(0);
    assert!(pages.is_empty() && value.len() >= 40 && value.len() % 40 == 0, "{value:?}");
    let is_tip = |transaction: &Transaction| value.chunks(40).any(|tip| tip[..32] == *transaction.id().as_bytes());
    let covered = pool()[..LEN].iter().find(|transaction| !is_tip(transaction)).unwrap().id();
    let tip = pool()[..LEN].iter().position(is_tip).unwrap() as u64;
    let one_more = [&value[..], covered.as_bytes(), &value[32..40]].concat();
    let mut other_time = value.clone();
    other_time[39] ^= 1;
    let one_less = value[40..].to_vec();
    let mut changes: Vec<Change> =
        [one_more, other_time, one_less].map(|value| Change::put(Tree::Frontier, key.clone(), value)).into();
    changes.push(Change::remove(Tree::Frontier, key));
    // Settled long ago, so it is due when it came.
    let due = after_pool().secs().to_be_bytes();
    for position in [LEN as u64, tip] {
        let waits = [&[1], &due[..], &position.to_be_bytes()].concat();
        changes.push(Change::put(Tree::Frontier, waits, Vec::new()));
    }
    let stranger = [&[2], &pool()[LEN].id().as_bytes()[..]].concat();
    changes.push(Change::put(Tree::Frontier, stranger, Vec::new()));
    changes
}

#[test]
fn every_kind_of_wrong_entry_is_found_and_rebuilding_mends_it() {
    let id = pool()[3].id();
    let day = pool()[3].core().time().day();
    let store = ledger().store().crashed();
    let (days, mut digests) = store.range(Tree::Days, &day.to_be_bytes(), &[0xff; 9], 1).unwrap().remove(0);
    digests[10] ^= 1;
    let days = [
        Change::put(Tree::Days, days.clone(), digests),
        Change::remove(Tree::Days, days),
        Change::put(Tree::Days, 7u64.to_be_bytes().to_vec(), vec![0; 40]),
    ];
    for change in days.into_iter().chain(wrong_blocks(&store)).chain(wrong_tips(&store)) {
        let damaged = changed(change.clone());
        let found = damaged.check_index(&mut |_| {}).unwrap();
        assert!(matches!(found, IndexCheck::Contradicts(_)), "{change:?}");
        let mended = Ledger::rebuild_index(Network::dev(), damaged.store().clone()).unwrap();
        assert_eq!(mended.check_index(&mut |_| {}).unwrap(), IndexCheck::Agrees, "{change:?}");
        assert_eq!(mended.summary(), ledger().summary());
        assert_eq!(mended.position(&id).unwrap(), Some(Position::new(3)));
    }
}
