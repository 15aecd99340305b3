//! Files of blocks give what was kept, or nothing.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say by panicking that something is wrong")]

use std::fs;

use super::*;
use crate::network::Network;

fn blocks(dir: &Path, log_id: [u8; 16]) -> Blocks {
    Blocks::new(dir.join("blocks"), Network::dev().ledger(), log_id)
}

/// More than one checked piece of them.
fn content(seed: u8) -> Vec<u8> {
    (0..1_500u32).map(|at| (at % 251) as u8 ^ seed).collect()
}

#[test]
fn what_was_kept_last_is_read_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let kept = blocks(dir.path(), [3; 16]);
    assert!(kept.kept(7).is_none());
    kept.keep(7, &content(0)).unwrap();
    kept.keep(7, &content(1)).unwrap();
    kept.keep(8, &content(2)).unwrap();
    let seven = kept.kept(7).unwrap();
    assert_eq!(seven.read(0, 1_500), Some(content(1)));
    assert_eq!(seven.read(980, 10), Some(content(1)[980..990].to_vec()));
    assert_eq!((seven.read(1_490, 11), seven.read(1_600, 1)), (None, None));
    // Another log's are none.
    assert!(blocks(dir.path(), [4; 16]).kept(7).is_none());
    // One block's file under another's name is none either.
    fs::copy(dir.path().join("blocks/8.blk"), dir.path().join("blocks/9.blk")).unwrap();
    assert!(kept.kept(9).is_none() && kept.kept(8).is_some());
    kept.reset().unwrap();
    assert!(kept.kept(8).is_none());
}

/// A byte that changed anywhere, or a cut: what is read is right, or nothing is.
#[test]
fn damage_is_nothing_kept() {
    let dir = tempfile::tempdir().unwrap();
    let kept = blocks(dir.path(), [3; 16]);
    kept.keep(7, &content(0)).unwrap();
    let path = dir.path().join("blocks/7.blk");
    let sound = fs::read(&path).unwrap();
    assert_eq!(sound.len(), 128 + 1_500 + 2 * 8);
    for at in 0..sound.len() {
        let mut changed = sound.clone();
        changed[at] ^= 1 << (at % 8);
        for bytes in [&changed[..], &sound[..at]] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(kept.kept(7).and_then(|kept| kept.read(0, 1_500)), None, "byte {at}");
        }
    }
    kept.keep(7, &content(0)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), sound);
}

/// A file of a later format is done without, and left alone.
#[test]
fn a_newer_file_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let kept = blocks(dir.path(), [3; 16]);
    kept.keep(7, &content(0)).unwrap();
    let path = dir.path().join("blocks/7.blk");
    let mut newer = fs::read(&path).unwrap();
    newer[8] += 1;
    let check: [u8; 8] = crate::hash::hash_prefix(crate::hash::Context::Record, &[&newer[..120]]);
    newer[120..128].copy_from_slice(&check);
    fs::write(&path, &newer).unwrap();
    assert!(kept.kept(7).is_none());
    kept.keep(7, &content(1)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), newer);
}
