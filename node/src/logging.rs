//! Log lines, to standard error. What may never be in them: texts, keys, passphrases, contacts, who writes to whom.
//!
//! Redaction is by construction: types that hold secrets print nothing of them, and no code logs the rest; the
//! end-to-end tests search the logs.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::failure::{Failure, Outcome};

/// Starts logging with a filter such as `info` or `qasedak=debug`. Later calls in one process do nothing.
///
/// # Errors
/// [`Failure`] when the filter cannot be read.
pub fn start(filter: &str) -> Outcome {
    let filter = EnvFilter::try_new(filter)
        .map_err(|_| Failure::usage(format!("the log filter {filter:?} cannot be read; try `info` or `warn`")))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // A second start, as the demo makes for its second node, keeps the first one's settings.
    drop(lines.try_init());
    Ok(())
}
