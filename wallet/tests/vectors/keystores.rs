//! `keystore.json`: keystore files with their passphrases.

use argon2::{Algorithm, Argon2, Params, Version};
use qasedak_chain::Network;
use qasedak_wallet::{
    KdfCost,
    keystore::{KeystoreError, seal, unseal},
};
use serde_json::{Value, json};

use crate::{
    array, committed,
    craft::{Tape, aead},
    list, name, octets,
};

/// A keystore file, each part free to be wrong.
#[derive(Clone)]
pub struct Draft {
    magic: [u8; 8],
    version: u8,
    /// Memory in KiB, passes, lanes.
    cost: [u32; 3],
    /// Stands in the file where it is to be another than what the key was made with.
    claimed: Option<[u32; 3]>,
    salt: [u8; 16],
    nonce: [u8; 24],
    passphrase: &'static str,
    pub payload_version: u8,
    pub entropy: [u8; 32],
    pub ledger: [u8; 32],
    pub name_key: [u8; 32],
    pub record_key: [u8; 32],
    count: Option<u16>,
    pub epochs: Vec<(u64, [u8; 32])>,
    end: &'static [u8],
}

/// The key of a passphrase. Cost is memory in KiB, passes, lanes.
pub fn argon2id(passphrase: &str, salt: &[u8; 16], [memory, passes, lanes]: [u32; 3]) -> [u8; 32] {
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(memory, passes, lanes, Some(32)).unwrap())
        .hash_password_into(passphrase.as_bytes(), salt, &mut key)
        .unwrap();
    key
}

impl Draft {
    pub fn new() -> Self {
        Self {
            magic: *b"qsd-keys",
            version: 1,
            cost: [8, 1, 1],
            claimed: None,
            salt: [0x81; 16],
            nonce: [0x82; 24],
            passphrase: "correct horse",
            payload_version: 1,
            entropy: [1; 32],
            ledger: *Network::dev().ledger().as_bytes(),
            name_key: [0x83; 32],
            record_key: [0x84; 32],
            count: None,
            epochs: vec![(20_758, [0x85; 32]), (20_759, [0x86; 32])],
            end: &[],
        }
    }

    pub fn payload(&self) -> Vec<u8> {
        let count = self.count.unwrap_or(self.epochs.len() as u16);
        let keys = [self.entropy, self.ledger, self.name_key, self.record_key].concat();
        let epochs = self.epochs.iter().flat_map(|(day, key)| [&day.to_le_bytes()[..], key].concat());
        let mut payload = [&[self.payload_version][..], &keys, &count.to_le_bytes()].concat();
        payload.extend(epochs);
        payload.extend(self.end);
        payload
    }

    fn key(&self) -> [u8; 32] {
        argon2id(self.passphrase, &self.salt, self.cost)
    }

    fn file(&self) -> Vec<u8> {
        let cost = self.claimed.unwrap_or(self.cost).map(u32::to_le_bytes).concat();
        let head = [&self.magic[..], &[self.version], &cost, &self.salt, &self.nonce].concat();
        let sealed = aead(&self.key(), &self.nonce, &head, &self.payload());
        [head, sealed].concat()
    }
}

fn golden(draft: &Draft, passphrases: &[&str]) -> Value {
    json!({
        "passphrases": passphrases,
        "cost": draft.cost,
        "salt": hex::encode(draft.salt),
        "nonce": hex::encode(draft.nonce),
        "key": hex::encode(draft.key()),
        "entropy": hex::encode(draft.entropy),
        "ledger": hex::encode(draft.ledger),
        "name_key": hex::encode(draft.name_key),
        "record_key": hex::encode(draft.record_key),
        "epochs": draft.epochs.iter().map(|(day, key)| json!({"day": day, "key": hex::encode(key)})).collect::<Vec<_>>(),
        "payload": hex::encode(draft.payload()),
        "file": hex::encode(draft.file()),
    })
}

fn wrong(good: &Draft) -> Vec<(&'static str, KeystoreError, Draft)> {
    let with = |change: &dyn Fn(&mut Draft)| {
        let mut draft = good.clone();
        change(&mut draft);
        draft
    };
    let claimed = |cost| with(&|draft| draft.claimed = Some(cost));
    vec![
        ("a file of another kind", KeystoreError::Unlock, with(&|draft| draft.magic = *b"qsd-keyz")),
        ("version 2", KeystoreError::Newer, with(&|draft| draft.version = 2)),
        ("version 0", KeystoreError::Unlock, with(&|draft| draft.version = 0)),
        ("no memory", KeystoreError::Unlock, claimed([7, 1, 1])),
        ("memory of 256 MiB and 1 KiB", KeystoreError::Unlock, claimed([262_145, 1, 1])),
        ("memory of 4 TiB", KeystoreError::Unlock, claimed([u32::MAX, 1, 1])),
        ("no passes", KeystoreError::Unlock, claimed([8, 0, 1])),
        ("17 passes", KeystoreError::Unlock, claimed([8, 17, 1])),
        ("no lanes", KeystoreError::Unlock, claimed([8, 1, 0])),
        ("5 lanes", KeystoreError::Unlock, claimed([40, 1, 5])),
        ("2 lanes with memory for one", KeystoreError::Unlock, claimed([15, 1, 2])),
        ("another cost than the key was made with", KeystoreError::Unlock, claimed([9, 1, 1])),
        ("payload version 2", KeystoreError::Unlock, with(&|draft| draft.payload_version = 2)),
        ("an epoch more than there are", KeystoreError::Unlock, with(&|draft| draft.count = Some(3))),
        ("an epoch less than there are", KeystoreError::Unlock, with(&|draft| draft.count = Some(1))),
        (
            "1,025 epochs",
            KeystoreError::Unlock,
            with(&|draft| draft.epochs = (1..=1_025).map(|day| (day, [1; 32])).collect()),
        ),
        ("days that descend", KeystoreError::Unlock, with(&|draft| draft.epochs.reverse())),
        ("one day twice", KeystoreError::Unlock, with(&|draft| draft.epochs[1].0 = 20_758)),
        ("day 0", KeystoreError::Unlock, with(&|draft| draft.epochs[0].0 = 0)),
        ("a byte behind the payload", KeystoreError::Unlock, with(&|draft| draft.end = &[0])),
    ]
}

pub fn file() -> Value {
    let good = Draft::new();
    let dear = Draft { cost: [64, 3, 4], passphrase: "گذرواژه", epochs: vec![(1, [7; 32])], ..good.clone() };
    // The passphrase in NFKD: the ligature and the accents are taken apart.
    let normal = Draft { passphrase: "fianse\u{301}", ..good.clone() };
    let fresh = Draft { epochs: Vec::new(), ..good.clone() };
    let refuse = |what: &str, error: KeystoreError, passphrase: &str, file: Vec<u8>| json!({"what": what, "error": name(error), "passphrase": passphrase, "file": hex::encode(file)});
    let mut rejections: Vec<Value> = wrong(&good)
        .into_iter()
        .map(|(what, error, draft)| refuse(what, error, good.passphrase, draft.file()))
        .collect();
    let whole = good.file();
    rejections.extend([
        refuse("another passphrase", KeystoreError::Unlock, "correct hors", whole.clone()),
        refuse("the last byte missing", KeystoreError::Unlock, good.passphrase, whole[..whole.len() - 1].to_vec()),
        refuse("a byte behind the file", KeystoreError::Unlock, good.passphrase, [&whole[..], &[0]].concat()),
        refuse("a head alone", KeystoreError::Unlock, good.passphrase, whole[..61].to_vec()),
        refuse("nothing", KeystoreError::Unlock, good.passphrase, Vec::new()),
    ]);
    json!({
        "about": "Keystore files, docs/wallet-format.md, \"Keystore file\". Each passphrase of a golden case opens it. `cost` is \
                  memory in KiB, passes, lanes; these protect nothing.",
        "golden": [
            golden(&good, &["correct horse"]),
            golden(&fresh, &["correct horse"]),
            golden(&dear, &["گذرواژه"]),
            golden(&normal, &["fianse\u{301}", "\u{fb01}ans\u{e9}", "\u{fb01}anse\u{301}"]),
        ],
        "rejections": rejections,
    })
}

#[test]
fn keystores_open_and_are_refused() {
    let file = committed("keystore");
    for case in list(&file, "golden") {
        let bytes = octets(&case["file"]);
        for passphrase in list(case, "passphrases") {
            let passphrase = passphrase.as_str().unwrap();
            let secrets = unseal(&bytes, passphrase).unwrap();
            assert_eq!(secrets.phrase().unwrap().entropy(), &array::<32>(&case["entropy"]));
            assert_eq!(secrets.ledger(), &array::<32>(&case["ledger"]));
            // All else is secret within the crate: sealed again with the same salt and nonce, it gives the same file.
            if case["cost"] == json!([8, 1, 1]) {
                let mut tape = Tape::new(&[&octets(&case["salt"]), &octets(&case["nonce"])]);
                assert_eq!(seal(&secrets, passphrase, KdfCost::for_tests(), &mut tape).unwrap(), bytes);
            }
        }
    }
    for case in list(&file, "rejections") {
        let error = unseal(&octets(&case["file"]), case["passphrase"].as_str().unwrap()).unwrap_err();
        assert_eq!(name(error), case["error"], "{}", case["what"]);
    }
}
