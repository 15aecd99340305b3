//! What a store hands out to be done or read elsewhere: flushes, steps of upkeep, and bytes that are read in parts.

use super::StoreError;

/// Work that makes durable what was staged before it was made. Runs on any thread, once.
pub struct Flush(Box<dyn FnOnce() -> Result<(), StoreError> + Send>);

impl Flush {
    /// Wraps the work.
    pub fn new(work: impl FnOnce() -> Result<(), StoreError> + Send + 'static) -> Self {
        Self(Box::new(work))
    }
    /// Does the work; when it returns `Ok`, all of it is on disk.
    ///
    /// # Errors
    /// [`StoreError`] when any write or fsync failed: nothing of it may be acknowledged.
    pub fn run(self) -> Result<(), StoreError> {
        (self.0)()
    }
}

impl std::fmt::Debug for Flush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flush")
    }
}

/// A step of work on what follows from durable records, for which no acknowledgement waits. Runs on any thread, once,
/// beside flushes and reads; each step is short.
pub struct Upkeep(Box<dyn FnOnce() + Send>);

impl Upkeep {
    /// Wraps the work.
    pub fn new(work: impl FnOnce() + Send + 'static) -> Self {
        Self(Box::new(work))
    }
    /// Does the work. What came of it the store takes from [`Store::upkept`](super::Store::upkept) on.
    pub fn run(self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upkeep")
    }
}

/// Bytes that are kept, to be read in parts.
pub struct Kept(Box<dyn Fn(u64, usize) -> Option<Vec<u8>>>);

impl Kept {
    /// Wraps the reading of `len` bytes from an offset on; `None` when there are fewer, or they are unsound.
    pub fn new(read: impl Fn(u64, usize) -> Option<Vec<u8>> + 'static) -> Self {
        Self(Box::new(read))
    }
    /// Reads `len` bytes from `offset` on; `None` when there are fewer, or they are unsound.
    pub fn read(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        (self.0)(offset, len)
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}
