//! The scan key file: exact bytes, what finds with it, and that nothing opens or signs with it.

use curve25519_dalek::{EdwardsPoint, Scalar};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use qasedak_chain::{Transaction, store::ScanEntry};

use super::*;
use crate::{
    keys::{Account, Keys, SealKey, SealKeyId},
    open::{Parts, open},
    phrase::Phrase,
    seal::seal,
    testing::{Person, body_hash_range, draft, message, person, rebuilt, rng, with_idle_stamp},
    x25519,
};

fn file_of(person: &Person) -> ScanKeyFile {
    ScanKeyFile::new(&Network::dev(), person.keys.scan(), &mut rng(3))
}

/// The entry of the scan column that a ledger makes of a transaction.
fn entry(transaction: &Transaction) -> ScanEntry {
    let core = transaction.core();
    let author = ed25519_dalek::VerifyingKey::from_bytes(core.author());
    ScanEntry {
        kind: core.kind(),
        hint: *core.hint(),
        author_u: author.map(|key| key.to_montgomery().to_bytes()).unwrap_or_default(),
        has_body: true,
    }
}

fn to(whom: &Person, seed: u64) -> Transaction {
    let sealed = seal(&Network::dev(), &person(9).keys, &whom.card, message("psst"), &draft(), &mut rng(seed));
    with_idle_stamp(sealed.unwrap().unstamped)
}

fn card(of: &Person, seed: u64) -> Transaction {
    with_idle_stamp(of.card.publish(&Network::dev(), &draft(), &mut rng(seed)).unwrap())
}

/// All runs of 32 bytes in a file: every key that could stand in it.
fn windows(bytes: &[u8]) -> impl Iterator<Item = [u8; 32]> + '_ {
    bytes.windows(32).map(|window| window.try_into().unwrap())
}

#[test]
fn the_bytes_are_as_written_down() {
    let file = file_of(&person(1));
    let bytes = file.to_bytes();
    assert_eq!((bytes.len(), FILE_BYTES), (121, 121));
    assert_eq!(&bytes[..9], b"qsd-scan\x01");
    assert_eq!(&bytes[9..41], Network::dev().ledger().as_bytes());
    assert_eq!(&x25519::Secret::from_bytes(bytes[41..73].try_into().unwrap()).public(), person(1).keys.scan().public());
    assert_eq!(hex::encode(&bytes[73..105]), *file.token_text());
    assert_eq!(bytes[105..], hash_prefix::<16>(Context::ScanKeyFile, &[&bytes[..105]]));
    let again = ScanKeyFile::from_bytes(&Network::dev(), &bytes).unwrap();
    assert_eq!(again.to_bytes(), bytes);
    assert!(again.is_of(person(1).keys.scan()) && !again.is_of(person(2).keys.scan()));
}

#[test]
fn each_cause_has_its_error() {
    let dev = Network::dev();
    let good = file_of(&person(1)).to_bytes();
    let read = |bytes: &[u8]| ScanKeyFile::from_bytes(&dev, bytes).map(drop);
    assert_eq!(read(&good[..120]), Err(ScanKeyError::Form));
    assert_eq!(read(&[&good[..], &[0]].concat()), Err(ScanKeyError::Form));
    assert_eq!(read(b""), Err(ScanKeyError::Form));
    assert_eq!(read(&[b"qsd-scan\x02", &good[9..40]].concat()), Err(ScanKeyError::Newer));
    assert_eq!(ScanKeyFile::from_bytes(&Network::main(), &good).map(drop), Err(ScanKeyError::OtherNetwork));
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut changed = good.to_vec();
            changed[at] ^= 1 << bit;
            let error = read(&changed).unwrap_err();
            assert!(at < 9 || error == ScanKeyError::Damaged, "bit {bit} of byte {at}: {error:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Over any mixture (for it, for another, for a further identity of the same words, cards, hints and authors that were
    /// changed) the finder finds what the owner's own scan finds; whatever opens is among it.
    #[test]
    fn the_finder_finds_exactly_what_the_wallet_finds(what in prop::collection::vec((0u8..6, any::<u64>()), 0..24)) {
        let (dev, owner, other) = (Network::dev(), person(1), person(2));
        let file = ScanKeyFile::from_bytes(&dev, &file_of(&owner).to_bytes()).unwrap();
        let (finder, own) = (file.scanner(&dev), Scanner::new(&dev, owner.keys.scan()));
        for (kind, seed) in what {
            let transaction = match kind {
                0 => to(&owner, seed),
                1 => to(&other, seed),
                2 => card(&owner, seed),
                // Somebody put a wrong body under a right hint: found, and opened by nobody.
                3 => rebuilt(&to(&owner, seed), |_, body| body[1_500] ^= 1).unwrap(),
                // A changed hint: its last byte stands before the body hash.
                4 => rebuilt(&to(&owner, seed), |header, _| header[body_hash_range(2).start - 1] ^= 1).unwrap(),
                _ => to(&other, seed),
            };
            let entry = entry(&transaction);
            let found = finder.is_match(&entry);
            prop_assert_eq!(found, own.is_match(&entry));
            prop_assert_eq!(found, kind == 0 || kind == 3, "kind {}", kind);
            let opens = open(&dev, &owner.keys, std::slice::from_ref(&owner.seal_key), &transaction).is_ok();
            prop_assert_eq!(opens, kind == 0);
        }
    }
}

/// Every run of 32 bytes of the file as a seal key, as a KEM secret, and in a Diffie-Hellman with both keys that a sender
/// puts in the open: no envelope opens.
#[test]
fn no_envelope_opens_with_anything_in_the_file() {
    let (dev, owner) = (Network::dev(), person(1));
    let bytes = file_of(&owner).to_bytes();
    for seed in 0..4 {
        let transaction = to(&owner, seed);
        let core = transaction.core();
        let parts = Parts::of(&transaction).unwrap();
        assert!(file_of(&owner).scanner(&dev).is_match(&entry(&transaction)), "it is found all the same");
        let opens = |shared: &[u8; 32]| parts.keys(&dev, core, shared).is_some();
        assert!(opens(&owner.seal_key.decapsulate(parts.ciphertext).unwrap()), "the owner's seal key does open it");
        let ephemeral: [u8; 32] = *parts.ciphertext.last_chunk::<32>().unwrap();
        for key in windows(&bytes) {
            let secret = x25519::Secret::from_bytes(key);
            let mut tried = vec![key, SigningKey::from_bytes(&key).to_scalar_bytes()];
            tried.extend([ephemeral, entry(&transaction).author_u].iter().map(|u| *secret.diffie_hellman(u).unwrap()));
            tried.extend(
                SealKey::from_bytes(SealKeyId::new(1), &key).decapsulate(parts.ciphertext).map(|shared| *shared),
            );
            assert!(tried.iter().all(|shared| !opens(shared)));
        }
    }
}

/// Nothing in the file is, or leads by the ways in which keys are made here, to a key that signs as the owner.
#[test]
fn nothing_in_the_file_signs_as_the_owner() {
    let owner = person(1);
    let address = *owner.keys.address().as_bytes();
    let bytes = file_of(&owner).to_bytes();
    for key in windows(&bytes) {
        assert_ne!(SigningKey::from_bytes(&key).verifying_key().to_bytes(), address);
        assert_ne!(EdwardsPoint::mul_base_clamped(key).compress().to_bytes(), address);
        assert_ne!(EdwardsPoint::mul_base(&Scalar::from_bytes_mod_order(key)).compress().to_bytes(), address);
        // Nor as the entropy or as the identity of another account.
        let words = Phrase::from_entropy(&key).unwrap();
        assert!((0..2).all(|account| Keys::derive(&words, Account::new(account)).address() != owner.keys.address()));
    }
}

/// No other secret of the owner, and no name, stands in the file.
#[test]
fn no_other_secret_stands_in_the_file() {
    let owner = person(1);
    let bytes = file_of(&owner).to_bytes();
    let phrase = Phrase::from_entropy(&[1; 32]).unwrap();
    let seed = phrase.seed();
    let secret = |purpose: &[u8]| hash(Context::WalletKey, &[seed.as_slice(), purpose, &0u32.to_le_bytes()]).to_vec();
    let others = [
        secret(b"identity"),
        phrase.entropy().to_vec(),
        seed[..32].to_vec(),
        seed[32..].to_vec(),
        owner.seal_key.secret().to_vec(),
        owner.keys.address().as_bytes().to_vec(),
        owner.keys.scan().public().to_vec(),
    ];
    for other in others {
        // Half of one would be too much already.
        assert!(
            other.windows(16).all(|part| !bytes.windows(16).any(|window| window == part)),
            "{}",
            hex::encode(other)
        );
    }
    assert!(bytes.windows(32).any(|window| window == secret(b"scan")), "the search finds what does stand in it");
}

#[test]
fn only_the_token_is_admitted() {
    let file = file_of(&person(1));
    let token = hex::decode(file.token_text().as_str()).unwrap();
    assert!(file.admits(&token));
    assert!(!file.admits(&[]) && !file.admits(&token[..31]) && !file.admits(&[0; 32]));
    let other = ScanKeyFile::new(&Network::dev(), person(1).keys.scan(), &mut rng(4));
    assert!(!other.admits(&token), "each file has a token of its own");
    assert_ne!((file.list_name(), file.cursor_name()), (other.list_name(), other.cursor_name()));
    assert_ne!(file.list_name(), file.cursor_name());
}

#[test]
fn rows_open_under_their_name_and_key_only() {
    let file = file_of(&person(1));
    let row = FoundRow { id: TxId::from_bytes([5; 32]), until: 77 };
    let sealed = file.list_key().seal(b"1", &row.to_bytes(), &mut rng(1)).unwrap();
    let open = |key: &ListKey, name: &[u8]| key.open(name, &sealed).and_then(|row| FoundRow::from_bytes(&row));
    assert_eq!(open(&file.list_key(), b"1"), Some(row));
    assert_eq!(open(&file.list_key(), b"2"), None);
    assert_eq!(open(&file_of(&person(2)).list_key(), b"1"), None);
    assert!(!sealed.windows(16).any(|window| window == [5; 16]));
    assert_eq!(FoundRow::from_bytes(&[0; 39]), None);
    assert_eq!(FoundRow::from_bytes(&[0; 41]), None);
}

#[test]
fn debug_shows_no_secret() {
    let file = file_of(&person(1));
    assert_eq!(format!("{file:?} {:?}", file.list_key()), "ScanKeyFile(…) ListKey(…)");
}
