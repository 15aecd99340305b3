//! A disk that is full stops no node: it says so, answers what it can, refuses what it cannot keep, and goes on when
//! there is space, with all that its peers got meanwhile. As root only, since it takes a small file system.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::harness::{Node, PATIENCE, run, wait_for, wait_for_agreement};

/// A tmpfs of 32 MiB for as long as this is kept.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=32m", "tmpfs"]).arg(&path).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(path))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).output());
    }
}

/// Fills a file system to the brim.
fn fill(ballast: &Path) {
    let mut file = File::create(ballast).unwrap();
    for size in [1 << 20, 4_096, 512, 1] {
        while file.write_all(&vec![0xbb; size]).is_ok() {}
    }
}

#[test]
fn a_node_on_a_full_disk_waits_and_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(home.path().join("small")) else {
        println!("SKIPPED: mounting a small file system takes root");
        assert!(std::env::var("CI").is_err(), "skipped in CI");
        return;
    };
    let mut a = Node::with_wallet(&small.0, "a");
    let mut b = Node::with_wallet(home.path(), "b");
    // Its log file is not on the disk that is filled.
    a.log_to(home.path().join("a.log"));
    b.start(&[]);
    a.start(&[&b]);
    b.send(&a.address, "before");
    a.wait_for_text("before", PATIENCE);
    let acknowledged = a.send(&b.address, "acknowledged");
    wait_for_agreement(&[&a, &b], PATIENCE);
    let block = a.json(&["block"]);

    let ballast = small.0.join("ballast");
    fill(&ballast);
    // What has room in the last block of each file still fits.
    let mut meanwhile = Vec::new();
    let failing = wait_for("word of the full disk", PATIENCE, || {
        meanwhile.push(format!("sent meanwhile {}{}", meanwhile.len(), " and more".repeat(700)));
        b.send(&a.address, meanwhile.last().unwrap());
        a.json(&["status"]).get("disk_failing").cloned()
    });
    let reason = failing["reason"].as_str().unwrap();
    assert!(reason.contains("No space left"), "{reason}");
    assert!(reason.contains(small.0.to_str().unwrap()), "names the file: {reason}");
    let text = String::from_utf8(run(&a.data, &["status"]).stdout).unwrap();
    assert!(text.contains("failing since"), "{text}");
    // What is here can be read.
    assert_eq!(a.json(&["show", &acknowledged])["place"], "ledger");
    assert_eq!(a.texts()[0], "before");
    assert_eq!(a.json(&["block"])["number"], block["number"]);
    // What cannot be kept is refused.
    let mut kept = Vec::new();
    let said = wait_for("refusal", PATIENCE, || {
        let text = format!("sent on a full disk {}{}", kept.len(), " and more".repeat(700));
        let output = run(&a.data, &["send", &b.address, &text]);
        if output.status.success() {
            kept.push(text);
            return None;
        }
        Some(String::from_utf8_lossy(&output.stderr).into_owned())
    });
    assert!(said.contains("No space left"), "{said}");

    std::fs::remove_file(&ballast).unwrap();
    wait_for("end of the trouble", Duration::from_secs(90), || {
        a.json(&["status"]).get("disk_failing").is_none().then_some(())
    });
    meanwhile.iter().for_each(|text| a.wait_for_text(text, Duration::from_secs(90)));
    let after = a.send(&b.address, "after");
    b.wait_for_text("after", PATIENCE);
    b.wait_for_text("acknowledged", PATIENCE);
    kept.iter().for_each(|text| b.wait_for_text(text, PATIENCE));
    wait_for_agreement(&[&a, &b], PATIENCE);
    a.stop();
    assert!(run(&a.data, &["audit", "verify"]).status.success());
    a.start(&[&b]);
    for id in [&acknowledged, &after] {
        assert_eq!(a.json(&["show", id])["place"], "ledger");
    }
    a.stop();
    b.stop();
}
