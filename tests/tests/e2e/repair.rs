//! A log with a damaged record: it is set aside, what is whole of it goes into a new one, and peers send the rest.

use std::{fs, time::Duration};

use crate::harness::{PATIENCE, json, node_with_relay, run, wait_for, wait_for_agreement};

#[test]
fn a_damaged_log_is_set_aside_and_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let (mut a, mut b) = node_with_relay(home.path());
    let own = a.address.clone();
    let texts: Vec<String> = (0..6).map(|n| format!("kept {n}")).collect();
    texts.iter().for_each(|text| drop(a.send(&own, text)));
    wait_for("ledger", PATIENCE, || (a.view().2 == 7).then_some(()));
    wait_for_agreement(&[&a, &b], PATIENCE);
    let before = a.view();
    let intact = serde_json::json!({ "repaired": false, "transactions": 7, "waiting": 0, "set_aside": null });

    // By hand, on the relay.
    b.stop();
    assert_eq!(json(&b.data, &["ledger", "repair"]), intact);
    damage(&b.data);
    let repaired = json(&b.data, &["ledger", "repair"]);
    assert_eq!(repaired["repaired"], true);
    let saved = repaired["transactions"].as_u64().unwrap();
    assert!((1..7).contains(&saved), "{repaired}");
    assert!(b.data.join("dev/ledger.damaged-1/headers").is_dir(), "the old one is kept");
    assert!(run(&b.data, &["audit", "verify"]).status.success());
    b.start(&[&a]);
    wait_for_agreement(&[&a, &b], PATIENCE);

    // By itself, at the start of the node with the wallet.
    a.stop();
    damage(&a.data);
    assert!(!run(&a.data, &["audit", "verify"]).status.success());
    a.start(&[&b]);
    wait_for_agreement(&[&a, &b], PATIENCE);
    assert_eq!((a.view().0, a.view().2), (before.0, before.2));
    let log = fs::read_to_string(a.log()).unwrap();
    assert!(log.contains("the ledger was damaged") && log.contains("ledger.damaged-1"), "it says what it did");
    // The wallet scans the new log from its start, and shows nothing twice.
    a.send(&own, "and on it goes");
    a.wait_for_text("and on it goes", Duration::from_secs(30));
    assert_eq!(a.texts().len(), texts.len() + 1);
    assert!(run(&a.data, &["audit", "verify"]).status.success());
}

/// Flips a bit of a record in the middle of the first header segment.
fn damage(data: &std::path::Path) {
    let path = data.join("dev/ledger/headers/0000000000000000.seg");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(path, bytes).unwrap();
}
