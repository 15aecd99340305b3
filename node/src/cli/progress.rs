//! A progress bar on standard error: drawn at a terminal only, never with `--json`, and wiped away at the end.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// How often the bar is drawn at most.
const EVERY: Duration = Duration::from_millis(200);
/// Cells of the bar.
const CELLS: usize = 24;

/// A bar that may or may not be shown.
pub(super) struct Bar {
    show: bool,
    started: Instant,
    drawn: Option<Instant>,
}

impl Bar {
    /// Starts the clock.
    pub(super) fn start(json: bool) -> Self {
        Self { show: !json && io::stderr().is_terminal(), started: Instant::now(), drawn: None }
    }

    /// Time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Draws the bar if it is time to.
    pub(super) fn update(&mut self, done: u64, total: u64) {
        if !self.show || self.drawn.is_some_and(|drawn| drawn.elapsed() < EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        write(&format!("\r{}\x1b[K", bar(done, total, self.elapsed())));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            write("\r\x1b[K");
        }
    }
}

/// A terminal that is gone is no reason to stop.
fn write(text: &str) {
    let mut terminal = io::stderr().lock();
    drop(terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush()));
}

/// `count` in `elapsed`, per second, rounded down.
pub(super) fn rate(count: u64, elapsed: Duration) -> u64 {
    let nanos = elapsed.as_nanos().max(1);
    u64::try_from(u128::from(count).saturating_mul(1_000_000_000) / nanos).unwrap_or(u64::MAX)
}

fn bar(done: u64, total: u64, elapsed: Duration) -> String {
    let (part, whole) = (u128::from(done.min(total)), u128::from(total.max(1)));
    let full = usize::try_from(part.saturating_mul(CELLS as u128) / whole).unwrap_or(CELLS).min(CELLS);
    let cells = "#".repeat(full) + &"-".repeat(CELLS.saturating_sub(full));
    let percent = part.saturating_mul(100) / whole;
    let per_second = rate(done, elapsed);
    let left = match total.saturating_sub(done).checked_div(per_second) {
        Some(secs) => format!("{secs} s left"),
        None => "…".to_owned(),
    };
    format!("[{cells}] {percent:>3} %  {done} of {total}  {per_second}/s  {left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_share_rate_and_rest() {
        let half = bar(500, 1_000, Duration::from_secs(5));
        assert_eq!(half, format!("[{}{}]  50 %  500 of 1000  100/s  5 s left", "#".repeat(12), "-".repeat(12)));
        assert!(bar(0, 0, Duration::ZERO).contains("  0 %"));
        // A running node may have added some since the total was taken.
        assert!(bar(7, 5, Duration::from_secs(1)).contains("100 %"));
        assert!(bar(u64::MAX, u64::MAX, Duration::from_nanos(1)).contains("100 %"));
    }

    #[test]
    fn rates_are_per_second() {
        assert_eq!(rate(10, Duration::from_millis(500)), 20);
        assert_eq!(rate(0, Duration::ZERO), 0);
    }
}
