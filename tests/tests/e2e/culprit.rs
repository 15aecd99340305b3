//! `peers` names who was provably at fault, and what they did.

use std::time::Duration;

use qasedak_chain::Network;
use qasedak_p2p::wire;

use crate::{
    frames,
    harness::{Node, run, wait_for},
    manners::Manners,
    rogue::Rogue,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Asks a question that is none, and says who did, once that had its consequence.
async fn break_the_protocol(node: &Node) -> String {
    let (address, network) = (node.listening().parse().unwrap(), Network::dev());
    let rogue = Rogue::connect(&address, &network, Manners::default()).await.unwrap();
    rogue.ask(&wire::sync_protocol(&network), &frames::sync(&[0xff; 64])).await.ok();
    assert!(rogue.fate.clone().ends_within(PATIENCE).await, "the culprit is still connected");
    // Nor is it let in again.
    let again = Rogue::connect_as(rogue.key.clone(), &address, &network, Manners::default()).await;
    if let Ok(again) = again {
        assert!(again.fate.clone().ends_within(PATIENCE).await, "the culprit is let in again");
    }
    rogue.key.public().to_peer_id().to_string()
}

#[test]
fn a_culprit_is_shown_with_its_reason() {
    let home = tempfile::tempdir().unwrap();
    let mut node = Node::relay(home.path(), "a");
    node.start(&[]);
    let text = |args: &[&str]| String::from_utf8(run(&node.data, args).stdout).unwrap();
    assert_eq!(text(&["peers", "--refused"]), "no peer is refused\n");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let culprit = runtime.block_on(break_the_protocol(&node));
    let refused = wait_for("the culprit", PATIENCE, || {
        let refused = node.json(&["peers", "--refused"]);
        (!refused.as_array().unwrap().is_empty()).then_some(refused)
    });
    assert_eq!(refused.as_array().unwrap().len(), 1, "{refused}");
    assert_eq!((&refused[0]["id"], &refused[0]["reason"]), (&culprit.clone().into(), &REASON.into()));
    assert!(refused[0]["since"].as_u64() < refused[0]["until"].as_u64(), "{refused}");
    for args in [&["peers"][..], &["peers", "--refused"]] {
        let said = text(args);
        let line = said.lines().find(|line| line.starts_with(&culprit)).unwrap_or_default();
        assert!(line.contains("refused until ") && line.ends_with(REASON), "{said}");
    }
}

const REASON: &str = "broke the framing of a protocol";
