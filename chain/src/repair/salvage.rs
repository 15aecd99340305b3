//! Reading whatever can be read of a damaged log: every record whose check is right and whose header hashes to its id, in
//! log order, with its body where that is whole. Damage is passed over; only a system that refuses to read ends it.

use std::path::Path;

use super::is_own_id;
use crate::{
    ids::LedgerId,
    link::first_link,
    network::Network,
    store::{
        Body, StoreError,
        disk::{
            bodies::Bodies,
            files::{self, DiskFile},
            headers::{segment_firsts, segment_path},
            segment::{
                Entry, FILE_HEADER_BYTES, FRAME_BYTES, FileHeader, FileKind, Framing, PAYLOAD_MAX_BYTES,
                TransactionEntry,
            },
        },
    },
    transaction::{Header, Transaction},
};

/// Calls `visit` with every transaction of the log in `dir` that is whole, without its body where that is not.
pub(super) fn each(
    dir: &Path,
    network: &Network,
    visit: &mut dyn FnMut(Transaction) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let ledger = network.ledger();
    let Some(log_id) = log_id(dir, ledger)? else {
        return Ok(());
    };
    let bodies = Bodies::open_to_read(dir.join("bodies"), ledger, log_id);
    let headers = dir.join("headers");
    for first in segment_firsts(&headers)? {
        let Some(file) = DiskFile::open(&segment_path(&headers, first), false)? else {
            continue;
        };
        let link = first_link(ledger);
        // The head may be what is damaged, so records of either format are looked for.
        let framings = [FileKind::Headers, FileKind::EarlierHeaders]
            .map(|kind| FileHeader { kind, ledger, log_id, number: first, link }.framing());
        each_entry(&framings, &file.read_from(0)?, &mut |entry| match whole(network, &bodies, entry) {
            Some(transaction) => visit(transaction),
            None => Ok(()),
        })?;
    }
    Ok(())
}

/// The log's id, from the first file whose head is right; the checks of records cover it.
fn log_id(dir: &Path, ledger: LedgerId) -> Result<Option<[u8; 16]>, StoreError> {
    let kinds = [FileKind::Headers, FileKind::Offsets, FileKind::Bodies, FileKind::Dropped, FileKind::Scan];
    for folder in [dir.join("headers"), dir.join("bodies"), dir.to_owned()] {
        for name in files::names(&folder)? {
            let path = folder.join(name);
            let Some(file) = DiskFile::open(&path, false)?.filter(|_| path.is_file()) else {
                continue;
            };
            let head = file.read_at(0, FILE_HEADER_BYTES)?;
            let parsed = kinds.iter().find_map(|kind| FileHeader::parse(*kind, ledger, &head).ok());
            if let Some(found) = parsed {
                return Ok(Some(found.log_id));
            }
        }
    }
    Ok(None)
}

/// Goes through a segment; behind bytes that are no record the next one is searched for byte by byte. A match is no
/// accident: the check covers the offset.
fn each_entry(
    framings: &[Framing],
    bytes: &[u8],
    visit: &mut dyn FnMut(&TransactionEntry<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut at = FILE_HEADER_BYTES;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= FRAME_BYTES) {
        let mut read = framings.iter().map(|framing| framing.read(at as u64, rest, PAYLOAD_MAX_BYTES));
        let Some(frame) = read.find_map(Result::ok) else {
            at = at.saturating_add(1);
            continue;
        };
        if let Some(Entry::Transaction(entry)) = Entry::parse(frame.kind, frame.payload) {
            visit(&entry)?;
        }
        at = at.saturating_add(frame.len());
    }
    Ok(())
}

fn whole(network: &Network, bodies: &Bodies, entry: &TransactionEntry<'_>) -> Option<Transaction> {
    let header = Header::from_bytes(entry.header).ok().filter(|header| is_own_id(network, header, &entry.id))?;
    let read = |place| bodies.read(place, &entry.id, header.core().body_len());
    if let Some(Ok(Body::Present(body))) = entry.place.map(read)
        && let Ok(transaction) = Transaction::new(network, header.clone(), Some(body))
    {
        return Some(transaction);
    }
    Transaction::new(network, header, None).ok()
}
