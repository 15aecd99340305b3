//! `card.json`: cards in their transactions.

use qasedak_chain::{Network, Transaction, rules, transaction::Kind};
use qasedak_wallet::{
    Address, Card, Draft, Keys, Phrase, SealKey, SealKeyId,
    card::{CardError, tag},
    keys::Account,
};
use serde_json::{Value, json};

use crate::{
    array, committed,
    craft::{CardDraft, Envelope, Person, Tape, now, parents},
    list, name, network, octets, transaction,
};

fn golden(draft: &CardDraft) -> Value {
    let transaction = draft.transaction();
    json!({
        "network": draft.envelope.network.name(),
        "address": hex::encode(draft.address),
        "identity_secret": hex::encode(draft.owner.identity.to_bytes()),
        "author_secret": hex::encode(draft.envelope.author.to_bytes()),
        "nonce": hex::encode(draft.nonce),
        "week": draft.week,
        "tag": hex::encode(draft.tag()),
        "key": hex::encode(draft.key()),
        "scan_public": hex::encode(draft.scan_public),
        "seal_public": hex::encode(&draft.seal_public),
        "sequence": draft.sequence,
        "card": hex::encode(draft.card()),
        "transaction": hex::encode(transaction.to_bytes()),
    })
}

/// A rejected case: what was done, why it is refused, the card's transaction.
type Wrong = (&'static str, CardError, CardDraft);

fn wrong(good: &CardDraft) -> Vec<Wrong> {
    let with = |change: &dyn Fn(&mut CardDraft)| {
        let mut draft = good.clone();
        change(&mut draft);
        draft
    };
    let stranger = Person::new(2);
    let mut unit = [0; 32];
    unit[0] = 1;
    let mut bad_seal = good.seal_public.clone();
    bad_seal[..3].fill(0xff);
    let mut bad_end = good.seal_public.clone();
    bad_end[1_184..].fill(0);
    vec![
        ("a sealed transaction", CardError::NotTagged, with(&|draft| draft.envelope.kind = Kind::Sealed)),
        ("the tag and key of the week before", CardError::OtherTag, with(&|draft| draft.week -= 1)),
        ("the tag and key of another address", CardError::OtherTag, with(&|draft| draft.found_by = stranger.address())),
        ("a body of 4,096 bytes", CardError::Layout, with(&|draft| draft.envelope.body_len = 4_096)),
        ("version 2", CardError::Layout, with(&|draft| draft.version = 2)),
        ("padding that is not zero", CardError::Layout, with(&|draft| draft.padding = 1)),
        (
            "another's card under one's own tag",
            CardError::OtherAddress,
            CardDraft { found_by: good.address, ..CardDraft::new(good.envelope.network.clone(), &stranger) },
        ),
        ("a scan key of small order", CardError::Keys, with(&|draft| draft.scan_public = unit)),
        ("a seal key past the modulus", CardError::Keys, with(&|draft| draft.seal_public = bad_seal.clone())),
        ("a seal key with an X25519 part of zero", CardError::Keys, with(&|draft| draft.seal_public = bad_end.clone())),
        ("signed by another", CardError::Signature, with(&|draft| draft.owner = stranger.clone())),
        (
            "signed for another network",
            CardError::Signature,
            with(&|draft| {
                let other = CardDraft::new(Network::main(), &draft.owner).card();
                draft.signature = Some(other[1_289..].try_into().unwrap());
            }),
        ),
    ]
}

/// A card whose body was encrypted for another transaction.
fn moved(good: &CardDraft) -> Transaction {
    let body = good.transaction().body().unwrap().to_vec();
    let envelope = Envelope { hint: good.tag(), lifetime_secs: 3_600, ..good.envelope.clone() };
    envelope.close(|_| body)
}

pub fn file() -> Value {
    let person = Person::new(1);
    let good = CardDraft::new(Network::dev(), &person);
    let later =
        CardDraft { sequence: person.seal_id + 60, seal_public: crate::craft::seal_public(&[9; 32]), ..good.clone() };
    let on_main = CardDraft::new(Network::main(), &person);
    let address = hex::encode(person.address());
    let refuse = |what: &str, error: CardError, transaction: Transaction| json!({"what": what, "error": name(error), "network": "dev", "address": address, "transaction": hex::encode(transaction.to_bytes())});
    let mut rejections: Vec<Value> =
        wrong(&good).into_iter().map(|(what, error, draft)| refuse(what, error, draft.transaction())).collect();
    rejections.push(refuse("a body of another transaction", CardError::Decryption, moved(&good)));
    json!({
        "about": "Cards, docs/wallet-format.md, \"Card\". All are of the first identity of the phrase of 32 bytes of 1; parents \
                  are 32 bytes of 1 and of 2. All transactions obey the rules that need no ledger.",
        "golden": [golden(&good), golden(&later), golden(&on_main)],
        "rejections": rejections,
    })
}

#[test]
fn cards_are_read_and_refused() {
    let file = committed("card");
    for case in list(&file, "golden") {
        let (network, transaction) = (network(case), transaction(case));
        rules::verify(&network, transaction.clone()).unwrap();
        let address = Address::from_bytes(array(&case["address"])).unwrap();
        assert_eq!(tag(&network, &address, case["week"].as_u64().unwrap()), array(&case["tag"]));
        let card = Card::open(&network, &address, &transaction).unwrap();
        assert_eq!(card.to_bytes(), octets(&case["card"]));
        assert_eq!(card.scan(), &array(&case["scan_public"]));
        assert_eq!(card.seal().as_bytes(), &array(&case["seal_public"]));
        assert_eq!(card.sequence().get(), case["sequence"].as_u64().unwrap());
    }
    for case in list(&file, "rejections") {
        let (network, transaction) = (network(case), transaction(case));
        rules::verify(&network, transaction.clone()).unwrap();
        let address = Address::from_bytes(array(&case["address"])).unwrap();
        assert_eq!(name(Card::open(&network, &address, &transaction).unwrap_err()), case["error"], "{}", case["what"]);
    }
}

/// The wallet writes what the second writer writes when it draws the same bytes.
#[test]
fn the_wallet_makes_the_golden_card() {
    let file = committed("card");
    let case = &list(&file, "golden")[0];
    let network = network(case);
    let keys = Keys::derive(&Phrase::from_entropy(&[1; 32]).unwrap(), Account::new(0));
    let card = Card::sign(&network, &keys, &SealKey::from_bytes(SealKeyId::new(now().secs()), &[1; 32]));
    let mut tape = Tape::new(&[&octets(&case["author_secret"]), &octets(&case["nonce"])]);
    let unstamped = card.publish(&network, &Draft::new(parents(), now()), &mut tape).unwrap();
    let golden = transaction(case);
    assert_eq!(unstamped.body(), golden.body().unwrap());
    assert_eq!(unstamped.signed(), golden.header().signed());
}
