//! What the tests of this crate share: wallets in directories, stamped transactions between them, and disks that fail.

use std::{
    ops::ControlFlow,
    path::Path,
    sync::{Arc, RwLock},
};

use qasedak_chain::{
    Ledger, Network, Time, Transaction, TxId,
    rules::{self, Verified},
    stamp::{self, Stamp},
    store::disk::{DiskOptions, DiskStore, faults},
    transaction::Header,
};
use qasedak_wallet::{Card, Content, Draft, KdfCost, Message, Phrase, Wallet, envelope::Unstamped, keys::Account};

use crate::{
    failure::Outcome,
    node::{DiskLedger, now, rng, write},
};

/// Does something wherever the disk may fail, as [`faults::at_any_call`] does, in directories that go.
pub(crate) fn at_any_call<T>(
    prepare: &dyn Fn(&Path),
    act: &dyn Fn(&Path) -> Outcome<T>,
    look: &dyn Fn(&Path, Outcome<T>, bool),
) {
    let places = faults::at_any_call(|| tempfile::tempdir().unwrap(), prepare, act, look);
    assert!(places > 0, "nothing was tried");
}

/// The wallet of the phrase of 32 bytes of `number`.
pub(crate) fn wallet(home: &Path, number: u8) -> Wallet {
    let phrase = Phrase::from_entropy(&[number; 32]).unwrap();
    let dir = home.join(format!("wallet-{number}"));
    Wallet::create(&dir, &Network::dev(), &phrase, "x", KdfCost::for_tests(), now(), &mut rng().unwrap()).unwrap()
}

/// The ledger of `dev` in a directory. It stays open until the process ends: to close one sled beside others may have no
/// end (decision 0039).
pub(crate) fn ledger(dir: &Path) -> Arc<RwLock<DiskLedger>> {
    let dev = Network::dev();
    let store = DiskStore::open_with(dir, &dev, [6; 16], DiskOptions::default(), &mut |_, _| {}).unwrap();
    let ledger = Arc::new(RwLock::new(Ledger::open_with(dev, store, &mut |_, _| {}).unwrap()));
    std::mem::forget(Arc::clone(&ledger));
    ledger
}

/// Appends a transaction that came at `arrival`, durably.
pub(crate) fn append_at(ledger: &RwLock<DiskLedger>, transaction: &Transaction, arrival: Time) {
    let verified = rules::verify(&Network::dev(), transaction.clone()).unwrap();
    write(ledger, |ledger| {
        ledger.append(verified, arrival, false).unwrap();
        ledger.flush_now(arrival).unwrap();
    });
}

/// A place behind a transaction that no ledger has.
pub(crate) fn draft() -> Draft {
    Draft::new(vec![TxId::from_bytes([1; 32])], now().rounded_down())
}

/// With the stamp that `dev` asks for.
pub(crate) fn stamped(unstamped: Unstamped) -> Transaction {
    let (challenge, effort) = unstamped.work(&Network::dev());
    let stamp = stamp::search(&challenge, effort, 0.., || ControlFlow::Continue(())).unwrap();
    unstamped.stamped(&Network::dev(), stamp).unwrap()
}

/// A new card of the wallet's first identity, and the transaction that carries it.
pub(crate) fn card_of(wallet: &mut Wallet, draft: &Draft) -> (Transaction, Card) {
    let card = wallet.make_card(Account::default(), now(), None, draft, &mut rng().unwrap()).unwrap();
    let transaction = stamped(card);
    let card = Card::open(&Network::dev(), &wallet.address(), &transaction).unwrap();
    (transaction, card)
}

/// A sealed text.
pub(crate) fn letter(from: &Wallet, to: &Card, text: &str, draft: &Draft) -> Transaction {
    let message = Message { content: Content::Text(text.to_owned()), time_ms: 1, reply_to: None };
    stamped(from.seal(to, message, draft, &mut rng().unwrap()).unwrap().unstamped)
}

/// Appends the header alone of a sealed text that nobody worked for, as it comes at the draft's time, not durably, and gives
/// the whole of it.
pub(crate) fn append_header_of_letter(
    ledger: &RwLock<DiskLedger>,
    from: &Wallet,
    to: &Card,
    draft: &Draft,
) -> Transaction {
    let message = Message::new(Content::Text("late".to_owned()), 1);
    let unstamped = from.seal(to, message, draft, &mut rng().unwrap()).unwrap().unstamped;
    let whole = unstamped.stamped(&Network::dev(), Stamp::new(0, [0; 16])).unwrap();
    let header = Header::from_bytes(&whole.header().to_bytes()).unwrap();
    let alone = Transaction::new(&Network::dev(), header, None).unwrap();
    write(ledger, |ledger| ledger.append_header_alone(Verified::unchecked(alone), draft.time)).unwrap();
    whole
}
