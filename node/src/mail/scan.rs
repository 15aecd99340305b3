//! Scanning: what became durable is gone through for envelopes to this wallet, and what opens is kept.
//!
//! An envelope for this wallet whose body is missing or damaged is passed, so that it keeps no later message away, and
//! remembered: it is tried again whenever something became durable, until its body came from a peer or has expired. Where
//! there are too many of them, some are given up, and found by scanning once more from the first of them, once an hour.

use std::{collections::BTreeSet, sync::PoisonError, time::Instant};

use qasedak_chain::{Position, Time, Transaction, rules::FUTURE_BODY_SECS, store::StoreError};
use qasedak_wallet::{
    Opened,
    wallet::{LogId, Scanned, UNREAD_MAX},
};

use super::{Mail, MailError, cards::intact};
use crate::node::{DiskLedger, cores, now, read};

/// Entries of the scan column that are scanned under one lock of the ledger.
const SCAN_PAGE: usize = 4_096;
/// Most messages of one step. The wallet takes a step as a whole, and a commit holds 16 MiB: these are some 8 MiB at most.
const STEP_MAX: usize = 128;

/// A scan of fewer entries than this is over before anyone could look.
const LONG_SCAN: u64 = 4 * SCAN_PAGE as u64;

/// How far a scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanning {
    /// Transactions that it has gone through.
    pub done: u64,
    /// Transactions that it goes through.
    pub total: u64,
}

/// An envelope that is for this wallet, or for someone this node finds for, by its hint.
pub(crate) enum Envelope {
    /// It is whole.
    Whole(Box<Transaction>),
    /// Its body is missing or damaged, and may yet come.
    Unread,
    /// Its body never comes: it was dropped, or no node has it any more.
    Gone,
}

/// The envelope at a position.
///
/// # Errors
/// What reading gives.
pub(crate) fn envelope_at(ledger: &DiskLedger, position: Position, now: Time) -> Result<Envelope, StoreError> {
    match ledger.transaction(position) {
        Ok(Some(transaction)) if transaction.body().is_some() => return Ok(Envelope::Whole(Box::new(transaction))),
        Ok(Some(_)) | Err(StoreError::Damaged { .. }) => {}
        Ok(None) => return Ok(Envelope::Gone),
        Err(error) => return Err(error),
    }
    match ledger.body_may_come(position, now) {
        Ok(false) => Ok(Envelope::Gone),
        Ok(true) | Err(StoreError::Damaged { .. }) => Ok(Envelope::Unread),
        Err(error) => Err(error),
    }
}

impl Mail {
    /// Scans from the cursor up to `end` (excluded) and keeps what opens.
    pub(super) fn scan_to(&self, end: Position) -> Result<(), MailError> {
        let log = LogId::from_bytes(read(&self.ledger, |ledger| ledger.store().log_id()));
        self.look_back(&log)?;
        self.try_again(&log)?;
        let scanned = self.scan_pages(&log, end);
        self.scanning.send_replace(None);
        scanned
    }

    fn scan_pages(&self, log: &LogId, end: Position) -> Result<(), MailError> {
        // One after the other: in one statement the wallet would be locked twice.
        let scanner = self.wallet().scanner();
        let start = self.wallet().cursor(log)?.get();
        loop {
            let from = self.wallet().cursor(log)?;
            self.tell_scanning(from.get().saturating_sub(start), end.get().saturating_sub(start));
            let most = end.get().saturating_sub(from.get()).min(SCAN_PAGE as u64);
            let most = usize::try_from(most).unwrap_or(SCAN_PAGE);
            let entries = if most == 0 { Vec::new() } else { read(&self.ledger, |ledger| ledger.scan(from, most))? };
            if entries.is_empty() {
                return Ok(());
            }
            let next = Position::new(from.get().saturating_add(entries.len() as u64));
            let mut scanned = Scanned { next, unread: self.wallet().unread(log)?, ..Scanned::default() };
            for index in scanner.matches_on(&entries, cores()) {
                let position = Position::new(from.get().saturating_add(index as u64));
                self.look_at(position, &mut scanned)?;
                if scanned.opened.len() >= STEP_MAX {
                    let unread = scanned.unread.clone();
                    let step = std::mem::replace(&mut scanned, Scanned { next, unread, ..Scanned::default() });
                    let next = Position::new(position.get().saturating_add(1));
                    self.keep(log, Scanned { next, ..step })?;
                }
            }
            self.keep(log, scanned)?;
        }
    }

    /// Sets the cursor back to the first envelope that was given up, once an hour: its body may have come since. What is
    /// known already is not shown twice.
    fn look_back(&self, log: &LogId) -> Result<(), MailError> {
        let Some(from) = self.wallet().given_up(log)?.filter(|_| self.is_time_to_look_back()) else {
            return Ok(());
        };
        let mut unread = self.wallet().unread(log)?;
        unread.retain(|position| *position < from);
        let back = Scanned { next: from, unread, ..Scanned::default() };
        self.wallet().record_scanned(log, back, now())?;
        Ok(())
    }

    pub(super) fn is_time_to_look_back(&self) -> bool {
        self.looking_back.lock().unwrap_or_else(PoisonError::into_inner).is_due(Instant::now())
    }

    fn tell_scanning(&self, done: u64, total: u64) {
        self.scanning.send_replace((total >= LONG_SCAN).then_some(Scanning { done, total }));
    }

    /// Looks again at the envelopes that could not be read.
    fn try_again(&self, log: &LogId) -> Result<(), MailError> {
        let unread = self.wallet().unread(log)?;
        let mut scanned = Scanned { next: self.wallet().cursor(log)?, ..Scanned::default() };
        for position in &unread {
            // The rest waits for the next time.
            if scanned.opened.len() >= STEP_MAX {
                scanned.unread.push(*position);
            } else {
                self.look_at(*position, &mut scanned)?;
            }
        }
        if scanned.unread == unread { Ok(()) } else { self.keep(log, scanned) }
    }

    /// Opens the envelope at a position, or notes it as unread.
    fn look_at(&self, position: Position, scanned: &mut Scanned) -> Result<(), MailError> {
        match read(&self.ledger, |ledger| envelope_at(ledger, position, now()))? {
            Envelope::Whole(transaction) => scanned.opened.extend(self.open(&transaction)),
            Envelope::Unread => scanned.unread.push(position),
            Envelope::Gone => {}
        }
        Ok(())
    }

    fn open(&self, transaction: &Transaction) -> Option<Opened> {
        let opened = self.wallet().open_transaction(transaction);
        opened.inspect_err(|error| tracing::warn!("an envelope for this wallet does not open: {error}")).ok()
    }

    /// Of more than `most` envelopes that wait for their bodies, those that go on waiting. A stranger can pay for any number
    /// whose bodies never come. Dates so far ahead that no node asks for them cost no more: those are given up first, and of the
    /// others the ones that end last. And the first of those that do not.
    pub(super) fn worth_waiting(
        &self,
        unread: Vec<Position>,
        most: usize,
    ) -> Result<(Vec<Position>, Option<Position>), MailError> {
        if unread.len() <= most {
            return Ok((unread, None));
        }
        let mut ranked = Vec::with_capacity(unread.len());
        for position in unread {
            let rank = intact(read(&self.ledger, |ledger| ledger.record(position)))?.map(|record| {
                let core = record.header.core();
                let is_ahead = core.time() > record.arrival.plus(FUTURE_BODY_SECS);
                (is_ahead, core.time().plus(u64::from(core.lifetime_secs())))
            });
            ranked.push((rank.is_none(), rank, position));
        }
        ranked.sort_unstable();
        // Said without place and id: a log must not tell which ones were for this wallet.
        tracing::warn!(
            "{} envelopes too many wait for their bodies: they are looked for again within the hour",
            ranked.len().saturating_sub(most)
        );
        let first = ranked.iter().skip(most).map(|(_, _, position)| *position).min();
        let mut kept: Vec<Position> = ranked.into_iter().take(most).map(|(_, _, position)| position).collect();
        kept.sort_unstable();
        Ok((kept, first))
    }

    fn keep(&self, log: &LogId, mut scanned: Scanned) -> Result<(), MailError> {
        let (unread, first) = self.worth_waiting(scanned.unread, UNREAD_MAX)?;
        scanned.unread = unread;
        scanned.given_up = self.wallet().given_up(log)?.into_iter().chain(first).min();
        if !scanned.unread.is_empty() {
            tracing::warn!(
                "{} envelopes for this wallet are damaged or missing here; they are asked of peers, and \
                 `qasedak audit verify` names all damage",
                scanned.unread.len()
            );
        }
        let recorded = self.wallet().record_scanned(log, scanned, now())?;
        // Said without ids and people, as above.
        let refused = [
            (recorded.duplicates, "are known already: copies, replayed or stamped again"),
            (recorded.ended, "had ended before they came"),
            (recorded.blocked, "are of people who are blocked"),
        ];
        for (count, why) in refused.into_iter().filter(|(count, _)| *count > 0) {
            tracing::info!("{count} messages are not shown: they {why}");
        }
        // Who reads a message is told what is odd about its sender's keys, so they are looked at first.
        let senders = recorded.kept.iter().filter(|message| message.contact.is_some()).map(|message| message.sender);
        for sender in senders.collect::<BTreeSet<_>>() {
            if let Err(error) = self.card_of(&sender) {
                tracing::warn!("cannot look at the keys of a contact: {error}");
            }
        }
        if let Some(last) = recorded.kept.last() {
            self.received.send_replace(last.seq);
        }
        Ok(())
    }
}
