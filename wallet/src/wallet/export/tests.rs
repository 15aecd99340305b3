//! Exports: a wallet moves whole, no byte of the file may change, and wiping leaves no key.

use std::fs;

use qasedak_chain::{Position, TxId};

use super::*;
use crate::{
    Account, Phrase,
    card::Card,
    testing::{NOW, draft, message, person, rng, with_idle_stamp},
    wallet::{LogId, Scanned},
};

const LOG: LogId = LogId::from_bytes([1; 16]);

fn cost() -> KdfCost {
    KdfCost::for_tests()
}

/// A wallet with something of everything, and the export of it.
fn exported(long: usize) -> (tempfile::TempDir, std::path::PathBuf, Wallet) {
    let home = tempfile::tempdir().unwrap();
    let phrase = Phrase::from_entropy(&[9; 32]).unwrap();
    let dir = home.path().join("old");
    let mut wallet = Wallet::create(&dir, &Network::dev(), &phrase, "old", cost(), NOW, &mut rng(1)).unwrap();
    let ann = person(1);
    wallet.add_contact("Ann", ann.card.address()).unwrap();
    wallet.add_identity("work").unwrap();
    let place = crate::Draft { time: NOW.rounded_down(), ..draft() };
    let card = wallet.make_card(Account::default(), NOW, None, &place, &mut rng(2)).unwrap();
    let card = Card::open(wallet.network(), &wallet.address(), &with_idle_stamp(card)).unwrap();
    for n in 0..3u64 {
        let text = format!("{n}{}", "x".repeat(long));
        let sealed = crate::seal::seal(&Network::dev(), &ann.keys, &card, message(&text), &place, &mut rng(n)).unwrap();
        let opened = vec![wallet.open_transaction(&with_idle_stamp(sealed.unstamped)).unwrap()];
        let scanned = Scanned { next: Position::new(n), opened, ..Scanned::default() };
        wallet.record_scanned(&LOG, scanned, NOW).unwrap();
        let sealed = wallet.seal(&ann.card, message(&text), &place, &mut rng(n)).unwrap();
        wallet.record_sent(TxId::from_bytes([n as u8; 32]), &sealed.record).unwrap();
    }
    let file = home.path().join("wallet.export");
    wallet.export(&file, "export", cost(), &mut rng(7)).unwrap();
    (home, file, wallet)
}

fn import(file: &Path, dir: &Path, passphrase: &str, now: Time) -> Result<Wallet, WalletError> {
    Wallet::import(dir, &Network::dev(), file, passphrase, "new", cost(), now, &mut rng(8))
}

#[test]
fn a_wallet_moves_whole() {
    // Long texts, so that there are several chunks.
    let (home, file, old) = exported(60_000);
    assert!(fs::metadata(&file).unwrap().len() > CHUNK_MAX_BYTES as u64);
    let dir = home.path().join("new");
    let new = import(&file, &dir, "export", NOW).unwrap();
    assert_eq!(new.inbox(None, 9).unwrap(), old.inbox(None, 9).unwrap());
    assert_eq!(new.sent(None, 9).unwrap(), old.sent(None, 9).unwrap());
    assert_eq!(new.identities().collect::<Vec<_>>(), old.identities().collect::<Vec<_>>());
    assert_eq!(new.contacts().collect::<Vec<_>>(), old.contacts().collect::<Vec<_>>());
    assert_eq!(new.seal_keys(Account::default()).count(), 1);
    drop(new);
    assert!(Wallet::open(&dir, &Network::dev(), "new", NOW).is_ok());
    assert!(Wallet::open(&dir, &Network::dev(), "export", NOW).is_err());
    assert!(matches!(import(&file, &dir, "export", NOW), Err(WalletError::Exists { .. })));
    assert!(matches!(old.export(&file, "x", cost(), &mut rng(1)), Err(WalletError::Store(_))), "never over a file");
    let other =
        Wallet::import(&home.path().join("m"), &Network::main(), &file, "export", "n", cost(), NOW, &mut rng(1));
    assert!(matches!(other, Err(WalletError::OtherNetwork { .. })));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn what_has_expired_since_is_gone_at_once() {
    let (home, file, _old) = exported(1);
    let new = import(&file, &home.path().join("new"), "export", NOW.plus(31 * 86_400)).unwrap();
    assert_eq!(new.inbox(None, 9).unwrap().len(), 0);
}

#[test]
fn every_change_is_refused_and_leaves_no_wallet() {
    let (home, file, _old) = exported(1);
    let good = fs::read(&file).unwrap();
    let changed = home.path().join("changed");
    let dir = home.path().join("new");
    let refused = |bytes: &[u8], passphrase: &str| {
        fs::write(&changed, bytes).unwrap();
        assert!(import(&changed, &dir, passphrase, NOW).is_err());
        assert!(!Wallet::exists(&dir).unwrap());
    };
    refused(&good, "wrong");
    // Every byte of the head and the fronts of chunks, and some of the rest: the AEAD covers all of it alike.
    let places =
        (0..HEAD_BYTES + 40).chain((HEAD_BYTES + 40..good.len()).step_by(131)).chain(good.len() - 20..good.len());
    for place in places {
        let mut bytes = good.clone();
        bytes[place] ^= 1;
        refused(&bytes, "export");
    }
    for length in [0, 8, HEAD_BYTES, HEAD_BYTES + 5, good.len() - 1] {
        refused(&good[..length], "export");
    }
    refused(&[good.as_slice(), &[0]].concat(), "export");
    // The last chunk left out: the one before it is not marked as last.
    let first = u32::from_le_bytes(good[HEAD_BYTES..HEAD_BYTES + 4].try_into().unwrap()) as usize;
    refused(&good[..HEAD_BYTES + 5 + first], "export");
}

#[test]
fn wiping_destroys_the_keys_first() {
    let (home, file, old) = exported(1);
    let dir = home.path().join("old");
    assert!(matches!(Wallet::wipe(&dir), Err(WalletError::InUse { .. })));
    drop(old);
    let mut keystore = fs::File::open(dir.join("keystore")).unwrap();
    Wallet::wipe(&dir).unwrap();
    assert!(!dir.exists());
    let mut left = Vec::new();
    keystore.read_to_end(&mut left).unwrap();
    assert!(left.iter().all(|byte| *byte == 0), "overwritten, not only unlinked");
    assert!(matches!(Wallet::wipe(&dir), Err(WalletError::Missing { .. })));
    assert!(import(&file, &dir, "export", NOW).is_ok());
}
