//! The rules that every transaction must obey (DESIGN §4): each error has an input that provokes exactly it, checks
//! run cheapest first, and the price of a stamp is what the formula says.
//!
//! Everything here runs with the parameters of `main`: targets are met by trying nonces under one hash each, and only
//! the golden transaction in `vectors.rs` carries a `main` stamp with real work.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use qasedak_chain::{
    Depth, Network, Time, Transaction, TxId,
    rules::{self, FUTURE_BODY_SECS, Parent, ParentsError, RuleError},
    stamp::Effort,
    transaction::{BODY_LENS, body_hash},
};

#[path = "support/draft.rs"]
mod draft;

use draft::Draft;

/// How to break one rule, and how dear its check is: checks of a lower rank come first.
struct Breach {
    rule: RuleError,
    rank: u8,
    break_it: fn(&mut Draft),
}

/// Ranks are the steps of DESIGN §4: size → encoding → parent count and order, form → body → stamp target →
/// signature → stamp solution. Within one rank the order is free.
const BREACHES: [Breach; 14] = [
    // Too long at the end, so that nothing else changes. The body's length no longer fits either.
    Breach { rule: RuleError::Size, rank: 0, break_it: |d| d.body.resize(65_979, 0) },
    Breach { rule: RuleError::Version, rank: 1, break_it: |d| d.version = 2 },
    Breach { rule: RuleError::ParentCount, rank: 2, break_it: |d| d.parent_count = Some(9) },
    Breach { rule: RuleError::ParentOrder, rank: 3, break_it: |d| d.parents = vec![[2; 32], [1; 32]] },
    Breach { rule: RuleError::Kind, rank: 3, break_it: |d| d.kind = 2 },
    Breach { rule: RuleError::TimeForm, rank: 3, break_it: |d| d.time += 1 },
    Breach { rule: RuleError::Lifetime, rank: 3, break_it: |d| d.lifetime = 3_599 },
    Breach { rule: RuleError::BodyLen, rank: 3, break_it: |d| d.body_len = 513 },
    Breach { rule: RuleError::TimeBeforeStart, rank: 3, break_it: |d| d.time = d.network.start().secs() - 60 },
    Breach { rule: RuleError::BodySize, rank: 4, break_it: |d| d.body.push(0) },
    Breach { rule: RuleError::BodyHash, rank: 5, break_it: |d| d.body_hash[0] ^= 1 },
    Breach { rule: RuleError::StampTarget, rank: 6, break_it: |_| {} },
    Breach { rule: RuleError::Signature, rank: 7, break_it: |_| {} },
    Breach { rule: RuleError::StampSolution, rank: 8, break_it: |_| {} },
];

/// A draft that breaks these rules and, but for the real work of its stamp, no other.
fn broken(breaches: &[&Breach]) -> Draft {
    let mut draft = Draft::new(Network::main());
    breaches.iter().for_each(|breach| (breach.break_it)(&mut draft));
    let breaks = |rule| breaches.iter().any(|breach| breach.rule == rule);
    let mut draft = draft.sign();
    if breaks(RuleError::Signature) {
        draft.signature[40] ^= 1;
    }
    if breaks(RuleError::StampTarget) { draft.unlucky() } else { draft.lucky() }
}

fn verdict(draft: &Draft) -> Result<TxId, RuleError> {
    let verified = rules::verify(&draft.network, draft.parse()?)?;
    Ok(verified.transaction().id())
}

#[test]
fn each_rule_is_reported_as_itself() {
    for breach in &BREACHES {
        assert_eq!(verdict(&broken(&[breach])), Err(breach.rule));
    }
}

/// Of any two breaches the one whose check is cheaper is reported, so that junk costs a node as little as it can.
#[test]
fn checks_run_cheapest_first() {
    for first in &BREACHES {
        for second in BREACHES.iter().filter(|second| second.rank >= first.rank && second.rule != first.rule) {
            let found = verdict(&broken(&[first, second])).unwrap_err();
            let tie = first.rank == second.rank && found == second.rule;
            assert!(found == first.rule || tie, "{:?} and {:?}: reported {found:?}", first.rule, second.rule);
        }
    }
}

/// Form is checked on a header alone too: an audit reads headers without bodies.
#[test]
fn a_header_alone_is_held_to_the_same_rules() {
    for breach in BREACHES.iter().filter(|breach| breach.rank >= 6) {
        let transaction = broken(&[breach]).parse().unwrap();
        assert_eq!(rules::verify_header(&Network::main(), transaction.header()), Err(breach.rule));
    }
}

#[test]
fn limits_are_inclusive_where_the_specification_says_so() {
    type Edit = fn(&mut Draft);
    let start = Network::main().start().secs();
    let accepted: [Edit; 8] = [
        |d| d.time = d.network.start().secs(),
        |d| d.time = (1 << 40) - 16,
        |d| d.lifetime = 3_600,
        |d| d.lifetime = 7_776_000,
        |d| d.kind = 1,
        |d| d.parents = (0..8).map(|n| [n; 32]).collect(),
        |d| d.body_len = 65_536,
        |d| d.author = [0xff; 32],
    ];
    assert_eq!(((1u64 << 40) - 16) % 60, 0, "the last valid time");
    for (at, edit) in accepted.iter().enumerate() {
        let mut draft = Draft { body: Vec::new(), ..Draft::new(Network::main()) };
        edit(&mut draft);
        assert!(draft.parse().is_ok(), "accepted case {at}");
    }
    let refused: [(RuleError, Edit); 14] = [
        (RuleError::TimeForm, |d| d.time += 59),
        (RuleError::TimeForm, |d| d.time = (1 << 40) + 44),
        (RuleError::TimeForm, |d| d.time = u64::MAX),
        (RuleError::TimeBeforeStart, |d| d.time = 0),
        (RuleError::Lifetime, |d| d.lifetime = 0),
        (RuleError::Lifetime, |d| d.lifetime = 7_776_001),
        (RuleError::Lifetime, |d| d.lifetime = u32::MAX),
        (RuleError::Kind, |d| d.kind = 255),
        (RuleError::ParentCount, |d| d.parents.clear()),
        (RuleError::ParentOrder, |d| d.parents = vec![[1; 32], [1; 32]]),
        (RuleError::BodyLen, |d| d.body_len = 0),
        (RuleError::BodyLen, |d| d.body_len = 131_072),
        (RuleError::Version, |d| d.version = 0),
        (RuleError::Version, |d| d.version = 255),
    ];
    for (at, (rule, edit)) in refused.iter().enumerate() {
        let mut draft = Draft::new(Network::main());
        // Long enough that a missing parent does not make it too short.
        assert!(draft.time > start);
        edit(&mut draft);
        assert_eq!(draft.parse().unwrap_err(), *rule, "refused case {at}");
    }
}

#[test]
fn only_the_eight_body_lengths_exist() {
    let valid: Vec<u32> = (9..=16).map(|power| 1 << power).collect();
    assert_eq!(valid, BODY_LENS);
    for body_len in (0..=131_072).step_by(256) {
        let draft = Draft { body_len, body: Vec::new(), ..Draft::new(Network::main()) };
        assert_eq!(draft.parse().is_ok(), valid.contains(&body_len), "{body_len} bytes");
    }
}

/// Not enough bytes for the parents that are claimed: neither too short nor too many parents, just not an encoding.
#[test]
fn a_header_that_ends_early_is_no_encoding() {
    let draft = Draft { parent_count: Some(8), body: Vec::new(), ..Draft::new(Network::main()) };
    assert_eq!(draft.bytes().len(), 219);
    assert_eq!(draft.parse().unwrap_err(), RuleError::Encoding);
}

#[test]
fn the_bodys_hash_belongs_to_the_network() {
    let (main, dev) = (Network::main(), Network::dev());
    assert_ne!(body_hash(&main, b"x"), body_hash(&dev, b"x"));
    let foreign = Draft { body_hash: body_hash(&dev, &Draft::new(dev.clone()).body), ..Draft::new(main) };
    assert_eq!(foreign.parse().unwrap_err(), RuleError::BodyHash);
}

#[test]
fn an_author_signs_only_with_the_key_that_the_core_names() {
    let main = Network::main();
    let stranger = Draft { author: [1; 32], body: Vec::new(), ..Draft::new(main.clone()) };
    let core = stranger.parse().unwrap().core().clone();
    assert_eq!(core.sign(&main, &draft::author_key()), Err(RuleError::Signature));
    let own = Draft { body: Vec::new(), ..Draft::new(main.clone()) };
    let signed = own.parse().unwrap().core().clone().sign(&main, &draft::author_key()).unwrap();
    assert_eq!(signed.signature(), &own.sign().signature);
}

/// Efforts computed apart from this code: (network, parents, body length, lifetime in seconds, effort).
const EFFORTS: [(&str, usize, u32, u32, u64); 12] = [
    ("main", 1, 2_048, 2_592_000, 204),
    ("main", 1, 512, 3_600, 53),
    ("main", 1, 512, 2_592_000, 85),
    ("main", 3, 2_048, 2_592_000, 217),
    ("main", 8, 2_048, 2_592_000, 250),
    ("main", 1, 2_048, 604_800, 105),
    ("main", 1, 2_048, 7_776_000, 461),
    ("main", 1, 65_536, 2_592_000, 5_120),
    ("main", 3, 65_536, 7_776_000, 13_361),
    ("main", 8, 65_536, 7_776_000, 13_394),
    ("dev", 1, 512, 3_600, 1),
    ("dev", 8, 65_536, 7_776_000, 1),
];

fn effort(network: Network, parents: usize, body_len: u32, lifetime: u32) -> (u128, u64) {
    let parents = (0..parents).map(|n| [n as u8; 32]).collect();
    let draft = Draft { parents, body_len, lifetime, body: Vec::new(), ..Draft::new(network) };
    (draft.effort(), Effort::required(&draft.network, draft.parse().unwrap().core()).get())
}

#[test]
fn efforts_are_those_of_the_specification() {
    for (name, parents, body_len, lifetime, expected) in EFFORTS {
        let (again, required) = effort(Network::named(name).unwrap(), parents, body_len, lifetime);
        let case = format!("{name}, {parents} parents, {body_len} B for {lifetime} s");
        assert_eq!(required, expected, "{case}");
        assert_eq!(again, u128::from(expected), "{case}");
    }
}

#[test]
fn effort_never_falls_with_size_or_lifetime() {
    let effort = |body_len, lifetime| {
        let (again, required) = effort(Network::main(), 2, body_len, lifetime);
        assert_eq!(again, u128::from(required), "{body_len} B for {lifetime} s");
        required
    };
    let lifetimes: Vec<u32> = (3_600..=7_776_000).step_by(86_399).collect();
    for pair in BODY_LENS.windows(2) {
        lifetimes.iter().for_each(|secs| assert!(effort(pair[0], *secs) < effort(pair[1], *secs)));
    }
    for pair in lifetimes.windows(2) {
        BODY_LENS.iter().for_each(|len| assert!(effort(*len, pair[0]) <= effort(*len, pair[1])));
    }
}

fn parent(secs: u64, depth: u64) -> Parent {
    Parent { time: Time::from_secs(secs), depth: Depth::new(depth) }
}

#[test]
fn parents_decide_depth_and_earliest_time() {
    let main = Network::main();
    let (start, genesis) = (main.start().secs(), *main.genesis().as_bytes());
    let under = |parents: Vec<[u8; 32]>, known: &[(u8, Parent)]| {
        let mut parents = parents;
        parents.sort_unstable();
        let core = Draft { parents, body: Vec::new(), ..Draft::new(main.clone()) }.parse().unwrap().core().clone();
        rules::check_parents(&main, &core, |id| {
            known.iter().find(|(n, _)| id.as_bytes() == &[*n; 32]).map(|(_, parent)| *parent)
        })
    };
    let own_time = start + 3_600;
    assert_eq!(under(vec![genesis], &[]), Ok(Depth::new(1)));
    assert_eq!(under(vec![[1; 32]], &[(1, parent(own_time, 41))]), Ok(Depth::new(42)), "a parent of the same minute");
    let two = [(1, parent(own_time, 41)), (2, parent(start, 7))];
    assert_eq!(under(vec![[1; 32], [2; 32], genesis], &two), Ok(Depth::new(42)), "the deepest parent counts");
    let late = [(1, parent(own_time + 60, 1)), (2, parent(start, 7))];
    let refused = Err(ParentsError::Rule(RuleError::TimeBeforeParent));
    assert_eq!(under(vec![[1; 32], [2; 32]], &late), refused, "one parent is newer than its child");
    // What is unknown may still come, so it is no fault, and it is named in full.
    let unknown = Err(ParentsError::Unknown(vec![TxId::from_bytes([3; 32]), TxId::from_bytes([4; 32])]));
    assert_eq!(under(vec![[1; 32], [3; 32], [4; 32]], &late), unknown);
}

#[test]
fn genesis_of_another_network_is_an_unknown_parent() {
    let (main, dev) = (Network::main(), Network::dev());
    let draft = Draft { parents: vec![*dev.genesis().as_bytes()], body: Vec::new(), ..Draft::new(main.clone()) };
    let verdict = rules::check_parents(&main, draft.parse().unwrap().core(), |_| None);
    assert_eq!(verdict, Err(ParentsError::Unknown(vec![dev.genesis()])));
}

#[test]
fn a_body_may_be_absent_after_its_lifetime_or_far_in_the_future() {
    let draft = Draft::new(Network::main());
    let transaction: Transaction = draft.parse().unwrap();
    let core = transaction.core();
    let at = |secs| rules::body_may_be_absent(core, Time::from_secs(secs));
    let (begins, ends) = (draft.time, draft.time + 3_600);
    assert!(!at(begins) && !at(ends - 1) && at(ends) && at(u64::MAX));
    assert!(!at(begins - FUTURE_BODY_SECS) && at(begins - FUTURE_BODY_SECS - 1) && at(0));
}
