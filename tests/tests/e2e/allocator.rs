//! A running node has the settings by which memory that was freed goes back to the system, and whoever starts it may choose
//! others.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::{
    fs,
    process::{Child, Stdio},
};

use tempfile::TempDir;

use crate::harness::{command, first_line};

/// A relay that is ready, and goes with the test.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Relay {
    fn start(home: &TempDir, chosen: &[(&str, &str)]) -> Self {
        let data = home.path().join("relay");
        let mut run = command(&data, &["--json", "run", "--no-wallet", "--listen", "/ip4/127.0.0.1/tcp/0"]);
        let mut child = run.envs(chosen.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        assert!(first_line(&mut child, &home.path().join("printed")).contains("\"peer\""), "no node");
        Self(child)
    }

    /// What is set of the C library's allocator; `None` where only root may see it.
    fn settings(&self) -> Option<Vec<String>> {
        let environment = fs::read_to_string(format!("/proc/{}/environ", self.0.id())).ok()?;
        let mut set: Vec<String> =
            environment.split('\0').filter(|line| line.starts_with("MALLOC_")).map(str::to_owned).collect();
        set.sort_unstable();
        Some(set)
    }
}

#[test]
fn a_node_begins_anew_with_the_settings_and_leaves_those_of_others() {
    let home = tempfile::tempdir().unwrap();
    let Some(set) = Relay::start(&home, &[]).settings() else {
        assert!(std::env::var_os("CI").is_none(), "only root sees a node's environment, and CI must be root");
        println!("skipped: only root sees a node's environment");
        return;
    };
    let arenas = std::thread::available_parallelism().map_or(4, |cores| (2 * cores.get()).max(4));
    assert_eq!(set, [format!("MALLOC_ARENA_MAX={arenas}"), "MALLOC_MMAP_THRESHOLD_=131072".to_owned()]);
    let chosen = Relay::start(&home, &[("MALLOC_ARENA_MAX", "1")]);
    assert_eq!(chosen.settings().unwrap(), ["MALLOC_ARENA_MAX=1"]);
}
