//! `main` on a local network: two nodes that were told nothing of each other meet by multicast, and a message with a
//! stamp of full price is delivered.
//!
//! Multicast does not cross loopback, so each node gets a network namespace of its own, with a cable between them. That
//! takes root and iproute2; elsewhere the test says that it was skipped, which is a failure under `CI=true`.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use crate::harness::{PASSPHRASE, PATIENCE, binary, wait_for};

const TEXT: &str = "over the wall";

/// Two namespaces with a cable between them, gone when dropped.
struct Cable([String; 2]);

impl Cable {
    fn lay() -> Option<Self> {
        let name = |side: &str| format!("qsd{}{side}", std::process::id());
        let names = [name("a"), name("b")];
        if !names.iter().all(|name| ip(&["netns", "add", name])) {
            return None;
        }
        let cable = Self(names);
        let [a, b] = &cable.0;
        let laid = ip(&["link", "add", "cable", "netns", a, "type", "veth", "peer", "name", "cable", "netns", b])
            && cable.0.iter().zip(["10.77.0.1/24", "10.77.0.2/24"]).all(|(name, address)| {
                ip(&["-n", name, "link", "set", "lo", "up"])
                    && ip(&["-n", name, "address", "add", address, "dev", "cable"])
                    && ip(&["-n", name, "link", "set", "cable", "up"])
            });
        laid.then_some(cable)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.0.iter().for_each(|name| {
            ip(&["netns", "delete", name]);
        });
    }
}

fn ip(args: &[&str]) -> bool {
    Command::new("ip").args(args).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A node of `main` in a namespace, with nothing configured.
struct Node {
    namespace: String,
    data: PathBuf,
    running: Option<Child>,
}

impl Node {
    fn new(home: &Path, namespace: &str) -> Self {
        let node = Self { namespace: namespace.to_owned(), data: home.join(namespace), running: None };
        assert!(node.run(&["init"]).status.success());
        node
    }
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(binary()).arg("--data").arg(&self.data).args(args);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("QASEDAK_PASSPHRASE", PASSPHRASE).stdin(Stdio::null());
        command
    }
    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }
    fn text(&self, args: &[&str]) -> String {
        String::from_utf8(self.run(args).stdout).unwrap()
    }
    fn start(&mut self) {
        let log = File::create(self.data.with_extension("log")).unwrap();
        self.running = Some(self.command(&["run"]).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

#[test]
fn nodes_of_main_find_each_other_on_a_local_network() {
    let Some(cable) = Cable::lay() else {
        assert!(std::env::var_os("CI").is_none(), "network namespaces need root and iproute2, which CI must have");
        println!("skipped: network namespaces need root and iproute2");
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let [mut a, mut b] = cable.0.each_ref().map(|name| Node::new(home.path(), name));
    a.start();
    b.start();
    wait_for("peer on the local network", PATIENCE, || a.text(&["peers"]).contains("10.77.0.2").then_some(()));
    let address = wait_for("address", PATIENCE, || Some(b.text(&["id"]).trim().to_owned()).filter(|id| !id.is_empty()));
    wait_for("card", PATIENCE, || a.run(&["send", &address, TEXT]).status.success().then_some(()));
    wait_for("message", Duration::from_secs(10), || b.text(&["request", "list"]).contains(TEXT).then_some(()));
}
