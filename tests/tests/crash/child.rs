//! The process that is killed: it writes to ledger, outbox and wallet without pause, and says on standard output what
//! it has been told is safe, after it was told.
//!
//! | line | means |
//! |---|---|
//! | `L n` | the ledger has acknowledged its first n transactions |
//! | `O n` | the outbox has acknowledged transaction n of the line |
//! | `o n` | the outbox is about to be told to let it go |
//! | `W n` | the wallet has acknowledged the messages before n, and the cursor n |
//! | `I n` | and its index is well |
//! | `E part sentence` | a part refused, and why; for `index`, what the ledger says of its trouble |

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use qasedak_chain::{
    Ledger, Position, TxId,
    ledger::{AppendError, IndexCheck},
    store::{
        Outbox,
        disk::{DiskOptions, DiskOutbox, DiskStore},
    },
};
use qasedak_wallet::{
    Content, InnerId, KdfCost, Message, Opened, Phrase, SealKeyId, Wallet,
    wallet::{LogId, Scanned},
};
use rand::{SeedableRng, rngs::StdRng};

use crate::line::{Line, dev, time};

const LOG_ID: [u8; 16] = [0x77; 16];
pub const LOG: LogId = LogId::from_bytes(LOG_ID);
pub const PASSPHRASE: &str = "crash";
/// Header segments end early, so that many are begun; runs are made and sled is written often.
const OPTIONS: DiskOptions = DiskOptions { segment_bytes: 40_000, memtable_records: 64, overlay_entries: 16 };
/// The same for who writes many at once: so many that a flush has more threads and bodies go straight to the disk, several days' of
/// them in the same flush.
const MANY: u64 = 300;
const OPTIONS_OF_MANY: DiskOptions = DiskOptions { segment_bytes: 1 << 20, ..OPTIONS };
/// Most transactions that the outbox keeps at a time.
const KEPT: usize = 6;

pub type DiskLedger = Ledger<DiskStore>;

pub fn open_ledger(dir: &Path) -> DiskLedger {
    open_ledger_with(dir, OPTIONS)
}

fn open_ledger_with(dir: &Path, options: DiskOptions) -> DiskLedger {
    let store = DiskStore::open_with(&dir.join("ledger"), &dev(), LOG_ID, options, &mut |_, _| {}).unwrap();
    Ledger::open(dev(), store).unwrap()
}

pub fn open_outbox(dir: &Path) -> DiskOutbox {
    DiskOutbox::open(&dir.join("outbox"), &dev()).unwrap()
}

pub fn open_wallet(dir: &Path) -> Wallet {
    let dir = dir.join("wallet");
    if Wallet::exists(&dir).unwrap() {
        return Wallet::open(&dir, &dev(), PASSPHRASE, time(0)).unwrap();
    }
    let phrase = Phrase::from_entropy(&[3; 32]).unwrap();
    let cost = KdfCost::for_tests();
    Wallet::create(&dir, &dev(), &phrase, PASSPHRASE, cost, time(0), &mut StdRng::seed_from_u64(3)).unwrap()
}

/// Message `nth` as if it had been opened.
pub fn message(nth: u64, wallet: &Wallet) -> Opened {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&nth.to_be_bytes());
    Opened {
        tx_id: TxId::from_bytes(id),
        inner_id: InnerId::from_bytes(id),
        sender: wallet.address(),
        recipient: wallet.address(),
        message: Message::new(Content::Text(format!("message {nth}, and what it says at some length")), nth),
        time: time(nth),
        lifetime_secs: 90 * 86_400,
        seal_key: SealKeyId::new(1),
    }
}

fn in_words(error: AppendError) -> String {
    match error {
        AppendError::Store(error) => error.to_string(),
        AppendError::Refused(why) => format!("{why:?}"),
    }
}

fn say<T, E: std::fmt::Display>(part: &str, result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            println!("E {part} {error}");
            None
        }
    }
}

/// Not a test: what [`spawn`] runs in a process of its own.
#[test]
#[ignore = "the process that other tests kill"]
fn writes_until_it_dies() {
    let Some(dir) = std::env::var_os("QASEDAK_CRASH_DIR").map(PathBuf::from) else {
        return;
    };
    let line = Line::at(&PathBuf::from(std::env::var_os("QASEDAK_CRASH_LINE").unwrap()));
    let mut next_kept: u64 = std::env::var("QASEDAK_CRASH_KEPT").unwrap().parse().unwrap();
    let many = std::env::var_os("QASEDAK_CRASH_MANY").is_some();
    println!();
    let options = if many { OPTIONS_OF_MANY } else { OPTIONS };
    let open = std::panic::catch_unwind(|| (open_ledger_with(&dir, options), open_outbox(&dir), open_wallet(&dir)));
    let Ok((mut ledger, outbox, mut wallet)) = open else {
        // The power went before it had begun. It waits for its end, as after a failed write.
        println!("E open");
        loop {
            thread::park();
        }
    };
    let mut kept: VecDeque<u64> = VecDeque::new();
    for round in 0u64.. {
        for _ in 0..if many { MANY } else { round % 3 + 1 } {
            let nth = ledger.summary().count;
            if nth < line.len() {
                let appended = ledger.append(line.verified(nth), time(nth).plus(5), false);
                say("ledger", appended.map_err(in_words));
            }
        }
        let count = ledger.summary().count;
        if say("ledger", ledger.flush_now(time(count))).is_some() {
            println!("L {count}");
            match ledger.store().trouble() {
                None => println!("I {count}"),
                Some(trouble) => println!("E index {trouble}"),
            }
        }
        if round % 20 == 7 {
            say("ledger", ledger.prune(time(count)));
        }
        let nth = next_kept % line.len();
        if say("outbox", outbox.put(&line.get(nth))).is_some() {
            println!("O {nth}");
            next_kept += 1;
            kept.push_back(nth);
        }
        if kept.len() > KEPT
            && let Some(oldest) = kept.pop_front()
        {
            println!("o {oldest}");
            say("outbox", outbox.remove(&[line.get(oldest).id()]));
        }
        let cursor = wallet.cursor(&LOG);
        if let Some(cursor) = say("wallet", cursor).map(Position::get) {
            let next = Position::new(cursor + 1);
            let opened = vec![message(cursor, &wallet)];
            if say("wallet", wallet.record_scanned(&LOG, Scanned { next, opened, ..Scanned::default() }, time(count)))
                .is_some()
            {
                println!("W {}", cursor + 1);
            }
        }
    }
}

/// What was acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    pub ledger: u64,
    /// What of that the index was well at.
    pub index: u64,
    pub outbox: BTreeSet<u64>,
    pub wallet: u64,
    /// The next transaction of the line for the outbox.
    pub next_kept: u64,
    /// Sentences of parts that refused.
    pub refusals: Vec<String>,
    pub total: u64,
}

impl Acknowledged {
    /// Takes a line of the child's; what else libtest prints is passed over.
    fn take(&mut self, line: &str) {
        let Some((what, rest)) = line.split_once(' ') else {
            return;
        };
        match (what, rest.parse::<u64>()) {
            ("L", Ok(count)) => self.ledger = count,
            ("I", Ok(count)) => {
                self.index = count;
                return;
            }
            ("O", Ok(nth)) => {
                self.outbox.insert(nth);
                self.next_kept = nth + 1;
            }
            ("o", Ok(nth)) => drop(self.outbox.remove(&nth)),
            ("W", Ok(next)) => self.wallet = next,
            ("E", _) => {
                if !self.refusals.iter().any(|refusal| refusal == rest) {
                    self.refusals.push(rest.to_owned());
                }
                return;
            }
            _ => return,
        }
        self.total += 1;
    }
}

/// A running child, and the thread that reads what it says.
pub struct Writer {
    pub process: Child,
    pub acknowledged: Arc<Mutex<Acknowledged>>,
    reader: JoinHandle<()>,
}

/// The command that runs the child in `dir`.
pub fn command(dir: &Path, line: &Line, acknowledged: &Acknowledged) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    in_child(&mut command, dir, line, acknowledged);
    command
}

/// The same, which writes many transactions at once.
pub fn command_of_many(dir: &Path, line: &Line, acknowledged: &Acknowledged) -> Command {
    let mut command = command(dir, line, acknowledged);
    command.env("QASEDAK_CRASH_MANY", "1");
    command
}

/// Gives a command the child's arguments and environment.
pub fn in_child(command: &mut Command, dir: &Path, line: &Line, acknowledged: &Acknowledged) {
    command
        .args(["--exact", "child::writes_until_it_dies", "--ignored", "--nocapture", "--test-threads=1"])
        .env("QASEDAK_CRASH_DIR", dir)
        .env("QASEDAK_CRASH_LINE", line.path())
        .env("QASEDAK_CRASH_KEPT", acknowledged.next_kept.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
}

impl Writer {
    /// Runs a command made by [`command`]; what it acknowledges is added to `before`.
    pub fn spawn(mut command: Command, before: Acknowledged) -> Self {
        let mut process = command.spawn().unwrap();
        let out = process.stdout.take().unwrap();
        let acknowledged = Arc::new(Mutex::new(before));
        let shared = Arc::clone(&acknowledged);
        let reader = thread::spawn(move || read(out, &shared));
        Self { process, acknowledged, reader }
    }

    /// Kills it, and returns all that it was heard to say.
    pub fn kill(mut self) -> Acknowledged {
        let died = self.process.try_wait().unwrap();
        assert!(died.is_none(), "the writer ended by itself: {died:?}");
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.reader.join().unwrap();
        self.acknowledged.lock().unwrap().clone()
    }
}

fn read(out: ChildStdout, acknowledged: &Mutex<Acknowledged>) {
    let mut out = BufReader::new(out);
    let mut line = String::new();
    while out.read_line(&mut line).is_ok_and(|read| read > 0) {
        // A line without its end was cut off by the kill, and says nothing.
        if let Some(whole) = line.strip_suffix('\n') {
            acknowledged.lock().unwrap().take(whole);
        }
        line.clear();
    }
}

/// Opens everything and looks whether what was acknowledged is there, whole, in order and once; `thorough`: every
/// transaction, the index and an audit besides.
pub fn check(dir: &Path, line: &Line, acknowledged: &Acknowledged, thorough: bool) {
    let mut ledger = open_ledger(dir);
    let count = ledger.summary().count;
    assert!(count >= acknowledged.ledger, "{} acknowledged by the ledger, {count} here", acknowledged.ledger);
    let from = if thorough { 0 } else { acknowledged.ledger.saturating_sub(60) };
    for position in from..count {
        let transaction = ledger.transaction(Position::new(position)).unwrap().unwrap();
        assert_eq!(transaction.id(), line.get(position).id(), "position {position}");
    }
    if thorough {
        assert_eq!(ledger.check_index(&mut |_| {}).unwrap(), IndexCheck::Agrees);
        ledger.flush_now(time(count)).unwrap();
        let report = qasedak_chain::audit::verify(&dir.join("ledger"), &dev(), time(count), &mut |_| {}).unwrap();
        let first = report.findings.first();
        assert!(report.is_clean(), "{} findings, the first: {first:?}", report.findings_total);
        assert_eq!((report.count, report.link), (count, ledger.summary().link));
    }
    drop(ledger);
    let found: BTreeSet<TxId> = open_outbox(dir).all().unwrap().iter().map(|kept| kept.id()).collect();
    for nth in &acknowledged.outbox {
        assert!(found.contains(&line.get(*nth).id()), "{nth} acknowledged by the outbox, not here");
    }
    let wallet = open_wallet(dir);
    let cursor = wallet.cursor(&LOG).unwrap().get();
    assert!(cursor >= acknowledged.wallet, "{} acknowledged by the wallet, {cursor} here", acknowledged.wallet);
    let shown: Vec<u64> = wallet.inbox(None, usize::MAX).unwrap().iter().map(|message| message.time_ms).collect();
    assert_eq!(shown, (0..cursor).collect::<Vec<_>>(), "each message is shown once");
}

/// Whether the line is nearly used up: then all is looked through once more, and begun anew in an empty directory.
pub fn begin_anew(dir: &Path, line: &Line, acknowledged: &mut Acknowledged) {
    if acknowledged.ledger + 200 < line.len() {
        return;
    }
    check(dir, line, acknowledged, true);
    for part in ["ledger", "outbox", "wallet"] {
        fs::remove_dir_all(dir.join(part)).unwrap();
    }
    *acknowledged = Acknowledged { total: acknowledged.total, ..Acknowledged::default() };
}

/// A random moment, from the child's very start on.
pub fn moment(rng: &mut StdRng, longest_ms: u64) -> Duration {
    use rand::RngExt;
    Duration::from_micros(rng.random_range(0..longest_ms * 1_000))
}
