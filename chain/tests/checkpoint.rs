//! Checkpoints: their bytes, what no honest node could sign, and when two contradict each other (`docs/protocol.md`,
//! "Checkpoints").

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;
use qasedak_chain::{
    Chain, Digest, Link, Network, Root, Time, TxId,
    checkpoint::{
        CHECKPOINT_BYTES, Checkpoint, CheckpointError, Closed, Contradiction, SIGNED_BYTES, SignedCheckpoint,
        Statement, judge,
    },
    hash::{Context, hash},
};

#[path = "support/node.rs"]
mod node;

use node::Node;

fn id(n: u64) -> TxId {
    TxId::from_bytes(hash(Context::Id, &[&n.to_le_bytes()]))
}

fn first_hour() -> u64 {
    Network::dev().start().hour()
}

/// A moment `secs` after the start of `dev`.
fn at(secs: u64) -> Time {
    Network::dev().start().plus(secs)
}

/// A node with `count` transactions, three an hour.
fn node(count: u64) -> Node {
    let mut node = Node::new(Network::dev(), 7);
    (0..count).for_each(|n| node.append(id(n), first_hour() + n / 3));
    node
}

#[test]
fn the_bytes_are_those_of_the_page() {
    let node = node(20);
    let checkpoint = node.checkpoint(at(6 * 3_600));
    let Statement { log, count, link, root, digest, closed, time } = *checkpoint.statement();
    let closed = closed.unwrap();
    assert_eq!((closed.number, closed.blocks), (first_hour() + 3, 4));
    let bytes = [
        &[1][..],
        &log,
        &count.to_le_bytes(),
        link.as_bytes(),
        root.as_bytes(),
        digest.as_bytes(),
        &closed.number.to_le_bytes(),
        closed.chain.as_bytes(),
        &closed.blocks.to_le_bytes(),
        closed.root.as_bytes(),
        &time.secs().to_le_bytes(),
    ]
    .concat();
    assert_eq!((bytes.len(), checkpoint.checkpoint().to_bytes()), (CHECKPOINT_BYTES, bytes.clone()));
    let message = hash(Context::Checkpoint, &[node.network.ledger().as_bytes(), &bytes]);
    let signature = node.key.sign(&message).to_bytes();
    let signed = [&bytes[..], &node.signer(), &signature].concat();
    assert_eq!((signed.len(), checkpoint.to_bytes()), (SIGNED_BYTES, signed.clone()));
    assert_eq!(SignedCheckpoint::from_bytes(&node.network, &signed), Ok(checkpoint));
}

#[test]
fn without_closed_blocks_their_fields_are_zero() {
    let node = node(2);
    let checkpoint = node.checkpoint(at(60));
    let bytes = checkpoint.to_bytes();
    assert_eq!(checkpoint.statement().closed, None);
    assert_eq!(bytes[121..201], [0; 80]);
    assert_eq!(SignedCheckpoint::from_bytes(&node.network, &bytes), Ok(checkpoint));
    for place in 121..129 {
        let mut other = bytes[..CHECKPOINT_BYTES].to_vec();
        other[place] = 1;
        assert_eq!(Checkpoint::from_bytes(&node.network, &other), Err(CheckpointError::Encoding), "{place}");
    }
}

#[test]
fn every_changed_bit_is_refused() {
    let node = node(20);
    let bytes = node.checkpoint(at(7 * 3_600)).to_bytes();
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut other = bytes.clone();
            other[place] ^= 1 << bit;
            assert!(SignedCheckpoint::from_bytes(&node.network, &other).is_err(), "bit {bit} of byte {place}");
        }
    }
    for len in 0..bytes.len() {
        assert!(SignedCheckpoint::from_bytes(&node.network, &bytes[..len]).is_err(), "{len} bytes");
    }
    let long = [&bytes[..], &[0]].concat();
    assert_eq!(SignedCheckpoint::from_bytes(&node.network, &long), Err(CheckpointError::Encoding));
    // What is signed for one network is nothing in another.
    assert_eq!(SignedCheckpoint::from_bytes(&Network::main(), &bytes), Err(CheckpointError::Signature));
}

#[test]
fn what_no_honest_node_could_say_is_refused() {
    let good = node(20).statement(at(7 * 3_600));
    let closed = good.closed.unwrap();
    let with = |closed| Statement { closed: Some(closed), ..good };
    let cases = [
        (CheckpointError::EmptyLog, Statement { count: 0, ..good }),
        (CheckpointError::Time, Statement { time: Time::from_secs(Network::dev().start().secs() - 1), ..good }),
        (CheckpointError::Time, Statement { time: Time::from_secs(1 << 40), ..good }),
        (CheckpointError::BlockCount, with(Closed { blocks: 0, ..closed })),
        (CheckpointError::BlockCount, with(Closed { blocks: closed.blocks + 1, ..closed })),
        (CheckpointError::BlockCount, Statement { count: closed.blocks - 1, ..good }),
        (CheckpointError::BlockCount, with(Closed { number: first_hour() - 1, ..closed })),
        (
            CheckpointError::NotClosed,
            Statement { time: at(6 * 3_600).plus(3_599), ..with(Closed { number: first_hour() + 4, ..closed }) },
        ),
        (CheckpointError::NotClosed, with(Closed { number: u64::MAX, ..closed })),
    ];
    assert!(Checkpoint::new(&Network::dev(), good).is_ok());
    for (error, statement) in cases {
        assert_eq!(Checkpoint::new(&Network::dev(), statement), Err(error), "{statement:?}");
    }
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let checkpoint = Checkpoint::new(&Network::dev(), good).unwrap();
    let signed = checkpoint.sign(&Network::dev(), node(1).signer(), |message| stranger.sign(message).to_bytes());
    assert_eq!(signed, Err(CheckpointError::Signature));
}

/// Judges two statements of one node in both orders.
fn both(a: Statement, b: Statement, path: Option<&[[u8; 32]]>) -> [Result<(), Contradiction>; 2] {
    let signer = node(1);
    let (a, b) = (signer.sign(a), signer.sign(b));
    [judge(&signer.network, &a, &b, path), judge(&signer.network, &b, &a, path)]
}

#[test]
fn each_contradiction_is_named() {
    use Contradiction as C;
    let (small, large) = (node(20), node(26));
    // At 7 h five blocks are closed, at 8 h six.
    let (old, new) = (small.statement(at(7 * 3_600)), large.statement(at(8 * 3_600)));
    let path = large.log.consistency_path(20, 26).unwrap();
    let path = Some(&path[..]);
    assert_eq!(both(old, new, path), [Ok(()); 2]);
    let closed = new.closed.unwrap();
    let with = |closed: Closed| Statement { closed: Some(closed), ..new };
    let x = [0xee; 32];
    let late = new.time;
    let judged = [
        (C::Link, Statement { link: Link::from_bytes(x), ..new }, new),
        (C::Root, Statement { root: Root::from_bytes(x), ..new }, new),
        (C::Digest, Statement { digest: Digest::from_bytes(x), ..new }, new),
        (C::Link, Statement { link: Link::from_bytes(x), time: late.plus(60), ..new }, new),
        (C::SameHash, old, Statement { digest: old.digest, ..new }),
        (C::SameHash, old, Statement { link: old.link, ..new }),
        (C::SameHash, old, Statement { root: old.root, ..new }),
        (C::ClosedBackwards, old, Statement { closed: None, ..new }),
        (C::ClosedBackwards, old, with(Closed { number: first_hour() + 3, blocks: 4, ..closed })),
        (C::ClosedBackwards, new, Statement { closed: old.closed, time: late.plus(1), ..new }),
        (C::FewerBlocks, old, with(Closed { blocks: 4, ..closed })),
        (C::BlockCount, old, with(Closed { blocks: 5, ..closed })),
        (
            C::BlockCount,
            new,
            Statement { time: late.plus(3_600), ..with(Closed { number: closed.number + 1, ..closed }) },
        ),
        (C::Blocks, new, Statement { time: late.plus(60), ..with(Closed { chain: Chain::from_bytes(x), ..closed }) }),
        (C::Blocks, new, Statement { time: late.plus(60), ..with(Closed { root: Root::from_bytes(x), ..closed }) }),
        (
            C::Blocks,
            new,
            Statement {
                time: late.plus(60),
                ..with(Closed { root: Root::from_bytes(x), chain: Chain::from_bytes(x), ..closed })
            },
        ),
        (C::Blocks, old, with(Closed { chain: old.closed.unwrap().chain, ..closed })),
        (C::SameTime, new, Statement { closed: None, ..new }),
        (C::SameTime, new, with(Closed { number: first_hour() + 4, blocks: 5, ..closed })),
    ];
    for (n, (expected, a, b)) in judged.into_iter().enumerate() {
        for verdict in both(a, b, path) {
            let error = verdict.unwrap_err();
            assert_eq!(error, expected, "case {n}");
            assert!(error.is_evidence());
        }
    }
}

#[test]
fn the_order_of_two_is_taken_from_what_they_say() {
    use Contradiction as C;
    let (small, large) = (node(20), node(26));
    let path = large.log.consistency_path(20, 26).unwrap();
    // The larger log at the earlier time: whoever came second shrank, or had its clock go backwards.
    let (shrunk, before) = (small.statement(at(8 * 3_600)), large.statement(at(7 * 3_600)));
    assert_eq!(both(before, shrunk, Some(&path)), [Err(C::FewerTransactions), Err(C::EarlierTime)]);
    // Two of one second, in either order, accuse nobody.
    let (first, second) = (small.statement(at(8 * 3_600)), large.statement(at(8 * 3_600)));
    assert_eq!(both(first, second, Some(&path)), [Ok(()); 2]);
}

#[test]
fn a_path_is_asked_for_and_is_no_evidence() {
    let (small, large) = (node(20), node(26));
    let (old, new) = (small.statement(at(7 * 3_600)), large.statement(at(8 * 3_600)));
    let path = large.log.consistency_path(20, 26).unwrap();
    let other = large.log.consistency_path(19, 26).unwrap();
    assert_eq!(both(old, new, None), [Err(Contradiction::NoPath); 2]);
    assert_eq!(both(old, new, Some(&other)), [Err(Contradiction::BadPath); 2]);
    assert_eq!(both(old, new, Some(&[])), [Err(Contradiction::BadPath); 2]);
    // A fork: the larger log holds another first transaction.
    let mut fork = Node::new(Network::dev(), 7);
    (100..126).for_each(|n| fork.append(id(n), first_hour() + (n - 100) / 3));
    assert_eq!(both(old, fork.statement(at(8 * 3_600)), Some(&path)), [Err(Contradiction::BadPath); 2]);
    assert!(!Contradiction::NoPath.is_evidence() && !Contradiction::BadPath.is_evidence());
    // Equal logs need no path.
    assert_eq!(both(old, Statement { time: old.time.plus(1), ..old }, None), [Ok(()); 2]);
}

#[test]
fn two_signers_or_two_logs_never_contradict_each_other() {
    let (a, b) = (node(20), Node { key: SigningKey::from_bytes(&[8; 32]), ..node(10) });
    let c = Node { log_id: [1; 16], ..node(10) };
    for other in [b, c] {
        let (first, second) = (a.checkpoint(at(9_000)), other.checkpoint(at(90_000)));
        assert_eq!(judge(&a.network, &first, &second, None), Ok(()));
    }
}

/// One step of a node's life.
#[derive(Clone, Debug)]
enum Step {
    /// A transaction arrives whose time is this many hours off the own clock.
    Arrive(i64),
    /// The own clock goes on by as many seconds; 0 when the system's clock was set back.
    Wait(u64),
    Checkpoint,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (-40..6i64).prop_map(Step::Arrive),
        2 => (0..20_000u64).prop_map(Step::Wait),
        3 => Just(Step::Checkpoint),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever arrives, however late, and however the clock stands still: no two checkpoints of an honest node
    /// contradict each other, in either order.
    #[test]
    fn honest_histories_hold_no_contradiction(steps in prop::collection::vec(step(), 1..80)) {
        let mut node = Node::new(Network::dev(), 7);
        let mut now = at(40 * 3_600);
        let mut made = Vec::new();
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Arrive(hours) => {
                    let hour = now.hour().saturating_add_signed(hours).max(first_hour());
                    node.append(id(n as u64), hour);
                }
                Step::Wait(secs) => now = now.plus(secs),
                Step::Checkpoint if node.ids.is_empty() => {}
                Step::Checkpoint => made.push(node.checkpoint(now)),
            }
        }
        for (n, old) in made.iter().enumerate() {
            prop_assert_eq!(SignedCheckpoint::from_bytes(&node.network, &old.to_bytes()), Ok(*old));
            for new in &made[n..] {
                let (from, to) = (old.statement().count, new.statement().count);
                let path = node.log.consistency_path(from, to).unwrap();
                prop_assert_eq!(judge(&node.network, old, new, Some(&path)), Ok(()));
                prop_assert_eq!(judge(&node.network, new, old, Some(&path)), Ok(()));
            }
        }
    }
}
