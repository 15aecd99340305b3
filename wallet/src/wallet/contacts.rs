//! Contacts of a wallet: kept in memory while it is open, encrypted on disk; and those who are blocked.

use qasedak_chain::Time;

use super::{
    Wallet, WalletError,
    rows::{BlockedRow, ContactRow},
    vault::{Changes, Class},
};
use crate::{
    address::Address,
    contact::{Contact, ContactName, fold},
    keys::Account,
    safety::SafetyNumber,
};

/// What is odd about a contact's keys. It may be harmless; comparing the safety number in person tells nothing about a
/// thief of their words, asking them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyWarning {
    /// A new card came before it was due: their wallet was made anew from its words, or someone else has the words.
    EarlyCard,
    /// The scan key is another, although both follow from the same words: another program made this card.
    OtherScanKey,
    /// The name stood for another address before.
    OtherAddress,
}

impl KeyWarning {
    const ALL: [Self; 3] = [Self::EarlyCard, Self::OtherScanKey, Self::OtherAddress];

    /// How it stands in the database; 0 is nothing.
    fn number(self) -> u8 {
        match self {
            Self::EarlyCard => 1,
            Self::OtherScanKey => 2,
            Self::OtherAddress => 3,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|warning| warning.number() == number)
    }
}

impl std::fmt::Display for KeyWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::EarlyCard => {
                "new keys came earlier than they should: they set up their wallet again, or someone else has their 24 \
                 words; ask them, not by a message"
            }
            Self::OtherScanKey => {
                "their keys are not those that their program should make: another program writes in their name; ask \
                 them, not by a message"
            }
            Self::OtherAddress => {
                "this name stood for another address before: compare the safety number before you trust it"
            }
        })
    }
}

/// What a card brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardNews {
    /// It, or a newer one, is known.
    Known,
    /// A new one, as it should be.
    New,
    /// A new one that is odd.
    Odd(KeyWarning),
}

impl CardNews {
    /// Whether the card was kept.
    pub fn is_kept(self) -> bool {
        self != Self::Known
    }
}

fn row_of(contact: &Contact) -> ContactRow {
    ContactRow {
        name: contact.name.as_str().to_owned(),
        address: *contact.address.as_bytes(),
        account: contact.account.get(),
        receipts: contact.receipts,
        verified: contact.verified.map_or(0, Time::secs),
        warning: contact.warning.map_or(0, |(warning, _)| warning.number()),
        warned: contact.warning.map_or(0, |(_, since)| since.secs()),
    }
}

impl Wallet {
    pub(super) fn load_contacts(&mut self) -> Result<(), WalletError> {
        for (_, row) in self.vault.all::<ContactRow>()? {
            let contact = Contact {
                name: ContactName::parse(&row.name)?,
                address: Address::from_bytes(row.address)?,
                account: Account::new(row.account),
                receipts: row.receipts,
                verified: (row.verified > 0).then(|| Time::from_secs(row.verified)),
                warning: KeyWarning::from_number(row.warning).map(|warning| (warning, Time::from_secs(row.warned))),
            };
            self.contacts.insert(contact.name.folded(), contact);
        }
        Ok(())
    }

    pub(super) fn load_blocked(&mut self) -> Result<(), WalletError> {
        for (_, row) in self.vault.all::<BlockedRow>()? {
            self.blocked.insert(Address::from_bytes(row.address)?, Time::from_secs(row.since));
        }
        Ok(())
    }

    /// Writes a contact, new or changed.
    fn keep_contact(&mut self, mut changes: Changes, contact: Contact) -> Result<(), WalletError> {
        let folded = contact.name.folded();
        let key = self.vault.named_key(Class::Contact, folded.as_bytes());
        self.vault.put(&mut changes, &key, &row_of(&contact))?;
        self.vault.commit(changes)?;
        self.contacts.insert(folded, contact);
        Ok(())
    }

    /// Gives an address a name. What they sent before moves from the requests to the inbox, and they are blocked no more.
    ///
    /// # Errors
    /// [`WalletError::Name`], [`WalletError::NameTaken`], [`WalletError::AddressTaken`], or what writing gives.
    pub fn add_contact(&mut self, name: &str, address: Address) -> Result<(), WalletError> {
        let name = ContactName::parse(name)?;
        if self.contacts.contains_key(&name.folded()) {
            return Err(WalletError::NameTaken);
        }
        self.check_unnamed(&address)?;
        let account = self.request_account(&address).unwrap_or_default();
        self.keep_contact(Changes::default(), Contact::new(name, address, account))?;
        self.unblock(&address)?;
        self.accept_requests(&address).map(drop)
    }

    fn check_unnamed(&self, address: &Address) -> Result<(), WalletError> {
        match self.name_of(address) {
            Some(known) => Err(WalletError::AddressTaken { name: known.to_string() }),
            None => Ok(()),
        }
    }

    /// Gives a contact another address, as when they lost the old one. They are not verified then, and it is told until they
    /// are.
    ///
    /// # Errors
    /// [`WalletError::UnknownContact`], [`WalletError::AddressTaken`], or what writing gives.
    pub fn change_address(&mut self, name: &str, address: Address, now: Time) -> Result<(), WalletError> {
        let mut contact = self.contact(name).cloned().ok_or(WalletError::UnknownContact)?;
        self.check_unnamed(&address)?;
        (contact.address, contact.verified) = (address, None);
        contact.warning = Some((KeyWarning::OtherAddress, now));
        self.keep_contact(Changes::default(), contact)?;
        self.accept_requests(&address).map(drop)
    }

    /// Whether receipts are sent to a contact. They tell them when the wallet has opened a message.
    ///
    /// # Errors
    /// [`WalletError::UnknownContact`], or what writing gives.
    pub fn set_receipts(&mut self, name: &str, on: bool) -> Result<(), WalletError> {
        let contact = self.contact(name).cloned().ok_or(WalletError::UnknownContact)?;
        self.keep_contact(Changes::default(), Contact { receipts: on, ..contact })
    }

    /// By which of the wallet's identities a contact is written to.
    ///
    /// # Errors
    /// [`WalletError::UnknownContact`], [`WalletError::UnknownIdentity`], or what writing gives.
    pub fn set_identity(&mut self, name: &str, identity: &str) -> Result<(), WalletError> {
        let account = self.identity(identity)?.account;
        let contact = self.contact(name).cloned().ok_or(WalletError::UnknownContact)?;
        self.keep_contact(Changes::default(), Contact { account, ..contact })
    }

    /// Notes that the safety number was compared and is right. What was odd before is settled by that.
    ///
    /// # Errors
    /// [`WalletError::UnknownContact`], or what writing gives.
    pub fn set_verified(&mut self, name: &str, now: Time) -> Result<(), WalletError> {
        let contact = self.contact(name).cloned().ok_or(WalletError::UnknownContact)?;
        self.keep_contact(Changes::default(), Contact { verified: Some(now), warning: None, ..contact })
    }

    /// The number that both sides see for this contact, if nobody put other keys in between.
    ///
    /// # Errors
    /// [`WalletError::UnknownContact`].
    pub fn safety_number(&self, name: &str) -> Result<SafetyNumber, WalletError> {
        let contact = self.contact(name).ok_or(WalletError::UnknownContact)?;
        let own = self.own_of(contact.account).keys.address();
        Ok(SafetyNumber::of(&self.network, &own, &contact.address))
    }

    /// Notes on a contact's row that something is odd; nothing for an address without a name.
    pub(super) fn warn_of(
        &mut self,
        changes: &mut Changes,
        address: &Address,
        warning: KeyWarning,
        now: Time,
    ) -> Result<(), WalletError> {
        let Some(contact) = self.contacts.values_mut().find(|contact| contact.address == *address) else {
            return Ok(());
        };
        (contact.warning, contact.verified) = (Some((warning, now)), None);
        let (folded, row) = (contact.name.folded(), row_of(contact));
        let key = self.vault.named_key(Class::Contact, folded.as_bytes());
        self.vault.put(changes, &key, &row)
    }

    /// Forgets a contact's name. Messages stay until they end.
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

    /// Drops what someone sends from now on, and what of theirs waits among the requests. Works for contacts too. Who is
    /// blocked already stays so since then.
    ///
    /// # Errors
    /// What writing gives.
    pub fn block(&mut self, address: &Address, now: Time) -> Result<(), WalletError> {
        if self.blocked.contains_key(address) {
            return self.decline_requests(address).map(drop);
        }
        let mut changes = Changes::default();
        let key = self.vault.named_key(Class::Blocked, address.as_bytes());
        let row = BlockedRow { address: *address.as_bytes(), since: now.secs() };
        self.vault.put(&mut changes, &key, &row)?;
        self.vault.commit(changes)?;
        self.blocked.insert(*address, now);
        self.decline_requests(address).map(drop)
    }

    /// Takes messages of someone again. Returns whether they were blocked.
    ///
    /// # Errors
    /// What writing gives.
    pub fn unblock(&mut self, address: &Address) -> Result<bool, WalletError> {
        if !self.blocked.contains_key(address) {
            return Ok(false);
        }
        let mut changes = Changes::default();
        changes.remove(&self.vault.named_key(Class::Blocked, address.as_bytes()));
        self.vault.commit(changes)?;
        Ok(self.blocked.remove(address).is_some())
    }

    /// Whose messages are dropped, and since when, in order of their addresses.
    pub fn blocked(&self) -> impl Iterator<Item = (&Address, Time)> {
        self.blocked.iter().map(|(address, since)| (address, *since))
    }

    /// All contacts, in order of their names.
    pub fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.contacts.values()
    }

    /// The contact of that name, in any case.
    pub fn contact(&self, name: &str) -> Option<&Contact> {
        self.contacts.get(&fold(name))
    }

    /// The contact with that address.
    pub fn contact_at(&self, address: &Address) -> Option<&Contact> {
        self.contacts.values().find(|contact| contact.address == *address)
    }

    /// The name that an address has.
    pub fn name_of(&self, address: &Address) -> Option<&ContactName> {
        self.contact_at(address).map(|contact| &contact.name)
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
