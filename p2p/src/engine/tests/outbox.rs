//! Own transactions on their way into the ledger.

use super::{
    make::{self, make, noon, verified, world},
    net::Net,
    solo::{Solo, asks, the_ask, verdicts},
    sync::serve_from,
};
use crate::{
    engine::{Input, Output, Peer, Verdict, holders::Followed},
    wire::Response,
};
use qasedak_chain::{Network, Position, Time, Transaction, TxId, retention::body_day};

fn own(solo: &mut Solo, transaction: &Transaction) -> Vec<Output> {
    let own = verified(&solo.network, transaction);
    solo.tell(Input::Own(Box::new(own)))
}

fn published(out: &[Output]) -> Vec<TxId> {
    out.iter()
        .filter_map(|output| match output {
            Output::Publish { id, .. } => Some(*id),
            _ => None,
        })
        .collect()
}

fn released(out: &[Output]) -> Vec<TxId> {
    out.iter()
        .filter_map(|output| match output {
            Output::Released(ids) => Some(ids.clone()),
            _ => None,
        })
        .flatten()
        .collect()
}

#[test]
fn it_waits_for_a_subscriber_then_goes_out_then_into_the_log_then_is_released() {
    let mut solo = Solo::new();
    let id = world()[0].id();
    assert_eq!(published(&own(&mut solo, &world()[0])), []);
    assert_eq!(published(&solo.tell(make::connected(1))), [], "a connection is no subscription");
    assert_eq!(solo.engine.status().outbox, 1);
    assert!(!solo.holds(&world()[0]));
    let out = solo.tell(Input::Subscribed(Peer(1)));
    assert_eq!(published(&out), [id]);
    assert!(!solo.holds(&world()[0]), "not before it is sent");
    let out = solo.tell(Input::Published { id, sent: true });
    assert!(out.contains(&Output::Grown) && solo.holds(&world()[0]));
    assert_eq!((released(&out), solo.engine.status().outbox), (vec![], 0));
    assert_eq!(released(&solo.tell(Input::Durable(Position::new(0)))), []);
    assert_eq!(released(&solo.tell(Input::Durable(Position::new(1)))), [id]);
    assert_eq!(released(&solo.tell(Input::Durable(Position::new(2)))), []);
}

#[test]
fn what_reached_nobody_is_tried_again_at_a_bounded_rate() {
    let mut solo = Solo::new();
    let id = world()[0].id();
    solo.meet(1);
    assert_eq!(published(&own(&mut solo, &world()[0])), [id]);
    assert_eq!(published(&solo.wait(1_000)), [], "the first attempt is under way");
    let mut attempts = 0;
    solo.tell(Input::Published { id, sent: false });
    for _ in 0..20 {
        let tries = published(&solo.wait(1_000)).len();
        attempts += tries;
        if tries > 0 {
            solo.tell(Input::Published { id, sent: false });
        }
    }
    assert!((5..=10).contains(&attempts), "{attempts} attempts in 20 s");
    assert!(!solo.holds(&world()[0]));
    // No word of an attempt is no reason to give up.
    solo.wait(3_000);
    assert!(!published(&solo.wait(12_000)).is_empty());
}

#[test]
fn a_peer_that_offers_it_by_gossip_releases_it() {
    let mut solo = Solo::new();
    own(&mut solo, &world()[0]);
    let (token, out) = solo.gossip(1, world()[0].to_bytes());
    assert_eq!(verdicts(&out), [(token, Verdict::Accept)], "no second verification");
    assert!(solo.holds(&world()[0]));
    assert_eq!(released(&solo.tell(Input::Durable(Position::new(1)))), [world()[0].id()]);
    assert_eq!(solo.engine.status().outbox, 0);
}

#[test]
fn a_peer_that_lists_it_in_sync_releases_it_and_is_not_asked_for_it() {
    let (mut solo, mut server) = (Solo::new(), Solo::holding(&world()[..1]));
    own(&mut solo, &world()[0]);
    let out = solo.tell(make::connected(1));
    let out = serve_from(&mut solo, &mut server, 1, out);
    let fetched = |request: &crate::wire::Request| matches!(request, crate::wire::Request::Transactions { .. });
    assert!(!asks(&out).iter().any(|(.., request)| fetched(request)));
    assert!(solo.holds(&world()[0]));
}

#[test]
fn after_a_restart_what_the_log_has_is_released_and_the_rest_goes_out() {
    let mut solo = Solo::holding(&world()[..1]);
    solo.meet(1);
    assert_eq!(released(&own(&mut solo, &world()[0])), [world()[0].id()]);
    assert_eq!(published(&own(&mut solo, &world()[1])), [world()[1].id()]);
}

#[test]
fn one_whose_parent_was_lost_in_a_power_cut_waits_for_it() {
    let mut solo = Solo::new();
    solo.meet(1);
    assert_eq!(published(&own(&mut solo, &world()[1])), []);
    let (_, out) = solo.gossip(1, world()[0].to_bytes());
    assert_eq!(published(&solo.check_all(out)), [world()[1].id()]);
}

#[test]
fn a_message_made_alone_goes_out_when_somebody_comes_even_after_a_restart() {
    let mut net = Net::new(2, 13);
    net.own(0, &world()[0]);
    net.run(5_000);
    net.restart(0);
    net.run(5_000);
    assert_eq!((net.count(0), net.nodes[0].outbox.len()), (0, 1));
    net.link(0, 1);
    net.run(3_000);
    net.assert_converged(1);
    assert!(net.nodes[0].outbox.is_empty());
}

#[test]
fn on_main_it_becomes_a_parent_when_two_peers_hold_it() {
    let network = Network::named("main").unwrap();
    let mut solo = Solo::on(network.clone());
    let transaction = make(&network, &[network.genesis()], noon().rounded_down(), 1);
    let id = transaction.id();
    let mut questions = Vec::new();
    for peer in [1, 2] {
        questions.push(the_ask(&solo.meet(peer)).0);
    }
    own(&mut solo, &transaction);
    solo.tell(Input::Published { id, sent: true });
    let settled = |solo: &mut Solo| {
        let later = solo.now.system.plus(3_600);
        solo.ledger.settle(later).unwrap();
        solo.ledger.frontier_len()
    };
    let summary = solo.ledger.summary();
    let same = || Response::Digest { count: summary.count, digest: *summary.digest.as_bytes() };
    assert_eq!(settled(&mut solo), 0);
    // The same digest shows that a peer holds it.
    solo.answer(1, questions[0], same());
    assert_eq!(settled(&mut solo), 0);
    // The same peer twice is one peer.
    solo.gossip(1, transaction.to_bytes());
    assert_eq!(settled(&mut solo), 0);
    solo.now.system = solo.now.system.plus(3_600);
    solo.answer(2, questions[1], same());
    assert_eq!(settled(&mut solo), 1);
}

fn on(solo: &Solo, transaction: &Transaction) -> Option<usize> {
    solo.engine.holders(&[transaction.id()])[0]
}

#[test]
fn who_is_known_to_hold_it_is_counted_by_key_until_it_ends() {
    let mut solo = Solo::new();
    let mine = &world()[0];
    for peer in [1, 2] {
        solo.meet(peer);
    }
    own(&mut solo, mine);
    assert_eq!(on(&solo, mine), None, "it is not out");
    solo.tell(Input::Published { id: mine.id(), sent: true });
    assert_eq!(on(&solo, mine), Some(0), "that it was sent says nothing of whether it arrived");
    solo.gossip(1, mine.to_bytes());
    solo.gossip(1, mine.to_bytes());
    assert_eq!(on(&solo, mine), Some(1));
    // A peer that goes held it all the same, and is the same one when it comes back.
    solo.tell(Input::Disconnected(Peer(1)));
    assert_eq!(on(&solo, mine), Some(1));
    solo.tell(Input::Connected { peer: Peer(9), key: make::peer_key(1).verifying_key().to_bytes() });
    solo.gossip(9, mine.to_bytes());
    assert_eq!(on(&solo, mine), Some(1));
    solo.gossip(2, mine.to_bytes());
    assert_eq!(on(&solo, mine), Some(2));
    assert_eq!(on(&solo, &world()[1]), None, "another's is not counted");
    solo.now.system = Followed::of(mine.id(), mine.core()).ends;
    solo.wait(1_000);
    assert_eq!(on(&solo, mine), None);
}

#[test]
fn an_equal_digest_says_nothing_of_what_is_not_out() {
    let mut solo = Solo::new();
    let (question, _) = the_ask(&solo.tell(make::connected(1)));
    own(&mut solo, &world()[0]);
    let summary = solo.ledger.summary();
    solo.answer(1, question, Response::Digest { count: 0, digest: *summary.digest.as_bytes() });
    assert_eq!((on(&solo, &world()[0]), solo.engine.status().outbox), (None, 1));
}

#[test]
fn after_a_restart_counting_begins_again_with_what_the_node_names() {
    let mut solo = Solo::holding(&world()[..2]);
    let named = [&world()[0], &world()[5]].map(|one| Followed::of(one.id(), one.core()));
    solo.tell(Input::Follow(named.into()));
    assert_eq!((on(&solo, &world()[0]), on(&solo, &world()[5])), (Some(0), None), "the second is not in the log");
    let (question, _) = the_ask(&solo.tell(make::connected(1)));
    let summary = solo.ledger.summary();
    solo.answer(1, question, Response::Digest { count: 2, digest: *summary.digest.as_bytes() });
    assert_eq!((on(&solo, &world()[0]), on(&solo, &world()[1])), (Some(1), None));
}

/// Nobody took it while it lived: it goes from the disk when honest nodes drop such a body, and is not published later.
#[test]
fn what_never_got_out_is_released_when_its_day_has_come() {
    let core = world()[0].core();
    let day = body_day(core, core.time());
    assert!(Time::from_secs(day * 86_400).since(core.expires()) <= 4 * 86_400);
    for at_start in [false, true] {
        let mut solo = Solo::new();
        if !at_start {
            own(&mut solo, &world()[0]);
        }
        solo.now.system = Time::from_secs(day * 86_400 - 1);
        assert_eq!(released(&solo.tell(Input::Tick)), []);
        solo.now.system = Time::from_secs(day * 86_400);
        let out = if at_start { own(&mut solo, &world()[0]) } else { solo.tell(Input::Tick) };
        assert_eq!((released(&out), solo.engine.status().outbox), (vec![world()[0].id()], 0));
        assert_eq!(published(&solo.meet(1)), []);
    }
    // A clock that is years ahead takes nothing from anybody.
    let mut solo = Solo::new();
    solo.now.system = Time::from_secs((day + 2_000) * 86_400);
    assert_eq!(released(&own(&mut solo, &world()[0])), []);
}
