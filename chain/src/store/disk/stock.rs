//! Taking stock of a store's directory before anything in it is opened.

use std::path::Path;

use super::{
    files::{self, DiskFile},
    headers,
    segment::{FILE_HEADER_BYTES, FileHeader, FileKind, HeaderFault},
};
use crate::{ids::LedgerId, store::StoreError};

/// Refuses a log in which a later version wrote a file, before anything is done to it. Bodies, and what is kept of
/// blocks, are looked at when they are asked for: they are many, and nothing else depends on them.
pub(super) fn refuse_newer(dir: &Path, ledger: LedgerId) -> Result<(), StoreError> {
    let mut paths = ["scan.col", "tree.col", "mark", "bodies/dropped"].map(|name| dir.join(name)).to_vec();
    for (folder, endings) in [("headers", [".seg", ".off"]), ("runs", [".run", ".run"])] {
        let names = files::names(&dir.join(folder))?.into_iter();
        let named = names.filter(|name| endings.iter().any(|ending| name.ends_with(ending)));
        paths.extend(named.map(|name| dir.join(folder).join(name)));
    }
    for path in paths {
        let kind = match path.extension().and_then(|ending| ending.to_str()) {
            Some("run") => FileKind::Run,
            Some("seg") => FileKind::Headers,
            // All others have one format.
            _ => FileKind::Offsets,
        };
        // What cannot be read now says so when it is opened.
        let head = DiskFile::open(&path, false)
            .and_then(|file| file.map_or(Ok(Vec::new()), |file| file.read_at(0, FILE_HEADER_BYTES)));
        // What is newer is newer whatever else is wrong with it.
        if let Err(newer @ HeaderFault::Newer(_)) = FileHeader::parse(kind, ledger, &head.unwrap_or_default()) {
            return Err(newer.into_error(&path));
        }
    }
    Ok(())
}

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
    let below = ["headers", "bodies", "index", "blocks"].map(|name| dir.join(name));
    for dir in below.iter().chain([&dir.to_owned()]) {
        for name in files::names(dir)?.iter().filter(|name| name.ends_with(files::UNFINISHED)) {
            files::remove(&dir.join(name))?;
        }
    }
    Ok(())
}
