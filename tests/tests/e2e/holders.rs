//! Where a sent message stands, from the postage to the receipt: waiting, on so many peers, delivered.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Node, run, wait_for};

/// Peers compare what they hold every 20 seconds, and a peer that was lost is dialled again within a minute.
const PATIENCE: Duration = Duration::from_secs(120);

fn last(node: &Node) -> Value {
    let page = node.json(&["history", "Bob"]);
    page["entries"].as_array().unwrap().last().unwrap().clone()
}

fn wait_for_peers(node: &Node, count: u64) {
    wait_for(&format!("message on {count} peers"), PATIENCE, || {
        let said = last(node);
        (said["state"] == "out" && said["peers"] == count).then_some(())
    });
}

fn shown(node: &Node, args: &[&str]) -> String {
    String::from_utf8(run(&node.data, args).stdout).unwrap()
}

#[test]
fn a_message_is_on_as_many_peers_as_say_so() {
    let home = tempfile::tempdir().unwrap();
    let mut a = Node::with_wallet(home.path(), "a");
    let mut b = Node::with_wallet(home.path(), "b");
    let mut relay = Node::relay(home.path(), "c");
    a.start(&[]);
    b.start(&[&a]);
    a.json(&["contact", "add", "Bob", &b.address]);
    a.send("Bob", "opens the way");
    b.wait_for_text("opens the way", PATIENCE);
    b.json(&["request", "accept", &a.address, "Ann"]);

    // Nobody is there.
    b.stop();
    wait_for("loneliness", PATIENCE, || a.json(&["peers"]).as_array().unwrap().is_empty().then_some(()));
    assert!(run(&a.data, &["send", "Bob", "who has this?"]).status.success());
    let waiting = &a.json(&["outbox"])[0];
    assert_eq!(
        (&waiting["state"], &waiting["to"], &waiting["peers"]),
        (&"waiting".into(), &"Bob".into(), &Value::Null)
    );
    assert_eq!((&last(&a)["state"], &last(&a)["peers"]), (&"waiting".into(), &Value::Null));

    b.start(&[&a]);
    wait_for_peers(&a, 1);
    assert!(shown(&a, &["history", "Bob"]).contains("on 1 peer "));
    relay.start(&[&a]);
    wait_for_peers(&a, 2);
    assert!(shown(&a, &["history", "Bob"]).contains("on 2 peers"));
    // Who goes away held it all the same.
    relay.stop();
    wait_for("one peer", PATIENCE, || (a.json(&["peers"]).as_array().unwrap().len() == 1).then_some(()));
    assert_eq!(last(&a)["peers"], 2);

    // Nothing of this is on disk: after a restart the count begins again.
    b.stop();
    a.stop();
    a.start(&[]);
    wait_for("count from the beginning", PATIENCE, || (last(&a)["peers"] == 0).then_some(()));
    assert!(shown(&a, &["history", "Bob"]).contains("on no peer that says so yet"));
    b.start(&[&a]);
    wait_for_peers(&a, 1);

    b.json(&["contact", "receipts", "Ann", "on"]);
    assert!(run(&a.data, &["send", "Bob", "and this?"]).status.success());
    let delivered = wait_for("receipt", PATIENCE, || Some(last(&a)).filter(|said| said["state"] == "delivered"));
    assert!(delivered["peers"].is_null() && delivered["delivered"].is_u64(), "{delivered}");
    assert_eq!(a.json(&["history", "Bob"])["entries"][1]["peers"], 1, "the one before is where it was");
}
