//! The wallet of Qasedak: keys from 24 words, cards, sealing and opening, and what a person keeps.
//!
//! Pure code: everything but [`keystore`]'s two file functions and [`wallet`] takes time, randomness and the network
//! as arguments and does no IO. Dependencies run one way, from the top of this list to its bottom:
//!
//! | module | holds |
//! |---|---|
//! | [`wallet`] | one person's wallet in a directory: contacts, cards, messages, all encrypted at rest |
//! | [`keystore`] | the file that holds the secrets, encrypted under a passphrase |
//! | [`disclose`] | a file that opens one message to a third party |
//! | [`finding`] | a file with which another node finds an identity's envelopes, and opens none |
//! | [`scan`], [`open`], [`mod@seal`] | finding, opening and making sealed envelopes |
//! | [`card`] | how a person's public keys travel on the ledger |
//! | [`inner`], [`envelope`] | what is inside a sealed body, and what every envelope has in common |
//! | [`keys`], [`phrase`], [`address`], [`contact`] | secret and public keys, the words, names for people |
//! | [`safety`], `clock` | numbers to compare, and what time it is when clocks may be wrong |
//! | [`x25519`], [`display`] | Diffie-Hellman, text from strangers made safe to show |
//! | `locked` | memory for secrets that live long |
//!
//! A message goes [`Wallet::seal`] → stamp (by the node) → [`Wallet::record_sent`] → outbox; it arrives by
//! [`Wallet::scanner`] → [`Wallet::open_transaction`] → [`Wallet::record_scanned`]. [`Wallet::disclose`] makes a file of
//! it that [`disclose::check`] reads without a wallet.
//!
//! The normative bytes are in `docs/wallet-format.md`, the reasons in DESIGN §8.

pub mod address;
mod aead;
mod bytes;
pub mod card;
mod clock;
pub mod contact;
pub mod disclose;
pub mod display;
pub mod envelope;
pub mod finding;
pub mod inner;
pub mod keys;
pub mod keystore;
mod locked;
pub mod open;
pub mod phrase;
pub mod safety;
pub mod scan;
pub mod seal;
#[cfg(test)]
mod testing;
pub mod wallet;
pub mod x25519;

pub use address::Address;
pub use card::Card;
pub use contact::{Contact, ContactName};
pub use disclose::{Disclosed, Disclosure, DisclosureError};
pub use envelope::{Draft, Unstamped};
pub use finding::{ScanKeyError, ScanKeyFile};
pub use inner::{Content, InnerId, Message};
pub use keys::{Account, Keys, SealKey, SealKeyId};
pub use keystore::KdfCost;
pub use open::Opened;
pub use phrase::Phrase;
pub use safety::SafetyNumber;
pub use scan::Scanner;
pub use seal::{SealedMessage, SentRecord};
pub use wallet::{Wallet, WalletError};
