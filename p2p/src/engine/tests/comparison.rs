//! `audit compare` in the engine: what it finds, that it fetches nothing, and that it ends.

use qasedak_chain::{Transaction, TxId};

use super::{
    make::{self, WORLD, world},
    net::Net,
    solo::{Solo, asks, faults},
};
use crate::{
    engine::{
        Fault, Input, Output, Peer, Token,
        comparison::{CompareError, LIMIT_MS, report::Report},
    },
    wire::{DAYS_MAX, DayDigest, Place, Request, Response, wire_id},
};

/// The world but for these, which nothing else builds on.
fn without(left_out: &[usize]) -> Vec<Transaction> {
    world().iter().enumerate().filter(|(at, _)| !left_out.contains(at)).map(|(_, one)| one.clone()).collect()
}

fn only(report: &Report) -> (Vec<TxId>, Vec<TxId>) {
    let here = report.blocks.iter().flat_map(|block| block.only_here.ids.clone()).collect();
    let there = report.blocks.iter().flat_map(|block| block.only_there.ids.clone()).collect();
    (here, there)
}

fn ids(at: &[usize]) -> Vec<TxId> {
    at.iter().map(|at| world()[*at].id()).collect()
}

/// Two nodes that hold this much of the world and never fetch anything: each answers what the other asks, and nothing
/// else travels.
fn compared(here: &[Transaction], there: &[Transaction]) -> Result<Box<Report>, CompareError> {
    let (mut a, mut b) = (Solo::holding(here), Solo::holding(there));
    // Whoever has just met asks for the other's digest; that question is left without an answer.
    a.tell(make::connected(1));
    b.tell(make::connected(1));
    let result = drive(&mut a, &mut b);
    assert_eq!(a.ledger.summary().count, here.len() as u64, "it fetched something");
    result
}

/// `a` compares itself with `b`, both of which know the other as peer 1.
pub(super) fn drive(a: &mut Solo, b: &mut Solo) -> Result<Box<Report>, CompareError> {
    let mut out = a.tell(Input::Compare { peer: Peer(1), token: Token(7), from: 0 });
    for _ in 0..1_000 {
        if let Some(result) = result(&out) {
            return result;
        }
        let asked = asks(&out);
        out = a.tell(Input::Tick);
        for (_, token, request) in asked {
            for answer in super::solo::answers(&b.ask(1, request)) {
                out.extend(a.answer(1, token, answer));
            }
        }
    }
    panic!("it does not end");
}

fn result(out: &[Output]) -> Option<Result<Box<Report>, CompareError>> {
    out.iter().find_map(|output| match output {
        Output::Compared { result, .. } => Some(result.clone()),
        _ => None,
    })
}

#[test]
fn equal_sets_are_equal_and_empty_ones_too() {
    for set in [world(), &[]] {
        let report = compared(set, set).unwrap();
        assert!(report.equal && report.blocks.is_empty(), "{report:?}");
        assert_eq!((report.count_here, report.count_there), (set.len() as u64, set.len() as u64));
    }
}

#[test]
fn what_one_side_lacks_is_named_in_its_block() {
    // The last one has no children, nor does what is left out beside it.
    let (last, before) = (WORLD - 1, WORLD - 2);
    let report = compared(&without(&[last]), &without(&[before, last])).unwrap();
    assert!(!report.equal);
    assert_eq!(only(&report), (ids(&[before]), vec![]));
    assert_eq!(report.blocks[0].number, world()[before].core().time().hour());
    let report = compared(&without(&[before, last]), &without(&[last])).unwrap();
    assert_eq!(only(&report), (vec![], ids(&[before])));
}

#[test]
fn whole_days_that_only_one_side_has_are_found() {
    let report = compared(world(), &[]).unwrap();
    assert_eq!(only(&report).0.len(), WORLD);
    let report = compared(&[], world()).unwrap();
    assert_eq!(only(&report).1.len(), WORLD);
    assert!(report.blocks.iter().all(|block| !block.only_there.late), "nobody has signed anything yet");
}

#[test]
fn a_comparison_beside_sync_comes_to_rest() {
    let mut net = Net::new(2, 3);
    net.give(0, &world()[..20]);
    net.give(1, &world()[..10]);
    net.link(0, 1);
    net.compare(0, 1);
    net.run(60_000);
    net.compare(1, 0);
    net.run(60_000);
    net.assert_converged(20);
    assert_eq!(net.compared.len(), 2);
    let last = net.compared[1].1.as_ref().unwrap();
    assert!(last.equal, "{last:?}");
}

#[test]
fn there_is_one_at_a_time_and_none_with_a_stranger() {
    let mut solo = Solo::holding(world());
    solo.meet(1);
    let refused = |out: &[Output]| result(out).unwrap().unwrap_err();
    assert_eq!(
        refused(&solo.tell(Input::Compare { peer: Peer(9), token: Token(1), from: 0 })),
        CompareError::NotConnected
    );
    assert_eq!(result(&solo.tell(Input::Compare { peer: Peer(1), token: Token(2), from: 0 })), None);
    assert_eq!(refused(&solo.tell(Input::Compare { peer: Peer(1), token: Token(3), from: 0 })), CompareError::UnderWay);
    assert_eq!(refused(&solo.tell(Input::Disconnected(Peer(1)))), CompareError::NotConnected);
    solo.meet(1);
    assert_eq!(
        result(&solo.tell(Input::Compare { peer: Peer(1), token: Token(4), from: 0 })),
        None,
        "the way is free again"
    );
}

#[test]
fn silence_and_endless_business_end_it() {
    let mut solo = Solo::holding(world());
    solo.meet(1);
    solo.tell(Input::Compare { peer: Peer(1), token: Token(1), from: 0 });
    assert_eq!(result(&solo.wait(20_000)), Some(Err(CompareError::NoAnswer)));
    let mut out = solo.tell(Input::Compare { peer: Peer(1), token: Token(2), from: 0 });
    for _ in 0..LIMIT_MS / 1_000 {
        if let Some(result) = result(&out) {
            assert_eq!(result, Err(CompareError::NoAnswer));
            return;
        }
        let asked = asks(&out);
        out = solo.wait(1_000);
        for (_, token, _) in asked {
            out.extend(solo.answer(1, token, Response::Busy));
        }
    }
    panic!("it waits for ever");
}

/// The token of the comparison's own question of this kind: others may be open.
fn question(out: &[Output], like: impl Fn(&Request) -> bool) -> Token {
    asks(out).into_iter().rfind(|(_, _, request)| like(request)).expect("a question").1
}

/// A comparison of the whole world with a peer that has told another digest.
fn begun() -> (Solo, Token) {
    let mut solo = Solo::holding(world());
    solo.meet(1);
    let out = solo.tell(Input::Compare { peer: Peer(1), token: Token(1), from: 0 });
    let token = question(&out, |request| matches!(request, Request::Digest { .. }));
    let out = solo.answer(1, token, Response::Digest { count: 1, digest: [1; 32] });
    let token = question(&out, |request| matches!(request, Request::Days { from: 0 }));
    (solo, token)
}

#[test]
fn answers_that_answer_nothing_are_faults() {
    let day = |day, count| DayDigest { day, count, digest: [0; 32] };
    for wrong in [
        Response::Days(vec![day(1, 0)]),
        Response::Days((0..DAYS_MAX as u64 + 1).map(|n| day(n, 1)).collect()),
        Response::Day(vec![]),
    ] {
        let (mut solo, token) = begun();
        let out = solo.answer(1, token, wrong);
        assert_eq!(result(&out), Some(Err(CompareError::WrongAnswer)));
        assert_eq!(faults(&out), [(Peer(1), Fault::WrongAnswer)]);
    }
}

#[test]
fn a_known_transaction_in_a_wrong_place_is_a_lie() {
    let (mut solo, token) = begun();
    let one = &world()[0];
    let day = one.core().time().day();
    let out = solo.answer(1, token, Response::Days(vec![DayDigest { day, count: 1, digest: [9; 32] }]));
    let token = question(&out, |request| matches!(request, Request::Day { .. }));
    let place = Place { time: one.core().time().secs(), depth: 1_000, id: wire_id(&one.id()) };
    let out = solo.answer(1, token, Response::Day(vec![place]));
    assert_eq!(result(&out), Some(Err(CompareError::WrongAnswer)));
    assert_eq!(faults(&out), [(Peer(1), Fault::WrongAnswer)]);
}
