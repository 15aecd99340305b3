//! What it costs two nodes to become equal, over real sockets on loopback and ledgers on disk.
//!
//! `cargo bench -p qasedak-tests --bench sync` runs everything; a word behind `--` (`reconcile`, `takeover`) runs that part
//! alone. Bytes are those of the sync protocol's frames in both directions, without what TCP, Noise and Yamux add. Each
//! figure stands beside what was asked. The first run searches for 200,000 stamps, which takes some ten minutes, and
//! keeps them below the target directory, part by part.

// A benchmark says by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout, clippy::print_stderr)]

#[allow(dead_code)]
#[path = "../ledger/fixture.rs"]
mod fixture;
#[allow(dead_code)]
#[path = "../ledger/million.rs"]
mod million;
mod node;
#[allow(dead_code)]
#[path = "../ledger/pipeline.rs"]
mod pipeline;
mod reconcile;
#[allow(dead_code)]
#[path = "../shared/report.rs"]
mod report;
mod takeover;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if let [role, dir, address, count] = args.as_slice()
        && role == "child-takeover"
    {
        return takeover::child(dir.as_ref(), address, count.parse().unwrap());
    }
    let chosen = |part: &str| args.is_empty() || args.iter().any(|arg| arg == part);
    let mut met = true;
    if chosen("reconcile") {
        met &= reconcile::run();
    }
    if chosen("takeover") {
        met &= takeover::run();
    }
    println!("{}", if met { "all that was asked is met" } else { "NOT all that was asked is met" });
}

/// Prints one figure beside what was asked of it, and says whether it was met.
fn figure(name: &str, value: String, asked: &str, met: bool) -> bool {
    println!("{name:<62} {value:>14}   asked: {asked:<18} {}", if met { "met" } else { "MISSED" });
    met
}

/// A directory that goes when it is dropped, on the disk that the build is on.
fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}
