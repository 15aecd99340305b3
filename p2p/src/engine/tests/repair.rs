//! Bodies that are missing here: found by the walk, asked of one peer after the other, taken only if they are right.

use qasedak_chain::{Network, Transaction, rules::Verified, time::DAY_SECS};

use super::{
    make::{make, noon, verified, world},
    net::Net,
    solo::{Solo, asks, faults},
};
use crate::{
    engine::{Fault, Output, Peer, Token},
    wire::{Request, Response, wire_id},
};

/// One from so far in the future that its header alone is accepted, with its body.
fn of_the_future(number: u8) -> Transaction {
    let network = Network::dev();
    make(&network, &[network.genesis()], noon().rounded_down().plus(4 * DAY_SECS), number)
}

fn header_of(transaction: &Transaction) -> Verified {
    let network = Network::dev();
    verified(&network, &Transaction::new(&network, transaction.header().clone(), None).unwrap())
}

/// A node that holds the header alone.
fn lacking(transactions: &[Transaction]) -> Solo {
    let mut solo = Solo::new();
    for transaction in transactions {
        solo.ledger.append(header_of(transaction), noon(), false).unwrap();
    }
    solo.ledger.flush_now(noon()).unwrap();
    solo
}

fn has_body(solo: &Solo, transaction: &Transaction) -> bool {
    let position = solo.ledger.position(&transaction.id()).unwrap().unwrap();
    solo.ledger.transaction(position).unwrap().unwrap().body().is_some()
}

/// The question for bodies in `out`, if there is one.
fn asked(out: &[Output]) -> Option<(Peer, Token, Vec<[u8; 32]>)> {
    asks(out).into_iter().find_map(|(peer, token, request)| match request {
        Request::Transactions { ids, .. } => Some((peer, token, ids)),
        _ => None,
    })
}

#[test]
fn a_body_that_never_came_is_fetched_from_whoever_has_it() {
    let lost = of_the_future(90);
    let mut net = Net::new(2, 4);
    net.give(0, world());
    net.give(1, world());
    net.give(1, std::slice::from_ref(&lost));
    net.nodes[0].ledger.append(header_of(&lost), noon(), false).unwrap();
    net.link(0, 1);
    net.run(30_000);
    let node = &net.nodes[0];
    let position = node.ledger.position(&lost.id()).unwrap().unwrap();
    assert_eq!(node.ledger.transaction(position).unwrap().unwrap(), lost);
    let status = node.engine.status().repair;
    assert_eq!((status.wanted, status.repaired), (0, 1));
    net.assert_converged(world().len() + 1);
    // Durable, too.
    let after_a_crash = node.ledger.store().crashed();
    let ledger = qasedak_chain::Ledger::open(Network::dev(), after_a_crash).unwrap();
    assert_eq!(ledger.transaction(position).unwrap().unwrap(), lost);
}

#[test]
fn one_peer_after_the_other_is_asked_and_again_after_a_while() {
    let lost = of_the_future(91);
    let mut solo = lacking(std::slice::from_ref(&lost));
    solo.meet(1);
    solo.meet(2);
    let out = solo.wait(1_000);
    let (first, token, ids) = asked(&out).expect("a question");
    assert_eq!(ids, [wire_id(&lost.id())]);
    solo.answer(first.0, token, Response::Transactions(vec![]));
    let (second, token, _) = asked(&solo.wait(1_000)).expect("another peer");
    assert_ne!(first, second);
    // It has the header alone as well.
    let header = Transaction::new(&Network::dev(), lost.header().clone(), None).unwrap();
    solo.answer(second.0, token, Response::Transactions(vec![header.to_bytes()]));
    assert_eq!(asked(&solo.wait(4_000)), None, "nobody is left to be asked");
    assert_eq!(solo.engine.status().repair.wanted, 1);
    // A little later both are asked anew.
    let mut found = None;
    for _ in 0..15 {
        found = asked(&solo.wait(1_000));
        if found.is_some() {
            break;
        }
    }
    let (peer, token, _) = found.expect("asked again");
    let out = solo.answer(peer.0, token, Response::Transactions(vec![lost.to_bytes()]));
    assert!(out.contains(&Output::Grown) && has_body(&solo, &lost));
    assert_eq!(solo.engine.status().repair.wanted, 0);
}

#[test]
fn busy_and_silent_peers_are_not_blamed() {
    let lost = of_the_future(92);
    let mut solo = lacking(std::slice::from_ref(&lost));
    solo.meet(1);
    let (_, token, _) = asked(&solo.wait(1_000)).expect("a question");
    assert_eq!(faults(&solo.answer(1, token, Response::Busy)), []);
    let (_, _, ids) = asked(&solo.wait(5_000)).expect("asked again soon");
    assert_eq!(ids, [wire_id(&lost.id())]);
    assert_eq!(faults(&solo.wait(30_000)), [], "nor for silence");
}

#[test]
fn what_was_not_asked_for_or_is_not_right_is_a_fault_and_not_taken() {
    let (lost, other) = (of_the_future(93), of_the_future(94));
    let mut wrong = lost.to_bytes();
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    for (answer, fault) in [
        (vec![wrong], None),
        (vec![other.to_bytes()], Some(Fault::WrongAnswer)),
        (vec![lost.to_bytes(), lost.to_bytes()], Some(Fault::WrongAnswer)),
    ] {
        let taken = answer.len() == 2;
        let mut solo = lacking(std::slice::from_ref(&lost));
        solo.meet(1);
        let (_, token, _) = asked(&solo.wait(1_000)).expect("a question");
        let out = solo.answer(1, token, Response::Transactions(answer));
        match (fault, &faults(&out)[..]) {
            (None, [(Peer(1), Fault::InvalidTransaction(_))]) => {}
            (Some(expected), [(Peer(1), found)]) if *found == expected => {}
            (_, found) => panic!("{found:?}"),
        }
        assert_eq!(has_body(&solo, &lost), taken);
    }
}

#[test]
fn the_list_is_bounded_and_whole_ledgers_want_nothing() {
    let mut solo = Solo::holding(world());
    solo.meet(1);
    assert_eq!(asked(&solo.wait(60_000)), None);
    assert_eq!(solo.engine.status().repair.wanted, 0);
    let mut repair = crate::engine::repair::Repair::default();
    for number in 0..10_000_u64 {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        repair.want(qasedak_chain::TxId::from_bytes(id));
    }
    assert_eq!(repair.status().wanted, 4_096);
}

/// One bare header a question is no body at all: whoever has the bodies is asked as well.
#[test]
fn a_liar_with_the_lowest_number_keeps_no_body_from_being_asked_of_others() {
    let lost: Vec<Transaction> = (100..112).map(of_the_future).collect();
    let mut solo = lacking(&lost);
    solo.meet(1);
    solo.meet(2);
    let find = |id: &[u8; 32]| lost.iter().find(|one| wire_id(&one.id()) == *id).unwrap();
    for _ in 0..60 {
        let mut out = solo.wait(1_000);
        while let Some((peer, token, ids)) = asked(&out) {
            let page = match peer {
                Peer(1) => vec![header_of(find(&ids[0])).transaction().to_bytes()],
                _ => ids.iter().map(|id| find(id).to_bytes()).collect(),
            };
            out = solo.answer(peer.0, token, Response::Transactions(page));
        }
    }
    assert_eq!(solo.engine.status().repair.wanted, 0);
    assert!(lost.iter().all(|one| has_body(&solo, one)));
}

#[test]
fn one_who_takes_its_time_keeps_no_body_from_being_asked_of_others() {
    let lost = of_the_future(95);
    let mut solo = lacking(std::slice::from_ref(&lost));
    solo.meet(1);
    solo.meet(2);
    let (first, ..) = asked(&solo.wait(1_000)).expect("a question");
    let (second, token, _) = asked(&solo.wait(3_000)).expect("another peer, while the first has not answered");
    assert_ne!(first, second);
    solo.answer(second.0, token, Response::Transactions(vec![lost.to_bytes()]));
    assert!(has_body(&solo, &lost));
}
