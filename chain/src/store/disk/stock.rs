//! Taking stock of a store's directory before anything in it is opened.

use std::path::Path;

use super::{files, headers};
use crate::store::StoreError;

/// A log that has bodies or a scan column had headers once: starting a new one beside them would hide the loss.
pub(super) fn check_not_beheaded(headers: &Path, bodies: &Path, scan: &Path) -> Result<(), StoreError> {
    let bodies = files::names(bodies)?.iter().any(|name| name.ends_with(".seg"));
    if (bodies || scan.exists()) && headers::segment_firsts(headers)?.is_empty() {
        return Err(StoreError::Damaged {
            path: headers.display().to_string(),
            offset: 0,
            what: "the header segments are gone, while other parts of the log are here".to_owned(),
        });
    }
    Ok(())
}

/// Removes files whose making was broken off.
pub(super) fn remove_unfinished(dir: &Path) -> Result<(), StoreError> {
    for dir in [dir.to_owned(), dir.join("headers"), dir.join("bodies"), dir.join("index")] {
        for name in files::names(&dir)?.iter().filter(|name| name.ends_with(files::UNFINISHED)) {
            files::remove(&dir.join(name))?;
        }
    }
    Ok(())
}
