//! The running program as the system sees it: no core, no look into its memory, keys in locked pages.
//!
//! The node runs as a user without privileges, since root may look into everything and lock what it wants. Whatever is
//! refused is allowed for another program beside it, so that a refusal says something.

#![cfg(target_os = "linux")]

use std::{
    fs,
    os::unix::{fs::chown, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{PASSPHRASE, PATIENCE, binary, first_line, wait_for};

/// A user and group that own nothing.
const NOBODY: u32 = 65_534;

/// A directory of a user without privileges, with the program in it.
struct Person {
    home: TempDir,
    is_root: bool,
}

impl Person {
    /// `None` where this machine lacks what it takes.
    fn new() -> Option<Self> {
        let has = |tool: &str| Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_ok();
        if !has("prlimit") || !has("setpriv") {
            assert!(
                std::env::var_os("CI").is_none(),
                "prlimit and setpriv of util-linux are needed, and CI must have them"
            );
            println!("skipped: prlimit and setpriv of util-linux are needed");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let user = Command::new("id").arg("-u").output().unwrap();
        let is_root = String::from_utf8_lossy(&user.stdout).trim() == "0";
        let (from, to) = (binary(), home.path().join("qasedak"));
        fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop)).unwrap();
        if is_root {
            chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Some(Self { home, is_root })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A program of theirs, under these limits of `prlimit`, that writes a core, if any, to their directory.
    fn program(&self, limits: &[&str], program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new("prlimit");
        command.args(limits);
        if self.is_root {
            command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        }
        command.arg(program).args(args).current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    fn qasedak(&self, limits: &[&str], args: &[&str]) -> Command {
        let mut command = self.program(limits, &self.path("qasedak"), &["--data", "data", "--json"]);
        command.args(args).env("QASEDAK_NETWORK", "dev").env("QASEDAK_PASSPHRASE", PASSPHRASE);
        command
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.qasedak(&[], args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A node that is ready, and what it says on its standard error in this file.
    fn node(&self, limits: &[&str]) -> (Running, PathBuf) {
        let said = self.path("said");
        let file = fs::File::create(&said).unwrap();
        let mut command = self.qasedak(limits, &["run", "--listen", "/ip4/127.0.0.1/tcp/0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        let ready = first_line(&mut child, &self.path("printed"));
        assert!(ready.contains("\"peer\""), "no node: {ready:?} {}", fs::read_to_string(&said).unwrap());
        (Running(child), said)
    }

    /// Whether another program of theirs may open one of the files that tell of a process.
    fn may_open(&self, pid: u32, file: &str) -> bool {
        let open = format!(": < /proc/{pid}/{file}");
        let shell = self.program(&[], Path::new("sh"), &["-c", &open]).stderr(Stdio::null()).status();
        shell.unwrap().success()
    }

    fn cores(&self) -> Vec<PathBuf> {
        let names = fs::read_dir(self.home.path()).unwrap().flatten().map(|entry| entry.path());
        names.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("core")).collect()
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Running {
    /// KiB of its memory that are locked.
    fn locked_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    /// Ends it by a signal; says whether the system wrote a core.
    fn dies_with_core(mut self, signal: &str) -> bool {
        let status = wait_for("end of the process", PATIENCE, || {
            // More than once: Rust's own handler takes the first SIGSEGV for a full stack that will show again.
            let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.0.id().to_string()).status();
            assert!(sent.unwrap().success());
            self.0.try_wait().unwrap()
        });
        assert!(status.signal().is_some(), "{status}");
        status.core_dumped()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Lets a program write as large a core as this test may.
fn with_core() -> String {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let most = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    format!("--core={}", most.split_whitespace().nth(1).unwrap())
}

#[test]
fn a_node_that_crashes_leaves_no_core_and_nobody_looks_into_a_running_one() {
    let Some(person) = Person::new() else { return };
    let core = with_core();
    let limits = [core.as_str()];
    person.json(&["init"]);
    let idle = || {
        let child = person.program(&limits, Path::new("sleep"), &["600"]).spawn().unwrap();
        // `prlimit` and `setpriv` become the program that they start.
        let name = format!("/proc/{}/comm", child.id());
        wait_for("idle program", Duration::from_secs(10), || {
            (fs::read_to_string(&name).unwrap() == "sleep\n").then_some(())
        });
        Running(child)
    };
    let shown = |what: &str, allowed: bool| {
        if !allowed {
            println!("this machine allows {what} for no program, so that nothing is shown by it");
        }
    };
    for signal in ["ABRT", "SEGV"] {
        shown("cores", idle().dies_with_core(signal));
        person.cores().iter().for_each(|core| fs::remove_file(core).unwrap());
        let (node, _) = person.node(&limits);
        assert!(!node.dies_with_core(signal), "the system wrote a core after SIG{signal}");
        assert!(person.cores().is_empty(), "{:?} after SIG{signal}", person.cores());
    }
    let (idle, (node, _)) = (idle(), person.node(&limits));
    // The first holds the passphrase, where it was given by the environment; the second everything.
    for file in ["environ", "mem", "maps", "fd/0"] {
        shown(file, person.may_open(idle.0.id(), file));
        assert!(!person.may_open(node.0.id(), file), "another program of the same user may open /proc/PID/{file}");
    }
    // What tells nothing secret can be read of both: it is the node that is there.
    assert!(person.may_open(idle.0.id(), "status") && person.may_open(node.0.id(), "status"));
}

#[test]
fn keys_are_locked_in_memory_and_where_that_is_refused_it_is_said() {
    let Some(person) = Person::new() else { return };
    person.json(&["init"]);
    let (node, said) = person.node(&[]);
    if node.locked_kib() == 0 {
        assert!(std::env::var_os("CI").is_none(), "this system lets nobody lock a few pages");
        println!("this system lets nobody lock a few pages, so that only the refusal is shown");
        return;
    }
    assert_eq!(person.json(&["status"])["keys_locked"], true);
    assert!(!fs::read_to_string(&said).unwrap().contains("locked in memory"));
    drop(node);

    let (node, said) = person.node(&["--memlock=0:0"]);
    assert_eq!(node.locked_kib(), 0);
    assert_eq!(person.json(&["status"])["keys_locked"], false);
    let said = fs::read_to_string(&said).unwrap();
    assert_eq!(said.matches("does not let the wallet's keys be locked in memory").count(), 1, "{said}");
    let mut status = person.program(&[], &person.path("qasedak"), &["--data", "data", "--network", "dev", "status"]);
    let status = String::from_utf8(status.output().unwrap().stdout).unwrap();
    assert!(status.contains("does not let the wallet's keys be locked"), "{status}");
    // It goes on all the same.
    let own = person.json(&["id"])["address"].as_str().unwrap().to_owned();
    person.json(&["contact", "add", "me", &own]);
    assert_eq!(person.json(&["contact", "list"])[0]["name"], "me");
}
