//! The set digests of the log and of its days, and the ids that are not in them yet.
//!
//! What an id adds to them are two kilobytes of BLAKE3 output, two fifths of what a transaction would cost the thread that
//! appends. So a step of upkeep works that out beside appends and flushes (decision 0058), and whoever asks before that has
//! what is missing added for the answer.
//!
//! Invariants: `whole` and `days` are those of exactly the first `whole.count` records of the log; the ids behind them wait here,
//! in the log's order, with their days; a day of an id that waits is loaded.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    digest::SetDigest,
    ids::{Digest, LedgerId, TxId},
    store::Upkeep,
};

/// So many ids wait at most.
const BEHIND_MAX: usize = 4_096;
/// Ids of one step: some milliseconds.
const STEP: usize = 1_024;
/// So few are not worth a step.
const FEW: usize = 16;

/// The digest of the first records of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digested {
    /// How many.
    pub(crate) count: u64,
    /// Their set.
    pub(crate) set: SetDigest,
}

/// The running values of one day, as far as they are worked out.
#[derive(Clone, Debug)]
pub(super) struct Day {
    pub(super) count: u64,
    pub(super) set: SetDigest,
    /// Ids of this day that are not in it yet.
    behind: u64,
    /// Whether it differs from what the index has.
    changed: bool,
}

impl Day {
    /// A day as the index has it.
    pub(super) fn new(count: u64, set: SetDigest) -> Self {
        Self { count, set, behind: 0, changed: false }
    }
    fn add(&mut self, sum: &Sum) {
        self.count = self.count.saturating_add(sum.count);
        self.set.add_set(&sum.set);
    }
}

/// Some transactions of a day.
#[derive(Debug)]
struct Sum {
    count: u64,
    set: SetDigest,
}

/// What some ids add to their days.
type Sums = BTreeMap<u64, Sum>;

fn sums<'a>(ledger: LedgerId, ids: impl Iterator<Item = &'a (u64, TxId)>) -> Sums {
    let mut sums = Sums::new();
    for (day, id) in ids {
        let sum = sums.entry(*day).or_insert_with(|| Sum { count: 0, set: SetDigest::new(ledger) });
        sum.count = sum.count.saturating_add(1);
        sum.set.add(id);
    }
    sums
}

/// A step that works out what the ids from a position on add.
#[derive(Debug)]
struct Step {
    from: u64,
    count: usize,
    sums: Arc<Mutex<Option<Sums>>>,
}

/// The digests of a log and of its days.
#[derive(Debug)]
pub(super) struct Digests {
    ledger: LedgerId,
    whole: Digested,
    /// Days that differ from what the index has, or will.
    days: BTreeMap<u64, Day>,
    /// Day and id.
    behind: VecDeque<(u64, TxId)>,
    step: Option<Step>,
}

impl Digests {
    /// Those of an empty log.
    pub(super) fn new(ledger: LedgerId) -> Self {
        Self::of(ledger, Digested { count: 0, set: SetDigest::new(ledger) })
    }

    /// Those that the index has.
    pub(super) fn of(ledger: LedgerId, whole: Digested) -> Self {
        Self { ledger, whole, days: BTreeMap::new(), behind: VecDeque::new(), step: None }
    }

    /// As far as it is worked out.
    pub(super) fn whole(&self) -> &Digested {
        &self.whole
    }
    pub(super) fn has_day(&self, number: u64) -> bool {
        self.days.contains_key(&number)
    }
    pub(super) fn load_day(&mut self, number: u64, day: Day) {
        self.days.insert(number, day);
    }

    /// Forgets a day that was loaded for a transaction that did not come to be: nobody is told of days without any.
    pub(super) fn unload_empty_day(&mut self, number: u64) {
        if self.days.get(&number).is_some_and(|day| day.count == 0 && day.behind == 0) {
            self.days.remove(&number);
        }
    }

    /// Takes in the id of the next record, whose day is loaded.
    pub(super) fn push(&mut self, number: u64, id: &TxId) {
        if self.behind.len() >= BEHIND_MAX {
            self.catch_up();
        }
        if let Some(day) = self.days.get_mut(&number) {
            day.behind = day.behind.saturating_add(1);
        }
        self.behind.push_back((number, *id));
    }

    /// Works out what waits, if it is little.
    pub(super) fn take_in_few(&mut self) {
        if self.behind.len() <= FEW && self.step.is_none() {
            self.catch_up();
        }
    }

    fn catch_up(&mut self) {
        let all = sums(self.ledger, self.behind.iter());
        self.take_in(self.behind.len(), &all);
    }

    /// What the first `count` ids that wait add is known.
    fn take_in(&mut self, count: usize, sums: &Sums) {
        for (number, sum) in sums {
            self.whole.set.add_set(&sum.set);
            if let Some(day) = self.days.get_mut(number) {
                day.add(sum);
                day.behind = day.behind.saturating_sub(sum.count);
                day.changed = true;
            }
        }
        let taken = self.behind.drain(..count.min(self.behind.len())).count();
        self.whole.count = self.whole.count.saturating_add(taken as u64);
    }

    /// The next step, unless nothing waits.
    pub(super) fn begin_step(&mut self) -> Option<Upkeep> {
        if self.behind.is_empty() {
            return None;
        }
        let (ledger, slot) = (self.ledger, Arc::<Mutex<Option<Sums>>>::default());
        let ids: Vec<(u64, TxId)> = self.behind.iter().take(STEP).copied().collect();
        self.step = Some(Step { from: self.whole.count, count: ids.len(), sums: Arc::clone(&slot) });
        Some(Upkeep::new(move || {
            let sums = sums(ledger, ids.iter());
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(sums);
        }))
    }

    /// The step has ended.
    pub(super) fn end_step(&mut self) {
        let Some(Step { from, count, sums }) = self.step.take() else {
            return;
        };
        let sums = sums.lock().unwrap_or_else(PoisonError::into_inner).take();
        // One that broke off is begun anew, and one that was not waited for has nothing to say.
        if let Some(sums) = sums.filter(|_| from == self.whole.count) {
            self.take_in(count, &sums);
        }
    }

    /// The digest of the whole log.
    pub(super) fn digest(&self) -> Digest {
        let mut set = self.whole.set.clone();
        self.behind.iter().for_each(|(_, id)| set.add(id));
        set.digest()
    }

    /// Days from `from` to `to` that differ from what the index has, whole: number, count and digest.
    pub(super) fn days(&self, from: u64, to: u64) -> Vec<(u64, u64, Digest)> {
        let behind = self.behind.iter().filter(|(day, _)| (from..=to).contains(day));
        let behind = sums(self.ledger, behind);
        let days = self.days.range(from..).take_while(|(number, _)| **number <= to);
        days.map(|(number, day)| match behind.get(number) {
            Some(sum) => {
                let mut whole = day.clone();
                whole.add(sum);
                (*number, whole.count, whole.set.digest())
            }
            None => (*number, day.count, day.set.digest()),
        })
        .collect()
    }

    /// The days that changed since this was last asked; those of which no id waits are let go.
    pub(super) fn take_changed_days(&mut self) -> Vec<(u64, Day)> {
        let changed = self.days.iter_mut().filter(|(_, day)| day.changed);
        let changed = changed.map(|(number, day)| {
            day.changed = false;
            (*number, day.clone())
        });
        let changed = changed.collect();
        self.days.retain(|_, day| day.behind > 0);
        changed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say by panicking that something is wrong")]

    use proptest::prelude::*;

    use super::*;

    const LEDGER: LedgerId = LedgerId::from_bytes([7; 32]);

    fn id(n: u64) -> TxId {
        let mut id = [3; 32];
        id.iter_mut().zip(n.to_be_bytes()).for_each(|(to, from)| *to = from);
        TxId::from_bytes(id)
    }

    fn set<'a>(ids: impl Iterator<Item = &'a (u64, TxId)>) -> SetDigest {
        let mut set = SetDigest::new(LEDGER);
        ids.for_each(|(_, id)| set.add(id));
        set
    }

    /// What an index keeps of a log.
    #[derive(Clone)]
    struct Index {
        whole: Digested,
        days: BTreeMap<u64, Day>,
    }

    /// Digests over an index, as a ledger drives them.
    struct Log {
        digests: Digests,
        index: Index,
        all: Vec<(u64, TxId)>,
        step: Option<Upkeep>,
    }

    impl Log {
        fn new() -> Self {
            let digests = Digests::new(LEDGER);
            let index = Index { whole: digests.whole().clone(), days: BTreeMap::new() };
            Self { digests, index, all: Vec::new(), step: None }
        }
        fn load(&mut self, day: u64) {
            if !self.digests.has_day(day) {
                let known = self.index.days.get(&day);
                let fresh = || Day::new(0, SetDigest::new(LEDGER));
                self.digests.load_day(day, known.map_or_else(fresh, |day| Day::new(day.count, day.set.clone())));
            }
        }
        fn push(&mut self, day: u64) {
            let id = id(self.all.len() as u64);
            self.load(day);
            self.digests.push(day, &id);
            self.all.push((day, id));
        }
        fn tell(&mut self) {
            self.digests.take_in_few();
            self.index.days.extend(self.digests.take_changed_days());
            self.index.whole = self.digests.whole().clone();
        }
        /// Begins a step, or ends it, `done` or broken off.
        fn step(&mut self, done: bool) {
            match self.step.take() {
                Some(step) => {
                    if done {
                        step.run();
                    }
                    self.digests.end_step();
                }
                None => self.step = self.digests.begin_step(),
            }
        }
        /// Everything but the index is lost, and the log is read from where the index ends.
        fn reopen(&mut self) {
            (self.digests, self.step) = (Digests::of(LEDGER, self.index.whole.clone()), None);
            for (day, id) in self.all.clone().iter().skip(usize::try_from(self.index.whole.count).unwrap()) {
                self.load(*day);
                self.digests.push(*day, id);
            }
        }
        /// Whole and by day it is what adding the ids one by one gives; so is what the index has, of the records that it tells of.
        fn check(&self) {
            assert_eq!(self.digests.digest(), set(self.all.iter()).digest());
            let Index { whole, days } = &self.index;
            let told = &self.all[..usize::try_from(whole.count).unwrap()];
            assert_eq!(whole.set, set(told.iter()));
            let newer: BTreeMap<_, _> =
                self.digests.days(0, 9).into_iter().map(|(number, count, digest)| (number, (count, digest))).collect();
            for number in 0..10 {
                let of = |ids: &[(u64, TxId)]| {
                    let ids = ids.iter().filter(|(day, _)| *day == number);
                    (ids.clone().count() as u64, set(ids).digest())
                };
                let none = || (0, SetDigest::new(LEDGER).digest());
                let known = days.get(&number).map_or_else(none, |day| (day.count, day.set.digest()));
                assert_eq!(known, of(told), "the index, day {number}");
                assert_eq!(newer.get(&number).copied().unwrap_or(known), of(&self.all), "day {number}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
        /// In whatever order records come, steps begin, end and break off, the index is told and the ledger is opened anew:
        /// every digest is that of its set, and what the index has is of one and the same record.
        #[test]
        fn digests_are_those_of_the_sets(steps in prop::collection::vec((0..7u8, 0..10u64, 1..1_500u64), 1..24)) {
            let mut log = Log::new();
            for (what, day, many) in steps {
                match what {
                    0..=2 => (0..many).for_each(|nth| log.push(if nth % 5 == 0 { 9 } else { day })),
                    3 => log.tell(),
                    4 => log.step(true),
                    5 => log.step(many % 4 > 0),
                    _ => log.reopen(),
                }
                log.check();
            }
        }
    }

    /// However many come while no step is made, so many wait and no more; a step that was overtaken changes nothing.
    #[test]
    fn what_waits_is_bounded() {
        let mut log = Log::new();
        log.push(1);
        log.step(true);
        (0..2 * BEHIND_MAX as u64 + 5).for_each(|nth| log.push(nth % 3));
        assert!(log.digests.behind.len() <= BEHIND_MAX);
        assert!(log.digests.whole().count > BEHIND_MAX as u64);
        let before = log.digests.whole().clone();
        log.step(true);
        assert_eq!(*log.digests.whole(), before);
        log.check();
        while !log.digests.behind.is_empty() {
            log.step(true);
        }
        log.tell();
        assert_eq!(log.index.whole.count, log.all.len() as u64);
        log.check();
    }

    /// A day on which nothing came in the end is told to nobody.
    #[test]
    fn a_day_without_any_is_let_go() {
        let mut log = Log::new();
        log.load(4);
        log.digests.unload_empty_day(4);
        assert_eq!(log.digests.days(0, 9), []);
        log.push(4);
        log.digests.unload_empty_day(4);
        assert_eq!(log.digests.days(0, 9).len(), 1);
        log.check();
    }
}
