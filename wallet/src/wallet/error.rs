//! What can go wrong in a wallet on disk, one variant per cause, each with the next step.

use std::path::Path;

use qasedak_chain::{rules::RuleError, store::StoreError};

use crate::{
    address::AddressError, card::CardError, contact::NameError, keystore::KeystoreError, phrase::PhraseError,
    seal::SealError,
};

/// Why the wallet could not do what was asked. No variant holds a secret, a name or an address that was not typed in.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// There is no wallet in the directory.
    #[error("there is no wallet in {path}; create one with `qasedak init`")]
    Missing {
        /// The directory.
        path: String,
    },
    /// There is one already.
    #[error(
        "{path} already holds a wallet, which is never overwritten; use it, or choose another directory with --data"
    )]
    Exists {
        /// The directory.
        path: String,
    },
    /// Another process has it open.
    #[error("the wallet in {path} is in use by another qasedak process; stop that one first")]
    InUse {
        /// The directory.
        path: String,
    },
    /// It belongs to another network.
    #[error("the wallet in {path} belongs to another network; choose that one with --network")]
    OtherNetwork {
        /// The directory.
        path: String,
    },
    /// The passphrase is wrong or the keystore damaged.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The words are wrong.
    #[error(transparent)]
    Phrase(#[from] PhraseError),
    /// The disk failed when the new passphrase had taken the old one's place, but not yet for good.
    #[error(
        "the disk failed while the new passphrase took the old one's place: {0}; either of the two may hold now, so keep both \
         in mind, and change the passphrase once more when the disk works"
    )]
    EitherPassphrase(StoreError),
    /// The disk failed, or the journal is not this program's.
    #[error(transparent)]
    Store(StoreError),
    /// Something in the journal is not what was written, or is gone. Nothing was changed.
    #[error(
        "the wallet's journal {path} is damaged at byte {offset}: {what}; nothing was changed: put a copy of the wallet's \
         directory in its place, or move that directory away and bring the wallet back from an export: \
         qasedak wallet import FILE"
    )]
    DamagedJournal {
        /// The file.
        path: String,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The database has a layout that this version does not know.
    #[error("the wallet in {path} was written by a newer version of this program, and is left alone; use that one")]
    Newer {
        /// The directory.
        path: String,
    },
    /// The database has the layout of a test version.
    #[error(
        "the wallet in {path} was made by a test version, whose messages this one cannot read; move the directory away and \
         make the wallet again from its 24 words: qasedak init --phrase-file FILE"
    )]
    Older {
        /// The directory.
        path: String,
    },
    /// A value is not what was written, or belongs to another keystore.
    #[error("the wallet's database in {path} is damaged or belongs to another keystore; restore it from a copy")]
    Damaged {
        /// The directory.
        path: String,
    },
    /// The export cannot be read.
    #[error(
        "{path} is no export of a wallet, the passphrase is another, or the file was changed or cut short; nothing was \
         imported: try the passphrase again, else take another copy"
    )]
    BadExport {
        /// The file.
        path: String,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random numbers, so nothing can be encrypted; restart the machine")]
    Randomness,
    /// The contact's name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name is taken.
    #[error("there is a contact of that name already; remove it first or choose another name")]
    NameTaken,
    /// The address has a name already.
    #[error("this address is already in the contacts, as {name}")]
    AddressTaken {
        /// The name that it has.
        name: String,
    },
    /// No contact of that name.
    #[error("there is no contact of that name; `qasedak contact list` shows all, or give an address (qsd1…)")]
    UnknownContact,
    /// No identity of that name or address.
    #[error("this wallet has no identity of that name; `qasedak id` shows all")]
    UnknownIdentity,
    /// More identities than a wallet has.
    #[error("a wallet has at most 16 identities; each makes every scan slower")]
    TooManyIdentities,
    /// The address is malformed.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A card is not acceptable.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The message could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The draft breaks a rule of form.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

impl WalletError {
    /// There is no wallet where this file should be.
    pub(crate) fn missing(file: &Path) -> Self {
        Self::Missing { path: file.parent().unwrap_or(file).display().to_string() }
    }
    pub(super) fn damaged(path: &Path) -> Self {
        Self::Damaged { path: path.display().to_string() }
    }
}

impl From<StoreError> for WalletError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DamagedJournal { path, offset, what } => Self::DamagedJournal { path, offset, what },
            StoreError::InUse { path } => Self::InUse { path },
            other => Self::Store(other),
        }
    }
}
