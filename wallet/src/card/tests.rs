//! Cards: there and back, forged, moved, rolled back.

use qasedak_chain::{stamp::Stamp, transaction::body_hash};

use super::*;
use crate::testing::{NOW, draft, every_flip, person, rng, with_idle_stamp};

fn published(card: &Card, at: Time) -> Transaction {
    let draft = Draft { time: at.rounded_down(), ..draft() };
    with_idle_stamp(card.publish(&Network::dev(), &draft, &mut rng(1)).unwrap())
}

fn with_sequence(number: u8, sequence: u64) -> Card {
    let person = person(number);
    Card::sign(&Network::dev(), &person.keys, &SealKey::from_bytes(SealKeyId::new(sequence), &[9; 32]))
}

#[test]
fn round_trip() {
    let network = Network::dev();
    let card = person(1).card;
    let transaction = published(&card, NOW);
    let core = transaction.core();
    assert_eq!((core.body_len(), core.lifetime_secs()), (2048, 30 * 86_400));
    assert_eq!(core.hint(), &tags(&network, &card.address(), NOW)[0]);
    assert_eq!(Card::open(&network, &card.address(), &transaction), Ok(card.clone()));
    assert_eq!(Card::from_bytes(&network, &card.to_bytes()), Ok(card.clone()));
    assert_eq!(card.to_bytes().len(), CARD_BYTES);
    assert_eq!(card.scan(), person(1).keys.scan().public());
}

#[test]
fn two_cards_of_one_person_share_no_bytes_that_show() {
    let card = person(1).card;
    let network = Network::dev();
    let one = card.publish(&network, &draft(), &mut rng(1)).unwrap();
    let two = card.publish(&network, &draft(), &mut rng(2)).unwrap();
    assert_ne!(one.signed().core().author(), two.signed().core().author());
    assert!(one.body().windows(16).all(|part| !two.body().windows(16).any(|other| part == other)));
}

#[test]
fn tags_cover_the_last_six_weeks() {
    let (network, address) = (Network::dev(), person(1).card.address());
    let found = tags(&network, &address, NOW);
    assert_eq!(found.len(), 6);
    for (back, found) in found.iter().enumerate() {
        assert_eq!(*found, tag(&network, &address, NOW.week() - back as u64));
    }
    assert!(found.iter().all(|tag| !tags(&network, &person(2).card.address(), NOW).contains(tag)));
    assert!(found.iter().all(|tag| !tags(&Network::main(), &address, NOW).contains(tag)));
}

#[test]
fn each_refusal_has_its_error() {
    let network = Network::dev();
    let (ann, bob) = (person(1), person(2));
    let address = ann.card.address();
    let transaction = published(&ann.card, NOW);
    let open = |transaction: &Transaction| Card::open(&network, &address, transaction);
    assert_eq!(Card::open(&network, &bob.card.address(), &transaction), Err(CardError::OtherTag));
    assert_eq!(Card::open(&Network::main(), &address, &transaction), Err(CardError::OtherTag));
    let gone = Transaction::new(&network, transaction.header().clone(), None).unwrap();
    assert_eq!(open(&gone), Err(CardError::NoBody));
    let sealed =
        crate::seal::seal(&network, &bob.keys, &ann.card, crate::testing::message("hi"), &draft(), &mut rng(3))
            .unwrap();
    assert_eq!(open(&with_idle_stamp(sealed.unstamped)), Err(CardError::NotTagged));
    // Someone who knows the address publishes their own card under its tag.
    let forged = Card { address, ..bob.card.clone() };
    assert_eq!(open(&published(&forged, NOW)), Err(CardError::Signature));
    let bytes = bob.card.to_bytes();
    let mut small_order = bytes.clone();
    small_order[33..65].fill(0);
    assert_eq!(Card::from_bytes(&network, &small_order), Err(CardError::Keys));
    let mut newer = bytes.clone();
    newer[0] = 2;
    assert_eq!(Card::from_bytes(&network, &newer), Err(CardError::Layout));
    assert_eq!(Card::from_bytes(&network, &bytes[1..]), Err(CardError::Layout));
    assert_eq!(Card::from_bytes(&Network::main(), &bytes), Err(CardError::Signature));
}

/// A body under the address' tag and key that the address' owner did not make.
fn crafted(plaintext: &[u8]) -> Transaction {
    let network = Network::dev();
    let address = person(1).card.address();
    let week = draft().time.week();
    let author = SigningKey::from_bytes(&[5; 32]);
    let found_by = (Kind::Tagged, tag(&network, &address, week));
    let unstamped = close(&network, &draft(), found_by, &author, BODY_BYTES, |aad| {
        let sealed = aead::seal(&key(&network, &address, week), &[3; 24], aad, plaintext).unwrap();
        Ok::<_, RuleError>([[3; 24].as_slice(), &sealed].concat())
    });
    with_idle_stamp(unstamped.unwrap())
}

#[test]
fn bodies_by_others_are_refused() {
    let network = Network::dev();
    let ann = person(1).card;
    let room = BODY_BYTES as usize - NONCE_BYTES - TAG_BYTES;
    let padded = |card: &Card| {
        let mut bytes = card.to_bytes();
        bytes.resize(room, 0);
        bytes
    };
    let open = |plaintext: &[u8]| Card::open(&network, &ann.address(), &crafted(plaintext));
    assert_eq!(open(&padded(&ann)), Ok(ann.clone()));
    assert_eq!(open(&padded(&person(2).card)), Err(CardError::OtherAddress));
    let mut hidden = padded(&ann);
    hidden[room - 1] = 1;
    assert_eq!(open(&hidden), Err(CardError::Layout));
}

#[test]
fn every_changed_byte_is_noticed() {
    let network = Network::dev();
    let card = person(1).card;
    let transaction = published(&card, NOW);
    for changed in every_flip(&transaction) {
        assert!(Card::open(&network, &card.address(), &changed).is_err());
    }
    let bytes = card.to_bytes();
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        assert!(Card::from_bytes(&network, &changed).is_err(), "{place}");
    }
    assert_ne!(transaction.core().body_hash(), &body_hash(&network, &[0; 2048]));
}

#[test]
fn the_newest_wins_and_an_older_one_than_known_is_refused() {
    let network = Network::dev();
    let (old, middle, new) = (with_sequence(1, 5), with_sequence(1, 6), with_sequence(1, 7));
    let address = old.address();
    let all = [published(&middle, NOW), published(&new, NOW.plus(60)), published(&old, NOW.plus(120))];
    assert_eq!(newest(&network, &address, None, &all), Some(new.clone()));
    assert_eq!(newest(&network, &address, Some(&new), &all[..1]), None);
    assert_eq!(newest(&network, &address, Some(&middle), &all), Some(new.clone()));
    assert_eq!(newest(&network, &address, Some(&new), &all), Some(new.clone()));
    assert_eq!(newest(&network, &person(2).card.address(), None, &all), None);
    assert!(new.is_newer_than(&old) && !old.is_newer_than(&old.clone()));
}

#[test]
fn of_many_candidates_the_most_work_counts() {
    let network = Network::dev();
    let header = |nonce: u64| {
        let unstamped = person(1).card.publish(&network, &draft(), &mut rng(1)).unwrap();
        unstamped.signed().clone().stamped(Stamp::new(nonce, [0; 16]))
    };
    let work = |nonce: u64| header(nonce).stamp().work(&header(nonce).signed().challenge(&network));
    let chosen = strongest(&network, (0..100).map(|nonce| (nonce, header(nonce))));
    assert_eq!(chosen.len(), CANDIDATES_MAX);
    assert!(chosen.windows(2).all(|pair| work(pair[0]) >= work(pair[1])));
    let least = chosen.iter().map(|nonce| work(*nonce)).min().unwrap();
    assert!((0..100).filter(|nonce| !chosen.contains(nonce)).all(|nonce| work(nonce) <= least));
}
