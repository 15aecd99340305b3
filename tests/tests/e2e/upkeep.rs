//! `ledger check` and `ledger rebuild-index` on a stopped node's files; a running node keeps them out.

use std::time::Duration;

use crate::harness::{json, node_with_relay, run, wait_for};

#[test]
fn an_index_is_checked_and_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let (mut a, b) = node_with_relay(home.path());
    let own = a.address.clone();
    a.send(&own, "kept");
    a.wait_for_text("kept", Duration::from_secs(30));
    wait_for("ledger", Duration::from_secs(30), || (a.view().2 == 2).then_some(()));
    for command in ["check", "rebuild-index"] {
        let refused = run(&a.data, &["ledger", command]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("in use"), "{command} beside a running node");
    }
    let before = a.view();
    a.stop();

    let agrees = serde_json::json!({
        "agrees": true, "transactions": 2, "contradiction": null, "damaged": false, "notices": [],
    });
    assert_eq!(json(&a.data, &["ledger", "check"]), agrees);
    assert_eq!(json(&a.data, &["ledger", "rebuild-index"]), agrees);
    let set_aside = a.data.join("dev").join("ledger").join("index.damaged-1");
    assert!(set_aside.is_dir(), "the old index is kept");
    assert_eq!(json(&a.data, &["ledger", "check"]), agrees);
    // sled lost, whole: the next start derives it from the log.
    std::fs::remove_dir_all(a.data.join("dev").join("ledger").join("index")).unwrap();
    a.start(&[&b]);
    assert_eq!(a.view(), before);
    assert_eq!(a.texts(), ["kept"]);
}
