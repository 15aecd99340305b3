//! The identities of a wallet: one that every wallet has, and further ones of the same 24 words.
//!
//! Each has an address, a scan key and seal keys of its own, and a card of its own. Nobody can tell from the ledger that two
//! belong together.

use super::{
    Wallet, WalletError,
    rows::IdentityRow,
    vault::{Changes, Class, Vault},
};
use crate::{
    address::Address,
    contact::ContactName,
    keys::{Account, Keys, SealKey},
    phrase::Phrase,
};

/// Most identities in one wallet: each makes every scan slower.
pub const IDENTITIES_MAX: usize = 16;

/// An identity as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its number in the phrase, from 0.
    pub account: Account,
    /// What its owner calls it; empty for the first.
    pub name: String,
    /// Its address.
    pub address: Address,
}

/// An identity with its keys.
pub(super) struct Own {
    pub(super) account: Account,
    pub(super) name: String,
    pub(super) keys: Keys,
    /// Oldest first.
    pub(super) seal_keys: Vec<SealKey>,
}

impl Own {
    pub(super) fn derive(phrase: &Phrase, account: Account, name: String) -> Self {
        Self { account, name, keys: Keys::derive(phrase, account), seal_keys: Vec::new() }
    }

    fn identity(&self) -> Identity {
        Identity { account: self.account, name: self.name.clone(), address: self.keys.address() }
    }
}

impl Wallet {
    pub(super) fn load_identities(&mut self) -> Result<(), WalletError> {
        let phrase = self.vault.keystore().secrets().phrase()?;
        for (_, row) in self.vault.all_counted::<IdentityRow>()? {
            self.others.push(Own::derive(&phrase, Account::new(row.account), row.name));
        }
        Ok(())
    }

    /// All identities with their keys, the first one first.
    pub(super) fn own(&self) -> impl Iterator<Item = &Own> {
        std::iter::once(&self.main).chain(&self.others)
    }

    pub(super) fn own_mut(&mut self) -> impl Iterator<Item = &mut Own> {
        std::iter::once(&mut self.main).chain(&mut self.others)
    }

    /// The identity with that account; the first where there is none.
    pub(super) fn own_of(&self, account: Account) -> &Own {
        self.own().find(|own| own.account == account).unwrap_or(&self.main)
    }

    /// The identity by which someone is written to.
    pub(super) fn known_to(&self, address: &Address) -> &Own {
        let contact = self.contacts.values().find(|contact| contact.address == *address);
        contact.map_or(&self.main, |contact| self.own_of(contact.account))
    }

    /// The account of one of the wallet's own addresses.
    pub(super) fn account_of(&self, address: &Address) -> Account {
        self.own().find(|own| own.keys.address() == *address).map_or(Account::default(), |own| own.account)
    }

    /// All identities, the first one first.
    pub fn identities(&self) -> impl Iterator<Item = Identity> {
        self.own().map(Own::identity)
    }

    /// The identity of that name or address; an empty name is the first one's.
    ///
    /// # Errors
    /// [`WalletError::UnknownIdentity`].
    pub fn identity(&self, which: &str) -> Result<Identity, WalletError> {
        let found = self.own().find(|own| own.name == which.trim() || own.keys.address().to_string() == which.trim());
        found.map(Own::identity).ok_or(WalletError::UnknownIdentity)
    }

    /// Makes a further identity of the same words: the next account. Its card is due at once.
    ///
    /// # Errors
    /// [`WalletError::Name`], [`WalletError::NameTaken`], [`WalletError::TooManyIdentities`], or what writing gives.
    pub fn add_identity(&mut self, name: &str) -> Result<Identity, WalletError> {
        let name = ContactName::parse(name)?.as_str().to_owned();
        if self.own().any(|own| own.name == name) {
            return Err(WalletError::NameTaken);
        }
        let account = u32::try_from(self.own().count()).unwrap_or(u32::MAX);
        if self.own().count() >= IDENTITIES_MAX {
            return Err(WalletError::TooManyIdentities);
        }
        let mut changes = Changes::default();
        let key = Vault::counted_key(Class::Identity, u64::from(account));
        self.vault.put(&mut changes, &key, &IdentityRow { account, name: name.clone() })?;
        self.vault.commit(changes)?;
        let phrase = self.vault.keystore().secrets().phrase()?;
        let own = Own::derive(&phrase, Account::new(account), name);
        let identity = own.identity();
        self.others.push(own);
        Ok(identity)
    }
}
