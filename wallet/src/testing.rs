//! What the tests of this crate share: people, drafts, and transactions taken apart and put together again.

use std::ops::ControlFlow;

use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Network, Time, Transaction, TxId,
    stamp::{self, Stamp},
    time::RELEASE_SECS,
    transaction::{Header, Kind, body_hash},
};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    aead,
    card::Card,
    envelope::{Draft, Unstamped, close, hint_for},
    inner::{Content, Message},
    keys::{Account, EncapsulationSeed, KEM_CIPHERTEXT_BYTES, Keys, SealKey, SealKeyId},
    phrase::Phrase,
    seal::{BODY_OVERHEAD_BYTES, SealError, body_keys},
};

/// A moment some weeks after the networks' start.
pub(crate) const NOW: Time = Time::from_secs(RELEASE_SECS + 50 * 86_400);

pub(crate) fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Someone with keys, a seal key made at [`NOW`], and the card of it.
pub(crate) struct Person {
    pub(crate) keys: Keys,
    pub(crate) seal_key: SealKey,
    pub(crate) card: Card,
}

pub(crate) fn person(number: u8) -> Person {
    let keys = Keys::derive(&Phrase::from_entropy(&[number; 32]).unwrap(), Account::default());
    let seal_key = SealKey::from_bytes(SealKeyId::new(NOW.secs()), &[number; 32]);
    let card = Card::sign(&Network::dev(), &keys, &seal_key);
    Person { keys, seal_key, card }
}

pub(crate) fn draft() -> Draft {
    Draft::new(vec![TxId::from_bytes([1; 32]), TxId::from_bytes([2; 32])], NOW.rounded_down())
}

pub(crate) fn text(text: &str) -> Content {
    Content::Text(text.to_owned())
}

/// A message written at 5 ms past 1970.
pub(crate) fn message(words: &str) -> Message {
    Message::new(text(words), 5)
}

/// A transaction with a stamp that is worth nothing: the wallet leaves stamps to the ledger.
pub(crate) fn with_idle_stamp(unstamped: Unstamped) -> Transaction {
    unstamped.stamped(&Network::dev(), Stamp::new(0, [0; 16])).unwrap()
}

/// A transaction with a stamp that the rules of `dev` ask for.
pub(crate) fn stamped(unstamped: Unstamped) -> Transaction {
    let (challenge, effort) = unstamped.work(&Network::dev());
    let stamp = stamp::search(&challenge, effort, 0.., || ControlFlow::Continue(())).unwrap();
    unstamped.stamped(&Network::dev(), stamp).unwrap()
}

/// The seed behind every [`crafted`] body.
pub(crate) const CRAFTED_SEED: [u8; 64] = [4; 64];

/// A message to `to` whose decrypted plaintext `make` chooses, knowing the author and the KEM ciphertext.
pub(crate) fn crafted(
    to: &Person,
    make: impl FnOnce(&[u8; 32], &[u8; KEM_CIPHERTEXT_BYTES]) -> Vec<u8>,
    spoil_commitment: bool,
) -> Unstamped {
    let author = SigningKey::from_bytes(&[6; 32]);
    let author_public = author.verifying_key().to_bytes();
    let kem = to.card.seal().encapsulate(&EncapsulationSeed::from_bytes(&CRAFTED_SEED)).unwrap();
    let mut plaintext = make(&author_public, &kem.ciphertext);
    plaintext.resize(2048 - BODY_OVERHEAD_BYTES, 0);
    let mut keys = body_keys(&Network::dev(), &author_public, &kem.ciphertext, &kem.shared).unwrap();
    keys.commitment[31] ^= u8::from(spoil_commitment);
    let hint = hint_for(Network::dev().ledger(), &author, to.card.scan()).unwrap();
    let unstamped = close(&Network::dev(), &draft(), (Kind::Sealed, hint), &author, 2048, |aad| {
        let sealed = aead::seal(&keys.key, &keys.nonce, aad, &plaintext).unwrap();
        Ok::<_, SealError>([kem.ciphertext.as_slice(), &keys.commitment, &sealed].concat())
    });
    unstamped.unwrap()
}

/// Bytes of the core of a transaction with `parents` parents.
pub(crate) fn core_bytes(parents: usize) -> usize {
    99 + 32 * parents
}

/// Where the body hash stands in it.
pub(crate) fn body_hash_range(parents: usize) -> std::ops::Range<usize> {
    31 + 32 * parents..63 + 32 * parents
}

/// The transaction with changed header and body bytes and a body hash that fits them, as anyone could make it who
/// stamps it anew; `None` when it breaks a rule of form.
pub(crate) fn rebuilt(transaction: &Transaction, change: impl FnOnce(&mut [u8], &mut [u8])) -> Option<Transaction> {
    let network = Network::dev();
    let mut header = transaction.header().to_bytes();
    let mut body = transaction.body().unwrap().to_vec();
    change(&mut header, &mut body);
    header[body_hash_range(transaction.core().parents().len())].copy_from_slice(&body_hash(&network, &body));
    Transaction::new(&network, Header::from_bytes(&header).ok()?, Some(body)).ok()
}

/// Every transaction that differs from this one in one byte of core or body, body hash made to fit.
pub(crate) fn every_flip(transaction: &Transaction) -> impl Iterator<Item = Transaction> {
    let parents = transaction.core().parents().len();
    let core = (0..core_bytes(parents)).filter(move |i| !body_hash_range(parents).contains(i));
    let body = 0..transaction.body().unwrap().len();
    let core = core.filter_map(|i| rebuilt(transaction, |header, _| header[i] ^= 1));
    core.chain(body.filter_map(|i| rebuilt(transaction, |_, body| body[i] ^= 1)))
}
