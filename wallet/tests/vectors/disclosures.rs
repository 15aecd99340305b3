//! `disclosure.json`: files that open one message to a third party.

use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Network, Transaction,
    merkle::Tree,
    proof::{self, InclusionProof},
};
use qasedak_wallet::{Address, disclose};
use serde_json::{Value, json};

use crate::{
    array, committed,
    craft::{Envelope, MessageDraft},
    list, messages, name,
};

#[path = "../../../chain/tests/support/node.rs"]
mod node;

use node::Node;

fn bech(address: &[u8; 32]) -> String {
    Address::from_bytes(*address).unwrap().to_string()
}

/// The file, written by hand. `opening` is the name of the secret and its digits.
fn written(draft: &MessageDraft, transaction: &Transaction, opening: (&str, String), proof: Option<&str>) -> String {
    let (name, secret) = opening;
    format!(
        "{{\n  \"format\": \"qasedak disclosure 1\",\n  \"network\": \"{}\",\n  \"transaction\": \"{}\",\n  \"header\": \"{}\",\n  \
         \"body\": \"{}\",\n  \"recipient\": \"{}\",\n  \"seal_key\": \"{}\",\n  \"opening\": {{\n    \"{name}\": \"{secret}\"\n  }},\n  \
         \"proof\": {}\n}}\n",
        draft.envelope.network.name(),
        transaction.id(),
        hex::encode(transaction.header().to_bytes()),
        hex::encode(transaction.body().unwrap()),
        bech(&draft.recipient.address()),
        hex::encode(draft.recipient.seal_public()),
        proof.unwrap_or("null").trim_end(),
    )
}

/// The proof file of a transaction that is alone in a ledger, by the word of one peer.
fn proof_of(network: &Network, transaction: &Transaction) -> String {
    let (id, time) = (transaction.id(), transaction.core().time());
    let mut peer = Node::new(network.clone(), 5);
    peer.append(id, time.hour());
    let (block, checkpoint) = (peer.blocks()[0], peer.checkpoint(time.plus(4 * 3_600)));
    let tree = Tree::of(network.ledger(), [block.leaf()]);
    let (index, path) = proof::place_in_block(network.ledger(), &[id], &id).unwrap();
    let proof = InclusionProof {
        parents: Vec::new(),
        header: transaction.header().clone(),
        block: qasedak_chain::block::Contents { count: block.count, root: block.root },
        index,
        path,
        own: None,
        checkpoints: vec![proof::place(network.ledger(), &tree, 1, 0, &checkpoint).unwrap().unwrap()],
    };
    String::from_utf8(proof.to_file(network).unwrap()).unwrap()
}

pub fn file() -> Value {
    let dev = Network::dev();
    let draft = messages::draft(dev.clone(), "سلام, I wrote this");
    let of_genesis =
        MessageDraft { envelope: Envelope { parents: vec![dev.genesis()], ..draft.envelope.clone() }, ..draft.clone() };
    let other = MessageDraft {
        envelope: Envelope { author: SigningKey::from_bytes(&[0x73; 32]), ..of_genesis.envelope.clone() },
        ..draft.clone()
    };
    let shared = |draft: &MessageDraft| ("shared_secret", hex::encode(draft.encapsulated().1));
    let (transaction, proven) = (draft.transaction(), of_genesis.transaction());
    let mut clamped = draft.seed;
    clamped[32] &= 248;
    clamped[63] = clamped[63] & 127 | 64;
    let seed = ("encapsulation_seed", hex::encode(clamped));
    let (proof, other_proof) = (proof_of(&dev, &proven), proof_of(&dev, &other.transaction()));
    let by_recipient = written(&draft, &transaction, shared(&draft), None);
    let by_sender = written(&draft, &transaction, seed.clone(), None);
    let with_proof = written(&of_genesis, &proven, shared(&of_genesis), Some(&proof));
    let golden = [&by_recipient, &by_sender, &with_proof].map(|file| {
        let sender = bech(&draft.sender.address());
        json!({"sender": sender, "content": hex::encode(&draft.content), "time_ms": draft.time_ms, "file": file})
    });
    let refuse = |what: &str, error: &str, file: String| json!({"what": what, "error": error, "file": file});
    let seal_key = hex::encode(draft.recipient.seal_public());
    let other_recipient = bech(&crate::craft::Person::new(3).address());
    json!({
        "about": "Disclosure files, docs/wallet-format.md, \"Disclosure file\", each as one text. Sender and recipient are those of \
                  seal.json.",
        "golden": golden,
        "rejections": [
            refuse("a space more", "NotCanonical", by_recipient.replacen('{', "{ ", 1)),
            refuse("no line feed at the end", "NotCanonical", by_recipient.trim_end().to_owned()),
            refuse("an upper-case digit", "NotCanonical", by_recipient.replacen(&seal_key, &seal_key.to_uppercase(), 1)),
            refuse("an unknown field", "Form", by_recipient.replacen("{\n", "{\n  \"note\": 1,\n", 1)),
            refuse("a field missing", "Form", by_recipient.replacen("  \"format\": \"qasedak disclosure 1\",\n", "", 1)),
            refuse("format 2", "Version", by_recipient.replacen("disclosure 1", "disclosure 2", 1)),
            refuse("another network", "Transaction", by_recipient.replacen("\"dev\"", "\"main\"", 1)),
            refuse("the id of another transaction", "OtherTransaction", by_recipient.replacen(&transaction.id().to_string(), &proven.id().to_string(), 1)),
            refuse("no address", "Recipient", by_recipient.replacen("qsd1", "qsd2", 1)),
            refuse("another recipient", "Message", by_recipient.replacen(&bech(&draft.recipient.address()), &other_recipient, 1)),
            refuse("a seal key past the modulus", "SealKey", by_recipient.replacen(&seal_key[..6], "ffffff", 1)),
            refuse("another shared secret", "OtherSecret", by_recipient.replacen(&shared(&draft).1, &"11".repeat(32), 1)),
            refuse("another seed", "OtherSeed", by_sender.replacen(&seed.1, &format!("73{}", &seed.1[2..]), 1)),
            refuse("a seed whose scalar is not clamped", "Form", by_sender.replacen(&seed.1, &hex::encode(draft.seed), 1)),
            refuse("a proof of another transaction", "OtherProof", written(&of_genesis, &proven, shared(&of_genesis), Some(&other_proof))),
            refuse("a proof that was changed", "Proof", with_proof.replacen("\"settle\": 0", "\"settle\": 1", 1)),
        ],
    })
}

#[test]
fn disclosures_are_read_and_refused() {
    let file = committed("disclosure");
    for case in list(&file, "golden") {
        let shown = disclose::check(case["file"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(shown.sender.to_string(), case["sender"]);
        assert_eq!(hex::encode(shown.content.as_bytes()), case["content"]);
        assert_eq!(shown.time_ms, case["time_ms"].as_u64().unwrap());
    }
    let sender: [u8; 32] = array(&committed("seal")["sender"]["address"]);
    assert_eq!(bech(&sender), list(&file, "golden")[0]["sender"]);
    for case in list(&file, "rejections") {
        let error = disclose::check(case["file"].as_str().unwrap().as_bytes()).unwrap_err();
        assert_eq!(name(error), case["error"], "{}", case["what"]);
    }
}
