//! Golden transactions, byte for byte, and inputs that must be refused: `tests/vectors/transaction.json`.
//!
//! The file stands for the frozen format (DESIGN §4). A test here that fails means that this version no longer reads
//! what others wrote: a new format is a new genesis, never a changed vector. `docs/protocol.md` points here for people
//! who write a second reader.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use qasedak_chain::{
    Network, Transaction, block, digest::SetDigest, merkle, rules, rules::RuleError, transaction::body_hash,
};
use serde_json::{Value, json};

#[path = "support/draft.rs"]
mod draft;

use draft::Draft;

const FILE: &str = include_str!("../../tests/vectors/transaction.json");

fn file() -> Value {
    serde_json::from_str(FILE).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn network(entry: &Value) -> Network {
    Network::named(entry["network"].as_str().unwrap()).unwrap()
}

/// What the file says of one golden transaction, computed from its bytes.
fn described(network: &Network, bytes: &[u8]) -> Value {
    let transaction = Transaction::from_bytes(network, bytes).unwrap();
    let (core, header, id) = (transaction.core(), transaction.header(), transaction.id());
    let ledger = network.ledger();
    let mut set = SetDigest::new(ledger);
    set.add(&id);
    let contents = block::contents(ledger, vec![id]);
    let block = block::chained(ledger, block::first_previous(ledger), core.time().hour(), contents);
    json!({
        "network": network.name(),
        "ledger": ledger.to_string(),
        "genesis": network.genesis().to_string(),
        "parents": core.parents().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "time": core.time().secs(),
        "lifetime": core.lifetime_secs(),
        "kind": core.kind().to_byte(),
        "hint": hex::encode(core.hint()),
        "body_hash": hex::encode(body_hash(network, transaction.body().unwrap())),
        "body_len": core.body_len(),
        "author": hex::encode(core.author()),
        "core": hex::encode(core.to_bytes()),
        "signing_message": hex::encode(core.signing_message(network)),
        "signature": hex::encode(header.signed().signature()),
        "challenge": hex::encode(header.signed().challenge(network)),
        "nonce": header.stamp().nonce(),
        "solution": hex::encode(header.stamp().solution()),
        "header": hex::encode(header.to_bytes()),
        "id": id.to_string(),
        "transaction": hex::encode(transaction.to_bytes()),
        "alone": {
            "merkle_root": merkle::root(ledger, [&id]).to_string(),
            "digest": set.digest().to_string(),
            "block": block.number,
            "chain": block.chain.to_string(),
        },
    })
}

#[test]
fn golden_transactions_are_read_as_they_always_were() {
    let file = file();
    let golden = file["golden"].as_array().unwrap();
    assert_eq!(golden.len(), 2, "one of `dev`, one of `main`");
    for entry in golden {
        let network = network(entry);
        let bytes = bytes(&entry["transaction"]);
        let transaction = Transaction::from_bytes(&network, &bytes).unwrap();
        assert_eq!(rules::verify(&network, transaction).map(|_| ()), Ok(()), "{}", network.name());
        assert_eq!(&described(&network, &bytes), entry, "{}", network.name());
    }
}

/// The independent writer arrives at the same bytes from the same fields.
#[test]
fn golden_transactions_follow_from_their_fields() {
    for entry in file()["golden"].as_array().unwrap() {
        let draft = Draft {
            nonce: entry["nonce"].as_u64().unwrap(),
            solution: bytes(&entry["solution"]).try_into().unwrap(),
            ..Draft::new(network(entry)).sign()
        };
        assert_eq!(draft.bytes(), bytes(&entry["transaction"]));
        assert!(draft.meets_target());
    }
}

#[test]
fn each_rejection_is_refused_for_the_reason_given() {
    let file = file();
    let rejections = file["rejections"].as_array().unwrap();
    assert!(rejections.len() >= 17, "only {} rejections", rejections.len());
    for entry in rejections {
        let network = network(entry);
        let verdict = Transaction::from_bytes(&network, &bytes(&entry["transaction"]))
            .and_then(|transaction| rules::verify(&network, transaction));
        assert_eq!(format!("{:?}", verdict.unwrap_err()), entry["rule"], "{}", entry["what"]);
    }
}

/// What is done to the golden transaction of `dev`, and the rule that it then breaks.
fn rejections() -> Vec<(&'static str, RuleError, Vec<u8>)> {
    let good = Draft::new(Network::dev()).sign().stamp();
    let bytes = good.bytes();
    let edited = |at: usize, with: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    let high_s = |byte: u8| edited(34 + 8 + 4 + 1 + 16 + 32 + 4 + 32 + 63, &[byte]);
    let late = (good.network.start().secs() - 60).to_le_bytes();
    let swapped = Draft { parents: vec![[2; 32], [1; 32]], ..good.clone() }.sign();
    let twice = Draft { parents: vec![[1; 32], [1; 32]], ..good.clone() }.sign();
    vec![
        ("one byte shorter than the shortest header", RuleError::Size, bytes[..218].to_vec()),
        ("format version 2", RuleError::Version, edited(0, &[2])),
        ("no parents claimed", RuleError::ParentCount, edited(1, &[0])),
        ("nine parents claimed", RuleError::ParentCount, edited(1, &[9])),
        ("255 parents claimed", RuleError::ParentCount, edited(1, &[255])),
        ("eight parents claimed, bytes for one", RuleError::Encoding, [&[1, 8], &bytes[2..219]].concat()),
        ("parents in descending order", RuleError::ParentOrder, swapped.bytes()),
        ("the same parent twice", RuleError::ParentOrder, twice.bytes()),
        ("a time that is no whole minute", RuleError::TimeForm, edited(34, &[1])),
        ("a time of 2^40 + 44", RuleError::TimeForm, edited(34, &((1u64 << 40) + 44).to_le_bytes())),
        ("a time before the start", RuleError::TimeBeforeStart, edited(34, &late)),
        ("a lifetime of 0", RuleError::Lifetime, edited(42, &[0; 4])),
        ("a lifetime of 90 days and a second", RuleError::Lifetime, edited(42, &7_776_001u32.to_le_bytes())),
        ("kind 2", RuleError::Kind, edited(46, &[2])),
        ("a body length of 513", RuleError::BodyLen, edited(95, &[1])),
        ("the last byte of the body missing", RuleError::BodySize, bytes[..730].to_vec()),
        ("a byte behind the body", RuleError::BodySize, [&bytes[..], &[0]].concat()),
        ("a bit of the body flipped", RuleError::BodyHash, edited(730, &[bytes[730] ^ 1])),
        ("a bit of the hint flipped", RuleError::Signature, edited(47, &[bytes[47] ^ 1])),
        ("S out of range: its highest bits set", RuleError::Signature, high_s(0xff)),
        ("another nonce", RuleError::StampSolution, edited(195, &[bytes[195] ^ 1])),
        ("an empty solution", RuleError::StampSolution, edited(203, &[0; 16])),
    ]
}

#[test]
#[ignore = "prints the vectors anew; only for a new format, which is a new genesis"]
fn print_vectors() {
    let golden = [Network::dev(), Network::main()].map(|network| {
        let draft = Draft::new(network).sign().stamp();
        described(&draft.network, &draft.bytes())
    });
    let mut rejected: Vec<Value> = rejections()
        .into_iter()
        .map(|(what, rule, bytes)| {
            json!({"what": what, "rule": format!("{rule:?}"), "network": "dev", "transaction": hex::encode(bytes)})
        })
        .collect();
    let cheap = Draft::new(Network::main()).sign().unlucky();
    let what = "a stamp that is not rare enough for `main`";
    let bytes = hex::encode(cheap.bytes());
    rejected.push(json!({"what": what, "rule": "StampTarget", "network": "main", "transaction": bytes}));
    let file = json!({
        "about": "Transactions of format version 1, docs/protocol.md. The golden ones are signed by the Ed25519 key \
                  whose seed is 32 bytes of 7. A rejection breaks the rule that it names; `alone` is a ledger of \
                  this one transaction.",
        "golden": golden,
        "rejections": rejected,
    });
    println!("{}", serde_json::to_string_pretty(&file).unwrap());
}
