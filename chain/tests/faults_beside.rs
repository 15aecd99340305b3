//! What stands beside the log, on a disk that fails: the index's sled, checkpoints, and a repair. And what an
//! acknowledgement costs: one fsync of each file, however many wait for it.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use qasedak_chain::{
    Position, audit,
    book::{Entry, Kept},
    ledger::IndexCheck,
    repair,
    store::{
        Batch, Change, CommitPoint, Store, StoreError, Tree,
        checkpoints::Checkpoints,
        disk::{
            DiskCheckpoints, DiskStore,
            faults::{Faults, Kind},
        },
    },
};

#[path = "support/disk.rs"]
mod disk;
#[path = "support/node.rs"]
mod node;
#[path = "support/pool.rs"]
mod pool;

use disk::{append, commit, copy_dir, dev, flip, open, open_small, small_store};
use pool::{after_pool, pool};

/// An error names the file, and says what the system answered.
fn says_why(text: &str, dir: &Path) {
    assert!(text.contains(&dir.display().to_string()), "no file in {text:?}");
    let causes = ["os error 5", "Input/output", "no storage space", "os error 28", "No space"];
    assert!(causes.iter().any(|cause| text.contains(cause)), "no cause in {text:?}");
}

/// The end of a log that has `len` records, as its last commit has it.
fn point(store: &DiskStore) -> CommitPoint {
    store.last_commit().unwrap()
}

/// A change that does not follow from the log, and is to be in sled when its flush has ended.
fn put(store: &mut DiskStore, nth: u8) {
    let change = Change::put(Tree::Frontier, vec![2, nth], vec![nth; 40]);
    store.stage(Batch { changes: vec![change], underivable: true, ..Batch::default() }).unwrap();
}

fn has(store: &DiskStore, nth: u8) -> bool {
    store.get(Tree::Frontier, &[2, nth]).unwrap() == Some(vec![nth; 40])
}

fn flush(store: &mut DiskStore) -> Result<(), StoreError> {
    let at = point(store);
    let Some(flush) = store.flush(at)? else { return Ok(()) };
    let result = flush.run();
    store.flushed(result.is_ok());
    result
}

/// A write of the index that failed is not lost: sled is closed, it is said, all stays readable, and with the next flush
/// sled is opened again and has it. `false` when no call was struck.
fn index_fails_at(nth: u64, kind: Kind, lasting: bool) -> bool {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("ledger");
    commit(&mut open_small(&dir), 0..6);
    let mut store = small_store(&dir);
    put(&mut store, 1);
    flush(&mut store).unwrap();
    assert_eq!(store.trouble(), None);
    let faults = Faults::below(&dir.join("index"));
    let all_of = if lasting { Faults::fail_from } else { Faults::fail_once };
    all_of(&faults, nth, kind);
    for round in 2..7 {
        put(&mut store, round);
        // The log is well, so what stands in it is acknowledged; that the index is not is told.
        flush(&mut store).unwrap();
        if let Some(trouble) = store.trouble() {
            says_why(trouble, &dir.join("index"));
            assert!(faults.hits() > 0);
        }
        assert!((1..=round).all(|nth| has(&store, nth)), "round {round}");
    }
    let met = faults.hits() > 0;
    assert!(!lasting || met == store.trouble().is_some());
    faults.heal();
    put(&mut store, 7);
    flush(&mut store).unwrap();
    assert_eq!(store.trouble(), None, "the disk is well again");
    drop((store, faults));
    let store = small_store(&dir);
    assert!((1..=7).all(|nth| has(&store, nth)), "{kind:?} at {nth}, lasting: {lasting}");
    assert_eq!(store.notices(), []);
    met
}

#[test]
fn a_failed_write_of_the_index_is_made_good() {
    for kind in Kind::ALL {
        for lasting in [false, true] {
            let places = (1..40).take_while(|nth| index_fails_at(*nth, kind, lasting)).count();
            println!("index, {kind:?}, lasting: {lasting}: {places} places");
            assert!(places < 39);
            assert!(places > 0 || matches!(kind, Kind::ShortWrite | Kind::Unreadable), "{kind:?} strikes the index");
        }
    }
}

/// Checkpoints: what `keep` said yes to is there, whatever call failed before or after.
fn checkpoints_fail_at(nth: u64, kind: Kind, lasting: bool) -> bool {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("checkpoints");
    let faults = Faults::below(&dir);
    if lasting {
        faults.fail_from(nth, kind)
    } else {
        faults.fail_once(nth, kind)
    }
    let mut kept: Vec<Entry> = Vec::new();
    // Small enough to be rewritten in each round.
    let open = || DiskCheckpoints::open_with_bound(&dir, &dev(), 900);
    for round in 0..3 {
        let store = open().unwrap_or_else(|error| {
            says_why(&error.to_string(), &dir);
            faults.heal();
            open().unwrap()
        });
        assert_eq!(store.damage(), [] as [String; 0], "{kind:?} at {nth}");
        for transaction in &pool()[round * 3..round * 3 + 3] {
            // One checkpoint of each peer: those are all kept.
            let mut peer = node::Node::new(dev(), 20 + kept.len() as u8);
            peer.append(transaction.id(), transaction.core().time().hour());
            let received = transaction.core().time().plus(60);
            let entry = Entry::Peer(Kept { checkpoint: peer.checkpoint(received), received });
            match store.keep(&entry) {
                Ok(()) => kept.push(entry),
                Err(error) => says_why(&error.to_string(), &dir),
            }
        }
        let found = store.book().unwrap().entries();
        assert!(kept.iter().all(|entry| found.contains(entry)), "{kind:?} at {nth}");
    }
    let met = faults.hits() > 0;
    faults.heal();
    let found = open().unwrap().book().unwrap().entries();
    assert!(kept.iter().all(|entry| found.contains(entry)), "{kind:?} at {nth}, lasting: {lasting}");
    met
}

#[test]
fn checkpoints_that_were_acknowledged_are_kept() {
    for kind in Kind::ALL {
        for lasting in [false, true] {
            let places = (1..).take_while(|nth| checkpoints_fail_at(*nth, kind, lasting)).count();
            println!("checkpoints, {kind:?}, lasting: {lasting}: {places} places");
            assert!(places > 5);
        }
    }
}

/// A ledger with one record that is damaged, its segment whole otherwise.
fn damaged_ledger(dir: &Path) {
    let mut ledger = open_small(dir);
    (0..4).for_each(|batch| commit(&mut ledger, batch * 5..batch * 5 + 5));
    drop(ledger);
    let mut segments: Vec<PathBuf> = fs::read_dir(dir.join("headers")).unwrap().map(|e| e.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|ending| ending == "seg"));
    segments.sort();
    flip(&segments[2], 128 + 120, 1);
}

/// A repair that fails leaves the old log as it was or the new one whole, and the next one goes through: nothing that
/// could be read before is lost to it.
fn repair_fails_at(template: &Path, expected: &[Position], nth: u64, kind: Kind) -> bool {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("ledger");
    copy_dir(template, &dir);
    let faults = Faults::below(home.path());
    faults.fail_once(nth, kind);
    let failed = repair::repair(&dir, &dev(), [8; 16], after_pool(), &mut |_| {}).err();
    let met = faults.hits() > 0;
    faults.heal();
    if let Some(error) = failed {
        says_why(&error.to_string(), home.path());
        repair::finish(&dir).unwrap();
        // The old log has its damage; the new one has none.
        if !audit::verify(&dir, &dev(), after_pool(), &mut |_| {}).unwrap().is_clean() {
            repair::repair(&dir, &dev(), [8; 16], after_pool(), &mut |_| {}).unwrap();
        }
    }
    assert_eq!(count_of(&dir), expected.len(), "{kind:?} at {nth}");
    let ledger = open(&dir);
    assert_eq!(ledger.check_index(&mut |_| {}).unwrap(), IndexCheck::Agrees);
    for position in expected {
        let wanted = &pool()[position.get() as usize];
        let at = ledger.position(&wanted.id()).unwrap().unwrap();
        let found = ledger.transaction(at).unwrap().unwrap();
        assert_eq!(found.header(), wanted.header());
        // A body that cannot be read is no reason not to repair; the old log is kept, and peers have it.
        assert!(found == *wanted || matches!(kind, Kind::Io | Kind::Unreadable), "{kind:?} at {nth}");
    }
    met
}

fn count_of(dir: &Path) -> usize {
    open(dir).summary().count as usize
}

#[test]
fn a_repair_that_fails_loses_nothing() {
    let home = tempfile::tempdir().unwrap();
    let template = home.path().join("ledger");
    damaged_ledger(&template);
    let copy = home.path().join("copy").join("ledger");
    copy_dir(&template, &copy);
    let repaired = repair::repair(&copy, &dev(), [8; 16], after_pool(), &mut |_| {}).unwrap();
    let ledger = open(&copy);
    let here = |nth: &u64| ledger.position(&pool()[*nth as usize].id()).unwrap().is_some();
    let expected: Vec<Position> = (0..20).filter(here).map(Position::new).collect();
    assert_eq!(repaired.saved as usize, expected.len());
    assert!(expected.len() > 5 && expected.len() < 20, "{expected:?}");
    for kind in Kind::ALL {
        let step = if std::env::var_os("QASEDAK_SOAK").is_some() { 1 } else { 7 };
        let nths = (0..).map(|n| 1 + n * step);
        let places = nths.take_while(|nth| repair_fails_at(&template, &expected, *nth, kind)).count();
        println!("repair, {kind:?}: {places} places");
        assert!(places > 0);
    }
}

/// Group commit: however many transactions wait for a flush, each file is made durable once.
#[test]
fn many_acknowledgements_share_one_fsync() {
    let home = tempfile::tempdir().unwrap();
    let mut ledger = open(home.path());
    // Files that are new are fsynced once more when they are made.
    commit(&mut ledger, 0..40);
    let faults = Faults::below(home.path());
    let syncs_of = |ending: &str| {
        let syncs = faults.syncs().into_iter();
        syncs.filter(|(path, _)| path.to_string_lossy().ends_with(ending)).map(|(_, count)| count).sum::<u64>()
    };
    let log = "headers/0000000000000000.seg";
    pool()[40..80].iter().for_each(|transaction| append(&mut ledger, transaction));
    assert_eq!(syncs_of(""), 0, "appending is no writing");
    ledger.flush_now(after_pool()).unwrap();
    assert_eq!(syncs_of(log), 1, "forty transactions: {:?}", faults.syncs());
    for (path, count) in faults.syncs() {
        // A day that had no bodies yet: its file is made whole under another name.
        assert_eq!(count, 1, "{}", path.display());
    }
    assert_eq!(ledger.summary().count, 80);
    drop(faults);
    // One by one, each has its own.
    let faults = Faults::below(home.path());
    for nth in 0..3 {
        let one = pool::make(&dev(), 500 + nth, &[dev().genesis()], after_pool().secs() / 60 * 60);
        append(&mut ledger, &one);
        ledger.flush_now(after_pool()).unwrap();
    }
    let syncs = faults.syncs();
    assert_eq!(syncs.get(&home.path().join(log)), Some(&3), "{syncs:?}");
}
