//! A fresh node takes over a whole ledger: its rate beside that of ingest in the same run, and its memory by the size of
//! what it takes over.

use std::{path::Path, process::Command, time::Instant};

use qasedak_chain::Network;

use crate::{
    figure, fixture,
    node::{Node, until},
    pipeline,
    report::median,
    scratch,
};

/// Transactions of the ledgers that are taken over.
const SIZES: [usize; 4] = [20_000, 60_000, 100_000, 200_000];
/// What part of the rate of ingest is asked of a takeover.
const PART: f64 = 0.7;
/// Takeovers of each ledger, of which the median counts: what a flush that the disk was slow with lets pile up makes the peak of
/// one differ from the next by up to 6 MiB.
const ROUNDS: usize = 3;
/// By how much the peaks may differ between ledgers that follow one another. Up to the second, caches and tables in memory
/// fill; behind it 40,000 transactions more, and 100,000, are 52 and 130 MB on the wire.
const GROWTH_MIB: [f64; 3] = [8.0, 4.0, 4.0];

pub fn run() -> bool {
    let network = Network::dev();
    let stamps = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stamps-takeover.bin");
    let wire = fixture::load_from(&network, SIZES[3], &stamps);
    let dir = scratch();
    let mut peaks = Vec::new();
    let mut met = true;
    for size in SIZES {
        let given = dir.path().join(format!("given-{size}"));
        let ingest = pipeline::check_and_append(&network, &wire[..size], &given).as_secs_f64();
        let rounds = (0..ROUNDS).map(|_| take_over(&given, size));
        let (seconds, memory) = rounds.unzip();
        let seconds = median(seconds);
        peaks.push(median(memory));
        let (rate, bare) = (size as f64 / seconds, size as f64 / ingest);
        let asked = format!("at least {PART}");
        let name = format!("takeover of {size} at {rate:.0}/s, ingest {bare:.0}/s: ratio");
        let enough = rate / bare >= PART;
        met &= figure(&name, format!("{:.2}", rate / bare), &asked, enough);
    }
    for ((sizes, peaks), most) in SIZES.windows(2).zip(peaks.windows(2)).zip(GROWTH_MIB) {
        let grown = peaks[1] - peaks[0];
        let name = format!("peak memory, {:.0} MiB for {} and {:.0} for {}", peaks[0], sizes[0], peaks[1], sizes[1]);
        met &= figure(&name, format!("{grown:.1} MiB more"), &format!("at most {most} MiB"), grown <= most);
    }
    met
}

/// Serves the ledger in `given` to a child that starts with nothing. Returns the child's seconds and peak memory in MiB.
fn take_over(given: &Path, count: usize) -> (f64, f64) {
    let taken = scratch();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Node::start(given, &[]));
    let exe = std::env::current_exe().unwrap();
    let mut child = Command::new(exe);
    // As `qasedak run` has them on two cores (decision 0054).
    child.envs([("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_ARENA_MAX", "4")]);
    child.arg("child-takeover").arg(taken.path()).arg(server.address().to_string()).arg(count.to_string());
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    runtime.block_on(server.handle.shutdown()).unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The fresh node.
pub fn child(dir: &Path, address: &str, count: u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let seconds = runtime.block_on(async {
        let node = Node::start(dir, &[address.parse().unwrap()]).await;
        node.connected().await;
        let start = Instant::now();
        until(async || *node.handle.durable().borrow() == count).await;
        let seconds = start.elapsed().as_secs_f64();
        node.handle.shutdown().await.unwrap();
        seconds
    });
    println!("[{seconds}, {}]", peak_mib());
}

/// Peak resident memory of this process in MiB (proc(5), `VmHWM`).
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
