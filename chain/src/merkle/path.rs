//! Roots and paths out of any source of perfect subtrees: RFC 9162 §2.1.1, §2.1.3.1 and §2.1.4.1.
//!
//! A subtree is *perfect* when it has 2^level leaves; it never changes again once it is complete. Every range that the
//! recursions of the RFC meet begins at a multiple of a power of two that is not below its length, so that it is a row of
//! perfect subtrees of falling size. A path leaves the ragged right edge of the tree at most once, hence the bound on
//! reads: at most 64 for a root, and twice as many for a path.

use crate::ids::{LedgerId, Root};

use super::{empty, node};

/// A source of the roots of perfect subtrees.
pub trait Nodes {
    /// Why a node cannot be read.
    type Error;

    /// Root of the perfect subtree over the leaves from `index·2^level` up to, but not including, `(index+1)·2^level`;
    /// level 0 is the leaf hash. Only asked for subtrees that lie wholly within the size that the caller named.
    ///
    /// # Errors
    /// The source's own, when it cannot be read or does not reach that far.
    fn node(&self, level: u32, index: u64) -> Result<[u8; 32], Self::Error>;
}

impl<N: Nodes + ?Sized> Nodes for &N {
    type Error = N::Error;
    fn node(&self, level: u32, index: u64) -> Result<[u8; 32], Self::Error> {
        (**self).node(level, index)
    }
}

/// Why there is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError<E> {
    /// There is no such leaf, or the older size is above the newer.
    #[error("no such path: {at} is not within a tree of {size} leaves; ask for one that is")]
    OutOfRange {
        /// The leaf's index, or the older size.
        at: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// A node could not be read.
    #[error(transparent)]
    Nodes(#[from] E),
}

/// Root over the first `size` leaves.
///
/// # Errors
/// The source's own.
pub fn root_of<N: Nodes>(ledger: LedgerId, nodes: &N, size: u64) -> Result<Root, N::Error> {
    range(ledger, nodes, 0, size).map(Root::from_bytes)
}

/// `PATH(index, D[size])` of RFC 9162 §2.1.3.1: from the leaf's sibling up.
///
/// # Errors
/// [`PathError::OutOfRange`] unless `index < size`; [`PathError::Nodes`] when the source fails.
pub fn inclusion_path<N: Nodes>(
    ledger: LedgerId,
    nodes: &N,
    index: u64,
    size: u64,
) -> Result<Vec<[u8; 32]>, PathError<N::Error>> {
    if index >= size {
        return Err(PathError::OutOfRange { at: index, size });
    }
    let mut path = Vec::new();
    let mut part = Part { start: 0, len: size };
    while let Some((left, right)) = part.split() {
        let sibling = if index < right.start { right } else { left };
        part = if index < right.start { left } else { right };
        path.push(range(ledger, nodes, sibling.start, sibling.len)?);
    }
    path.reverse();
    Ok(path)
}

/// `PROOF(old, D[new])` of RFC 9162 §2.1.4.1: that the tree of `new` leaves begins with that of `old`. Where nothing
/// needs to be shown, since `old` is 0 or equals `new`, the path is empty.
///
/// # Errors
/// [`PathError::OutOfRange`] unless `old <= new`; [`PathError::Nodes`] when the source fails.
pub fn consistency_path<N: Nodes>(
    ledger: LedgerId,
    nodes: &N,
    old: u64,
    new: u64,
) -> Result<Vec<[u8; 32]>, PathError<N::Error>> {
    if old > new {
        return Err(PathError::OutOfRange { at: old, size: new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let mut path = Vec::new();
    let mut part = Part { start: 0, len: new };
    // "SUBPROOF(m, D[m], false)" adds the old tree's last part itself; with "true", that part is the whole old tree,
    // which the verifier knows.
    let mut whole = true;
    while old != part.end() {
        let Some((left, right)) = part.split() else {
            break;
        };
        let sibling = if old <= right.start { right } else { left };
        whole &= old <= right.start;
        part = if old <= right.start { left } else { right };
        path.push(range(ledger, nodes, sibling.start, sibling.len)?);
    }
    if !whole {
        path.push(range(ledger, nodes, part.start, part.len)?);
    }
    path.reverse();
    Ok(path)
}

/// A run of leaves that is a subtree of its own.
#[derive(Clone, Copy)]
struct Part {
    start: u64,
    len: u64,
}

impl Part {
    fn end(self) -> u64 {
        self.start.saturating_add(self.len)
    }
    /// Left and right subtree: "k is the largest power of two smaller than n". `None` for a leaf.
    fn split(self) -> Option<(Part, Part)> {
        let k = 1 << self.len.checked_sub(1)?.checked_ilog2()?;
        let right = Part { start: self.start.saturating_add(k), len: self.len.saturating_sub(k) };
        Some((Part { start: self.start, len: k }, right))
    }
}

/// `MTH` over `len` leaves from `start` on. `start` is a multiple of a power of two that is not below `len`.
fn range<N: Nodes>(ledger: LedgerId, nodes: &N, start: u64, len: u64) -> Result<[u8; 32], N::Error> {
    let mut right: Option<[u8; 32]> = None;
    let mut rest = len;
    // From the smallest perfect subtree, which stands last, to the largest.
    while rest != 0 {
        let level = rest.trailing_zeros();
        rest &= rest.wrapping_sub(1);
        let left = nodes.node(level, start.saturating_add(rest) >> level)?;
        right = Some(right.map_or(left, |right| node(ledger, &left, &right)));
    }
    Ok(right.unwrap_or_else(|| empty(ledger)))
}
