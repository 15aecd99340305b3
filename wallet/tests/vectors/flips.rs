//! Every bit of every byte of small files flipped: 100 % refused, or read as what was written. Those of disclosures
//! are flipped in the crate.

use qasedak_chain::{Transaction, rules};
use qasedak_wallet::{Address, Card, ScanKeyFile, keystore, open::open};

use crate::{array, committed, exports, list, messages, network, octets};

/// Reads every changed copy of `good` with `read`, which says what it read, and counts those that are refused.
fn flip(what: &str, good: &[u8], read: impl Fn(&[u8]) -> Option<String>) -> (usize, usize) {
    let expected = read(good).unwrap();
    let (mut refused, mut tried) = (0, 0);
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut changed = good.to_vec();
            changed[at] ^= 1 << bit;
            tried += 1;
            match read(&changed) {
                None => refused += 1,
                Some(other) => {
                    assert_eq!(other, expected, "{what}: bit {bit} of byte {at} flipped shows something else")
                }
            }
        }
    }
    (refused, tried)
}

/// As [`flip`], where nothing but refusal will do.
fn all_refused(what: &str, good: &[u8], read: impl Fn(&[u8]) -> Option<String>) {
    let (refused, tried) = flip(what, good, read);
    assert_eq!(refused, tried, "{what}: changed copies that were read as the same");
}

#[test]
fn no_bit_of_a_card_can_change() {
    let file = committed("card");
    let case = &list(&file, "golden")[0];
    let (network, address) = (network(case), Address::from_bytes(array(&case["address"])).unwrap());
    all_refused("a card's transaction", &octets(&case["transaction"]), |bytes| {
        let transaction = Transaction::from_bytes(&network, bytes).ok()?;
        rules::verify(&network, transaction.clone()).ok()?;
        Card::open(&network, &address, &transaction).ok().map(|card| format!("{card:?}"))
    });
    all_refused("a card", &octets(&case["card"]), |bytes| {
        Card::from_bytes(&network, bytes).ok().map(|card| hex::encode(card.to_bytes()))
    });
}

#[test]
fn no_bit_of_a_message_can_change() {
    let file = committed("seal");
    let case = &list(&file, "golden")[0];
    let (network, keys, seal_keys) = (network(case), messages::keys(2), [messages::seal_key(2)]);
    all_refused("a sealed message", &octets(&case["transaction"]), |bytes| {
        let transaction = Transaction::from_bytes(&network, bytes).ok()?;
        rules::verify(&network, transaction.clone()).ok()?;
        let opened = open(&network, &keys, &seal_keys, &transaction).ok()?;
        Some(format!("{} {:?}", opened.inner_id, opened.message.content.as_bytes()))
    });
}

#[test]
fn no_bit_of_a_keystore_can_change() {
    let file = committed("keystore");
    let case = &list(&file, "golden")[0];
    let passphrase = case["passphrases"][0].as_str().unwrap();
    all_refused("a keystore", &octets(&case["file"]), |bytes| {
        keystore::unseal(bytes, passphrase).ok().map(|secrets| hex::encode(secrets.phrase().unwrap().entropy()))
    });
}

/// One bit of each byte: an import writes files.
#[test]
fn no_byte_of_an_export_can_change() {
    let file = committed("export");
    let case = &list(&file, "golden")[0];
    let (good, passphrase) = (octets(&case["file"]), case["passphrases"][0].as_str().unwrap());
    let home = tempfile::tempdir().unwrap();
    assert!(exports::import(home.path(), &network(case), &good, passphrase).is_ok());
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1 << (at % 8);
        let wrong = exports::import(home.path(), &network(case), &changed, passphrase);
        assert!(wrong.is_err(), "an export with byte {at} changed is imported");
    }
}

#[test]
fn no_bit_of_a_scan_key_file_can_change() {
    let file = committed("scan-key");
    let case = &list(&file, "golden")[0];
    all_refused("a scan key file", &octets(&case["file"]), |bytes| {
        ScanKeyFile::from_bytes(&network(case), bytes).ok().map(|file| hex::encode(file.to_bytes()))
    });
}

#[test]
fn no_bit_of_an_address_can_change() {
    let file = committed("address");
    for case in list(&file, "golden") {
        let text = case["address"].as_str().unwrap();
        all_refused("an address", text.as_bytes(), |bytes| {
            let address: Address = std::str::from_utf8(bytes).ok()?.parse().ok()?;
            Some(address.to_string())
        });
    }
}
