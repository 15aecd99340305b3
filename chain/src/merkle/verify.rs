//! The judgement over paths from others: RFC 9162 §2.1.3.2 and §2.1.4.2, step by step.
//!
//! A path is judged against a size and a root that must come from one trusted statement (a checkpoint, or a leaf of the
//! tree of blocks, which hold both): a root alone does not tell how many leaves stand below it, and a path to a leaf of
//! three may pass for one to the same leaf of four. Bounded work: a path longer than any tree can have is refused before
//! anything is hashed.

use crate::ids::{LedgerId, Root};

use super::{empty, node};

/// Most hashes of an inclusion path: one per level of a tree of 2^64 leaves.
pub const INCLUSION_MAX: usize = 64;
/// Most hashes of a consistency path: those of an inclusion path and the node that it starts from.
pub const CONSISTENCY_MAX: usize = 65;

/// Whether `path` leads from a leaf hash at `index` to the root of a tree of `size` leaves.
pub fn verify_inclusion(
    ledger: LedgerId,
    leaf: [u8; 32],
    index: u64,
    size: u64,
    path: &[[u8; 32]],
    root: &Root,
) -> bool {
    let Some(last) = size.checked_sub(1) else {
        return false;
    };
    if path.len() > INCLUSION_MAX || index > last {
        return false;
    }
    let mut turns = Turns { first: index, last };
    let mut hash = leaf;
    for sibling in path {
        match turns.next() {
            Some(Turn::Left) => hash = node(ledger, sibling, &hash),
            Some(Turn::Right) => hash = node(ledger, &hash, sibling),
            None => return false,
        }
    }
    turns.last == 0 && &hash == root.as_bytes()
}

/// Whether the tree of `new` leaves with `new_root` begins with the tree of `old` leaves with `old_root`.
///
/// Every tree begins with the empty one, and with itself; these two have empty paths.
pub fn verify_consistency(
    ledger: LedgerId,
    old: u64,
    old_root: &Root,
    new: u64,
    new_root: &Root,
    path: &[[u8; 32]],
) -> bool {
    if path.len() > CONSISTENCY_MAX || old > new {
        return false;
    }
    if old == new {
        return path.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return path.is_empty() && old_root.as_bytes() == &empty(ledger);
    }
    // "If first is an exact power of 2, then prepend first_hash to the consistency_path array."
    let (start, rest) = match path.split_first() {
        None => return false,
        Some(_) if old.is_power_of_two() => (*old_root.as_bytes(), path),
        Some((start, rest)) => (*start, rest),
    };
    let (first, last) = (old.saturating_sub(1), new.saturating_sub(1));
    let skip = first.trailing_ones();
    let shift = |n: u64| n.checked_shr(skip).unwrap_or(0);
    let mut turns = Turns { first: shift(first), last: shift(last) };
    let (mut old_hash, mut new_hash) = (start, start);
    for sibling in rest {
        match turns.next() {
            Some(Turn::Left) => {
                old_hash = node(ledger, sibling, &old_hash);
                new_hash = node(ledger, sibling, &new_hash);
            }
            Some(Turn::Right) => new_hash = node(ledger, &new_hash, sibling),
            None => return false,
        }
    }
    turns.last == 0 && &old_hash == old_root.as_bytes() && &new_hash == new_root.as_bytes()
}

/// On which side the next sibling stands.
enum Turn {
    Left,
    Right,
}

/// `fn` and `sn` of the RFC: the way from a node to the root.
struct Turns {
    first: u64,
    last: u64,
}

impl Turns {
    /// One step up; `None` at the root.
    fn next(&mut self) -> Option<Turn> {
        if self.last == 0 {
            return None;
        }
        let turn = if self.first & 1 == 1 || self.first == self.last {
            // "If LSB(fn) is not set, then right-shift both fn and sn equally until either LSB(fn) is set or fn is 0."
            if self.first != 0 {
                let skip = self.first.trailing_zeros();
                self.first >>= skip;
                self.last >>= skip;
            }
            Turn::Left
        } else {
            Turn::Right
        };
        self.first >>= 1;
        self.last >>= 1;
        Some(turn)
    }
}
