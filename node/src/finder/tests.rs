//! A finder on a real ledger: it finds what the wallet's own scan finds, over pages, restarts and damage.

use std::{collections::BTreeSet, fs, path::PathBuf};

use qasedak_chain::{TxId, retention::Keep};
use qasedak_wallet::{Draft, Wallet};
use rand::RngExt;

use super::*;
use crate::{
    node::write,
    testing::{append_at, append_header_of_letter, card_of, ledger, letter, wallet},
};

fn place(ledger: &RwLock<DiskLedger>) -> Draft {
    let (parents, time) = write(ledger, |ledger| ledger.next_place(now(), &mut rng().unwrap())).unwrap();
    Draft::new(parents, time)
}

fn append(ledger: &RwLock<DiskLedger>, transaction: &Transaction) {
    append_at(ledger, transaction, now());
}

fn end(ledger: &RwLock<DiskLedger>) -> Position {
    Position::new(read(ledger, |ledger| ledger.summary().count))
}

fn file_of(wallet: &Wallet, path: &Path) -> ScanKeyFile {
    wallet.export_scan_key("", path, &mut rng().unwrap()).unwrap();
    read_file(path, &Network::dev()).unwrap()
}

fn finder(home: &Path, file: &ScanKeyFile, ledger: &Arc<RwLock<DiskLedger>>) -> Finder {
    Finder::open(&Network::dev(), &home.join("found"), file.clone(), Arc::clone(ledger)).unwrap()
}

/// Everything from `after` on, page by page, and where it ended.
fn all(finder: &Finder, mut after: u64) -> (Vec<TxId>, u64) {
    let mut ids = Vec::new();
    loop {
        let page = finder.page(after).unwrap();
        let read = |bytes: &Vec<u8>| Transaction::from_bytes(&Network::dev(), bytes).unwrap();
        ids.extend(page.transactions.iter().map(read).inspect(|tx| assert!(tx.body().is_some())).map(|tx| tx.id()));
        after = page.next;
        if !page.more {
            return (ids, after);
        }
    }
}

/// The files of bodies.
fn bodies(home: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.join("ledger").join("bodies")).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "seg"))
        .collect()
}

#[test]
fn a_finder_finds_what_the_wallet_s_own_scan_finds() {
    let home = tempfile::tempdir().unwrap();
    let ledger = ledger(&home.path().join("ledger"));
    let (mut ann, mut bob) = (wallet(home.path(), 1), wallet(home.path(), 2));
    let ((first, to_ann), (second, to_bob)) = (card_of(&mut ann, &place(&ledger)), card_of(&mut bob, &place(&ledger)));
    [&first, &second].iter().for_each(|card| append(&ledger, card));
    let file = file_of(&ann, &home.path().join("ann.scan"));
    let (mut found, mut cursor, mut expected) = (Vec::new(), 0, Vec::new());
    let seed = std::env::var("QASEDAK_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("QASEDAK_SEED={seed}");
    let mut dice: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(seed);
    for round in 0..4 {
        // Each round is a restart of the finder.
        let finder = finder(home.path(), &file, &ledger);
        for n in 0..dice.random_range(10..40) {
            let place = place(&ledger);
            let transaction = match dice.random_range(0..4) {
                0 | 1 => letter(&bob, &to_ann, &format!("{round} {n}"), &place),
                2 => letter(&ann, &to_bob, "for Bob", &place),
                _ => card_of(&mut ann, &place).0,
            };
            append(&ledger, &transaction);
        }
        finder.step(end(&ledger)).unwrap();
        let (came, next) = all(&finder, cursor);
        found.extend(came);
        cursor = next;
        let entries = read(&ledger, |ledger| ledger.scan(Position::new(0), 10_000)).unwrap();
        let id = |index: usize| {
            read(&ledger, |ledger| ledger.transaction(Position::new(index as u64))).unwrap().unwrap().id()
        };
        expected = ann.scanner().matches(&entries).into_iter().map(id).collect();
        assert_eq!(found, expected, "in order, each once, over rounds and pages");
        assert_eq!(all(&finder, 0).0, expected);
    }
    // The same list is not one of Bob's; his own file finds his.
    let bobs = finder(home.path(), &file_of(&bob, &home.path().join("bob.scan")), &ledger);
    bobs.step(end(&ledger)).unwrap();
    let theirs: BTreeSet<TxId> = all(&bobs, 0).0.into_iter().collect();
    assert!(!theirs.is_empty() && expected.iter().all(|id| !theirs.contains(id)));
}

#[test]
fn a_damaged_body_waits_and_is_handed_over_once_it_is_whole() {
    let home = tempfile::tempdir().unwrap();
    let ledger = ledger(&home.path().join("ledger"));
    let (mut ann, bob) = (wallet(home.path(), 1), wallet(home.path(), 2));
    let to_ann = card_of(&mut ann, &place(&ledger)).1;
    let finder = finder(home.path(), &file_of(&ann, &home.path().join("ann.scan")), &ledger);
    let letters: Vec<Transaction> = (0..2).map(|n| letter(&bob, &to_ann, &n.to_string(), &place(&ledger))).collect();
    append(&ledger, &letters[0]);
    let [path]: [PathBuf; 1] = bodies(home.path()).try_into().unwrap();
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    let last = damaged.len() - 100;
    damaged[last] ^= 1;
    fs::write(&path, &damaged).unwrap();
    finder.step(end(&ledger)).unwrap();
    assert!(all(&finder, 0).0.is_empty());
    append(&ledger, &letters[1]);
    finder.step(end(&ledger)).unwrap();
    let (came, cursor) = all(&finder, 0);
    assert_eq!(came, [letters[1].id()]);

    // Mended, it comes behind the cursor that was given.
    let mut mended = fs::read(&path).unwrap();
    mended[..whole.len()].copy_from_slice(&whole);
    fs::write(&path, mended).unwrap();
    finder.step(end(&ledger)).unwrap();
    assert_eq!(all(&finder, cursor).0, [letters[0].id()]);

    // One that is damaged after it was found is handed over from its copy.
    let mut again = fs::read(&path).unwrap();
    again[last] ^= 1;
    fs::write(&path, again).unwrap();
    let page = finder.page(0).unwrap();
    assert_eq!((page.transactions.len(), page.missing, page.more), (2, 0, false));
}

/// The ledger has no room for a body any more; what was found is handed over all the same, and until it ends.
#[test]
fn what_was_found_is_kept_although_the_ledger_drops_its_body() {
    let home = tempfile::tempdir().unwrap();
    let ledger = ledger(&home.path().join("ledger"));
    let (mut ann, bob) = (wallet(home.path(), 1), wallet(home.path(), 2));
    let to_ann = card_of(&mut ann, &place(&ledger)).1;
    let file = file_of(&ann, &home.path().join("ann.scan"));
    let letter = letter(&bob, &to_ann, "hello", &place(&ledger));
    append(&ledger, &letter);
    finder(home.path(), &file, &ledger).step(end(&ledger)).unwrap();
    write(&ledger, |ledger| {
        ledger.keep_bodies(Keep::Budget(1));
        while !ledger.prune(now()).unwrap().is_nothing() {}
    });
    assert!(read(&ledger, |ledger| ledger.transaction(Position::new(0))).unwrap().unwrap().body().is_none());
    let finder = finder(home.path(), &file, &ledger);
    let page = finder.page(0).unwrap();
    assert_eq!((page.transactions, page.missing), (vec![letter.to_bytes()], 0));
    let ends = letter.core().time().plus(u64::from(letter.core().lifetime_secs()));
    finder.list().let_go(ends).unwrap();
    let page = finder.page(0).unwrap();
    assert_eq!((page.transactions.len(), page.missing), (0, 1));
}

/// Nothing is left of what was found for someone whom the node does not find for any more, nor of a list that was damaged.
#[test]
fn lists_that_nobody_looks_after_are_removed() {
    let home = tempfile::tempdir().unwrap();
    let ledger = ledger(&home.path().join("ledger"));
    let ann = wallet(home.path(), 1);
    let keys = [1, 2].map(|n| file_of(&ann, &home.path().join(format!("{n}.scan"))));
    keys.iter().for_each(|key| drop(finder(home.path(), key, &ledger)));
    let found = home.path().join("found");
    let [kept, other] = keys.each_ref().map(|key| hex::encode(key.list_name()));
    fs::rename(found.join(&other), found.join(format!("{kept}.old-1"))).unwrap();
    drop(finder(home.path(), &keys[1], &ledger));
    fs::write(found.join("notes"), "of somebody").unwrap();
    assert_eq!(fs::read_dir(&found).unwrap().count(), 4);
    remove_other_lists(&found, &keys[..1]).unwrap();
    let left: BTreeSet<_> = fs::read_dir(&found).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, BTreeSet::from([kept.as_str().into(), "notes".into()]));
    remove_other_lists(&home.path().join("nothing"), &keys).unwrap();
}

/// However many headers come without bodies: what is found beyond them is handed over once its body is there.
#[test]
fn a_flood_of_headers_keeps_nothing_from_the_owner_for_good() {
    let home = tempfile::tempdir().unwrap();
    let ledger = ledger(&home.path().join("ledger"));
    let (mut ann, bob) = (wallet(home.path(), 1), wallet(home.path(), 2));
    let to_ann = card_of(&mut ann, &place(&ledger)).1;
    let draft = place(&ledger);
    let file = file_of(&ann, &home.path().join("ann.scan"));
    let letters: Vec<Transaction> =
        (0..UNREAD_MAX + 2).map(|_| append_header_of_letter(&ledger, &bob, &to_ann, &draft)).collect();
    write(&ledger, |ledger| ledger.flush_now(now())).unwrap();
    finder(home.path(), &file, &ledger).step(end(&ledger)).unwrap();
    let last = letters.last().unwrap();
    write(&ledger, |ledger| ledger.attach_body(last, now())).unwrap();
    // That some found no room is known over a restart.
    let finder = finder(home.path(), &file, &ledger);
    finder.step(end(&ledger)).unwrap();
    assert_eq!(all(&finder, 0).0, [last.id()]);
    let place = finder.list().place(read(&ledger, |ledger| ledger.store().log_id()));
    let given_up = Some(Position::new(UNREAD_MAX as u64));
    assert_eq!((place.waiting.len(), place.given_up), (UNREAD_MAX, given_up));
}

#[test]
fn pages_are_bounded_in_number_and_bytes() {
    let home = tempfile::tempdir().unwrap();
    let ledger = ledger(&home.path().join("ledger"));
    let (mut ann, bob) = (wallet(home.path(), 1), wallet(home.path(), 2));
    let to_ann = card_of(&mut ann, &place(&ledger)).1;
    let finder = finder(home.path(), &file_of(&ann, &home.path().join("ann.scan")), &ledger);
    let long = "x".repeat(60_000);
    for n in 0..20 {
        append(&ledger, &letter(&bob, &to_ann, &format!("{n}{long}"), &place(&ledger)));
    }
    finder.step(end(&ledger)).unwrap();
    let page = finder.page(0).unwrap();
    let bytes: usize = page.transactions.iter().map(Vec::len).sum();
    assert!(page.more && (PAGE_BYTES..PAGE_BYTES + 66_000).contains(&bytes), "{bytes}");
    assert_eq!(all(&finder, 0).0.len(), 20);
}

#[test]
fn too_many_files_and_one_twice_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let ann = wallet(home.path(), 1);
    let paths: Vec<PathBuf> = (0..FILES_MAX + 1).map(|n| home.path().join(format!("{n}.scan"))).collect();
    paths.iter().for_each(|path| drop(file_of(&ann, path)));
    let dev = Network::dev();
    assert_eq!(read_files(&paths, &dev).unwrap_err().code(), 2);
    assert_eq!(read_files(&paths[1..], &dev).unwrap().len(), FILES_MAX);
    assert_eq!(read_files(&[paths[0].clone(), paths[0].clone()], &dev).unwrap_err().code(), 2);
    // A copy is the same file, too; what has no end is given up.
    fs::copy(&paths[0], home.path().join("copy")).unwrap();
    assert_eq!(read_files(&[paths[0].clone(), home.path().join("copy")], &dev).unwrap_err().code(), 2);
    #[cfg(unix)]
    assert!(read_file(Path::new("/dev/zero"), &dev).is_err());
}
