//! Making durable what the log gained, one flush at a time. What grows meanwhile goes into the next one.
//!
//! A flush waits a moment for company ([`GATHER`]), and for some times as long as the one before took ([`REST`]): what
//! comes at about the same time shares one fsync, and the sockets have the cores while a transaction spreads.
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
/// How long the first transaction behind a flush waits for others.
const GATHER: Duration = Duration::from_millis(25);
/// Behind a flush nothing is flushed for so many times as long as it took, and for no longer than the second.
const REST: (u32, Duration) = (4, Duration::from_millis(25));
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
    /// Since when the log has had more than the last flush took.
    grown: Option<Instant>,
    /// How long a flush waits for company.
    gather: Duration,
    /// When the last flush began.
    began: Option<Instant>,
    /// Nothing is flushed before this.
    rests_until: Option<Instant>,
    running: JoinSet<Flushed>,
    retry: Option<Retry>,
    trouble: watch::Sender<Option<DiskTrouble>>,
}

impl Flusher {
    pub(super) fn new() -> Self {
        Self {
            grown: None,
            gather: GATHER,
            began: None,
            rests_until: None,
            running: JoinSet::new(),
            retry: None,
            trouble: watch::Sender::new(None),
        }
    }

    /// The trouble with the disk, as it is at any moment.
    pub(super) fn watch(&self) -> watch::Receiver<Option<DiskTrouble>> {
        self.trouble.subscribe()
    }

    /// The log grew.
    pub(super) fn grown(&mut self, now: Instant) {
        self.grown.get_or_insert(now);
    }

    /// When the next flush is due; `None` when nothing waits for one, or one is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        if !self.running.is_empty() {
            return None;
        }
        match &self.retry {
            Some(retry) => Some(retry.at),
            None => self.grown.map(|since| (since + self.gather).max(self.rests_until.unwrap_or(since))),
        }
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

    /// The next flush is not to wait for the end of a pause, and none for company any more.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Some(retry) = &mut self.retry {
            retry.at = now;
        }
        (self.gather, self.rests_until) = (Duration::ZERO, None);
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
        if self.due().is_none_or(|due| due > now) {
            return Ok(());
        }
        (self.grown, self.began) = (None, Some(now));
        let mut ledger = ledger.write().map_err(|_| DriverError::Task)?;
        let count = ledger.store().len();
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
        if !self.gather.is_zero() {
            let took = self.began.map_or(Duration::ZERO, |began| now.duration_since(began));
            self.rests_until = now.checked_add(took.saturating_mul(REST.0).min(REST.1));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// How a flush that took nothing ended, for the clock of the flusher alone.
    const WENT_WELL: Flushed = Ok(1);

    #[test]
    fn a_flush_waits_for_company_and_behind_a_long_one_longer() {
        let (mut flusher, start) = (Flusher::new(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(flusher.due(), None, "nothing is to be flushed");
        flusher.grown(start);
        flusher.grown(after(3));
        assert_eq!(flusher.due(), Some(start + GATHER), "the first one waits for so long, whatever follows");
        // What has waited for long enough meanwhile is due when the rest is over: behind two milliseconds, then behind four hundred.
        flusher.gather = Duration::from_millis(5);
        for (took, rest) in [(2, 8), (400, 25)] {
            (flusher.began, flusher.grown) = (Some(start), None);
            flusher.ended(&WENT_WELL, Time::from_secs(0), after(took));
            assert_eq!(flusher.due(), None);
            flusher.grown(after(took));
            assert_eq!(flusher.due(), Some(after(took + rest)));
        }
        flusher.hurry(after(401));
        assert_eq!(flusher.due(), Some(after(400)), "who ends waits for nobody");
    }

    #[test]
    fn a_failing_disk_is_tried_when_its_pause_is_over_and_not_before() {
        let (mut flusher, start) = (Flusher::new(), Instant::now());
        flusher.began = Some(start);
        flusher.ended(&Err(StoreError::BrokenOff), Time::from_secs(0), start);
        flusher.grown(start);
        assert_eq!(flusher.due(), Some(start + PAUSES.0));
        flusher.hurry(start);
        assert_eq!(flusher.due(), Some(start));
    }
}
