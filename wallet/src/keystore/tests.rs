//! The keystore: there and back, wrong passphrases, changed files, bounds, and the file itself.

use std::fs;

use super::*;
use crate::testing::rng;

fn with_epoch(day: u64) -> Secrets {
    let mut secrets = Secrets::generate(&Phrase::from_entropy(&[3; 32]).unwrap(), [4; 32], &mut rng(1));
    secrets.add_epoch(day, &[day as u8; 32]).unwrap();
    secrets
}

fn secrets() -> Secrets {
    with_epoch(20_000)
}

fn sealed() -> Vec<u8> {
    seal(&secrets(), "correct horse", KdfCost::for_tests(), &mut rng(2)).unwrap()
}

#[test]
fn round_trip() {
    let opened = unseal(&sealed(), "correct horse").unwrap();
    assert_eq!(opened, secrets());
    assert_eq!(opened.phrase().unwrap().entropy(), &[3; 32]);
    assert_eq!(opened.epoch_days().collect::<Vec<_>>(), [20_000]);
}

#[test]
fn a_wrong_passphrase_and_a_changed_file_look_the_same() {
    let file = sealed();
    for wrong in ["", "correct hors", "Correct horse", "correct horse "] {
        assert_eq!(unseal(&file, wrong), Err(KeystoreError::Unlock), "{wrong}");
    }
    for place in 0..file.len() {
        let mut changed = file.clone();
        changed[place] ^= 1;
        assert_eq!(unseal(&changed, "correct horse"), Err(KeystoreError::Unlock), "{place}");
    }
    for len in [0, 8, HEAD_BYTES, HEAD_BYTES + 15, file.len() - 1] {
        assert_eq!(unseal(&file[..len], "correct horse"), Err(KeystoreError::Unlock), "{len}");
    }
    let longer = [file.as_slice(), &[0]].concat();
    assert_eq!(unseal(&longer, "correct horse"), Err(KeystoreError::Unlock));
}

#[test]
fn costs_are_bounded_before_any_memory_is_taken() {
    for (memory, passes, lanes) in [(7, 1, 1), (1024 * 1024 + 1, 1, 1), (u32::MAX, 1, 1), (8, 0, 1), (8, 17, 1)] {
        assert_eq!(KdfCost::bounded(memory, passes, lanes), None);
    }
    for lanes in [0, 5, u32::MAX] {
        assert_eq!(KdfCost::bounded(1024, 1, lanes), None);
    }
    assert_eq!(KdfCost::bounded(15, 1, 2), None);
    assert_eq!(KdfCost::bounded(65_536, 3, 1), Some(KdfCost::STANDARD));
    let mut greedy = sealed();
    greedy[9..13].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(unseal(&greedy, "correct horse"), Err(KeystoreError::Unlock));
}

#[test]
fn a_newer_file_is_refused_as_such() {
    let mut newer = sealed();
    newer[8] = 2;
    assert_eq!(unseal(&newer, "correct horse"), Err(KeystoreError::Newer));
    assert_eq!(unseal(&newer[..20], "correct horse"), Err(KeystoreError::Newer));
}

#[test]
fn the_standard_cost_stands_in_the_file() {
    let file = seal(&secrets(), "correct horse", KdfCost::STANDARD, &mut rng(2)).unwrap();
    assert_eq!(&file[..21], b"qsd-keys\x01\0\0\x01\0\x03\0\0\0\x01\0\0\0");
    assert_eq!(unseal(&file, "correct horse"), Ok(secrets()));
}

#[test]
fn passphrases_are_normalised() {
    let file = seal(&secrets(), "caf\u{e9} \u{622}", KdfCost::for_tests(), &mut rng(2)).unwrap();
    assert!(unseal(&file, "cafe\u{301} \u{627}\u{653}").is_ok());
    assert_eq!(seal(&secrets(), "", KdfCost::for_tests(), &mut rng(2)), Err(KeystoreError::EmptyPassphrase));
}

#[test]
fn payloads_are_read_strictly() {
    let good = secrets().to_bytes().unwrap();
    assert_eq!(Secrets::from_bytes(&good), Some(secrets()));
    let change = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.to_vec();
        change(&mut bytes);
        Secrets::from_bytes(&bytes)
    };
    assert_eq!(change(&|b| b[0] = 2), None);
    assert_eq!(change(&|b| b.push(0)), None);
    assert_eq!(change(&|b| b[129] = 0), None);
    assert!(
        change(&|b| {
            b.truncate(131);
            b[129] = 0
        })
        .is_some()
    );
    assert_eq!(change(&|b| b[129] = 2), None);
    assert_eq!(change(&|b| b[131..139].fill(0)), None);
    // A second key for the same day, or for an earlier one.
    for day in [20_000_u64, 19_999] {
        let two = change(&|b| {
            b[129] = 2;
            b.extend_from_slice(&day.to_le_bytes());
            b.extend_from_slice(&[1; 32]);
        });
        assert_eq!(two, None);
    }
    let mut many = Secrets::generate(&Phrase::from_entropy(&[3; 32]).unwrap(), [4; 32], &mut rng(1));
    // In no order: the keystore keeps them in theirs.
    for day in (1..=EPOCHS_MAX as u64).rev() {
        many.add_epoch(day, &[7; 32]).unwrap();
    }
    let file = seal(&many, "x", KdfCost::for_tests(), &mut rng(2)).unwrap();
    assert!(file.len() as u64 <= FILE_MAX_BYTES);
    assert_eq!(unseal(&file, "x").as_ref(), Ok(&many));
    assert_eq!(many.add_epoch(5, &[1; 32]), Ok(()));
    assert_eq!(many.epoch(5), Some(&[7; 32]));
    assert_eq!(many.add_epoch(5_000, &[1; 32]), Err(KeystoreError::Full));
    assert_eq!(many.add_epoch(0, &[1; 32]), Err(KeystoreError::Full));
    assert!(many.drop_epochs_before(1_000) && !many.drop_epochs_before(1_000));
    assert_eq!(many.epoch_days().collect::<Vec<_>>(), (1_000..=EPOCHS_MAX as u64).collect::<Vec<_>>());
}

#[test]
fn a_file_is_written_once_and_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keystore");
    fs::write(dir.path().join("keystore.new"), "left by a crash").unwrap();
    file::write_new(&path, &sealed()).unwrap();
    assert_eq!(file::read(&path).unwrap(), Some(sealed()));
    assert!(!dir.path().join("keystore.new").exists());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    fs::write(&path, vec![0; 200_000]).unwrap();
    assert_eq!(file::read(&path).unwrap().unwrap().len() as u64, FILE_MAX_BYTES + 1);
    assert_eq!(file::read(&dir.path().join("none")).unwrap(), None);
}

#[test]
fn debug_shows_nothing() {
    assert_eq!(format!("{:?}", secrets()), "Secrets(…)");
}

/// Whoever holds the old file open reads zeros from it: its bytes were overwritten, not only unlinked.
#[cfg(unix)]
#[test]
fn a_replaced_file_is_overwritten() {
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keystore");
    file::write_new(&path, &sealed()).unwrap();
    let mut old = fs::File::open(&path).unwrap();
    let newer = seal(&with_epoch(30_000), "x", KdfCost::for_tests(), &mut rng(5)).unwrap();
    assert!(matches!(file::replace(&path, &newer).unwrap(), file::Replaced::Well));
    assert_eq!(file::read(&path).unwrap(), Some(newer));
    let mut left = Vec::new();
    old.read_to_end(&mut left).unwrap();
    assert!(left.len() == sealed().len() && left.iter().all(|byte| *byte == 0));
    let mut open = fs::File::open(&path).unwrap();
    file::remove(&path).unwrap();
    file::remove(&path).unwrap();
    left.clear();
    open.read_to_end(&mut left).unwrap();
    assert!(!path.exists() && left.iter().all(|byte| *byte == 0));
}
