//! The frontier and the drawing of parents (DESIGN §4): settled transactions without settled children, against a model
//! that computes them from the definition.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use qasedak_chain::{Ledger, Network, Time, Transaction, TxId, ledger::AppendError, store::memory::MemoryStore};
use rand::{SeedableRng, rngs::StdRng};

#[path = "support/pool.rs"]
mod pool;

use pool::{POOL_LEN, after_pool, make, pool, topological, verified};

type MemoryLedger = Ledger<MemoryStore>;

fn open(network: Network) -> MemoryLedger {
    Ledger::open(network, MemoryStore::new()).unwrap()
}

/// Durable at once: nothing else becomes a parent.
fn append(ledger: &mut MemoryLedger, transaction: &Transaction, now: Time, own: bool) {
    append_only(ledger, transaction, now, own);
    ledger.flush_now(now).unwrap();
}

fn append_only(ledger: &mut MemoryLedger, transaction: &Transaction, now: Time, own: bool) {
    let verified = verified(&ledger.network().clone(), transaction);
    ledger.append(verified, now, own).map_err(|error: AppendError| format!("{error:?}")).unwrap();
}

fn draw(ledger: &mut MemoryLedger, now: Time, seed: u64) -> Vec<TxId> {
    ledger.draw_parents(now, &mut StdRng::seed_from_u64(seed)).unwrap()
}

/// The whole frontier, by drawing until no draw brings anything new for long.
fn frontier(ledger: &mut MemoryLedger, now: Time) -> BTreeSet<TxId> {
    let mut all = BTreeSet::new();
    let mut seed = 0;
    while seed < 400 && (seed == 0 || all.len() < ledger.frontier_len()) {
        all.extend(draw(ledger, now, seed));
        seed += 1;
    }
    all
}

/// The definition: settled, and no child settled; genesis when there is none.
fn model(network: &Network, arrived: &[(Transaction, Time)], now: Time) -> BTreeSet<TxId> {
    let settled: Vec<&Transaction> = arrived
        .iter()
        .filter(|(tx, arrival)| tx.core().time() <= now && arrival.plus(network.settle_secs()) <= now)
        .map(|(tx, _)| tx)
        .collect();
    let covered: BTreeSet<&TxId> = settled.iter().flat_map(|tx| tx.core().parents()).collect();
    let tips: BTreeSet<TxId> = settled.iter().map(|tx| tx.id()).filter(|id| !covered.contains(id)).collect();
    if tips.is_empty() { BTreeSet::from([network.genesis()]) } else { tips }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// At any moment, whatever came in whatever order and was dated as it was, the frontier is that of the definition,
    /// so it never holds a parent of another settled transaction. A restart does not change it.
    #[test]
    fn the_frontier_is_what_the_definition_says(
        priorities in prop::collection::vec(any::<u64>(), POOL_LEN),
        len in 0usize..POOL_LEN,
        pause_secs in 0u64..4_000,
        look_every in 1usize..20,
    ) {
        let network = Network::dev();
        let mut ledger = open(network.clone());
        let mut arrived = Vec::new();
        let mut now = network.start();
        for (n, transaction) in topological(pool(), &priorities).into_iter().take(len).enumerate() {
            append(&mut ledger, &transaction, now, false);
            arrived.push((transaction, now));
            if n % look_every == 0 {
                prop_assert_eq!(frontier(&mut ledger, now), model(&network, &arrived, now));
            }
            now = now.plus(pause_secs);
        }
        ledger.flush_now(now).unwrap();
        let mut reopened = Ledger::open(network.clone(), ledger.store().crashed()).unwrap();
        for at in [now, now.plus(40_000), after_pool().max(now)] {
            let expected = model(&network, &arrived, at);
            prop_assert_eq!(frontier(&mut ledger, at), expected.clone());
            prop_assert_eq!(frontier(&mut reopened, at), expected);
        }
    }

    /// Whatever is appended, made durable or not and lost in a crash: all parents that were ever drawn are still there.
    #[test]
    fn no_crash_takes_a_parent_that_was_drawn(
        priorities in prop::collection::vec(any::<u64>(), POOL_LEN),
        flushes in prop::collection::vec(any::<bool>(), POOL_LEN),
        seed in any::<u64>(),
    ) {
        let network = Network::dev();
        let (genesis, now) = (network.genesis(), after_pool());
        let mut ledger = open(network.clone());
        let mut drawn = BTreeSet::new();
        for (transaction, flush) in topological(pool(), &priorities).into_iter().zip(flushes) {
            append_only(&mut ledger, &transaction, now, false);
            if flush {
                ledger.flush_now(now).unwrap();
            }
            drawn.extend(draw(&mut ledger, now, seed));
            let crashed = Ledger::open(network.clone(), ledger.store().crashed()).unwrap();
            for id in &drawn {
                prop_assert!(*id == genesis || crashed.position(id).unwrap().is_some(), "{} is gone", id);
            }
        }
        prop_assert!(drawn.iter().any(|id| *id != genesis), "something became durable and was drawn");
    }

    /// One to three ids, strictly ascending, all known and in the frontier: ready to stand in a core.
    #[test]
    fn drawn_parents_fit_into_a_core(len in 0usize..POOL_LEN, seed in any::<u64>()) {
        let network = Network::dev();
        let mut ledger = open(network.clone());
        pool()[..len].iter().for_each(|tx| append(&mut ledger, tx, after_pool(), false));
        let parents = draw(&mut ledger, after_pool(), seed);
        prop_assert!((1..=3).contains(&parents.len()));
        prop_assert!(parents.is_sorted_by(|a, b| a < b));
        let frontier = frontier(&mut ledger, after_pool());
        prop_assert!(parents.iter().all(|id| frontier.contains(id)));
        prop_assert_eq!(parents.len(), frontier.len().min(3));
    }
}

#[test]
fn genesis_is_the_parent_while_nothing_has_settled() {
    let mut ledger = open(Network::dev());
    assert_eq!(draw(&mut ledger, Time::default(), 1), [Network::dev().genesis()]);
    append(&mut ledger, &pool()[0], after_pool(), false);
    assert_eq!(draw(&mut ledger, after_pool(), 1), [pool()[0].id()], "and no longer");
}

/// What is not durable is stood in for by its nearest ancestor that is: it could be gone when its child is sent.
#[test]
fn what_is_not_durable_is_no_parent_yet() {
    let network = Network::dev();
    let (genesis, now) = (network.genesis(), network.start().plus(7_200));
    let mut ledger = open(network.clone());
    let first = make(&network, 9_101, &[genesis], now.secs() - 120);
    let second = make(&network, 9_102, &[first.id()], now.secs() - 60);
    let third = make(&network, 9_103, &[second.id()], now.secs());
    append_only(&mut ledger, &first, now, false);
    assert_eq!(draw(&mut ledger, now, 1), [genesis]);
    ledger.flush_now(now).unwrap();
    append_only(&mut ledger, &second, now, false);
    append_only(&mut ledger, &third, now, false);
    let mut rng = StdRng::seed_from_u64(1);
    let place = ledger.next_place(now, &mut rng).unwrap();
    assert_eq!(place, (vec![first.id()], now), "third is not durable, nor is second");
    ledger.flush_now(now).unwrap();
    assert_eq!(draw(&mut ledger, now, 1), [third.id()]);
}

/// Ten tips, 3,000 draws of three: each comes up near 900 times. The bounds are 6 standard deviations (25) wide.
#[test]
fn every_tip_is_drawn_alike() {
    let network = Network::dev();
    let mut ledger = open(network.clone());
    let start = network.start().secs();
    let tips: Vec<TxId> = (0..10)
        .map(|n| {
            let transaction = make(&network, 9_000 + n, &[network.genesis()], start);
            append(&mut ledger, &transaction, network.start(), false);
            transaction.id()
        })
        .collect();
    let draws: Vec<TxId> = (0..3_000).flat_map(|seed| draw(&mut ledger, network.start(), seed)).collect();
    assert_eq!(draws.len(), 9_000);
    for tip in tips {
        let times = draws.iter().filter(|id| **id == tip).count();
        assert!((750..=1_050).contains(&times), "drawn {times} times");
    }
}

#[test]
fn what_is_dated_ahead_is_kept_but_is_no_parent_yet() {
    let network = Network::dev();
    let mut ledger = open(network.clone());
    let now = network.start().plus(7_200);
    let ahead = make(&network, 4_001, &[network.genesis()], now.secs() + 600);
    append(&mut ledger, &ahead, now, false);
    assert!(ledger.position(&ahead.id()).unwrap().is_some());
    assert_eq!(ledger.summary().count, 1);
    assert_eq!(draw(&mut ledger, now, 1), [network.genesis()], "no one can push a sender's time forward");
    assert_eq!(draw(&mut ledger, now.plus(599), 1), [network.genesis()]);
    assert_eq!(draw(&mut ledger, now.plus(600), 1), [ahead.id()]);
    let hours_ahead = make(&network, 4_002, &[ahead.id()], now.secs() + 86_400);
    append(&mut ledger, &hours_ahead, now.plus(600), false);
    let newest = ledger.newest_block(now.plus(600)).unwrap().unwrap();
    assert_eq!(newest.number, ahead.core().time().hour(), "a block of a future hour is not the newest");
    let future = ledger.block(hours_ahead.core().time().hour()).unwrap().unwrap();
    assert!(!future.has_begun(now.plus(600)) && future.has_begun(hours_ahead.core().time()));
}

/// A system clock that was set back between parent and child must not put the parent back into the frontier.
#[test]
fn a_clock_set_back_brings_no_covered_parent_back() {
    let network = Network::dev();
    let mut ledger = open(network.clone());
    let start = network.start();
    let parent = make(&network, 5_001, &[network.genesis()], start.secs());
    let child = make(&network, 5_002, &[parent.id()], start.secs());
    append(&mut ledger, &parent, start.plus(5_000), false);
    append(&mut ledger, &child, start.plus(100), false);
    for at in [100, 4_999, 5_000, 9_000] {
        let frontier = frontier(&mut ledger, start.plus(at));
        let both = frontier.contains(&parent.id()) && frontier.contains(&child.id());
        assert!(!both, "{at} s after the start the parent of a settled tip is a tip");
    }
    assert_eq!(frontier(&mut ledger, start.plus(9_000)), BTreeSet::from([child.id()]));
}

/// `main` with its ten minutes, over a chain of three: two of this node, one of another.
struct Main {
    network: Network,
    start: Time,
    first: Transaction,
    second: Transaction,
}

fn main_pair() -> Main {
    let network = Network::main();
    let start = network.start().plus(3_600);
    let first = make(&network, 6_001, &[network.genesis()], start.secs());
    let second = make(&network, 6_002, &[first.id()], start.secs());
    Main { network, start, first, second }
}

#[test]
fn on_main_settling_takes_ten_minutes_and_two_peers_for_ones_own() {
    let Main { network, start, first, second } = main_pair();
    let genesis = vec![network.genesis()];

    let mut stranger = open(network.clone());
    append(&mut stranger, &first, start, false);
    assert_eq!(draw(&mut stranger, start.plus(599), 1), genesis);
    assert_eq!(draw(&mut stranger, start.plus(600), 1), [first.id()]);

    let mut told_late = open(network.clone());
    append(&mut told_late, &first, start, true);
    assert_eq!(draw(&mut told_late, start.plus(86_400), 1), genesis, "no peer is known to hold it");
    told_late.known_to_be_held(&first.id(), start.plus(86_400)).unwrap();
    assert_eq!(draw(&mut told_late, start.plus(86_400), 1), [first.id()]);

    let mut told_early = open(network.clone());
    append(&mut told_early, &first, start, true);
    told_early.known_to_be_held(&first.id(), start.plus(10)).unwrap();
    assert_eq!(draw(&mut told_early, start.plus(599), 1), genesis, "held by others, but only just");
    assert_eq!(draw(&mut told_early, start.plus(600), 1), [first.id()]);

    // A stranger's child proves that the world has its parent.
    let mut covered = open(network.clone());
    append(&mut covered, &first, start, true);
    append(&mut covered, &second, start.plus(60), false);
    assert_eq!(draw(&mut covered, start.plus(700), 1), [second.id()]);
    covered.known_to_be_held(&first.id(), start.plus(700)).unwrap();
    assert_eq!(draw(&mut covered, start.plus(700), 1), [second.id()], "a covered parent does not come back");
}

/// One's own transaction that is held back is not settled, so what it names is still uncovered.
#[test]
fn on_main_an_own_transaction_covers_its_parents_only_once_it_is_held() {
    let Main { network, start, first, second } = main_pair();
    let mut ledger = open(network);
    append(&mut ledger, &first, start, false);
    append(&mut ledger, &second, start.plus(60), true);
    assert_eq!(draw(&mut ledger, start.plus(10_000), 1), [first.id()]);
    ledger.known_to_be_held(&second.id(), start.plus(10_000)).unwrap();
    assert_eq!(draw(&mut ledger, start.plus(10_000), 1), [second.id()]);
}

/// A restart forgets no one's doubts: an own transaction that no peer is known to hold is still no parent.
#[test]
fn on_main_an_own_transaction_is_held_back_over_a_restart() {
    let Main { network, start, first, .. } = main_pair();
    let mut ledger = open(network.clone());
    append(&mut ledger, &first, start, true);
    ledger.flush_now(start).unwrap();
    let mut reopened = Ledger::open(network.clone(), ledger.store().crashed()).unwrap();
    assert_eq!(draw(&mut reopened, start.plus(10_000), 1), [network.genesis()]);
}
