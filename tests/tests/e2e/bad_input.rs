//! Point 6: bad input gets one sentence and the next step, exit 1 or 2, no panic, and loses nothing.

use std::{fs, net::TcpListener, path::Path, process::Output};

use crate::harness::{Node, command, node_with_relay, run};

/// Checks a refusal: its exit code, and one sentence that holds all of `parts`.
fn refused(output: &Output, code: i32, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("qasedak: ")).collect();
    assert_eq!((lines.len(), said.lines().count()), (1, 1), "one sentence, not:\n{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
    for forbidden in ["panicked", "RUST_BACKTRACE", "stack backtrace", "Error {"] {
        assert!(!said.contains(forbidden), "{said}");
    }
}

#[test]
fn a_running_node_refuses_bad_calls_in_a_sentence_and_keeps_everything() {
    let home = tempfile::tempdir().unwrap();
    let (a, b) = node_with_relay(home.path());
    let own = a.address.clone();
    a.json(&["contact", "add", "me", &own]);
    a.send("me", "kept");
    a.wait_for_text("kept", std::time::Duration::from_secs(30));

    refused(&run(&a.data, &["send", "nobody", "hi"]), 1, &["no contact of that name", "contact list"]);
    let mut damaged = own.clone().into_bytes();
    damaged[20] = if damaged[20] == b'q' { b'p' } else { b'q' };
    let damaged = String::from_utf8(damaged).unwrap();
    refused(&run(&a.data, &["contact", "add", "x", &damaged]), 1, &["again"]);
    refused(&run(&a.data, &["send", &damaged, "hi"]), 1, &["again"]);
    refused(&run(&a.data, &["send", "me", &"x".repeat(70_000)]), 1, &["bytes"]);
    refused(&run(&a.data, &["send", "me", ""]), 1, &["empty"]);
    refused(&run(&a.data, &["contact", "remove", "nobody"]), 1, &["no contact of that name", "contact list"]);
    refused(&run(&a.data, &["contact", "add", "me", &own]), 1, &["name already", "another name"]);
    refused(&run(&a.data, &["show", "abc"]), 2, &["64 hexadecimal digits"]);
    refused(&run(&a.data, &["show", &"0".repeat(64)]), 1, &["not here"]);
    refused(&run(&a.data, &["block", "yesterday"]), 2, &["2026-11-22T14"]);
    refused(&run(&a.data, &["block", "7"]), 1, &["empty"]);
    refused(&run(&a.data, &["run"]), 1, &["in use", "--data"]);
    refused(&run(&a.data, &["init"]), 1, &["in use", "--data"]);
    refused(&run(&b.data, &["id"]), 1, &["relay"]);
    refused(&run(&b.data, &["inbox"]), 1, &["relay"]);
    assert_eq!(a.texts(), ["kept"]);
    assert_eq!(a.json(&["contact", "list"])[0]["name"], "me");
}

#[test]
fn a_node_that_cannot_start_says_why_and_harms_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut a = Node::with_wallet(home.path(), "a");

    let mut wrong = command(&a.data, &["run"]);
    refused(&wrong.env("QASEDAK_PASSPHRASE", "wrong").output().unwrap(), 1, &["passphrase"]);
    let mut none = command(&a.data, &["run"]);
    refused(&none.env_remove("QASEDAK_PASSPHRASE").output().unwrap(), 2, &["--passphrase-file"]);
    refused(&run(&a.data, &["init"]), 1, &["already", "qasedak run"]);
    refused(&run(&home.path().join("none"), &["run"]), 1, &["init", "--no-wallet"]);
    refused(&run(&home.path().join("none"), &["status"]), 1, &["no node is running", "run"]);
    refused(&run(&home.path().join("none"), &["audit", "verify"]), 1, &["no ledger"]);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let listen = format!("/ip4/127.0.0.1/tcp/{}", address.port());
    refused(&run(&a.data, &["run", "--listen", &listen]), 1, &[&listen, "--listen"]);
    refused(&run(&a.data, &["run", "--api", &address.to_string()]), 1, &[&address.to_string(), "--api"]);
    refused(&run(&a.data, &["run", "--api", "0.0.0.0:0"]), 2, &["loopback"]);
    refused(&run(&a.data, &["run", "--peer", "example.org"]), 2, &["multiaddress"]);

    config_is(&a.data, "listen = 'no list'\n", &["config.toml", "line 1"]);
    config_is(&a.data, "colour = 'blue'\n", &["config.toml", "colour"]);
    config_is(&a.data, "= =", &["config.toml"]);
    fs::remove_file(a.data.join("config.toml")).unwrap();

    refused(&run(&a.data, &["--network", "../etc", "status"]), 2, &["network"]);
    let file = home.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    refused(&run(&file, &["run", "--no-wallet"]), 2, &["config.toml"]);
    refused(&run(&file, &["init"]), 1, &["data directory"]);
    a.start(&[]);
    assert_eq!(a.json(&["id"])["address"], a.address.as_str());
}

fn config_is(data: &Path, text: &str, parts: &[&str]) {
    fs::write(data.join("config.toml"), text).unwrap();
    refused(&run(data, &["run"]), 2, parts);
}

#[test]
fn wrong_usage_exits_with_two() {
    let home = tempfile::tempdir().unwrap();
    for args in [&["fly"][..], &[], &["send"], &["contact", "add", "x"], &["run", "--api", "x"]] {
        let output = run(home.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    assert!(run(home.path(), &["--help"]).status.success());
}

#[test]
fn words_restore_the_address_and_bad_words_are_named() {
    let home = tempfile::tempdir().unwrap();
    let a = Node::with_wallet(home.path(), "a");
    let words = a.words.clone().unwrap();
    let file = home.path().join("words");
    let restore = |text: &str, name: &str| {
        fs::write(&file, text).unwrap();
        run(&home.path().join(name), &["--json", "init", "--phrase-file", file.to_str().unwrap()])
    };
    let restored = restore(&words.to_uppercase().replace(' ', "\n "), "again");
    let made: serde_json::Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!(made["address"], a.address.as_str());
    assert!(made["words"].is_null(), "words are shown once, when they are new");
    let mut list: Vec<&str> = words.split(' ').collect();
    list[4] = "qasedak";
    refused(&restore(&list.join(" "), "bad"), 1, &["5"]);
    refused(&restore("one two three", "bad"), 1, &["24"]);
    refused(&run(home.path(), &["init", "--phrase-file", "/nonexistent"]), 1, &["/nonexistent"]);
    #[cfg(unix)]
    refused(&run(home.path(), &["init", "--phrase-file", "/dev/zero"]), 1, &["/dev/zero", "too large"]);
}
