//! Nodes whose bodies went, for their age or early, and an archive: what they show, what an audit says of them, and what
//! a new node gets from them.

use std::{path::Path, time::SystemTime};

use qasedak_chain::{Ledger, Network, Time, TxId, retention::Keep, store::disk::DiskStore};
use serde_json::{Value, json};

use crate::harness::{Node, PATIENCE, json as print, run, wait_for, wait_for_agreement};

#[path = "../../../chain/tests/support/pool.rs"]
mod pool;

/// Transactions whose bodies' day has come, and as many whose lifetime has an hour to go.
const EACH: u64 = 12;
/// Header segments and parts of bodies are this small, so that there are many.
const SEGMENT_BYTES: u64 = 1_500;

/// A ledger as a node left it, with bodies kept by `keep` up to the last flush. Returns all ids, the old ones first.
fn make_ledger(node: &Node, keep: Keep) -> Vec<TxId> {
    let dev = Network::dev();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 60 * 60;
    let store = DiskStore::open_with_segments(&node.data.join("dev/ledger"), &dev, [4; 16], SEGMENT_BYTES).unwrap();
    let mut ledger = Ledger::open(dev.clone(), store).unwrap();
    let mut ids: Vec<TxId> = Vec::new();
    for nth in 0..2 * EACH {
        let parents = ids.last().map_or(vec![dev.genesis()], |last| vec![*last]);
        let old = dev.start().secs() + nth * 60;
        let time = if nth < EACH { old } else { now - 600 };
        let made = pool::make(&dev, nth, &parents, time);
        ledger.append(pool::verified(&dev, &made), Time::from_secs(time), false).unwrap();
        ids.push(made.id());
    }
    ledger.flush_now(Time::from_secs(now)).unwrap();
    ledger.keep_bodies(keep);
    while !ledger.prune(Time::from_secs(now)).unwrap().is_nothing() {}
    ids
}

/// An audit that finds nothing wrong; how many bodies are here, past their day, expired, dropped early, never came.
fn audited(data: &Path) -> [u64; 5] {
    let verdict = print(data, &["audit", "verify"]);
    assert_eq!(verdict["intact"], true, "{verdict}");
    let count = |name: &str| verdict[name].as_u64().unwrap();
    ["bodies", "bodies_past_their_day", "bodies_expired", "bodies_dropped_early", "bodies_never_came"].map(count)
}

/// Waits until what has just arrived is on the disk, too: an audit reads nothing else.
fn wait_until_audited(data: &Path, expected: [u64; 5]) {
    wait_for("the files to hold it", PATIENCE, || (audited(data) == expected).then_some(()));
}

fn body_of(node: &Node, id: &TxId) -> String {
    node.json(&["show", &id.to_string()])["body"].as_str().unwrap().to_owned()
}

fn retention(node: &Node) -> Value {
    node.json(&["status"])["retention"].clone()
}

#[test]
fn an_archive_keeps_what_other_nodes_drop_and_a_new_node_gets_the_headers() {
    let home = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (Node::relay(home.path(), "a"), Node::relay(home.path(), "b"));
    let ids = make_ledger(&a, Keep::Archive);
    std::fs::write(a.data.join("config.toml"), "archive = true\n").unwrap();
    a.start(&[]);
    assert_eq!(
        retention(&a),
        json!({ "archive": true, "budget": null, "next": null, "next_early": null, "early_until": null })
    );
    assert_eq!((body_of(&a, &ids[0]).as_str(), body_of(&a, &ids[12]).as_str()), ("present", "present"));
    assert_eq!(audited(&a.data), [2 * EACH, EACH, 0, 0, 0]);
    a.stop();

    // The same node without the setting: at its start, what is past its day goes.
    std::fs::write(a.data.join("config.toml"), "bodies_budget = '300 MB'\n").unwrap();
    a.start(&[]);
    wait_for("bodies to go", PATIENCE, || (body_of(&a, &ids[0]) == "expired").then_some(()));
    assert_eq!(audited(&a.data), [EACH, 0, EACH, 0, 0]);
    let status = a.json(&["status"]);
    assert_eq!(status["retention"]["budget"], 300_000_000);
    assert_eq!(status["retention"]["next"]["bytes"], status["disk"]["bodies"]);
    let early = &status["retention"]["next_early"];
    assert_eq!(early["left"].as_u64().unwrap() + status["disk"]["bodies"].as_u64().unwrap(), 300_000_000);
    assert_eq!(early["day"], status["retention"]["next"]["day"]);
    let next = status["retention"]["next"]["day"].as_u64().unwrap();
    assert!(
        next.is_multiple_of(86_400) && next > print(&a.data, &["show", &ids[12].to_string()])["time"].as_u64().unwrap()
    );

    b.start(&[&a]);
    assert_eq!(wait_for_agreement(&[&a, &b], PATIENCE).2, 2 * EACH);
    wait_until_audited(&b.data, [EACH, 0, 0, 0, EACH]);
    let text = String::from_utf8(run(&a.data, &["status"]).stdout).unwrap();
    for part in
        ["headers", "bodies", "scan column", "index", "outbox", "of at most 286.1 MiB", "next to go", "more fit"]
    {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[test]
fn bodies_that_went_early_are_told_of_and_their_headers_reach_a_new_node() {
    let home = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (Node::relay(home.path(), "a"), Node::relay(home.path(), "b"));
    let ids = make_ledger(&a, Keep::Budget(5_000));
    let [kept, 0, EACH, early, 0] = audited(&a.data) else {
        panic!("{:?}", audited(&a.data));
    };
    assert!(early > 0 && kept + early == EACH, "{kept} kept, {early} early");
    let text = String::from_utf8(run(&a.data, &["audit", "verify"]).stdout).unwrap();
    assert!(text.contains("dropped to keep to the disk budget"), "{text}");

    a.start(&[]);
    assert!(retention(&a)["early_until"].as_u64().is_some());
    assert_eq!((body_of(&a, &ids[0]).as_str(), body_of(&a, &ids[12]).as_str()), ("expired", "dropped early"));
    let text = String::from_utf8(run(&a.data, &["show", &ids[12].to_string()]).stdout).unwrap();
    assert!(text.contains("dropped early (disk budget)"), "{text}");
    let text = String::from_utf8(run(&a.data, &["status"]).stdout).unwrap();
    assert!(text.contains("dropped early  bodies that were to go up to"), "{text}");

    // A new node gets the headers of what expired and, since nobody has the bodies, of what went early; and what builds on
    // that, whole.
    b.start(&[&a]);
    assert_eq!(wait_for_agreement(&[&a, &b], PATIENCE).2, 2 * EACH);
    assert_eq!(a.json(&["peers"]).as_array().unwrap().len(), 1);
    wait_until_audited(&b.data, [kept, 0, 0, 0, EACH + early]);
}

#[test]
fn contradictory_settings_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::relay(home.path(), "a");
    for (args, says) in [
        (&["run", "--no-wallet", "--archive", "--bodies-budget", "1GiB"][..], "--bodies-budget"),
        (&["run", "--no-wallet", "--bodies-budget", "5MB"], "256 MiB"),
        (&["run", "--no-wallet", "--bodies-budget", "much"], "20GiB"),
    ] {
        let output = run(&node.data, args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(says), "{told}");
    }
    std::fs::create_dir_all(&node.data).unwrap();
    std::fs::write(node.data.join("config.toml"), "bodies_budget = '1 GiB'\n").unwrap();
    let output = run(&node.data, &["run", "--no-wallet", "--archive"]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}
