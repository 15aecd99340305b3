//! Reconciliation between engines: what flows, what is asked, who is blamed, and what an asker may cost.

use std::sync::OnceLock;

use qasedak_chain::{Network, Time, Transaction, time::TIME_END_SECS};

use super::{
    make::{make, noon},
    net::Net,
    solo::{Solo, answers, asks, faults, the_ask},
    sync::{ask_server, serve_from},
};
use crate::{
    engine::{Fault, Input, Output, Peer, Token, status::PeerStatus},
    wire::{Alias, DayDigest, Request, Response},
};

/// Transactions of one day, each under the one twenty before.
fn crowd() -> &'static [Transaction] {
    static CROWD: OnceLock<Vec<Transaction>> = OnceLock::new();
    CROWD.get_or_init(|| {
        let network = Network::dev();
        let mut crowd: Vec<Transaction> = Vec::new();
        for number in 0..240_u64 {
            let parent = crowd.len().checked_sub(20).map_or(network.genesis(), |at| crowd[at].id());
            let time = noon().plus(number / 10 * 60).rounded_down();
            crowd.push(make(&network, &[parent], time, number as u8));
        }
        crowd
    })
}

/// All of the crowd but every fourth of its last layer, so that nobody lacks a parent of what it has.
fn without(nth: usize) -> Vec<Transaction> {
    let lacks = |at: usize| at >= 220 && at % 4 == nth;
    crowd().iter().enumerate().filter(|(at, _)| !lacks(*at)).map(|(_, one)| one.clone()).collect()
}

fn kinds(out: &[Output]) -> Vec<&'static str> {
    let name = |request: &Request| match request {
        Request::Digest { .. } => "digest",
        Request::Days { .. } => "days",
        Request::Day { .. } => "day",
        Request::Transactions { .. } => "transactions",
        Request::Reconcile { .. } => "reconcile",
        Request::Aliased { .. } => "aliased",
        Request::Checkpoint { .. } => "checkpoint",
    };
    asks(out).iter().map(|(.., request)| name(request)).collect()
}

/// A session with peer 1 up to the first round, and the server that it is with.
fn up_to_round(solo: &mut Solo, server: &mut Solo) -> (Token, Request) {
    let mut out = solo.meet(1);
    loop {
        let (token, request) = the_ask(&out);
        if matches!(request, Request::Reconcile { .. }) {
            return (token, request);
        }
        let answer = ask_server(server, request);
        out = solo.answer(1, token, answer);
    }
}

#[test]
fn a_day_that_differs_in_little_is_reconciled_and_not_listed() {
    let (mut solo, mut server) = (Solo::holding(&without(0)), Solo::holding(crowd()));
    let out = solo.meet(1);
    let out = serve_from(&mut solo, &mut server, 1, out);
    assert_eq!(solo.ledger.summary().digest, server.ledger.summary().digest);
    let kinds = kinds(&out);
    assert!(kinds.contains(&"reconcile") && kinds.contains(&"aliased"), "{kinds:?}");
    assert!(!kinds.contains(&"day") && !kinds.contains(&"transactions"), "{kinds:?}");
    assert_eq!(faults(&out), []);
}

/// A span with its end behind the last second is malformed: whoever asked for one was turned out.
#[test]
fn the_last_of_all_days_is_listed_however_much_is_dated_on_it() {
    let network = Network::dev();
    let last_minute = Time::from_secs(TIME_END_SECS - 1).rounded_down();
    let there: Vec<Transaction> =
        (0..80).map(|number| make(&network, &[network.genesis()], last_minute, number)).collect();
    let (mut solo, mut server) = (Solo::holding(&there[..60]), Solo::holding(&there));
    let out = solo.meet(1);
    let out = serve_from(&mut solo, &mut server, 1, out);
    for (_, _, request) in asks(&out) {
        let bytes = request.to_bytes().unwrap();
        assert_eq!(Request::from_bytes(&bytes).as_ref(), Ok(&request));
    }
    assert_eq!(solo.ledger.summary().digest, server.ledger.summary().digest);
    assert_eq!(faults(&out), []);
}

#[test]
fn what_each_side_lacks_flows_both_ways_and_from_many_peers_once() {
    let mut net = Net::new(4, 21);
    net.gossip = false;
    net.give(0, &without(0));
    net.give(1, &without(1));
    net.give(2, &without(2));
    net.give(3, &without(3));
    (1..4).for_each(|node| net.link(0, node));
    net.run(30_000);
    net.assert_converged(crowd().len());
    assert_eq!(net.transactions_sent(0), 5, "each of those that it lacked was sent to it once");
}

#[test]
fn an_older_peer_is_listed() {
    let (mut solo, mut server) = (Solo::holding(&without(0)), Solo::holding(crowd()));
    let (token, _) = up_to_round(&mut solo, &mut server);
    let out = solo.tell(Input::Unsupported { peer: Peer(1), token });
    assert_eq!(kinds(&out), ["day"]);
    let out = serve_from(&mut solo, &mut server, 1, out);
    assert_eq!(solo.ledger.summary().digest, server.ledger.summary().digest);
    assert_eq!((faults(&out), kinds(&out).contains(&"reconcile")), (vec![], false));
}

#[test]
fn a_peer_with_too_much_is_asked_for_shorter_spans_and_listed_at_last() {
    let (mut solo, mut server) = (Solo::holding(&without(0)), Solo::holding(crowd()));
    let (mut token, mut request) = up_to_round(&mut solo, &mut server);
    let mut last = 86_400;
    while let Request::Reconcile { from, to, .. } = request {
        assert!(to - from <= last, "shorter each time, or its sister");
        last = to - from;
        (token, request) = the_ask(&solo.answer(1, token, Response::Reconciled(None)));
    }
    assert!(matches!(request, Request::Day { .. }) && last == 60, "{request:?}, {last}");
    assert!(solo.engine.status().peers.iter().all(|PeerStatus { syncing, .. }| *syncing));
    assert_eq!(faults(&solo.answer(1, token, Response::Days(vec![]))), [(Peer(1), Fault::WrongAnswer)]);
}

#[test]
fn answers_that_are_no_messages_are_a_fault() {
    let list_of_one = [&[0x61, 0, 0, 2, 1][..], &[9; 8]].concat();
    let lies: [Response; 5] = [
        Response::Reconciled(Some(vec![])),
        Response::Reconciled(Some(vec![0x60])),
        Response::Reconciled(Some(vec![0x61, 0, 0, 9])),
        Response::Reconciled(Some([&list_of_one[..], &[1]].concat())),
        Response::Days(vec![]),
    ];
    for lie in lies {
        let (mut solo, mut server) = (Solo::holding(&without(0)), Solo::holding(crowd()));
        let (token, _) = up_to_round(&mut solo, &mut server);
        assert_eq!(faults(&solo.answer(1, token, lie)), [(Peer(1), Fault::WrongAnswer)]);
    }
}

#[test]
fn a_made_up_alias_is_never_delivered_and_what_was_not_asked_for_is_a_fault() {
    let list_of_one = [&[0x61, 0, 0, 2, 1][..], &[9; 8]].concat();
    for lie in [vec![], vec![crowd()[3].to_bytes()]] {
        let (mut solo, mut server) = (Solo::holding(&without(0)), Solo::holding(crowd()));
        let (token, _) = up_to_round(&mut solo, &mut server);
        let (token, request) = the_ask(&solo.answer(1, token, Response::Reconciled(Some(list_of_one.clone()))));
        let Request::Aliased { aliases, .. } = request else { panic!("{request:?}") };
        assert_eq!(aliases, [Alias::from_bytes([9; 8])]);
        let expected = if lie.is_empty() { vec![] } else { vec![(Peer(1), Fault::WrongAnswer)] };
        let out = solo.answer(1, token, Response::Transactions(lie));
        assert_eq!(faults(&out), expected);
    }
}

#[test]
fn endless_rounds_end_in_a_list() {
    let (mut solo, mut server) = (Solo::holding(&without(0)), Solo::holding(crowd()));
    let (mut token, mut request) = up_to_round(&mut solo, &mut server);
    let mut rounds = 0;
    while matches!(request, Request::Reconcile { .. }) {
        rounds += 1;
        let lie = [&[0x61, 0, 0, 1][..], &[rounds as u8; 16]].concat();
        (token, request) = the_ask(&solo.answer(1, token, Response::Reconciled(Some(lie))));
    }
    assert!(rounds <= 64 && matches!(request, Request::Day { .. }), "{rounds} rounds, then {request:?}");
    // The list cannot be lied about so: all of it comes after all.
    let answer = ask_server(&mut server, request);
    let out = solo.answer(1, token, answer);
    serve_from(&mut solo, &mut server, 1, out);
    assert_eq!(solo.ledger.summary().digest, server.ledger.summary().digest);
}

#[test]
fn a_peer_that_says_that_nothing_differs_is_listed_the_next_time() {
    let (mut solo, mut server) = (Solo::holding(&without(0)), Solo::holding(crowd()));
    let (token, _) = up_to_round(&mut solo, &mut server);
    let mut out = solo.answer(1, token, Response::Reconciled(Some(vec![0x61])));
    let mut seen = Vec::new();
    for _ in 0..60 {
        seen.extend(kinds(&out));
        out = serve_from(&mut solo, &mut server, 1, out);
        seen.extend(kinds(&out));
        out = solo.wait(1_000);
    }
    assert!(seen.contains(&"day"), "{seen:?}");
    assert_eq!(solo.ledger.summary().digest, server.ledger.summary().digest);
}

#[test]
fn where_only_this_node_has_more_sessions_become_rare() {
    let (mut solo, mut server) = (Solo::holding(crowd()), Solo::holding(&without(0)));
    let mut out = solo.meet(1);
    let mut rounds = 0;
    for _ in 0..3_600 {
        out = serve_from(&mut solo, &mut server, 1, out);
        rounds += kinds(&out).iter().filter(|kind| **kind == "days").count();
        out = solo.wait(1_000);
    }
    assert!((4..=20).contains(&rounds), "{rounds} sessions in an hour for nothing");
}

#[test]
fn a_question_that_is_no_message_is_a_fault() {
    let mut solo = Solo::holding(crowd());
    solo.meet(1);
    let day = noon().secs() / 86_400 * 86_400;
    let ask = |message| Request::Reconcile { salt: [3; 16], from: day, to: day + 86_400, message };
    let out = solo.ask(1, ask(vec![0x61]));
    assert_eq!(answers(&out), [Response::Reconciled(Some(vec![0x61]))]);
    assert_eq!(faults(&solo.ask(1, ask(vec![0x61, 0, 0, 7]))), [(Peer(1), Fault::Malformed)]);
}

#[test]
fn who_has_much_hashed_for_it_is_told_to_wait() {
    let mut solo = Solo::holding(crowd());
    solo.meet(1);
    let day = noon().secs() / 86_400 * 86_400;
    let mut answered = 0_u64;
    // A new salt each time, so that nothing can be kept; within its share of questions.
    for nth in 0..20_000_u32 {
        let mut salt = [0; 16];
        salt[..4].copy_from_slice(&nth.to_le_bytes());
        let out = solo.ask(1, Request::Reconcile { salt, from: day, to: day + 86_400, message: vec![0x61] });
        assert_eq!(faults(&out), []);
        solo.now.elapsed_ms += 16;
        if answers(&out) == [Response::Busy] {
            break;
        }
        answered += 1;
    }
    let passed_s = answered * 16 / 1_000;
    let allowed = (2_500_000 + 20_000 * passed_s) / 241 + 2;
    assert!(answered <= allowed, "{answered} answers, {allowed} allowed");
    // Another peer is served meanwhile.
    solo.meet(2);
    let out = solo.ask(2, Request::Reconcile { salt: [9; 16], from: day, to: day + 86_400, message: vec![0x61] });
    assert_eq!(answers(&out), [Response::Reconciled(Some(vec![0x61]))]);
}

#[test]
fn a_day_that_the_peer_lists_falsely_is_no_fault_of_reconciling() {
    // The day's digest is a lie: nothing differs, nothing comes, nobody is blamed, and it does not go on for ever.
    let mut solo = Solo::holding(crowd());
    let mut out = solo.meet(1);
    let mut questions = 0;
    let mut server = Solo::holding(crowd());
    for _ in 0..600 {
        while let Some((_, token, request)) = asks(&out).into_iter().next_back() {
            questions += 1;
            let answer = match request {
                Request::Digest { .. } => Response::Digest { count: 240, digest: [5; 32] },
                Request::Days { .. } => {
                    let day = noon().secs() / 86_400;
                    Response::Days(vec![DayDigest { day, count: 240, digest: [5; 32] }])
                }
                other => ask_server(&mut server, other),
            };
            out = solo.answer(1, token, answer);
            assert_eq!(faults(&out), []);
        }
        out = solo.wait(1_000);
    }
    assert!(questions < 100, "{questions} questions in ten minutes");
}

/// An asker keeps its salt as long as a session goes on, however slow: it must not be answered from an old view.
#[test]
fn what_came_since_the_last_session_is_in_the_answer_under_the_same_salt() {
    let (mut solo, mut server) = (Solo::holding(&without(0)), Solo::holding(&without(1)));
    let (_, request) = up_to_round(&mut solo, &mut server);
    let before = ask_server(&mut server, request.clone());
    for one in crowd() {
        let verified = super::make::verified(&Network::dev(), one);
        server.ledger.append(verified, server.now.system, false).ok();
    }
    server.now.elapsed_ms += 3_000;
    assert_ne!(ask_server(&mut server, request), before);
}
