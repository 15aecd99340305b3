//! A million common transactions over thirty days, and a thousand on each side that the other lacks: in the latest two hours,
//! over the latest day, scattered over all.

use std::{fs, ops::ControlFlow, path::Path, sync::Arc, thread, time::Instant};

use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Ledger, Network, Time, Transaction,
    rules::{self, Verified},
    stamp::{self, Effort},
    store::disk::DiskStore,
    transaction::{Core, CoreFields, Kind, body_hash},
};

use crate::{
    figure,
    fixture::bytes_of,
    million::{MONTH, Million},
    node::{Node, until},
    pipeline::{self, Writer},
    scratch,
};

/// Transactions that both have.
const COMMON: u64 = 1_000_000;
/// Transactions that one side has and the other lacks, on either side.
const DIFFERING: u64 = 1_000;
const BODY_BYTES: usize = 512;
const LONGEST_S: f64 = 3.0;

struct Scenario {
    name: &'static str,
    /// Over how many seconds before the end of the thirty days they are spread.
    secs: u64,
    limit_bytes: u64,
}

const SCENARIOS: [Scenario; 3] = [
    Scenario { name: "of the latest two hours", secs: 7_200, limit_bytes: 150_000 },
    Scenario { name: "over the latest day", secs: 86_400, limit_bytes: 600_000 },
    Scenario { name: "scattered over 30 days", secs: 30 * 86_400, limit_bytes: 3_000_000 },
];

pub fn run() -> bool {
    let (network, dir) = (Network::dev(), scratch());
    let (left, right) = (dir.path().join("left"), dir.path().join("right"));
    println!("writing a ledger of {COMMON} transactions, twice");
    write_common(&network, &left);
    copy(&left, &right);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut met = true;
    for (nth, scenario) in (0..).zip(SCENARIOS) {
        let kind = scenario.name;
        let (mine, theirs) = (make(&network, &scenario, 2 * nth), make(&network, &scenario, 2 * nth + 1));
        let missing: u64 = mine.iter().chain(&theirs).map(|one| one.transaction().to_bytes().len() as u64).sum();
        add(&network, &left, mine);
        add(&network, &right, theirs);
        let (bytes, seconds) = runtime.block_on(meet(&left, &right));
        let over = bytes.saturating_sub(missing);
        let name = format!("1,000 differing on each side {kind}: bytes");
        met &=
            figure(&name, kilo(over), &format!("at most {}", kilo(scenario.limit_bytes)), over <= scenario.limit_bytes);
        let name = format!("1,000 differing on each side {kind}: time");
        met &= figure(&name, format!("{seconds:.2} s"), &format!("at most {LONGEST_S} s"), seconds <= LONGEST_S);
    }
    met
}

fn kilo(bytes: u64) -> String {
    format!("{:.1} kB", bytes as f64 / 1_000.0)
}

fn write_common(network: &Network, dir: &Path) {
    let mut ledger = pipeline::open(network, dir);
    Writer::scope(&mut ledger, |writer| {
        for (nth, verified) in Million::new(network, COMMON, MONTH).enumerate() {
            writer.append(verified);
            if nth % 4_000 == 0 {
                writer.wait();
                writer.flush();
            }
        }
    });
    make_blocks(network, &mut ledger);
}

/// A node that runs has its blocks.
fn make_blocks(network: &Network, ledger: &mut Ledger<DiskStore>) {
    let now = pipeline::clock(network);
    ledger.newest_block(now).unwrap();
    ledger.flush_now(now).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Adds what only one side has.
fn add(network: &Network, dir: &Path, transactions: Vec<Verified>) {
    let mut ledger = pipeline::open(network, dir);
    Writer::scope(&mut ledger, |writer| transactions.into_iter().for_each(|one| writer.append(one)));
    make_blocks(network, &mut ledger);
}

/// Valid transactions, spread evenly over the scenario's time.
fn make(network: &Network, scenario: &Scenario, side: u64) -> Vec<Verified> {
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let one = |nth: u64| {
        let seed = side * DIFFERING + nth;
        let body = bytes_of(seed, "body of one that differs", BODY_BYTES);
        let key = SigningKey::from_bytes(&bytes_of(seed, "author of one that differs", 32).try_into().unwrap());
        let end = network.start().secs() + MONTH.secs;
        let core = Core::new(CoreFields {
            parents: vec![network.genesis()],
            time: Time::from_secs(end - scenario.secs + nth * scenario.secs / DIFFERING).rounded_down(),
            lifetime_secs: MONTH.lifetime_secs,
            kind: Kind::Sealed,
            hint: [7; 16],
            body_hash: body_hash(network, &body),
            body_len: BODY_BYTES as u32,
            author: key.verifying_key().to_bytes(),
        })
        .unwrap();
        let effort = Effort::required(network, &core);
        let signed = core.sign(network, &key).unwrap();
        let stamp = stamp::search(&signed.challenge(network), effort, 0.., || ControlFlow::Continue(())).unwrap();
        let whole = Transaction::new(network, signed.stamped(stamp), Some(body)).unwrap();
        rules::verify(network, whole).unwrap()
    };
    thread::scope(|scope| {
        let part = |core: u64| (0..DIFFERING).filter(move |nth| nth % cores == core);
        let threads: Vec<_> = (0..cores).map(|core| scope.spawn(move || part(core).map(one).collect())).collect();
        threads.into_iter().flat_map(|thread| -> Vec<Verified> { thread.join().unwrap() }).collect()
    })
}

/// Lets both meet until they are equal. Returns the bytes of sync and the seconds from the connection on.
async fn meet(left: &Path, right: &Path) -> (u64, f64) {
    let left = Arc::new(Node::start(left, &[]).await);
    let right = Node::start(right, &[left.address()]).await;
    let start = Instant::now();
    right.connected().await;
    until(async || left.summary().digest == right.summary().digest).await;
    let seconds = start.elapsed().as_secs_f64();
    let bytes = left.bytes();
    left.handle.shutdown().await.unwrap();
    right.handle.shutdown().await.unwrap();
    (bytes, seconds)
}
