//! What the tests of this crate share: wallets in directories, and stamped transactions between them.

use std::{ops::ControlFlow, path::Path};

use qasedak_chain::{Network, Transaction, TxId, stamp};
use qasedak_wallet::{Card, Content, Draft, KdfCost, Message, Phrase, Wallet, envelope::Unstamped, keys::Account};

use crate::node::{now, rng};

/// The wallet of the phrase of 32 bytes of `number`.
pub(crate) fn wallet(home: &Path, number: u8) -> Wallet {
    let phrase = Phrase::from_entropy(&[number; 32]).unwrap();
    let dir = home.join(format!("wallet-{number}"));
    Wallet::create(&dir, &Network::dev(), &phrase, "x", KdfCost::for_tests(), now(), &mut rng().unwrap()).unwrap()
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
