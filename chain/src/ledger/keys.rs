//! Keys of the index: big-endian, so that their byte order is the order that is wanted.

use crate::{
    ids::{Position, TxId},
    time::Time,
};

/// Key of the one entry in [`Tree::State`](crate::store::Tree::State).
pub(super) const STATE: &[u8] = b"state";

/// First byte of a tip's key in the frontier tree.
const TIP: u8 = 0;
/// First byte of a waiting transaction's key in the frontier tree.
const WAITING: u8 = 1;
/// First byte of the key of an own transaction that is held back, in the frontier tree.
const HELD_BACK: u8 = 2;

pub(super) fn read_u64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

pub(super) fn number(n: u64) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}

pub(super) fn tip(id: &TxId) -> Vec<u8> {
    [&[TIP], &id.as_bytes()[..]].concat()
}

/// A page of tips. Shorter than the key of one tip.
pub(super) fn tip_page(number: u64) -> Vec<u8> {
    [&[TIP], &number.to_be_bytes()[..]].concat()
}

/// The number of a page's key.
pub(super) fn read_tip_page(key: &[u8]) -> Option<u64> {
    read_u64(key.get(1..)?)
}

/// The id of a tip's key, or of one that is held back.
pub(super) fn read_id(key: &[u8]) -> Option<TxId> {
    let (_, id) = key.split_first()?;
    Some(TxId::from_bytes(id.try_into().ok()?))
}

pub(super) fn held_back(id: &TxId) -> Vec<u8> {
    [&[HELD_BACK], &id.as_bytes()[..]].concat()
}

/// All that are held back.
pub(super) const ALL_HELD_BACK: (&[u8], &[u8]) = (&[HELD_BACK], &[HELD_BACK + 1]);

/// All tips.
pub(super) const TIPS: (&[u8], &[u8]) = (&[TIP], &[WAITING]);

/// due | position.
pub(super) fn waiting(due: Time, position: Position) -> Vec<u8> {
    [&[WAITING], &due.secs().to_be_bytes()[..], &position.get().to_be_bytes()].concat()
}

/// All that are due at `now` or before.
pub(super) fn waiting_until(now: Time) -> (Vec<u8>, Vec<u8>) {
    (vec![WAITING], [&[WAITING], &now.plus(1).secs().to_be_bytes()[..]].concat())
}

/// Behind all that wait.
pub(super) const WAITING_END: &[u8] = &[HELD_BACK];

/// When a waiting transaction is due.
pub(super) fn read_due(key: &[u8]) -> Option<Time> {
    read_u64(key.get(1..9)?).map(Time::from_secs)
}

pub(super) fn read_waiting(key: &[u8]) -> Option<Position> {
    read_u64(key.get(9..)?).map(Position::new)
}
