//! Seeds, directories, amounts, and what to do where the machine lacks something.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// How many rounds: the whole amount with `QASEDAK_SOAK=1`, else a small one.
pub fn rounds(soak: usize, small: usize) -> usize {
    let given = std::env::var("QASEDAK_ROUNDS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(if std::env::var_os("QASEDAK_SOAK").is_some() { soak } else { small })
}

/// A number that differs from run to run and replays with `QASEDAK_SEED`; printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    let given = std::env::var("QASEDAK_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| getrandom::u64().unwrap());
    println!("seed: QASEDAK_SEED={seed}");
    seed
}

/// Says that a test is left out. In CI nothing may be.
pub fn skip(why: &str) {
    println!("SKIPPED: {why}");
    assert!(std::env::var("CI").is_err(), "skipped in CI: {why}");
}

/// Copies a directory with all below it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file below a directory, in order of their names.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
