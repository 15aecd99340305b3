//! Passphrase, identities, and what is odd about a contact's keys.

use super::*;

/// What the passphrase opens, and what it opens no more.
#[test]
fn the_passphrase_is_changed_and_holds() {
    let (dir, mut wallet) = fresh();
    wallet.add_contact("kept", person(1).card.address()).unwrap();
    let old = fs::read(dir.path().join("keystore")).unwrap();
    assert!(wallet.change_passphrase("", KdfCost::for_tests(), &mut rng(5)).is_err());
    wallet.change_passphrase("another", KdfCost::for_tests(), &mut rng(6)).unwrap();
    let new = fs::read(dir.path().join("keystore")).unwrap();
    assert_ne!(old[21..37], new[21..37], "a new salt");
    // The keystore goes on being written under the new one.
    own_card(&mut wallet, NOW);
    drop(wallet);
    let open = |passphrase: &str| Wallet::open(dir.path(), &Network::dev(), passphrase, NOW);
    assert!(matches!(open(PASSPHRASE), Err(WalletError::Keystore(KeystoreError::Unlock))));
    assert_eq!(open("another").unwrap().seal_keys(Account::default()).count(), 1);
}

#[test]
fn identities_are_found_by_one_scanner_and_answer_by_their_own_names() {
    let (dir, mut wallet) = fresh();
    let ann = person(1);
    wallet.add_contact("Ann", ann.card.address()).unwrap();
    let work = wallet.add_identity("work").unwrap();
    assert!(matches!(wallet.add_identity("work"), Err(WalletError::NameTaken)));
    assert_ne!(work.address, wallet.address());
    let draft = Draft { time: NOW.rounded_down(), ..draft() };
    let card = with_idle_stamp(wallet.make_card(work.account, NOW, None, &draft, &mut rng(8)).unwrap());
    let card = Card::open(wallet.network(), &work.address, &card).unwrap();
    drop(wallet);
    let mut wallet = reopen(dir.path());
    assert_eq!(wallet.identities().map(|own| own.name).collect::<Vec<_>>(), ["", "work"]);
    let sealed = seal::seal(&Network::dev(), &ann.keys, &card, message("to work"), &draft, &mut rng(4)).unwrap();
    let transaction = crate::testing::stamped(sealed.unstamped);
    let first = own_card(&mut wallet, NOW);
    let to_first = message_from(&ann, &first, "to the first", 5);
    let entries = [&transaction, &to_first, &message_from(&ann, &ann.card, "to herself", 6)].map(|letter| {
        let author = ed25519_dalek::VerifyingKey::from_bytes(letter.core().author()).unwrap();
        let (kind, hint) = (letter.core().kind(), *letter.core().hint());
        qasedak_chain::store::ScanEntry { kind, hint, author_u: author.to_montgomery().to_bytes(), has_body: true }
    });
    assert_eq!(wallet.scanner().matches(&entries), [0, 1], "of both, and of nobody else");
    assert_eq!(wallet.open_transaction(&to_first).unwrap().recipient, wallet.address());
    let opened = wallet.open_transaction(&transaction).unwrap();
    assert_eq!(opened.recipient, work.address);
    let kept = wallet.record_scanned(&LOG, up_to(1, vec![opened]), NOW).unwrap().kept;
    assert_eq!(kept[0].account, work.account);
    assert_eq!(wallet.disclose(&transaction, None).unwrap().check().unwrap().recipient, work.address);
    // Who is known by one identity is written to by it.
    wallet.set_identity("ann", "work").unwrap();
    assert_eq!(sent_record(&wallet, &ann, "from work").sender, work.address);
    assert!(matches!(wallet.set_identity("ann", "play"), Err(WalletError::UnknownIdentity)));
    assert_ne!(wallet.safety_number("Ann").unwrap(), safety_of_first(&wallet, &ann));
}

fn safety_of_first(wallet: &Wallet, other: &Person) -> crate::SafetyNumber {
    crate::SafetyNumber::of(wallet.network(), &wallet.address(), &other.card.address())
}

#[test]
fn odd_keys_are_told_until_the_number_is_compared() {
    let (dir, mut wallet) = fresh();
    let ann = person(1);
    wallet.add_contact("Ann", ann.card.address()).unwrap();
    let first = NOW.secs();
    let make =
        |sequence| Card::sign(&Network::dev(), &ann.keys, &SealKey::from_bytes(SealKeyId::new(sequence), &[1; 32]));
    assert_eq!(wallet.remember_card(&make(first), NOW).unwrap(), CardNews::New);
    assert_eq!(wallet.remember_card(&make(first + 25 * 86_400), NOW).unwrap(), CardNews::New);
    wallet.set_verified("Ann", NOW).unwrap();
    let early = wallet.remember_card(&make(first + 30 * 86_400), NOW.plus(9)).unwrap();
    assert_eq!(early, CardNews::Odd(KeyWarning::EarlyCard));
    drop(wallet);
    let mut wallet = reopen(dir.path());
    let contact = wallet.contact("Ann").unwrap();
    assert_eq!((contact.warning, contact.verified), (Some((KeyWarning::EarlyCard, NOW.plus(9))), None));
    wallet.set_verified("Ann", NOW).unwrap();
    assert_eq!(wallet.contact("Ann").unwrap().warning, None);
    wallet.change_address("Ann", person(2).card.address(), NOW).unwrap();
    let contact = wallet.contact("Ann").unwrap();
    assert_eq!((contact.warning, contact.verified), (Some((KeyWarning::OtherAddress, NOW)), None));
    assert!(matches!(wallet.change_address("Bob", ann.card.address(), NOW), Err(WalletError::UnknownContact)));
}
