//! Peers that answer just in time and bring nothing, or next to nothing: what they may keep others from.

use qasedak_chain::time::DAY_SECS;

use super::{
    make::world,
    solo::{Solo, asks, faults},
    sync::ask_server,
};
use crate::{
    engine::{Output, Peer, Token},
    wire::{DAYS_MAX, DayDigest, Place, Request, Response, wire_id},
};

/// How long a dripper takes for an answer: a second less than it may.
const DRIP_MS: u64 = 9_000;

/// What a dripper says: days without end, each with another digest than this node's and with nothing in it that is not
/// here. `known` is held by the asker.
fn drip(peer: u64, request: &Request, known: [u8; 32]) -> Response {
    match request {
        Request::Digest { .. } => Response::Digest { count: 600, digest: [peer as u8; 32] },
        Request::Days { from } => {
            let days = (*from..).take(DAYS_MAX);
            Response::Days(days.map(|day| DayDigest { day, count: 1, digest: [9; 32] }).collect())
        }
        Request::Day { day, .. } => Response::Day(vec![Place { time: day * DAY_SECS, depth: 1, id: known }]),
        _ => Response::Busy,
    }
}

/// The questions in `out` that drippers answer later.
fn slow(out: &[Output], now_ms: u64) -> Vec<(u64, Peer, Token, Request)> {
    let of_drippers = asks(out).into_iter().filter(|(peer, ..)| peer.0 <= 4);
    of_drippers.map(|(peer, token, request)| (now_ms + DRIP_MS, peer, token, request)).collect()
}

#[test]
fn four_drippers_keep_no_honest_peer_from_its_session() {
    let known = wire_id(&world()[0].id());
    let (mut solo, mut honest) = (Solo::holding(&world()[..5]), Solo::holding(world()));
    let mut open = Vec::new();
    for peer in 1..=4 {
        for (_, token, request) in asks(&solo.meet(peer)) {
            let out = solo.answer(peer, token, drip(peer, &request, known));
            open.extend(slow(&out, solo.now.elapsed_ms));
        }
    }
    assert_eq!(solo.engine.status().syncing.unwrap().peers, 4);
    let mut out = solo.meet(5);
    for _ in 0..60 {
        // The honest one answers at once.
        while let Some((_, token, request)) = asks(&out).into_iter().find(|(peer, ..)| *peer == Peer(5)) {
            assert_eq!(faults(&out), []);
            open.extend(slow(&out, solo.now.elapsed_ms));
            let answer = ask_server(&mut honest, request);
            out = solo.answer(5, token, answer);
            out = solo.check_all(out);
        }
        open.extend(slow(&out, solo.now.elapsed_ms));
        out = solo.wait(1_000);
        let now_ms = solo.now.elapsed_ms;
        for (_, peer, token, request) in open.extract_if(.., |(due_ms, ..)| *due_ms <= now_ms).collect::<Vec<_>>() {
            out.extend(solo.answer(peer.0, token, drip(peer.0, &request, known)));
        }
    }
    assert_eq!(solo.ledger.summary().digest, honest.ledger.summary().digest, "{:?}", solo.engine.status());
}

/// What a peer answers that holds the same and takes its time: one transaction at most.
fn trickle(server: &mut Solo, request: Request) -> Response {
    match ask_server(server, request) {
        Response::Transactions(list) => Response::Transactions(list.into_iter().take(1).collect()),
        other => other,
    }
}

/// Seconds until a fresh node has everything, from peers that answer at once but for transactions: those numbered up to
/// `slow` show one for each question, just in time. At most `patience_s`; says how many sessions there were last.
fn take_over(peers: u64, slow: u64, patience_s: u64) -> (u64, Solo) {
    let (mut solo, mut server) = (Solo::new(), Solo::holding(world()));
    let mut open = Vec::new();
    let mut out: Vec<Output> = (1..=peers).flat_map(|peer| solo.meet(peer)).collect();
    for second in 0..patience_s {
        let now_ms = solo.now.elapsed_ms;
        while let Some((peer, token, request)) = asks(&out).into_iter().next() {
            let rest = out.iter().skip_while(|output| !is_ask(output, token)).skip(1).cloned().collect();
            let is_slow = peer.0 <= slow && matches!(request, Request::Transactions { .. } | Request::Aliased { .. });
            let more = if is_slow {
                open.push((now_ms + DRIP_MS, peer, token, request));
                Vec::new()
            } else {
                let answer = ask_server(&mut server, request);
                let more = solo.answer(peer.0, token, answer);
                solo.check_all(more)
            };
            out = [rest, more].concat();
            assert_eq!(faults(&out), []);
        }
        if solo.ledger.summary().digest == server.ledger.summary().digest {
            return (second, solo);
        }
        out = solo.wait(1_000);
        let now_ms = solo.now.elapsed_ms;
        for (_, peer, token, request) in open.extract_if(.., |(due_ms, ..)| *due_ms <= now_ms).collect::<Vec<_>>() {
            let answer = trickle(&mut server, request);
            let more = solo.answer(peer.0, token, answer);
            out.extend(solo.check_all(more));
        }
    }
    panic!("not everything came within {patience_s} s: {:?}", solo.engine.status());
}

fn is_ask(output: &Output, of: Token) -> bool {
    matches!(output, Output::Ask { token, .. } if *token == of)
}

#[test]
fn a_trickle_holds_up_for_a_moment_what_another_peer_has() {
    let (seconds, _) = take_over(2, 1, 60);
    assert!(seconds <= 5, "{seconds} s");
}

#[test]
fn four_trickles_give_way_to_an_honest_peer() {
    let (seconds, _) = take_over(5, 4, 60);
    assert!(seconds <= 20, "{seconds} s");
}

#[test]
fn a_trickle_alone_is_better_than_nobody() {
    let (seconds, _) = take_over(1, 1, 600);
    let all_s = world().len() as u64 * DRIP_MS / 1_000;
    assert!(seconds <= all_s + 20, "{seconds} s: it is not left alone between two answers");
}
