//! Headers whose bodies are nowhere, or late: they enter alone once everyone was asked, and nobody is blamed.

use qasedak_chain::{Network, Transaction, time::DAY_SECS};

use super::{
    make::{make, noon, verified, world},
    net::Net,
    solo::{Solo, asks, faults, verdicts},
    sync::{serve_from, up_to_transactions},
};
use crate::{
    engine::{
        Input, Peer, Token, Verdict,
        bare::{Bare, SOON_MS, WAIT_MS},
        checks::{Origin, Via},
        pace::CLAIM_MS,
    },
    wire::{Request, Response, wire_id},
};

fn bare(transaction: &Transaction) -> Transaction {
    Transaction::new(&Network::dev(), transaction.header().clone(), None).unwrap()
}

/// Its author shows the body to nobody. Dated far ahead it is taken in as a header; when its time has come, its children
/// name it, and those who come later have to take it in as well.
#[test]
fn a_header_whose_body_nobody_has_reaches_everyone_with_its_children() {
    let (network, ahead) = (Network::dev(), noon().rounded_down().plus(4 * DAY_SECS));
    let shown_to_nobody = make(&network, &[network.genesis()], ahead, 120);
    let child = make(&network, &[shown_to_nobody.id()], ahead.plus(60), 121);
    let mut net = Net::new(4, 9);
    let header = verified(&network, &bare(&shown_to_nobody));
    net.nodes[0].ledger.append(header, noon(), false).unwrap();
    net.now_ms = (4 * DAY_SECS + 3_600) * 1_000;
    net.give(0, std::slice::from_ref(&child));
    (1..4).for_each(|node| net.link(node - 1, node));
    net.run(60_000);
    net.assert_converged(2);
    // What is written now reaches everyone by gossip.
    net.own(2, &make(&network, &[child.id()], ahead.plus(120), 122));
    net.run(2_000);
    net.assert_converged(3);
}

/// A node that has had the first page of the world from peer 1, as headers.
fn with_bare_page() -> (Solo, Vec<Transaction>) {
    let (mut solo, mut server) = (Solo::new(), Solo::holding(world()));
    let (token, ids, _) = up_to_transactions(&mut solo, &mut server, 1);
    let find = |id: &[u8; 32]| world().iter().find(|one| wire_id(&one.id()) == *id).unwrap().clone();
    let page: Vec<Transaction> = ids.iter().map(find).collect();
    let headers = page.iter().map(|one| bare(one).to_bytes()).collect();
    let out = solo.answer(1, token, Response::Transactions(headers));
    assert_eq!(faults(&solo.check_all(out)), []);
    assert_eq!((solo.engine.status().bare, solo.ledger.summary().count), (page.len(), 0));
    (solo, page)
}

/// Questions for whole transactions of a peer.
fn asked_of(solo: &mut Solo, peer: u64, ms: u64) -> Vec<(Token, Vec<[u8; 32]>)> {
    let out = solo.wait(ms);
    let of_peer = asks(&out).into_iter().filter(|(to, ..)| *to == Peer(peer));
    let whole = of_peer.filter_map(|(_, token, request)| match request {
        Request::Transactions { ids, .. } => Some((token, ids)),
        _ => None,
    });
    whole.collect()
}

#[test]
fn whoever_has_the_bodies_is_asked_before_headers_enter_alone() {
    let (mut solo, page) = with_bare_page();
    solo.meet(2);
    let asked = asked_of(&mut solo, 2, 1_000);
    let ids: Vec<[u8; 32]> = page.iter().map(|one| wire_id(&one.id())).collect();
    assert_eq!(asked, [(asked[0].0, ids)]);
    // The page has room for one; the rest is asked for again.
    let out = solo.answer(2, asked[0].0, Response::Transactions(vec![page[0].to_bytes()]));
    let out = solo.check_all(out);
    assert_eq!(faults(&out), []);
    let (_, token, _) = asks(&out).into_iter().next_back().expect("the rest");
    let rest = page[1..].iter().map(Transaction::to_bytes).collect();
    let out = solo.answer(2, token, Response::Transactions(rest));
    solo.check_all(out);
    assert_eq!((solo.engine.status().bare, solo.engine.status().repair.wanted), (0, 0));
    assert!(page.iter().all(|one| solo.holds(one)));
}

#[test]
fn nobody_is_waited_for_without_end() {
    let (mut solo, page) = with_bare_page();
    // The second says nothing, and more of its kind come all the time.
    let mut asked = asked_of(&mut solo, 2, 0);
    for peer in 2..8 {
        solo.meet(peer);
        asked.extend(asked_of(&mut solo, 2, 1_000));
    }
    assert!(page.iter().all(|one| solo.holds(one)));
    assert_eq!(solo.engine.status().repair.wanted, page.len());
    // It was slow: what it brings is taken.
    let whole = page.iter().map(Transaction::to_bytes).collect();
    assert_eq!(faults(&solo.answer(2, asked[0].0, Response::Transactions(whole))), []);
    assert_eq!(solo.engine.status().repair.wanted, 0);
}

fn has_nothing(solo: &mut Solo, peer: u64, token: Token) {
    let out = solo.answer(peer, token, Response::Transactions(Vec::new()));
    assert_eq!(faults(&out), []);
}

/// Every hop of a header waits anew: where all have said that they have no body, there is nothing to wait for.
#[test]
fn headers_enter_alone_soon_when_everyone_lacks_the_bodies() {
    let (mut solo, page) = with_bare_page();
    (2..4).for_each(|peer| drop(solo.meet(peer)));
    let out = solo.wait(0);
    assert_eq!(asks(&out), []);
    let out = solo.tell(Input::Tick);
    let asked = |peer: u64| asks(&out).into_iter().find(|(to, ..)| *to == Peer(peer)).expect("a question").1;
    has_nothing(&mut solo, 2, asked(2));
    solo.wait(SOON_MS);
    assert_eq!(solo.ledger.summary().count, 0, "one of them has not answered");
    has_nothing(&mut solo, 3, asked(3));
    solo.wait(1);
    assert!(page.iter().all(|one| solo.holds(one)));
    assert_eq!(solo.engine.status().repair.wanted, page.len());
}

#[test]
fn the_whole_has_a_moment_to_arrive_though_nobody_has_it_yet() {
    let (mut solo, page) = with_bare_page();
    solo.meet(2);
    let asked = solo.tell(Input::Tick);
    has_nothing(&mut solo, 2, asks(&asked)[0].1);
    solo.wait(SOON_MS - 1);
    assert_eq!(solo.ledger.summary().count, 0);
    let (_, out) = solo.gossip(2, page[0].to_bytes());
    solo.check_all(out);
    assert!(solo.holds(&page[0]));
    assert_eq!(solo.engine.status().repair.wanted, 0, "it came with its body");
}

/// Whoever raced ahead of a body does not shut it out while it is under verification.
#[test]
fn what_came_whole_does_not_enter_alone() {
    let (mut solo, page) = with_bare_page();
    solo.meet(2);
    let asked = solo.tell(Input::Tick);
    let whole = page.iter().map(Transaction::to_bytes).collect();
    let out = solo.answer(2, asks(&asked)[0].1, Response::Transactions(whole));
    solo.wait(WAIT_MS - 1);
    assert_eq!(solo.ledger.summary().count, 0);
    solo.check_all(out);
    assert!(page.iter().all(|one| solo.holds(one)));
    assert_eq!(solo.engine.status().repair.wanted, 0);
}

/// One that keeps silent holds up one header for as long as any question may take, and no header after that.
#[test]
fn a_peer_that_let_a_question_lapse_is_asked_and_not_waited_for() {
    let (mut solo, page) = with_bare_page();
    (2..4).for_each(|peer| drop(solo.meet(peer)));
    let asked = solo.tell(Input::Tick);
    has_nothing(&mut solo, 3, asks(&asked)[1].1);
    solo.wait(CLAIM_MS - 1_000);
    assert_eq!(solo.ledger.summary().count, 0);
    solo.wait(1_000);
    assert!(page.iter().all(|one| solo.holds(one)));

    // It answers at last, and has the same question again.
    has_nothing(&mut solo, 2, asks(&asked)[0].1);
    let late = make(&Network::dev(), &[Network::dev().genesis()], noon().rounded_down(), 200);
    let header = verified(&Network::dev(), &bare(&late));
    solo.engine.bare.insert(header, Origin::new(Peer(1), Via::Session), solo.now.elapsed_ms);
    let asked = solo.tell(Input::Tick);
    let whole =
        |request: &Request| matches!(request, Request::Transactions { ids, .. } if ids.contains(&wire_id(&late.id())));
    let asked: Vec<(Peer, Token)> =
        asks(&asked).into_iter().filter(|(.., request)| whole(request)).map(|(peer, token, _)| (peer, token)).collect();
    assert_eq!(asked.iter().map(|(peer, _)| peer.0).collect::<Vec<_>>(), [2, 3]);
    has_nothing(&mut solo, 3, asked[1].1);
    solo.wait(SOON_MS);
    assert!(solo.holds(&late));
}

#[test]
fn headers_enter_alone_after_a_while_and_bodies_are_mended_by_gossip() {
    let (mut solo, page) = with_bare_page();
    assert_eq!(faults(&solo.wait(WAIT_MS - 2_000)), []);
    assert_eq!(solo.ledger.summary().count, 0, "whoever sent them is not everyone");
    solo.wait(3_000);
    assert!(page.iter().all(|one| solo.holds(one)));
    assert_eq!(solo.engine.status().repair.wanted, page.len());
    // The whole comes by gossip: it is kept, and others may lack it too.
    let (token, out) = solo.gossip(1, page[3].to_bytes());
    assert_eq!(verdicts(&out), [(token, Verdict::Accept)]);
    assert_eq!(solo.engine.status().repair.wanted, page.len() - 1);
    let (token, out) = solo.gossip(1, page[3].to_bytes());
    assert_eq!(verdicts(&out), [(token, Verdict::Ignore)]);
}

#[test]
fn a_peer_that_serves_what_was_told_apart_is_served_on() {
    let (mut solo, _) = with_bare_page();
    let mut whole = Solo::holding(world());
    let out = solo.meet(2);
    let out = serve_from(&mut solo, &mut whole, 2, out);
    assert_eq!(faults(&out), []);
    assert_eq!(solo.ledger.summary().digest, whole.ledger.summary().digest);
    assert_eq!((solo.engine.status().bare, solo.engine.status().repair.wanted), (0, 0));
}

#[test]
fn the_pool_is_bounded_and_no_peer_fills_it() {
    let mut pool = Bare::with_bound(16);
    let mut fill = |peer: u64, of: std::ops::Range<usize>| {
        for one in &world()[of] {
            pool.insert(verified(&Network::dev(), &bare(one)), Origin::new(Peer(peer), Via::Session), 0);
        }
        (pool.len(), pool.of(Peer(peer)))
    };
    assert_eq!(fill(1, 0..6), (4, 4));
    assert_eq!(fill(2, 0..6), (6, 2), "what is there is not taken twice");
    assert_eq!((fill(3, 6..12), fill(4, 12..18), fill(5, 18..24)), ((10, 4), (14, 4), (16, 2)));
    assert_eq!(fill(6, 24..30), (16, 0));
    assert!(!pool.has_room(Peer(1)) && pool.has_room(Peer(6)), "who sends whole transactions need not wait");
    // What goes leaves nothing behind.
    let ids: Vec<_> = pool.ids().copied().collect();
    ids.iter().for_each(|id| pool.remove(id));
    assert_eq!((pool.len(), pool.of(Peer(1)), pool.ids().count()), (0, 0, 0));
}
