//! Bytes that change on the disk beside the ledger: outbox, wallet with its keystore, checkpoints. Nobody can give these back,
//! so no change may take anything from them unsaid: each is detected, and then nothing has been changed, or it is harmless.
//!
//! 120 of them here, 1,000 with `QASEDAK_SOAK=1`.

use std::{collections::BTreeMap, fs, path::Path};

use ed25519_dalek::{Signer, SigningKey};
use qasedak_chain::{
    Digest, Link, Position, Root, TxId,
    book::{Entry, Kept},
    checkpoint::{Checkpoint, Statement},
    store::{
        Outbox,
        checkpoints::Checkpoints,
        disk::{DiskCheckpoints, DiskOutbox},
    },
};
use qasedak_wallet::{
    Wallet,
    wallet::{Scanned, StoredMessage},
};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    child::{LOG, PASSPHRASE, message, open_outbox, open_wallet},
    corruption::corrupt,
    line::{Line, dev, time},
    support::{copy, files, rounds, seed},
};

/// Transactions put into the outbox, messages of the wallet, and checkpoints.
const COUNT: u64 = 24;

/// What undamaged files answer.
#[derive(PartialEq)]
struct Answers {
    outbox: Vec<TxId>,
    inbox: Vec<StoredMessage>,
    cursor: Position,
    checkpoints: Vec<Entry>,
}

/// The nth of a log's own checkpoints.
pub fn checkpoint(nth: u64) -> Entry {
    let key = SigningKey::from_bytes(&[9; 32]);
    let statement = Statement {
        log: [5; 16],
        count: nth + 1,
        link: Link::from_bytes([nth as u8; 32]),
        root: Root::from_bytes([2; 32]),
        digest: Digest::from_bytes([3; 32]),
        closed: None,
        time: time(nth),
    };
    let unsigned = Checkpoint::new(&dev(), statement).unwrap();
    let signed = unsigned.sign(&dev(), key.verifying_key().to_bytes(), |message| key.sign(message).to_bytes()).unwrap();
    Entry::Own(Kept { checkpoint: signed, received: time(nth) })
}

fn make(dir: &Path, line: &Line) {
    let (outbox, mut wallet) = (open_outbox(dir), open_wallet(dir));
    let checkpoints = DiskCheckpoints::open(&dir.join("checkpoints"), &dev()).unwrap();
    for nth in 0..COUNT {
        outbox.put(&line.get(nth)).unwrap();
        if nth % 3 == 0 {
            outbox.remove(&[line.get(nth).id()]).unwrap();
        }
        let opened = vec![message(nth, &wallet)];
        let step = Scanned { next: Position::new(nth + 1), opened, ..Scanned::default() };
        wallet.record_scanned(&LOG, step, time(nth)).unwrap();
        checkpoints.keep(&checkpoint(nth)).unwrap();
    }
}

/// Reads everything; the sentences of whatever refused or told of damage.
fn read(dir: &Path) -> Result<Answers, Vec<String>> {
    let mut said = Vec::new();
    let outbox = DiskOutbox::open(&dir.join("outbox"), &dev()).and_then(|outbox| outbox.all());
    let outbox = outbox.map_err(|error| said.push(error.to_string())).unwrap_or_default();
    let wallet = Wallet::open(&dir.join("wallet"), &dev(), PASSPHRASE, time(COUNT));
    let wallet = wallet.and_then(|wallet| Ok((wallet.inbox(None, usize::MAX)?, wallet.cursor(&LOG)?)));
    let wallet = wallet.map_err(|error| said.push(error.to_string()));
    let checkpoints = DiskCheckpoints::open(&dir.join("checkpoints"), &dev()).unwrap();
    said.extend_from_slice(checkpoints.damage());
    match (wallet, said.is_empty()) {
        (Ok((inbox, cursor)), true) => Ok(Answers {
            outbox: outbox.iter().map(|kept| kept.id()).collect(),
            inbox,
            cursor,
            checkpoints: checkpoints.book().unwrap().entries(),
        }),
        _ => Err(said),
    }
}

fn bytes(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let name = |path: &Path| path.strip_prefix(dir).unwrap().display().to_string();
    files(dir).iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

#[test]
fn every_corruption_beside_the_ledger_is_detected_or_harmless() {
    let rounds = rounds(1_000, 120);
    let line = Line::of(1_000);
    let home = tempfile::tempdir().unwrap();
    let sound = home.path().join("sound");
    make(&sound, &line);
    let right = read(&sound).unwrap_or_else(|said| panic!("{said:?}"));
    // Of many checkpoints of one log the book keeps some.
    assert_eq!((right.outbox.len(), right.inbox.len(), right.checkpoints.len()), (16, COUNT as usize, 16));
    let seed = seed();
    let (mut detected, mut harmless) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
    for round in 0..rounds {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(round as u64));
        let dir = home.path().join(format!("{round}"));
        copy(&sound, &dir);
        let what = corrupt(&dir, &mut rng);
        println!("round {round}, QASEDAK_SEED={}: {what}", seed.wrapping_add(round as u64));
        let (file, _) = what.split_once(':').unwrap();
        let before = bytes(&dir);
        match read(&dir) {
            Ok(found) => {
                assert!(found == right, "something is gone, and nobody said so");
                *harmless.entry(file.to_owned()).or_default() += 1;
            }
            Err(said) => {
                // Checkpoints tell of each place: a sector holds several.
                let of_them = said.iter().all(|said| said.contains("checkpoints.seg"));
                assert!(said.len() == 1 || of_them, "the others are well: {said:?}");
                // Damaged checkpoints are set aside, and all that is right in them is kept on; the rest is left alone.
                if !file.starts_with("checkpoints") {
                    assert_eq!(bytes(&dir)[file], before[file], "a refusal changes nothing");
                }
                *detected.entry(file.to_owned()).or_default() += 1;
            }
        }
        fs::remove_dir_all(dir).unwrap();
    }
    println!("{rounds} corruptions; detected {detected:?}, harmless {harmless:?}");
    for file in ["outbox/journal.seg", "wallet/db/journal.seg", "wallet/keystore", "checkpoints/checkpoints.seg"] {
        assert!(detected.contains_key(file) && !harmless.contains_key(file), "{file}");
    }
}
