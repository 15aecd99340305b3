//! Keys in memory, as Linux tells of them: locked while a wallet is open, and no more when it is closed.
//!
//! One test in a process of its own: the system counts the locked pages of the whole process.

#![cfg(target_os = "linux")]
// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use qasedak_chain::{Network, Time, time::RELEASE_SECS};
use qasedak_wallet::{KdfCost, Phrase, Wallet};
use rand::{SeedableRng, rngs::StdRng};

/// KiB of this process that are locked in memory.
fn locked_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

#[test]
fn keys_are_locked_while_a_wallet_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let (network, now, path) = (Network::dev(), Time::from_secs(RELEASE_SECS), dir.path().join("wallet"));
    let mut rng = StdRng::seed_from_u64(7);
    let phrase = Phrase::generate(&mut rng).unwrap();
    assert_eq!(locked_kib(), 0);
    let mut wallet = Wallet::create(&path, &network, &phrase, "p", KdfCost::for_tests(), now, &mut rng).unwrap();
    if !wallet.keys_locked() {
        assert!(std::env::var_os("CI").is_none(), "this system refuses to lock a few pages");
        println!("skipped: this system refuses to lock a few pages");
        return;
    }
    let before = locked_kib();
    assert!(before > 0, "it says that its keys are locked, and the system knows of none");
    wallet.add_identity("work").unwrap();
    assert!(wallet.keys_locked() && locked_kib() > before, "a new identity's keys are locked too");
    drop(wallet);
    assert_eq!(locked_kib(), 0);

    let wallet = Wallet::open(&path, &network, "p", now).unwrap();
    let open = locked_kib();
    assert!(wallet.keys_locked() && open > before, "{open} KiB");
    // What finds for the wallet shares its pages.
    let scanner = wallet.scanner();
    assert_eq!(locked_kib(), open);
    drop(wallet);
    assert!((1..open).contains(&locked_kib()), "the scanner keeps its own keys locked");
    drop(scanner);
    assert_eq!(locked_kib(), 0);
    // A wrong passphrase leaves nothing behind.
    assert!(Wallet::open(&path, &network, "q", now).is_err());
    assert_eq!(locked_kib(), 0);
}
