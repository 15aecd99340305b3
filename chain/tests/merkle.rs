//! Merkle trees against the recursive definitions of RFC 9162 §2.1, written out once more below: roots, paths and what
//! verifies (`docs/protocol.md`, "Merkle trees and proofs").

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::cell::Cell;

use proptest::prelude::*;
use qasedak_chain::{
    LedgerId, Root, TxId,
    hash::{Context, hash},
    merkle::{
        self, Accumulator, CONSISTENCY_MAX, INCLUSION_MAX, Nodes, OutOfTree, PathError, Tree, verify_consistency,
        verify_inclusion,
    },
};

type Hash = [u8; 32];

/// All sizes up to this one are tried with all indices and all older sizes.
const SIZE_MAX: u64 = 130;
const LEDGER: LedgerId = LedgerId::from_bytes([7; 32]);

/// Section 2.1, word for word, over leaf data.
mod naive {
    use super::{Context, Hash, LEDGER, hash};

    pub fn leaf(data: &[u8]) -> Hash {
        hash(Context::Merkle, &[LEDGER.as_bytes(), &[0], data])
    }

    pub fn node(left: &Hash, right: &Hash) -> Hash {
        hash(Context::Merkle, &[LEDGER.as_bytes(), &[1], left, right])
    }

    /// "k is the largest power of two smaller than n (i.e., k < n <= 2k)".
    fn k(n: usize) -> usize {
        let mut k = 1;
        while 2 * k < n {
            k *= 2;
        }
        k
    }

    /// 2.1.1: MTH(D_n).
    pub fn mth(d: &[Hash]) -> Hash {
        match d {
            [] => hash(Context::Merkle, &[LEDGER.as_bytes()]),
            [only] => leaf(only),
            _ => node(&mth(&d[..k(d.len())]), &mth(&d[k(d.len())..])),
        }
    }

    /// 2.1.3.1: PATH(m, D_n).
    pub fn path(m: usize, d: &[Hash]) -> Vec<Hash> {
        let n = d.len();
        if n == 1 {
            return Vec::new();
        }
        let k = k(n);
        if m < k {
            [path(m, &d[..k]), vec![mth(&d[k..])]].concat()
        } else {
            [path(m - k, &d[k..]), vec![mth(&d[..k])]].concat()
        }
    }

    /// 2.1.4.1: PROOF(m, D_n) = SUBPROOF(m, D_n, true).
    pub fn proof(m: usize, d: &[Hash]) -> Vec<Hash> {
        subproof(m, d, true)
    }

    fn subproof(m: usize, d: &[Hash], b: bool) -> Vec<Hash> {
        let n = d.len();
        if m == n {
            return if b { Vec::new() } else { vec![mth(d)] };
        }
        let k = k(n);
        if m <= k {
            [subproof(m, &d[..k], b), vec![mth(&d[k..])]].concat()
        } else {
            [subproof(m - k, &d[k..], false), vec![mth(&d[..k])]].concat()
        }
    }
}

fn data(count: u64) -> Vec<Hash> {
    (0..count).map(|n| hash(Context::Id, &[&n.to_le_bytes()])).collect()
}

fn roots(data: &[Hash]) -> Vec<Root> {
    (0..=data.len()).map(|len| Root::from_bytes(naive::mth(&data[..len]))).collect()
}

fn included(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Root) -> bool {
    verify_inclusion(LEDGER, merkle::leaf(LEDGER, leaf), index, size, path, root)
}

/// Counts what is read of a tree, and lets nothing be read beyond `size`.
struct Counting<'a> {
    tree: &'a Tree,
    size: u64,
    reads: Cell<u32>,
}

impl<'a> Counting<'a> {
    fn new(tree: &'a Tree, size: u64) -> Self {
        Self { tree, size, reads: Cell::new(0) }
    }
}

impl Nodes for Counting<'_> {
    type Error = OutOfTree;
    fn node(&self, level: u32, index: u64) -> Result<Hash, OutOfTree> {
        assert!((index + 1) << level <= self.size, "{level}, {index} is not within {} leaves", self.size);
        self.reads.set(self.reads.get() + 1);
        self.tree.node(level, index)
    }
}

/// ceil(log2(size)), at least 1.
fn log2(size: u64) -> u32 {
    size.next_power_of_two().ilog2().max(1)
}

#[test]
fn trees_and_accumulators_have_the_root_of_the_definition() {
    let data = data(SIZE_MAX);
    let roots = roots(&data);
    let whole = Tree::of(LEDGER, &data);
    let (mut tree, mut accumulator) = (Tree::new(LEDGER), Accumulator::new(LEDGER));
    for (len, root) in roots.iter().enumerate() {
        let size = len as u64;
        assert_eq!((tree.root(), tree.len(), tree.is_empty()), (*root, size, size == 0));
        assert_eq!((accumulator.root(), accumulator.len()), (*root, size));
        let counting = Counting::new(&whole, size);
        assert_eq!(merkle::root_of(LEDGER, &counting, size), Ok(*root), "the root of a prefix of {len}");
        assert_eq!(counting.reads.get(), size.count_ones());
        if let Some(next) = data.get(len) {
            tree.push(next);
            accumulator.push(&TxId::from_bytes(*next));
        }
    }
    let ids: Vec<TxId> = data.iter().map(|bytes| TxId::from_bytes(*bytes)).collect();
    assert_eq!(merkle::root(LEDGER, &ids), tree.root());
    assert_eq!(Tree::of_ids(LEDGER, &ids), tree);
    assert_eq!(tree.root_of(SIZE_MAX + 1), Err(OutOfTree { level: 0, index: SIZE_MAX }));
}

#[test]
fn every_inclusion_path_is_that_of_the_definition_and_verifies_for_its_leaf_alone() {
    let data = data(SIZE_MAX);
    let roots = roots(&data);
    let tree = Tree::of(LEDGER, &data);
    for size in 1..=SIZE_MAX {
        let some = &data[..size as usize];
        let root = &roots[size as usize];
        for index in 0..size {
            let counting = Counting::new(&tree, size);
            let path = merkle::inclusion_path(LEDGER, &counting, index, size).unwrap();
            assert_eq!(path, naive::path(index as usize, some), "{index} of {size}");
            assert!(counting.reads.get() <= 2 * log2(size), "{} reads of {size}", counting.reads.get());
            let leaf = &some[index as usize];
            assert!(included(leaf, index, size, &path, root), "{index} of {size}");
            // No other index, no other leaf, no other root.
            for other in 0..size + 2 {
                assert!(other == index || !included(leaf, other, size, &path, root), "{index} as {other} of {size}");
            }
            assert!(!included(&[0xff; 32], index, size, &path, root));
            assert!(!included(leaf, index, size, &path, &roots[size as usize - 1]));
        }
    }
}

#[test]
fn every_consistency_path_is_that_of_the_definition_and_verifies_for_its_sizes_alone() {
    let data = data(SIZE_MAX);
    let roots = roots(&data);
    let tree = Tree::of(LEDGER, &data);
    for new in 0..=SIZE_MAX {
        for old in 0..=new {
            let counting = Counting::new(&tree, new);
            let path = merkle::consistency_path(LEDGER, &counting, old, new).unwrap();
            if old > 0 {
                assert_eq!(path, naive::proof(old as usize, &data[..new as usize]), "{old} to {new}");
            }
            assert!(counting.reads.get() <= 2 * log2(new.max(1)), "{} reads of {new}", counting.reads.get());
            let (old_root, new_root) = (&roots[old as usize], &roots[new as usize]);
            assert!(verify_consistency(LEDGER, old, old_root, new, new_root, &path), "{old} to {new}");
            // Another root at either end, the sizes swapped, and every other older size with its true root.
            let wrong = Root::from_bytes([1; 32]);
            assert!(!verify_consistency(LEDGER, old, &wrong, new, new_root, &path));
            // Whatever the newer root is, its tree begins with the empty one.
            assert_eq!(verify_consistency(LEDGER, old, old_root, new, &wrong, &path), old == 0 && new != 0);
            assert!(old == new || !verify_consistency(LEDGER, new, new_root, old, old_root, &path));
            for other in (1..=new).filter(|other| *other != old) {
                let verdict = verify_consistency(LEDGER, other, &roots[other as usize], new, new_root, &path);
                // The empty path is that of the sizes 0 and `new` as well.
                assert!(!verdict || (path.is_empty() && other == new), "{old} as {other} to {new}");
            }
        }
    }
}

#[test]
fn what_is_not_in_the_tree_has_no_path_and_errors_of_the_source_come_through() {
    let tree = Tree::of(LEDGER, data(5));
    assert_eq!(tree.inclusion_path(5, 5), Err(PathError::OutOfRange { at: 5, size: 5 }));
    assert_eq!(tree.inclusion_path(0, 0), Err(PathError::OutOfRange { at: 0, size: 0 }));
    assert_eq!(tree.consistency_path(6, 5), Err(PathError::OutOfRange { at: 6, size: 5 }));
    assert_eq!(tree.inclusion_path(0, 6), Err(PathError::Nodes(OutOfTree { level: 1, index: 2 })));
    assert_eq!(tree.consistency_path(4, 6), Err(PathError::Nodes(OutOfTree { level: 1, index: 2 })));
    assert_eq!(tree.node(64, 0), Err(OutOfTree { level: 64, index: 0 }));
}

#[test]
fn paths_longer_than_any_tree_has_are_refused() {
    let root = Root::from_bytes([3; 32]);
    let long = vec![[0; 32]; INCLUSION_MAX + 1];
    assert!(!verify_inclusion(LEDGER, [0; 32], u64::MAX - 1, u64::MAX, &long, &root));
    let long = vec![[0; 32]; CONSISTENCY_MAX + 1];
    assert!(!verify_consistency(LEDGER, u64::MAX - 1, &root, u64::MAX, &root, &long));
}

/// A source of the greatest trees there can be: every perfect subtree of a level has the same root.
struct Endless;

impl Nodes for Endless {
    type Error = OutOfTree;
    fn node(&self, level: u32, _: u64) -> Result<Hash, OutOfTree> {
        Ok((0..level).fold(naive::leaf(b"leaf"), |below, _| naive::node(&below, &below)))
    }
}

#[test]
fn the_greatest_trees_have_paths_within_the_bounds() {
    for size in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) + 1] {
        let root = merkle::root_of(LEDGER, &Endless, size).unwrap();
        for index in [0, 1, size / 2, size - 2, size - 1] {
            let path = merkle::inclusion_path(LEDGER, &Endless, index, size).unwrap();
            assert!(path.len() <= INCLUSION_MAX);
            assert!(verify_inclusion(LEDGER, naive::leaf(b"leaf"), index, size, &path, &root), "{index} of {size}");
            let old = index.max(1);
            let old_root = merkle::root_of(LEDGER, &Endless, old).unwrap();
            let path = merkle::consistency_path(LEDGER, &Endless, old, size).unwrap();
            assert!(path.len() <= CONSISTENCY_MAX);
            assert!(verify_consistency(LEDGER, old, &old_root, size, &root, &path), "{old} to {size}");
        }
    }
}

/// On which side each sibling of a path stands: what the bare root of a tree binds of index and size.
fn sides(m: usize, n: usize) -> Vec<bool> {
    let (mut start, mut end, mut sides) = (0, n, Vec::new());
    while end - start > 1 {
        let k = (end - start).next_power_of_two() / 2;
        sides.push(m < start + k);
        if m < start + k { end = start + k } else { start += k }
    }
    sides
}

#[derive(Clone, Debug)]
enum Change {
    Flip(usize, usize),
    Drop(usize),
    Repeat(usize),
    Swap(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), 0..256usize).prop_map(|(at, bit)| Change::Flip(at, bit)),
        any::<usize>().prop_map(Change::Drop),
        any::<usize>().prop_map(Change::Repeat),
        any::<usize>().prop_map(Change::Swap),
    ]
}

fn changed(path: &[Hash], change: &Change) -> Vec<Hash> {
    let mut path = path.to_vec();
    let len = path.len().max(1);
    match *change {
        _ if path.is_empty() => path.push([0; 32]),
        Change::Flip(at, bit) => path[at % len][bit / 8] ^= 1 << (bit % 8),
        Change::Drop(at) => drop(path.remove(at % len)),
        Change::Repeat(at) => path.insert(at % len, path[at % len]),
        Change::Swap(at) => path.swap(at % len, (at + 1) % len),
    }
    path
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Larger trees: paths are those of the definition, read O(log n) nodes, verify, and verify no more once changed.
    #[test]
    fn larger_trees(size in 2..3_000u64, at in any::<u64>(), change in change()) {
        let data = data(size);
        let tree = Tree::of(LEDGER, &data);
        let root = tree.root();
        prop_assert_eq!(root.as_bytes(), &naive::mth(&data));
        let index = at % size;
        let counting = Counting::new(&tree, size);
        let path = merkle::inclusion_path(LEDGER, &counting, index, size).unwrap();
        prop_assert!(counting.reads.get() <= 2 * log2(size));
        prop_assert_eq!(&path, &naive::path(index as usize, &data));
        let leaf = &data[index as usize];
        prop_assert!(included(leaf, index, size, &path, &root));
        let other = changed(&path, &change);
        prop_assert!(other == path || !included(leaf, index, size, &other, &root));

        let old = 1 + at % (size - 1);
        let old_root = tree.root_of(old).unwrap();
        let counting = Counting::new(&tree, size);
        let path = merkle::consistency_path(LEDGER, &counting, old, size).unwrap();
        prop_assert!(counting.reads.get() <= 2 * log2(size));
        prop_assert_eq!(&path, &naive::proof(old as usize, &data));
        prop_assert!(verify_consistency(LEDGER, old, &old_root, size, &root, &path));
        let other = changed(&path, &change);
        prop_assert!(other == path || !verify_consistency(LEDGER, old, &old_root, size, &root, &other));
    }

    /// A root binds index and size only as far as they say on which side the siblings stand; size and root must come
    /// from one statement.
    #[test]
    fn another_size_verifies_only_with_the_same_turns(size in 1..300u64, other in 1..300u64, a in any::<u64>(), b in any::<u64>()) {
        let data = data(size);
        let tree = Tree::of(LEDGER, &data);
        let (index, elsewhere) = (a % size, b % other);
        let path = tree.inclusion_path(index, size).unwrap();
        let verdict = included(&data[index as usize], elsewhere, other, &path, &tree.root());
        let same = sides(index as usize, size as usize) == sides(elsewhere as usize, other as usize);
        prop_assert_eq!(verdict, same);
    }

    /// Cutting and replacing the tail leaves the tree that was built from what stands there now.
    #[test]
    fn a_replaced_tail_leaves_the_tree_of_what_is_there_now(len in 0..200u64, from in 0..220u64, more in 0..100u64) {
        let (first, second) = (data(len), data(300));
        let mut tree = Tree::of(LEDGER, &first);
        let tail = &second[200..200 + more as usize];
        tree.replace_tail(from, tail);
        let kept = first.iter().take(from as usize);
        let expected: Vec<Hash> = kept.chain(tail).copied().collect();
        prop_assert_eq!(&tree, &Tree::of(LEDGER, &expected));
        prop_assert_eq!(tree.root(), Root::from_bytes(naive::mth(&expected)));
        tree.truncate(from / 2);
        prop_assert_eq!(tree, Tree::of(LEDGER, expected.iter().take(from as usize / 2)));
    }
}
