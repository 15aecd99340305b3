//! The one thin layer between this program and the system's files: every read, write and fsync of ledger, wallet and node
//! goes through here, so that errors name the file, and so that faults can be injected in one place. All errors are
//! [`StoreError::Io`] unless said otherwise.
//!
//! Directories are made with mode 0700 and files with 0600 where the system has modes. A file that must never be
//! seen half made is written under another name, fsynced, and renamed ([`create_whole`]).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use self::fault::Op;
use crate::store::StoreError;

pub(crate) mod direct;
pub(crate) mod fault;

/// Ending of files that are being made. What has it after a crash was never part of the store.
pub(crate) const UNFINISHED: &str = ".unfinished";

/// Names the file in an error of the system.
pub(crate) fn io_error(what: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { what, path: path.display().to_string(), source }
}

/// An open file that knows its path. All access names its offset, so that threads can share it.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    path: PathBuf,
}

#[expect(clippy::len_without_is_empty, reason = "nobody asks that of a file")]
impl DiskFile {
    /// Opens an existing file to read it, and to write it too if asked; `None` when there is none.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path, write: bool) -> Result<Option<Self>, StoreError> {
        let opened = fault::check(Op::Open, path).and_then(|()| OpenOptions::new().read(true).write(write).open(path));
        match opened {
            Ok(file) => Ok(Some(Self { file, path: path.to_owned() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("cannot open", path, error)),
        }
    }

    /// Makes a file that must not exist yet, empty and readable by its owner only. Its name is durable once the
    /// [directory](sync_parent) is.
    ///
    /// # Errors
    /// The system's.
    pub fn create_new(path: &Path) -> Result<Self, StoreError> {
        let created = fault::check(Op::Create, path).and_then(|()| private().create_new(true).open(path));
        let file = created.map_err(|error| io_error("cannot create", path, error))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes in the file.
    ///
    /// # Errors
    /// The system's.
    pub fn len(&self) -> Result<u64, StoreError> {
        let meta = fault::check(Op::Look, &self.path).and_then(|()| self.file.metadata());
        meta.map(|meta| meta.len()).map_err(|error| io_error("cannot read", &self.path, error))
    }

    /// Reads `len` bytes from `offset` on; fewer only where the file ends.
    ///
    /// # Errors
    /// The system's.
    pub fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; len];
        self.read_over(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// The same in place of `bytes`, as many as these are: their memory is used again.
    pub(crate) fn read_over(&self, offset: u64, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
        fault::check(Op::Read, &self.path).map_err(|error| io_error("cannot read", &self.path, error))?;
        let mut filled = 0usize;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match pread(&self.file, rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled = filled.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("cannot read", &self.path, error)),
            }
        }
        bytes.truncate(filled);
        Ok(())
    }

    /// Reads everything from `offset` to the end that the file has now.
    pub(crate) fn read_from(&self, offset: u64) -> Result<Vec<u8>, StoreError> {
        let len = usize::try_from(self.len()?.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.read_at(offset, len)
    }

    /// Tells the system that so many bytes from `offset` on will be read soon (`posix_fadvise`, POSIX.1-2024, with
    /// `POSIX_FADV_WILLNEED`): it begins to bring them into memory, and nobody waits for that. A hint alone. Where there is
    /// no such call, or it fails, reading takes longer, and nothing else is different.
    pub(crate) fn will_need(&self, offset: u64, len: u64) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(len) = std::num::NonZeroU64::new(len) {
            rustix::fs::fadvise(&self.file, offset, Some(len), rustix::fs::Advice::WillNeed).unwrap_or_default();
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (offset, len);
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The system's; some of the bytes may be in the file then.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        fault::write(&self.file, &self.path, bytes, offset)
            .and_then(|()| pwrite_all(&self.file, bytes, offset))
            .map_err(|error| io_error("cannot write", &self.path, error))
    }

    /// Makes a file durable that was [begun](create_unfinished), and gives it its name.
    pub(crate) fn finish(&mut self, path: &Path) -> Result<(), StoreError> {
        self.sync()?;
        rename(&self.path, path)?;
        path.clone_into(&mut self.path);
        Ok(())
    }

    /// Gives a file its name that was [begun](create_unfinished), in place of what had it, and makes nothing durable: for
    /// what is checked when it is read and can be made anew, and for who sees to that.
    pub(crate) fn finish_soon(&mut self, path: &Path) -> Result<(), StoreError> {
        let renamed = fault::check(Op::Rename, &self.path).and_then(|()| fs::rename(&self.path, path));
        renamed.map_err(|error| io_error("cannot rename", &self.path, error))?;
        path.clone_into(&mut self.path);
        Ok(())
    }

    /// Cuts the file to `len` bytes.
    pub(crate) fn truncate(&self, len: u64) -> Result<(), StoreError> {
        let cut = fault::truncate(&self.file, &self.path, len).and_then(|()| self.file.set_len(len));
        cut.map_err(|error| io_error("cannot cut", &self.path, error))
    }

    /// fsync: on disk when this returns.
    ///
    /// # Errors
    /// The system's; what was not durable before may be lost then.
    pub fn sync(&self) -> Result<(), StoreError> {
        let synced = fault::check(Op::Sync, &self.path).and_then(|()| self.file.sync_all());
        synced.map_err(|error| io_error("cannot make durable", &self.path, error))?;
        fault::synced(&self.path);
        Ok(())
    }
}

#[cfg(unix)]
fn pread(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, offset)
}

#[cfg(unix)]
fn pwrite(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn pread(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, bytes, offset)
}

#[cfg(windows)]
fn pwrite(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

/// Writes all of `bytes` at `offset`.
fn pwrite_all(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match pwrite(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset = offset.saturating_add(written as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Options that give a new file the mode 0600.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.read(true).write(true).create(true);
    options
}

/// What a file is called while it is being made.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    PathBuf::from(name)
}

/// Begins a file that is to be called `path` once it is whole: see [`DiskFile::finish`].
pub(crate) fn create_unfinished(path: &Path) -> Result<DiskFile, StoreError> {
    let unfinished = unfinished(path);
    let created = fault::check(Op::Create, &unfinished).and_then(|()| private().truncate(true).open(&unfinished));
    let file = created.map_err(|error| io_error("cannot create", &unfinished, error))?;
    Ok(DiskFile { file, path: unfinished })
}

/// Makes `path` with exactly `bytes` in it, durably: nobody ever finds it with less. Replaces what was there.
///
/// # Errors
/// The system's; what was there may still be.
pub fn create_whole(path: &Path, bytes: &[u8]) -> Result<DiskFile, StoreError> {
    let mut file = create_unfinished(path)?;
    file.write_at(bytes, 0)?;
    file.finish(path)?;
    Ok(file)
}

/// A lock on a directory, held until this is dropped.
pub type Lock = File;

/// Takes the lock of a directory, an advisory lock on the file `path`, until the file is closed.
///
/// # Errors
/// [`StoreError::InUse`] when another has it; the system's.
pub fn lock(path: &Path) -> Result<Lock, StoreError> {
    let opened = fault::check(Op::Lock, path).and_then(|()| private().truncate(false).open(path));
    let file = opened.map_err(|error| io_error("cannot open", path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(StoreError::InUse { path: path.parent().unwrap_or(path).display().to_string() })
        }
        Err(fs::TryLockError::Error(error)) => Err(io_error("cannot lock", path, error)),
    }
}

/// Makes a directory of mode 0700 if there is none, and its missing parents; durable when this returns.
///
/// # Errors
/// The system's.
pub fn make_dir(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_dir(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match fault::check(Op::Create, path).and_then(|()| builder.create(path)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_error("cannot create", path, error)),
        _ => sync_parent(path),
    }
}

/// fsync of a directory: names in it are on disk when this returns. Systems without it do so by themselves.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    fault::check(Op::Sync, path).map_err(|error| io_error("cannot make durable", path, error))?;
    #[cfg(unix)]
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|error| io_error("cannot make durable", path, error))?;
    fault::synced(path);
    Ok(())
}

/// The same of the directory that a path lies in.
///
/// # Errors
/// The system's.
pub fn sync_parent(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Whether there is anything of that name.
///
/// # Errors
/// The system's, when it does not say.
pub fn exists(path: &Path) -> Result<bool, StoreError> {
    match fault::check(Op::Look, path).and_then(|()| fs::symlink_metadata(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        looked => looked.map(|_| true).map_err(|error| io_error("cannot look at", path, error)),
    }
}

/// Renames within one directory, durably.
///
/// # Errors
/// The system's; the new name may hold all the same, and may be lost in a power cut.
pub fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    let renamed = fault::check(Op::Rename, from).and_then(|()| fs::rename(from, to));
    renamed.map_err(|error| io_error("cannot rename", from, error))?;
    sync_parent(to)
}

/// Renames what stands at `path`, if anything does, to the first free `path.old-N`, durably. Returns that name.
///
/// # Errors
/// The system's.
pub fn set_aside(path: &Path) -> Result<Option<PathBuf>, StoreError> {
    if !exists(path)? {
        return Ok(None);
    }
    let mut number = 1u32;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".old-{number}"));
        let free = PathBuf::from(name);
        if !exists(&free)? {
            rename(path, &free)?;
            return Ok(Some(free));
        }
        number = number.saturating_add(1);
    }
}

/// Removes a file; no error when there is none.
///
/// # Errors
/// The system's.
pub fn remove(path: &Path) -> Result<(), StoreError> {
    match fault::check(Op::Remove, path).and_then(|()| fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("cannot remove", path, error)),
        _ => Ok(()),
    }
}

/// Removes a directory and all in it; no error when there is none.
///
/// # Errors
/// The system's; some of it may be gone then.
pub fn remove_dir(path: &Path) -> Result<(), StoreError> {
    match fault::check(Op::Remove, path).and_then(|()| fs::remove_dir_all(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("cannot remove", path, error)),
        _ => Ok(()),
    }
}

/// Names in a directory, ascending; none when there is no such directory.
pub fn names(path: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fault::check(Op::Look, path).and_then(|()| fs::read_dir(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| io_error("cannot read", path, error))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| io_error("cannot read", path, error))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Reads what a person hands over, from its start: a file, or a pipe, which has no offsets. Adds `most` bytes at most to
/// `bytes`, so that what has no end, like a device, is given up; with so much room in `bytes` no copy is left behind.
///
/// # Errors
/// The system's, as it is.
pub fn read_stream(path: &Path, most: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    let file = fault::check(Op::Open, path).and_then(|()| File::open(path))?;
    fault::check(Op::Read, path).and_then(|()| file.take(most as u64).read_to_end(bytes))?;
    Ok(())
}

/// Whether others than its owner may do anything with a file; `false` where the system has no such modes or does not say.
pub fn is_open_to_others(path: &Path) -> bool {
    #[cfg(unix)]
    {
        let meta = fault::check(Op::Look, path).and_then(|()| fs::metadata(path));
        meta.is_ok_and(|meta| std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

/// Bytes of all files under a path, 0 for what cannot be read.
pub fn bytes_under(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return 0;
    };
    if !meta.is_dir() {
        return meta.len();
    }
    let names = names(path).unwrap_or_default();
    names.iter().map(|name| bytes_under(&path.join(name))).fold(0, u64::saturating_add)
}

/// fsync of a file that another library writes.
pub(crate) fn sync_file(path: &Path) -> Result<(), StoreError> {
    let synced = fault::check(Op::Sync, path).and_then(|()| File::open(path)?.sync_all());
    synced.map_err(|error| io_error("cannot make durable", path, error))
}
