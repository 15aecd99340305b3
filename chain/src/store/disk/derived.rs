//! Opening a file that follows from the log: as it is when it is sound, else made anew, and said. One of a later format is
//! refused and left alone, for this version cannot know what is in it.

use std::path::Path;

use super::{
    files::{self, DiskFile},
    notice::{Notice, Notices},
    segment::{EARLIER, FILE_HEADER_BYTES, FileHeader, HeaderFault, is_earlier_scan},
};
use crate::store::StoreError;

/// Opens the file, or makes one that holds nothing but its header. `expected`: whether there should be one.
///
/// # Errors
/// [`StoreError::Foreign`] when it was written by a newer version; [`StoreError::Io`].
pub(super) fn open(path: &Path, header: FileHeader, expected: bool, notices: &Notices) -> Result<DiskFile, StoreError> {
    let Some(file) = DiskFile::open(path, true)? else {
        if expected {
            notices.missing(path);
        }
        return files::create_whole(path, &header.to_bytes());
    };
    let bytes = file.read_at(0, FILE_HEADER_BYTES)?;
    if bytes == header.to_bytes() {
        return Ok(file);
    }
    let why = match FileHeader::parse(header.kind, header.ledger, &bytes) {
        Err(newer @ HeaderFault::Newer(_)) => return Err(newer.into_error(path)),
        Err(HeaderFault::Damaged(what) | HeaderFault::Foreign(what)) => what,
        Err(HeaderFault::Earlier) => EARLIER.to_owned(),
        Ok(_) => "its header is that of another log or place".to_owned(),
    };
    let path_text = path.display().to_string();
    notices.add(if is_earlier_scan(&bytes) {
        Notice::Upgraded { path: path_text }
    } else {
        Notice::MadeAnew { path: path_text, why }
    });
    files::create_whole(path, &header.to_bytes())
}
