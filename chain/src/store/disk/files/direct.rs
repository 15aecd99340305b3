//! Writing much at once past the memory in which the system keeps files (`O_DIRECT`, open(2) of Linux): the disk takes the bytes
//! from where they lie, which costs the processor a third, and an fsync finds next to nothing left to do (decision 0061).

use std::{fs::File, io};

use super::{DiskFile, fault, io_error, pwrite_all};
use crate::store::StoreError;

/// What goes straight to the disk begins and ends at multiples of this, in the file and in memory: no smaller than the blocks
/// of any disk in use.
pub(crate) const BLOCK_BYTES: usize = 4_096;
/// Fewer bytes are not worth waiting for.
const DIRECT_MIN_BYTES: usize = 64 * 1024;

impl DiskFile {
    /// Writes all of `bytes` at `offset`: whole blocks straight to the disk if they are many, begin in memory where blocks do, and system and
    /// file system offer it; all else as [`write_at`](Self::write_at) does. Nothing is durable before an [fsync](Self::sync), here
    /// neither. Nobody else may write to this open file at the same time.
    ///
    /// # Errors
    /// The system's; some of the bytes may be in the file then.
    pub(crate) fn write_much_at(&self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        fault::write(&self.file, &self.path, bytes, offset)
            .and_then(|()| write_much(&self.file, bytes, offset))
            .map_err(|error| io_error("cannot write", &self.path, error))
    }
}

fn write_much(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let (before, blocks) = bytes.split_at_checked(to_block(offset)).unwrap_or((bytes, &[]));
    let from = offset.saturating_add(before.len() as u64);
    let (blocks, _) = blocks.as_chunks::<BLOCK_BYTES>();
    let blocks = blocks.as_flattened();
    let direct = if blocks.len() >= DIRECT_MIN_BYTES && blocks.as_ptr().addr().is_multiple_of(BLOCK_BYTES) {
        pwrite_all(file, before, offset)?;
        before.len().saturating_add(write_direct(file, blocks, from))
    } else {
        0
    };
    // The rest, also when it could not be written directly: if that is for a reason, it is told here.
    pwrite_all(file, bytes.get(direct..).unwrap_or_default(), offset.saturating_add(direct as u64))
}

/// Bytes from an offset of a file to the next block.
pub(crate) fn to_block(offset: u64) -> usize {
    let into = usize::try_from(offset % BLOCK_BYTES as u64).unwrap_or_default();
    BLOCK_BYTES.saturating_sub(into) % BLOCK_BYTES
}

/// Writes blocks straight to the disk, and says how many bytes, from the first on, it could.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn write_direct(file: &File, blocks: &[u8], offset: u64) -> usize {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let Ok(flags) = fcntl_getfl(file) else {
        return 0;
    };
    if fcntl_setfl(file, flags | OFlags::DIRECT).is_err() {
        return 0;
    }
    let mut written = 0usize;
    while let Some(rest) = blocks.get(written..).filter(|rest| !rest.is_empty()) {
        match super::pwrite(file, rest, offset.saturating_add(written as u64)) {
            Ok(more) if more > 0 => written = written.saturating_add(more),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    // A file that stays as it is refuses what is written next, and that is told.
    fcntl_setfl(file, flags).unwrap_or_default();
    written
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn write_direct(_: &File, _: &[u8], _: u64) -> usize {
    0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say by panicking that something is wrong")]

    use super::*;

    /// Bytes that differ, the first of which lies in memory `into` a block.
    fn lying(into: usize, len: usize) -> (Vec<u8>, usize) {
        let mut bytes: Vec<u8> = (0..len + 2 * BLOCK_BYTES).map(|nth| (nth * 31 / 7 % 251) as u8).collect();
        let start = to_block(bytes.as_ptr().addr() as u64) + into;
        bytes.truncate(start + len);
        (bytes, start)
    }

    /// Wherever bytes begin and end, in the file and in memory, the file has them, and around them what it had.
    #[test]
    fn what_is_written_is_read_and_nothing_else_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for offset in [0u64, 1, 100, 4_095, 4_096, 10_000] {
            let alike = offset as usize % BLOCK_BYTES;
            for (into, len) in [(alike, 200_000), (alike, 65_536), (alike, 69_632), (alike, 500), (3, 200_000), (0, 0)]
            {
                let before = vec![0xee; 100_000];
                std::fs::write(&path, &before).unwrap();
                let (bytes, start) = lying(into, len);
                let file = DiskFile::open(&path, true).unwrap().unwrap();
                file.write_much_at(&bytes[start..], offset).unwrap();
                file.write_at(b"behind", 250_000).unwrap();
                let mut expected = before;
                expected.resize(250_000, 0);
                expected[offset as usize..][..len].copy_from_slice(&bytes[start..]);
                expected.truncate((offset as usize + len).max(100_000));
                expected.resize(250_000, 0);
                expected.extend_from_slice(b"behind");
                assert!(
                    std::fs::read(&path).unwrap() == expected,
                    "{len} bytes at {offset}, {into} into a block of memory"
                );
            }
        }
    }

    /// Where files can be opened for it, blocks do go straight to the disk.
    #[cfg(target_os = "linux")]
    #[test]
    fn blocks_are_written_directly_where_that_is_possible() {
        use std::os::unix::fs::OpenOptionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = File::create(&path).unwrap();
        let flag = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap();
        let possible = std::fs::OpenOptions::new().write(true).custom_flags(flag).open(&path).is_ok();
        let (bytes, start) = lying(0, 131_072);
        let written = write_direct(&file, &bytes[start..], 4_096);
        assert_eq!(written, if possible { 131_072 } else { 0 });
        // The file is as it was.
        std::os::unix::fs::FileExt::write_at(&file, b"odd", 7).unwrap();
    }
}
