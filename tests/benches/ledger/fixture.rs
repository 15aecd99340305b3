//! 20,000 transactions with real signatures and real stamps of `dev`, 1 KiB bodies and three parents.
//!
//! Everything but the stamps follows from a transaction's number, so the stamps alone are kept, 24 bytes each, in
//! `tests/fixtures/stamps-20000.bin`. They were searched for once; a file that no longer fits the format is made anew. A
//! larger fixture begins with the same ones, and is kept part by part while it is made: a search that is broken off goes on
//! where it was.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Network, Time, Transaction, TxId, rules,
    stamp::{self, Effort, Stamp},
    transaction::{Core, CoreFields, Kind, Signed, body_hash},
};

/// Transactions in the fixture.
pub const COUNT: usize = 20_000;
/// Bytes of a body.
pub const BODY_BYTES: usize = 1_024;
/// So many are stamped at once: parents are older than that.
const LAYER: usize = 64;
const STAMP_BYTES: usize = 24;
/// What was found is kept after so many: some ten seconds of work.
const PART: usize = 32 * LAYER;

/// Bytes that follow from a number and a purpose.
pub fn bytes_of(nth: u64, purpose: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new_derive_key("qasedak tests 2026 bench fixture");
    hasher.update(&nth.to_le_bytes()).update(purpose.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn key_of(nth: u64) -> SigningKey {
    SigningKey::from_bytes(&bytes_of(nth, "author", 32).try_into().unwrap())
}

/// Three parents out of the layers before this one; genesis for the first layer.
fn parents_of(network: &Network, nth: usize, ids: &[TxId]) -> Vec<TxId> {
    let older = nth / LAYER * LAYER;
    if older == 0 {
        return vec![network.genesis()];
    }
    let mut parents: Vec<TxId> =
        (1..=3).map(|back| ids[older - 1 - (nth * 5 + back * 17) % LAYER.min(older)]).collect();
    parents.sort_unstable();
    parents.dedup();
    parents
}

fn unstamped(network: &Network, nth: usize, ids: &[TxId]) -> (Signed, Vec<u8>) {
    let (key, body) = (key_of(nth as u64), bytes_of(nth as u64, "body", BODY_BYTES));
    let core = Core::new(CoreFields {
        parents: parents_of(network, nth, ids),
        time: Time::from_secs(network.start().secs() + (nth as u64 / 8) * 60),
        lifetime_secs: 30 * 86_400,
        kind: if nth.is_multiple_of(4) { Kind::Tagged } else { Kind::Sealed },
        hint: bytes_of(nth as u64, "hint", 16).try_into().unwrap(),
        body_hash: body_hash(network, &body),
        body_len: BODY_BYTES as u32,
        author: key.verifying_key().to_bytes(),
    })
    .unwrap();
    (core.sign(network, &key).unwrap(), body)
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/stamps-20000.bin")
}

fn search(network: &Network, signed: &Signed) -> Stamp {
    let effort = Effort::required(network, signed.core());
    stamp::search(&signed.challenge(network), effort, 0.., || ControlFlow::Continue(())).unwrap()
}

/// The stamps of one layer, searched for on all cores. How long one takes is chance, so each takes the next that is left.
fn search_layer(network: &Network, layer: &[(Signed, Vec<u8>)]) -> Vec<Stamp> {
    let (cores, next) = (thread::available_parallelism().map_or(1, usize::from), AtomicUsize::new(0));
    let mut found: Vec<(usize, Stamp)> = thread::scope(|scope| {
        let search_some = || {
            let mine = std::iter::from_fn(|| {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                layer.get(nth).map(|(signed, _)| (nth, search(network, signed)))
            });
            mine.collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(search_some)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    found.sort_unstable_by_key(|(nth, _)| *nth);
    found.into_iter().map(|(_, stamp)| stamp).collect()
}

fn stored(bytes: &[u8], nth: usize) -> Option<Stamp> {
    let bytes = bytes.get(nth * STAMP_BYTES..(nth + 1) * STAMP_BYTES)?;
    let (nonce, solution) = bytes.split_at(8);
    Some(Stamp::new(u64::from_le_bytes(nonce.try_into().unwrap()), solution.try_into().unwrap()))
}

/// The fixture, in wire form, parents before children.
pub fn load(network: &Network) -> Vec<Vec<u8>> {
    load_from(network, COUNT, &path())
}

/// So many of them, with the stamps in a file of one's own: those that are not there are searched for.
pub fn load_from(network: &Network, count: usize, path: &Path) -> Vec<Vec<u8>> {
    let found = [path.to_owned(), self::path()].map(|path| fs::read(path).unwrap_or_default());
    let found = found.into_iter().max_by_key(Vec::len).unwrap_or_default();
    make(network, count, &found, |stamps| keep(path, stamps))
}

/// Keeps stamps, whole or not at all.
fn keep(path: &Path, stamps: &[u8]) {
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, stamps).unwrap();
    fs::rename(unfinished, path).unwrap();
}

/// The first few of the fixture.
pub fn first(network: &Network, count: usize) -> Vec<Vec<u8>> {
    make(network, count, &fs::read(path()).unwrap_or_default(), |_| {})
}

/// Transactions in wire form, with stamps out of those that were found where these fit. The others are searched for, and all are
/// told after every part.
fn make(network: &Network, count: usize, found: &[u8], mut tell: impl FnMut(&[u8])) -> Vec<Vec<u8>> {
    let (mut ids, mut wire, mut stamps) = (Vec::new(), Vec::new(), Vec::new());
    let mut sound = true;
    for first in (0..count).step_by(LAYER) {
        let layer: Vec<_> = (first..count.min(first + LAYER)).map(|nth| unstamped(network, nth, &ids)).collect();
        let known: Option<Vec<Stamp>> = (first..first + layer.len()).map(|nth| stored(found, nth)).collect();
        // The first of each layer is tried: a stamp of another format fails.
        let header = known.as_ref().map(|stamps| layer[0].0.clone().stamped(stamps[0]));
        sound = sound && header.is_some_and(|header| rules::verify_header(network, &header).is_ok());
        let layer_stamps = match known {
            Some(known) if sound => known,
            _ => {
                eprint!("\rmaking the fixture, once: {first} of {count}");
                search_layer(network, &layer)
            }
        };
        for ((signed, body), stamp) in layer.into_iter().zip(layer_stamps) {
            let transaction = Transaction::new(network, signed.stamped(stamp), Some(body)).unwrap();
            ids.push(transaction.id());
            wire.push(transaction.to_bytes());
            stamps.extend(stamp.nonce().to_le_bytes());
            stamps.extend(stamp.solution());
        }
        if !sound && (wire.len().is_multiple_of(PART) || wire.len() == count) {
            tell(&stamps);
        }
    }
    wire
}
