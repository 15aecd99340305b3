//! How often something is done that is asked about more often.

use std::time::{Duration, Instant};

/// Has something done so often at most.
#[derive(Debug)]
pub(crate) struct Pace {
    every: Duration,
    last: Option<Instant>,
}

impl Pace {
    /// For the first time at once.
    pub(crate) const fn at_once(every: Duration) -> Self {
        Self { every, last: None }
    }

    /// For the first time when that time has gone by since `start`.
    pub(crate) const fn since(start: Instant, every: Duration) -> Self {
        Self { every, last: Some(start) }
    }

    /// Whether it is due; the next time counts from here.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= self.every);
        if due {
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_when_its_time_has_gone_by() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let due = |mut pace: Pace| -> Vec<u32> {
            (0..25).filter(|tenth| pace.is_due(start + Duration::from_millis(100) * *tenth)).collect()
        };
        assert_eq!(due(Pace::since(start, second)), [10, 20]);
        assert_eq!(due(Pace::at_once(second)), [0, 10, 20]);
    }
}
