//! The daily budget: what waits, what enters first, what never waits.

use qasedak_chain::{Network, Transaction};

use super::{
    make::{make, noon, world},
    net::Net,
    solo::{Solo, faults, verdicts},
    sync::serve_from,
};
use crate::engine::{Engine, Input, Output, Verdict, budget::BudgetStatus};

/// A node whose budget is a little more than this many bytes, and fills by one byte a second.
fn with_budget(bytes: u64) -> Solo {
    let mut solo = Solo::new();
    solo.engine = Engine::new(Network::dev(), [7; 32]).with_daily_bytes(bytes);
    solo
}

fn siblings(count: u8) -> Vec<Transaction> {
    let network = Network::dev();
    (0..count).map(|nth| make(&network, &[network.genesis()], noon().rounded_down(), 100 + nth)).collect()
}

fn work(one: &Transaction) -> u64 {
    one.header().stamp().work(&one.header().signed().challenge(&Network::dev())).get()
}

#[test]
fn what_the_budget_has_no_room_for_waits_and_the_most_work_enters_first() {
    let mut solo = with_budget(600);
    solo.meet(1);
    let all = siblings(8);
    for (nth, one) in all.iter().enumerate() {
        let (token, out) = solo.gossip(1, one.to_bytes());
        let out = solo.check_all(out);
        let verdict = if nth == 0 { Verdict::Accept } else { Verdict::Ignore };
        assert_eq!(verdicts(&out), [(token, verdict)], "what is not kept is not relayed");
    }
    assert!(solo.holds(&all[0]));
    let size = all[1].to_bytes().len();
    let held = BudgetStatus { daily_bytes: 600, waiting: 7, waiting_bytes: 7 * size };
    assert_eq!(solo.engine.status().budget, held);
    // The bucket fills by a byte a second: one enters each time that it has paid for the one before.
    let mut by_work: Vec<&Transaction> = all[1..].iter().collect();
    by_work.sort_by_key(|one| std::cmp::Reverse(work(one)));
    for (nth, one) in by_work.into_iter().enumerate() {
        let before = solo.ledger.summary().count;
        while solo.ledger.summary().count == before {
            solo.wait(10_000);
        }
        assert!(solo.holds(one), "number {nth}");
    }
    assert_eq!(solo.engine.status().budget.waiting, 0);
}

#[test]
fn own_transactions_never_wait() {
    let mut solo = with_budget(1);
    solo.meet(1);
    let all = siblings(3);
    for one in &all[..2] {
        let (_, out) = solo.gossip(1, one.to_bytes());
        solo.check_all(out);
    }
    assert_eq!(solo.engine.status().budget.waiting, 1);
    let own = super::make::verified(&Network::dev(), &all[2]);
    let out = solo.tell(Input::Own(Box::new(own)));
    assert!(out.iter().any(|output| matches!(output, Output::Publish { .. })));
    solo.tell(Input::Published { id: all[2].id(), sent: true });
    assert!(solo.holds(&all[2]));
}

#[test]
fn what_waits_is_not_fetched_again_and_a_child_of_it_waits_too() {
    let mut solo = with_budget(1);
    let mut server = Solo::holding(world());
    let out = solo.meet(1);
    let out = serve_from(&mut solo, &mut server, 1, out);
    assert_eq!(faults(&out), []);
    assert_eq!(solo.ledger.summary().count, 1, "the first one; a byte was left");
    let status = solo.engine.status();
    assert_eq!((status.budget.waiting, status.waiting), (1, world().len() - 2));
    // Time brings all of it in, parents first: a byte a second. Answers come while their questions are open.
    let bytes: usize = world().iter().map(|one| one.to_bytes().len()).sum();
    let mut waited = 0;
    while solo.ledger.summary().digest != server.ledger.summary().digest {
        assert!(waited < 2 * bytes, "{} of {} after {waited} s", solo.ledger.summary().count, world().len());
        let out = solo.wait(5_000);
        waited += 5;
        serve_from(&mut solo, &mut server, 1, out);
    }
}

#[test]
fn nodes_with_a_budget_converge_once_it_allows() {
    let mut net = Net::new(3, 31);
    net.nodes[1].engine = Engine::new(Network::dev(), [9; 32]).with_daily_bytes(20_000);
    net.gossip = false;
    net.give(0, world());
    net.link(0, 1);
    net.link(1, 2);
    net.run(30_000);
    assert!(net.count(1) < world().len() as u64 && net.count(1) > 20);
    net.run(20_000_000);
    net.assert_converged(world().len());
}
