//! All figures at three sizes of the ledger, and how they grow from the smallest to the largest.
//!
//! Everything but the rebuild is to be flat or logarithmic. From 10,000 to 1,000,000 a logarithm grows by half, and from
//! 100,000 on by a fifth: what grows by no more than that is taken for one. Both are asked, since what is bounded may grow
//! up to its bound: a ledger of 10,000 is indexed in memory alone, and its log is a small part of one segment. The limit's
//! growth stands beside: it takes part in what the machine's caches and disk do. In every round all sizes have their turn, so
//! that a machine that grows slower in the course of minutes makes no ledger look as if it grew.

use std::collections::BTreeMap;

use tempfile::TempDir;

use crate::{
    ROUNDS,
    child::{self, Figures},
    report::{Asked, Report, median},
};

/// Turns of reading in a round. What it measures takes micro- and milliseconds, and a machine that is shared has slow seconds.
const TURNS: u64 = 3;
/// Sizes of the ledgers.
const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];

/// How a figure is shown, and which way is worse.
#[derive(Clone, Copy)]
enum Unit {
    Time,
    Rate,
    Mebibytes,
    /// Of the bytes on the wire.
    Times,
}

/// A figure that every size has.
struct Figure {
    name: &'static str,
    key: &'static str,
    unit: Unit,
    asked: Asked,
    /// Whether it must not grow by more than a logarithm.
    bounded: bool,
}

const fn figure(name: &'static str, key: &'static str, unit: Unit, asked: Asked) -> Figure {
    Figure { name, key, unit, asked, bounded: true }
}

const FIGURES: [Figure; 21] = [
    figure("written, unchecked, upkeep included", "rate", Unit::Rate, Asked::Nothing),
    figure("open, index current", "open", Unit::Time, Asked::AtMost(1.0)),
    figure("open, index current, nothing in memory", "open cold", Unit::Time, Asked::AtMost(1.0)),
    Figure { bounded: false, ..figure("index rebuild", "rebuild", Unit::Time, Asked::Nothing) },
    figure("get by id, p50", "get p50", Unit::Time, Asked::Nothing),
    figure("get by id, p99", "get p99", Unit::Time, Asked::Nothing),
    figure("get by id, nothing in memory, p50", "get cold p50", Unit::Time, Asked::Nothing),
    figure("get by id, nothing in memory, p99", "get cold p99", Unit::Time, Asked::Nothing),
    figure("log scan", "log scan", Unit::Rate, Asked::Nothing),
    figure("scan-column scan", "column scan", Unit::Rate, Asked::Nothing),
    figure("prove", "prove", Unit::Time, Asked::Nothing),
    figure("check", "check", Unit::Time, Asked::Nothing),
    figure("prove that one is absent", "prove absence", Unit::Time, Asked::Nothing),
    figure("statement for a checkpoint, first", "first statement", Unit::Time, Asked::Nothing),
    figure("statement for a checkpoint", "statement", Unit::Time, Asked::Nothing),
    figure("bytes on disk over bytes on the wire", "disk", Unit::Times, Asked::AtMost(1.2)),
    figure("peak memory while writing", "peak", Unit::Mebibytes, Asked::AtMost(150.0)),
    figure("memory after opening", "resident", Unit::Mebibytes, Asked::AtMost(150.0)),
    figure("peak memory while opening", "opening peak", Unit::Mebibytes, Asked::AtMost(150.0)),
    figure("peak memory while reading", "reading peak", Unit::Mebibytes, Asked::Nothing),
    figure("peak memory while rebuilding", "rebuilding peak", Unit::Mebibytes, Asked::Nothing),
];

impl Figure {
    fn limit(&self, of: &Figures) -> Option<f64> {
        of.get(&format!("{} limit", self.key)).copied()
    }

    fn print(&self, size: u64, of: &Figures, report: &mut Report) {
        let (name, value) = (format!("{size:>9}: {}", self.name), of[self.key]);
        match (self.unit, self.limit(of)) {
            (Unit::Time, Some(limit)) => report.time(&name, value, limit, self.asked),
            (Unit::Rate, Some(limit)) => report.rate(&name, value, limit, self.asked),
            (Unit::Times, _) => {
                let limit = format!("{:.0} B on the wire", of["wire"]);
                report.plain(&name, value, "x", limit, self.asked);
            }
            _ => report.plain(&name, value, "MiB", "150 MiB".into(), self.asked),
        }
    }

    /// How many times as much the largest ledger takes as the smallest.
    fn growth(&self, small: f64, large: f64) -> f64 {
        if let Unit::Rate = self.unit { small / large } else { large / small }
    }

    fn print_growth(&self, from: u64, small: &Figures, to: u64, large: &Figures, report: &mut Report) {
        let limits = self.limit(small).zip(self.limit(large));
        let limit = limits.map_or(String::new(), |(small, large)| format!("{:.2} x", self.growth(small, large)));
        let logarithm = (to as f64).ln() / (from as f64).ln();
        let asked = if self.bounded { Asked::AtMost(logarithm) } else { Asked::Nothing };
        let name = format!("growth from {from:>6}: {}", self.name);
        report.plain(&name, self.growth(small[self.key], large[self.key]), "x", limit, asked);
    }
}

/// A ledger that is measured, and what was so far, by name.
struct Measured {
    size: u64,
    dir: TempDir,
    samples: BTreeMap<String, Vec<f64>>,
}

/// Measures a part of it, in a turn of that number.
type Part = fn(&mut Measured, u64);

impl Measured {
    /// Writes the ledger.
    fn write(size: u64) -> Self {
        let dir = child::scratch();
        let wire = child::child("child-write", dir.path(), size, 0)["wire"];
        let on_disk = child::bytes_of(&child::files(dir.path(), "")) as f64 / size as f64;
        Self { size, dir, samples: BTreeMap::from([("disk".to_owned(), vec![on_disk / wire])]) }
    }

    /// Has a process of its own measure a part of it.
    fn add(&mut self, role: &str, round: u64) {
        self.take(child::child(role, self.dir.path(), self.size, round));
    }

    /// The same of another ledger of this size, which the process writes.
    fn add_of_another(&mut self, role: &str, round: u64) {
        self.take(child::child(role, child::scratch().path(), self.size, round));
    }

    fn take(&mut self, figures: Figures) {
        figures.into_iter().for_each(|(name, value)| self.samples.entry(name).or_default().push(value));
    }

    fn medians(self) -> Figures {
        self.samples.into_iter().map(|(name, values)| (name, median(values))).collect()
    }
}

/// All sizes, one line for each figure and size; then how each grows up to the largest.
pub fn scale(report: &mut Report) {
    let mut ledgers = SIZES.map(Measured::write);
    let rounds = ROUNDS as u64;
    let parts: [(u64, Part); 5] = [
        (rounds, |ledger, round| ledger.add_of_another("child-rate", round)),
        (rounds, |ledger, round| ledger.add_of_another("child-write", round)),
        (rounds, |ledger, round| ledger.add("child-open", round)),
        (rounds * TURNS, |ledger, turn| ledger.add("child-read", turn)),
        // Making the index anew changes what the others read.
        (rounds, |ledger, round| ledger.add("child-rebuild", round)),
    ];
    for (turns, part) in parts {
        (0..turns).for_each(|turn| ledgers.iter_mut().for_each(|ledger| part(ledger, turn)));
    }
    let all = ledgers.map(Measured::medians);
    for (size, figures) in SIZES.iter().zip(&all) {
        FIGURES.iter().for_each(|figure| figure.print(*size, figures, report));
    }
    for small in 0..SIZES.len() - 1 {
        let (from, to) = (SIZES[small], SIZES[SIZES.len() - 1]);
        FIGURES.iter().for_each(|figure| figure.print_growth(from, &all[small], to, &all[SIZES.len() - 1], report));
    }
}
