//! What the store on disk indexes by itself (`docs/storage.md`, "Runs" and "Tree"): equal to what follows from the log,
//! whatever became of its files.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use qasedak_chain::{
    Depth, Ledger, Position, Time, TxId,
    ledger::IndexCheck,
    merkle,
    rules::Verified,
    store::{
        OrderKey, Record, Store, Upkeep,
        disk::{
            DiskOptions, DiskStore,
            faults::{Faults, Kind as Failure},
        },
        memory::MemoryStore,
    },
    transaction::{Header, Kind},
};

#[path = "support/disk.rs"]
mod disk;
#[path = "support/pool.rs"]
mod pool;
#[path = "support/store.rs"]
mod store;

use disk::{LOG_ID, SMALL, dev, flip, open_small, small_store};
use pool::{TAGS, after_pool, pool};
use store::{flush, flush_alone, record, stage};

/// All that the store answers about records by itself is what follows from the records.
fn agree(store: &impl Store, records: &[Record]) {
    assert_eq!(store.len(), records.len() as u64);
    let mut order = BTreeMap::new();
    let mut tags: BTreeMap<[u8; 16], Vec<Position>> = BTreeMap::new();
    for (at, record) in (0..).map(Position::new).zip(records) {
        let found = store.find(&record.id).unwrap().unwrap();
        assert_eq!((found.position, found.depth), (at, record.depth));
        order.insert(OrderKey::of(record), at);
        let core = record.header.core();
        if core.kind() == Kind::Tagged {
            tags.entry(*core.hint()).or_default().push(at);
        }
    }
    let order: Vec<(OrderKey, Position)> = order.into_iter().collect();
    let (start, far) = (Time::default(), Time::from_secs(1 << 40));
    assert_eq!(store.in_order(start, far, None, usize::MAX).unwrap(), order);
    assert_eq!(store.places(start, far, None, usize::MAX).unwrap(), order);
    for (nth, (key, _)) in order.iter().enumerate().step_by(5) {
        let page: Vec<_> = order.iter().copied().skip(nth + 1).take(3).collect();
        assert_eq!(store.in_order(start, far, Some(*key), 3).unwrap(), page);
        assert_eq!(store.places(start, far, Some(*key), 3).unwrap(), page);
        let (from, to) = (key.time, key.time.plus(7_200));
        let hours: Vec<_> = order.iter().copied().filter(|(key, _)| from <= key.time && key.time < to).collect();
        assert_eq!(store.in_order(from, to, None, usize::MAX).unwrap(), hours);
    }
    for tag in TAGS {
        let expected = tags.remove(&tag).unwrap_or_default();
        assert_eq!(store.tagged(&tag, Position::new(0), usize::MAX).unwrap(), expected);
        assert_eq!(store.tagged(&tag, Position::new(0), 2).unwrap(), expected[..expected.len().min(2)]);
        let half = expected.get(expected.len() / 2).copied().unwrap_or_default();
        assert_eq!(store.tagged(&tag, half, usize::MAX).unwrap(), expected[expected.len() / 2..]);
    }
    for unknown in 4..24u8 {
        assert!(store.find(&TxId::from_bytes([unknown; 32])).unwrap().is_none());
    }
    for level in 0..=records.len().checked_ilog2().unwrap_or(0) {
        for (index, ids) in records.chunks_exact(1 << level).enumerate() {
            let root = merkle::root(dev().ledger(), ids.iter().map(|record| &record.id));
            assert_eq!(&store.node(dev().ledger(), level, index as u64).unwrap(), root.as_bytes(), "{level}, {index}");
        }
    }
    assert!(store.node(dev().ledger(), 0, records.len() as u64).is_err());
    assert_eq!(store.ids_at(&[Position::new(records.len() as u64)]).unwrap(), None);
    let all: Vec<Record> = store.records(Position::new(0), usize::MAX).unwrap();
    assert_eq!(all, records);
    let hour = |nth: u64| Time::from_secs(dev().start().secs() + nth * 3_600);
    for nth in 0..4 {
        let mut found = store.ids_between(hour(nth), hour(nth + 1)).unwrap();
        let in_it =
            |(_, record): &(Position, &Record)| (hour(nth)..hour(nth + 1)).contains(&record.header.core().time());
        let placed = (0..).map(Position::new).zip(records);
        let mut expected: Vec<(TxId, Position)> = placed.filter(in_it).map(|(at, record)| (record.id, at)).collect();
        let (ids, positions): (Vec<TxId>, Vec<Position>) = expected.iter().rev().copied().unzip();
        assert_eq!(store.ids_at(&positions).unwrap(), Some(ids), "hour {nth}");
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "hour {nth}");
    }
}

/// Few in CI; as many as `CASES` says on demand.
fn cases() -> u32 {
    std::env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24)
}

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Flush,
    /// A step of upkeep is taken and done; what else comes before it has ended comes while it is under way.
    Upkeep,
    EndUpkeep,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => any::<u64>().prop_map(Step::Append),
        2 => Just(Step::Flush),
        4 => Just(Step::Upkeep),
        4 => Just(Step::EndUpkeep),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..500)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// However records, flushes, steps of upkeep and deaths of the process come, the answers are those of the records that
    /// are there.
    #[test]
    fn answers_follow_from_the_records(steps in steps(), memtable_records in 1usize..9) {
        let dir = tempfile::tempdir().unwrap();
        let options = DiskOptions { memtable_records, segment_bytes: 4_000, ..SMALL };
        let open = || DiskStore::open_with(dir.path(), &dev(), LOG_ID, options, &mut |_, _| {}).unwrap();
        let (mut store, mut records, mut durable) = (open(), Vec::new(), 0);
        for (nth, step) in steps.iter().enumerate() {
            match step {
                Step::Append(seed) => {
                    records.push(record(nth as u64, *seed));
                    stage(&mut store, records.last().unwrap().clone());
                }
                Step::Flush => {
                    flush_alone(&mut store);
                    durable = records.len();
                }
                Step::Upkeep => store.upkeep().into_iter().for_each(Upkeep::run),
                Step::EndUpkeep => store.upkept(),
                Step::Reopen => {
                    drop(store);
                    records.truncate(durable);
                    store = open();
                }
            }
        }
        agree(&store, &records);
        drop(store);
        records.truncate(durable);
        agree(&open(), &records);
    }

    /// A byte that changes, or a cut, in any file but the log's own: noticed, and what is asked is answered rightly; the
    /// next opening too, and nothing is asked of a person.
    #[test]
    fn damage_beside_the_log_is_never_a_wrong_answer(
        file in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), mask in 1u8..=255, cut in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let records = filled(dir.path(), 75);
        let files = derived_files(dir.path());
        let path = file.get(&files);
        let bytes = fs::read(path).unwrap();
        let at = place.index(bytes.len());
        if cut { fs::write(path, &bytes[..at]).unwrap() } else { flip(path, at, mask) }
        agree(&small_store(dir.path()), &records);
        let mut store = small_store(dir.path());
        agree(&store, &records);
        // What was answered for by the log is made anew with the next flush.
        flush(&mut store);
        agree(&store, &records);
    }
}

/// A store with so many records, and its records.
fn filled(dir: &Path, count: u64) -> Vec<Record> {
    let mut store = small_store(dir);
    let records: Vec<Record> = (0..count).map(|nth| record(nth, nth.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    for (nth, record) in records.iter().enumerate() {
        stage(&mut store, record.clone());
        if nth % 4 == 3 {
            flush(&mut store);
        }
    }
    flush(&mut store);
    records
}

/// Runs, tree, scan column and offsets.
fn derived_files(dir: &Path) -> Vec<PathBuf> {
    let under = |name: &str| fs::read_dir(dir.join(name)).unwrap().map(|entry| entry.unwrap().path());
    let offsets = under("headers").filter(|path| path.extension().is_some_and(|ending| ending == "off"));
    let mut files: Vec<PathBuf> = under("runs").chain(offsets).collect();
    files.extend([dir.join("tree.col"), dir.join("scan.col")]);
    files.sort();
    files
}

#[test]
fn runs_stay_few_and_a_lost_one_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let records = filled(dir.path(), 500);
    let runs = || -> BTreeSet<PathBuf> {
        fs::read_dir(dir.path().join("runs")).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let before = runs();
    assert!((2..=12).contains(&before.len()), "{before:?}");
    for lost in &before {
        fs::remove_file(lost).unwrap();
        agree(&small_store(dir.path()), &records);
        assert!(runs().len() <= 16, "{:?}", runs());
    }
    fs::remove_dir_all(dir.path().join("runs")).unwrap();
    agree(&small_store(dir.path()), &records);
    // A run that an interrupted merge left behind is of no use, and removed.
    let whole = runs();
    let (first, copy) = (whole.first().unwrap(), dir.path().join("runs/0000000000000000-0000000000000001.run"));
    fs::copy(first, &copy).unwrap();
    agree(&small_store(dir.path()), &records);
    assert!(!copy.exists());
}

/// A log that is at rest has its runs merged further: of 255 tables, which would be twelve runs, there are eight.
#[test]
fn at_rest_even_fewer_runs_are_left() {
    let dir = tempfile::tempdir().unwrap();
    let records = filled(dir.path(), 765);
    let mut store = small_store(dir.path());
    // Who was just opened does not know yet.
    flush(&mut store);
    flush(&mut store);
    assert!(fs::read_dir(dir.path().join("runs")).unwrap().count() <= 8);
    agree(&store, &records);
    assert_eq!(store.notices(), []);
}

/// Where records come so fast that with each merge that ends another table waits, the longer runs are merged too.
#[test]
fn runs_stay_few_when_upkeep_is_always_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = small_store(dir.path());
    for nth in 0..300 {
        stage(&mut store, record(nth, nth));
        if nth % 3 == 2 {
            flush_alone(&mut store);
            for _ in 0..3 {
                if let Some(step) = store.upkeep() {
                    step.run();
                    store.upkept();
                }
            }
        }
    }
    let runs = fs::read_dir(dir.path().join("runs")).unwrap().count();
    assert!(runs <= 12, "{runs} runs of 100 tables");
}

/// A run is made of records whose offsets are written: a disk that did not take them for a while leaves nothing that passes
/// for damage, and no offset that is not one.
#[test]
fn runs_wait_for_offsets_that_could_not_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = small_store(dir.path());
    let records: Vec<Record> = (0..6).map(|nth| record(nth, nth)).collect();
    let faults = Faults::below(&dir.path().join("headers").join(format!("{:016x}.off", 0)));
    faults.fail_from(1, Failure::NoSpace);
    for record in &records[..3] {
        stage(&mut store, record.clone());
    }
    flush_alone(&mut store);
    assert!(faults.hits() > 0);
    faults.heal();
    // Upkeep alone, before the next flush writes them.
    while let Some(step) = store.upkeep() {
        step.run();
        store.upkept();
    }
    assert_eq!(store.notices(), []);
    for record in &records[3..] {
        stage(&mut store, record.clone());
    }
    flush(&mut store);
    assert_eq!(fs::read_dir(dir.path().join("runs")).unwrap().count(), 2);
    agree(&store, &records);
    assert_eq!(store.notices(), []);
}

/// An id that is read without its record's check may be wrong, and where the run shows that it is, the damage is told.
#[test]
fn of_a_damaged_record_the_places_may_name_another_id() {
    let dir = tempfile::tempdir().unwrap();
    let records = filled(dir.path(), 40);
    let headers: Vec<PathBuf> =
        fs::read_dir(dir.path().join("headers")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let id = records[7].id;
    let holds = |path: &&PathBuf| fs::read(path).unwrap().windows(32).any(|bytes| bytes == id.as_bytes());
    let segment = headers.iter().find(holds).unwrap();
    let at = fs::read(segment).unwrap().windows(32).position(|bytes| bytes == id.as_bytes()).unwrap();
    let all = |store: &DiskStore| store.places(Time::default(), Time::from_secs(1 << 40), None, usize::MAX);
    let store = small_store(dir.path());
    flip(segment, at + 31, 1);
    let other: Vec<TxId> = all(&store)
        .unwrap()
        .iter()
        .map(|(key, _)| key.id)
        .filter(|found| !records.iter().any(|record| record.id == *found))
        .collect();
    assert_eq!(other.len(), 1);
    assert!(store.in_order(Time::default(), Time::from_secs(1 << 40), None, usize::MAX).is_err());
    flip(segment, at + 31, 1);
    flip(segment, at, 1);
    assert!(all(&store).is_err());
}

/// A run that has no more places is not read again for each place of those behind it.
#[test]
fn what_is_in_order_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = small_store(dir.path());
    for nth in 0..400 {
        stage(&mut store, Record { depth: Depth::new(nth), ..record(nth, 0) });
        if nth % 4 == 3 {
            flush(&mut store);
        }
    }
    assert!(fs::read_dir(dir.path().join("runs")).unwrap().count() > 2);
    let faults = Faults::below(&dir.path().join("runs"));
    faults.fail_from(100, Failure::Unreadable);
    let places = store.in_order(Time::default(), Time::from_secs(u64::MAX), None, usize::MAX).unwrap();
    assert_eq!((places.len(), faults.hits()), (400, 0));
    assert!(places.is_sorted());
}

#[test]
fn a_run_that_is_unsound_is_set_aside_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let records = filled(dir.path(), 60);
    let runs = dir.path().join("runs");
    let name = fs::read_dir(&runs).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let damaged =
        || fs::read_dir(&runs).unwrap().filter(|e| e.as_ref().unwrap().path().to_string_lossy().contains("damaged"));
    // In its header: found on open. In its ids: found when it is asked.
    for (nth, offset) in [20usize, 128 + 100].into_iter().enumerate() {
        flip(&name, offset, 1);
        let mut store = small_store(dir.path());
        agree(&store, &records);
        flush(&mut store);
        agree(&store, &records);
        drop(store);
        assert_eq!(damaged().count(), nth + 1);
    }
}

/// A ledger that was closed has nothing to derive; one that died derives what sled was not told, and is the same.
#[test]
fn trees_are_written_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = 0;
    let options = DiskOptions { overlay_entries: 1_000_000, ..SMALL };
    let store = || DiskStore::open_with(dir.path(), &dev(), LOG_ID, options, &mut |_, _| {}).unwrap();
    let mut ledger = Ledger::open(dev(), store()).unwrap();
    for transaction in &pool()[..40] {
        ledger.append(Verified::unchecked(transaction.clone()), after_pool(), false).unwrap();
        ledger.flush_now(after_pool()).unwrap();
    }
    let summary = ledger.summary();
    // Dies with something staged: then nothing may be handed to sled.
    ledger.append(Verified::unchecked(pool()[40].clone()), after_pool(), false).unwrap();
    drop(ledger);
    let ledger = Ledger::open_with(dev(), store(), &mut |done, total| told = told.max(done.min(total))).unwrap();
    assert_eq!((ledger.summary(), told), (summary, 40));
    drop(ledger);
    let mut again = 0;
    let ledger = Ledger::open_with(dev(), store(), &mut |done, _| again = done).unwrap();
    assert_eq!((ledger.summary(), again), (summary, 0), "nothing was left to derive");
    assert_eq!(ledger.check_index(&mut |_| {}).unwrap(), IndexCheck::Agrees);
}

#[test]
fn rebuilding_sets_runs_aside_and_derives_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open_small(dir.path());
    disk::commit(&mut ledger, 0..30);
    let summary = ledger.summary();
    drop(ledger);
    let mut reports = Vec::new();
    let mut note = |done: u64, total: u64| reports.push((done, total));
    let ledger = Ledger::rebuild_index_with(dev(), small_store(dir.path()), &mut note).unwrap();
    assert_eq!(ledger.summary(), summary);
    assert_eq!(ledger.check_index(&mut |_| {}).unwrap(), IndexCheck::Agrees);
    assert_eq!(reports.last(), Some(&(30, 30)));
    let names: Vec<String> = fs::read_dir(dir.path().join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().any(|name| name.ends_with(".damaged-1")), "{names:?}");
    assert!(dir.path().join("index.damaged-1").is_dir());
}

/// Roots and paths of the log as it was at any count, from memory and from disk.
#[test]
fn the_tree_over_the_log_proves() {
    let dir = tempfile::tempdir().unwrap();
    let mut on_disk = open_small(dir.path());
    disk::commit(&mut on_disk, 0..70);
    let mut in_memory = Ledger::open(dev(), MemoryStore::new()).unwrap();
    for transaction in &pool()[..70] {
        in_memory.append(Verified::unchecked(transaction.clone()), disk::arrival(transaction), false).unwrap();
    }
    let ids: Vec<TxId> = pool().iter().map(qasedak_chain::Transaction::id).collect();
    for count in 1..=70u64 {
        let root = merkle::root(dev().ledger(), &ids[..count as usize]);
        assert_eq!(on_disk.root_at(count).unwrap(), root);
        assert_eq!(in_memory.root_at(count).unwrap(), root);
        let path = on_disk.inclusion_path(Position::new(count / 2), count).unwrap();
        assert_eq!(path, in_memory.inclusion_path(Position::new(count / 2), count).unwrap());
        let path = on_disk.consistency_path(count, 70).unwrap();
        assert_eq!(path, in_memory.consistency_path(count, 70).unwrap());
    }
    assert!(on_disk.root_at(71).is_err());
    assert_eq!(on_disk.root_at(70).unwrap(), on_disk.summary().root);
}

/// A header of the pool is what a record of the store holds.
#[test]
fn records_come_back_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let records = filled(dir.path(), 33);
    let store = small_store(dir.path());
    let headers: Vec<Header> = records.iter().map(|record| record.header.clone()).collect();
    for from in 0..34 {
        let page = store.records(Position::new(from), 5).unwrap();
        let found: Vec<Header> = page.into_iter().map(|record| record.header).collect();
        assert_eq!(found, headers[from as usize..].iter().take(5).cloned().collect::<Vec<_>>());
    }
}
