//! Sync with a peer whose bodies went: what has expired is served as a header, what went early is left out, and neither
//! is held against anyone.

use qasedak_chain::{
    Ledger, Position,
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
fn what_went_early_is_left_out_of_a_page() {
    let mut solo = short_of_room();
    let gone = dropped(&solo.ledger);
    assert!((1..WORLD).contains(&gone));
    let Response::Transactions(page) = ask_server(&mut solo, everything()) else {
        panic!("no page");
    };
    let kept: Vec<Vec<u8>> = world()[gone..].iter().map(|one| one.to_bytes()).collect();
    assert_eq!(page, kept);
    // All of it is still told of, and all of it gone is an empty page.
    solo.ledger.keep_bodies(Keep::Budget(0));
    while !solo.ledger.prune(solo.now.system).unwrap().is_nothing() {}
    assert_eq!(ask_server(&mut solo, everything()), Response::Transactions(Vec::new()));
    let digest = *solo.ledger.summary().digest.as_bytes();
    let asked = Request::Digest { count: 0, digest: [0; 32] };
    assert_eq!(ask_server(&mut solo, asked), Response::Digest { count: WORLD as u64, digest });
    // Once their lifetime is over, the headers are of use again.
    solo.now.system = solo.now.system.plus(60 * DAY_SECS);
    let Response::Transactions(page) = ask_server(&mut solo, everything()) else {
        panic!("no page");
    };
    assert_eq!(page.len(), WORLD);
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
}
