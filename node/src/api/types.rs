//! What the local API sends and takes, and what `--json` prints: the same stable fields in both
//! (`docs/api.md`). Times are seconds since 1970 unless a name ends in `_ms`; ids and hashes are hexadecimal.

use serde::{Deserialize, Serialize};

mod audit;
mod found;
mod mail;

pub use mail::{
    Blocked, Blocking, Contact, ContactChange, Declined, History, Identity, NewContact, NewIdentity, NotOut, Said,
    Unheard, Verification, Verify,
};

pub use found::{Fetched, Found};

pub use audit::{BlockDifference, Checkpoint, CheckpointLog, Comparison, Contradiction, Side};

/// State of the running node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Name of the network.
    pub network: String,
    /// Transactions in the log.
    pub transactions: u64,
    /// Digest of the set: equal on any two nodes that hold the same transactions.
    pub digest: String,
    /// Merkle root over the ids in log order.
    pub root: String,
    /// The link after the last transaction of the log.
    pub link: String,
    /// The last block whose hour has begun, if there is one.
    pub newest_block: Option<Block>,
    /// Tips of the frontier.
    pub frontier: usize,
    /// Transactions in the outbox.
    pub outbox: usize,
    /// Connected peers.
    pub peers: usize,
    /// Transactions that wait for their parents.
    pub waiting: usize,
    /// Bodies that are missing or damaged here, and asked of peers.
    #[serde(default)]
    pub bodies_wanted: usize,
    /// Bodies that were fetched again since the start.
    #[serde(default)]
    pub bodies_repaired: u64,
    /// Whether transactions are being fetched from a peer right now.
    pub syncing: bool,
    /// How far that is; absent while nothing is being fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<Sync>,
    /// How far a long scan for the wallet is; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanning: Option<Scanning>,
    /// What is taken in of others' transactions, and what waits for that.
    #[serde(default)]
    pub intake: Intake,
    /// Own address, absent on a relay.
    pub address: Option<String>,
    /// Whether the system keeps all keys of the wallet out of swap; null on a relay.
    #[serde(default)]
    pub keys_locked: Option<bool>,
    /// About how many contacts' keys something is odd; null on a relay.
    #[serde(default)]
    pub key_warnings: Option<usize>,
    /// Addresses that peers can connect to.
    pub listen: Vec<String>,
    /// Bytes on disk.
    pub disk: Disk,
    /// How long bodies are kept.
    pub retention: Retention,
    /// What is wrong with the disk; absent while it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_failing: Option<DiskFailing>,
}

/// Catching up with peers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sync {
    /// From how many peers.
    pub peers: usize,
    /// Transactions that came since this began.
    pub gained: u64,
    /// Transactions that are still to come, at least.
    pub left: u64,
}

/// A scan for envelopes to the wallet.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Scanning {
    /// Transactions that it has gone through.
    pub done: u64,
    /// Transactions that it goes through.
    pub total: u64,
}

/// The daily budget for others' transactions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Intake {
    /// Bytes that are taken in a day.
    pub daily_bytes: u64,
    /// Transactions that wait until the budget has room for them, highest work per byte first.
    pub waiting: usize,
    /// Bytes of them.
    pub waiting_bytes: usize,
}

/// A disk that cannot be written to. Nothing new is taken in until it can; what is here can be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DiskFailing {
    /// Since when.
    pub since: u64,
    /// One sentence: what the system said, and of which file.
    pub reason: String,
}

/// Bytes on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Disk {
    /// Header segments.
    pub headers: u64,
    /// Bodies.
    pub bodies: u64,
    /// Scan column.
    pub scan: u64,
    /// Index.
    pub index: u64,
    /// Outbox.
    pub outbox: u64,
    /// Checkpoints and evidence.
    pub checkpoints: u64,
    /// Wallet.
    pub wallet: u64,
    /// Everything else: what was set aside as damaged, and small files.
    pub other: u64,
}

/// How long bodies are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Retention {
    /// Whether they are kept for good.
    pub archive: bool,
    /// Most bytes that they may take; null for an archive.
    pub budget: Option<u64>,
    /// When bodies go next for their age; null when there are none, or they are kept for good.
    pub next: Option<NextDrop>,
    /// What goes before its day once more bodies come than the budget has room for; null without a budget, or without bodies.
    pub next_early: Option<NextEarly>,
    /// Bodies were dropped before their day to keep to the budget: the first second of the last day that this touched,
    /// which is still to come. Null when none were.
    pub early_until: Option<u64>,
}

/// The next bodies to go.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NextDrop {
    /// First second of the UTC day on which they go.
    pub day: u64,
    /// Bytes that this frees, as things stand.
    pub bytes: u64,
}

/// The file of bodies that goes first when there is no room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NextEarly {
    /// First second of the UTC day on which its bodies would go for their age.
    pub day: u64,
    /// Its number among the files of that day, from 0.
    pub part: u32,
    /// Bytes that this frees, as things stand.
    pub bytes: u64,
    /// Bytes of bodies that there is still room for; it goes with the first body beyond.
    pub left: u64,
}

/// A derived block.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Block {
    /// UTC hours since 1970.
    pub number: u64,
    /// First second of that hour.
    pub start: u64,
    /// How many transactions it holds.
    pub count: u64,
    /// Merkle root over their ids, ascending.
    pub root: String,
    /// The chain value up to this block.
    pub chain: String,
    /// `open`, `closed` (two hours after its hour ended; not final), or `future`.
    pub state: String,
    /// Ids of its transactions, ascending; at most 10,000 of them, and only where one block was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions: Option<Vec<String>>,
}

/// One transaction of the log or the outbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transaction {
    /// The id.
    pub id: String,
    /// `ledger`, or `outbox` while it is not part of the ledger yet.
    pub place: String,
    /// Index in this node's log.
    pub position: Option<u64>,
    /// 1 + the greatest depth among the parents.
    pub depth: Option<u64>,
    /// When this node received it, by its own clock.
    pub arrival: Option<u64>,
    /// Number of its block.
    pub block: u64,
    /// The sender's clock, to the minute.
    pub time: u64,
    /// How long the body is kept, in seconds.
    pub lifetime: u32,
    /// `sealed` or `tagged`.
    pub kind: String,
    /// 16 bytes by which the recipient finds it.
    pub hint: String,
    /// The one-time key that signed it.
    pub author: String,
    /// Ids of its parents.
    pub parents: Vec<String>,
    /// Hash of the body.
    pub body_hash: String,
    /// The body's length in bytes.
    pub body_len: u32,
    /// `present`, `expired`, or `missing`.
    pub body: String,
    /// The effort that its stamp meets.
    pub work: u64,
}

/// A connected peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Peer {
    /// Its libp2p peer id.
    pub id: String,
    /// The address of the connection.
    pub address: String,
    /// `tcp` or `quic`.
    pub transport: String,
    /// `in` when the peer connected to us, `out` when we did.
    pub direction: String,
    /// Since when.
    pub since: u64,
}

/// A peer that is refused for a while, since it was provably at fault.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefusedPeer {
    /// Its libp2p peer id.
    pub id: String,
    /// What it did, in a sentence.
    pub reason: String,
    /// Since when.
    pub since: u64,
    /// Until when.
    pub until: u64,
}

/// A message to send.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewMessage {
    /// A contact's name, or an address.
    pub to: String,
    /// The text.
    pub text: String,
    /// How long it lives, in seconds: 1 hour to 90 days. 30 days if it is left out.
    #[serde(default)]
    pub lifetime: Option<u32>,
    /// The number of the message that it answers, as `history` shows it.
    #[serde(default)]
    pub reply_to: Option<u64>,
    /// Send it although something is odd about the recipient's keys.
    #[serde(default)]
    pub despite_key_change: bool,
}

impl std::fmt::Debug for NewMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewMessage(..)")
    }
}

/// A message that was accepted: it is in the outbox, on disk, and will reach the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sent {
    /// The transaction's id.
    pub id: String,
    /// How long stamping took, in milliseconds.
    pub stamping_ms: u64,
    /// What is odd about the recipient's keys, in a sentence.
    #[serde(default)]
    pub warning: Option<String>,
}

/// A message that was received and opened.
#[derive(Clone, Serialize, Deserialize)]
pub struct Message {
    /// Counts the received messages, from 1.
    pub number: u64,
    /// The transaction that carried it.
    pub id: String,
    /// The sender's address, proven by the signature inside.
    pub from: String,
    /// The contact's name for that address, if there is one.
    pub name: Option<String>,
    /// What is odd about the contact's keys, in a sentence.
    #[serde(default)]
    pub warning: Option<String>,
    /// When the sender says that it was written, in milliseconds since 1970.
    pub time_ms: u64,
    /// When it was opened here.
    pub received: u64,
    /// When it ends, and is gone from here.
    #[serde(default)]
    pub ends: u64,
    /// The message's identity, which its copies share.
    #[serde(default)]
    pub inner_id: String,
    /// The message that it answers, by its sender's word.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// The text, as it was sent: treat it as hostile.
    pub text: String,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Message(..)")
    }
}

/// A page of the inbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inbox {
    /// Messages in the order in which they were opened.
    pub messages: Vec<Message>,
    /// How many messages of strangers wait.
    #[serde(default)]
    pub requests: usize,
}

/// A file that was made for others: a proof or a disclosure.
#[derive(Clone, Serialize, Deserialize)]
pub struct Made {
    /// What the file is to hold, byte for byte.
    pub file: String,
    /// Whether it proves that the transaction is, or is not, in the ledger.
    pub proven: bool,
    /// Checkpoints that this node keeps and that were not looked at, since there are more than one file cites or one call tries.
    pub left_out: u64,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Made(..)")
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // A disclosure opens a message to everyone who reads it.
        zeroize::Zeroize::zeroize(&mut self.file);
    }
}

/// Why the API refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// One sentence: what is wrong and what to do.
    pub error: String,
}
