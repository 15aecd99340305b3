//! A node that joins late says how far catching up is, in `status`, in words and as JSON, and in the log of `run`; and
//! when it is killed in the middle it goes on where it was.

use std::{fs, path::Path};

use qasedak_chain::{Ledger, Network, Transaction, rules::Verified, store::disk::DiskStore};
use serde_json::Value;

use crate::{
    fixture,
    harness::{Node, PATIENCE, run, wait_for, wait_for_agreement},
};

/// Transactions that the late one lacks, with stamps that are kept in the repository. A few thousand are there before
/// a command has looked.
const COUNT: usize = fixture::COUNT;
/// So many are there when its peer falls silent, at least.
const BEGUN: usize = 500;

/// A ledger as a node left it.
fn fill(dir: &Path) {
    let dev = Network::dev();
    let now = dev.start().plus(31 * 86_400);
    let store = DiskStore::open(dir, &dev, [1; 16]).unwrap();
    let mut ledger = Ledger::open(dev.clone(), store).unwrap();
    for bytes in fixture::first(&dev, COUNT) {
        let transaction = Transaction::from_bytes(&dev, &bytes).unwrap();
        ledger.append(Verified::unchecked(transaction), now, false).unwrap();
    }
    ledger.flush_now(now).unwrap();
}

fn number(value: &Value) -> Option<usize> {
    value.as_u64()?.try_into().ok()
}

fn transactions(status: &Value) -> usize {
    number(&status["transactions"]).unwrap()
}

/// What came and what is to come, while catching up shows in `status`.
fn sync(status: &Value) -> Option<(usize, usize)> {
    let sync = status.get("sync")?;
    number(&sync["gained"]).zip(number(&sync["left"]))
}

/// Whether the log says how far it is.
fn said(late: &Node) -> bool {
    let log = fs::read_to_string(late.log()).unwrap();
    log.lines().any(|line| line.contains("catching up") && line.contains("at_least_left"))
}

#[test]
fn a_late_joiner_says_how_far_it_is_and_goes_on_where_it_was_killed() {
    let home = tempfile::tempdir().unwrap();
    let (mut full, mut late) = (Node::relay(home.path(), "full"), Node::relay(home.path(), "late"));
    fill(&full.data.join("dev/ledger"));
    full.start(&[]);
    late.start(&[&full]);
    let begun = || {
        let status = late.json(&["status"]);
        (transactions(&status) >= BEGUN && sync(&status).is_some()).then_some(status)
    };
    let seen = transactions(&wait_for("catching up in status", PATIENCE, begun));
    // From here on nothing comes until it has been looked at; for ten seconds an answer is waited for.
    full.signal("STOP");
    let status = late.json(&["status"]);
    let text = String::from_utf8(run(&late.data, &["status"]).stdout).unwrap();
    let (gained, left) = sync(&status).unwrap_or_else(|| panic!("no catching up in {status}"));
    assert!(gained >= BEGUN && left > 0 && gained + left <= COUNT, "{status}");
    assert_eq!((&status["syncing"], &status["sync"]["peers"]), (&true.into(), &1.into()));
    assert!(text.contains("catching up from 1: ") && text.contains(" to come"), "{text}");
    wait_for("catching up in the log", PATIENCE, || said(&late).then_some(()));

    late.kill();
    late.start(&[&full]);
    // Its peer is still silent.
    let kept = transactions(&late.json(&["status"]));
    assert!(kept >= seen && kept < COUNT, "{kept} of {seen} are there after the kill");
    full.signal("CONT");
    let under_way = || sync(&late.json(&["status"])).filter(|(gained, _)| *gained > 0);
    let (gained, left) = wait_for("catching up again", PATIENCE, under_way);
    assert!(gained + left <= COUNT - kept, "{gained} and {left} of the {} that it lacks", COUNT - kept);
    assert_eq!(wait_for_agreement(&[&full, &late], PATIENCE).2, COUNT as u64);
    wait_for("the end of it in status", PATIENCE, || sync(&late.json(&["status"])).is_none().then_some(()));
}
