//! The binary's outermost manners: help, version, exit codes, and nothing on disk for a question.
//!
//! It also makes `cargo test --workspace` build the binary that the end-to-end tests run.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn qasedak(data: &std::path::Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qasedak")).arg("--data").arg(data).args(args).env_clear().output().unwrap()
}

#[test]
fn help_names_every_command_and_exits_with_zero() {
    let home = tempfile::tempdir().unwrap();
    let output = qasedak(home.path(), &["help"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    for command in
        ["init", "run", "id", "contact", "send", "inbox", "status", "peers", "block", "show", "audit", "ledger", "demo"]
    {
        assert!(text.lines().any(|line| line.trim_start().starts_with(command)), "{command} is missing in:\n{text}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let home = tempfile::tempdir().unwrap();
    let output = qasedak(home.path(), &["--version"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("qasedak {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn questions_leave_nothing_on_disk() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    for args in [&["status"][..], &["inbox"], &["id"], &["audit", "verify"], &["run", "--api", "x"]] {
        assert!(!qasedak(&data, args).status.success(), "{args:?}");
        assert!(!data.exists(), "{args:?} made files");
    }
}
