//! Figures, their limits, and what was asked of them.

/// One figure with its limit.
struct Line {
    name: String,
    ours: String,
    limit: String,
    ratio: Option<f64>,
    verdict: Option<bool>,
}

/// All figures of a run, printed as they come and once more at the end.
pub struct Report(Vec<Line>);

/// What is asked of a ratio or a plain figure.
#[derive(Clone, Copy)]
pub enum Asked {
    Nothing,
    AtLeast(f64),
    AtMost(f64),
}

impl Asked {
    fn met(self, value: f64) -> Option<bool> {
        match self {
            Self::Nothing => None,
            Self::AtLeast(bound) => Some(value >= bound),
            Self::AtMost(bound) => Some(value <= bound),
        }
    }
}

impl Report {
    /// `ours` is what is measured against limits.
    pub fn new(ours: &str) -> Self {
        println!("{:<58} {:>18} {:>18} {:>9}", "figure (median of 5 rounds)", ours, "limit", "ratio");
        Self(Vec::new())
    }

    /// A rate of the ledger beside the rate that the limit allows.
    pub fn rate(&mut self, name: &str, ours_per_s: f64, limit_per_s: f64, asked: Asked) {
        let ratio = ours_per_s / limit_per_s;
        self.add(name, per_second(ours_per_s), per_second(limit_per_s), Some(ratio), asked.met(ratio));
    }

    /// A duration of the ledger beside the one of the limit; what is asked is asked of the ledger's seconds.
    pub fn time(&mut self, name: &str, ours_s: f64, limit_s: f64, asked: Asked) {
        self.add(name, seconds(ours_s), seconds(limit_s), Some(ours_s / limit_s), asked.met(ours_s));
    }

    /// A plain figure with what it is measured against.
    pub fn plain(&mut self, name: &str, value: f64, unit: &str, limit: String, asked: Asked) {
        self.add(name, format!("{value:.3} {unit}"), limit, None, asked.met(value));
    }

    fn add(&mut self, name: &str, ours: String, limit: String, ratio: Option<f64>, verdict: Option<bool>) {
        let line = Line { name: name.to_owned(), ours, limit, ratio, verdict };
        line.print();
        self.0.push(line);
    }

    /// What was asked and missed, once more.
    pub fn print_summary(&self) {
        let missed: Vec<&Line> = self.0.iter().filter(|line| line.verdict == Some(false)).collect();
        let asked = self.0.iter().filter(|line| line.verdict.is_some()).count();
        println!("\n{} of {asked} figures that something is asked of are met", asked - missed.len());
        missed.iter().for_each(|line| line.print());
    }
}

impl Line {
    fn print(&self) {
        let ratio = self.ratio.map_or(String::new(), |ratio| format!("{ratio:.3}"));
        let verdict = match self.verdict {
            Some(true) => "  met",
            Some(false) => "  MISSED",
            None => "",
        };
        println!("{:<58} {:>18} {:>18} {ratio:>9}{verdict}", self.name, self.ours, self.limit);
    }
}

fn per_second(rate: f64) -> String {
    if rate >= 1e6 { format!("{:.2} M/s", rate / 1e6) } else { format!("{:.1} k/s", rate / 1e3) }
}

fn seconds(s: f64) -> String {
    match s {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.2} µs", s * 1e6),
    }
}

/// The median.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value that a share of all lies below.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}
