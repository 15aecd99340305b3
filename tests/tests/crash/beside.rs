//! What lies beside ledger, outbox and wallet as each released format left it: checkpoints, peer key, exports, scan key files
//! and lists of what was found. This version opens them and reads all.
//!
//! `tests/fixtures/format-N-beside.tar.gz` and `.json`, made as those of `fixtures` are, from the wallet in there.

use std::{collections::BTreeSet, fs, ops::Bound, path::Path};

use qasedak_chain::{
    TxId,
    book::Entry,
    store::{
        checkpoints::Checkpoints,
        disk::{
            DiskCheckpoints,
            journal::{Changes, Holds, Journal},
        },
    },
};
use qasedak_p2p::driver::PeerKey;
use qasedak_wallet::{KdfCost, ScanKeyFile, Wallet, finding::FoundRow};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;

use crate::{
    fixtures::{PASSPHRASE, after, pack, unpack},
    kept::checkpoint,
    line::dev,
};

/// Checkpoints that are kept.
const CHECKPOINTS: u64 = 5;
/// Transactions that were found.
const FOUND: u32 = 3;
const EXPORT_PASSPHRASE: &str = "of its own";
/// What is packed.
const NAMES: [&str; 5] = ["checkpoints", "found", "wallet.export", "scan.key", "peer.key"];

fn scan_key(dir: &Path) -> ScanKeyFile {
    ScanKeyFile::from_bytes(&dev(), &fs::read(dir.join("scan.key")).unwrap()).unwrap()
}

fn found_dir(dir: &Path, key: &ScanKeyFile) -> std::path::PathBuf {
    dir.join("found").join(hex::encode(key.list_name()))
}

fn found(number: u32) -> FoundRow {
    FoundRow { id: TxId::from_bytes([number as u8; 32]), until: after().secs() + u64::from(number) }
}

fn entry_key(number: u32) -> Vec<u8> {
    [&[1][..], &number.to_be_bytes()].concat()
}

/// Writes a list as a finder does: its state, and an entry for each transaction.
fn write_list(dir: &Path, rng: &mut StdRng) {
    let key = scan_key(dir);
    let mut journal = Journal::open(&found_dir(dir, &key), Holds::Found, dev().ledger()).unwrap();
    let state = [&[7; 4][..], &[5; 16], &60u64.to_le_bytes(), &FOUND.to_le_bytes(), &[0; 4]].concat();
    let mut changes = Changes::default();
    changes.insert(&[0], &key.list_key().seal(&[0], &state, rng).unwrap());
    for number in 1..=FOUND {
        let name = entry_key(number);
        changes.insert(&name, &key.list_key().seal(&name, &found(number).to_bytes(), rng).unwrap());
    }
    journal.commit(&changes).unwrap();
}

#[test]
#[ignore = "makes a fixture: run once, by the version that is released with the format"]
fn make_fixture_beside() {
    let home = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(2);
    unpack("format-1", home.path());
    let wallet = Wallet::open(&home.path().join("wallet"), &dev(), PASSPHRASE, after()).unwrap();
    let export = home.path().join("wallet.export");
    wallet.export(&export, EXPORT_PASSPHRASE, KdfCost::for_tests(), &mut rng).unwrap();
    wallet.export_scan_key("", &home.path().join("scan.key"), &mut rng).unwrap();
    write_list(home.path(), &mut rng);
    let checkpoints = DiskCheckpoints::open(&home.path().join("checkpoints"), &dev()).unwrap();
    (0..CHECKPOINTS).for_each(|nth| checkpoints.keep(&checkpoint(nth)).unwrap());
    drop(checkpoints);
    let _ = fs::remove_file(home.path().join("checkpoints/lock"));
    fs::write(home.path().join("peer.key"), [0x77; 32]).unwrap();
    let expected = json!({
        "address": wallet.address().to_string(),
        "peer": PeerKey::from_bytes([0x77; 32]).unwrap().peer_id(),
        "list": hex::encode(scan_key(home.path()).list_name()),
        "found": (1..=FOUND).map(|number| found(number).id.to_string()).collect::<Vec<_>>(),
        "checkpoints": CHECKPOINTS,
    });
    pack("format-1-beside", home.path(), &NAMES, &expected);
}

#[test]
fn what_lies_beside_a_ledger_of_every_released_format_opens() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let expected = unpack("format-1-beside", dir);
    let peer = PeerKey::from_bytes(fs::read(dir.join("peer.key")).unwrap().try_into().unwrap()).unwrap();
    assert_eq!(expected["peer"], peer.peer_id());

    let checkpoints = DiskCheckpoints::open(&dir.join("checkpoints"), &dev()).unwrap();
    assert_eq!(checkpoints.damage(), &[] as &[String]);
    let own: Vec<Entry> = checkpoints.book().unwrap().entries();
    assert_eq!(own, (0..CHECKPOINTS).map(checkpoint).collect::<Vec<_>>());

    let key = scan_key(dir);
    assert_eq!(expected["list"], hex::encode(key.list_name()));
    let journal = Journal::open(&found_dir(dir, &key), Holds::Found, dev().ledger()).unwrap();
    let rows: Vec<_> = journal.entries(Bound::Unbounded).map(|entry| entry.unwrap()).collect();
    let open = |(name, value): &(Vec<u8>, Vec<u8>)| key.list_key().open(name, value).unwrap().to_vec();
    assert_eq!((&rows[0].0[..], open(&rows[0]).len()), (&[0][..], 36));
    let ids: Vec<FoundRow> = rows[1..].iter().map(|row| FoundRow::from_bytes(&open(row)).unwrap()).collect();
    assert_eq!(ids, (1..=FOUND).map(found).collect::<Vec<_>>());
    let said: BTreeSet<String> = ids.iter().map(|row| row.id.to_string()).collect();
    assert_eq!(expected["found"], json!(said));

    let cost = KdfCost::for_tests();
    let mut rng = StdRng::seed_from_u64(3);
    let (wallet, export) = (dir.join("wallet"), dir.join("wallet.export"));
    let wallet = Wallet::import(&wallet, &dev(), &export, EXPORT_PASSPHRASE, "new", cost, after(), &mut rng).unwrap();
    assert_eq!(expected["address"], wallet.address().to_string());
    assert_eq!(wallet.inbox(None, 9).unwrap()[0].content.text(), Some("kept since format 1"));
    assert_eq!(wallet.identity_of(&key).unwrap().address, wallet.address());
}
