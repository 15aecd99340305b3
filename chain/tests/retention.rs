//! Letting bodies go: by their day, to keep to a disk budget, or never; and what a pruned ledger still says and proves.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use proptest::prelude::*;
use qasedak_chain::{
    Ledger, Position, Time, Transaction,
    audit::{self, BodyCount, Problem, Report},
    ledger::{Pruned, Witnesses},
    proof,
    retention::{Keep, body_day},
    store::{Body, Store, disk::DiskStore, memory::MemoryStore},
    transaction::{Core, CoreFields, Kind, LIFETIME_MAX_SECS, LIFETIME_MIN_SECS},
};

#[path = "support/disk.rs"]
mod disk;
#[path = "support/node.rs"]
mod node;
#[path = "support/pool.rs"]
mod pool;
#[path = "support/world.rs"]
mod world;

use disk::{DiskLedger, LOG_ID, append, arrival, commit, copy_dir, dev, flip, open_small, try_open};
use pool::{POOL_LEN, after_pool, pool, verified};

/// Bytes of a body of the pool in its file.
const BODY_BYTES: u64 = 512 + 32 + 13;
/// Most bytes of a part in a ledger that `open_small` made.
const PART_MAX_BYTES: u64 = 1_500 + BODY_BYTES;
/// Long after everything has expired.
const FAR: u64 = 1 << 33;

fn audit_at(dir: &Path, now: Time) -> Report {
    audit::verify(dir, &dev(), now, &mut |_| {}).unwrap()
}

fn keeping(dir: &Path, keep: Keep) -> DiskLedger {
    let mut ledger = open_small(dir);
    ledger.keep_bodies(keep);
    ledger
}

/// Bytes of all files of bodies, as the system tells.
fn body_bytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir.join("bodies")).unwrap().map(Result::unwrap);
    let parts = files.filter(|file| file.file_name().to_str().unwrap().ends_with(".seg"));
    parts.map(|file| file.metadata().unwrap().len()).sum()
}

fn prune(ledger: &mut DiskLedger, now: Time) -> Pruned {
    let mut all = Pruned::default();
    loop {
        let pruned = ledger.prune(now).unwrap();
        if pruned.is_nothing() {
            return all;
        }
        all.expired += pruned.expired;
        all.early += pruned.early;
    }
}

/// What is dropped, by what the store says of each position: for its age, and early.
fn dropped<S: Store>(ledger: &Ledger<S>) -> (u64, u64) {
    let bodies = (0..ledger.summary().count).map(|at| ledger.store().body(Position::new(at)).unwrap());
    bodies.fold((0, 0), |(expired, early), body| match body {
        Body::Present(_) => (expired, early),
        Body::Dropped { early: false, .. } => (expired + 1, early),
        Body::Dropped { early: true, .. } => (expired, early + 1),
        Body::Absent | Body::Damaged(_) => panic!("no body of the pool is lost"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn the_budget_holds_after_every_flush_and_the_rest_stays_whole(
        budget in 0..50_000u64,
        batches in prop::collection::vec(1..12usize, 20),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = keeping(dir.path(), Keep::Budget(budget));
        let mut at = 0;
        for batch in batches {
            let next = (at + batch).min(POOL_LEN);
            commit(&mut ledger, at..next);
            at = next;
            let bytes = body_bytes(dir.path());
            prop_assert!(bytes <= budget, "{bytes} of {budget}");
            prop_assert_eq!(ledger.retained(after_pool()).bytes, bytes);
            // To within one segment from below too: nothing goes for which there is room.
            let (_, early) = dropped(&ledger);
            prop_assert!(early == 0 || bytes + PART_MAX_BYTES + BODY_BYTES * batch as u64 > budget, "{bytes} of {budget}");
        }
        let (expired, early) = dropped(&ledger);
        prop_assert_eq!(expired, 0);
        let summary = ledger.summary();
        let report = audit_at(dir.path(), after_pool());
        prop_assert_eq!(&report.findings, &[]);
        prop_assert_eq!((report.digest, report.root, report.link), (summary.digest, summary.root, summary.link));
        let expected = BodyCount { present: at as u64 - early, dropped_early: early, ..BodyCount::default() };
        prop_assert_eq!(report.bodies, expected);
        drop(ledger);
        // Opened again, it says the same, and each header is there.
        let ledger = open_small(dir.path());
        prop_assert_eq!(dropped(&ledger), (0, early));
        let retained = ledger.retained(after_pool());
        prop_assert_eq!(retained.early_until.is_some(), early > 0);
        for (nth, transaction) in pool()[..at].iter().enumerate() {
            let found = ledger.transaction(Position::new(nth as u64)).unwrap().unwrap();
            prop_assert_eq!(found.header(), transaction.header());
        }
    }
}

proptest! {
    /// Within 4 days of its end a body is gone from every honest node, whenever it came there; and not before 3 days.
    #[test]
    fn a_body_goes_in_the_fourth_day_after_its_end(
        minute in 29_000_000u64..60_000_000,
        lifetime_secs in LIFETIME_MIN_SECS..=LIFETIME_MAX_SECS,
        came in 0u64..400 * 86_400,
    ) {
        let time = Time::from_secs(minute * 60);
        let core = Core::new(CoreFields {
            parents: vec![dev().genesis()],
            time,
            lifetime_secs,
            kind: Kind::Sealed,
            hint: [1; 16],
            body_hash: [2; 32],
            body_len: 512,
            author: [3; 32],
        });
        let core = core.unwrap();
        // At the earliest so long before its time that this is no date from the future.
        let arrival = Time::from_secs(time.secs() - 48 * 3_600 + came);
        let gone = body_day(&core, arrival) * 86_400;
        prop_assert!((gone - core.expires().secs()) <= 4 * 86_400);
        prop_assert!((gone - core.expires().secs()) > 3 * 86_400);
    }
}

#[test]
fn the_oldest_day_goes_first_and_its_day_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = keeping(dir.path(), Keep::UntilTheirDay);
    commit(&mut ledger, 0..POOL_LEN);
    let day_of = |nth: usize| body_day(pool()[nth].core(), arrival(&pool()[nth]));
    let before = ledger.retained(after_pool());
    let of_first = (0..POOL_LEN).filter(|nth| day_of(*nth) == day_of(0)).count() as u64;
    let (day, bytes) = before.next.unwrap();
    assert_eq!((day, before.early_until), (day_of(0), None));
    let heads = bytes - of_first * BODY_BYTES;
    assert!(heads > 128 && heads.is_multiple_of(128), "{heads}");
    // A budget that the first day alone goes over.
    ledger.keep_bodies(Keep::Budget(before.bytes - bytes));
    assert!(prune(&mut ledger, after_pool()).early > 1);
    assert_eq!(dropped(&ledger), (0, of_first));
    assert_eq!(ledger.retained(after_pool()).early_until, Some(day_of(0)));
    // When its day has come, it is no longer early; and then the next day's bodies go for their age.
    let later = Time::from_secs((day_of(0) + 1) * 86_400);
    let pruned = prune(&mut ledger, later);
    assert!(pruned.expired > 0 && pruned.early == 0, "{pruned:?}");
    assert_eq!(ledger.retained(later).early_until, None);
    let report = audit_at(dir.path(), later);
    assert_eq!((report.findings_total, report.bodies.dropped_early), (0, 0));
    assert_eq!(report.bodies.expired, (0..POOL_LEN).filter(|nth| day_of(*nth) <= day_of(0) + 1).count() as u64);
}

/// What is said to go first when there is no room goes, alone, and with the first body for which there is none.
#[test]
fn exactly_the_part_goes_that_was_named_and_when_it_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = keeping(dir.path(), Keep::UntilTheirDay);
    commit(&mut ledger, 0..40);
    let now = after_pool();
    assert_eq!(ledger.retained(now).next_early, None, "without a budget nothing goes early");
    let room = 2 * BODY_BYTES + 400;
    ledger.keep_bodies(Keep::Budget(ledger.retained(now).bytes + room));
    let (mut gone, mut at) = (0, 40);
    while at < POOL_LEN {
        let names = || {
            let files = fs::read_dir(dir.path().join("bodies")).unwrap().map(Result::unwrap);
            let mut names: Vec<String> = files.map(|file| file.file_name().into_string().unwrap()).collect();
            names.retain(|name| name.ends_with(".seg"));
            names.sort();
            names
        };
        let before = names();
        let (part, left) = ledger.retained(now).next_early.unwrap();
        let name = match part.nth {
            0 => format!("{}.seg", part.day),
            nth => format!("{}-{nth}.seg", part.day),
        };
        let bytes = fs::metadata(dir.path().join("bodies").join(&name)).unwrap().len();
        assert_eq!(part.bytes, bytes, "{name}");
        commit(&mut ledger, at..at + 1);
        at += 1;
        let lost: Vec<String> = before.into_iter().filter(|name| !names().contains(name)).collect();
        // A body may begin a file, whose head takes room too.
        let (least, most) = (BODY_BYTES, BODY_BYTES + 128);
        if left >= most {
            assert_eq!(lost, [""; 0], "{left} bytes were left");
        } else if left < least {
            assert_eq!(lost, [name], "{left} bytes were left");
        }
        gone += lost.len();
    }
    assert!(gone > 3, "{gone}");
    ledger.keep_bodies(Keep::Archive);
    assert_eq!(ledger.retained(now).next_early, None);
}

#[test]
fn an_archive_keeps_bodies_past_their_day() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = keeping(dir.path(), Keep::Archive);
    commit(&mut ledger, 0..40);
    let far = Time::from_secs(FAR);
    assert!(ledger.prune(far).unwrap().is_nothing());
    commit(&mut ledger, 40..POOL_LEN);
    assert_eq!(dropped(&ledger), (0, 0));
    assert_eq!(ledger.retained(far).next, None);
    let all = POOL_LEN as u64;
    let report = audit_at(dir.path(), far);
    assert_eq!(report.bodies, BodyCount { present: all, past_their_day: all, ..BodyCount::default() });
    assert!(report.is_clean());
    // The same ledger without the setting lets them go.
    ledger.keep_bodies(Keep::UntilTheirDay);
    assert!(prune(&mut ledger, far).expired > 3);
    assert_eq!(dropped(&ledger), (all, 0));
    assert_eq!(body_bytes(dir.path()), 0);
    let report = audit_at(dir.path(), far);
    assert_eq!(report.bodies, BodyCount { expired: all, ..BodyCount::default() });
    assert!(report.is_clean());
}

#[test]
fn bodies_are_read_and_audited_while_parts_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = keeping(dir.path(), Keep::UntilTheirDay);
    commit(&mut ledger, 0..POOL_LEN);
    let done = AtomicBool::new(false);
    let path = dir.path();
    std::thread::scope(|scope| {
        let audits = scope.spawn(|| {
            let mut seen = Vec::new();
            while !done.load(Ordering::Acquire) || seen.is_empty() {
                let report = audit_at(path, after_pool());
                assert_eq!(report.findings, []);
                seen.push(report.bodies.present);
            }
            seen
        });
        // One part after the other.
        while let used @ 1.. = ledger.retained(after_pool()).bytes {
            ledger.keep_bodies(Keep::Budget(used - 1));
            assert_eq!(ledger.prune(after_pool()).unwrap(), Pruned { expired: 0, early: 1 });
            let (_, early) = dropped(&ledger);
            assert!(early > 0);
        }
        done.store(true, Ordering::Release);
        let seen = audits.join().unwrap();
        assert!(seen.is_sorted_by(|a, b| a >= b), "{seen:?}");
    });
    assert_eq!(audit_at(dir.path(), after_pool()).bodies.dropped_early, POOL_LEN as u64);
}

#[test]
fn every_byte_that_tells_what_was_dropped_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = keeping(dir.path(), Keep::Budget(20_000));
    commit(&mut ledger, 0..POOL_LEN);
    drop(ledger);
    assert!(audit_at(dir.path(), after_pool()).is_clean());
    let scratch = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), scratch.path());
    let path = scratch.path().join("bodies/dropped");
    let len = fs::read(&path).unwrap().len();
    assert_eq!(len, 128 + 13 + 8);
    for offset in 0..len {
        flip(&path, offset, 1);
        match audit::verify(scratch.path(), &dev(), after_pool(), &mut |_| {}) {
            Ok(report) => {
                let found = |found: &audit::Finding| found.file == "bodies/dropped";
                assert!(report.findings.iter().any(found), "byte {offset}");
            }
            // A changed version is taken for a newer one.
            Err(error) => assert!(matches!(error, audit::AuditError::Store(_)), "byte {offset}: {error}"),
        }
        assert!(try_open(scratch.path()).is_err(), "byte {offset}");
        flip(&path, offset, 1);
    }
    // Without what it says of early drops, what went is missing before its day.
    fs::write(&path, &fs::read(&path).unwrap()[..128]).unwrap();
    let report = audit_at(scratch.path(), after_pool());
    assert!(report.findings_total > 0);
    assert!(report.findings.iter().all(|found| matches!(found.problem, Problem::BodyDroppedEarly(_))));
}

/// Disk and memory agree on what is dropped, and when.
#[test]
fn the_store_in_memory_drops_alike() {
    let dir = tempfile::tempdir().unwrap();
    let mut on_disk = try_open(dir.path()).unwrap();
    let mut in_memory = Ledger::open(dev(), MemoryStore::new()).unwrap();
    for transaction in pool() {
        append(&mut on_disk, transaction);
        in_memory.append(verified(&dev(), transaction), arrival(transaction), false).unwrap();
    }
    on_disk.flush_now(after_pool()).unwrap();
    in_memory.flush_now(after_pool()).unwrap();
    let body =
        |at| (on_disk.store().body(Position::new(at)).unwrap(), in_memory.store().body(Position::new(at)).unwrap());
    (0..POOL_LEN as u64).map(body).for_each(|(disk, memory)| assert_eq!(disk, memory));
    let first = body_day(pool()[0].core(), arrival(&pool()[0]));
    let now = Time::from_secs(first * 86_400);
    on_disk.prune(now).unwrap();
    in_memory.prune(now).unwrap();
    // Then the next day, whole, for want of room: on disk it is one part.
    on_disk.keep_bodies(Keep::Budget(on_disk.retained(now).bytes - 1));
    in_memory.keep_bodies(Keep::Budget(in_memory.retained(now).bytes - 1));
    assert_eq!(on_disk.prune(now).unwrap(), in_memory.prune(now).unwrap());
    assert_eq!(on_disk.retained(now).early_until, in_memory.retained(now).early_until);
    let mut told = (0, 0);
    for at in 0..POOL_LEN as u64 {
        let (disk, memory) = (on_disk.store().body(Position::new(at)), in_memory.store().body(Position::new(at)));
        let disk = disk.unwrap();
        assert_eq!(disk, memory.unwrap());
        told.0 += u32::from(matches!(disk, Body::Dropped { .. }));
        told.1 += u32::from(matches!(disk, Body::Present(_)));
    }
    assert!(told.0 > 20 && told.1 > 20, "{told:?}");
    let store = DiskStore::open(tempfile::tempdir().unwrap().path(), &dev(), LOG_ID).unwrap();
    assert_eq!(store.bodies(), MemoryStore::new().bodies());
}

/// Bodies are no part of a proof: what a pruned ledger proves is to the byte what it proved before.
#[test]
fn a_pruned_ledger_proves_what_it_proved_before() {
    let world = world::World::new(dev());
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open_small(dir.path());
    for transaction in &world.transactions {
        append(&mut ledger, transaction);
    }
    ledger.flush_now(world.at(12)).unwrap();
    let checkpoints = world.peers.iter().map(|peer| peer.checkpoint(world.at(10))).collect();
    let witnesses = Witnesses { own: Some(world.prover().signer()), checkpoints };
    let ids = || world.transactions.iter().map(Transaction::id);
    let files = |ledger: &mut DiskLedger| {
        let present: Vec<_> = ids().map(|id| ledger.prove(&id, &witnesses, world.at(12)).unwrap().file).collect();
        let absent = [1, 2, 3].map(|hour| {
            ledger.prove_absent(&world::stranger([7, 7]), world.hour(hour), &witnesses, world.at(12)).unwrap().file
        });
        [present, absent.to_vec()].concat()
    };
    let before = files(&mut ledger);
    let count = world.transactions.len() as u64;
    assert_eq!(dropped(&ledger), (0, 0));
    while !ledger.prune(Time::from_secs(FAR)).unwrap().is_nothing() {}
    assert_eq!(dropped(&ledger), (count, 0), "every body is gone");
    assert_eq!(files(&mut ledger), before);
    drop(ledger);
    let mut ledger = open_small(dir.path());
    assert_eq!(files(&mut ledger), before);
    for (id, file) in ids().zip(&before) {
        let proven = proof::check(file).unwrap();
        assert!(matches!(proven.fact(), proof::Fact::Included { id: of, .. } if *of == id), "{:?}", proven.fact());
        assert_eq!((proven.words().len(), proven.is_own_word_only()), (3, false));
    }
}
