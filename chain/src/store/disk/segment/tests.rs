//! Checks of records: what they are, and that no byte changes and no record moves unseen.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say by panicking that something is wrong")]

use super::*;
use crate::{link::first_link, network::Network};

fn framing(kind: FileKind, number: u64) -> Framing {
    let ledger = Network::dev().ledger();
    FileHeader { kind, ledger, log_id: [5; 16], number, link: first_link(ledger) }.framing()
}

/// Sums that others publish too.
#[test]
fn the_sum_is_xxh64() {
    let known: [(&[u8], u64); 4] = [
        (b"", 0xef46_db37_51d8_e999),
        (b"a", 0xd24e_c4f1_a98c_6e5b),
        (b"abc", 0x44bc_2cf5_ad77_0999),
        (b"Nobody inspects the spammish repetition", 0xfbce_a83c_8a37_8bf1),
    ];
    for (bytes, sum) in known {
        assert_eq!(XxHash64::oneshot(0, bytes), sum);
    }
}

#[test]
fn no_bit_of_a_record_changes_and_none_moves_unseen() {
    for kind in [FileKind::Headers, FileKind::EarlierHeaders] {
        let framing = framing(kind, 9);
        for len in [0, 1, 7, 20, 48, 300, PAYLOAD_MAX_BYTES] {
            let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let record = framing.frame(1_000, KIND_TRANSACTION, &payload);
            assert_eq!(framing.read(1_000, &record, PAYLOAD_MAX_BYTES).unwrap().payload, payload);
            for bit in 0..record.len() * 8 {
                let mut changed = record.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(framing.read(1_000, &changed, PAYLOAD_MAX_BYTES).is_err(), "{kind:?}, {len}, bit {bit}");
            }
            for offset in [0, 128, 999, 1_001, 1_000 << 32] {
                assert!(framing.read(offset, &record, PAYLOAD_MAX_BYTES).is_err(), "{kind:?}, {len}, {offset}");
            }
            let others = [self::framing(kind, 8), self::framing(FileKind::Bodies, 9)];
            assert!(others.iter().all(|other| other.read(1_000, &record, PAYLOAD_MAX_BYTES).is_err()));
        }
    }
}
