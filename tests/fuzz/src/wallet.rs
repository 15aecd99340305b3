//! What a wallet reads from strangers: cards, messages, disclosures; its own keystore; and what a person types.
//!
//! Behind encryption a stranger who knows the keys puts what they like: those targets encrypt the fuzzed bytes first.

use std::sync::OnceLock;

use argon2::{Algorithm, Argon2, Params, Version};
use qasedak_chain::{
    Network, Transaction,
    hash::{Context, hash_prefix},
    stamp::Stamp,
    transaction::{Core, CoreFields, Kind, body_hash},
};
use qasedak_wallet::{
    Address, Card, ContactName, Keys, Phrase, ScanKeyFile, SealKey, SealKeyId, disclose,
    display::{safe_line, safe_text},
    finding::{FoundRow, ListKey},
    keys::Account,
    keystore as keystore_file,
    open::open,
    safety::SafetyNumber,
};

// The second writer of the wallet's formats, from the wallet's own tests. A part of it is used here.
#[allow(dead_code)]
#[path = "../../../wallet/tests/vectors/craft.rs"]
pub(crate) mod craft;

use craft::{CIPHERTEXT, CardDraft, MessageDraft, Person, aead, now};

/// Bytes of body that are not the inner plaintext: ciphertext, commitment, AEAD tag.
const OVERHEAD: usize = CIPHERTEXT + 48;
/// Passphrase of every keystore here.
const PASSPHRASE: &str = "correct horse";

/// An address as text: what is accepted prints as the same address.
pub fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(address) = text.parse::<Address>() {
        assert!(address.to_string().eq_ignore_ascii_case(text.trim()));
    }
}

/// The 24 words: what is accepted gives the same words again.
pub fn words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(phrase) = Phrase::parse(text) {
        assert_eq!(Phrase::parse(&phrase.words()).unwrap().entropy(), phrase.entropy());
    }
}

/// A name for a contact: what is accepted is shown as it is.
pub fn contact_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = ContactName::parse(text) {
        assert_eq!(ContactName::parse(name.as_str()).as_ref(), Ok(&name));
        assert_eq!(safe_line(name.as_str()), name.as_str());
    }
}

/// Text from a stranger: made safe, it is safe already, and holds nothing that moves what stands around it.
pub fn display(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let safe = safe_text(&text);
    assert_eq!(safe_text(&safe), safe);
    assert!(!safe.chars().any(|c| (c.is_control() && !"\n\t".contains(c)) || ('\u{202a}'..='\u{202e}').contains(&c)));
    assert!(!safe_line(&text).contains('\n'));
}

/// The plain bytes of a card.
pub fn card(data: &[u8]) {
    if let Ok(card) = Card::from_bytes(&Network::dev(), data) {
        assert_eq!(card.to_bytes(), data);
    }
}

/// A transaction around a body, with a stamp and a signature that the wallet does not look at.
fn around(
    kind: Kind,
    hint: [u8; 16],
    author: &ed25519_dalek::SigningKey,
    body: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Option<Transaction> {
    let network = Network::dev();
    let core = |body_len, body_hash| {
        Core::new(CoreFields {
            parents: craft::parents(),
            time: now(),
            lifetime_secs: 2_592_000,
            kind,
            hint,
            body_hash,
            body_len,
            author: author.verifying_key().to_bytes(),
        })
        .ok()
    };
    let body = body(&core(2_048, [0; 32])?.to_bytes_without_body_hash());
    let signed = core(body.len() as u32, body_hash(&network, &body))?.sign(&network, author).ok()?;
    Transaction::new(&network, signed.stamped(Stamp::new(0, [0; 16])), Some(body)).ok()
}

fn resized(data: &[u8], len: usize) -> Vec<u8> {
    let mut bytes = data.to_vec();
    bytes.resize(len, 0);
    bytes
}

/// What stands in a card's body, by someone who knows the address: encrypted under the right tag.
pub fn card_body(data: &[u8]) {
    static DRAFT: OnceLock<CardDraft> = OnceLock::new();
    let draft = DRAFT.get_or_init(|| CardDraft::new(Network::dev(), &Person::new(1)));
    let plain = resized(data, 2_008);
    let sealed = |aad: &[u8]| [&draft.nonce[..], &aead(&draft.key(), &draft.nonce, aad, &plain)].concat();
    let transaction = around(Kind::Tagged, draft.tag(), &draft.envelope.author, sealed).unwrap();
    let address = Address::from_bytes(draft.address).unwrap();
    if let Ok(card) = Card::open(&Network::dev(), &address, &transaction) {
        assert_eq!(card.to_bytes(), plain[..1_353]);
        assert_eq!(card.address(), address);
    }
}

/// The recipient of all messages here, and a message to them.
fn recipient() -> &'static (Keys, [SealKey; 1], MessageDraft) {
    static RECIPIENT: OnceLock<(Keys, [SealKey; 1], MessageDraft)> = OnceLock::new();
    RECIPIENT.get_or_init(|| {
        let keys = Keys::derive(&Phrase::from_entropy(&[2; 32]).unwrap(), Account::new(0));
        let seal_key = SealKey::from_bytes(SealKeyId::new(now().secs()), &[2; 32]);
        (keys, [seal_key], MessageDraft::new(Network::dev(), &Person::new(1), &Person::new(2), "hello"))
    })
}

/// A sealed body of any bytes under the right hint.
pub fn sealed_body(data: &[u8]) {
    let (keys, seal_keys, draft) = recipient();
    let Some(len) = [512, 1_024, 2_048, 4_096].into_iter().find(|len| *len >= data.len()) else { return };
    let transaction = around(Kind::Sealed, draft.hint(), &draft.envelope.author, |_| resized(data, len)).unwrap();
    let _ = open(&Network::dev(), keys, seal_keys, &transaction);
}

/// Any inner plaintext, by someone who has the recipient's card: sealed as it should be.
pub fn inner(data: &[u8]) {
    type Sealing = (Vec<u8>, [u8; 32], [u8; 24], [u8; 32]);
    static SEALING: OnceLock<Sealing> = OnceLock::new();
    let (keys, seal_keys, draft) = recipient();
    let (ciphertext, key, nonce, commitment) = SEALING.get_or_init(|| {
        let (key, nonce, commitment) = draft.body_keys();
        (draft.encapsulated().0, key, nonce, commitment)
    });
    let plain = resized(data, 2_048 - OVERHEAD);
    let sealed = |aad: &[u8]| [&ciphertext[..], commitment, &aead(key, nonce, aad, &plain)].concat();
    let transaction = around(Kind::Sealed, draft.hint(), &draft.envelope.author, sealed).unwrap();
    if let Ok(opened) = open(&Network::dev(), keys, seal_keys, &transaction) {
        let content = opened.message.content.as_bytes();
        assert!(plain.windows(content.len().max(1)).any(|part| part == content) || content.is_empty());
        assert_eq!(opened.sender.as_bytes()[..], plain[1..33]);
    }
}

/// A keystore file. Costs beyond 64 KiB and one pass are left out: they are bounded, and slow.
pub fn keystore(data: &[u8]) {
    let number = |at: usize| data.get(at..at + 4).map_or(0, |four| u32::from_le_bytes(four.try_into().unwrap()));
    if number(9) <= 64 && number(13) <= 1 {
        let _ = keystore_file::unseal(data, PASSPHRASE);
    }
}

/// A scan key file, as it is and with a check that fits: what is accepted has this one form.
pub fn scan_key_file(data: &[u8]) {
    let read = |bytes: &[u8]| {
        if let Ok(file) = ScanKeyFile::from_bytes(&Network::dev(), bytes) {
            assert_eq!(*file.to_bytes(), bytes);
            assert!(file.admits(&bytes[73..105]));
        }
    };
    read(data);
    if let Some((checked, _)) = data.split_at_checked(105) {
        let check: [u8; 16] = hash_prefix(Context::ScanKeyFile, &[checked]);
        read(&[checked, &check].concat());
    }
}

/// What stands in a keystore, by someone who knows the passphrase.
pub fn keystore_payload(data: &[u8]) {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    let (salt, nonce) = ([1; 16], [2; 24]);
    let key = KEY.get_or_init(|| {
        let mut key = [0; 32];
        let params = Params::new(8, 1, 1, Some(32)).unwrap();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(PASSPHRASE.as_bytes(), &salt, &mut key)
            .unwrap();
        key
    });
    let cost = [8u32, 1, 1].map(u32::to_le_bytes).concat();
    let head = [&b"qsd-keys"[..], &[1], &cost, &salt, &nonce].concat();
    let file = [&head[..], &aead(key, &nonce, &head, data)].concat();
    if let Ok(secrets) = keystore_file::unseal(&file, PASSPHRASE) {
        assert_eq!(secrets.ledger()[..], data[33..65]);
        assert_eq!(secrets.phrase().unwrap().entropy()[..], data[1..33]);
    }
}

/// A disclosure file: what is good has one form.
pub fn disclosure(data: &[u8]) {
    if let Ok(disclosure) = disclose::Disclosure::from_bytes(data) {
        assert_eq!(disclosure.to_bytes().as_slice(), data);
        let _ = disclosure.check();
    }
}

/// A row of what was found, by someone who has the scan key file: encrypted under its list key. What is accepted has this one
/// form.
pub fn found_row(data: &[u8]) {
    static KEY: OnceLock<ListKey> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let checked = [&b"qsd-scan\x01"[..], Network::dev().ledger().as_bytes(), &[1; 32], &[2; 32]].concat();
        let check: [u8; 16] = hash_prefix(Context::ScanKeyFile, &[&checked]);
        ScanKeyFile::from_bytes(&Network::dev(), &[checked, check.to_vec()].concat()).unwrap().list_key()
    });
    let sealed = key.seal(b"name", data, &mut rng()).unwrap();
    let row = key.open(b"name", &sealed).unwrap();
    if let Some(row) = FoundRow::from_bytes(&row) {
        assert_eq!(row.to_bytes(), data);
    }
    // As it stands on a disk that somebody wrote to.
    assert!(key.open(b"name", data).is_none());
}

/// What somebody typed for a safety number: it matches only if its digits are that number.
pub fn safety_number(data: &[u8]) {
    static NUMBER: OnceLock<SafetyNumber> = OnceLock::new();
    let address = |number: u8| Address::from_bytes(Person::new(number).address()).unwrap();
    let number = NUMBER.get_or_init(|| SafetyNumber::of(&Network::dev(), &address(1), &address(2)));
    let Ok(typed) = std::str::from_utf8(data) else { return };
    let value = |c: char| match u32::from(c) {
        c @ 0x30..=0x39 => c - 0x30,
        c @ 0x660..=0x669 => c - 0x660,
        c @ 0x6f0..=0x6f9 => c - 0x6f0,
        _ => 99,
    };
    let digits: Vec<u32> = typed.chars().filter(|c| !c.is_whitespace()).map(value).collect();
    let own: Vec<u32> = number.digits().chars().map(value).collect();
    assert_eq!(number.matches(typed), digits == own);
}

/// Bytes for nonces, which protect nothing here.
pub(crate) fn rng() -> craft::Tape {
    craft::Tape::new(&[&[5; 64]])
}
