//! Blocks follow from the set alone (DESIGN §2, §3): whatever the order of arrival, and whenever somebody looked in
//! between, the same set has the same blocks, chain and digests; and a late arrival costs no more than what it changes.
//!
//! `QASEDAK_SEED=…` repeats a run, `QASEDAK_DAGS=…` changes the number of graphs.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Digest, Ledger, Network, Time, Transaction, TxId,
    block::{self, Block},
    digest::SetDigest,
    ledger::{DaySummary, Refreshed},
    rules::Verified,
    store::memory::MemoryStore,
    transaction::{Core, CoreFields, Header, Kind, body_hash},
};

const DAGS: u64 = 10_000;
const ORDERS: u64 = 10;
const BODY: [u8; 512] = [0; 512];

/// SplitMix64 (Steele, Lea and Flood 2014): small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn number_from(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// Makes transactions that are well formed and have neither a good signature nor a stamp: 0.7 million of them.
struct Maker {
    network: Network,
    author: [u8; 32],
    body_hash: [u8; 32],
}

impl Maker {
    fn new() -> Self {
        let network = Network::dev();
        let author = SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes();
        Self { author, body_hash: body_hash(&network, &BODY), network }
    }

    fn make(&self, nth: u64, mut parents: Vec<TxId>, time: u64) -> Transaction {
        parents.sort_unstable();
        parents.dedup();
        let core = Core::new(CoreFields {
            parents,
            time: Time::from_secs(time),
            lifetime_secs: 3_600,
            kind: Kind::Sealed,
            hint: u128::from(nth).to_le_bytes(),
            body_hash: self.body_hash,
            body_len: 512,
            author: self.author,
        });
        let header = Header::from_bytes(&[core.unwrap().to_bytes(), vec![0; 88]].concat()).unwrap();
        Transaction::new(&self.network, header, Some(BODY.to_vec())).unwrap()
    }

    /// 2 to 12 transactions over some hours, parents first; each names one to three before it, or genesis.
    fn dag(&self, random: &mut Random) -> Vec<Transaction> {
        let mut dag: Vec<Transaction> = Vec::new();
        for _ in 0..2 + random.below(11) {
            let mut parents = Vec::new();
            let mut earliest = self.network.start().secs();
            for _ in 0..=random.below(3) {
                let pick = random.below(dag.len() as u64 + 1) as usize;
                parents.push(dag.get(pick).map_or(self.network.genesis(), Transaction::id));
                earliest = dag.get(pick).map_or(earliest, |parent| parent.core().time().secs().max(earliest));
            }
            // Often the same hour, at times some hours on, and now and then the next day.
            let minutes = match random.below(10) {
                0..6 => random.below(40),
                6..9 => random.below(300),
                _ => random.below(2_000),
            };
            dag.push(self.make(random.next(), parents, earliest + minutes * 60));
        }
        dag
    }
}

/// A random order in which parents come first.
fn shuffled(dag: &[Transaction], random: &mut Random) -> Vec<Transaction> {
    let mut waiting: Vec<&Transaction> = dag.iter().collect();
    let mut order: Vec<Transaction> = Vec::new();
    while !waiting.is_empty() {
        let is_waiting = |id: &TxId| waiting.iter().any(|other| other.id() == *id);
        let ready: Vec<usize> =
            (0..waiting.len()).filter(|at| !waiting[*at].core().parents().iter().any(is_waiting)).collect();
        order.push(waiting.remove(ready[random.below(ready.len() as u64) as usize]).clone());
    }
    order
}

/// Blocks, digest and digests of days, from the definitions.
fn expected(network: &Network, set: &[Transaction]) -> (Vec<Block>, Digest, Vec<DaySummary>) {
    let ledger = network.ledger();
    let (mut hours, mut days) = (BTreeMap::<u64, Vec<TxId>>::new(), BTreeMap::<u64, (u64, SetDigest)>::new());
    let mut whole = SetDigest::new(ledger);
    for tx in set {
        hours.entry(tx.core().time().hour()).or_default().push(tx.id());
        let (count, day) = days.entry(tx.core().time().day()).or_insert_with(|| (0, SetDigest::new(ledger)));
        *count += 1;
        day.add(&tx.id());
        whole.add(&tx.id());
    }
    let mut chain = block::first_previous(ledger);
    let blocks = hours.into_iter().map(|(number, ids)| {
        let block = block::chained(ledger, chain, number, block::contents(ledger, ids));
        chain = block.chain;
        block
    });
    let days = days.into_iter().map(|(day, (count, set))| DaySummary { day, count, digest: set.digest() });
    (blocks.collect(), whole.digest(), days.collect())
}

fn empty(network: &Network) -> Ledger<MemoryStore> {
    Ledger::open(network.clone(), MemoryStore::new()).unwrap()
}

fn append(ledger: &mut Ledger<MemoryStore>, transaction: &Transaction, now: Time) {
    ledger.append(Verified::unchecked(transaction.clone()), now, false).unwrap();
}

/// Takes `order` in, looking at the blocks and flushing at random moments; returns what the ledger then derives.
fn derived(
    network: &Network,
    order: &[Transaction],
    now: Time,
    random: &mut Random,
) -> (Vec<Block>, Digest, Vec<DaySummary>) {
    let mut ledger = empty(network);
    for transaction in order {
        append(&mut ledger, transaction, now);
        match random.below(8) {
            0 | 1 => drop(ledger.blocks(0, usize::MAX).unwrap()),
            2 => drop(ledger.newest_block(now).unwrap()),
            3 => ledger.flush_now(now).unwrap(),
            _ => {}
        }
    }
    (ledger.blocks(0, usize::MAX).unwrap(), ledger.summary().digest, ledger.days(0, usize::MAX).unwrap())
}

#[test]
fn random_graphs_in_random_orders_have_the_same_blocks_chain_and_digests() {
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number_from("QASEDAK_SEED").unwrap_or_else(fresh);
    let dags = number_from("QASEDAK_DAGS").unwrap_or(DAGS);
    println!("QASEDAK_SEED={seed}");
    let maker = Maker::new();
    // Two hours after the start: most transactions are of the past, some of the future.
    let now = maker.network.start().plus(2 * 3_600);
    // On two threads, every second graph each.
    let half = |first: u64| {
        let (mut orders, mut future, mut blocks) = (0, 0, 0);
        for nth in (first..dags).step_by(2) {
            // Each graph has a seed of its own, so that one that fails can be told.
            let mut random = Random(seed.wrapping_add(nth));
            let dag = maker.dag(&mut random);
            let expected = expected(&maker.network, &dag);
            future += dag.iter().filter(|tx| tx.core().time() > now).count();
            blocks += expected.0.len();
            for _ in 0..ORDERS {
                let order = shuffled(&dag, &mut random);
                orders += usize::from(order != dag);
                let derived = derived(&maker.network, &order, now, &mut random);
                assert_eq!(derived, expected, "graph {nth} of QASEDAK_SEED={seed}");
            }
        }
        [orders, future, blocks]
    };
    let [one, two] = std::thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        [half(0), other.join().unwrap()]
    });
    let [orders, future, blocks] = [0, 1, 2].map(|at| one[at] + two[at]);
    println!(
        "{dags} graphs: {blocks} blocks, {future} transactions of the future, {orders} orders other than the first"
    );
    // The graphs are what they are meant to be.
    assert!(orders as u64 > dags * ORDERS / 2 && future as u64 > dags / 10 && blocks as u64 > 2 * dags);
}

#[test]
fn a_late_arrival_recomputes_only_what_it_changes() {
    let maker = Maker::new();
    let network = &maker.network;
    let now = network.start().plus(50 * 3_600);
    let at = |nth: u64, hour: u64| {
        maker.make(nth, vec![network.genesis()], network.start().secs() + hour * 3_600 + nth % 60 * 60)
    };
    let mut ledger = empty(network);
    let mut set: Vec<Transaction> = Vec::new();
    let mut arrive = |ledger: &mut Ledger<MemoryStore>, arrivals: Vec<Transaction>| {
        arrivals.iter().for_each(|transaction| append(ledger, transaction, now));
        set.extend(arrivals);
        let refreshed = ledger.refresh_blocks().unwrap();
        assert_eq!(ledger.refresh_blocks().unwrap(), Refreshed::default(), "nothing is left to do");
        assert_eq!(ledger.blocks(0, usize::MAX).unwrap(), expected(network, &set).0);
        refreshed
    };
    // Hours 0 to 39 but 20, with two transactions each.
    let first = (0..80).map(|nth| at(nth, nth / 2)).filter(|tx| tx.core().time().hour() != network.start().hour() + 20);
    assert_eq!(arrive(&mut ledger, first.collect()), Refreshed { contents: 39, chained: 39 });
    // One late transaction: one block anew, and the chain from there on.
    assert_eq!(arrive(&mut ledger, vec![at(100, 10)]), Refreshed { contents: 1, chained: 29 });
    // A late one for an empty hour.
    assert_eq!(arrive(&mut ledger, vec![at(101, 20)]), Refreshed { contents: 1, chained: 20 });
    // Several for two old hours, and a new block at the end.
    let late = vec![at(102, 5), at(103, 5), at(104, 30), at(105, 40)];
    assert_eq!(arrive(&mut ledger, late), Refreshed { contents: 3, chained: 36 });
    // The usual case, one more in the last hour.
    assert_eq!(arrive(&mut ledger, vec![at(106, 40)]), Refreshed { contents: 1, chained: 1 });
    // Before all others.
    assert_eq!(arrive(&mut ledger, vec![at(107, 0)]), Refreshed { contents: 1, chained: 41 });
}
