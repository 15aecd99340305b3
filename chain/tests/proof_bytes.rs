//! No byte of a proof file can be changed, taken out or put in (`docs/protocol.md`, "Proof files"): as the file stands,
//! where its check finds every change, and with the check made anew, where what is signed and hashed must find it.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use qasedak_chain::{
    Network, TxId,
    proof::{Fact, ProofError, check},
};

#[path = "support/node.rs"]
mod node;
#[path = "support/pool.rs"]
mod pool;
#[path = "support/world.rs"]
mod world;

use world::{World, rechecked, stranger};

/// Every file in which one byte is another one that stands somewhere in a proof file: what a forger of digits would try.
fn replacements(file: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let alphabet: std::collections::BTreeSet<u8> = file.iter().copied().chain(b'0'..=b'9').chain(b'a'..=b'f').collect();
    (0..file.len()).flat_map(move |at| alphabet.clone().into_iter().map(move |byte| (at, byte))).filter_map(
        move |(at, byte)| {
            let mut changed = file.to_vec();
            changed[at] = byte;
            (changed != file).then(|| (format!("byte {at} made {:?}", char::from(byte)), changed))
        },
    )
}

/// Every file that differs from `file` by one flipped bit, one byte less, or a space, a digit or a quote more.
fn changes(file: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let flips = (0..file.len()).flat_map(move |at| (0..8).map(move |bit| (at, bit))).map(|(at, bit)| {
        let mut changed = file.to_vec();
        changed[at] ^= 1 << bit;
        (format!("bit {bit} of byte {at} flipped"), changed)
    });
    let cuts = (0..file.len()).map(|at| (format!("byte {at} cut"), [&file[..at], &file[at + 1..]].concat()));
    let puts = (0..=file.len()).flat_map(move |at| b" 0\"".iter().map(move |byte| (at, *byte))).map(|(at, byte)| {
        (format!("{:?} put at {at}", char::from(byte)), [&file[..at], &[byte], &file[at..]].concat())
    });
    flips.chain(cuts).chain(puts).filter(move |(_, changed)| changed != file)
}

/// Tries every change as it is and with the check made anew; `still` says what the latter may show, since it is true.
fn try_all(file: &[u8], still: impl Fn(&Fact) -> bool) {
    check(file).unwrap();
    let (mut tried, mut true_ones) = (0, 0);
    for (what, changed) in changes(file) {
        assert!(check(&changed).is_err(), "{what}");
        tried += 1;
    }
    let mut forged_ones = 0;
    for (what, changed) in changes(file).chain(replacements(file)) {
        let forged = rechecked(&changed);
        if forged == file {
            continue;
        }
        forged_ones += 1;
        if let Ok(proven) = check(&forged) {
            assert!(still(proven.fact()), "{what}: {:?}", proven.fact());
            true_ones += 1;
        }
    }
    assert!(tried > 11 * file.len(), "{tried} changes of {} bytes", file.len());
    println!(
        "{tried} changes of {} bytes refused; of {forged_ones} with a forged check {true_ones} show something else that is \
         true",
        file.len()
    );
}

#[test]
fn every_byte_of_an_inclusion_proof() {
    let world = World::new(Network::dev());
    // Of a block of one and of a block of two: a path without and with hashes, and two parents.
    let checkpoints = [world.prover().checkpoint(world.at(10))];
    for hour in [0, 3] {
        let id = world.ids(world.hour(hour))[0];
        let file = world.inclusion(&id, &checkpoints).to_file(&world.network).unwrap();
        try_all(&file, |_| false);
    }
}

/// The word of several peers: none of theirs can be changed either, whoever else's is whole.
#[test]
fn every_byte_of_a_proof_under_several_checkpoints() {
    let world = World::new(Network::dev());
    let mut checkpoints: Vec<_> = world.peers.iter().map(|peer| peer.checkpoint(world.at(10))).collect();
    // And another of one of them, with fewer blocks.
    checkpoints.push(world.peers[1].checkpoint(world.at(6)));
    let id = world.ids(world.hour(3))[1];
    let file = world.inclusion(&id, &checkpoints).to_file(&world.network).unwrap();
    assert_eq!(check(&file).unwrap().words().len(), 4);
    try_all(&file, |_| false);
}

#[test]
fn every_byte_of_an_absence_proof() {
    let world = World::new(Network::dev());
    let (number, ids) = (world.hour(3), world.ids(world.hour(3)));
    let checkpoints = [world.prover().checkpoint(world.at(10))];
    let mut middle = *ids[0].as_bytes();
    middle[31] ^= 1;
    for id in [TxId::from_bytes([0; 32]), TxId::from_bytes(middle), TxId::from_bytes([0xff; 32])] {
        let file = world.absence(&id, number, &checkpoints).to_file(&world.network).unwrap();
        // The id is whatever was asked for: another one that is absent too may stand there, by a forged check.
        try_all(
            &file,
            |fact| matches!(fact, Fact::Absent { id: other, number: same, count: 2 } if *same == number && !ids.contains(other)),
        );
    }
}

#[test]
fn every_byte_of_an_empty_blocks_proof() {
    let world = World::new(Network::dev());
    let checkpoints = [world.prover().checkpoint(world.at(10))];
    for hour in [2, 7] {
        let file =
            world.empty_block(&stranger([1, 2]), world.hour(hour), &checkpoints).to_file(&world.network).unwrap();
        try_all(&file, |fact| match fact {
            // Likewise, and another hour that is empty by the same leaves, or the same checkpoint.
            Fact::EmptyBlock { number, .. } => world.ids(*number).is_empty() && *number <= world.hour(7),
            _ => false,
        });
    }
}

/// The check covers the whole file: the form is found out before it, and it before anything that it guards.
#[test]
fn a_changed_digit_is_found_by_the_check() {
    let world = World::new(Network::dev());
    let id = world.ids(world.hour(3))[0];
    let file = world.inclusion(&id, &[world.prover().checkpoint(world.at(10))]).to_file(&world.network).unwrap();
    let text = String::from_utf8(file).unwrap();
    let changed = text.replacen("\"index\": 0", "\"index\": 1", 1);
    assert_eq!(check(changed.as_bytes()), Err(ProofError::Check));
    let shouted = text.replacen(&id.to_string(), &id.to_string().to_uppercase(), 1);
    assert_eq!(check(&rechecked(shouted.as_bytes())), Err(ProofError::NotCanonical));
}
