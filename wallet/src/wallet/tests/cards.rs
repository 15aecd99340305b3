//! Cards: when the own one is due and which key it carries, and those of others.

use super::*;

#[test]
fn own_cards_are_renewed_and_their_keys_are_on_disk_first() {
    let (dir, mut wallet) = fresh();
    assert!(wallet.own_card_due(Account::default(), NOW, None));
    let card = own_card(&mut wallet, NOW);
    // A copy of the directory is what a crash right now would leave.
    let crashed = tempfile::tempdir().unwrap();
    copy(dir.path(), crashed.path());
    let survivor = reopen(crashed.path());
    assert_eq!(survivor.seal_keys(Account::default()).collect::<Vec<_>>(), [SealKeyId::new(NOW.secs())]);
    let transaction = message_from(&person(1), &card, "hi", 1);
    assert_eq!(survivor.open_transaction(&transaction).unwrap().message.content, text("hi"));
    assert!(!wallet.own_card_due(Account::default(), NOW.plus(25 * 86_400 - 1), Some(&card)));
    assert!(wallet.own_card_due(Account::default(), NOW.plus(25 * 86_400), Some(&card)));
    // A clock that went back still makes a newer card.
    let next = own_card(&mut wallet, Time::from_secs(NOW.secs() - 500_000));
    assert!(next.is_newer_than(&card));
    // Restored from the words: the old card is in the ledger, its seal key is gone.
    let (_other, mut restored) = fresh_with(9);
    assert!(restored.own_card_due(Account::default(), NOW, Some(&next)));
    let draft = draft();
    let unstamped =
        restored.make_card(Account::default(), Time::from_secs(5), Some(&next), &draft, &mut rng(3)).unwrap();
    let newest = Card::open(&Network::dev(), &restored.address(), &with_idle_stamp(unstamped)).unwrap();
    assert!(newest.is_newer_than(&next));
}

/// A card that is not found, or never got out, is published again with the key that it had: keys do not pile up, and what was
/// sealed to the first card still opens.
#[test]
fn a_card_is_published_again_with_the_same_key_while_that_is_young() {
    let (dir, mut wallet) = fresh();
    let own = Account::default();
    let publish = |wallet: &mut Wallet, now: Time, published: Option<&Card>| {
        let draft = Draft { time: now.rounded_down(), ..draft() };
        let unstamped = wallet.card_to_publish(own, now, published, &draft, &mut rng(now.secs())).unwrap();
        Card::open(wallet.network(), &wallet.address(), &with_idle_stamp(unstamped)).unwrap()
    };
    let first = publish(&mut wallet, NOW, None);
    let letter = message_from(&person(1), &first, "hi", 1);
    for hour in 1..200 {
        assert_eq!(publish(&mut wallet, NOW.plus(hour * 3_600), None), first);
    }
    assert_eq!(wallet.seal_keys(own).count(), 1);
    assert!(wallet.open_transaction(&letter).is_ok());
    drop(wallet);
    let mut wallet = Wallet::open(dir.path(), &Network::dev(), PASSPHRASE, NOW.plus(86_400)).unwrap();
    assert_eq!(publish(&mut wallet, NOW.plus(25 * 86_400 - 1), Some(&first)), first);
    let second = publish(&mut wallet, NOW.plus(25 * 86_400), None);
    assert!(second.is_newer_than(&first));
    // Another wallet of the same words has published since: its card is outranked, as that one's key is not here.
    let (_other, mut elsewhere) = fresh_with(9);
    let theirs = publish(&mut elsewhere, NOW.plus(26 * 86_400), None);
    let third = publish(&mut wallet, NOW.plus(26 * 86_400), Some(&theirs));
    assert!(third.is_newer_than(&theirs));
    assert_eq!(wallet.seal_keys(own).count(), 3);
}

/// A key that was made while the clock was far ahead is not held for young until that time comes.
#[test]
fn a_key_from_a_wrong_clock_is_replaced_once() {
    let (_dir, mut wallet) = fresh();
    let ahead = NOW.plus(400 * 86_400);
    let card = own_card(&mut wallet, ahead);
    assert!(!wallet.own_card_due(Account::default(), ahead, Some(&card)));
    assert!(wallet.own_card_due(Account::default(), NOW, Some(&card)));
    for hour in 0..100 {
        let now = NOW.plus(hour * 3_600);
        let draft = Draft { time: now.rounded_down(), ..draft() };
        wallet.card_to_publish(Account::default(), now, Some(&card), &draft, &mut rng(hour)).unwrap();
    }
    assert_eq!(wallet.seal_keys(Account::default()).count(), 2);
}

#[test]
fn cards_of_others_are_never_rolled_back() {
    let (dir, mut wallet) = fresh();
    let ann = person(1);
    let make =
        |sequence| Card::sign(&Network::dev(), &ann.keys, &SealKey::from_bytes(SealKeyId::new(sequence), &[1; 32]));
    assert_eq!(wallet.card_of(&ann.card.address()).unwrap(), None);
    assert!(wallet.remember_card(&make(5), NOW).unwrap().is_kept());
    assert!(!wallet.remember_card(&make(4), NOW).unwrap().is_kept());
    assert!(!wallet.remember_card(&make(5), NOW).unwrap().is_kept());
    assert!(wallet.remember_card(&make(6), NOW).unwrap().is_kept());
    drop(wallet);
    assert_eq!(reopen(dir.path()).card_of(&ann.card.address()).unwrap(), Some(make(6)));
    assert_eq!(Card::from_bytes(&Network::dev(), &[]), Err(CardError::Layout));
}
