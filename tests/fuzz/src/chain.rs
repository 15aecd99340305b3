//! What a node reads from strangers and from its own disk: transactions, checkpoints, proof files, files of a ledger.

use std::{
    cell::OnceCell,
    fs,
    ops::Bound,
    path::{Path, PathBuf},
};

use qasedak_chain::{
    Ledger, Network, Transaction, audit as log_audit,
    checkpoint::SignedCheckpoint,
    proof as proof_file, repair, rules,
    store::{
        Outbox,
        disk::{
            DiskCheckpoints, DiskOutbox, DiskStore,
            journal::{Changes, Holds, Journal},
        },
    },
    transaction::Header,
};
use tempfile::TempDir;

use crate::{
    disk::{self, SMALL, copy_dir},
    pool::after_pool,
};

/// A transaction in its wire form, with or without its body, and the rules that need no ledger.
pub fn transaction(data: &[u8]) {
    let network = Network::dev();
    if let Ok(transaction) = Transaction::from_bytes(&network, data) {
        assert_eq!(transaction.to_bytes(), data);
        let _ = rules::verify(&network, transaction);
    }
}

/// A header alone.
pub fn header(data: &[u8]) {
    if let Ok(header) = Header::from_bytes(data) {
        assert_eq!(header.to_bytes(), data);
        let _ = rules::verify_header(&Network::dev(), &header);
    }
}

/// A signed checkpoint.
pub fn checkpoint(data: &[u8]) {
    if let Ok(checkpoint) = SignedCheckpoint::from_bytes(&Network::dev(), data) {
        assert_eq!(checkpoint.to_bytes(), data);
    }
}

/// A proof file: what is good can be told in words.
pub fn proof(data: &[u8]) {
    if let Ok(proven) = proof_file::check(data) {
        assert!(!proven.sentence().is_empty() && !proven.words().is_empty());
    }
}

/// The name of a network: what is accepted is the name of the network that it gives.
pub fn network_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(network) = Network::named(text) {
        assert_eq!(network.name(), text);
        assert!(text.len() <= 32 && text.is_ascii());
    }
}

/// A file of checkpoints, as a node finds it when it starts: read, opened, mended, and then without fault.
pub fn checkpoints_file(data: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let network = Network::dev();
    fs::write(dir.path().join("checkpoints.seg"), data).unwrap();
    let _ = DiskCheckpoints::read(dir.path(), &network);
    if DiskCheckpoints::open(dir.path(), &network).is_ok() {
        assert!(DiskCheckpoints::open(dir.path(), &network).unwrap().damage().is_empty());
    }
}

/// Transactions in the ledger that files are fuzzed in: enough for several segments, parts, runs and subtrees.
const RECORDS: usize = 20;

/// A ledger on disk, and a copy to put a fuzzed file into.
struct Bed {
    good: TempDir,
    work: TempDir,
    files: Vec<PathBuf>,
}

/// The ledger's own files below a directory, ascending: all but those of sled and the lock.
fn own_files(root: &Path, at: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "index" {
            own_files(root, &path, found);
        } else if path.is_file() && name != "lock" {
            found.push(path.strip_prefix(root).unwrap().to_owned());
        }
    }
    found.sort();
}

impl Bed {
    fn new() -> Self {
        let (good, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut ledger = disk::open_small(good.path());
        (0..RECORDS).step_by(5).for_each(|at| disk::commit(&mut ledger, at..at + 5));
        drop(ledger);
        let mut files = Vec::new();
        own_files(good.path(), good.path(), &mut files);
        copy_dir(good.path(), work.path());
        Self { good, work, files }
    }

    /// Puts the fuzzed file in its place: the first byte says which, the others are its content.
    fn put(&self, data: &[u8]) -> Option<&Path> {
        let (which, content) = data.split_first()?;
        let file = &self.files[usize::from(*which) % self.files.len()];
        fs::write(self.work.path().join(file), content).unwrap();
        Some(file)
    }

    /// Makes the copy anew, whatever became of it.
    fn restore(&self) {
        let _ = fs::remove_dir_all(self.work.path());
        copy_dir(self.good.path(), self.work.path());
    }
}

thread_local! {
    static BED: OnceCell<Bed> = const { OnceCell::new() };
}

fn with_bed<R>(work: impl FnOnce(&Bed) -> R) -> R {
    BED.with(|bed| work(bed.get_or_init(Bed::new)))
}

/// The seeds of [`audit`] and [`recovery`]: each file of the ledger with the byte that names it.
pub fn ledger_seeds() -> Vec<Vec<u8>> {
    with_bed(|bed| {
        let seed = |(which, file): (usize, &PathBuf)| {
            [&[which as u8][..], &fs::read(bed.good.path().join(file)).unwrap()].concat()
        };
        bed.files.iter().enumerate().map(seed).collect()
    })
}

/// One file of a ledger is any bytes, and the audit reads it all. It changes nothing.
pub fn audit(data: &[u8]) {
    with_bed(|bed| {
        let Some(file) = bed.put(data) else { return };
        let _ = log_audit::verify(bed.work.path(), &Network::dev(), after_pool(), &mut |_| {});
        fs::copy(bed.good.path().join(file), bed.work.path().join(file)).unwrap();
    });
}

/// One file of a ledger is any bytes, and a node starts on it, or makes a new log from what is whole.
pub fn recovery(data: &[u8]) {
    with_bed(|bed| {
        if bed.put(data).is_none() {
            return;
        }
        let (dir, network) = (bed.work.path(), Network::dev());
        let open =
            || Ledger::open(network.clone(), DiskStore::open_with(dir, &network, [3; 16], SMALL, &mut |_, _| {})?);
        match open() {
            Ok(ledger) => assert!(ledger.summary().count <= RECORDS as u64),
            Err(_) => {
                if let Ok(repaired) = repair::repair(dir, &network, [4; 16], after_pool(), &mut |_| {}) {
                    let _ = fs::remove_dir_all(repaired.set_aside);
                    assert!(open().is_ok(), "a log that was made anew opens");
                }
            }
        }
        bed.restore();
    });
}

/// What the first byte of a seed of [`journal`] says the journal holds.
const HOLDS: [Holds; 3] = [Holds::Outbox, Holds::Wallet, Holds::Found];
/// The files of a journal.
const JOURNAL_FILES: [&str; 2] = ["journal.seg", "journal.end"];

/// A journal of three commits.
fn commit_some(dir: &Path, holds: Holds) {
    let mut journal = Journal::open(dir, holds, Network::dev().ledger()).unwrap();
    for commit in 0..3u8 {
        let mut changes = Changes::default();
        changes.insert(&[1, commit], &[commit; 40]);
        changes.insert(b"again", &[commit; 9]);
        if commit == 2 {
            changes.remove(&[1, 0]);
        }
        journal.commit(&changes).unwrap();
    }
}

/// Seeds of [`journal`]: each file of each kind of journal, behind the byte that names it.
pub fn journal_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (which, holds) in HOLDS.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        commit_some(dir.path(), holds);
        for (nth, name) in JOURNAL_FILES.into_iter().enumerate() {
            seeds.push([&[(which * 2 + nth) as u8][..], &fs::read(dir.path().join(name)).unwrap()].concat());
        }
    }
    seeds
}

/// One file of a journal is any bytes: it opens or is refused, and is not changed when it is refused. What opens is read, takes
/// a commit, and opens again with the same in it.
pub fn journal(data: &[u8]) {
    let Some((which, content)) = data.split_first() else { return };
    let (holds, file) = (HOLDS[usize::from(*which / 2) % 3], JOURNAL_FILES[usize::from(*which % 2)]);
    let (dir, ledger) = (tempfile::tempdir().unwrap(), Network::dev().ledger());
    commit_some(dir.path(), holds);
    fs::write(dir.path().join(file), content).unwrap();
    let Ok(mut journal) = Journal::open(dir.path(), holds, ledger) else {
        assert_eq!(fs::read(dir.path().join(file)).unwrap(), content, "what is refused is left as it was");
        return;
    };
    let all = |journal: &Journal| -> Vec<_> { journal.entries(Bound::Unbounded).map(|entry| entry.unwrap()).collect() };
    let mut before = all(&journal);
    let mut changes = Changes::default();
    changes.insert(&[0xff; 40], b"last");
    journal.commit(&changes).unwrap();
    drop(journal);
    before.retain(|(key, _)| key[..] != [0xff; 40]);
    before.push((vec![0xff; 40], b"last".to_vec()));
    before.sort();
    assert_eq!(all(&Journal::open(dir.path(), holds, ledger).unwrap()), before);
    if holds == Holds::Outbox {
        // Keys and values that are no transactions.
        let outbox = DiskOutbox::open(dir.path(), &Network::dev()).unwrap();
        let _ = outbox.all();
    }
}
