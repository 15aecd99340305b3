//! Shares: token buckets that time fills (DESIGN §7, Quotas).

/// So much at once, and so much a second in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) burst: u64,
    pub(super) per_second: u64,
}

/// How much of something a peer, or all of them, may still cost. What it costs is known afterwards, so it may run below
/// nothing, and is filled again before more is granted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// In thousandths.
    left_milli: i64,
    filled_ms: u64,
}

impl Bucket {
    pub(super) fn full(rate: Rate, now_ms: u64) -> Self {
        Self { rate, left_milli: milli(rate.burst), filled_ms: now_ms }
    }

    /// Whether anything is left.
    pub(super) fn has_any(&mut self, now_ms: u64) -> bool {
        let passed_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = self.filled_ms.max(now_ms);
        let gained = i64::try_from(passed_ms.saturating_mul(self.rate.per_second)).unwrap_or(i64::MAX);
        self.left_milli = self.left_milli.saturating_add(gained).min(milli(self.rate.burst));
        self.left_milli > 0
    }

    pub(super) fn spend(&mut self, amount: u64) {
        self.left_milli = self.left_milli.saturating_sub(milli(amount));
    }
}

fn milli(amount: u64) -> i64 {
    i64::try_from(amount.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_grants_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::full(Rate { burst: 10, per_second: 2 }, 0);
        bucket.spend(13);
        assert!(!bucket.has_any(1_500), "still in debt");
        assert!(bucket.has_any(1_501));
        assert!(bucket.has_any(1_000_000));
        bucket.spend(10);
        assert!(!bucket.has_any(1_000_000), "no more than its burst is ever saved up");
        assert!(!bucket.has_any(999_000), "a clock that runs back fills nothing");
    }
}
