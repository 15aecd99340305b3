//! Entries of the scan column that are for nobody here: what a scan mostly sees.

use curve25519_dalek::{constants::ED25519_BASEPOINT_TABLE, scalar::Scalar};
use qasedak_chain::{store::ScanEntry, transaction::Kind};

use crate::fixture::bytes_of;

/// Sealed entries with authors of their own.
pub fn sealed(count: usize) -> Vec<ScanEntry> {
    let entry = |nth: u64| {
        let scalar = Scalar::from_bytes_mod_order(bytes_of(nth, "author of an entry", 32).try_into().unwrap());
        ScanEntry {
            kind: Kind::Sealed,
            hint: bytes_of(nth, "hint of an entry", 16).try_into().unwrap(),
            author_u: (ED25519_BASEPOINT_TABLE * &scalar).to_montgomery().to_bytes(),
            has_body: true,
        }
    };
    (0..count as u64).map(entry).collect()
}

/// So many tags that are expected, none of which comes.
pub fn tags(count: usize) -> Vec<[u8; 16]> {
    (0..count as u64).map(|nth| bytes_of(nth, "expected tag", 16).try_into().unwrap()).collect()
}
