//! The audit (`docs/storage.md`, "Audit"): it agrees with the ledger on what is sound, finds every changed byte, and names
//! what was changed; what is not finished or was dropped rightly is no finding.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{fs, path::Path};

use qasedak_chain::{
    Network, Position, Time, TxId,
    audit::{self, AuditError, Finding, OwnWord, Problem, Progress, Remedy, Report},
    ledger::public_log_id,
    store::{Store, StoreError, disk::DiskStore},
};
use rand::{RngExt, SeedableRng};

#[path = "support/disk.rs"]
mod disk;
#[path = "support/node.rs"]
mod node;
#[path = "support/pool.rs"]
mod pool;

use disk::{LOG_ID, append, arrival, commit, dev, flip, open, open_small};
use pool::{after_pool, pool};

const FIRST_SEGMENT: &str = "headers/0000000000000000.seg";
/// A commit marker: len 4, kind 1, count 8, link 32, time 8, check 8.
const MARKER_BYTES: usize = 61;

fn audit_at(dir: &Path, now: Time) -> Report {
    audit::verify(dir, &dev(), now, &mut |_| {}).unwrap()
}

fn audit(dir: &Path) -> Report {
    audit_at(dir, after_pool())
}

/// A small ledger in one segment: commits of 3, 2 and 1 transactions.
fn small_ledger(dir: &Path) {
    let mut ledger = open(dir);
    [0..3, 3..5, 5..6].into_iter().for_each(|range| commit(&mut ledger, range));
}

/// Names of all files that an audit vouches for, relative to the ledger's directory.
fn audited_files(dir: &Path) -> Vec<String> {
    let mut names = vec!["scan.col".to_owned()];
    for part in ["headers", "bodies"] {
        let entries = fs::read_dir(dir.join(part)).unwrap();
        names.extend(entries.map(|entry| format!("{part}/{}", entry.unwrap().file_name().into_string().unwrap())));
    }
    names.sort();
    names
}

/// Where the records of the first segment stand: offset, length, position of a transaction.
fn records(dir: &Path) -> Vec<(usize, usize, Option<u64>)> {
    let bytes = fs::read(dir.join(FIRST_SEGMENT)).unwrap();
    let (mut at, mut position, mut found) = (128, 0, Vec::new());
    while at < bytes.len() {
        let len = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize + 13;
        let transaction = (bytes[at + 4] == 1).then_some(position);
        position += u64::from(transaction.is_some());
        found.push((at, len, transaction));
        at += len;
    }
    found
}

fn names(found: &Finding, position: u64, id: TxId) -> bool {
    found.position == Some(Position::new(position)) && found.id == Some(id)
}

#[test]
fn a_sound_ledger_is_as_the_node_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open_small(dir.path());
    (0..10).for_each(|batch| commit(&mut ledger, batch * 4..batch * 4 + 4));
    let mut told = Vec::new();
    // With the node running.
    let report = audit::verify(dir.path(), &dev(), after_pool(), &mut |progress| told.push(progress)).unwrap();
    let summary = ledger.summary();
    assert_eq!(report.findings, []);
    assert!(report.is_clean());
    assert_eq!((report.count, report.link), (summary.count, summary.link));
    assert_eq!((report.root, report.digest), (summary.root, summary.digest));
    assert_eq!(report.blocks, ledger.blocks(0, usize::MAX).unwrap().len() as u64);
    assert_eq!(report.newest_block, ledger.newest_block(after_pool()).unwrap());
    assert_eq!((report.bodies.present, report.bodies.absent(), report.scan_entries), (40, 0, 40));
    assert_eq!(report.unfinished_tail_bytes, 0);
    assert!(told.is_sorted_by_key(|progress| progress.checked));
    assert_eq!(told.last(), Some(&Progress { checked: 40, total: 40 }));
    assert!(told.iter().all(|progress| progress.total == 40), "the columns tell how many there are");
}

/// What its node has signed is held against the log: it may have grown since, and no more.
#[test]
fn what_the_node_has_signed_must_be_what_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (key, now) = (node::Node::new(dev(), 5), after_pool());
    let log = public_log_id(&LOG_ID, &key.signer());
    let mut ledger = open_small(dir.path());
    let mut own = Vec::new();
    for batch in 0..5 {
        commit(&mut ledger, batch * 4..batch * 4 + 4);
        own.push(key.sign(ledger.statement(log, now.plus(batch as u64)).unwrap().unwrap()));
    }
    // One of a log before this one.
    own.push(key.sign(ledger.statement([1; 16], now).unwrap().unwrap()));
    commit(&mut ledger, 20..24);
    let verified = |dir: &Path| audit::verify_against(dir, &dev(), &own, now, &mut |_| {}).unwrap();
    let report = verified(dir.path());
    assert_eq!((report.findings.as_slice(), report.remedy), (&[][..], None));
    let newest = Some((20, now.plus(4)));
    assert_eq!(report.own_word, OwnWord { compared: 5, newest, of_other_logs: 1 });
    drop(ledger);

    // An older copy, sound in itself.
    let older = tempfile::tempdir().unwrap();
    let mut ledger = open_small(older.path());
    (0..3).for_each(|batch| commit(&mut ledger, batch * 4..batch * 4 + 4));
    drop(ledger);
    assert!(audit(older.path()).is_clean());
    let report = verified(older.path());
    let problems: Vec<&Problem> = report.findings.iter().map(|found| &found.problem).collect();
    assert_eq!(problems, [&Problem::RolledBack { stated: 20, time: now.plus(4), count: 12 }]);
    assert_eq!((report.own_word.compared, report.remedy), (3, Some(Remedy::Repair)));

    // Another log under its name, with everything that follows from it.
    let other = tempfile::tempdir().unwrap();
    let mut ledger = open_small(other.path());
    commit(&mut ledger, 0..8);
    let moved = pool()[8..24].iter().filter(|one| one.id() != pool()[9].id());
    moved.for_each(|transaction| {
        let verified = pool::verified(&dev(), transaction);
        // What builds on the one that is left out is left out too.
        drop(ledger.append(verified, arrival(transaction), false));
    });
    ledger.flush_now(now).unwrap();
    let count = ledger.summary().count;
    drop(ledger);
    assert!(audit(other.path()).is_clean());
    let report = verified(other.path());
    let first = &report.findings[0];
    assert_eq!(first.problem, Problem::Rewritten { count: 12, time: now.plus(2) });
    assert_eq!(first.position, Some(Position::new(11)));
    assert!(report.findings_total <= 2, "told once, and what is missing at the end: {:?}", report.findings);
    assert_eq!(report.findings_total == 2, count < 20);
}

#[test]
fn every_changed_byte_of_log_and_columns_is_found_and_named() {
    change_bytes(|name| !name.starts_with("bodies/"));
}

#[test]
fn every_changed_byte_of_bodies_is_found_and_named() {
    change_bytes(|name| name.starts_with("bodies/"));
}

/// Flips a random bit of every byte of these files, one after the other.
fn change_bytes(of: fn(&str) -> bool) {
    let dir = tempfile::tempdir().unwrap();
    small_ledger(dir.path());
    let store = DiskStore::open(dir.path(), &dev(), LOG_ID).unwrap();
    drop(store);
    assert!(audit(dir.path()).is_clean());
    let records = records(dir.path());
    assert_eq!(records.iter().filter_map(|record| record.2).count(), 6);
    let seed: u64 = rand::rng().random();
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let mut flips = 0;
    for name in audited_files(dir.path()).into_iter().filter(|name| of(name)) {
        let path = dir.path().join(&name);
        let sound = fs::read(&path).unwrap();
        for offset in 0..sound.len() {
            flips += 1;
            flip(&path, offset, 1 << rng.random_range(0..8));
            let report = audit(dir.path());
            check_flip(&report, &name, offset, &records, seed);
            fs::write(&path, &sound).unwrap();
        }
    }
    assert!(flips > 2_000, "{flips}");
    assert!(audit(dir.path()).is_clean());
}

/// One byte of a file was changed: the report names the file and the place, and the transaction if one was touched.
fn check_flip(report: &Report, name: &str, offset: usize, records: &[(usize, usize, Option<u64>)], seed: u64) {
    let context = format!("seed {seed}, {name} at {offset}: {:#?}", report.findings);
    assert!(!report.is_clean(), "{context}");
    let here: Vec<&Finding> = report.findings.iter().filter(|found| found.file == *name).collect();
    assert!(!here.is_empty(), "{context}");
    if offset < 128 {
        assert!(here.iter().any(|found| found.offset == 0), "{context}");
        return;
    }
    if name == FIRST_SEGMENT {
        let (at, _, position) = records.iter().rev().find(|(at, ..)| *at <= offset).copied().unwrap();
        assert_eq!(report.findings.len(), 1, "{context}");
        assert_eq!(here[0].offset, at as u64, "{context}");
        match position {
            Some(position) => assert!(names(here[0], position, pool()[position as usize].id()), "{context}"),
            None => assert!(matches!(here[0].problem, Problem::CommitMarker(_)), "{context}"),
        }
        // The id is known all the same, so all that follows from the ids is.
        assert_eq!(report.count, 6, "{context}");
        return;
    }
    let width = if name == "scan.col" { 64 } else { 4 };
    let found = here[0];
    assert!(found.position.is_some() && found.id.is_some() && found.offset <= offset as u64, "{context}");
    if name.starts_with("bodies/") {
        assert!(offset as u64 - found.offset < 600, "{context}");
    } else {
        let position = (offset - 128) / width;
        assert!(names(found, position as u64, pool()[position].id()), "{context}");
    }
}

#[test]
fn every_changed_byte_of_earlier_segments_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open_small(dir.path());
    (0..3).for_each(|batch| commit(&mut ledger, batch * 5..batch * 5 + 5));
    drop(ledger);
    let path = dir.path().join(FIRST_SEGMENT);
    let sound = fs::read(&path).unwrap();
    for offset in (0..sound.len()).step_by(11).chain(sound.len() - MARKER_BYTES..sound.len()) {
        flip(&path, offset, 0x20);
        let report = audit(dir.path());
        assert!(report.findings.iter().any(|found| found.file == FIRST_SEGMENT), "{offset}: {:?}", report.findings);
        assert_eq!(report.count, 15);
        fs::write(&path, &sound).unwrap();
    }
}

/// Without columns there is no evidence that a last commit was ever made; with either of them there is.
#[test]
fn a_lost_tail_is_told_from_an_unfinished_one_by_the_columns() {
    let dir = tempfile::tempdir().unwrap();
    small_ledger(dir.path());
    let path = dir.path().join(FIRST_SEGMENT);
    let sound = fs::read(&path).unwrap();
    let last_marker = sound.len() - MARKER_BYTES;
    flip(&path, last_marker + 20, 4);
    let report = audit(dir.path());
    assert_eq!(report.findings.len(), 1);
    assert!(matches!(report.findings[0].problem, Problem::CommitMarker(_)));
    assert_eq!(report.findings[0].offset, last_marker as u64);

    fs::remove_file(dir.path().join("scan.col")).unwrap();
    assert_eq!(audit(dir.path()).findings.len(), 1, "the offsets still tell of it");
    fs::remove_file(dir.path().join("headers/0000000000000000.off")).unwrap();
    let report = audit(dir.path());
    assert!(report.is_clean());
    assert_eq!(report.count, 5);
    assert!(report.unfinished_tail_bytes > 300);
}

#[test]
fn a_log_that_was_cut_is_found() {
    let dir = tempfile::tempdir().unwrap();
    small_ledger(dir.path());
    let path = dir.path().join(FIRST_SEGMENT);
    let sound = fs::read(&path).unwrap();
    for len in (128..sound.len()).step_by(31) {
        fs::write(&path, &sound[..len]).unwrap();
        let report = audit(dir.path());
        assert!(!report.is_clean(), "cut at {len}");
        assert!(report.findings.iter().all(|found| found.file == FIRST_SEGMENT), "{len}: {:?}", report.findings);
    }
}

#[test]
fn what_a_node_is_writing_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    small_ledger(dir.path());
    let path = dir.path().join(FIRST_SEGMENT);
    let sound = fs::read(&path).unwrap();
    let saved = tempfile::tempdir().unwrap();
    disk::copy_dir(dir.path(), saved.path());
    let mut ledger = open(dir.path());
    commit(&mut ledger, 6..8);
    let next = fs::read(&path).unwrap();
    for len in (sound.len()..next.len()).step_by(13) {
        fs::write(saved.path().join(FIRST_SEGMENT), &next[..len]).unwrap();
        let report = audit(saved.path());
        assert_eq!(report.findings, []);
        assert_eq!((report.count, report.unfinished_tail_bytes), (6, (len - sound.len()) as u64));
    }
    // Committed, but the columns are not written yet.
    disk::copy_dir(&dir.path().join("bodies"), &saved.path().join("bodies"));
    fs::write(saved.path().join(FIRST_SEGMENT), &next).unwrap();
    let report = audit(saved.path());
    assert_eq!((report.findings.len(), report.count, report.scan_entries), (0, 8, 6));
    // Staged and not flushed: bodies nobody refers to yet.
    append(&mut ledger, &pool()[8]);
    assert!(audit(dir.path()).is_clean());
}

#[test]
fn damage_over_several_records_does_not_stop_the_audit() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    (0..4).for_each(|batch| commit(&mut ledger, batch * 5..batch * 5 + 5));
    let summary = ledger.summary();
    drop(ledger);
    let path = dir.path().join(FIRST_SEGMENT);
    let sound = fs::read(&path).unwrap();
    let records = records(dir.path());
    // Zeros over the positions 6 to 8: nothing of them can be recognised, all behind them can.
    let of = |position: u64| records.iter().find(|record| record.2 == Some(position)).copied().unwrap();
    let mut bytes = sound.clone();
    bytes[of(6).0 + 3..of(9).0].fill(0);
    fs::write(&path, &bytes).unwrap();
    let report = audit(dir.path());
    let first = report.findings.iter().find(|found| found.file == FIRST_SEGMENT).unwrap();
    assert_eq!((first.position, first.offset), (Some(Position::new(6)), of(6).0 as u64));
    assert_eq!((report.count, report.link), (20, summary.link), "the next commit marker tells the link");
    assert!(!report.findings.iter().any(|found| matches!(found.problem, Problem::Parent(_) | Problem::Link)));

    // One byte in each of two neighbours: both are named.
    let mut bytes = sound.clone();
    bytes[of(6).0 + 50] ^= 1;
    bytes[of(7).0 + 200] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let report = audit(dir.path());
    for position in [6, 7] {
        let id = pool()[position].id();
        assert!(report.findings.iter().any(|found| names(found, position as u64, id)), "{:?}", report.findings);
    }
    assert_eq!((report.root, report.digest), (summary.root, summary.digest));

    // Everything behind the first commit but its head: what is left is said to be unchecked.
    let mut bytes = sound.clone();
    let end = bytes.len();
    bytes[of(5).0..end].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let report = audit(dir.path());
    assert!(report.findings.iter().any(|found| matches!(found.problem, Problem::RestUnchecked(_))));
    assert!(report.findings.iter().any(|found| found.problem == Problem::Unreadable(15)));
}

#[test]
fn bodies_may_be_absent_only_when_they_were_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    commit(&mut ledger, 0..60);
    drop(ledger);
    let first_day = arrival(&pool()[0]).day() + 4;
    let day_file = dir.path().join(format!("bodies/{first_day}.seg"));
    let bytes = fs::read(&day_file).unwrap();
    fs::remove_file(&day_file).unwrap();
    let report = audit(dir.path());
    let of_day = report.findings_total;
    assert!(of_day > 0 && report.findings.iter().all(|found| found.problem == Problem::BodyMissing));
    fs::write(&day_file, bytes).unwrap();
    assert!(audit(dir.path()).is_clean());

    DiskStore::open(dir.path(), &dev(), LOG_ID).unwrap().drop_bodies_before(first_day + 1).unwrap();
    let later = Time::from_secs((first_day + 1) * 86_400);
    let report = audit_at(dir.path(), later);
    assert_eq!(report.findings, []);
    assert_eq!((report.bodies.expired, report.bodies.present), (of_day, 60 - of_day));
    // By a clock for which the day is still to come, it went too early.
    let report = audit_at(dir.path(), Time::from_secs(0));
    assert!(report.findings.iter().all(|found| matches!(found.problem, Problem::BodyDroppedEarly(_))));
    assert_eq!(report.findings_total, of_day);
}

#[test]
fn a_missing_segment_is_found_and_the_others_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open_small(dir.path());
    (0..6).for_each(|batch| commit(&mut ledger, batch * 5..batch * 5 + 5));
    drop(ledger);
    let second = audited_files(dir.path()).into_iter().filter(|name| name.ends_with(".seg")).nth_back(2).unwrap();
    assert!(second.starts_with("headers/"));
    fs::remove_file(dir.path().join(second)).unwrap();
    let report = audit(dir.path());
    assert!(report.findings.iter().any(|found| matches!(found.problem, Problem::Segments(_))));
    assert!(!report.findings.iter().any(|found| matches!(found.problem, Problem::Parent(_))));
    assert_eq!(report.count, 30);
}

#[test]
fn nothing_to_check_and_other_networks_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let none = audit::verify(dir.path(), &dev(), after_pool(), &mut |_| {});
    assert!(matches!(none, Err(AuditError::NoLedger { .. })));
    let ledger = open(dir.path());
    assert!(ledger.store().is_empty());
    let report = audit(dir.path());
    assert_eq!((report.count, report.is_clean(), report.newest_block), (0, true, None));
    drop(ledger);
    let other = audit::verify(dir.path(), &Network::named("family").unwrap(), after_pool(), &mut |_| {});
    assert!(matches!(other, Err(AuditError::Store(StoreError::Foreign { .. }))));
}

/// The body decides when a transaction enters, never whether (decision 0040): one that never came is counted, and no fault.
#[test]
fn a_header_that_entered_alone_is_no_finding() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    (0..3).for_each(|nth| append(&mut ledger, &pool()[nth]));
    let alone = &pool()[3];
    let header = qasedak_chain::Transaction::new(&dev(), alone.header().clone(), None).unwrap();
    let verified = qasedak_chain::rules::verify(&dev(), header).unwrap();
    assert!(ledger.append(verified.clone(), arrival(alone), false).is_err(), "not as a matter of course");
    ledger.append_header_alone(verified, arrival(alone)).unwrap();
    ledger.flush_now(arrival(alone)).unwrap();
    commit(&mut ledger, 4..6);
    drop(ledger);
    let report = audit_at(dir.path(), arrival(alone));
    assert_eq!(report.findings, []);
    assert_eq!((report.bodies.never_came, report.bodies.present), (1, 5));
}
