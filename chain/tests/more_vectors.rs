//! Networks and their ids, stamps, and blocks: `network.json`, `stamp.json`, `block.json` of `tests/vectors`
//! (`docs/protocol.md`, "Test vectors").
//!
//! They stand for frozen formats: a test here that fails means that this version no longer reads what others wrote.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::ops::ControlFlow;

use equix::{EquiXBuilder, RuntimeOption};
use qasedak_chain::{
    Chain, Network, Root, Time, TxId,
    block::{self, Contents},
    digest::SetDigest,
    hash::{Context, hash},
    link::{first_link, next_link},
    merkle,
    stamp::{self, Effort, Stamp},
    transaction::{Core, CoreFields, Kind},
};
use serde_json::{Value, json};

/// The directory of the vectors of all crates.
const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors");

fn committed(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(format!("{DIRECTORY}/{name}.json")).unwrap()).unwrap()
}

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn list<'a>(file: &'a Value, name: &str) -> &'a [Value] {
    let list = file[name].as_array().unwrap();
    assert!(!list.is_empty());
    list
}

/// The record of docs/protocol.md, "Network and genesis", by hand.
fn record(name: &str) -> Vec<u8> {
    let (base_milli, settle) = if name == "main" { (15_000u64, 600u32) } else { (1, 0) };
    let start = 1_793_491_200u64.to_le_bytes();
    [&[1][..], &start, &base_milli.to_le_bytes(), &settle.to_le_bytes(), name.as_bytes()].concat()
}

fn network_file() -> Value {
    let golden = ["main", "dev", "family-2", &"x".repeat(32)].map(|name| {
        let record = record(name);
        let ledger = hash(Context::Ledger, &[&record]);
        json!({
            "name": name,
            "record": hex::encode(&record),
            "ledger": hex::encode(ledger),
            "genesis": hex::encode(hash(Context::Id, &[&ledger, &record])),
            "tag": hex::encode(&hash(Context::Wire, &[&ledger])[..8]),
        })
    });
    let long = "x".repeat(33);
    let rejections = [
        ("an empty name", ""),
        ("33 characters", &long),
        ("an upper-case letter", "Dev"),
        ("a space", "my net"),
        ("a letter that is not ASCII", "قاصدک"),
        ("an underscore", "my_net"),
    ]
    .map(|(what, name)| json!({"what": what, "name": name}));
    json!({
        "about": "Networks and their ids, docs/protocol.md, \"Network and genesis\". A rejected name is none.",
        "golden": golden,
        "rejections": rejections,
    })
}

#[test]
fn networks_are_what_they_always_were() {
    let file = committed("network");
    assert_eq!(file, network_file());
    for case in list(&file, "golden") {
        let network = Network::named(case["name"].as_str().unwrap()).unwrap();
        assert_eq!(network.ledger().to_string(), case["ledger"]);
        assert_eq!(network.genesis().to_string(), case["genesis"]);
    }
    for case in list(&file, "rejections") {
        assert!(Network::named(case["name"].as_str().unwrap()).is_err(), "{}", case["what"]);
    }
}

/// A core of so many parents, such a body length and lifetime.
fn core(parents: u8, body_len: u32, lifetime_secs: u32) -> Core {
    Core::new(CoreFields {
        parents: (0..parents).map(|n| TxId::from_bytes([n; 32])).collect(),
        time: Time::from_secs(1_793_494_800),
        lifetime_secs,
        kind: Kind::Sealed,
        hint: [0; 16],
        body_hash: [0; 32],
        body_len,
        author: [0; 32],
    })
    .unwrap()
}

/// Every solution that one attempt at this seed finds, and none for a seed without a program.
fn solutions(challenge: &[u8; 32], nonce: u64) -> Option<Vec<[u8; 16]>> {
    let puzzle = EquiXBuilder::new().build(&[&challenge[..], &nonce.to_le_bytes()].concat()).ok()?;
    Some(puzzle.solve().iter().map(equix::Solution::to_bytes).collect())
}

fn stamp_case(what: &str, challenge: &[u8; 32], nonce: u64, solution: [u8; 16], solves: bool) -> Value {
    let effort_hash = hash(Context::Effort, &[challenge, &nonce.to_le_bytes(), &solution]);
    let luck = u64::from_le_bytes(effort_hash[..8].try_into().unwrap());
    json!({
        "what": what,
        "challenge": hex::encode(challenge),
        "nonce": nonce,
        "solution": hex::encode(solution),
        // As text: JSON's numbers are no more exact than 53 bits for some readers.
        "luck": luck.to_string(),
        "work": (u128::from(u64::MAX)).checked_div(u128::from(luck)).unwrap_or(u128::from(u64::MAX)).to_string(),
        "solves": solves,
    })
}

/// The challenge of all stamps here.
const CHALLENGE: [u8; 32] = [7; 32];

/// A nonce whose seed yields no HashX program; some thousands have to be tried.
fn without_program() -> u64 {
    let seed = |nonce: u64| [&CHALLENGE[..], &nonce.to_le_bytes()].concat();
    let builds = |nonce| EquiXBuilder::new().runtime(RuntimeOption::InterpretOnly).build(&seed(nonce)).is_ok();
    (0..1 << 24).find(|nonce| !builds(*nonce)).unwrap()
}

/// The file, with the nonce of a seed without a program.
fn stamp_file(none: u64) -> Value {
    let efforts: Vec<Value> = ["main", "dev"]
        .into_iter()
        .flat_map(|name| {
            [(1, 512, 3_600), (3, 512, 2_592_000), (3, 2_048, 2_592_000), (3, 2_048, 7_776_000), (3, 65_536, 3_600), (8, 65_536, 7_776_000)]
                .map(|(parents, body_len, lifetime)| {
                    let effort = Effort::required(&Network::named(name).unwrap(), &core(parents, body_len, lifetime));
                    json!({"network": name, "parents": parents, "body_len": body_len, "lifetime": lifetime, "effort": effort.get()})
                })
        })
        .collect();
    let challenge = CHALLENGE;
    assert!(solutions(&challenge, none).is_none());
    let mut found = (0..).filter_map(|nonce| Some((nonce, *solutions(&challenge, nonce)?.first()?)));
    let golden: Vec<Value> = found
        .by_ref()
        .take(4)
        .map(|(nonce, solution)| stamp_case("a solution", &challenge, nonce, solution, true))
        .collect();
    let (nonce, solution) = found.next().unwrap();
    // The halves of a solution, the other way round: its sums are the same, its order is not.
    let swapped: [u8; 16] = [&solution[8..], &solution[..8]].concat().try_into().unwrap();
    let mut other = solution;
    other[0] ^= 1;
    let rejections = [
        stamp_case("another nonce", &challenge, nonce + 1, solution, false),
        stamp_case("another challenge", &[8; 32], nonce, solution, false),
        stamp_case("the halves swapped", &challenge, nonce, swapped, false),
        stamp_case("another item", &challenge, nonce, other, false),
        stamp_case("all items zero", &challenge, nonce, [0; 16], false),
        stamp_case("a seed without a program", &challenge, none, solution, false),
    ];
    json!({
        "about": "Stamps, docs/protocol.md, \"Stamp\". `efforts` are what the networks ask for. `solves` says whether the solution \
                  solves the Equi-X puzzle; a stamp meets every effort up to its work.",
        "efforts": efforts,
        "golden": golden,
        "rejections": rejections,
    })
}

#[test]
fn stamps_are_what_they_always_were() {
    let file = committed("stamp");
    let none = list(&file, "rejections").iter().find(|case| case["what"] == "a seed without a program").unwrap();
    assert_eq!(file, stamp_file(none["nonce"].as_u64().unwrap()));
    for case in list(&file, "golden").iter().chain(list(&file, "rejections")) {
        let challenge = bytes(&case["challenge"]);
        let stamp = Stamp::new(case["nonce"].as_u64().unwrap(), bytes(&case["solution"]));
        assert_eq!(stamp.solves(&challenge), case["solves"].as_bool().unwrap(), "{}", case["what"]);
        let work: u64 = case["work"].as_str().unwrap().parse().unwrap();
        assert_eq!(stamp.work(&challenge).get(), work);
        assert!(stamp.meets_target(&challenge, stamp.work(&challenge)));
    }
    // The search finds the first of them.
    let first = &list(&file, "golden")[0];
    let effort = Effort::required(&Network::dev(), &core(1, 512, 3_600));
    let found = stamp::search(&bytes(&first["challenge"]), effort, 0.., || ControlFlow::Continue(())).unwrap();
    assert_eq!(found, Stamp::new(first["nonce"].as_u64().unwrap(), bytes(&first["solution"])));
}

/// Times and ids of a set, not in order: three hours with a gap, one of them with ids that begin alike.
fn set() -> Vec<(u64, TxId)> {
    let start = 1_793_491_200;
    let id = |first: u8, last: u8| {
        let mut id = [first; 32];
        id[31] = last;
        TxId::from_bytes(id)
    };
    vec![
        (start + 3_599, id(9, 1)),
        (start + 7_200, id(1, 1)),
        (start, id(0xff, 0xff)),
        (start + 10_799, id(1, 0)),
        (start + 3_540, id(0, 0)),
        (start + 36_000, id(3, 3)),
        (start + 9_000, id(1, 2)),
    ]
}

fn block_file() -> Value {
    let (network, set) = (Network::dev(), set());
    let ledger = network.ledger();
    let mut hours: std::collections::BTreeMap<u64, Vec<TxId>> = std::collections::BTreeMap::new();
    set.iter().for_each(|(time, id)| hours.entry(time / 3_600).or_default().push(*id));
    let mut chain = block::first_previous(ledger);
    let blocks: Vec<Value> = hours
        .into_iter()
        .map(|(number, ids)| {
            let block = block::chained(ledger, chain, number, block::contents(ledger, ids));
            chain = block.chain;
            json!({"number": number, "count": block.count, "root": block.root.to_string(), "chain": block.chain.to_string(), "leaf": hex::encode(block.leaf())})
        })
        .collect();
    let mut digest = SetDigest::new(ledger);
    set.iter().for_each(|(_, id)| digest.add(id));
    let leaves = blocks.iter().map(|block| hex::decode(block["leaf"].as_str().unwrap()).unwrap());
    let blocks_root = merkle::Tree::of(ledger, leaves).root();
    let first = |name: &str| blocks[0][name].as_str().unwrap().to_owned();
    // What some other rule than the protocol's would say of the first block: ids by time, and a chain without ledger.
    let by_time = merkle::root(ledger, [&set[2].1, &set[4].1, &set[0].1]);
    let wrong_root =
        block::chained(ledger, block::first_previous(ledger), 498_192, Contents { count: 3, root: by_time });
    let wrong_count = block::chained(
        ledger,
        block::first_previous(ledger),
        498_192,
        Contents { count: 4, root: Root::from_bytes(bytes(&blocks[0]["root"])) },
    );
    let unchained = block::chained(
        ledger,
        Chain::from_bytes([0; 32]),
        498_192,
        Contents { count: 3, root: Root::from_bytes(bytes(&blocks[0]["root"])) },
    );
    json!({
        "about": "Blocks of a set of transactions of `dev`, docs/protocol.md, \"Blocks\", and what else follows from the set. `log` is the \
                  order in which one node got them. A rejection states another root or chain for the first block than it has.",
        "log": set.iter().map(|(time, id)| json!({"time": time, "id": id.to_string()})).collect::<Vec<_>>(),
        "link": set.iter().map(|(_, id)| id).fold(first_link(ledger), next_link).to_string(),
        "root": merkle::root(ledger, set.iter().map(|(_, id)| id)).to_string(),
        "digest": digest.digest().to_string(),
        "blocks": blocks,
        "blocks_root": blocks_root.to_string(),
        "rejections": [
            {"what": "ids by time", "root": by_time.to_string(), "chain": wrong_root.chain.to_string()},
            {"what": "another count", "root": first("root"), "chain": wrong_count.chain.to_string()},
            {"what": "a chain that does not begin with the ledger id", "root": first("root"), "chain": unchained.chain.to_string()},
        ],
    })
}

#[test]
fn blocks_are_what_they_always_were() {
    let file = committed("block");
    assert_eq!(file, block_file());
    let first = &list(&file, "blocks")[0];
    for case in list(&file, "rejections") {
        assert!(case["root"] != first["root"] || case["chain"] != first["chain"], "{}", case["what"]);
    }
}

#[test]
#[ignore = "writes the vectors anew; only for a new format"]
fn make_more_vectors() {
    for (name, file) in [("network", network_file()), ("stamp", stamp_file(without_program())), ("block", block_file())]
    {
        let text = serde_json::to_string_pretty(&file).unwrap() + "\n";
        std::fs::write(format!("{DIRECTORY}/{name}.json"), text).unwrap();
    }
}
