//! A running node has the settings by which memory that was freed goes back to the system, and whoever starts it may choose
//! others.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::harness::{command, first_line};

const RUN: [&str; 5] = ["--json", "run", "--no-wallet", "--listen", "/ip4/127.0.0.1/tcp/0"];
/// The number of SIGPIPE, whose default is to end the process (signal(7)).
const SIGPIPE: u32 = 13;

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
        let mut run = command(&home.path().join("relay"), &RUN);
        run.envs(chosen.iter().copied());
        Self::ready(home, run)
    }

    fn ready(home: &TempDir, mut run: Command) -> Self {
        let mut child = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
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

/// The same command with so many bytes more in its environment, under a limit on arguments and environment of 1 MiB.
fn padded(home: &TempDir, bytes: usize) -> Command {
    let run = command(&home.path().join("relay"), &RUN);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -S -s 4096; exec \"$0\" \"$@\""]).arg(run.get_program()).args(run.get_args());
    limited.env_clear().stdin(Stdio::null());
    limited.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // No single one may have more than 128 KiB.
    (0..).zip((0..bytes).step_by(100_000)).for_each(|(nth, from): (u32, usize)| {
        limited.env(format!("PAD{nth:04}"), "x".repeat((bytes - from).min(100_000)));
    });
    limited
}

/// A stream that its peer has closed must not end the node, although trying to begin anew turned the signal on.
#[test]
fn a_node_that_cannot_begin_anew_goes_on_and_outlives_a_broken_stream() {
    let home = tempfile::tempdir().unwrap();
    // As much as the program starts with leaves no room for the settings. One with such a network ends before it would.
    let starts = |bytes: usize| {
        let mut ends_at_once = padded(&home, bytes);
        let status = ends_at_once.env("QASEDAK_NETWORK", "d v").stderr(Stdio::null()).status().unwrap();
        status.code() == Some(2)
    };
    let (mut most, mut too_much) = (0, 1 << 20);
    assert!(starts(most) && !starts(too_much));
    while most + 1 < too_much {
        let middle = usize::midpoint(most, too_much);
        if starts(middle) { most = middle } else { too_much = middle }
    }
    let relay = Relay::ready(&home, padded(&home, most));
    assert!(relay.settings().is_none_or(|set| set.is_empty()), "it began anew, and nothing is shown");
    let status = fs::read_to_string(format!("/proc/{}/status", relay.0.id())).unwrap();
    let signals = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    let harmless = signals("SigIgn:") | signals("SigCgt:");
    assert_ne!(harmless & 1 << (SIGPIPE - 1), 0, "a broken stream ends this process");
}
