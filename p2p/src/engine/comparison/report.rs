//! What a comparison with a peer found: per block, which ids each side lacks.
//!
//! Bounds: [`BLOCKS_MAX`] blocks and [`IDS_MAX`] ids in all; what goes beyond is counted, and the report says from which
//! block on another comparison lists it.

use std::collections::BTreeMap;

use qasedak_chain::{TxId, time::HOUR_SECS};

use crate::wire::Place;

/// Most blocks that a report names.
pub const BLOCKS_MAX: usize = 1_024;
/// Most ids that a report lists, on both sides together.
pub const IDS_MAX: usize = 4_096;

/// What two nodes differ in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether both held the same set at one moment of the comparison.
    pub equal: bool,
    /// Transactions of this node at the end.
    pub count_here: u64,
    /// Transactions of the peer, by its own word, when it last told its digest.
    pub count_there: u64,
    /// Last block that this node has signed as closed, if any.
    pub closed_here: Option<u64>,
    /// Last block that the peer has signed as closed in the newest checkpoint that is kept of it, if any.
    pub closed_there: Option<u64>,
    /// Blocks that differ, ascending, at most [`BLOCKS_MAX`].
    pub blocks: Vec<BlockDifference>,
    /// Ids that only one side has and that lie in blocks beyond these.
    pub beyond: u64,
    /// The first block of which more could be told; `None` when all is told.
    pub next: Option<u64>,
}

/// What two nodes differ in within one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockDifference {
    /// The block.
    pub number: u64,
    /// What this node has and the peer lacks.
    pub only_here: Side,
    /// What the peer has and this node lacks.
    pub only_there: Side,
}

/// What one side has in a block and the other lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// How many.
    pub count: u64,
    /// Whether they are late: the side that lacks them has signed this block as closed.
    pub late: bool,
    /// Their ids, ascending; fewer than `count` once the report is full.
    pub ids: Vec<TxId>,
}

/// Which side has what the other lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    Here,
    There,
}

/// Differences while they are being found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Blocks before this one are left out.
    from: u64,
    blocks: BTreeMap<u64, BlockDifference>,
    ids: usize,
    beyond: u64,
    /// The lowest of the blocks beyond.
    first_beyond: Option<u64>,
}

impl Found {
    /// Nothing yet, of blocks from this one on.
    pub(super) fn from_block(from: u64) -> Self {
        Self { from, ..Self::default() }
    }

    /// The first block that is looked at.
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.beyond == 0
    }

    /// Notes that only one side has the transaction at `place`.
    pub(super) fn note(&mut self, side: Where, place: &Place) {
        let number = place.time / HOUR_SECS;
        if number < self.from {
            return;
        }
        if !self.blocks.contains_key(&number) && self.blocks.len() >= BLOCKS_MAX {
            self.beyond = self.beyond.saturating_add(1);
            self.first_beyond = Some(self.first_beyond.map_or(number, |first| first.min(number)));
            return;
        }
        let block = self.blocks.entry(number).or_insert_with(|| BlockDifference { number, ..Default::default() });
        let side = block.side(side);
        side.count = side.count.saturating_add(1);
        if self.ids < IDS_MAX {
            self.ids = self.ids.saturating_add(1);
            side.ids.push(TxId::from_bytes(place.id));
        }
    }

    /// Takes out the listed ids of one side for which `came` says that the other side has them by now.
    pub(super) fn settle<E>(&mut self, side: Where, mut came: impl FnMut(&TxId) -> Result<bool, E>) -> Result<(), E> {
        for block in self.blocks.values_mut() {
            let of = block.side(side);
            let mut kept = Vec::with_capacity(of.ids.len());
            for id in std::mem::take(&mut of.ids) {
                if came(&id)? {
                    of.count = of.count.saturating_sub(1);
                } else {
                    kept.push(id);
                }
            }
            of.ids = kept;
        }
        self.blocks.retain(|_, block| block.only_here.count > 0 || block.only_there.count > 0);
        Ok(())
    }

    /// The report, given which blocks each side has signed as closed.
    pub(super) fn into_report(self, closed_here: Option<u64>, closed_there: Option<u64>) -> Report {
        let mut blocks: Vec<BlockDifference> = self.blocks.into_values().collect();
        for block in &mut blocks {
            let signed = |closed: Option<u64>| closed.is_some_and(|closed| block.number <= closed);
            let (late_there, late_here) = (signed(closed_there), signed(closed_here));
            block.only_here.late = late_there && block.only_here.count > 0;
            block.only_there.late = late_here && block.only_there.count > 0;
            block.only_here.ids.sort_unstable();
            block.only_there.ids.sort_unstable();
        }
        let next = first_untold(&blocks).or(self.first_beyond);
        Report { closed_here, closed_there, blocks, beyond: self.beyond, next, ..Default::default() }
    }
}

/// The first block whose ids are not all listed. The very first would be as full again, so it is left as it is.
fn first_untold(blocks: &[BlockDifference]) -> Option<u64> {
    let untold = |side: &Side| (side.ids.len() as u64) < side.count;
    let at = blocks.iter().position(|block| untold(&block.only_here) || untold(&block.only_there))?;
    blocks.get(at.max(1)).map(|block| block.number)
}

impl BlockDifference {
    fn side(&mut self, side: Where) -> &mut Side {
        match side {
            Where::Here => &mut self.only_here,
            Where::There => &mut self.only_there,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(hour: u64, id: u8) -> Place {
        Place { time: hour * HOUR_SECS, depth: 1, id: [id; 32] }
    }

    #[test]
    fn what_the_side_that_lacks_it_signed_as_closed_is_late() {
        let mut found = Found::default();
        for hour in [4, 5, 6] {
            found.note(Where::Here, &place(hour, 1));
            found.note(Where::There, &place(hour, 2));
        }
        let report = found.into_report(Some(4), Some(5));
        let late: Vec<_> =
            report.blocks.iter().map(|block| (block.number, block.only_here.late, block.only_there.late)).collect();
        assert_eq!(late, [(4, true, true), (5, true, false), (6, false, false)]);
    }

    #[test]
    fn lists_are_bounded_and_the_rest_is_counted() {
        let mut found = Found::default();
        (0..BLOCKS_MAX as u64 + 5).for_each(|hour| found.note(Where::There, &place(hour, 1)));
        (0..IDS_MAX).for_each(|_| found.note(Where::Here, &place(3, 7)));
        let report = found.into_report(None, None);
        assert_eq!((report.blocks.len(), report.beyond), (BLOCKS_MAX, 5));
        let listed: usize = report.blocks.iter().map(|b| b.only_here.ids.len() + b.only_there.ids.len()).sum();
        let counted: u64 = report.blocks.iter().map(|b| b.only_here.count + b.only_there.count).sum();
        assert_eq!((listed, counted), (IDS_MAX, (BLOCKS_MAX + IDS_MAX) as u64));
    }

    /// Going on where a report says so lists everything once, and comes to an end.
    #[test]
    fn what_goes_beyond_one_report_is_told_by_the_next() {
        let mut places: Vec<Place> = (10..10 + 2 * BLOCKS_MAX as u64).map(|hour| place(hour, 1)).collect();
        // More in one block than a report has room for, and more than is left behind another.
        places.extend((0..IDS_MAX + 9).map(|_| place(9, 2)));
        places.extend((0..IDS_MAX - 5).map(|_| place(700, 3)));
        places.sort_unstable();
        let (mut from, mut listed, mut told) = (0, std::collections::BTreeMap::new(), 0);
        loop {
            let mut found = Found::from_block(from);
            places.iter().for_each(|place| found.note(Where::There, place));
            let report = found.into_report(None, None);
            for block in &report.blocks {
                let most = listed.entry(block.number).or_insert(0);
                *most = block.only_there.ids.len().max(*most);
            }
            told += 1;
            let Some(next) = report.next else { break };
            assert!(next > from, "{next} after {from}");
            from = next;
        }
        let all: usize = listed.values().sum();
        assert_eq!((listed.len(), all), (1 + 2 * BLOCKS_MAX, places.len() - 9), "in {told} reports");
        assert!(told < 10, "{told}");
    }

    #[test]
    fn what_came_meanwhile_is_no_difference() {
        let mut found = Found::default();
        found.note(Where::There, &place(1, 1));
        found.note(Where::There, &place(2, 2));
        found.settle(Where::There, |id| Ok::<_, ()>(id.as_bytes() == &[1; 32])).unwrap();
        let report = found.into_report(None, None);
        assert_eq!(report.blocks.iter().map(|block| block.number).collect::<Vec<_>>(), [2]);
    }
}
