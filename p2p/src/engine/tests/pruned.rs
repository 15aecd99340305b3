//! Sync with a peer whose bodies went: it serves headers, which enter alone where nobody has the bodies, and nobody is
//! blamed for it.

use qasedak_chain::{
    Ledger, Position, Transaction,
    retention::Keep,
    store::{Body, Store},
    time::DAY_SECS,
};

use super::{
    make::{WORLD, world},
    solo::{Solo, faults},
    sync::{ask_server, serve_from},
};
use crate::wire::{Request, Response, WANT_MAX, wire_id};

fn dropped<S: Store>(ledger: &Ledger<S>) -> usize {
    let body = |at| ledger.store().body(Position::new(at as u64)).unwrap();
    (0..WORLD).filter(|at| matches!(body(*at), Body::Dropped { .. })).count()
}

/// A node that holds the world, sixty days later, when all bodies have gone.
fn expired() -> Solo {
    let mut solo = Solo::holding(world());
    solo.now.system = solo.now.system.plus(60 * DAY_SECS);
    while !solo.ledger.prune(solo.now.system).unwrap().is_nothing() {}
    assert_eq!(dropped(&solo.ledger), WORLD);
    solo
}

/// A node that holds the world, of which the bodies of the first day went for want of room.
fn short_of_room() -> Solo {
    let mut solo = Solo::holding(world());
    let bytes = solo.ledger.retained(solo.now.system).bytes;
    solo.ledger.keep_bodies(Keep::Budget(bytes - 1));
    assert_eq!(solo.ledger.prune(solo.now.system).unwrap().early, 1);
    solo
}

fn everything() -> Request {
    let ids = world().iter().take(WANT_MAX).map(|one| wire_id(&one.id())).collect();
    Request::Transactions { ids, max_bytes: u32::MAX }
}

#[test]
fn what_has_expired_reaches_a_new_node_as_headers() {
    let mut pruned = expired();
    let mut fresh = Solo::new();
    fresh.now.system = pruned.now.system;
    let out = fresh.meet(1);
    let out = serve_from(&mut fresh, &mut pruned, 1, out);
    assert_eq!(faults(&out), []);
    assert_eq!(fresh.ledger.summary().digest, pruned.ledger.summary().digest);
    assert_eq!(fresh.ledger.blocks(0, usize::MAX).unwrap(), pruned.ledger.blocks(0, usize::MAX).unwrap());
    assert!((0..WORLD).all(|at| fresh.ledger.store().body(Position::new(at as u64)).unwrap() == Body::Absent));
}

#[test]
fn what_went_early_is_served_as_a_header() {
    let mut solo = short_of_room();
    let gone = dropped(&solo.ledger);
    assert!((1..WORLD).contains(&gone));
    let Response::Transactions(page) = ask_server(&mut solo, everything()) else {
        panic!("no page");
    };
    let header = |one: &Transaction| one.header().to_bytes();
    let mut served: Vec<Vec<u8>> = world()[..gone].iter().map(header).collect();
    served.extend(world()[gone..].iter().map(Transaction::to_bytes));
    assert_eq!(page, served);
    // All of it is still told of, and served, when no body is left.
    solo.ledger.keep_bodies(Keep::Budget(0));
    while !solo.ledger.prune(solo.now.system).unwrap().is_nothing() {}
    let headers = world().iter().map(header).collect();
    assert_eq!(ask_server(&mut solo, everything()), Response::Transactions(headers));
    let digest = *solo.ledger.summary().digest.as_bytes();
    let asked = Request::Digest { count: 0, digest: [0; 32] };
    assert_eq!(ask_server(&mut solo, asked), Response::Digest { count: WORLD as u64, digest });
}

#[test]
fn what_one_peer_lost_another_brings() {
    let (mut short, mut whole) = (short_of_room(), Solo::holding(world()));
    let mut fresh = Solo::new();
    let out = fresh.meet(1);
    let out = serve_from(&mut fresh, &mut short, 1, out);
    assert_eq!(faults(&out), []);
    assert_ne!(fresh.ledger.summary().digest, short.ledger.summary().digest);
    let out = fresh.meet(2);
    let out = serve_from(&mut fresh, &mut whole, 2, out);
    assert_eq!(faults(&out), []);
    assert_eq!(fresh.ledger.summary().digest, short.ledger.summary().digest);
    let is_there = |at| matches!(fresh.ledger.store().body(Position::new(at)).unwrap(), Body::Present(_));
    assert!((0..WORLD as u64).all(is_there));
}

/// All nodes that have it dropped it for want of room: a newcomer gets the headers all the same.
#[test]
fn what_everyone_lost_reaches_a_new_node_as_headers() {
    let (mut short, mut fresh) = (short_of_room(), Solo::new());
    let gone = dropped(&short.ledger);
    let mut out = fresh.meet(1);
    for _ in 0..30 {
        out = serve_from(&mut fresh, &mut short, 1, out);
        assert_eq!(faults(&out), []);
        out = fresh.wait(1_000);
    }
    assert_eq!(fresh.ledger.summary().digest, short.ledger.summary().digest);
    assert_eq!(fresh.engine.status().repair.wanted, gone, "whoever still has them is asked");
}
