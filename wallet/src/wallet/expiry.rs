//! Letting go: rows when their time has come, epoch keys when their day is over (DESIGN §8;
//! `docs/decisions/0031-epochs-of-expiry.md`, `0032-clock-of-the-wallet.md`).
//!
//! A row is removed from the database in the second in which it ends; the journal's file keeps old values for a while, and those open no more
//! once the epoch key of that day is dropped from the keystore.

use qasedak_chain::Time;

use super::{
    Wallet, WalletError,
    rows::ClockRow,
    vault::{Changes, Class, Vault, counter},
};

/// Rows that are removed in one commit.
const BATCH: usize = 4_096;

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Rows of the database: messages, keys, and what was known of them.
    pub rows: usize,
    /// Whether epoch keys were destroyed: from now on nothing can read what was under them.
    pub keys: bool,
    /// Until when the system's clock must go on before it is believed, if it is far from where it was: nothing is destroyed
    /// by it before. What it says has ended is not shown.
    pub doubted_until: Option<Time>,
}

impl Wallet {
    pub(super) fn load_clock(&mut self, now: Time) -> Result<(), WalletError> {
        let row = self.vault.get::<ClockRow>(&Vault::counted_key(Class::Clock, 0))?;
        (self.clock, self.kept_clock) = row.map_or((self.clock, self.kept_clock), |row| (row.clock, row.clock));
        self.clock.tick(now);
        self.vault.set_today(self.clock.gone());
        Ok(())
    }

    /// Lets go of everything whose time has come, and destroys the keys of all days that are over. To be called at start
    /// and every minute or so with the system's clock: it costs nothing when nothing is due.
    ///
    /// # Errors
    /// What writing gives; the next call tries again.
    pub fn expire(&mut self, now: Time) -> Result<Expired, WalletError> {
        self.clock.tick(now);
        let gone = self.clock.gone();
        self.vault.set_today(gone);
        let due = self.vault.due_by(gone);
        for keys in due.chunks(BATCH) {
            let mut changes = Changes::default();
            keys.iter().for_each(|key| changes.remove(key));
            self.vault.commit(changes)?;
            keys.iter().for_each(|key| self.forget(key));
        }
        if self.clock.is_ahead_of(&self.kept_clock) || (!due.is_empty() && self.clock != self.kept_clock) {
            let mut changes = Changes::default();
            let row = ClockRow { clock: self.clock };
            self.vault.put(&mut changes, &Vault::counted_key(Class::Clock, 0), &row)?;
            self.vault.commit(changes)?;
            self.kept_clock = self.clock;
        }
        let keys = self.vault.drop_epochs()?;
        Ok(Expired { rows: due.len(), keys, doubted_until: self.clock.doubted_until() })
    }

    /// Forgets in memory what a removed row stood for.
    fn forget(&mut self, key: &[u8]) {
        let (class, Some(number)) = (key.first().copied(), counter(key)) else {
            return;
        };
        let is = |of: Class| class == Some(of as u8);
        if is(Class::SealKey) {
            if let Some(gone) = self.index.seal_keys.remove(&number)
                && let Some(own) = self.own_mut().find(|own| own.account == gone.account)
            {
                own.seal_keys.retain(|key| key.id() != gone.id);
            }
        } else if is(Class::Received) || is(Class::Sent) {
            self.index.remove(number);
        } else if is(Class::Request) {
            self.index.requests.remove(&number);
        } else if is(Class::Receipt) {
            self.index.receipts.remove(&number);
        } else if is(Class::Posting) {
            self.index.posting.remove(&number);
        }
    }

    /// Whether something that ends then may still be shown.
    pub(super) fn shows(&self, ends: Time) -> bool {
        ends > self.clock.shown()
    }
}

#[cfg(test)]
mod tests;
