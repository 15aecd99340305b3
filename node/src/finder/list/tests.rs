//! The list over restarts, damage and floods.

use std::fs;

use qasedak_wallet::ScanKeyFile;
use rand::SeedableRng;

use super::*;

const LOG: [u8; 16] = [7; 16];

fn rng() -> StdRng {
    StdRng::seed_from_u64(5)
}

/// The file of some scan key: what a wallet writes, put together by hand.
fn file(secret: u8) -> ScanKeyFile {
    use qasedak_chain::hash::{Context, hash_prefix};
    let dev = Network::dev();
    let checked = [b"qsd-scan\x01".as_slice(), dev.ledger().as_bytes(), &[secret; 32], &[9; 32]].concat();
    let check: [u8; 16] = hash_prefix(Context::ScanKeyFile, &[&checked]);
    ScanKeyFile::from_bytes(&dev, &[checked.as_slice(), &check].concat()).unwrap()
}

fn open(dir: &Path) -> FoundList {
    FoundList::open(dir, &Network::dev(), file(1).list_key(), &mut rng()).unwrap()
}

fn row(id: u32, until: u64) -> FoundRow {
    let mut bytes = [0xa5; 32];
    bytes[..4].copy_from_slice(&id.to_le_bytes());
    FoundRow { id: TxId::from_bytes(bytes), until }
}

fn step(next: u64, found: &[FoundRow]) -> Step {
    Step {
        log: LOG,
        next: Position::new(next),
        found: found.iter().map(|row| Found { row: *row, bytes: vec![1; 8] }).collect(),
        waiting: Vec::new(),
        given_up: None,
    }
}

fn ids(list: &FoundList, after: u64) -> Vec<FoundRow> {
    list.behind(after, usize::MAX).unwrap().0.into_iter().map(|(_, row)| row).collect()
}

#[test]
fn what_was_found_is_there_after_a_restart_in_its_order_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut list = open(dir.path());
    list.keep(step(10, &[row(3, 50), row(1, 60)]), &mut rng()).unwrap();
    // The same again, as after a crash or in a new log; one of them twice in a step.
    list.keep(step(20, &[row(1, 60), row(2, 70), row(2, 70)]), &mut rng()).unwrap();
    let (first, more) = list.behind(0, 2).unwrap();
    assert!(more);
    assert_eq!(ids(&list, first[1].0), [row(2, 70)]);
    drop(list);
    let list = open(dir.path());
    assert_eq!(ids(&list, 0), [row(3, 50), row(1, 60), row(2, 70)]);
    assert_eq!(ids(&list, first[1].0), [row(2, 70)], "a cursor holds over a restart");
    assert_eq!(list.place(LOG).next, Position::new(20));
    assert_eq!(list.place([8; 16]).next, Position::new(0), "another log is scanned from its start");
}

#[test]
fn numbers_are_not_used_twice_and_ended_entries_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut list = open(dir.path());
    list.keep(step(1, &[row(1, 50), row(2, 60)]), &mut rng()).unwrap();
    let last = list.behind(0, 9).unwrap().0[1].0;
    list.let_go(Time::from_secs(60)).unwrap();
    assert!(ids(&list, 0).is_empty() && list.len() == 0);
    drop(list);
    let mut list = open(dir.path());
    list.keep(step(2, &[row(3, 90)]), &mut rng()).unwrap();
    assert_eq!(ids(&list, last), [row(3, 90)]);
    // What went is found again when a new log is scanned, and is no stranger.
    list.keep(Step { log: [8; 16], ..step(1, &[row(1, 95)]) }, &mut rng()).unwrap();
    assert_eq!(ids(&list, last), [row(3, 90), row(1, 95)]);
}

#[test]
fn positions_without_a_find_are_not_committed_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut list = open(dir.path());
    list.keep(step(1, &[row(1, 50)]), &mut rng()).unwrap();
    let bytes = || fs::read(dir.path().join("journal.seg")).unwrap().len();
    let before = bytes();
    (2..4_000).for_each(|next| list.keep(step(next, &[]), &mut rng()).unwrap());
    assert_eq!((bytes(), list.place(LOG).next), (before, Position::new(3_999)));
    list.keep(step(5_000, &[]), &mut rng()).unwrap();
    assert!(bytes() > before);
    drop(list);
    assert_eq!(open(dir.path()).place(LOG).next, Position::new(5_000));
}

/// A stranger who floods cannot make the list grow beyond its bound; what ends last stays.
#[test]
fn a_full_list_lets_go_what_ends_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut list = open(dir.path());
    let lasting = row(0, u64::MAX);
    list.keep(step(1, &[lasting]), &mut rng()).unwrap();
    let count = FOUND_MAX as u32 + 100;
    for (n, part) in (1..=count).collect::<Vec<_>>().chunks(8_192).enumerate() {
        let found: Vec<FoundRow> = part.iter().map(|id| row(*id, 1_000 + u64::from(*id))).collect();
        list.keep(step(n as u64 + 2, &found), &mut rng()).unwrap();
    }
    assert_eq!(list.len(), FOUND_MAX);
    let left = ids(&list, 0);
    assert_eq!((left.len(), left[0], left[1].until), (FOUND_MAX, lasting, 1_000 + 102));
}

#[test]
fn what_waits_for_its_body_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let mut list = open(dir.path());
    let waiting = vec![Position::new(3), Position::new(4)];
    let given_up = Some(Position::new(6));
    let place = Place { next: Position::new(9), waiting, given_up };
    let waits = Step { waiting: place.waiting.clone(), given_up, ..step(9, &[]) };
    list.keep(waits, &mut rng()).unwrap();
    drop(list);
    let mut list = open(dir.path());
    assert_eq!(list.place(LOG), place);
    list.keep(step(9, &[]), &mut rng()).unwrap();
    drop(list);
    assert_eq!(open(dir.path()).place(LOG).given_up, None);
}

fn with_bytes(number: u32, until: u64, length: usize) -> Found {
    Found { row: row(number, until), bytes: vec![number as u8; length] }
}

/// What ends first has no copy any more, when there are too many bytes of them. The entries stay.
#[test]
fn copies_have_a_bound_of_their_own() {
    const LENGTH: usize = 64 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let mut list = open(dir.path());
    let most = COPIES_MAX_BYTES / (LENGTH as u64 + 40);
    let count = most as u32 + 100;
    for part in (1..=count).collect::<Vec<_>>().chunks(100) {
        let found = part.iter().map(|n| with_bytes(*n, 1_000_000 + u64::from(*n), LENGTH)).collect();
        list.keep(Step { found, ..step(u64::from(part[0]), &[]) }, &mut rng()).unwrap();
    }
    for list in [list, open(dir.path())] {
        let kept = list.behind(0, usize::MAX).unwrap().0;
        assert_eq!(kept.len(), count as usize);
        let copies: Vec<bool> = kept.iter().map(|(cursor, _)| list.copy(*cursor).is_some()).collect();
        assert_eq!(copies.iter().filter(|has| **has).count() as u64, most);
        assert!(copies[..100].iter().all(|has| !has));
        assert_eq!(list.copy(kept[100].0), Some(vec![101; LENGTH]));
        drop(list);
    }
}

/// A copy goes when its message ends, from the file, too; its entry stays for as long as the body may be on disks.
#[test]
fn copies_that_have_ended_are_gone_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut list = open(dir.path());
    let end = 1_000_000;
    let found = vec![with_bytes(1, end + KEPT_FOR_SECS, 50_000), with_bytes(2, 2 * end + KEPT_FOR_SECS, 60_000)];
    list.keep(Step { found, ..step(2, &[]) }, &mut rng()).unwrap();
    let cursors: Vec<u64> = list.behind(0, 9).unwrap().0.iter().map(|(cursor, _)| *cursor).collect();
    let has = |list: &FoundList| cursors.iter().map(|cursor| list.copy(*cursor).is_some()).collect::<Vec<_>>();
    let bytes = || fs::metadata(dir.path().join("journal.seg")).unwrap().len();
    list.let_go(Time::from_secs(end - 1)).unwrap();
    assert_eq!((has(&list), bytes() > 110_000), (vec![true, true], true));
    list.let_go(Time::from_secs(end)).unwrap();
    list.let_go(Time::from_secs(end + ANEW_EVERY_SECS)).unwrap();
    assert_eq!((has(&list), list.len(), bytes() < 61_000), (vec![false, true], 2, true), "{}", bytes());
    drop(list);
    let mut list = open(dir.path());
    assert_eq!((has(&list), list.len()), (vec![false, true], 2));
    // At a start it is not known whether something is left over.
    list.let_go(Time::from_secs(end + KEPT_FOR_SECS)).unwrap();
    assert_eq!((has(&list), list.len()), (vec![false, true], 1));
}

/// The disk does not tell for whom or what: neither ids nor the key stand in it, and another file's key reads none of it.
#[test]
fn the_files_tell_nothing_without_the_scan_key_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut list = open(dir.path());
    list.keep(step(1, &[row(1, 50)]), &mut rng()).unwrap();
    drop(list);
    for file in fs::read_dir(dir.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(8).any(|window| [[0xa5; 8], [1; 8], [9; 8]].contains(&window.try_into().unwrap())));
    }
    let other = FoundList::read(dir.path(), &Network::dev(), &file(2).list_key()).unwrap();
    assert!(other.is_none());
}

/// One that went bad under a running node is as if it were not there; the others are.
#[test]
fn a_damaged_copy_keeps_no_other_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut list = open(dir.path());
    let found = vec![with_bytes(1, u64::MAX, 5_000), with_bytes(2, u64::MAX, 5_000)];
    list.keep(Step { found, ..step(2, &[]) }, &mut rng()).unwrap();
    let path = dir.path().join("journal.seg");
    let mut bytes = fs::read(&path).unwrap();
    // In the middle of the first.
    bytes[3_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let kept = list.behind(0, 9).unwrap().0;
    assert_eq!(kept.len(), 2);
    assert_eq!(kept.iter().map(|(cursor, _)| list.copy(*cursor)).collect::<Vec<_>>(), [None, Some(vec![2; 5_000])]);
}

/// A damaged list is set aside, not lost, and the next one gives its cursors another meaning.
#[test]
fn a_damaged_list_is_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("list");
    let mut list = open(&dir);
    list.keep(step(1, &[row(1, 50)]), &mut rng()).unwrap();
    let cursor = list.behind(0, 1).unwrap().0[0].0;
    drop(list);
    let path = dir.join("journal.seg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[140] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut list = FoundList::open(&dir, &Network::dev(), file(1).list_key(), &mut StdRng::seed_from_u64(6)).unwrap();
    assert!(home.path().join("list.old-1").exists());
    assert_eq!(list.place(LOG).next, Position::new(0));
    list.keep(step(1, &[row(1, 50)]), &mut rng()).unwrap();
    assert_eq!(ids(&list, cursor), [row(1, 50)], "who comes with the old cursor starts anew");
}

/// Whatever stands behind the encryption: what is accepted has this one form, and nothing is reserved for what is not there.
#[test]
fn a_state_has_one_form() {
    let good = State { list: 7, log: LOG, next: 9, last: 3, waiting: vec![1, 5] }.to_bytes();
    let again = |bytes: &[u8]| State::from_bytes(bytes).map(|state| state.to_bytes());
    assert_eq!(again(&good), Some(good.clone()));
    assert!((0..good.len()).all(|length| again(&good[..length]).is_none()));
    assert_eq!(again(&[good.as_slice(), &[0]].concat()), None);
    for bit in 0..good.len() * 8 {
        let mut changed = good.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(again(&changed).is_none_or(|bytes| bytes == changed), "bit {bit}");
    }
    let many = State { waiting: vec![1; UNREAD_MAX + 1], ..State::default() };
    assert_eq!(again(&many.to_bytes()), None);
}
