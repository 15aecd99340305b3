//! Golden Merkle paths, checkpoints and proof files, byte for byte, and inputs that must be refused:
//! `tests/vectors/merkle.json`, `tests/vectors/checkpoint.json`, `tests/vectors/proof-*.json` (`docs/protocol.md`, "Test vectors").
//!
//! They stand for frozen formats: a test here that fails means that this version no longer reads what others wrote.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use qasedak_chain::{
    Network, Root, TxId,
    checkpoint::{Checkpoint, SignedCheckpoint, Statement},
    merkle::{self, Tree, verify_consistency, verify_inclusion},
    proof::check,
};
use serde_json::{Value, json};

#[path = "support/node.rs"]
mod node;
#[path = "support/pool.rs"]
mod pool;
#[path = "support/world.rs"]
mod world;

use node::Node;
use world::{World, rechecked, stranger};

const MERKLE: &str = include_str!("../../tests/vectors/merkle.json");
const CHECKPOINT: &str = include_str!("../../tests/vectors/checkpoint.json");
const INCLUSION: &str = include_str!("../../tests/vectors/proof-inclusion.json");
const ABSENCE: &str = include_str!("../../tests/vectors/proof-absence.json");
const EMPTY_BLOCK: &str = include_str!("../../tests/vectors/proof-empty-block.json");
const REJECTIONS: &str = include_str!("../../tests/vectors/proof-rejections.json");

type Hash = [u8; 32];

fn hexes(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(hex::encode).collect()
}

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn path(value: &Value) -> Vec<Hash> {
    value.as_array().unwrap().iter().map(bytes).collect()
}

/// The trees of the vectors: leaf n is 32 bytes of n.
fn tree(size: u8) -> Tree {
    Tree::of(Network::dev().ledger(), (0..size).map(|n| [n; 32]))
}

fn merkle_file() -> Value {
    let trees = [1, 2, 3, 7, 8, 13].map(|size| {
        let tree = tree(size);
        let whole = u64::from(size);
        let inclusion = (0..whole).map(|index| hexes(&tree.inclusion_path(index, whole).unwrap()));
        let consistency = (1..whole).map(|old| {
            let path = hexes(&tree.consistency_path(old, whole).unwrap());
            json!({"old": old, "root": tree.root_of(old).unwrap().to_string(), "path": path})
        });
        json!({
            "leaves": size,
            "root": tree.root().to_string(),
            "inclusion": inclusion.collect::<Vec<_>>(),
            "consistency": consistency.collect::<Vec<_>>(),
        })
    });
    let path = hexes(&tree(7).inclusion_path(4, 7).unwrap());
    let other = |change: &dyn Fn(&mut Vec<String>)| {
        let mut path = path.clone();
        change(&mut path);
        path
    };
    let refuse = |what: &str, leaf: u64, index: u64, size: u64, path: Vec<String>| json!({"what": what, "leaf": leaf, "index": index, "leaves": size, "root": tree(7).root().to_string(), "path": path});
    json!({
        "about": "Trees of `dev`, docs/protocol.md: leaf n is 32 bytes of n. `inclusion` has the path of each leaf, \
                  `consistency` those from each smaller tree. A rejection must not verify.",
        "trees": trees,
        "rejections": [
            refuse("another leaf", 5, 4, 7, path.clone()),
            refuse("another index", 4, 5, 7, path.clone()),
            refuse("an index at the size", 4, 7, 7, path.clone()),
            refuse("a tree without leaves", 4, 0, 0, path.clone()),
            refuse("the last hash missing", 4, 4, 7, other(&|path| drop(path.pop()))),
            refuse("a hash too many", 4, 4, 7, other(&|path| path.push("00".repeat(32)))),
            refuse("two hashes swapped", 4, 4, 7, other(&|path| path.swap(0, 1))),
            refuse("65 hashes", 4, 4, 7, vec!["00".repeat(32); 65]),
        ],
    })
}

#[test]
fn merkle_paths_are_what_they_always_were() {
    let file: Value = serde_json::from_str(MERKLE).unwrap();
    assert_eq!(file, merkle_file());
    let ledger = Network::dev().ledger();
    for tree in file["trees"].as_array().unwrap() {
        let (size, root) = (tree["leaves"].as_u64().unwrap(), Root::from_bytes(bytes(&tree["root"])));
        for (index, text) in (0..size).zip(tree["inclusion"].as_array().unwrap()) {
            let leaf = merkle::leaf(ledger, &[index as u8; 32]);
            assert!(verify_inclusion(ledger, leaf, index, size, &path(text), &root));
        }
        for step in tree["consistency"].as_array().unwrap() {
            let (old, old_root) = (step["old"].as_u64().unwrap(), Root::from_bytes(bytes(&step["root"])));
            assert!(verify_consistency(ledger, old, &old_root, size, &root, &path(&step["path"])));
        }
    }
    for case in file["rejections"].as_array().unwrap() {
        let number = |name: &str| case[name].as_u64().unwrap();
        let leaf = merkle::leaf(ledger, &[number("leaf") as u8; 32]);
        let root = Root::from_bytes(bytes(&case["root"]));
        let verdict = verify_inclusion(ledger, leaf, number("index"), number("leaves"), &path(&case["path"]), &root);
        assert!(!verdict, "{}", case["what"]);
    }
}

/// A node of `dev` with five transactions: ids of 0 to 4, two of the first hour, two of the second, one of the fifth.
fn five() -> Node {
    let mut node = Node::new(Network::dev(), 7);
    let start = node.network.start().hour();
    [0, 0, 1, 1, 4].iter().enumerate().for_each(|(n, hour)| node.append(TxId::from_bytes([n as u8; 32]), start + hour));
    node
}

fn described(checkpoint: &SignedCheckpoint) -> Value {
    let Statement { log, count, link, root, digest, closed, time } = *checkpoint.statement();
    let closed = closed.map(|closed| {
        let (chain, root) = (closed.chain.to_string(), closed.root.to_string());
        json!({"number": closed.number, "chain": chain, "blocks": closed.blocks, "root": root})
    });
    json!({
        "log": hex::encode(log),
        "count": count,
        "link": link.to_string(),
        "root": root.to_string(),
        "digest": digest.to_string(),
        "closed": closed,
        "time": time.secs(),
        "message": hex::encode(checkpoint.checkpoint().signing_message(&Network::dev())),
        "signed": hex::encode(checkpoint.to_bytes()),
    })
}

fn checkpoint_file() -> Value {
    let node = five();
    let at = |hours: u64| node.network.start().plus(hours * 3_600);
    let good = node.checkpoint(at(5)).to_bytes();
    let edited = |offset: usize, new: &[u8]| {
        let mut bytes = good.clone();
        bytes[offset..offset + new.len()].copy_from_slice(new);
        hex::encode(bytes)
    };
    let empty = node.checkpoint(at(1)).to_bytes();
    let half_empty = [&empty[..129], &[1; 32], &empty[161..]].concat();
    let refuse = |what: &str, error: &str, bytes: String| json!({"what": what, "error": error, "signed": bytes});
    json!({
        "about": "Signed checkpoints of `dev`, docs/protocol.md. The signer is the Ed25519 key whose seed is 32 bytes of 7; \
                  the log has the ids of 32 bytes of 0 to 4, two in the first hour, two in the second, one in the fifth.",
        "signer": hex::encode(node.signer()),
        "golden": [described(&node.checkpoint(at(1))), described(&node.checkpoint(at(5)))],
        "rejections": [
            refuse("a byte missing", "Encoding", hex::encode(&good[..304])),
            refuse("a byte too many", "Encoding", hex::encode([&good[..], &[0]].concat())),
            refuse("version 2", "Version", edited(0, &[2])),
            refuse("no transactions", "EmptyLog", edited(17, &[0; 8])),
            refuse("more closed blocks than transactions", "BlockCount", edited(161, &[6])),
            refuse("more closed blocks than hours", "BlockCount", edited(161, &[3])),
            refuse("a chain without closed blocks", "Encoding", hex::encode(half_empty)),
            refuse("a time before the start", "Time", edited(201, &[0; 8])),
            refuse("a time of 2^40", "Time", edited(201, &(1u64 << 40).to_le_bytes())),
            refuse("a block that is not closed yet", "NotClosed", edited(201, &at(4).plus(0).secs().wrapping_sub(1).to_le_bytes())),
            refuse("another log", "Signature", edited(1, &[0])),
            refuse("another signer", "Signature", edited(209, &[0])),
            refuse("another signature", "Signature", edited(241, &[0])),
        ],
    })
}

#[test]
fn checkpoints_are_what_they_always_were() {
    let file: Value = serde_json::from_str(CHECKPOINT).unwrap();
    assert_eq!(file, checkpoint_file());
    let network = Network::dev();
    let signed =
        |case: &Value| SignedCheckpoint::from_bytes(&network, &hex::decode(case["signed"].as_str().unwrap()).unwrap());
    for golden in file["golden"].as_array().unwrap() {
        let checkpoint = signed(golden).unwrap();
        assert_eq!(&described(&checkpoint), golden);
        let unsigned = &checkpoint.to_bytes()[..209];
        assert_eq!(Checkpoint::from_bytes(&network, unsigned).as_ref(), Ok(checkpoint.checkpoint()));
    }
    for case in file["rejections"].as_array().unwrap() {
        assert_eq!(format!("{:?}", signed(case).unwrap_err()), case["error"], "{}", case["what"]);
    }
}

/// The three golden proof files, made anew.
fn proof_files() -> [String; 3] {
    let world = World::new(Network::dev());
    let checkpoints: Vec<SignedCheckpoint> =
        world.peers[..2].iter().map(|peer| peer.checkpoint(world.at(10))).collect();
    let network = &world.network;
    let inclusion = world.inclusion(&world.ids(world.hour(3))[1], &checkpoints).to_file(network);
    let absence = world.absence(&stranger([0x80, 0]), world.hour(1), &checkpoints).to_file(network);
    let empty = world.empty_block(&stranger([0x80, 0]), world.hour(4), &checkpoints).to_file(network);
    [inclusion, absence, empty].map(|file| String::from_utf8(file.unwrap()).unwrap())
}

#[test]
fn proof_files_are_what_they_always_were() {
    assert_eq!([INCLUSION, ABSENCE, EMPTY_BLOCK].map(str::to_owned), proof_files());
    for file in [INCLUSION, ABSENCE, EMPTY_BLOCK] {
        assert_eq!(check(file.as_bytes()).unwrap().words().len(), 2);
    }
}

/// Every case is one replacement in a golden file, with the check made anew where `recheck` says so.
#[test]
fn each_changed_proof_file_is_refused_for_the_reason_given() {
    let cases: Value = serde_json::from_str(REJECTIONS).unwrap();
    let cases = cases["rejections"].as_array().unwrap();
    assert!(cases.len() >= 15);
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap();
        let golden = match text("file") {
            "inclusion" => INCLUSION,
            "absence" => ABSENCE,
            _ => EMPTY_BLOCK,
        };
        let changed = golden.replacen(text("from"), text("to"), 1);
        assert_ne!(changed, golden, "{}", case["what"]);
        let changed = if case["recheck"] == true { rechecked(changed.as_bytes()) } else { changed.into_bytes() };
        let error = format!("{:?}", check(&changed).unwrap_err());
        let name = error.split(['(', ' ']).next().unwrap();
        assert_eq!(name, case["error"], "{}", case["what"]);
    }
}

#[test]
#[ignore = "prints the vectors anew; only for a new format"]
fn print_audit_vectors() {
    for (name, value) in [("merkle", merkle_file()), ("checkpoint", checkpoint_file())] {
        println!("== {name}.json\n{}", serde_json::to_string_pretty(&value).unwrap());
    }
    for (name, file) in ["inclusion", "absence", "empty-block"].iter().zip(proof_files()) {
        print!("== proof-{name}.json\n{file}");
    }
}
