//! Peers that lie in sync: each lie is a fault, costs one connection, and nothing else.

use super::{
    make::{make, noon, world},
    solo::{Solo, asks, faults, the_ask, verdicts},
    sync::{ask_server, serve_from, up_to_transactions},
};
use crate::{
    engine::{Fault, Input, Output, Peer, Token, Verdict},
    wire::{DayDigest, Place, Request, Response, wire_id},
};
use qasedak_chain::{Network, time::DAY_SECS};

/// A session with peer 1 up to the question for a day.
fn up_to_day(solo: &mut Solo) -> (Token, u64) {
    let (token, _) = the_ask(&solo.meet(1));
    let (token, request) = the_ask(&solo.answer(1, token, Response::Digest { count: 90, digest: [1; 32] }));
    assert!(matches!(request, Request::Days { from: 0 }));
    let days = vec![DayDigest { day: 20_800, count: 90, digest: [1; 32] }];
    let (token, request) = the_ask(&solo.answer(1, token, Response::Days(days)));
    match request {
        Request::Day { day, after: None, .. } => (token, day),
        other => panic!("expected a question for a day, got {other:?}"),
    }
}

fn blames(out: &[Output], fault: Fault) {
    assert_eq!(faults(out), [(Peer(1), fault)]);
    assert!(asks(out).iter().all(|(peer, ..)| *peer != Peer(1)));
}

fn place(day: u64, second: u64, id: u8) -> Place {
    Place { time: day * DAY_SECS + second, depth: 1, id: [id; 32] }
}

#[test]
fn an_answer_of_another_kind_is_a_fault() {
    for response in [Response::Days(vec![]), Response::Day(vec![]), Response::Transactions(vec![])] {
        let mut solo = Solo::new();
        let (token, _) = the_ask(&solo.meet(1));
        blames(&solo.answer(1, token, response), Fault::WrongAnswer);
    }
}

#[test]
fn lists_of_days_must_ascend_and_name_days_that_have_something() {
    let day = |day, count| DayDigest { day, count, digest: [1; 32] };
    for list in [vec![day(7, 1), day(7, 1)], vec![day(8, 1), day(7, 1)], vec![day(7, 0)]] {
        let mut solo = Solo::new();
        let (token, _) = the_ask(&solo.meet(1));
        let (token, _) = the_ask(&solo.answer(1, token, Response::Digest { count: 90, digest: [1; 32] }));
        blames(&solo.answer(1, token, Response::Days(list)), Fault::WrongAnswer);
    }
}

#[test]
fn lists_of_places_must_ascend_within_their_day() {
    let lists: [fn(u64) -> Vec<Place>; 5] = [
        |_| vec![],
        |day| vec![place(day, 5, 1), place(day, 5, 1)],
        |day| vec![place(day, 6, 1), place(day, 5, 1)],
        |day| vec![place(day, 5, 1), place(day + 1, 5, 1)],
        |day| (0..9_000).map(|second| place(day, second, 1)).collect(),
    ];
    for list in lists {
        let mut solo = Solo::new();
        let (token, day) = up_to_day(&mut solo);
        blames(&solo.answer(1, token, Response::Day(list(day))), Fault::WrongAnswer);
    }
}

#[test]
fn transactions_that_were_not_asked_for_or_stand_out_of_order_are_a_fault() {
    let network = Network::dev();
    let stranger = make(&network, &[network.genesis()], noon().rounded_down(), 111);
    let bytes = |ids: &[[u8; 32]]| -> Vec<Vec<u8>> {
        ids.iter().map(|id| world().iter().find(|one| wire_id(&one.id()) == *id).unwrap().to_bytes()).collect()
    };
    type Lie = fn(Vec<Vec<u8>>, Vec<u8>) -> Vec<Vec<u8>>;
    let lies: [Lie; 3] = [
        |_, stranger| vec![stranger],
        |mut page, _| {
            page.swap(0, 1);
            page
        },
        |mut page, _| {
            page[1] = page[0].clone();
            page
        },
    ];
    for lie in lies {
        let (mut solo, mut server) = (Solo::new(), Solo::holding(world()));
        let (token, ids, _) = up_to_transactions(&mut solo, &mut server, 1);
        let page = lie(bytes(&ids), stranger.to_bytes());
        blames(&solo.answer(1, token, Response::Transactions(page)), Fault::WrongAnswer);
    }
}

#[test]
fn an_invalid_transaction_in_a_page_is_a_fault_and_the_rest_comes_from_another_peer() {
    for at_byte in [0_usize, 140, 400] {
        let (mut solo, mut server) = (Solo::new(), Solo::holding(world()));
        let (token, ids, max_bytes) = up_to_transactions(&mut solo, &mut server, 1);
        let Response::Transactions(mut page) =
            ask_server(&mut server, Request::Transactions { ids: ids.clone(), max_bytes })
        else {
            panic!("no page");
        };
        page[2][at_byte] ^= 1;
        let out = solo.answer(1, token, Response::Transactions(page));
        let out = solo.check_all(out);
        // A byte of the signature changes the id as well: then it is one that was not asked for.
        assert!(matches!(faults(&out)[..], [(Peer(1), Fault::InvalidTransaction(_) | Fault::WrongAnswer)]));
        let out = solo.meet(2);
        serve_from(&mut solo, &mut server, 2, out);
        assert_eq!(solo.ledger.summary().digest, server.ledger.summary().digest);
    }
}

#[test]
fn a_listed_transaction_that_does_not_verify_is_a_fault() {
    // The peer lists the id of what it sends, so only verification finds out.
    let mut solo = Solo::new();
    let (token, _) = up_to_day(&mut solo);
    let mut forged = world()[0].to_bytes();
    forged[187 + 32 - 24 - 64] ^= 1;
    let forged = qasedak_chain::Transaction::from_bytes(&Network::dev(), &forged).unwrap();
    let place = Place { time: 20_800 * DAY_SECS + 60, depth: 1, id: wire_id(&forged.id()) };
    let (token, _) = the_ask(&solo.answer(1, token, Response::Day(vec![place])));
    let out = solo.answer(1, token, Response::Transactions(vec![forged.to_bytes()]));
    let out = solo.check_all(out);
    assert!(matches!(faults(&out)[..], [(Peer(1), Fault::InvalidTransaction(_))]));
    assert_eq!(solo.ledger.summary().count, 0);
}

#[test]
fn a_peer_that_lists_what_it_never_delivers_is_left_alone_longer_each_time() {
    let mut solo = Solo::new();
    let mut questions = 0;
    let mut out = solo.meet(1);
    for _ in 0..3_600 {
        while let Some((_, token, request)) = asks(&out).into_iter().next_back() {
            questions += 1;
            let response = match request {
                Request::Digest { .. } => Response::Digest { count: 90_000, digest: [1; 32] },
                Request::Days { .. } => Response::Days(vec![DayDigest { day: 20_800, count: 90_000, digest: [1; 32] }]),
                Request::Day { max, .. } => {
                    Response::Day((0..u64::from(max)).map(|second| place(20_800, second, questions as u8)).collect())
                }
                Request::Transactions { .. } => Response::Transactions(vec![]),
                Request::Aliased { .. } => Response::Transactions(vec![]),
                Request::Reconcile { .. } => Response::Reconciled(None),
                Request::Checkpoint { .. } => panic!("filtered"),
            };
            out = solo.answer(1, token, response);
        }
        out = solo.wait(1_000);
    }
    assert!(questions < 200, "{questions} questions in an hour");
    assert_eq!(solo.engine.status().wanted, 0);
}

#[test]
fn broken_framing_is_a_fault_and_a_broken_connection_is_none() {
    let mut solo = Solo::new();
    let (token, _) = the_ask(&solo.meet(1));
    assert_eq!(faults(&solo.tell(Input::Failed { peer: Peer(1), token, fault: false })), []);
    let (token, _) = the_ask(&solo.wait(10_000));
    blames(&solo.tell(Input::Failed { peer: Peer(1), token, fault: true }), Fault::Malformed);
    assert_eq!(solo.engine.status().peers, []);
}

#[test]
fn a_store_that_fails_is_nobodys_fault_and_the_driver_hears_of_it_once() {
    let mut solo = Solo::new();
    solo.meet(1);
    // A failed flush: the store takes no more.
    let (_, out) = solo.gossip(1, world()[0].to_bytes());
    solo.check_all(out);
    solo.ledger.flush(noon()).unwrap();
    solo.ledger.flushed(false);
    let (token, out) = solo.gossip(1, world()[1].to_bytes());
    let out = solo.check_all(out);
    assert_eq!(verdicts(&out), [(token, Verdict::Ignore)]);
    assert_eq!(faults(&out), []);
    assert_eq!(out.iter().filter(|output| matches!(output, Output::StoreFailed(_))).count(), 1);
    assert_eq!(solo.engine.status().failures.count, 1);
    assert_eq!(solo.tell(Input::Tick).len(), 0);
}
