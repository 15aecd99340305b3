//! When bodies go (DESIGN §4): kept until 72 h after the day of `min(time, arrival + 48 h) + lifetime`, unless the node
//! keeps them for good, or has no room.

use crate::{rules::FUTURE_BODY_SECS, time::Time, transaction::Core};

/// How long after that day a body is still kept, in days.
pub const GRACE_DAYS: u64 = 3;

/// The first UTC day on which a body that arrived at `arrival` may be dropped: it names the file that holds it.
///
/// The day itself still counts as lifetime, then three days of grace, so that who looks for the body in its time finds
/// someone who still has it. One that arrives long before its time is kept by its arrival, and gone when its time
/// comes: its header then enters alone everywhere (decision 0040).
pub fn body_day(core: &Core, arrival: Time) -> u64 {
    let start = core.time().min(arrival.plus(FUTURE_BODY_SECS));
    let end = start.plus(u64::from(core.lifetime_secs()));
    end.day().saturating_add(1).saturating_add(GRACE_DAYS)
}

/// How long a node keeps bodies. Headers it keeps for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Until their [day](body_day) comes.
    #[default]
    UntilTheirDay,
    /// Until their day comes; earlier when all of them take more than so many bytes: then those go first whose day comes
    /// first.
    Budget(u64),
    /// For good.
    Archive,
}
