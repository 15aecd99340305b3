//! What opening a store reads, asked of the system at once. With nothing of it in memory every read waits for the disk, and
//! dozens that wait together take hardly longer than one.
//!
//! Invariant: hints alone. Nothing rests on them, so whatever is not there or cannot be opened is passed over here, and
//! judged by who reads it.

use std::path::Path;

use super::{
    files::{self, DiskFile},
    index,
};

/// Bytes that are read at either end of a file, at most: what the system has in one page.
const END_BYTES: u64 = 4 * 1024;
/// Bytes of the last header segment that a closed store leaves to be read, about: it lies behind the mark.
const LAST_BYTES: u64 = 512 * 1024;

/// Asks for all that opening the store in `dir` reads, whatever is in it, but for the records at the ends of runs: where those
/// stand is known once the log is open ([`will_need`](super::log::LogView::will_need)).
pub(super) fn of_opening(dir: &Path) {
    for name in ["scan.col", "tree.col", "mark", "bodies/dropped"] {
        ends(&dir.join(name), END_BYTES);
    }
    let (headers, runs) = (dir.join("headers"), dir.join("runs"));
    let names = files::names(&headers).unwrap_or_default();
    let last = names.iter().rfind(|name| name.ends_with(".seg"));
    for name in &names {
        ends(&headers.join(name), if Some(name) == last { LAST_BYTES } else { END_BYTES });
    }
    for name in files::names(&runs).unwrap_or_default().iter().filter(|name| name.ends_with(".run")) {
        ends(&runs.join(name), 0);
    }
    index::ahead(&dir.join("index"));
}

/// Asks for the beginning of a file, and for so many bytes at its end.
fn ends(path: &Path, behind: u64) {
    if let Ok(Some(file)) = DiskFile::open(path, false) {
        file.will_need(0, END_BYTES);
        let end = file.len().unwrap_or_default();
        file.will_need(end.saturating_sub(behind), behind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not as it should be is passed over, and left as it is.
    #[test]
    fn whatever_is_in_a_directory_is_asked_for_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path();
        of_opening(&dir.join("nothing"));
        of_opening(dir);
        assert!(files::names(dir).unwrap().is_empty(), "it makes nothing");
        for folder in ["scan.col", "headers/0000000000000000.seg", "runs/x.run", "index/db"] {
            std::fs::create_dir_all(dir.join(folder)).unwrap();
        }
        std::fs::write(dir.join("mark"), b"").unwrap();
        std::fs::write(dir.join("headers/0000000000000001.seg"), vec![7; 3 * LAST_BYTES as usize]).unwrap();
        std::fs::write(dir.join("bodies"), b"no directory").unwrap();
        let before = files::bytes_under(dir);
        of_opening(dir);
        assert_eq!(files::bytes_under(dir), before);
    }
}
