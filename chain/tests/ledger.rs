//! The ledger over the store in memory: what depends on the set alone, and what on the order of arrival (DESIGN §2, §6);
//! what a crash keeps; what is refused (DESIGN §4). The frontier has a file of its own, `frontier.rs`.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use qasedak_chain::{
    Depth, Ledger, Network, Position, Time, Transaction, TxId, block,
    digest::SetDigest,
    ledger::{AppendError, OrderKey, Refusal},
    merkle,
    rules::{self, FUTURE_BODY_SECS, RuleError},
    store::{Batch, Change, CommitPoint, Store, StoreError, Tree, memory::MemoryStore},
    time::{RELEASE_SECS, own_clock},
    transaction::{Kind, Transaction as Tx},
};

#[path = "support/pool.rs"]
mod pool;

use pool::{POOL_LEN, TAGS, after_pool, make, pool, topological, verified};

type MemoryLedger = Ledger<MemoryStore>;

fn dev() -> Network {
    Network::dev()
}

fn empty() -> MemoryLedger {
    Ledger::open(dev(), MemoryStore::new()).unwrap()
}

fn append(ledger: &mut MemoryLedger, transaction: &Transaction, now: Time) -> Position {
    let verified = verified(&ledger.network().clone(), transaction);
    ledger.append(verified, now, false).unwrap()
}

fn append_all(ledger: &mut MemoryLedger, order: &[Transaction]) {
    for transaction in order {
        append(ledger, transaction, after_pool());
    }
}

fn refusal(ledger: &mut MemoryLedger, transaction: &Transaction, now: Time) -> Refusal {
    let verified = verified(&ledger.network().clone(), transaction);
    match ledger.append(verified, now, false).unwrap_err() {
        AppendError::Refused(refusal) => refusal,
        AppendError::Store(error) => panic!("{error}"),
    }
}

/// A ledger that took `order` in, flushing after every `flush_every`th.
fn filled(order: &[Transaction], flush_every: usize) -> MemoryLedger {
    let mut ledger = empty();
    for (n, transaction) in order.iter().enumerate() {
        append(&mut ledger, transaction, after_pool());
        if (n + 1) % flush_every == 0 {
            ledger.flush_now(after_pool()).unwrap();
        }
    }
    ledger
}

/// Everything that must be the same on two nodes that hold the same set.
fn of_the_set(ledger: &mut MemoryLedger) -> impl PartialEq + std::fmt::Debug + use<> {
    let order = ledger.in_order(Time::default(), Time::from_secs(u64::MAX), None, usize::MAX).unwrap();
    let newest = ledger.newest_block(after_pool()).unwrap();
    let blocks = ledger.blocks(0, usize::MAX).unwrap();
    (ledger.summary().count, ledger.summary().digest, newest, blocks, ledger.days(0, usize::MAX).unwrap(), order)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Same set, any order, any rhythm of flushes: same digest, blocks, chain, days and canonical order. Another
    /// order: another link and root, since these are of one node's log.
    #[test]
    fn what_depends_on_the_set_alone_is_the_same_for_any_order(
        priorities in prop::collection::vec(any::<u64>(), POOL_LEN),
        flush_every in 1usize..100,
    ) {
        let order = topological(pool(), &priorities);
        let (mut first, mut second) = (filled(pool(), 7), filled(&order, flush_every));
        prop_assert_eq!(of_the_set(&mut first), of_the_set(&mut second));
        let (a, b) = (first.summary(), second.summary());
        let same = order.iter().map(Tx::id).eq(pool().iter().map(Tx::id));
        prop_assert_eq!(same, a.link == b.link);
        prop_assert_eq!(same, a.root == b.root);
    }

    /// After a crash a node stands where its last finished flush stood, whatever it had staged or begun to flush.
    #[test]
    fn a_crash_keeps_exactly_what_was_flushed(
        priorities in prop::collection::vec(any::<u64>(), POOL_LEN),
        flushed in 0usize..40,
        staged in 0usize..40,
        flush_begun in any::<bool>(),
    ) {
        let order = topological(pool(), &priorities);
        let mut ledger = filled(&order[..flushed], usize::MAX);
        ledger.flush_now(after_pool()).unwrap();
        append_all(&mut ledger, &order[flushed..flushed + staged]);
        // Blocks asked for in between are index changes too, and are as lost.
        ledger.blocks(0, usize::MAX).unwrap();
        if flush_begun && let Some(flush) = ledger.flush(after_pool()).unwrap() {
            flush.run().unwrap();
        }
        let mut survivor = Ledger::open(dev(), ledger.store().crashed()).unwrap();
        let mut expected = filled(&order[..flushed], usize::MAX);
        prop_assert_eq!(survivor.summary(), expected.summary());
        prop_assert_eq!(of_the_set(&mut survivor), of_the_set(&mut expected));
        // It goes on from there as if nothing had happened.
        append_all(&mut survivor, &order[flushed..]);
        prop_assert_eq!(survivor.summary(), filled(&order, 9).summary());
    }

    /// A ledger whose index is lost, or says what the log does not, derives the same again.
    #[test]
    fn the_index_can_be_derived_anew(len in 0usize..POOL_LEN, damage in 0usize..3) {
        let mut ledger = filled(&pool()[..len], 11);
        ledger.flush_now(after_pool()).unwrap();
        let mut store = ledger.store().crashed();
        match damage {
            0 => store.reset_trees().unwrap(),
            1 => stage_state(&mut store, None),
            _ => stage_state(&mut store, Some(vec![0; 2_088])),
        }
        let mut again = Ledger::open(dev(), store).unwrap();
        prop_assert_eq!(again.summary(), ledger.summary());
        prop_assert_eq!(of_the_set(&mut again), of_the_set(&mut ledger));
    }
}

fn stage_state(store: &mut MemoryStore, value: Option<Vec<u8>>) {
    let change = Change { tree: Tree::State, key: b"state".to_vec(), value, fresh: false };
    store.stage(Batch::of_changes(vec![change])).unwrap();
}

/// Blocks, chain, root and digest against the definitions of DESIGN §3, computed from the ids alone.
#[test]
fn derived_values_are_those_of_the_definitions() {
    let mut ledger = filled(pool(), usize::MAX);
    let id = dev().ledger();
    let ids: Vec<TxId> = pool().iter().map(Tx::id).collect();
    assert_eq!(ledger.summary().root, merkle::root(id, &ids), "over the log, in log order");
    let mut hours: BTreeMap<u64, Vec<TxId>> = BTreeMap::new();
    pool().iter().for_each(|tx| hours.entry(tx.core().time().hour()).or_default().push(tx.id()));
    let mut chain = block::first_previous(id);
    let mut expected = Vec::new();
    for (hour, ids) in hours {
        let block = block::chained(id, chain, hour, block::contents(id, ids));
        chain = block.chain;
        expected.push(block);
    }
    assert_eq!(ledger.blocks(0, usize::MAX).unwrap(), expected);
    assert_eq!(ledger.newest_block(after_pool()).unwrap(), expected.last().copied());
    let middle = expected[20];
    assert_eq!(ledger.block(middle.number).unwrap(), Some(middle));
    assert_eq!(ledger.last_block_before(middle.number).unwrap(), Some(expected[19]));
    assert_eq!(ledger.newest_block(Time::from_secs(middle.number * 3_600)).unwrap(), Some(middle), "by the own clock");
    assert_eq!(ledger.block(expected[0].number - 1).unwrap(), None, "an empty hour has no block");
}

#[test]
fn days_add_up_to_the_whole() {
    let ledger = filled(pool(), 13);
    let days = ledger.days(0, usize::MAX).unwrap();
    assert!(days.len() >= 3);
    assert_eq!(days.iter().map(|day| day.count).sum::<u64>(), POOL_LEN as u64);
    let mut whole = SetDigest::new(dev().ledger());
    for day in &days {
        let ids = ledger.day_order(day.day, None, usize::MAX).unwrap();
        assert_eq!(ids.len() as u64, day.count);
        let mut sum = SetDigest::new(dev().ledger());
        ids.iter().for_each(|key| {
            sum.add(&key.id);
            whole.add(&key.id);
        });
        assert_eq!(sum.digest(), day.digest, "day {}", day.day);
    }
    assert_eq!(whole.digest(), ledger.summary().digest);
    assert_eq!(ledger.days(days[1].day, 1).unwrap(), days[1..2], "from a day on, no more than asked for");
}

/// A transaction that comes late changes its own block's contents and every later block's chain, and no other root.
#[test]
fn a_late_transaction_changes_the_chain_from_its_hour_on() {
    let mut ledger = filled(pool(), 5);
    let before = ledger.blocks(0, usize::MAX).unwrap();
    let place = &pool()[30];
    append(&mut ledger, &make(&dev(), 1_001, &[dev().genesis()], place.core().time().secs()), after_pool());
    let after = ledger.blocks(0, usize::MAX).unwrap();
    assert_eq!(before.len(), after.len());
    for (old, new) in before.iter().zip(&after) {
        let hour = place.core().time().hour();
        assert_eq!(old.chain == new.chain, new.number < hour, "hour {}", new.number);
        assert_eq!(old.root == new.root, new.number != hour, "hour {}", new.number);
        assert_eq!(new.count, old.count + u64::from(new.number == hour));
    }
}

#[test]
fn canonical_order_is_topological_and_comes_in_pages() {
    let ledger = filled(&topological(pool(), &[9, 2, 7, 4]), usize::MAX);
    let all = ledger.in_order(Time::default(), Time::from_secs(u64::MAX), None, usize::MAX).unwrap();
    assert_eq!(all.len(), POOL_LEN);
    assert!(all.is_sorted());
    let place: BTreeMap<TxId, usize> = all.iter().enumerate().map(|(n, key)| (key.id, n)).collect();
    for transaction in pool() {
        for parent in transaction.core().parents().iter().filter(|id| **id != dev().genesis()) {
            assert!(place[parent] < place[&transaction.id()], "a child stands before its parent");
        }
    }
    let mut paged: Vec<OrderKey> = Vec::new();
    loop {
        let page = ledger.in_order(Time::default(), Time::from_secs(u64::MAX), paged.last().copied(), 7).unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

#[test]
fn depth_is_one_more_than_the_deepest_parents() {
    let ledger = filled(pool(), usize::MAX);
    let mut depths = BTreeMap::from([(dev().genesis(), 0)]);
    for (n, transaction) in pool().iter().enumerate() {
        let expected = 1 + transaction.core().parents().iter().map(|id| depths[id]).max().unwrap();
        depths.insert(transaction.id(), expected);
        let record = ledger.record(Position::new(n as u64)).unwrap().unwrap();
        assert_eq!((record.depth, record.id), (Depth::new(expected), transaction.id()));
    }
}

#[test]
fn what_was_appended_is_read_back() {
    let ledger = filled(pool(), 10);
    for (n, transaction) in pool().iter().enumerate() {
        let at = ledger.position(&transaction.id()).unwrap().unwrap();
        assert_eq!(at, Position::new(n as u64));
        assert_eq!(ledger.transaction(at).unwrap().as_ref(), Some(transaction));
        assert_eq!(ledger.record(at).unwrap().unwrap().arrival, after_pool());
    }
    let end = Position::new(POOL_LEN as u64);
    assert_eq!((ledger.record(end).unwrap(), ledger.transaction(end).unwrap()), (None, None));
    assert_eq!(ledger.position(&dev().genesis()).unwrap(), None, "genesis is in no log");
    for tag in TAGS {
        let expected: Vec<Position> = (0..POOL_LEN as u64)
            .filter(|n| pool()[*n as usize].core().kind() == Kind::Tagged && pool()[*n as usize].core().hint() == &tag)
            .map(Position::new)
            .collect();
        assert!(expected.len() > 5);
        assert_eq!(ledger.tagged(&tag, usize::MAX).unwrap(), expected);
        assert_eq!(ledger.tagged(&tag, 3).unwrap(), expected[..3]);
    }
    assert!(ledger.tagged(pool()[1].core().hint(), 9).unwrap().is_empty(), "a sealed hint is no tag");
    let column = ledger.scan(Position::new(3), 5).unwrap();
    let hints: Vec<[u8; 16]> = pool()[3..8].iter().map(|tx| *tx.core().hint()).collect();
    assert_eq!(column.iter().map(|entry| entry.hint).collect::<Vec<_>>(), hints);
    assert!(column.iter().all(|entry| entry.has_body));
}

#[test]
fn a_transaction_is_taken_once() {
    let mut ledger = filled(&pool()[..4], 1);
    let before = ledger.summary();
    assert_eq!(refusal(&mut ledger, &pool()[2], after_pool()), Refusal::Known);
    assert_eq!(ledger.summary(), before);
}

#[test]
fn unknown_parents_are_named_and_leave_no_trace() {
    let mut ledger = empty();
    let orphan = &pool()[20];
    let expected: BTreeSet<TxId> = orphan.core().parents().iter().copied().collect();
    let Refusal::UnknownParents(missing) = refusal(&mut ledger, orphan, after_pool()) else {
        panic!("not refused for its parents");
    };
    assert_eq!(missing.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(ledger.summary(), empty().summary());
    assert_eq!(ledger.blocks(0, 9).unwrap(), []);
    assert!(ledger.flush(after_pool()).unwrap().is_none(), "nothing to make durable");
}

#[test]
fn a_time_before_a_parents_is_refused() {
    let mut ledger = filled(&pool()[..10], 1);
    let parent = &pool()[9];
    let early = make(&dev(), 2_001, &[parent.id(), pool()[0].id()], parent.core().time().secs() - 60);
    assert_eq!(refusal(&mut ledger, &early, after_pool()), Refusal::Rule(RuleError::TimeBeforeParent));
    append(&mut ledger, &make(&dev(), 2_002, &[parent.id()], parent.core().time().secs()), after_pool());
}

#[test]
fn a_body_is_demanded_until_its_lifetime_ends() {
    let transaction = &pool()[0];
    let bare = Tx::new(&dev(), transaction.header().clone(), None).unwrap();
    let expires = transaction.core().expires();
    let just_before = Time::from_secs(expires.secs() - 1);
    assert_eq!(refusal(&mut empty(), &bare, just_before), Refusal::BodyMissing);
    append(&mut empty(), &bare, expires);
    // Dated far ahead it may come bare, since others may not have kept the body that long.
    let far = transaction.core().time().plus(30 * 86_400);
    let ahead = make(&dev(), 3_001, &[dev().genesis()], far.secs());
    let bare = Tx::new(&dev(), ahead.header().clone(), None).unwrap();
    let at_48_h = Time::from_secs(far.secs() - FUTURE_BODY_SECS);
    assert_eq!(refusal(&mut empty(), &bare, at_48_h), Refusal::BodyMissing);
    let mut ledger = empty();
    let position = append(&mut ledger, &bare, Time::from_secs(at_48_h.secs() - 1));
    assert!(!ledger.scan(position, 1).unwrap()[0].has_body);
    assert_eq!(ledger.transaction(position).unwrap(), Some(bare));
}

#[test]
fn the_own_clock_never_runs_back() {
    let mut ledger = empty();
    let release = Time::from_secs(RELEASE_SECS);
    assert_eq!(ledger.clock(Time::default()), release);
    let moment = after_pool().plus(1_000);
    append(&mut ledger, &pool()[0], moment);
    ledger.flush_now(moment).unwrap();
    assert_eq!(ledger.clock(Time::default()), moment, "the system clock was set back");
    assert_eq!(ledger.clock(moment.plus(5)), moment.plus(5));
    let reopened = Ledger::open(dev(), ledger.store().crashed()).unwrap();
    assert_eq!(reopened.clock(Time::default()), moment, "the last commit keeps it over a restart");
    assert_eq!(own_clock(moment, release), moment);
    // A flush under a clock that was set back does not set the commit back either.
    append(&mut ledger, &pool()[1], moment);
    ledger.flush_now(Time::default()).unwrap();
    assert_eq!(ledger.store().last_commit().map(|point: CommitPoint| point.time), Some(moment));
}

/// While flushes fail nothing new is taken in, all that is here stays readable, and the next flush that succeeds makes
/// all of it durable.
#[test]
fn after_a_failed_flush_the_next_one_tries_again() {
    let mut ledger = filled(&pool()[..5], 5);
    append(&mut ledger, &pool()[5], after_pool());
    for _ in 0..2 {
        assert!(ledger.flush(after_pool()).unwrap().is_some());
        ledger.flushed(false);
        let refused = ledger.append(verified(&dev(), &pool()[6]), after_pool(), false);
        assert!(matches!(refused, Err(AppendError::Store(StoreError::Failing { .. }))));
        assert_eq!(ledger.position(&pool()[5].id()).unwrap(), Some(Position::new(5)));
        let survivor = Ledger::open(dev(), ledger.store().crashed()).unwrap();
        assert_eq!(survivor.summary(), filled(&pool()[..5], 5).summary());
    }
    ledger.flush_now(after_pool()).unwrap();
    append(&mut ledger, &pool()[6], after_pool());
    let mut survivor = Ledger::open(dev(), ledger.store().crashed()).unwrap();
    assert_eq!(of_the_set(&mut survivor), of_the_set(&mut filled(&pool()[..6], 5)));
}

/// A day without transactions is a fault in an answer to a peer: it would cost this node its peers.
#[test]
fn a_day_that_took_nothing_in_is_not_listed() {
    let mut ledger = empty();
    append(&mut ledger, &pool()[0], after_pool());
    assert!(ledger.flush(after_pool()).unwrap().is_some());
    ledger.flushed(false);
    let days = ledger.days(0, usize::MAX).unwrap();
    let elsewhere = make(&dev(), 3_100, &[dev().genesis()], after_pool().plus(9 * 86_400).secs());
    let refused = ledger.append(verified(&dev(), &elsewhere), after_pool(), false);
    assert!(matches!(refused, Err(AppendError::Store(StoreError::Failing { .. }))));
    assert_eq!(ledger.days(0, usize::MAX).unwrap(), days);
    ledger.flush_now(after_pool()).unwrap();
    assert_eq!(ledger.days(0, usize::MAX).unwrap(), days);
}

/// What was appended while a flush was under way is not part of it.
#[test]
fn appends_beside_a_flush_belong_to_the_next() {
    let mut ledger = filled(&pool()[..3], usize::MAX);
    let flush = ledger.flush(after_pool()).unwrap().unwrap();
    append(&mut ledger, &pool()[3], after_pool());
    flush.run().unwrap();
    ledger.flushed(true);
    let survivor = Ledger::open(dev(), ledger.store().crashed()).unwrap();
    assert_eq!(survivor.summary(), filled(&pool()[..3], usize::MAX).summary());
    ledger.flush_now(after_pool()).unwrap();
    let mut survivor = Ledger::open(dev(), ledger.store().crashed()).unwrap();
    assert_eq!(of_the_set(&mut survivor), of_the_set(&mut filled(&pool()[..4], usize::MAX)));
}

/// Genesis is a parent of the first transactions of its own network only.
#[test]
fn another_networks_transactions_do_not_fit() {
    let other = Network::named("other").unwrap();
    let foreign = make(&other, 1, &[other.genesis()], other.start().secs());
    assert!(Tx::from_bytes(&dev(), &foreign.to_bytes()).is_err(), "its body hash is another here");
    let bare = Tx::new(&dev(), foreign.header().clone(), None).unwrap();
    assert!(rules::verify(&dev(), bare).is_err(), "neither signature nor stamp hold here");
}
