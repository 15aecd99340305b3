//! Answers: what they hold, where pages end, and what becomes of peers that ask too much.

use super::{
    make::{self, WORLD, world},
    solo::{Solo, answers, faults},
};
use crate::{
    engine::{Fault, Input, Peer},
    wire::{DAYS_MAX, Place, REQUEST_MAX_BYTES, RESPONSE_MAX_BYTES, Request, Response, WANT_MAX, wire_id},
};
use qasedak_chain::time::DAY_SECS;

fn ask(solo: &mut Solo, request: Request) -> Response {
    let out = solo.ask(1, request);
    match answers(&out).as_slice() {
        [one] => one.clone(),
        other => panic!("expected one answer, got {other:?}"),
    }
}

fn holding_world() -> Solo {
    let mut solo = Solo::holding(world());
    solo.meet(1);
    solo
}

#[test]
fn days_and_places_cover_the_ledger() {
    let mut solo = holding_world();
    let Response::Days(days) = ask(&mut solo, Request::Days { from: 0 }) else {
        panic!("no days");
    };
    assert_eq!(days.iter().map(|day| day.count).sum::<u64>(), WORLD as u64);
    let mut ids = Vec::new();
    for day in days {
        let mut after = None;
        loop {
            let Response::Day(places) = ask(&mut solo, Request::Day { day: day.day, after, max: 4 }) else {
                panic!("no places");
            };
            let Some(last) = places.last() else {
                break;
            };
            assert!(places.len() <= 4);
            after = Some(*last);
            ids.extend(places.iter().map(|place| place.id));
        }
    }
    assert_eq!(ids, world().iter().map(|one| wire_id(&one.id())).collect::<Vec<_>>());
}

#[test]
fn places_outside_of_the_day_get_nothing() {
    let mut solo = holding_world();
    let day = world()[0].core().time().day();
    let after = |time| Some(Place { time, depth: 0, id: [0; 32] });
    for request in [
        Request::Day { day, after: after((day + 1) * DAY_SECS), max: 9 },
        Request::Day { day, after: after(0), max: 9 },
        Request::Day { day: u64::MAX, after: None, max: 9 },
        Request::Day { day: u64::MAX, after: after(u64::MAX), max: 9 },
    ] {
        assert_eq!(ask(&mut solo, request), Response::Day(vec![]));
    }
    assert_eq!(ask(&mut solo, Request::Days { from: u64::MAX }), Response::Days(vec![]));
}

#[test]
fn a_page_ends_where_it_is_full_but_holds_at_least_one() {
    let mut solo = holding_world();
    let ids: Vec<[u8; 32]> = world().iter().map(|one| wire_id(&one.id())).collect();
    let size = world()[0].to_bytes().len() as u32 + 8;
    for (max_bytes, expected) in [(0, 1), (size, 1), (size * 2 + 64, 2), (u32::MAX, WORLD)] {
        let request = Request::Transactions { ids: ids.clone(), max_bytes };
        let Response::Transactions(page) = ask(&mut solo, request) else {
            panic!("no page");
        };
        assert_eq!(page.len(), expected, "{max_bytes}");
        assert_eq!(page[0], world()[0].to_bytes());
    }
    let unknown = Request::Transactions { ids: vec![[9; 32], ids[3]], max_bytes: 9 };
    assert_eq!(ask(&mut solo, unknown), Response::Transactions(vec![world()[3].to_bytes()]));
}

#[test]
fn the_outbox_is_not_served() {
    let mut solo = Solo::new();
    solo.tell(make::connected(1));
    let own = super::make::verified(&solo.network, &world()[0]);
    solo.tell(Input::Own(Box::new(own)));
    let request = Request::Transactions { ids: vec![wire_id(&world()[0].id())], max_bytes: 10_000 };
    assert_eq!(ask(&mut solo, request), Response::Transactions(vec![]));
    assert_eq!(ask(&mut solo, Request::Days { from: 0 }), Response::Days(vec![]));
}

#[test]
fn a_peer_past_its_share_is_told_to_wait_and_a_flood_is_cut_off() {
    let mut solo = holding_world();
    solo.meet(2);
    let mut served = 0;
    let mut cut_off = None;
    for asked in 1..2_000 {
        let out = solo.ask(1, Request::Days { from: 0 });
        served += usize::from(!answers(&out).contains(&Response::Busy));
        if let [(Peer(1), fault)] = faults(&out)[..] {
            cut_off = Some((asked, fault));
            break;
        }
    }
    assert_eq!(served, 128);
    assert_eq!(cut_off, Some((128 + 513, Fault::Flooding)));
    // The other peer's share is its own, and what is used up comes back.
    let out = solo.ask(2, Request::Days { from: 0 });
    assert!(!answers(&out).contains(&Response::Busy));
    let mut solo = holding_world();
    (0..129).for_each(|_| drop(solo.ask(1, Request::Days { from: 0 })));
    assert_eq!(ask(&mut solo, Request::Days { from: 0 }), Response::Busy);
    solo.wait(1_000);
    assert_ne!(ask(&mut solo, Request::Days { from: 0 }), Response::Busy);
}

#[test]
fn whoever_is_not_connected_is_not_served() {
    let mut solo = Solo::holding(world());
    assert_eq!(ask(&mut solo, Request::Days { from: 0 }), Response::Busy);
}

#[test]
fn the_largest_of_everything_fits_the_wire() {
    let request = Request::Transactions { ids: vec![[1; 32]; WANT_MAX], max_bytes: u32::MAX };
    assert!(request.to_bytes().unwrap().len() <= REQUEST_MAX_BYTES);
    let place = Place { time: 1, depth: 1, id: [1; 32] };
    let max = crate::wire::IDS_MAX;
    assert!(Response::Day(vec![place; max]).to_bytes().unwrap().len() <= RESPONSE_MAX_BYTES);
    let day = crate::wire::DayDigest { day: 1, count: 1, digest: [1; 32] };
    assert!(Response::Days(vec![day; DAYS_MAX]).to_bytes().unwrap().len() <= RESPONSE_MAX_BYTES);
}
