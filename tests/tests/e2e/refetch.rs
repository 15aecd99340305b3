//! Damage to a stopped node's bodies is found by the running one, and mended from a peer.

use std::{fs, time::Duration};

use crate::harness::{Node, body_files, copy, damage_bodies, node_with_relay, run, wait_for, wait_for_agreement};

const PATIENCE: Duration = Duration::from_secs(120);

fn mended(node: &Node, id: &str, repaired: u64) {
    wait_for("the body", PATIENCE, || {
        let status = node.json(&["status"]);
        let there = node.json(&["show", id])["body"] == "present";
        (there && status["bodies_repaired"].as_u64() >= Some(repaired) && status["bodies_wanted"] == 0).then_some(())
    });
}

#[test]
fn a_damaged_body_comes_back_from_a_peer() {
    let home = tempfile::tempdir().unwrap();
    let (a, mut b) = node_with_relay(home.path());
    let id = a.send(&a.address, "worth keeping");
    wait_for("it on the relay", PATIENCE, || run(&b.data, &["show", &id]).status.success().then_some(()));
    wait_for_agreement(&[&a, &b], PATIENCE);
    b.stop();
    damage_bodies(&b);
    assert!(!run(&b.data, &["audit", "verify"]).status.success(), "the damage is found");
    b.start(&[&a]);
    mended(&b, &id, 1);
    b.stop();
    let verdict = run(&b.data, &["--json", "audit", "verify"]);
    assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stdout));
}

#[test]
fn lost_files_of_bodies_come_back_from_a_peer() {
    let home = tempfile::tempdir().unwrap();
    let (a, mut b) = node_with_relay(home.path());
    let id = a.send(&a.address, "worth keeping");
    wait_for("it on the relay", PATIENCE, || run(&b.data, &["show", &id]).status.success().then_some(()));
    let count = wait_for_agreement(&[&a, &b], PATIENCE).2;
    b.stop();
    let lost = body_files(&b);
    assert!(!lost.is_empty());
    lost.iter().for_each(|path| fs::remove_file(path).unwrap());
    b.start(&[&a]);
    mended(&b, &id, count);
    b.stop();
    let verdict = run(&b.data, &["--json", "audit", "verify"]);
    assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stdout));
}

/// A wallet that met an envelope of its own whose body is damaged shows the message once the body came from a peer.
#[test]
fn a_message_with_a_damaged_body_is_read_after_it_came_back() {
    let home = tempfile::tempdir().unwrap();
    let (mut a, mut b) = node_with_relay(home.path());
    let (wallet, before) = (a.data.join("dev/wallet"), home.path().join("wallet-before"));
    // The card, and so the seal key, is made while the node runs: the copy must have it.
    wait_for("the card on the relay", PATIENCE, || (b.view().2 == 1).then_some(()));
    a.stop();
    copy(&wallet, &before);
    a.start(&[&b]);
    let id = a.send(&a.address, "worth waiting for");
    a.wait_for_text("worth waiting for", PATIENCE);
    wait_for("it on the relay", PATIENCE, || run(&b.data, &["show", &id]).status.success().then_some(()));
    wait_for_agreement(&[&a, &b], PATIENCE);
    a.stop();
    b.stop();
    // A wallet that has not scanned the message yet, and a ledger in which it cannot be read.
    fs::remove_dir_all(&wallet).unwrap();
    copy(&before, &wallet);
    damage_bodies(&a);
    let log = home.path().join("a-alone.log");
    a.log_to(log.clone());
    a.start(&[]);
    let said =
        || fs::read_to_string(&log).unwrap().contains("envelopes for this wallet are damaged or missing").then_some(());
    wait_for("a word on the damage", PATIENCE, said);
    assert_eq!(a.texts(), [""; 0]);
    // It is still remembered after a restart.
    a.stop();
    a.start(&[]);
    b.start(&[&a]);
    a.wait_for_text("worth waiting for", PATIENCE);
    assert_eq!(a.texts().len(), 1);
}
