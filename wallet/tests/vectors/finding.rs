//! `scan-key.json`: scan key files, what follows from them, and rows of the list that a finder keeps.

use qasedak_chain::{
    LedgerId, Network, TxId,
    hash::{Context, hash, hash_prefix},
};
use qasedak_wallet::{
    ScanKeyError, ScanKeyFile,
    finding::{FoundRow, ListKey},
};
use serde_json::{Value, json};

use crate::{
    array, committed,
    craft::{Person, aead},
    list, name, network, octets,
};

/// A scan key file, each part free to be wrong.
#[derive(Clone)]
struct Draft {
    magic: [u8; 8],
    version: u8,
    ledger: LedgerId,
    secret: [u8; 32],
    token: [u8; 32],
    /// Changes the check.
    spoil: u8,
    end: &'static [u8],
}

impl Draft {
    fn new(network: &Network, number: u8) -> Self {
        let (magic, ledger) = (*b"qsd-scan", network.ledger());
        Self { magic, version: 1, ledger, secret: Person::new(number).scan, token: [0x91; 32], spoil: 0, end: &[] }
    }

    fn file(&self) -> Vec<u8> {
        let checked = [&self.magic[..], &[self.version], self.ledger.as_bytes(), &self.secret, &self.token].concat();
        let mut check: [u8; 16] = hash_prefix(Context::ScanKeyFile, &[&checked]);
        check[15] ^= self.spoil;
        [&checked[..], &check, self.end].concat()
    }

    fn derived(&self, purpose: &[u8]) -> [u8; 32] {
        hash(Context::Found, &[self.ledger.as_bytes(), &self.secret, &self.token, purpose])
    }
}

fn golden(network: &Network, number: u8) -> Value {
    let draft = Draft::new(network, number);
    let (key, entry_key, nonce) = (draft.derived(b"list key"), [1, 0, 0, 0, number], [0x92; 24]);
    let row = [&[0x93; 32][..], &1_800_000_000u64.to_le_bytes()].concat();
    json!({
        "network": network.name(),
        "scan_secret": hex::encode(draft.secret),
        "token": hex::encode(draft.token),
        "file": hex::encode(draft.file()),
        "list_name": hex::encode(&draft.derived(b"list name")[..16]),
        "list_key": hex::encode(key),
        "cursor_name": hex::encode(&draft.derived(b"cursor")[..16]),
        "entry_key": hex::encode(entry_key),
        "entry": hex::encode(&row),
        "value": hex::encode([&nonce[..], &aead(&key, &nonce, &entry_key, &row)].concat()),
    })
}

pub fn file() -> Value {
    let good = Draft::new(&Network::dev(), 1);
    let with = |change: &dyn Fn(&mut Draft)| {
        let mut draft = good.clone();
        change(&mut draft);
        draft.file()
    };
    let refuse = |what: &str, error: ScanKeyError, file: Vec<u8>| json!({"what": what, "error": name(error), "network": "dev", "file": hex::encode(file)});
    let whole = good.file();
    json!({
        "about": "Scan key files, docs/wallet-format.md, \"Scan key file\": those of the first identities of the phrases of 32 bytes \
                  of 1 and of 2, and a row of the list that a finder keeps.",
        "golden": [golden(&Network::dev(), 1), golden(&Network::dev(), 2), golden(&Network::main(), 1)],
        "rejections": [
            refuse("a file of another kind", ScanKeyError::Form, with(&|draft| draft.magic = *b"qsd-keys")),
            refuse("version 0", ScanKeyError::Form, with(&|draft| draft.version = 0)),
            refuse("version 2", ScanKeyError::Newer, with(&|draft| draft.version = 2)),
            refuse("version 2 of another length", ScanKeyError::Newer, with(&|draft| (draft.version, draft.end) = (2, &[0]))),
            refuse("a wrong check", ScanKeyError::Damaged, with(&|draft| draft.spoil = 1)),
            refuse("another network", ScanKeyError::OtherNetwork, Draft::new(&Network::main(), 1).file()),
            refuse("a byte behind the file", ScanKeyError::Form, with(&|draft| draft.end = &[0])),
            refuse("the last byte missing", ScanKeyError::Form, whole[..120].to_vec()),
            refuse("a head alone", ScanKeyError::Form, whole[..9].to_vec()),
            refuse("nothing", ScanKeyError::Form, Vec::new()),
        ],
    })
}

#[test]
fn scan_key_files_are_read_and_refused() {
    let file = committed("scan-key");
    for case in list(&file, "golden") {
        let bytes = octets(&case["file"]);
        let read = ScanKeyFile::from_bytes(&network(case), &bytes).unwrap();
        assert_eq!(*read.to_bytes(), bytes);
        assert!(read.admits(&octets(&case["token"])));
        assert_eq!(*read.token_text(), case["token"].as_str().unwrap());
        assert_eq!(read.list_name(), array(&case["list_name"]));
        assert_eq!(read.cursor_name(), array(&case["cursor_name"]));
        let key: ListKey = read.list_key();
        let row = key.open(&octets(&case["entry_key"]), &octets(&case["value"])).unwrap();
        assert_eq!(*row, octets(&case["entry"]));
        let entry = FoundRow { id: TxId::from_bytes([0x93; 32]), until: 1_800_000_000 };
        assert_eq!(FoundRow::from_bytes(&row), Some(entry));
        assert_eq!(entry.to_bytes(), *row);
    }
    for case in list(&file, "rejections") {
        let error = ScanKeyFile::from_bytes(&network(case), &octets(&case["file"])).unwrap_err();
        assert_eq!(name(error), case["error"], "{}", case["what"]);
    }
}
