//! What is measured in processes of their own: writing a ledger, opening it, reading it, making its index anew; so that
//! peak memory is that of one of these and of nothing else.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use qasedak_chain::{Ledger, Network, Position, TxId, rules::Verified, store::disk::DiskStore};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    million::{MONTH, Million},
    pipeline::{self, Writer},
    proofs::{self, Proofs, STAMPED},
    raw::{self, Cached},
    report::quantile,
};

/// Ids that are looked up in one round: so many that those with which a process begins, when neither its code nor what it goes by
/// is in the processor's caches, are not a third of the slowest hundredth.
const LOOK_UPS: usize = 20_000;
/// Ids that are looked up in one round with all files put out of memory before each.
const COLD_LOOK_UPS: usize = 200;
/// Transactions that one fsync makes durable, on both sides.
const GROUP: usize = 1_000;
/// Transactions that are made before the clock starts, and written while it runs.
const CHUNK: usize = 10_000;

/// What a child measured, by name.
pub type Figures = BTreeMap<String, f64>;

/// A directory that goes when it is dropped, on the disk that the build is on.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Runs as a child if that is what the arguments say.
pub fn run(args: &[String]) -> bool {
    let [role, dir, count, round] = args else {
        return false;
    };
    let (dir, count, round) = (PathBuf::from(dir), count.parse().unwrap_or(0), round.parse().unwrap_or(0));
    match role.as_str() {
        "child-write" => print_figures(&write(&dir, count)),
        "child-rate" => print_figures(&rate(&dir, count)),
        "child-open" => print_figures(&only_open(&dir)),
        "child-read" => print_figures(&read(&dir, count, round)),
        "child-rebuild" => print_figures(&rebuild(&dir, count)),
        _ => return false,
    }
    true
}

fn print_figures(figures: &Figures) {
    println!("{}", serde_json::to_string(figures).unwrap());
}

/// Runs a child, and gives what it measured.
pub fn child(role: &str, dir: &Path, count: u64, round: u64) -> Figures {
    let exe = std::env::current_exe().unwrap();
    let output = Command::new(exe).arg(role).arg(dir).args([count.to_string(), round.to_string()]).output().unwrap();
    assert!(output.status.success(), "{role}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Peak and present resident memory of this process, in MiB (proc(5), `VmHWM` and `VmRSS`).
fn memory_mib(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// The beginning of every ledger is stamped.
fn transactions(network: &Network, count: u64) -> impl Iterator<Item = Verified> {
    proofs::stamped(network).into_iter().chain(Million::new(network, count - STAMPED as u64, MONTH))
}

/// Writes the ledger that the other children read.
fn write(dir: &Path, count: u64) -> Figures {
    let network = Network::dev();
    let mut ledger = pipeline::open(&network, dir);
    let mut wire = 0;
    Writer::scope(&mut ledger, |writer| {
        let mut all = transactions(&network, count);
        loop {
            let page: Vec<_> = all.by_ref().take(GROUP).collect();
            if page.is_empty() {
                return;
            }
            wire += page.iter().map(|verified| verified.transaction().to_bytes().len()).sum::<usize>();
            page.into_iter().for_each(|verified| writer.append(verified));
            writer.wait();
            writer.flush();
        }
    });
    // What a node does that is stopped and started: its blocks are computed, and all of the index is written.
    ledger.refresh_blocks().unwrap();
    ledger.flush_now(pipeline::clock(&network)).unwrap();
    drop(ledger);
    pipeline::open(&network, dir).flush_now(pipeline::clock(&network)).unwrap();
    Figures::from([("wire".into(), wire as f64 / count as f64), ("peak".into(), memory_mib("VmHWM"))])
}

/// One round of writing a ledger, all upkeep included, against a raw append and fsync of the same bytes: both take turns
/// every so many transactions, which are made while no clock runs.
fn rate(dir: &Path, count: u64) -> Figures {
    let network = Network::dev();
    let mut ledger = pipeline::open(&network, &dir.join("ledger"));
    let (mut ours, mut limit, raw_file) = (Duration::ZERO, Duration::ZERO, dir.join("raw"));
    Writer::scope(&mut ledger, |writer| {
        let mut all = transactions(&network, count);
        loop {
            let chunk: Vec<Vec<Verified>> = (0..CHUNK / GROUP).map(|_| all.by_ref().take(GROUP).collect()).collect();
            if chunk[0].is_empty() {
                return;
            }
            let bytes = |group: &Vec<Verified>| group.iter().flat_map(|it| it.transaction().to_bytes()).collect();
            let groups: Vec<Vec<u8>> = chunk.iter().map(bytes).collect();
            limit += raw::append(&groups, &raw_file);
            std::fs::remove_file(&raw_file).unwrap();
            let start = Instant::now();
            for group in chunk {
                group.into_iter().for_each(|verified| writer.append(verified));
                writer.wait();
                writer.flush();
            }
            writer.rest();
            ours += start.elapsed();
        }
    });
    let rate = |taken: Duration| count as f64 / taken.as_secs_f64();
    Figures::from([("rate".into(), rate(ours)), ("rate limit".into(), rate(limit))])
}

fn only_open(dir: &Path) -> Figures {
    let ledger = pipeline::open(&Network::dev(), dir);
    assert!(ledger.summary().count > 0);
    Figures::from([("resident".into(), memory_mib("VmRSS")), ("opening peak".into(), memory_mib("VmHWM"))])
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed().as_secs_f64())
}

/// Files below a directory whose names end so.
pub fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
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

pub fn bytes_of(paths: &[PathBuf]) -> u64 {
    paths.iter().map(|path| path.metadata().unwrap().len()).sum()
}

/// One round of opening and reading a ledger that is there already.
fn read(dir: &Path, count: u64, round: u64) -> Figures {
    let network = Network::dev();
    let mut figures = Figures::new();
    let mut add = |name: &'static str, value| {
        figures.insert(name.to_owned(), value);
    };
    let headers = files(&dir.join("headers"), ".seg");
    let column = [dir.join("scan.col")];
    let proofs = Proofs::new(&network);
    let ids = some_ids(&network, dir, LOOK_UPS + COLD_LOOK_UPS, round);
    // All but the bodies, of which nothing is read here.
    let all = files(dir, "").into_iter().filter(|path| !path.parent().unwrap().ends_with("bodies"));
    let cached = Cached::new(all.collect());
    cached.evict();
    add("open cold limit", read_all(&headers[headers.len() - 1..]));
    cached.evict();
    add("open cold", timed(|| drop(pipeline::open(&network, dir))).1);
    add("open limit", read_all(&headers[headers.len() - 1..]));
    let (mut ledger, taken) = timed(|| pipeline::open(&network, dir));
    add("open", taken);
    get(&ledger, ids.split_at(LOOK_UPS), &headers, &cached, &mut add);
    scans(&ledger, count, &headers, &column, &mut add);
    proofs.measure(&mut ledger, &mut add);
    drop(ledger);
    add("reading peak", memory_mib("VmHWM"));
    figures
}

/// One round of making the index of a ledger anew.
fn rebuild(dir: &Path, count: u64) -> Figures {
    let network = Network::dev();
    let limit = read_all(&files(&dir.join("headers"), ".seg"));
    let store = DiskStore::open(dir, &network, [9; 16]).unwrap();
    let (ledger, taken) = timed(|| Ledger::rebuild_index(network.clone(), store).unwrap());
    assert_eq!(ledger.summary().count, count);
    drop(ledger);
    remove_set_aside(dir);
    let peak = memory_mib("VmHWM");
    Figures::from([
        ("rebuild".to_owned(), taken),
        ("rebuild limit".to_owned(), limit),
        ("rebuilding peak".to_owned(), peak),
    ])
}

/// So many ids at random, others in each round.
fn some_ids(network: &Network, dir: &Path, many: usize, round: u64) -> Vec<TxId> {
    let (ledger, mut rng) = (pipeline::open(network, dir), StdRng::seed_from_u64(round));
    let count = ledger.summary().count;
    (0..many).map(|_| ledger.record(Position::new(rng.next_u64() % count)).unwrap().unwrap().id).collect()
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

/// Look-ups of ids that nothing was read of before, against reads of as many bytes at random places: of files that are in
/// the system's memory and in use, and with all of them put out of it before each.
fn get(
    ledger: &Ledger<DiskStore>,
    (warm, cold): (&[TxId], &[TxId]),
    headers: &[PathBuf],
    cached: &Cached,
    add: &mut impl FnMut(&'static str, f64),
) {
    let longest = headers.iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let len = longest.metadata().unwrap().len().saturating_sub(400).max(1);
    let offsets = |ids: &[TxId]| -> Vec<u64> {
        ids.iter().map(|id| u64::from_le_bytes(id.as_bytes()[24..].try_into().unwrap()) % len).collect()
    };
    let look_up = |ids: &[TxId], before: &dyn Fn()| -> Vec<f64> {
        let look_up = |id: &TxId| {
            before();
            let (found, taken) = timed(|| {
                let position = ledger.position(id).unwrap().unwrap();
                ledger.record(position).unwrap().unwrap()
            });
            assert_eq!(found.id, *id);
            taken
        };
        ids.iter().map(look_up).collect()
    };
    let mut add_all = |names: [&'static str; 2], mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        add(names[0], quantile(&values, 0.5));
        add(names[1], quantile(&values, 0.99));
    };
    let evict = || cached.evict();
    add_all(["get cold p50 limit", "get cold p99 limit"], raw::read_at(longest, &offsets(cold), 400, evict));
    add_all(["get cold p50", "get cold p99"], look_up(cold, &evict));
    // Twice all of them, so that the system counts every page as in use: it moves a page when it is used for the second time,
    // some thirty at once, and who comes then waits. So limit and ledger find the same.
    read_all(&cached.paths);
    read_all(&cached.paths);
    add_all(["get p50 limit", "get p99 limit"], raw::read_at(longest, &offsets(warm), 400, || {}));
    add_all(["get p50", "get p99"], look_up(warm, &|| {}));
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
