//! Contacts of a wallet: kept in memory while it is open, encrypted on disk.

use super::{
    Wallet, WalletError,
    rows::ContactRow,
    vault::{Changes, Class},
};
use crate::{
    address::Address,
    contact::{Contact, ContactName, fold},
};

impl Wallet {
    pub(super) fn load_contacts(&mut self) -> Result<(), WalletError> {
        for row in self.vault.all::<ContactRow>(Class::Contact)? {
            let contact = Contact { name: ContactName::parse(&row.name)?, address: Address::from_bytes(row.address)? };
            self.contacts.insert(contact.name.folded(), contact);
        }
        Ok(())
    }

    /// Gives an address a name.
    ///
    /// # Errors
    /// [`WalletError::Name`], [`WalletError::NameTaken`], [`WalletError::AddressTaken`], or what writing gives.
    pub fn add_contact(&mut self, name: &str, address: Address) -> Result<(), WalletError> {
        let name = ContactName::parse(name)?;
        let folded = name.folded();
        if self.contacts.contains_key(&folded) {
            return Err(WalletError::NameTaken);
        }
        if let Some(known) = self.name_of(&address) {
            return Err(WalletError::AddressTaken { name: known.to_string() });
        }
        let mut changes = Changes::default();
        let key = self.vault.named_key(Class::Contact, folded.as_bytes());
        let row = ContactRow { name: name.as_str().to_owned(), address: *address.as_bytes() };
        self.vault.put(&mut changes, Class::Contact, &key, &row)?;
        self.vault.commit(changes)?;
        self.contacts.insert(folded, Contact { name, address });
        Ok(())
    }

    /// Forgets a contact's name. Messages stay.
    ///
    /// # Errors
    /// [`WalletError::UnknownContact`], or what writing gives.
    pub fn remove_contact(&mut self, name: &str) -> Result<Contact, WalletError> {
        let folded = fold(name);
        if !self.contacts.contains_key(&folded) {
            return Err(WalletError::UnknownContact);
        }
        let mut changes = Changes::default();
        changes.remove(&self.vault.named_key(Class::Contact, folded.as_bytes()));
        self.vault.commit(changes)?;
        self.contacts.remove(&folded).ok_or(WalletError::UnknownContact)
    }

    /// All contacts, in order of their names.
    pub fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.contacts.values()
    }

    /// The contact of that name, in any case.
    pub fn contact(&self, name: &str) -> Option<&Contact> {
        self.contacts.get(&fold(name))
    }

    /// The name that an address has.
    pub fn name_of(&self, address: &Address) -> Option<&ContactName> {
        self.contacts.values().find(|contact| contact.address == *address).map(|contact| &contact.name)
    }

    /// The address of WHO: an address itself, or a contact's name.
    ///
    /// # Errors
    /// [`WalletError::Address`] when it starts like an address and is none, [`WalletError::UnknownContact`] when it is
    /// no contact's name.
    pub fn resolve(&self, who: &str) -> Result<Address, WalletError> {
        if Address::is_meant(who) {
            return Ok(who.parse()?);
        }
        self.contact(who).map(|contact| contact.address).ok_or(WalletError::UnknownContact)
    }
}
