//! Gossip: verdicts, orphans, duplicates.

use super::{
    make::{WORLD, make, make_with, noon, verified, world},
    net::Net,
    solo::{Solo, answers, asks, check_tokens, faults, the_ask, verdicts},
};
use crate::{
    engine::{Fault, Input, Output, Peer, Verdict, gossip::VERDICT_MS},
    wire::{Request, Response, wire_id},
};
use qasedak_chain::{Network, Transaction, rules::RuleError};

#[test]
fn two_nodes_gossip_until_both_hold_everything() {
    let mut net = Net::line(2, 1);
    net.run(1_000);
    for (number, transaction) in world().iter().enumerate() {
        net.own(number % 2, transaction);
        net.run(100);
    }
    net.run(2_000);
    net.assert_converged(WORLD);
    assert!(net.nodes.iter().all(|node| node.outbox.is_empty()), "all were released");
}

#[test]
fn a_message_runs_down_a_line_of_five_by_gossip_alone() {
    let mut net = Net::line(5, 2);
    net.run(1_000);
    net.own(0, &world()[0]);
    net.run(300);
    net.assert_converged(1);
}

#[test]
fn a_burst_from_one_end_of_a_line_reaches_the_other_though_checks_end_out_of_order() {
    let mut net = Net::line(5, 3);
    net.run(1_000);
    net.give(0, &world()[..1]);
    // All at once: children overtake their parents on the way.
    for transaction in &world()[1..] {
        net.own(0, transaction);
    }
    net.run(3_000);
    net.assert_converged(WORLD);
}

#[test]
fn an_orphan_waits_for_its_parent_and_is_relayed_when_that_comes() {
    let mut solo = Solo::new();
    let (parent, child) = (&world()[0], &world()[1]);
    let met = solo.meet(1);
    assert_eq!(asks(&met).len(), 1, "only the comparison");
    let (child_token, out) = solo.gossip(1, child.to_bytes());
    let out = solo.check_all(out);
    assert_eq!(verdicts(&out), []);
    assert_eq!(solo.engine.status().waiting, 1);
    let (question, request) = the_ask(&out);
    assert!(matches!(&request, Request::Transactions { ids, .. } if ids == &[wire_id(&parent.id())]));
    let out = solo.answer(1, question, Response::Transactions(vec![parent.to_bytes()]));
    let out = solo.check_all(out);
    assert_eq!(verdicts(&out), [(child_token, Verdict::Accept)]);
    assert!(solo.holds(parent) && solo.holds(child));
    assert_eq!(solo.engine.status().waiting, 0);
}

#[test]
fn an_orphan_whose_parent_is_being_checked_asks_for_nothing() {
    let mut solo = Solo::new();
    solo.meet(1);
    let (first, parent) = solo.gossip(1, world()[0].to_bytes());
    let (second, child) = solo.gossip(1, world()[1].to_bytes());
    // The child's check ends first.
    let out = solo.check_all(child);
    assert_eq!((verdicts(&out), asks(&out).len()), (vec![], 0));
    let out = solo.check_all(parent);
    assert_eq!(verdicts(&out), [(first, Verdict::Accept), (second, Verdict::Accept)]);
}

#[test]
fn generations_of_missing_parents_are_fetched_one_after_another() {
    let mut solo = Solo::new();
    solo.meet(1);
    let (token, out) = solo.gossip(1, world()[6].to_bytes());
    let mut out = solo.check_all(out);
    let mut judged = Vec::new();
    for _ in 0..20 {
        judged.extend(verdicts(&out));
        let wanted = asks(&out).into_iter().find_map(|(_, token, request)| match request {
            Request::Transactions { ids, .. } => Some((token, ids)),
            _ => None,
        });
        let Some((question, ids)) = wanted else {
            break;
        };
        let page = world().iter().filter(|one| ids.contains(&wire_id(&one.id())));
        // In the order of the question.
        let mut page: Vec<_> = page.collect();
        page.sort_by_key(|one| ids.iter().position(|id| id == &wire_id(&one.id())));
        let page = page.into_iter().map(|one| one.to_bytes()).collect();
        let answer = solo.answer(1, question, Response::Transactions(page));
        out = solo.check_all(answer);
    }
    assert_eq!(judged, [(token, Verdict::Accept)]);
    assert_eq!(solo.ledger.summary().count, 7);
}

#[test]
fn an_orphan_that_waits_too_long_is_not_relayed_but_kept() {
    let mut solo = Solo::new();
    solo.meet(1);
    let (token, out) = solo.gossip(1, world()[1].to_bytes());
    solo.check_all(out);
    let out = solo.wait(VERDICT_MS + 1_000);
    assert_eq!(verdicts(&out), [(token, Verdict::Ignore)]);
    // The parent comes at last: both are in the ledger, and the others are asked to compare.
    let (late, out) = solo.gossip(2, world()[0].to_bytes());
    let out = solo.check_all(out);
    assert_eq!(verdicts(&out), [(late, Verdict::Accept)]);
    assert!(solo.holds(&world()[1]));
    assert_eq!(faults(&out), []);
}

#[test]
fn a_flood_is_kept_but_relayed_in_part_and_others_are_relayed_beside_it() {
    let mut solo = Solo::new();
    for peer in [1, 2] {
        let (token, request) = the_ask(&solo.meet(peer));
        let Request::Digest { count, digest } = request else { panic!("not a comparison: {request:?}") };
        solo.answer(peer, token, Response::Digest { count, digest });
    }
    let genesis = [solo.network.genesis()];
    let large = |number: u8| make_with(&Network::dev(), &genesis, noon(), number, vec![number; 65_536]);
    let relay = |solo: &mut Solo, from, one: &Transaction| {
        let (token, out) = solo.gossip(from, one.to_bytes());
        let out = solo.check_all(out);
        assert!(solo.holds(one), "whatever the verdict, nothing valid is lost");
        match verdicts(&out)[..] {
            [(judged, verdict)] if judged == token => verdict == Verdict::Accept,
            ref other => panic!("not one verdict: {other:?}"),
        }
    };
    let flood: Vec<bool> = (0..24).map(|number| relay(&mut solo, 1, &large(number))).collect();
    // 16 of them are a little more than a mebibyte.
    assert_eq!(flood, [vec![true; 16], vec![false; 8]].concat());
    assert!(relay(&mut solo, 2, &world()[0]), "nobody else pays for it");
    let asked = asks(&solo.wait(1_000));
    let compared = asked.iter().any(|(peer, _, request)| *peer == Peer(2) && matches!(request, Request::Digest { .. }));
    assert!(compared, "others learn that there is more, and fetch it");
    assert!(relay(&mut solo, 1, &large(24)), "a second brings a mebibyte");
}

#[test]
fn invalid_bytes_are_rejected_and_their_relay_let_go() {
    let valid = world()[0].to_bytes();
    let mut longer = valid.clone();
    longer.push(0);
    let mut unsigned = valid.clone();
    let at = 187 + 32 - 24 - 64;
    unsigned[at] ^= 1;
    for (bytes, rule) in
        [(b"nonsense".to_vec(), RuleError::Size), (vec![0; 700], RuleError::Version), (longer, RuleError::BodySize)]
    {
        let mut solo = Solo::new();
        solo.meet(1);
        let (token, out) = solo.gossip(1, bytes);
        assert_eq!(verdicts(&out), [(token, Verdict::Reject)]);
        assert_eq!(faults(&out), [(Peer(1), Fault::InvalidTransaction(rule))]);
        assert_eq!(solo.engine.status().peers, []);
    }
    // What only verification finds.
    let mut solo = Solo::new();
    solo.meet(1);
    let (token, out) = solo.gossip(1, unsigned);
    assert_eq!(verdicts(&out), []);
    let out = solo.check_all(out);
    assert_eq!(verdicts(&out), [(token, Verdict::Reject)]);
    assert!(matches!(faults(&out)[..], [(Peer(1), Fault::InvalidTransaction(_))]));
    assert_eq!(solo.ledger.summary().count, 0);
}

#[test]
fn a_time_before_the_parents_is_the_relays_fault_too() {
    let network = Network::dev();
    let parent = make(&network, &[network.genesis()], noon(), 101);
    let backdated = make(&network, &[parent.id()], noon().rounded_down(), 102);
    let earlier = make(&network, &[parent.id()], qasedak_chain::Time::from_secs(noon().secs() - 600), 103);
    let mut solo = Solo::holding(&[parent]);
    solo.meet(1);
    let (token, out) = solo.gossip(1, backdated.to_bytes());
    assert_eq!(verdicts(&solo.check_all(out)), [(token, Verdict::Accept)]);
    let (token, out) = solo.gossip(1, earlier.to_bytes());
    let out = solo.check_all(out);
    assert_eq!(verdicts(&out), [(token, Verdict::Reject)]);
    assert_eq!(faults(&out), [(Peer(1), Fault::InvalidTransaction(RuleError::TimeBeforeParent))]);
}

#[test]
fn a_wrong_body_under_a_right_header_does_not_keep_the_true_one_out() {
    let mut solo = Solo::new();
    solo.meet(1);
    solo.meet(2);
    let mut wrong = world()[0].to_bytes();
    *wrong.last_mut().unwrap() ^= 1;
    let (token, out) = solo.gossip(1, wrong);
    assert_eq!(verdicts(&out), [(token, Verdict::Reject)]);
    assert_eq!(faults(&out), [(Peer(1), Fault::InvalidTransaction(RuleError::BodyHash))]);
    let (token, out) = solo.gossip(2, world()[0].to_bytes());
    assert_eq!(verdicts(&solo.check_all(out)), [(token, Verdict::Accept)]);
    assert!(solo.holds(&world()[0]));
}

#[test]
fn a_header_alone_is_ignored_and_the_whole_one_still_accepted() {
    let mut solo = Solo::new();
    solo.meet(1);
    let header = world()[0].header().to_bytes();
    let (token, out) = solo.gossip(1, header);
    assert_eq!((verdicts(&out), faults(&out)), (vec![(token, Verdict::Ignore)], vec![]));
    let (token, out) = solo.gossip(1, world()[0].to_bytes());
    assert_eq!(verdicts(&solo.check_all(out)), [(token, Verdict::Accept)]);
}

#[test]
fn duplicates_are_ignored_and_appended_once() {
    let mut solo = Solo::new();
    solo.meet(1);
    solo.meet(2);
    let (first, out) = solo.gossip(1, world()[0].to_bytes());
    // The same again while it is being checked, and once it is in.
    let (second, again) = solo.gossip(2, world()[0].to_bytes());
    assert_eq!(verdicts(&again), [(second, Verdict::Ignore)]);
    assert_eq!(check_tokens(&again), []);
    let out = solo.check_all(out);
    assert_eq!(verdicts(&out), [(first, Verdict::Accept)]);
    assert_eq!(out.iter().filter(|output| **output == Output::Grown).count(), 1);
    let (third, out) = solo.gossip(2, world()[0].to_bytes());
    assert_eq!(verdicts(&out), [(third, Verdict::Ignore)]);
    assert_eq!(solo.ledger.summary().count, 1);
}

#[test]
fn one_peer_cannot_fill_the_checks_for_all() {
    let mut solo = Solo::new();
    solo.meet(1);
    solo.meet(2);
    // Nothing comes back from verification; headers differ in their stamps, so ids do.
    let with_nonce = |nonce: u64| {
        let mut bytes = world()[0].to_bytes();
        let at = 187 + 32 - 24;
        bytes[at..at + 8].copy_from_slice(&nonce.to_le_bytes());
        bytes
    };
    let mut ignored = 0;
    for nonce in 0..1_000 {
        let (_, out) = solo.gossip(1, with_nonce(nonce));
        ignored += verdicts(&out).len();
    }
    assert_eq!(ignored, 1_000 - 256);
    let (_, out) = solo.gossip(2, world()[1].to_bytes());
    assert_eq!(check_tokens(&out).len(), 1, "the other peer is heard");
}

#[test]
fn a_verdict_on_a_check_that_was_never_handed_out_changes_nothing() {
    let mut solo = Solo::new();
    let network = Network::dev();
    let token = solo.token();
    let out = solo.checked(token, Ok(verified(&network, &world()[0])));
    assert_eq!(out, []);
    assert_eq!(solo.ledger.summary().count, 0);
    assert_eq!(solo.tell(Input::Tick), []);
    assert_eq!(answers(&[]), []);
}
