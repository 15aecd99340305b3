//! Whole networks that catch up and merge: by sync alone, hop by hop, with failures, and the same in every run.

use super::{
    make::{WORLD, world},
    net::Net,
};

#[test]
fn a_late_joiner_gets_everything_by_sync_alone() {
    let mut net = Net::new(2, 4);
    net.gossip = false;
    net.give(0, world());
    net.link(0, 1);
    net.run(3_000);
    net.assert_converged(WORLD);
    // And then they leave each other in peace: two questions a round each.
    let before = net.questions;
    net.run(60_000);
    assert!(net.questions - before <= 12, "{} questions in a minute", net.questions - before);
}

#[test]
fn a_late_joiner_with_many_peers_asks_for_each_transaction_once() {
    let mut net = Net::new(6, 5);
    net.gossip = false;
    for node in 0..5 {
        net.give(node, world());
        net.link(node, 5);
    }
    net.run(5_000);
    net.assert_converged(WORLD);
}

#[test]
fn what_each_side_lacks_flows_both_ways() {
    let mut net = Net::new(2, 6);
    net.gossip = false;
    // Both have the first ten; then each has what the other lacks, with parents of its own.
    let network = qasedak_chain::Network::dev();
    let shared = &world()[..10];
    let more = |number: u8| {
        let tip = &shared[usize::from(number % 10)];
        super::make::make(&network, &[tip.id()], super::make::noon().rounded_down(), number)
    };
    let left: Vec<_> = (50..58).map(more).collect();
    let right: Vec<_> = (60..65).map(more).collect();
    net.give(0, shared);
    net.give(1, shared);
    net.give(0, &left);
    net.give(1, &right);
    net.link(0, 1);
    net.run(3_000);
    net.assert_converged(10 + 8 + 5);
}

#[test]
fn a_line_catches_up_hop_by_hop_without_waiting_for_rounds() {
    let mut net = Net::new(5, 7);
    net.gossip = false;
    (2..5).for_each(|node| net.link(node - 1, node));
    net.run(2_500);
    net.give(0, world());
    net.link(0, 1);
    // Four hops; a round of comparisons alone would take some twenty seconds for each.
    net.run(12_000);
    net.assert_converged(WORLD);
}

#[test]
fn two_islands_merge_through_one_link() {
    let mut net = Net::new(6, 8);
    for (a, b) in [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5)] {
        net.link(a, b);
    }
    net.run(2_000);
    let network = qasedak_chain::Network::dev();
    let other: Vec<_> = (70..80)
        .map(|number| super::make::make(&network, &[network.genesis()], super::make::noon().rounded_down(), number))
        .collect();
    for (number, transaction) in world().iter().enumerate() {
        net.own(number % 3, transaction);
        net.run(50);
    }
    for (number, transaction) in other.iter().enumerate() {
        net.own(3 + number % 3, transaction);
    }
    net.run(5_000);
    assert_eq!((net.count(0), net.count(5)), (WORLD as u64, 10));
    net.link(2, 3);
    net.run(10_000);
    net.assert_converged(WORLD + 10);
}

#[test]
fn a_mute_peer_does_not_keep_the_others_from_delivering() {
    let mut net = Net::new(4, 9);
    net.gossip = false;
    for node in 0..3 {
        net.give(node, world());
        net.link(node, 3);
    }
    // Mute from the moment on which it is asked for transactions.
    net.run(60);
    net.mute.insert(0);
    net.run(30_000);
    net.assert_converged(WORLD);
}

#[test]
fn a_node_that_crashes_in_the_middle_ends_with_everything() {
    let mut net = Net::line(3, 10);
    net.run(1_000);
    for (number, transaction) in world().iter().enumerate() {
        net.own(number % 3, transaction);
        net.run(20);
        if number % 9 == 8 {
            net.restart(1);
            net.run(200);
            net.link(0, 1);
            net.link(1, 2);
        }
    }
    net.run(60_000);
    // Messages that were open when the node went down have no verdict, so this asks only for the sets.
    assert_eq!(net.faults, []);
    for node in 0..3 {
        assert_eq!(net.count(node), WORLD as u64);
    }
}

#[test]
fn the_same_seed_gives_the_same_outputs() {
    let run = |seed| {
        let mut net = Net::line(4, seed);
        net.run(1_000);
        for (number, transaction) in world().iter().enumerate() {
            net.own(number % 4, transaction);
            net.run(30);
            if number == 12 {
                net.cut(1, 2);
            }
            if number == 25 {
                net.link(1, 2);
            }
        }
        net.run(120_000);
        net.assert_converged(WORLD);
        net.trace.finalize()
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12), "the seed moves the rounds");
}
