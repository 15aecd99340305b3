//! Ledgers, outboxes and wallets as each released format left them on disk: this version opens them and reads all.
//!
//! `tests/fixtures/format-N.tar.gz` holds the directories, `format-N.json` what must be found in them. They are made
//! once by the version that has the format, with [`make_fixture`]. From the first release on none is ever made again; forms
//! that stood before it, as outbox and wallet in sled, are not kept. In 1 the check of a body covers the body, in 2 its hash, and in 3 checks
//! of records and bodies are sums and no hashes; in 5 the index says of how many records its digests are.

use std::{
    collections::BTreeSet,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::Command,
};

use qasedak_chain::{
    Ledger, Position, Time, Transaction, audit,
    ledger::IndexCheck,
    repair,
    rules::{self, Verified},
    stamp,
    store::{
        Outbox,
        disk::{DiskOptions, DiskOutbox, DiskStore},
    },
};
use qasedak_wallet::{
    Account, Card, Content, Draft, KdfCost, Message, Phrase, Unstamped, Wallet,
    wallet::{LogId, Scanned},
};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::line::{dev, make, time};

/// The format that this version writes.
const FORMAT: u32 = 5;
pub const PASSPHRASE: &str = "fixture";
const LOG_ID: [u8; 16] = [0x51; 16];
/// Transactions of the ledger that are no messages.
const PLAIN: u64 = 60;
/// Each is so many places of the line behind the one before it: 70 minutes, so that they span days.
const STEP: u64 = 7;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// A moment at which everything in a fixture lies in the past.
pub fn after() -> Time {
    time((PLAIN + 20) * STEP)
}

fn stamped(unstamped: Unstamped) -> Transaction {
    let (challenge, effort) = unstamped.work(&dev());
    let stamp = stamp::search(&challenge, effort, 0.., || ControlFlow::Continue(())).unwrap();
    unstamped.stamped(&dev(), stamp).unwrap()
}

fn checked(transaction: &Transaction) -> Verified {
    rules::verify(&dev(), transaction.clone()).unwrap()
}

/// Writes the fixture of the format that this version has.
#[test]
#[ignore = "makes a fixture: run once, by the version that is released with the format"]
fn make_fixture() {
    let home = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let phrase = Phrase::from_entropy(&[0x42; 32]).unwrap();
    let (ledger_dir, wallet_dir) = (home.path().join("ledger"), home.path().join("wallet"));
    let options = DiskOptions { segment_bytes: 8_000, memtable_records: 16, ..DiskOptions::default() };
    let store = DiskStore::open_with(&ledger_dir, &dev(), LOG_ID, options, &mut |_, _| {}).unwrap();
    let mut ledger = Ledger::open(dev(), store).unwrap();
    let mut last = dev().genesis();
    for nth in 0..PLAIN {
        let transaction = make(nth * STEP, last);
        last = transaction.id();
        ledger.append(checked(&transaction), time(nth * STEP).plus(5), false).unwrap();
        if nth % 7 == 0 {
            ledger.flush_now(time(nth * STEP).plus(6)).unwrap();
        }
    }
    let now = time(PLAIN * STEP);
    let mut wallet =
        Wallet::create(&wallet_dir, &dev(), &phrase, PASSPHRASE, KdfCost::for_tests(), now, &mut rng).unwrap();
    let draft = Draft::new(vec![last], now);
    let card_transaction = stamped(wallet.make_card(Account::default(), now, None, &draft, &mut rng).unwrap());
    let card = Card::open(&dev(), &wallet.address(), &card_transaction).unwrap();
    let sealed =
        wallet.seal(&card, Message::new(Content::Text("kept since format 1".into()), 1), &draft, &mut rng).unwrap();
    let message = stamped(sealed.unstamped);
    wallet.record_sent(message.id(), &sealed.record).unwrap();
    for transaction in [&card_transaction, &message] {
        ledger.append(checked(transaction), now.plus(5), false).unwrap();
    }
    // Two days on, the bodies of the first day have gone.
    ledger.flush_now(now.plus(6)).unwrap();
    let dropped = ledger.prune(now.plus(2 * 86_400)).unwrap().expired;
    assert!(dropped > 0, "the fixture has dropped bodies");
    let opened = wallet.open_transaction(&message).unwrap();
    let log = LogId::from_bytes(LOG_ID);
    wallet
        .record_scanned(
            &log,
            Scanned { next: Position::new(PLAIN + 2), opened: vec![opened], ..Scanned::default() },
            now,
        )
        .unwrap();
    wallet.add_contact("Nasrin", wallet.address()).unwrap();
    let outbox = DiskOutbox::open(&home.path().join("outbox"), &dev()).unwrap();
    let kept: Vec<Transaction> = (0..3).map(|nth| make((PLAIN + 10 + nth) * STEP, message.id())).collect();
    kept.iter().for_each(|transaction| outbox.put(transaction).unwrap());

    let summary = ledger.summary();
    let bodies = audit_report(&ledger_dir).bodies.present;
    let expected = json!({
        "transactions": summary.count,
        "digest": summary.digest.to_string(),
        "root": summary.root.to_string(),
        "link": summary.link.to_string(),
        "bodies": bodies,
        "outbox": kept.iter().map(|transaction| transaction.id().to_string()).collect::<BTreeSet<_>>(),
        "address": wallet.address().to_string(),
    });
    drop((ledger, outbox, wallet));
    pack(&format!("format-{FORMAT}"), home.path(), &["ledger", "outbox", "wallet"], &expected);
}

/// Packs what is in `from`, and says what must be found in it.
pub fn pack(name: &str, from: &Path, names: &[&str], expected: &Value) {
    fs::write(fixtures().join(format!("{name}.json")), format!("{expected:#}\n")).unwrap();
    let tar = Command::new("tar")
        .args(["--create", "--gzip", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"])
        .arg("--file")
        .arg(fixtures().join(format!("{name}.tar.gz")))
        .arg("--directory")
        .arg(from)
        .args(names)
        .status();
    assert!(tar.unwrap().success());
}

fn audit_report(ledger: &Path) -> audit::Report {
    let report = audit::verify(ledger, &dev(), after().plus(30 * 86_400), &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{} findings, the first {:?}", report.findings_total, report.findings.first());
    report
}

/// Unpacks a fixture, and what must be found in it.
pub fn unpack(name: &str, to: &Path) -> Value {
    let tar = Command::new("tar")
        .args(["--extract", "--gzip", "--file"])
        .arg(fixtures().join(format!("{name}.tar.gz")))
        .arg("--directory")
        .arg(to)
        .status();
    assert!(tar.expect("tar").success());
    serde_json::from_slice(&fs::read(fixtures().join(format!("{name}.json"))).unwrap()).unwrap()
}

#[test]
fn a_ledger_of_every_released_format_opens_and_verifies() {
    for format in 1..=FORMAT {
        let home = tempfile::tempdir().unwrap();
        let expected = unpack(&format!("format-{format}"), home.path());
        let dir = home.path().join("ledger");
        // As it was left, and again after this version has opened it and gone on.
        let bodies = audit_report(&dir).bodies.present;
        assert_eq!(expected["bodies"], bodies);
        let store = DiskStore::open(&dir, &dev(), [0; 16]).unwrap();
        assert_eq!(store.log_id(), LOG_ID);
        assert_eq!(store.notices(), [], "nothing of format {format} is lacking or unsound");
        let mut ledger = Ledger::open(dev(), store).unwrap();
        let summary = ledger.summary();
        assert_eq!(expected["transactions"], summary.count);
        assert_eq!(expected["digest"], summary.digest.to_string());
        assert_eq!(expected["root"], summary.root.to_string());
        assert_eq!(expected["link"], summary.link.to_string());
        assert_eq!(ledger.check_index(&mut |_| {}).unwrap(), IndexCheck::Agrees);
        for position in 0..summary.count {
            assert!(ledger.transaction(Position::new(position)).unwrap().is_some());
        }
        let new = make((PLAIN + 5) * STEP, dev().genesis());
        ledger.append(checked(&new), after(), false).unwrap();
        ledger.flush_now(after()).unwrap();
        drop(ledger);
        assert_eq!(audit_report(&dir).count, summary.count + 1);
    }
}

/// Which format a segment has stands in its head. When that is damaged, its records tell.
#[test]
fn records_behind_a_damaged_head_are_read_in_every_format() {
    for format in 1..=FORMAT {
        let home = tempfile::tempdir().unwrap();
        let expected = unpack(&format!("format-{format}"), home.path());
        let dir = home.path().join("ledger");
        let last = fs::read_dir(dir.join("headers")).unwrap().map(|entry| entry.unwrap().path());
        let last = last.filter(|path| path.extension().unwrap() == "seg").max().unwrap();
        let mut bytes = fs::read(&last).unwrap();
        bytes[20] ^= 1;
        fs::write(&last, bytes).unwrap();
        // Later than all lifetimes, so that nothing is saved without a body that must have one.
        let now = after().plus(90 * 86_400);
        let report = audit::verify(&dir, &dev(), now, &mut |_| {}).unwrap();
        assert_eq!((expected["transactions"].as_u64(), report.findings_total), (Some(report.count), 1), "{format}");
        let repaired = repair::repair(&dir, &dev(), [0x52; 16], now, &mut |_| {}).unwrap();
        assert_eq!((repaired.saved, repaired.waiting), (report.count, 0), "{format}");
        assert_eq!(expected["digest"], audit_report(&dir).digest.to_string(), "{format}");
    }
}

#[test]
fn an_outbox_and_a_wallet_of_every_released_format_open() {
    for format in 1..=FORMAT {
        let home = tempfile::tempdir().unwrap();
        let expected = unpack(&format!("format-{format}"), home.path());
        let outbox = DiskOutbox::open(&home.path().join("outbox"), &dev()).unwrap();
        let kept: BTreeSet<String> = outbox.all().unwrap().iter().map(|kept| kept.id().to_string()).collect();
        assert_eq!(expected["outbox"], json!(kept));
        let wallet = Wallet::open(&home.path().join("wallet"), &dev(), PASSPHRASE, after()).unwrap();
        assert_eq!(expected["address"], wallet.address().to_string());
        assert_eq!(wallet.contact("nasrin").unwrap().address, wallet.address());
        let text = Content::Text("kept since format 1".into());
        assert_eq!(
            wallet.inbox(None, 9).unwrap().into_iter().map(|m| m.content).collect::<Vec<_>>(),
            std::slice::from_ref(&text)
        );
        assert_eq!(
            wallet.sent(None, 9).unwrap().into_iter().map(|m| m.record.unwrap().message.content).collect::<Vec<_>>(),
            [text]
        );
        assert_eq!(wallet.cursor(&LogId::from_bytes(LOG_ID)).unwrap(), Position::new(PLAIN + 2));
    }
}
