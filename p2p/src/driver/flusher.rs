//! Making durable what the log gained, one flush at a time. What grows meanwhile goes into the next one.
//!
//! A disk that fails stops nothing: the flush is tried again, at first after a second, then after twice as long each
//! time, and meanwhile whoever asks is told since when and why. The store keeps in memory what it could not write.

use std::{
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use qasedak_chain::{
    Ledger, Time,
    store::{Store, StoreError},
};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};

use super::DriverError;

/// The pause behind the first failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A failure is said again in the log after so long.
const SAID_EVERY: Duration = Duration::from_secs(600);

/// How a flush ended: how long the log is that it made durable.
pub(super) type Flushed = Result<u64, StoreError>;

/// A disk that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskTrouble {
    /// Since when, by the system's clock.
    pub since: Time,
    /// What the store said last, in a sentence for a person.
    pub reason: String,
}

/// What is behind a failure: when to try again.
#[derive(Debug)]
struct Retry {
    pause: Duration,
    at: Instant,
    /// When a failure was reported last, and when one was last said in the log.
    reported: Instant,
    said: Instant,
}

/// Whether something is to be flushed, the flush under way, and the trouble with the disk if there is any.
#[derive(Debug)]
pub(super) struct Flusher {
    grown: bool,
    running: JoinSet<Flushed>,
    retry: Option<Retry>,
    trouble: watch::Sender<Option<DiskTrouble>>,
}

impl Flusher {
    pub(super) fn new() -> Self {
        Self { grown: false, running: JoinSet::new(), retry: None, trouble: watch::Sender::new(None) }
    }

    /// The trouble with the disk, as it is at any moment.
    pub(super) fn watch(&self) -> watch::Receiver<Option<DiskTrouble>> {
        self.trouble.subscribe()
    }

    /// The log grew.
    pub(super) fn grown(&mut self) {
        self.grown = true;
    }

    /// The store failed, in a flush or elsewhere: it is flushed again after a pause, to see whether it is well again.
    pub(super) fn failed(&mut self, reason: String, system: Time, now: Instant) {
        let retry = self.retry.get_or_insert_with(|| {
            tracing::error!(%reason, "the disk fails; nothing more is taken in until it is well again");
            Retry { pause: PAUSES.0, at: now + PAUSES.0, reported: now, said: now }
        });
        retry.reported = now;
        if now.duration_since(retry.said) >= SAID_EVERY {
            retry.said = now;
            tracing::error!(%reason, "the disk still fails");
        }
        self.trouble.send_modify(|trouble| match trouble {
            Some(trouble) => trouble.reason = reason,
            None => *trouble = Some(DiskTrouble { since: system, reason }),
        });
    }

    /// A flush failed: the next pause is twice as long.
    fn pause(&mut self, now: Instant) {
        if let Some(retry) = &mut self.retry {
            retry.at = now + retry.pause;
            retry.pause = PAUSES.1.min(retry.pause.saturating_mul(2));
        }
    }

    /// A flush went well, so the disk does.
    fn well(&mut self) {
        if self.retry.take().is_some() {
            tracing::info!("the disk is well again; all that was kept in memory is written");
            self.trouble.send_replace(None);
        }
    }

    /// The next flush is not to wait for the end of a pause.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Some(retry) = &mut self.retry {
            retry.at = now;
        }
    }

    /// Starts a flush when one is due and none is under way.
    ///
    /// # Errors
    /// [`DriverError::Task`] when the ledger's lock is lost.
    pub(super) fn start<S: Store>(
        &mut self,
        ledger: &Arc<RwLock<Ledger<S>>>,
        system: Time,
        now: Instant,
    ) -> Result<(), DriverError> {
        let due = self.retry.as_ref().map_or(self.grown, |retry| retry.at <= now);
        if !due || !self.running.is_empty() {
            return Ok(());
        }
        self.grown = false;
        let mut ledger = ledger.write().map_err(|_| DriverError::Task)?;
        let count = ledger.summary().count;
        match ledger.flush(system) {
            Ok(Some(flush)) => drop(self.running.spawn_blocking(move || flush.run().map(|()| count))),
            // Nothing is left to be written, so only time tells whether the disk is well.
            Ok(None) if self.retry.as_ref().is_some_and(|retry| now.duration_since(retry.reported) < PAUSES.1) => {
                self.pause(now);
            }
            Ok(None) => self.well(),
            Err(error) => {
                self.failed(error.to_string(), system, now);
                self.pause(now);
            }
        }
        Ok(())
    }

    /// How the flush under way ended; `None` when there is none.
    pub(super) async fn next(&mut self) -> Option<Result<Flushed, JoinError>> {
        self.running.join_next().await
    }

    /// Takes note of how it ended.
    pub(super) fn ended(&mut self, flushed: &Flushed, system: Time, now: Instant) {
        match flushed {
            Ok(_) => self.well(),
            Err(error) => {
                self.failed(error.to_string(), system, now);
                self.pause(now);
            }
        }
    }

    /// What is wrong with the disk.
    pub(super) fn trouble(&self) -> Option<DiskTrouble> {
        self.trouble.borrow().clone()
    }
}
