//! An index on a damaged disk: what opens answers.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say by panicking that something is wrong")]

use std::fs;

use super::*;
use crate::store::disk::notice::Notice;

/// Enough for many of sled's pages.
const ENTRIES: usize = 4_000;
/// Places that are damaged, one by one.
const PLACES: usize = 64;
const LOG: [u8; 16] = [7; 16];

fn open(path: &Path, notices: &Notices) -> Index {
    Index::open(path.to_owned(), LOG, 1, true, notices).unwrap()
}

/// An index with entries, written and closed.
fn make(path: &Path) {
    let mut index = Index::open(path.to_owned(), LOG, 1, false, &Notices::default()).unwrap();
    for part in 0..4 {
        let entry = |n: u32| Change::put(Tree::Blocks, n.to_be_bytes().to_vec(), n.to_le_bytes().repeat(18));
        index.stage((0..ENTRIES as u32).filter(|n| n % 4 == part).map(entry).collect(), false);
        let write = index.take(part.into()).unwrap();
        write.apply().unwrap();
        index.applied(&write, true);
    }
    index.close();
    drop(index);
    // sled notes where its pages lie when it is opened.
    drop(open(path, &Notices::default()));
}

/// sled reads a page when something in it is asked for, and knows from a file of its own where pages lie. So it opens what a
/// power cut or a bad sector has left of them. What opens here can be read whole, or was set aside.
#[test]
fn what_opens_can_be_read_whole() {
    let home = tempfile::tempdir().unwrap();
    let whole = home.path().join("whole");
    make(&whole);
    let bytes = fs::read(whole.join("db")).unwrap();
    let sector = |n: usize| n * bytes.len() / PLACES..(n * bytes.len() / PLACES + 512).min(bytes.len());
    let zeroed = |n: usize| {
        let mut damaged = bytes.clone();
        damaged[sector(n)].fill(0);
        damaged
    };
    let cut = |n: usize| bytes[..sector(n).start].to_vec();
    let damaged = (0..PLACES).map(zeroed).chain((1..PLACES).map(cut));
    let (mut set_aside, mut kept) = (0, 0);
    for (nth, bytes) in damaged.enumerate() {
        let path = home.path().join(format!("damaged-{nth}")).join("index");
        copy(&whole, &path);
        fs::write(path.join("db"), bytes).unwrap();
        let notices = Notices::default();
        let index = open(&path, &notices);
        let pairs = index.range(Tree::Blocks, &[], &[0xff; 5], usize::MAX);
        match (pairs.as_ref().map(Vec::len), &notices.all()[..]) {
            (Ok(0), [Notice::SetAside { .. }]) => set_aside += 1,
            (Ok(ENTRIES), []) => kept += 1,
            other => unreachable!("damage {nth}: {other:?}"),
        }
    }
    assert!(set_aside > PLACES && kept > 0, "{set_aside} set aside, {kept} kept");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
