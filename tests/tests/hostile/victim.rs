//! The victim: the real program in a process of its own, so that its memory is nobody else's.

use std::{fs, path::Path};

use libp2p::Multiaddr;

use crate::harness::Node;

/// A running node without a wallet.
pub struct Victim {
    node: Node,
    /// By TCP.
    pub address: Multiaddr,
    /// By QUIC.
    pub quic: Multiaddr,
    /// Resident bytes before the first attack on it.
    pub calm_bytes: u64,
}

impl Victim {
    pub fn start(home: &Path, name: &str) -> Self {
        let mut node = Node::relay(home, name);
        node.log_level("warn");
        node.listen_also("/ip4/127.0.0.1/udp/0/quic-v1");
        node.start(&[]);
        let address = node.listening().parse().unwrap();
        let quic = node.listening_by("/quic-v1").parse().unwrap();
        Self { node, address, quic, calm_bytes: 0 }
    }

    /// Begins to count the peak anew.
    pub fn forget_peak(&self) {
        // Writing 5 there resets the peak to what is resident now (proc(5)).
        fs::write(self.proc("clear_refs"), "5").unwrap();
    }

    /// The most that was resident since then, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.kib("VmHWM:") * 1_024
    }

    /// What is resident now, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.kib("VmRSS:") * 1_024
    }

    /// What its log says of a panic.
    pub fn panic(&self) -> Option<String> {
        let log = fs::read_to_string(self.node.log()).unwrap_or_default();
        log.find("panicked").map(|at| log[at..].chars().take(400).collect())
    }

    /// Stops it, which must go well.
    pub fn stop(mut self) {
        self.node.stop();
    }

    fn kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("the victim lives");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of proc(5)");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.node.pid())
    }
}
