//! Disclosure files: both sides' open the same message, no byte of them can change, none opens anything else.

use ed25519_dalek::{Signer, SigningKey};
use qasedak_chain::{
    block,
    checkpoint::{Checkpoint, Closed, Statement},
    digest::SetDigest,
    link,
    merkle::Tree,
    proof::{InclusionProof, Placed},
};

use super::*;
use crate::{
    envelope::Draft,
    inner::{Binding, Inner, Message},
    keys::KEM_CIPHERTEXT_BYTES,
    seal::{SealedMessage, seal},
    testing::{CRAFTED_SEED, NOW, Person, crafted, draft, message, person, rng, stamped, text, with_idle_stamp},
};

fn dev() -> Network {
    Network::dev()
}

/// A stamped message from one to the other with the disclosures that its sender and its recipient can make.
struct Case {
    transaction: Transaction,
    by_sender: Disclosure,
    by_recipient: Disclosure,
}

fn disclosure(transaction: &Transaction, to: &Person, opening: Opening) -> Disclosure {
    Disclosure::new(&dev(), transaction.clone(), to.card.address(), to.card.seal().clone(), opening, None)
}

fn shared(transaction: &Transaction, to: &Person) -> Opening {
    Opening::SharedSecret(to.seal_key.decapsulate(Parts::of(transaction).unwrap().ciphertext).unwrap())
}

fn case(from: &Person, to: &Person, content: &str, seed: u64) -> Case {
    let sealed =
        seal(&dev(), &from.keys, &to.card, Message::new(text(content), 1_800_000_000_123), &draft(), &mut rng(seed));
    let SealedMessage { unstamped, record } = sealed.unwrap();
    let transaction = stamped(unstamped);
    Case {
        by_sender: disclosure(&transaction, to, Opening::EncapsulationSeed(record.encapsulation_seed)),
        by_recipient: disclosure(&transaction, to, shared(&transaction, to)),
        transaction,
    }
}

#[test]
fn both_sides_disclose_the_same_message() {
    let (ann, bob) = (person(1), person(2));
    let case = case(&ann, &bob, "سلام\u{202e}", 7);
    for (made, discloser) in [(&case.by_sender, Discloser::Sender), (&case.by_recipient, Discloser::Recipient)] {
        let file = made.to_bytes();
        assert!(Disclosure::is_meant(&file) && file.ends_with(b"}\n"));
        let shown = check(&file).unwrap();
        assert_eq!((shown.tx_id, shown.sender), (case.transaction.id(), ann.card.address()));
        assert_eq!((shown.recipient, shown.time_ms), (bob.card.address(), 1_800_000_000_123));
        assert_eq!((shown.content.text(), shown.discloser), (Some("سلام\u{202e}"), discloser));
        assert_eq!((shown.network, shown.proof), (dev(), None));
        let own = crate::open::open(&dev(), &bob.keys, std::slice::from_ref(&bob.seal_key), &case.transaction).unwrap();
        assert_eq!(shown.inner_id, own.inner_id);
    }
    assert_ne!(case.by_sender.to_bytes(), case.by_recipient.to_bytes());
}

#[test]
fn debug_shows_no_secret_and_no_content() {
    let case = case(&person(1), &person(2), "canary", 7);
    let shown = format!("{:?} {:?}", case.by_sender, case.by_recipient);
    assert!(shown.contains("EncapsulationSeed(…)") && shown.contains("SharedSecret(…)"));
    assert!(!format!("{:?}", case.by_sender.check().unwrap()).contains("canary"));
}

/// Every bit of every byte, every byte left out, and every letter in the other case.
#[test]
fn every_changed_byte_is_refused() {
    let case = case(&person(1), &person(2), "hi", 7);
    for made in [&case.by_sender, &case.by_recipient] {
        let file = made.to_bytes().to_vec();
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut changed = file.clone();
                changed[at] ^= 1 << bit;
                assert!(check(&changed).is_err(), "byte {at}, bit {bit}");
            }
            let mut shorter = file.clone();
            shorter.remove(at);
            assert!(check(&shorter).is_err(), "byte {at} left out");
        }
        for more in [b' ', b'\n', b'0', b'}'] {
            assert!(check(&[&file[..], &[more]].concat()).is_err());
            assert!(check(&[&[more], &file[..]].concat()).is_err());
        }
    }
}

#[test]
fn a_file_has_one_form() {
    let case = case(&person(1), &person(2), "hi", 7);
    let file = String::from_utf8(case.by_sender.to_bytes().to_vec()).unwrap();
    let with = |from: &str, to: &str| check(file.replacen(from, to, 1).as_bytes()).unwrap_err();
    assert_eq!(with("disclosure 1", "disclosure 2"), DisclosureError::Version);
    assert_eq!(with("qasedak disclosure", "qasedak inclusion"), DisclosureError::Form);
    assert_eq!(with("\"proof\": null", "\"proof\": null,\n  \"note\": 1"), DisclosureError::Form);
    assert_eq!(with("\"proof\": null", "\"proof\":null"), DisclosureError::NotCanonical);
    assert_eq!(with("{\n  \"format\"", "{\n\"format\""), DisclosureError::NotCanonical);
    assert_eq!(with("encapsulation_seed", "shared_secret"), DisclosureError::Form);
    assert_eq!(with("\"dev\"", "\"main\""), DisclosureError::Transaction(RuleError::BodyHash));
    assert!(matches!(with("\"dev\"", "\"Dev\""), DisclosureError::Network(_)));
    assert!(matches!(with("qsd1", "qsd2"), DisclosureError::Recipient(_)));
    assert_eq!(check(&vec![b' '; FILE_MAX_BYTES + 1]).unwrap_err(), DisclosureError::TooLong);
    assert!(!Disclosure::is_meant(b"{}") && !Disclosure::is_meant(&[0xff]));
    let seed = hex::encode(crate::keys::EncapsulationSeed::from_bytes(&[1; 64]).as_bytes());
    let twice =
        file.replacen("\"opening\": {", &format!("\"opening\": {{\n    \"encapsulation_seed\": \"{seed}\","), 1);
    assert_eq!(check(twice.as_bytes()).unwrap_err(), DisclosureError::Form);
}

#[test]
fn the_longest_message_fits() {
    let long = "x".repeat(crate::seal::CONTENT_MAX_BYTES);
    let case = case(&person(1), &person(2), &long, 7);
    let file = case.by_sender.to_bytes();
    assert!(file.len() < 256 * 1024, "room for a proof: {}", file.len());
    assert_eq!(check(&file).unwrap().content.text(), Some(&*long));
}

#[test]
fn a_secret_opens_no_other_message() {
    let (ann, bob) = (person(1), person(2));
    let (first, next) = (case(&ann, &bob, "disclosed", 7), case(&ann, &bob, "not disclosed", 8));
    for (made, error) in
        [(&first.by_sender, DisclosureError::OtherSeed), (&first.by_recipient, DisclosureError::OtherSecret)]
    {
        let other = Disclosure { transaction: next.transaction.clone(), ..made.clone() };
        assert_eq!(other.check().unwrap_err(), error);
    }
    // Nor is the next one's secret in the file of the first.
    let file = first.by_recipient.to_bytes();
    let Opening::SharedSecret(secret) = &next.by_recipient.opening else { panic!("a shared secret") };
    let secret = hex::encode(secret.as_slice());
    assert!(!file.windows(secret.len()).any(|window| window == secret.as_bytes()));
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let (ann, bob, carol) = (person(1), person(2), person(3));
    let Case { transaction, by_sender, by_recipient } = case(&ann, &bob, "hi", 7);
    let signature = DisclosureError::Message(OpenError::Signature);
    for made in [&by_sender, &by_recipient] {
        let to_carol = Disclosure { recipient: carol.card.address(), ..made.clone() };
        assert_eq!(to_carol.check().unwrap_err(), signature);
    }
    let key = carol.card.seal().clone();
    assert_eq!(Disclosure { seal: key.clone(), ..by_recipient.clone() }.check().unwrap_err(), signature);
    assert_eq!(Disclosure { seal: key, ..by_sender }.check().unwrap_err(), DisclosureError::OtherSeed);
    let gone = Transaction::new(&dev(), transaction.header().clone(), None).unwrap();
    let without = Disclosure { transaction: gone, ..by_recipient.clone() };
    assert_eq!(without.check().unwrap_err(), DisclosureError::Message(OpenError::NoBody));
    let main = Disclosure { network: Network::main(), ..by_recipient };
    assert!(matches!(main.check().unwrap_err(), DisclosureError::Transaction(_)));
}

#[test]
fn a_transaction_that_no_node_would_take_is_refused() {
    let (ann, bob) = (person(1), person(2));
    let sealed = seal(&dev(), &ann.keys, &bob.card, message("hi"), &draft(), &mut rng(7)).unwrap();
    let transaction = with_idle_stamp(sealed.unstamped);
    let made = disclosure(&transaction, &bob, shared(&transaction, &bob));
    assert!(matches!(made.check().unwrap_err(), DisclosureError::Transaction(_)));
    assert!(check(&made.to_bytes()).is_err());
}

/// Eve writes as if she were Ann: the file opens, and is refused for the signature inside.
#[test]
fn a_message_in_anothers_name_does_not_verify() {
    let (ann, bob, eve) = (person(1), person(2), person(3));
    let make = |sender: &Address, author: &[u8; 32], ciphertext: &[u8; KEM_CIPHERTEXT_BYTES]| {
        let (recipient, seal) = (bob.card.address(), bob.card.seal());
        let message = message("as if by Ann");
        let inner = Inner { sender: *sender.as_bytes(), seal_key: bob.card.sequence(), message };
        let id = inner.id(&Binding { network: &dev(), author, recipient: &recipient, seal, ciphertext });
        [inner.signed_bytes().as_slice(), &eve.keys.sign(id.as_bytes())].concat()
    };
    let result = |sender: Address| {
        let transaction = stamped(crafted(&bob, |author, ciphertext| make(&sender, author, ciphertext), false));
        let seed = EncapsulationSeed::from_bytes(&CRAFTED_SEED);
        let by_sender = disclosure(&transaction, &bob, Opening::EncapsulationSeed(seed));
        let by_recipient = disclosure(&transaction, &bob, shared(&transaction, &bob));
        [check(&by_sender.to_bytes()), check(&by_recipient.to_bytes())].map(|shown| shown.map(|shown| shown.sender))
    };
    assert_eq!(result(eve.card.address()), [Ok(eve.card.address()), Ok(eve.card.address())]);
    let refused = || Err(DisclosureError::Message(OpenError::Signature));
    assert_eq!(result(ann.card.address()), [refused(), refused()]);
}

/// A message that is the only transaction of its block, and the proof of that by the word of one peer.
fn proven_case() -> (Case, String) {
    let (ann, bob, network) = (person(1), person(2), dev());
    let place = Draft::new(vec![network.genesis()], NOW.rounded_down());
    let sealed = seal(&network, &ann.keys, &bob.card, message("hi"), &place, &mut rng(7)).unwrap();
    let transaction = stamped(sealed.unstamped);
    let (id, number) = (transaction.id(), transaction.core().time().hour());
    let contents = block::contents(network.ledger(), vec![id]);
    let chained = block::chained(network.ledger(), block::first_previous(network.ledger()), number, contents);
    let statement = Statement {
        log: [1; 16],
        count: 1,
        link: link::next_link(link::first_link(network.ledger()), &id),
        root: contents.root,
        digest: SetDigest::new(network.ledger()).digest(),
        closed: Some(Closed {
            number,
            chain: chained.chain,
            blocks: 1,
            root: Tree::of(network.ledger(), [chained.leaf()]).root(),
        }),
        time: block::closes(number),
    };
    let key = SigningKey::from_bytes(&[8; 32]);
    let signer = key.verifying_key().to_bytes();
    let checkpoint = Checkpoint::new(&network, statement).unwrap();
    let checkpoint = checkpoint.sign(&network, signer, |message| key.sign(message).to_bytes()).unwrap();
    let proof = InclusionProof {
        header: transaction.header().clone(),
        parents: Vec::new(),
        block: contents,
        index: 0,
        path: Vec::new(),
        own: None,
        checkpoints: vec![Placed { checkpoint, index: 0, path: Vec::new() }],
    };
    let proof = String::from_utf8(proof.to_file(&network).unwrap()).unwrap();
    let opening = Opening::EncapsulationSeed(sealed.record.encapsulation_seed);
    let by_sender = Disclosure { proof: Some(proof.trim_end().to_owned()), ..disclosure(&transaction, &bob, opening) };
    let by_recipient = Disclosure { opening: shared(&transaction, &bob), ..by_sender.clone() };
    (Case { by_sender, by_recipient, transaction }, proof)
}

#[test]
fn the_proof_inside_is_checked_and_must_be_of_this_transaction() {
    let (proven, proof) = proven_case();
    let shown = check(&proven.by_sender.to_bytes()).unwrap();
    let fact = shown.proof.as_ref().unwrap().fact();
    assert!(matches!(fact, Fact::Included { id, .. } if *id == proven.transaction.id()));
    let other = case(&person(1), &person(2), "hi", 8).by_sender;
    let other = Disclosure { proof: proven.by_sender.proof, ..other };
    assert_eq!(check(&other.to_bytes()).unwrap_err(), DisclosureError::OtherProof);
    let none = Disclosure { proof: Some("{}".to_owned()), ..other };
    assert!(matches!(check(&none.to_bytes()).unwrap_err(), DisclosureError::Proof(_)));
    // As it comes from its maker, line feed and all, it is taken in the one form.
    let Disclosure { network, transaction, recipient, seal, opening, .. } = proven.by_recipient.clone();
    let joined = Disclosure::new(&network, transaction, recipient, seal, opening, Some(proof));
    assert_eq!(joined.to_bytes(), proven.by_recipient.to_bytes());
}

/// One bit of every byte, and every byte left out.
#[test]
fn every_changed_byte_of_a_file_with_a_proof_is_refused() {
    let (proven, _) = proven_case();
    for made in [&proven.by_sender, &proven.by_recipient] {
        let file = made.to_bytes().to_vec();
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(check(&changed).is_err(), "byte {at}");
            changed.remove(at);
            assert!(check(&changed).is_err(), "byte {at} left out");
        }
    }
}
