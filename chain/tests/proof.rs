//! Proof files: what honest ones show, in words too, and that nothing can be made of them that they do not show
//! (`docs/protocol.md`, "Proof files"). That no byte can be changed is in `proof_bytes.rs`.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::OnceLock;

use qasedak_chain::{
    Network, Root, TxId,
    block::Contents,
    checkpoint::SignedCheckpoint,
    proof::{CHECKPOINTS_MAX, FILE_MAX_BYTES, Fact, Limit, ProofError, Surrounded, check, neighbours},
};

#[path = "support/node.rs"]
mod node;
#[path = "support/pool.rs"]
mod pool;
#[path = "support/world.rs"]
mod world;

use world::{HOURS, World, rechecked, stranger};

fn dev() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::new(Network::dev()))
}

/// Checkpoints of all peers, ten hours after the start: all blocks are closed.
fn all_peers(world: &World) -> Vec<SignedCheckpoint> {
    world.peers.iter().map(|peer| peer.checkpoint(world.at(10))).collect()
}

fn own(world: &World) -> Vec<SignedCheckpoint> {
    vec![world.prover().checkpoint(world.at(10))]
}

/// A proof over which checkpoints: none of the peers' may be lost on the way.
fn shown(file: &[u8], by: usize) -> Fact {
    let proven = check(file).unwrap();
    assert_eq!((proven.words().len(), proven.network()), (by, "dev"));
    proven.fact().clone()
}

#[test]
fn every_transaction_is_shown_in_its_block_by_every_peer() {
    let world = dev();
    for tx in &world.transactions {
        let file = world.inclusion(&tx.id(), &all_peers(world)).to_file(&world.network).unwrap();
        let Fact::Included { id, time, number, count, parents } = shown(&file, 3) else {
            panic!("another fact");
        };
        assert_eq!((id, time, number), (tx.id(), tx.core().time(), tx.core().time().hour()));
        assert_eq!(count, HOURS[(number - world.hour(0)) as usize]);
        let named: Vec<TxId> = parents.iter().map(|parent| parent.id).collect();
        let expected: Vec<TxId> =
            tx.core().parents().iter().filter(|id| **id != world.network.genesis()).copied().collect();
        assert_eq!(named, expected);
        for parent in parents {
            assert_eq!(parent.time, world.header(&parent.id).core().time());
        }
        assert!(file.len() < FILE_MAX_BYTES / 10);
    }
}

#[test]
fn the_words_say_who_when_and_whether_it_is_the_prover_alone() {
    let world = dev();
    let id = world.ids(world.hour(1))[0];
    let proven = check(&world.inclusion(&id, &all_peers(world)).to_file(&world.network).unwrap()).unwrap();
    let mut signers: Vec<[u8; 32]> = world.peers.iter().map(|peer| peer.signer()).collect();
    signers.sort_unstable();
    assert_eq!(proven.words().iter().map(|word| word.signer).collect::<Vec<_>>(), signers);
    for word in proven.words() {
        assert_eq!((word.count, word.time), (11, world.at(10)));
        assert_eq!(word.own, word.signer == world.prover().signer());
    }
    assert!(!proven.is_own_word_only());
    let alone = check(&world.inclusion(&id, &own(world)).to_file(&world.network).unwrap()).unwrap();
    assert!(alone.is_own_word_only());
    assert!(alone.to_string().contains("the prover's own word only"));
    assert!(!proven.to_string().contains("own word only"));
    // A prover without a peer key of the own has nothing but the words of others.
    let others = check(&world.inclusion(&id, &all_peers(world)[1..]).to_file(&world.network).unwrap()).unwrap();
    assert!(others.words().iter().all(|word| !word.own));
}

#[test]
fn what_is_shown_and_what_is_not_is_said_in_plain_words() {
    let world = dev();
    let id = world.ids(world.hour(3))[1];
    let proven = check(&world.inclusion(&id, &own(world)).to_file(&world.network).unwrap()).unwrap();
    let text = proven.describe(|_| "ann".to_owned());
    let parents = world.header(&id).core().parents().to_vec();
    for part in [
        format!(
            "Transaction {id} is valid and stood in block {} (the hour from 2026-11-01T03:00:00Z) of network dev",
            world.hour(3)
        ),
        "a block of 2 transactions then".to_owned(),
        "made after its parents".to_owned(),
        "peer ann (the prover's own), at 2026-11-01T10:00:00Z, in a checkpoint over 11 transactions".to_owned(),
        format!("by its author: its time, {}", world.header(&id).core().time()),
        format!(
            "by the author of its parent {}: that one's time, {}",
            parents[1],
            world.header(&parents[1]).core().time()
        ),
        "who wrote it".to_owned(),
        "what it says".to_owned(),
        "first sent".to_owned(),
        "nothing is final".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} is not in\n{text}");
    }
    assert_eq!(proven.limits().len(), 5);
    assert!(proven.to_string().contains(&hex::encode(world.prover().signer())));
    let absent = world.absence(&stranger([0x80, 0]), world.hour(1), &own(world)).to_file(&world.network).unwrap();
    let text = check(&absent).unwrap().to_string();
    assert!(text.contains("did not stand in block") && text.contains("never sent"), "{text}");
    let empty = world.empty_block(&id, world.hour(2), &own(world)).to_file(&world.network).unwrap();
    let proven = check(&empty).unwrap();
    assert!(proven.to_string().contains("that hour had no transactions"));
    assert!(proven.limits().contains(&Limit::Elsewhere));
}

#[test]
fn absence_is_shown_in_every_gap_of_a_block() {
    let world = dev();
    for hour in [0, 1, 3, 5] {
        let (number, ids) = (world.hour(hour), world.ids(world.hour(hour)));
        // Below the first, between any two, above the last.
        let mut strangers = vec![TxId::from_bytes([0; 32]), TxId::from_bytes([0xff; 32])];
        for id in &ids {
            let mut bytes = *id.as_bytes();
            bytes[31] ^= 1;
            strangers.push(TxId::from_bytes(bytes));
        }
        for id in strangers {
            let proof = world.absence(&id, number, &all_peers(world));
            let count = HOURS[hour as usize];
            assert_eq!(shown(&proof.to_file(&world.network).unwrap(), 3), Fact::Absent { id, number, count });
            assert_eq!(proof.before.is_none(), id < ids[0]);
            assert_eq!(proof.after.is_none(), id > ids[ids.len() - 1]);
        }
    }
}

#[test]
fn an_empty_hour_is_shown_before_between_and_behind_the_blocks() {
    let world = dev();
    let (id, network) = (stranger([1, 1]), &world.network);
    // Before the first block there is one, between there are two, behind the last closed block the checkpoint says so.
    for (number, sides) in [
        (world.hour(0) - 1, (false, true)),
        (world.hour(2), (true, true)),
        (world.hour(4), (true, true)),
        (world.hour(6), (false, false)),
        (world.hour(7), (false, false)),
    ] {
        let proof = world.empty_block(&id, number, &all_peers(world));
        let Surrounded { before, after, .. } = &proof.checkpoints[0];
        assert_eq!((before.is_some(), after.is_some()), sides, "{number}");
        assert_eq!(shown(&proof.to_file(network).unwrap(), 3), Fact::EmptyBlock { id, number });
    }
    // An hour that was not closed yet at the checkpoint's time is not shown by it: 8 h closes at 11 h.
    assert_eq!(
        world.empty_block(&id, world.hour(8), &all_peers(world)).to_file(network),
        Err(ProofError::NoCheckpoints)
    );
    // The hour before the start closes at 2 h, without any block to be the last closed one.
    let early = |hours| vec![world.prover().checkpoint(world.at(hours))];
    assert_eq!(world.empty_block(&id, world.hour(0) - 1, &early(2)).checkpoints.len(), 1);
    assert_eq!(world.empty_block(&id, world.hour(0) - 1, &early(1)).checkpoints.len(), 0);
    assert_eq!(world.empty_block(&id, world.hour(0), &early(2)).checkpoints.len(), 0);
    // At 5 h the last closed block is that of hour 1, and hour 2 is closed: it is behind the last.
    let proof = world.empty_block(&id, world.hour(2), &early(5));
    assert_eq!((&proof.checkpoints[0].after, proof.to_file(network).is_ok()), (&None, true));
    let forged = Surrounded { checkpoint: early(4)[0], before: None, after: None };
    let mut proof = proof;
    proof.checkpoints = vec![forged];
    assert!(matches!(proof.to_file(network), Err(ProofError::NotCarried { .. })), "hour 2 is open at 4 h");
}

#[test]
fn checkpoints_that_do_not_carry_the_block_are_left_out_and_refused() {
    let world = dev();
    let (id, network) = (world.ids(world.hour(5))[0], &world.network);
    // At 7 h the block of hour 5 is not closed. A peer that lacks a transaction has other blocks.
    let early = world.prover().checkpoint(world.at(7));
    let mut lacking = node::Node::new(network.clone(), 9);
    world.transactions[1..].iter().for_each(|tx| lacking.append(tx.id(), tx.core().time().hour()));
    let other = lacking.checkpoint(world.at(10));
    assert_eq!(world.inclusion(&id, &[early, other]).to_file(network), Err(ProofError::NoCheckpoints));
    for stray in [early, other] {
        let mut proof = world.inclusion(&id, &own(world));
        let mut placed = proof.checkpoints[0].clone();
        placed.checkpoint = stray;
        proof.checkpoints.push(placed);
        assert!(matches!(proof.to_file(network), Err(ProofError::NotCarried { .. })));
    }
}

#[test]
fn an_id_that_is_in_the_block_cannot_be_shown_absent() {
    let world = dev();
    let (number, network) = (world.hour(1), &world.network);
    let ids = world.ids(number);
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(neighbours(network.ledger(), &ids, id), None);
        // Leaves that are not neighbours, the forger's best: those on either side of the id.
        let mut proof = world.absence(&stranger([0x80, 0]), number, &own(world));
        let leaf = |index: usize| {
            let mut bytes = *ids[index].as_bytes();
            bytes[31] ^= 1;
            let (before, after) = neighbours(network.ledger(), &ids, &TxId::from_bytes(bytes)).unwrap();
            [before, after].into_iter().flatten().find(|leaf| leaf.id == ids[index])
        };
        proof.id = *id;
        proof.before = at.checked_sub(1).and_then(leaf);
        proof.after = if at + 1 < ids.len() { leaf(at + 1) } else { None };
        assert_eq!(proof.to_file(network), Err(ProofError::Neighbours), "{at}");
        // The same with the index of one changed so that they look like neighbours.
        let mut moved = proof.clone();
        if let (Some(_), Some(after)) = (&moved.before, &mut moved.after) {
            after.index -= 1;
            assert_eq!(moved.to_file(network), Err(ProofError::Path), "{at}");
        }
        // Or with itself as a neighbour, or with no neighbours.
        proof.after = leaf(at);
        assert_eq!(proof.to_file(network), Err(ProofError::Neighbours));
        (proof.before, proof.after) = (None, None);
        assert_eq!(proof.to_file(network), Err(ProofError::Neighbours));
    }
    // A block that has transactions is not shown empty.
    let mut proof = world.empty_block(&ids[0], world.hour(2), &own(world));
    proof.number = number;
    assert!(matches!(proof.to_file(network), Err(ProofError::NotCarried { .. })));
}

#[test]
fn a_proof_whose_parts_do_not_belong_together_is_refused() {
    let world = dev();
    let network = &world.network;
    let ids = world.ids(world.hour(1));
    let good = world.inclusion(&ids[2], &all_peers(world));
    let refused = |change: &dyn Fn(&mut qasedak_chain::proof::InclusionProof)| {
        let mut proof = good.clone();
        change(&mut proof);
        proof.to_file(network).unwrap_err()
    };
    let other = world.inclusion(&ids[3], &all_peers(world));
    let third = world.inclusion(&world.ids(world.hour(3))[0], &all_peers(world));
    assert_eq!(refused(&|proof| proof.checkpoints.clear()), ProofError::NoCheckpoints);
    assert_eq!(refused(&|proof| proof.index = other.index), ProofError::Path);
    assert_eq!(refused(&|proof| proof.path = other.path.clone()), ProofError::Path);
    assert_eq!(refused(&|proof| proof.header = other.header.clone()), ProofError::Path);
    assert_eq!(refused(&|proof| proof.parents.clear()), ProofError::Parents);
    assert_eq!(refused(&|proof| proof.parents = third.parents.clone()), ProofError::Parents);
    assert_eq!(refused(&|proof| proof.parents.push(other.header.clone())), ProofError::Parents);
    assert_eq!(refused(&|proof| proof.own = Some([1; 32])), ProofError::Own);
    assert_eq!(refused(&|proof| proof.block.root = Root::from_bytes([1; 32])), ProofError::Path);
    let alone = |proof: &mut qasedak_chain::proof::InclusionProof| {
        // A block that holds this one alone is another block, which no checkpoint carries.
        let contents = qasedak_chain::block::contents(network.ledger(), vec![ids[2]]);
        proof.block = Contents { ..contents };
        (proof.index, proof.path) = (0, Vec::new());
    };
    assert!(matches!(refused(&alone), ProofError::NotCarried { .. }));
    assert!(matches!(refused(&|proof| proof.checkpoints[1].index += 1), ProofError::NotCarried { .. }));
    assert!(matches!(refused(&|proof| proof.checkpoints[1].path.truncate(1)), ProofError::NotCarried { .. }));
    assert!(matches!(refused(&|proof| proof.block.count += 1), ProofError::Path | ProofError::NotCarried { .. }));
    // One checkpoint given twice stands once.
    let mut twice = good.clone();
    twice.checkpoints.push(good.checkpoints[0].clone());
    assert_eq!(twice.to_file(network), good.to_file(network));
}

#[test]
fn a_proof_of_one_network_is_nothing_in_another() {
    let world = dev();
    let file = world.inclusion(&world.ids(world.hour(1))[0], &own(world)).to_file(&world.network).unwrap();
    let text = String::from_utf8(file).unwrap();
    let renamed = |from: &str, to: &str| check(&rechecked(text.replacen(from, to, 1).as_bytes())).unwrap_err();
    assert!(check(&rechecked(text.as_bytes())).is_ok());
    // Another name with the same parameters is a network; its ids and signatures are others.
    assert!(matches!(renamed("\"name\": \"dev\"", "\"name\": \"family\""), ProofError::Id(_)));
    // `main` has other parameters, and no network has dev's name with another price.
    for (from, to) in [
        ("\"name\": \"dev\"", "\"name\": \"main\""),
        ("\"name\": \"dev\"", "\"name\": \"Dev\""),
        ("\"name\": \"dev\"", "\"name\": \"\""),
        ("\"base_milli\": 1,", "\"base_milli\": 2,"),
        ("\"settle\": 0", "\"settle\": 1"),
        ("\"start\": 1793491200", "\"start\": 1793491201"),
        ("\"name\": \"dev\",\n    \"version\": 1", "\"name\": \"dev\",\n    \"version\": 2"),
    ] {
        assert_eq!(renamed(from, to), ProofError::Network, "{to}");
    }
    // The same people in a network of their own make proofs of their own, which are no proofs of `dev`.
    let family = World::new(Network::named("family").unwrap());
    let proof = family.inclusion(&family.ids(family.hour(1))[0], &own(&family));
    assert_eq!(check(&proof.to_file(&family.network).unwrap()).unwrap().network(), "family");
    assert!(proof.to_file(&world.network).is_err());
}

#[test]
fn fields_swapped_between_two_proofs_are_refused() {
    let world = dev();
    let file = |hour: u64, nth: usize| {
        let id = world.ids(world.hour(hour))[nth];
        String::from_utf8(world.inclusion(&id, &all_peers(world)).to_file(&world.network).unwrap()).unwrap()
    };
    // Two of one block, and two of different blocks, all by the same checkpoints.
    for (a, b) in
        [(file(1, 0), file(1, 4)), (file(1, 3), file(1, 6)), (file(1, 2), file(3, 0)), (file(3, 1), file(5, 0))]
    {
        let (fields_a, fields_b) = (fields(&a), fields(&b));
        assert_eq!(fields_a.len(), fields_b.len());
        let mut swaps = 0;
        for at in (0..fields_a.len() - 1).filter(|at| fields_a[*at] != fields_b[*at]) {
            let mut mixed = fields_a.clone();
            mixed[at] = fields_b[at].clone();
            assert!(check(&rechecked(mixed.concat().as_bytes())).is_err(), "{}", fields_b[at]);
            swaps += 1;
        }
        assert!(swaps >= 3, "only {swaps} fields differ");
    }
}

/// A file in pieces: one for each field of the outer object.
fn fields(file: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for line in file.split_inclusive('\n') {
        let starts = line.starts_with("  \"");
        match fields.last_mut() {
            Some(last) if !starts => last.push_str(line),
            _ => fields.push(line.to_owned()),
        }
    }
    fields
}

#[test]
fn what_is_no_proof_file_is_refused_within_bounds() {
    let world = dev();
    let file = world.inclusion(&world.ids(world.hour(1))[0], &own(world)).to_file(&world.network).unwrap();
    let text = String::from_utf8(file.clone()).unwrap();
    assert_eq!(check(&vec![b' '; FILE_MAX_BYTES + 1]), Err(ProofError::TooLong));
    for junk in ["", "{}", "[]", "null", "\u{feff}{}", "{\"kind\": \"inclusion\", \"version\": 1}"] {
        assert!(matches!(check(junk.as_bytes()), Err(ProofError::Json(_))), "{junk}");
    }
    let edited = |from: &str, to: &str| check(&rechecked(text.replacen(from, to, 1).as_bytes())).unwrap_err();
    assert_eq!(edited("\"kind\": \"inclusion\"", "\"kind\": \"wish\""), ProofError::Kind);
    assert_eq!(edited("\"version\": 1", "\"version\": 2"), ProofError::Version);
    assert_eq!(edited("\"about\": \"What", "\"about\": \"That"), ProofError::NotCanonical);
    assert_eq!(edited("  \"index\"", "   \"index\""), ProofError::NotCanonical);
    assert!(matches!(edited("  \"index\"", "  \"more\": 1,\n  \"index\""), ProofError::Json(_)));
    assert!(matches!(edited("  \"index\": 0,\n", ""), ProofError::Json(_)));
    assert!(matches!(edited("  \"index\": 0,\n", "  \"index\": 0.0,\n"), ProofError::Json(_)));
    assert!(matches!(edited("  \"index\": 0,\n", "  \"index\": -1,\n"), ProofError::Json(_)));
    assert_eq!(edited("{\n", "{ \n"), ProofError::NotCanonical);
    assert_eq!(check(text.trim_end().as_bytes()), Err(ProofError::NotCanonical));
    // More checkpoints than a file may have, all of one peer, a second apart.
    let many: Vec<SignedCheckpoint> =
        (0..=CHECKPOINTS_MAX as u64).map(|n| world.prover().checkpoint(world.at(10).plus(n))).collect();
    let id = world.ids(world.hour(1))[0];
    let proof = world.inclusion(&id, &many);
    assert_eq!(proof.to_file(&world.network), Err(ProofError::TooManyCheckpoints));
    let most = world.inclusion(&id, &many[1..]).to_file(&world.network).unwrap();
    assert_eq!(check(&most).unwrap().words().len(), CHECKPOINTS_MAX);
    // Two of them in the other order.
    let lines: Vec<&str> = std::str::from_utf8(&most).unwrap().split_inclusive("    {\n").collect();
    let mut swapped = lines.clone();
    let last = swapped.len() - 2;
    swapped.swap(last, last - 1);
    assert_eq!(check(&rechecked(swapped.concat().as_bytes())), Err(ProofError::CheckpointOrder));
}
