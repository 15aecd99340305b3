//! Parts of the assembly: how often a long start says how far it is, and the peer key on a disk that fails.

use super::*;
use crate::testing::at_any_call;

#[test]
fn progress_is_told_after_a_second_and_then_each_second() {
    let start = Instant::now();
    let mut pace = Pace::new(start);
    let told: Vec<u64> = (0..50).filter(|tenth| pace.is_due(start + Duration::from_millis(tenth * 100))).collect();
    assert_eq!(told, [10, 20, 30, 40]);
}

fn paths(home: &Path) -> Paths {
    Paths::new(Some(home.to_owned()), "dev").unwrap()
}

fn key(home: &Path) -> Outcome<String> {
    peer_key(&paths(home)).map(|key| key.peer_id())
}

#[test]
fn a_new_peer_key_is_on_disk_before_it_is_used() {
    let look = |home: &Path, made: Outcome<String>, _| {
        // With what was left there, the next start has a key, and the same one if it was used already.
        let next = key(home).unwrap();
        assert_eq!(key(home).unwrap(), next);
        assert!(made.is_err() || made.unwrap() == next);
    };
    at_any_call(&|home| paths(home).create().unwrap(), &key, &look);
}

#[test]
fn a_peer_key_that_cannot_be_read_is_not_replaced() {
    let bytes = [7; 32];
    let prepare = |home: &Path| {
        paths(home).create().unwrap();
        std::fs::write(paths(home).peer_key(), bytes).unwrap();
    };
    let look = |home: &Path, read: Outcome<String>, _| {
        assert_eq!(std::fs::read(paths(home).peer_key()).unwrap(), bytes);
        assert!(read.is_err() || read.unwrap() == key(home).unwrap());
    };
    at_any_call(&prepare, &key, &look);
}
