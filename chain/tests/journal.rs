//! Journals: what was committed is there, whole and in its last state, or opening refuses and changes nothing; whatever
//! bytes change, wherever a write breaks off, and whichever call fails.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use std::{
    collections::BTreeMap,
    fs,
    ops::Bound,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use qasedak_chain::{
    Network,
    store::{
        StoreError,
        disk::{
            faults::{Faults, Kind},
            journal::{COMMIT_MAX_BYTES, Changes, Holds, Journal},
        },
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;
/// A key, and the length of its value and what is in it; `None` lets it go.
type Step = (u8, Option<(usize, u8)>);

fn try_open(dir: &Path) -> Result<Journal, StoreError> {
    Journal::open(dir, Holds::Wallet, Network::dev().ledger())
}

fn open(dir: &Path) -> Journal {
    try_open(dir).unwrap()
}

fn content(journal: &Journal) -> Result<Model, StoreError> {
    journal.entries(Bound::Unbounded).collect()
}

fn changes(steps: &[Step]) -> Changes {
    let mut changes = Changes::default();
    for (key, value) in steps {
        match value {
            Some((len, byte)) => changes.insert(&[*key], &vec![*byte; *len]),
            None => changes.remove(&[*key]),
        }
    }
    changes
}

fn apply(model: &mut Model, steps: &[Step]) {
    for (key, value) in steps {
        match value {
            Some((len, byte)) => drop(model.insert(vec![*key], vec![*byte; *len])),
            None => drop(model.remove(&vec![*key])),
        }
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("journal.seg")
}

fn witness(dir: &Path) -> PathBuf {
    dir.join("journal.end")
}

/// A small journal with several commits, its states, and what its two files held after each commit.
struct Small {
    home: tempfile::TempDir,
    states: Vec<Model>,
    ends: Vec<usize>,
    witnesses: Vec<Vec<u8>>,
}

const SMALL: [&[Step]; 5] = [
    &[(1, Some((20, 7))), (2, Some((0, 0)))],
    &[(3, Some((40, 9)))],
    &[(1, None), (2, Some((5, 1))), (2, Some((6, 2)))],
    &[(4, Some((1, 1)))],
    &[(3, Some((30, 3))), (4, None), (5, Some((17, 0)))],
];

fn small() -> Small {
    let home = tempfile::tempdir().unwrap();
    let mut journal = open(home.path());
    let read = |path: PathBuf| fs::read(path).unwrap();
    let (mut states, mut ends) = (vec![Model::new()], vec![read(file(home.path())).len()]);
    let mut witnesses = vec![read(witness(home.path()))];
    for steps in SMALL {
        journal.commit(&changes(steps)).unwrap();
        let mut state = states.last().unwrap().clone();
        apply(&mut state, steps);
        assert_eq!(content(&journal).unwrap(), state);
        states.push(state);
        ends.push(read(file(home.path())).len());
        witnesses.push(read(witness(home.path())));
    }
    Small { home, states, ends, witnesses }
}

/// Puts both files in place and opens them; after a refusal nothing has changed.
fn judge(dir: &Path, bytes: &[u8], told: Option<&[u8]>) -> Option<Model> {
    fs::write(file(dir), bytes).unwrap();
    match told {
        Some(told) => fs::write(witness(dir), told).unwrap(),
        None => drop(fs::remove_file(witness(dir))),
    }
    match try_open(dir) {
        Ok(journal) => Some(content(&journal).unwrap()),
        Err(error) => {
            let text = error.to_string();
            assert!(matches!(error, StoreError::DamagedJournal { .. }), "{text}");
            assert!(text.contains("journal.seg") && text.contains("nothing was changed"), "{text}");
            assert_eq!(fs::read(file(dir)).unwrap(), bytes, "a refusal changes nothing");
            None
        }
    }
}

#[test]
fn every_flipped_bit_is_detected_or_harmless() {
    let Small { home, states, witnesses, .. } = small();
    let (bytes, told) = (fs::read(file(home.path())).unwrap(), witnesses.last().unwrap());
    let mut tried = 0;
    for at in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[at / 8] ^= 1 << (at % 8);
        assert_eq!(judge(home.path(), &changed, Some(told)), None, "bit {at} of the journal");
        tried += 1;
    }
    // In the witness a change is harmless, and the journal is as before.
    for at in 0..told.len() * 8 {
        let mut changed = told.clone();
        changed[at / 8] ^= 1 << (at % 8);
        assert_eq!(judge(home.path(), &bytes, Some(&changed)).as_ref(), states.last(), "bit {at} of the witness");
        assert_eq!(&fs::read(witness(home.path())).unwrap(), told, "it was written anew");
        tried += 1;
    }
    println!("{tried} flipped bits");
}

/// What the witness tells of is there, or opening refuses; what it does not tell of may be the end that broke off.
#[test]
fn every_cut_loses_nothing_that_the_witness_tells_of() {
    let Small { home, states, ends, witnesses } = small();
    let bytes = fs::read(file(home.path())).unwrap();
    for (told, end) in witnesses.iter().zip(&ends) {
        for cut in 0..=bytes.len() {
            let found = judge(home.path(), &bytes[..cut], Some(told));
            let whole = ends.iter().rposition(|end| *end <= cut);
            let right = whole.filter(|_| cut >= *end).map(|whole| &states[whole]);
            assert_eq!(found.as_ref(), right, "cut to {cut}, {end} told of");
            if found.is_some() {
                assert_eq!(fs::read(file(home.path())).unwrap().len(), ends[whole.unwrap()], "the rest was cut");
            }
        }
    }
    for cut in 128..=bytes.len() {
        let whole = ends.iter().rposition(|end| *end <= cut).unwrap();
        assert_eq!(judge(home.path(), &bytes[..cut], None).as_ref(), Some(&states[whole]), "no witness, cut to {cut}");
        let found = judge(home.path(), &bytes, Some(&witnesses[5][..cut.min(148)]));
        assert_eq!(found.as_ref(), states.last(), "a witness that is cut short");
    }
}

/// Damage before the last record is told without any witness: a sound record stands behind it.
#[test]
fn damage_in_the_middle_needs_no_witness() {
    let Small { home, states, ends, witnesses } = small();
    let bytes = fs::read(file(home.path())).unwrap();
    let (last, end) = (ends[ends.len() - 2], bytes.len());
    for from in 0..end {
        for len in [1, 3, 16] {
            let mut changed = bytes.clone();
            let to = (from + len).min(end);
            changed[from..to].iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            let found = judge(home.path(), &changed, None);
            // In the last record it looks like a write that broke off.
            let before = states.get(states.len() - 2).filter(|_| from >= last);
            if from >= last || to <= last {
                assert_eq!(found.as_ref(), before, "bytes {from} to {to}");
            }
        }
        // A piece that is taken out moves all that is behind it.
        if from < last {
            let taken_out = [&bytes[..from], &bytes[from + 1..]].concat();
            let found = judge(home.path(), &taken_out, witnesses.last().map(Vec::as_slice));
            assert_eq!(found, None, "byte {from} taken out");
        }
    }
}

#[test]
fn what_is_missing_foreign_or_old_is_refused() {
    let Small { home, .. } = small();
    let dir = home.path();
    let refused = Journal::open(dir, Holds::Outbox, Network::dev().ledger()).unwrap_err();
    assert!(matches!(refused, StoreError::DamagedJournal { .. }), "{refused}");
    let refused = Journal::open(dir, Holds::Wallet, Network::main().ledger()).unwrap_err();
    assert!(matches!(refused, StoreError::Foreign { .. }), "{refused}");
    // The file of an earlier generation in the place of a later one.
    let early = fs::read(file(dir)).unwrap();
    let mut journal = open(dir);
    journal.commit(&changes(&[(2, None), (3, None), (5, None)])).unwrap();
    drop(journal);
    let later = fs::read(file(dir)).unwrap();
    assert_eq!(later.len(), 128, "nothing lives: the file was made anew");
    fs::write(file(dir), early).unwrap();
    assert!(try_open(dir).unwrap_err().to_string().contains("a later file"));
    fs::remove_file(file(dir)).unwrap();
    assert!(try_open(dir).unwrap_err().to_string().contains("missing"));
    fs::write(file(dir), later).unwrap();
    assert!(open(dir).is_empty());
    // What sled left.
    let old = tempfile::tempdir().unwrap();
    drop(sled::open(old.path()).unwrap());
    let refused = try_open(old.path()).unwrap_err();
    assert!(matches!(&refused, StoreError::Foreign { what, .. } if what.contains("left alone")), "{refused}");
    assert!(!file(old.path()).exists());
}

#[test]
fn more_than_the_most_is_refused_before_anything_is_written() {
    let home = tempfile::tempdir().unwrap();
    let mut journal = open(home.path());
    let mut most = Changes::default();
    most.insert(b"k", &vec![1; COMMIT_MAX_BYTES - 9]);
    let mut more = most.clone();
    more.remove(b"");
    assert!(matches!(journal.commit(&more), Err(StoreError::TooMuch { max: COMMIT_MAX_BYTES, .. })));
    assert_eq!(fs::metadata(file(home.path())).unwrap().len(), 128);
    journal.commit(&most).unwrap();
    drop(journal);
    let mut journal = open(home.path());
    assert_eq!(journal.get(b"k").unwrap().unwrap().len(), COMMIT_MAX_BYTES - 9);
    journal.commit(&changes(&[(1, Some((9, 9)))])).unwrap();
    journal.commit(&most).unwrap();
    assert_eq!(content(&open(home.path())).unwrap().len(), 2);
}

/// A value that changes on the disk while the journal is open is told when it is read.
#[test]
fn what_changes_under_way_is_told() {
    let Small { home, .. } = small();
    let journal = open(home.path());
    let mut bytes = fs::read(file(home.path())).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    fs::write(file(home.path()), &bytes).unwrap();
    assert!(matches!(journal.get(&[5]), Err(StoreError::DamagedJournal { .. })));
    assert!(journal.get(&[2]).unwrap().is_some());
}

/// What died is gone from the disk when the file is made anew, and nothing else is.
#[test]
fn a_file_that_is_mostly_dead_is_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let (mut journal, mut model, mut longest) = (open(home.path()), Model::new(), 0);
    for round in 0..200u8 {
        let steps = [(round % 5, Some((3_000, round))), (100 + round % 100, Some((10, round)))];
        journal.commit(&changes(&steps)).unwrap();
        apply(&mut model, &steps);
        longest = longest.max(fs::metadata(file(home.path())).unwrap().len());
    }
    assert!((60_000..64 * 1024).contains(&longest), "{longest}");
    assert_eq!(content(&journal).unwrap(), model);
    drop(journal);
    assert_eq!(content(&open(home.path())).unwrap(), model);
    assert!(!home.path().join("journal.seg.unfinished").exists());
}

fn commits() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let value = prop_oneof![3 => (0usize..60, any::<u8>()), 1 => (2_000usize..9_000, any::<u8>())];
    let step = (0u8..20, prop::option::weighted(0.8, value));
    prop::collection::vec(prop::collection::vec(step, 1..6), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any commits, the file opened anew at any time, and cut anywhere behind what the witness tells of.
    #[test]
    fn a_journal_is_a_map(all in commits(), reopen in 0usize..40, cut in any::<prop::sample::Index>()) {
        let home = tempfile::tempdir().unwrap();
        let (mut journal, mut model) = (open(home.path()), Model::new());
        for (nth, steps) in all.iter().enumerate() {
            journal.commit(&changes(steps)).unwrap();
            apply(&mut model, steps);
            if nth == reopen {
                drop(journal);
                journal = open(home.path());
            }
            let some = steps[0].0;
            prop_assert_eq!(journal.get(&[some]).unwrap(), model.get(&vec![some]).cloned());
        }
        prop_assert_eq!(content(&journal).unwrap(), model.clone());
        let ten = model.range(vec![10]..).map(|(key, value)| (key.clone(), value.clone())).collect::<Model>();
        prop_assert_eq!(journal.entries(Bound::Included(&[10])).collect::<Result<Model, _>>().unwrap(), ten);
        // One more commit breaks off somewhere.
        let (before, told) = (fs::read(file(home.path())).unwrap(), fs::read(witness(home.path())).unwrap());
        journal.commit(&changes(&[(30, Some((500, 7)))])).unwrap();
        let after = fs::read(file(home.path())).unwrap();
        prop_assume!(after.len() > before.len());
        let at = before.len() + cut.index(after.len() - before.len());
        drop(journal);
        prop_assert_eq!(judge(home.path(), &after[..at], Some(&told)), Some(model));
    }
}

/// What a script of commits does: overwriting a lot, so that the file is made anew under way, and emptied once.
fn script() -> Vec<Vec<Step>> {
    let mut script: Vec<Vec<Step>> = (0..9).map(|n| vec![(n % 3, Some((12_000, n))), (50 + n, Some((9, n)))]).collect();
    script.push((0..70).map(|key| (key, None)).collect());
    script.push(vec![(1, Some((5, 5)))]);
    script
}

/// A journal whose disk fails: what was acknowledged is there, and what was not is there as a whole or not at all.
struct Failing {
    dir: PathBuf,
    faults: Faults,
    lasting: bool,
    sure: Model,
    /// What else may be found: with one of the commits that failed since.
    maybe: Vec<Model>,
}

impl Failing {
    fn check_error(&self, error: &StoreError) {
        let text = error.to_string();
        assert!(text.contains(&self.dir.display().to_string()) && self.faults.hits() > 0, "{text}");
        assert!(matches!(error, StoreError::Io { .. }), "{text}");
    }

    fn open(&mut self) -> Journal {
        let journal = try_open(&self.dir).unwrap_or_else(|error| {
            self.check_error(&error);
            if self.lasting {
                self.faults.heal();
            }
            try_open(&self.dir).unwrap()
        });
        if let Ok(found) = content(&journal) {
            assert!(found == self.sure || self.maybe.contains(&found), "neither before nor after");
            (self.sure, self.maybe) = (found, Vec::new());
        }
        journal
    }

    fn run(&mut self) {
        let mut journal = self.open();
        for (nth, steps) in script().iter().enumerate() {
            let mut after = self.sure.clone();
            apply(&mut after, steps);
            match journal.commit(&changes(steps)) {
                Ok(()) => (self.sure, self.maybe) = (after, Vec::new()),
                Err(error) => {
                    self.check_error(&error);
                    self.maybe.push(after);
                }
            }
            match content(&journal) {
                Ok(found) => assert_eq!(found, self.sure, "after commit {nth}"),
                Err(error) => self.check_error(&error),
            }
            if nth % 4 == 3 {
                drop(journal);
                journal = self.open();
            }
        }
        self.faults.heal();
        journal.commit(&changes(&[(99, Some((3, 3)))])).unwrap();
        apply(&mut self.sure, &[(99, Some((3, 3)))]);
        self.maybe.clear();
        assert_eq!(content(&journal).unwrap(), self.sure);
        drop(journal);
        self.open();
    }
}

#[test]
fn any_call_fails_and_nothing_acknowledged_is_lost() {
    for (kind, lasting) in Kind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        let places = (1..).take_while(|nth| {
            let home = tempfile::tempdir().unwrap();
            let dir = home.path().join("journal");
            let faults = Faults::below(&dir);
            if lasting {
                faults.fail_from(*nth, kind);
            } else {
                faults.fail_once(*nth, kind);
            }
            let mut failing = Failing { dir, faults, lasting, sure: Model::new(), maybe: Vec::new() };
            failing.run();
            failing.faults.hits() > 0
        });
        let places = places.count();
        println!("{kind:?}, {}: {places} places tried", if lasting { "lasting" } else { "once" });
        assert!(places > 10);
    }
}

/// The power goes at any call; of what was not fsynced any sectors reach the disk. It is never taken for damage.
#[test]
fn a_power_cut_is_never_taken_for_damage() {
    let seed = std::env::var("QASEDAK_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::Rng::next_u64(&mut rand::rng()));
    println!("seed: QASEDAK_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cuts = 0;
    for _ in 0..6 {
        for nth in 1.. {
            let home = tempfile::tempdir().unwrap();
            let dir = home.path().join("journal");
            let faults = Faults::below(&dir);
            let (mut sure, mut maybe) = (Model::new(), Model::new());
            let mut journal = open(&dir);
            faults.fail_from(nth, Kind::Io);
            for steps in script() {
                apply(&mut maybe, &steps);
                if journal.commit(&changes(&steps)).is_err() {
                    break;
                }
                sure.clone_from(&maybe);
            }
            drop(journal);
            let met = faults.hits() > 0;
            faults.heal();
            let percent = [100, 90, 50, 10, 0][rng.random_range(0..5)];
            faults.cut_power(&mut || rng.random_range(0..100) < percent).unwrap();
            drop(faults);
            let found = content(&open(&dir)).unwrap();
            assert!(found == sure || found == maybe, "cut at {nth}, {percent} % kept");
            cuts += 1;
            if !met {
                break;
            }
        }
    }
    println!("{cuts} power cuts");
}
