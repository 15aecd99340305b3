//! Point 4: `kill -9` at any moment loses nothing that was acknowledged.
//!
//! Five random kills here; fifty with `QASEDAK_SOAK=1`.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::harness::{Node, run, seed, wait_for, wait_for_agreement};

#[test]
fn nothing_acknowledged_is_lost_when_nodes_are_killed_at_random() {
    let kills = if std::env::var_os("QASEDAK_SOAK").is_some() { 50 } else { 5 };
    let mut rng = StdRng::seed_from_u64(seed());
    let home = tempfile::tempdir().unwrap();
    let mut a = Node::with_wallet(home.path(), "a");
    let mut b = Node::with_wallet(home.path(), "b");
    b.start(&[]);
    a.start(&[&b]);
    // A stranger may have no more than a few messages wait.
    b.json(&["contact", "add", "a", &a.address]);
    a.send(&b.address, "ready");
    let mut acknowledged = vec![("ready".to_owned(), String::new())];

    for round in 0..kills {
        let wait = Duration::from_millis(rng.random_range(0..1_500));
        acknowledged.extend(send_until_killed(&mut a, &b.address, round, wait));
        // The receiver dies too, every other time, while it opens.
        if rng.random() {
            b.kill();
            b.start(&[]);
        }
        a.start(&[&b]);
    }

    wait_for("empty outbox", Duration::from_secs(60), || (a.json(&["status"])["outbox"] == 0).then_some(()));
    wait_for_agreement(&[&a, &b], Duration::from_secs(60));
    for (_, id) in acknowledged.iter().filter(|(_, id)| !id.is_empty()) {
        assert_eq!(a.json(&["show", id])["place"], "ledger", "{id}");
        assert_eq!(b.json(&["show", id])["place"], "ledger", "{id}");
    }
    let wanted: BTreeSet<String> = acknowledged.into_iter().map(|(text, _)| text).collect();
    wait_for("every text", Duration::from_secs(30), || {
        wanted.is_subset(&b.texts().into_iter().collect()).then_some(())
    });
    let got = b.texts();
    assert_eq!(got.len(), got.iter().collect::<BTreeSet<_>>().len(), "a message was shown twice");
    for node in [&mut a, &mut b] {
        assert!(run(&node.data, &["audit", "verify"]).status.success(), "with a running node");
        node.stop();
        assert!(run(&node.data, &["audit", "verify"]).status.success(), "with a stopped node");
    }
}

/// Sends without pause from one thread while another kills the node after `wait`; returns what was acknowledged.
fn send_until_killed(node: &mut Node, to: &str, round: usize, wait: Duration) -> Vec<(String, String)> {
    let killed = AtomicBool::new(false);
    let data = node.data.clone();
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut acknowledged = Vec::new();
            for n in 0.. {
                let text = format!("round {round} message {n}");
                let output = run(&data, &["send", to, &text]);
                if output.status.success() {
                    let id = String::from_utf8(output.stdout).expect("text").trim().to_owned();
                    acknowledged.push((text, id));
                } else if killed.load(Ordering::SeqCst) {
                    break;
                }
            }
            acknowledged
        });
        // The random moment itself, not a wait for anything.
        thread::sleep(wait);
        node.kill();
        killed.store(true, Ordering::SeqCst);
        sender.join().expect("sender")
    })
}
