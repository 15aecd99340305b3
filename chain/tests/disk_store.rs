//! The store on disk (`docs/storage.md`): it answers like the one in memory, keeps what was acknowledged whatever is
//! cut off or lost beside the log, and refuses what is not its own or is damaged.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{fs, path::Path};

use proptest::prelude::*;
use qasedak_chain::{
    Ledger, Network, Position, Time, Transaction, block,
    hash::{Context, hash_prefix},
    ledger::{AppendError, IndexCheck, Summary},
    store::{
        Body, Outbox, Store, StoreError,
        disk::{DiskOutbox, DiskStore},
        memory::MemoryStore,
    },
};
use rand::SeedableRng;

#[path = "support/disk.rs"]
mod disk;
#[path = "support/pool.rs"]
mod pool;

use disk::{LOG_ID, append, arrival, commit, copy_dir, dev, flip, open, open_small, small_store, try_open};
use pool::{TAGS, after_pool, pool, verified};

const FIRST_SEGMENT: &str = "headers/0000000000000000.seg";
const FIRST_OFFSETS: &str = "headers/0000000000000000.off";

/// Everything that a ledger answers from log and index.
#[derive(Debug, PartialEq)]
struct Answers {
    summary: Summary,
    blocks: Vec<block::Block>,
    days: Vec<qasedak_chain::ledger::DaySummary>,
    order: Vec<qasedak_chain::ledger::OrderKey>,
    tagged: Vec<Vec<Position>>,
    scan: Vec<qasedak_chain::store::ScanEntry>,
    transactions: Vec<Transaction>,
    parents: Vec<qasedak_chain::TxId>,
    frontier: usize,
}

fn answers<S: Store>(ledger: &mut Ledger<S>) -> Answers {
    let far = Time::from_secs(1 << 40);
    let mut rng = rand::rngs::StdRng::seed_from_u64(7);
    let count = ledger.summary().count;
    Answers {
        parents: ledger.draw_parents(after_pool(), &mut rng).unwrap(),
        frontier: ledger.frontier_len(),
        summary: ledger.summary(),
        blocks: ledger.blocks(0, usize::MAX).unwrap(),
        days: ledger.days(0, usize::MAX).unwrap(),
        order: ledger.in_order(Time::default(), far, None, usize::MAX).unwrap(),
        tagged: TAGS.iter().map(|tag| ledger.tagged(tag, usize::MAX).unwrap()).collect(),
        scan: ledger.scan(Position::new(0), usize::MAX).unwrap(),
        transactions: (0..count).map(|at| ledger.transaction(Position::new(at)).unwrap().unwrap()).collect(),
    }
}

fn but_parents(answers: Answers) -> Answers {
    Answers { parents: Vec::new(), ..answers }
}

/// A ledger in memory with the first `len` of the pool, all durable.
fn expected(len: usize) -> Answers {
    let mut ledger = Ledger::open(dev(), MemoryStore::new()).unwrap();
    for transaction in &pool()[..len] {
        ledger.append(verified(&dev(), transaction), arrival(transaction), false).unwrap();
    }
    ledger.flush_now(after_pool()).unwrap();
    answers(&mut ledger)
}

#[derive(Clone, Debug)]
enum Step {
    Append,
    Flush,
    /// A flush that runs on another thread while transactions are appended.
    FlushWhileAppending(u8),
    Settle,
    Blocks,
    /// The process dies: what was not flushed is gone.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Append),
        2 => Just(Step::Flush),
        2 => (1..4u8).prop_map(Step::FlushWhileAppending),
        1 => Just(Step::Settle),
        1 => Just(Step::Blocks),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..40)
}

fn append_next<S: Store>(ledger: &mut Ledger<S>) {
    if let Some(transaction) = pool().get(ledger.summary().count as usize) {
        ledger.append(verified(&dev(), transaction), arrival(transaction), false).unwrap();
    }
}

/// Takes a step; returns the point up to which the crash of it loses everything.
fn take<S: Store>(ledger: &mut Ledger<S>, step: &Step) {
    match step {
        Step::Append => append_next(ledger),
        Step::Flush => ledger.flush_now(after_pool()).unwrap(),
        Step::FlushWhileAppending(more) => {
            let flush = ledger.flush(after_pool()).unwrap();
            let thread = flush.map(|flush| std::thread::spawn(move || flush.run().unwrap()));
            (0..*more).for_each(|_| append_next(ledger));
            if let Some(thread) = thread {
                // Reads while the flush may still run see all of it, once.
                assert_eq!(ledger.scan(Position::new(0), usize::MAX).unwrap().len() as u64, ledger.summary().count);
                thread.join().unwrap();
                ledger.flushed(true);
            }
        }
        Step::Settle => ledger.settle(after_pool()).unwrap(),
        Step::Blocks => drop(ledger.blocks(0, usize::MAX).unwrap()),
        Step::Crash => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// After any steps, crashes among them, a ledger on disk answers like one in memory.
    #[test]
    fn disk_answers_like_memory(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut on_disk = open_small(dir.path());
        let mut in_memory = Ledger::open(dev(), MemoryStore::new()).unwrap();
        for step in &steps {
            take(&mut on_disk, step);
            take(&mut in_memory, step);
            if matches!(step, Step::Crash) {
                drop(on_disk);
                on_disk = open_small(dir.path());
                in_memory = Ledger::open(dev(), in_memory.store().crashed()).unwrap();
            }
            prop_assert_eq!(on_disk.summary(), in_memory.summary());
        }
        prop_assert_eq!(answers(&mut on_disk), answers(&mut in_memory));
    }
}

#[test]
fn a_reopened_ledger_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open_small(dir.path());
    (0..10).for_each(|batch| commit(&mut ledger, batch * 4..batch * 4 + 4));
    let before = answers(&mut ledger);
    assert_eq!(before, expected(40));
    let last_commit = ledger.store().last_commit();
    drop(ledger);
    assert!(fs::read_dir(dir.path().join("headers")).unwrap().count() > 4, "several segments");
    let mut ledger = open_small(dir.path());
    assert_eq!(ledger.store().last_commit(), last_commit);
    assert_eq!(ledger.store().log_id(), LOG_ID);
    assert_eq!(answers(&mut ledger), before);
}

#[test]
fn what_was_not_flushed_is_gone_and_the_rest_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    commit(&mut ledger, 0..6);
    pool()[6..9].iter().for_each(|transaction| append(&mut ledger, transaction));
    drop(ledger);
    let mut ledger = open(dir.path());
    assert_eq!(answers(&mut ledger), expected(6));
    // Bodies that were left behind are in nobody's way.
    commit(&mut ledger, 6..12);
    assert_eq!(answers(&mut ledger), expected(12));
}

/// Cuts the log at every byte of its last commit, as a death of the process in the middle of the write leaves it.
#[test]
fn a_torn_commit_is_cut_and_nothing_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, columns) = (dir.path().join(FIRST_SEGMENT), ["scan.col", FIRST_OFFSETS]);
    let mut ledger = open(dir.path());
    commit(&mut ledger, 0..4);
    drop(ledger);
    let committed = fs::read(&log).unwrap();
    let before = columns.map(|name| fs::read(dir.path().join(name)).unwrap());
    let saved = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), saved.path());
    let mut ledger = open(dir.path());
    commit(&mut ledger, 4..6);
    drop(ledger);
    let torn = fs::read(&log).unwrap();
    assert!(torn.starts_with(&committed) && torn.len() > committed.len() + 600);
    for len in committed.len()..torn.len() {
        let mut bytes = torn[..len].to_vec();
        fs::write(saved.path().join(FIRST_SEGMENT), &bytes).unwrap();
        let store = DiskStore::open(saved.path(), &dev(), [0; 16]).unwrap();
        assert_eq!(store.len(), 4, "cut at {len}");
        drop(store);
        assert_eq!(fs::read(saved.path().join(FIRST_SEGMENT)).unwrap(), committed);
        for (name, before) in columns.iter().zip(&before) {
            assert_eq!(&fs::read(saved.path().join(name)).unwrap(), before);
        }
        // With columns that tell of the commit it was acknowledged: nothing may be cut.
        if len % 40 == 0 {
            fs::write(&log, &bytes).unwrap();
            assert!(matches!(try_open(dir.path()), Err(StoreError::Damaged { .. })), "cut at {len}");
            bytes.truncate(len);
            assert_eq!(fs::read(&log).unwrap(), bytes);
        }
    }
    assert_eq!(answers(&mut open(saved.path())), expected(4));
}

#[test]
fn a_bad_record_before_a_commit_marker_is_damage_and_nothing_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    commit(&mut ledger, 0..3);
    commit(&mut ledger, 3..6);
    drop(ledger);
    let log = dir.path().join(FIRST_SEGMENT);
    let sound = fs::read(&log).unwrap();
    for offset in (0..sound.len() - 61).step_by(97) {
        flip(&log, offset, 0x10);
        let damaged = fs::read(&log).unwrap();
        match try_open(dir.path()) {
            Err(StoreError::Damaged { path, offset: found, .. }) => {
                assert_eq!(Path::new(&path), log);
                assert!(found <= offset as u64 && offset as u64 - found < 600, "{offset}: reported at {found}");
            }
            other => panic!("{offset}: {other:?}"),
        }
        assert_eq!(fs::read(&log).unwrap(), damaged);
        fs::write(&log, &sound).unwrap();
    }
    assert_eq!(answers(&mut open(dir.path())), expected(6));
}

#[test]
fn damage_in_an_earlier_segment_is_found_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open_small(dir.path());
    (0..4).for_each(|batch| commit(&mut ledger, batch * 5..batch * 5 + 5));
    drop(ledger);
    flip(&dir.path().join(FIRST_SEGMENT), 128 + 100, 1);
    let store = small_store(dir.path());
    assert!(matches!(store.record(Position::new(0)), Err(StoreError::Damaged { offset: 128, .. })));
    assert_eq!(store.record(Position::new(1)).unwrap().unwrap().id, pool()[1].id());
}

#[test]
fn a_segment_that_is_missing_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open_small(dir.path());
    (0..4).for_each(|batch| commit(&mut ledger, batch * 5..batch * 5 + 5));
    drop(ledger);
    let mut names: Vec<_> = fs::read_dir(dir.path().join("headers")).unwrap().map(|e| e.unwrap().path()).collect();
    names.retain(|name| name.extension().is_some_and(|ending| ending == "seg"));
    names.sort();
    for name in names {
        let bytes = fs::read(&name).unwrap();
        fs::remove_file(&name).unwrap();
        assert!(matches!(try_open(dir.path()), Err(StoreError::Damaged { .. })), "{}", name.display());
        fs::write(&name, bytes).unwrap();
    }
    assert_eq!(answers(&mut open(dir.path())), expected(20));
    fs::remove_dir_all(dir.path().join("headers")).unwrap();
    assert!(matches!(try_open(dir.path()), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_lost_or_damaged_index_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    commit(&mut ledger, 0..20);
    drop(ledger);
    let index = dir.path().join("index");
    fs::remove_dir_all(&index).unwrap();
    assert_eq!(answers(&mut open(dir.path())), expected(20));

    for name in ["db", "conf"] {
        let garbage: Vec<u8> = (0..3_000u32).map(|n| (n * 7 % 251) as u8).collect();
        fs::write(index.join(name), garbage).unwrap();
        assert_eq!(answers(&mut open(dir.path())), expected(20), "garbage in {name}");
    }
    assert!(dir.path().join("index.damaged-1").is_dir(), "set aside, not deleted");
    assert!(!dir.path().join("index.damaged-3").exists(), "and once for each damage");

    // An index that knows more than the log, or that belongs to another log, is not believed.
    let other = tempfile::tempdir().unwrap();
    let mut ledger = open(other.path());
    commit(&mut ledger, 0..5);
    drop(ledger);
    fs::remove_dir_all(other.path().join("index")).unwrap();
    copy_dir(&index, &other.path().join("index"));
    assert_eq!(answers(&mut open(other.path())), expected(5));
}

#[test]
fn lost_or_damaged_columns_are_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open_small(dir.path());
    (0..4).for_each(|batch| commit(&mut ledger, batch * 5..batch * 5 + 5));
    drop(ledger);
    for name in ["scan.col", FIRST_OFFSETS] {
        let path = dir.path().join(name);
        let sound = fs::read(&path).unwrap();
        for len in [0, 1, 127, 128, 129, 200, sound.len() - 1] {
            fs::write(&path, &sound[..len.min(sound.len())]).unwrap();
            assert_eq!(answers(&mut open(dir.path())), expected(20), "{name} cut to {len}");
            assert_eq!(fs::read(&path).unwrap(), sound, "{name} cut to {len}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(answers(&mut open(dir.path())), expected(20), "without {name}");
        assert_eq!(fs::read(&path).unwrap(), sound, "without {name}");
    }
    // An offset that leads to another record is noticed when it is used.
    let path = dir.path().join(FIRST_OFFSETS);
    let sound = fs::read(&path).unwrap();
    let mut swapped = sound.clone();
    swapped[128..136].rotate_left(4);
    fs::write(&path, swapped).unwrap();
    assert_eq!(answers(&mut open(dir.path())), expected(20));
    assert_eq!(fs::read(&path).unwrap(), sound);
}

#[test]
fn dropped_bodies_are_absent_and_headers_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    commit(&mut ledger, 0..pool().len());
    drop(ledger);
    let mut store = DiskStore::open(dir.path(), &dev(), LOG_ID).unwrap();
    let first_day = arrival(&pool()[0]).day() + 4;
    assert_eq!(store.drop_bodies_before(first_day).unwrap(), 0);
    assert!(matches!(store.body(Position::new(0)).unwrap(), Body::Present(_)));
    assert_eq!(store.drop_bodies_before(first_day + 1).unwrap(), 1);
    assert_eq!(store.drop_bodies_before(first_day + 1).unwrap(), 0);
    drop(store);
    let mut store = DiskStore::open(dir.path(), &dev(), LOG_ID).unwrap();
    assert_eq!(store.body(Position::new(0)).unwrap(), Body::Dropped { day: first_day, early: false });
    assert_eq!(store.record(Position::new(0)).unwrap().unwrap().id, pool()[0].id());
    let last = Position::new(store.len() - 1);
    assert_eq!(store.body(last).unwrap(), Body::Present(pool()[pool().len() - 1].body().unwrap().to_vec()));
    // Dropping everything takes the rest.
    assert!(store.drop_bodies_before(first_day + 100).unwrap() > 0);
    assert!(matches!(store.body(last).unwrap(), Body::Dropped { early: false, .. }));
}

/// A day that was dropped gets no new file, so that an old place never comes to mean a new body.
#[test]
fn a_body_of_a_dropped_day_is_kept_with_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    commit(&mut ledger, 0..2);
    drop(ledger);
    let mut store = DiskStore::open(dir.path(), &dev(), LOG_ID).unwrap();
    let day = arrival(&pool()[0]).day() + 4;
    store.drop_bodies_before(day + 1).unwrap();
    let mut ledger = Ledger::open(dev(), store).unwrap();
    commit(&mut ledger, 2..3);
    assert_eq!(ledger.store().body(Position::new(0)).unwrap(), Body::Dropped { day, early: false });
    assert!(matches!(ledger.store().body(Position::new(2)).unwrap(), Body::Present(_)));
    assert!(!dir.path().join(format!("bodies/{day}.seg")).exists());
}

#[test]
fn other_networks_newer_versions_and_second_openings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    commit(&mut ledger, 0..3);
    assert!(matches!(try_open(dir.path()), Err(StoreError::InUse { .. })));
    drop(ledger);
    let other = DiskStore::open(dir.path(), &Network::named("family").unwrap(), LOG_ID);
    assert!(matches!(other, Err(StoreError::Foreign { .. })));

    let log = dir.path().join(FIRST_SEGMENT);
    let sound = fs::read(&log).unwrap();
    let mut newer = sound.clone();
    newer[8] += 1;
    let check: [u8; 8] = hash_prefix(Context::Record, &[&newer[..120]]);
    newer[120..128].copy_from_slice(&check);
    fs::write(&log, &newer).unwrap();
    assert!(matches!(try_open(dir.path()), Err(StoreError::Foreign { what, .. }) if what.contains("newer")));
    assert_eq!(fs::read(&log).unwrap(), newer);
    fs::write(&log, sound).unwrap();
    assert_eq!(answers(&mut open(dir.path())), expected(3));
}

#[test]
fn after_a_failed_flush_reads_go_on_and_the_next_one_tries_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    commit(&mut ledger, 0..3);
    append(&mut ledger, &pool()[3]);
    // Dropped without having run: told as a success, it is none all the same.
    drop(ledger.flush(after_pool()).unwrap().unwrap());
    ledger.flushed(true);
    let refused = ledger.append(verified(&dev(), &pool()[4]), arrival(&pool()[4]), false);
    assert!(matches!(refused, Err(AppendError::Store(StoreError::Failing { .. }))), "{refused:?}");
    assert_eq!(but_parents(answers(&mut ledger)), but_parents(expected(4)), "what is here stays readable, bodies too");
    assert_eq!(answers(&mut ledger).parents, expected(3).parents, "what is not durable is no parent");
    drop(ledger);
    let mut ledger = open(dir.path());
    assert_eq!(answers(&mut ledger), expected(3));
    append(&mut ledger, &pool()[3]);
    drop(ledger.flush(after_pool()).unwrap().unwrap());
    ledger.flushed(false);
    ledger.flush_now(after_pool()).unwrap();
    append(&mut ledger, &pool()[4]);
    assert_eq!(but_parents(answers(&mut ledger)), but_parents(expected(5)));
    drop(ledger);
    assert_eq!(answers(&mut open(dir.path())), expected(4));
}

#[cfg(unix)]
/// The node ends, or dies, before the digests have been worked out: the next start has them from the log.
#[test]
fn digests_that_lag_behind_are_caught_up_with() {
    for (told, steps) in [(20, 0), (40, 0), (40, 1), (70, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = open_small(dir.path());
        for range in [0..told, told..75] {
            pool()[range].iter().for_each(|transaction| append(&mut ledger, transaction));
            let flush = ledger.flush(after_pool()).unwrap().unwrap();
            let result = flush.run();
            ledger.flushed(result.is_ok());
            for _ in 0..steps {
                ledger.upkeep().unwrap().run();
                ledger.upkept();
            }
        }
        assert_eq!(answers(&mut ledger), expected(75));
        assert_eq!(ledger.check_index(&mut |_| {}).unwrap(), IndexCheck::Agrees);
        let crashed = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), &crashed.path().join("copy"));
        drop(ledger);
        for path in [dir.path().to_owned(), crashed.path().join("copy")] {
            let mut ledger = open_small(&path);
            assert_eq!(ledger.check_index(&mut |_| {}).unwrap(), IndexCheck::Agrees);
            assert_eq!(answers(&mut ledger), expected(75), "{told}, {steps}");
            commit(&mut ledger, 75..80);
            assert_eq!(answers(&mut ledger), expected(80), "{told}, {steps}");
        }
    }
}

#[test]
fn nobody_else_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dev/ledger");
    let mut ledger = open(&root);
    commit(&mut ledger, 0..2);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for name in ["", "headers", "bodies", "index"] {
        assert_eq!(mode(&root.join(name)), 0o700, "{name}");
    }
    for name in ["lock", "scan.col", FIRST_SEGMENT, FIRST_OFFSETS] {
        assert_eq!(mode(&root.join(name)), 0o600, "{name}");
    }
    let used = ledger.disk();
    assert!(used.headers > 0 && used.bodies > 1_024 && used.scan == 128 + 2 * 64 && used.index > 0, "{used:?}");
}

#[test]
fn the_outbox_survives_and_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let outbox = DiskOutbox::open(&path, &dev()).unwrap();
    assert!(matches!(DiskOutbox::open(&path, &dev()), Err(StoreError::InUse { .. })));
    pool()[..5].iter().for_each(|transaction| outbox.put(transaction).unwrap());
    let mut kept = pool()[..5].to_vec();
    kept.sort_by_key(Transaction::id);
    assert_eq!(outbox.all().unwrap(), kept);
    drop(outbox);
    let outbox = DiskOutbox::open(&path, &dev()).unwrap();
    assert_eq!(outbox.all().unwrap(), kept);
    outbox.remove(&[kept[0].id(), kept[3].id()]).unwrap();
    outbox.put(&kept[1]).unwrap();
    drop(outbox);
    let outbox = DiskOutbox::open(&path, &dev()).unwrap();
    assert_eq!(outbox.all().unwrap(), [kept[1].clone(), kept[2].clone(), kept[4].clone()]);
    drop(outbox);
    let other = DiskOutbox::open(&path, &Network::named("family").unwrap());
    assert!(matches!(other, Err(StoreError::Foreign { .. })));
}
