//! Properties of the transaction's bytes (DESIGN §4, "Encoding rule, frozen"; `docs/protocol.md`, "Transaction").
//!
//! Checked against the independent writer in [`draft`]: what it writes is read, field by field, as it was meant; every
//! string that is accepted has exactly one reading; nothing in a finished transaction can be changed in passing.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::OnceLock;

use proptest::prelude::*;
use qasedak_chain::{
    Network, Transaction, TxId, codec,
    rules::{self, RuleError},
    stamp::{self, Effort},
    transaction::{
        BODY_LENS, HEADER_BASE_BYTES, HEADER_MAX_BYTES, HEADER_MIN_BYTES, Header, Kind, TRANSACTION_MAX_BYTES,
        body_hash,
    },
};

#[path = "support/draft.rs"]
mod draft;

use draft::Draft;

/// A valid transaction of `dev`: 219 bytes of header, 512 of body.
fn valid() -> &'static Draft {
    static VALID: OnceLock<Draft> = OnceLock::new();
    VALID.get_or_init(|| Draft::new(Network::dev()).sign().stamp())
}

/// Parses and verifies, as a node does with what a stranger sends.
fn judge(network: &Network, bytes: &[u8]) -> Result<TxId, RuleError> {
    let verified = rules::verify(network, Transaction::from_bytes(network, bytes)?)?;
    Ok(verified.transaction().id())
}

prop_compose! {
    /// A draft that obeys the rules of form; signature and stamp are any bytes, the body is left out.
    fn well_formed()(
        parents in prop::collection::btree_set(any::<[u8; 32]>(), 1..=8),
        minute in 0u64..1 << 33,
        lifetime in 3_600u32..=7_776_000,
        kind in 0u8..=1,
        hint in any::<[u8; 16]>(),
        hash in any::<[u8; 32]>(),
        body_len in prop::sample::select(&BODY_LENS[..]),
        author in any::<[u8; 32]>(),
        signature in prop::array::uniform32(any::<[u8; 2]>()),
        nonce in any::<u64>(),
        solution in any::<[u8; 16]>(),
    ) -> Draft {
        let network = Network::dev();
        let time = network.start().secs() + minute * 60;
        Draft {
            parents: parents.into_iter().collect(),
            signature: signature.concat().try_into().unwrap(),
            body_hash: hash,
            body: Vec::new(),
            time, lifetime, kind, hint, body_len, author, nonce, solution,
            ..Draft::new(network)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// What the independent writer puts down is read back, field by field, and written alike.
    #[test]
    fn a_well_formed_header_is_read_as_it_was_meant(draft in well_formed()) {
        let bytes = draft.header();
        let header = Header::from_bytes(&bytes).unwrap();
        let core = header.core();
        let parents: Vec<[u8; 32]> = core.parents().iter().map(|id| *id.as_bytes()).collect();
        prop_assert_eq!(&parents, &draft.parents);
        prop_assert_eq!(core.time().secs(), draft.time);
        prop_assert_eq!(core.lifetime_secs(), draft.lifetime);
        prop_assert_eq!(core.expires().secs(), draft.time + u64::from(draft.lifetime));
        prop_assert_eq!(core.kind().to_byte(), draft.kind);
        prop_assert_eq!(core.hint(), &draft.hint);
        prop_assert_eq!(core.body_hash(), &draft.body_hash);
        prop_assert_eq!(core.body_len(), draft.body_len);
        prop_assert_eq!(core.author(), &draft.author);
        prop_assert_eq!(header.signed().signature(), &draft.signature);
        prop_assert_eq!(header.stamp().nonce(), draft.nonce);
        prop_assert_eq!(header.stamp().solution(), &draft.solution);
        prop_assert_eq!(header.to_bytes(), bytes.clone());
        prop_assert_eq!(core.to_bytes(), draft.core());
        prop_assert_eq!(bytes.len(), HEADER_BASE_BYTES + 32 * parents.len());
        prop_assert_eq!(core.header_len(), bytes.len());
    }

    /// The associated data of a body's encryption is the core with the 32 bytes of the body hash cut out.
    #[test]
    fn associated_data_is_the_core_without_body_hash(draft in well_formed()) {
        let header = Header::from_bytes(&draft.header()).unwrap();
        let at = 2 + 32 * draft.parents.len() + 8 + 4 + 1 + 16;
        let expected = [&draft.core()[..at], &draft.core()[at + 32..]].concat();
        prop_assert_eq!(header.core().to_bytes_without_body_hash(), expected);
    }

    /// Whatever decodes encodes back to the same bytes, for bytes near and far from valid ones.
    #[test]
    fn what_decodes_encodes_to_the_same_bytes(
        draft in well_formed(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        tail in prop::collection::vec(any::<u8>(), 0..3),
        noise in prop::collection::vec(any::<u8>(), 0..512),
    ) {
        let mut edited = [draft.header(), tail].concat();
        for (at, byte) in edits {
            let at = at.index(edited.len());
            edited[at] = byte;
        }
        for bytes in [edited, noise] {
            if let Ok(header) = Header::from_bytes(&bytes) {
                prop_assert_eq!(header.to_bytes(), bytes.clone());
            }
            if let Ok(transaction) = Transaction::from_bytes(&Network::dev(), &bytes) {
                prop_assert_eq!(transaction.to_bytes(), bytes);
            }
        }
    }

    /// Any overwritten run of bytes is noticed: no byte of a transaction is outside id, signature, stamp and body hash.
    #[test]
    fn an_overwritten_run_is_refused(at in 0usize..731, run in prop::collection::vec(any::<u8>(), 1..40)) {
        let good = valid().bytes();
        let mut bytes = good.clone();
        bytes.iter_mut().skip(at).zip(&run).for_each(|(old, new)| *old = *new);
        prop_assert!(bytes == good || judge(&Network::dev(), &bytes).is_err());
    }

    /// Two headers that differ have different ids, and one header has different ids on different networks.
    #[test]
    fn ids_tell_headers_and_networks_apart(a in well_formed(), b in well_formed()) {
        let (dev, other) = (Network::dev(), Network::named("other").unwrap());
        let (first, second) = (Header::from_bytes(&a.header()).unwrap(), Header::from_bytes(&b.header()).unwrap());
        prop_assert_eq!(first == second, first.id(&dev) == second.id(&dev));
        prop_assert_ne!(first.id(&dev), first.id(&other));
    }
}

#[test]
fn sizes_are_those_of_the_specification() {
    let sizes = (HEADER_BASE_BYTES, HEADER_MIN_BYTES, HEADER_MAX_BYTES, TRANSACTION_MAX_BYTES);
    assert_eq!(sizes, (187, 219, 443, 65_979));
    assert_eq!((valid().header().len(), valid().bytes().len()), (219, 731));
    assert!(judge(&Network::dev(), &valid().bytes()).is_ok());
}

#[test]
fn a_transaction_without_its_body_is_read_and_keeps_its_id() {
    let (dev, whole) = (Network::dev(), valid().bytes());
    let bare = Transaction::from_bytes(&dev, &valid().header()).unwrap();
    assert_eq!(bare.body(), None);
    assert_eq!(bare.to_bytes(), valid().header());
    assert_eq!(Ok(bare.id()), judge(&dev, &whole));
    assert!(rules::verify(&dev, bare).is_ok());
}

#[test]
fn every_truncation_is_refused() {
    let bytes = valid().bytes();
    for len in (0..bytes.len()).filter(|len| *len != HEADER_MIN_BYTES) {
        let expected = if len < HEADER_MIN_BYTES { RuleError::Size } else { RuleError::BodySize };
        assert_eq!(judge(&Network::dev(), &bytes[..len]), Err(expected), "cut to {len} bytes");
    }
    for len in 0..HEADER_MIN_BYTES {
        assert!(Header::from_bytes(&bytes[..len]).is_err(), "header cut to {len} bytes");
    }
}

#[test]
fn every_extension_is_refused() {
    let (dev, bytes, header) = (Network::dev(), valid().bytes(), valid().header());
    for more in 1..=600usize {
        for filler in [0, 0xff] {
            let tail = vec![filler; more];
            assert_eq!(judge(&dev, &[&bytes[..], &tail].concat()), Err(RuleError::BodySize), "{more} more");
            assert_eq!(Header::from_bytes(&[&header[..], &tail].concat()), Err(RuleError::Encoding), "{more} more");
        }
    }
    let longest = vec![1; TRANSACTION_MAX_BYTES + 1];
    assert_eq!(judge(&dev, &longest), Err(RuleError::Size));
}

#[test]
fn every_single_bit_flip_is_refused() {
    let (dev, good) = (Network::dev(), valid().bytes());
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let verdict = judge(&dev, &bytes);
        if bit / 8 >= HEADER_MIN_BYTES {
            assert_eq!(verdict, Err(RuleError::BodyHash), "bit {bit}, in the body");
        } else {
            assert!(verdict.is_err(), "bit {bit}, in the header");
        }
    }
}

/// A header that still parses after a flip has another id: the id covers every bit, stamp included.
#[test]
fn every_flip_that_parses_gives_another_id() {
    let (dev, good) = (Network::dev(), valid().header());
    let id = Header::from_bytes(&good).unwrap().id(&dev);
    let mut parsed = 0;
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(header) = Header::from_bytes(&bytes) {
            assert_ne!(header.id(&dev), id, "bit {bit}");
            parsed += 1;
        }
    }
    // Parent, hint, body hash, author, signature, nonce and solution take any value: 200 bytes at least.
    assert!(parsed >= 200 * 8, "only {parsed} flips were looked at");
}

#[test]
fn claimed_lengths_reserve_nothing() {
    let dev = Network::dev();
    for count in 0..=u8::MAX {
        let bytes = Draft { parent_count: Some(count), ..valid().clone() }.bytes();
        let verdict = judge(&dev, &bytes);
        match count {
            1 => assert!(verdict.is_ok()),
            // More parents than there are shift all later fields: some rule of form breaks.
            2..=8 => assert!(verdict.is_err(), "{count} parents claimed"),
            _ => assert_eq!(verdict, Err(RuleError::ParentCount), "{count} parents claimed"),
        }
        // The shortest input that passes the size check, with the same claim.
        let shortest = Header::from_bytes(&bytes[..HEADER_MIN_BYTES]);
        assert_eq!(shortest.is_ok(), count == 1, "{count} parents claimed in the shortest header");
    }
    // bincode's own length prefix, as large as it can be, under a limit of 64 bytes.
    for claim in [65, u64::from(u32::MAX), u64::MAX] {
        assert!(codec::decode::<64, Vec<u8>>(&claim.to_le_bytes()).is_err(), "{claim} bytes claimed");
        assert!(codec::decode_prefix::<64, Vec<u64>>(&claim.to_le_bytes()).is_err(), "{claim} numbers claimed");
    }
}

#[test]
fn the_codec_takes_exact_values_only() {
    let bytes = codec::encode::<16, (u8, u32)>(&(5, 0x0102_0304)).unwrap();
    assert_eq!(bytes, [5, 4, 3, 2, 1], "fixed width, little-endian");
    assert_eq!(codec::decode::<16, (u8, u32)>(&bytes), Ok((5, 0x0102_0304)));
    assert_eq!(codec::decode_prefix::<16, u8>(&bytes), Ok((5, &bytes[1..])));
    assert!(codec::decode::<16, (u8, u32)>(&[&bytes[..], &[0]].concat()).is_err(), "a byte too many");
    assert!(codec::decode::<16, (u8, u32)>(&bytes[..4]).is_err(), "a byte too few");
    assert!(codec::decode::<4, (u8, u32)>(&bytes).is_err(), "over the limit");
    assert!(codec::encode::<4, (u8, u32)>(&(5, 6)).is_err(), "over the limit");
    assert!(codec::decode::<16, bool>(&[2]).is_err(), "no bool");
}

#[test]
fn a_stamp_found_by_search_verifies_and_is_bound_to_its_transaction() {
    let draft = valid().clone();
    let dev = Network::dev();
    let stamp = stamp::Stamp::new(draft.nonce, draft.solution);
    assert!(stamp.solves(&draft.challenge()));

    // The same core signed anew over another message part, another core, another network: another challenge each.
    let mut signature = draft.clone();
    signature.signature[0] ^= 1;
    let other_core = Draft { hint: [9; 16], ..draft.clone() }.sign();
    let other_network = Draft { network: Network::named("other").unwrap(), ..draft.clone() }.sign();
    for (what, other) in [("signature", &signature), ("core", &other_core), ("network", &other_network)] {
        assert_ne!(other.challenge(), draft.challenge(), "another {what}");
        assert!(!stamp.solves(&other.challenge()), "the stamp passed for another {what}");
    }
    // A signature that is itself valid, so that only the stamp can be what is refused.
    assert_eq!(judge(&dev, &other_core.bytes()), Err(RuleError::StampSolution));
    let parent = *other_network.network.genesis().as_bytes();
    let body_hash = body_hash(&other_network.network, &draft.body);
    let moved = Draft { parents: vec![parent], body_hash, ..other_network }.sign();
    assert_eq!(judge(&moved.network, &moved.bytes()), Err(RuleError::StampSolution));
    // The bytes as they are, on another network: the body's hash is already another.
    assert_eq!(judge(&moved.network, &draft.bytes()), Err(RuleError::BodyHash));
}

#[test]
fn a_second_stamp_over_one_signature_is_work_of_its_own_and_another_id() {
    let first = valid().clone();
    let second = first.find_stamp(first.nonce + 1..);
    let again = Draft { nonce: second.nonce(), solution: *second.solution(), ..first.clone() };
    let (dev, first) = (Network::dev(), judge(&Network::dev(), &first.bytes()));
    assert!(judge(&dev, &again.bytes()).is_ok());
    assert_ne!(judge(&dev, &again.bytes()), first);
}

#[test]
fn a_search_asks_before_each_attempt_and_can_be_broken_off() {
    let effort = Effort::required(&Network::main(), valid().parse().unwrap().core());
    let mut asked = 0;
    let found = stamp::search(&[1; 32], effort, 0.., || {
        asked += 1;
        if asked == 3 { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    });
    // At this effort two attempts may, rarely, suffice; the challenge is fixed, and they do not.
    assert_eq!((found, asked), (None, 3));
    assert_eq!(stamp::search(&[1; 32], effort, [], || std::ops::ControlFlow::Continue(())), None);
}

#[test]
fn work_is_the_highest_effort_that_is_met() {
    let draft = valid();
    let stamp = stamp::Stamp::new(draft.nonce, draft.solution);
    let work = stamp.work(&draft.challenge());
    assert!(stamp.meets_target(&draft.challenge(), work));
    assert!(u128::from(work.get()) >= draft.effort());
    assert!(Kind::from_byte(2).is_none());
}
