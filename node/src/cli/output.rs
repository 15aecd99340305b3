//! How results are printed: JSON with stable fields, or text for people, coloured only on a terminal.

use std::io::{self, IsTerminal, Write};

use qasedak_wallet::display::safe_json;
use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    colour: bool,
}

impl Output {
    /// Text or JSON on standard output.
    pub fn new(json: bool) -> Self {
        let colour = !json && io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, colour }
    }

    /// Whether JSON was asked for.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Prints a value as one line of JSON, or the text that `human` makes of it.
    ///
    /// # Errors
    /// [`Failure`] when standard output is closed.
    pub fn show<T: Serialize>(self, value: &T, human: impl FnOnce(&T) -> String) -> Outcome {
        if self.json {
            let line =
                serde_json::to_string(value).map_err(|error| Failure::failed(format!("cannot print: {error}")))?;
            self.line(&safe_json(&line))
        } else {
            self.line(human(value).trim_end_matches('\n'))
        }
    }

    /// Prints a line.
    ///
    /// # Errors
    /// [`Failure`] when standard output is closed.
    pub fn line(self, text: &str) -> Outcome {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")
            .and_then(|()| out.flush())
            .map_err(|error| Failure::failed(format!("cannot print: {error}")))
    }

    /// Sets text in bold where that shows.
    pub fn bold(self, text: &str) -> String {
        self.painted("1", text)
    }
    /// Sets text in green where that shows: things that are well.
    pub fn good(self, text: &str) -> String {
        self.painted("32", text)
    }
    /// Sets text in red where that shows: things that are not.
    pub fn bad(self, text: &str) -> String {
        self.painted("31", text)
    }
    /// Dims text where that shows.
    pub fn dim(self, text: &str) -> String {
        self.painted("2", text)
    }

    fn painted(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Lines of `name  value`, aligned.
pub fn fields(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

/// Bytes for people.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut unit = 0;
    let mut value = count as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
    }

    #[test]
    fn fields_align() {
        assert_eq!(fields(&[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2\n");
    }
}
