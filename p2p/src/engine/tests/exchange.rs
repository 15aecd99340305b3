//! Checkpoints of peers: what is asked when, what is kept, and what is evidence of what.

use qasedak_chain::{
    Ledger, Network, Time, Transaction,
    book::{Book, Entry, NEWCOMERS_MAX},
    checkpoint::{Checkpoint, Contradiction, SignedCheckpoint},
    merkle::verify_consistency,
    store::memory::MemoryStore,
    time::{DAY_SECS, HOUR_SECS},
};

use super::{
    make::{self, noon, world},
    net::Net,
    solo::{Solo, answers, checkpoint_asks, faults},
};
use crate::{
    engine::{Fault, Input, Output, Peer, Token},
    wire::{KnownCheckpoint, Request, Response},
};

/// A log in the hands of a peer.
struct Log {
    ledger: Ledger<MemoryStore>,
    id: [u8; 16],
    key: u64,
}

impl Log {
    fn of(transactions: &[Transaction]) -> Self {
        let mut log = Self { ledger: Ledger::open(Network::dev(), MemoryStore::new()).unwrap(), id: [4; 16], key: 1 };
        log.grow(transactions);
        log
    }

    fn grow(&mut self, transactions: &[Transaction]) {
        for transaction in transactions {
            self.ledger.append(make::verified(&Network::dev(), transaction), noon(), false).unwrap();
        }
        self.ledger.flush_now(noon()).unwrap();
    }

    fn sign(&mut self, at: Time) -> SignedCheckpoint {
        let statement = self.ledger.statement(self.id, at).unwrap().expect("transactions");
        signed(statement, self.key)
    }

    fn path(&self, from: u64) -> Vec<[u8; 32]> {
        self.ledger.consistency_path(from, self.ledger.summary().count).unwrap()
    }
}

fn signed(statement: qasedak_chain::checkpoint::Statement, key: u64) -> SignedCheckpoint {
    use ed25519_dalek::Signer;
    let (network, key) = (Network::dev(), make::peer_key(key));
    let checkpoint = Checkpoint::new(&network, statement).unwrap();
    checkpoint.sign(&network, key.verifying_key().to_bytes(), |message| key.sign(message).to_bytes()).unwrap()
}

fn kept(out: &[Output]) -> Vec<Entry> {
    out.iter()
        .filter_map(|output| match output {
            Output::Keep(entry) => Some((**entry).clone()),
            _ => None,
        })
        .collect()
}

fn evidence(out: &[Output]) -> Vec<Contradiction> {
    kept(out)
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Evidence(evidence) => Some(evidence.reason),
            _ => None,
        })
        .collect()
}

fn the_question(out: &[Output]) -> (Token, Option<KnownCheckpoint>) {
    match checkpoint_asks(out).as_slice() {
        [(_, token, Request::Checkpoint { known })] => (*token, *known),
        other => panic!("expected one question, got {other:?}"),
    }
}

fn tells(checkpoint: &SignedCheckpoint, path: Vec<[u8; 32]>) -> Response {
    Response::Checkpoint { checkpoint: Some(checkpoint.to_bytes()), path }
}

/// Waits until peer 1 is asked again.
fn next_question(solo: &mut Solo) -> (Token, Option<KnownCheckpoint>) {
    for _ in 0..900 {
        let out = solo.wait(1_000);
        if !checkpoint_asks(&out).is_empty() {
            return the_question(&out);
        }
    }
    panic!("no question in a quarter of an hour");
}

/// A node that has met peer 1 and kept this of it.
fn knowing(first: &SignedCheckpoint) -> Solo {
    let mut solo = Solo::new();
    let out = solo.meet(1);
    let (token, known) = the_question(&out);
    assert_eq!(known, None);
    let out = solo.answer(1, token, tells(first, vec![]));
    assert!(matches!(kept(&out)[..], [Entry::Peer(kept)] if kept.checkpoint == *first), "{out:?}");
    solo
}

#[test]
fn honest_growth_is_kept_and_no_evidence() {
    let mut log = Log::of(&world()[..5]);
    let first = log.sign(noon());
    let mut solo = knowing(&first);
    for n in 6..12 {
        log.grow(&world()[n - 1..n]);
        let next = log.sign(noon().plus(60 * n as u64));
        let (token, known) = next_question(&mut solo);
        let known = known.expect("the last one");
        assert_eq!((known.log_id, known.count), ([4; 16], n as u64 - 1));
        let out = solo.answer(1, token, tells(&next, log.path(known.count)));
        assert!(matches!(kept(&out)[..], [Entry::Peer(kept)] if kept.checkpoint == next), "{out:?}");
    }
    assert_eq!(solo.engine.book().evidence().count(), 0);
}

#[test]
fn what_says_nothing_new_is_kept_once_a_day() {
    let mut log = Log::of(&world()[..5]);
    let mut solo = knowing(&log.sign(noon()));
    let (token, _) = next_question(&mut solo);
    assert_eq!(kept(&solo.answer(1, token, tells(&log.sign(noon().plus(600)), vec![]))), []);
    solo.now.system = noon().plus(DAY_SECS);
    let (token, _) = next_question(&mut solo);
    assert_eq!(kept(&solo.answer(1, token, tells(&log.sign(noon().plus(1_200)), vec![]))).len(), 1);
}

#[test]
fn late_arrivals_from_an_island_are_no_contradiction() {
    // All but one of an early block, long closed.
    let (late, rest): (Vec<_>, Vec<_>) = (world()[29..].to_vec(), world()[..29].to_vec());
    let mut log = Log::of(&rest);
    let first = log.sign(noon().plus(DAY_SECS));
    assert!(first.statement().closed.is_some_and(|closed| closed.number > late[0].core().time().hour() - 24));
    let mut solo = knowing(&first);
    log.grow(&late);
    let second = log.sign(noon().plus(DAY_SECS + HOUR_SECS));
    assert_ne!(first.statement().closed, second.statement().closed);
    let (token, known) = next_question(&mut solo);
    let out = solo.answer(1, token, tells(&second, log.path(known.unwrap().count)));
    assert_eq!((evidence(&out), kept(&out).len()), (vec![], 1));
}

#[test]
fn two_logs_of_one_name_are_evidence_once_and_the_peer_stays() {
    let first = Log::of(&world()[..5]).sign(noon());
    let mut solo = knowing(&first);
    // As many transactions, in another order.
    let network = Network::dev();
    let other: Vec<Transaction> =
        (0..5).map(|n| make::make(&network, &[network.genesis()], noon().rounded_down(), 100 + n)).collect();
    let fork = Log::of(&other).sign(noon().plus(60));
    for round in 0..3 {
        let (token, _) = next_question(&mut solo);
        let out = solo.answer(1, token, tells(&fork, vec![]));
        assert_eq!(evidence(&out), if round == 0 { vec![Contradiction::Link] } else { vec![] });
        assert_eq!(faults(&out), []);
    }
    assert_eq!(solo.engine.book().newest(first.signer()).unwrap().checkpoint, first, "what it contradicts stays");
}

#[test]
fn a_log_that_shrank_is_evidence() {
    let mut solo = knowing(&Log::of(&world()[..9]).sign(noon()));
    let (token, _) = next_question(&mut solo);
    let out = solo.answer(1, token, tells(&Log::of(&world()[..5]).sign(noon().plus(600)), vec![]));
    assert_eq!(evidence(&out), [Contradiction::FewerTransactions]);
}

#[test]
fn a_path_is_asked_for_once_more_before_its_lack_is_evidence() {
    let mut log = Log::of(&world()[..5]);
    let first = log.sign(noon());
    log.grow(&world()[5..9]);
    let second = log.sign(noon().plus(600));
    let good = log.path(5);
    let bad: Vec<[u8; 32]> = good.iter().map(|_| [9; 32]).collect();
    for (then, reason) in [(vec![], Some(Contradiction::NoPath)), (bad, Some(Contradiction::BadPath)), (good, None)] {
        let mut solo = knowing(&first);
        let (token, _) = next_question(&mut solo);
        let out = solo.answer(1, token, tells(&second, vec![]));
        assert_eq!(kept(&out), [], "not yet");
        let (token, known) = the_question(&out);
        assert_eq!(known.map(|known| known.count), Some(5));
        let out = solo.answer(1, token, tells(&second, then));
        assert_eq!(evidence(&out), reason.into_iter().collect::<Vec<_>>());
        assert_eq!((kept(&out).len(), faults(&out)), (1, vec![]));
    }
}

#[test]
fn a_new_log_of_the_same_peer_begins_anew() {
    let mut solo = knowing(&Log::of(&world()[..9]).sign(noon()));
    let mut log = Log::of(&world()[..5]);
    log.id = [5; 16];
    let (token, _) = next_question(&mut solo);
    let out = solo.answer(1, token, tells(&log.sign(noon().plus(600)), vec![]));
    assert_eq!((evidence(&out), kept(&out).len()), (vec![], 1));
    // The next question names the log that was heard of last.
    assert_eq!(next_question(&mut solo).1.unwrap().log_id, [5; 16]);
}

#[test]
fn only_the_peers_own_word_counts() {
    let mut log = Log::of(&world()[..5]);
    let own = log.sign(noon());
    log.key = 2;
    let of_another = log.sign(noon());
    let mut forged = own.to_bytes();
    forged[20] ^= 1;
    let mut foreign = own.to_bytes();
    let last = foreign.len() - 1;
    foreign[last] ^= 1;
    for bytes in [of_another.to_bytes(), forged, foreign] {
        let mut solo = Solo::new();
        let out = solo.meet(1);
        let (token, _) = the_question(&out);
        let out = solo.answer(1, token, Response::Checkpoint { checkpoint: Some(bytes), path: vec![] });
        assert_eq!((faults(&out), kept(&out)), (vec![(Peer(1), Fault::WrongAnswer)], vec![]));
    }
}

#[test]
fn peers_without_checkpoints_busy_and_older_ones_are_asked_less_and_less() {
    type Answer = fn(&mut Solo, Token) -> Vec<Output>;
    let none = |solo: &mut Solo, token| solo.answer(1, token, Response::Checkpoint { checkpoint: None, path: vec![] });
    let busy = |solo: &mut Solo, token| solo.answer(1, token, Response::Busy);
    let older = |solo: &mut Solo, token| solo.tell(Input::Failed { peer: Peer(1), token, fault: false });
    for answer in [none as Answer, busy, older] {
        let mut solo = Solo::new();
        let mut out = solo.meet(1);
        let mut asked = 0;
        for _ in 0..3_600 {
            for (_, token, _) in checkpoint_asks(&out) {
                asked += 1;
                assert_eq!(faults(&answer(&mut solo, token)), []);
            }
            out = solo.wait(1_000);
        }
        assert!((8..20).contains(&asked), "{asked} questions in an hour");
    }
}

#[test]
fn throw_away_peers_displace_nobody_known_for_long() {
    let mut log = Log::of(&world()[..5]);
    let mut solo = knowing(&log.sign(noon()));
    solo.now.system = noon().plus(2 * DAY_SECS);
    let (token, _) = next_question(&mut solo);
    let newest = log.sign(noon().plus(2 * DAY_SECS));
    solo.answer(1, token, tells(&newest, vec![]));
    for number in 2..NEWCOMERS_MAX as u64 + 50 {
        let mut flooder = Log::of(&world()[..1]);
        flooder.key = number;
        let out = solo.tell(make::connected(number));
        let (token, _) = the_question(&out);
        solo.answer(number, token, tells(&flooder.sign(noon()), vec![]));
        solo.tell(Input::Disconnected(Peer(number)));
    }
    assert_eq!(solo.engine.book().newest(newest.signer()).unwrap().checkpoint, newest);
    assert_eq!(solo.engine.book().signers(), NEWCOMERS_MAX + 1);
}

#[test]
fn the_own_one_is_served_once_it_is_signed_with_a_path_from_the_askers() {
    let mut solo = Solo::holding(&world()[..9]);
    solo.meet(1);
    let ask = |solo: &mut Solo, known| match &answers(&solo.ask(1, Request::Checkpoint { known }))[..] {
        [Response::Checkpoint { checkpoint, path }] => (checkpoint.clone(), path.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(&mut solo, None), (None, vec![]));
    let mut log = Log::of(&world()[..5]);
    let old_root = log.ledger.summary().root;
    log.grow(&world()[5..9]);
    let own = log.sign(noon());
    solo.tell(Input::Signed(Box::new(own)));
    let known = |log_id, count| Some(KnownCheckpoint { log_id, count });
    assert_eq!(ask(&mut solo, None), (Some(own.to_bytes()), vec![]));
    assert_eq!(ask(&mut solo, known([4; 16], 90)), (Some(own.to_bytes()), vec![]));
    assert_eq!(ask(&mut solo, known([6; 16], 5)), (Some(own.to_bytes()), vec![]));
    let (_, path) = ask(&mut solo, known([4; 16], 5));
    let ledger = Network::dev().ledger();
    assert!(verify_consistency(ledger, 5, &old_root, 9, &own.statement().root, &path));
}

#[test]
fn nodes_that_grow_sync_and_restart_never_accuse_one_another() {
    let mut net = Net::line(3, 8);
    for step in 0..30 {
        net.own(step % 3, &world()[step]);
        net.run(30_000);
        (0..3).for_each(|node| net.sign(node));
        if step % 7 == 6 {
            // The book on disk goes with it.
            let book: Vec<Entry> = net.nodes[1].engine.book().entries();
            net.restart(1);
            net.run(1_000);
            net.nodes[1].engine = crate::engine::Engine::new(Network::dev(), [9; 32]).with_book(Book::of(book));
            net.link(0, 1);
            net.link(1, 2);
        }
    }
    net.run(1_500_000);
    net.assert_converged(30);
    for node in &net.nodes {
        assert_eq!(node.engine.book().evidence().count(), 0);
        assert!(node.engine.book().signers() >= 1);
    }
    let middle = net.nodes[1].engine.book();
    for other in [0, 2] {
        let newest = middle.newest(&make::peer_key(other).verifying_key().to_bytes()).unwrap();
        assert_eq!(newest.checkpoint.statement().count, 30, "the newest of node {other}");
    }
}

#[test]
fn a_comparison_calls_late_what_the_lacking_side_signed_as_closed() {
    // One of the first hour that an island had for itself, and the newest, which is on its way.
    let network = Network::dev();
    let early = make::make(&network, &[network.genesis()], world()[0].core().time(), 200);
    let here = [world(), std::slice::from_ref(&early)].concat();
    let (mut a, mut b) = (Solo::holding(&here), Solo::holding(&world()[..29]));
    let out = a.meet(1);
    b.tell(make::connected(1));
    let at = noon().plus(DAY_SECS);
    let theirs = Log::of(&world()[..29]).sign(at);
    let (token, _) = the_question(&out);
    a.answer(1, token, tells(&theirs, vec![]));
    let report = super::comparison::drive(&mut a, &mut b).unwrap();
    let closed = theirs.statement().closed.unwrap().number;
    assert_eq!((report.closed_there, report.closed_here), (Some(closed), None));
    let late: Vec<_> = report.blocks.iter().map(|block| (block.number, block.only_here.late)).collect();
    let hour = |one: &Transaction| one.core().time().hour();
    assert_eq!(late, [(hour(&early), true), (hour(&world()[29]), false)]);
}
