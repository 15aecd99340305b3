//! Keeping checkpoints: what the book keeps and for whose sake, and that the file on disk loses none of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say by panicking that something is wrong")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;
use qasedak_chain::{
    Digest, Link, Network, Root, Time,
    book::{
        Book, CHECKPOINTS_MAX, ESTABLISHED_MAX, ESTABLISHED_SECS, EVIDENCE_MAX, Entry, Evidence, Kept, LOGS_MAX,
        NEWCOMER_CHECKPOINTS_MAX, NEWCOMERS_MAX,
    },
    checkpoint::{Checkpoint, Contradiction, SIGNED_BYTES, SignedCheckpoint, Statement, judge},
    store::{StoreError, checkpoints::Checkpoints, disk::DiskCheckpoints},
};

const FILE: &str = "checkpoints.seg";
/// Bytes of the file header.
const HEADER: usize = 128;
/// Bytes of a record that holds one checkpoint.
const RECORD: usize = 8 + SIGNED_BYTES + 13;

fn key(number: u64) -> SigningKey {
    let mut secret = [1; 32];
    secret[..8].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_bytes(&secret)
}

fn start() -> Time {
    Network::dev().start().plus(1_000_000)
}

/// The checkpoint of a signer over its first `count` transactions; `fork` makes another log of the same name.
fn checkpoint(signer: u64, log: u8, count: u64, fork: u8) -> SignedCheckpoint {
    let network = Network::dev();
    let bytes = |what: u8| {
        let mut bytes = [what; 32];
        bytes[..8].copy_from_slice(&count.to_le_bytes());
        bytes[8] = fork;
        bytes
    };
    let statement = Statement {
        log: [log; 16],
        count,
        link: Link::from_bytes(bytes(1)),
        root: Root::from_bytes(bytes(2)),
        digest: Digest::from_bytes(bytes(3)),
        closed: None,
        time: start().plus(count),
    };
    let key = key(signer);
    let unsigned = Checkpoint::new(&network, statement).unwrap();
    unsigned.sign(&network, key.verifying_key().to_bytes(), |message| key.sign(message).to_bytes()).unwrap()
}

fn public(signer: u64) -> [u8; 32] {
    key(signer).verifying_key().to_bytes()
}

fn peer(signer: u64, log: u8, count: u64, received: Time) -> Entry {
    Entry::Peer(Kept { checkpoint: checkpoint(signer, log, count, 0), received })
}

fn evidence(signer: u64, received: Time) -> Entry {
    let (first, second) = (checkpoint(signer, 1, 9, 0), checkpoint(signer, 1, 9, 1));
    let reason = judge(&Network::dev(), &first, &second, None).unwrap_err();
    assert_eq!(reason, Contradiction::Link);
    Entry::Evidence(Box::new(Evidence { first, second, path: Vec::new(), reason, received }))
}

#[test]
fn a_flood_of_throw_away_keys_displaces_only_its_like() {
    let mut book = Book::new();
    // Known for two days, and silent since.
    book.insert(peer(1, 1, 5, start()));
    book.insert(peer(1, 1, 9, start().plus(2 * ESTABLISHED_SECS)));
    // Accused on the first day.
    book.insert(peer(2, 1, 5, start()));
    book.insert(evidence(2, start()));
    for flooder in 0..3 * NEWCOMERS_MAX as u64 {
        book.insert(peer(1_000 + flooder, 1, 1, start().plus(3 * ESTABLISHED_SECS)));
    }
    assert_eq!(book.newest(&public(1)).unwrap().checkpoint, checkpoint(1, 1, 9, 0));
    assert_eq!(book.newest(&public(2)), None, "a newcomer like the others");
    assert_eq!(book.evidence().filter(|kept| kept.signer() == &public(2)).count(), 1);
    assert_eq!(book.signers(), NEWCOMERS_MAX + 1);
    assert!(book.newest(&public(1_000 + 3 * NEWCOMERS_MAX as u64 - 1)).is_some(), "the last one is here");
}

#[test]
fn of_too_many_established_signers_the_one_known_least_long_gives_way() {
    let mut book = Book::new();
    for signer in 0..ESTABLISHED_MAX as u64 + 1 {
        book.insert(peer(signer, 1, 1, start()));
        // The first is known least long.
        book.insert(peer(signer, 1, 2, start().plus(ESTABLISHED_SECS + signer)));
    }
    assert_eq!(book.signers(), ESTABLISHED_MAX);
    assert!(book.newest(&public(0)).is_none() && book.newest(&public(1)).is_some());
}

#[test]
fn evidence_is_bounded_kept_once_a_reason_and_never_gives_way() {
    let mut book = Book::new();
    assert!(book.insert(evidence(0, start())));
    assert!(!book.insert(evidence(0, start().plus(60))), "the same reason again");
    let kept = (1..1_000).filter(|signer| book.insert(evidence(*signer, start()))).count();
    assert_eq!(kept, EVIDENCE_MAX - 1);
    // Against a signer that has been known for long there is room still.
    book.insert(peer(5_000, 1, 5, start()));
    book.insert(peer(5_000, 1, 6, start().plus(ESTABLISHED_SECS)));
    assert!(book.insert(evidence(5_000, start())));
    assert_eq!(Book::of(book.entries()).evidence().count(), EVIDENCE_MAX + 1);
    assert!(book.evidence().any(|kept| kept.signer() == &public(0)));
}

#[test]
fn first_and_newest_of_a_log_stay_and_those_between_spread_out() {
    let mut book = Book::new();
    let day = ESTABLISHED_SECS;
    (0..200).for_each(|n| assert!(book.insert(peer(1, 1, n + 1, start().plus(n * day)))));
    let counts: Vec<u64> = book.of_peers().map(|kept| kept.checkpoint.statement().count).collect();
    assert_eq!(counts.len(), CHECKPOINTS_MAX);
    assert_eq!((counts.first(), counts.last()), (Some(&1), Some(&200)));
    let widest = counts.windows(2).map(|two| two[1] - two[0]).max().unwrap();
    assert!(widest <= 200 / CHECKPOINTS_MAX as u64 * 4, "{counts:?}");
    // A newcomer has less room, and nobody more than a few logs.
    (0..50).for_each(|n| assert!(book.insert(peer(2, 1, n + 1, start().plus(n)))));
    let of_two = book.of_peers().filter(|kept| kept.checkpoint.signer() == &public(2)).count();
    assert_eq!(of_two, NEWCOMER_CHECKPOINTS_MAX);
    (0..50).for_each(|log| assert!(book.insert(peer(3, log, 1, start().plus(u64::from(log))))));
    assert_eq!(book.newest_of_all().filter(|kept| kept.checkpoint.signer() == &public(3)).count(), LOGS_MAX);
    assert_eq!(book.newest(&public(3)).unwrap().checkpoint.statement().log, [49; 16]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A book made of another's entries keeps exactly the same.
    #[test]
    fn entries_make_the_same_book(moves in prop::collection::vec((0u64..6, 0u8..5, 1u64..40, 0u64..6), 0..120)) {
        let mut book = Book::new();
        let mut now = start();
        for (signer, log, count, days) in moves {
            // The own clock never runs back.
            now = now.plus(days * ESTABLISHED_SECS / 8);
            book.insert(peer(signer, log, count, now));
            if log == 0 {
                book.insert(evidence(signer, start()));
            }
        }
        prop_assert_eq!(Book::of(book.entries()).entries(), book.entries());
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

fn open(dir: &Path) -> DiskCheckpoints {
    DiskCheckpoints::open(dir, &Network::dev()).unwrap()
}

/// Own ones, peers' and evidence.
fn some() -> Vec<Entry> {
    let own = Entry::Own(Kept { checkpoint: checkpoint(0, 9, 3, 0), received: start() });
    let mut entries = vec![own];
    entries.extend((1..6).map(|n| peer(n % 2 + 1, 1, n, start().plus(n))));
    entries.insert(3, evidence(7, start()));
    entries
}

fn filled(dir: &Path) -> Vec<Entry> {
    let disk = open(dir);
    some().iter().for_each(|entry| disk.keep(entry).unwrap());
    disk.book().unwrap().entries()
}

#[test]
fn what_was_kept_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let entries = filled(dir.path());
    assert_eq!(entries, some());
    assert_eq!(open(dir.path()).book().unwrap().entries(), entries);
    assert_eq!(DiskCheckpoints::read(dir.path(), &Network::dev()).unwrap().entries(), entries);
    assert!(DiskCheckpoints::read(&dir.path().join("none"), &Network::dev()).unwrap().entries().is_empty());
}

#[test]
fn a_torn_tail_is_cut_and_nothing_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let entries = filled(dir.path());
    let whole = fs::read(path(dir.path())).unwrap();
    for cut in whole.len() - RECORD + 1..whole.len() {
        fs::write(path(dir.path()), &whole[..cut]).unwrap();
        // A write that broke off was not told of.
        fs::remove_file(dir.path().join("checkpoints.end")).unwrap();
        let disk = open(dir.path());
        assert_eq!(disk.book().unwrap().entries(), entries[..entries.len() - 1], "cut at {cut}");
        assert!(disk.damage().is_empty(), "cut at {cut}: {:?}", disk.damage());
        // It goes on from there.
        disk.keep(entries.last().unwrap()).unwrap();
        drop(disk);
        assert_eq!(fs::read(path(dir.path())).unwrap(), whole);
    }
}

#[test]
fn every_flipped_bit_costs_one_entry_at_most_and_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let entries = filled(dir.path());
    let whole = fs::read(path(dir.path())).unwrap();
    let spread = (0..whole.len()).step_by(7).chain(0..HEADER + 8).chain(whole.len() - RECORD..whole.len());
    for at in spread {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(path(dir.path()), &bytes).unwrap();
        let opened = DiskCheckpoints::open(dir.path(), &Network::dev());
        if let Err(error) = &opened {
            // Only the file header can say that the file is of another version or network; its check fails first.
            panic!("byte {at}: {error}");
        }
        let disk = opened.unwrap();
        assert!(!disk.damage().is_empty(), "byte {at} went unnoticed");
        let left = disk.book().unwrap().entries();
        let lost = entries.iter().filter(|entry| !left.contains(entry)).count();
        assert!(lost <= usize::from(at >= HEADER), "byte {at} cost {lost} entries");
        drop(disk);
        assert!(open(dir.path()).damage().is_empty(), "the new file is whole");
    }
    let aside = fs::read_dir(dir.path())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("damaged"));
    assert_eq!(aside.count(), 8, "the last ones are kept, and no more");
}

#[test]
fn a_newer_version_and_another_network_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let whole = fs::read(path(dir.path())).unwrap();
    let other = DiskCheckpoints::open(dir.path(), &Network::named("other").unwrap());
    assert!(matches!(other, Err(StoreError::Foreign { .. })), "{other:?}");
    let mut newer = whole[..HEADER].to_vec();
    newer[8..12].copy_from_slice(&1_000_u32.to_le_bytes());
    let check = qasedak_chain::hash::hash(qasedak_chain::hash::Context::Record, &[&newer[..120]]);
    newer[120..].copy_from_slice(&check[..8]);
    let newer = [&newer[..], &whole[HEADER..]].concat();
    fs::write(path(dir.path()), &newer).unwrap();
    let refused = DiskCheckpoints::open(dir.path(), &Network::dev());
    assert!(matches!(refused, Err(StoreError::Foreign { .. })), "{refused:?}");
    assert_eq!(fs::read(path(dir.path())).unwrap(), newer);
}

/// What was kept and is cut off is told of, and all else is kept on.
#[test]
fn a_cut_behind_which_something_was_kept_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let entries = filled(dir.path());
    let whole = fs::read(path(dir.path())).unwrap();
    let told = fs::read(dir.path().join("checkpoints.end")).unwrap();
    for cut in (HEADER..whole.len()).step_by(29) {
        fs::write(path(dir.path()), &whole[..cut]).unwrap();
        fs::write(dir.path().join("checkpoints.end"), &told).unwrap();
        let disk = open(dir.path());
        assert!(disk.damage().iter().any(|damage| damage.contains("are gone")), "cut at {cut}");
        let left = disk.book().unwrap().entries();
        assert!(left.len() < entries.len() && left.iter().all(|entry| entries.contains(entry)));
        drop(disk);
        assert!(open(dir.path()).damage().is_empty(), "told once");
    }
}

#[test]
fn the_file_is_bounded_and_two_processes_do_not_share_it() {
    let dir = tempfile::tempdir().unwrap();
    let bound = 20_000;
    let disk = DiskCheckpoints::open_with_bound(dir.path(), &Network::dev(), bound).unwrap();
    for n in 0..300 {
        disk.keep(&peer(1, 1, n + 1, start().plus(n))).unwrap();
        let len = fs::metadata(path(dir.path())).unwrap().len();
        assert!(len < bound + RECORD as u64, "{len} after {n}");
    }
    assert!(matches!(DiskCheckpoints::open(dir.path(), &Network::dev()), Err(StoreError::InUse { .. })));
    let entries = disk.book().unwrap().entries();
    drop(disk);
    assert_eq!(open(dir.path()).book().unwrap().newest(&public(1)), Book::of(entries).newest(&public(1)));
}
