//! `derivation.json` and `address.json`: from words to keys, and addresses with what is none.

use bech32::{Bech32, Bech32m, Hrp};
use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Network,
    hash::{Context, hash},
};
use qasedak_wallet::{
    Address, Keys, Phrase, SealKey, SealKeyId,
    address::AddressError,
    keys::{Account, SealPublic},
    safety::SafetyNumber,
};
use serde_json::{Value, json};

use crate::{array, committed, craft, list, name};

fn bech(hrp: &str, bytes: &[u8]) -> String {
    bech32::encode::<Bech32m>(Hrp::parse(hrp).unwrap(), bytes).unwrap()
}

fn identity(entropy: &[u8; 32], account: u32) -> Value {
    let seed = Phrase::from_entropy(entropy).unwrap().seed();
    let secret = |purpose: &[u8]| hash(Context::WalletKey, &[seed.as_slice(), purpose, &account.to_le_bytes()]);
    let public = SigningKey::from_bytes(&secret(b"identity")).verifying_key().to_bytes();
    json!({
        "account": account,
        "identity_secret": hex::encode(secret(b"identity")),
        "identity_public": hex::encode(public),
        "address": bech("qsd", &public),
        "scan_secret": hex::encode(secret(b"scan")),
        "scan_public": hex::encode(x25519_dalek::x25519(secret(b"scan"), x25519_dalek::X25519_BASEPOINT_BYTES)),
    })
}

pub fn derivation() -> Value {
    let entropies = [[0; 32], [0x7f; 32], std::array::from_fn(|n| n as u8 * 7 + 3)];
    let golden = entropies.map(|entropy| {
        let phrase = Phrase::from_entropy(&entropy).unwrap();
        let identities = [0, 1, u32::MAX].map(|account| identity(&entropy, account));
        json!({
            "entropy": hex::encode(entropy),
            "words": phrase.words().as_str(),
            "seed": hex::encode(phrase.seed().as_slice()),
            "identities": identities,
        })
    });
    let seal_keys = [[0; 32], [0xff; 32], [4; 32]]
        .map(|secret| json!({"secret": hex::encode(secret), "public": hex::encode(craft::seal_public(&secret))}));
    let good = craft::seal_public(&[4; 32]);
    let changed = |at: usize, with: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        hex::encode(bytes)
    };
    let words = Phrase::from_entropy(&[0; 32]).unwrap().words().to_string();
    json!({
        "about": "From words to keys, docs/wallet-format.md, \"Phrase\" and \"Keys\". Words that must be read give the entropy \
                  of the first golden case; a rejected text is no phrase, a rejected seal key no public one.",
        "golden": golden,
        "seal_keys": seal_keys,
        "read": [words.to_uppercase(), words.replace(' ', "\n\t "), format!("  {words}\r\n")],
        "rejections": [
            {"what": "23 words", "error": "WordCount", "words": words.replace(" art", "")},
            {"what": "25 words", "error": "WordCount", "words": format!("{words} art")},
            {"what": "twelve words", "error": "WordCount", "words": "abandon ".repeat(11) + "about"},
            {"what": "a misspelt word", "error": "UnknownWord", "words": words.replacen("abandon", "abandom", 1)},
            {"what": "another last word", "error": "Checksum", "words": words.replace("art", "zoo")},
            {"what": "no words", "error": "WordCount", "words": ""},
        ],
        "rejected_seal_keys": [
            {"what": "a coefficient of 3329", "public": changed(0, &[0x01, 0x0d])},
            {"what": "a last coefficient of 4095", "public": changed(1_150, &[0xf0, 0xff])},
            {"what": "an X25519 part of zero", "public": changed(1_184, &[0; 32])},
            {"what": "an X25519 part of one, high bit set", "public": changed(1_184, &high_one())},
        ],
    })
}

/// u = 1, which has small order, with the bit set that X25519 ignores.
fn high_one() -> [u8; 32] {
    let mut one = [0; 32];
    one[0] = 1;
    one[31] = 0x80;
    one
}

#[test]
fn words_give_the_keys() {
    let file = committed("derivation");
    for case in list(&file, "golden") {
        let phrase = Phrase::parse(case["words"].as_str().unwrap()).unwrap();
        assert_eq!(phrase.entropy(), &array::<32>(&case["entropy"]));
        assert_eq!(phrase.seed().as_slice(), array::<64>(&case["seed"]));
        for identity in list(case, "identities") {
            let account = Account::new(identity["account"].as_u64().unwrap() as u32);
            let keys = Keys::derive(&phrase, account);
            assert_eq!(keys.address().to_string(), identity["address"]);
            assert_eq!(keys.address().as_bytes(), &array::<32>(&identity["identity_public"]));
            assert_eq!(keys.scan().public(), &array::<32>(&identity["scan_public"]));
        }
    }
    for case in list(&file, "seal_keys") {
        let key = SealKey::from_bytes(SealKeyId::new(1), &array(&case["secret"]));
        assert_eq!(key.public().as_bytes(), &array::<1216>(&case["public"]));
    }
    for words in list(&file, "read") {
        assert_eq!(Phrase::parse(words.as_str().unwrap()).unwrap().entropy(), &[0; 32]);
    }
    for case in list(&file, "rejections") {
        let error = Phrase::parse(case["words"].as_str().unwrap()).unwrap_err();
        assert_eq!(name(error), case["error"], "{}", case["what"]);
    }
    for case in list(&file, "rejected_seal_keys") {
        assert_eq!(SealPublic::from_bytes(&array(&case["public"])), None, "{}", case["what"]);
    }
}

/// An address of 32 bytes with its four filling bits set.
fn filled(public: &[u8; 32]) -> String {
    const ALPHABET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let good = bech("qsd", public);
    let value = |at: usize| ALPHABET.iter().position(|c| *c == good.as_bytes()[at]).unwrap();
    // The last data character holds one bit of the key and four of filling: try all checksums for it.
    let mut text = good.clone().into_bytes();
    text[55] = ALPHABET[value(55) | 1];
    let body = String::from_utf8(text[..56].to_vec()).unwrap();
    bech_checksum(&body)
}

/// The text with the bech32m checksum that belongs to it.
fn bech_checksum(body: &str) -> String {
    use bech32::{Fe32, Fe32IterExt};
    let data = body[4..].chars().map(|c| Fe32::from_char(c).unwrap());
    let hrp = Hrp::parse("qsd").unwrap();
    data.with_checksum::<Bech32m>(&hrp).chars().collect()
}

pub fn address() -> Value {
    let rfc = hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
    let keys: [[u8; 32]; 3] = [
        rfc.try_into().unwrap(),
        craft::Person::new(0).address(),
        SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes(),
    ];
    let golden = keys.map(|key| json!({"public": hex::encode(key), "address": bech("qsd", &key)}));
    let key = keys[1];
    let good = bech("qsd", &key);
    let mut not_reduced = [0xff; 32];
    not_reduced[31] = 0x7f;
    let mut unit = [0; 32];
    unit[0] = 1;
    let refuse =
        |what: &str, error: AddressError, text: String| json!({"what": what, "error": name(error), "address": text});
    json!({
        "about": "Addresses, docs/wallet-format.md, \"Address\". A text in `read` is the second golden address.",
        "golden": golden,
        "read": [good.to_uppercase()],
        "rejections": [
            refuse("mixed case", AddressError::MixedCase, good.replacen("qsd", "Qsd", 1)),
            refuse("another character", AddressError::Checksum, good.replacen("qsd1p", "qsd1q", 1)),
            refuse("two characters swapped", AddressError::Checksum, format!("{}{}{}{}", &good[..8], &good[9..10], &good[8..9], &good[10..])),
            refuse("the last character missing", AddressError::Checksum, good[..61].to_owned()),
            refuse("a character that bech32 lacks", AddressError::Character, good.replacen("qsd1p", "qsd1b", 1)),
            refuse("another prefix", AddressError::Prefix, bech("qse", &key)),
            refuse("31 bytes", AddressError::Length, bech("qsd", &key[1..])),
            refuse("33 bytes", AddressError::Length, bech("qsd", &[&key[..], &[0]].concat())),
            refuse("filling bits that are not zero", AddressError::Length, filled(&key)),
            refuse("the checksum of bech32, not bech32m", AddressError::Checksum, bech32::encode::<Bech32>(Hrp::parse("qsd").unwrap(), &key).unwrap()),
            refuse("a y that is not reduced", AddressError::Key, bech("qsd", &not_reduced)),
            refuse("a point of small order", AddressError::Key, bech("qsd", &unit)),
            refuse("no point of the curve", AddressError::Key, bech("qsd", &[2; 32])),
        ],
    })
}

#[test]
fn addresses_are_read_and_refused() {
    let file = committed("address");
    let golden = list(&file, "golden");
    for case in golden {
        let address: Address = case["address"].as_str().unwrap().parse().unwrap();
        assert_eq!(address, Address::from_bytes(array(&case["public"])).unwrap());
        assert_eq!(address.to_string(), case["address"]);
    }
    for text in list(&file, "read") {
        let address: Address = text.as_str().unwrap().parse().unwrap();
        assert_eq!(address.to_string(), golden[1]["address"]);
    }
    for case in list(&file, "rejections") {
        let error = case["address"].as_str().unwrap().parse::<Address>().unwrap_err();
        assert_eq!(name(error), case["error"], "{}", case["what"]);
    }
}

/// 30 digits of one side, by hand.
fn fingerprint(network: &Network, address: &[u8; 32]) -> String {
    let first = hash(Context::Safety, &[network.ledger().as_bytes(), address]);
    let last = (0..5_200).fold(first, |value, _| hash(Context::Safety, &[&value, address]));
    let group = |at: usize| last[at..at + 5].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)) % 100_000;
    (0..6).map(|n| format!("{:05}", group(5 * n))).collect()
}

pub fn safety() -> Value {
    let people = [1, 2, 3].map(|number| craft::Person::new(number).address());
    let pairs = [("dev", 0, 1), ("dev", 1, 2), ("main", 0, 1), ("dev", 0, 0)];
    let golden = pairs.map(|(name, one, other)| {
        let network = Network::named(name).unwrap();
        let mut halves = [people[one], people[other]].map(|address| fingerprint(&network, &address));
        let fingerprint = halves[0].clone();
        halves.sort();
        let (one, other) = (hex::encode(people[one]), hex::encode(people[other]));
        json!({"network": name, "one": one, "other": other, "fingerprint": fingerprint, "digits": halves.concat()})
    });
    let digits = golden[0]["digits"].as_str().unwrap().to_owned();
    let of_others = golden[1]["digits"].clone();
    let next = if digits.ends_with('0') { "1" } else { "0" };
    json!({
        "about": "Safety numbers, docs/wallet-format.md, \"Safety number\". `fingerprint` is the half of `one`. What is typed in a \
                  rejection is not the first number.",
        "golden": golden,
        "rejections": [
            {"what": "another last digit", "typed": format!("{}{next}", &digits[..59])},
            {"what": "the halves swapped", "typed": format!("{}{}", &digits[30..], &digits[..30])},
            {"what": "59 digits", "typed": &digits[..59]},
            {"what": "the number of others", "typed": of_others},
        ],
    })
}

#[test]
fn safety_numbers_are_the_same_on_both_sides() {
    let file = committed("safety");
    let golden = list(&file, "golden");
    let number = |case: &Value, one: &str, other: &str| {
        let address = |name: &str| Address::from_bytes(array(&case[name])).unwrap();
        SafetyNumber::of(&crate::network(case), &address(one), &address(other))
    };
    for case in golden {
        assert_eq!(number(case, "one", "other").digits(), case["digits"]);
        assert_eq!(number(case, "other", "one").digits(), case["digits"]);
    }
    let first = number(&golden[0], "one", "other");
    assert!(first.matches(&first.to_string()));
    for case in list(&file, "rejections") {
        assert!(!first.matches(case["typed"].as_str().unwrap()), "{}", case["what"]);
    }
}
