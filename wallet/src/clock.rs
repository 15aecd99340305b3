//! The wallet's clock: what has gone for good, and what is no longer shown, when the system's clock may be wrong.
//!
//! Destroying is for ever, so a clock that jumps must not do it; showing is not, so the later of two clocks decides it
//! (`docs/decisions/0032-clock-of-the-wallet.md`). Pure.
//!
//! *Sure* is the latest time that the wallet believes. The system's clock moves it on at once by up to [`STEP_MAX_SECS`]. A
//! clock that stands further away, ahead or behind, is a *claim*: it is believed when it has gone on by itself for
//! [`CLAIM_SECS`] without another such jump.

use bincode::{Decode, Encode};
use qasedak_chain::Time;

/// So far the clock may be from what was believed, and be believed at once: two days, as for times in the ledger.
pub const STEP_MAX_SECS: u64 = 2 * 86_400;
/// So long a clock that stands further away must go on before it is believed: a day.
pub const CLAIM_SECS: u64 = 86_400;

/// What the wallet knows of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct WalletClock {
    /// The latest time that is believed.
    sure: u64,
    /// Where a clock that is not believed yet stood when it was first and last seen; both 0 if there is none.
    claim_first: u64,
    claim_last: u64,
    /// The last reading.
    now: u64,
}

impl WalletClock {
    /// A clock that believes its first reading.
    pub(crate) fn new(now: Time) -> Self {
        Self { sure: now.secs(), claim_first: 0, claim_last: 0, now: now.secs() }
    }

    /// Takes a reading of the system's clock.
    pub(crate) fn tick(&mut self, now: Time) {
        let now = now.secs();
        self.now = now;
        if self.sure.abs_diff(now) <= STEP_MAX_SECS {
            (self.sure, self.claim_first, self.claim_last) = (self.sure.max(now), 0, 0);
            return;
        }
        let goes_on =
            self.claim_first > 0 && (self.claim_last..=self.claim_last.saturating_add(STEP_MAX_SECS)).contains(&now);
        if !goes_on {
            self.claim_first = now;
        }
        self.claim_last = now;
        if now.saturating_sub(self.claim_first) >= CLAIM_SECS {
            (self.sure, self.claim_first, self.claim_last) = (now, 0, 0);
        }
    }

    /// What was to be kept until this time or an earlier one may be destroyed: what is believed says so, and so does the
    /// system's clock.
    pub(crate) fn gone(&self) -> Time {
        Time::from_secs(self.sure.min(self.now))
    }

    /// What was to be kept until this time or an earlier one is not shown.
    pub(crate) fn shown(&self) -> Time {
        Time::from_secs(self.sure.max(self.now))
    }

    /// When something that is made or comes now is said to have come. A clock far behind what was believed is taken at its
    /// word here: it is the one that was put right, or nothing that it dates is found by anyone.
    pub(crate) fn arrival(&self) -> Time {
        if self.now.saturating_add(STEP_MAX_SECS) < self.sure { Time::from_secs(self.now) } else { self.shown() }
    }

    /// When the clock that is not believed yet will be, if it goes on; `None` when there is nothing to doubt.
    pub(crate) fn doubted_until(&self) -> Option<Time> {
        (self.claim_first > 0).then(|| Time::from_secs(self.claim_first.saturating_add(CLAIM_SECS)))
    }

    /// Whether `kept`, an earlier state, should be replaced on disk: the wallet would lose an hour or a claim.
    pub(crate) fn is_ahead_of(&self, kept: &Self) -> bool {
        self.sure.abs_diff(kept.sure) >= 3_600
            || self.claim_first != kept.claim_first
            || self.claim_last.abs_diff(kept.claim_last) >= 3_600
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 86_400;
    const START: u64 = 20_000 * DAY;

    fn at(days: u64) -> Time {
        Time::from_secs(START + days * DAY)
    }

    #[test]
    fn small_steps_are_believed_at_once() {
        let mut clock = WalletClock::new(at(0));
        clock.tick(at(2));
        assert_eq!((clock.gone(), clock.shown(), clock.doubted_until()), (at(2), at(2), None));
    }

    #[test]
    fn a_clock_set_back_shows_nothing_again_and_destroys_nothing() {
        let mut clock = WalletClock::new(at(10));
        for back in [9, 8, 0] {
            clock.tick(at(back));
            assert_eq!((clock.gone(), clock.shown()), (at(back), at(10)));
        }
    }

    #[test]
    fn a_jump_ahead_hides_at_once_and_destroys_after_a_day() {
        let mut clock = WalletClock::new(at(0));
        clock.tick(at(130));
        assert_eq!((clock.gone(), clock.shown(), clock.doubted_until()), (at(0), at(130), Some(at(131))));
        clock.tick(Time::from_secs(at(131).secs() - 1));
        assert_eq!(clock.gone(), at(0));
        clock.tick(at(131));
        assert_eq!((clock.gone(), clock.doubted_until()), (at(131), None));
    }

    #[test]
    fn a_jump_that_is_put_right_costs_nothing() {
        let mut clock = WalletClock::new(at(0));
        clock.tick(at(9_000));
        clock.tick(at(0));
        assert_eq!((clock.gone(), clock.shown(), clock.doubted_until()), (at(0), at(0), None));
        // A clock that jumps again and again is never believed.
        for jump in 1..50 {
            clock.tick(at(jump * 100));
            assert_eq!(clock.gone(), at(0));
        }
    }

    #[test]
    fn a_wallet_made_under_a_wrong_clock_recovers() {
        let mut clock = WalletClock::new(at(30_000));
        clock.tick(at(0));
        assert_eq!(clock.gone(), at(0));
        clock.tick(at(1));
        assert_eq!((clock.gone(), clock.shown()), (at(1), at(1)));
    }

    proptest! {
        /// Nothing is destroyed that the system's clock does not say has gone, and what is shown is never less.
        #[test]
        fn destroying_takes_both_clocks(readings in prop::collection::vec(0u64..400, 1..60)) {
            let mut clock = WalletClock::new(at(readings[0]));
            for reading in readings {
                clock.tick(at(reading));
                prop_assert!(clock.gone() <= at(reading) && at(reading) <= clock.shown());
            }
        }
    }
}
