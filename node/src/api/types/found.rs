//! What is handed over to the owner of a scan key.

use serde::{Deserialize, Serialize};

/// A page of what was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    /// Whole transactions as they stand on the wire, hexadecimal, in order of finding.
    pub transactions: Vec<String>,
    /// What to give as `after` for the next page: 16 hexadecimal digits.
    pub next: String,
    /// Whether there is more.
    pub more: bool,
    /// How many were passed over: their bodies are not on that node, any more or at the moment.
    pub missing: u64,
}

/// What came of fetching.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// New messages in the inbox.
    pub messages: usize,
    /// New messages of strangers among the requests.
    pub requests: usize,
    /// Messages that were known, had ended, or are of people who are blocked.
    pub passed_over: usize,
    /// Sent messages that are known to be delivered now.
    pub delivered: usize,
    /// Transactions that are for this wallet and do not open.
    pub not_opened: usize,
    /// What is no valid transaction, or not for this wallet: the other node is at fault.
    pub refused: usize,
    /// What the other node found and cannot hand over: the bodies are not there.
    pub missing: u64,
}
