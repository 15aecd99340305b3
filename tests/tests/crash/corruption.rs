//! Bytes that change on the disk: a bit flipped, a file cut short, a sector that reads as zeros, at a random place of a
//! random file of a ledger. Each is detected, or changes no answer; and afterwards everything is mended: what is derived
//! from the log, the log itself by a repair and from a second, intact ledger, as a peer would send it. What lies beside the
//! ledger is in `kept`.
//!
//! 60 of them here, 1,000 with `QASEDAK_SOAK=1`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use qasedak_chain::{
    Ledger, Position, Transaction, audit,
    ledger::{AppendError, DaySummary, IndexCheck, Refusal},
    repair, rules,
    store::{
        Body, ScanEntry, Store, StoreError,
        disk::{DiskOptions, DiskStore, Notice},
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    child::DiskLedger,
    line::{Line, dev, time},
    support::{copy, files, rounds, seed},
};

/// Transactions of the ledger: two days of them.
const COUNT: u64 = 260;

fn options() -> DiskOptions {
    DiskOptions { segment_bytes: 20_000, memtable_records: 64, overlay_entries: 64 }
}

fn open(dir: &Path) -> Result<DiskLedger, StoreError> {
    let store = DiskStore::open_with(dir, &dev(), [0x33; 16], options(), &mut |_, _| {})?;
    Ledger::open(dev(), store)
}

/// What an undamaged ledger answers.
struct Answers {
    transactions: Vec<Transaction>,
    scan: Vec<ScanEntry>,
    summary: qasedak_chain::ledger::Summary,
    days: Vec<DaySummary>,
    blocks: Vec<qasedak_chain::block::Block>,
}

fn answers(ledger: &mut DiskLedger) -> Result<Answers, StoreError> {
    let count = ledger.summary().count;
    let transaction = |at| ledger.transaction(Position::new(at)).map(Option::unwrap);
    Ok(Answers {
        transactions: (0..count).map(transaction).collect::<Result<_, _>>()?,
        scan: ledger.scan(Position::new(0), usize::MAX)?,
        summary: ledger.summary(),
        days: ledger.days(0, usize::MAX)?,
        blocks: ledger.blocks(0, usize::MAX)?,
    })
}

fn make(dir: &Path, line: &Line) {
    let mut ledger = open(dir).unwrap();
    for nth in 0..COUNT {
        ledger.append(line.verified(nth), time(nth).plus(5), false).unwrap();
        if nth % 9 == 8 {
            ledger.flush_now(time(nth).plus(6)).unwrap();
        }
    }
    ledger.blocks(0, usize::MAX).unwrap();
    ledger.flush_now(time(COUNT)).unwrap();
    // The bodies of the first day have gone.
    let pruned = ledger.prune(time(COUNT).plus(3 * 86_400)).unwrap();
    assert!(!pruned.is_nothing());
    ledger.flush_now(time(COUNT)).unwrap();
}

/// Changes one of the files below `dir`; all kinds of them come up alike. Says what it did.
pub fn corrupt(dir: &Path, rng: &mut StdRng) -> String {
    let mut kinds: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in files(dir) {
        let relative = path.strip_prefix(dir).unwrap();
        let folder = relative.parent().unwrap().display().to_string();
        let ending = relative.extension().unwrap_or(relative.as_os_str()).to_string_lossy().into_owned();
        kinds.entry(format!("{folder} {ending}")).or_default().push(path.clone());
    }
    let kind = rng.random_range(0..kinds.len());
    let some = kinds.values().nth(kind).unwrap();
    let path = &some[rng.random_range(0..some.len())];
    let mut bytes = fs::read(path).unwrap();
    let name = path.strip_prefix(dir).unwrap().display();
    if bytes.is_empty() {
        fs::write(path, [0xa5; 7]).unwrap();
        return format!("{name}: seven bytes appended");
    }
    let at = rng.random_range(0..bytes.len());
    let what = match rng.random_range(0..4) {
        0 | 1 => {
            let bit = rng.random_range(0..8);
            bytes[at] ^= 1 << bit;
            format!("{name}: bit {bit} of byte {at} flipped")
        }
        2 => {
            bytes.truncate(at);
            format!("{name}: cut to {at} bytes")
        }
        _ => {
            let from = at / 512 * 512;
            let to = (from + 512).min(bytes.len());
            bytes[from..to].fill(0);
            format!("{name}: bytes {from} to {to} zeroed")
        }
    };
    fs::write(path, bytes).unwrap();
    what
}

/// Whether the index follows from the log. `Err`: it could not be read, and that was said.
fn agrees(ledger: &DiskLedger) -> Result<bool, StoreError> {
    Ok(ledger.check_index(&mut |_| {})? == IndexCheck::Agrees)
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Every answer is as before.
    Harmless,
    /// Every answer is as before, since something that follows from the log was made anew, and that was said.
    Told,
    /// The audit names it, and every answer is as before.
    Named,
    /// Something cannot be read, and that is said.
    Unreadable,
    /// The ledger does not open, and says why.
    Refused,
}

/// Whether a transaction, as it was read, is the one that was written. `Err`: it could not be read, and that was said.
fn read(ledger: &DiskLedger, position: u64, right: &Transaction) -> Result<(), StoreError> {
    let position = Position::new(position);
    let found = ledger.transaction(position)?.unwrap();
    assert_eq!(found.id(), right.id(), "position {position}");
    if let Body::Damaged(what) = ledger.store().body(position)? {
        return Err(StoreError::Damaged { path: "bodies".to_owned(), offset: 0, what });
    }
    assert_eq!(found.body(), right.body(), "position {position}");
    let by_id = ledger.position(&right.id())?;
    assert_eq!(by_id, Some(position), "by id");
    Ok(())
}

/// Opens a changed ledger and compares every answer with the right one.
fn look(dir: &Path, right: &Answers) -> Outcome {
    let named =
        !audit::verify(dir, &dev(), time(COUNT).plus(3 * 86_400), &mut |_| {}).is_ok_and(|report| report.is_clean());
    let mut ledger = match open(dir) {
        Ok(ledger) => ledger,
        Err(error) => {
            assert!(error.to_string().contains(&dir.display().to_string()), "names no file: {error}");
            return Outcome::Refused;
        }
    };
    assert_eq!(ledger.summary(), right.summary, "what was acknowledged is all there");
    let mut whole = true;
    for (position, transaction) in right.transactions.iter().enumerate() {
        whole &= read(&ledger, position as u64, transaction).is_ok();
        // Entries one by one, so that one that cannot be read hides no other.
        match ledger.scan(Position::new(position as u64), 1) {
            Ok(entries) => assert_eq!(entries, right.scan[position..=position], "scan entry {position}"),
            Err(_) => whole = false,
        }
    }
    match ledger.days(0, usize::MAX) {
        Ok(days) => assert_eq!(days, right.days),
        Err(_) => whole = false,
    }
    match ledger.blocks(0, usize::MAX) {
        Ok(blocks) => assert_eq!(blocks, right.blocks),
        Err(_) => whole = false,
    }
    let agrees = agrees(&ledger);
    let told = ledger.store().notices().iter().any(Notice::is_damage);
    match (whole, named) {
        (false, _) => Outcome::Unreadable,
        (true, true) => Outcome::Named,
        (true, false) => {
            // What no answer showed is no contradiction that waits for another question either, or it was told of.
            assert!(told || matches!(agrees, Ok(true)), "not told of: {agrees:?}, {:?}", ledger.store().notices());
            if told { Outcome::Told } else { Outcome::Harmless }
        }
    }
}

/// What it took to mend a ledger.
#[derive(Clone, Copy, Debug, Default)]
struct Mended {
    /// Opening, reading and upkeep left an index that does not follow from the log.
    by_rebuild: bool,
    /// The log itself was damaged.
    by_repair: bool,
}

/// Mends a ledger: by itself where that is enough, else by a repair and from the intact one.
fn mend(dir: &Path, right: &Answers) -> Mended {
    let now = time(COUNT).plus(3 * 86_400);
    let mut mended = Mended::default();
    // As a node does it: open, read, flush, upkeep. The second time, what reading found is made anew.
    for _ in 0..2 {
        if let Ok(mut ledger) = open(dir) {
            drop(agrees(&ledger));
            drop(ledger.flush_now(now));
        }
    }
    if let Ok(ledger) = open(dir)
        && !matches!(agrees(&ledger), Ok(true))
    {
        mended.by_rebuild = true;
        drop(ledger);
        let store = DiskStore::open_with(dir, &dev(), [0x33; 16], options(), &mut |_, _| {});
        if let Ok(mut ledger) = store.and_then(|store| Ledger::rebuild_index(dev(), store)) {
            ledger.flush_now(now).unwrap();
        }
    }
    let clean = || audit::verify(dir, &dev(), now, &mut |_| {}).is_ok_and(|report| report.is_clean());
    if !clean() {
        let repaired = repair::repair(dir, &dev(), [0x44; 16], now, &mut |_| {}).unwrap();
        assert!(repaired.set_aside.is_dir());
        mended.by_repair = true;
    }
    let mut ledger = open(dir).unwrap();
    for transaction in &right.transactions {
        match ledger.append(rules::verify(&dev(), transaction.clone()).unwrap(), now, false) {
            Ok(_) | Err(AppendError::Refused(Refusal::Known)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    ledger.flush_now(now).unwrap();
    assert_eq!(ledger.summary().digest, right.summary.digest, "the same set");
    assert_eq!(ledger.check_index(&mut |_| {}).unwrap(), IndexCheck::Agrees);
    drop(ledger);
    assert!(clean(), "mended");
    mended
}

#[test]
fn every_corruption_is_detected_or_harmless_and_mended() {
    let rounds = rounds(1_000, 60);
    let line = Line::of(1_000);
    let home = tempfile::tempdir().unwrap();
    let sound = home.path().join("sound");
    make(&sound, &line);
    let right = {
        let mut ledger = open(&sound).unwrap();
        let right = answers(&mut ledger).unwrap();
        ledger.flush_now(time(COUNT)).unwrap();
        right
    };
    let seed = seed();
    let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
    let mut repairs = 0;
    for round in 0..rounds {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(round as u64));
        let dir = home.path().join(format!("{round}")).join("ledger");
        copy(&sound, &dir);
        let what = corrupt(&dir, &mut rng);
        // Told when the test fails: libtest shows it then.
        println!("round {round}, QASEDAK_SEED={}: {what}", seed.wrapping_add(round as u64));
        let outcome = look(&dir, &right);
        let mended = mend(&dir, &right);
        // What follows from a log that is whole is made anew without anybody's doing.
        assert!(!mended.by_rebuild || mended.by_repair, "{outcome:?}: upkeep does not mend it");
        repairs += usize::from(mended.by_repair);
        *outcomes.entry(outcome).or_default() += 1;
        fs::remove_dir_all(dir.parent().unwrap()).unwrap();
    }
    println!("{rounds} corruptions: {outcomes:?}, {repairs} logs repaired, all else mended by opening and upkeep");
}
