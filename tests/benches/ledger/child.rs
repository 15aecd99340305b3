//! The figures that depend on how large the ledger is. Each size is written by one child process and measured by another,
//! so that peak memory is that of writing, or of reading, and of nothing else.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use qasedak_chain::{Ledger, Network, Position, store::disk::DiskStore};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    ROUNDS,
    million::{MONTH, Million},
    pipeline::{self, Writer},
    proofs::{self, Proofs, STAMPED},
    raw,
    report::{Asked, Report, median, quantile},
};

/// Sizes of the ledgers by which growth is shown.
const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
/// Ids that are looked up in one round.
const LOOK_UPS: usize = 2_000;

type Figures = BTreeMap<String, f64>;

/// A directory that goes when it is dropped, on the disk that the build is on.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Runs as a child if that is what the arguments say.
pub fn run(args: &[String]) -> bool {
    let [role, dir, count] = args else {
        return false;
    };
    let (dir, count) = (PathBuf::from(dir), count.parse().unwrap_or(0));
    match role.as_str() {
        "child-write" => print_figures(&write(&dir, count)),
        "child-open" => print_figures(&only_open(&dir)),
        "child-read" => print_figures(&measure(&dir, count)),
        _ => return false,
    }
    true
}

fn print_figures(figures: &Figures) {
    println!("{}", serde_json::to_string(figures).unwrap());
}

fn child(role: &str, dir: &Path, count: u64) -> Figures {
    let exe = std::env::current_exe().unwrap();
    let output = Command::new(exe).arg(role).arg(dir).arg(count.to_string()).output().unwrap();
    assert!(output.status.success(), "{role}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Peak and present resident memory of this process, in MiB (proc(5), `VmHWM` and `VmRSS`).
fn memory_mib(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn write(dir: &Path, count: u64) -> Figures {
    let network = Network::dev();
    let mut ledger = pipeline::open(&network, dir);
    let (mut storing, mut wire) = (std::time::Duration::ZERO, 0);
    Writer::scope(&mut ledger, |writer| {
        let mut all =
            proofs::stamped(&network).into_iter().chain(Million::new(&network, count - STAMPED as u64, MONTH));
        loop {
            let page: Vec<_> = all.by_ref().take(1_000).collect();
            if page.is_empty() {
                return;
            }
            wire += page.iter().map(|verified| verified.transaction().to_bytes().len()).sum::<usize>();
            let start = Instant::now();
            page.into_iter().for_each(|verified| writer.append(verified));
            writer.wait();
            writer.flush();
            storing += start.elapsed();
        }
    });
    // What a node does that is stopped and started: its blocks are computed, and all of the index is written.
    ledger.refresh_blocks().unwrap();
    ledger.flush_now(pipeline::clock(&network)).unwrap();
    drop(ledger);
    pipeline::open(&network, dir).flush_now(pipeline::clock(&network)).unwrap();
    Figures::from([
        ("rate".into(), count as f64 / storing.as_secs_f64()),
        ("wire".into(), wire as f64 / count as f64),
        ("peak".into(), memory_mib("VmHWM")),
    ])
}

fn only_open(dir: &Path) -> Figures {
    let ledger = pipeline::open(&Network::dev(), dir);
    assert!(ledger.summary().count > 0);
    Figures::from([("resident".into(), memory_mib("VmRSS")), ("peak".into(), memory_mib("VmHWM"))])
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed().as_secs_f64())
}

/// Files below a directory whose names end so.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

fn read_all(paths: &[PathBuf]) -> f64 {
    paths.iter().map(|path| raw::read(path).as_secs_f64()).sum()
}

fn bytes_of(paths: &[PathBuf]) -> u64 {
    paths.iter().map(|path| path.metadata().unwrap().len()).sum()
}

/// All figures of one ledger that is there already.
fn measure(dir: &Path, count: u64) -> Figures {
    let network = Network::dev();
    let mut samples: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let headers = files(&dir.join("headers"), ".seg");
    let column = [dir.join("scan.col")];
    let proofs = Proofs::new(&network);
    for round in 0..ROUNDS {
        let mut add = |name, value| samples.entry(name).or_default().push(value);
        add("open limit", read_all(&headers[headers.len() - 1..]));
        let (mut ledger, taken) = timed(|| pipeline::open(&network, dir));
        add("open", taken);
        get(&ledger, &headers, round as u64, &mut add);
        scans(&ledger, count, &headers, &column, &mut add);
        proofs.measure(&mut ledger, &mut add);
        drop(ledger);
    }
    for _ in 0..ROUNDS {
        let mut add = |name, value| samples.entry(name).or_default().push(value);
        add("rebuild limit", read_all(&headers));
        let store = DiskStore::open(dir, &network, [9; 16]).unwrap();
        let (ledger, taken) = timed(|| Ledger::rebuild_index(network.clone(), store).unwrap());
        add("rebuild", taken);
        assert_eq!(ledger.summary().count, count);
        drop(ledger);
        remove_set_aside(dir);
    }
    samples.into_iter().map(|(name, values)| (name.to_owned(), median(values))).collect()
}

/// What rebuilding set aside would fill the disk and is no part of the ledger.
fn remove_set_aside(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains(".damaged-") {
            std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path)).unwrap();
        }
    }
}

/// Random look-ups by id, against reads of as many bytes at random places.
fn get(ledger: &Ledger<DiskStore>, headers: &[PathBuf], seed: u64, add: &mut impl FnMut(&'static str, f64)) {
    let mut rng = StdRng::seed_from_u64(seed);
    let count = ledger.summary().count;
    let ids: Vec<_> =
        (0..LOOK_UPS).map(|_| ledger.record(Position::new(rng.next_u64() % count)).unwrap().unwrap().id).collect();
    let longest = headers.iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let len = longest.metadata().unwrap().len().saturating_sub(400).max(1);
    let offsets: Vec<u64> = (0..LOOK_UPS).map(|_| rng.next_u64() % len).collect();
    let mut limit = raw::read_at(longest, &offsets, 400);
    let mut ours: Vec<f64> = ids
        .iter()
        .map(|id| {
            let (found, taken) = timed(|| {
                let position = ledger.position(id).unwrap().unwrap();
                ledger.record(position).unwrap().unwrap()
            });
            assert_eq!(found.id, *id);
            taken
        })
        .collect();
    limit.sort_by(f64::total_cmp);
    ours.sort_by(f64::total_cmp);
    add("get p50", quantile(&ours, 0.5));
    add("get p99", quantile(&ours, 0.99));
    add("get p50 limit", quantile(&limit, 0.5));
    add("get p99 limit", quantile(&limit, 0.99));
}

/// Every record of the log, every entry of the scan column, against reading the same files.
fn scans(
    ledger: &Ledger<DiskStore>,
    count: u64,
    headers: &[PathBuf],
    column: &[PathBuf],
    add: &mut impl FnMut(&'static str, f64),
) {
    add("log scan limit", count as f64 / read_all(headers));
    let (seen, taken) = timed(|| {
        let (mut seen, mut sum) = (0u64, 0u64);
        loop {
            let page = ledger.records(Position::new(seen), 4_096).unwrap();
            if page.is_empty() {
                std::hint::black_box(sum);
                return seen;
            }
            sum = page.iter().fold(sum, |sum, record| sum.wrapping_add(record.depth.get()));
            seen += page.len() as u64;
        }
    });
    assert_eq!(seen, count);
    add("log scan", count as f64 / taken);
    add("column scan limit", count as f64 / read_all(column));
    let (seen, taken) = timed(|| {
        let (mut seen, mut sum) = (0u64, 0u64);
        loop {
            let page = ledger.scan(Position::new(seen), 16_384).unwrap();
            if page.is_empty() {
                std::hint::black_box(sum);
                return seen;
            }
            sum = page.iter().fold(sum, |sum, entry| sum.wrapping_add(u64::from(entry.hint[0])));
            seen += page.len() as u64;
        }
    });
    assert_eq!(seen, count);
    add("column scan", count as f64 / taken);
}

/// All sizes, one line for each figure and size.
pub fn scale(report: &mut Report) {
    for size in SIZES {
        let dir = scratch();
        let written = child("child-write", dir.path(), size);
        let on_disk = bytes_of(&files(dir.path(), "")) as f64 / size as f64;
        let opened = child("child-open", dir.path(), size);
        let read = child("child-read", dir.path(), size);
        let of = |name: &str| read[name];
        let name = |what: &str| format!("{size:>9}: {what}");
        report.plain(&name("written, unchecked"), written["rate"] / 1e3, "k/s", String::new(), Asked::Nothing);
        report.time(&name("open, index current"), of("open"), of("open limit"), Asked::AtMost(1.0));
        report.time(&name("index rebuild"), of("rebuild"), of("rebuild limit"), Asked::Nothing);
        report.time(&name("get by id, p50"), of("get p50"), of("get p50 limit"), Asked::Nothing);
        report.time(&name("get by id, p99"), of("get p99"), of("get p99 limit"), Asked::Nothing);
        report.rate(&name("log scan"), of("log scan"), of("log scan limit"), Asked::Nothing);
        report.rate(&name("scan-column scan"), of("column scan"), of("column scan limit"), Asked::Nothing);
        report.time(&name("prove"), of("prove"), of("prove limit"), Asked::Nothing);
        report.time(&name("check"), of("check"), of("check limit"), Asked::Nothing);
        report.plain(&name("statement for a checkpoint"), of("statement") * 1e3, "ms", String::new(), Asked::Nothing);
        let limit = format!("{:.0} B on the wire", written["wire"]);
        report.plain(
            &name("bytes on disk over bytes on the wire"),
            on_disk / written["wire"],
            "x",
            limit,
            Asked::AtMost(1.2),
        );
        report.plain(
            &name("peak memory while writing"),
            written["peak"],
            "MiB",
            "150 MiB".into(),
            Asked::AtMost(150.0),
        );
        report.plain(&name("memory after opening"), opened["resident"], "MiB", "150 MiB".into(), Asked::AtMost(150.0));
        report.plain(&name("peak memory while opening"), opened["peak"], "MiB", "150 MiB".into(), Asked::AtMost(150.0));
    }
}
