//! Point 3: what was sent while a node was off reaches it from the others, once each, when the sender is gone.

use std::time::Duration;

use crate::harness::{Node, wait_for, wait_for_agreement};

const MESSAGES: usize = 200;

#[test]
fn two_hundred_messages_reach_a_node_that_was_off_from_others_than_their_sender() {
    let home = tempfile::tempdir().unwrap();
    let mut a = Node::with_wallet(home.path(), "a");
    let mut b = Node::relay(home.path(), "b");
    let mut e = Node::with_wallet(home.path(), "e");
    b.start(&[]);
    a.start(&[&b]);
    e.start(&[&b]);
    a.json(&["contact", "add", "Ehsan", &e.address]);
    // A stranger may have no more than a few messages wait.
    e.json(&["contact", "add", "Ann", &a.address]);
    a.send("Ehsan", "before you go");
    e.wait_for_text("before you go", Duration::from_secs(30));
    e.stop();

    let texts: Vec<String> = (0..MESSAGES).map(|n| format!("message {n}")).collect();
    texts.iter().for_each(|text| drop(a.send("Ehsan", text)));
    // A may go once the others have everything: that is what an empty outbox says.
    wait_for("empty outbox", Duration::from_secs(30), || (a.json(&["status"])["outbox"] == 0).then_some(()));
    wait_for_agreement(&[&a, &b], Duration::from_secs(30));
    a.stop();

    e.start(&[&b]);
    wait_for("200 messages", Duration::from_secs(60), || (e.texts().len() > MESSAGES).then_some(()));
    let mut got = e.texts();
    assert_eq!(got.remove(0), "before you go");
    got.sort();
    let mut sent = texts;
    sent.sort();
    assert_eq!(got, sent, "each once, none lost");
    wait_for_agreement(&[&b, &e], Duration::from_secs(30));
}
