//! The wallet on a real disk: created, opened again, copied as a crash would leave it, searched for what must not show.

use std::{fs, path::Path};

use qasedak_chain::{
    Position, TxId,
    store::disk::journal::{self, Journal},
};
use tempfile::TempDir;

use super::*;
use crate::{
    card::CardError,
    contact::NameError,
    inner::InnerId,
    keys::{Account, Keys, SealKey, SealKeyId},
    keystore::KeystoreError,
    seal::SentRecord,
    testing::{NOW, Person, draft, message, person, rng, text, with_idle_stamp},
};

mod cards;
mod faults;
mod people;

const PASSPHRASE: &str = "canary-passphrase";
const LOG: LogId = LogId::from_bytes([1; 16]);

fn phrase() -> Phrase {
    Phrase::from_entropy(&[77; 32]).unwrap()
}

fn create(dir: &Path) -> Wallet {
    let cost = KdfCost::for_tests();
    Wallet::create(dir, &Network::dev(), &phrase(), PASSPHRASE, cost, NOW, &mut rng(1)).unwrap()
}

fn up_to(next: u64, opened: Vec<Opened>) -> Scanned {
    Scanned { next: Position::new(next), opened, ..Scanned::default() }
}

fn reopen(dir: &Path) -> Wallet {
    Wallet::open(dir, &Network::dev(), PASSPHRASE, NOW).unwrap()
}

fn fresh() -> (TempDir, Wallet) {
    let dir = tempfile::tempdir().unwrap();
    let wallet = create(dir.path());
    (dir, wallet)
}

/// The wallet's card, published as a transaction.
fn own_card(wallet: &mut Wallet, now: Time) -> Card {
    let draft = Draft { time: now.rounded_down(), ..draft() };
    let unstamped = wallet.make_card(Account::default(), now, None, &draft, &mut rng(now.secs())).unwrap();
    Card::open(wallet.network(), &wallet.address(), &with_idle_stamp(unstamped)).unwrap()
}

fn message_from(from: &Person, to: &Card, content: &str, seed: u64) -> Transaction {
    let sealed = seal::seal(&Network::dev(), &from.keys, to, message(content), &draft(), &mut rng(seed)).unwrap();
    with_idle_stamp(sealed.unstamped)
}

#[test]
fn a_newer_database_is_refused_as_such() {
    let (dir, mut wallet) = fresh();
    let mut changes = Changes::default();
    let (ledger, address) = (*wallet.network().ledger().as_bytes(), *wallet.address().as_bytes());
    let row = HeaderRow { version: rows::VERSION + 1, ledger, address };
    wallet.vault.put(&mut changes, &Vault::counted_key(Class::Header, 0), &row).unwrap();
    wallet.vault.commit(changes).unwrap();
    drop(wallet);
    assert!(matches!(Wallet::open(dir.path(), &Network::dev(), PASSPHRASE, NOW), Err(WalletError::Newer { .. })));
}

/// The journal beneath a wallet that is closed, to change what stands in it.
fn journal(dir: &Path) -> Journal {
    vault::open_journal(&dir.join("db"), Network::dev().ledger().as_bytes()).unwrap()
}

#[test]
fn a_damaged_journal_is_refused_with_what_to_do_and_left_alone() {
    let (dir, mut wallet) = fresh();
    wallet.add_contact("kept", wallet.address()).unwrap();
    drop(wallet);
    let path = dir.path().join("db").join("journal.seg");
    let sound = fs::read(&path).unwrap();
    for at in (0..sound.len()).step_by(7) {
        for change in [0, 1] {
            let mut bytes = sound.clone();
            match change {
                0 => bytes[at] ^= 0x10,
                _ => bytes.truncate(at),
            }
            fs::write(&path, &bytes).unwrap();
            let refused = Wallet::open(dir.path(), &Network::dev(), PASSPHRASE, NOW).unwrap_err();
            assert!(matches!(refused, WalletError::DamagedJournal { .. }), "{refused}");
            assert!(refused.to_string().contains("nothing was changed"), "{refused}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }
    fs::write(&path, &sound).unwrap();
    assert!(reopen(dir.path()).contact("kept").is_some());
}

/// Test versions kept the rows in sled.
#[test]
fn a_database_of_a_test_version_is_refused_and_left_alone() {
    let (dir, wallet) = fresh();
    drop(wallet);
    let db = dir.path().join("db");
    fs::remove_dir_all(&db).unwrap();
    fs::create_dir(&db).unwrap();
    fs::write(db.join("db"), "pages").unwrap();
    fs::write(db.join("conf"), "segment_size: 524288").unwrap();
    let refused = Wallet::open(dir.path(), &Network::dev(), PASSPHRASE, NOW).unwrap_err().to_string();
    assert!(refused.contains("test version") && refused.contains("left alone"), "{refused}");
    assert_eq!(fs::read_dir(&db).unwrap().count(), 2);
}

fn copy(from: &Path, to: &Path) {
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

#[test]
fn created_once_and_opened_with_the_passphrase_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dev").join("wallet");
    let network = Network::dev();
    assert!(matches!(Wallet::open(&path, &network, PASSPHRASE, NOW), Err(WalletError::Missing { .. })));
    let wallet = create(&path);
    let address = wallet.address();
    assert!(Wallet::exists(&path).unwrap());
    assert!(matches!(Wallet::open(&path, &network, PASSPHRASE, NOW), Err(WalletError::InUse { .. })));
    drop(wallet);
    let again = Wallet::create(&path, &network, &phrase(), "other", KdfCost::for_tests(), NOW, &mut rng(2));
    assert!(matches!(again, Err(WalletError::Exists { .. })));
    let wrong = Wallet::open(&path, &network, "wrong", NOW).unwrap_err();
    assert!(matches!(wrong, WalletError::Keystore(KeystoreError::Unlock)));
    assert!(matches!(Wallet::open(&path, &Network::main(), PASSPHRASE, NOW), Err(WalletError::OtherNetwork { .. })));
    assert_eq!(reopen(&path).address(), address);
    assert_eq!(address, Keys::derive(&phrase(), Account::default()).address());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn an_unreadable_database_is_set_aside_not_deleted() {
    let (dir, wallet) = fresh();
    drop(wallet);
    fs::remove_file(dir.path().join("keystore")).unwrap();
    drop(create(dir.path()));
    assert!(dir.path().join("db.old-1").join("journal.seg").exists());
}

#[test]
fn a_database_of_another_keystore_is_refused_and_left_alone() {
    let (dir, wallet) = fresh();
    drop(wallet);
    let own = fs::read(dir.path().join("keystore")).unwrap();
    let (other, wallet) = fresh_with(2);
    drop(wallet);
    fs::copy(other.path().join("keystore"), dir.path().join("keystore")).unwrap();
    let result = Wallet::open(dir.path(), &Network::dev(), PASSPHRASE, NOW);
    assert!(matches!(result, Err(WalletError::Damaged { .. })), "{result:?}");
    fs::write(dir.path().join("keystore"), own).unwrap();
    drop(reopen(dir.path()));
    // A database that lost its header is damaged, not new.
    let mut changes = journal::Changes::default();
    changes.insert(&[3, 1], &[]);
    changes.remove(&Vault::counted_key(Class::Header, 0));
    journal(dir.path()).commit(&changes).unwrap();
    let result = Wallet::open(dir.path(), &Network::dev(), PASSPHRASE, NOW);
    assert!(matches!(result, Err(WalletError::Damaged { .. })), "{result:?}");
}

fn fresh_with(seed: u64) -> (TempDir, Wallet) {
    let dir = tempfile::tempdir().unwrap();
    let cost = KdfCost::for_tests();
    let wallet = Wallet::create(dir.path(), &Network::dev(), &phrase(), PASSPHRASE, cost, NOW, &mut rng(seed)).unwrap();
    (dir, wallet)
}

#[test]
fn contacts() {
    let (dir, mut wallet) = fresh();
    let (ann, bob) = (person(1).card.address(), person(2).card.address());
    wallet.add_contact(" Ann ", ann).unwrap();
    wallet.add_contact("قاصدک", bob).unwrap();
    assert!(matches!(wallet.add_contact("ANN", bob), Err(WalletError::NameTaken)));
    let taken = wallet.add_contact("Anna", ann).unwrap_err();
    assert!(matches!(&taken, WalletError::AddressTaken { name } if name == "Ann"), "{taken:?}");
    assert!(matches!(wallet.add_contact("a\u{202e}b", ann), Err(WalletError::Name(NameError::Invisible))));
    drop(wallet);
    let mut wallet = reopen(dir.path());
    let names: Vec<&str> = wallet.contacts().map(|contact| contact.name.as_str()).collect();
    assert_eq!(names, ["Ann", "قاصدک"]);
    assert_eq!(wallet.resolve("ann").unwrap(), ann);
    assert_eq!(wallet.resolve(&bob.to_string()).unwrap(), bob);
    assert!(matches!(wallet.resolve("qsd1xyz"), Err(WalletError::Address(_))));
    assert!(matches!(wallet.resolve("Carol"), Err(WalletError::UnknownContact)));
    assert_eq!(wallet.remove_contact("aNN").unwrap().address, ann);
    assert!(matches!(wallet.remove_contact("Ann"), Err(WalletError::UnknownContact)));
    drop(wallet);
    let mut wallet = reopen(dir.path());
    assert_eq!(wallet.contact("Ann"), None);
    wallet.add_contact("Ann", ann).unwrap();
}

#[test]
fn messages_are_kept_once_with_the_cursor() {
    let (dir, mut wallet) = fresh();
    let ann = person(1);
    wallet.add_contact("Ann", ann.card.address()).unwrap();
    let card = own_card(&mut wallet, NOW);
    assert_eq!(wallet.cursor(&LOG).unwrap(), Position::new(0));
    let open = |wallet: &Wallet, n: u64| {
        wallet.open_transaction(&message_from(&ann, &card, &format!("message {n}"), n)).unwrap()
    };
    let first = vec![open(&wallet, 1), open(&wallet, 2), open(&wallet, 1)];
    let kept = wallet.record_scanned(&LOG, up_to(10, first), NOW).unwrap();
    assert_eq!(kept.kept.iter().map(|message| message.seq).collect::<Vec<_>>(), [1, 2]);
    let second = vec![open(&wallet, 2), open(&wallet, 3)];
    let kept = wallet.record_scanned(&LOG, up_to(20, second), NOW).unwrap();
    assert_eq!(kept.kept.iter().map(|message| message.seq).collect::<Vec<_>>(), [3]);
    let crashed = tempfile::tempdir().unwrap();
    copy(dir.path(), crashed.path());
    drop(wallet);
    for mut wallet in [reopen(dir.path()), reopen(crashed.path())] {
        assert_eq!(wallet.cursor(&LOG).unwrap(), Position::new(20));
        assert_eq!(wallet.cursor(&LogId::from_bytes([2; 16])).unwrap(), Position::new(0));
        let inbox = wallet.inbox(None, 10).unwrap();
        let texts: Vec<_> = inbox.iter().map(|message| message.content.text().unwrap()).collect();
        assert_eq!(texts, ["message 1", "message 2", "message 3"]);
        assert_eq!(inbox[0].contact.as_ref().unwrap().as_str(), "Ann");
        assert_eq!((inbox[0].sender, inbox[0].time_ms, inbox[0].received_at), (ann.card.address(), 5, NOW));
        assert_eq!(wallet.inbox(Some(1), 1).unwrap(), inbox[1..2]);
        assert_eq!(wallet.inbox(Some(3), 10).unwrap(), []);
        assert_eq!(wallet.last_received(), 3);
        // A new log is scanned from its start, and finds what is known already.
        let again: Vec<_> = (1..=3).map(|n| open(&wallet, n)).collect();
        let other = LogId::from_bytes([2; 16]);
        assert_eq!(wallet.record_scanned(&other, up_to(5, again), NOW).unwrap().kept, []);
        assert_eq!(wallet.last_received(), 3);
    }
}

/// Envelopes that could not be read are remembered with the cursor, until a later step says otherwise.
#[test]
fn unread_envelopes_are_remembered() {
    let (dir, mut wallet) = fresh();
    let positions = |all: &[u64]| all.iter().copied().map(Position::new).collect::<Vec<_>>();
    assert_eq!(wallet.unread(&LOG).unwrap(), []);
    let step = |next, unread: &[u64]| Scanned {
        next: Position::new(next),
        opened: Vec::new(),
        unread: positions(unread),
        given_up: None,
    };
    let given_up = Some(Position::new(5));
    wallet.record_scanned(&LOG, Scanned { given_up, ..step(10, &[3, 7]) }, NOW).unwrap();
    drop(wallet);
    let mut wallet = reopen(dir.path());
    assert_eq!((wallet.unread(&LOG).unwrap(), wallet.given_up(&LOG).unwrap()), (positions(&[3, 7]), given_up));
    assert_eq!(wallet.unread(&LogId::from_bytes([2; 16])).unwrap(), []);
    wallet.record_scanned(&LOG, step(10, &[7]), NOW).unwrap();
    assert_eq!((wallet.unread(&LOG).unwrap(), wallet.cursor(&LOG).unwrap()), (positions(&[7]), Position::new(10)));
    assert_eq!(wallet.given_up(&LOG).unwrap(), None);
    let many: Vec<u64> = (0..2_000).collect();
    wallet.record_scanned(&LOG, step(2_000, &many), NOW).unwrap();
    assert_eq!(wallet.unread(&LOG).unwrap(), positions(&many[..UNREAD_MAX]));
    wallet.record_scanned(&LOG, step(2_000, &[]), NOW).unwrap();
    assert_eq!(wallet.unread(&LOG).unwrap(), []);
}

fn sent_record(wallet: &Wallet, to: &Person, content: &str) -> SentRecord {
    wallet.seal(&to.card, message(content), &draft(), &mut rng(4)).unwrap().record
}

#[test]
fn sent_messages_are_kept_whole() {
    let (dir, mut wallet) = fresh();
    let record = sent_record(&wallet, &person(2), "over there");
    assert_eq!(wallet.record_sent(TxId::from_bytes([8; 32]), &record).unwrap(), 1);
    assert_eq!(wallet.record_sent(TxId::from_bytes([9; 32]), &record).unwrap(), 2);
    drop(wallet);
    let wallet = reopen(dir.path());
    let sent = wallet.sent(None, 10).unwrap();
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].tx_id, sent[0].record.as_deref()), (TxId::from_bytes([8; 32]), Some(&record)));
    assert_eq!(wallet.sent(Some(1), 10).unwrap(), sent[1..]);
}

#[test]
fn long_messages_survive_in_a_copy() {
    let (dir, mut wallet) = fresh();
    let long = "x".repeat(60_000);
    let sender = person(1).card.address();
    wallet.add_contact("Ann", sender).unwrap();
    for n in 0..40u8 {
        let opened = Opened {
            tx_id: TxId::from_bytes([n; 32]),
            inner_id: InnerId::from_bytes([n; 32]),
            sender,
            recipient: wallet.address(),
            message: message(&long),
            time: NOW,
            lifetime_secs: 86_400,
            seal_key: SealKeyId::new(1),
        };
        wallet.record_scanned(&LOG, up_to(u64::from(n), vec![opened]), NOW).unwrap();
    }
    let crashed = tempfile::tempdir().unwrap();
    copy(dir.path(), crashed.path());
    let inbox = reopen(crashed.path()).inbox(None, 100).unwrap();
    assert_eq!(inbox.len(), 40);
    assert!(inbox.iter().all(|message| message.content.text() == Some(&long)));
}

#[test]
fn values_cannot_be_swapped_or_changed() {
    let (dir, mut wallet) = fresh();
    let record = sent_record(&wallet, &person(2), "one");
    wallet.record_sent(TxId::from_bytes([8; 32]), &record).unwrap();
    wallet.record_sent(TxId::from_bytes([9; 32]), &record).unwrap();
    drop(wallet);
    type Change<'a> = &'a dyn Fn(&Journal, &mut journal::Changes, Vec<u8>, Vec<u8>);
    let tamper = |change: Change<'_>| -> Result<usize, WalletError> {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let (mut journal, mut changes) = (journal(copied.path()), journal::Changes::default());
        change(&journal, &mut changes, Vault::counted_key(Class::Sent, 1), Vault::counted_key(Class::Sent, 2));
        journal.commit(&changes).unwrap();
        drop(journal);
        let opened = Wallet::open(copied.path(), &Network::dev(), PASSPHRASE, NOW)?;
        opened.sent(None, 10).map(|sent| sent.len())
    };
    assert!(matches!(tamper(&|_, _, _, _| ()), Ok(2)));
    let swapped = tamper(&|journal, changes, one, two| {
        changes.insert(&one, &journal.get(&two).unwrap().unwrap());
    });
    assert!(matches!(swapped, Err(WalletError::Damaged { .. })), "{swapped:?}");
    for place in [0, 8, 40] {
        let changed = tamper(&|journal, changes, one, _| {
            let mut value = journal.get(&one).unwrap().unwrap();
            value[place] ^= 1;
            changes.insert(&one, &value);
        });
        assert!(matches!(changed, Err(WalletError::Damaged { .. })), "{place}: {changed:?}");
    }
}

/// Every file under `dir`, whole.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found
}

#[test]
fn nothing_shows_on_disk() {
    let (dir, mut wallet) = fresh();
    let ann = person(1);
    wallet.add_contact("CanaryContact", ann.card.address()).unwrap();
    wallet.remember_card(&ann.card, NOW).unwrap();
    let card = own_card(&mut wallet, NOW);
    let opened = wallet.open_transaction(&message_from(&ann, &card, "canary received", 1)).unwrap();
    wallet.record_scanned(&LOG, up_to(1, vec![opened.clone()]), NOW).unwrap();
    let record = sent_record(&wallet, &ann, "canary sent");
    wallet.record_sent(TxId::from_bytes([0xc5; 32]), &record).unwrap();
    let address = wallet.address();
    drop(wallet);
    let phrase = phrase();
    let words = phrase.words();
    let mut canaries: Vec<Vec<u8>> = Vec::new();
    let pairs = words.split(' ').collect::<Vec<_>>();
    let pairs = pairs.windows(2).map(|pair| pair.join(" "));
    let texts = ["CanaryContact", "canarycontact", "canary received", "canary sent", PASSPHRASE];
    for text in texts.iter().map(|text| (*text).to_owned()).chain(pairs) {
        canaries.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        canaries.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        canaries.push(text.into_bytes());
    }
    for person in [ann.card.address(), address] {
        canaries.push(person.to_string().into_bytes());
        canaries.push(person.as_bytes().to_vec());
    }
    canaries.push(phrase.entropy().to_vec());
    canaries.push(phrase.seed().to_vec());
    canaries.push(record.encapsulation_seed.as_bytes().to_vec());
    canaries.push(ann.card.seal().as_bytes()[..32].to_vec());
    canaries.push(opened.inner_id.as_bytes().to_vec());
    canaries.push(vec![0xc5; 32]);
    let files = files(dir.path());
    assert!(files.iter().any(|(name, bytes)| name.ends_with("db/journal.seg") && bytes.len() > 1000));
    for (name, bytes) in files {
        for canary in &canaries {
            let found = bytes.windows(canary.len()).any(|window| window == canary);
            assert!(!found, "{name} shows {:?}", String::from_utf8_lossy(canary));
        }
    }
}
