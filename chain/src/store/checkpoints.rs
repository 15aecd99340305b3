//! Where checkpoints and evidence are kept: the [`Checkpoints`] trait, and a keeper in memory.
//!
//! They cannot be derived from any log, so they are no part of the index, and stand beside the ledger: a ledger that is
//! fetched anew takes nothing of them away.

use std::sync::{Mutex, PoisonError};

use super::StoreError;
use crate::book::{Book, Entry};

/// Keeps checkpoints and evidence, by the policy of [`Book`].
pub trait Checkpoints: Send + Sync {
    /// Keeps an entry; on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be made durable.
    fn keep(&self, entry: &Entry) -> Result<(), StoreError>;
    /// Everything that is kept.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    fn book(&self) -> Result<Book, StoreError>;
}

/// A keeper in memory, for tests and the simulator.
#[derive(Debug, Default)]
pub struct MemoryCheckpoints(Mutex<Book>);

impl Checkpoints for MemoryCheckpoints {
    fn keep(&self, entry: &Entry) -> Result<(), StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.clone());
        Ok(())
    }
    fn book(&self) -> Result<Book, StoreError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
