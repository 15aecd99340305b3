//! The check of the index finds every kind of entry that does not follow from the log, and rebuilding mends it.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use qasedak_chain::{
    Ledger, Network, Position,
    ledger::IndexCheck,
    store::{Batch, Change, Store, Tree, memory::MemoryStore},
};

#[path = "support/pool.rs"]
mod pool;

use pool::{after_pool, pool, verified};

const LEN: usize = 20;

fn ledger() -> Ledger<MemoryStore> {
    let network = Network::dev();
    let mut ledger = Ledger::open(network.clone(), MemoryStore::new()).unwrap();
    for transaction in &pool()[..LEN] {
        ledger.append(verified(&network, transaction), after_pool(), false).unwrap();
    }
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
    let mut seen = 0;
    assert_eq!(ledger().check_index(&mut |count| seen = count).unwrap(), IndexCheck::Agrees);
    assert_eq!(seen, LEN as u64);
}

#[test]
fn every_kind_of_wrong_entry_is_found_and_rebuilding_mends_it() {
    let id = pool()[3].id();
    let day = pool()[3].core().time().day();
    let store = ledger().store().crashed();
    let (days, mut digests) = store.range(Tree::Days, &day.to_be_bytes(), &[0xff; 9], 1).unwrap().remove(0);
    digests[10] ^= 1;
    let changes = [
        Change::put(Tree::Days, days.clone(), digests),
        Change::remove(Tree::Days, days),
        Change::put(Tree::Days, 7u64.to_be_bytes().to_vec(), vec![0; 40]),
    ];
    for change in changes {
        let damaged = changed(change.clone());
        let found = damaged.check_index(&mut |_| {}).unwrap();
        assert!(matches!(found, IndexCheck::Contradicts(_)), "{change:?}");
        let mended = Ledger::rebuild_index(Network::dev(), damaged.store().clone()).unwrap();
        assert_eq!(mended.check_index(&mut |_| {}).unwrap(), IndexCheck::Agrees, "{change:?}");
        assert_eq!(mended.summary(), ledger().summary());
        assert_eq!(mended.position(&id).unwrap(), Some(Position::new(3)));
    }
}
