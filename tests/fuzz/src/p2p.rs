//! The bytes of sync: frames, requests and responses, and the messages of negentropy in them.
//!
//! Modules of `p2p` that need nothing of libp2p are taken in as files.

use std::{cell::RefCell, collections::BTreeSet};

use futures::{executor::block_on, io::Cursor};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use qasedak_chain::TxId;

use crate::wire::{
    Alias, OLD_REQUEST_MAX_BYTES, RECONCILE_ANSWER_MAX, RECONCILE_ASK_MAX, REQUEST_MAX_BYTES, RESPONSE_MAX_BYTES,
    Request, Response,
};

#[allow(dead_code)]
#[path = "../../../p2p/src/engine/reconcile/compact.rs"]
mod compact;
#[allow(dead_code)]
#[path = "../../../p2p/src/behaviour/frame.rs"]
mod frame;

/// A request: what is accepted encodes back to the same bytes.
pub fn request(data: &[u8]) {
    if let Ok(request) = Request::from_bytes(data) {
        assert_eq!(request.to_bytes().unwrap(), data);
    }
}

/// A response: what is accepted encodes back to the same bytes.
pub fn response(data: &[u8]) {
    if let Ok(response) = Response::from_bytes(data) {
        assert_eq!(response.to_bytes().unwrap(), data);
    }
}

/// A frame on a stream: what is read is within the bound, and is what was written.
pub fn frame(data: &[u8]) {
    for max_bytes in [OLD_REQUEST_MAX_BYTES, REQUEST_MAX_BYTES, RESPONSE_MAX_BYTES] {
        let Ok(read) = block_on(frame::read_frame(&mut Cursor::new(data), max_bytes)) else { continue };
        assert!(read.len() <= max_bytes);
        let mut written = Vec::new();
        block_on(frame::write_frame(&mut written, &read)).unwrap();
        assert!(data.starts_with(&written));
        request(&read);
        response(&read);
    }
}

/// Aliases in the set that is reconciled: enough for ranges to be divided.
const HELD: u64 = 400;

fn held() -> NegentropyStorageVector {
    let mut held = NegentropyStorageVector::new();
    for nth in 0..HELD {
        let mut id = [0; 32];
        let alias = Alias::of(&[7; 16], &TxId::from_bytes([nth as u8; 32]));
        id[..8].copy_from_slice(alias.as_bytes());
        id[7] = (nth >> 8) as u8;
        held.insert(nth << 29 | (nth % 7), Id::from_byte_array(id)).unwrap();
    }
    held.seal().unwrap();
    held
}

thread_local! {
    static HELD_SET: RefCell<NegentropyStorageVector> = RefCell::new(held());
}

/// A message of a reconciliation, as a question and as an answer: what is accepted is written again byte for byte, what it
/// is answered by is a message within its bound, and nobody lists what a message does not.
pub fn reconcile(data: &[u8]) {
    let Some(expanded) = compact::expand(data) else { return };
    assert_eq!(compact::shrink(&expanded.message).as_deref(), Some(data));
    assert!(expanded.listed.len() <= data.len() / 8);
    HELD_SET.with_borrow(|held| {
        let mut side = Negentropy::borrowed(held, RECONCILE_ANSWER_MAX as u64).unwrap();
        if let Ok(answer) = side.reconcile(&expanded.message) {
            let answer = compact::shrink(&answer).unwrap();
            assert!(answer.len() <= RECONCILE_ANSWER_MAX);
            assert!(compact::expand(&answer).is_some());
        }
        let mut side = Negentropy::borrowed(held, RECONCILE_ASK_MAX as u64).unwrap();
        side.set_initiator();
        let (mut have, mut need) = (Vec::new(), Vec::new());
        if let Ok(next) = side.reconcile_with_ids(&expanded.message, &mut have, &mut need) {
            let listed =
                |id: &Id| expanded.listed.contains_key(&Alias::from_bytes(*id.as_bytes().first_chunk().unwrap()));
            assert!(need.iter().all(listed));
            assert!(have.iter().map(|id| *id.as_bytes()).collect::<BTreeSet<_>>().len() as u64 <= HELD);
            if let Some(next) = next {
                let next = compact::shrink(&next).unwrap();
                assert!(next.len() <= RECONCILE_ASK_MAX && compact::expand(&next).is_some());
            }
        }
    });
}

/// Seeds of [`reconcile`]: what a side with a part of the set begins with, and what it is answered.
pub fn reconcile_seeds() -> Vec<Vec<u8>> {
    let seed = |message: &[u8]| compact::shrink(message).unwrap();
    let mut few = NegentropyStorageVector::new();
    few.insert(5 << 29, Id::from_byte_array([0; 32])).unwrap();
    few.seal().unwrap();
    let mut small = Negentropy::borrowed(&few, 0).unwrap();
    let first = small.initiate().unwrap();
    let begun = HELD_SET.with_borrow(|held| Negentropy::borrowed(held, 0).unwrap().initiate().unwrap());
    let answer = HELD_SET.with_borrow(|held| Negentropy::borrowed(held, 0).unwrap().reconcile(&first).unwrap());
    let other = Negentropy::borrowed(&few, 0).unwrap().reconcile(&begun).unwrap();
    vec![seed(&first), seed(&begun), seed(&answer), seed(&other), vec![0x61]]
}
