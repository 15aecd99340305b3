//! What wallets disclose: one message each, and nothing of the wallet besides.

use qasedak_chain::{
    Network, Position, Time,
    hash::{Context, hash},
};
use tempfile::TempDir;

use super::*;
use crate::{
    card::Card,
    disclose::{self, Discloser},
    envelope::Draft,
    keys::ScanKey,
    keystore::KdfCost,
    phrase::Phrase,
    testing::{NOW, draft, message, rng, stamped, text},
    wallet::{LogId, Scanned},
};

const LOG: LogId = LogId::from_bytes([1; 16]);

/// A wallet, its card, and the words it comes from.
struct Owner {
    wallet: Wallet,
    card: Card,
    phrase: Phrase,
    _dir: TempDir,
}

fn owner(number: u8) -> Owner {
    let (dir, phrase, now) = (tempfile::tempdir().unwrap(), Phrase::from_entropy(&[number; 32]).unwrap(), NOW);
    let mut wallet =
        Wallet::create(dir.path(), &Network::dev(), &phrase, "p", KdfCost::for_tests(), now, &mut rng(number.into()))
            .unwrap();
    let card_draft = Draft { time: now.rounded_down(), ..draft() };
    let card = stamped(
        wallet.make_card(Default::default(), now, None, &card_draft, &mut rng(u64::from(number) + 50)).unwrap(),
    );
    let card = Card::open(wallet.network(), &wallet.address(), &card).unwrap();
    Owner { wallet, card, phrase, _dir: dir }
}

/// Sends as a node does, and lets the recipient's wallet open it.
fn send(from: &mut Owner, to: &mut Owner, content: &str, seed: u64) -> Transaction {
    let sealed = from.wallet.seal(&to.card, message(content), &draft(), &mut rng(seed)).unwrap();
    let transaction = stamped(sealed.unstamped);
    from.wallet.record_sent(transaction.id(), &sealed.record).unwrap();
    let opened = to.wallet.open_transaction(&transaction).unwrap();
    let next = Position::new(seed);
    to.wallet
        .record_scanned(
            &LOG,
            Scanned { next, opened: vec![opened], ..Scanned::default() },
            Time::from_secs(NOW.secs() + 60),
        )
        .unwrap();
    transaction
}

#[test]
fn both_sides_disclose_and_name_the_same_inner_id() {
    let (mut ann, mut bob) = (owner(41), owner(42));
    let sent: Vec<Transaction> = (0..3).map(|n| send(&mut ann, &mut bob, &format!("message {n}"), 100 + n)).collect();
    for (n, transaction) in sent.iter().enumerate() {
        let by_sender = disclose::check(&ann.wallet.disclose(transaction, None).unwrap().to_bytes()).unwrap();
        let by_recipient = disclose::check(&bob.wallet.disclose(transaction, None).unwrap().to_bytes()).unwrap();
        assert_eq!((by_sender.discloser, by_recipient.discloser), (Discloser::Sender, Discloser::Recipient));
        assert_eq!(by_sender.inner_id, by_recipient.inner_id);
        assert_eq!(by_sender.content, text(&format!("message {n}")));
        assert_eq!(by_sender.content, by_recipient.content);
        assert_eq!((by_sender.sender, by_recipient.recipient), (ann.wallet.address(), bob.wallet.address()));
    }
}

/// Neither words, nor keys, nor what opens another message, as bytes or as text.
#[test]
fn nothing_else_is_in_the_file() {
    let (mut ann, mut bob) = (owner(41), owner(42));
    let disclosed = send(&mut ann, &mut bob, "this one", 100);
    let next = send(&mut ann, &mut bob, "canary of the next", 101);
    let back = send(&mut bob, &mut ann, "canary of the answer", 102);
    let mut secrets: Vec<Vec<u8>> = Vec::new();
    for owner in [&ann, &bob] {
        let seed = owner.phrase.seed();
        let key = |purpose: &[u8]| hash(Context::WalletKey, &[seed.as_slice(), purpose, &0u32.to_le_bytes()]).to_vec();
        let keys = [key(b"identity"), key(b"scan")];
        assert_eq!(ScanKey::from_bytes(keys[1].as_slice().try_into().unwrap()).public(), owner.card.scan());
        secrets.extend([owner.phrase.entropy().to_vec(), seed.to_vec(), owner.card.scan().to_vec()]);
        secrets.extend(keys);
        secrets.extend(owner.wallet.main.seal_keys.iter().map(|key| key.secret().to_vec()));
        let words = owner.phrase.words();
        let words: Vec<&str> = words.split(' ').collect();
        secrets.extend(words.windows(2).map(|pair| pair.join(" ").into_bytes()));
    }
    for other in [&next, &back] {
        for wallet in [&ann.wallet, &bob.wallet] {
            secrets.push(match wallet.sent_by(&other.id()).unwrap() {
                Some(sent) => sent.record.unwrap().encapsulation_seed.as_bytes().to_vec(),
                None => wallet.unsealed(other).unwrap().0.shared.to_vec(),
            });
        }
    }
    secrets.push(b"canary".to_vec());
    for wallet in [&ann.wallet, &bob.wallet] {
        let file = wallet.disclose(&disclosed, None).unwrap().to_bytes();
        for secret in &secrets {
            for form in [secret.clone(), hex::encode(secret).into_bytes(), hex::encode_upper(secret).into_bytes()] {
                assert!(!file.windows(form.len()).any(|window| window == form));
            }
        }
    }
}

#[test]
fn what_cannot_be_disclosed_says_why() {
    let (mut ann, mut bob, carol) = (owner(41), owner(42), owner(43));
    let transaction = send(&mut ann, &mut bob, "hi", 100);
    let id = transaction.id();
    assert!(matches!(carol.wallet.disclose(&transaction, None), Err(DiscloseError::NotOurs(of)) if of == id));
    let gone = Transaction::new(&Network::dev(), transaction.header().clone(), None).unwrap();
    for wallet in [&ann.wallet, &bob.wallet] {
        assert!(matches!(wallet.disclose(&gone, None), Err(DiscloseError::NoBody(of)) if of == id));
    }
    bob.wallet.main.seal_keys.clear();
    assert!(matches!(bob.wallet.disclose(&transaction, None), Err(DiscloseError::KeyGone(of)) if of == id));
    assert!(ann.wallet.disclose(&transaction, None).is_ok());
}
