//! Both sides of a reconciliation over made-up sets, through the wire's encoding: any two sets converge, in few rounds and
//! bytes, and no answer makes the asker panic, loop or hoard.

use std::collections::BTreeSet;

use negentropy::{Negentropy, NegentropyStorageBase};
use proptest::prelude::*;

use super::{
    Reconciling, Round, Work,
    compact::{expand, shrink},
    places::Placed,
    view::{Span, View},
};
use crate::wire::{Alias, RECONCILE_ANSWER_MAX, RECONCILE_ASK_MAX};

type Set = BTreeSet<(u64, Alias)>;

const SPAN: Span = Span { from: 0, to: 86_400 };

fn begin(own: &Set) -> Reconciling {
    Reconciling::over(View::of(own.iter().copied()), SPAN, vec![0]).unwrap()
}

fn answer(theirs: &View, message: &[u8]) -> Vec<u8> {
    let expanded = expand(message).unwrap();
    let mut side = Negentropy::borrowed(theirs, RECONCILE_ANSWER_MAX as u64).unwrap();
    shrink(&side.reconcile(&expanded.message).unwrap()).unwrap()
}

/// Runs to the end. Returns what is needed in the order in which it would be fetched, what the other lacks, rounds and
/// bytes.
fn run(own: &Set, theirs: &Set) -> (Vec<Alias>, BTreeSet<Alias>, u32, usize) {
    let (mut asker, other) = (begin(own), View::of(theirs.iter().copied()));
    let mut bytes = 0;
    loop {
        assert!(asker.message.len() <= RECONCILE_ASK_MAX);
        let answer = answer(&other, &asker.message);
        assert!(answer.len() <= RECONCILE_ANSWER_MAX);
        bytes += asker.message.len() + answer.len();
        match asker.take(&answer) {
            Round::Next => {}
            Round::Done => {
                return (asker.needs.into_iter().map(|(_, alias)| alias).collect(), asker.have, asker.rounds, bytes);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn alias(number: u64) -> Alias {
    // Scattered, as hashes are.
    Alias::from_bytes(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).to_le_bytes())
}

/// So many, a few to a rank.
fn many(numbers: std::ops::Range<u64>) -> Set {
    numbers.map(|number| (number / 3, alias(number))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any two sets: what is found is exactly what differs, and comes in the order of ranks.
    #[test]
    fn any_two_sets_converge(
        both in proptest::collection::btree_set((0_u64..400, any::<u64>()), 0..400),
        here in proptest::collection::btree_set((0_u64..400, any::<u64>()), 0..120),
        there in proptest::collection::btree_set((0_u64..400, any::<u64>()), 0..120),
    ) {
        let set = |more: &BTreeSet<(u64, u64)>| -> Set {
            both.union(more).map(|(rank, number)| (*rank, Alias::from_bytes(number.to_le_bytes()))).collect()
        };
        let (own, theirs) = (set(&here), set(&there));
        let (needs, have, ..) = run(&own, &theirs);
        let expected: Vec<Alias> = theirs.difference(&own).map(|(_, alias)| *alias).collect();
        prop_assert_eq!(needs, expected);
        let lacking: BTreeSet<Alias> = own.difference(&theirs).map(|(_, alias)| *alias).collect();
        prop_assert_eq!(have, lacking);
    }

    /// Whatever bytes a peer answers with, nothing breaks, and nothing is kept beyond what it sent.
    #[test]
    fn whatever_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300), small in any::<bool>()) {
        let mut bytes = bytes;
        if small {
            bytes.iter_mut().for_each(|byte| *byte %= 4);
        }
        bytes.insert(0, 0x61);
        let mut asker = begin(&many(0..500));
        asker.take(&bytes);
        prop_assert!(asker.needs.len() <= bytes.len() / 8);
        // The other side meets the same bytes as a question.
        if let Some(expanded) = expand(&bytes) {
            let view = View::of(many(0..500));
            let mut side = Negentropy::borrowed(&view, RECONCILE_ANSWER_MAX as u64).unwrap();
            if let Ok(answer) = side.reconcile(&expanded.message) {
                prop_assert!(shrink(&answer).unwrap().len() <= RECONCILE_ANSWER_MAX);
            }
        }
    }
}

#[test]
fn what_differs_is_what_costs() {
    let common = many(0..30_000);
    let mut own = common.clone();
    own.extend(many(30_000..30_100));
    let (needs, have, rounds, bytes) = run(&common, &common);
    assert!(needs.is_empty() && have.is_empty() && rounds == 1 && bytes < 500, "{rounds} rounds, {bytes} bytes");
    let (needs, have, rounds, bytes) = run(&common, &own);
    assert_eq!((needs.len(), have.len()), (100, 0));
    assert!(rounds <= 4 && bytes < 10_000, "{rounds} rounds, {bytes} bytes");
    // Nothing in common: one long list, in several messages.
    let (needs, have, rounds, _) = run(&many(0..20_000), &many(100_000..140_000));
    assert_eq!((needs.len(), have.len()), (40_000, 20_000));
    assert!(rounds < 64, "{rounds} rounds");
}

#[test]
fn a_peer_that_never_comes_to_an_end_is_listed_instead() {
    // It answers each round with fingerprints that are never this node's.
    let mut asker = begin(&many(0..5_000));
    let lie = [&[0x61, 0, 0, 1][..], &[7; 16]].concat();
    for _ in 1..super::ROUNDS_MAX {
        assert!(matches!(asker.take(&lie), Round::Next));
    }
    assert!(matches!(asker.take(&lie), Round::Endless));
}

#[test]
fn a_peer_that_lists_more_than_a_view_can_hold_lies() {
    let mut asker = begin(&many(0..100));
    let rounds = (0..).find(|round: &u64| {
        let mut lie = vec![0x61, 0, 0, 2, 0x81, 0x80, 0x00];
        (0..16_384).for_each(|nth| lie.extend(alias(round * 16_384 + nth + 1_000_000).as_bytes()));
        matches!(asker.take(&lie), Round::Lie)
    });
    assert_eq!(rounds, Some(4));
}

#[test]
fn days_are_reconciled_together_up_to_a_bound_and_listed_when_that_is_cheaper() {
    let mut works: Vec<Work> = Vec::new();
    for (day, ours, theirs, between) in [
        (1, 5, 9, 0),
        (2, 0, 5_000, 0),
        (3, 900, 1_000, 0),
        (5, 2_000, 1_900, 300),
        (6, 30_000, 30_000, 0),
        (7, 0, 900, 0),
    ] {
        let work = Work::plan(works.last_mut(), day, ours, theirs, between);
        works.extend(work);
    }
    let day = 86_400;
    assert_eq!(
        works,
        [
            Work::List(1),
            Work::List(2),
            Work::Reconcile { span: Span { from: 3 * day, to: 6 * day }, days: vec![3, 5], count: 3_300 },
            Work::Reconcile { span: Span { from: 6 * day, to: 7 * day }, days: vec![6], count: 30_000 },
            Work::List(7),
        ]
    );
    let halves = super::halve(Span { from: 3 * day, to: 6 * day }, &[3, 5]);
    let middle = 4 * day + day / 2;
    let half = |from, to, days| Work::Reconcile { span: Span { from, to }, days, count: super::GROUP_MAX };
    assert_eq!(halves, [half(3 * day, middle, vec![3]), half(middle, 6 * day, vec![5])]);
    assert_eq!(super::halve(Span { from: 60, to: 120 }, &[0]), [Work::List(0)]);
}

/// negentropy's `get_minimal_bound` panics when two neighbours at the edge of a range are one and the same item: it takes one byte
/// more than they have in common. A view never has two.
#[test]
fn a_view_is_sorted_and_holds_no_item_twice() {
    let id = |number: u8| qasedak_chain::TxId::from_bytes([number; 32]);
    let place =
        |(at, number): (u64, u8)| Placed { rank: 7 << 29, id: id(number), position: qasedak_chain::Position::new(at) };
    // Thirty-three, twice each, and not in order: sixteen ranges of sixty-six begin within a pair.
    let places: Vec<Placed> = (0..).zip((0..33).rev().chain(0..33)).map(place).collect();
    let view = View::new(&[3; 16], &places);
    assert_eq!(view.len(), 33);
    let items: Vec<_> = (0..33).map(|at| view.get_item(at).unwrap().unwrap()).collect();
    assert!(items.is_sorted_by(|a, b| a < b));
    assert!(Reconciling::over(view, SPAN, vec![0]).is_some());
}
