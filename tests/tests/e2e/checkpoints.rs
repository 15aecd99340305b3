//! What nodes sign, show and compare: `audit log` and `audit compare`, between real processes.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

use crate::harness::{Node, copy, files, node_with_relay, run, wait_for, wait_for_agreement};

/// Checkpoints are exchanged on contact, and after a few seconds where there was none yet.
const EXCHANGE: Duration = Duration::from_secs(120);

fn peer_id(of: &Node, as_seen_by: &Node) -> String {
    let peers = wait_for("a peer", EXCHANGE, || {
        let peers = as_seen_by.json(&["peers"]);
        peers[0]["id"].is_string().then_some(peers)
    });
    assert_eq!(peers.as_array().unwrap().len(), 1, "{} has one peer", of.data.display());
    peers[0]["id"].as_str().unwrap().to_owned()
}

/// The newest checkpoint of a peer that a node shows, once it speaks of at least so many transactions.
fn wait_for_checkpoint(node: &Node, peer: &str, transactions: u64) -> Value {
    wait_for(&format!("checkpoint of {transactions} transactions"), EXCHANGE, || {
        let log = node.json(&["audit", "log"]);
        let found = log["received"].as_array().unwrap().iter().find(|one| one["peer"] == peer).cloned()?;
        (found["transactions"].as_u64().unwrap() >= transactions).then_some(found)
    })
}

/// The exit code of a comparison and what it says.
fn compare(node: &Node, peer: &str) -> (i32, Value) {
    let output = run(&node.data, &["--json", "audit", "compare", peer]);
    let found = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no comparison: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), found)
}

#[test]
fn two_nodes_exchange_checkpoints_and_are_equal() {
    let home = tempfile::tempdir().unwrap();
    let (mut a, mut b) = node_with_relay(home.path());
    let (_, _, count) = wait_for("a transaction", EXCHANGE, || {
        let view = wait_for_agreement(&[&a, &b], EXCHANGE);
        (view.2 > 0).then_some(view)
    });
    let (id_of_a, id_of_b) = (peer_id(&a, &b), peer_id(&b, &a));
    let seen_by_b = wait_for_checkpoint(&b, &id_of_a, 1);
    let seen_by_a = wait_for_checkpoint(&a, &id_of_b, 1);
    assert_ne!(seen_by_a["log"], seen_by_b["log"]);
    assert_eq!(b.json(&["audit", "log"])["contradictions"], Value::Array(vec![]));
    assert_eq!(a.json(&["audit", "log"])["own"]["peer"], id_of_a.as_str());

    // By the whole id, and by a beginning of it.
    for peer in [&id_of_b[..], &id_of_b[..20]] {
        let (code, found) = compare(&a, peer);
        assert_eq!((code, &found["equal"], &found["peer"]), (0, &Value::from(true), &Value::from(&*id_of_b)));
        assert_eq!(found["count_here"].as_u64(), Some(count));
    }
    assert_eq!(run(&a.data, &["audit", "compare", "../x"]).status.code(), Some(2));
    assert_eq!(run(&a.data, &["audit", "compare", &id_of_a]).status.code(), Some(1), "nobody is its own peer");

    // All that are kept, the newest among them.
    let (newest, all) = (b.json(&["audit", "log"]), b.json(&["audit", "log", "--all"]));
    let list = |log: &Value, name: &str| log[name].as_array().unwrap().clone();
    assert_eq!((list(&newest, "own_kept"), &list(&all, "own_kept")[0]), (vec![], &all["own"]));
    assert!(list(&newest, "received").iter().all(|one| list(&all, "received").contains(one)), "{all:#}");

    // Without a running node the same is read from the files, and a restart contradicts nothing.
    let before = b.json(&["audit", "log"])["received"].clone();
    b.stop();
    assert_eq!(b.json(&["audit", "log"])["received"], before);
    assert_eq!(b.json(&["audit", "log", "--all"])["received"], all["received"]);
    a.stop();
    b.start(&[]);
    a.start(&[&b]);
    wait_for_checkpoint(&b, &id_of_a, seen_by_b["transactions"].as_u64().unwrap());
    a.stop();
    assert_eq!(b.json(&["audit", "log"])["contradictions"], Value::Array(vec![]));
}

#[test]
fn what_an_island_cannot_get_is_named_block_by_block() {
    let home = tempfile::tempdir().unwrap();
    let (mut a, mut b) = node_with_relay(home.path());
    let (_, _, count) = wait_for("a transaction", EXCHANGE, || {
        let view = wait_for_agreement(&[&a, &b], EXCHANGE);
        (view.2 > 0).then_some(view)
    });
    a.stop();
    b.stop();
    // Headers whose bodies are lost here: nobody may take them in before their lifetime ends.
    for body in files(&b.data.join("dev/ledger/bodies")) {
        if body.extension().is_some_and(|ending| ending == "seg") {
            fs::remove_file(body).unwrap();
        }
    }
    let mut island = Node::relay(home.path(), "island");
    b.start(&[]);
    island.start(&[&b]);
    let peer = peer_id(&island, &b);
    let (code, found) = compare(&b, &peer);
    assert_eq!((code, &found["equal"]), (1, &Value::from(false)));
    let only = |side: &str| -> u64 {
        found["blocks"].as_array().unwrap().iter().map(|block| block[side]["count"].as_u64().unwrap()).sum()
    };
    assert_eq!((only("only_here"), only("only_there")), (count, 0), "{found:#}");
    let text = String::from_utf8(run(&b.data, &["audit", "compare", &peer]).stdout).unwrap();
    assert!(text.contains("only here") && text.contains("block "), "{text}");
}

/// Sends to itself, and waits until the transaction is in the ledger.
fn grow(node: &Node, text: &str) {
    let id = node.send(&node.address, text);
    wait_for("it in the ledger", EXCHANGE, || (node.json(&["show", &id])["place"] == "ledger").then_some(()));
}

fn restore(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    copy(from, to);
}

#[test]
fn a_node_that_goes_on_from_an_old_copy_is_found_out() {
    let home = tempfile::tempdir().unwrap();
    let (mut a, b) = node_with_relay(home.path());
    grow(&a, "one");
    let id_of_a = peer_id(&a, &b);
    a.stop();
    let old = home.path().join("old");
    copy(&a.data, &old);
    // What everyone knows.
    a.start(&[&b]);
    grow(&a, "two");
    let count = a.view().2;
    a.stop();
    a.start(&[&b]);
    wait_for_checkpoint(&b, &id_of_a, count);
    a.stop();
    // And another story for somebody else.
    restore(&old, &a.data);
    let mut c = Node::relay(home.path(), "c");
    c.start(&[]);
    a.start(&[&c]);
    grow(&a, "another two");
    a.stop();
    a.start(&[&b]);
    let found = wait_for("evidence", EXCHANGE, || {
        let log = b.json(&["audit", "log"]);
        log["contradictions"].get(0).cloned()
    });
    assert_eq!((&found["peer"], &found["convinces"]), (&Value::from(&*id_of_a), &Value::from(true)), "{found:#}");
    assert_ne!(found["first"]["link"], found["second"]["link"]);
    let text = String::from_utf8(run(&b.data, &["audit", "log"]).stdout).unwrap();
    assert!(text.starts_with("contradiction of peer") && text.contains(&id_of_a), "{text}");
    // Said once in the log of the node, by the peer's id alone.
    let said = fs::read_to_string(b.log()).unwrap().matches("checkpoints contradict each other").count();
    assert_eq!(said, 1);
    // The restored node itself goes on with the copy that it has.
    assert!(!fs::read_to_string(a.log()).unwrap().contains("does not continue"));
}

#[test]
fn a_node_whose_ledger_alone_is_an_old_copy_signs_no_more() {
    let home = tempfile::tempdir().unwrap();
    let (mut a, b) = node_with_relay(home.path());
    grow(&a, "one");
    a.stop();
    let old = home.path().join("old");
    copy(&a.data.join("dev/ledger"), &old);
    a.start(&[&b]);
    grow(&a, "two");
    let count = a.view().2;
    // Signed, by the next start at the latest.
    a.stop();
    a.start(&[&b]);
    wait_for("an own checkpoint", EXCHANGE, || {
        (a.json(&["audit", "log"])["own"]["transactions"].as_u64() >= Some(count)).then_some(())
    });
    a.stop();
    let verified = |node: &Node| run(&node.data, &["audit", "verify"]);
    let verdict = a.json(&["audit", "verify"]);
    assert_eq!((&verdict["intact"], &verdict["own_transactions"]), (&Value::from(true), &Value::from(count)));
    restore(&old, &a.data.join("dev/ledger"));
    // Sound in itself, but not what this node has signed.
    let found = verified(&a);
    assert_eq!(found.status.code(), Some(1));
    let (text, advice) = (String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&found.stderr));
    assert!(text.contains(&format!("stated {count} transactions")) && text.contains("older copy"), "{text}");
    assert!(advice.contains("qasedak ledger repair"), "{advice}");
    a.start(&[]);
    wait_for("a refusal", EXCHANGE, || {
        fs::read_to_string(a.log()).unwrap().contains("does not continue what this node has signed").then_some(())
    });
    assert_eq!(b.json(&["audit", "log"])["contradictions"], Value::Array(vec![]));
    // What helps: a log of its own, in which the node signs again.
    a.stop();
    assert_eq!(a.json(&["ledger", "repair"])["repaired"], true);
    assert!(verified(&a).status.success());
    a.start(&[&b]);
    wait_for_agreement(&[&a, &b], EXCHANGE);
    wait_for("an own checkpoint", EXCHANGE, || {
        (a.json(&["audit", "verify"])["own_transactions"].as_u64() >= Some(count)).then_some(())
    });
    assert_eq!(b.json(&["audit", "log"])["contradictions"], Value::Array(vec![]));
}
