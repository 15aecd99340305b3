//! The physical limits: bare primitives and raw files, without anything of the ledger around them.

use std::{
    fs::File,
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use ed25519_dalek::{Signature, VerifyingKey};
use equix::{EquiXBuilder, RuntimeOption, Solution};
use qasedak_chain::{Network, Transaction};
#[cfg(target_os = "linux")]
use rustix::fs::{Advice, fadvise};

use crate::pipeline::{CHECKERS, CHUNK};

/// What the bare checks need of a transaction, laid out before the clock starts.
pub struct Bare {
    seed: [u8; 40],
    solution: Solution,
    author: VerifyingKey,
    message: [u8; 32],
    signature: Signature,
    wire: Vec<u8>,
}

impl Bare {
    pub fn new(network: &Network, wire: &[u8]) -> Self {
        let transaction = Transaction::from_bytes(network, wire).unwrap();
        let header = transaction.header();
        let mut seed = [0; 40];
        seed[..32].copy_from_slice(&header.signed().challenge(network));
        seed[32..].copy_from_slice(&header.stamp().nonce().to_le_bytes());
        Self {
            seed,
            solution: Solution::try_from_bytes(header.stamp().solution()).unwrap(),
            author: VerifyingKey::from_bytes(header.core().author()).unwrap(),
            message: header.core().signing_message(network),
            signature: Signature::from_bytes(header.signed().signature()),
            wire: wire.to_vec(),
        }
    }

    /// Equi-X, `verify_strict`, BLAKE3 over every byte.
    pub fn check(&self) -> bool {
        let puzzle = EquiXBuilder::new().runtime(RuntimeOption::InterpretOnly).verify(&self.seed, &self.solution);
        let hash = blake3::hash(&self.wire);
        puzzle.is_ok()
            && self.author.verify_strict(&self.message, &self.signature).is_ok()
            && hash.as_bytes() != &[0; 32]
    }
}

/// Bare checks on all cores, everything appended to one file, fsynced in groups as they come. Returns the time taken.
pub fn check_and_append(all: &[Bare], path: &Path) -> Duration {
    let mut file = File::create(path).unwrap();
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<&[Bare]>(64);
        for _ in 0..CHECKERS {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(chunk) = all.chunks(CHUNK).nth(next.fetch_add(1, Ordering::Relaxed)) {
                    assert!(chunk.iter().all(Bare::check));
                    sender.send(chunk).unwrap();
                }
            });
        }
        drop(sender);
        while let Ok(first) = receiver.recv() {
            let mut group: Vec<u8> = first.iter().flat_map(|bare| bare.wire.iter().copied()).collect();
            for chunk in receiver.try_iter() {
                chunk.iter().for_each(|bare| group.extend_from_slice(&bare.wire));
            }
            file.write_all(&group).unwrap();
            file.sync_all().unwrap();
        }
    });
    start.elapsed()
}

/// Appends `groups` to one file, with an fsync behind each.
pub fn append(groups: &[Vec<u8>], path: &Path) -> Duration {
    let mut file = File::create(path).unwrap();
    let start = Instant::now();
    for group in groups {
        file.write_all(group).unwrap();
        file.sync_all().unwrap();
    }
    start.elapsed()
}

/// Reads a whole file in pieces of 1 MiB.
pub fn read(path: &Path) -> Duration {
    let file = File::open(path).unwrap();
    let (mut piece, mut at) = (vec![0; 1 << 20], 0);
    let start = Instant::now();
    loop {
        let read = file.read_at(&mut piece, at).unwrap();
        if read == 0 {
            return start.elapsed();
        }
        at += read as u64;
    }
}

/// Files whose content can be put out of memory.
pub struct Cached {
    pub paths: Vec<PathBuf>,
    files: Vec<File>,
}

impl Cached {
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { files: paths.iter().map(|path| File::open(path).unwrap()).collect(), paths }
    }

    /// Puts them out of memory, so that the next read of any of them goes to the disk. Elsewhere than on Linux they stay.
    pub fn evict(&self) {
        for file in &self.files {
            #[cfg(target_os = "linux")]
            fadvise(file, 0, None, Advice::DontNeed).unwrap();
            #[cfg(not(target_os = "linux"))]
            let _ = file;
        }
    }
}

/// Reads `len` bytes at each offset, and returns what each took in seconds. `before` is called before each, and not timed.
pub fn read_at(path: &Path, offsets: &[u64], len: usize, before: impl Fn()) -> Vec<f64> {
    let file = File::open(path).unwrap();
    let mut piece = vec![0; len];
    offsets
        .iter()
        .map(|offset| {
            before();
            let start = Instant::now();
            file.read_at(&mut piece, *offset).unwrap();
            start.elapsed().as_secs_f64()
        })
        .collect()
}

/// BLAKE3 in `derive_key` mode over `len` bytes, `count` times.
pub fn hash(count: usize, len: usize) -> Duration {
    let (bytes, mut sum) = (vec![7u8; len], 0u8);
    let start = Instant::now();
    for _ in 0..count {
        let mut hasher = blake3::Hasher::new_derive_key("qasedak tests 2026 bench limit");
        sum ^= hasher.update(std::hint::black_box(&bytes)).finalize().as_bytes()[0];
    }
    std::hint::black_box(sum);
    start.elapsed()
}

/// The hashes of a path in a Merkle tree of `leaves` ids: a leaf, and a node for each level.
pub fn path(leaves: u64) -> Duration {
    hash(1, 65) + hash(leaves.next_power_of_two().ilog2() as usize, 97)
}

/// The hashes of a Merkle tree of `leaves` ids: a leaf hashes 65 bytes, a node 97.
pub fn tree(leaves: usize) -> Duration {
    hash(leaves, 65) + hash(leaves, 97)
}
