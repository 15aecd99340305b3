//! The disk fails at any call while a file for others is made: it is whole and on disk, or not there, and the next try makes
//! it.

use std::fs;

use qasedak_chain::store::disk::faults::{Faults, Kind};

use super::*;
use crate::testing::at_any_call;

fn proof() -> String {
    "a line of a proof\n".repeat(400)
}

#[test]
fn a_file_for_others_is_whole_or_not_there_and_can_be_made_again() {
    let text = proof();
    let write = |file: &mut NewFile| file.write_all(text.as_bytes()).map_err(Failure::failed);
    let make = |home: &Path| {
        must_be_free(&home.join("proof"))?;
        make_new(&home.join("proof"), write)
    };
    let look = |home: &Path, made: Outcome, lasting: bool| {
        let path = home.join("proof");
        match made {
            Ok(()) => assert_eq!(fs::read_to_string(&path).unwrap(), text),
            Err(error) => {
                assert!(error.to_string().contains(&path.parent().unwrap().display().to_string()), "no path: {error}");
                assert!(!error.to_string().contains("exists already"), "{error}");
                // A disk that does not come back lets nothing be removed either.
                if lasting && path.exists() {
                    fs::remove_file(&path).unwrap();
                }
                make(home).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), text);
            }
        }
    };
    at_any_call(&|_| (), &make, &look);
}

#[test]
fn a_file_for_others_is_synced_with_its_directory() {
    let home = tempfile::tempdir().unwrap();
    let faults = Faults::below(home.path());
    make_new(&home.path().join("proof"), |file| file.write_all(b"x").map_err(Failure::failed)).unwrap();
    let syncs = faults.syncs();
    assert_eq!(syncs.get(&home.path().join("proof")), Some(&1));
    faults.fail_once(2, Kind::LostSync);
    assert!(make_new(&home.path().join("other"), |_| Ok(())).is_err(), "the directory is synced too");
    assert!(!home.path().join("other").exists());
}

#[test]
fn what_is_there_is_not_touched() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("proof");
    fs::write(&path, "mine").unwrap();
    for refused in [must_be_free(&path), make_new(&path, |_| Ok(()))] {
        assert!(refused.unwrap_err().to_string().contains("exists already"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}

#[test]
fn what_fills_it_can_fail_too() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("proof");
    let made = make_new(&path, |file| {
        file.write_all(b"half").map_err(Failure::failed)?;
        Err::<(), _>(Failure::failed("the ledger cannot be read"))
    });
    assert_eq!(made.unwrap_err().to_string(), "the ledger cannot be read");
    assert!(!path.exists());
}
