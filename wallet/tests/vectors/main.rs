//! The vectors of the wallet's formats, `tests/vectors/*.json`: made by a second writer, checked by the wallet.
//!
//! The files stand for frozen formats (`docs/wallet-format.md`): a test here that fails means that this version no longer
//! reads what others wrote. Each file has golden cases with every value in between, and cases that must be refused with
//! the reason. `tests/reader` reads the same files in Python.
//!
//! They are made anew by `cargo test -p qasedak-wallet --test vectors -- --ignored`, only for a new format.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{fs, path::PathBuf};

use qasedak_chain::{Network, Transaction};
use serde_json::Value;

mod cards;
mod craft;
mod disclosures;
mod exports;
mod finding;
mod flips;
mod keys;
mod keystores;
mod messages;

/// What makes a file.
type Maker = fn() -> Value;

/// Every file of the wallet's vectors.
const FILES: [(&str, Maker); 10] = [
    ("derivation", keys::derivation),
    ("address", keys::address),
    ("card", cards::file),
    ("seal", messages::sealed),
    ("scan", messages::scan),
    ("safety", keys::safety),
    ("disclosure", disclosures::file),
    ("keystore", keystores::file),
    ("export", exports::file),
    ("scan-key", finding::file),
];

/// Where the vectors of all crates stand.
pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors")
}

/// One file as it is committed.
pub fn committed(name: &str) -> Value {
    let path = directory().join(format!("{name}.json"));
    serde_json::from_slice(&fs::read(&path).unwrap()).unwrap()
}

fn octets(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    octets(value).try_into().unwrap()
}

fn list<'a>(file: &'a Value, name: &str) -> &'a [Value] {
    let list = file[name].as_array().unwrap();
    assert!(!list.is_empty(), "{name}");
    list
}

fn network(case: &Value) -> Network {
    Network::named(case["network"].as_str().unwrap()).unwrap()
}

fn transaction(case: &Value) -> Transaction {
    Transaction::from_bytes(&network(case), &octets(&case["transaction"])).unwrap()
}

/// The name of an error's variant, without what it holds.
pub fn name(error: impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    text.split(['(', ' ']).next().unwrap().to_owned()
}

#[test]
fn the_files_are_what_they_always_were() {
    for (name, make) in FILES {
        assert!(committed(name) == make(), "{name}.json is not what its maker makes");
    }
}

#[test]
#[ignore = "writes the vectors anew; only for a new format"]
fn make_vectors() {
    for (name, make) in FILES {
        let text = serde_json::to_string_pretty(&make()).unwrap() + "\n";
        fs::write(directory().join(format!("{name}.json")), text).unwrap();
    }
}
