//! The physical limits: the bare Diffie-Hellman and the bare look-up, without anything of the scanner around them.

use std::{collections::HashSet, hint::black_box, thread};

use foldhash::quality::RandomState;
use qasedak_chain::store::ScanEntry;

use crate::fixture::bytes_of;

/// X25519 of every entry's author with each of so many secrets, split among threads.
pub fn diffie_hellmans(entries: &[ScanEntry], identities: usize, threads: usize) {
    let secrets: Vec<[u8; 32]> =
        (0..identities as u64).map(|nth| bytes_of(nth, "scan key", 32).try_into().unwrap()).collect();
    let secrets = &secrets;
    thread::scope(|scope| {
        for part in entries.chunks(entries.len().div_ceil(threads)) {
            scope.spawn(move || {
                for entry in part {
                    secrets.iter().for_each(|secret| diffie_hellman(secret, &entry.author_u));
                }
            });
        }
    });
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn diffie_hellman(secret: &[u8; 32], their: &[u8; 32]) {
    use graviola::key_agreement::x25519::{PublicKey, StaticPrivateKey};
    assert!(graviola::util::is_cpu_supported(), "this processor has no bare rate to measure against");
    let shared = StaticPrivateKey::from_array(secret).diffie_hellman(&PublicKey::from_array(black_box(their)));
    black_box(shared.is_ok());
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn diffie_hellman(_: &[u8; 32], _: &[u8; 32]) {
    panic!("there is no graviola for this processor, so no bare rate to measure against");
}

/// Looks every entry's hint up in a hash table of tags; how many are there.
pub fn look_ups(tags: &HashSet<u128, RandomState>, hints: &[[u8; 16]]) -> usize {
    hints.iter().filter(|hint| tags.contains(&u128::from_le_bytes(*black_box(*hint)))).count()
}
