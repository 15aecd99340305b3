//! How a command ends when it does not succeed: one sentence that says why and what to do, and an exit code.

use std::fmt;

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    sentence: String,
    code: u8,
}

/// Result of a command.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// It could not be done: exit code 1.
    pub fn failed(sentence: impl fmt::Display) -> Self {
        Self { sentence: sentence.to_string(), code: 1 }
    }
    /// It was asked for in a wrong way: exit code 2.
    pub fn usage(sentence: impl fmt::Display) -> Self {
        Self { sentence: sentence.to_string(), code: 2 }
    }
    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Names what was being done when a system call failed.
pub fn io_failure(what: &str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Failure {
    let sentence = format!("{what} {}", path.display());
    move |error| Failure::failed(format!("{sentence}: {error}"))
}
