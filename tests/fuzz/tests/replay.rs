//! Replays the seed corpus of every fuzz target, and mutations of it, as a plain test on stable Rust.
//!
//! A crash that libFuzzer or this test finds goes into the corpus with its mend, and stays there. `QASEDAK_FUZZ_MS` is how
//! long each target is given mutations (50 ms without it); `QASEDAK_SEED` repeats a run.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr)]

use std::{
    collections::BTreeSet,
    fs,
    panic::{catch_unwind, resume_unwind},
    path::PathBuf,
    time::{Duration, Instant},
};

use qasedak_fuzz::{
    TARGETS,
    chain::{journal_seeds, ledger_seeds},
    export::{entries_seeds, export_seeds, row_seeds},
    p2p::reconcile_seeds,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The seeds of a target, ascending by name.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = here().join("corpus").join(target);
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no corpus");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_seed_and_its_mutations() {
    let seed = number("QASEDAK_SEED").unwrap_or_else(rand::random);
    let span = Duration::from_millis(number("QASEDAK_FUZZ_MS").unwrap_or(50));
    eprintln!("QASEDAK_SEED={seed}");
    for (name, target) in TARGETS {
        let seeds = corpus(name);
        seeds.iter().for_each(|seed| try_one(name, target, seed));
        let (mut rng, began, mut runs) = (StdRng::seed_from_u64(seed), Instant::now(), 0);
        while began.elapsed() < span {
            let mutant = mutated(&mut rng, &seeds);
            try_one(name, target, &mutant);
            runs += 1;
        }
        eprintln!("{name}: {} seeds, {runs} mutations", seeds.len());
    }
}

/// Runs a target; what it panics on is printed, to be put into the corpus.
fn try_one(name: &str, target: fn(&[u8]), data: &[u8]) {
    if let Err(panic) = catch_unwind(|| target(data)) {
        eprintln!("{name} panics on {}", hex::encode(data));
        resume_unwind(panic);
    }
}

/// A seed with one to four changes: bits, bytes, integers at their edges, pieces cut, doubled or from another seed.
fn mutated(rng: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[rng.random_range(0..seeds.len())].clone();
    for _ in 0..rng.random_range(1..5) {
        let at = rng.random_range(0..=bytes.len());
        let end = (at + rng.random_range(0..64)).min(bytes.len());
        match rng.random_range(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = rng.random(),
            2 => {
                let edge = [0, 1, u64::MAX, 1 << 63, 1 << 31, 1 << 32, 1 << 40][rng.random_range(0..7)].to_le_bytes();
                let width = [1, 2, 4, 8][rng.random_range(0..4)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&edge[..width]);
            }
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => {
                let other = &seeds[rng.random_range(0..seeds.len())];
                let from = rng.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend(&other[from..]);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Every target has a program for libFuzzer, which the manifest names, and a corpus; and the other way round.
#[test]
fn targets_and_programs_are_the_same() {
    let names = |dir: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(here().join(dir)).unwrap();
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets, names("fuzz_targets"));
    assert_eq!(targets, names("corpus"));
    let manifest = fs::read_to_string(here().join("Cargo.toml")).unwrap();
    let listed = manifest.split("[[bin]]").skip(1).filter_map(|entry| entry.split('"').nth(1));
    assert_eq!(targets, listed.map(str::to_owned).collect());
}

fn vectors(name: &str) -> Value {
    serde_json::from_slice(&fs::read(here().join(format!("../vectors/{name}.json"))).unwrap()).unwrap()
}

/// Values of one field in two lists of a file of vectors: all golden ones, and some of the rejected.
fn fields(file: &str, lists: &[&str], field: &str) -> Vec<String> {
    let file = vectors(file);
    let of = |list: &&str| {
        file[*list]
            .as_array()
            .unwrap()
            .iter()
            .take(6)
            .map(|case| case[field].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    lists.iter().flat_map(of).collect()
}

fn unhex(texts: Vec<String>) -> Vec<Vec<u8>> {
    texts.iter().map(|text| hex::decode(text).unwrap()).collect()
}

fn texts(texts: Vec<String>) -> Vec<Vec<u8>> {
    texts.into_iter().map(String::into_bytes).collect()
}

fn lines(lines: &[&str]) -> Vec<Vec<u8>> {
    lines.iter().map(|line| line.as_bytes().to_vec()).collect()
}

/// Seeds from the vectors, so that fuzzing begins with what is nearly right.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let both = &["golden", "rejections"][..];
    let transactions = || unhex(fields("transaction", both, "transaction"));
    let span = [0u64, 86_400].map(u64::to_le_bytes).concat();
    let hostile =
        ["", " ", "سلام, می‌خواهم", "a\u{202e}b\u{2066}c", "\u{1b}[2J\r\n\t\u{7f}", "👩\u{200d}👩\u{200d}👧", "Ann"];
    match target {
        "transaction" => transactions(),
        "header" => {
            transactions().into_iter().filter(|bytes| bytes.len() > 219).map(|bytes| bytes[..219].to_vec()).collect()
        }
        "checkpoint" => unhex(fields("checkpoint", both, "signed")),
        "proof" => ["inclusion", "absence", "empty-block"]
            .map(|kind| fs::read(here().join(format!("../vectors/proof-{kind}.json"))).unwrap())
            .to_vec(),
        "network_name" => texts(fields("network", both, "name")),
        "audit" | "recovery" => ledger_seeds(),
        "checkpoints_file" => vec![
            Vec::new(),
            ledger_seeds()
                .into_iter()
                .map(|seed| seed[1..].to_vec())
                .find(|file| file.starts_with(b"qasedakd"))
                .unwrap_or_default(),
        ],
        "card" => unhex(fields("card", &["golden"], "card")),
        "card_body" => unhex(fields("card", &["golden"], "card")),
        "sealed_body" => {
            unhex(fields("seal", both, "transaction")).into_iter().take(4).map(|bytes| bytes[251..].to_vec()).collect()
        }
        "inner" => unhex(fields("seal", &["golden"], "signed"))
            .into_iter()
            .map(|mut bytes| {
                bytes.extend([7; 64]);
                bytes
            })
            .collect(),
        "keystore" => unhex(fields("keystore", both, "file")),
        "keystore_payload" => unhex(fields("keystore", &["golden"], "payload")),
        "scan_key_file" => unhex(fields("scan-key", both, "file")),
        "export" => [export_seeds(), unhex(fields("export", both, "file"))].concat(),
        "export_entries" => entries_seeds(),
        "wallet_row" => row_seeds(),
        "found_row" => unhex(fields("scan-key", &["golden"], "entry")),
        "safety_number" => texts(
            [
                fields("safety", &["golden"], "digits"),
                fields("safety", &["rejections"], "typed"),
                vec!["۰۱۲۳۴ ٥٦٧٨٩\t01234".to_owned()],
            ]
            .concat(),
        ),
        "journal" => journal_seeds(),
        "reconcile" => reconcile_seeds(),
        "frame" => ["request", "response"]
            .into_iter()
            .flat_map(seeds)
            .map(|seed| [&(seed.len() as u32).to_le_bytes()[..], &seed].concat())
            .chain([u32::MAX.to_le_bytes().to_vec(), Vec::new()])
            .collect(),
        "disclosure" => texts(fields("disclosure", &["golden"], "file")),
        "address" => texts(fields("address", both, "address")),
        "words" => {
            texts([fields("derivation", &["golden"], "words"), fields("derivation", &["rejections"], "words")].concat())
        }
        "contact_name" | "display" => lines(&hostile),
        "request" => [
            &[0u32.to_le_bytes().to_vec(), vec![7; 40]],
            &[1u32.to_le_bytes().to_vec(), vec![1; 8]],
            &[4u32.to_le_bytes().to_vec(), vec![0]],
            &[3u32.to_le_bytes().to_vec(), [&1u64.to_le_bytes()[..], &[9; 32], &[0, 1, 0, 0]].concat()],
            &[5u32.to_le_bytes().to_vec(), [&[7; 16][..], &span, &3u64.to_le_bytes(), &[0x61, 0, 0]].concat()],
            &[6u32.to_le_bytes().to_vec(), [&[7; 16][..], &span, &1u64.to_le_bytes(), &[9; 8], &[0, 1, 0, 0]].concat()],
        ]
        .map(|parts| parts.concat())
        .to_vec(),
        "response" => [
            &[0u32.to_le_bytes().to_vec(), vec![7; 40]],
            &[1u32.to_le_bytes().to_vec(), [&1u64.to_le_bytes()[..], &[9; 48]].concat()],
            &[4u32.to_le_bytes().to_vec(), Vec::new()],
            &[5u32.to_le_bytes().to_vec(), vec![0; 9]],
            &[6u32.to_le_bytes().to_vec(), [&[1][..], &3u64.to_le_bytes(), &[0x61, 0, 0]].concat()],
        ]
        .map(|parts| parts.concat())
        .to_vec(),
        other => unreachable!("{other} has no seeds"),
    }
}

#[test]
#[ignore = "writes the seed corpus anew from the vectors; what was found by fuzzing has other names and stays"]
fn write_the_corpus() {
    for (name, _) in TARGETS {
        let dir = here().join("corpus").join(name);
        fs::create_dir_all(&dir).unwrap();
        for (n, seed) in seeds(name).into_iter().enumerate() {
            fs::write(dir.join(format!("seed-{n:02}")), seed).unwrap();
        }
    }
}
