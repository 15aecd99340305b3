//! What the API says of people and messages.

use serde::{Deserialize, Serialize};

/// One of the wallet's own identities.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Identity {
    /// The address.
    pub address: String,
    /// What its owner calls it; empty for the first.
    #[serde(default)]
    pub name: String,
    /// When its card was last published, if it was.
    pub card_published: Option<u64>,
}

/// An identity to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewIdentity {
    /// Its name.
    pub name: String,
}

/// A contact.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Contact {
    /// The name that the wallet's owner gave.
    pub name: String,
    /// The address.
    pub address: String,
    /// When the newest card that was found was made; absent while none is found, and then they cannot be written to.
    #[serde(default)]
    pub card: Option<u64>,
    /// When their safety number was compared; null when it was not, or their keys are odd since.
    #[serde(default)]
    pub verified: Option<u64>,
    /// Whether receipts are sent to them.
    #[serde(default)]
    pub receipts: bool,
    /// What is odd about their keys, in a sentence.
    #[serde(default)]
    pub warning: Option<String>,
    /// Whether they are blocked.
    #[serde(default)]
    pub blocked: bool,
}

/// A contact to add.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewContact {
    /// The name.
    pub name: String,
    /// The address.
    pub address: String,
}

/// One thing to change about a contact.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactChange {
    /// The address.
    Address(String),
    /// Whether receipts are sent to them.
    Receipts(bool),
    /// By which own identity they are written to: its name or address.
    Identity(String),
}

/// A safety number to show or to compare.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verify {
    /// The contact's name.
    pub name: String,
    /// The number that the other side sees; when it is right, the contact is verified.
    #[serde(default)]
    pub number: Option<String>,
}

/// A safety number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verification {
    /// The contact's name.
    pub name: String,
    /// 60 digits.
    pub number: String,
    /// Whether the number that was given is right; null when none was.
    pub matches: Option<bool>,
}

/// Someone to block, or to take messages of again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Blocking {
    /// A contact's name, or an address.
    pub who: String,
    /// Whether they are to be blocked.
    pub blocked: bool,
}

/// Someone who is blocked, or no more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Blocked {
    /// The address.
    pub address: String,
    /// Whether they are blocked now.
    pub blocked: bool,
}

/// Someone whose messages are dropped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unheard {
    /// The address.
    pub address: String,
    /// The name, if they are a contact.
    pub name: Option<String>,
    /// Since when.
    pub since: u64,
}

/// Requests that were removed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Declined {
    /// How many.
    pub messages: usize,
}

/// One message of a history.
#[derive(Clone, Serialize, Deserialize)]
pub struct Said {
    /// Its number in this wallet.
    pub number: u64,
    /// The transaction that carried it.
    pub id: String,
    /// Whether it was sent from here.
    pub sent: bool,
    /// When it was written, in milliseconds since 1970: of a received one by its sender's word.
    pub time_ms: u64,
    /// When it ends.
    pub ends: u64,
    /// The message's identity.
    pub inner_id: String,
    /// The message that it answers.
    pub reply_to: Option<String>,
    /// The text: treat it as hostile. Null once a sent message has ended.
    pub text: Option<String>,
    /// Of a sent one: `waiting`, `out`, `delivered`, `expired`, or `unsent` when the work broke off before it was kept.
    pub state: Option<String>,
    /// While it is `out`: on how many peers it is, by their own word, as far as this node knows since its start. Null when
    /// that is not counted.
    #[serde(default)]
    pub peers: Option<usize>,
    /// When the recipient's wallet opened it, in seconds since 1970, if it said so.
    pub delivered: Option<u64>,
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Said(..)")
    }
}

/// A page of a history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct History {
    /// The newest before the number that was asked for, oldest of them first.
    pub entries: Vec<Said>,
    /// What is odd about the other side's keys, in a sentence.
    #[serde(default)]
    pub warning: Option<String>,
}

/// Something that is not out yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NotOut {
    /// Its transaction; null while it is being stamped.
    pub id: Option<String>,
    /// To whom; null for what is no message, like a card.
    pub to: Option<String>,
    /// `stamping`, `waiting`, `out`, or `unsent` when the work broke off before it was kept: it never goes out.
    pub state: String,
    /// On how many peers it is, once it is `out`.
    #[serde(default)]
    pub peers: Option<usize>,
    /// Why it stands here.
    pub reason: String,
}
