//! One side of sync against a peer in the hands of the test: order, pages, busy peers, stalls, missing bodies.

use std::collections::BTreeSet;

use qasedak_chain::{Transaction, store::Store};

use super::{
    make::{self, world},
    solo::{Solo, asks, faults, the_ask},
};
use crate::{
    engine::{Input, Now, Output, Peer, Token},
    wire::{Request, Response, wire_id},
};

/// Answers questions as a peer that holds `server`'s ledger, until nothing is asked but comparisons.
pub(super) fn serve_from(solo: &mut Solo, server: &mut Solo, peer: u64, out: Vec<Output>) -> Vec<Output> {
    let mut all = solo.check_all(out);
    let mut at = 0;
    while at < all.len() {
        if let Output::Ask { peer: Peer(to), token, request } = all[at].clone()
            && to == peer
        {
            let answer = ask_server(server, request);
            let out = solo.answer(peer, token, answer);
            let more = solo.check_all(out);
            all.extend(more);
        }
        at += 1;
    }
    all
}

pub(super) fn ask_server(server: &mut Solo, request: Request) -> Response {
    server.tell(make::connected(99));
    let token = server.token();
    let out = server.tell(Input::Asked { from: Peer(99), token, request });
    match out.iter().find(|output| matches!(output, Output::Answer { .. })) {
        Some(Output::Answer { response, .. }) => response.clone(),
        other => panic!("no answer: {other:?}"),
    }
}

/// Meets a peer that holds `server`'s ledger, up to the first question for transactions.
pub(super) fn up_to_transactions(solo: &mut Solo, server: &mut Solo, peer: u64) -> (Token, Vec<[u8; 32]>, u32) {
    let mut out = solo.meet(peer);
    for _ in 0..10 {
        let open = asks(&out).into_iter().rfind(|(to, ..)| *to == Peer(peer));
        let (_, token, request) = open.expect("a question to this peer");
        if let Request::Transactions { ids, max_bytes } = request {
            return (token, ids, max_bytes);
        }
        let answer = ask_server(server, request);
        out = solo.answer(peer, token, answer);
    }
    panic!("no transactions were asked for");
}

fn page(ids: &[[u8; 32]]) -> Vec<Vec<u8>> {
    let find = |id: &[u8; 32]| world().iter().find(|one| wire_id(&one.id()) == *id);
    ids.iter().filter_map(find).map(Transaction::to_bytes).collect()
}

#[test]
fn transactions_are_asked_for_oldest_first() {
    let (mut solo, mut server) = (Solo::new(), Solo::holding(world()));
    let (_, ids, _) = up_to_transactions(&mut solo, &mut server, 1);
    let mut of_first_day = world().iter().filter(|one| one.core().time().day() == world()[0].core().time().day());
    assert!(ids.iter().all(|id| of_first_day.next().is_some_and(|one| wire_id(&one.id()) == *id)));
}

#[test]
fn one_peer_brings_everything() {
    let (mut solo, mut server) = (Solo::new(), Solo::holding(world()));
    let out = solo.meet(1);
    serve_from(&mut solo, &mut server, 1, out);
    assert_eq!(solo.ledger.summary().digest, server.ledger.summary().digest);
}

#[test]
fn a_page_that_ends_early_is_gone_on_with() {
    let (mut solo, mut server) = (Solo::new(), Solo::holding(world()));
    let (mut token, mut ids, _) = up_to_transactions(&mut solo, &mut server, 1);
    let mut rounds = 0;
    while !ids.is_empty() && rounds < 100 {
        // Two at a time.
        let some: Vec<[u8; 32]> = ids.iter().take(2).copied().collect();
        let out = solo.answer(1, token, Response::Transactions(page(&some)));
        let out = solo.check_all(out);
        rounds += 1;
        let next = asks(&out).into_iter().next_back().unwrap();
        token = next.1;
        ids = match next.2 {
            Request::Transactions { ids, .. } => ids,
            _ => Vec::new(),
        };
    }
    let first_day = world()[0].core().time().day();
    assert!(world().iter().filter(|one| one.core().time().day() == first_day).all(|one| solo.holds(one)));
}

#[test]
fn an_id_is_asked_of_one_peer_at_a_time_and_of_another_when_that_one_stalls() {
    let (mut solo, mut server) = (Solo::new(), Solo::holding(world()));
    let (_, first, page_bytes) = up_to_transactions(&mut solo, &mut server, 1);
    // The second peer lists the same; all of it is in flight, so it is asked for nothing.
    let mut out = solo.meet(2);
    let mut asked_second = BTreeSet::new();
    while let Some((_, token, request)) = asks(&out).into_iter().find(|(peer, ..)| *peer == Peer(2)) {
        if let Request::Transactions { ids, .. } = &request {
            asked_second.extend(ids.iter().copied());
        }
        let answer = ask_server(&mut server, request);
        out = solo.answer(2, token, answer);
        out = solo.check_all(out);
    }
    assert!(first.iter().all(|id| !asked_second.contains(id)));
    assert!(solo.engine.status().syncing.is_some());
    // The first never answers: after its time is over the second brings everything.
    let out = solo.wait(11_000);
    let out = serve_from(&mut solo, &mut server, 2, out);
    assert_eq!(faults(&out), [], "slow is no fault");
    assert_eq!(solo.ledger.summary().digest, server.ledger.summary().digest);
    // The first is left alone for a while, and then asked for less at once.
    let (_, _, smaller) = {
        let mut fresh = Solo::new();
        let (token, ..) = up_to_transactions(&mut fresh, &mut server, 1);
        fresh.tell(Input::Failed { peer: Peer(1), token, fault: false });
        let again = fresh.wait(7_000);
        let (token, request) = the_ask(&again);
        let answer = ask_server(&mut server, request);
        let mut out = fresh.answer(1, token, answer);
        loop {
            let (token, request) = the_ask(&out);
            if let Request::Transactions { ids, max_bytes } = request {
                break (token, ids, max_bytes);
            }
            let answer = ask_server(&mut server, request);
            out = fresh.answer(1, token, answer);
        }
    };
    assert!(smaller < page_bytes);
}

#[test]
fn a_late_answer_is_ignored() {
    let (mut solo, mut server) = (Solo::new(), Solo::holding(world()));
    let (token, ids, _) = up_to_transactions(&mut solo, &mut server, 1);
    solo.wait(11_000);
    let out = solo.answer(1, token, Response::Transactions(page(&ids)));
    assert_eq!((asks(&out).len(), faults(&out)), (0, vec![]));
    // So is another peer's answer to a question that it was not asked.
    let (mut solo, mut server) = (Solo::new(), Solo::holding(world()));
    let (token, ids, _) = up_to_transactions(&mut solo, &mut server, 1);
    solo.tell(make::connected(2));
    assert_eq!(solo.answer(2, token, Response::Transactions(page(&ids))), []);
}

#[test]
fn a_busy_peer_is_asked_again_after_a_pause_and_given_up_in_the_end() {
    let (mut solo, mut server) = (Solo::new(), Solo::holding(world()));
    let (mut token, ids, _) = up_to_transactions(&mut solo, &mut server, 1);
    for _ in 0..3 {
        let out = solo.answer(1, token, Response::Busy);
        assert_eq!(asks(&out).len(), 0, "not at once");
        let out = solo.wait(3_000);
        let (again, request) = the_ask(&out);
        assert!(matches!(request, Request::Transactions { ids: same, .. } if same == ids));
        token = again;
    }
    let mut out = solo.answer(1, token, Response::Busy);
    for _ in 0..40 {
        let Some((_, token, request)) = asks(&out).into_iter().next_back() else {
            out = solo.wait(1_000);
            continue;
        };
        if matches!(request, Request::Digest { .. }) {
            break;
        }
        out = solo.answer(1, token, Response::Busy);
    }
    out.extend(solo.wait(40_000));
    assert_eq!(faults(&out), []);
}

#[test]
fn a_disconnected_peers_work_is_free_for_others() {
    let (mut solo, mut server) = (Solo::new(), Solo::holding(world()));
    up_to_transactions(&mut solo, &mut server, 1);
    solo.tell(Input::Disconnected(Peer(1)));
    assert_eq!(solo.engine.status().syncing, None);
    let out = solo.meet(2);
    serve_from(&mut solo, &mut server, 2, out);
    assert_eq!(solo.ledger.summary().digest, server.ledger.summary().digest);
}

#[test]
fn a_header_without_its_body_is_asked_of_another_peer_until_its_lifetime_is_over() {
    let headers = |ids: &[[u8; 32]]| -> Vec<Vec<u8>> {
        let whole = page(ids);
        let strip = |bytes: &Vec<u8>| bytes[..bytes.len() - 512].to_vec();
        whole.iter().map(strip).collect()
    };
    let (mut solo, mut server) = (Solo::new(), Solo::holding(world()));
    let (token, ids, _) = up_to_transactions(&mut solo, &mut server, 1);
    let out = solo.answer(1, token, Response::Transactions(headers(&ids)));
    assert_eq!(faults(&out), [], "it may have another clock");
    let out = solo.check_all(out);
    assert!(asks(&out).iter().all(|(.., request)| match request {
        Request::Transactions { ids: more, .. } => more.iter().all(|id| !ids.contains(id)),
        _ => true,
    }));
    assert_eq!(solo.ledger.summary().count, 0);
    // Another peer has the bodies.
    let out = solo.meet(2);
    serve_from(&mut solo, &mut server, 2, out);
    let brought = |id: &[u8; 32]| world().iter().any(|one| wire_id(&one.id()) == *id && solo.holds(one));
    assert!(ids.iter().all(brought));

    // Long after, headers are all that there is, and all that is needed.
    let (mut solo, mut server) = (Solo::new(), Solo::holding(world()));
    let later = super::make::noon().plus(40 * 86_400);
    solo.now = Now { system: later, ..solo.now };
    let (token, ids, _) = up_to_transactions(&mut solo, &mut server, 1);
    let out = solo.answer(1, token, Response::Transactions(headers(&ids)));
    solo.check_all(out);
    assert_eq!(solo.ledger.store().len(), ids.len() as u64);
}

#[test]
fn a_small_difference_to_an_equal_peer_is_looked_at_twice() {
    let (mut solo, mut server) = (Solo::holding(&world()[..5]), Solo::holding(&world()[..5]));
    let out = solo.meet(1);
    serve_from(&mut solo, &mut server, 1, out);
    assert_eq!(solo.engine.status().peers[0].same, Some(true));
    // The peer is one ahead: gossip may bring it.
    let out = solo.ask(1, Request::Digest { count: 6, digest: [1; 32] });
    assert_eq!(asks(&out), []);
    let (token, request) = the_ask(&solo.wait(2_000));
    assert!(matches!(request, Request::Digest { .. }));
    // It did not: now a session begins.
    let out = solo.answer(1, token, Response::Digest { count: 6, digest: [1; 32] });
    assert!(matches!(the_ask(&out).1, Request::Days { from: 0 }));
    // A great difference needs no second look.
    let (mut solo, mut server) = (Solo::holding(&world()[..5]), Solo::holding(&world()[..5]));
    let out = solo.meet(1);
    serve_from(&mut solo, &mut server, 1, out);
    let out = solo.ask(1, Request::Digest { count: 600, digest: [1; 32] });
    assert!(matches!(the_ask(&out).1, Request::Days { from: 0 }));
}

#[test]
fn at_most_four_peers_are_fetched_from_at_once() {
    let mut solo = Solo::new();
    for peer in 1..=9 {
        let out = solo.meet(peer);
        let (token, _) = the_ask(&out);
        solo.answer(peer, token, Response::Digest { count: 600, digest: [peer as u8; 32] });
    }
    assert_eq!(solo.engine.status().syncing.unwrap().peers, 4);
    let out = solo.tell(Input::Disconnected(Peer(2)));
    assert!(matches!(asks(&out)[..], [(Peer(5), _, Request::Days { from: 0 })]), "the next in line");
}

/// Who could not be gossiped to is asked for its digest at once, and so told this node's.
#[test]
fn a_peer_that_gossip_did_not_reach_is_told_by_sync() {
    let mut solo = Solo::new();
    let first = asks(&solo.meet(1));
    let (_, token, Request::Digest { count, digest }) = first[0].clone() else { panic!("{first:?}") };
    solo.answer(1, token, Response::Digest { count, digest });
    assert_eq!(asks(&solo.wait(5_000)), []);
    let told = asks(&solo.tell(Input::Unheard(Peer(1))));
    assert!(matches!(told.as_slice(), [(Peer(1), _, Request::Digest { .. })]), "{told:?}");
}
