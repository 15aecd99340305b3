//! `export.json`: exports with their passphrases, and the rows in them.

use std::{fs, path::Path};

use qasedak_chain::Network;
use qasedak_wallet::{Account, KdfCost, Wallet, WalletError, keystore::KeystoreError};
use serde_json::{Value, json};

use crate::{
    committed,
    craft::{Person, Tape, aead, now},
    keystores::{self, argon2id},
    list, name, network, octets,
};

const DAY: u64 = 86_400;
/// The text of the message in it.
const TEXT: &str = "سلام, hello";

/// A row of the database, before encryption.
#[derive(Clone)]
struct Row {
    key: Vec<u8>,
    /// The day of its epoch key; 0 for the record key.
    day: u64,
    plain: Vec<u8>,
}

/// An export, each part free to be wrong.
#[derive(Clone)]
struct Draft {
    magic: [u8; 8],
    version: u8,
    cost: [u32; 3],
    /// Stands in the file where it is to be another than what the key was made with.
    claimed: Option<[u32; 3]>,
    salt: [u8; 16],
    prefix: [u8; 16],
    passphrase: &'static str,
    secrets: keystores::Draft,
    rows: Vec<Row>,
    /// Encrypts the rows where it is to be another than the secrets name.
    record_key: Option<[u8; 32]>,
    /// How many rows stand in each chunk behind the first.
    split: Vec<usize>,
    /// Stands behind the last entry in the last chunk.
    end: &'static [u8],
}

fn by_number(class: u8, number: u64) -> Vec<u8> {
    [&[class][..], &number.to_be_bytes()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// Header, a contact, a seal key, a message, the counters, the clock, a second identity.
fn rows(network: &Network, secrets: &keystores::Draft) -> Vec<Row> {
    let (own, ann) = (Person::new(1), Person::new(2));
    let lasting = |key: Vec<u8>, plain: Vec<u8>| Row { key, day: 0, plain };
    let mut hasher = blake3::Hasher::new_keyed(&secrets.name_key);
    let contact_key = [&[3][..], hasher.update(&[3]).update(b"ann").finalize().as_bytes()].concat();
    let ledger = *network.ledger().as_bytes();
    let contact =
        [&text("Ann")[..], &ann.address(), &[0; 4], &[1], &now().secs().to_le_bytes(), &[0], &[0; 8]].concat();
    let until = now().secs() + 124 * DAY;
    let seal_key = [&until.to_le_bytes()[..], &[0; 4], &own.seal_id.to_le_bytes(), &own.seal_secret].concat();
    let ends = now().secs() + 20 * DAY;
    let message = [
        &ends.to_le_bytes()[..],
        &[0; 4],
        &[0xa1; 32],
        &[0xa2; 32],
        &ann.address(),
        &(now().secs() * 1_000).to_le_bytes(),
        &now().secs().to_le_bytes(),
        &own.seal_id.to_le_bytes(),
        &[0; 32],
        &[0],
        &text(TEXT),
    ]
    .concat();
    let clock = [now().secs(), 0, 0, now().secs()].map(u64::to_le_bytes).concat();
    vec![
        lasting(by_number(1, 0), [&[2][..], &ledger, &own.address()].concat()),
        lasting(contact_key, contact),
        Row { key: by_number(5, 1), day: (until - 1) / DAY, plain: seal_key },
        Row { key: by_number(6, 1), day: (ends - 1) / DAY, plain: message },
        lasting(by_number(10, 0), 1u64.to_le_bytes().to_vec()),
        lasting(by_number(10, 1), 1u64.to_le_bytes().to_vec()),
        lasting(by_number(11, 0), clock),
        lasting(by_number(15, 1), [&1u32.to_le_bytes()[..], &text("work")].concat()),
    ]
}

impl Draft {
    fn new(network: &Network) -> Self {
        let days = [now().secs() + 20 * DAY, now().secs() + 124 * DAY].map(|until| (until - 1) / DAY);
        let mut secrets = keystores::Draft::new();
        secrets.ledger = *network.ledger().as_bytes();
        secrets.epochs = vec![(days[0], [0x85; 32]), (days[1], [0x86; 32])];
        let rows = rows(network, &secrets);
        Self {
            magic: *b"qsd-wall",
            version: 1,
            cost: [8, 1, 1],
            claimed: None,
            salt: [0x91; 16],
            prefix: [0x92; 16],
            passphrase: "one of its own",
            split: vec![rows.len()],
            secrets,
            rows,
            record_key: None,
            end: &[],
        }
    }

    fn key(&self) -> [u8; 32] {
        argon2id(self.passphrase, &self.salt, self.cost)
    }

    fn head(&self) -> Vec<u8> {
        let cost = self.claimed.unwrap_or(self.cost).map(u32::to_le_bytes).concat();
        [&self.magic[..], &[self.version], &cost, &self.salt, &self.prefix].concat()
    }

    /// A row's value as it stands in a database.
    fn value(&self, at: usize) -> Vec<u8> {
        let Row { key, day, plain } = &self.rows[at];
        let epoch = self.secrets.epochs.iter().find(|(epoch, _)| epoch == day).map(|(_, key)| key);
        let record_key = self.record_key.unwrap_or(self.secrets.record_key);
        let (secret, nonce) = (epoch.unwrap_or(&record_key), [0xb0 + at as u8; 24]);
        let id = day.to_le_bytes();
        [&id[..], &nonce, &aead(secret, &nonce, &[&key[..], &id].concat(), plain)].concat()
    }

    fn entry(&self, at: usize) -> Vec<u8> {
        let (key, value) = (&self.rows[at].key, self.value(at));
        [&[key.len() as u8][..], key, &(value.len() as u32).to_le_bytes(), &value].concat()
    }

    /// The chunks before encryption.
    fn plain(&self) -> Vec<Vec<u8>> {
        let (mut chunks, mut at) = (vec![self.secrets.payload()], 0);
        for count in &self.split {
            chunks.push((at..at + count).flat_map(|row| self.entry(row)).collect());
            at += count;
        }
        chunks.last_mut().unwrap().extend(self.end);
        chunks
    }

    /// A chunk as it stands in the file.
    fn chunk(&self, number: u64, last: u8, plain: &[u8]) -> Vec<u8> {
        let nonce = [&self.prefix[..], &number.to_be_bytes()].concat().try_into().unwrap();
        let sealed = aead(&self.key(), &nonce, &[&self.head()[..], &[last]].concat(), plain);
        [&(sealed.len() as u32).to_le_bytes()[..], &[last], &sealed].concat()
    }

    /// Head and chunks as they stand in the file.
    fn parts(&self) -> Vec<Vec<u8>> {
        let plain = self.plain();
        let chunk = |(n, bytes): (usize, &Vec<u8>)| self.chunk(n as u64, u8::from(n + 1 == plain.len()), bytes);
        std::iter::once(self.head()).chain(plain.iter().enumerate().map(chunk)).collect()
    }

    fn file(&self) -> Vec<u8> {
        self.parts().concat()
    }
}

fn golden(network: &Network, draft: &Draft, passphrases: &[&str]) -> Value {
    let row = |(at, row): (usize, &Row)| {
        json!({
            "key": hex::encode(&row.key),
            "key_id": row.day,
            "row": hex::encode(&row.plain),
            "value": hex::encode(draft.value(at)),
        })
    };
    json!({
        "network": network.name(),
        "passphrases": passphrases,
        "cost": draft.cost,
        "salt": hex::encode(draft.salt),
        "prefix": hex::encode(draft.prefix),
        "key": hex::encode(draft.key()),
        "chunks": draft.plain().iter().map(hex::encode).collect::<Vec<_>>(),
        "rows": draft.rows.iter().enumerate().map(row).collect::<Vec<_>>(),
        "file": hex::encode(draft.file()),
    })
}

/// Drafts of which one part is wrong, and the reason for which they are refused.
fn wrong(good: &Draft) -> Vec<(&'static str, &'static str, Draft)> {
    let with = |change: &dyn Fn(&mut Draft)| {
        let mut draft = good.clone();
        change(&mut draft);
        draft
    };
    let claimed = |cost| with(&|draft| draft.claimed = Some(cost));
    vec![
        ("a file of another kind", "BadExport", with(&|draft| draft.magic = *b"qsd-keys")),
        ("version 0", "BadExport", with(&|draft| draft.version = 0)),
        ("version 2", "Newer", with(&|draft| draft.version = 2)),
        ("no memory", "BadExport", claimed([7, 1, 1])),
        ("memory of 256 MiB and 1 KiB", "BadExport", claimed([262_145, 1, 1])),
        ("memory of 4 TiB", "BadExport", claimed([u32::MAX, 1, 1])),
        ("no passes", "BadExport", claimed([8, 0, 1])),
        ("17 passes", "BadExport", claimed([8, 17, 1])),
        ("no lanes", "BadExport", claimed([8, 1, 0])),
        ("5 lanes", "BadExport", claimed([40, 1, 5])),
        ("2 lanes with memory for one", "BadExport", claimed([15, 1, 2])),
        ("another cost than the key was made with", "BadExport", claimed([9, 1, 1])),
        ("secrets of version 2", "BadExport", with(&|draft| draft.secrets.payload_version = 2)),
        ("an entry that ends early", "BadExport", with(&|draft| draft.end = &[9, 15])),
        ("secrets of another ledger", "OtherNetwork", Draft::new(&Network::main())),
        ("rows of another identity", "Damaged", with(&|draft| draft.secrets.entropy = [2; 32])),
        ("rows under another record key", "Damaged", with(&|draft| draft.record_key = Some([9; 32]))),
        (
            "rows without a header",
            "Damaged",
            with(&|draft| {
                draft.rows.remove(0);
                draft.split = vec![draft.rows.len()];
            }),
        ),
    ]
}

/// Changes of a file in three chunks behind its head, each with its reason `BadExport`.
fn torn(good: &Draft) -> Vec<(&'static str, Vec<u8>)> {
    let (parts, plain, whole) = (good.parts(), good.plain(), good.file());
    let [head, secrets, first, second] = <&[Vec<u8>; 4]>::try_from(&parts[..]).unwrap();
    let of = |parts: &[&[u8]]| parts.concat();
    let mut marked = second.clone();
    marked[4] = 0;
    let mut long = second.clone();
    long[..4].copy_from_slice(&262_161u32.to_le_bytes());
    let mut endless = second.clone();
    endless[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    vec![
        ("two chunks swapped", of(&[head, secrets, second, first])),
        ("a chunk left out", of(&[head, secrets, second])),
        ("a chunk twice", of(&[head, secrets, first, first, second])),
        ("the last chunk left out", of(&[head, secrets, first])),
        ("all chunks left out", head.clone()),
        ("the secrets left out", of(&[head, first, second])),
        ("nothing behind the secrets", of(&[head, secrets])),
        ("the last chunk's mark taken away", of(&[head, secrets, first, &marked])),
        ("the last chunk encrypted without a mark", of(&[head, secrets, first, &good.chunk(2, 0, &plain[2])])),
        ("a chunk before the last that is marked", of(&[head, secrets, &good.chunk(1, 1, &plain[1]), second])),
        ("the secrets marked as the last chunk", of(&[head, &good.chunk(0, 1, &plain[0])])),
        ("a mark of 2", of(&[head, secrets, first, &good.chunk(2, 2, &plain[2])])),
        ("a chunk longer than may be", of(&[head, secrets, first, &long])),
        ("a chunk of 4 GiB", of(&[head, secrets, first, &endless])),
        ("a chunk shorter than its tag", of(&[head, secrets, first, &[15, 0, 0, 0, 1], &second[5..20]])),
        ("a byte behind the file", of(&[&whole, &[0]])),
        ("the last byte missing", whole[..whole.len() - 1].to_vec()),
        ("cut within a chunk's front", of(&[head, secrets, first, &second[..4]])),
        ("cut within the head", head[..52].to_vec()),
        ("nothing", Vec::new()),
    ]
}

pub fn file() -> Value {
    let network = Network::dev();
    let good = Draft::new(&network);
    let split = Draft { split: vec![3, good.rows.len() - 3], ..good.clone() };
    // The last chunk may be empty, and so may the wallet.
    let ended = Draft { split: vec![1, good.rows.len() - 1, 0], ..good.clone() };
    let empty = Draft { rows: Vec::new(), split: vec![0], ..good.clone() };
    let dear = Draft { cost: [64, 3, 4], passphrase: "fianse\u{301}", ..good.clone() };
    let main = Draft::new(&Network::main());
    let refuse = |what: &str, error: &str, passphrase: &str, file: Vec<u8>| json!({"what": what, "error": error, "network": "dev", "passphrase": passphrase, "file": hex::encode(file)});
    let mut rejections = vec![
        refuse("another passphrase", "BadExport", "one of its ow", good.file()),
        refuse("no passphrase", "BadExport", "", good.file()),
    ];
    let drafts = wrong(&good);
    rejections.extend(drafts.iter().map(|(what, error, draft)| refuse(what, error, good.passphrase, draft.file())));
    rejections.extend(torn(&split).into_iter().map(|(what, file)| refuse(what, "BadExport", good.passphrase, file)));
    json!({
        "about": "Exports, docs/wallet-format.md, \"Export file\". Each passphrase of a golden case opens it. `rows` are the entries \
                  of the database: `value` is `row` encrypted under the key that `key_id` names. `cost` is memory in KiB, passes, \
                  lanes; these protect nothing.",
        "time": now().secs(),
        "golden": [
            golden(&network, &good, &["one of its own"]),
            golden(&network, &split, &["one of its own"]),
            golden(&network, &ended, &["one of its own"]),
            golden(&network, &empty, &["one of its own"]),
            golden(&network, &dear, &["fianse\u{301}", "\u{fb01}ans\u{e9}"]),
            golden(&Network::main(), &main, &["one of its own"]),
        ],
        "rejections": rejections,
    })
}

/// Imports an export into a directory below `home`, which is gone when the wallet is closed and this is called again.
pub fn import(home: &Path, network: &Network, file: &[u8], passphrase: &str) -> Result<Wallet, WalletError> {
    let (dir, export) = (home.join("wallet"), home.join("export"));
    let _ = fs::remove_dir_all(&dir);
    fs::write(&export, file).unwrap();
    let mut tape = Tape::new(&[&[7; 16]]);
    let wallet = Wallet::import(&dir, network, &export, passphrase, "new", KdfCost::for_tests(), now(), &mut tape);
    assert!(wallet.is_ok() || !Wallet::exists(&dir).unwrap(), "what was refused left a wallet");
    wallet
}

fn reason(error: WalletError) -> String {
    match error {
        WalletError::Keystore(KeystoreError::Newer) => "Newer".to_owned(),
        other => name(other),
    }
}

#[test]
fn exports_are_imported_and_refused() {
    let file = committed("export");
    let home = tempfile::tempdir().unwrap();
    for case in list(&file, "golden") {
        let whole = octets(&case["file"]);
        for passphrase in list(case, "passphrases") {
            let passphrase = passphrase.as_str().unwrap();
            let wallet = import(home.path(), &network(case), &whole, passphrase).unwrap();
            assert_eq!(*wallet.address().as_bytes(), Person::new(1).address());
            if case["rows"].as_array().unwrap().is_empty() {
                assert_eq!(wallet.contacts().count(), 0);
                continue;
            }
            let contact = wallet.contact("ann").unwrap();
            assert_eq!((contact.address.as_bytes(), contact.receipts), (&Person::new(2).address(), true));
            assert_eq!(wallet.identities().last().unwrap().name, "work");
            assert_eq!(wallet.seal_keys(Account::default()).count(), 1);
            assert_eq!(wallet.inbox(None, 9).unwrap()[0].content.as_bytes(), TEXT.as_bytes());
            // Exported again with the same salt and prefix, it is the same file: the one with one chunk of rows.
            if case["cost"] == json!([8, 1, 1]) && case["network"] == "dev" {
                let again = home.path().join("again");
                let mut tape = Tape::new(&[&octets(&case["salt"]), &octets(&case["prefix"])]);
                wallet.export(&again, passphrase, KdfCost::for_tests(), &mut tape).unwrap();
                assert_eq!(fs::read(&again).unwrap(), octets(&file["golden"][0]["file"]));
                fs::remove_file(again).unwrap();
            }
        }
    }
    for case in list(&file, "rejections") {
        let passphrase = case["passphrase"].as_str().unwrap();
        let error = import(home.path(), &network(case), &octets(&case["file"]), passphrase).unwrap_err();
        assert_eq!(reason(error), case["error"], "{}", case["what"]);
    }
}
