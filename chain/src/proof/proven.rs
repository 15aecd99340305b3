//! What a proof file shows, by whose word, and what it does not show: as data, and in words for people.

use std::fmt;

use crate::{
    ids::TxId,
    network::Network,
    time::{HOUR_SECS, Time},
};

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The transaction's header is valid, and its id stood in the block of its hour.
    Included {
        /// The transaction's id.
        id: TxId,
        /// The transaction's time, as its author claims it.
        time: Time,
        /// The block's number.
        number: u64,
        /// How many transactions the block held.
        count: u64,
        /// Its parents, genesis left out.
        parents: Vec<ParentClaim>,
    },
    /// The block existed and did not hold the id.
    Absent {
        /// The id asked for.
        id: TxId,
        /// The block's number.
        number: u64,
        /// How many transactions the block held.
        count: u64,
    },
    /// The hour was closed and had no block, so that the id was not in it.
    EmptyBlock {
        /// The id asked for.
        id: TxId,
        /// The block's number.
        number: u64,
    },
}

/// What a parent's author claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentClaim {
    /// The parent's id.
    pub id: TxId,
    /// The parent's time.
    pub time: Time,
}

/// One checkpoint by whose word the fact stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The peer's Ed25519 public key.
    pub signer: [u8; 32],
    /// Whether the prover named this key as the prover's own.
    pub own: bool,
    /// The log that the checkpoint is about.
    pub log: [u8; 16],
    /// Transactions in that log then.
    pub count: u64,
    /// When the peer said so, by its own clock.
    pub time: Time,
}

/// What a proof does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Who wrote the transaction.
    Writer,
    /// What the transaction says.
    Content,
    /// When the transaction was made or first sent; its time is its author's claim.
    FirstSent,
    /// That the block stays as it is.
    Finality,
    /// That the id is in no other block, or was never sent.
    Elsewhere,
    /// That the signers are honest, or are different people; that their clocks are right.
    Signers,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Writer => "who wrote it: its author's key was made for this one transaction",
            Limit::Content => "what it says: that is encrypted, and is not in this file",
            Limit::FirstSent => {
                "when it was made or first sent: its time is its author's claim; the checkpoints show only that it existed by \
                 theirs"
            }
            Limit::Finality => {
                "that the block stays as it is: nothing is final, and a block can gain transactions, never lose one"
            }
            Limit::Elsewhere => "that it was never sent, or that it is in no other block or came later",
            Limit::Signers => {
                "that the peers named are honest, are different people, or have good clocks: a key is free, so know whose \
                 it is"
            }
        })
    }
}

/// What a proof file shows. Made by [`check`](super::check) alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    network: String,
    fact: Fact,
    words: Vec<Word>,
}

impl Proven {
    pub(super) fn new(network: &Network, fact: Fact, words: Vec<Word>) -> Self {
        Self { network: network.name().to_owned(), fact, words }
    }

    /// Name of the network.
    pub fn network(&self) -> &str {
        &self.network
    }
    /// What is shown.
    pub fn fact(&self) -> &Fact {
        &self.fact
    }
    /// By whose word: at least one, in the order of the file.
    pub fn words(&self) -> &[Word] {
        &self.words
    }
    /// Whether nobody but the prover says so.
    pub fn is_own_word_only(&self) -> bool {
        self.words.iter().all(|word| word.own)
    }
    /// What is not shown.
    pub fn limits(&self) -> &'static [Limit] {
        match self.fact {
            Fact::Included { .. } => {
                &[Limit::Writer, Limit::Content, Limit::FirstSent, Limit::Finality, Limit::Signers]
            }
            Fact::Absent { .. } | Fact::EmptyBlock { .. } => &[Limit::Elsewhere, Limit::Finality, Limit::Signers],
        }
    }

    /// All of it in plain words, one thing a line; `peer` names the holder of a public key.
    pub fn describe(&self, peer: impl Fn(&[u8; 32]) -> String) -> String {
        let mut lines = vec!["Proven:".to_owned(), format!("  {}", self.sentence())];
        lines.push(String::new());
        lines.push("By the word of:".to_owned());
        lines.extend(self.words.iter().map(|word| {
            let own = if word.own { " (the prover's own)" } else { "" };
            let Word { count, time, .. } = word;
            format!("  peer {}{own}, at {time}, in a checkpoint over {}", peer(&word.signer), transactions(*count))
        }));
        if self.is_own_word_only() {
            lines.push("  This is the prover's own word only.".to_owned());
        }
        if let Fact::Included { time, parents, .. } = &self.fact {
            lines.push(String::new());
            lines.push("Claimed:".to_owned());
            lines.push(format!("  by its author: its time, {time}"));
            lines.extend(parents.iter().map(|parent| {
                format!("  by the author of its parent {}: that one's time, {}", parent.id, parent.time)
            }));
        }
        lines.push(String::new());
        lines.push("Not proven:".to_owned());
        lines.extend(self.limits().iter().map(|limit| format!("  {limit}")));
        lines.join("\n")
    }

    /// What is shown, in one sentence.
    pub fn sentence(&self) -> String {
        let network = &self.network;
        match &self.fact {
            Fact::Included { id, number, count, parents, .. } => {
                let after = match parents.len() {
                    0 => "",
                    1 => " It was made after its parent, whose id it names.",
                    _ => " It was made after its parents, whose ids it names.",
                };
                let (block, of) = (hour(*number), transactions(*count));
                format!(
                    "Transaction {id} is valid and stood in {block} of network {network}, a block of {of} then.{after}"
                )
            }
            Fact::Absent { id, number, count } => {
                let (block, of) = (hour(*number), transactions(*count));
                format!("Transaction {id} did not stand in {block} of network {network}, a block of {of} then.")
            }
            Fact::EmptyBlock { id, number } => {
                let block = hour(*number);
                format!(
                    "Transaction {id} did not stand in {block} of network {network}: that hour had no transactions."
                )
            }
        }
    }
}

fn hour(number: u64) -> String {
    let start = Time::from_secs(number.saturating_mul(HOUR_SECS));
    format!("block {number} (the hour from {start})")
}

fn transactions(count: u64) -> String {
    if count == 1 { "1 transaction".to_owned() } else { format!("{count} transactions") }
}

impl fmt::Display for Proven {
    /// Peers are named by their public keys in hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe(|key| hex::encode(key)))
    }
}
