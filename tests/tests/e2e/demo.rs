//! README's first command: the demo holds, says so, and is quick.

use std::time::{Duration, Instant};

use crate::harness::run;

#[test]
fn the_demo_holds() {
    let home = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let output = run(home.path(), &["demo"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(started.elapsed() < Duration::from_secs(10), "took {:?}", started.elapsed());
    for part in [
        "the relay has",
        "Bob opens",
        "Ann opens",
        "digest",
        "chain",
        "audit verify",
        "the audit says",
        "all of it held",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}
