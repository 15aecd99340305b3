//! Lies in answers of sync. The victim asks for a digest on contact; one that differs makes it ask further.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use qasedak_chain::time::DAY_SECS;
use qasedak_p2p::wire::{DAYS_MAX, DayDigest, Place, RESPONSE_MAX_BYTES, Request, Response};

use crate::{
    field::{
        Case, Culprit, Culprits,
        Expect::{Either, LetGo, Stays},
        Field, case,
    },
    frames,
    manners::{Manners, Reply, mirror, response},
    stock::{BODY_AT, flipped, now_secs, random},
};

/// A lie: what is answered to each question. `None` where an honest peer's answer will do.
type Lie = fn(&Field, &Request) -> Option<Reply>;

pub fn cases() -> Vec<Case> {
    let mut cases = of_digests_and_days();
    cases.extend(of_places_and_transactions());
    cases
}

fn of_digests_and_days() -> Vec<Case> {
    vec![
        lie("the digest is garbage", LetGo, |_, request| {
            at_digest(request, || Reply::Bytes(frames::sync(&[0xff; 40])))
        }),
        lie("a frame of 4 GiB", LetGo, |_, request| {
            at_digest(request, || Reply::Bytes(u32::MAX.to_le_bytes().to_vec()))
        }),
        lie("one byte over the longest frame", LetGo, |_, request| {
            at_digest(request, || Reply::Bytes((RESPONSE_MAX_BYTES as u32 + 1).to_le_bytes().to_vec()))
        }),
        lie("days instead of a digest", LetGo, |_, request| at_digest(request, || response(&Response::Days(vec![])))),
        lie("a list of 2^60 transactions", LetGo, |_, request| {
            let bomb = [3_u32.to_le_bytes().to_vec(), (1_u64 << 60).to_le_bytes().to_vec()].concat();
            at_digest(request, || Reply::Bytes(frames::sync(&bomb)))
        }),
        lie("a digest that differs, and no days", Stays, |_, request| at_digest(request, other_digest)),
        lie("a day without transactions", LetGo, |_, request| match request {
            Request::Digest { .. } => Some(other_digest()),
            Request::Days { .. } => Some(response(&Response::Days(vec![day_of(0, 0)]))),
            _ => None,
        }),
        lie("days that run backwards", LetGo, |_, request| match request {
            Request::Digest { .. } => Some(other_digest()),
            Request::Days { .. } => Some(response(&Response::Days(vec![day_of(9, 1), day_of(8, 1)]))),
            _ => None,
        }),
        lie("a day that does not exist", LetGo, |_, request| match request {
            Request::Digest { .. } => Some(other_digest()),
            Request::Days { .. } => Some(response(&Response::Days(vec![day_of(20_000, 5)]))),
            Request::Day { .. } => Some(response(&Response::Day(vec![]))),
            _ => None,
        }),
    ]
}

fn of_places_and_transactions() -> Vec<Case> {
    vec![
        lie("places of another day", LetGo, |_, request| listing(request, |day| vec![place(day + 1, 0)])),
        lie("places out of order", LetGo, |_, request| listing(request, |day| vec![place(day, 9), place(day, 3)])),
        lie("ids that it does not have", Stays, |_, request| listing(request, places)),
        lie("a transaction that is none", LetGo, |_, request| sending(request, || vec![vec![7; 800]])),
        lie("transactions that were not asked for", LetGo, |field, request| {
            sending(request, || field.stock.plain[..3].to_vec())
        }),
        lie("days without end", Either, |_, request| match request {
            Request::Digest { .. } => Some(other_digest()),
            Request::Days { from } => {
                let days = (0..DAYS_MAX as u64).map(|nth| day_of(from + nth, 9)).collect();
                Some(response(&Response::Days(days)))
            }
            _ => None,
        }),
        lie("places without end", Either, endless_places),
        lie("a checkpoint that is none", LetGo, |_, request| match request {
            Request::Checkpoint { .. } => {
                // The first byte is the version; of one that it does not know the victim thinks no ill.
                let checkpoint = Some(vec![1; qasedak_chain::checkpoint::SIGNED_BYTES]);
                Some(response(&Response::Checkpoint { checkpoint, path: vec![] }))
            }
            _ => None,
        }),
        given("the right header under a wrong body", LetGo, |field| flipped(&field.stock.plain[4], BODY_AT + 5)),
        given("a wrong signature", LetGo, |field| flipped(&field.stock.plain[5], BODY_AT - 60)),
        given("a wrong stamp", LetGo, |field| flipped(&field.stock.plain[6], BODY_AT - 2)),
        case("answers: another transaction in the place of one", LetGo, swapped),
        case("answers: always busy", Stays, |field| {
            told(field, Manners::answering(|_| response(&Response::Busy)), Duration::from_secs(2))
        }),
    ]
}

fn lie(name: &str, expect: crate::field::Expect, lie: Lie) -> Case {
    let case = case(format!("answers: {name}"), expect, move |field| {
        let liar = Arc::clone(&field);
        let manners = Manners::answering(move |request| lie(&liar, request).unwrap_or_else(|| mirror(request)));
        told(field, manners, Duration::from_secs(2))
    });
    // Those that make the victim ask on and on cost it something.
    if expect == Either { case } else { case.light() }
}

async fn told(field: Arc<Field>, manners: Manners, time: Duration) -> Culprits {
    let mut rogue = field.rogue(manners).await;
    // It may be let go before that.
    rogue.subscribe().await.ok();
    tokio::time::sleep(time).await;
    vec![Culprit::Rogue(Box::new(rogue))]
}

fn at_digest(request: &Request, reply: impl Fn() -> Reply) -> Option<Reply> {
    matches!(request, Request::Digest { .. }).then(reply)
}

fn other_digest() -> Reply {
    response(&Response::Digest { count: 1 << 40, digest: random() })
}

fn day_of(day: u64, count: u64) -> DayDigest {
    DayDigest { day, count, digest: random() }
}

fn place(day: u64, second: u64) -> Place {
    Place { time: day * DAY_SECS + second * 60, depth: 1, id: random() }
}

fn places(day: u64) -> Vec<Place> {
    (0..200).map(|nth| place(day, nth)).collect()
}

/// Says that a day of long ago has transactions, and lists places of it.
fn listing(request: &Request, list: impl Fn(u64) -> Vec<Place>) -> Option<Reply> {
    match request {
        Request::Digest { .. } => Some(other_digest()),
        Request::Days { .. } => Some(response(&Response::Days(vec![day_of(20_400, 200)]))),
        Request::Day { day, .. } => Some(response(&Response::Day(list(*day)))),
        _ => None,
    }
}

/// Lists places, and answers for their transactions with a list.
fn sending(request: &Request, list: impl Fn() -> Vec<Vec<u8>>) -> Option<Reply> {
    match request {
        Request::Transactions { .. } => Some(response(&Response::Transactions(list()))),
        other => listing(other, places),
    }
}

fn endless_places(_: &Field, request: &Request) -> Option<Reply> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    match request {
        Request::Day { day, max, .. } => {
            let depth = NEXT.fetch_add(1, Ordering::Relaxed);
            let time = day * DAY_SECS + depth.min(1_439) * 60;
            let mut list: Vec<Place> = (0..*max).map(|_| Place { time, depth, id: random() }).collect();
            list.sort_unstable();
            Some(response(&Response::Day(list)))
        }
        Request::Transactions { .. } => None,
        other => listing(other, places),
    }
}

/// Lists the very transaction that it then gets wrong.
fn given(name: &str, expect: crate::field::Expect, wrong: fn(&Field) -> Vec<u8>) -> Case {
    case(format!("answers: {name}"), expect, move |field| {
        let message = wrong(&field);
        let id = id_in(&field, &message);
        told(field, sends(id, vec![message]), Duration::from_secs(2))
    })
    .light()
}

/// The id that a message's header has, whatever its body.
fn id_in(field: &Field, message: &[u8]) -> [u8; 32] {
    let header = qasedak_chain::transaction::Header::from_bytes(&message[..BODY_AT]).unwrap();
    *header.id(&field.network).as_bytes()
}

fn sends(id: [u8; 32], list: Vec<Vec<u8>>) -> Manners {
    let today = now_secs() / DAY_SECS;
    Manners::answering(move |request| match request {
        Request::Digest { .. } => other_digest(),
        Request::Days { .. } => response(&Response::Days(vec![day_of(today, 1)])),
        Request::Day { .. } => response(&Response::Day(vec![Place { time: now_secs() / 60 * 60, depth: 1, id }])),
        Request::Transactions { .. } => response(&Response::Transactions(list.clone())),
        other => mirror(other),
    })
}

async fn swapped(field: Arc<Field>) -> Culprits {
    let manners = sends(id_in(&field, &field.stock.plain[7]), vec![field.stock.plain[8].clone()]);
    told(field, manners, Duration::from_secs(2)).await
}
