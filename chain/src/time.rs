//! Time as transactions carry it, and the node's own clock.
//!
//! All times are whole seconds since 1970-01-01 UTC. Pure code never reads a clock: it is handed one.

use std::fmt;

/// Seconds in an hour: the span of a block.
pub const HOUR_SECS: u64 = 3_600;
/// Seconds in a day: the span of sync digests and of body files.
pub const DAY_SECS: u64 = 86_400;
/// Seconds in a week: the span of a card's tag.
pub const WEEK_SECS: u64 = 604_800;
/// A transaction's time is a multiple of this.
pub const TIME_STEP_SECS: u64 = 60;
/// Times at or past this are invalid (the year 36812).
pub const TIME_END_SECS: u64 = 1 << 40;
/// Release date of this version: no clock of a node runs before it. 2026-11-01 00:00 UTC.
pub const RELEASE_SECS: u64 = 1_793_491_200;

/// A moment in whole seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// From seconds since 1970.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs)
    }
    /// Seconds since 1970.
    pub const fn secs(self) -> u64 {
        self.0
    }
    /// UTC hour number, which is the number of the block that holds it.
    pub const fn hour(self) -> u64 {
        self.0 / HOUR_SECS
    }
    /// UTC day number.
    pub const fn day(self) -> u64 {
        self.0 / DAY_SECS
    }
    /// Week number, counted from Thursday 1970-01-01.
    pub const fn week(self) -> u64 {
        self.0 / WEEK_SECS
    }
    /// The last multiple of [`TIME_STEP_SECS`] that is not after this moment.
    #[must_use]
    pub const fn rounded_down(self) -> Self {
        Self(self.0 - self.0 % TIME_STEP_SECS)
    }
    /// This moment and `secs` more; saturates.
    #[must_use]
    pub const fn plus(self, secs: u64) -> Self {
        Self(self.0.saturating_add(secs))
    }
    /// Seconds from `earlier` to this moment, 0 if `earlier` is later.
    pub const fn since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.day());
        let in_day = self.0 % DAY_SECS;
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", in_day / 3_600, in_day / 60 % 60, in_day % 60)
    }
}

/// Proleptic Gregorian date of a day number since 1970 (the era arithmetic of H. Hinnant's
/// "chrono-Compatible Low-Level Date Algorithms", for days not before 1970).
fn civil_from_days(day: u64) -> (u64, u64, u64) {
    let shifted = day.saturating_add(719_468);
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day_of_month)
}

/// Day number since 1970 of a date, `None` when there is no such date or it lies before 1970.
pub fn day_of_date(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=36_811).contains(&year) {
        return None;
    }
    // Counting every fourth year as a leap year is at most 261 days off by the end of time: search around that.
    let estimate = (year - 1970) * 365 + (year - 1969) / 4;
    (estimate.saturating_sub(400)..estimate + 800).find(|candidate| civil_from_days(*candidate) == (year, month, day))
}

/// A node's own clock: `max(system clock, last commit, release date)` (DESIGN §4). It never runs backwards
/// over what the ledger has already recorded, however wrong the system's clock is.
pub fn own_clock(system: Time, last_commit: Time) -> Time {
    system.max(last_commit).max(Time::from_secs(RELEASE_SECS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_print_as_utc() {
        assert_eq!(Time::from_secs(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Time::from_secs(RELEASE_SECS).to_string(), "2026-11-01T00:00:00Z");
        assert_eq!(Time::from_secs(951_827_696).to_string(), "2000-02-29T12:34:56Z");
    }

    #[test]
    fn dates_and_days_are_inverse() {
        for day in (0..800_000).step_by(17) {
            let (year, month, day_of_month) = civil_from_days(day);
            assert_eq!(day_of_date(year, month, day_of_month), Some(day));
        }
        assert_eq!(day_of_date(2026, 2, 29), None);
        assert_eq!(day_of_date(2026, 13, 1), None);
        assert_eq!(day_of_date(1969, 12, 31), None);
    }

    #[test]
    fn own_clock_never_precedes_the_last_commit() {
        let commit = Time::from_secs(RELEASE_SECS + 50);
        assert_eq!(own_clock(Time::from_secs(3), commit), commit);
        assert_eq!(own_clock(Time::from_secs(3), Time::from_secs(4)).secs(), RELEASE_SECS);
    }
}
