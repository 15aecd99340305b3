//! Files for others: new, readable by their owner only, and on disk when they are reported. One that is there already is
//! never touched, and of one that cannot be finished nothing is left, so that the command can be given again.

use std::{
    io::{self, Write},
    path::Path,
};

use qasedak_chain::store::{
    StoreError,
    disk::files::{self, DiskFile},
};

use crate::failure::{Failure, Outcome};

/// A file that is being made.
pub(super) struct NewFile {
    file: DiskFile,
    end: u64,
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.end).map_err(system_error)?;
        self.end = self.end.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// With the file's name in it, and its kind kept.
fn system_error(error: StoreError) -> io::Error {
    match &error {
        StoreError::Io { source, .. } => io::Error::new(source.kind(), error.to_string()),
        _ => io::Error::other(error),
    }
}

/// Makes `path` of what `fill` writes.
///
/// # Errors
/// [`Failure`] when there is such a file or it cannot be written, and what `fill` gives.
pub(super) fn make_new<T>(path: &Path, fill: impl FnOnce(&mut NewFile) -> Outcome<T>) -> Outcome<T> {
    let file = DiskFile::create_new(path).map_err(|error| match error {
        StoreError::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => taken(path),
        other => Failure::failed(other),
    })?;
    let mut new = NewFile { file, end: 0 };
    let made = fill(&mut new).and_then(|made| {
        new.file.sync().and_then(|()| files::sync_parent(path)).map_err(Failure::failed)?;
        Ok(made)
    });
    // The first error is the one to tell.
    made.inspect_err(|_| drop(files::remove(path)))
}

/// Fails when something of that name is there, before any work is done for it.
///
/// # Errors
/// [`Failure`] that says so, or that the system does not say.
pub(super) fn must_be_free(path: &Path) -> Outcome {
    if files::exists(path).map_err(Failure::failed)? { Err(taken(path)) } else { Ok(()) }
}

fn taken(path: &Path) -> Failure {
    Failure::failed(format!(
        "{} exists already and is not overwritten; give another name with -o, or remove it",
        path.display()
    ))
}

#[cfg(test)]
mod tests;
