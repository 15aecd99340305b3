//! Stamped transactions of `dev` in two lines, all of one length on the wire: enough for thousands of crashes, made
//! once and kept beside the build.
//!
//! Transaction n is the child of n - 2, and ten minutes later than n - 1: with 144 of them a day, bodies come and go.

use std::{
    fs,
    io::Write,
    ops::ControlFlow,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Network, Time, Transaction, TxId,
    rules::Verified,
    stamp::{self, Effort},
    transaction::{Core, CoreFields, Kind, body_hash},
};

/// Bytes of each transaction: a header with one parent, and the shortest body.
pub const BYTES: usize = 187 + 32 + 512;

pub fn dev() -> Network {
    Network::dev()
}

/// When transaction `nth` was made; it arrives a few seconds later.
pub fn time(nth: u64) -> Time {
    Time::from_secs(dev().start().secs() + nth * 600)
}

/// Makes transaction `nth` with this parent.
pub fn make(nth: u64, parent: TxId) -> Transaction {
    let network = dev();
    let mut seed = [6; 32];
    seed[..8].copy_from_slice(&nth.to_le_bytes());
    let key = SigningKey::from_bytes(&seed);
    let body: Vec<u8> = (0..512).map(|at| (nth.wrapping_mul(31) as u8).wrapping_add(at as u8)).collect();
    let core = Core::new(CoreFields {
        parents: vec![parent],
        time: time(nth),
        lifetime_secs: 3_600,
        kind: if nth.is_multiple_of(5) { Kind::Tagged } else { Kind::Sealed },
        hint: [nth as u8; 16],
        body_hash: body_hash(&network, &body),
        body_len: 512,
        author: key.verifying_key().to_bytes(),
    })
    .unwrap();
    let effort = Effort::required(&network, &core);
    let signed = core.sign(&network, &key).unwrap();
    let stamp = stamp::search(&signed.challenge(&network), effort, 0.., || ControlFlow::Continue(())).unwrap();
    Transaction::new(&network, signed.stamped(stamp), Some(body)).unwrap()
}

/// One of the two lines: every second transaction from `first` on.
fn every_second(first: u64, count: u64) -> Vec<Transaction> {
    let mut line: Vec<Transaction> = Vec::new();
    for nth in (first..count).step_by(2) {
        let parent = line.last().map_or(dev().genesis(), Transaction::id);
        line.push(make(nth, parent));
    }
    line
}

/// A file with the transactions; any process can read the nth of them without the others.
#[derive(Clone, Debug)]
pub struct Line {
    path: PathBuf,
    count: u64,
}

impl Line {
    /// The file with `count` of them, made if it is not there yet.
    pub fn of(count: u64) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("line-1-{count}"));
        if fs::metadata(&path).is_ok_and(|meta| meta.len() == count * BYTES as u64) {
            return Self { path, count };
        }
        let odd = std::thread::spawn(move || every_second(1, count));
        let mut even = every_second(0, count).into_iter();
        let mut odd = odd.join().unwrap().into_iter();
        let unfinished = path.with_extension(std::process::id().to_string());
        let mut file = fs::File::create(&unfinished).unwrap();
        for nth in 0..count {
            let next = if nth % 2 == 0 { even.next() } else { odd.next() };
            file.write_all(&next.unwrap().to_bytes()).unwrap();
        }
        fs::rename(unfinished, &path).unwrap();
        Self { path, count }
    }

    /// A file that another process made.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), count: fs::metadata(path).unwrap().len() / BYTES as u64 }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
    pub fn len(&self) -> u64 {
        self.count
    }

    /// The nth transaction.
    pub fn get(&self, nth: u64) -> Transaction {
        let mut bytes = vec![0; BYTES];
        fs::File::open(&self.path).unwrap().read_exact_at(&mut bytes, nth * BYTES as u64).unwrap();
        Transaction::from_bytes(&dev(), &bytes).unwrap()
    }

    /// The same, ready to be appended: it was stamped when the file was made.
    pub fn verified(&self, nth: u64) -> Verified {
        Verified::unchecked(self.get(nth))
    }
}
