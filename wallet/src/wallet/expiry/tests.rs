//! Destruction on a real disk: what a copy of everything opens after the end of a message, a key, and a long absence.

use std::{
    fs,
    path::{Path, PathBuf},
};

use qasedak_chain::{
    Ledger, Network, Position, Transaction,
    retention::Keep,
    rules,
    store::{
        Outbox,
        disk::{DiskOutbox, DiskStore},
    },
};
use tempfile::TempDir;

use super::*;
use crate::{
    Account, Card, Content, Draft, KdfCost, Message, Phrase,
    card::SEAL_KEY_KEPT_SECS,
    keystore,
    open::OpenError,
    seal::SealError,
    testing::{NOW, rng, stamped, text, with_idle_stamp},
    wallet::{LogId, Scanned, SentState},
};

const PASSPHRASE: &str = "p";
const LOG: LogId = LogId::from_bytes([1; 16]);
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

struct Owner {
    wallet: Wallet,
    dir: TempDir,
}

fn later(secs: u64) -> Time {
    NOW.plus(secs)
}

fn owner(number: u8) -> Owner {
    let dir = tempfile::tempdir().unwrap();
    let phrase = Phrase::from_entropy(&[number; 32]).unwrap();
    let (cost, mut rng) = (KdfCost::for_tests(), rng(number.into()));
    let wallet = Wallet::create(dir.path(), &Network::dev(), &phrase, PASSPHRASE, cost, NOW, &mut rng).unwrap();
    Owner { wallet, dir }
}

fn open(dir: &Path, now: Time) -> Wallet {
    Wallet::open(dir, &Network::dev(), PASSPHRASE, now).unwrap()
}

fn place(now: Time, lifetime_secs: u32) -> Draft {
    Draft { time: now.rounded_down(), lifetime_secs, parents: vec![Network::dev().genesis()] }
}

fn new_card(owner: &mut Owner, now: Time) -> Card {
    let made = owner.wallet.make_card(Account::default(), now, None, &place(now, 3_600), &mut rng(now.secs())).unwrap();
    Card::open(owner.wallet.network(), &owner.wallet.address(), &with_idle_stamp(made)).unwrap()
}

/// Sends as a node does. Returns the transaction, which is the part of the ledger that matters here.
fn send(from: &mut Owner, card: &Card, words: &str, now: Time, lifetime_secs: u32) -> Transaction {
    let message = Message::new(text(words), now.secs() * 1_000);
    let seed = now.secs() + u64::from(lifetime_secs);
    let sealed = from.wallet.seal(card, message, &place(now, lifetime_secs), &mut rng(seed)).unwrap();
    let transaction = stamped(sealed.unstamped);
    from.wallet.record_sent(transaction.id(), &sealed.record).unwrap();
    transaction
}

fn receive(to: &mut Wallet, transaction: &Transaction, now: Time) -> usize {
    let opened = vec![to.open_transaction(transaction).unwrap()];
    let scanned = Scanned { next: Position::new(1), opened, ..Scanned::default() };
    to.record_scanned(&LOG, scanned, now).unwrap().kept.len()
}

fn texts(wallet: &Wallet) -> Vec<String> {
    wallet.inbox(None, 99).unwrap().iter().map(|message| message.content.text().unwrap().to_owned()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() { copy(&path, &to.join(name)) } else { assert!(fs::copy(path, to.join(name)).is_ok()) }
    }
}

/// Two who know each other, and the card of the second.
fn pair() -> (Owner, Owner, Card) {
    let (mut ann, mut bob) = (owner(61), owner(62));
    ann.wallet.add_contact("Bob", bob.wallet.address()).unwrap();
    bob.wallet.add_contact("Ann", ann.wallet.address()).unwrap();
    let card = new_card(&mut bob, NOW);
    (ann, bob, card)
}

#[test]
fn a_message_is_gone_from_both_wallets_in_the_second_in_which_it_ends() {
    let (mut ann, mut bob, card) = pair();
    let short = send(&mut ann, &card, "one hour", NOW, 3_600);
    let long = send(&mut ann, &card, "thirty days", NOW, 30 * 86_400);
    assert_eq!(receive(&mut bob.wallet, &short, NOW) + receive(&mut bob.wallet, &long, NOW), 2);
    let end = NOW.rounded_down().secs() - NOW.secs() + HOUR;
    bob.wallet.expire(later(end - 1)).unwrap();
    assert_eq!(texts(&bob.wallet), ["one hour", "thirty days"]);
    assert!(bob.wallet.expire(later(end)).unwrap().rows > 0);
    ann.wallet.expire(later(end)).unwrap();
    assert_eq!(texts(&bob.wallet), ["thirty days"]);
    // The sender still sees that it was sent, not what it said; and after four days neither.
    let sent = ann.wallet.sent_by(&short.id()).unwrap().unwrap();
    assert_eq!((sent.state, sent.record), (SentState::Expired, None));
    assert!(ann.wallet.sent_by(&long.id()).unwrap().unwrap().record.is_some());
    assert!(matches!(ann.wallet.disclose(&short, None), Err(crate::wallet::DiscloseError::Ended(_))));
    let mut now = later(end);
    for _ in 0..5 {
        now = now.plus(DAY);
        ann.wallet.expire(now).unwrap();
    }
    assert_eq!(ann.wallet.sent_by(&short.id()).unwrap(), None);
    // A copy that comes too late is not shown, and a clock set back shows nothing again.
    assert_eq!(receive(&mut bob.wallet, &short, later(end)), 0);
    bob.wallet.expire(NOW).unwrap();
    assert_eq!(texts(&bob.wallet), ["thirty days"]);
    drop(bob.wallet);
    assert_eq!(texts(&open(bob.dir.path(), NOW)), ["thirty days"]);
}

/// Every file under `dir`, whole.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found
}

/// Looks with the passphrase, as a thief with a program of their own would: every epoch key that a keystore in any of the
/// files gives, tried on every place in every file where a value might begin.
fn forensics(dir: &Path, known_values: &[Vec<u8>]) -> Vec<usize> {
    let files = files(dir);
    let mut keys: Vec<[u8; 32]> = Vec::new();
    for (path, bytes) in &files {
        let magics = bytes.windows(8).enumerate().filter(|(_, window)| window == b"qsd-keys");
        for (at, _) in magics {
            // A keystore ends where its file ends, or somewhere before: every length is tried.
            let ends = [bytes.len()].into_iter().chain((at..bytes.len()).step_by(40));
            let secrets = ends.filter_map(|end| keystore::unseal(&bytes[at..end], PASSPHRASE).ok());
            for secrets in secrets.collect::<Vec<_>>() {
                keys.extend(secrets.epoch_days().filter_map(|day| secrets.epoch(day).copied()));
            }
        }
        assert!(!path.ends_with("keystore.new"));
    }
    // What a file holds of a value, long after it was removed: found by its bytes.
    known_values
        .iter()
        .map(|value| {
            let held = files.iter().any(|(_, bytes)| bytes.windows(48).any(|window| window == &value[..48]));
            let (nonce, sealed) = value[8..].split_first_chunk::<24>().unwrap();
            let opens = |key: &[u8; 32]| {
                let cipher = <chacha20poly1305::XChaCha20Poly1305 as chacha20poly1305::KeyInit>::new(key.into());
                let days = &value[..8];
                let mut classes = 1u8..=17;
                classes.any(|class| {
                    (0u64..8).any(|number| {
                        let aad = [&[class], number.to_be_bytes().as_slice(), days].concat();
                        let payload = chacha20poly1305::aead::Payload { msg: sealed, aad: &aad };
                        chacha20poly1305::aead::Aead::decrypt(&cipher, nonce.into(), payload).is_ok()
                    })
                })
            };
            usize::from(held) + 2 * usize::from(keys.iter().any(opens))
        })
        .collect()
}

fn values(wallet: &Wallet, class: Class) -> Vec<Vec<u8>> {
    let path = wallet.vault.raw(class).unwrap();
    path.into_iter().map(|(_, value)| value).collect()
}

/// Before its day is over a value opens with what stands in the files; afterwards nothing in any file opens it, although
/// the journal still holds it.
#[test]
fn the_bytes_of_the_data_directory_before_and_after_a_keys_destruction() {
    let (mut ann, mut bob, card) = pair();
    let message = send(&mut ann, &card, "canary", NOW, 86_400);
    receive(&mut bob.wallet, &message, NOW);
    let held: Vec<Vec<u8>> =
        [Class::SealKey, Class::Received].into_iter().flat_map(|class| values(&bob.wallet, class)).collect();
    assert_eq!(held.len(), 2);
    assert_eq!(forensics(bob.dir.path(), &held), [3, 3], "both are there and open");
    // The message goes in a day, its key when that day is over.
    for days in 1..=3 {
        bob.wallet.expire(later(days * DAY)).unwrap();
    }
    assert_eq!(forensics(bob.dir.path(), &held), [3, 1], "the journal still holds the message, and nothing opens it");
    for days in 4..=SEAL_KEY_KEPT_SECS / DAY + 1 {
        bob.wallet.expire(later(days * DAY)).unwrap();
    }
    assert_eq!(forensics(bob.dir.path(), &held).iter().map(|found| found & 2).sum::<usize>(), 0, "nor the seal key");
    assert_eq!(bob.wallet.seal_keys(Account::default()).count(), 0);
}

/// A node's files beside the wallet: a ledger that keeps bodies for good, and an outbox, with these transactions in both.
fn keep_on_disk(dir: &Path, transactions: &[Transaction]) {
    let (dev, outbox) = (Network::dev(), DiskOutbox::open(&dir.join("outbox"), &Network::dev()).unwrap());
    let mut ledger = Ledger::open(dev.clone(), DiskStore::open(&dir.join("ledger"), &dev, [6; 16]).unwrap()).unwrap();
    ledger.keep_bodies(Keep::Archive);
    for transaction in transactions {
        outbox.put(transaction).unwrap();
        ledger.append(rules::verify(&dev, transaction.clone()).unwrap(), NOW, false).unwrap();
    }
    ledger.flush_now(NOW).unwrap();
}

/// All that the files of a ledger and an outbox hold.
fn read_from_disk(dir: &Path) -> Vec<Transaction> {
    let dev = Network::dev();
    let ledger = Ledger::open(dev.clone(), DiskStore::open(&dir.join("ledger"), &dev, [6; 16]).unwrap()).unwrap();
    let all = (0..ledger.summary().count).map(|at| ledger.transaction(Position::new(at)).unwrap().unwrap());
    all.chain(DiskOutbox::open(&dir.join("outbox"), &dev).unwrap().all().unwrap()).collect()
}

/// Copies of a node's ledger and outbox and of the data directory, with words and passphrase.
#[test]
fn a_copy_of_everything_opens_nothing_that_has_expired() {
    let (mut ann, mut bob, card) = pair();
    let ledger: Vec<Transaction> = [3_600, 30 * 86_400, 90 * 86_400]
        .into_iter()
        .map(|lifetime| send(&mut ann, &card, &format!("lives {lifetime}"), NOW, lifetime))
        .collect();
    // The last one is never scanned: it stays in the ledger alone.
    for transaction in &ledger[..2] {
        assert_eq!(receive(&mut bob.wallet, transaction, NOW), 1);
    }
    drop((ann.wallet, bob.wallet));
    keep_on_disk(bob.dir.path(), &ledger);
    // The last use was 130 days ago. The program runs again for a day, as far as this clock says.
    let back = later(130 * DAY);
    for dir in [&ann.dir, &bob.dir] {
        let mut wallet = open(dir.path(), back);
        // At once nothing is shown any more; nothing is destroyed before it is sure that the clock is right.
        assert_eq!(texts(&wallet), [""; 0]);
        assert!(wallet.sent(None, 9).unwrap().iter().all(|sent| sent.record.is_none()));
        assert_eq!(wallet.expire(back).unwrap().doubted_until, Some(back.plus(DAY)));
        assert!(wallet.expire(back.plus(DAY)).unwrap().keys);
    }
    let stolen = tempfile::tempdir().unwrap();
    for (name, dir) in [("ann", &ann.dir), ("bob", &bob.dir)] {
        copy(dir.path(), &stolen.path().join(name));
    }
    let ledger = read_from_disk(&stolen.path().join("bob"));
    assert!(ledger.len() == 6 && ledger.iter().all(|transaction| transaction.body().is_some()));
    // A wallet that is made anew from the words is no better off.
    for number in [61, 62] {
        let (dir, phrase) =
            (stolen.path().join(format!("anew-{number}")), Phrase::from_entropy(&[number; 32]).unwrap());
        let (cost, mut rng) = (KdfCost::for_tests(), rng(9));
        let mut anew = Wallet::create(&dir, &Network::dev(), &phrase, PASSPHRASE, cost, NOW, &mut rng).unwrap();
        anew.make_card(Account::default(), NOW, None, &place(NOW, 3_600), &mut rng).unwrap();
        for transaction in &ledger {
            let opened = anew.open_transaction(transaction);
            assert!(matches!(opened, Err(OpenError::Commitment | OpenError::NotForUs)), "{opened:?}");
        }
    }
    for name in ["ann", "bob"] {
        let secrets =
            keystore::unseal(&fs::read(stolen.path().join(name).join("keystore")).unwrap(), PASSPHRASE).unwrap();
        assert_eq!(secrets.epoch_days().count(), 0, "no key is left");
        // The thief sets the clock as they like.
        for now in [NOW, later(DAY), back, later(400 * DAY)] {
            let thief = open(&stolen.path().join(name), now);
            assert_eq!(texts(&thief), [""; 0]);
            assert!(thief.sent(None, 9).unwrap().iter().all(|sent| sent.record.is_none()));
            for transaction in &ledger {
                let opened = thief.open_transaction(transaction);
                assert!(matches!(opened, Err(OpenError::Commitment | OpenError::NotForUs)), "{opened:?}");
                assert!(thief.disclose(transaction, None).is_err());
            }
        }
    }
}

#[test]
fn a_clock_that_jumps_ahead_and_is_put_right_costs_nothing() {
    let (mut ann, mut bob, card) = pair();
    let message = send(&mut ann, &card, "still here", NOW, 30 * 86_400);
    receive(&mut bob.wallet, &message, NOW);
    for years in 1..20 {
        let gone = bob.wallet.expire(later(years * 365 * DAY)).unwrap();
        assert_eq!((gone.rows, gone.keys), (0, false));
        assert_eq!(texts(&bob.wallet), [""; 0]);
    }
    // Mail that comes meanwhile is kept too.
    let meanwhile = send(&mut ann, &card, "meanwhile", NOW, 86_400);
    assert_eq!(receive(&mut bob.wallet, &meanwhile, later(19 * 365 * DAY)), 1);
    bob.wallet.expire(later(HOUR)).unwrap();
    assert_eq!(texts(&bob.wallet), ["still here", "meanwhile"]);
    drop(bob.wallet);
    let wallet = open(bob.dir.path(), later(2 * HOUR));
    assert_eq!(texts(&wallet), ["still here", "meanwhile"]);
    assert!(wallet.open_transaction(&message).is_ok());
}

#[test]
fn a_key_lives_for_as_long_as_a_message_can_be_sealed_to_it() {
    let (mut ann, mut bob, card) = pair();
    // The last moment at which a message of 90 days may be sealed to this card.
    let mut now = NOW;
    while now < later(30 * DAY) {
        now = now.plus(DAY);
        bob.wallet.expire(now).unwrap();
    }
    let last = send(&mut ann, &card, "at the last moment", now, 90 * 86_400);
    let too_late = place(now.plus(60), 90 * 86_400);
    let refused = ann.wallet.seal(&card, Message::new(text("x"), 0), &too_late, &mut rng(1));
    assert_eq!(refused.unwrap_err(), SealError::OldCard);
    assert!(ann.wallet.seal(&card, Message::new(text("x"), 0), &place(now, 86_400), &mut rng(1)).is_ok());
    while now < later(123 * DAY) {
        now = now.plus(DAY);
        bob.wallet.expire(now).unwrap();
        assert!(bob.wallet.open_transaction(&last).is_ok());
    }
    bob.wallet.expire(now.plus(DAY)).unwrap();
    assert_eq!(bob.wallet.open_transaction(&last), Err(OpenError::Commitment));
}

/// What a crash leaves between the two halves of an end or of a beginning.
#[test]
fn crashes_between_keystore_and_database_lose_nothing_and_keep_nothing() {
    let (mut ann, mut bob, card) = pair();
    let message = send(&mut ann, &card, "x", NOW, 86_400);
    let before = tempfile::tempdir().unwrap();
    copy(bob.dir.path(), before.path());
    receive(&mut bob.wallet, &message, NOW);
    // The keystore of after with the database of before: an epoch key that nothing uses.
    fs::copy(bob.dir.path().join("keystore"), before.path().join("keystore")).unwrap();
    assert_eq!(texts(&open(before.path(), NOW)), [""; 0]);
    // The keystore of after the end with the database of before it: a row that nothing opens. It goes, and hurts nobody.
    let with_row = tempfile::tempdir().unwrap();
    copy(bob.dir.path(), with_row.path());
    for days in 1..=3 {
        bob.wallet.expire(later(days * DAY)).unwrap();
    }
    fs::copy(bob.dir.path().join("keystore"), with_row.path().join("keystore")).unwrap();
    let wallet = open(with_row.path(), later(2 * DAY));
    assert_eq!((texts(&wallet).len(), values(&wallet, Class::Received).len()), (0, 0));
    // A keystore that was half written beside the old one.
    drop(wallet);
    fs::copy(with_row.path().join("keystore"), with_row.path().join("keystore.new")).unwrap();
    drop(open(with_row.path(), later(2 * DAY)));
    assert!(!with_row.path().join("keystore.new").exists());
}

/// A stranger's transactions from the future must neither live longer than the rest nor fill the keystore.
#[test]
fn transactions_from_the_future_end_in_time() {
    let (mut ann, mut bob, card) = pair();
    let far = later(3_000 * DAY);
    let draft = place(far, 3_600);
    let refused = ann.wallet.seal(&card, Message::new(text("x"), 0), &draft, &mut rng(1));
    assert_eq!(refused.unwrap_err(), SealError::OldCard);
    // A card that will do, as a stranger may well make themselves believe.
    let opened = bob.wallet.open_transaction(&send(&mut ann, &card, "from the future", NOW, 3_600)).unwrap();
    let from_the_future = crate::Opened { time: far, ..opened.clone() };
    let scanned = Scanned { next: Position::new(1), opened: vec![from_the_future], ..Scanned::default() };
    let kept = bob.wallet.record_scanned(&LOG, scanned, NOW).unwrap().kept;
    assert_eq!(kept[0].ends, later(2 * DAY + HOUR));
    // Under a clock that is far ahead itself, far days share keys.
    for n in 0..600u64 {
        let mut inner_id = [7; 32];
        inner_id[..8].copy_from_slice(&n.to_le_bytes());
        let ahead = crate::Opened {
            time: later((10_000 + n) * DAY),
            inner_id: crate::InnerId::from_bytes(inner_id),
            ..opened.clone()
        };
        let scanned = Scanned { next: Position::new(1), opened: vec![ahead], ..Scanned::default() };
        bob.wallet.record_scanned(&LOG, scanned, later(20_000 * DAY)).unwrap();
    }
    assert!(bob.wallet.vault.keystore().secrets().epoch_days().count() < 270);
    assert_eq!(bob.wallet.inbox(None, 9_999).unwrap().len(), 0);
    let later_content = Content::Text("and on".into());
    assert!(bob.wallet.seal(&card, Message::new(later_content, 0), &place(NOW, 3_600), &mut rng(4)).is_ok());
}
