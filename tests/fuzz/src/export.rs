//! Exports of a wallet, and what stands in them: the rows of its database.
//!
//! Whoever knows the passphrase writes what they like into one, so chunks and rows are encrypted after they were fuzzed. Of
//! whatever an import takes: the wallet can be read, and opens again; of what it refuses, no wallet is left.

use std::{fs, path::Path, sync::OnceLock};

use argon2::{Algorithm, Argon2, Params, Version};
use qasedak_chain::Network;
use qasedak_wallet::{Account, Address, KdfCost, Wallet, wallet::LogId};

use crate::wallet::{
    craft::{Person, aead, now},
    rng,
};

const PASSPHRASE: &str = "correct horse";
const NAME_KEY: [u8; 32] = [0x83; 32];
const RECORD_KEY: [u8; 32] = [0x84; 32];
const EPOCH_KEY: [u8; 32] = [0x85; 32];
/// Names the log that rows speak of.
const LOG: [u8; 16] = [1; 16];
/// Where the chunks of an export begin.
const HEAD_BYTES: usize = 53;

/// The day of the epoch key.
fn epoch() -> u64 {
    now().day() + 20
}

fn head() -> Vec<u8> {
    let cost = [8u32, 1, 1].map(u32::to_le_bytes).concat();
    [&b"qsd-wall\x01"[..], &cost, &[1; 16], &[2; 16]].concat()
}

fn key() -> &'static [u8; 32] {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    KEY.get_or_init(|| {
        let mut key = [0; 32];
        let params = Params::new(8, 1, 1, Some(32)).unwrap();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(PASSPHRASE.as_bytes(), &[1; 16], &mut key)
            .unwrap();
        key
    })
}

fn chunk(number: u64, last: u8, plain: &[u8]) -> Vec<u8> {
    let nonce: [u8; 24] = [&[2; 16][..], &number.to_be_bytes()].concat().try_into().unwrap();
    let sealed = aead(key(), &nonce, &[&head()[..], &[last]].concat(), plain);
    [&(sealed.len() as u32).to_le_bytes()[..], &[last], &sealed].concat()
}

/// An export whose rows are these bytes.
fn file(entries: &[u8]) -> Vec<u8> {
    let keys = [[1; 32], *Network::dev().ledger().as_bytes(), NAME_KEY, RECORD_KEY].concat();
    let secrets = [&[1][..], &keys, &[1, 0], &epoch().to_le_bytes(), &EPOCH_KEY].concat();
    [head(), chunk(0, 0, &secrets), chunk(1, 1, entries)].concat()
}

/// An entry: a row encrypted under the record key, or the epoch key.
fn entry(key: &[u8], in_epoch: bool, row: &[u8]) -> Vec<u8> {
    let (id, secret) = if in_epoch { (epoch(), &EPOCH_KEY) } else { (0, &RECORD_KEY) };
    let (id, nonce) = (id.to_le_bytes(), [9; 24]);
    let value = [&id[..], &nonce, &aead(secret, &nonce, &[key, &id].concat(), row)].concat();
    [&[key.len() as u8][..], key, &(value.len() as u32).to_le_bytes(), &value].concat()
}

fn header() -> Vec<u8> {
    let row = [&[2][..], Network::dev().ledger().as_bytes(), &Person::new(1).address()].concat();
    entry(&by_number(1, 0), false, &row)
}

fn by_number(class: u8, number: u64) -> Vec<u8> {
    [&[class][..], &number.to_be_bytes()].concat()
}

/// The key of a row of a class: by the name under which it is looked for, or by its number.
fn key_of(class: u8) -> Vec<u8> {
    let person = Person::new(2).address();
    let name = match class {
        2 | 9 => &LOG[..],
        3 => b"ann",
        4 | 14 => &person,
        7 => &[2; 32],
        10 | 11 => return by_number(class, 0),
        _ => return by_number(class, 1),
    };
    let mut hasher = blake3::Hasher::new_keyed(&NAME_KEY);
    hasher.update(&[class]).update(name);
    [&[class][..], hasher.finalize().as_bytes()].concat()
}

/// Imports a file; what comes of it is read whole.
fn import(bytes: &[u8]) {
    let home = tempfile::tempdir().unwrap();
    let (dir, export) = (home.path().join("wallet"), home.path().join("export"));
    fs::write(&export, bytes).unwrap();
    let cost = KdfCost::for_tests();
    match Wallet::import(&dir, &Network::dev(), &export, PASSPHRASE, "new", cost, now(), &mut rng()) {
        Ok(wallet) => {
            read(&wallet);
            drop(wallet);
            read(&open(&dir));
        }
        Err(_) => assert!(!Wallet::exists(&dir).unwrap(), "what was refused left a wallet"),
    }
}

fn open(dir: &Path) -> Wallet {
    Wallet::open(dir, &Network::dev(), "new", now()).unwrap()
}

/// Reads what there is to read. What is damaged is an error then, and never anything else.
fn read(wallet: &Wallet) {
    let (log, peer) = (LogId::from_bytes(LOG), Address::from_bytes(Person::new(2).address()).unwrap());
    let _ = (wallet.contacts().count(), wallet.blocked().count(), wallet.identities().count());
    let _ = (wallet.cursor(&log), wallet.unread(&log), wallet.seal_keys(Account::default()).count());
    let _ = (wallet.inbox(None, 9), wallet.sent(None, 9), wallet.requests(), wallet.receipts_owed());
    let _ = (wallet.history(&peer, None, 9, Some("x")), wallet.card_of(&peer));
}

/// An export. Costs beyond 64 KiB and one pass are left out: they are bounded, and slow.
pub fn export(data: &[u8]) {
    let number = |at: usize| data.get(at..at + 4).map_or(0, |four| u32::from_le_bytes(four.try_into().unwrap()));
    if number(9) <= 64 && number(13) <= 1 {
        import(data);
    }
}

/// What stands in the last chunk of an export, by someone who knows the passphrase.
pub fn export_entries(data: &[u8]) {
    import(&file(data));
}

/// A row of the database behind its encryption: the first byte is its class.
pub fn wallet_row(data: &[u8]) {
    let Some((class, row)) = data.split_first() else { return };
    let class = class % 17;
    let in_epoch = [5, 6, 8, 12, 13, 16].contains(&class);
    let row = entry(&key_of(class), in_epoch, row);
    // A text is shown with what was sent.
    let sent = entry(&key_of(8), true, &sent_row());
    let rows = if class == 1 { row } else { [header(), if class == 12 { sent } else { Vec::new() }, row].concat() };
    import(&file(&rows));
}

fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text].concat()
}

/// When rows end here.
fn until() -> [u8; 8] {
    (now().secs() + 20 * 86_400).to_le_bytes()
}

fn sent_row() -> Vec<u8> {
    let ids = [[3; 32], [2; 32], Person::new(2).address()].concat();
    [&until()[..], &until(), &[0; 4], &ids, &[0; 8], &[0; 8]].concat()
}

/// Seeds of [`wallet_row`]: a good row of each class.
pub fn row_seeds() -> Vec<Vec<u8>> {
    let peer = Person::new(2).address();
    let message =
        [&until()[..], &[0; 4], &[3; 32], &[2; 32], &peer, &[0; 8], &[0; 8], &[0; 8], &[0; 32], &[0], &text(b"hello")];
    let header = [&[2][..], Network::dev().ledger().as_bytes(), &Person::new(1).address()].concat();
    let text_row = [&until()[..], &[0; 32], &[0], &text(b"hello"), &until(), &[0; 4], &text(&[1; 1_216]), &[4; 64]];
    let rows: [(u8, Vec<u8>); 16] = [
        (1, header),
        (2, 7u64.to_le_bytes().to_vec()),
        (3, [&text(b"Ann")[..], &peer, &[0; 4], &[1], &[0; 8], &[0], &[0; 8]].concat()),
        (4, text(&[1; 1_353])),
        (5, [&until()[..], &[0; 4], &[5; 8], &[6; 32]].concat()),
        (6, message.concat()),
        (7, [&until()[..], &1u64.to_le_bytes()].concat()),
        (8, sent_row()),
        (9, [&2u64.to_le_bytes()[..], &[1, 0, 0, 0, 0, 0, 0, 0], &[2, 0, 0, 0, 0, 0, 0, 0]].concat()),
        (10, 9u64.to_le_bytes().to_vec()),
        (11, [now().secs(), 0, 0, now().secs()].map(u64::to_le_bytes).concat()),
        (12, text_row.concat()),
        (13, message.concat()),
        (14, [&peer[..], &[0; 8]].concat()),
        (15, [&[1, 0, 0, 0][..], &text(b"work")].concat()),
        (16, [&until()[..], &[0; 4], &peer, &[2; 32]].concat()),
    ];
    rows.map(|(class, row)| [&[class][..], &row].concat()).to_vec()
}

/// Seeds of [`export_entries`]: no rows, the header, the header and a row of each class.
pub fn entries_seeds() -> Vec<Vec<u8>> {
    let of = |seed: &Vec<u8>| entry(&key_of(seed[0]), [5, 6, 8, 12, 13, 16].contains(&seed[0]), &seed[1..]);
    let all: Vec<u8> = row_seeds().iter().filter(|seed| seed[0] != 1).flat_map(of).collect();
    vec![Vec::new(), header(), [header(), all].concat()]
}

/// Seeds of [`export`].
pub fn export_seeds() -> Vec<Vec<u8>> {
    let whole = file(&header());
    vec![whole.clone(), whole[..HEAD_BYTES].to_vec(), file(&[])]
}
