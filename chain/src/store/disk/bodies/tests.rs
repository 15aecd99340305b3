//! Body files against a model: whatever is reserved, written, dropped, crashed or opened again, in any order, a body
//! reads as what was written or as dropped, and the disk budget holds.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say by panicking that something is wrong")]

use std::{fs, path::Path};

use proptest::prelude::*;
use twox_hash::XxHash64;

use super::*;
use crate::{
    hash::{Context, hash_prefix},
    link::first_link,
    network::Network,
    store::disk::{
        faults::{Faults, Kind},
        segment::{FileHeader, FileKind},
    },
};

const LOG_ID: [u8; 16] = [3; 16];
/// A part ends with the first body that takes it this far.
const PART_BYTES: u64 = 2_000;
/// Bytes of the longest body, with its frame and id.
const LONGEST: u64 = 600 + 45;

fn open(dir: &Path) -> Bodies {
    Bodies::open(dir.join("bodies"), Network::dev().ledger(), LOG_ID, PART_BYTES).unwrap()
}

fn body(number: u8, len: usize) -> Vec<u8> {
    vec![number; len]
}

fn hash_of(number: u8, len: usize) -> [u8; 32] {
    crate::transaction::body_hash(&Network::dev(), &body(number, len))
}

fn id(number: u8) -> TxId {
    TxId::from_bytes([number; 32])
}

/// Writes and makes durable all that is reserved.
fn flush(bodies: &mut Bodies) {
    let result = bodies.take_writes().run();
    bodies.written(result.is_ok());
    result.unwrap();
}

/// Names and lengths of the part files.
fn part_files(dir: &Path) -> BTreeMap<Part, u64> {
    let files = fs::read_dir(dir.join("bodies")).unwrap().map(Result::unwrap);
    files
        .filter_map(|file| {
            let part = Part::from_file_name(file.file_name().to_str().unwrap())?;
            Some((part, file.metadata().unwrap().len()))
        })
        .collect()
}

#[derive(Clone, Debug)]
enum Step {
    Reserve {
        day: u64,
        len: usize,
    },
    Flush,
    /// A flush that writes all and then says that it failed, as when the records behind it could not be written.
    FailingFlush,
    /// A flush on its way while bodies are dropped.
    DropDuringFlush {
        day: u64,
    },
    DropBefore {
        day: u64,
    },
    DropOver {
        budget: u64,
    },
    /// What was not flushed is lost, and so are its places.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..9u64, 1..600usize).prop_map(|(day, len)| Step::Reserve { day, len }),
        4 => Just(Step::Flush),
        1 => Just(Step::FailingFlush),
        1 => (0..9u64).prop_map(|day| Step::DropDuringFlush { day }),
        1 => (0..9u64).prop_map(|day| Step::DropBefore { day }),
        2 => (0..20_000u64).prop_map(|budget| Step::DropOver { budget }),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..120)
}

/// What was given a place.
struct Kept {
    place: Place,
    number: u8,
    len: usize,
    durable: bool,
}

struct World {
    dir: tempfile::TempDir,
    bodies: Bodies,
    kept: Vec<Kept>,
    number: u8,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bodies = open(dir.path());
        Self { dir, bodies, kept: Vec::new(), number: 0 }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Reserve { day, len } => {
                self.number = self.number.wrapping_add(1);
                let place = self
                    .bodies
                    .reserve(day, id(self.number), hash_of(self.number, len), body(self.number, len))
                    .unwrap();
                assert!(u64::from(place.day) >= day && place.part() >= self.bodies.line.kept);
                assert!(self.kept.iter().all(|kept| kept.place != place), "a place is given once");
                self.kept.push(Kept { place, number: self.number, len, durable: false });
            }
            Step::Flush => {
                flush(&mut self.bodies);
                self.all_durable();
            }
            Step::FailingFlush => {
                self.bodies.take_writes().run().unwrap();
                self.bodies.written(false);
            }
            Step::DropDuringFlush { day } => {
                let writes = self.bodies.take_writes();
                self.bodies.drop_before(day).unwrap();
                writes.run().unwrap();
                // Run twice, it does the same.
                writes.run().unwrap();
                self.bodies.written(true);
                self.all_durable();
            }
            Step::DropBefore { day } => while self.bodies.drop_before(day).unwrap() > 0 {},
            Step::DropOver { budget } => self.drop_over(budget),
            Step::Crash => {
                self.bodies = open(self.dir.path());
                self.kept.retain(|kept| kept.durable);
            }
        }
    }

    fn all_durable(&mut self) {
        self.kept.iter_mut().for_each(|kept| kept.durable = true);
    }

    fn drop_over(&mut self, budget: u64) {
        loop {
            let before = self.bodies.bytes();
            let gone = self.bodies.drop_over(budget).unwrap();
            assert!(gone <= UNLINKS_MAX);
            if gone == 0 {
                break;
            }
            assert!(before > budget, "nothing goes that there is room for");
            // Not a part more than must: the last one that went was over the budget.
            assert!(self.bodies.bytes().saturating_add(PART_BYTES + LONGEST) > budget);
        }
        assert!(self.bodies.bytes() <= budget);
    }

    fn check(&self) {
        let line = self.bodies.line;
        assert_eq!(self.bodies.current_line().unwrap(), line);
        let on_disk = part_files(self.dir.path());
        assert!(on_disk.keys().all(|part| *part >= line.kept), "a dropped part has no file");
        assert!(on_disk.values().all(|len| *len < PART_BYTES + LONGEST), "{on_disk:?}");
        for (part, len) in &on_disk {
            assert!(self.bodies.parts.get(part) >= Some(len), "reserved room is counted");
        }
        for Kept { place, number, len, .. } in &self.kept {
            let found = self.bodies.read(*place, &id(*number), u32::try_from(*len).unwrap()).unwrap();
            if place.part() < line.kept {
                assert_eq!(found, Body::Dropped { day: place.day.into(), early: place.part() < line.early });
            } else {
                assert_eq!(found, Body::Present(vec![*number; *len]));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn bodies_read_as_written_or_dropped(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.check();
        }
        world.take(&Step::Crash);
        world.check();
    }

    /// The budget is kept before each flush, as the ledger does; so no flush leaves more on disk.
    #[test]
    fn no_flush_goes_beyond_the_budget(
        budget in 0..30_000u64,
        flushes in prop::collection::vec(prop::collection::vec((0..9u64, 1..600usize), 0..12), 1..40),
    ) {
        let mut world = World::new();
        for bodies in flushes {
            for (day, len) in bodies {
                world.take(&Step::Reserve { day, len });
            }
            world.drop_over(budget);
            world.take(&Step::Flush);
            let on_disk: u64 = part_files(world.dir.path()).values().sum();
            prop_assert!(on_disk <= budget, "{on_disk} of {budget}");
            world.check();
        }
    }
}

#[test]
fn a_day_is_split_into_parts_and_goes_part_by_part() {
    let mut world = World::new();
    (0..40).for_each(|_| world.take(&Step::Reserve { day: 7, len: 500 }));
    world.take(&Step::Reserve { day: 8, len: 500 });
    world.take(&Step::Flush);
    let names: Vec<String> = part_files(world.dir.path()).keys().map(|part| part.file_name()).collect();
    assert_eq!(names[..3], ["7.seg", "7-1.seg", "7-2.seg"]);
    assert_eq!(names.last().unwrap(), "8.seg");
    let used = world.bodies.usage();
    assert_eq!((used.next, used.early_until), (Some((7, used.bytes - 128 - 545)), None));
    let of_first = world.bodies.parts[&Part::first_of(7)];
    world.take(&Step::DropOver { budget: used.bytes - 1 });
    world.check();
    assert_eq!(world.bodies.usage().bytes, used.bytes - of_first);
    assert_eq!(world.bodies.usage().early_until, Some(7));
    // What comes for that day still finds room, behind the line.
    world.take(&Step::Reserve { day: 3, len: 500 });
    assert_eq!(world.kept.last().unwrap().place.day, 7);
    world.take(&Step::DropBefore { day: 8 });
    world.check();
    assert_eq!(world.bodies.usage().next, Some((8, 128 + 545)));
}

#[test]
fn one_call_unlinks_a_bounded_number_of_files() {
    let mut world = World::new();
    (0..200).for_each(|_| world.take(&Step::Reserve { day: 7, len: 500 }));
    world.take(&Step::Flush);
    let files = part_files(world.dir.path()).len();
    assert!(files > 2 * UNLINKS_MAX);
    assert_eq!(world.bodies.drop_before(8).unwrap(), UNLINKS_MAX);
    world.check();
    assert_eq!(world.bodies.drop_over(0).unwrap(), UNLINKS_MAX);
    world.check();
    while world.bodies.drop_before(8).unwrap() > 0 {}
    assert_eq!(part_files(world.dir.path()), BTreeMap::new());
    world.check();
}

/// The process dies between the line and the unlinking: the next start finishes it.
#[test]
fn files_before_the_line_are_removed_on_opening() {
    let mut world = World::new();
    (0..20).for_each(|n| world.take(&Step::Reserve { day: 7 + n / 10, len: 500 }));
    world.take(&Step::Flush);
    let dir = world.dir.path().join("bodies");
    let files: Vec<(std::path::PathBuf, Vec<u8>)> = part_files(world.dir.path())
        .keys()
        .map(|part| dir.join(part.file_name()))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    world.take(&Step::DropOver { budget: 3_000 });
    let line = world.bodies.line;
    assert!(line.early > Part::default() && part_files(world.dir.path()).len() < files.len());
    files.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    world.take(&Step::Crash);
    assert_eq!(world.bodies.line, line);
    world.check();
}

/// `DAY.seg` and `dropped` as they were written before there were parts, byte by byte.
#[test]
fn files_from_before_there_were_parts_are_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("bodies")).unwrap();
    let network = Network::dev();
    let head = |magic: &[u8], number: u64| {
        let ledger = network.ledger();
        let parts: [&[u8]; 7] =
            [magic, &[1, 0, 0, 0], ledger.as_bytes(), &LOG_ID, &number.to_le_bytes(), ledger.as_bytes(), &[0; 20]];
        let bytes = parts.concat();
        let check: [u8; 8] = hash_prefix(Context::Record, &[&bytes]);
        [&bytes[..], &check].concat()
    };
    let day_head = head(b"qasedakb", 7);
    let covered = [&537u32.to_le_bytes()[..], &[4], id(1).as_bytes(), &[1; 505]].concat();
    let check: [u8; 8] = hash_prefix(Context::Record, &[&day_head[..68], &128u64.to_le_bytes(), &covered]);
    fs::write(dir.path().join("bodies/7.seg"), [&day_head[..], &covered, &check].concat()).unwrap();
    fs::write(dir.path().join("bodies/6.seg"), head(b"qasedakb", 6)).unwrap();
    fs::write(dir.path().join("bodies/dropped"), head(b"qasedakd", 7)).unwrap();

    let mut bodies = open(dir.path());
    assert_eq!(bodies.line, Line { kept: Part::first_of(7), early: Part::default() });
    assert!(!dir.path().join("bodies/6.seg").exists());
    let place = Place { day: 7, offset: 128 };
    assert_eq!(bodies.read(place, &id(1), 505).unwrap(), Body::Present(vec![1; 505]));
    let next = bodies.reserve(7, id(2), hash_of(2, 505), body(2, 505)).unwrap();
    assert_eq!(next, Place { day: 7, offset: 128 + 13 + 537 });
    flush(&mut bodies);
    // What comes to a file of that format is written in it.
    let covered = [&537u32.to_le_bytes()[..], &[4], id(2).as_bytes(), &[2; 505]].concat();
    let check: [u8; 8] = hash_prefix(Context::Record, &[&day_head[..68], &678u64.to_le_bytes(), &covered]);
    assert_eq!(fs::read(dir.path().join("bodies/7.seg")).unwrap()[678..], [&covered[..], &check].concat());
    assert_eq!(open(dir.path()).read(next, &id(2), 505).unwrap(), Body::Present(vec![2; 505]));
    assert_eq!(bodies.drop_before(8).unwrap(), 1);
    // And what is written without early drops is what it was then.
    assert_eq!(fs::read(dir.path().join("bodies/dropped")).unwrap(), head(b"qasedakd", 8));
}

/// A file has its name, but the directory could not be made durable: the next attempt, which finds the file there, sees to it.
#[test]
fn a_name_is_durable_before_its_bodies_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut bodies = open(dir.path());
    let faults = Faults::below(dir.path());
    bodies.reserve(7, id(1), hash_of(1, 505), body(1, 505)).unwrap();
    faults.fail_once(2, Kind::LostSync);
    assert!(bodies.take_writes().run().is_err());
    bodies.written(false);
    faults.heal();
    let syncs_of_directory = || faults.syncs().get(&dir.path().join("bodies")).copied().unwrap_or_default();
    assert!(dir.path().join("bodies/7.seg").exists());
    let before = syncs_of_directory();
    flush(&mut bodies);
    assert_eq!(syncs_of_directory(), before + 1);
    // Only once.
    bodies.reserve(7, id(2), hash_of(2, 505), body(2, 505)).unwrap();
    flush(&mut bodies);
    assert_eq!(syncs_of_directory(), before + 1);
}

/// In format 2 the check of a body was a hash.
#[test]
fn files_whose_checks_are_hashes_go_on_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Network::dev().ledger();
    let link = first_link(ledger);
    let part = FileHeader { kind: FileKind::HashedBodies, ledger, log_id: LOG_ID, number: 7, link };
    let record = |offset: u64, n: u8| {
        let head = [&537u32.to_le_bytes()[..], &[4], id(n).as_bytes()].concat();
        let parts: [&[u8]; 4] = [&part.to_bytes()[..68], &offset.to_le_bytes(), &head, &hash_of(n, 505)];
        let check: [u8; 8] = hash_prefix(Context::Record, &parts);
        [&head[..], &[n; 505], &check].concat()
    };
    fs::create_dir(dir.path().join("bodies")).unwrap();
    let path = dir.path().join("bodies/7.seg");
    fs::write(&path, [part.to_bytes(), record(128, 1)].concat()).unwrap();
    let mut bodies = open(dir.path());
    let first = Place { day: 7, offset: 128 };
    assert_eq!(bodies.read(first, &id(1), 505).unwrap(), Body::Present(vec![1; 505]));
    let next = bodies.reserve(7, id(2), hash_of(2, 505), body(2, 505)).unwrap();
    flush(&mut bodies);
    assert_eq!(fs::read(&path).unwrap()[678..], record(678, 2));
    assert_eq!(open(dir.path()).read(next, &id(2), 505).unwrap(), Body::Present(vec![2; 505]));
}

/// The check of a body is over what stands before it and the hash that its header names, and so covers its every byte.
#[test]
fn a_body_is_checked_by_its_hash() {
    let dir = tempfile::tempdir().unwrap();
    let mut bodies = open(dir.path());
    let place = bodies.reserve(7, id(1), hash_of(1, 505), body(1, 505)).unwrap();
    let lie = bodies.reserve(7, id(2), hash_of(2, 504), body(2, 505)).unwrap();
    flush(&mut bodies);
    let bodies = open(dir.path());
    let path = dir.path().join("bodies/7.seg");
    let bytes = fs::read(&path).unwrap();
    assert_eq!((bytes[8], bytes.len()), (3, 128 + 2 * 550));
    let covered = [&537u32.to_le_bytes()[..], &[4], id(1).as_bytes(), &hash_of(1, 505)].concat();
    let check = XxHash64::oneshot(XxHash64::oneshot(128, &bytes[..68]), &covered).to_le_bytes();
    let record = [&537u32.to_le_bytes()[..], &[4], id(1).as_bytes(), &[1; 505], &check].concat();
    assert_eq!(bytes[128..678], record);
    assert_eq!(bodies.read(place, &id(1), 505).unwrap(), Body::Present(vec![1; 505]));
    // Another id, another length, another hash than the body's.
    assert!(bodies.read(place, &id(2), 505).is_err());
    assert!(bodies.read(place, &id(1), 504).is_err() && bodies.read(place, &id(1), 506).is_err());
    assert!(bodies.read(lie, &id(2), 505).is_err());
    for at in 128..678 {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, &changed).unwrap();
        assert!(bodies.read(place, &id(1), 505).is_err(), "byte {at}");
    }
}

#[test]
fn a_part_with_a_damaged_head_gets_no_more_bodies() {
    let mut world = World::new();
    world.take(&Step::Reserve { day: 7, len: 500 });
    world.take(&Step::Flush);
    let path = world.dir.path().join("bodies/7.seg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    world.take(&Step::Crash);
    world.take(&Step::Reserve { day: 7, len: 500 });
    world.take(&Step::Flush);
    let Kept { place, number, .. } = world.kept[1];
    assert_eq!(place.part().file_name(), "7-1.seg");
    assert_eq!(world.bodies.read(place, &id(number), 500).unwrap(), Body::Present(vec![number; 500]));
    assert!(world.bodies.read(world.kept[0].place, &id(world.kept[0].number), 500).is_err());
    assert_eq!(fs::read(&path).unwrap(), bytes);
}
