//! The disk fails at any call while a wallet is made, opened, changed, exported, imported or wiped: whatever was there opens
//! as before, and nothing half made passes for a wallet or an export.

use qasedak_chain::store::disk::faults;

use super::*;

/// Does something with a wallet wherever the disk may fail; `look` is told whether it went well.
fn at_any_call(prepare: &dyn Fn(&Path), act: &dyn Fn(&Path) -> Result<(), WalletError>, look: &dyn Fn(&Path, bool)) {
    let look = |home: &Path, done: Result<(), WalletError>, _| look(home, done.is_ok());
    let places = faults::at_any_call(|| tempfile::tempdir().unwrap(), prepare, act, look);
    assert!(places > 0, "nothing was tried");
}

fn opens(dir: &Path, passphrase: &str) -> bool {
    match Wallet::open(dir, &Network::dev(), passphrase, NOW) {
        Ok(wallet) => {
            assert_eq!(wallet.contacts().count(), 1);
            true
        }
        Err(error) => {
            assert!(matches!(error, WalletError::Keystore(KeystoreError::Unlock)), "{error:?}");
            false
        }
    }
}

fn with_contact(home: &Path) {
    let mut wallet = create(&home.join("wallet"));
    wallet.add_contact("Ann", person(1).card.address()).unwrap();
}

#[test]
fn a_wallet_is_made_whole_or_not_at_all() {
    let make = |home: &Path| {
        let cost = KdfCost::for_tests();
        let dir = home.join("wallet");
        Wallet::create(&dir, &Network::dev(), &phrase(), PASSPHRASE, cost, NOW, &mut rng(1)).map(drop)
    };
    let look = |home: &Path, done: bool| {
        let dir = home.join("wallet");
        if Wallet::exists(&dir).unwrap() {
            let wallet = reopen(&dir);
            assert_eq!(wallet.address(), create(&home.join("same")).address());
        } else {
            assert!(!done);
            create(&dir);
        }
    };
    at_any_call(&|_| (), &make, &look);
}

#[test]
fn after_a_failed_change_of_passphrase_one_of_the_two_opens_and_the_error_says_which() {
    let said = std::cell::RefCell::new(None);
    let change = |home: &Path| {
        let mut wallet = Wallet::open(&home.join("wallet"), &Network::dev(), PASSPHRASE, NOW)?;
        let changed = wallet.change_passphrase("new", KdfCost::for_tests(), &mut rng(2));
        *said.borrow_mut() = Some(matches!(changed, Err(WalletError::EitherPassphrase(_))));
        changed
    };
    let look = |home: &Path, done: bool| {
        let (old, new) = (opens(&home.join("wallet"), PASSPHRASE), opens(&home.join("wallet"), "new"));
        assert_ne!(old, new);
        let either = said.take().unwrap_or_default();
        assert!(if done { new } else { old || either }, "done {done}, old {old}, either {either}");
        assert!(!home.join("wallet/keystore.new").exists(), "opening removes what was left");
    };
    at_any_call(&with_contact, &change, &look);
}

#[test]
fn a_failed_export_leaves_no_file_or_a_whole_one_and_the_wallet_as_it_was() {
    let export = |home: &Path| {
        let wallet = Wallet::open(&home.join("wallet"), &Network::dev(), PASSPHRASE, NOW)?;
        wallet.export(&home.join("file"), "export", KdfCost::for_tests(), &mut rng(3))
    };
    let look = |home: &Path, done: bool| {
        assert!(opens(&home.join("wallet"), PASSPHRASE));
        let (file, cost) = (home.join("file"), KdfCost::for_tests());
        let dir = home.join("copy");
        if done {
            Wallet::import(&dir, &Network::dev(), &file, "export", "x", cost, NOW, &mut rng(4)).unwrap();
            assert!(opens(&dir, "x"));
        }
    };
    at_any_call(&with_contact, &export, &look);
}

#[test]
fn a_failed_import_leaves_no_wallet_and_the_next_one_works() {
    let prepare = |home: &Path| {
        with_contact(home);
        let wallet = reopen(&home.join("wallet"));
        wallet.export(&home.join("file"), "export", KdfCost::for_tests(), &mut rng(3)).unwrap();
    };
    let import = |home: &Path| {
        let (file, cost) = (home.join("file"), KdfCost::for_tests());
        let made = Wallet::import(&home.join("copy"), &Network::dev(), &file, "export", "x", cost, NOW, &mut rng(4));
        assert!(!matches!(made, Err(WalletError::BadExport { .. })), "an export that could not be read is no bad one");
        made.map(drop)
    };
    let look = |home: &Path, done: bool| {
        let dir = home.join("copy");
        if Wallet::exists(&dir).unwrap() {
            assert!(opens(&dir, "x"));
        } else {
            assert!(!done);
            import(home).unwrap();
            assert!(opens(&dir, "x"));
        }
    };
    at_any_call(&prepare, &import, &look);
}

#[test]
fn what_is_left_of_a_failed_wiping_is_wiped_by_the_next() {
    let wipe = |home: &Path| Wallet::wipe(&home.join("wallet"));
    let look = |home: &Path, done: bool| {
        let dir = home.join("wallet");
        assert!(!done || !dir.exists());
        if Wallet::exists(&dir).unwrap() {
            Wallet::wipe(&dir).unwrap();
            assert!(!dir.exists());
        }
    };
    at_any_call(&with_contact, &wipe, &look);
}

#[test]
fn a_scan_key_file_is_written_whole_or_not_at_all() {
    let export = |home: &Path| {
        let wallet = Wallet::open(&home.join("wallet"), &Network::dev(), PASSPHRASE, NOW)?;
        wallet.export_scan_key("", &home.join("file"), &mut rng(3)).map(drop)
    };
    let look = |home: &Path, done: bool| {
        let read = fs::read(home.join("file"));
        assert!(!done || crate::finding::ScanKeyFile::from_bytes(&Network::dev(), &read.unwrap()).is_ok());
        assert!(opens(&home.join("wallet"), PASSPHRASE));
    };
    at_any_call(&with_contact, &export, &look);
}
