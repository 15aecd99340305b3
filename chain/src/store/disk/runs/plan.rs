//! Which runs become one. Each that is asked in vain makes a look-up slower, and each merging writes all of its entries again.

use std::ops::Range;

/// So many runs of one size become one.
const FAN_IN: usize = 4;

/// Four or more neighbours, none of them larger than the last of them by powers of four; `counts` are their records, and
/// `table` those of a full table in memory. The newest first: they are the shortest. But older ones do not wait for there to be
/// no newer ones, which may never be.
pub(super) fn alike(counts: &[u64], table: u64) -> Option<Range<usize>> {
    let size = |count: &u64| (count / table.max(1)).checked_ilog2().unwrap_or_default() / 2;
    (FAN_IN..=counts.len()).rev().find_map(|end| {
        let runs = counts.get(..end)?;
        let last = size(runs.last()?);
        let alike = runs.iter().rev().take_while(|run| size(run) <= last).count();
        (alike >= FAN_IN).then(|| end.saturating_sub(alike)..end)
    })
}

/// Where little comes: the oldest run that those behind it are together as long as, and these. What is left then is at most
/// as many runs as there are bits in the number of tables.
pub(super) fn at_rest(counts: &[u64]) -> Option<Range<usize>> {
    let (mut behind, mut from) = (0u64, None);
    for (nth, count) in counts.iter().enumerate().rev() {
        if behind >= *count {
            from = Some(nth);
        }
        behind = behind.saturating_add(*count);
    }
    from.map(|from| from..counts.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: u64 = 1_000;

    /// Merges as long as there is anything to be merged, and gives how many records that wrote.
    fn merge(counts: &mut Vec<u64>, what: impl Fn(&[u64]) -> Option<Range<usize>>) -> u64 {
        let mut written = 0;
        while let Some(range) = what(counts) {
            assert!(range.len() > 1);
            let sum: u64 = counts.drain(range.clone()).sum();
            counts.insert(range.start, sum);
            written += sum;
        }
        written
    }

    #[test]
    fn four_alike_become_one() {
        let alike = |counts: &[u64]| alike(counts, TABLE);
        assert_eq!(alike(&[16_000, 4_000, 1_000, 1_000, 1_000]), None);
        assert_eq!(alike(&[16_000, 4_000, 1_000, 1_000, 1_000, 1_000]), Some(2..6));
        assert_eq!(alike(&[4_000, 4_000, 4_000, 4_000, 1_000]), Some(0..4), "they do not wait for the newest");
        let (mut counts, mut written) = (Vec::new(), 0);
        for tables in 1..=1_000 {
            counts.push(TABLE);
            written += merge(&mut counts, alike);
            assert!(counts.len() <= 3 * 5, "{tables}: {counts:?}");
        }
        assert!(written <= 5 * 1_000 * TABLE, "{written}");
    }

    /// With time to spare after every table few are left, and no record is written more often than the length has bits.
    #[test]
    fn at_rest_few_are_left() {
        let (mut counts, mut written) = (Vec::new(), 0);
        for tables in 1..=1_000u64 {
            counts.push(TABLE);
            written += merge(&mut counts, at_rest);
            assert!(counts.len() <= tables.ilog2() as usize + 1, "{tables}: {counts:?}");
            assert!(counts.iter().rev().try_fold(0, |sum, count| (sum < *count).then_some(sum + count)).is_some());
        }
        assert!(written <= 10 * 1_000 * TABLE, "{written}");
    }

    #[test]
    fn what_was_written_in_one_go_becomes_few_at_once() {
        let mut counts: Vec<u64> = [64, 16, 16, 16, 4, 4, 1, 1].map(|tables| tables * TABLE).to_vec();
        assert_eq!(merge(&mut counts, at_rest), 58 * TABLE);
        assert_eq!(counts, [64, 58].map(|tables| tables * TABLE));
        assert_eq!(at_rest(&[]), None);
        assert_eq!(at_rest(&[1]), None);
    }
}
