//! `seal.json` and `scan.json`: sealed messages, and which entries of a scan column are whose.

use qasedak_chain::{Network, rules, store::ScanEntry, transaction::Kind};
use qasedak_wallet::{
    Card, Draft, Keys, Phrase, Scanner, SealKey, SealKeyId,
    inner::{Content, InnerId, Message},
    keys::{Account, ScanKey},
    open::{OpenError, open},
    seal::seal,
};
use serde_json::{Value, json};

use crate::{
    array, committed,
    craft::{Envelope, MessageDraft, Person, Tape, now, parents},
    list, name, network, octets, transaction,
};

/// Numbers of the two people: their phrases have 32 bytes of these.
const SENDER: u8 = 1;
const RECIPIENT: u8 = 2;

pub fn draft(network: Network, text: &str) -> MessageDraft {
    MessageDraft::new(network, &Person::new(SENDER), &Person::new(RECIPIENT), text)
}

fn golden(draft: &MessageDraft) -> Value {
    let (ciphertext, shared) = draft.encapsulated();
    let (key, nonce, commitment) = draft.body_keys();
    json!({
        "network": draft.envelope.network.name(),
        "author_secret": hex::encode(draft.envelope.author.to_bytes()),
        "author_u": hex::encode(draft.author_u()),
        "encapsulation_seed": hex::encode(draft.seed),
        "hint": hex::encode(draft.hint()),
        "kem_ciphertext": hex::encode(ciphertext),
        "shared_secret": hex::encode(shared),
        "key": hex::encode(key),
        "nonce": hex::encode(nonce),
        "commitment": hex::encode(commitment),
        "signed": hex::encode(draft.signed()),
        "inner_id": hex::encode(draft.inner_id()),
        "type": draft.kind,
        "time_ms": draft.time_ms,
        "reply": hex::encode(draft.reply),
        "content": hex::encode(&draft.content),
        "transaction": hex::encode(draft.transaction().to_bytes()),
    })
}

fn wrong(good: &MessageDraft) -> Vec<(&'static str, OpenError, MessageDraft)> {
    let with = |change: &dyn Fn(&mut MessageDraft)| {
        let mut draft = good.clone();
        change(&mut draft);
        draft
    };
    let receipt = |content: &[u8]| MessageDraft { kind: 1, content: content.to_vec(), ..good.clone() };
    let third = Person::new(3);
    let mut unit = [0; 32];
    unit[0] = 1;
    vec![
        ("a tagged transaction", OpenError::NotSealed, with(&|draft| draft.envelope.kind = Kind::Tagged)),
        ("another hint", OpenError::NotForUs, with(&|draft| draft.envelope.hint = [1; 16])),
        (
            "sealed to a key that the recipient lacks",
            OpenError::Commitment,
            with(&|draft| draft.recipient.seal_secret = [9; 32]),
        ),
        (
            "an X25519 part of zero in the ciphertext",
            OpenError::Commitment,
            with(&|draft| draft.ciphertext_end = Some([0; 32])),
        ),
        ("another commitment", OpenError::Commitment, with(&|draft| draft.spoil_commitment = true)),
        ("inner version 2", OpenError::Version, with(&|draft| draft.version = 2)),
        ("a content past the body's end", OpenError::Layout, with(&|draft| draft.length = Some(2_000))),
        ("a content of 2^32 - 1 bytes", OpenError::Layout, with(&|draft| draft.length = Some(u32::MAX))),
        ("padding that is not zero", OpenError::Layout, with(&|draft| draft.padding = 1)),
        ("a text that is no UTF-8", OpenError::Text, with(&|draft| draft.content = vec![0xff])),
        ("a receipt for no message", OpenError::Layout, receipt(&[])),
        ("a receipt of 33 bytes", OpenError::Layout, receipt(&[1; 33])),
        ("a receipt that answers", OpenError::Layout, MessageDraft { reply: [1; 32], ..receipt(&[1; 32]) }),
        ("the number of another seal key", OpenError::OtherSealKey, with(&|draft| draft.seal_id += 1)),
        ("signed by another than it names", OpenError::Signature, with(&|draft| draft.claimed = Some(third.address()))),
        ("a sender of small order", OpenError::Signature, with(&|draft| draft.claimed = Some(unit))),
        ("signed for another recipient", OpenError::Signature, with(&|draft| draft.signed_for = third.address())),
    ]
}

pub fn sealed() -> Value {
    let good = draft(Network::dev(), "سلام 🌱 hello");
    let empty = MessageDraft {
        envelope: Envelope { lifetime_secs: 3_600, ..good.envelope.clone() },
        ..draft(Network::dev(), "")
    };
    let other = MessageDraft { kind: 7, content: vec![0xff, 0, 1], ..good.clone() };
    let long = MessageDraft {
        envelope: Envelope { body_len: 4_096, ..good.envelope.clone() },
        ..draft(Network::dev(), &"x".repeat(731))
    };
    let on_main = draft(Network::main(), "سلام");
    let rejections: Vec<Value> = wrong(&good)
        .into_iter()
        .map(|(what, error, draft)| {
            json!({"what": what, "error": name(error), "network": "dev", "transaction": hex::encode(draft.transaction().to_bytes())})
        })
        .chain([
            json!({"what": "a body of another transaction", "error": "Decryption", "network": "dev", "transaction": moved(&good)}),
            json!({"what": "a body of 1,024 bytes", "error": "BodyTooShort", "network": "dev", "transaction": short(&good)}),
        ])
        .collect();
    let (sender, recipient) = (Person::new(SENDER), Person::new(RECIPIENT));
    let answer = MessageDraft { reply: good.inner_id(), ..draft(Network::dev(), "yes") };
    let receipt = MessageDraft { kind: 1, content: [good.inner_id(), [9; 32]].concat(), ..good.clone() };
    let golden = [&good, &empty, &other, &long, &answer, &receipt, &on_main].map(golden);
    json!({
        "about": "Sealed messages, docs/wallet-format.md, \"Sealed body\" and \"Inner plaintext\". Sender and recipient are the \
                  first identities of the phrases of 32 bytes of 1 and of 2. All transactions obey the rules that need no ledger.",
        "sender": {"identity_secret": hex::encode(sender.identity.to_bytes()), "address": hex::encode(sender.address())},
        "recipient": {
            "address": hex::encode(recipient.address()),
            "scan_secret": hex::encode(recipient.scan),
            "seal_key_id": recipient.seal_id,
            "seal_secret": hex::encode(recipient.seal_secret),
            "seal_public": hex::encode(recipient.seal_public()),
        },
        "golden": golden,
        "rejections": rejections,
    })
}

/// A good body in a transaction for which it was not encrypted.
fn moved(good: &MessageDraft) -> String {
    let body = good.transaction().body().unwrap().to_vec();
    let envelope = Envelope { hint: good.hint(), lifetime_secs: 3_600, ..good.envelope.clone() };
    hex::encode(envelope.close(|_| body).to_bytes())
}

/// A body that is too short for a ciphertext.
fn short(good: &MessageDraft) -> String {
    let envelope = Envelope { hint: good.hint(), body_len: 1_024, ..good.envelope.clone() };
    hex::encode(envelope.close(|_| vec![0; 1_024]).to_bytes())
}

pub fn keys(number: u8) -> Keys {
    Keys::derive(&Phrase::from_entropy(&[number; 32]).unwrap(), Account::new(0))
}

pub fn seal_key(number: u8) -> SealKey {
    SealKey::from_bytes(SealKeyId::new(now().secs()), &[number; 32])
}

/// The message that a golden one answers.
fn reply(case: &Value) -> Option<InnerId> {
    let reply: [u8; 32] = array(&case["reply"]);
    (reply != [0; 32]).then(|| InnerId::from_bytes(reply))
}

#[test]
fn messages_open_and_are_refused() {
    let file = committed("seal");
    let (keys, older) = (keys(RECIPIENT), SealKey::from_bytes(SealKeyId::new(1), &[8; 32]));
    let seal_keys = [older.clone(), seal_key(RECIPIENT), SealKey::from_bytes(SealKeyId::new(u64::MAX), &[7; 32])];
    for case in list(&file, "golden") {
        let (network, transaction) = (network(case), transaction(case));
        rules::verify(&network, transaction.clone()).unwrap();
        let opened = open(&network, &keys, &seal_keys, &transaction).unwrap();
        assert_eq!(opened.inner_id.as_bytes(), &array(&case["inner_id"]));
        assert_eq!(opened.sender.as_bytes(), &array(&file["sender"]["address"]));
        let message = opened.message;
        assert_eq!(message.time_ms, case["time_ms"].as_u64().unwrap());
        assert_eq!(message.reply_to, reply(case));
        assert_eq!(u64::from(message.content.kind()), case["type"].as_u64().unwrap());
        assert_eq!(message.content.as_bytes(), octets(&case["content"]));
        let other = open(&network, &keys, std::slice::from_ref(&older), &transaction);
        assert_eq!(other.unwrap_err(), OpenError::Commitment);
    }
    for case in list(&file, "rejections") {
        let (network, transaction) = (network(case), transaction(case));
        rules::verify(&network, transaction.clone()).unwrap();
        let error = open(&network, &keys, &seal_keys, &transaction).unwrap_err();
        assert_eq!(name(error), case["error"], "{}", case["what"]);
    }
}

/// The wallet writes what the second writer writes when it draws the same bytes.
#[test]
fn the_wallet_seals_the_golden_messages() {
    let file = committed("seal");
    for case in list(&file, "golden") {
        let (network, golden) = (network(case), transaction(case));
        let card = Card::sign(&network, &keys(RECIPIENT), &seal_key(RECIPIENT));
        let kind = case["type"].as_u64().unwrap() as u8;
        let content = Content::from_parts(kind, &octets(&case["content"])).unwrap();
        let draft = Draft { lifetime_secs: golden.core().lifetime_secs(), ..Draft::new(parents(), now()) };
        let mut tape = Tape::new(&[&octets(&case["author_secret"]), &octets(&case["encapsulation_seed"])]);
        let time_ms = case["time_ms"].as_u64().unwrap();
        let message = Message { content, time_ms, reply_to: reply(case) };
        let message = seal(&network, &keys(SENDER), &card, message, &draft, &mut tape).unwrap();
        assert_eq!(message.record.inner_id.as_bytes(), &array(&case["inner_id"]));
        assert_eq!(message.unstamped.body(), golden.body().unwrap());
        assert_eq!(message.unstamped.signed(), golden.header().signed());
    }
}

/// Scan secrets of the scan vectors.
const SCAN_SECRETS: [[u8; 32]; 3] = [[1; 32], [2; 32], [0xff; 32]];
const TAG: [u8; 16] = [0xaa; 16];

/// Scan columns are the same for all networks; hints are not.
pub fn scan() -> Value {
    let hint = |network: &Network, author: u8, scan: [u8; 32]| {
        let mut draft = draft(network.clone(), "");
        draft.envelope.author = ed25519_dalek::SigningKey::from_bytes(&[author; 32]);
        draft.recipient.scan = scan;
        (draft.author_u(), draft.hint())
    };
    let dev = Network::dev();
    let entry = |what: &str, kind: u8, (u, hint): ([u8; 32], [u8; 16]), found: Value| json!({"what": what, "kind": kind, "author_u": hex::encode(u), "hint": hex::encode(hint), "found_by": found});
    let mut entries: Vec<Value> = (0..3usize)
        .flat_map(|scan| (10..13).map(move |author| (scan, author)))
        .map(|(scan, author)| entry("for one scan key", 0, hint(&dev, author, SCAN_SECRETS[scan]), json!(scan)))
        .collect();
    let good = hint(&dev, 10, SCAN_SECRETS[0]);
    let mut high = good.0;
    high[31] |= 0x80;
    entries.extend([
        entry("the author of another", 0, (hint(&dev, 11, SCAN_SECRETS[0]).0, good.1), Value::Null),
        entry("for another network", 0, hint(&Network::main(), 10, SCAN_SECRETS[0]), Value::Null),
        entry("for someone else", 0, hint(&dev, 10, [3; 32]), Value::Null),
        entry("an author of small order", 0, ([0; 32], good.1), Value::Null),
        entry("the hint of a u with its ignored bit set", 0, (high, good.1), Value::Null),
        entry("a sealed one with an expected tag", 0, (good.0, TAG), Value::Null),
        entry("a tagged one with the hint of a sealed one", 1, good, Value::Null),
        entry("a tagged one with another tag", 1, (good.0, [0xab; 16]), Value::Null),
        entry("a tagged one with an expected tag", 1, (good.0, TAG), json!("tag")),
    ]);
    json!({
        "about": "Entries of a scan column of `dev` and who finds them, docs/wallet-format.md, \"Hint\": `found_by` is the index \
                  of a scan secret, `tag` for the expected tag, or null for no one.",
        "scan_secrets": SCAN_SECRETS.map(hex::encode),
        "tag": hex::encode(TAG),
        "entries": entries,
    })
}

#[test]
fn entries_are_found_by_whom_they_are_for() {
    let file = committed("scan");
    let dev = Network::dev();
    let tag: [u8; 16] = array(&file["tag"]);
    let keys: Vec<ScanKey> =
        list(&file, "scan_secrets").iter().map(|secret| ScanKey::from_bytes(&array(secret))).collect();
    for case in list(&file, "entries") {
        let kind = Kind::from_byte(case["kind"].as_u64().unwrap() as u8).unwrap();
        let entry = ScanEntry { kind, hint: array(&case["hint"]), author_u: array(&case["author_u"]), has_body: true };
        for (n, key) in keys.iter().enumerate() {
            let found = Scanner::new(&dev, key).is_match(&entry);
            assert_eq!(found, case["found_by"].as_u64() == Some(n as u64), "{} by {n}", case["what"]);
        }
        let all = keys[1..].iter().fold(Scanner::new(&dev, &keys[0]), Scanner::with_key).with_tags([tag]);
        assert_eq!(all.is_match(&entry), !case["found_by"].is_null(), "{}", case["what"]);
    }
}
