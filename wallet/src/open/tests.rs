//! Sealing and opening: there and back, and everything that a stranger, a relay or a recipient may try.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use qasedak_chain::{stamp::Stamp, transaction::Kind};

use super::*;
use crate::{
    envelope::{close, hint_for},
    inner::{Content, INNER_OVERHEAD_BYTES},
    seal::{BODY_OVERHEAD_BYTES, CONTENT_MAX_BYTES, SealError, SealedMessage, seal},
    testing::{Person, draft, every_flip, person, rng, text, with_idle_stamp},
};

fn dev() -> Network {
    Network::dev()
}

fn sealed(from: &Person, to: &Person, content: Content) -> SealedMessage {
    seal(&dev(), &from.keys, &to.card, Message::new(content, 1_800_000_000_123), &draft(), &mut rng(7)).unwrap()
}

fn opened(by: &Person, transaction: &Transaction) -> Result<Opened, OpenError> {
    open(&dev(), &by.keys, std::slice::from_ref(&by.seal_key), transaction)
}

#[test]
fn round_trip() {
    let (ann, bob) = (person(1), person(2));
    let message = sealed(&ann, &bob, text("سلام، قاصدک"));
    let transaction = with_idle_stamp(message.unstamped);
    let read = opened(&bob, &transaction).unwrap();
    assert_eq!(read.message.content.text(), Some("سلام، قاصدک"));
    assert_eq!((read.sender, read.message.time_ms), (ann.card.address(), 1_800_000_000_123));
    assert_eq!((read.tx_id, read.inner_id), (transaction.id(), message.record.inner_id));
    assert_eq!((read.seal_key, message.record.recipient), (bob.card.sequence(), bob.card.address()));
    assert_eq!(transaction.core().body_len(), 2048);
}

#[test]
fn only_the_recipient_finds_it() {
    let (ann, bob, eve) = (person(1), person(2), person(3));
    let transaction = with_idle_stamp(sealed(&ann, &bob, text("hi")).unstamped);
    assert_eq!(opened(&eve, &transaction), Err(OpenError::NotForUs));
    assert_eq!(opened(&ann, &transaction), Err(OpenError::NotForUs));
    let main = Network::main();
    assert_eq!(open(&main, &bob.keys, std::slice::from_ref(&bob.seal_key), &transaction), Err(OpenError::NotForUs));
}

#[test]
fn the_same_randomness_gives_the_same_transaction() {
    let (ann, bob) = (person(1), person(2));
    let (one, two) = (sealed(&ann, &bob, text("hi")), sealed(&ann, &bob, text("hi")));
    assert_eq!((&one.unstamped, &one.record), (&two.unstamped, &two.record));
    let other =
        seal(&dev(), &ann.keys, &bob.card, Message::new(text("hi"), 1_800_000_000_123), &draft(), &mut rng(8)).unwrap();
    assert_ne!(one.unstamped.signed().core().author(), other.unstamped.signed().core().author());
    assert_ne!(one.record.inner_id, other.record.inner_id);
}

#[test]
fn a_copy_stamped_again_is_another_transaction_and_the_same_message() {
    let bob = person(2);
    let message = sealed(&person(1), &bob, text("hi")).unstamped;
    let one = message.clone().stamped(&dev(), Stamp::new(1, [0; 16])).unwrap();
    let two = message.stamped(&dev(), Stamp::new(2, [0; 16])).unwrap();
    assert_ne!(one.id(), two.id());
    assert_eq!(opened(&bob, &one).unwrap().inner_id, opened(&bob, &two).unwrap().inner_id);
}

#[test]
fn every_changed_byte_is_noticed() {
    let bob = person(2);
    let transaction = with_idle_stamp(sealed(&person(1), &bob, text("hi")).unstamped);
    let mut tried = 0;
    for changed in every_flip(&transaction) {
        assert!(opened(&bob, &changed).is_err());
        tried += 1;
    }
    assert!(tried > 2048, "{tried}");
}

#[test]
fn bodies_that_are_not_here_or_too_short() {
    let bob = person(2);
    let transaction = with_idle_stamp(sealed(&person(1), &bob, text("hi")).unstamped);
    let gone = Transaction::new(&dev(), transaction.header().clone(), None).unwrap();
    assert_eq!(opened(&bob, &gone), Err(OpenError::NoBody));
    let author = SigningKey::from_bytes(&[5; 32]);
    let hint = hint_for(dev().ledger(), &author, bob.card.scan()).unwrap();
    for len in [512, 1024] {
        let short =
            close(&dev(), &draft(), (Kind::Sealed, hint), &author, len, |_| Ok::<_, SealError>(vec![7; len as usize]));
        assert_eq!(opened(&bob, &with_idle_stamp(short.unwrap())), Err(OpenError::BodyTooShort));
    }
    let card = bob.card.publish(&dev(), &draft(), &mut rng(1)).unwrap();
    assert_eq!(opened(&bob, &with_idle_stamp(card)), Err(OpenError::NotSealed));
}

#[test]
fn any_live_seal_key_opens_and_a_destroyed_one_does_not() {
    let bob = person(2);
    let transaction = with_idle_stamp(sealed(&person(1), &bob, text("hi")).unstamped);
    let newer: Vec<SealKey> = (1..=5).map(|n| SealKey::from_bytes(SealKeyId::new(n), &[n as u8 + 100; 32])).collect();
    let mut keys = vec![bob.seal_key.clone()];
    keys.extend(newer.iter().cloned());
    assert!(open(&dev(), &bob.keys, &keys, &transaction).is_ok());
    assert_eq!(open(&dev(), &bob.keys, &newer, &transaction), Err(OpenError::Commitment));
    assert_eq!(open(&dev(), &bob.keys, &[], &transaction), Err(OpenError::Commitment));
}

/// [`testing::crafted`](crate::testing::crafted) as a transaction.
fn crafted(
    to: &Person,
    make: impl FnOnce(&[u8; 32], &[u8; KEM_CIPHERTEXT_BYTES]) -> Vec<u8>,
    spoil_commitment: bool,
) -> Transaction {
    with_idle_stamp(crate::testing::crafted(to, make, spoil_commitment))
}

fn honest(from: &Person, to: &Person, author: &[u8; 32], ciphertext: &[u8; KEM_CIPHERTEXT_BYTES]) -> Vec<u8> {
    let inner = Inner {
        sender: *from.card.address().as_bytes(),
        seal_key: to.card.sequence(),
        message: Message::new(Content::Text("hi".into()), 5),
    };
    signed(from, to, &inner, author, ciphertext)
}

fn signed(
    from: &Person,
    to: &Person,
    inner: &Inner,
    author: &[u8; 32],
    ciphertext: &[u8; KEM_CIPHERTEXT_BYTES],
) -> Vec<u8> {
    let recipient = to.card.address();
    let id = inner.id(&Binding { network: &dev(), author, recipient: &recipient, seal: to.card.seal(), ciphertext });
    [inner.signed_bytes().as_slice(), &from.keys.sign(id.as_bytes())].concat()
}

#[test]
fn a_recipient_cannot_reseal_to_another() {
    let (ann, bob, carol) = (person(1), person(2), person(3));
    let from_ann = with_idle_stamp(sealed(&ann, &bob, text("only for you")).unstamped);
    assert!(opened(&bob, &from_ann).is_ok());
    // Bob decrypts and hands Ann's signed plaintext on, sealed to Carol's card.
    let parts = Parts::of(&from_ann).unwrap();
    let shared = bob.seal_key.decapsulate(parts.ciphertext).unwrap();
    let keys = parts.keys(&dev(), from_ann.core(), &shared).unwrap();
    let aad = from_ann.core().to_bytes_without_body_hash();
    let plaintext = aead::open(&keys.key, &keys.nonce, &aad, parts.sealed).unwrap();
    let to_carol = crafted(&carol, |_, _| plaintext.to_vec(), false);
    assert_eq!(opened(&carol, &to_carol), Err(OpenError::Signature));
    // Nor to himself again as a new message.
    let again = crafted(&bob, |_, _| plaintext.to_vec(), false);
    assert_eq!(opened(&bob, &again), Err(OpenError::Signature));
}

#[test]
fn crafted_plaintexts_have_their_errors() {
    let (ann, bob, carol) = (person(1), person(2), person(3));
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let transaction = crafted(
            &bob,
            |author, ciphertext| {
                let mut plaintext = honest(&ann, &bob, author, ciphertext);
                change(&mut plaintext);
                plaintext
            },
            false,
        );
        opened(&bob, &transaction)
    };
    assert_eq!(with(&|_| ()).unwrap().message.content, text("hi"));
    assert_eq!(with(&|p| p[0] = 2), Err(OpenError::Version));
    assert_eq!(with(&|p| p[1..33].copy_from_slice(carol.card.address().as_bytes())), Err(OpenError::Signature));
    assert_eq!(with(&|p| p[1..33].fill(0)), Err(OpenError::Signature));
    assert_eq!(with(&|p| p[33] ^= 1), Err(OpenError::OtherSealKey));
    assert_eq!(with(&|p| p[42] ^= 1), Err(OpenError::Signature));
    assert_eq!(with(&|p| p[50] ^= 1), Err(OpenError::Signature));
    // A text of two bytes is no receipt.
    assert_eq!(with(&|p| p[41] = 1), Err(OpenError::Layout));
    assert_eq!(with(&|p| p[82..86].fill(0xff)), Err(OpenError::Layout));
    assert_eq!(with(&|p| p[86] = 0xff), Err(OpenError::Text));
    assert_eq!(with(&|p| p[86] = b'H'), Err(OpenError::Signature));
    assert_eq!(with(&|p| p.extend_from_slice(b"hidden")), Err(OpenError::Layout));
    let honest_plaintext = |author: &_, ciphertext: &_| honest(&ann, &bob, author, ciphertext);
    assert_eq!(opened(&bob, &crafted(&bob, honest_plaintext, true)), Err(OpenError::Commitment));
}

#[test]
fn unknown_types_are_kept() {
    let (ann, bob) = (person(1), person(2));
    let content = Content::Unsupported { kind: 200, bytes: vec![0xff, 0] };
    let message = sealed(&ann, &bob, content.clone());
    assert_eq!(opened(&bob, &with_idle_stamp(message.unstamped)).unwrap().message.content, content);
}

#[test]
fn the_sent_record_is_enough_to_disclose() {
    let (ann, bob) = (person(1), person(2));
    let message = sealed(&ann, &bob, text("hi"));
    let kem = message.record.seal.encapsulate(&message.record.encapsulation_seed).unwrap();
    let body = message.unstamped.body();
    assert_eq!(&body[..KEM_CIPHERTEXT_BYTES], kem.ciphertext.as_slice());
    let author = message.unstamped.signed().core().author();
    let keys = body_keys(&dev(), author, &kem.ciphertext, &kem.shared).unwrap();
    assert_eq!(&body[KEM_CIPHERTEXT_BYTES..KEM_CIPHERTEXT_BYTES + COMMITMENT_BYTES], &keys.commitment);
}

#[test]
fn the_limit_is_exact_and_named() {
    let (ann, bob) = (person(1), person(2));
    let longest = sealed(&ann, &bob, text(&"x".repeat(CONTENT_MAX_BYTES)));
    assert_eq!(longest.unstamped.body().len(), 65_536);
    assert!(opened(&bob, &with_idle_stamp(longest.unstamped)).is_ok());
    let long = text(&"x".repeat(CONTENT_MAX_BYTES + 1));
    let error = seal(&dev(), &ann.keys, &bob.card, Message::new(long, 0), &draft(), &mut rng(1)).unwrap_err();
    assert_eq!(error, SealError::TooLong { bytes: CONTENT_MAX_BYTES + 1 });
    assert!(error.to_string().contains("64218"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Any text arrives, in the smallest body that holds it.
    #[test]
    fn any_text_arrives_in_the_smallest_body(unit in "\\PC", count in 1usize..20_000) {
        let written = unit.repeat(count.min(CONTENT_MAX_BYTES / unit.len()));
        let (ann, bob) = (person(1), person(2));
        let transaction = with_idle_stamp(sealed(&ann, &bob, text(&written)).unstamped);
        let len = transaction.core().body_len() as usize;
        let needed = written.len() + BODY_OVERHEAD_BYTES + INNER_OVERHEAD_BYTES;
        prop_assert!(needed <= len && (len == 2048 || needed > len / 2));
        let read = opened(&bob, &transaction).unwrap();
        prop_assert_eq!(read.message.content.text(), Some(written.as_str()));
    }
}
